"""Sows the emulated HaloPSA: clients, catalogue, and invoices that people made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from billingsync.sandbox import cast, products
from billingsync.sandbox.cast import Member
from billingsync.sandbox.halo import Halo
from billingsync.sandbox.halo_invoices import Invoices
from billingsync.sandbox.halo_lines import Lines
from billingsync.sandbox.halo_tables import HaloTables
from billingsync.sandbox.notes import Notes
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.wire import Row

_CURRENCIES = {"USD": 1, "EUR": 2, "GBP": 3}
_OLD_INVOICES = 53  # of the first client: one list of one client is longer than HaloPSA's silent 50
_OWN_ITEMS = (
    "Managed Workstation", "Managed Server", "Service Desk, per user", "Network Monitoring", "Firewall, rented",
    "On-site Visit", "Remote Support, hour", "Project Day", "Laptop 14 inch", "Laptop 16 inch", "Docking Station",
    "Monitor 24 inch", "Monitor 27 inch", "Access Point", "Switch 24 Port", "Switch 48 Port", "Printer", "Toner Black",
    "Toner Colour", "USB-C Cable", "Headset", "Webcam", "Conference Phone", "Rack 12U", "Battery Backup",
)  # fmt: skip


def sow(halo: Halo, options: SandboxOptions, members: Sequence[Member]) -> None:
    tables = halo.tables
    _lists(tables)
    _catalogue(tables)
    for index, member in enumerate([*(one for one in members if one.client), *cast.others()]):
        _client(tables, member, index)
    # seeded invoices are as HaloPSA itself made them, whatever the switches do to what is written from now on
    plain = SandboxOptions(month=options.month)
    invoices = Invoices(plain, tables, Notes(), Lines(plain, tables, Notes()))
    first_day = date.fromisoformat(f"{options.month}-01")
    for index, client in enumerate(list(tables.clients.values())):
        _client_invoices(invoices, client, index, first_day)
        _client_recurring(invoices, client, index)
    tables.settle()


def _lists(tables: HaloTables) -> None:
    for code, symbol, rate in (("USD", "$", 1), ("EUR", "€", Decimal("0.92")), ("GBP", "£", Decimal("0.79"))):
        number = _CURRENCIES[code]
        tables.currencies[number] = {
            "id": number, "name": code, "code": code, "symbol": symbol, "conversion_rate": rate,
        }  # fmt: skip
    for number, name, code, percent in (
        (1, "Zero rate", "ZERO", 0),
        (2, "Sales tax", "ST8", 8),
        (12, "VAT", "VAT19", 19),
    ):
        tables.taxes[number] = {"id": number, "name": name, "code": code, "value": percent}
    for number, name in ((21, "Pax8"), (22, "Harbor Hardware Supply"), (23, "Old Wholesale")):
        tables.suppliers[number] = {"id": number, "name": name, "inactive": number == 23}
    for number, name in ((31, "Hardware"), (32, "Managed Services"), (33, "Licences"), (34, "Desktops")):
        # the last one groups devices, not things that are sold
        tables.groups[number] = {
            "id": number, "name": name, "showasitem": number != 34, "showasequip": number == 34, "sequence": number,
            "nominalcode": "", "nominalcodepurchase": "",
        }  # fmt: skip
    for number, name in ((200, "Sales"), (210, "Licence sales"), (310, "Cost of sales"), (320, "Licence purchases")):
        tables.lookups[number] = {"id": number, "lookupid": 70, "name": name, "custom1": ""}


def _catalogue(tables: HaloTables) -> None:
    rows: list[Row] = []

    def item(name: str, price: Decimal, cost: Decimal, group: int, **more: Any) -> None:
        rows.append(
            {
                "id": 401 + len(rows), "name": name, "status": 0, "assetgroup_id": group, "assetgroup_name":
                tables.groups[group]["name"], "description": "", "internalreference": "", "externalreference": "",
                "supplier_part_code": "", "baseprice": price, "costprice": cost, "recurringprice": price,
                "recurringcost": cost, "isrecurringitem": group != 31, "nominalcode": "200",
                "purchasenominalcode": "310", "taxcode": 0, "supplier_id": 0, "dont_track_stock": group != 31,
                "doesnotneedconsigning": group != 31, "dontinvoice": False, "third_party_id": "", "item_suppliers": [],
                "customfields": [], "external_links": [], **more,
            }
        )  # fmt: skip

    for index, name in enumerate(_OWN_ITEMS):
        item(name, Decimal(15 + 7 * index), Decimal(9 + 4 * index), 32 if index < 8 else 31)
    for product in products.ALL:
        more: Row = {"supplier_id": 21, "supplier_name": "Pax8"}
        if product.item in ("reference", "twice"):
            more["externalreference"] = product.sku
        if product.item == "part code":
            more["supplier_part_code"] = product.sku
            more["item_suppliers"] = [{"id": 9_000 + len(rows), "supplier_id": 21, "supplier_sku": product.sku}]
        if product.item != "not at all":
            name = product.name if product.item == "name" else f"{product.vendor}: {product.name}"
            item(name, product.price, product.cost, 33, **more)
        if product.item == "twice":
            item(f"{product.name} (old contract)", product.price, product.cost, 33, **more)
    item("Microsoft 365 Business Premium (retired)", Decimal(20), Decimal(16), 33, status=1)
    for number in range(1, 11):  # the list is longer than 50
        item(f"Spare part {number:02d}", Decimal("4.50") * number, Decimal(3) * number, 31)
    tables.load("items", rows)


def _client(tables: HaloTables, member: Member, index: int) -> None:
    site_id = 3_000 + index
    tables.clients[member.client_id] = {
        "id": member.client_id, "name": member.client, "toplevel_id": 12, "toplevel_name": "Customers",
        "inactive": False, "colour": "#a75ded", "use": "client", "ref": f"C{member.client_id}", "accountsid": "",
        "stopped": 0, "dontinvoice": False, "excludefrominvoicesync": False, "is_account": True, "isopportunity": 0,
        "client_to_invoice": 0, "client_to_invoice_recurring": 0, "main_site_id": site_id, "main_site_name": "Main",
        "default_currency_code": _CURRENCIES[member.currency], "default_currency_code_name": member.currency,
        "currencyisocode": member.currency, "paymentterms": 30, "due_date_type": 0, "item_tax_code": member.tax,
        "taxable": member.tax != 1, "xeroid": "", "pax8monthlyinvoice": 0, "pax8annualinvoice": 0, "trading_name": "",
        "notes": "", "customfields": [], "external_links": [], **dict(member.client_flags),
    }  # fmt: skip
    tables.sites[site_id] = {
        "id": site_id, "name": "Main", "client_id": Decimal(f"{member.client_id}.0"), "client_name": member.client,
        "inactive": False, "isinvoicesite": True, "site_item_tax_code": 0,
    }  # fmt: skip


def _line(title: str, quantity: str, price: str, **more: Any) -> Row:
    return {
        "item_shortdescription": title, "item_longdescription": title, "qty_order": Decimal(quantity),
        "unit_price": Decimal(price), "baseprice": Decimal(price), "unit_cost": Decimal(price) * Decimal("0.6"), **more,
    }  # fmt: skip


def _client_invoices(invoices: Invoices, client: Row, index: int, first_day: date) -> None:
    """Last month's invoice in one of eight conditions, and older ones."""
    for age in range(_OLD_INVOICES if index == 0 else 1, 0, -1):
        day = first_day - timedelta(days=30 + 28 * age)
        old = _made(invoices, client, day, [_line("Remote Support, hour", str(age % 3 + 1), "95.00", _itemid=407)])
        _close(old, "paid")
    day = first_day - timedelta(days=16)
    lines = [
        # properties that a billing program does not know, and must bring back as they were
        _line("Managed Workstation", "12", "35.00", _itemid=401, comment_1="per contract", nominal_code="200",
              group_id=3, sequenceid=10, xero_category_1_lookup="Region: North"),
        _line("On-site Visit", "1.5", "120.00", sequenceid=20, discount_perc=Decimal("10"), comment_2="signed by hand",
              customfields=[{"id": 101, "value": "kept"}]),
        _line("Thank you for your business", "1", "0", isgroupdesc=True, sequenceid=30),
    ]  # fmt: skip
    row = _made(invoices, client, day, lines, reference=f"{client['ref']}-services", order_number="hand-made")
    _close(row, ("open", "posted", "synced", "sent", "paid", "voided", "credit", "open")[index % 8])


