"""The month's cost and price beside the PSA's, by client, group and currency [BC1]-[BC11]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from billingsync.core.charge import Charge
from billingsync.core.money import ZERO, divide, multiply
from billingsync.core.period import Period
from billingsync.core.reconcile.classify import is_usage
from billingsync.core.reconcile.licences import Mode, SeatRow, billed_before_us
from billingsync.core.reconcile.lines import Keeper, SeatLine, standing_posted
from billingsync.core.reconcile.snapshot import PostedLine
from billingsync.core.reconcile.tenant import Tenant
from billingsync.core.reconcile.terms import distance, is_seats, mean, months_of, rounded, share_of, total


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """One unit's prices and costs for one month, in HaloPSA's units; None where not known. `estimated`: there is no
    line, and the price is what a new one would have."""

    currency: str
    psa: Fraction | None
    psa_cost: Fraction | None
    pax8: Fraction | None
    pax8_cost: Fraction | None
    estimated: bool = False
    mismatch: bool = False  # the two sides are in different currencies
    unknown_term: bool = False


def prices_of(row: SeatRow, tenant: Tenant) -> Prices:
    """What a unit of this row costs and brings; worked out once for each row."""
    key = (row.client_id, row.key)
    if key not in tenant.prices:
        tenant.prices[key] = _prices_of(row, tenant)
    found = tenant.prices[key]
    assert isinstance(found, Prices)
    return found


def _prices_of(row: SeatRow, tenant: Tenant) -> Prices:
    """[BC3] [FD1]: several lines' price is their mean by quantity; where there is no line, that of the item, else
    Pax8's."""
    charged = [charge for _, charge in row.charges]
    pax8 = _mean_charged(charged, "unit_price", row)
    cost = _mean_charged(charged, "unit_cost", row)
    if (listed := _mean_members(row, "unit_price")) is not None:
        pax8 = listed
    if cost is None:
        cost = _mean_members(row, "unit_cost")
    psa_currencies = {line.currency for line in row.every_line if line.currency}
    pax8_currencies = {one.subscription.currency for one in row.members if one.subscription.currency}
    pax8_currencies |= {charge.currency for charge in (*charged, *row.money)}
    pax8_currencies |= {count.currency for count in row.counts if count.currency}
    lines = [line for line in row.lines if line.months is not None]
    known = len(lines) == len(row.lines) and all(line.price is not None for line in lines)
    psa = mean([(line.quantity, line.price or Fraction(0)) for line in lines]) if lines and known else None
    costs = [(line.quantity, line.cost) for line in lines if line.cost is not None]
    psa_cost = mean([(quantity, one) for quantity, one in costs]) if len(costs) == len(row.lines) and costs else None
    estimated, currency = False, min(psa_currencies, default=min(pax8_currencies, default=""))
    if not row.lines:
        terms = [tenant.inputs.snapshot.item_terms.get(item) for item in ((row.item_id,) if row.item_id else row.items)]
        listed_price = next((one.price for one in terms if one and one.price is not None), None)
        psa, estimated = Fraction(listed_price) if listed_price is not None else pax8, True
    return Prices(
        currency=currency,
        psa=psa,
        psa_cost=psa_cost,
        pax8=pax8,
        pax8_cost=cost,
        estimated=estimated,
        mismatch=len(psa_currencies | pax8_currencies) > 1,
        unknown_term=any(months_of(one.subscription.billing_term) is None for one in row.members)
        or any(months_of(charge.term) is None for charge in charged),
    )


def _mean_charged(charges: Sequence[Charge], name: str, row: SeatRow) -> Fraction | None:
    weighted = []
    for charge in charges:
        value, months = getattr(charge, name), months_of(charge.term) or 1
        if value is None or charge.quantity is None:
            return None
        weighted.append((charge.quantity, _unit(value, row.per_unit, months)))
    return mean(weighted)


@lru_cache(maxsize=16_384)  # few prices on very many charges
def _unit(value: Decimal, per_unit: Decimal, months: int) -> Fraction:
    return Fraction(value) * Fraction(per_unit) / months


