"""A tenant of any size, made fast: for measuring what a comparison costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from billingsync.core.charge import Charge
from billingsync.core.inputs import Client, Company, Item
from billingsync.core.period import Period
from billingsync.core.reconcile.snapshot import (
    Month,
    Product,
    ReconcileInputs,
    RecurringInvoice,
    RecurringLine,
    Snapshot,
    Subscription,
)
from billingsync.core.reconcile.taken import SnapshotState
from billingsync.core.rules import ClientFile, Rulebook, Rules

D = Decimal
PER_COMPANY = 12  # subscriptions; and 16 lines, 4 of which are the partner's own services
PRODUCTS = 3_000
_NOTHING = Charge(
    **dict.fromkeys(("company_name", "external_id", "description", "details", "purchase_order", "start", "end"), ""),
    **dict.fromkeys(("price_rounding", "cost_rounding", "sales_tax"), D(0)),
    id="",
    invoice_id="i",
    company_id="",
    type="subscription",
    term="Monthly",
    sku="",
    product_id="",
    product_name="",
    subscription_id="",
    quantity=D(0),
    unit_price=D("22.00"),
    unit_cost=D("18.00"),
    price=D(0),
    cost=D(0),
    currency="USD",
    billed_by_pax8=False,
    problem=None,
)


def large_tenant(companies: int, *, files: int = 100) -> ReconcileInputs:
    """Each company has its client, its recurring invoice and its charges; every seventh line is two seats off."""
    period = Period(2026, 11)
    subscriptions, invoices, charges = [], [], []
    for number in range(companies):
        lines = []
        for place in range(PER_COMPANY):
            product = (number * 7 + place * 131) % PRODUCTS
            seats = D(1 + (number + place) % 40)
            id_ = f"s{number}-{place}"
            subscriptions.append(
                Subscription(
                    id=id_,
                    company_id=f"c{number}",
                    product_id=f"p{product}",
                    quantity=seats,
                    status="Active",
                    billing_term="Monthly",
                    price=D("22.00"),
                    cost=D("18.00"),
                    currency="USD",
                )
            )
            charges.append(
                replace(
                    _NOTHING,
                    id=f"i:{id_}",
                    company_id=f"c{number}",
                    sku=f"SKU-{product}",
                    product_id=f"p{product}",
                    subscription_id=id_,
                    quantity=seats,
                    price=seats * D("22.00"),
                    cost=seats * D("18.00"),
                )
            )
            off = D(2) if (number + place) % 7 == 0 else D(0)
            lines.append(_line(len(invoices) * 100 + place + 1, 10_000 + product, seats + off))
        lines += [_line(len(invoices) * 100 + 50 + own, 5 + own, D(1)) for own in range(4)]
        invoices.append(
            RecurringInvoice(
                id=-1 - number, client_id=1 + number, currency="USD", period_name="Monthly", lines=tuple(lines)
            )
        )
    snapshot = Snapshot(
        id=1,
        as_at=datetime(2026, 11, 28, 5, 0, tzinfo=UTC),
        state=SnapshotState.WHOLE,
        companies=tuple(Company(id=f"c{number}", name=f"Company {number}") for number in range(companies)),
        subscriptions=tuple(subscriptions),
        products=tuple(Product(id=f"p{one}", sku=f"SKU-{one}", name=f"Product {one}") for one in range(PRODUCTS)),
        clients=tuple(Client(id=1 + one, name=f"Company {one}", currency="USD") for one in range(companies)),
        items=tuple(
            Item(id=10_000 + one, name=f"Item {one}", external_reference=f"SKU-{one}") for one in range(PRODUCTS)
        ),
        recurring=tuple(invoices),
    )
    own = tuple(ClientFile(path=f"{one}.toml", pax8_company=f"c{one}", rules=Rules()) for one in range(files))
    return ReconcileInputs(
        snapshot=snapshot, rulebook=Rulebook(clients=own), months=(Month(period=period, charges=tuple(charges)),)
    )


def _line(id_: int, item: int, quantity: Decimal) -> RecurringLine:
    return RecurringLine(
        id=id_, item_id=item, text="a line", quantity=quantity, unit_price=D("22.00"), unit_cost=D("18.00")
    )
