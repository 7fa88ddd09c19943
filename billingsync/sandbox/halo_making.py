"""Invoices that the emulated HaloPSA makes from recurring ones: on command, on schedule, after an approval.

The tables always hold the whole truth (which template, which line); builds that do not tell it hide it in their answers
(`Invoices.shown`).
"""

from __future__ import annotations

import calendar
from datetime import datetime
from decimal import Decimal
from typing import Any

from billingsync.sandbox.halo_invoices import NO_DATE, Invoices, NotFound
from billingsync.sandbox.halo_lines import AUTOMATIC, Refused
from billingsync.sandbox.halo_tables import HaloTables
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.wire import Row, copy_json

WHO = "HaloPSA"
WAITING, APPROVED = 1, 2  # `approval_status`; the codes are not documented
MONTHS = {"monthly": 1, "quarterly": 3, "half-yearly": 6, "yearly": 12}  # by `periodname`
_TEXTS = {"longdescription": "item_longdescription", "productnumber": "productnumber", "customfields": "customfields"}
_HEADER = (
    "client_id", "client_name", "name", "sitenumber", "original_client_id", "currency_code", "currency_code_name",
    "reference", "order_number", "notes_1", "notes_2", "contract_id", "due_date_int", "due_date_type", "paymentterms",
)  # fmt: skip


