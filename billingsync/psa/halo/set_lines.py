"""What goes over the wire for cards: given numbers of given lines, and everything else as it was [WB2] [WB7]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from billingsync.core.invoice import Mark
from billingsync.core.reconcile.card_write import LineSet, SetAction
from billingsync.core.rules import ProductRules
from billingsync.psa.halo.body import ZEROED, Row, sequence
from billingsync.psa.halo.wire import (
    Raw,
    WireLine,
    as_line,
    as_number,
    id_of,
    lines_of,
    mark_of,
    markers,
)


def body(
    raw: Raw, sets: Sequence[LineSet], key: str, installation: str, marker: str, way: str, codes: ProductRules
) -> tuple[str, list[Row]]:
    """Path suffix and body. Every line and property that a card does not name goes back exactly as it was read."""
    invoice_id = id_of(raw)
    present = {id_of(line): line for line in lines_of(raw)}
    changes = {
        one.line_id: _changes(present.get(one.line_id, {}), one, key, installation)
        for one in sets
        if one.action is SetAction.SET
    }
    taken = {one.line_id for one in sets if one.action is SetAction.TAKE_OUT}
    added = [_added(one, key, installation, marker, codes) for one in sets if one.action is SetAction.ADD]
    if way == "updatelines":
        rows: list[Row] = [{"ihid": invoice_id, "id": id_, **line} for id_, line in changes.items()]
        rows += [{"ihid": invoice_id, "id": id_, **ZEROED} for id_ in taken]
        return "updatelines", [*rows, *({"ihid": invoice_id, **line} for line in added)]
    if way == "add_lines" and not changes and not taken:
        return "", [{**sequence(raw, invoice_id), "add_lines": added}]
    lines = [{**line, **changes.get(id_of(line), {})} for line in lines_of(raw) if id_of(line) not in taken]
    return "", [{**sequence(raw, invoice_id), "lines": [*lines, *added]}]


def _changes(there: Raw, one: LineSet, key: str, installation: str) -> Row:
    """Exactly what changes on an existing line."""
    changes: Row = {}
    if one.after.quantity != one.before.quantity:
        changes["qty_order"] = as_number(one.after.quantity)
    if one.after.unit_price is not None and one.after.unit_price != one.before.unit_price:
        changes["unit_price"] = changes["baseprice"] = as_number(one.after.unit_price)
    if one.after.unit_cost is not None and one.after.unit_cost != one.before.unit_cost:
        changes["unit_cost"] = as_number(one.after.unit_cost)
    if one.after.quantity == 0 and not one.entries:
        changes |= {"isinactive": True} | ({"isActive": False} if "isActive" in there else {})
    elif one.before.quantity == 0 and there.get("isinactive") is True:
        changes |= {"isinactive": False} | ({"isActive": True} if "isActive" in there else {})
    if one.takes:
        changes["prorata_data"] = [entry for entry in entries_of(there) if not is_marked(entry, one.takes)]
    if one.entries:
        changes["prorata_data"] = [*entries_of(there), *_wire_entries(one, key, installation)]
    return changes


def _wire_entries(one: LineSet, key: str, installation: str) -> Iterator[Row]:
    for nth, entry in enumerate(one.entries):
        wire: Row = {
            "date": f"{entry.day:%Y-%m-%d}T12:00:00",
            "quantity": as_number(entry.quantity),
            "longdescription": mark_of(key, installation, place_of(one, nth)),
        }
        if entry.unit_price is not None:
            wire["unitprice"] = as_number(entry.unit_price)
        if entry.unit_cost is not None:
            wire["unitcost"] = as_number(entry.unit_cost)
        yield wire


def place_of(one: LineSet, nth: int) -> int:
    """An entry's own number, so that each of them is found again."""
    return one.ordinal * 1000 + nth


def _added(one: LineSet, key: str, installation: str, marker: str, codes: ProductRules) -> Row:
    wire = WireLine(
        title=one.title,
        text=one.title,
        quantity=one.after.quantity,
        unit_price=one.after.unit_price or Decimal(0),
        unit_cost=one.after.unit_cost or Decimal(0),
        item_id=one.item_id,
        tax_code=codes.tax_code,
        nominal_code=codes.income_account,
        mark=mark_of(key, installation, one.marked),
    )
    return {**as_line(wire, marker), "isinactive": False, "isActive": True}


def is_marked(entry: Raw, key: str) -> bool:
    mark = mark_of_entry(entry)
    return mark is not None and mark.key == key


def mark_of_entry(entry: Raw) -> Mark | None:
    return markers({"item_longdescription": entry.get("longdescription")})


def entries_of(line: Raw) -> list[Raw]:
    rows = line.get("prorata_data")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
