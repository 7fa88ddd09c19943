"""A charge: one item of a distributor invoice, read once and never altered [S4]-[S7]."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billingsync.core.money import MAX_AMOUNT, ZERO, minor_unit, multiply, read_number, round_money

# Pax8's documented types (reference/pax8 3.4). Anything else is held, not guessed [S7].
KNOWN_TYPES = frozenset(
    {
        "subscription",
        "prorate",
        "one-time",
        "rebate",
        "payment-credit",
        "service-charge",
        "service-credit",
        "invoice-credit",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """`price` and `cost` are the rounded amounts; `unit_price`, `unit_cost`, `quantity` are Pax8's own, unrounded."""

    id: str  # "invoice id:item id", its identity [S5]
    invoice_id: str
    company_id: str | None
    company_name: str
    external_id: str
    type: str  # lower case, stripped; "" where absent
    term: str
    sku: str
    product_id: str
    product_name: str
    description: str
    details: str
    subscription_id: str
    purchase_order: str
    start: str  # service period as Pax8 writes it: shown, never computed with (reference/pax8 3.4)
    end: str
    quantity: Decimal | None
    unit_price: Decimal | None
    unit_cost: Decimal | None
    price: Decimal
    cost: Decimal
    price_rounding: Decimal  # what rounding on reading moved [S6]
    cost_rounding: Decimal
    sales_tax: Decimal
    currency: str
    billed_by_pax8: bool
    problem: str | None  # why an amount cannot be used (held as bad_amount); the bad amount counts as 0
    vendor: str = ""
    unit: str = ""  # what the quantity counts, as Pax8 writes it, e.g. "User"
    former_id: str = ""  # what earlier versions called a charge without an item id; "" where it has one [S5]

    @property
    def product(self) -> str:
        """What people call the thing sold."""
        return self.product_name or self.description or self.sku or "(no product name)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One distributor invoice, completely read [S2]. Amounts of the header as Pax8 gives them."""

    invoice_id: str
    invoice_date: date
    status: str
    currency: str
    total: Decimal | None
    carried_balance: Decimal | None
    partner_name: str
    charges: tuple[Charge, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """What carrying out a plan needs of a charge, when the month itself may be forgotten."""

    price: Decimal
    cost: Decimal
    company_id: str | None
    product: str  # as "new product" limits know it: the SKU, or the name where there is none


def charged(sources: Iterable[Source]) -> dict[str, Charged]:
    """Each charge of these invoices, by id."""
    return {
        one.id: Charged(price=one.price, cost=one.cost, company_id=one.company_id, product=one.sku or one.product_name)
        for source in sources
        for one in source.charges
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What the numbers of one item come to."""

    quantity: Decimal | None
    unit_price: Decimal | None
    unit_cost: Decimal | None
    price: Decimal
    cost: Decimal
    price_rounding: Decimal
    cost_rounding: Decimal
    problem: str | None


def read_amounts(
    *,
    currency: str,
    quantity: object,
    price: object,
    sub_total: object,
    total: object,
    cost: object,
    cost_total: object,
) -> Amounts:
    """Price and cost of an item [S6]: `total`, else `subTotal`, else `price x quantity`; `costTotal`, else
    `cost x quantity`. The arguments are JSON values as read with parse_float=Decimal."""
    problems: list[str] = []
    values = (quantity, price, cost, total, sub_total, cost_total)
    try:
        quantity_, unit_price, unit_cost, whole_price, sub, whole_cost = map(read_number, values)
    except ValueError:  # then which, and why
        numbers = [_number(*each, problems) for each in zip(_NUMBERS, values, strict=True)]
        quantity_, unit_price, unit_cost, whole_price, sub, whole_cost = numbers
    exact_price = whole_price if whole_price is not None else sub
    if exact_price is None and unit_price is not None and quantity_ is not None:
        exact_price = multiply(unit_price, quantity_)
    if whole_cost is None and unit_cost is not None and quantity_ is not None:
        whole_cost = multiply(unit_cost, quantity_)
    if exact_price is None and not problems:
        problems.append("neither total, subTotal nor price and quantity are given")
    if whole_cost is None and not problems:
        problems.append("neither costTotal nor cost and quantity are given")
    if minor_unit(currency) is None:
        problems.append(f"unknown currency {currency!r:.20}")
    for name, product in (("price x quantity", exact_price), ("cost x quantity", whole_cost)):
        if product is not None and abs(product) >= MAX_AMOUNT:
            problems.append(f"{name}: too large an amount: {product:.3E}")
    exact_price = ZERO if exact_price is None or abs(exact_price) >= MAX_AMOUNT else exact_price
    whole_cost = ZERO if whole_cost is None or abs(whole_cost) >= MAX_AMOUNT else whole_cost
    rounded_price, rounded_cost = round_money(exact_price, currency), round_money(whole_cost, currency)
    return Amounts(
        quantity=quantity_,
        unit_price=unit_price,
        unit_cost=unit_cost,
        price=rounded_price,
        cost=rounded_cost,
        price_rounding=rounded_price - exact_price or ZERO,  # the one nought, for almost all
        cost_rounding=rounded_cost - whole_cost or ZERO,
        problem="; ".join(problems) or None,
    )


_NUMBERS = ("quantity", "price", "cost", "total", "subTotal", "costTotal")


def _number(name: str, value: object, problems: list[str]) -> Decimal | None:
    try:
        return read_number(value)
    except ValueError as bad:
        problems.append(f"{name}: {bad}")
        return None
