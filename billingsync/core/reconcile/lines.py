"""HaloPSA's side: each recurring line in exactly one class, who keeps it, and what it carries [LC4] [LC5] [LC6]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache

from billingsync.core.money import ZERO
from billingsync.core.period import Period
from billingsync.core.reconcile.matches import How, Matcher, Ref
from billingsync.core.reconcile.snapshot import PostedLine, RecurringInvoice, RecurringLine
from billingsync.core.reconcile.tenant import Tenant
from billingsync.core.reconcile.terms import distance, is_seats, months_of, rounded, share_of


class Keeper(StrEnum):
    """Who sets a line's quantity; exactly one."""

    OURS = "ours"  # the billing job
    HALO = "halo"  # HaloPSA counts it
    HAND = "hand"


class Scope(StrEnum):
    """Whether a recurring line is compared, and if not, why."""

    IN_SCOPE = "in_scope"
    NOT_SEATS = "not_seats"  # the billing job's own line of a prorate, usage or one-time charge: money only
    INVOICE_DISABLED = "invoice_disabled"
    INVOICE_ENDED = "invoice_ended"
    INACTIVE = "inactive"
    OUTSIDE_DATES = "outside_dates"
    ONE_TIME = "one_time"
    METER = "meter"
    HEADING = "heading"
    BLANK = "blank"
    BUNDLED = "bundled"
    OUT_OF_SCOPE = "out_of_scope"
    UNKNOWN = "unknown"  # no usable quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatLine:
    """One line on HaloPSA's side. `quantity` counts what still waits on a line kept by hand; `price` and `cost` are
    those of one unit for one month, None where not known; `money` and `cost_money` are a month's, rounded per line.

    `families` are what it carries; of a bundle with the seats of each. `invoice_id` is None for a line that the billing
    job posted on an invoice, which no snapshot holds.
    """

    client_id: int
    line_id: int | None
    invoice_id: int | None
    scope: Scope
    keeper: Keeper
    quantity: Decimal
    waiting: Decimal = ZERO
    price: Fraction | None = None
    cost: Fraction | None = None
    money: Decimal | None = None
    cost_money: Decimal | None = None
    currency: str = ""
    months: int | None = 1
    item_id: int | None = None
    families: tuple[str, ...] = ()
    covers: tuple[tuple[str, Decimal], ...] = ()  # a bundle's families with their seats
    how: How | None = None
    moving: bool = False
    line: RecurringLine | None = None
    invoice: RecurringInvoice | None = None
    posted: PostedLine | None = None

    @property
    def in_scope(self) -> bool:
        return self.scope is Scope.IN_SCOPE


def months_of_invoice(invoice: RecurringInvoice, tenant: Tenant) -> int | None:
    """How many months a recurring invoice bills at once [BC4]; None where neither rules nor HaloPSA say it."""
    rules = tenant.rules_of.client(invoice.client_id)
    if rules.reconcile.period_months is not None:
        return rules.reconcile.period_months
    name = "".join(letter for letter in invoice.period_name.casefold() if letter.isalpha())
    if name in _PERIODS:
        return _PERIODS[name]
    if invoice.last_created is None or invoice.next_creation is None:
        return None
    days = (invoice.next_creation - invoice.last_created).days
    for months in (1, 3, 6, 12):
        end = _months_later(invoice.last_created, months)
        if abs((end - invoice.last_created).days - days) <= 3:
            return months
    return None


_PERIODS = {"monthly": 1, "quarterly": 3, "halfyearly": 6, "yearly": 12}


