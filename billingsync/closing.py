"""The end of a run: what it settles, and what it has to tell [A2] [R3]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from billingsync.connect import Connections
from billingsync.core.money import ZERO
from billingsync.core.plan import Account, CurrencyAccount
from billingsync.desk import Outcome, now
from billingsync.planner import Planned
from billingsync.report.result import PostingResult, RunResult
from billingsync.store.book import Fence
from billingsync.store.runs import Decision


def settle(connected: Connections, fence: Fence, run: str, planned: Planned, outcomes: Sequence[Outcome]) -> None:
    """What this run dropped or excluded stays so [R3], for every client whose postings all arrived."""
    plan = planned.plan
    failed = {outcome.client_id for outcome in outcomes if outcome.state not in ("posted", "adopted")}
    decisions = [
        Decision(
            charge=gone.charge,
            state="dropped",
            by=gone.modifier,
            price=gone.amount,
            cost=gone.cost,
            currency=gone.currency,
        )
        for client in plan.clients
        if client.client_id not in failed
        for gone in client.dropped
    ]
    excluded = [
        entry
        for client in plan.clients
        if client.client_id is None or client.client_id not in failed
        for entry in client.excluded
    ]
    decisions += [
        Decision(
            charge=entry.charge,
            state="excluded",
            by=entry.rule,
            price=entry.amount,
            cost=entry.cost,
            currency=entry.currency,
        )
        for entry in [*excluded, *plan.unassigned_excluded]
    ]
    connected.ledger.settle(fence, run, decisions, now())
    companies = {charge.company_id for source in planned.inputs.sources for charge in source.charges}
    posted = {charge for outcome in outcomes if outcome.state in ("posted", "adopted") for charge in outcome.charges}
    products = {
        charge.sku or charge.product_name
        for source in planned.inputs.sources
        for charge in source.charges
        if charge.id in posted
    }
    connected.ledger.note_seen(planned.inputs.period, [id_ for id_ in companies if id_], products)


def result_of(
    connected: Connections, run: str, planned: Planned, outcomes: Sequence[Outcome], late: Sequence[str] = ()
) -> RunResult:
    """What the run has to tell: each posting, what waits, and the equation with what HaloPSA returned [A2]."""
    plan = planned.plan
    holds = tuple(hold for client in plan.clients for hold in client.holds) + plan.unassigned_holds
    names = {hold.charge: client.company_name for client in plan.clients for hold in client.holds}
    failed = bool(late) or any(outcome.state == "failed" for outcome in outcomes)
    unknown = any(outcome.state == "unknown" for outcome in outcomes)
    state = "failed" if failed else "held" if unknown or holds else "complete"
    returned = _returned(connected, planned)
    steps: list[tuple[str, ...]] = []
    if holds or unknown:
        steps.append(("billingsync", "holds", plan.period))
    if unknown or failed:
        steps.append(("billingsync", "run", plan.period))
    return RunResult(
        run=run,
        digest=plan.digest,
        period=plan.period,
        state=state,
        postings=tuple(
            PostingResult(
                key=outcome.key,
                client_id=outcome.client_id,
                client_name=outcome.client_name,
                invoice_id=outcome.invoice_id,
                action=outcome.action,
                lines=outcome.lines,
                amount=outcome.amount,
                cost=outcome.cost,
                currency=outcome.currency,
                state=outcome.state,
                problem=outcome.problem,
            )
            for outcome in outcomes
        ),
        holds=holds,
        accounts=_after(plan.accounts, outcomes),
        returned=returned,
        next_steps=tuple(steps),
        message="\n".join(late),
        companies=names,
    )


def _returned(connected: Connections, planned: Planned) -> dict[str, tuple[Decimal, Decimal]]:
    """Price and cost by currency that HaloPSA returned for the charges of this plan, earlier runs included."""
    asked = frozenset(planned.plan.clients_asked)
    scope = {
        charge.id
        for source in planned.inputs.sources
        for charge in source.charges
        if not asked or charge.company_id in asked
    }
    sums = {account.currency: (ZERO, ZERO) for account in planned.plan.accounts}
    for row in connected.ledger.postings(period=planned.plan.period):
        if row.state not in ("posted", "adopted") or row.currency not in sums:
            continue
        if scope.isdisjoint(share.charge for line in row.lines for share in line.shares):
            continue
        price, cost = sums[row.currency]
        sums[row.currency] = (price + (row.returned_price or ZERO), cost + (row.returned_cost or ZERO))
    return sums


def _after(accounts: Sequence[CurrencyAccount], outcomes: Sequence[Outcome]) -> tuple[CurrencyAccount, ...]:
    """The equation after posting [A2]: what did not arrive, or may not have, is held and not posted."""
    result = []
    for account in accounts:
        missed = [
            outcome
            for outcome in outcomes
            if outcome.currency == account.currency and outcome.state not in ("posted", "adopted")
        ]
        price = sum((outcome.amount for outcome in missed), ZERO)
        cost = sum((outcome.cost for outcome in missed), ZERO)
        result.append(replace(account, price=_moved(account.price, price), cost=_moved(account.cost, cost)))
    return tuple(result)


def _moved(account: Account, amount: Decimal) -> Account:
    """From posted to held."""
    return replace(account, posted=account.posted - amount, held=account.held + amount)
