"""Undo a run [R4] [R5]: take out exactly the lines that it wrote, put back what was before them, keep people's edits.

An undo is itself a write of which the outcome may stay unknown: its intent is committed, then it is sent, then
HaloPSA is looked at and only what is seen to be gone or back is recorded as undone (`recover.finish_undo`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from billingsync.connect import Connections
from billingsync.core.bill.plan import ItemRef, PlanLine, Posting
from billingsync.core.bill.templates import MadeInvoices
from billingsync.core.invoice import Invoice
from billingsync.core.money import ZERO
from billingsync.core.period import Period
from billingsync.core.progress import Progress, Say, Stage
from billingsync.core.rules import ProductRules
from billingsync.core.states import (
    GIVEN_BACK,
    UNDO_TROUBLE,
    InvoiceFate,
    LineAction,
    LineFate,
    PostingAction,
    PostingState,
    RunState,
    UndoOutcome,
    UndoState,
    WriteKind,
)
from billingsync.errors import UpstreamError, UsageError
from billingsync.http import NotDone, OutcomeUnknown, Sent
from billingsync.psa.psa import Body, Fate
from billingsync.rulebook import load_rulebook
from billingsync.run.context import RunContext, context_of, now
from billingsync.run.find import find_payer, payers_of
from billingsync.run.post import outcome_of, write_posting
from billingsync.run.recover import TAKEN, finish_undo, read_target, record_taken, resolve
from billingsync.run.send import still_ours
from billingsync.run.tenant import DAYS_BEFORE_PERIOD
from billingsync.store.book import Fence
from billingsync.store.ledger import Ledger
from billingsync.store.postings import ARRIVED, FREE, UNRESOLVED, PostedLine, RecordedPosting
from billingsync.store.receipts import UndoIntent

SENDINGS = 3  # of one undo in one go; each after a first was refused, or was certainly not carried out
STRAY = (*FREE, PostingState.UNDONE)  # not in HaloPSA as far as we know; a late landing may prove that wrong [N5]


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoneLine:
    """One line of a posting, and what is left of it."""

    ordinal: int
    line_id: int | None
    action: LineAction  # what the run had done
    text: str
    amount: Decimal
    cost: Decimal
    charges: tuple[str, ...]
    fate: LineFate
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndonePosting:
    """One posting of the run. `invoice` is what became of its invoice; `problem` says what went wrong."""

    key: str
    client_id: int
    client_name: str
    invoice_id: int | None
    action: PostingAction
    currency: str
    outcome: UndoOutcome
    invoice: InvoiceFate
    lines: tuple[UndoneLine, ...]
    problem: str = ""
    credit_invoice: int | None = None

    def sum(self, *wanted: LineFate) -> tuple[Decimal, Decimal]:
        """Price and cost of the lines of these fates."""
        chosen = [line for line in self.lines if line.fate in wanted]
        return sum((line.amount for line in chosen), ZERO), sum((line.cost for line in chosen), ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoResult:
    """With `dry_run` its state is what it would be."""

    run: str
    period: str
    dry_run: bool
    postings: tuple[UndonePosting, ...]
    items: tuple[tuple[int, str], ...] = ()  # created by the run, on no line of ours any more

    @property
    def state(self) -> UndoState:
        """The worst of its postings decides."""
        outcomes = {posting.outcome for posting in self.postings}
        if outcomes & set(UNDO_TROUBLE):
            return UndoState.FAILED
        if UndoOutcome.CLOSED in outcomes:
            return UndoState.REFUSED
        return UndoState.HELD if outcomes & {UndoOutcome.PART, UndoOutcome.KEPT} else UndoState.UNDONE


def preview(connected: Connections, run: str, *, client: str = "", say: Say) -> UndoResult:
    """What undoing the run, or one client of it, would do, as HaloPSA is now. Writes nothing, not even to the ledger.

    UsageError where the run is not known, or billed no client of that id or whole name.
    """
    fence = Fence(epoch=-1, token="", holder="")  # nothing may be recorded with it
    return _undo(connected, fence, _Asked(run=run, client=client, who="", credit=False, dry_run=True), say)


def undo_run(
    connected: Connections,
    run: str,
    *,
    who: str,
    say: Say,
    client: str = "",
    credit: bool = False,
    confirm: Callable[[UndoResult], bool] = lambda shown: True,
) -> UndoResult | None:
    """Undo the run under the run lock. `confirm` is shown what would be done; None where it says no.

    Raises UsageError for an unknown run, Locked, LedgerError; HaloPSA's trouble is told posting by posting.
    """
    connected.ledger.show_run(run)
    with connected.ledger.run_lock(who) as fence:
        connected.ledger.assert_durable()
        shown = preview(connected, run, client=client, say=say)
        if not confirm(shown):
            return None
        asked = _Asked(run=run, client=client, who=who, credit=credit, dry_run=False)
        return _undo(connected, fence, asked, say)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    run: str
    client: str  # by id or whole name; "" for all
    who: str
    credit: bool
    dry_run: bool


def _undo(connected: Connections, fence: Fence, asked: _Asked, say: Say) -> UndoResult:
    ledger, run, who, dry_run = connected.ledger, asked.run, asked.who, asked.dry_run
    of = ledger.show_run(run)
    only = _client_of(ledger, run, of.digest, asked.client) if asked.client else None
    context = context_of(connected, fence, Period.parse(of.period), say=say)
    if not dry_run:
        left = ledger.postings(run=run, states=(*UNRESOLVED, PostingState.UNDOING))
        try:
            resolve(context, [row for row in left if only in (None, row.client_id)])
        except UpstreamError as trouble:
            say(Progress(stage=Stage.TROUBLE, about=trouble.message))
    rows = [row for row in ledger.postings(run=run) if only in (None, row.client_id)]
    if of.summary.get("credit_of"):
        done = [_told(row, (), UndoOutcome.KEPT, InvoiceFate.UNTOUCHED, _CREDIT_STAYS) for row in rows]
    else:
        done = _each(connected, context, rows, who, credit=asked.credit, dry_run=dry_run)
    if not dry_run:
        _unsettle(ledger, fence, run, of.digest, done, only)
        gone = {str(posting.client_id) for posting in done if posting.outcome in (UndoOutcome.UNDONE, UndoOutcome.PART)}
        ledger.end_decisions(of.period, gone, now())  # what was approved ends with the posting that it let pass [V1]
    items = _unused_items(ledger, of.digest, rows, done)
    return UndoResult(run=run, period=of.period, dry_run=dry_run, postings=tuple(done), items=items)


_CREDIT_STAYS = (
    "it is a credit for an invoice that was closed, and what it credited may have been billed again: it stays. "
    "To take it back, void it in HaloPSA"
)


def _client_of(ledger: Ledger, run: str, digest: str | None, text: str) -> int:
    """The HaloPSA client of a run that is named so, by id or whole name, its Pax8 companies' names too [V2]."""
    rows: list[tuple[str, str, int | None, str]] = [
        ("", "", row.client_id, row.client_name) for row in ledger.heads(run=run)
    ]
    rows += [
        (one["company_id"] or "", one["company_name"], one["client_id"], one["client_name"])
        for one in _planned(ledger, digest)
        if one["client_id"] is not None
    ]
    return int(find_payer(payers_of(rows), text).key)