def _made(invoices: Invoices, client: Row, day: date, lines: list[Row], **header: Any) -> Row:
    sent = {
        "client_id": client["id"], "invoice_date": f"{day}T12:00:00", "lines": lines, "notes_1": "Payable in 30 days",
        "notes_2": "checked", "contract_id": 7, "due_date_int": 30, **header,
    }  # fmt: skip
    row = invoices.save("invoices", sent, "")
    row |= {"date_created": f"{day}T12:00:00", "last_modified": f"{day}T12:00:00"}
    return row


def _close(row: Row, how: str) -> None:
    """As accounting, the post office or a person would."""
    day, number = row["invoice_date"], row["id"]
    if how in ("posted", "synced", "paid"):
        row |= {"posted": True, "dateposted": day}
    if how in ("synced", "paid"):
        row |= {"xeroid": f"xero-{number}", "thirdpartyinvoicenumber": f"INV-{number}", "last_synced": day}
    if how == "sent":
        row |= {"datesent": day, "emailstatus": 2}
    if how == "paid":
        row |= {
            "datesent": day,
            "paymentstatus": 2,
            "amountpaid": row["total"],
            "amountdue": Decimal(0),
            "datepaid": day,
        }
    if how == "voided":
        row |= {"voided": True, "amountdue": Decimal(0)}
    if how == "credit":
        row |= {"invoicetype": 1, "creditlinkedtoinvoiceid": number - 1}
        for line in row["lines"]:
            line |= {name: -line[name] for name in ("qty_order", "net_amount", "tax_amount", "total_price")}
        row |= {name: -row[name] for name in ("revenue", "tax_total", "total", "amountdue")}