def month_later(day: datetime, months: int, anchor: int) -> datetime:
    """The same day so many months on; `anchor` is the day of the month that short months cut."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return day.replace(year=year, month=month + 1, day=min(anchor, last))


class Making:
    def __init__(self, options: SandboxOptions, tables: HaloTables, invoices: Invoices) -> None:
        self.options = options
        self.tables = tables
        self.invoices = invoices

    def due(self) -> list[Row]:
        """Makes what the schedule says is due by now; gives the new invoices."""
        if self.options.schedule == "off":
            return []
        now, made = self.tables.moment(), []
        for template_id in sorted(self.tables.recurring, reverse=True):
            while (at := self._due_at(self.tables.recurring[template_id])) and at <= now:
                if self.options.made_approval == "before":
                    self._wait(template_id)
                    break
                if (invoice := self._make(template_id, at, moves=True)) is not None:
                    made.append(invoice)
        return made

    def command(self, template_id: int, at: str | None = None, *, moves: bool = True) -> Row | None:
        """A person creates the invoice, at once or at a moment in HaloPSA's time; None where an approval comes first
        or nothing is to be invoiced. `moves`: the next creation is then one period later. Raises NotFound."""
        if template_id not in self.tables.recurring:
            raise NotFound
        if self.options.made_approval == "before":
            self._wait(template_id)
            return None
        return self._make(template_id, at or self.tables.moment(), moves=moves)

    def approve(self, row_id: int, at: str | None = None) -> Row | None:
        """A person approves what waits: a template's invoice is made, an invoice may go out.

        Raises NotFound, Refused."""
        name = "recurring" if row_id < 0 else "invoices"
        row = self.tables.table(name).get(row_id)
        if row is None:
            raise NotFound
        if row["approval_status"] != WAITING:
            raise Refused("Nothing here waits for an approval")
        status = 0 if row_id < 0 else APPROVED
        self.tables.put(name, row | {"approval_status": status})
        return self._make(row_id, at or self.tables.moment(), moves=True) if row_id < 0 else None

    # --- one invoice -------------------------------------------------------------------------------------------------

    def _due_at(self, template: Row) -> str:
        """When its next invoice is due; empty: never."""
        at = str(template.get("nextcreationdate") or "")
        ends = str(template.get("enddate") or "")
        over = ends > NO_DATE and at > ends
        return "" if template["disabled"] or at <= NO_DATE or over else at

    def _wait(self, template_id: int) -> None:
        template = self.tables.recurring[template_id]
        if template["approval_status"] != WAITING:
            self.tables.put("recurring", template | {"approval_status": WAITING})

    def _make(self, template_id: int, at: str, *, moves: bool) -> Row | None:
        template: Row = copy_json(self.tables.recurring[template_id])
        charged = [line for line in template["lines"] if self._charged(line)]
        invoice = self._invoice(template, charged, at) if charged else None
        if moves:
            template["nextcreationdate"] = self._next(template)
        if invoice is not None:
            template["lastcreated"] = at
            self._used_up(template, charged, invoice["id"])
            for line in template["lines"]:
                self.invoices.lines.compute(template, line)
            self.invoices.compute(template)
        template["change_seq"] += 1
        self.tables.put("recurring", template)
        return invoice

    def _charged(self, line: Row) -> bool:
        used = self.options.one_time in ("kept", "dropped") and line.get("onetimechargeinvoiceid")
        return not line["isinactive"] and not used

    def _invoice(self, template: Row, charged: list[Row], at: str) -> Row:
        header: Row = {name: copy_json(template[name]) for name in _HEADER if name in template}
        if "internal_note" in self.options.made_fields_copied:
            header["internal_note"] = template["internal_note"]
        row = self.invoices.blank("invoices", template["client_id"])
        row |= header | {"recurring_invoice_id": template["id"], "invoice_date": at, "date_created": at}
        if self.options.made_approval == "after":
            row |= {"requires_approval": True, "approval_status": WAITING}
        row["lines"] = [self._line(row, template, line) for line in charged]
        self.tables.log_change(row["id"], 0, "invoice created", None, template["id"], who=WHO)
        return self.invoices.store_made(row, at)

    def _line(self, invoice: Row, template: Row, line: Row) -> Row:
        made: Row = copy_json(line)
        made |= {
            "id": self.tables.new_id("lines"), "ihid": invoice["id"], "recurring_invoice_id": template["id"],
            "recurring_invoice_line_id": line["id"], "prorata_data": [], **{name: [] for name in AUTOMATIC},
        }  # fmt: skip
        if self.options.made_prorata != "left":
            made["qty_order"] += sum((Decimal(entry["quantity"]) for entry in line["prorata_data"]), Decimal(0))
        for text, name in _TEXTS.items():
            if text not in self.options.made_fields_copied:
                made[name] = [] if name == "customfields" else ""
        self.invoices.lines.compute(invoice, made)
        return made

    def _used_up(self, template: Row, charged: list[Row], invoice_id: int) -> None:
        """What is charged once is not charged again."""
        for line in charged:
            if self.options.made_prorata == "added":
                line["qty_order"] += sum((Decimal(entry["quantity"]) for entry in line["prorata_data"]), Decimal(0))
            if self.options.made_prorata != "left":
                line["prorata_data"] = []
            if line.get("onetimecharge") and self.options.one_time in ("kept", "dropped"):
                line["onetimechargeinvoiceid"] = invoice_id
                if self.options.one_time == "dropped":
                    template["lines"].remove(line)
                    self.tables.log_change(template["id"], line["id"], "line removed", line["id"], None, who=WHO)

    def _next(self, template: Row) -> str:
        day = datetime.fromisoformat(self._due_at(template | {"disabled": False}) or self.tables.moment())
        step = MONTHS.get(str(template.get("periodname", "")).lower(), 1)
        anchor = template.get("invoiceday") or day.day
        later = month_later(day, step, anchor)
        while self.options.made_catch_up == "once" and later.isoformat() <= self.tables.moment():
            later = month_later(later, step, anchor)
        return later.isoformat()


def prorata_rows(tables: HaloTables) -> list[Row]:
    """GET /InvoiceDetailProRata: what waits to be folded into the next invoices."""
    return [
        {**_described(row, line), **entry}
        for row in tables.recurring.values()
        for line in row["lines"]
        for entry in line["prorata_data"]
    ]


def _described(row: Row, line: Row) -> dict[str, Any]:
    return {
        "client_id": row["client_id"], "client_name": row["client_name"], "unitcost": line["unit_cost"],
        "shortdescription": line["item_shortdescription"], "isinvoiced": False,
    }  # fmt: skip