def _months_later(day: date, months: int) -> date:
    number = day.year * 12 + day.month - 1 + months
    period = Period(number // 12, number % 12 + 1)
    return min(period.first_day.replace(day=min(day.day, 28)), period.last_day) if day.day <= 28 else period.last_day


def recurring_lines(tenant: Tenant) -> dict[int, list[SeatLine]]:
    """Every line of every recurring invoice, by the client whose line it is."""
    found: dict[int, list[SeatLine]] = defaultdict(list)
    pairings = {(one.client_id, one.line_id): one.family for one in tenant.inputs.snapshot.pairings}
    for invoice in sorted(tenant.inputs.snapshot.recurring, key=lambda invoice: invoice.id):
        months = months_of_invoice(invoice, tenant)
        for line in sorted(invoice.lines, key=lambda line: line.id):
            client_id = line.client_id or invoice.client_id
            family = pairings.get((client_id, line.id))
            found[client_id].append(_seat_line(tenant, (invoice, line), months, family))
    return found


def _seat_line(
    tenant: Tenant, both: tuple[RecurringInvoice, RecurringLine], months: int | None, paired: str | None
) -> SeatLine:
    invoice, line = both
    client_id = line.client_id or invoice.client_id
    matcher = tenant.matcher_for(tenant.rules_of.client(client_id))
    posted = tenant.posted_recurring.get((invoice.id, line.id))
    ours = posted is not None or (invoice.id, line.id) in tenant.inputs.written_lines
    keeper = Keeper.OURS if ours else Keeper.HALO if line.counted else Keeper.HAND
    families, how, covers = _carried(tenant, matcher, line, posted if ours else None, paired)
    waiting = line.waits if keeper is Keeper.HAND else ZERO
    currency = invoice.currency or _currency_of(tenant, client_id)
    discounted = _discounted(line.unit_price, line.discount_percent)
    unit_cost = _discounted(line.unit_cost, ZERO)  # a discount takes nothing off the cost
    price, money = _money(tenant, both, months, discounted, currency)
    cost, cost_money = _money(tenant, both, months, unit_cost, currency)
    return SeatLine(
        client_id=client_id,
        line_id=line.id,
        invoice_id=invoice.id,
        scope=_scope(tenant, both, posted, bool(families or covers)),
        keeper=keeper,
        quantity=(line.quantity or ZERO) + waiting,
        waiting=waiting,
        price=price,
        cost=cost,
        money=money,
        cost_money=cost_money,
        currency=currency,
        months=months,
        item_id=line.item_id,
        families=families,
        covers=covers,
        how=how,
        moving=line.moving or invoice.moving,
        line=line,
        invoice=invoice,
        posted=posted,
    )


def _currency_of(tenant: Tenant, client_id: int) -> str:
    client = tenant.clients.get(client_id)
    return client.currency if client else ""


@lru_cache(maxsize=16_384)  # few prices on very many lines
def _discounted(unit: Decimal | None, percent: Decimal) -> Fraction | None:
    return None if unit is None else Fraction(unit) * (1 - Fraction(percent) / 100)


def _money(
    tenant: Tenant,
    both: tuple[RecurringInvoice, RecurringLine],
    months: int | None,
    unit: Fraction | None,
    currency: str,
) -> tuple[Fraction | None, Decimal | None]:
    """One unit's amount for a month, and the whole line's: rounded as HaloPSA rounds it, then divided [BC3]."""
    invoice, line = both
    if unit is None or months is None:
        return None, None
    whole = rounded(Fraction(line.quantity or ZERO) * unit, currency)
    month = 1
    if tenant.period is not None and invoice.last_created is not None and months > 1:
        month = distance(Period.of(invoice.last_created), tenant.period) % months
    return unit if months == 1 else unit / months, share_of(whole, months, month, currency)


def _carried(
    tenant: Tenant, matcher: Matcher, line: RecurringLine, posted: PostedLine | None, paired: str | None
) -> tuple[tuple[str, ...], How | None, tuple[tuple[str, Decimal], ...]]:
    """What a line carries, in the order of [LC6]. Of our own lines the ledger says it: all may be on one item."""
    if posted is not None and posted.charges:
        families = {matcher.family_of(tenant.ref_of_charge(charge)) for charge in posted.charges}
        return tuple(sorted(families)), How.LEDGER, ()
    if paired is not None:
        return (matcher.family_of(Ref(sku=paired)),), How.PAIRED, ()
    if line.id in matcher.by_line:
        return (matcher.by_line[line.id],), How.RULES, ()
    if line.item_id is not None and line.item_id in matcher.bundles:
        return (), How.RULES, tuple(sorted(matcher.bundles[line.item_id].items()))
    if line.item_id is not None and line.item_id in matcher.by_item:
        families_ = matcher.by_item[line.item_id]
        hows = [matcher.families[key].how for key in families_]
        return families_, How.NAME if How.NAME in hows else hows[0], ()
    if line.item_id is None:
        by_text = matcher.by_line_text(line.text)
        return by_text, How.TEXT if by_text else None, ()
    if "pax8" in _supplier(tenant, line).casefold():
        return (f"item {line.item_id}",), How.RULES, ()
    return (), None, ()


def _supplier(tenant: Tenant, line: RecurringLine) -> str:
    terms = tenant.inputs.snapshot.item_terms.get(line.item_id or 0)
    return line.supplier or (terms.supplier if terms else "")


def _scope(
    tenant: Tenant, both: tuple[RecurringInvoice, RecurringLine], posted: PostedLine | None, is_known: bool
) -> Scope:
    """The first reason that fits [LC5]."""
    invoice, line = both
    day = tenant.inputs.snapshot.day
    blank = not line.text.strip() and line.item_id is None and not line.unit_price
    seats = posted is None or not posted.charges or any(map(is_seats, posted.charges))
    reasons = (
        (invoice.disabled, Scope.INVOICE_DISABLED),
        (not _runs(invoice.start, invoice.end, day), Scope.INVOICE_ENDED),
        (line.inactive, Scope.INACTIVE),
        (not _runs(line.start, line.end, day), Scope.OUTSIDE_DATES),
        (line.one_time, Scope.ONE_TIME),
        (line.meter, Scope.METER),
        (line.heading, Scope.HEADING),
        (blank, Scope.BLANK),
        (line.bundled, Scope.BUNDLED),
        (not seats, Scope.NOT_SEATS),
        (not is_known, Scope.OUT_OF_SCOPE),
        (line.quantity is None, Scope.UNKNOWN),
    )
    return next((scope for fits, scope in reasons if fits), Scope.IN_SCOPE)


def _runs(start: date | None, end: date | None, day: date) -> bool:
    return (start is None or start <= day) and (end is None or day <= end)


def posted_lines(tenant: Tenant) -> dict[int, list[SeatLine]]:
    """What the billing job posted on invoices ("new" and "latest") and that stands for the compared month, by client.

    Seats come from `subscription` charges only; one of a longer term stands for each month of it [LC9]. For "now" a
    client's newest posted period counts, where it is this one or the last.
    """
    by_client: dict[int, list[PostedLine]] = defaultdict(list)
    for line in tenant.inputs.posted:
        if not line.recurring:
            by_client[line.client_id].append(line)
    found: dict[int, list[SeatLine]] = {}
    for client_id, lines in by_client.items():
        if stands := _standing_posted(tenant, lines):
            found[client_id] = [_posted_line(tenant, line) for line in stands]
    return found


def _standing_posted(tenant: Tenant, lines: Sequence[PostedLine]) -> list[PostedLine]:
    now = tenant.period
    if now is None:
        return []
    recent = {line.period for line in lines if line.period in (now, now.previous)}
    return standing_posted(lines, now if tenant.inputs.period is not None else max(recent, default=now))


def standing_posted(lines: Iterable[PostedLine], now: Period | None) -> list[PostedLine]:
    """The posted lines of seats that stand for a month: its own, and earlier ones of longer terms [LC9]."""
    posted = [line for line in lines if now is not None and line.period <= now]
    newest: dict[str, Period] = {}
    for line in posted:
        for key in _subscriptions(line):
            newest[key] = max(newest.get(key, line.period), line.period)
    stands = []
    for line in posted:
        assert now is not None
        is_newest = all(newest[key] == line.period for key in _subscriptions(line))
        if _subscriptions(line) and distance(line.period, now) < _months(line) and is_newest:
            stands.append(line)
    return sorted(stands, key=lambda line: (line.period, line.invoice_id or 0, line.line_id or 0, line.part))


def _subscriptions(line: PostedLine) -> set[str]:
    return {charge.subscription_id or charge.id for charge in line.charges if is_seats(charge)}


def _months(line: PostedLine) -> int:
    return max((months_of(charge.term) or 1 for charge in line.charges), default=1)


def _posted_line(tenant: Tenant, line: PostedLine) -> SeatLine:
    matcher = tenant.matcher_for(tenant.rules_of.client(line.client_id))
    months = _months(line)
    families = {matcher.family_of(tenant.ref_of_charge(charge)) for charge in line.charges}
    month = distance(line.period, tenant.period) if tenant.period is not None else 0
    return SeatLine(
        client_id=line.client_id,
        line_id=line.line_id,
        invoice_id=line.invoice_id,
        scope=Scope.IN_SCOPE,
        keeper=Keeper.OURS,
        quantity=line.quantity,
        price=Fraction(line.unit_price) / months,
        cost=Fraction(line.unit_cost) / months,
        money=share_of(line.amount, months, month, line.currency),
        cost_money=share_of(line.cost, months, month, line.currency),
        currency=line.currency,
        months=months,
        item_id=line.item_id,
        families=tuple(sorted(families)),
        how=How.LEDGER,
        posted=line,
    )
