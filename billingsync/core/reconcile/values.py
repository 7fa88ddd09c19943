"""The numbers of one line of a recurring invoice, as cards read and change them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from billingsync.core.money import ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """A line's own numbers: a unit's price and cost are those of the recurring invoice's whole period."""

    quantity: Decimal = ZERO
    unit_price: Decimal | None = None
    unit_cost: Decimal | None = None
