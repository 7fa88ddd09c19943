"""A fixed price of a part is for a full period [P5]: what it comes to for prorates and credits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from billingsync.core.bill.modifiers import Draft
from billingsync.core.bill.plan import ItemRef
from billingsync.core.charge import Charge
from billingsync.core.money import divide
from billingsync.core.rules import Part

Items = Sequence[tuple[Part | None, ItemRef | None]]
Sold = tuple[str, str]  # company, and subscription or else SKU

_SHARE_DECIMALS = 20  # of a percentage: the share is rounded once, when it has become an amount


def full_prices(charges: Iterable[Charge], remembered: Mapping[Sold, Decimal]) -> dict[Sold, Decimal]:
    """Pax8's unit price of a full period, by what is sold to whom; what two charges contradict is not known."""
    found: dict[Sold, set[Decimal]] = defaultdict(set)
    for charge in charges:
        if charge.type == "subscription" and charge.price > 0 and charge.unit_price:
            found[sold(charge)].add(charge.unit_price)
    prices = {key: price for key, price in remembered.items() if key not in found}
    return prices | {key: next(iter(values)) for key, values in found.items() if len(values) == 1}


def sold(charge: Charge) -> Sold:
    """What a charge is for: a subscription of a company, else its SKU."""
    return charge.company_id or "", charge.subscription_id or f"sku {charge.sku}"


def needs_full_price(draft: Draft, items: Items) -> bool:
    """Whether a fixed price cannot simply be multiplied: prorates and credits are parts of a period."""
    fixed = any(part is not None and part.unit_price is not None for part, _ in items)
    return fixed and (draft.kind == "prorate" or draft.price < 0)


def as_shares(items: Items, full_price: Decimal) -> Items:
    """The same parts with the share in place of each fixed price that this price is of the full period's."""
    return [
        (_share(part, full_price) if part is not None and part.unit_price is not None else part, item)
        for part, item in items
    ]


def _share(part: Part, full_price: Decimal) -> Part:
    assert part.unit_price is not None
    return replace(part, unit_price=None, share=divide(part.unit_price * 100, full_price, _SHARE_DECIMALS))
