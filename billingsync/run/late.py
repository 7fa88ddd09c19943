"""Late landings [N5]: what HaloPSA carried out after we had given it up, sent it again or undone it (faults 4 and 25).

Nothing is taken out by itself. The posting becomes an alarm that names every invoice that carries it, and its charges
stay claimed, so that nobody bills them once more, until a person has made the two agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta

from billingsync.core.invoice import Invoice
from billingsync.core.money import ZERO
from billingsync.core.progress import Progress, Stage
from billingsync.core.states import PostingAction, PostingState
from billingsync.errors import UpstreamError
from billingsync.run.context import RunContext
from billingsync.run.recover import CLIENTS_A_LOOK, DAYS_BEFORE, record_found
from billingsync.store.claims import AlreadyClaimed
from billingsync.store.postings import BILLED, FREE, PostingHead, Receipt, RecordedPosting

Copies = list[tuple[Invoice, int]]  # an invoice and how often it carries a posting


def look_for_late(
    context: RunContext, rows: Sequence[PostingHead], also: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """Looks for the keys of all postings that may yet turn up otherwise than the ledger knows: sent more than once,
    given up, refused, undone, or different; `also` those of these keys. Gives a sentence for each that did."""
    doubtful = [row for row in rows if row.state in (*FREE, PostingState.UNDONE, PostingState.DIFFERS)]
    sent_again = [row for row in rows if row.attempts > 1 or row.key in also]
    doubtful += [row for row in sent_again if row.state in BILLED and row.state != PostingState.DIFFERS]
    if not doubtful:
        return ()
    context.say(Progress(stage=Stage.LOOK_FOR_LATE, of=len(doubtful)))
    told = (_record_late(context, row, copies) for row, copies in _copies(context, doubtful) if copies)
    return tuple(sentence for sentence in told if sentence)


def _copies(context: RunContext, rows: Sequence[PostingHead]) -> Iterator[tuple[PostingHead, Copies]]:
    created = sorted((row for row in rows if row.action == PostingAction.CREATE), key=lambda row: row.client_id)
    for start in range(0, len(created), CLIENTS_A_LOOK):
        some = created[start : start + CLIENTS_A_LOOK]
        day = min(row.intended_at for row in some).date() - timedelta(days=DAYS_BEFORE)
        try:
            seen = context.psa.search(sorted({row.client_id for row in some}), None, day).rows
        except UpstreamError as failed:
            context.say(_trouble(failed))
            continue
        for row in some:
            yield row, [(there, times) for there in seen if (times := _times(there, row))]
    for row in rows:
        if row.action != PostingAction.CREATE and row.target_invoice_id is not None:
            try:
                there = context.psa.read(row.target_invoice_id, template=row.action == PostingAction.UPDATE)
            except UpstreamError as failed:
                context.say(_trouble(failed))
                continue
            yield row, [(there, times)] if there is not None and (times := _times(there, row)) else []


def _trouble(failed: UpstreamError) -> Progress:
    about = f"whether earlier postings arrived late cannot be checked now: {failed.message}"
    return Progress(stage=Stage.TROUBLE, about=about)


def _times(there: Invoice, row: PostingHead) -> int:
    """How often an invoice carries a posting, on lines that bill somebody. A void invoice bills nobody, and a person's
    credit note copies our lines, marks and all."""
    if there.credit_note or there.void or not there.carries(row.key):
        return 0
    marks = [mark for mark in there.live_marks if mark.key == row.key]
    return max(Counter(mark.ordinal for mark in marks).values(), default=0)


def _record_late(context: RunContext, head: PostingHead, copies: Copies) -> str:
    row = context.ledger.posting(head.key)
    there, _ = copies[0]
    times = sum(each for _, each in copies)
    if row.state == PostingState.UNDONE:
        if there.id == row.invoice_id and there.closed:
            return ""  # credited: its lines stay on the closed invoice
        if row.action == PostingAction.UPDATE and any(line.key == row.key for line in context.ledger.written_lines()):
            return ""  # credited after HaloPSA had invoiced it: its lines stay on the template
        return _alarm(context, row, copies, "it was undone, and is there again: it landed late; undo its run once more")
    if times > 1:
        return _alarm(
            context, row, copies, f"it is there {times} times: one landed late; take out all but one in HaloPSA"
        )
    if row.state in FREE:
        settled = record_found(context, row, there, adopted=True)
        return f"{row.client_name}: HaloPSA invoice {there.id} landed late ({settled.state})"
    if row.state == PostingState.DIFFERS or there.id != row.invoice_id:
        record_found(context, row, there, adopted=True, only_if_equal=True)  # made right by a person
    return ""


def _alarm(context: RunContext, row: RecordedPosting, copies: Copies, why: str) -> str:
    ids = ", ".join(str(there.id) for there, _ in copies)
    message = f"{row.client_name}: posting {row.key} is on HaloPSA invoice {ids}: {why}"
    if row.state == PostingState.DIFFERS and row.message == message:
        return message
    first = next((there for there, _ in copies if there.id == row.invoice_id), copies[0][0])
    comparison = context.psa.compare(first, row)
    receipt = Receipt(
        invoice_id=first.id,
        answer=row.answer or "",
        price=comparison.price if comparison else ZERO,
        cost=comparison.cost if comparison else ZERO,
        lines=row.returned_lines,
    )
    try:
        context.ledger.record_differs(context.fence, row.key, receipt, message, context.now())
    except AlreadyClaimed as elsewhere:
        return f"{message}. {elsewhere.message}"
    return message
