"""What a recurring invoice shows of a card's write [WB4] [WB5].

A changed line carries no marker: its text is the client's, and a value that is set twice is still the same. So the
value itself says whether the write was carried out. Lines and pro rata entries that are added carry one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from billingsync.core.money import plain
from billingsync.core.reconcile.card_write import LineSet, SetAction
from billingsync.core.reconcile.values import Values
from billingsync.psa.halo.compare import foreign_changes
from billingsync.psa.halo.disturbed import KEPT, Changes, lost_edit, saved_between
from billingsync.psa.halo.set_lines import entries_of, is_marked, mark_of_entry, place_of
from billingsync.psa.halo.takeback import EDITABLE
from billingsync.psa.halo.wire import Raw, id_of, lines_of, markers, nothing, number, same
from billingsync.psa.psa import LineSight, SetSight, Shows

_SCHEDULE = ("lastcreated", "nextcreationdate")
_NUMBERS = ("qty_order", "unit_price", "baseprice", "unit_cost", "isinactive", "isActive")


def sight(before: Raw, after: Raw, sets: Sequence[LineSet], key: str, history: Changes | None) -> SetSight:
    """What `after` shows of the write; `before` is the invoice as it was read right before. `history` is asked where
    somebody else may have saved between; None: not asked."""
    lines = tuple(_line_sight(before, after, one, key) for one in sets)
    ours = frozenset(one.line_id for one in sets if one.line_id is not None)
    moved = [name for name in _SCHEDULE if not same(before.get(name), after.get(name))]
    beside = foreign_changes(before, after, ours)
    beside += [
        f"{name} of the recurring invoice changed"
        for name in KEPT
        if name not in _SCHEDULE and not same(before.get(name), after.get(name))
    ]
    beside += [text for one in sets for text in _same_line(before, after, one)]
    if history is not None:
        beside += _lost_edits(before, after, sets, key, history)
    return SetSight(
        lines=lines,
        beside=tuple(beside),
        prorated=tuple(_own_prorata(before, after, sets, key)),
        made=bool(moved),
    )


def _line_sight(before: Raw, after: Raw, one: LineSet, key: str) -> LineSight:
    if one.action is SetAction.ADD:
        return _added_sight(before, after, one, key)
    there = next((line for line in lines_of(after) if id_of(line) == one.line_id), None)
    if one.action is SetAction.TAKE_OUT and (there is None or nothing(there)):
        return LineSight(ordinal=one.ordinal, shows=Shows.TO, line_id=one.line_id)
    if there is None:
        return LineSight(ordinal=one.ordinal, shows=Shows.OTHER, line_id=one.line_id, said="the line is gone")
    if one.takes:
        left = sum(is_marked(entry, one.takes) for entry in entries_of(there))
        shows = Shows.FROM if left else Shows.TO
        return LineSight(ordinal=one.ordinal, shows=shows, line_id=one.line_id, said="no pro rata of ours any more")
    if one.entries:
        return _entries_sight(there, one, key)
    was = next((line for line in lines_of(before) if id_of(line) == one.line_id), {})
    shows = Shows.OTHER
    if one.action is SetAction.SET and _has(there, one.after) and (one.after.quantity == 0) == nothing(there):
        shows = Shows.TO
    elif _has(there, one.before) and same(there.get("isinactive"), was.get("isinactive")):
        shows = Shows.FROM
    return LineSight(ordinal=one.ordinal, shows=shows, line_id=one.line_id, said=said(there))


def _has(line: Raw, values: Values) -> bool:
    """Whether a line has these numbers. What HaloPSA does not show, as costs to a role without the right, agrees."""
    price = number(line.get("unit_price"))
    price = number(line.get("baseprice")) if price is None else price
    found = (
        (values.quantity, number(line.get("qty_order"))),
        (values.unit_price, price),
        (values.unit_cost, number(line.get("unit_cost"))),
    )
    return all(wanted is None or there is None or wanted == there for wanted, there in found)


def said(line: Raw) -> str:
    """A line's numbers, for people."""
    quantity, price = number(line.get("qty_order")), number(line.get("unit_price"))
    text = "no quantity" if quantity is None else f"quantity {plain(quantity)}"
    text += "" if price is None else f" at {plain(price)}"
    return f"{text}, inactive" if line.get("isinactive") is True else text