def take_back(
    connected: Connections, fence: Fence, period: str, keys: Collection[str], *, who: str, say: Say
) -> tuple[UndonePosting, ...]:
    """Undo these postings of a period, the newest first, under the caller's lock; what stands on a closed invoice is
    credited by a new one [R2]."""
    context = context_of(connected, fence, Period.parse(period), say=say)
    rows = [row for row in reversed(connected.ledger.postings(keys=keys)) if row.period == period]
    return tuple(_each(connected, context, rows, who, credit=True, dry_run=False))


def _each(
    connected: Connections,
    context: RunContext,
    rows: Sequence[RecordedPosting],
    who: str,
    *,
    credit: bool,
    dry_run: bool,
) -> list[UndonePosting]:
    """What becomes of each posting, and of what landed late beside it."""
    strays = _strays(context, rows)
    done: list[UndonePosting] = []
    for number, row in enumerate(rows, 1):
        stage = Stage.PREVIEW_UNDO if dry_run else Stage.UNDO
        context.say(Progress(stage=stage, nth=number, of=len(rows), client=row.client_name))
        work = _Undo(context=context, row=row, who=who, dry_run=dry_run)
        result = _told(row, (), UndoOutcome.NOTHING, InvoiceFate.GONE) if row.state in STRAY else work.carry_out()
        if credit and result.outcome == UndoOutcome.CLOSED:
            result = _credit(connected, context, row, result, who)
        extra = [replace(work, row=context.ledger.posting(row.key), stray=there) for there in strays.get(row.key, ())]
        found = [each.carry_out() for each in extra]
        done += found if found and result.outcome == UndoOutcome.NOTHING else [result, *found]
    return done


