"""A file of `sku,item_id`: which products are which items, looked at row by row before any of it counts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from starlette.datastructures import UploadFile
from starlette.responses import Response

from billingsync.core.desk import OrderKind, Role
from billingsync.core.tables.cells import inert_cell
from billingsync.errors import UsageError
from billingsync.report.html import clean
from billingsync.web.ask import Ask, Page, Shown
from billingsync.web.kept import items_of, products_of
from billingsync.web.pages.products import planned_head
from billingsync.web.views.money import View

AT = "/products/import"
MOST_BYTES = 60_000
MOST = 500  # rows: what a form may send back


def begin(ask: Ask) -> Shown:
    return Shown(template="products_import", title="Import items of products", view=_view(ask, []))


def check(ask: Ask) -> Shown:
    """Every row with what it would change, or what is wrong with it; nothing is kept."""
    file = ask.form.get("file")
    if not isinstance(file, UploadFile) or not file.filename:
        raise UsageError("Choose a file. Nothing was taken.")
    body = file.file.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise UsageError(f"A file of at most {MOST_BYTES // 1000} KB can be read here. Nothing was taken.")
    rows = list(_rows(ask, _text(body)))
    if not rows or len(rows) > MOST:
        raise UsageError(f"The file has {len(rows) or 'no'} rows; from 1 to {MOST} can be read at once.")
    view = _view(ask, rows) | {"file": clean(inert_cell(file.filename), 120)}
    return Shown(template="products_import", title="Check the file", view=view, status=422 if view["wrong"] else 200)


def _view(ask: Ask, rows: list[View]) -> View:
    head = planned_head(ask)
    return {
        "file": "",
        "rows": rows,
        "wrong": sum(1 for row in rows if row["wrong"]),
        "moves": sum(1 for row in rows if row["pair"]),
        "planned": head is not None,
        "month": ask.desk.figures.month(head.period) if head else "",
    }


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def _rows(ask: Ask, text: str) -> Iterator[View]:
    head = planned_head(ask)
    if head is None:
        raise UsageError("No month was planned yet, so no product is known. Plan first.")
    first = text.splitlines()[0] if text.strip() else ""
    table = csv.reader(io.StringIO(text), delimiter=";" if first.count(";") > first.count(",") else ",")
    names = [name.strip().casefold() for name in next(table, [])]
    if "sku" not in names or "item_id" not in names:
        raise UsageError("The first line must name the columns sku and item_id. Nothing was taken.")
    known = _Known(
        products={one.sku: one.name for one in products_of(ask.ledger, head.digest).values() if one.sku},
        items={one.id: one.name for one in items_of(ask.ledger, head.digest)},
        chosen={sku: one.item_id for sku, one in ask.ledger.item_matches().items()},
    )
    for cells in table:
        if any(cell.strip() for cell in cells):
            told = dict(zip(names, (cell.strip() for cell in cells), strict=False))
            yield _row(table.line_num, told.get("sku", ""), told.get("item_id", ""), known)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Products of the month by SKU, HaloPSA's items by id, what people chose by SKU, and the SKUs that were read."""

    products: Mapping[str, str]
    items: Mapping[int, str]
    chosen: Mapping[str, int]
    seen: set[str] = field(default_factory=set)


def _row(line: int, sku: str, text: str, known: _Known) -> View:
    item = int(text) if text.isascii() and text.isdigit() and len(text) < 13 else -1
    wrong = ""
    if sku not in known.products:
        wrong = "No product of the newest plan has this SKU."
    elif sku in known.seen:
        wrong = "This SKU stands in the file twice."
    elif item not in known.items:
        wrong = "HaloPSA has no such item." if item >= 0 else "This is no item's id."
    known.seen.add(sku)
    was = known.chosen.get(sku)
    return {
        "line": line,
        "sku": clean(inert_cell(sku), 80),
        "name": clean(known.products.get(sku, ""), 160),
        "item": clean(f"{known.items[item]} ({item})" if item in known.items else inert_cell(text), 160),
        "was": "" if was is None else f"item {was}",
        "wrong": wrong,
        "same": was == item,
        "pair": "" if wrong or was == item else f"{sku}\t{item}\t{'' if was is None else was}",
    }


def save(ask: Ask) -> Response:
    """Files the order to map them all, and to plan the month anew; nothing is posted by it [DK4]."""
    head = planned_head(ask)
    pairs = []
    for value in ask.form.getlist("pair"):
        sku, item, was = [*str(value).split("\t"), "", ""][:3]
        if not sku or not item.isdigit():
            raise UsageError("What is to be mapped could not be read. Nothing was changed.")
        pairs.append([sku, int(item), int(was) if was.isdigit() else None])
    if head is None or not pairs:
        raise UsageError("Nothing of the file would change anything. Nothing was changed.")
    return ask.order(OrderKind.MAP_PRODUCTS, {"pairs": pairs, "period": head.period})


PAGES = (
    Page(path=AT, show=begin, role=Role.FINANCIAL),
    Page(path=AT, show=check, role=Role.FINANCIAL, post=True, upload=True),
    Page(path=f"{AT}/save", show=save, role=Role.FINANCIAL, post=True),
)
