"""Make one posting ready to be sent: the target read anew, proven to be what the plan saw, and the request built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from billingsync.core.bill.plan import Posting
from billingsync.core.bill.targets import touched, unusable_because
from billingsync.core.invoice import Invoice
from billingsync.core.remembered import WrittenLine
from billingsync.core.states import LineAction, PostingAction
from billingsync.errors import Locked
from billingsync.http import Answered, Sent
from billingsync.psa.psa import NewInvoice
from billingsync.run.context import RunContext
from billingsync.store.postings import RecordedPosting


class CannotWrite(Exception):
    """The target is not what it was when the plan was made; nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """`content` is the body as it will be sent; `before` the target as it was read right before, as text."""

    content: str
    before: str | None
    there: Invoice | None  # the target, where it carries this posting already
    send: Callable[[Callable[[], None]], Sent]


def prepare(context: RunContext, posting: Posting) -> Prepared:
    """Build the body; for an existing invoice after reading it anew. Raises CannotWrite, UpstreamError."""
    new = NewInvoice(
        posting=posting,
        client=context.clients.get(posting.client_id),
        day=context.today,
        installation=context.installation,
        period=str(context.period),
        codes=context.tax_and_accounts(posting.client_id),
    )
    if posting.action == PostingAction.CREATE:
        body = context.psa.new_invoice(new)
        return Prepared(content=body.content, before=None, there=None, send=body.send)
    assert posting.invoice_id is not None
    there = context.psa.read(posting.invoice_id, template=posting.action == PostingAction.UPDATE)
    written = {line.line_id: line for line in context.ledger.written_lines() if line.invoice_id == posting.invoice_id}
    _still_writable(posting, there, written)
    assert there is not None
    body = context.psa.change(new, there, written)
    if there.carries(posting.key):
        before = context.psa.kept_before(there, posting.key, _answers(context, posting, written))
        return Prepared(content=body.content, before=before, there=there, send=body.send)
    return Prepared(content=body.content, before=context.psa.kept(there), there=None, send=body.send)


def _answers(context: RunContext, posting: Posting, written: Mapping[int, WrittenLine]) -> dict[int, str]:
    """By line id, what HaloPSA answered to the posting that had written a line before this one changed it: what an undo
    puts back where the ledger was restored and this posting is only adopted."""
    answers = {}
    for line in posting.lines:
        if line.line_id is not None and (before := written.get(line.line_id)) and before.key != posting.key:
            row = context.ledger.find_posting(before.key)
            answers[line.line_id] = (row.answer if row is not None else None) or ""
    return answers


def _still_writable(posting: Posting, there: Invoice | None, written: dict[int, WrittenLine]) -> None:
    if there is None:
        raise CannotWrite(f"invoice {posting.invoice_id} is gone from HaloPSA; plan again")
    if there.carries(posting.key):
        return  # a ledger that was restored from before this posting: it is adopted, not written
    if posting.action == PostingAction.APPEND and there.closed:
        raise CannotWrite(f"invoice {posting.invoice_id} {there.closed} meanwhile; plan again")
    if posting.action == PostingAction.UPDATE and (why := unusable_because(there, posting.client_id)):
        raise CannotWrite(f"recurring invoice {posting.invoice_id} {why} meanwhile; plan again")
    if there.currency and posting.currency and there.currency != posting.currency:
        raise CannotWrite(f"invoice {posting.invoice_id} is in {there.currency} meanwhile; plan again")
    if not there.lines_shown or any(line.id is None for line in there.lines):
        # What goes back may be taken as the whole truth: a line that we do not see, or cannot name, would be lost.
        raise CannotWrite(
            f"HaloPSA does not show the lines of invoice {posting.invoice_id} as they are; nothing was sent"
        )
    present = there.by_id
    for line in posting.lines:
        if line.line_id is not None and (before := written.get(line.line_id)):
            trouble = touched(before, present.get(line.line_id), line if line.action == LineAction.UPDATE else None)
            if trouble:
                raise CannotWrite(f"{trouble.detail} since the plan was made; plan again")


def still_ours(context: RunContext) -> Callable[[], None]:
    """Asked right before each request: a process that was frozen and is woken must not send [fault 9]."""

    def check() -> None:
        if not context.ledger.fence_holds(context.fence):
            raise Locked(context.ledger.why_lost(context.fence))

    return check


REMOVALS = 3  # tries: repeating one changes nothing more


def finish_removals(
    context: RunContext, row: RecordedPosting, there: Invoice, still_there: tuple[int, ...]
) -> Invoice | None:
    """Where HaloPSA merges lists of lines, a line that is left out stays: it is set to nothing and inactive instead.

    Part of the same posting: repeating it changes nothing more, so its outcome need not be known to go on. Gives the
    invoice as it is afterwards, None where that cannot be read.
    """
    assert row.target_invoice_id is not None
    template = row.action == PostingAction.UPDATE
    now: Invoice | None = there
    for _ in range(REMOVALS):
        if now is None:
            break
        body = context.psa.zeroed(now, still_there, template=template)
        what = f"our lines that HaloPSA kept on invoice {row.target_invoice_id} set to nothing"
        context.ledger.record_zeroed(context.fence, what, context.now())
        sent = body.send(still_ours(context))
        now = context.psa.read(row.target_invoice_id, template=template)
        left = [line for line in (now.lines if now else ()) if line.id in still_there and not line.is_zeroed]
        if isinstance(sent, Answered) or not left:
            break
        context.wait(1.0)
    return now