def _strays(context: RunContext, rows: Sequence[RecordedPosting]) -> dict[str, list[Invoice]]:
    """Key -> invoices that carry a posting although the ledger does not know it: landed late [N5] (fault 25)."""
    # Those that a credit undid: the lines are still on the closed invoice, and bill nobody.
    credited = {run.summary.get("credit_of") for run in context.ledger.runs(context.period)}
    home = {row.key: row.invoice_id if row.state not in STRAY or row.key in credited else None for row in rows}
    on_templates = {row.key for row in rows if row.action == PostingAction.UPDATE}
    found: dict[str, list[Invoice]] = {}

    def look(there: Invoice) -> None:
        keys = {mark.key for mark in there.live_marks}
        if not there.template:
            keys -= on_templates  # an invoice that HaloPSA made from a template has copies of its markers
        for key in sorted(keys & home.keys()):
            # A void invoice bills nobody; a person's credit note copies our lines, marks and all.
            if home[key] != there.id and not there.void and not there.credit_note:
                found.setdefault(key, []).append(there)

    created = sorted({row.client_id for row in rows if row.action == PostingAction.CREATE})
    if created:
        for invoice in context.psa.invoices_since(created, context.period.first_day):
            look(invoice)
    targets = {
        (row.target_invoice_id, row.action) for row in rows if row.action != PostingAction.CREATE and row.state in STRAY
    }
    for target, action in sorted((target, action) for target, action in targets if target is not None):
        if (template := context.psa.read(target, template=action == PostingAction.UPDATE)) is not None:
            look(template)
    return found


