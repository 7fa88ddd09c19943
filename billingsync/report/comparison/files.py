"""Tables as CSV, as an Excel workbook and as Markdown. No cell is a formula or markup, whatever its text."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from io import BytesIO, StringIO
from typing import Any

from billingsync.core.money import plain
from billingsync.report.comparison.tables import Amount, Cell, Column, Table
from billingsync.report.csv_file import defused
from billingsync.report.markdown import escaped
from billingsync.report.numbers import Figures
from billingsync.report.sheets import Cell as SheetCell
from billingsync.report.sheets import Money, Sheet, money
from billingsync.report.xlsx import write_sheet

_BOM = "\ufeff"
_MOST_ROWS = 500  # of one table in Markdown: tickets refuse longer ones
_WIDE, _NARROW = 34, 14


def table_csv(table: Table) -> str:
    """UTF-8 with a byte order mark and CRLF, as spreadsheets read it; numbers in plain notation."""
    file = StringIO()
    file.write(_BOM)
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow([column.key for column in table.columns])
    writer.writerows([[defused(data(cell)) for cell in row] for row in table.rows])
    return file.getvalue()


def data(cell: Cell) -> str:
    """A cell as programs read it."""
    match cell:
        case None:
            return ""
        case Amount():
            return cell.plain
        case Decimal():
            return plain(cell)
        case date():
            return cell.isoformat()
    return str(cell)


def tables_xlsx(tables: Sequence[Table], title: str, made: str) -> bytes:
    """A workbook with a sheet a table; the same tables and moment give the same bytes."""
    from xlsxwriter import Workbook  # type: ignore[import-untyped]

    from billingsync.report.xlsx import moment_of

    file = BytesIO()
    options = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False, "in_memory": True}
    book = Workbook(file, options)
    book.set_properties({"title": title, "created": moment_of(made)})
    formats: dict[str, Any] = {"bold": book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})}
    formats["strong"] = book.add_format({"bold": True})
    for table in tables:
        columns = [(column.heading, _WIDE if column.wide else _NARROW) for column in table.columns]
        rows = [[_sheet_cell(cell) for cell in row] for row in table.rows]
        write_sheet(book, Sheet(name=table.name[:31], columns=columns, rows=rows), formats)
    book.close()
    return file.getvalue()


def _sheet_cell(cell: Cell) -> SheetCell:
    match cell:
        case Amount():
            return money(cell.number, cell.currency)
        case Decimal():
            exponent = cell.normalize().as_tuple().exponent
            return Money(cell, max(0, -exponent) if isinstance(exponent, int) else 0)
        case date():
            return cell.isoformat()
    return cell


def tables_markdown(title: str, sentences: Sequence[str], tables: Sequence[Table], figures: Figures) -> str:
    """A heading, what it comes to in sentences, then the tables."""
    lines = [f"# {escaped(title)}", ""]
    for sentence in sentences:
        lines += [escaped(sentence, 1000), ""]
    for table in tables:
        if not table.rows:
            continue
        lines += [f"## {escaped(table.name)}", "", *_markdown(table.columns, table.rows[:_MOST_ROWS], figures), ""]
        if len(table.rows) > _MOST_ROWS:
            more = figures.count(len(table.rows) - _MOST_ROWS)
            lines += [f"... and {more} more rows: use `--format csv`.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], figures: Figures) -> list[str]:
    used = [place for place in range(len(columns)) if any(shown(row[place], figures) for row in rows)]
    head = " | ".join(columns[place].heading for place in used)
    rule = " | ".join("---:" if columns[place].number else "---" for place in used)
    body = [" | ".join(escaped(shown(row[place], figures)) for place in used) for row in rows]
    return [f"| {line} |" for line in (head, rule, *body)]


def shown(cell: Cell, figures: Figures) -> str:
    """A cell as people of the locale read it."""
    match cell:
        case None:
            return ""
        case Amount():
            return figures.amount(cell.number, cell.currency)
        case Decimal():
            return figures.quantity(cell)
        case date():
            return cell.isoformat()
    return str(cell)
