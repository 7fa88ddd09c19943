"""Undo a run [R4] [R5], a part of it, or the postings of a period that a true-up replaces.

An undo is itself a write of which the outcome may stay unknown: `undo_posting` carries it out for one posting."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from billingsync.connect import Connections
from billingsync.core.invoice import Invoice
from billingsync.core.period import Period
from billingsync.core.progress import Progress, Say, Stage
from billingsync.core.states import (
    GIVEN_BACK,
    InvoiceFate,
    PostingAction,
    PostingState,
    UndoOutcome,
)
from billingsync.errors import UpstreamError, UsageError
from billingsync.run.context import RunContext, context_of, now
from billingsync.run.credit import credit_posting
from billingsync.run.credited import credited_by, is_credit
from billingsync.run.find import find_payer, payers_of
from billingsync.run.recover import resolve
from billingsync.run.undo_posting import PostingUndo
from billingsync.run.undone import STRAY, StaysTakenBack, UndonePosting, UndoResult, undone_posting
from billingsync.store.book import Fence
from billingsync.store.ledger import Ledger
from billingsync.store.postings import UNRESOLVED, RecordedPosting


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
    confirm: Callable[[UndoResult], bool] | None = None,
) -> UndoResult | None:
    """Undo the run under the run lock. `confirm`, where there is one, is shown what would be done; None where it says
    no.

    Raises UsageError for an unknown run, Locked, LedgerError; HaloPSA's trouble is told posting by posting.
    """
    connected.ledger.show_run(run)
    with connected.ledger.run_lock(who) as fence:
        connected.ledger.assert_durable()
        if confirm is not None and not confirm(preview(connected, run, client=client, say=say)):
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
    done = _each(connected, context, rows, who, credit=asked.credit, dry_run=dry_run)
    if not dry_run:
        _unsettle(ledger, fence, run, of.digest, done, only)
        gone = {str(posting.client_id) for posting in done if posting.outcome in (UndoOutcome.UNDONE, UndoOutcome.PART)}
        ledger.end_decisions(of.period, gone, now())  # what was approved ends with the posting that it let pass [V1]
    return UndoResult(
        run=run,
        period=of.period,
        dry_run=dry_run,
        postings=tuple(done),
        items=_unused_items(ledger, of.digest, rows, done),
        stays=_stays_taken_back(ledger, run, only),
        client=asked.client,
    )


def _stays_taken_back(ledger: Ledger, run: str, only: int | None) -> tuple[StaysTakenBack, ...]:
    """What true-ups of the run took back, of one client or of all."""
    keys = [key for key, by in ledger.true_ups_begun().items() if by == run]
    if not keys:
        return ()
    gone = ledger.postings(keys=keys, states=(PostingState.UNDONE,), texts=False)
    credits = {one.summary.get("credit_of"): one.id for one in ledger.runs()}
    return tuple(
        StaysTakenBack(
            client_name=row.client_name,
            amount=row.amount,
            currency=row.currency,
            credit_run=credits.get(row.key, ""),
        )
        for row in gone
        if only in (None, row.client_id)
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
        of = credited_by(context.ledger, row) if is_credit(row) else None
        work = PostingUndo(context=context, row=row, who=who, dry_run=dry_run, credited=of)
        result = (
            undone_posting(row, (), UndoOutcome.NOTHING, InvoiceFate.GONE) if row.state in STRAY else work.carry_out()
        )
        if credit and result.outcome == UndoOutcome.CLOSED:
            result = credit_posting(connected, context, row, result, who)
        extra = [
            replace(work, row=context.ledger.posting(row.key), stray=there, credited=None)
            for there in strays.get(row.key, ())
        ]
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
