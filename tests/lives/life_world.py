"""Pax8 and HaloPSA in a life: what vendors and people do there, and what people decided.

Everything is written into the sandbox's tables. `Decisions` is what only people know: who pays for a company, and what
they approved, left out or spoilt. The model reads both, and nothing of the product's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from life_script import Script

from billingsync.sandbox.people import Deed
from billingsync.sandbox.wire import Row, copy_json
from billingsync.sandbox.world import World

FIRST = (2026, 1)
NAMES = ("Aster Dental", "Birch Law", "Cedar Foods", "Dogwood Labs", "Elm Motors")
HAND = "By hand"  # the title of every line that a person wrote
CREATION_DAY = 20  # of the month: HaloPSA's schedules


def period(month: int) -> str:
    year, number = divmod(FIRST[0] * 12 + FIRST[1] - 1 + month, 12)
    return f"{year}-{number + 1:02}"


def month_of(name: str) -> int:
    """The number of a period, as `period` writes it."""
    return int(name[:4]) * 12 + int(name[5:]) - 1 - (FIRST[0] * 12 + FIRST[1] - 1)


@dataclass
class Subscription:
    id: str
    seats: int
    price: Decimal
    cost: Decimal
    product: str


@dataclass
class Decisions:
    """`payer`: (company, period) -> client id, None where it is not billed. `spoilt`: client id -> [price, cost] that
    people added to or took off invoices of ours, by hand."""

    payer: dict[tuple[str, str], int | None] = field(default_factory=dict)
    spoilt: dict[int, list[Decimal]] = field(default_factory=dict)


class Scene:
    """The people, the companies and the clients of one life."""

    def __init__(self, world: World, script: Script) -> None:
        self.world, self.script = world, script
        self.month = 0
        self.decisions = Decisions()
        self.companies = [f"c0mpany{n}-0000-4000-8000-000000000000" for n in range(len(script.behaviors) - 1)]
        self.names = list(NAMES[: len(self.companies)])
        self.clients = [301 + n for n in range(len(script.behaviors))]
        self.behaviors = list(script.behaviors)
        self.owner = list(range(len(self.companies)))  # company number -> client number
        self.excluded: set[int] = set()
        self.gone: set[int] = set()
        self.extra: list[Row] = []  # charges of this month only
        self.rules_changed = True
        self._invoices = self._items = 0
        self.subscriptions = [
            [
                Subscription(f"sub{n}{k}", 5 + n + 2 * k, Decimal(20 + 3 * n) + Decimal(k * 37 + 11) / 100,
                             Decimal(15 + 2 * n) + Decimal(k * 29 + 7) / 100, f"Suite {'XYZ'[k]}")
                for k in range(script.charges)
            ]
            for n in range(len(self.companies))
        ]  # fmt: skip
        self._sow()

    # --- the beginning -----------------------------------------------------------------------------------------------

    def _sow(self) -> None:
        pax8, tables = self.world.pax8, self.world.halo.tables
        company, client = copy_json(pax8.companies[0]), copy_json(next(iter(tables.clients.values())))
        company.pop("externalId", None)
        site, template = copy_json(next(iter(tables.sites.values()))), copy_json(next(iter(tables.recurring.values())))
        for rows in (pax8.invoices, pax8.items, pax8.companies, pax8.subscriptions):
            rows.clear()
        for name in ("clients", "sites", "invoices", "recurring", "tickets"):
            tables.table(name).clear()
        for n, company_id in enumerate(self.companies):
            pax8.companies.append(company | {"id": company_id, "name": f"{self.names[n]} Ltd"})
        for n, client_id in enumerate(self.clients):
            tables.clients[client_id] = client | {
                "id": client_id, "name": NAMES[n] + " Ltd", "ref": f"C{client_id}", "main_site_id": 3_000 + n,
                "default_currency_code": 1, "default_currency_code_name": "USD", "currencyisocode": "USD",
                "item_tax_code": 1,
            }  # fmt: skip
            tables.sites[3_000 + n] = site | {"id": 3_000 + n, "client_id": Decimal(client_id)}
            row = template | {
                "id": self.template(n), "client_id": client_id, "client_name": NAMES[n] + " Ltd", "lines": [],
                "disabled": self.behaviors[n] != "recurring", "periodname": "Monthly", "invoiceday": CREATION_DAY,
                "nextcreationdate": f"{period(0)}-{CREATION_DAY}T06:00:00",
            }  # fmt: skip
            row["lines"] = [self._hand_line(row["id"], 60_000 + n, 4 + n, 10)]
            self._put("recurring", row)
        tables.settle()

    def _hand_line(self, invoice_id: int, line_id: int, quantity: int, price: int) -> Row:
        template: Row = {
            "item_code": "", "item_shortdescription": HAND, "item_longdescription": HAND, "nominal_code": "",
            "tax_code": "", "qty_order": quantity, "unit_price": price, "baseprice": price, "unit_cost": 3,
            "discount_perc": 0, "_itemid": 0, "productnumber": "", "comment_1": "as agreed", "comment_2": "",
            "asset_id": 0, "contract_id": 0, "ticket_id": 0, "recurring_invoice_id": 0, "recurring_invoice_line_id": 0,
            "recurring_invoice_quantity_type": 0, "group_id": 2, "isgroupdesc": False, "sequenceid": 10,
            "isinactive": False, "isActive": True, "hide_on_pdf": False, "xero_lineid": "",
            "xero_category_1_lookup": "", "xero_category_2_lookup": "", "supplier": 0, "decimalplacesforinvoices": 2,
            "customfields": [], "prorata_data": [], "quantity_users": [], "quantity_assets": [],
            "quantity_licences": [], "quantity_subscriptions": [],
        }  # fmt: skip
        return {"id": line_id, "ihid": invoice_id, **template}

    def _put(self, table: str, row: Row) -> None:
        invoices = self.world.halo.invoices
        for line in row["lines"]:
            invoices.lines.compute(row, line)
        invoices.compute(row)
        self.world.halo.tables.put(table, row)

    # --- time --------------------------------------------------------------------------------------------------------

    def moment(self) -> str:
        return self.world.halo.tables.moment()

    def until(self, day: int, hour: int = 9, month: int | None = None) -> None:
        """Time passes to that hour of the month; not at all where it is later already."""
        wanted = datetime.fromisoformat(f"{period(self.month if month is None else month)}-{day:02}T{hour:02}:00:00")
        self.world.advance(max((wanted - datetime.fromisoformat(self.moment())).total_seconds(), 0))

    # --- Pax8 --------------------------------------------------------------------------------------------------------

    def charge(self, n: int, kind: str, quantity: Any, price: Decimal, cost: Decimal, **more: Any) -> Row:
        """One charge of company number n in Pax8's notation."""
        self._items += 1
        quantity, month = Decimal(quantity), period(self.month)
        total, cost_total = _cents(quantity * price), _cents(quantity * cost)
        product = more.pop("product", "Suite X")
        row = {
            "id": f"item-{self._items:05}", "type": kind, "purchaseOrderNumber": "N/A",
            "companyId": self.companies[n], "companyName": f"{self.names[n]} Ltd", "quantity": quantity,
            "term": "Monthly", "sku": f"MST-{product[-1]}", "description": product, "productName": product,
            "productId": f"product-{product[-1]}", "details": None, "price": price, "subTotal": total, "total": total,
            "cost": cost, "costTotal": cost_total, "billedByPax8": False, "currencyCode": "USD",
            "salesTax": Decimal(0), "subscriptionId": more.pop("subscription", None), "vendorName": "Microsoft",
            "startPeriod": f"{month}-01", "endPeriod": f"{month}-28",
        }  # fmt: skip
        return row | more

    def release(self) -> str:
        """Pax8's invoice of the month: its id."""
        rows = [
            self.charge(n, "subscription", sub.seats, sub.price, sub.cost, subscription=sub.id, product=sub.product)
            for n, subs in enumerate(self.subscriptions)
            if n not in self.gone
            for sub in subs
        ]
        rows += self.extra
        self.extra = []
        return self.invoice(rows)

    def invoice(self, rows: list[Row], day: str = "", partner: str = "Partner") -> str:
        self._invoices += 1
        invoice_id = f"inv-{period(self.month)}-{self._invoices:03}"
        total = sum((row["costTotal"] for row in rows), Decimal(0))
        day = day or f"{period(self.month)}-01"
        self.world.pax8.items[invoice_id] = rows
        self.world.pax8.invoices.append(
            {"id": invoice_id, "total": total, "currencyCode": "USD", "balance": total, "carriedBalance": Decimal(0),
             "status": "Unpaid", "invoiceDate": day, "dueDate": day, "partnerName": partner}
        )  # fmt: skip
        return invoice_id

    def bill(self, invoice_id: str) -> Row:
        return next(row for row in self.world.pax8.invoices if row["id"] == invoice_id)

    def counted(self, month: str) -> list[str]:
        return [
            row["id"]
            for row in self.world.pax8.invoices
            if row["invoiceDate"].startswith(month) and row["status"] not in ("Void", "Credited")
        ]

    def reissue(
        self, invoice_id: str, change: Callable[[Row], None] = lambda row: None, status: str = "Credited"
    ) -> str:
        """The invoice is credited; the same charges come again on another, dated in the present month."""
        self.bill(invoice_id)["status"] = status
        rows = copy_json(self.world.pax8.items[invoice_id])
        for row in rows:
            self._items += 1
            row["id"] = f"item-{self._items:05}"
            change(row)
        return self.invoice(rows)

    def rewrite(self, invoice_id: str, change: Callable[[list[Row]], list[Row]]) -> None:
        """The invoice lists something else than it did."""
        rows = change(copy_json(self.world.pax8.items[invoice_id]))
        self.world.pax8.items[invoice_id] = rows
        total = sum((row["costTotal"] for row in rows), Decimal(0))
        self.bill(invoice_id).update(total=total, balance=total)

    def other_id(self, row: Row) -> None:
        self._items += 1
        row["id"] = f"item-{self._items:05}"

    # --- HaloPSA -----------------------------------------------------------------------------------------------------

    def template(self, n: int) -> int:
        return -(701 + n)

    def person(self, do: str, row_id: int, **more: Any) -> Row | None:
        return self.world.person(Deed(do=do, id=row_id, **more))

    def schedule(self, n: int, **changes: Any) -> None:
        table = self.world.halo.tables.recurring
        table[self.template(n)] = table[self.template(n)] | changes

    def hand_invoice(self, n: int) -> None:
        """A person opens an invoice for a client who gets our lines on the latest one."""
        tables = self.world.halo.tables
        row = self.world.halo.invoices.blank("invoices", self.clients[n])
        row |= {"reference": "by hand", "invoice_date": self.moment()}
        row["lines"] = [self._hand_line(row["id"], tables.new_id("lines"), 2, 50 + n)]
        row["duedate"] = row["last_modified"] = self.moment()
        self._put("invoices", row)

    def open_invoices(self, n: int) -> list[Row]:
        return [
            row
            for row in self.world.halo.tables.invoices.values()
            if row["client_id"] == self.clients[n] and not row["posted"] and not row["voided"]
        ]

    def close_older(self, days: int = 40) -> None:
        """Accounting takes what is older."""
        before = (datetime.fromisoformat(self.moment()) - timedelta(days=days)).isoformat()
        for row in list(self.world.halo.tables.invoices.values()):
            if row["invoice_date"] < before and not row["posted"] and not row["voided"]:
                self.person("close", row["id"], how="posted")

    def rename_client(self, n: int, name: str) -> None:
        clients = self.world.halo.tables.clients
        clients[self.clients[n]] = clients[self.clients[n]] | {"name": name}

    def rename_company(self, n: int, name: str) -> None:
        self.names[n] = name
        for row in self.world.pax8.companies:
            if row["id"] == self.companies[n]:
                row["name"] = f"{name} Ltd"


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"))
