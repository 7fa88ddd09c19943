"""A plan as an Excel workbook: summary, clients, lines, what is held, what is not billed, and the sources.

No cell is a formula or a link, whatever its text; amounts are numbers where a spreadsheet keeps every digit of them.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

from billingsync.core.bill.plan import Plan
from billingsync.core.money import plain
from billingsync.report.escape import inert, shortened
from billingsync.report.rows import LONGEST_CELL, plan_rows
from billingsync.report.sheets import (
    Money,
    Sheet,
    clients_sheet,
    held_sheet,
    lines_sheet,
    not_billed_sheet,
    sources_sheet,
    summary_sheet,
)

_DIGITS = 15  # what a spreadsheet's floating point numbers keep


def plan_xlsx(plan: Plan, created_at: str) -> bytes:
    """The workbook as bytes. The same plan and moment give the same bytes."""
    from xlsxwriter import Workbook  # type: ignore[import-untyped]

    file = BytesIO()
    options = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False, "in_memory": True}
    book = Workbook(file, options)
    properties: dict[str, Any] = {"title": f"Billing plan {plan.period}", "comments": f"plan {plan.digest}"}
    properties["created"] = moment_of(created_at)
    book.set_properties(properties)
    rows = plan_rows(plan)
    formats: dict[str, Any] = {"bold": book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})}
    formats["strong"] = book.add_format({"bold": True})
    for sheet in (
        summary_sheet(plan, created_at),
        clients_sheet(plan),
        lines_sheet(rows),
        held_sheet(rows),
        not_billed_sheet(rows),
        sources_sheet(plan),
    ):
        write_sheet(book, sheet, formats)
    book.close()
    return file.getvalue()


def moment_of(created_at: str) -> datetime:
    """When the plan was made; a fixed day where that cannot be read, so that the file never carries a clock."""
    try:
        return datetime.fromisoformat(created_at).replace(tzinfo=None)
    except ValueError:
        return datetime(2000, 1, 1)  # noqa: DTZ001 Excel's moments have no zone


def write_sheet(book: Any, sheet: Sheet, formats: dict[str, Any]) -> None:
    page = book.add_worksheet(sheet.name)
    page.freeze_panes(1, 1)
    page.set_landscape()
    page.set_paper(9)  # A4
    page.fit_to_pages(1, 0)
    page.repeat_rows(0)
    for column, (heading, width) in enumerate(sheet.columns):
        page.set_column(column, column, width)
        page.write_string(0, column, heading, formats["bold"])
    last = 0
    for last, row in enumerate(sheet.rows, start=1):
        style = formats["strong"] if last - 1 in sheet.bold else None
        for column, cell in enumerate(row):
            if isinstance(cell, Money):
                _write_number(book, page, last, column, cell, formats)
            elif isinstance(cell, int):
                page.write_number(last, column, cell, style)
            elif cell:
                page.write_string(last, column, _text(cell), style)
    page.autofilter(0, 0, last, len(sheet.columns) - 1)


def _text(cell: str) -> str:
    """Lines stay lines; what XML or a terminal cannot bear is a visible escape."""
    return shortened(inert(cell.replace("\r\n", "\n"), keep="\n\t"), LONGEST_CELL)


def _write_number(book: Any, page: Any, row: int, column: int, cell: Money, formats: dict[str, Any]) -> None:
    """As a number where a float gives every digit back, else as text. The only float here, and nothing reads it."""
    value = float(cell.number)
    if len(cell.number.normalize().as_tuple().digits) > _DIGITS or Decimal(repr(value)) != cell.number:
        page.write_string(row, column, plain(cell.number))
        return
    if cell.format not in formats:
        formats[cell.format] = book.add_format({"num_format": cell.format})
    page.write_number(row, column, value, formats[cell.format])
