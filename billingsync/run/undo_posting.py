"""Undo one posting [R4] [R5]: take out exactly its lines, put back what was before them, keep people's edits.

The intent is committed, then it is sent, then HaloPSA is looked at and only what is seen to be gone or back is
recorded as undone (`recover.finish_undo`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from billingsync.core.bill.templates import Invoiced, MadeInvoices
from billingsync.core.invoice import Invoice
from billingsync.core.states import (
    InvoiceFate,
    LineAction,
    LineFate,
    PostingAction,
    PostingState,
    UndoOutcome,
)
from billingsync.errors import UpstreamError
from billingsync.http import NotDone, OutcomeUnknown, Sent
from billingsync.psa.psa import Body, Fate
from billingsync.run.context import RunContext
from billingsync.run.credited import is_credit, stays_because
from billingsync.run.recover import TAKEN, finish_undo, read_target, record_taken
from billingsync.run.send import still_ours
from billingsync.run.tenant import DAYS_BEFORE_PERIOD
from billingsync.run.undone import STRAY, UndoneLine, UndonePosting, undone_lines, undone_posting, with_fates
from billingsync.store.postings import ARRIVED, UNRESOLVED, RecordedPosting
from billingsync.store.receipts import Restored, UndoIntent

SENDINGS = 3  # of one undo in one go; each after a first was refused, or was certainly not carried out


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingUndo:
    context: RunContext
    row: RecordedPosting
    who: str
    dry_run: bool
    stray: Invoice | None = None  # another invoice than the ledger knows, that carries this posting too
    credited: Restored | None = None  # what it credits, which is billed again once the credit is gone [R5]

    def carry_out(self) -> UndonePosting:
        """What becomes of one posting; whatever goes wrong is that posting's."""
        if self.stray is not None and not self.dry_run and self.row.state not in STRAY:
            why = "it carries the same lines once more; undo what is left of the first invoice, then run undo again"
            return undone_posting(self.row, (), UndoOutcome.KEPT, InvoiceFate.UNTOUCHED, why, self.stray.id)
        if self.row.state in (*UNRESOLVED, PostingState.UNDOING):
            why = self.row.message or "whether HaloPSA has it is not known yet"
            return undone_posting(self.row, (), UndoOutcome.UNKNOWN, InvoiceFate.UNTOUCHED, why)
        if self._is_credit and (why := stays_because(self.context.ledger, self.credited)):
            return undone_posting(self.row, (), UndoOutcome.KEPT, InvoiceFate.UNTOUCHED, f"the credit stays: {why}")
        try:
            return self._carry_out()
        except UpstreamError as trouble:
            state = self.context.ledger.posting(self.row.key).state
            outcome = UndoOutcome.UNKNOWN if state == PostingState.UNDOING else UndoOutcome.FAILED
            return undone_posting(self.row, (), outcome, InvoiceFate.UNTOUCHED, trouble.message)

    def _carry_out(self) -> UndonePosting:
        before: tuple[UndoneLine, ...] = ()
        problem = ""
        for _ in range(SENDINGS):
            raw = self._read()
            seen = self._under_a_later_month(raw, self._with_billed(raw, self._seen(raw)))
            gone = [fate for fate in seen if fate.kind in TAKEN]
            there = [fate for fate in seen if fate.kind == LineFate.THERE]
            before = undone_lines(self.row, seen)
            if self._is_credit and (why := self._credit_stays(raw, gone, there, seen)):
                return undone_posting(self.row, (), UndoOutcome.KEPT, InvoiceFate.UNTOUCHED, why)
            if gone and not self.dry_run and self.stray is None:
                why = "somebody had undone it by hand already"
                record_taken(self.context, self.row, self._invoice_id(raw), gone, why, restores=self.credited)
            if raw is None or not there:
                why = next((fate.why for fate in seen if fate.kind == LineFate.CLOSED), "")
                return self._result(before, InvoiceFate.GONE if raw is None else InvoiceFate.UNTOUCHED, problem=why)
            if why := self._closed(raw, there):
                before = with_fates(before, {LineFate.THERE: LineFate.CLOSED}, why)
                return self._result(before, InvoiceFate.UNTOUCHED, problem=why)
            if why := next((fate.why for fate in there if fate.why), ""):
                before = with_fates(before, {LineFate.THERE: LineFate.UNSURE}, why)
                step = f"create the invoice from recurring invoice {abs(raw.id)} in HaloPSA, then run again"
                return self._result(
                    before, InvoiceFate.UNTOUCHED, problem=f"{why}; {step}: what it bills can be credited then"
                )
            body = self.context.psa.take_back(self.row, raw, there)
            invoice = InvoiceFate.CHANGED if body.content else InvoiceFate.DELETED
            if self.dry_run:
                return self._result(with_fates(before, {LineFate.THERE: LineFate.TAKEN}), invoice)
            sent = self._send(raw, there, body)
            if isinstance(sent, NotDone):
                problem = sent.message
                self.context.ledger.record_kept(self.context.fence, self.row.key, problem, self.context.now())
                continue
            after = self._after(raw, there, body.whole, sent)
            if not any(fate.kind in TAKEN for fate in after):
                problem = "HaloPSA did not do it"
                continue
            lines = with_fates(before, {LineFate.THERE: LineFate.STILL_THERE}, "HaloPSA did not take it back")
            lines = tuple(
                replace(line, fate=LineFate.TAKEN, why="")
                if any(fate.ordinal == line.ordinal and fate.kind in TAKEN for fate in after)
                else line
                for line in lines
            )
            # Of an invoice that was deleted nothing is left that could be otherwise.
            return self._result(lines, invoice, problem=self._disturbed(raw, there) if body.content else "")
        return self._result(
            with_fates(before, {LineFate.THERE: LineFate.STILL_THERE}, problem), InvoiceFate.UNTOUCHED, problem=problem
        )

    @property
    def _is_credit(self) -> bool:
        return self.stray is None and is_credit(self.row)

    def _credit_stays(
        self, raw: Invoice | None, gone: Sequence[Fate], there: Sequence[Fate], seen: Sequence[Fate]
    ) -> str:
        """Why a credit is not taken back as HaloPSA has it: it goes whole or not at all. "" where it may go."""
        again = f"void it in HaloPSA, then billingsync undo {self.row.run} again"
        if raw is not None and there and raw.closed:
            return f"the credit stays: its invoice {raw.id} {raw.closed}; {again}"
        if len(seen) not in (len(gone), len(there)):
            return f"the credit stays: a person changed its invoice {self.row.invoice_id}; {again}"
        return ""

    def _read(self) -> Invoice | None:
        found = self.row.invoice_id if self.row.invoice_id is not None else self.row.target_invoice_id
        invoice_id = self.stray.id if self.stray is not None else found
        assert invoice_id is not None, self.row.key
        return read_target(self.context, invoice_id, template=self.row.action == PostingAction.UPDATE)

    def _closed(self, there: Invoice, fates: Sequence[Fate]) -> str:
        """Why nothing of it may be taken back in place; "" where it may. A recurring invoice is a template: what
        HaloPSA has made invoices of is billed, and taking it off the template would take back nothing [R5]."""
        if self.row.action != PostingAction.UPDATE:
            return f"the invoice {there.closed}" if there.closed else ""
        wanted = {fate.ordinal for fate in fates}
        lines = [
            line
            for line in self.context.ledger.written_lines()
            if line.key == self.row.key and line.live and (line.ordinal in wanted or line.ordinal < 0)
        ]
        if not lines:
            return ""
        made = self._made(there)
        found = [one for one in map(made.of, lines) if not self._deleted(one.invoices)]
        return _billed_on(found, there.id) if any(one.done for one in found) else ""

    def _made(self, template: Invoice | None) -> MadeInvoices:
        day = self.context.period.first_day - timedelta(days=DAYS_BEFORE_PERIOD)
        invoices = self.context.psa.invoices_since([self.row.client_id], day)
        return MadeInvoices(invoices, [template] if template is not None else [])

    def _deleted(self, invoices: Collection[int]) -> bool:
        """Whether these invoices, made from a template, are known and none of them is there any more: nobody pays what
        they billed [N5]."""
        return bool(invoices) and all(read_target(self.context, one, template=False) is None for one in invoices)

    def _with_billed(self, raw: Invoice | None, seen: tuple[Fate, ...]) -> tuple[Fate, ...]:
        """The fates, where those that are no longer on the template as we wrote them, and that HaloPSA has billed, are
        closed. What a later month of ours wrote anew or took off was invoiced, else it had been held [B6]."""
        if self.row.action != PostingAction.UPDATE or self.stray is not None:
            return seen
        written = {line.ordinal: line for line in self.row.lines if line.action != LineAction.REMOVE}
        off = [one for one in seen if one.kind in (LineFate.GONE, LineFate.LATER) and one.ordinal in written]
        if not off:
            return seen
        made, template_id = self._made(raw), self.row.invoice_id or self.row.target_invoice_id or 0
        ids = {line.ordinal: line.line_id for line in self.row.returned_lines}
        noted = {line.ordinal: line.invoiced for line in self.row.returned_lines}
        taken_off = self._taken_off(template_id)
        closed: dict[int, Fate] = {}
        for one in off:
            line_id = ids.get(one.ordinal) or written[one.ordinal].line_id
            found = made.by_mark(self.row.key, one.ordinal)
            by_us = one.kind == LineFate.LATER or line_id in taken_off
            if by_us and not found.done and self._deleted(noted.get(one.ordinal, ())):
                why = "the invoice that HaloPSA had made of it is gone"
                closed[one.ordinal] = replace(one, kind=LineFate.GONE, why=why)
            elif found.done or (by_us and not made.voided(self.row.key, one.ordinal)):
                closed[one.ordinal] = replace(one, kind=LineFate.CLOSED, why=_billed_on([found], template_id))
        return tuple(closed.get(one.ordinal, one) for one in seen)

    def _under_a_later_month(self, raw: Invoice | None, seen: tuple[Fate, ...]) -> tuple[Fate, ...]:
        """The fates, where lines that it took off a template stay off once the template carries a later month: what
        they billed is invoiced, and what stands there now comes in their place."""
        removed = {line.ordinal for line in self.row.lines if line.action == LineAction.REMOVE}
        off = [one for one in seen if one.kind == LineFate.THERE and one.ordinal in removed]
        if raw is None or not off:
            return seen
        heads = self.context.ledger.heads(states=ARRIVED)
        later = [
            head.period
            for head in heads
            if head.action == PostingAction.UPDATE
            and abs(head.invoice_id or 0) == abs(raw.id)  # screens show recurring ids without the sign
            and head.period > self.row.period
        ]
        if not later:
            return seen
        why = f"HaloPSA has billed it, and recurring invoice {abs(raw.id)} has {max(later)} on it since: it stays off"
        return tuple(replace(one, kind=LineFate.LATER, why=why) if one in off else one for one in seen)

    def _taken_off(self, template_id: int) -> frozenset[int]:
        """The lines that postings of ours took off this template."""
        ledger = self.context.ledger
        keys = [
            head.key
            for head in ledger.heads(states=ARRIVED)
            if head.action == PostingAction.UPDATE and head.invoice_id == template_id and head.period >= self.row.period
        ]
        return frozenset(
            line.line_id
            for row in ledger.postings(keys=keys)
            for line in row.lines
            if line.action == LineAction.REMOVE and line.line_id is not None
        )

    def _invoice_id(self, raw: Invoice | None) -> int:
        found = raw.id if raw is not None else self.row.invoice_id
        assert found is not None, self.row.key
        return found

    def _seen(self, raw: Invoice | None) -> tuple[Fate, ...]:
        """The fates of the lines that still bill somebody, as far as the ledger knows, and of those removed."""
        live = self.context.ledger.live_lines(self.row.key)
        # Undone once, and it landed late: none is claimed, all are there. A credit never claims any.
        if self._is_credit or (not live and self.row.state == PostingState.DIFFERS):
            live = frozenset(line.ordinal for line in self.row.lines)
        asked = frozenset(
            line.ordinal
            for line in self.row.lines
            if self.stray is not None or line.ordinal in live or line.action == LineAction.REMOVE
        )
        if raw is None or raw.void:
            return tuple(Fate(ordinal=ordinal, kind=LineFate.GONE) for ordinal in sorted(asked))
        return self.context.psa.fates(self.row, raw, asked)

    def _send(self, raw: Invoice, there: Sequence[Fate], body: Body) -> Sent:
        """The intent, committed and read back; then the request [N1]."""
        context, row = self.context, self.row
        intent = UndoIntent(
            key=row.key,
            was=row.state,
            lines=tuple(fate.ordinal for fate in there),
            content=body.content,
            before=context.psa.kept(raw),
            restores=self.credited,
        )
        context.ledger.record_undoing(context.fence, intent, self.who, context.now())
        context.ledger.read_undo_back(intent)
        return body.send(still_ours(context))

    def _after(self, raw: Invoice, there: Sequence[Fate], whole_list: bool, sent: Sent) -> tuple[Fate, ...]:
        """What came of it. Where HaloPSA answered yet keeps lines that its list left out, they are set to nothing."""
        row = self.context.ledger.posting(self.row.key)  # with the time at which it was sent
        if isinstance(sent, OutcomeUnknown):
            return finish_undo(self.context, row)
        if whole_list:
            template = row.action == PostingAction.UPDATE
            now = read_target(self.context, self._invoice_id(raw), template=template)
            added = {line.ordinal for line in row.lines if line.action == LineAction.ADD}
            wanted = frozenset(fate.ordinal for fate in there)
            kept = self.context.psa.fates(row, now, wanted) if now is not None else ()
            left = frozenset(
                fate.line_id
                for fate in kept
                if fate.kind not in TAKEN and fate.ordinal in added and fate.line_id is not None
            )
            if now is not None and left:
                what = f"our lines {sorted(left)} on invoice {self._invoice_id(raw)} set to nothing"
                self.context.ledger.record_zeroed(self.context.fence, what, self.context.now())
                self.context.psa.zeroed(now, left, template=template).send(still_ours(self.context))
        return finish_undo(self.context, row, certain=True)

    def _disturbed(self, raw: Invoice, there: Sequence[Fate]) -> str:
        """An alarm in words, where other lines are not as they were; "" where all is well [B4]."""
        after = self.context.psa.read(self._invoice_id(raw), template=self.row.action == PostingAction.UPDATE)
        told = self.context.psa.disturbed(raw, after, self.row, there) if after is not None else []
        return f"HaloPSA changed more than was sent: {'; '.join(told[:6])}" if told else ""

    def _result(self, lines: Sequence[UndoneLine], invoice: InvoiceFate, *, problem: str = "") -> UndonePosting:
        fates_now = {line.fate for line in lines}
        if LineFate.CLOSED in fates_now:
            outcome = UndoOutcome.CLOSED
        elif LineFate.STILL_THERE in fates_now:
            outcome = UndoOutcome.FAILED
        elif fates_now & {LineFate.EDITED, LineFate.LATER, LineFate.UNSURE}:
            outcome = UndoOutcome.PART if fates_now & {LineFate.TAKEN, *TAKEN} else UndoOutcome.KEPT
        else:
            outcome = UndoOutcome.UNDONE if not problem else UndoOutcome.FAILED
        if self.stray is not None:
            problem = problem or "it landed late, beside or after what the ledger knows"
        return undone_posting(self.row, lines, outcome, invoice, problem, self.stray.id if self.stray else None)


def _billed_on(found: Sequence[Invoiced], template_id: int) -> str:
    invoices = sorted({invoice for one in found for invoice in one.invoices})
    where = f"on invoice {', '.join(map(str, invoices))}" if invoices else "since it was written"
    return f"HaloPSA has billed it {where}, made from recurring invoice {abs(template_id)}"
