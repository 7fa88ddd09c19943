"""The end of a run: what it settles, and what it has to tell [A2] [R3]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from billingsync.connect import Connections
from billingsync.core.bill.plan import Account, CurrencyAccount, Plan
from billingsync.core.charge import Charged
from billingsync.core.money import ZERO
from billingsync.core.period import Period
from billingsync.core.states import (
    GIVEN_BACK,
    OUTCOME_ARRIVED,
    STILL_BILLED,
    UNDO_TROUBLE,
    ChargeState,
    LineFate,
    OutcomeState,
    PostingAction,
    RunState,
    TrueUpState,
)
from billingsync.report.result import PostingResult, RunResult, TakenBackResult
from billingsync.run.context import Outcome, now
from billingsync.run.undone import UndonePosting
from billingsync.store.book import Fence
from billingsync.store.postings import ARRIVED
from billingsync.store.runs import Decision


def settle_charges(
    connected: Connections,
    fence: Fence,
    run: str,
    plan: Plan,
    charges: Mapping[str, Charged],
    outcomes: Sequence[Outcome],
) -> None:
    """What this run dropped or excluded stays so [R3], for every client whose postings all arrived. `charges` are
    all of the month."""
    failed = {outcome.client_id for outcome in outcomes if outcome.state not in OUTCOME_ARRIVED}
    decisions = [
        Decision(
            charge=gone.charge,
            state=ChargeState.DROPPED,
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
            state=ChargeState.EXCLUDED,
            by=entry.rule,
            price=entry.amount,
            cost=entry.cost,
            currency=entry.currency,
        )
        for entry in [*excluded, *plan.unassigned_excluded]
    ]
    connected.ledger.settle(fence, run, decisions, now())
    companies = {charge.company_id for charge in charges.values()}
    posted = (charge for outcome in outcomes if outcome.state in OUTCOME_ARRIVED for charge in outcome.charges)
    products = {charges[id_].product for id_ in posted if id_ in charges}
    connected.ledger.note_seen(Period.parse(plan.period), [id_ for id_ in companies if id_], products)


def result_of(
    connected: Connections,
    run: str,
    plan: Plan,
    charges: Mapping[str, Charged],
    outcomes: Sequence[Outcome],
    late: Sequence[str] = (),
    taken: Sequence[UndonePosting] = (),
    changed: Sequence[str] = (),
) -> RunResult:
    """What the run has to tell: each posting, what waits, and the equation with what HaloPSA returned [A2]."""
    holds = tuple(hold for client in plan.clients for hold in client.holds) + plan.unassigned_holds
    names = {hold.charge: client.company_name for client in plan.clients for hold in client.holds}
    back = tuple(map(_taken_back, taken))
    failed = bool(late) or any(outcome.state == OutcomeState.FAILED for outcome in outcomes)
    failed = failed or any(one.outcome in UNDO_TROUBLE for one in taken)
    unknown = any(outcome.state == OutcomeState.UNKNOWN for outcome in outcomes)
    state = RunState.FAILED if failed else RunState.HELD if unknown or plan.held or changed else RunState.COMPLETE
    returned = _returned(connected, plan, charges, outcomes)
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
        message="\n".join([*changed, *late]),
        taken_back=back,
        true_ups=tuple(up for up in plan.true_ups if up.state != TrueUpState.APPROVED),
        companies=names,
        warnings=plan.warnings,
    )


def _taken_back(one: UndonePosting) -> TakenBackResult:
    price, cost = one.sum(*GIVEN_BACK)
    left = {line.why for line in one.lines if line.fate in STILL_BILLED}
    return TakenBackResult(
        key=one.key,
        client_id=one.client_id,
        client_name=one.client_name,
        invoice_id=one.invoice_id,
        amount=price,
        cost=cost,
        currency=one.currency,
        how=LineFate.CREDITED if one.credit_invoice is not None else one.invoice,
        credit_invoice=one.credit_invoice,
        problem=one.problem or "; ".join(sorted(left - {""})),
    )


def _returned(
    connected: Connections, plan: Plan, charges: Mapping[str, Charged], outcomes: Sequence[Outcome]
) -> dict[str, tuple[Decimal, Decimal]]:
    """Price and cost by currency that HaloPSA returned for the charges of this plan, earlier runs included."""
    mine = {outcome.key for outcome in outcomes}  # of this plan, so of its charges alone
    asked = frozenset(plan.clients_asked)
    scope = {id_ for id_, charge in charges.items() if charge.company_id in asked} if asked else charges.keys()
    sums = {account.currency: (ZERO, ZERO) for account in plan.accounts}
    heads = connected.ledger.heads(period=plan.period, states=ARRIVED)
    heads = tuple(head for head in heads if head.currency in sums)
    for head in heads:
        if head.key in mine:
            price, cost = sums[head.currency]
            sums[head.currency] = (price + (head.returned_price or ZERO), cost + (head.returned_cost or ZERO))
    for row in connected.ledger.with_lines(head for head in heads if head.key not in mine):
        if scope.isdisjoint(share.charge for line in row.lines for share in line.shares):
            continue
        price, cost = sums[row.currency]
        # What its lines carry of charges that do not count here, as those of a credited invoice, is none of it.
        others = [share for line in row.lines for share in line.shares if share.charge not in scope]
        price += (row.returned_price or ZERO) - sum((share.price for share in others), ZERO)
        cost += (row.returned_cost or ZERO) - sum((share.cost for share in others), ZERO)
        sums[row.currency] = (price, cost)
    return sums


def _after(accounts: Sequence[CurrencyAccount], outcomes: Sequence[Outcome]) -> tuple[CurrencyAccount, ...]:
    """The equation after posting [A2]: what did not arrive, or may not have, is held and not posted."""
    result = []
    for account in accounts:
        missed = [
            outcome
            for outcome in outcomes
            if outcome.currency == account.currency and outcome.state not in OUTCOME_ARRIVED
        ]
        price = sum((outcome.amount for outcome in missed), ZERO)
        cost = sum((outcome.cost for outcome in missed), ZERO)
        updates = [outcome for outcome in missed if outcome.action == PostingAction.UPDATE]
        not_there = sum((one.amount for one in updates), ZERO), sum((one.cost for one in updates), ZERO)
        result.append(
            replace(
                account,
                price=_moved(account.price, price, not_there[0]),
                cost=_moved(account.cost, cost, not_there[1]),
            )
        )
    return tuple(result)


def _moved(account: Account, amount: Decimal, waits: Decimal) -> Account:
    """From posted to held; `waits` is what of it would wait on recurring invoices."""
    waiting = None if account.waiting is None else account.waiting - waits
    return replace(account, posted=account.posted - amount, held=account.held + amount, waiting=waiting)
