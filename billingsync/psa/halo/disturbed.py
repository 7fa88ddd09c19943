"""What happened to an invoice besides our change, in words; empty is as it must be [B4] [N5]."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from billingsync.core.states import PostingAction
from billingsync.errors import UpstreamError
from billingsync.psa.halo.compare import foreign_changes
from billingsync.psa.halo.read import closed_because
from billingsync.psa.halo.wire import Raw, id_of, lines_of, markers, number, same
from billingsync.store.postings import RecordedPosting

Changes = Callable[[int], Sequence[Raw]]  # HaloPSA's history of one invoice

# Header properties and schedules that a write of lines must leave alone [B4]. Sums and counters follow the lines, and
# what accounting sets is looked at by itself; a property that we do not know may be either.
KEPT = (
    "client_id client_name sitenumber uid original_client_id invoicenumber invoice_date duedate due_date_type "
    "due_date_int paymentterms period_start_date period_end_date currency_code currency_code_name "
    "currency_conversion_rate reference order_number cust_order_number payment_ref internal_note notes_1 notes_2 "
    "notes_3 contract_id ticket_id salesorder_id customfields nextcreationdate lastcreated startdate enddate "
    "period period_type periodname nextcreationperiod invoiceday schedule_id schedule disabled"
).split()

_CREATED = ("nextcreationdate", "lastcreated")  # HaloPSA moves them on when it has made an invoice since


def tells_all(before: Raw, answer: Raw) -> bool:
    """Whether an answer to a change is the invoice as it was saved, and not what was sent: it has every property that
    the invoice and its lines had before, was saved since, and names each line by an id of its own, by which a line of
    ours is found again next month."""
    saved = answer.get("last_modified")
    if not before or not saved or saved == before.get("last_modified") or not answer.keys() >= before.keys():
        return False
    rows = lines_of(answer)
    now = {id_: line for line in rows if (id_ := id_of(line)) is not None and id_ > 0}
    return len(now) == len(rows) and all(
        now[id_].keys() >= line.keys() for line in lines_of(before) if (id_ := id_of(line)) in now
    )


def beside_ours(before: Raw, raw: Raw, row: RecordedPosting, changes: Changes, *, adopted: bool) -> list[str]:
    """`before` is the target as it was right before the write, `raw` as it was read after it, when `adopted` perhaps
    long after."""
    ours = frozenset(line.line_id for line in row.lines if line.line_id is not None)
    found = foreign_changes(before, raw, ours)
    moves = _CREATED if adopted and str(raw.get("lastcreated") or "") > str(before.get("lastcreated") or "") else ()
    found += [
        f"{name} of the invoice changed"
        for name in KEPT
        if name not in moves and not same(before.get(name), raw.get(name))
    ]
    closed = (
        closed_because(raw) if row.action == PostingAction.APPEND and not adopted and not closed_because(before) else ""
    )
    if closed:
        found.append(f"the invoice {closed} now, so these lines may be missing there")
    return [*found, *_prorata(before, raw, ours), *_lost_edits(row.key, before, raw, ours, changes)]


def _prorata(before: Raw, after: Raw, ours: frozenset[int]) -> Iterator[str]:
    """HaloPSA's own pro rata of a quantity that we changed: Pax8 bills its prorates itself (reference/halopsa 4.2)."""
    known = {id_of(line): _count(line.get("prorata_data")) for line in lines_of(before)}
    for line in lines_of(after):
        line_id = id_of(line)
        if line_id in ours and _count(line.get("prorata_data")) > known.get(line_id, 0):
            yield f"HaloPSA added a pro rata of its own to line {line_id}, beside what Pax8 charges: remove it there"


def _count(rows: object) -> int:
    return len(rows) if isinstance(rows, list) else 0


def _lost_edits(key: str, before: Raw, after: Raw, ours: frozenset[int], history: Changes) -> Iterator[str]:
    for line_id, change in saved_between(before, after, key, history):
        if line_id not in ours:
            yield lost_edit(line_id, change)


def lost_edit(line_id: int, change: Raw) -> str:
    what = f"{change.get('field_name')}: {change.get('old_value')} -> {change.get('new_value')}"
    return f"line {line_id} was changed while we wrote ({what:.80} by {change.get('who')}), which may be lost"


def saved_between(before: Raw, after: Raw, key: str, history: Changes) -> Iterator[tuple[int, Raw]]:
    """(line id, change) of what was changed between our reading and our writing, which the full list of lines may have
    put back (faults 22 and 45); without lines that the write of this key added. Asked for where HaloPSA's counter says
    that more than our one change was saved, or where it has none."""
    saved = number(before.get("change_seq")), number(after.get("change_seq"))
    if saved[0] is not None and saved[1] is not None and saved[1] - saved[0] <= 1:
        return
    since = str(before.get("last_modified") or "")[:19]
    invoice_id = id_of(before)
    if not since or invoice_id is None:
        return
    try:
        changes = history(invoice_id)
    except UpstreamError:
        return  # builds without this history: then nothing tells
    new = {id_of(line) for line in lines_of(after) if (mark := markers(line)) and mark.key == key}
    for change in changes:
        line_id = number(change.get("invoice_line_id"))
        if line_id and line_id not in new and str(change.get("datetime") or "")[:19] > since:
            yield int(line_id), change