def _mean_members(row: SeatRow, name: str) -> Fraction | None:
    """One unit's price or cost as the subscriptions, or a file's rows, say it."""
    weighted = []
    for one in row.members:
        value = getattr(one, name)
        if value is None:
            return None
        weighted.append((one.seats, value if row.per_unit == 1 else value * Fraction(row.per_unit)))
    for count in row.counts:
        value = getattr(count, name)
        if value is None:
            return None
        weighted.append((count.quantity, Fraction(value) * Fraction(row.per_unit)))
    return mean(weighted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """Both sides' amounts in one currency; those of the PSA are None where a recurring invoice's months are not
    known."""

    pax8_cost: Decimal = ZERO
    pax8_price: Decimal = ZERO
    psa_cost: Decimal | None = ZERO
    psa_price: Decimal | None = ZERO

    @property
    def price_difference(self) -> Decimal | None:
        """Pax8 price - PSA price."""
        return None if self.psa_price is None else self.pax8_price - self.psa_price

    @property
    def cost_difference(self) -> Decimal | None:
        return None if self.psa_cost is None else self.pax8_cost - self.psa_cost

    @property
    def margin(self) -> Decimal | None:
        """PSA price - Pax8 cost: what is left to the partner."""
        return None if self.psa_price is None else self.psa_price - self.pax8_cost

    @property
    def margin_percent(self) -> Decimal | None:
        if not self.psa_price or self.margin is None:
            return None
        return divide(multiply(self.margin, Decimal(100)), self.psa_price, 2)

    @property
    def mspbots_product_margin(self) -> Decimal | None:
        """Pax8 cost - PSA price, as other tools have it: a profit is negative."""
        return None if self.psa_price is None else self.pax8_cost - self.psa_price


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What makes a Price Difference [BC9]; they add up to it. `other` is the rest, ZERO where the split is exact."""

    seats: Decimal = ZERO
    rate: Decimal = ZERO
    prorate: Decimal = ZERO
    usage: Decimal = ZERO
    waiting: Decimal = ZERO
    other: Decimal = ZERO

    @property
    def sum(self) -> Decimal:
        return self.seats + self.rate + self.prorate + self.usage + self.waiting + self.other


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingRow:
    """`exact`: a plain group that splits into seats and rate to the cent. `parts` is None where money is not known."""

    client_id: int
    client_name: str
    group: str
    skus: tuple[str, ...]
    product: str
    currency: str
    in_month: Money
    spread: Money
    parts: Parts | None
    exact: bool
    estimated: bool
    mismatch: bool
    pax8_prorate: Decimal
    psa_prorate: Decimal


def billing_rows(tenant: Tenant, rows: Sequence[SeatRow]) -> list[BillingRow]:
    """One row for each client, group and currency; none before the month's invoice is out."""
    if tenant.period is None:
        return []
    groups: dict[tuple[int, str], list[SeatRow]] = defaultdict(list)
    for row in rows:
        if not row.counts:  # what a vendor's file counts is on no Pax8 invoice
            groups[row.client_id, row.group].append(row)
    posted = _posted_by_group(tenant, rows)
    found: list[BillingRow] = []
    for key, members in groups.items():
        found.extend(_of_group(tenant, members, posted.get(key, [])))
    return found


def _posted_by_group(tenant: Tenant, rows: Sequence[SeatRow]) -> dict[tuple[int, str], list[PostedLine]]:
    """What was posted, by the group of its charges. A line of several families counts for the first of them."""
    group_of = {(row.client_id, family): row.group for row in rows for family in row.families}
    found: dict[tuple[int, str], list[PostedLine]] = defaultdict(list)
    for line in tenant.inputs.posted:
        matcher = tenant.matcher_for(tenant.rules_of.client(line.client_id))
        families = sorted({matcher.family_of(tenant.ref_of_charge(charge)) for charge in line.charges})
        group = next((group_of[line.client_id, key] for key in families if (line.client_id, key) in group_of), None)
        if group is not None:
            found[line.client_id, group].append(line)
    return found


def _of_group(tenant: Tenant, rows: Sequence[SeatRow], posted: Sequence[PostedLine]) -> Iterable[BillingRow]:
    first, leading = rows[0], [row for row in rows if row.leads]
    money = [charge for row in leading for charge in row.money]
    standing = [one for row in leading for one in row.charges]
    kept = {(line.invoice_id, line.line_id): line for row in rows for line in row.every_line}
    hand = [line for line in kept.values() if line.keeper is not Keeper.OURS]
    now = tenant.period
    currencies = {charge.currency for charge in money} | {charge.currency for _, charge in standing}
    currencies |= {line.currency for line in hand} | {line.currency for line in posted if line.period == now}
    psa_side = {line.currency for line in hand} | {line.currency for line in posted if line.period == now}
    pax8_side = {charge.currency for charge in money}
    pax8_side |= {one.subscription.currency for row in rows for one in row.members if one.subscription.currency}
    for currency in sorted(currencies | pax8_side):
        of_currency = [line for line in posted if line.currency == currency]
        side = _Side(
            tenant=tenant,
            rows=rows,
            currency=currency,
            money=[charge for charge in money if charge.currency == currency],
            standing=[(period, charge) for period, charge in standing if charge.currency == currency],
            hand=[line for line in hand if line.currency == currency],
            posted=[line for line in of_currency if line.period == now],
            standing_posted=standing_posted(of_currency, now),
        )
        in_month, spread, estimated = side.in_month(), side.spread()[0], side.spread()[1]
        mismatch = len(psa_side | pax8_side) > 1
        parts, exact = side.parts(spread) if not mismatch else (None, False)
        yield BillingRow(
            client_id=first.client_id,
            client_name=first.client_name,
            group=first.group,
            skus=tuple(sorted({sku for row in rows for sku in row.skus})),
            product=first.product,
            currency=currency,
            in_month=in_month,
            spread=spread,
            parts=parts,
            exact=exact,
            estimated=estimated,
            mismatch=mismatch,
            pax8_prorate=side.pax8_prorate,
            psa_prorate=side.psa_prorate,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One group's amounts in one currency."""

    tenant: Tenant
    rows: Sequence[SeatRow]
    currency: str
    money: Sequence[Charge]
    standing: Sequence[tuple[Period, Charge]]
    hand: Sequence[SeatLine]
    posted: Sequence[PostedLine]
    standing_posted: Sequence[PostedLine]

    def in_month(self) -> Money:
        """What the documents of the month say."""
        price, cost = _sums(self.hand)
        return Money(
            pax8_cost=total(charge.cost for charge in self.money),
            pax8_price=total(charge.price for charge in self.money),
            psa_cost=None if cost is None else cost + total(line.cost for line in self.posted),
            psa_price=None if price is None else price + total(line.amount for line in self.posted),
        )

    def spread(self) -> tuple[Money, bool]:
        """The same with longer terms spread over their months [BC5]; and whether any of it is estimated."""
        price, cost = _sums(self.hand)
        now = self.tenant.period
        pax8_price = total(charge.price for charge in self.money if not is_seats(charge))
        pax8_cost = total(charge.cost for charge in self.money if not is_seats(charge))
        stands = {charge.id for _, charge in self.standing}
        for charge in self.money:  # seats of what has no seats here, such as usage that is charged like seats
            if is_seats(charge) and charge.id not in stands:
                pax8_price, pax8_cost = pax8_price + charge.price, pax8_cost + charge.cost
        for period, charge in self.standing:
            pax8_price += _share(charge.price, charge.term, (period, now), self.currency)
            pax8_cost += _share(charge.cost, charge.term, (period, now), self.currency)
        missing_price, missing_cost, estimated = self._billed_before()
        ours_price = total(line.amount for line in self.posted if not any(map(is_seats, line.charges)))
        ours_cost = total(line.cost for line in self.posted if not any(map(is_seats, line.charges)))
        for line in self.standing_posted:
            term = max(
                (charge.term for charge in line.charges if is_seats(charge)), key=lambda one: months_of(one) or 0
            )
            ours_price += _share(line.amount, term, (line.period, now), self.currency)
            ours_cost += _share(line.cost, term, (line.period, now), self.currency)
        money = Money(
            pax8_cost=pax8_cost + missing_cost,
            pax8_price=pax8_price + missing_price,
            psa_cost=None if cost is None else cost + ours_cost,
            psa_price=None if price is None else price + ours_price,
        )
        return money, estimated

    def _billed_before(self) -> tuple[Decimal, Decimal, bool]:
        """What was billed before our sources begin: price x quantity / months of the subscriptions."""
        charged = {charge.subscription_id for _, charge in self.standing}
        members = [
            one
            for row in self.rows
            if row.leads
            for one in row.members
            if one.subscription.currency == self.currency and one.subscription.id not in charged
            if self.tenant.period is not None and billed_before_us(one, self.tenant)
        ]
        if not members:
            return ZERO, ZERO, False
        prices = sum((Fraction(one.seats) * (one.unit_price or 0) for one in members), Fraction(0))
        costs = sum((Fraction(one.seats) * (one.unit_cost or 0) for one in members), Fraction(0))
        return rounded(prices, self.currency), rounded(costs, self.currency), True

    @property
    def pax8_prorate(self) -> Decimal:
        return total(charge.price for charge in self.money if charge.type == "prorate")

    @property
    def psa_prorate(self) -> Decimal:
        """What the billing job posted of prorates, and what HaloPSA's own pro rata of the month comes to."""
        ours = (line for line in self.posted if any(charge.type == "prorate" for charge in line.charges))
        return total(line.amount for line in ours) + self._halo_prorate()

    def _halo_prorate(self) -> Decimal:
        now, amount = self.tenant.period, Fraction(0)
        for line in self.hand:
            for entry in line.line.waiting if line.line else ():
                price = entry.unit_price
                if price is None and line.line is not None:
                    price = line.line.unit_price
                if now is None or entry.day is None or Period.of(entry.day) != now or price is None:
                    continue
                days = (now.last_day - now.first_day).days + 1
                left = (now.last_day - entry.day).days + 1
                amount += Fraction(entry.quantity) * Fraction(price) * left / days
        return rounded(amount, self.currency) if amount else ZERO

    def parts(self, spread: Money) -> tuple[Parts | None, bool]:
        """Seats and rate where the group splits exactly [BC9]; else what is known of it, side by side."""
        difference = spread.price_difference
        if difference is None:
            return None, False
        row = self.rows[0]
        prices = prices_of(row, self.tenant)
        usage = total(charge.price for charge in self.money if self._is_usage(charge))
        waiting = total(line.waiting for line in self.hand)
        has_prorate = any(charge.type == "prorate" for charge in self.money)
        one_time = any(not is_seats(charge) for charge in self.money)
        exact = (
            len(self.rows) == 1
            and row.mode is Mode.PLAIN
            and not (has_prorate or waiting or usage or one_time)
            and row.invoiced is not None
            and row.invoiced == row.count
            and prices.psa is not None
        )
        if exact and prices.psa is not None:
            seats = rounded(Fraction(row.difference) * prices.psa, self.currency)
            return Parts(seats=seats, rate=difference - seats), True
        if all(one.mode is Mode.USAGE for one in self.rows):
            prorate = self.pax8_prorate - self.psa_prorate
            return Parts(usage=difference - prorate, prorate=prorate), False
        known = Parts(prorate=self.pax8_prorate - self.psa_prorate, usage=usage - self._posted_usage())
        if len(self.rows) == 1 and row.invoiced is not None and prices.psa is not None and prices.pax8 is not None:
            known = Parts(
                seats=rounded(Fraction(row.invoiced - row.psa_quantity) * prices.psa, self.currency),
                rate=rounded(Fraction(row.invoiced) * (prices.pax8 - prices.psa), self.currency),
                prorate=known.prorate,
                usage=known.usage,
                waiting=rounded(Fraction(waiting) * prices.psa, self.currency),
            )
        rest = difference - known.sum
        return Parts(
            seats=known.seats,
            rate=known.rate,
            prorate=known.prorate,
            usage=known.usage,
            waiting=known.waiting,
            other=rest,
        ), False

    def _is_usage(self, charge: Charge) -> bool:
        return is_usage(charge, self.tenant.rules_of.client(self.rows[0].client_id))

    def _posted_usage(self) -> Decimal:
        lines = (line for line in self.posted if line.charges and all(map(self._is_usage, line.charges)))
        return total(line.amount for line in lines)


def _sums(lines: Iterable[SeatLine]) -> tuple[Decimal | None, Decimal | None]:
    """A month's price and cost of lines that others keep; None where one of them is not known."""
    price: Decimal | None = ZERO
    cost: Decimal | None = ZERO
    for line in lines:
        price = None if price is None or line.money is None else price + line.money
        known = line.cost_money if line.cost_money is not None else ZERO if line.months is not None else None
        cost = None if cost is None or known is None else cost + known
    return price, cost


def _share(amount: Decimal, term: str, months: tuple[Period, Period | None], currency: str) -> Decimal:
    start, now = months
    length = months_of(term) or 1
    return share_of(amount, length, distance(start, now), currency) if now is not None else amount


@dataclass(frozen=True, slots=True, kw_only=True)
class OursCheck:
    """A client whose lines are all the billing job's own [BC10]: what is left of its price difference once what the
    plan did not post is taken off. Not zero: a fault of ours, or somebody edited an invoice."""

    client_id: int
    currency: str
    price_difference: Decimal
    dropped: Decimal
    held: Decimal
    excluded: Decimal

    @property
    def rest(self) -> Decimal:
        return self.price_difference - self.dropped - self.held - self.excluded


def ours_checks(tenant: Tenant, rows: Sequence[SeatRow], billing: Sequence[BillingRow]) -> list[OursCheck]:
    """One for each client and currency that only the billing job bills."""
    states = tenant.unposted
    kept = {row.client_id for row in rows for line in row.every_line if line.keeper is not Keeper.OURS}
    ours = {line.client_id for line in tenant.inputs.posted if line.period == tenant.period} - kept
    sums: dict[tuple[int, str], dict[str, Decimal]] = defaultdict(lambda: defaultdict(lambda: ZERO))
    for billed in billing:
        if billed.client_id in ours and billed.in_month.price_difference is not None:
            sums[billed.client_id, billed.currency]["difference"] += billed.in_month.price_difference
    for row in rows:
        for charge in row.money if row.leads else ():
            if row.client_id in ours and (one := states.get(charge.id)):
                sums[row.client_id, charge.currency][one.state] += charge.price
    return [
        OursCheck(
            client_id=client_id,
            currency=currency,
            price_difference=by_state["difference"],
            dropped=by_state["dropped"],
            held=by_state["held"],
            excluded=by_state["excluded"],
        )
        for (client_id, currency), by_state in sorted(sums.items())
    ]
