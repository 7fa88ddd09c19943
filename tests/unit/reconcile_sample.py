"""Small tenants for the tests of the reconciliation: say what is there, get the inputs of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from billingsync.core.charge import Charge
from billingsync.core.inputs import Client, Company, Item
from billingsync.core.money import round_money
from billingsync.core.period import Period
from billingsync.core.reconcile.card import Card, Choice
from billingsync.core.reconcile.cards import cards_of
from billingsync.core.reconcile.compare import Reconciliation, compare, compare_tenant
from billingsync.core.reconcile.findings import Finding, Kind
from billingsync.core.reconcile.licences import SeatRow
from billingsync.core.reconcile.snapshot import (
    ItemTerms,
    Month,
    PostedLine,
    Product,
    ReconcileInputs,
    RecurringInvoice,
    RecurringLine,
    SeatChange,
    Snapshot,
    Subscription,
    Unposted,
)
from billingsync.core.reconcile.taken import SnapshotState
from billingsync.core.reconcile.tenant import tenant_of
from billingsync.core.rules import ClientFile, Rulebook, Rules

D = Decimal
NOVEMBER = Period(2026, 11)
AS_AT = datetime(2026, 11, 28, 5, 0, tzinfo=UTC)
BP, DEFENDER = "MST-NCE-M365BP-C1", "DEF-BUS"
ITEMS = {BP: 1502, DEFENDER: 1503}
NAMES = {BP: "Microsoft 365 Business Premium", DEFENDER: "Defender for Business"}


def number(value: object) -> Decimal | None:
    return None if value is None else D(str(value))


@dataclass
class Book:
    """A partner's two sides, filled by the methods below. Contoso (company "c1") is client 214."""

    companies: dict[str, Company] = field(default_factory=dict)
    clients: dict[int, Client] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    items: dict[int, Item] = field(default_factory=dict)
    terms: dict[int, ItemTerms] = field(default_factory=dict)
    subscriptions: list[Subscription] = field(default_factory=list)
    invoices: dict[int, RecurringInvoice] = field(default_factory=dict)
    charges: dict[Period, list[Charge]] = field(default_factory=dict)
    posted: list[PostedLine] = field(default_factory=list)
    unposted: list[Unposted] = field(default_factory=list)
    changes: list[SeatChange] = field(default_factory=list)
    rules: Rules = field(default_factory=Rules)
    files: list[ClientFile] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)  # of ReconcileInputs
    snapshot_more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.company("c1", 214, "Contoso Ltd")
        for sku in (BP, DEFENDER):
            self.product(sku, NAMES[sku], item=ITEMS[sku])

    def company(self, id_: str, client_id: int | None, name: str, currency: str = "USD", **more: Any) -> None:
        external = str(client_id) if client_id else ""
        self.companies[id_] = Company(id=id_, name=name, external_id=external, **more)
        if client_id and client_id not in self.clients:
            self.clients[client_id] = Client(id=client_id, name=name, currency=currency)

    def product(self, sku: str, name: str = "", *, item: int | None = None, vendor: str = "Microsoft") -> None:
        self.products[f"p-{sku}"] = Product(id=f"p-{sku}", sku=sku, name=name or sku, vendor=vendor)
        if item:
            self.items[item] = Item(id=item, name=f"Item {item}", external_reference=sku)

    def sub(self, id_: str, seats: object, sku: str = BP, *, company: str = "c1", **more: Any) -> Subscription:
        values: dict[str, Any] = {"status": "Active", "billing_term": "Monthly", "currency": "USD"}
        values |= {"price": "22.00", "cost": "18.00"} | more
        values["price"], values["cost"] = number(values["price"]), number(values["cost"])
        made = Subscription(
            id=id_, company_id=company, product_id=f"p-{sku}" if sku else "", quantity=number(seats), **values
        )
        self.subscriptions.append(made)
        return made

    def line(
        self,
        id_: int,
        quantity: object,
        item: int | None = ITEMS[BP],
        *,
        invoice: int = -237,
        client: int = 214,
        price: object = "22.00",
        cost: object = "18.00",
        header: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        made = RecurringLine(
            id=id_,
            item_id=item,
            quantity=number(quantity),
            unit_price=number(price),
            unit_cost=number(cost),
            **{"text": "a line", **more},
        )
        at = self.invoices.get(invoice)
        if at is None:
            values = {"period_name": "Monthly", "currency": "USD", **(header or {})}
            at = RecurringInvoice(id=invoice, client_id=client, **values)
        self.invoices[invoice] = replace(at, lines=(*at.lines, made))

    def charge(
        self,
        quantity: object,
        sku: str = BP,
        *,
        sub: str = "",
        price: object = "22.00",
        cost: object = "18.00",
        month: Period = NOVEMBER,
        amount: object = None,
        cost_amount: object = None,
        **more: Any,
    ) -> Charge:
        values: dict[str, Any] = {"type": "subscription", "term": "Monthly", "currency": "USD", "company_id": "c1"}
        values |= more
        count, unit, unit_cost = number(quantity), number(price), number(cost)
        assert count is not None and unit is not None and unit_cost is not None
        rows = self.charges.setdefault(month, [])
        whole = number(amount) if amount is not None else round_money(count * unit, values["currency"])
        whole_cost = (
            number(cost_amount) if cost_amount is not None else round_money(count * unit_cost, values["currency"])
        )
        texts = (
            "company_name",
            "external_id",
            "product_name",
            "description",
            "details",
            "purchase_order",
            "start",
            "end",
        )
        made = Charge(
            **dict.fromkeys(texts, ""),
            **{
                "id": f"{month}:{len(rows)}",
                "invoice_id": str(month),
                "sku": sku,
                "product_id": f"p-{sku}",
                "subscription_id": sub,
                "quantity": count,
                "unit_price": unit,
                "unit_cost": unit_cost,
                "price": whole,
                "cost": whole_cost,
                "price_rounding": D(0),
                "cost_rounding": D(0),
                "sales_tax": D(0),
                "billed_by_pax8": False,
                "problem": None,
                **values,
            },
        )
        rows.append(made)
        return made

    def post(self, *charges: Charge, client: int = 214, month: Period = NOVEMBER, **more: Any) -> None:
        """A posted line of these charges, on an invoice of its own."""
        first = charges[0]
        values: dict[str, Any] = {
            "quantity": sum(charge.quantity or D(0) for charge in charges),
            "unit_price": first.unit_price,
            "unit_cost": first.unit_cost,
            "amount": sum(charge.price for charge in charges),
            "cost": sum(charge.cost for charge in charges),
            "currency": first.currency,
            "invoice_id": 9000 + len(self.posted),
            "line_id": 1,
            "recurring": False,
        }
        self.posted.append(
            PostedLine(
                period=month, client_id=client, company_id=first.company_id or "", charges=charges, **(values | more)
            )
        )

    def inputs(self) -> ReconcileInputs:
        snapshot: dict[str, Any] = {
            "id": 41,
            "as_at": AS_AT,
            "state": SnapshotState.WHOLE,
            "companies": tuple(self.companies.values()),
            "subscriptions": tuple(self.subscriptions),
            "products": tuple(self.products.values()),
            "clients": tuple(self.clients.values()),
            "items": tuple(self.items.values()),
            "item_terms": self.terms,
            "recurring": tuple(self.invoices.values()),
        }
        values: dict[str, Any] = {
            "rulebook": Rulebook(base=self.rules, clients=tuple(self.files)),
            "months": tuple(Month(period=period, charges=tuple(rows)) for period, rows in self.charges.items()),
            "posted": tuple(self.posted),
            "unposted": tuple(self.unposted),
            "changes": tuple(self.changes),
        }
        return ReconcileInputs(snapshot=Snapshot(**(snapshot | self.snapshot_more)), **(values | self.more))

    def compare(self) -> Reconciliation:
        return compare(self.inputs())

    def cards(self, choices: Mapping[str, Choice] | None = None) -> tuple[Card, ...]:
        tenant = tenant_of(self.inputs())
        return cards_of(compare_tenant(tenant), tenant, choices)

    def card(self, **choice: Any) -> Card:
        """The only card; with a choice the one that was made for it."""
        (card,) = self.cards()
        if choice:
            (card,) = self.cards({card.id: Choice(**choice)})
        return card

    def row(self, key: str = BP) -> SeatRow:
        (row,) = [row for row in self.compare().rows if row.key == key]
        return row

    def findings(self) -> dict[Kind, Finding]:
        found = self.compare().findings
        assert len({one.kind for one in found}) == len(found), [one.kind for one in found]
        return {one.kind: one for one in found}


def ours(rules: Rules, **reconcile: Any) -> Rules:
    return replace(rules, reconcile=replace(rules.reconcile, **reconcile))
