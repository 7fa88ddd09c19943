"""What goes over the wire for one posting: a new invoice, or an existing one with everything else as it was [B4]."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from billingsync.core.bill.plan import PlanLine, Posting
from billingsync.core.bill.targets import closed_because, touched, unusable_because
from billingsync.core.inputs import WrittenLine
from billingsync.errors import Locked, UpstreamError
from billingsync.http import Answered, Sent, write_json
from billingsync.psa.halo.invoice import Raw, carries, foreign_changes, id_of, lines_of, nothing, number
from billingsync.psa.halo.wire import WireLine, as_line, create_body, header_note, mark_of, markers
from billingsync.run.context import RunContext
from billingsync.store.postings import RecordedPosting


class CannotWrite(Exception):
    """The target is not what it was when the plan was made; nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """`content` is the body as it will be sent; `before` the target as it was read right before, as JSON."""

    content: str
    before: str | None
    there: Raw | None  # the target, where it carries this posting already
    send: Callable[[Callable[[], None]], Sent]


def prepare(context: RunContext, posting: Posting) -> Prepared:
    """Build the body; for an existing invoice after reading it anew. Raises CannotWrite, UpstreamError."""
    if posting.action == "create":
        body = _new_invoice(context, posting)
        return Prepared(
            content=write_json(body).decode(),
            before=None,
            there=None,
            send=lambda check: context.halo.create_invoice(body, before=check),
        )
    recurring = posting.action == "update"
    assert posting.invoice_id is not None
    raw = context.halo.invoice(posting.invoice_id, recurring=recurring)
    written = {line.line_id: line for line in context.ledger.written_lines() if line.invoice_id == posting.invoice_id}
    _still_writable(posting, raw, written)
    assert raw is not None
    path, rows = _changed(context, posting, raw, written)
    return Prepared(
        content=write_json(rows).decode(),
        before=write_json(raw).decode(),
        there=raw if carries(raw, posting.key) else None,
        send=lambda check: context.halo.change_invoice(path, rows, recurring=recurring, before=check),
    )


def _new_invoice(context: RunContext, posting: Posting) -> list[dict[str, object]]:
    client = context.clients.get(posting.client_id)
    return create_body(
        client_id=posting.client_id,
        site_id=client.site_id if client else None,
        invoice_date=context.today,
        internal_note=header_note(posting.key, context.installation, str(context.period)),
        order_number=posting.group if posting.group and ":" not in posting.group and len(posting.group) < 30 else None,
        lines=[_wire_line(context, posting, ordinal, line) for ordinal, line in enumerate(posting.lines)],
        marker=context.marker,
    )


def _wire_line(context: RunContext, posting: Posting, ordinal: int, line: PlanLine) -> WireLine:
    codes = context.tax_and_accounts(posting.client_id)
    return WireLine(
        title=line.title,
        text=line.description,
        quantity=line.quantity,
        unit_price=line.unit_price,
        unit_cost=line.unit_cost,
        item_id=line.item.id if line.item else None,
        tax_code=codes.tax_code,
        nominal_code=codes.income_account,
        mark=mark_of(posting.key, context.installation, ordinal),
    )


def _still_writable(posting: Posting, raw: Raw | None, written: dict[int, WrittenLine]) -> None:
    if raw is None:
        raise CannotWrite(f"invoice {posting.invoice_id} is gone from HaloPSA; plan again")
    if carries(raw, posting.key):
        return  # a ledger that was restored from before this posting: it is adopted, not written
    if posting.action == "append" and (why := closed_because(raw)):
        raise CannotWrite(f"invoice {posting.invoice_id} {why} meanwhile; plan again")
    owner = number(raw.get("client_id"))
    if posting.action == "update" and (why := unusable_because(raw, owner, posting.client_id)):
        raise CannotWrite(f"recurring invoice {posting.invoice_id} {why} meanwhile; plan again")
    lines = raw.get("lines")
    if not isinstance(lines, list) or any(id_of(line) is None for line in lines_of(raw)):
        # What goes back may be taken as the whole truth: a line that we do not see, or cannot name, would be lost.
        raise CannotWrite(
            f"HaloPSA does not show the lines of invoice {posting.invoice_id} as they are; nothing was sent"
        )
    present = {id_of(line): line for line in lines_of(raw)}
    for line in posting.lines:
        if line.line_id is not None and (before := written.get(line.line_id)):
            trouble = touched(before, present.get(line.line_id), line if line.action == "update" else None)
            if trouble:
                raise CannotWrite(f"{trouble.detail} since the plan was made; plan again")


