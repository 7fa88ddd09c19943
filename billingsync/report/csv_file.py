"""A plan as CSV for spreadsheets and pivot tables: UTF-8 with a byte order mark, so that Excel reads it as such, and
CRLF at the ends of lines (RFC 4180). A cell that others wrote never becomes a formula."""

from __future__ import annotations

import csv
import re
import unicodedata
from decimal import Decimal
from io import StringIO

from billingsync.core.bill.plan import Plan
from billingsync.core.money import plain
from billingsync.report.escape import inert, shortened, whole
from billingsync.report.rows import LONGEST_CELL, Row, charge_list, plan_rows

COLUMNS = (
    "period",
    "state",
    "action",
    "company",
    "company_id",
    "client",
    "client_id",
    "behavior",
    "invoice",
    "group",
    "product",
    "text",
    "quantity",
    "unit_price",
    "unit_cost",
    "amount",
    "cost",
    "currency",
    "amount_before",
    "reason",
    "detail",
    "next_step",
    "charges",
)

_BOM = "\ufeff"
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_SIGNS = (
    "=+-@\t\r\n＝＋－＠﹢﹣﹦﹫−"  # full-width, small and typographic forms too: Excel takes some for the sign itself
)
# Inside a cell the same signs count after what a spreadsheet of another locale may split at: Excel set to German
# splits at ";" and knows no quotes in the middle of what it takes for a field.
_INNER = re.compile(r"([;\r\n\t])(\s*)(?=[=+\-@＝＋－＠﹢﹣﹦﹫−])")


def plan_csv(plan: Plan) -> str:
    """One row for each line and each charge left out or held; the amounts of a currency add up to its equation."""
    file = StringIO()
    file.write(_BOM)
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([defused(cell) for cell in _cells(row)] for row in plan_rows(plan))
    return file.getvalue()


def defused(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: a strict decimal stays, anything else that begins like one
    (after white space and invisible characters too) gets an apostrophe in front."""
    if _NUMBER.fullmatch(cell):
        return cell
    begins = cell[:1] and (cell[0] in _SIGNS or _visible(cell)[:1] in tuple(_SIGNS))
    text = _INNER.sub(r"\1\2'", inert(whole(shortened(cell, LONGEST_CELL)), keep="\t\r\n"))
    return f"'{text}" if begins else text


def _visible(cell: str) -> str:
    """The cell from its first character that is neither white space nor invisible."""
    for at, character in enumerate(cell):
        if not character.isspace() and unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zs"):
            return cell[at:]
    return ""


def _cells(row: Row) -> tuple[str, ...]:
    currency = row.currency
    return (
        row.period,
        row.state,
        row.action,
        row.company,
        row.company_id,
        row.client,
        "" if row.client_id is None else str(row.client_id),
        row.behavior,
        "" if row.invoice is None else str(row.invoice),
        row.group,
        row.product,
        row.text,
        _number(row.quantity),
        _number(row.unit_price, currency),
        _number(row.unit_cost, currency),
        plain(row.amount, currency),
        plain(row.cost, currency),
        currency,
        _number(row.before, currency),
        row.cause,
        row.detail,
        row.next_step,
        charge_list(row.charges),
    )


def _number(number: Decimal | None, currency: str | None = None) -> str:
    return "" if number is None else plain(number, currency)
