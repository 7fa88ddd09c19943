"""Sows what people keep by hand: Pax8 seats on recurring invoices, which mostly agree with what is subscribed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from billingsync.sandbox import products
from billingsync.sandbox.cast import Member
from billingsync.sandbox.halo import Halo
from billingsync.sandbox.halo_invoices import Invoices
from billingsync.sandbox.halo_lines import Lines
from billingsync.sandbox.notes import Notes
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.pax8 import Pax8
from billingsync.sandbox.wire import Row, copy_json

_FIRST = 4  # the clients before it have stories of their own
_LIVE = ("Active", "Activated", "PendingCancel")
_SOLD = {product.sku: product for product in products.COMMON}


def sow(halo: Halo, pax8: Pax8, options: SandboxOptions, members: Sequence[Member]) -> None:
    """`options.hand_kept` clients get a line for each product they have, and one difference each in turn."""
    tables = halo.tables
    plain = SandboxOptions(month=options.month)
    invoices = Invoices(plain, tables, Notes(), Lines(plain, tables, Notes()))
    items = {_sku(row): row for row in reversed(tables.items.values()) if _sku(row)}
    for place, member in enumerate(hand_kept(options, members)):
        lines = [_line(items[sku], quantity, sku) for sku, quantity in _seats(pax8, member).items() if sku in items]
        _differ(place, lines, options, items)
        invoice = next((row for row in tables.recurring.values() if row["client_id"] == member.client_id), None)
        if invoice is None:
            header = {
                "client_id": member.client_id, "reference": "Monthly services", "periodname": "Monthly",
                "nextcreationdate": f"{options.month}-28T00:00:00", "lines": lines,
            }  # fmt: skip
            invoice = invoices.save("recurring", header, "")
        else:
            invoice = invoices.save("recurring", {"id": invoice["id"], "lines": [*invoice["lines"], *lines]}, "")
            invoice["disabled"] = False
        _prorata(place, invoice, options)
        for line in invoice["lines"]:
            invoices.lines.compute(invoice, line)
        invoices.compute(invoice)
    tables.settle()


def hand_kept(options: SandboxOptions, members: Sequence[Member]) -> list[Member]:
    """The clients whose seats people keep."""
    clean = [member for member in members[: options.clients] if member.client]
    return clean[_FIRST : _FIRST + options.hand_kept]


def _sku(item: Row) -> str:
    """The SKU that an item of the catalogue stands for; items that only their name gives away are looked up by it."""
    code = item.get("externalreference") or item.get("supplier_part_code")
    by_name = {product.name: product.sku for product in products.COMMON if product.item == "name"}
    return str(code or by_name.get(item["name"], ""))


def _seats(pax8: Pax8, member: Member) -> dict[str, Decimal]:
    """Seats by SKU of what is live and sold by the seat and the month."""
    skus = {row["id"]: row["sku"] for row in pax8.products}
    found: dict[str, Decimal] = {}
    for row in pax8.subscriptions:
        sku = skus.get(row["productId"], "")
        mine = row["companyId"] == member.company_id and row["status"] in _LIVE and row["quantity"] is not None
        if mine and sku in _SOLD and row["billingTerm"] == "Monthly":
            found[sku] = found.get(sku, Decimal(0)) + Decimal(row["quantity"])
    return found


def _line(item: Row, quantity: Decimal, sku: str) -> Row:
    product = _SOLD[sku]
    return {
        "item_shortdescription": product.name, "item_longdescription": product.name, "_itemid": item["id"],
        "qty_order": quantity, "unit_price": product.price, "baseprice": product.price, "unit_cost": product.cost,
    }  # fmt: skip


def _differ(place: int, lines: list[Row], options: SandboxOptions, items: dict[str, Row]) -> None:
    """What somebody forgot, in turn: seats, a whole line, an end, a price, a second line, what was never bought."""
    if not lines:
        return
    first = lines[0]
    match place % 6:
        case 0:
            first["qty_order"] -= min(first["qty_order"] - 1, 2)
        case 1:
            del lines[0]
        case 2:
            first["qty_order"] += 3
        case 3:
            first["unit_price"] = first["baseprice"] = (first["unit_cost"] * Decimal("0.9")).quantize(Decimal("0.01"))
        case 4:
            lines.append(copy_json(first))
        case 5:
            sold = {line["_itemid"] for line in lines}
            other = next((sku for sku in _SOLD if sku in items and items[sku]["id"] not in sold), None)
            if other is not None:
                lines.append(_line(items[other], Decimal(3), other))


def _prorata(place: int, invoice: Row, options: SandboxOptions) -> None:
    """Every third has two more seats that HaloPSA adds to the line after its next invoice; the line is that much
    behind until then."""
    kept = [line for line in invoice["lines"] if line["_itemid"] and line["qty_order"] > 3 and line["id"] >= 0]
    seats = [line for line in kept if line["item_shortdescription"] in {one.name for one in _SOLD.values()}]
    if place % 3 or len(seats) < 2:
        return
    line = seats[-1]
    line["qty_order"] -= 2
    line["prorata_data"] = [
        {
            "id": 1, "invoicedetailid": line["id"], "recurring_invoice_id": invoice["id"],
            "date": f"{date.fromisoformat(f'{options.month}-20')}T00:00:00", "quantity": Decimal(2),
            "unitprice": line["unit_price"], "unitcost": line["unit_cost"], "isinvoiced": False,
            "shortdescription": line["item_shortdescription"], "longdescription": "",
        }
    ]  # fmt: skip
