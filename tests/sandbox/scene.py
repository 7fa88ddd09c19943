"""A small stage for billing rules: months at Pax8 as a test writes them, and people who work in HaloPSA meanwhile."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

from cli import MARK, Office, cents

from billingsync.sandbox import cast, products
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox
from billingsync.sandbox.wire import copy_json

STAGE = SandboxOptions(trouble=False, clients=8, charges=40, history=0)
PRODUCTS = {product.sku: product for product in products.ALL}
M365, STANDARD, DEFENDER, BACKUP, SHIELD = (
    "MST-NCE-M365BP-C1", "MST-NCE-M365BS-C1", "MST-NCE-DEFBUS-C1", "HBL-BKP-SRV-C1", "LNT-MAIL-ADV",
)  # fmt: skip
AZURE, SETUP, SIEM = "MST-AZR-PLN-C100", "CRN-SETUP-1", "VRD-SIEM-100"
COMPUTED = {"revenue", "tax_total", "total", "amountdue", "change_seq", "last_modified", "contains_calculated_quantity"}


@dataclass
class Scene:
    sandbox: Sandbox
    office: Office
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        pax8 = self.sandbox.pax8
        pax8.invoices.clear()
        pax8.items.clear()

    def company(self, client: int) -> cast.Member:
        options = self.sandbox.options
        return next(
            one for one in cast.members(options.seed, options.clients, trouble=False) if one.client_id == client
        )

    def listed(self, client: int = 214) -> dict[str, Any]:
        """The company as Pax8 lists it, to be changed in place."""
        id_ = self.company(client).company_id
        return next(row for row in self.sandbox.pax8.companies if row["id"] == id_)

    def charge(
        self, sku: str, quantity: Any = 1, price: Any = None, *, client: int = 214, **more: Any
    ) -> dict[str, Any]:
        """One charge in Pax8's notation; `sub` is its subscription, `type` and the rest as Pax8 has them."""
        product, member = PRODUCTS[sku], self.company(client)
        unit = product.price if price is None else Decimal(str(price))
        unit_cost = more.pop("cost", None)
        unit_cost = (
            (unit * Decimal("0.8")).quantize(Decimal("0.0001")) if unit_cost is None else Decimal(str(unit_cost))
        )
        quantity = Decimal(str(quantity))
        total, cost = cents(unit * quantity), cents(unit_cost * quantity)
        row = {
            "id": f"item-{next(self._numbers):04d}", "type": "subscription", "purchaseOrderNumber": "N/A",
            "companyId": member.company_id, "companyName": member.company, "quantity": quantity, "term": "Monthly",
            "sku": sku, "description": product.name, "productName": product.name, "productId": f"product-{sku}",
            "details": None, "price": unit, "subTotal": total, "total": total, "cost": unit_cost, "costTotal": cost,
            "billedByPax8": False, "currencyCode": member.currency, "salesTax": Decimal(0),
            "subscriptionId": more.pop("sub", None), "vendorName": product.vendor,
        }  # fmt: skip
        if external_id := self.listed(client).get("externalId"):
            row["externalId"] = external_id
        return row | more

    def month(self, period: str, *charges: dict[str, Any], invoice: str = "") -> None:
        """Pax8 releases these charges; of a month that is there already, as one more invoice."""
        invoice_id = (
            invoice
            or f"inv-{period}-{sum(row['invoiceDate'].startswith(period) for row in self.sandbox.pax8.invoices)}"
        )
        rows = [{"startPeriod": f"{period}-01", "endPeriod": f"{period}-28", **row} for row in charges]
        total = sum((row["costTotal"] for row in rows), Decimal(0))
        self.sandbox.pax8.items[invoice_id] = rows
        self.sandbox.pax8.invoices.append(
            {
                "id": invoice_id, "total": total, "currencyCode": "USD", "balance": total, "carriedBalance": Decimal(0),
                "status": "Unpaid", "invoiceDate": f"{period}-01", "dueDate": f"{period}-15", "partnerName": "Partner",
            }
        )  # fmt: skip

    # HaloPSA's tables

    def invoice(self, invoice_id: int) -> dict[str, Any]:
        table = self.sandbox.halo.recurring if invoice_id < 0 else self.sandbox.halo.invoices
        return table[invoice_id]

    def latest(self, client: int) -> dict[str, Any]:
        mine = [row for row in self.sandbox.halo.invoices.values() if row["client_id"] == client]
        return max(mine, key=lambda row: (row["invoice_date"][:10], row["id"]))

    def edit(self, invoice_id: int, line_id: int | None = None, **changes: Any) -> None:
        """A person changes an invoice, or one of its lines, in HaloPSA's own screens."""
        tables = self.sandbox.halo
        table = "recurring" if invoice_id < 0 else "invoices"
        row = copy_json(tables.table(table)[invoice_id])
        target = row if line_id is None else next(line for line in row["lines"] if line["id"] == line_id)
        for name, value in changes.items():
            tables.log_change(invoice_id, line_id or 0, name, target[name], value)
            tables.changes[-1]["who"] = "Jane"
        target |= changes
        invoices = self.sandbox._world.halo.invoices
        for line in row["lines"]:
            invoices.lines.compute(row, line)
        invoices.compute(row)
        row |= {"change_seq": row["change_seq"] + 1, "last_modified": tables.moment()}
        tables.put(table, row)

    def delete_line(self, invoice_id: int, line_id: int) -> None:
        tables = self.sandbox.halo
        table = "recurring" if invoice_id < 0 else "invoices"
        row = copy_json(tables.table(table)[invoice_id])
        row["lines"] = [line for line in row["lines"] if line["id"] != line_id]
        tables.put(table, row)

    @contextlib.contextmanager
    def meanwhile(self, path: str, act: Callable[[], None], method: str = "POST") -> Iterator[list[str]]:
        """`act` happens once, right before HaloPSA handles the first such call: after we read, before we write."""
        world = self.sandbox._world
        answer, done = world.answer, []

        def answered(service: str, request: Any, call: Any, **more: Any) -> Any:
            if not done and service == "halo" and (request.method, request.path.lower()) == (method, path.lower()):
                done.append(path)
                act()
            return answer(service, request, call, **more)

        with mock.patch.object(world, "answer", answered):
            yield done


