"""When a plan must wait: each limit is a rule, and beyond it that client waits with the numbers shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from billingsync.core.bill.company import Work
from billingsync.core.bill.plan import PlanLine
from billingsync.core.inputs import RunInputs
from billingsync.core.money import ZERO, plain
from billingsync.core.reasons import Reason
from billingsync.core.rules import LimitRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What one client would be billed in one currency, with what is needed to judge it."""

    client_id: int
    currency: str
    amount: Decimal  # of this plan
    cost: Decimal
    amount_before: Decimal  # what earlier runs of the same period posted
    last: tuple[str, Decimal] | None  # the last posted period before this one
    lines: Sequence[PlanLine]
    products: frozenset[str]
    new_invoices: Sequence[Decimal]  # amount of each invoice that would be created


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    reason: Reason
    detail: str


def beyond(bill: Bill, rules: LimitRules, *, client_known: bool, known_products: frozenset[str]) -> Beyond | None:
    """The first limit that this bill is beyond, with the numbers."""
    return (
        _first_time(bill, rules, client_known, known_products)
        or _change(bill, rules)
        or _margin(bill, rules)
        or _size(bill, rules)
    )


def _first_time(bill: Bill, rules: LimitRules, client_known: bool, known_products: frozenset[str]) -> Beyond | None:
    if rules.new_client == "hold" and not client_known:
        return Beyond(reason=Reason.LIMIT_NEW_CLIENT, detail="this client has never been billed from here before")
    if rules.new_product == "hold":
        new = sorted(bill.products - known_products)
        if new:
            more = f" and {len(new) - 3} more" if len(new) > 3 else ""
            return Beyond(reason=Reason.LIMIT_NEW_PRODUCT, detail=f"never billed before: {', '.join(new[:3])}{more}")
    return None


def _change(bill: Bill, rules: LimitRules) -> Beyond | None:
    if bill.last is None:
        return None
    period, before = bill.last
    now = bill.amount + bill.amount_before
    moved = abs(now - before)
    if moved <= rules.change_amount_min or moved * 100 <= rules.change_percent_max * abs(before):
        return None
    percent = f"{(now - before) * 100 / abs(before):+.1f} %" if before else "from nothing"
    return Beyond(
        reason=Reason.LIMIT_CHANGE,
        detail=f"{_money(now, bill)} after {_money(before, bill)} in {period} ({percent}): more than "
        f"{plain(rules.change_percent_max)} % and {plain(rules.change_amount_min)}",
    )


def _margin(bill: Bill, rules: LimitRules) -> Beyond | None:
    least = rules.margin_percent_min
    if least is None:
        return None
    for line in bill.lines:
        if _margin_below(line.amount, line.cost, least):
            return Beyond(
                reason=Reason.LIMIT_MARGIN,
                detail=f"{line.title:.60}: price {_money(line.amount, bill)}, cost {_money(line.cost, bill)} "
                f"is a margin below {plain(least)} %",
            )
    if _margin_below(bill.amount, bill.cost, least):
        return Beyond(
            reason=Reason.LIMIT_MARGIN,
            detail=f"price {_money(bill.amount, bill)}, cost {_money(bill.cost, bill)} "
            f"is a margin below {plain(least)} %",
        )
    return None


def _margin_below(price: Decimal, cost: Decimal, least: Decimal) -> bool:
    """Margin is (price - cost) / price; without a price it is below any limit as soon as there is a cost."""
    if price == 0 or (price < 0 < cost):
        return cost > 0  # paying the client and Pax8 too is a loss, not a margin of more than 100 %
    return (price - cost) * 100 / price < least


def _size(bill: Bill, rules: LimitRules) -> Beyond | None:
    now = bill.amount + bill.amount_before
    if rules.client_amount_max is not None and now > rules.client_amount_max:
        return Beyond(
            reason=Reason.LIMIT_AMOUNT, detail=f"{_money(now, bill)} is more than {plain(rules.client_amount_max)}"
        )
    if rules.negative_invoice == "hold":
        for amount in bill.new_invoices:
            if amount < 0:
                return Beyond(
                    reason=Reason.LIMIT_NEGATIVE, detail=f"the new invoice would come to {_money(amount, bill)}"
                )
    return None


def missing_companies(last: frozenset[str], now: Iterable[str], percent_max: Decimal) -> str:
    """Why the whole run must wait because companies of last period are gone [fault 16]; "" where it need not."""
    if not last:
        return ""
    gone = len(last - frozenset(now))
    if Decimal(gone) * 100 <= percent_max * len(last):
        return ""
    share = Decimal(gone) * 100 / len(last)
    return (
        f"{gone} of last period's {len(last)} companies ({share:.0f} %) have no charge now: "
        f"more than {plain(percent_max)} %"
    )


def _money(amount: Decimal, bill: Bill) -> str:
    return f"{plain(amount, bill.currency)} {bill.currency}"


def apply_limits(works: Sequence[Work], inputs: RunInputs, missing: str) -> None:
    """Hold the clients whose bill is beyond a limit of their rules; a person may have let one through."""
    posted = _posted_before(inputs)
    by_client: dict[tuple[int, str], list[Work]] = defaultdict(list)
    for work in works:
        if work.client_id is not None:
            by_client[work.client_id, work.currency].append(work)
    for (client_id, _), members in by_client.items():
        if client_id in inputs.memory.approved or any(work.company.id in inputs.memory.approved for work in members):
            continue
        detail, reason = missing, Reason.LIMIT_MISSING_COMPANIES
        for work in members:
            # Who has no charge any more is not billed for less than before: missing_company_percent_max counts these.
            if not detail and any(line.charges for line in work.lines):
                found = beyond(
                    _bill(client_id, members, inputs, posted),
                    work.rules.limits,
                    client_known=client_id in inputs.memory.known_clients,
                    known_products=inputs.memory.known_products,
                )
                detail, reason = (found.detail, found.reason) if found else ("", reason)
        if detail:
            for work in members:
                work.hold_all(reason, detail)


def _posted_before(inputs: RunInputs) -> dict[tuple[str, str], Decimal]:
    """What earlier runs of this period posted, by company and currency; added up once, not once for each client."""
    found: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    if inputs.memory.settled:
        for source in inputs.sources:
            for charge in source.charges:
                settled = inputs.memory.settled.get(charge.id)
                if charge.company_id is not None and settled and settled.state == "posted":
                    found[charge.company_id, settled.currency] += settled.price
    return found


def _bill(
    client_id: int, members: Sequence[Work], inputs: RunInputs, posted: Mapping[tuple[str, str], Decimal]
) -> Bill:
    lines = [line for work in members for line in work.lines]
    currency = members[0].currency
    companies = {work.company.id for work in members}
    before = sum((posted.get((company, currency), ZERO) for company in companies), ZERO)
    created: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for work in members:
        if work.target.action == "create":
            for line in work.lines:
                created[line.group, work.currency] += line.amount
    return Bill(
        client_id=client_id,
        currency=currency,
        amount=sum((line.amount for line in lines), ZERO),
        cost=sum((line.cost for line in lines), ZERO),
        amount_before=before,
        last=inputs.memory.last_amounts.get((client_id, currency)),
        lines=[line for line in lines if line.action != "remove"],
        products=frozenset(product for work in members for product in work.products),
        new_invoices=tuple(created.values()),
    )
