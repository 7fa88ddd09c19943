"""HaloPSA as a `PSA`: invoices as values, writes as bodies that are ready to be sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

from billingsync.core.invoice import Invoice
from billingsync.core.reconcile.card_write import LineSet
from billingsync.core.reconcile.snapshot import RecurringInvoice
from billingsync.core.remembered import WrittenLine
from billingsync.core.rules import ProductRules
from billingsync.core.states import LineAction, PostingAction
from billingsync.errors import UpstreamError
from billingsync.http import Sent, Service, write_json
from billingsync.psa.halo import body, compare, disturbed, set_lines, set_sight, takeback, templates
from billingsync.psa.halo.client import Halo, one_object
from billingsync.psa.halo.read import read_invoice
from billingsync.psa.halo.wire import Raw, id_of, item_body, item_group_body, lines_of, markers, number
from billingsync.psa.psa import Body, Check, Comparison, Fate, LineChange, NewInvoice, Search, SetLines, SetSight
from billingsync.store.postings import RecordedPosting


class HaloPsa(Halo):
    """The client for HaloPSA's lists and objects, and on top of it what billing asks of any PSA."""

    def __init__(
        self, service: Service, *, marker: str = "longdescription", write_lines: str = "lines", one_time: str = "plain"
    ) -> None:
        """`marker`, `write_lines` and `one_time` are HALO__MARKER, HALO__WRITE_LINES and HALO__ONE_TIME."""
        super().__init__(service)
        self.flags_one_time = one_time == "flag"
        self.marker, self.write_lines = marker, write_lines

    # Reading

    def read(self, invoice_id: int, *, template: bool) -> Invoice | None:
        """One invoice, or recurring invoice, with its lines; None only where HaloPSA says that there is none."""
        raw = self.invoice(invoice_id, recurring=template)
        return None if raw is None else read_invoice(raw, template=template)

    def templates(self) -> tuple[Invoice, ...]:
        """All recurring invoices, with their lines where lists show them."""
        return _read(self.recurring_invoices(lines=True))

    def search(self, client_ids: Sequence[int], control: tuple[int, int] | None, since: date | None = None) -> Search:
        """The clients' invoices with lines: `Halo.look` as values."""
        seen = self.search_rows(client_ids, control, since)
        return Search(rows=_read(seen.rows), complete=seen.complete, why=seen.why)

    def invoices_since(
        self, client_ids: Sequence[int] | None, day: date, whole: Callable[[Invoice], bool] = lambda invoice: True
    ) -> Iterator[Invoice]:
        """The clients' invoices with lines, at least back to `day`: `Halo.since` as values, with their `origin` where
        they are to be `whole`."""

        def read(raw: Raw) -> Invoice | None:
            found = read_invoice(raw)
            return found if found is None or whole(found) else replace(found, origin={})

        return (found for found in self.since(client_ids, day, read) if found is not None)

    def answered(self, json: object, *, template: bool = False) -> Invoice | None:
        """The invoice that a write answered."""
        raw = one_object(json)
        return None if raw is None else read_invoice(raw, template=template)

    def kept(self, invoice: Invoice) -> str:
        """The invoice as text, for the ledger: nothing of it is lost."""
        return write_json(invoice.origin).decode()

    def kept_before(self, there: Invoice, key: str, answers: Mapping[int, str]) -> str:
        """As `kept`, an invoice that carries the posting `key` already as it was before it, as far as HaloPSA's answers
        to what was written on its lines earlier say that (by line id)."""
        return write_json(takeback.before_posting(there.origin, key, answers)).decode()

    def from_kept(self, text: str | None) -> Invoice | None:
        """The invoice that `kept` made a text of."""
        return None if text is None else read_invoice(json.loads(text, parse_float=Decimal))

    def line_changes(self, invoice_id: int, line_id: int) -> tuple[LineChange, ...]:
        """What was changed on one line, oldest first, by HaloPSA's own history."""
        return tuple(
            LineChange(
                at=str(row.get("datetime") or ""),
                who=str(row.get("who") or ""),
                what=f"{row.get('field_name')} {row.get('old_value')} -> {row.get('new_value')}",
            )
            for row in self.changes(invoice_id)
            if number(row.get("invoice_line_id")) == line_id
        )

    def prorata_keys(self) -> frozenset[str]:
        """The keys of the writes whose pro rata entries wait anywhere; empty where this build lists none."""
        try:
            rows = self.rows("/InvoiceDetailProRata", "prorata")
        except UpstreamError as failed:
            if failed.status == 404:
                return frozenset()
            raise
        marks = (markers({"item_longdescription": row.get("longdescription")}) for row in rows)
        return frozenset(mark.key for mark in marks if mark is not None)

    def recurring(self, there: Invoice) -> RecurringInvoice | None:
        """A recurring invoice as a snapshot has it."""
        return templates.read_recurring(there.origin)

    # Writing

    def new_invoice(self, new: NewInvoice) -> Body:
        content = write_json(body.new_invoice(new, self.marker))
        return Body(content=content.decode(), send=lambda check: self.create_invoice(content, before=check))

    def change(self, new: NewInvoice, there: Invoice, written: Mapping[int, WrittenLine]) -> Body:
        """`written` are our lines on it, by id, as we wrote them before."""
        new = replace(new, flag_one_time=self.flags_one_time)
        suffix, rows = body.changed(new, there.origin, written, self.marker, self.write_lines)
        return self._change(suffix, rows, template=new.posting.action == PostingAction.UPDATE)

    def set_lines(self, there: Invoice, wanted: SetLines) -> Body:
        """What gives lines of a recurring invoice other numbers, and leaves all else as it was."""
        suffix, rows = set_lines.body(
            there.origin, wanted.sets, wanted.key, wanted.installation, self.marker, self.write_lines, wanted.codes
        )
        return self._change(suffix, rows, template=True)

    def zeroed(self, there: Invoice, line_ids: Collection[int], *, template: bool) -> Body:
        return self._change("", body.zeroed(there.origin, line_ids), template=template)

    def take_back(self, row: RecordedPosting, there: Invoice, taken: Sequence[Fate]) -> Body:
        """What takes back the `taken` fates (all `there`) of a posting."""
        ours = row.action == PostingAction.CREATE
        made = takeback.request(takeback.as_written(row), there.origin, taken, ours=ours, way=self.write_lines)
        if made.rows is None:
            return Body(content="", send=lambda check: self.delete_invoice(there.id, before=check))
        return self._change(made.suffix, made.rows, template=row.action == PostingAction.UPDATE)

    def _change(self, suffix: str, rows: list[dict[str, object]], *, template: bool) -> Body:
        content = write_json(rows)
        return Body(
            content=content.decode(),
            send=lambda check: self.change_invoice(suffix, content, recurring=template, before=check),
            whole=not suffix,
        )

    def new_item_group(self, name: str, before: Check) -> Sent:
        return self.create_item_group(item_group_body(name), before=before)

    def new_item(self, name: str, sku: str, group: int, codes: ProductRules, before: Check) -> Sent:
        return self.create_item(item_body(name=name, sku=sku, group=group, codes=codes), before=before)

    def made(self, json: object) -> tuple[int | None, str] | None:
        """Id and name of what a creation answered; None where it answered nothing of the kind."""
        raw = one_object(json)
        return None if raw is None else (id_of(raw), str(raw.get("name") or ""))

    # What an invoice shows of a posting

    def compare(self, there: Invoice, row: RecordedPosting) -> Comparison | None:
        """What the invoice carries of a posting; None where nothing. One that only removes lines leaves no marker."""
        marked = not all(line.action == LineAction.REMOVE for line in row.lines)
        return compare.compare(there, row.key, row.lines, row.currency, marked=marked)

    def is_twin(self, there: Invoice, row: RecordedPosting) -> bool:
        """An invoice without any marker that has just our lines: ours perhaps, with its marks lost [fault 7]."""
        return compare.twin(there.origin, row.lines)

    def intended_day(self, row: RecordedPosting) -> str:
        """The date of the invoice that was sent, as ISO date."""
        sent = json.loads(row.content, parse_float=Decimal)
        first = sent[0] if isinstance(sent, list) and sent and isinstance(sent[0], dict) else {}
        return str(first.get("invoice_date"))[:10]

    def unmarked(self, there: Invoice, row: RecordedPosting) -> bool:
        """Whether a line like one that we add is there which was not there before and carries no mark: ours perhaps,
        with its mark lost, and adding it again would bill it twice (fault 7)."""
        before = {id_of(line) for line in lines_of(json.loads(row.before or "{}", parse_float=Decimal))}
        ours = {(line.quantity, line.unit_price) for line in row.lines if line.action == LineAction.ADD}
        fresh = (line for line in lines_of(there.origin) if id_of(line) not in before and markers(line) is None)
        return any(
            (number(line.get("qty_order")), number(line.get("unit_price", line.get("baseprice")))) in ours
            for line in fresh
        )

    def tells_all(self, answer: Invoice, row: RecordedPosting) -> bool:
        """Whether the answer to a change shows the target after it as whole as a read would."""
        before = json.loads(row.before or "{}", parse_float=Decimal)
        return answer.id == row.target_invoice_id and disturbed.tells_all(before, answer.origin)

    def beside_ours(self, there: Invoice, row: RecordedPosting, *, adopted: bool) -> list[str]:
        """What happened to the target besides our change, in words; empty is as it must be [B4] [N5]."""
        if row.before is None:
            return []
        before = json.loads(row.before, parse_float=Decimal)
        return disturbed.beside_ours(before, there.origin, row, self.changes, adopted=adopted)

    def fates(self, row: RecordedPosting, there: Invoice, ordinals: frozenset[int]) -> tuple[Fate, ...]:
        """What the invoice shows of these lines of a posting."""
        return takeback.fates(takeback.as_written(row), there.origin, ordinals)

    def set_sight(self, before: Invoice, after: Invoice, sets: Sequence[LineSet], key: str, *, asked: bool) -> SetSight:
        """What a recurring invoice shows of a card's write; `asked`: HaloPSA's history is asked who else saved."""
        history = self.changes if asked else None
        return set_sight.sight(before.origin, after.origin, sets, key, history)

    def disturbed(self, before: Invoice, after: Invoice, row: RecordedPosting, taken: Sequence[Fate]) -> list[str]:
        """What an undo changed beyond its own lines, or did not put back as it was [B4]; empty is as it must be."""
        return takeback.disturbed(before.origin, after.origin, takeback.as_written(row), taken)


def _read(rows: Sequence[Raw]) -> tuple[Invoice, ...]:
    return tuple(found for raw in rows if (found := read_invoice(raw)) is not None)
