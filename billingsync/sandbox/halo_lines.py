"""Lines of an emulated HaloPSA invoice: what becomes of the properties that are sent, and the amounts computed."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from billingsync.sandbox.halo_schema import LINE, bind
from billingsync.sandbox.halo_tables import HaloTables
from billingsync.sandbox.notes import Notes
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.wire import Row, copy_json

AUTOMATIC = ("quantity_users", "quantity_assets", "quantity_licences", "quantity_subscriptions")
_DEFAULTS: Row = {
    "item_code": "", "item_shortdescription": "", "item_longdescription": "", "nominal_code": "", "tax_code": "",
    "qty_order": 1, "unit_price": 0, "baseprice": 0, "unit_cost": 0, "discount_perc": 0, "_itemid": 0,
    "productnumber": "", "comment_1": "", "comment_2": "", "asset_id": 0, "contract_id": 0, "ticket_id": 0,
    "recurring_invoice_id": 0, "recurring_invoice_line_id": 0, "recurring_invoice_quantity_type": 0,
    "group_id": 0, "isgroupdesc": False, "sequenceid": 10, "isinactive": False, "isActive": True, "hide_on_pdf": False,
    "xero_lineid": "", "xero_category_1_lookup": "", "xero_category_2_lookup": "", "supplier": 0,
    "decimalplacesforinvoices": 2, "customfields": [], "prorata_data": [], **{name: [] for name in AUTOMATIC},
}  # fmt: skip
_COMPUTED = frozenset(
    "id ihid net_amount tax_amount tax_rate total_price prorata_data recurring_invoice_id recurring_invoice_line_id "
    "onetimechargeinvoiceid".split()
)
_LIMITED = (
    "item_shortdescription", "productnumber", "nominal_code", "tax_code", "xero_category_1_lookup",
    "xero_category_2_lookup",
)  # fmt: skip
_AUDITED = ("qty_order", "unit_price", "unit_cost", "item_shortdescription", "item_longdescription")
_AMOUNTS = ("qty_order", "unit_price", "baseprice", "unit_cost", "discount_perc")


def endpoint(invoice_id: int) -> str:
    return "/RecurringInvoice" if invoice_id < 0 else "/Invoice"


class Refused(Exception):
    """A business rule says no: 400 with the text as a JSON string."""


class Lines:
    def __init__(self, options: SandboxOptions, tables: HaloTables, notes: Notes) -> None:
        self.options = options
        self.tables = tables
        self.notes = notes

    def write(self, invoice: Row, sent: Iterable[Any], how: str, path: str, name: str = "lines") -> list[Row]:
        """Applies sent rows to the invoice's lines and returns the lines they became.

        `how`: replace (the rows are the new list) | merge (lines left out stay) | upsert (too, and properties left
        out of a line stay) | append (every row is a new line).
        """
        old: dict[int, Row] = {line["id"]: line for line in invoice["lines"]}
        written: list[Row] = []
        for index, raw in enumerate(sent):
            known, unknown = bind(LINE, raw, f"{path}.{name}[{index}]")
            self._report(endpoint(invoice["id"]), known, unknown)
            line_id = known.get("id") or 0
            if line_id > 0 and how != "append":
                if line_id not in old:
                    raise Refused(f"Line {line_id} does not belong to invoice {invoice['id']}")
                keep = how == "upsert" or self.options.line_properties == "kept"
                written.append(self._changed(invoice, old[line_id], known, keep))
            else:
                written.append(self._new(invoice, known))
        if how == "replace":
            for line_id in old.keys() - {line["id"] for line in written}:
                self.tables.log_change(invoice["id"], line_id, "line removed", line_id, None)
            invoice["lines"] = written
        else:
            changed = {line["id"]: line for line in written}
            invoice["lines"] = [changed.pop(line_id, line) for line_id, line in old.items()] + list(changed.values())
        for line in written:
            self.compute(invoice, line)
        return written

    def _report(self, path: str, known: Row, unknown: list[str]) -> None:
        for name in unknown:
            self.notes.ignore(path, f"lines.{name}")
        for name in known:
            if name.startswith("_") and name != "_itemid":
                self.notes.alarm("command_property", path, f"lines.{name}")

    def _new(self, invoice: Row, sent: Row) -> Row:
        line: Row = {"id": self.tables.new_id("lines"), "ihid": invoice["id"], **copy_json(_DEFAULTS)}
        self._set(line, sent)
        self.tables.log_change(invoice["id"], line["id"], "line added", None, line["item_shortdescription"])
        return line

    def _changed(self, invoice: Row, before: Row, sent: Row, keep: bool) -> Row:
        line: Row = copy_json(before)
        if not keep:
            line = copy_json(_DEFAULTS) | {name: value for name, value in line.items() if name in _COMPUTED}
        self._set(line, sent)
        self._sent_prorata(line, sent, keep)
        if any(before[name] for name in AUTOMATIC) and line["qty_order"] != before["qty_order"]:
            self.notes.alarm("automatic_quantity", endpoint(invoice["id"]), f"line {before['id']}")
            line["qty_order"] = before["qty_order"]  # HaloPSA counts it again
        if self.options.prorata_on_change and invoice["id"] < 0 and line["qty_order"] != before["qty_order"]:
            line["prorata_data"].append(
                {
                    "id": self.tables.new_id("prorata"),
                    "invoicedetailid": line["id"],
                    "recurring_invoice_id": invoice["id"],
                    "date": self.tables.moment(),
                    "quantity": line["qty_order"] - before["qty_order"],
                    "unitprice": line["unit_price"],
                }
            )
        for name in _AUDITED:
            if line[name] != before[name]:
                self.tables.log_change(invoice["id"], line["id"], name, before[name], line[name])
        return line

    def _sent_prorata(self, line: Row, sent: Row, keep: bool) -> None:
        """What becomes of pro rata entries where a caller sends the line back, with them or without."""
        entries = copy_json(sent.get("prorata_data", []))
        if self.options.prorata_sent == "kept" and ("prorata_data" in sent or not keep):
            line["prorata_data"] = entries
        elif self.options.prorata_sent == "doubled":
            line["prorata_data"] += [entry | {"id": self.tables.new_id("prorata")} for entry in entries]

    def _set(self, line: Row, sent: Row) -> None:
        options = self.options
        for name, value in sent.items():
            if name in _COMPUTED or (name == "onetimecharge" and options.one_time == "unsettable"):
                continue
            line[name] = self.custom_fields(value) if name == "customfields" else copy_json(value)
        for name in _AMOUNTS:
            line[name] = self._stored(line[name])
        if options.unit_price_from == "baseprice":
            line["unit_price"] = line["baseprice"]
        elif "baseprice" not in sent:
            line["baseprice"] = line["unit_price"]
        if line["_itemid"]:
            self._link(line)
        for name in _LIMITED:
            line[name] = line[name][: options.text_limit]
        line["item_longdescription"] = line["item_longdescription"][: options.longdescription_limit]
        kept = options.marker_fields_kept
        if "longdescription" not in kept:
            line["item_longdescription"] = ""
        if "productnumber" not in kept:
            line["productnumber"] = ""
        if "customfields" not in kept:
            line["customfields"] = []

    def _link(self, line: Row) -> None:
        item = self.tables.items.get(line["_itemid"])
        if item is None:
            raise Refused(f"Item {line['_itemid']} does not exist")
        line["item_code"] = str(item["id"])
        from_item = {
            "item_shortdescription": item["name"],
            "item_longdescription": item.get("description", ""),
            "productnumber": item.get("supplier_part_code", ""),
            "nominal_code": item.get("nominalcode", ""),
            "unit_cost": item.get("costprice", 0),
            "comment_2": "",
            "customfields": [],
        }
        for name in self.options.item_overwrites:
            line[name] = copy_json(from_item[name])

    def custom_fields(self, sent: Any) -> list[Row]:
        """Those that exist here; by id, or by the name that the id's field has."""
        kept = []
        for field in sent if isinstance(sent, list) else []:
            names = {f"CFsandbox{known}".lower(): known for known in self.options.customfields}
            field_id = field.get("id") or names.get(str(field.get("name", "")).lower())
            if field_id in self.options.customfields:
                kept.append({"id": field_id, "name": f"CFsandbox{field_id}", "value": field.get("value")})
            else:
                self.notes.ignore("customfields", str(field_id or field.get("name")))
        return kept

    # --- amounts -----------------------------------------------------------------------------------------------------

    def compute(self, invoice: Row, line: Row) -> None:
        rate = self._tax_rate(invoice, line)
        factor = (Decimal(100) - Decimal(line["discount_perc"])) / 100
        net = self._product(line["qty_order"], line["unit_price"], factor)
        digits = self.options.round_amounts
        net = net if digits is None else _rounded(net, digits)
        tax = _rounded(self._product(net, rate, Decimal("0.01")), 2)
        line |= {"net_amount": net, "tax_amount": tax, "tax_rate": rate, "total_price": self.total([net, tax])}

    def total(self, amounts: Iterable[Any]) -> Decimal:
        """The sum, through floats where the switch says so."""
        if self.options.float_sums:
            return Decimal(repr(sum((float(amount) for amount in amounts), 0.0)))
        return sum((Decimal(amount) for amount in amounts), Decimal(0))

    def _product(self, *factors: Any) -> Decimal:
        if self.options.float_sums:
            product = 1.0
            for factor in factors:
                product *= float(factor)
            return Decimal(repr(product))
        exact = Decimal(1)
        for factor in factors:
            exact *= Decimal(factor)
        return exact

    def _stored(self, value: Any) -> Any:
        return Decimal(repr(float(value))) if self.options.float_sums else value

    def _tax_rate(self, invoice: Row, line: Row) -> Any:
        code = line["tax_code"]
        if not code:
            # left out, HaloPSA's own rules decide: here the client's default
            code = str(self.tables.clients.get(invoice["client_id"], {}).get("item_tax_code", 0))
        tax = self.tables.taxes.get(int(code) if code.isascii() and code.isdigit() else 0, {})
        return tax.get("value", 0)


def _rounded(amount: Decimal, digits: int) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
