"""Credit lines on a new invoice for what a closed one carries [R2], on request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from billingsync.connect import Connections
from billingsync.core.bill.plan import Posting
from billingsync.core.invoice import Invoice
from billingsync.core.rules import ProductRules
from billingsync.core.states import (
    LineAction,
    LineFate,
    PostingAction,
    PostingState,
    RunState,
    UndoOutcome,
)
from billingsync.rulebook import load_rulebook
from billingsync.run.context import RunContext, now
from billingsync.run.credited import credit_of
from billingsync.run.post import Written, outcome_of, write_posting
from billingsync.run.recover import TAKEN, resolve
from billingsync.run.tenant import DAYS_BEFORE_PERIOD
from billingsync.run.undone import UndonePosting, with_fates
from billingsync.store.ledger import Ledger
from billingsync.store.postings import ARRIVED, FREE, UNRESOLVED, PostedLine, RecordedPosting


def credit_posting(
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
    posting, known = _newest_credit(ledger, row, lines)
    if known is None or known.state in FREE:
        client = context.psa.client(row.client_id)
        run = ledger.start_run(context.fence, period=context.period, digest=None, who=who, now=now())
        codes = _codes(connected, context, row, closed)
        clients = {row.client_id: client} if client else {}
        own = replace(context, run=run, clients=clients, tax_and_accounts=lambda _: codes)
        done = write_posting(own, posting, {}, _credit_there(context, posting))
        if isinstance(done, Written) and done.row.state in UNRESOLVED:
            resolve(own, [done.row])
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
        lines=with_fates(closed.lines, {LineFate.CLOSED: LineFate.CREDITED}),
        credit_invoice=known.invoice_id,
        problem="",
    )


def _newest_credit(
    ledger: Ledger, row: RecordedPosting, lines: Sequence[PostedLine]
) -> tuple[Posting, RecordedPosting | None]:
    """The credit to post, and what the ledger knows of it. Each that was taken back makes another one possible."""
    generation = 0
    while True:
        posting = credit_of(row, lines, generation)
        known = ledger.find_posting(posting.key)
        if known is None or known.state != PostingState.UNDONE:
            return posting, known
        generation += 1


def _credit_there(context: RunContext, posting: Posting) -> Invoice | None:
    """The credit itself, where HaloPSA has it although the ledger does not know it [N6]."""
    day = context.period.first_day - timedelta(days=DAYS_BEFORE_PERIOD)
    found = context.psa.invoices_since([posting.client_id], day)
    return next((one for one in found if one.carries(posting.key) and not one.void and not one.is_copy), None)


def _codes(connected: Connections, context: RunContext, row: RecordedPosting, closed: UndonePosting) -> ProductRules:
    """The tax code and the account of the lines that are credited; a credit must not be taxed otherwise."""
    base = load_rulebook(connected.settings.rules_dir, connected.ledger.desk_rules()).base.products
    there = context.psa.read(closed.invoice_id or 0, template=row.action == PostingAction.UPDATE)
    lines = there.lines if there is not None else ()
    ids = {line.line_id for line in row.returned_lines}  # written anew by a later month it has another mark
    mine = next((line for line in lines if line.mark is not None and line.mark.key == row.key), None)
    mine = mine or next((line for line in lines if line.mark is not None and line.id in ids), None)
    return replace(base, tax_code=mine.tax_code if mine else None, income_account=mine.account if mine else None)