def ours(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The live lines of an invoice that carry our mark, wherever it is."""
    found = []
    for line in row["lines"]:
        places = [
            line["item_longdescription"],
            line["productnumber"],
            *(str(one["value"]) for one in line["customfields"]),
        ]
        if not line["isinactive"] and any(MARK.search(place) for place in places):
            found.append(line)
    return found


def all_marks(sandbox: Sandbox) -> list[tuple[str, str]]:
    """(key, ordinal) of every mark on every live line, recurring invoices too: none may be there twice."""
    rows = [*sandbox.halo.invoices.values(), *sandbox.halo.recurring.values()]
    found = []
    for line in (line for row in rows for line in ours(row)):
        places = f"{line['item_longdescription']} {line['productnumber']} {line['customfields']}"
        found += [(mark[1], mark[3]) for mark in MARK.finditer(places)]
    return found


def texts(row: Mapping[str, Any]) -> list[str]:
    """Our lines in words: "9 x 22.00 Microsoft 365 Business Premium"."""
    return sorted(
        f"{Decimal(line['qty_order']).normalize():f} x {Decimal(line['unit_price']):.2f} "
        f"{line['item_shortdescription'].partition(' (20')[0]}"
        for line in ours(row)
    )


def total(row: Mapping[str, Any]) -> Decimal:
    """What our live lines come to, as HaloPSA computed them."""
    return sum((cents(line["net_amount"]) for line in ours(row)), Decimal(0))


def theirs(row: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What must come back byte for byte [B4]: the header without what HaloPSA computes, and every line but ours."""
    header = {name: value for name, value in row.items() if name not in COMPUTED and name != "lines"}
    foreign = [
        line
        for line in row["lines"]
        if not MARK.search(f"{line['item_longdescription']}{line['productnumber']}{line['customfields']}")
    ]
    return copy_json(header), copy_json(foreign)


def scene(sandbox: Sandbox, folder: Path, **settings: str) -> Scene:
    office = Office(folder, sandbox, settings={f"BILLINGSYNC_{name}": value for name, value in settings.items()})
    return Scene(sandbox, office)