def _changed(
    context: RunContext, posting: Posting, raw: Raw, written: dict[int, WrittenLine]
) -> tuple[str, list[dict[str, object]]]:
    """Path suffix and body, in the way that HALO__WRITE_LINES says (reference/halopsa 3.3)."""
    changes = {line.line_id: (n, line) for n, line in enumerate(posting.lines) if line.action == "update"}
    removed = {line.line_id for line in posting.lines if line.action == "remove"}
    added = [
        as_line(_wire_line(context, posting, n, line), context.marker)
        for n, line in enumerate(posting.lines)
        if line.action == "add"
    ]
    header: dict[str, object] = {"id": posting.invoice_id}
    if isinstance(raw.get("change_seq"), int):
        header["last_change_seq"] = raw["change_seq"]
    if posting.action == "update":
        added = [{**line, "isinactive": False, "isActive": True} for line in added]
    present = {id_of(line): line for line in lines_of(raw)}
    updated = {
        id_: _as_updated(
            _wire_line(context, posting, n, line), context.marker, present.get(id_, {}), written.get(id_ or 0)
        )
        for id_, (n, line) in changes.items()
    }
    if context.write_lines == "updatelines":
        rows: list[dict[str, object]] = [
            {"ihid": posting.invoice_id, "id": id_, **line} for id_, line in updated.items()
        ]
        rows += [{"ihid": posting.invoice_id, "id": id_, **_ZEROED} for id_ in removed]
        return "updatelines", [*rows, *({"ihid": posting.invoice_id, **line} for line in added)]
    if context.write_lines == "add_lines" and not updated and not removed:
        return "", [{**header, "add_lines": added}]
    # All existing lines exactly as received: HaloPSA may take this list as the whole truth (reference/halopsa 0.2).
    lines = [{**line, **updated.get(id_of(line), {})} for line in lines_of(raw) if id_of(line) not in removed]
    return "", [{**header, "lines": [*lines, *added]}]


_ZEROED: dict[str, object] = {"qty_order": 0, "isinactive": True, "isActive": False}


def _as_updated(wire: WireLine, marker: str, there: Raw, before: WrittenLine | None) -> dict[str, object]:
    """What changes on a line of ours. Its codes and whatever else it has stay; its item changes where the plan has
    another one than we wrote."""
    line = as_line(wire, marker)
    same_item = wire.item_id is None or before is None or before.item_id == wire.item_id
    keep = ("tax_code", "nominal_code", *(("_itemid", "item_code") if same_item else ()))
    changes = {name: value for name, value in line.items() if name not in keep}
    fields = there.get("customfields")
    ours = changes.get("customfields")
    if isinstance(fields, list) and isinstance(ours, list):
        numbers = {id_of(field) for field in ours}
        changes["customfields"] = [
            *(one for one in fields if isinstance(one, dict) and id_of(one) not in numbers),
            *ours,
        ]
    # HALO__MARKER may have been another place last month: a mark left there would be believed before the new one.
    if "productnumber" not in changes and markers({"productnumber": there.get("productnumber")}):
        changes["productnumber"] = ""
    return changes


def still_ours(context: RunContext) -> Callable[[], None]:
    """Asked right before each request: a process that was frozen and is woken must not send [fault 9]."""

    def check() -> None:
        if not context.ledger.fence_holds(context.fence):
            raise Locked("This run was taken over while it stood still; the other run goes on.")

    return check


REMOVALS = 3  # tries: repeating one changes nothing more


def finish_removals(context: RunContext, row: RecordedPosting, raw: Raw, still_there: tuple[int, ...]) -> Raw | None:
    """Where HaloPSA merges lists of lines, a line that is left out stays: it is set to nothing and inactive instead.

    Part of the same posting: repeating it changes nothing more, so its outcome need not be known to go on. Gives the
    invoice as it is afterwards, None where that cannot be read.
    """
    assert row.target_invoice_id is not None
    recurring = row.action == "update"
    now: Raw | None = raw
    for _ in range(REMOVALS):
        if now is None:
            break
        lines = [{**line, **(_ZEROED if id_of(line) in still_there else {})} for line in lines_of(now)]
        header: dict[str, object] = {"id": row.target_invoice_id, "lines": lines}
        if isinstance(now.get("change_seq"), int):
            header["last_change_seq"] = now["change_seq"]
        what = f"our lines that HaloPSA kept on invoice {header.get('id')} set to nothing"
        context.ledger.record_zeroed(context.fence, what, context.now())
        sent = context.halo.change_invoice("", [header], recurring=recurring, before=still_ours(context))
        now = context.halo.invoice(row.target_invoice_id, recurring=recurring)
        left = [line for line in lines_of(now or {}) if id_of(line) in still_there and not nothing(line)]
        if isinstance(sent, Answered) or not left:
            break
        context.wait(1.0)
    return now


