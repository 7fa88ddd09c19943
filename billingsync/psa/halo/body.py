"""What goes over the wire for one posting: a new invoice, or an existing one with everything else as it was [B4]."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from billingsync.core.bill.plan import PlanLine
from billingsync.core.bill.templates import is_once
from billingsync.core.remembered import WrittenLine
from billingsync.core.states import LineAction, PostingAction
from billingsync.psa.halo.wire import (
    Raw,
    WireLine,
    as_line,
    create_body,
    header_note,
    id_of,
    lines_of,
    mark_of,
    markers,
)
from billingsync.psa.psa import NewInvoice

Row = dict[str, object]

ZEROED: Row = {"qty_order": 0, "isinactive": True, "isActive": False}


def new_invoice(new: NewInvoice, marker: str) -> list[Row]:
    """POST /Invoice for a posting that creates one."""
    posting = new.posting
    return create_body(
        client_id=posting.client_id,
        site_id=new.client.site_id if new.client else None,
        invoice_date=new.day,
        internal_note=header_note(posting.key, new.installation, new.period),
        order_number=posting.group if posting.group and ":" not in posting.group and len(posting.group) < 30 else None,
        lines=[_wire_line(new, ordinal, line) for ordinal, line in enumerate(posting.lines)],
        marker=marker,
    )


def _wire_line(new: NewInvoice, ordinal: int, line: PlanLine) -> WireLine:
    return WireLine(
        title=line.title,
        text=line.description,
        quantity=line.quantity,
        unit_price=line.unit_price,
        unit_cost=line.unit_cost,
        item_id=line.item.id if line.item else None,
        tax_code=new.codes.tax_code,
        nominal_code=new.codes.income_account,
        mark=mark_of(new.posting.key, new.installation, ordinal),
        one_time=new.flag_one_time and new.posting.action == PostingAction.UPDATE and is_once(line.recurring_key),
    )


def changed(
    new: NewInvoice, raw: Raw, written: Mapping[int, WrittenLine], marker: str, way: str
) -> tuple[str, list[Row]]:
    """Path suffix and body of a change of an existing invoice, in the way that HALO__WRITE_LINES says
    (reference/halopsa 3.3). `written` are our lines on it, by id, as we wrote them before."""
    posting = new.posting
    changes = {line.line_id: (n, line) for n, line in enumerate(posting.lines) if line.action == LineAction.UPDATE}
    removed = {line.line_id for line in posting.lines if line.action == LineAction.REMOVE}
    added = [
        as_line(_wire_line(new, n, line), marker)
        for n, line in enumerate(posting.lines)
        if line.action == LineAction.ADD
    ]
    if posting.action == PostingAction.UPDATE:
        added = [{**line, "isinactive": False, "isActive": True} for line in added]
    present = {id_of(line): line for line in lines_of(raw)}
    updated = {
        id_: _as_updated(_wire_line(new, n, line), marker, present.get(id_, {}), written.get(id_ or 0))
        for id_, (n, line) in changes.items()
    }
    if way == "updatelines":
        rows: list[Row] = [{"ihid": posting.invoice_id, "id": id_, **line} for id_, line in updated.items()]
        rows += [{"ihid": posting.invoice_id, "id": id_, **ZEROED} for id_ in removed]
        return "updatelines", [*rows, *({"ihid": posting.invoice_id, **line} for line in added)]
    if way == "add_lines" and not updated and not removed:
        return "", [{**sequence(raw, posting.invoice_id), "add_lines": added}]
    # All existing lines exactly as received: HaloPSA may take this list as the whole truth (reference/halopsa 0.2).
    lines = [{**line, **updated.get(id_of(line), {})} for line in lines_of(raw) if id_of(line) not in removed]
    return "", [{**sequence(raw, posting.invoice_id), "lines": [*lines, *added]}]


def sequence(raw: Raw, invoice_id: int | None) -> Row:
    header: Row = {"id": invoice_id}
    if isinstance(raw.get("change_seq"), int):
        header["last_change_seq"] = raw["change_seq"]
    return header


def _as_updated(wire: WireLine, marker: str, there: Raw, before: WrittenLine | None) -> Row:
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


def zeroed(raw: Raw, line_ids: Collection[int]) -> list[Row]:
    """The body that sets lines to nothing, where HaloPSA keeps those that a list leaves out."""
    lines = [{**line, **(ZEROED if id_of(line) in line_ids else {})} for line in lines_of(raw)]
    return [{**sequence(raw, id_of(raw)), "lines": lines}]
