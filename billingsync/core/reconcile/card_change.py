"""What a card comes to: the summary of change, pro rata, and limits that only a reason lifts [CD5] [CD6] [CD9].

Computed anew for every typed value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from billingsync.core.money import ZERO
from billingsync.core.period import Period
from billingsync.core.reconcile.findings import Confidence
from billingsync.core.reconcile.snapshot import RecurringInvoice
from billingsync.core.reconcile.terms import rounded, total
from billingsync.core.reconcile.values import Values
from billingsync.core.rules import CardRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of HaloPSA's own pro rata: seats added from a day on, and about what they come to until the period
    ends."""

    day: date
    quantity: Decimal
    unit_price: Decimal | None
    unit_cost: Decimal | None
    amount: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The line as it would be less the line as it is, a month and a year; None where price, cost or months are not
    known. `cash` is revenue alone, as Pax8 bills these seats already; `once` is the pro rata."""

    revenue_month: Decimal | None
    revenue_year: Decimal | None
    recorded_profit_month: Decimal | None
    recorded_profit_year: Decimal | None
    cash_month: Decimal | None
    cash_year: Decimal | None
    once: Decimal | None
    currency: str


class Limit(StrEnum):
    """What must be lifted with a reason of its own, one card at a time."""

    QUANTITY = "quantity_change"
    PRICE = "price_change"
    BELOW_COST = "below_cost"
    DECREASE_ON_LOOK = "decrease_on_look"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a line's money hangs on beside its own numbers."""

    months: int | None
    discount_percent: Decimal
    currency: str


def change_of(before: Values, after: Values, terms: Terms, entries: Sequence[Entry]) -> Change:
    """[CD5]: every line is rounded as HaloPSA rounds it, then divided by its months."""
    added = total(entry.quantity for entry in entries)
    then = Values(quantity=after.quantity + added, unit_price=after.unit_price, unit_cost=after.unit_cost)
    discount = 1 - Fraction(terms.discount_percent) / 100
    revenue = _less(_whole(then, "unit_price", discount, terms), _whole(before, "unit_price", discount, terms))
    cost = _less(_whole(then, "unit_cost", Fraction(1), terms), _whole(before, "unit_cost", Fraction(1), terms))
    profit = None if revenue is None or cost is None else revenue - cost
    amounts = [entry.amount for entry in entries]
    once = None if not entries or None in amounts else total(one for one in amounts if one is not None)
    return Change(
        revenue_month=_a_month(revenue, terms),
        revenue_year=_a_year(revenue, terms),
        recorded_profit_month=_a_month(profit, terms),
        recorded_profit_year=_a_year(profit, terms),
        cash_month=_a_month(revenue, terms),
        cash_year=_a_year(revenue, terms),
        once=once,
        currency=terms.currency,
    )


def _whole(values: Values, name: str, factor: Fraction, terms: Terms) -> Decimal | None:
    unit = getattr(values, name)
    if values.quantity == 0:
        return ZERO
    return None if unit is None else rounded(Fraction(values.quantity) * Fraction(unit) * factor, terms.currency)


def _less(then: Decimal | None, now: Decimal | None) -> Decimal | None:
    return None if then is None or now is None else then - now


def _a_month(amount: Decimal | None, terms: Terms) -> Decimal | None:
    return None if amount is None or not terms.months else rounded(Fraction(amount) / terms.months, terms.currency)


def _a_year(amount: Decimal | None, terms: Terms) -> Decimal | None:
    return None if amount is None or not terms.months else rounded(Fraction(amount) * 12 / terms.months, terms.currency)


def running_period(invoice: RecurringInvoice | None, day: date) -> tuple[date, date]:
    """First and last day of the period that a day lies in: the recurring invoice's own, else the calendar month."""
    first, following = (invoice.last_created, invoice.next_creation) if invoice is not None else (None, None)
    if first is not None and following is not None and first <= day < following:
        return first, following - timedelta(days=1)
    month = Period.of(day)
    return month.first_day, month.last_day


def pro_rata(
    added: Iterable[tuple[date, Decimal]], after: Values, terms: Terms, invoice: RecurringInvoice | None
) -> tuple[Entry, ...]:
    """Seats x price x days left, the first one included / days of the period [CD6], for each day on its own."""
    entries = []
    for day, quantity in sorted(added):
        first, last = running_period(invoice, day)
        days, left = (last - first).days + 1, (last - day).days + 1
        amount = None
        if after.unit_price is not None:
            amount = rounded(Fraction(quantity) * Fraction(after.unit_price) * left / days, terms.currency)
        entries.append(
            Entry(
                day=day,
                quantity=quantity,
                unit_price=after.unit_price,
                unit_cost=after.unit_cost,
                amount=amount,
            )
        )
    return tuple(entries)


def limits_of(
    before: Values, after: Values, *, is_new: bool, real_cost: Decimal | None, confidence: Confidence, rules: CardRules
) -> tuple[Limit, ...]:
    """What a card goes beyond [CD9]. `real_cost` is what Pax8 takes for a unit in the line's period."""
    found = []
    moved = abs(after.quantity - before.quantity)
    if not is_new and moved > rules.quantity_change_min:
        base = abs(before.quantity)
        if base == 0 or moved * 100 > rules.quantity_change_percent_max * base:
            found.append(Limit.QUANTITY)
    if before.unit_price and after.unit_price is not None and not is_new:
        change = abs(after.unit_price - before.unit_price) * 100
        if change > rules.price_change_percent_max * abs(before.unit_price):
            found.append(Limit.PRICE)
    cost = real_cost if real_cost is not None else after.unit_cost
    if after.quantity > 0 and cost is not None and after.unit_price is not None and after.unit_price < cost:
        found.append(Limit.BELOW_COST)
    if after.quantity < before.quantity and confidence is Confidence.LOOK:
        found.append(Limit.DECREASE_ON_LOOK)
    return tuple(found)