# One posting ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Undo:
    context: RunContext
    row: RecordedPosting
    who: str
    dry_run: bool
    stray: Invoice | None = None  # another invoice than the ledger knows, that carries this posting too

    def carry_out(self) -> UndonePosting:
        """What becomes of one posting; whatever goes wrong is that posting's."""
        if self.stray is not None and not self.dry_run and self.row.state not in STRAY:
            why = "it carries the same lines once more; undo what is left of the first invoice, then run undo again"
            return _told(self.row, (), UndoOutcome.KEPT, InvoiceFate.UNTOUCHED, why, self.stray.id)
        if self.row.state in (*UNRESOLVED, PostingState.UNDOING):
            why = self.row.message or "whether HaloPSA has it is not known yet"
            return _told(self.row, (), UndoOutcome.UNKNOWN, InvoiceFate.UNTOUCHED, why)
        try:
            return self._carry_out()
        except UpstreamError as trouble:
            state = self.context.ledger.posting(self.row.key).state
            outcome = UndoOutcome.UNKNOWN if state == PostingState.UNDOING else UndoOutcome.FAILED
            return _told(self.row, (), outcome, InvoiceFate.UNTOUCHED, trouble.message)

    def _carry_out(self) -> UndonePosting:
        before: tuple[UndoneLine, ...] = ()
        problem = ""
        for _ in range(SENDINGS):
            raw = self._read()
            seen = self._seen(raw)
            gone = [fate for fate in seen if fate.kind in TAKEN]
            there = [fate for fate in seen if fate.kind == LineFate.THERE]
            before = _lines(self.row, seen)
            if gone and not self.dry_run and self.stray is None:
                record_taken(
                    self.context, self.row, self._invoice_id(raw), gone, "somebody had undone it by hand already"
                )
            if raw is None or not there:
                return self._result(before, InvoiceFate.GONE if raw is None else InvoiceFate.UNTOUCHED)
            if why := self._closed(raw, there):
                before = _refated(before, {LineFate.THERE: LineFate.CLOSED}, why)
                return self._result(before, InvoiceFate.UNTOUCHED, problem=why)
            body = self.context.psa.take_back(self.row, raw, there)
            invoice = InvoiceFate.CHANGED if body.content else InvoiceFate.DELETED
            if self.dry_run:
                return self._result(_refated(before, {LineFate.THERE: LineFate.TAKEN}), invoice)
            sent = self._send(raw, there, body)
            if isinstance(sent, NotDone):
                problem = sent.message
                self.context.ledger.record_kept(self.context.fence, self.row.key, problem, self.context.now())
                continue
            after = self._after(raw, there, body.whole, sent)
            if not any(fate.kind in TAKEN for fate in after):
                problem = "HaloPSA did not do it"
                continue
            lines = _refated(before, {LineFate.THERE: LineFate.STILL_THERE}, "HaloPSA did not take it back")
            lines = tuple(
                replace(line, fate=LineFate.TAKEN, why="")
                if any(fate.ordinal == line.ordinal and fate.kind in TAKEN for fate in after)
                else line
                for line in lines
            )
            return self._result(lines, invoice, problem=self._disturbed(raw, there))
        return self._result(
            _refated(before, {LineFate.THERE: LineFate.STILL_THERE}, problem), InvoiceFate.UNTOUCHED, problem=problem
        )

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
        day = self.context.period.first_day - timedelta(days=DAYS_BEFORE_PERIOD)
        made = MadeInvoices(self.context.psa.invoices_since([self.row.client_id], day), [there])
        found = [made.of(line) for line in lines]
        if not any(one.done for one in found):
            return ""
        invoices = sorted({invoice for one in found for invoice in one.invoices})
        where = f"on invoice {', '.join(map(str, invoices))}" if invoices else "since it was written"
        return f"HaloPSA has billed it {where}, made from recurring invoice {abs(there.id)}"

    def _invoice_id(self, raw: Invoice | None) -> int:
        found = raw.id if raw is not None else self.row.invoice_id
        assert found is not None, self.row.key
        return found

    def _seen(self, raw: Invoice | None) -> tuple[Fate, ...]:
        """The fates of the lines that still bill somebody, as far as the ledger knows, and of those removed."""
        live = self.context.ledger.live_lines(self.row.key)
        if (
            not live and self.row.state == PostingState.DIFFERS
        ):  # undone once, and it landed late: none is claimed, all are there
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
        return _told(self.row, lines, outcome, invoice, problem, self.stray.id if self.stray else None)


def _lines(row: RecordedPosting, seen: Iterable[Fate]) -> tuple[UndoneLine, ...]:
    lines = {line.ordinal: line for line in row.lines}
    return tuple(_line(lines[fate.ordinal], fate) for fate in seen)


def _line(line: PostedLine, fate: Fate) -> UndoneLine:
    return UndoneLine(
        ordinal=line.ordinal,
        line_id=fate.line_id,
        action=line.action,
        text=line.description,
        amount=line.amount,
        cost=line.cost,
        charges=tuple(share.charge for share in line.shares),
        fate=fate.kind,
        why=fate.why,
    )