# What else happened ---------------------------------------------------------------------------------------------------

# Header properties and schedules that a write of lines must leave alone [B4]. Sums and counters follow the lines, and
# what accounting sets is looked at by itself; a property that we do not know may be either.
_KEPT = (
    "client_id client_name sitenumber uid original_client_id invoicenumber invoice_date duedate due_date_type "
    "due_date_int paymentterms period_start_date period_end_date currency_code currency_code_name "
    "currency_conversion_rate reference order_number cust_order_number payment_ref internal_note notes_1 notes_2 "
    "notes_3 contract_id ticket_id salesorder_id customfields nextcreationdate lastcreated startdate enddate "
    "period period_type periodname nextcreationperiod invoiceday schedule_id schedule disabled"
).split()


def beside_ours(context: RunContext, row: RecordedPosting, raw: Raw, *, adopted: bool = False) -> list[str]:
    """What happened to the target besides our change, in words; empty is as it must be [B4] [N5]. `raw` is the target
    as it was read after the write, when `adopted` perhaps long after; `row.before` as it was right before it."""
    if row.before is None:
        return []
    before = json.loads(row.before, parse_float=Decimal)
    ours = frozenset(line.line_id for line in row.lines if line.line_id is not None)
    found = foreign_changes(before, raw, ours)
    found += [f"{name} of the invoice changed" for name in _KEPT if not _same(before.get(name), raw.get(name))]
    closed = closed_because(raw) if row.action == "append" and not adopted and not closed_because(before) else ""
    if closed:
        found.append(f"the invoice {closed} now, so these lines may be missing there")
    return [*found, *_prorata(before, raw, ours), *_lost_edits(context, row, before, raw, ours)]


def _same(left: object, right: object) -> bool:
    one, other = number(left), number(right)
    return left == right if one is None or other is None else one == other


def _prorata(before: Raw, after: Raw, ours: frozenset[int]) -> Iterator[str]:
    """HaloPSA's own pro rata of a quantity that we changed: Pax8 bills its prorates itself (reference/halopsa 4.2)."""
    known = {id_of(line): _count(line.get("prorata_data")) for line in lines_of(before)}
    for line in lines_of(after):
        line_id = id_of(line)
        if line_id in ours and _count(line.get("prorata_data")) > known.get(line_id, 0):
            yield f"HaloPSA added a pro rata of its own to line {line_id}, beside what Pax8 charges: remove it there"


def _count(rows: object) -> int:
    return len(rows) if isinstance(rows, list) else 0


def _lost_edits(
    context: RunContext, row: RecordedPosting, before: Raw, after: Raw, ours: frozenset[int]
) -> Iterator[str]:
    """What somebody changed between our reading and our writing, which the full list of lines may have put back
    (fault 22). Asked for where HaloPSA's counter says that more than our one change was saved, or where it has none."""
    saved = number(before.get("change_seq")), number(after.get("change_seq"))
    if saved[0] is not None and saved[1] is not None and saved[1] - saved[0] <= 1:
        return
    since = str(before.get("last_modified") or "")[:19]
    invoice_id = id_of(before)
    if not since or invoice_id is None:
        return
    try:
        changes = context.halo.changes(invoice_id)
    except UpstreamError:
        return  # builds without this history: then nothing tells
    new = {id_of(line) for line in lines_of(after) if (mark := markers(line)) and mark[0] == row.key}
    for change in changes:
        line_id = number(change.get("invoice_line_id"))
        if line_id and line_id not in ours | new and str(change.get("datetime") or "")[:19] > since:
            what = f"{change.get('field_name')}: {change.get('old_value')} -> {change.get('new_value')}"
            yield f"line {line_id} was changed while we wrote ({what:.80} by {change.get('who')}), which may be lost"
