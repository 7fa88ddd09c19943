"""What goes over the wire for one posting: a new invoice, or an existing one with everything else as it was [B4]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from billingsync.core.behaviors import closed_because, touched
from billingsync.core.plan import PlanLine, Posting
from billingsync.desk import Desk
from billingsync.halo.compare import Raw, carries, id_of, lines_of
from billingsync.halo.wire import WireLine, as_line, create_body, header_note, mark_of
from billingsync.http import Sent, write_json
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


def prepare(desk: Desk, posting: Posting) -> Prepared:
    """Build the body; for an existing invoice after reading it anew. Raises CannotWrite, UpstreamError."""
    if posting.action == "create":
        body = _new_invoice(desk, posting)
        return Prepared(
            content=write_json(body).decode(),
            before=None,
            there=None,
            send=lambda check: desk.halo.create_invoice(body, before=check),
        )
    recurring = posting.action == "update"
    assert posting.invoice_id is not None
    raw = desk.halo.invoice(posting.invoice_id, recurring=recurring)
    _still_writable(desk, posting, raw)
    assert raw is not None
    path, rows = _changed(desk, posting, raw)
    return Prepared(
        content=write_json(rows).decode(),
        before=write_json(raw).decode(),
        there=raw if carries(raw, posting.key) else None,
        send=lambda check: desk.halo.change_invoice(path, rows, recurring=recurring, before=check),
    )


def _new_invoice(desk: Desk, posting: Posting) -> list[dict[str, object]]:
    client = desk.clients.get(posting.client_id)
    return create_body(
        client_id=posting.client_id,
        site_id=client.site_id if client else None,
        invoice_date=desk.today,
        internal_note=header_note(posting.key, desk.installation, str(desk.period)),
        order_number=posting.group if posting.group and ":" not in posting.group and len(posting.group) < 30 else None,
        lines=[_wire_line(desk, posting, ordinal, line) for ordinal, line in enumerate(posting.lines)],
        marker=desk.marker,
    )


def _wire_line(desk: Desk, posting: Posting, ordinal: int, line: PlanLine) -> WireLine:
    codes = desk.tax_and_accounts(posting.client_id)
    return WireLine(
        title=line.title,
        text=line.description,
        quantity=line.quantity,
        unit_price=line.unit_price,
        unit_cost=line.unit_cost,
        item_id=line.item.id if line.item else None,
        tax_code=codes.tax_code,
        nominal_code=codes.income_account,
        mark=mark_of(posting.key, desk.installation, ordinal),
    )


def _still_writable(desk: Desk, posting: Posting, raw: Raw | None) -> None:
    if raw is None:
        raise CannotWrite(f"invoice {posting.invoice_id} is gone from HaloPSA; plan again")
    if carries(raw, posting.key):
        return  # a ledger that was restored from before this posting: it is adopted, not written
    if posting.action == "append" and (why := closed_because(raw)):
        raise CannotWrite(f"invoice {posting.invoice_id} {why} meanwhile; plan again")
    present = {id_of(line): line for line in lines_of(raw)}
    written = {line.line_id: line for line in desk.ledger.written_lines() if line.invoice_id == posting.invoice_id}
    for line in posting.lines:
        if line.line_id is not None and (before := written.get(line.line_id)):
            trouble = touched(before, present.get(line.line_id))
            if trouble:
                raise CannotWrite(f"{trouble[1]} since the plan was made; plan again")


def _changed(desk: Desk, posting: Posting, raw: Raw) -> tuple[str, list[dict[str, object]]]:
    """Path suffix and body, in the way that HALO__WRITE_LINES says (reference/halopsa 3.3)."""
    changes = {line.line_id: (n, line) for n, line in enumerate(posting.lines) if line.action == "update"}
    removed = {line.line_id for line in posting.lines if line.action == "remove"}
    added = [
        as_line(_wire_line(desk, posting, n, line), desk.marker)
        for n, line in enumerate(posting.lines)
        if line.action == "add"
    ]
    header: dict[str, object] = {"id": posting.invoice_id}
    if isinstance(raw.get("change_seq"), int):
        header["last_change_seq"] = raw["change_seq"]
    if posting.action == "update":
        added = [{**line, "isinactive": False, "isActive": True} for line in added]
    updated = {id_: _as_updated(desk, posting, n, line) for id_, (n, line) in changes.items()}
    if desk.write_lines == "updatelines":
        rows: list[dict[str, object]] = [
            {"ihid": posting.invoice_id, "id": id_, **line} for id_, line in updated.items()
        ]
        rows += [{"ihid": posting.invoice_id, "id": id_, **_ZEROED} for id_ in removed]
        return "updatelines", [*rows, *({"ihid": posting.invoice_id, **line} for line in added)]
    if desk.write_lines == "add_lines" and not updated and not removed:
        return "", [{**header, "add_lines": added}]
    # All existing lines exactly as received: HaloPSA may take this list as the whole truth (reference/halopsa 0.2).
    lines = [{**line, **updated.get(id_of(line), {})} for line in lines_of(raw) if id_of(line) not in removed]
    return "", [{**header, "lines": [*lines, *added]}]


_ZEROED: dict[str, object] = {"qty_order": 0, "isinactive": True, "isActive": False}


def _as_updated(desk: Desk, posting: Posting, ordinal: int, line: PlanLine) -> dict[str, object]:
    """What changes on a line of ours; its codes and whatever else it has stay."""
    wire = as_line(_wire_line(desk, posting, ordinal, line), desk.marker)
    keep = ("tax_code", "nominal_code", "_itemid", "item_code")
    return {name: value for name, value in wire.items() if name not in keep}


def finish_removals(desk: Desk, row: RecordedPosting, raw: Raw, still_there: tuple[int, ...]) -> Raw | None:
    """Where HaloPSA merges lists of lines, a line that is left out stays: it is set to nothing and inactive instead.

    Part of the same posting: repeating it changes nothing more, so its outcome need not be known to go on.
    """
    assert row.target_invoice_id is not None
    recurring = row.action == "update"
    lines = [{**line, **(_ZEROED if id_of(line) in still_there else {})} for line in lines_of(raw)]
    header: dict[str, object] = {"id": row.target_invoice_id, "lines": lines}
    if isinstance(raw.get("change_seq"), int):
        header["last_change_seq"] = raw["change_seq"]
    desk.halo.change_invoice("", [header], recurring=recurring, before=lambda: None)
    return desk.halo.invoice(row.target_invoice_id, recurring=recurring)
