"""What an invoice shows of lines that are to be taken back [R4]: still as we wrote them, edited, gone; and the body
that takes them out or puts back what was before them. Pure: reading and sending are for others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from billingsync.core.states import LineAction, LineFate
from billingsync.psa.halo.body import ZEROED
from billingsync.psa.halo.compare import COMPUTED
from billingsync.psa.halo.wire import Raw, id_of, lines_of, markers, nothing, number
from billingsync.psa.psa import Fate, Intended
from billingsync.store.postings import RecordedPosting

# What a person may have changed of a line. All else HaloPSA computes, or moves on its own (its place, its sync ids).
EDITABLE = (
    "qty_order",
    "unit_price",
    "baseprice",
    "unit_cost",
    "discount_perc",
    "item_shortdescription",
    "item_longdescription",
    "_itemid",
    "tax_code",
    "nominal_code",
    "productnumber",
    "comment_1",
    "comment_2",
    "asset_id",
    "contract_id",
    "ticket_id",
    "isinactive",
    "hide_on_pdf",
)
_SENT = ("qty_order", "unit_price", "unit_cost")  # where HaloPSA's answer is not known: the numbers, and the text


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A posting as it was written: its key and lines, HaloPSA's ids of them as far as known, HaloPSA's answer, the
    body that was sent, and the invoice as it was right before (None for a new one)."""

    key: str
    lines: Sequence[Intended]
    line_ids: Mapping[int, int]
    answer: Raw
    sent: Sequence[Raw]
    before: Raw | None


def as_written(row: RecordedPosting) -> Written:
    """A recorded posting as what it wrote on HaloPSA's invoice."""
    sent = [one for one in _json(row.content) if isinstance(one, dict)]
    nested = [
        line for header in sent for name in ("lines", "add_lines") for line in lines_of({"lines": header.get(name)})
    ]
    answers = _json(row.answer or "null")
    return Written(
        key=row.key,
        lines=row.lines,
        line_ids={line.ordinal: line.line_id for line in row.returned_lines if line.line_id is not None},
        answer=answers[0] if len(answers) == 1 and isinstance(answers[0], dict) else {},
        sent=nested or sent,
        before=json.loads(row.before, parse_float=Decimal) if row.before is not None else None,
    )


def _json(text: str) -> list[object]:
    """A JSON value as a list of one, or the list that it is; an answer need not be JSON."""
    try:
        value = json.loads(text, parse_float=Decimal)
    except ValueError:
        return []
    return value if isinstance(value, list) else [value]


def answered_line(answer: str, line_id: int | None) -> Raw | None:
    """The line of that id in HaloPSA's answer (JSON); None where it is not there."""
    found = [line for one in _json(answer) if isinstance(one, dict) for line in lines_of(one)]
    return next((line for line in found if line_id is not None and id_of(line) == line_id), None)


def before_posting(raw: Raw, key: str, answers: Mapping[int, str]) -> Raw:
    """An invoice that carries the posting `key` already, as it was before it: its lines as HaloPSA's answers to what
    was written on them earlier say (JSON, by line id). A line without such an answer stays as it is, mark and all.

    HaloPSA's own pro rata stays too: what of it was billed since must not be billed again.
    """
    lines = []
    for line in lines_of(raw):
        mark, line_id = markers(line), id_of(line)
        was = answered_line(answers.get(line_id, ""), line_id) if line_id is not None else None
        if was is not None and mark is not None and mark.key == key:
            line = {**was, **{name: line[name] for name in ("prorata_data",) if name in line}}
        lines.append(line)
    return {**raw, "lines": lines}


def fates(written: Written, raw: Raw, ordinals: frozenset[int] | None = None) -> tuple[Fate, ...]:
    """What `raw` shows of each line of a posting, or of those of these ordinals."""
    chosen = [line for line in written.lines if ordinals is None or line.ordinal in ordinals]
    return tuple((_removed if line.action == LineAction.REMOVE else _fate)(written, raw, line) for line in chosen)


