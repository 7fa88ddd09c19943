"""A plan as flat rows for spreadsheets: one row for each line, and for each charge dropped, excluded or held.

The rows of one currency add up to its equation, state by state: what is not listed line by line (posted by earlier
runs, or staying on a recurring invoice as it is) stands there as a row of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from billingsync.core.bill.plan import ClientPlan, Dropped, Excluded, Hold, Plan, PlanLine
from billingsync.core.money import ZERO
from billingsync.report.equation import both

LONGEST_CELL = 32_000  # Excel breaks what has more than 32,767 characters over several rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`state` is a part of the equation (to_post, already_posted, dropped, excluded, held); `cause` the modifier,
    rule or hold reason; `action` what happens to an invoice line (add, update, remove, stays)."""

    period: str
    state: str
    currency: str
    amount: Decimal
    cost: Decimal
    action: str = ""
    company: str = ""
    company_id: str = ""
    client: str = ""
    client_id: int | None = None
    behavior: str = ""
    invoice: int | None = None
    group: str = ""
    product: str = ""
    text: str = ""
    quantity: Decimal | None = None
    unit_price: Decimal | None = None
    unit_cost: Decimal | None = None
    before: Decimal | None = None
    cause: str = ""
    detail: str = ""
    next_step: str = ""
    charges: tuple[str, ...] = ()


def plan_rows(plan: Plan) -> list[Row]:
    """Every row of a plan: the clients' in the plan's order, those without a company, then what is not listed."""
    blank = Row(period=plan.period, state="", currency="", amount=ZERO, cost=ZERO)
    rows = [row for client in plan.clients for row in _client_rows(client, blank)]
    rows += [_excluded(entry, blank) for entry in plan.unassigned_excluded]
    rows += [_held(hold, blank) for hold in plan.unassigned_holds]
    return rows + list(_unlisted(plan, rows, blank))


def charge_list(charges: Sequence[str]) -> str:
    """The charge ids with spaces; where they are too long for a cell the list ends early and says so."""
    text = " ".join(charges)
    if len(text) <= LONGEST_CELL:
        return text
    head = text[: LONGEST_CELL - 40].rpartition(" ")[0]
    return f"{head} ... and {len(charges) - head.count(' ') - 1} more"


def _client_rows(client: ClientPlan, blank: Row) -> Iterator[Row]:
    base = replace(
        blank,
        company=client.company_name,
        company_id=client.company_id or "",
        client=client.client_name,
        client_id=client.client_id,
        behavior=client.behavior,
        invoice=client.target_invoice_id,
        currency=client.currency,
    )
    for line in client.lines:
        yield _line(line, base)
    stays = client.amount - sum((line.amount for line in client.lines), ZERO)
    stays_cost = client.cost - sum((line.cost for line in client.lines), ZERO)
    if not client.held and (stays or stays_cost):
        text = "lines that stay as they are"
        yield replace(base, state="to_post", action="stays", amount=stays, cost=stays_cost, text=text)
    for dropped in client.dropped:
        yield _dropped(dropped, base)
    for excluded in client.excluded:
        yield _excluded(excluded, base)
    for hold in client.holds:
        yield _held(hold, base)


def _line(line: PlanLine, base: Row) -> Row:
    return replace(
        base,
        state="to_post",
        action=line.action,
        group=line.group,
        product=line.title,
        text=line.description,
        quantity=line.quantity,
        unit_price=line.unit_price,
        unit_cost=line.unit_cost,
        amount=line.amount,
        cost=line.cost,
        before=line.before_amount,
        charges=line.charges,
    )


def _dropped(entry: Dropped, base: Row) -> Row:
    return replace(_left_out(entry, base), state="dropped", cause=entry.modifier)


def _excluded(entry: Excluded, base: Row) -> Row:
    return replace(_left_out(entry, base), state="excluded", cause=entry.rule)


def _held(hold: Hold, base: Row) -> Row:
    row = _left_out(hold, base)
    return replace(row, state="held", cause=hold.reason, detail=hold.detail, next_step=hold.next_step)


def _left_out(entry: Dropped | Excluded | Hold, base: Row) -> Row:
    return replace(
        base,
        currency=entry.currency,
        amount=entry.amount,
        cost=entry.cost,
        product=entry.product,
        charges=(entry.charge,),
    )


def _unlisted(plan: Plan, rows: list[Row], blank: Row) -> Iterator[Row]:
    """What the equation counts and no row lists: mostly what earlier runs settled [R1] [R3]."""
    listed: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
    for row in rows:
        amount, cost = listed.get((row.currency, row.state), (ZERO, ZERO))
        listed[row.currency, row.state] = (amount + row.amount, cost + row.cost)
    for account in plan.accounts:
        for state, _, price, paid in both(account):
            amount, cost = listed.get((account.currency, state), (ZERO, ZERO))
            if price != amount or paid != cost:
                yield replace(
                    blank,
                    state=state,
                    currency=account.currency,
                    amount=price - amount,
                    cost=paid - cost,
                    text="posted by earlier runs" if state == "already_posted" else "not listed one by one",
                )
