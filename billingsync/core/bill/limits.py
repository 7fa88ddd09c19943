"""When a plan must wait: each limit is a rule, and beyond it that client waits with the numbers shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from billingsync.core.bill.company import Work
from billingsync.core.bill.plan import PlanLine, Stays
from billingsync.core.bill.templates import currency_of
from billingsync.core.decisions import lifted
from billingsync.core.inputs import RunInputs
from billingsync.core.money import ZERO, plain
from billingsync.core.reasons import HOLDS, ApproveAs, Reason
from billingsync.core.rules import LimitRules
from billingsync.core.states import ChargeState, LineAction, PostingAction


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
    """A limit that a bill is over: `numbers` are what it was compared by, as plain text, `detail` says it in words."""

    reason: Reason
    numbers: tuple[str, ...]
    detail: str


def beyond(bill: Bill, rules: LimitRules, *, client_known: bool, known_products: frozenset[str]) -> tuple[Beyond, ...]:
    """Every limit that this bill is over."""
    return (
        *_first_time(bill, rules, client_known, known_products),
        *_change(bill, rules),
        *_margin(bill, rules),
        *_size(bill, rules),
    )


def _first_time(bill: Bill, rules: LimitRules, client_known: bool, known_products: frozenset[str]) -> Iterator[Beyond]:
    if rules.new_client == "hold" and not client_known:
        detail = "this client has never been billed from here before"
        yield Beyond(reason=Reason.LIMIT_NEW_CLIENT, numbers=(), detail=detail)
    new = sorted(bill.products - known_products) if rules.new_product == "hold" else []
    if new:
        more = f" and {len(new) - 3} more" if len(new) > 3 else ""
        detail = f"never billed before: {', '.join(new[:3])}{more}"
        yield Beyond(reason=Reason.LIMIT_NEW_PRODUCT, numbers=tuple(new), detail=detail)


def _change(bill: Bill, rules: LimitRules) -> Iterator[Beyond]:
    if bill.last is None:
        return
    period, before = bill.last
    now = bill.amount + bill.amount_before
    moved = abs(now - before)
    if moved <= rules.change_amount_min or moved * 100 <= rules.change_percent_max * abs(before):
        return
    percent = f"{(now - before) * 100 / abs(before):+.1f} %" if before else "from nothing"
    yield Beyond(
        reason=Reason.LIMIT_CHANGE,
        numbers=(plain(now), period, plain(before), plain(rules.change_percent_max), plain(rules.change_amount_min)),
        detail=f"{_money(now, bill)} after {_money(before, bill)} in {period} ({percent}): more than "
        f"{plain(rules.change_percent_max)} % and {plain(rules.change_amount_min)}",
    )


def _margin(bill: Bill, rules: LimitRules) -> Iterator[Beyond]:
    least = rules.margin_percent_min
    if least is None:
        return
    low = [line for line in bill.lines if _margin_below(line.amount, line.cost, least)]
    numbers = tuple(f"{plain(line.amount)} {plain(line.cost)}" for line in low)
    if low:
        more = f" ({len(low) - 1} more)" if len(low) > 1 else ""
        what = f"{low[0].title:.60}: price {_money(low[0].amount, bill)}, cost {_money(low[0].cost, bill)}"
    elif _margin_below(bill.amount, bill.cost, least):
        more, numbers = "", (f"{plain(bill.amount)} {plain(bill.cost)}",)
        what = f"price {_money(bill.amount, bill)}, cost {_money(bill.cost, bill)}"
    else:
        return
    numbers = (*numbers, plain(least))
    yield Beyond(reason=Reason.LIMIT_MARGIN, numbers=numbers, detail=f"{what} is a margin below {plain(least)} %{more}")


def _margin_below(price: Decimal, cost: Decimal, least: Decimal) -> bool:
    """Margin is (price - cost) / price; without a price it is below any limit as soon as there is a cost."""
    if price == 0 or (price < 0 < cost):
        return cost > 0  # paying the client and Pax8 too is a loss, not a margin of more than 100 %
    return (price - cost) * 100 / price < least


def _size(bill: Bill, rules: LimitRules) -> Iterator[Beyond]:
    now = bill.amount + bill.amount_before
    if rules.client_amount_max is not None and now > rules.client_amount_max:
        detail = f"{_money(now, bill)} is more than {plain(rules.client_amount_max)}"
        yield Beyond(reason=Reason.LIMIT_AMOUNT, numbers=(plain(now), plain(rules.client_amount_max)), detail=detail)
    negative = [amount for amount in bill.new_invoices if amount < 0] if rules.negative_invoice == "hold" else []
    if negative:
        detail = f"the new invoice would come to {_money(negative[0], bill)}"
        yield Beyond(reason=Reason.LIMIT_NEGATIVE, numbers=tuple(map(plain, negative)), detail=detail)


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
    """Hold the clients whose bill is beyond a limit of their rules, with every such limit; a person may have let just
    this bill through [V1]."""
    posted = _posted_before(inputs)
    by_client: dict[tuple[int, str], list[Work]] = defaultdict(list)
    for work in works:
        if work.client_id is not None:
            by_client[work.client_id, work.currency].append(work)
    for (client_id, currency), members in by_client.items():
        if client_id in inputs.memory.approved or any(work.company.id in inputs.memory.approved for work in members):
            continue
        bill = _bill(client_id, members, inputs, posted)
        found = _over(bill, members, inputs, missing if any(_counts(work, inputs) for work in members) else "")
        if not found:
            continue
        amount = bill.amount + bill.amount_before
        limits: dict[Reason, tuple[str, ...]] = {one.reason: one.numbers for one in found}
        ruling = lifted(inputs.memory.approvals, str(client_id), currency, amount, limits)
        if ruling.by or _agreed_before(client_id, currency, bill.amount, inputs):
            continue
        detail = "; ".join([one.detail for one in found] + ([ruling.lapsed] if ruling.lapsed else []))
        for work in members:
            work.limits, work.would_bill = limits, amount
            if not work.charges:  # no charge would say that its lines stay
                work.left = (*work.left, *_lines_that_stay(work, found[0].reason, detail))
            work.hold_all(found[0].reason, detail)


def _agreed_before(client_id: int, currency: str, amount: Decimal, inputs: RunInputs) -> bool:
    """Whether this bill comes in the place of what was taken back, and a person who saw its sum agreed to that [R2]: a
    run that died in between leaves it to the next one."""
    if client_id not in inputs.memory.taken_back:
        return False
    return any(
        (one.client, one.currency, one.amount) == (str(client_id), currency, amount) and one.taken
        for one in inputs.memory.approvals
        if one.kind in (ApproveAs.TRUE_UP, ApproveAs.SOURCE_CHANGED)
    )


def _counts(work: Work, inputs: RunInputs) -> bool:
    """Whether a company can be missing: not where this very month billed it and took that back."""
    billed = inputs.memory.left.get(work.company.id)
    return bool(work.all_charges) or billed is None or billed.period < work.period


def _lines_that_stay(work: Work, reason: Reason, detail: str) -> Iterator[Stays]:
    """What would have come off the recurring invoice of a company without a charge [B8]."""
    for line in work.lines:
        if line.action == LineAction.REMOVE and line.line_id is not None and work.target.invoice is not None:
            yield Stays(
                text=f"line {line.line_id} ({line.title}) should come off, but {detail}",
                reason=reason,
                invoice_id=work.target.invoice.id,
                line_id=line.line_id,
                currency=currency_of(line.recurring_key),
                steps=HOLDS[reason].steps,
            )


def _over(bill: Bill, members: Sequence[Work], inputs: RunInputs, missing: str) -> list[Beyond]:
    """Every limit that a client's bill is over, each once, by the rules of all its companies."""
    found: dict[Reason, Beyond] = {}
    if missing:
        one = Beyond(reason=Reason.LIMIT_MISSING_COMPANIES, numbers=(missing,), detail=missing)
        found[one.reason] = one
    for work in members:
        # Who has no charge any more is not billed for less than before: missing_company_percent_max counts these.
        if any(line.charges for line in work.lines):
            for one in beyond(
                bill,
                work.rules.limits,
                client_known=bill.client_id in inputs.memory.known_clients,
                known_products=inputs.memory.known_products,
            ):
                found.setdefault(one.reason, one)
    return list(found.values())


def _posted_before(inputs: RunInputs) -> dict[tuple[str, str], Decimal]:
    """What earlier runs of this period posted, by company and currency; added up once, not once for each client."""
    found: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    if inputs.memory.settled:
        for source in inputs.sources:
            for charge in source.charges:
                settled = inputs.memory.settled.get(charge.id)
                if charge.company_id is not None and settled and settled.state == ChargeState.POSTED:
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
        if work.target.action == PostingAction.CREATE:
            for line in work.lines:
                created[line.group, work.currency] += line.amount
    return Bill(
        client_id=client_id,
        currency=currency,
        amount=sum((line.amount for line in lines), ZERO),
        cost=sum((line.cost for line in lines), ZERO),
        amount_before=before,
        last=inputs.memory.last_amounts.get((client_id, currency)),
        lines=[line for line in lines if line.action != LineAction.REMOVE],
        products=frozenset(product for work in members for product in work.products),
        new_invoices=tuple(created.values()),
    )