def _refated(lines: Sequence[UndoneLine], to: Mapping[LineFate, LineFate], why: str = "") -> tuple[UndoneLine, ...]:
    return tuple(replace(line, fate=to[line.fate], why=why) if line.fate in to else line for line in lines)


def _told(
    row: RecordedPosting,
    lines: Sequence[UndoneLine],
    outcome: UndoOutcome,
    invoice: InvoiceFate,
    problem: str = "",
    invoice_id: int | None = None,
) -> UndonePosting:
    return UndonePosting(
        key=row.key,
        client_id=row.client_id,
        client_name=row.client_name,
        invoice_id=next((one for one in (invoice_id, row.invoice_id, row.target_invoice_id) if one is not None), None),
        action=row.action,
        currency=row.currency,
        outcome=outcome,
        invoice=invoice,
        lines=tuple(lines),
        problem=problem,
    )


# Credits, on request --------------------------------------------------------------------------------------------------


def _credit(
    connected: Connections, context: RunContext, row: RecordedPosting, closed: UndonePosting, who: str
) -> UndonePosting:
    """Credit lines on a new invoice for what a closed one carries: posted like any other posting, once, whatever
    crashes, as its key is derived from the lines that it credits."""
    ledger = context.ledger
    lines = [
        line
        for line in row.lines
        if line.action != LineAction.REMOVE
        and line.ordinal in {one.ordinal for one in closed.lines if one.fate == LineFate.CLOSED}
    ]
    if not lines:
        return closed
    posting = _credit_posting(row, lines)
    known = ledger.find_posting(posting.key)
    if known is None or known.state in FREE:
        client = context.psa.client(row.client_id)
        run = ledger.start_run(context.fence, period=context.period, digest=None, who=who, now=now())
        codes = _codes(connected, context, row, closed)
        clients = {row.client_id: client} if client else {}
        own = replace(context, run=run, clients=clients, tax_and_accounts=lambda _: codes)
        done = write_posting(own, posting, {}, _credit_there(context, posting))
        if isinstance(done, RecordedPosting) and done.state in UNRESOLVED:
            resolve(own, [done])
        known = ledger.find_posting(posting.key)
        well = known is not None and known.state in ARRIVED
        ledger.finish_run(
            context.fence,
            run,
            RunState.COMPLETE if well else RunState.FAILED,
            {"credit_of": row.key, "undo_of": row.run},
            now(),
        )
    elif known.state in UNRESOLVED:
        resolve(context, [known])
        known = ledger.find_posting(posting.key)
    if known is None or known.state not in ARRIVED:
        why = outcome_of(known, posting).problem if known else "the credit could not be posted"
        return replace(closed, problem=f"{closed.problem}; its credit: {why or 'not posted'}")
    ledger.record_undone(
        context.fence,
        row.key,
        f"credited by invoice {known.invoice_id}",
        now(),
        lines=[line.ordinal for line in lines],
        stay=row.action == PostingAction.UPDATE,
    )
    return replace(
        closed,
        outcome=UndoOutcome.UNDONE
        if all(one.fate in (LineFate.CLOSED, *TAKEN) for one in closed.lines)
        else UndoOutcome.PART,
        lines=_refated(closed.lines, {LineFate.CLOSED: LineFate.CREDITED}),
        credit_invoice=known.invoice_id,
        problem="",
    )


def _credit_there(context: RunContext, posting: Posting) -> Invoice | None:
    """The credit itself, where HaloPSA has it although the ledger does not know it [N6]."""
    day = context.period.first_day - timedelta(days=DAYS_BEFORE_PERIOD)
    found = context.psa.invoices_since([posting.client_id], day)
    return next((one for one in found if one.carries(posting.key) and not one.void and not one.is_copy), None)