def _fate(written: Written, raw: Raw, line: Intended) -> Fate:
    present = {id_of(each): each for each in lines_of(raw)}
    marked = [each for each in lines_of(raw) if _marked(each, written.key, line.ordinal) and not nothing(each)]
    known = line.line_id if line.action == LineAction.UPDATE else written.line_ids.get(line.ordinal)
    there = present.get(known) if known is not None else None
    if there is None:
        if not marked:
            return Fate(ordinal=line.ordinal, kind=LineFate.GONE, line_id=known)
        if len(marked) > 1:
            ids = ", ".join(str(id_of(each)) for each in marked)
            return Fate(ordinal=line.ordinal, kind=LineFate.UNSURE, why=f"lines {ids} all carry its mark")
        there = marked[0]
    line_id = id_of(there)
    assert line_id is not None
    if nothing(there):
        return Fate(ordinal=line.ordinal, kind=LineFate.GONE, line_id=line_id)
    before = _line(written.before, line_id)
    mark = markers(there)
    if mark is None or mark.key != written.key:
        if before is not None and (markers(before) == mark if mark else not changed(before, there)):
            return Fate(ordinal=line.ordinal, kind=LineFate.BACK, line_id=line_id)
        if mark is not None:
            return Fate(
                ordinal=line.ordinal, kind=LineFate.LATER, line_id=line_id, why=f"posting {mark.key} wrote it anew"
            )
        return Fate(ordinal=line.ordinal, kind=LineFate.EDITED, line_id=line_id, why="our mark was taken off it")
    if line.action == LineAction.UPDATE and before is None:
        return Fate(
            ordinal=line.ordinal, kind=LineFate.UNSURE, line_id=line_id, why="what it was before us is not known"
        )
    if edits := _edits(written, there, line):
        return Fate(ordinal=line.ordinal, kind=LineFate.EDITED, line_id=line_id, why=edits)
    unknown = line.action == LineAction.UPDATE and markers(before or {}) == mark
    why = "what it was before us is not known, so that cannot be put back" if unknown else ""
    return Fate(ordinal=line.ordinal, kind=LineFate.THERE, line_id=line_id, why=why)


def _removed(written: Written, raw: Raw, line: Intended) -> Fate:
    """A line of an earlier month that the posting removed from a recurring invoice."""
    before = _line(written.before, line.line_id)
    if before is None:
        return Fate(ordinal=line.ordinal, kind=LineFate.UNSURE, line_id=line.line_id, why="what it was is not known")
    there = _line(raw, line.line_id)
    if there is not None:
        kind = LineFate.THERE if nothing(there) else LineFate.BACK
        return Fate(ordinal=line.ordinal, kind=kind, line_id=line.line_id)
    mark = markers(before)
    again = [each for each in lines_of(raw) if mark is not None and markers(each) == mark and not nothing(each)]
    if again:
        return Fate(ordinal=line.ordinal, kind=LineFate.BACK, line_id=id_of(again[0]))
    if mark is None:  # without a mark a second adding could not be told from the first
        return Fate(
            ordinal=line.ordinal, kind=LineFate.UNSURE, why="it carried no mark by which it would be found again"
        )
    return Fate(ordinal=line.ordinal, kind=LineFate.THERE)


def _edits(written: Written, there: Raw, line: Intended) -> str:
    """What a person changed of a line of ours, in words; "" for nothing."""
    answered = next((one for one in lines_of(written.answer) if _marked(one, written.key, line.ordinal)), None)
    if answered is not None:
        names = [name for name in EDITABLE if name in answered and name in there]
        moved = [name for name in names if not same(answered[name], there[name])]
        if "customfields" in answered and "customfields" in there and answered["customfields"] != there["customfields"]:
            moved.append("customfields")
        return _words(moved, answered, there)
    sent = next((one for one in written.sent if _marked(one, written.key, line.ordinal)), None)
    if sent is None:
        return "how it was written is not known"
    moved = [name for name in _SENT if name in there and not same(sent.get(name), there[name])]
    said, now = str(sent.get("item_shortdescription") or ""), str(there.get("item_shortdescription") or "")
    if now != said and not (len(now) >= 100 and said.startswith(now)):  # HaloPSA may have cut it
        moved.append("item_shortdescription")
    return _words(moved, sent, there)


_NAMES = {
    "qty_order": "the quantity",
    "unit_price": "the price",
    "baseprice": "the base price",
    "unit_cost": "the cost",
    "discount_perc": "the discount",
    "item_shortdescription": "the text",
    "item_longdescription": "the long text",
    "_itemid": "the item",
    "tax_code": "the tax code",
    "nominal_code": "the account",
    "isinactive": "whether it is inactive",
}


def _words(moved: Sequence[str], was: Raw, now: Raw) -> str:
    told = []
    for name in moved:
        values = f" ({was.get(name)} -> {now.get(name)})" if number(now.get(name)) is not None else ""
        told.append(f"{_NAMES.get(name, name)}{values}")
    return f"edited since: {', '.join(told)}" if told else ""


