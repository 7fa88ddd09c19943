"""One group's amounts on both sides, and what makes their difference [BC1] [BC5] [BC6] [BC9]."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from billingsync.core.charge import Charge
from billingsync.core.money import ZERO, divide, multiply
from billingsync.core.period import Period
from billingsync.core.reconcile.classify import is_usage
from billingsync.core.reconcile.licences import Mode, SeatRow, billed_before_us
from billingsync.core.reconcile.lines import SeatLine
from billingsync.core.reconcile.prices import prices_of
from billingsync.core.reconcile.snapshot import PostedLine
from billingsync.core.reconcile.tenant import Tenant
from billingsync.core.reconcile.terms import distance, is_seats, months_of, rounded, share_of, total


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
class GroupAmounts:
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