def _credit_posting(row: RecordedPosting, lines: Sequence[PostedLine]) -> Posting:
    key = hashlib.sha256(json.dumps(["credit", row.key, sorted(line.ordinal for line in lines)]).encode()).hexdigest()
    credits = tuple(
        PlanLine(
            action=LineAction.ADD,
            line_id=None,
            title=line.title,
            description=f"Credit for invoice {row.invoice_id}: {line.description}",
            item=ItemRef(id=line.item_id, name="") if line.item_id is not None else None,
            quantity=line.quantity,
            unit_price=-line.unit_price,
            unit_cost=-line.unit_cost,
            amount=-line.amount,
            cost=-line.cost,
            charges=(),
        )
        for line in lines
    )
    return Posting(
        key=key[:20],
        base_key=key[:20],
        generation=0,
        action=PostingAction.CREATE,
        client_id=row.client_id,
        client_name=row.client_name,
        invoice_id=None,
        group="",
        currency=row.currency,
        amount=sum((line.amount for line in credits), ZERO),
        cost=sum((line.cost for line in credits), ZERO),
        lines=credits,
        kind=WriteKind.CREDIT,
    )


def _codes(connected: Connections, context: RunContext, row: RecordedPosting, closed: UndonePosting) -> ProductRules:
    """The tax code and the account of the lines that are credited; a credit must not be taxed otherwise."""
    base = load_rulebook(connected.settings.rules_dir, connected.ledger.desk_rules()).base.products
    there = context.psa.read(closed.invoice_id or 0, template=row.action == PostingAction.UPDATE)
    lines = there.lines if there is not None else ()
    mine = next((line for line in lines if line.mark is not None and line.mark.key == row.key), None)
    return replace(base, tax_code=mine.tax_code if mine else None, income_account=mine.account if mine else None)


# What else a run leaves -----------------------------------------------------------------------------------------------


def _planned(ledger: Ledger, digest: str | None) -> list[dict[str, Any]]:
    """The clients of the plan that a run posted, as its document has them."""
    try:
        document = json.loads(ledger.find_plan(digest).document) if digest else {}
    except UsageError:
        return []
    clients = document.get("clients", [])
    return clients if isinstance(clients, list) else []


def _unsettle(
    ledger: Ledger, fence: Fence, run: str, digest: str | None, done: Sequence[UndonePosting], only: int | None
) -> None:
    """What the run dropped or excluded of clients whose postings are all undone may be decided anew [R5]."""
    kept = {posting.client_id for posting in done if posting.outcome not in (UndoOutcome.UNDONE, UndoOutcome.NOTHING)}
    mine = ledger.settled_by(run)
    charges = {
        str(entry["charge"])
        for client in _planned(ledger, digest)
        if client["client_id"] not in kept and only in (None, client["client_id"])
        for name in ("dropped", "excluded")
        for entry in client[name]
    }
    free = mine if not kept and only is None else mine & charges
    if free:
        ledger.unsettle(fence, run, free, now())


def _unused_items(
    ledger: Ledger, digest: str | None, rows: Sequence[RecordedPosting], done: Sequence[UndonePosting]
) -> tuple[tuple[int, str], ...]:
    """(id, title) of items that the run created and that no line of ours would carry any more. Listed, never deleted:
    other people's lines and other tools may use them."""
    created = {
        tuple(line["charges"])
        for client in _planned(ledger, digest)
        for line in client["lines"]
        if isinstance(item := line.get("item"), dict) and item.get("create")
    }
    candidates = {
        line.item_id: line.title
        for row in rows
        for line in row.lines
        if line.item_id is not None and tuple(share.charge for share in line.shares) in created
    }
    gone = {(posting.key, line.ordinal) for posting in done for line in posting.lines if line.fate in GIVEN_BACK}
    used = set()
    for row in ledger.postings() if candidates else ():
        if not any(line.item_id in candidates for line in row.lines):
            continue
        live = ledger.live_lines(row.key)
        used |= {line.item_id for line in row.lines if line.ordinal in live and (row.key, line.ordinal) not in gone}
    return tuple(sorted((id_, title) for id_, title in candidates.items() if id_ not in used))