def _client_recurring(invoices: Invoices, client: Row, index: int) -> None:
    """Most clients have one, some two, some none; the third kind of each line is a trap for whoever overwrites."""
    if index % 7 == 6:
        return
    for number in range(2 if index % 5 == 0 else 1):
        lines = [_line("Managed Workstation", "12", "35.00", _itemid=401, tax_code="1", comment_1="agreed by phone",
                       nominal_code="200", group_id=2)]  # fmt: skip
        if index % 3 == 0:  # HaloPSA makes such lines by itself
            lines.append({"qty_order": 1, "unit_price": 0, "item_shortdescription": ""})
        if index % 4 == 1:  # HaloPSA counts the licences: the quantity is not ours
            licences = [{"id": 1, "licence_id": 5, "licence_name": "Microsoft 365 Business Premium", "minimum_qty": 1}]
            lines.append(_line("Microsoft 365 Business Premium", "9", "22.00", quantity_licences=licences,
                               recurring_invoice_quantity_type=1))  # fmt: skip
        if index % 6 == 2:
            lines.append(_line("Firewall, rented", "1", "49.00", isinactive=True, isActive=False))
        sent = {
            "client_id": client["id"], "lines": lines, "reference": ("Monthly services", "Backup services")[number],
            "periodname": "Monthly", "nextcreationdate": f"{invoices.options.month}-28T00:00:00",
            "startdate": "2025-01-01T00:00:00", "disabled": index % 11 == 10, "invoiceday": 28,
            "schedule": {"id": 7_000 + 2 * index + number, "period": 1, "startdate": "2025-01-01T00:00:00"},
        }  # fmt: skip
        row = invoices.save("recurring", sent, "")
        row |= {"date_created": "2025-01-01T08:00:00", "last_modified": "2025-01-01T08:00:00",
                "invoice_date": "2025-01-01T08:00:00"}  # fmt: skip
