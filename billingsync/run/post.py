"""Carry out a plan: intent, send, receipt [N1] [N2]; the first posting alone [N7]; everything read back [N5]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from billingsync.core.bill.plan import Plan, Posting
from billingsync.core.charge import Charged
from billingsync.core.invoice import Invoice
from billingsync.core.progress import Progress, Stage
from billingsync.core.remembered import Billed
from billingsync.core.states import LineAction, OutcomeState, PostingAction, PostingState
from billingsync.errors import MarkerLost, UpstreamError
from billingsync.http import Answered, NotDone, Sent
from billingsync.run.already_there import already_there
from billingsync.run.context import Outcome, RunContext, failed
from billingsync.run.forgotten_credits import adopt_credited
from billingsync.run.items import make_items
from billingsync.run.late import look_for_late
from billingsync.run.recover import DAYS_BEFORE, record_found, record_made, resolve
from billingsync.run.send import CannotWrite, prepare, still_ours
from billingsync.run.tenant import Tenant
from billingsync.store.claims import AlreadyClaimed
from billingsync.store.postings import ARRIVED, UNRESOLVED, PostingHead, RecordedPosting, posted_lines
from billingsync.store.receipts import batches

MOST_REFUSALS = 5  # in a row: then it is not these clients, it is HaloPSA, our rights or the way there
SEARCHED_AT_ONCE = 800_000  # characters of our lines: some two thousand, of which HaloPSA tells several times as much
MOST_SEARCHES = 40
WORTH_A_LIST = 10  # recurring invoices: fewer are read back one by one
MOST_SENDINGS = 3  # of one posting in one run: each was followed by a full absence horizon and two complete looks


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What a plan's posting came to. `unread` says why it could not be read back at the end, "" where it was; `told`
    what else a person must know, a sentence each."""

    outcomes: tuple[Outcome, ...] = ()
    unread: str = ""
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A posting as it is recorded now; `sent` is False where HaloPSA had it already and nothing was sent."""

    row: RecordedPosting
    sent: bool


def carry_out(
    context: RunContext, plan: Plan, charges: Mapping[str, Charged], targets: Iterable[Invoice], tenant: Tenant
) -> Carried:
    """Post a plan. `charges` are those of the month, by id; `targets` the existing invoices that it was made from, and
    `tenant` what all of HaloPSA shows of our markers.

    Raises OtherInstallation before anything is written, MarkerLost after the first posting, Locked when another
    process took over; LedgerError where the database fails. Whatever it raises, the next run finds out and goes on.
    """
    seen = already_there(context, plan, targets, tenant)
    adopt_credited(context, seen.credited, charges, write_posting)
    _note_who_paid(context, plan, seen.postings)
    postings, outcomes = make_items(context, [one for one in seen.postings if one.client_id not in seen.forgotten])
    outcomes += [failed(one, why) for one in seen.postings if (why := seen.forgotten.get(one.client_id))]
    alone = True
    refused = 0
    waiting: list[Posting] = []
    for nth, posting in enumerate(postings, 1):
        context.say(Progress(stage=Stage.POST, nth=nth, of=len(postings), client=posting.client_name))
        if posting.key in seen.made:
            written = _adopt_made(context, posting, charges, seen.made[posting.key])
        else:
            written = write_posting(context, posting, charges, seen.found.get(posting.key))
        if isinstance(written, Outcome):
            outcomes.append(written)
            continue
        done = written.row
        if done.state in UNRESOLVED:
            waiting.append(posting)
        elif alone and written.sent and done.state in (PostingState.POSTED, PostingState.DIFFERS):
            read_first_back(context, done)
            alone = False
            if done.state == PostingState.DIFFERS and done.action == PostingAction.CREATE:
                # Whatever HaloPSA does to one invoice it may do to all: the first one goes alone to show that [N7].
                raise UpstreamError(
                    "HaloPSA",
                    "/Invoice",
                    None,
                    f"The first posting came out otherwise than sent, so nothing else was posted: {done.message}",
                    next_steps=[["billingsync", "runs"], ["billingsync", "run", str(context.period)]],
                )
        refused = refused + 1 if done.state == PostingState.REFUSED else 0
        if refused == MOST_REFUSALS:
            raise UpstreamError(
                "HaloPSA",
                "/Invoice",
                None,
                f"HaloPSA refused {refused} postings one after the other, so the rest was not sent: {done.message}",
                next_steps=[["billingsync", "doctor"], ["billingsync", "run", str(context.period)]],
            )
    waiting += _refused_once_more(context, postings, charges, outcomes)
    for _ in range(MOST_SENDINGS - 1):
        waiting = _again(context, waiting, charges, outcomes)
    resolve(context, context.ledger.postings(run=context.run, states=UNRESOLVED))
    _note_made(context, seen.copies)
    heads = context.ledger.heads(run=context.run, states=ARRIVED)
    unread = read_back(context, [head for head in heads if head.key not in seen.made])
    planned = {posting.key: posting for posting in postings}
    outcomes += (outcome_of(head, planned[head.key]) for head in context.ledger.heads(run=context.run))
    told = tuple(sorted(set(seen.older.values()) - set(seen.forgotten.values())))
    return Carried(outcomes=tuple(outcomes), unread=unread, told=told)


def _note_made(context: RunContext, made: Mapping[str, Invoice]) -> None:
    """Remembers what HaloPSA has made of postings that were adopted just now, by their marks [B5]."""
    lines = [line for line in context.ledger.written_lines() if line.key in made and not line.invoiced] if made else []
    if lines:
        found = {(line.invoice_id, line.line_id): [made[line.key].id] for line in lines}
        context.ledger.note_invoiced(context.fence, found, lines)


def _note_who_paid(context: RunContext, plan: Plan, postings: Iterable[Posting]) -> None:
    """Remembers whom companies were billed to where HaloPSA shows another client than this plan has: next month asks a
    person who pays, as the mapping of then was forgotten too [C1b] [N6]."""
    planned = {client.company_id: client.client_id for client in plan.clients}
    found = {
        line.company_id: Billed(
            client_id=posting.client_id, client_name=posting.client_name, period=str(context.period)
        )
        for posting in postings
        for line in posting.lines
        if line.charges and line.company_id and planned.get(line.company_id, posting.client_id) != posting.client_id
    }
    if found:
        context.ledger.note_said(context.fence, [], found)


def _refused_once_more(
    context: RunContext, postings: Sequence[Posting], charges: Mapping[str, Charged], outcomes: list[Outcome]
) -> list[Posting]:
    """A refusal may have passed by now; a real one costs one more call. Gives those whose outcome is now unknown."""
    refused = {key for key, state in context.ledger.states(run=context.run).items() if state == PostingState.REFUSED}
    waiting = []
    for posting in postings:
        if posting.key in refused:
            done = write_posting(context, posting, charges, None)
            if isinstance(done, Outcome):
                outcomes.append(done)
            elif done.row.state in UNRESOLVED:
                waiting.append(posting)
    return waiting


def _again(
    context: RunContext, postings: Sequence[Posting], charges: Mapping[str, Charged], outcomes: list[Outcome]
) -> list[Posting]:
    """Find out about the postings whose outcome is unknown; those that are certainly absent are sent once more."""
    if not postings:
        return []
    keys = {posting.key for posting in postings}
    resolve(context, context.ledger.postings(keys=keys))
    states = context.ledger.states(run=context.run)
    waiting = []
    for posting in postings:
        if states.get(posting.key) != PostingState.ABANDONED:
            continue
        done = write_posting(context, posting, charges, None)
        if isinstance(done, Outcome):
            outcomes.append(done)
        elif done.row.state in UNRESOLVED:
            waiting.append(posting)
    return waiting


def write_posting(
    context: RunContext, posting: Posting, charges: Mapping[str, Charged], there: Invoice | None
) -> Written | Outcome:
    """One posting: intent committed and read back, sent, receipt committed. `there`: HaloPSA has it already."""
    try:
        prepared = prepare(context, posting)
    except CannotWrite as cannot:
        return failed(posting, str(cannot))
    except UpstreamError as trouble:
        return failed(posting, trouble.message)
    lines = posted_lines(
        posting, {id_: (charges[id_].price, charges[id_].cost) for id_ in posting.charges if id_ in charges}
    )
    try:
        text = context.ledger.record_intent(
            context.fence, context.run, posting, prepared.content, lines, context.now(), before=prepared.before
        )
    except AlreadyClaimed as claimed:
        return failed(posting, claimed.message)
    row = context.ledger.read_back(posting.key, prepared.content, lines, text)
    there = there or prepared.there
    if there is not None:
        return Written(row=record_found(context, row, there, adopted=True), sent=False)
    return Written(row=record_outcome(context, row, prepared.send(still_ours(context))), sent=True)


def _adopt_made(
    context: RunContext, posting: Posting, charges: Mapping[str, Charged], made: Invoice
) -> Written | Outcome:
    """Records a posting on a template of which HaloPSA has made its invoice, and that was forgotten since [N6]. Nothing
    is sent: its lines on the template are of a later posting by now."""
    lines = [replace(line, action=LineAction.ADD, line_id=None) if line.charges else line for line in posting.lines]
    there = replace(posting, lines=tuple(lines))
    recorded = posted_lines(
        there, {id_: (charges[id_].price, charges[id_].cost) for id_ in posting.charges if id_ in charges}
    )
    content = context.psa.kept(made)
    try:
        text = context.ledger.record_intent(context.fence, context.run, there, content, recorded, context.now())
    except AlreadyClaimed as claimed:
        return failed(posting, claimed.message)
    row = context.ledger.read_back(posting.key, content, recorded, text)
    return Written(row=record_made(context, row, made), sent=False)


def record_outcome(context: RunContext, row: RecordedPosting, sent: Sent) -> RecordedPosting:
    """The outcome of one write, of three [N2]. Only a readable answer with our key and our amounts is done."""
    if isinstance(sent, Answered):
        return _answered(context, row, sent)
    if isinstance(sent, NotDone):
        context.ledger.record_refused(context.fence, row.key, sent.message, context.now())
    else:
        context.ledger.record_unknown(context.fence, row.key, sent.why, context.now())
    return context.ledger.posting(row.key)


def _answered(context: RunContext, row: RecordedPosting, sent: Answered) -> RecordedPosting:
    answer = context.psa.answered(sent.json, template=row.action == PostingAction.UPDATE)
    whole = answer is not None and (row.action == PostingAction.CREATE or context.psa.tells_all(answer, row))
    if answer is not None and whole and answer.carries(row.key):
        settled = record_found(context, row, answer, only_if_equal=True)
        if settled.state == PostingState.POSTED:
            return settled
    # Anything less than that is looked at again in HaloPSA itself: by the id that it answered, or the target's.
    invoice_id = (
        row.target_invoice_id if row.action != PostingAction.CREATE else (answer.id if answer is not None else None)
    )
    there = None
    why = "HaloPSA's answer does not carry our key"
    if invoice_id is not None:
        try:
            there = context.psa.read(invoice_id, template=row.action == PostingAction.UPDATE)
        except UpstreamError as trouble:
            why = f"{why}, and reading it back failed: {trouble.message}"
    if there is None or record_found(context, row, there).state in UNRESOLVED:
        context.ledger.record_unknown(context.fence, row.key, why, context.now(), answer=sent.text)
    return context.ledger.posting(row.key)


def read_first_back(context: RunContext, row: RecordedPosting) -> None:
    """The first posting of a run: does HaloPSA keep our marker? If not, nothing more is posted [N7]."""
    assert row.invoice_id is not None
    there = context.psa.read(row.invoice_id, template=row.action == PostingAction.UPDATE)
    marks = [line.mark for line in there.lines if line.mark is not None] if there is not None else []
    marked = {mark.ordinal for mark in marks if mark.key == row.key}
    wanted = {line.ordinal for line in row.lines if line.action != LineAction.REMOVE}
    if not wanted <= marked:
        raise MarkerLost(
            f"HaloPSA did not keep billingsync's marker on invoice {row.invoice_id} of {row.client_name}. Nothing else "
            f"was posted. The marker is written to {context.marker!r}; set BILLINGSYNC_HALO__MARKER to another place.",
            next_steps=[["billingsync", "doctor"]],
        )


def read_back(context: RunContext, heads: Sequence[PostingHead]) -> str:
    """`verify`, and why it could not be done: what was posted is posted all the same, and the next run tries again."""
    try:
        verify(context, heads)
    except UpstreamError as failed:
        return f"{len(heads)} postings were written but could not be read back: {failed.message}"
    return ""


def verify(context: RunContext, heads: Sequence[PostingHead]) -> None:
    """Read everything written back and compare it to the cent, and see that it is there once [N5]. A difference is an
    alarm, not a repair."""
    if not heads:
        return
    context.say(Progress(stage=Stage.READ_BACK, of=len(heads)))
    day = min(head.intended_at for head in heads).date() - timedelta(days=DAYS_BEFORE)
    created = sorted((head for head in heads if head.action == PostingAction.CREATE), key=lambda head: head.client_id)
    alone = [head for head in heads if head.action != PostingAction.CREATE]
    copies: dict[str, set[int]] = defaultdict(set)  # by key, the invoices that carry it
    # A search answers with every line of its clients: so many of them at a time, yet not many more calls for it.
    size = max(SEARCHED_AT_ONCE, sum(head.size for head in created) // MOST_SEARCHES)
    for some in batches(created, size):
        missing = {
            row.invoice_id: row for row in context.ledger.postings(keys=[head.key for head in some], texts=False)
        }
        for invoice in context.psa.invoices_since(sorted({head.client_id for head in some}), day):
            row = missing.pop(invoice.id, None)
            if row is not None:
                record_found(context, row, invoice, again=True)
            for line in invoice.lines:
                if line.mark is not None:
                    copies[line.mark.key].add(invoice.id)
        alone += missing.values()
    # A key that is there twice: a refusal that was none, or a late landing, whatever the ledger counted.
    twice = frozenset(key for key, invoices in copies.items() if len(invoices) > 1)
    look_for_late(context, heads, also=twice)
    for head in _not_in_list(context, alone):
        assert head.invoice_id is not None
        template = head.action == PostingAction.UPDATE
        there = context.psa.read(head.invoice_id, template=template)
        there = there or Invoice(id=head.invoice_id, client_id=head.client_id, template=template)  # gone: of no line
        record_found(context, context.ledger.posting(head.key), there, again=True)


def _not_in_list(context: RunContext, heads: Sequence[PostingHead]) -> list[PostingHead]:
    """Those that the list of recurring invoices does not show as they were written; they are read one by one, as a
    list may show less. A few are not worth a list."""
    written = {head.key for head in heads if head.action == PostingAction.UPDATE}
    if len(written) < WORTH_A_LIST:
        return list(heads)
    listed = {template.id: template for template in context.psa.templates()}
    equal = {
        row.key
        for row in context.ledger.postings(keys=written, texts=False)
        if row.invoice_id is not None and _is_as_written(context, row, listed.get(row.invoice_id))
    }
    return [head for head in heads if head.key not in equal]


def _is_as_written(context: RunContext, row: RecordedPosting, there: Invoice | None) -> bool:
    if there is None or there.void or not there.lines_shown:
        return False
    comparison = context.psa.compare(there, row)
    return comparison is not None and not comparison.differences


_OUTCOME = {
    PostingState.POSTED: OutcomeState.POSTED,
    PostingState.ADOPTED: OutcomeState.ADOPTED,
    PostingState.SENDING: OutcomeState.UNKNOWN,
    PostingState.UNKNOWN: OutcomeState.UNKNOWN,
}


def outcome_of(row: PostingHead, posting: Posting) -> Outcome:
    """A recorded posting as it is told: `differs` and `refused` have failed, what is not known yet is unknown."""
    return Outcome(
        key=row.key,
        client_id=row.client_id,
        client_name=row.client_name,
        action=row.action,
        invoice_id=row.invoice_id if row.invoice_id is not None else row.target_invoice_id,
        lines=len(posting.lines),
        amount=row.amount,
        cost=row.cost,
        currency=row.currency,
        state=_OUTCOME.get(row.state, OutcomeState.FAILED),
        problem=row.message if row.state not in ARRIVED else "",
        charges=posting.charges,
    )
