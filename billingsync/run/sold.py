"""What companies have at Pax8 right now, for mapping: a subscription that was not charged yet cannot be mapped else."""

from __future__ import annotations

from dataclasses import dataclass

from billingsync.connect import Connections
from billingsync.sources.pax8.seats import read_product, read_subscription

_OVER = frozenset({"cancelled", "converted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold:
    """Companies (by id) and products (SKU and name) with a subscription that has not ended. `why`: what could not be
    read; then the newest month's charges have to do."""

    companies: frozenset[str] = frozenset()
    products: tuple[tuple[str, str], ...] = ()
    why: str = ""


def sold_now(connections: Connections) -> Sold:
    """Reads Pax8's subscriptions and products."""
    lists = connections.pax8.lists()
    subscriptions, products = lists["subscriptions"], lists["products"]
    if why := subscriptions.why or products.why:
        return Sold(why=why)
    known = {found.id: found for row in products.rows if (found := read_product(row)) is not None}
    companies: set[str] = set()
    goods: dict[tuple[str, str], None] = {}
    for row in subscriptions.rows:
        one = read_subscription(row)
        if one.status.casefold() in _OVER:
            continue
        companies.add(one.company_id)
        product = known.get(one.product_id)
        sku, name = (product.sku, product.name) if product else ("", one.product_name)
        if sku or name:
            goods.setdefault((sku.strip(), name or one.product_name))
    return Sold(companies=frozenset(companies), products=tuple(goods))
