"""Emulated HaloPSA invoices and recurring invoices: creating, changing, voiding, deleting."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billingsync.sandbox.halo_lines import AUTOMATIC, Lines, Refused
from billingsync.sandbox.halo_schema import HEADER, BindingError, bind
from billingsync.sandbox.halo_tables import HaloTables
from billingsync.sandbox.notes import Notes
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.wire import Row, copy_json

NO_DATE = "1899-12-30T00:00:00"  # SQL Server's day zero: how "never" looks in a date column that defaults to 0

_DEFAULTS: Row = {
    "use": "invoice", "uid": 0, "invoicenumber": "", "thirdpartyinvoicenumber": "", "posted": False,
    "dateposted": NO_DATE, "last_synced": NO_DATE, "salesorder_id": 0, "percent": 100, "contract_id": 0,
    "contract_ref": "", "datesent": NO_DATE, "currency": "", "currency_conversion_rate": 1, "paymentterms": 30,
    "hideinvoice": False, "ticket_id": 0, "invoicetype": 0, "datepaid": NO_DATE, "paymentstatus": 0, "xeroid": "",
    "xero_status": "", "xero_tenant_id": "", "qboid": 0, "qbo_company_id": "", "dbc_id": "", "amountpaid": 0,
    "emailstatus": 0, "pdftemplate_id": 0, "is_recurring_invoice": False, "recurring_invoice_id": 0,
    "billingcategory": 0, "due_date_int": 30, "due_date_type": 0, "internal_note": "", "notes_1": "", "notes_2": "",
    "reference": "", "order_number": "", "cust_order_number": "", "payment_ref": "", "approval_status": 0,
    "requires_approval": False, "reviewrequired": False, "voided": False, "creditlinkedtoinvoiceid": 0,
    "dont_sync_to_3rd_party": False, "creation_source": "", "customfields": [], "external_links": [], "lines": [],
}  # fmt: skip
_RECURRING_DEFAULTS: Row = {
    "use": "recurringinvoice", "is_recurring_invoice": True, "disabled": False, "period": 1, "period_type": 0,
    "schedule_id": 0, "lastcreated": NO_DATE, "contains_calculated_quantity": False,
}  # fmt: skip
# What only HaloPSA itself sets: sent values are ignored silently, as clients send whole objects back.
_OWN = frozenset(
    "id client_name invoicenumber posted dateposted last_synced last_modified date_created datesent datepaid "
    "paymentstatus xeroid xero_status qboid amountpaid amountdue amount_remaining emailstatus total revenue tax_total "
    "is_recurring_invoice voided change_seq last_change_seq ignore_change_seq last_change_agent "
    "contains_calculated_quantity lines add_lines customfields use recurring_invoice_id lastcreated".split()
)
_LIMITED = ("reference", "order_number", "cust_order_number", "thirdpartyinvoicenumber", "notes_1", "creation_source")
_DETAIL_ONLY = ("customfields", "external_links", "schedule", "notes_2")


class NotFound(Exception):
    """404 with an empty body."""


class Conflict(Exception):
    """409 with an empty body."""


class Invoices:
    """Both kinds: `name` is the table, "invoices" or "recurring"."""

    def __init__(self, options: SandboxOptions, tables: HaloTables, notes: Notes, lines: Lines) -> None:
        self.options = options
        self.tables = tables
        self.notes = notes
        self.lines = lines

    def save(self, name: str, sent: Any, path: str) -> Row:
        """One element of a header POST: creates without `id`, else changes. Raises Refused, NotFound, Conflict,
        BindingError."""
        known, unknown = bind(HEADER, sent, path)
        where = "/RecurringInvoice" if name == "recurring" else "/Invoice"
        for prop in unknown:
            self.notes.ignore(where, prop)
        self._alarms(where, known)
        if known.get("id"):
            row = copy_json(self._row(name, known["id"]))
            self.refuse_closed(row)
            self._check_change_seq(row, known)
        else:
            row = self._new(name, known)
        for prop, value in known.items():
            if prop not in _OWN:
                row[prop] = copy_json(value)
        self._texts(row, known)
        if "lines" in known:
            semantics = self.options.lines_semantics if known.get("id") else "replace"
            self.lines.write(row, known["lines"], semantics, path)
        if known.get("add_lines") and self.options.add_lines == "append":
            self.lines.write(row, known["add_lines"], "append", path, "add_lines")
        return self._store(name, row)

    def save_lines(self, name: str, sent: list[Any], path: str) -> list[Row]:
        """`updatelines`: rows that name their invoice by `ihid`."""
        written: list[Row] = []
        for index, raw in enumerate(sent):
            invoice_id = raw.get("ihid") if isinstance(raw, dict) else None
            if not isinstance(invoice_id, int) or invoice_id not in self.tables.table(name):
                raise Refused("ihid must be the id of an invoice")
            row = copy_json(self.tables.table(name)[invoice_id])
            self.refuse_closed(row)
            if self.options.updatelines == "ignored":
                written.append(raw)
                continue
            written += self.lines.write(row, [raw], self.options.updatelines, f"{path}[{index}]")
            self._store(name, row)
        return written

    def void(self, invoice_id: int) -> Row:
        row = copy_json(self._row("invoices", invoice_id))
        self.refuse_closed(row)
        row["voided"] = True
        return self._store("invoices", row)

    def delete(self, name: str, invoice_id: int) -> Row:
        row = self._row(name, invoice_id)
        self.refuse_closed(row)
        self.tables.delete(name, invoice_id)
        self.tables.log_change(invoice_id, 0, "invoice deleted", invoice_id, None)
        return row

    def refuse_closed(self, row: Row) -> None:
        closed = row["posted"] or row["xeroid"] or row["qboid"] or row["voided"] or row["amountpaid"]
        if closed and self.options.closed_edit == "refused":
            raise Refused("This invoice has been posted and can no longer be changed")

    def shown(self, row: Row, *, lines: bool, detail: bool = True) -> Row:
        """The row as an answer holds it."""
        shown = {name: value for name, value in row.items() if detail or name not in _DETAIL_ONLY}
        if not lines:
            del shown["lines"]
        elif row["recurring_invoice_id"]:
            shown["lines"] = [self._shown_line(line) for line in row["lines"]]
        if self.options.change_seq == "absent":
            del shown["change_seq"]
        if row["recurring_invoice_id"] and not self.options.made_header_id:
            shown["recurring_invoice_id"] = 0
        if row["id"] < 0:
            shown |= self._shown_schedule(row)
        return shown

    def _shown_line(self, line: Row) -> Row:
        """A line of an invoice that was made from a recurring one, as far as this build tells."""
        header, line_id = self.options.made_header_id, self.options.made_line_ids
        return line | {
            "recurring_invoice_id": line["recurring_invoice_id"] if header else 0,
            "recurring_invoice_line_id": line["recurring_invoice_line_id"] if line_id else 0,
        }

    def _shown_schedule(self, row: Row) -> Row:
        told: Row = {}
        if self.options.lastcreated != "time" and row["lastcreated"] != NO_DATE:
            day = f"{row['lastcreated'][:10]}T00:00:00"
            told["lastcreated"] = day if self.options.lastcreated == "date" else NO_DATE
        if self.options.nextcreationdate == "never" and "nextcreationdate" in row:
            told["nextcreationdate"] = NO_DATE
        return told

    def compute(self, row: Row) -> None:
        """The header's totals, from its lines."""
        counted = [line for line in row["lines"] if not line["isinactive"]]
        row["revenue"] = self.lines.total(line["net_amount"] for line in counted)
        row["tax_total"] = self.lines.total(line["tax_amount"] for line in counted)
        row["total"] = self.lines.total([row["revenue"], row["tax_total"]])
        row["amountdue"] = (
            Decimal(0) if row["voided"] else self.lines.total([row["total"], -Decimal(row["amountpaid"])])
        )
        if row["id"] < 0:
            row["contains_calculated_quantity"] = any(line[name] for line in row["lines"] for name in AUTOMATIC)

    def blank(self, name: str, client_id: int) -> Row:
        """A new invoice of the client, not stored yet."""
        return self._new(name, {"client_id": client_id})

    def store_made(self, row: Row, at: str) -> Row:
        """Stores an invoice that HaloPSA made by itself at that moment."""
        self._texts(row, {})
        row = self._store("invoices", row)
        row["last_modified"] = at
        return row

    # --- steps of `save` ---------------------------------------------------------------------------------------------

    def _row(self, name: str, invoice_id: int) -> Row:
        row = self.tables.table(name).get(invoice_id)
        if row is None:
            raise NotFound
        return row

    def _alarms(self, path: str, known: Row) -> None:
        for prop in known:
            if prop.startswith("_"):
                self.notes.alarm("command_property", path, prop)
        if known.get("ignore_change_seq"):
            self.notes.alarm("ignore_change_seq", path, "true")

    def _check_change_seq(self, row: Row, known: Row) -> None:
        read = known.get("last_change_seq")
        if read is None or read == row["change_seq"] or self.options.change_seq == "absent":
            return
        if self.options.change_seq_conflict == "400":
            raise Refused("This record has been changed by another user")
        if self.options.change_seq_conflict == "409":
            raise Conflict

    def _new(self, name: str, known: Row) -> Row:
        client = self.tables.clients.get(known.get("client_id", 0))
        if client is None:
            raise Refused("Parameter client_id must be included" if not known.get("client_id") else "Unknown client")
        row_id = self.tables.new_id(name)
        return {
            "id": row_id,
            **copy_json(_DEFAULTS),
            **(copy_json(_RECURRING_DEFAULTS) if name == "recurring" else {}),
            "client_id": client["id"],
            "client_name": client["name"],
            "name": client["name"],
            "sitenumber": client.get("main_site_id", 0),
            "original_client_id": client["id"],
            "currency_code": client.get("default_currency_code", 0),
            "currency_code_name": client.get("default_currency_code_name", ""),
            "invoicenumber": str(abs(row_id)),
            "invoice_date": self.tables.moment(),
            "schedule_date": NO_DATE,
            "date_created": self.tables.moment(),
            "change_seq": 0,
        }

    def _texts(self, row: Row, known: Row) -> None:
        for prop in _LIMITED:
            row[prop] = row[prop][: self.options.text_limit]
        if "customfields" in known:
            by_id = {field["id"]: field for field in row["customfields"]}
            by_id |= {field["id"]: field for field in self.lines.custom_fields(known["customfields"])}
            row["customfields"] = list(by_id.values())
        if "internal_note" not in self.options.marker_fields_kept:
            row["internal_note"] = ""
        if "customfields" not in self.options.marker_fields_kept:
            row["customfields"] = []
        if "invoice_date" in known:
            # sent with or without zone, answered in local time without one
            try:
                day = datetime.fromisoformat(row["invoice_date"]).replace(tzinfo=None)
            except ValueError:
                raise BindingError(
                    "invoice_date", f"Could not convert string to DateTime: {known['invoice_date']}."
                ) from None
            row["invoice_date"] = (day + timedelta(hours=self.options.invoice_date_shift_h)).isoformat()
        due = datetime.fromisoformat(row["invoice_date"]) + timedelta(days=row["due_date_int"])
        row.setdefault("duedate", due.isoformat())

    def _store(self, name: str, row: Row) -> Row:
        self.compute(row)
        row["change_seq"] += 1
        row["last_modified"] = self.tables.moment()
        if self.options.posts_on_save and name == "invoices":
            row |= {"posted": True, "dateposted": row["last_modified"], "xeroid": f"xero-{row['id']}"}
        self.tables.put(name, row)
        return row
