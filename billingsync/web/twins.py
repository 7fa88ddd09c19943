"""A page's rows as a file: CSV and Excel, written by the report's writers, in which no cell is a formula [DP2]."""

from __future__ import annotations

import re
from enum import StrEnum

from starlette.responses import Response

from billingsync.errors import NoSnapshot
from billingsync.report.comparison.files import table_csv, tables_xlsx
from billingsync.web.ask import Ask, Shown

_KINDS = {"csv": "text/csv; charset=utf-8", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}


class Twin(StrEnum):
    """As what a page's content is asked for; the value is what stands behind its path."""

    PAGE = ""
    JSON = "json"
    CSV = "csv"
    XLSX = "xlsx"


def sheets(ask: Ask, shown: Shown, twin: Twin) -> Response:
    """The tables of a page to save. NoSnapshot where the page itself has nothing to show."""
    if shown.tables is None:
        raise NoSnapshot("There is nothing to save yet.")
    tables = shown.tables()
    if twin is Twin.CSV:
        content = table_csv(tables[0]).encode()
    else:
        content = tables_xlsx(tables, shown.title, ask.now.isoformat(timespec="seconds"))
    headers = {"Content-Disposition": f'attachment; filename="{file_name(ask.request.url.path)}"'}
    return Response(content, media_type=_KINDS[twin], headers=headers)


def file_name(path: str) -> str:
    """`/reconcile/licences.csv` -> `reconcile-licences.csv`: letters, digits, points and dashes alone [SE8]."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", path).strip("-")[-80:] or "billingsync"