def _added_sight(before: Raw, after: Raw, one: LineSet, key: str) -> LineSight:
    found = [line for line in lines_of(after) if one.is_marked(markers(line), key) and not nothing(line)]
    if len(found) > 1:
        ids = ", ".join(str(id_of(line)) for line in found)
        return LineSight(ordinal=one.ordinal, shows=Shows.OTHER, said=f"lines {ids} all carry its mark")
    if found:
        shows = Shows.TO if _has(found[0], one.after) else Shows.OTHER
        return LineSight(ordinal=one.ordinal, shows=shows, line_id=id_of(found[0]), said=said(found[0]))
    old = {id_of(line) for line in lines_of(before)}
    for line in lines_of(after):
        if id_of(line) not in old and markers(line) is None and _has(line, one.after):
            why = f"line {id_of(line)} is like ours, without our mark"
            return LineSight(ordinal=one.ordinal, shows=Shows.UNMARKED, line_id=id_of(line), said=why)
    return LineSight(ordinal=one.ordinal, shows=Shows.FROM)


def _entries_sight(there: Raw, one: LineSet, key: str) -> LineSight:
    """Pro rata entries add up, so each must be there once; the line's own quantity stays."""
    marks = [mark.ordinal for entry in entries_of(there) if (mark := mark_of_entry(entry)) and mark.key == key]
    wanted = [place_of(one, nth) for nth in range(len(one.entries))]
    shows = Shows.TO if _has(there, one.after) and sorted(marks) == wanted else Shows.OTHER
    if _has(there, one.before) and not marks:
        shows = Shows.FROM
    more = f", {len(marks)} of our {len(wanted)} pro rata entries wait"
    return LineSight(ordinal=one.ordinal, shows=shows, line_id=one.line_id, said=said(there) + more)


def _own_prorata(before: Raw, after: Raw, sets: Sequence[LineSet], key: str) -> Iterator[str]:
    """Pro rata that is there now and that neither was there before nor is ours: HaloPSA prorates by itself."""
    known = {id_of(line): len(entries_of(line)) for line in lines_of(before)}
    wanted = {one.line_id: len(one.entries) for one in sets}
    for line in lines_of(after):
        line_id = id_of(line)
        more = len(entries_of(line)) - known.get(line_id, 0) - wanted.get(line_id, 0)
        if more > 0:
            yield f"HaloPSA added {more} pro rata of its own to line {line_id}: take it out, or it is billed twice"


def _same_line(before: Raw, after: Raw, one: LineSet) -> Iterator[str]:
    """What changed on our own line besides the numbers that we set."""
    was = next((line for line in lines_of(before) if id_of(line) == one.line_id), None)
    there = next((line for line in lines_of(after) if id_of(line) == one.line_id), None)
    if was is None or there is None or one.action is not SetAction.SET:
        return
    moved = [name for name in EDITABLE if name not in _NUMBERS and name in was and not same(was[name], there.get(name))]
    if moved:
        yield f"line {one.line_id}: {', '.join(moved[:6])} changed"


def _lost_edits(before: Raw, after: Raw, sets: Sequence[LineSet], key: str, history: Changes) -> Iterator[str]:
    mine = {one.line_id: one for one in sets}
    for line_id, change in saved_between(before, after, key, history):
        one = mine.get(line_id)
        if one is None or not _is_ours(change, str(change.get("field_name") or ""), one):
            yield lost_edit(line_id, change)


def _is_ours(change: Raw, name: str, one: LineSet) -> bool:
    """Whether an entry of the history is our own change: from what we read to what we wrote."""
    numbers = {
        "qty_order": (one.before.quantity, one.after.quantity),
        "unit_price": (one.before.unit_price, one.after.unit_price),
        "baseprice": (one.before.unit_price, one.after.unit_price),
        "unit_cost": (one.before.unit_cost, one.after.unit_cost),
    }
    if name not in numbers:
        return name in ("isinactive", "isActive", "prorata_data", "line removed")
    return all(
        wanted is None or _text_number(found) == wanted
        for wanted, found in zip(numbers[name], (change.get("old_value"), change.get("new_value")), strict=True)
    )


def _text_number(value: object) -> Decimal | None:
    found = number(value)
    if found is None and isinstance(value, str):
        try:
            found = Decimal(value)
        except ArithmeticError:
            return None
    return found
