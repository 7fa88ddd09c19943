"""What one unit costs and brings on both sides, for one month [BC3] [FD1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from billingsync.core.charge import Charge
from billingsync.core.reconcile.licences import SeatRow
from billingsync.core.reconcile.tenant import Tenant
from billingsync.core.reconcile.terms import mean, months_of


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