def same(left: object, right: object) -> bool:
    """Equal values; 18, 18.0 and "18.0" are the same number, as an answer that was kept may have numbers as text."""
    one, other = _numeric(left, right), _numeric(right, left)
    if one is not None and other is not None:
        return one == other
    return left == right


def _numeric(value: object, beside: object) -> Decimal | None:
    found = number(value)
    if found is None and isinstance(value, str) and number(beside) is not None:
        try:
            return Decimal(value)
        except InvalidOperation:
            return None
    return found


def changed(before: Raw, after: Raw) -> list[str]:
    """The properties in which a line differs from what it was, apart from those that HaloPSA itself moves."""
    names = (before.keys() | after.keys()) - COMPUTED
    return sorted(name for name in names if not same(before.get(name), after.get(name)))


def _marked(line: Raw, key: str, ordinal: int) -> bool:
    mark = markers(line)
    return mark is not None and mark.key == key and mark.ordinal == ordinal


def _line(raw: Raw | None, line_id: int | None) -> Raw | None:
    if raw is None or line_id is None:
        return None
    return next((line for line in lines_of(raw) if id_of(line) == line_id), None)


# The request ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`suffix` as `Halo.change_invoice` takes it; `rows` None deletes the invoice, which nothing is left on."""

    suffix: str = ""
    rows: list[dict[str, object]] | None = None


def request(written: Written, raw: Raw, taken: Sequence[Fate], *, ours: bool, way: str) -> Request:
    """What takes back the `taken` fates (all `there`). `ours`: we created the invoice; `way` is HALO__WRITE_LINES."""
    actions = {line.ordinal: line for line in written.lines}
    out = {fate.line_id for fate in taken if actions[fate.ordinal].action == LineAction.ADD}
    put_back: dict[int, Raw] = {}
    add_again: list[Raw] = []
    for fate in taken:
        line = actions[fate.ordinal]
        if line.action == LineAction.ADD:
            continue
        was = _line(written.before, line.line_id)
        assert was is not None
        if fate.line_id is None:
            add_again.append({name: value for name, value in was.items() if name != "id"})
        else:
            put_back[fate.line_id] = was
    if ours and not any(not _spent(line, written.key) and id_of(line) not in out for line in lines_of(raw)):
        return Request()
    invoice_id = id_of(raw)
    if way == "updatelines":
        rows: list[dict[str, object]] = [{"ihid": invoice_id, "id": line_id, **ZEROED} for line_id in sorted_ids(out)]
        rows += [{**was, "ihid": invoice_id, "id": line_id} for line_id, was in put_back.items()]
        return Request(suffix="updatelines", rows=[*rows, *({**was, "ihid": invoice_id} for was in add_again)])
    # All other lines exactly as received: HaloPSA may take this list as the whole truth (reference/halopsa 0.2).
    kept = [put_back.get(id_of(line) or 0, line) for line in lines_of(raw) if id_of(line) not in out]
    return Request(rows=[_header(raw, [*kept, *add_again])])


def sorted_ids(ids: set[int | None]) -> list[int]:
    return sorted(line_id for line_id in ids if line_id is not None)


def _header(raw: Raw, lines: Sequence[Raw]) -> dict[str, object]:
    header: dict[str, object] = {"id": id_of(raw), "lines": list(lines)}
    if isinstance(raw.get("change_seq"), int):
        header["last_change_seq"] = raw["change_seq"]
    return header


def _spent(line: Raw, key: str) -> bool:
    """A line of this posting that an earlier undo set to nothing, as it could not be removed."""
    mark = markers(line)
    return mark is not None and mark.key == key and nothing(line)


def disturbed(before: Raw, after: Raw, written: Written, taken: Sequence[Fate]) -> list[str]:
    """What an undo changed beyond its own lines, or did not put back as it was [B4]; empty is as it must be."""
    ours = {fate.line_id for fate in taken}
    now = {id_of(line): line for line in lines_of(after)}
    told = []
    for line in lines_of(before):
        line_id = id_of(line)
        if line_id in ours or _spent(line, written.key):
            continue
        there = now.get(line_id)
        if there is None:
            told.append(f"line {line_id} is gone")
        elif moved := changed(line, there):
            told.append(f"line {line_id}: {', '.join(moved[:6])} changed")
    for mine in written.lines:
        was, back = _line(written.before, mine.line_id), now.get(mine.line_id)
        if mine.action != LineAction.UPDATE or mine.line_id not in ours or was is None or back is None:
            continue
        if moved := changed(was, back):
            told.append(f"line {mine.line_id} is not what it was before: {', '.join(moved[:6])}")
    return told
