"""What became of a write: found, absent, or cannot tell [N2]; and what HaloPSA holds of it, to the cent [N5]."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from functools import partial

from billingsync.core.bill.templates import is_once
from billingsync.core.invoice import Invoice
from billingsync.core.money import ZERO
from billingsync.core.period import Period
from billingsync.core.progress import Progress, Stage
from billingsync.core.remembered import WrittenLine
from billingsync.core.states import (
    GONE_SINCE,
    VOIDED_SINCE,
    LineAction,
    LineFate,
    PostingAction,
    PostingState,
)
from billingsync.errors import UpstreamError
from billingsync.psa.psa import Comparison, Fate
from billingsync.run.context import RunContext
from billingsync.run.send import finish_removals
from billingsync.store.claims import AlreadyClaimed
from billingsync.store.postings import ARRIVED, PostedLine, Receipt, RecordedPosting, ReturnedLine, received
from billingsync.store.receipts import Restored

CLIENTS_A_LOOK = 40  # in one query: the address stays short, and one incomplete look concerns few
DAYS_BEFORE = 3  # an invoice of ours is dated the day it was sent, give or take a time zone
LOOKS = 3  # tries at a look that is not complete, before a person must decide


@dataclass(frozen=True, slots=True)
class Found:
    invoice: Invoice
    certain: bool = True  # False: its lines are ours but carry no marks


@dataclass(frozen=True, slots=True)
class Absent:
    pass


@dataclass(frozen=True, slots=True)
class CannotTell:
    why: str


Sight = Found | Absent | CannotTell


def resolve(context: RunContext, rows: Sequence[RecordedPosting]) -> None:
    """Find out what became of postings whose outcome is not known.

    Found: settled at once. Absent: believed only after the horizon, in two complete looks; then the posting is
    abandoned and its charges are free to be sent again under the same key. Cannot tell: it stays unknown [N2].
    An undo that was interrupted is looked at in the same way.
    """
    for row in rows:
        if row.state == PostingState.UNDOING:
            finish_undo(context, row)
    waiting = {row.key: row for row in rows if row.state != PostingState.UNDOING}
    _look_once(context, waiting)
    while waiting:
        due = min(_due(context, row) for row in waiting.values())
        if due > 0:
            names = ", ".join(sorted({row.client_name for row in waiting.values()})[:3])
            context.say(Progress(stage=Stage.AWAIT_POSTING, seconds=due, client=names))
            context.wait(due)
        ripe = {key: row for key, row in waiting.items() if _due(context, row) <= 0}
        _judge_ripe(context, ripe)
        for key in ripe:
            del waiting[key]


def _due(context: RunContext, row: RecordedPosting) -> float:
    """Seconds until this posting's absence may be believed; a clock that jumped back cannot make it longer."""
    since = (context.now() - row.sent_at).total_seconds()
    return context.absence_s - min(max(since, 0.0), context.absence_s)


def _look_once(context: RunContext, waiting: dict[str, RecordedPosting]) -> None:
    for key, sight in look_for(context, list(waiting.values())).items():
        if isinstance(sight, Found):
            record_sight(context, waiting.pop(key), sight)


def _judge_ripe(context: RunContext, ripe: dict[str, RecordedPosting]) -> None:
    absent: dict[str, int] = dict.fromkeys(ripe, 0)
    why: dict[str, str] = {}
    unclear = dict.fromkeys(ripe, 0)
    left = dict(ripe)
    while left:
        for key, sight in look_for(context, list(left.values())).items():
            row = left[key]
            if isinstance(sight, Found):
                record_sight(context, row, sight)
                del left[key]
            elif isinstance(sight, Absent):
                absent[key] += 1
                if absent[key] == 2:
                    message = "HaloPSA does not have it: two complete looks after the horizon found nothing"
                    context.ledger.record_abandoned(context.fence, key, message, context.now())
                    del left[key]
            else:
                unclear[key] += 1
                why[key] = sight.why
                if unclear[key] == LOOKS:
                    context.ledger.record_unknown(context.fence, key, f"cannot tell: {sight.why}", context.now())
                    del left[key]
        if left:
            context.wait(1.0)


def record_sight(context: RunContext, row: RecordedPosting, sight: Found) -> RecordedPosting:
    """Record what a look found."""
    if sight.certain:
        return record_found(context, row, sight.invoice, adopted=True)
    what = "an invoice with just these lines is" if row.action == PostingAction.CREATE else "lines like ours are"
    return _differs(context, row, sight.invoice, ZERO, ZERO, f"{what} there, without our marks")


def look_for(context: RunContext, rows: Sequence[RecordedPosting]) -> dict[str, Sight]:
    """One look for each posting: new invoices by searching the clients' invoices, others by reading the target."""
    sights: dict[str, Sight] = {}
    created = [row for row in rows if row.action == PostingAction.CREATE]
    for some in _clients_at_once(created):
        sights |= _look_among(context, some)
    for row in rows:
        if row.action != PostingAction.CREATE:
            sights[row.key] = _look_at_target(context, row)
    return sights


def _clients_at_once(rows: Sequence[RecordedPosting]) -> Iterator[list[RecordedPosting]]:
    ordered = sorted(rows, key=lambda row: row.client_id)
    for start in range(0, len(ordered), CLIENTS_A_LOOK):
        yield ordered[start : start + CLIENTS_A_LOOK]


def _look_among(context: RunContext, rows: Sequence[RecordedPosting]) -> dict[str, Sight]:
    try:
        control = context.psa.control(_known_invoices(context))
        day = min(row.intended_at for row in rows).date() - timedelta(days=DAYS_BEFORE)
        seen = context.psa.search(sorted({row.client_id for row in rows}), control, day)
    except UpstreamError as failed:
        return {row.key: CannotTell(failed.message) for row in rows}
    sights: dict[str, Sight] = {}
    for row in rows:
        found = next((one for one in seen.rows if one.carries(row.key)), None)
        twins = [one for one in seen.rows if one.client_id == row.client_id and context.psa.is_twin(one, row)]
        same_day = [one for one in twins if one.date == context.psa.intended_day(row)]
        if found is not None:
            sights[row.key] = Found(found)
        elif same_day:
            sights[row.key] = Found(same_day[0], certain=False)
        else:
            sights[row.key] = Absent() if seen.complete else CannotTell(seen.why)
    return sights


def _known_invoices(context: RunContext) -> list[tuple[int, int]]:
    """(invoice, client) of invoices that we know to exist: a search that does not find one of them proves nothing."""
    months = (context.period.previous, context.period)
    rows = [row for month in months for row in context.ledger.heads(period=month, states=ARRIVED)]
    done = [row for row in rows if row.action == PostingAction.CREATE]
    known = [(row.invoice_id, row.client_id) for row in done if row.invoice_id is not None]
    return sorted(known, reverse=True)  # the newest first: a list that is cut loses its end


def _look_at_target(context: RunContext, row: RecordedPosting) -> Sight:
    assert row.target_invoice_id is not None
    try:
        there = context.psa.read(row.target_invoice_id, template=row.action == PostingAction.UPDATE)
    except UpstreamError as failed:
        return CannotTell(failed.message)
    if there is None:
        return CannotTell(f"invoice {row.target_invoice_id} is gone from HaloPSA")
    if there.carries(row.key):
        return Found(there)
    only_removals = all(line.action == LineAction.REMOVE for line in row.lines)
    if only_removals and context.psa.compare(there, row):
        return Found(there)
    return Found(there, certain=False) if context.psa.unmarked(there, row) else Absent()


def record_found(
    context: RunContext,
    row: RecordedPosting,
    there: Invoice,
    *,
    adopted: bool = False,
    only_if_equal: bool = False,
    again: bool = False,
) -> RecordedPosting:
    """Compare an invoice with a posting, and record it: done where equal to the cent, else `differs`, an alarm.

    `only_if_equal` leaves anything else as it was; `again` is the reading back of what was recorded as done before.
    """
    comparison = context.psa.compare(there, row)
    if again and there.void:
        return _differs(context, row, there, ZERO, ZERO, VOIDED_SINCE)
    if comparison is None:
        if again:
            return _differs(context, row, there, ZERO, ZERO, GONE_SINCE)
        if row.action == PostingAction.CREATE and not only_if_equal and context.psa.is_twin(there, row):
            return record_sight(context, row, Found(there, certain=False))
        return row
    if comparison.still_there and not again and not only_if_equal:
        there = finish_removals(context, row, there, comparison.still_there) or there
        comparison = context.psa.compare(there, row) or comparison
    differences = list(comparison.differences)
    # Where it was well once, what people changed beside it since is theirs.
    was_well = row.state == PostingState.DIFFERS and context.ledger.was_done(row.key)
    if not again and not was_well:
        differences += context.psa.beside_ours(there, row, adopted=adopted)
    if differences:
        if only_if_equal:
            return row
        return _differs(context, row, there, comparison.price, comparison.cost, "; ".join(differences[:8]), comparison)
    if again:
        return row  # as it was recorded
    # What HaloPSA made of our texts is what a person's edit shows against; long after the write it may be one.
    texts = {} if adopted else {line.id: line.title for line in there.lines}
    receipt = _receipt(context, row, there, comparison.price, comparison.cost, comparison, texts=texts)
    if was_well:  # when a line was written on a template, and what billed it since, is as it was
        before = {one.line_id: one for one in context.ledger.written_lines() if one.key == row.key}
        receipt = replace(
            receipt,
            lines=tuple(replace(one, invoiced=_invoiced(row, one.ordinal)) for one in receipt.lines),
            written=tuple(before.get(one.line_id, one) for one in receipt.written),
        )
    state, at = PostingState.ADOPTED if adopted else PostingState.POSTED, context.now()
    try:
        context.ledger.record_done(context.fence, row.key, receipt, at, state=state)
    except AlreadyClaimed as twice:
        return _differs(context, row, there, comparison.price, comparison.cost, twice.message, comparison)
    return received(row, receipt, state, at)


def _invoiced(row: RecordedPosting, ordinal: int) -> tuple[int, ...]:
    return next((one.invoiced for one in row.returned_lines if one.ordinal == ordinal), ())


def record_made(context: RunContext, row: RecordedPosting, made: Invoice) -> RecordedPosting:
    """Adopts a posting on a template by the invoice that HaloPSA made of it: a later posting has written over its lines
    on the template since [N6]. Equal to the cent, else `differs`."""
    comparison = context.psa.compare(made, row)
    if comparison is None or comparison.differences:
        why = "; ".join(comparison.differences[:8]) if comparison else "none of its lines are there"
        return _differs(context, row, made, ZERO, ZERO, why)
    on_template = {line.id: line.made_from[1] for line in made.lines}
    ids = {nth: there for nth, line_id in comparison.line_ids.items() if (there := on_template.get(line_id))}
    lines = [line for line in row.lines if line.action != LineAction.REMOVE]
    receipt = Receipt(
        invoice_id=row.target_invoice_id or 0,
        answer=context.psa.kept(made),
        price=comparison.price,
        cost=comparison.cost,
        lines=tuple(
            ReturnedLine(ordinal=line.ordinal, line_id=ids.get(line.ordinal), amount=line.amount, cost=line.cost)
            for line in lines
        ),
        written=tuple(_written(row, None, line, ids[line.ordinal]) for line in lines if line.ordinal in ids),
        gone=tuple(
            (row.target_invoice_id or 0, line.line_id)
            for line in row.lines
            if line.action == LineAction.REMOVE and line.line_id is not None
        ),
    )
    at = context.now()
    context.ledger.record_done(context.fence, row.key, receipt, at, state=PostingState.ADOPTED)
    return received(row, receipt, PostingState.ADOPTED, at)


def _differs(
    context: RunContext,
    row: RecordedPosting,
    there: Invoice,
    price: Decimal,
    cost: Decimal,
    why: str,
    comparison: Comparison | None = None,
) -> RecordedPosting:
    invoice_id = there.id or row.invoice_id or row.target_invoice_id or 0
    message = f"HaloPSA invoice {invoice_id} is not what was sent: {why}"
    receipt = _receipt(context, row, there, price, cost, comparison, invoice_id=invoice_id)
    if row.state.arrived:
        # What a person edited since shows only against what HaloPSA had first: an undo must not take it for ours, and
        # when a line was written on a template is no other time now.
        kept = context.ledger.posting(row.key)
        receipt = replace(receipt, answer=kept.answer or "", lines=kept.returned_lines, written=(), gone=())
    context.ledger.record_differs(context.fence, row.key, receipt, message, context.now())
    return context.ledger.posting(row.key)


def _receipt(
    context: RunContext,
    row: RecordedPosting,
    there: Invoice,
    price: Decimal,
    cost: Decimal,
    comparison: Comparison | None,
    *,
    invoice_id: int | None = None,
    texts: Mapping[int | None, str] | None = None,
) -> Receipt:
    ids = comparison.line_ids if comparison else {}
    found = invoice_id if invoice_id is not None else there.id
    kept = [line for line in row.lines if line.action != LineAction.REMOVE]
    update = row.action == PostingAction.UPDATE
    return Receipt(
        invoice_id=found,
        # An undo compares with it, so it is HaloPSA's own text: in what is shown of an answer secrets are masked, and a
        # password may be a word that a product's name has in it.
        answer=context.psa.kept(there),
        price=price,
        cost=cost,
        lines=tuple(
            ReturnedLine(ordinal=line.ordinal, line_id=ids.get(line.ordinal), amount=line.amount, cost=line.cost)
            for line in kept
            if line.ordinal in ids
        ),
        written=tuple(
            _written(row, there, line, ids[line.ordinal], texts) for line in kept if update and line.ordinal in ids
        ),
        gone=(
            *(
                (found, line.line_id)
                for line in row.lines
                if line.action == LineAction.REMOVE and line.line_id is not None
            ),
            *(_replaced(context, there, kept) if update else ()),
        ),
    )


def _replaced(context: RunContext, there: Invoice, lines: Sequence[PostedLine]) -> Iterator[tuple[int, int]]:
    """Lines that a person took off a recurring invoice and that were added again: once another month has written over
    the added one, that is the line there is [B3], and a take-back of that month must not find the other missing."""
    now = {(line.company_id, line.recurring_key) for line in lines if line.action == LineAction.UPDATE}
    present = there.by_id
    for line_id, which in context.ledger.keys_on(there.id).items() if now else ():
        if which in now and line_id not in present:
            yield there.id, line_id


def _written(
    row: RecordedPosting,
    there: Invoice | None,
    line: PostedLine,
    line_id: int,
    texts: Mapping[int | None, str] | None = None,
) -> WrittenLine:
    """A line as it stands now; `there` is the recurring invoice as it was read right after the write, None where that
    is not known."""
    text = (texts or {}).get(line_id, line.description)
    invoice_id = there.id if there is not None else row.target_invoice_id
    assert invoice_id is not None
    return WrittenLine(
        invoice_id=invoice_id,
        client_id=row.client_id,
        company_id=line.company_id,
        period=row.period,
        line_id=line_id,
        recurring_key=line.recurring_key,
        title=line.title if text == line.description else line.description,  # then what the long text says
        description=text,
        quantity=line.quantity,
        unit_price=line.unit_price,
        unit_cost=line.unit_cost,
        item_id=line.item_id,
        key=row.key,
        ordinal=line.ordinal,
        written_at=there.modified if there is not None else "",
        last_created=there.last_created if there is not None else None,
        once=is_once(line.recurring_key),
    )


# What became of an undo -----------------------------------------------------------------------------------------------

TAKEN = (LineFate.GONE, LineFate.BACK)  # the fates of lines that bill nobody any more


def read_target(context: RunContext, invoice_id: int, *, template: bool) -> Invoice | None:
    """The invoice; None only where HaloPSA says twice that there is none."""
    there = context.psa.read(invoice_id, template=template)
    if there is None:
        context.wait(1.0)
        there = context.psa.read(invoice_id, template=template)
    return there


def finish_undo(context: RunContext, row: RecordedPosting, *, certain: bool = False) -> tuple[Fate, ...]:
    """Find out what became of an undo that was intended, and record it: the lines that are gone or back are undone,
    and where none is, the posting is again what it was.

    That nothing happened is believed only after the horizon and two looks [N2], or at once where it is `certain`, as
    HaloPSA has answered; then it need not say twice that the invoice is gone either. Raises UpstreamError where HaloPSA
    cannot be read; then it stays under way.
    """
    intent = context.ledger.undo_under_way(row.key)
    assert intent is not None, row.key
    before = context.psa.from_kept(intent.before)
    assert before is not None, row.key
    invoice_id = before.id
    looks = 0
    read = context.psa.read if certain else partial(read_target, context)
    while True:
        there = read(invoice_id, template=row.action == PostingAction.UPDATE)
        if there is None:
            seen = tuple(Fate(ordinal=ordinal, kind=LineFate.GONE) for ordinal in intent.lines)
        else:
            seen = context.psa.fates(row, there, frozenset(intent.lines))
        taken = [fate for fate in seen if fate.kind in TAKEN]
        if taken:
            record_taken(context, row, invoice_id, taken, "undone")
            return seen
        due = _due(context, row)
        looks += due <= 0
        if certain or looks == 2:
            context.ledger.record_kept(
                context.fence, row.key, "HaloPSA has not undone it: its lines are there", context.now()
            )
            return seen
        if due > 0:
            context.say(Progress(stage=Stage.AWAIT_UNDO, seconds=due, client=row.client_name))
        context.wait(max(due, 1.0))


def record_taken(
    context: RunContext,
    row: RecordedPosting,
    invoice_id: int,
    taken: Collection[Fate],
    message: str,
    *,
    restores: Restored | None = None,
) -> None:
    """These lines of a posting are no more, or are again what they were before it: their charges are free [R5].
    `restores` is what a credit had credited, where no intent says it."""
    lines = {line.ordinal: line for line in row.lines}
    earlier = {fate.ordinal: _earlier(context, row, lines[fate.ordinal], fate) for fate in taken}
    ids = {line.ordinal: line.line_id for line in row.returned_lines}
    # A line that another posting wrote anew since is that one's.
    others = {(one.invoice_id, one.line_id) for one in context.ledger.written_lines() if one.key not in (row.key, "")}
    gone = [
        (invoice_id, line_id)
        for fate in taken
        if earlier[fate.ordinal] is None
        and (line_id := fate.line_id or ids.get(fate.ordinal) or lines[fate.ordinal].line_id) is not None
        and (invoice_id, line_id) not in others
    ]
    context.ledger.record_undone(
        context.fence,
        row.key,
        message,
        context.now(),
        lines=sorted({fate.ordinal for fate in taken}),
        written=[line for line in earlier.values() if line is not None],
        gone=gone,
        restores=restores,
    )


def _earlier(context: RunContext, row: RecordedPosting, line: PostedLine, fate: Fate) -> WrittenLine | None:
    """The line of an earlier month that is there again, as planning must know it to go on with it [B3]."""
    if (
        row.action != PostingAction.UPDATE
        or line.action == LineAction.ADD
        or fate.kind != LineFate.BACK
        or fate.line_id is None
    ):
        return None
    before = context.psa.from_kept(row.before)
    was = before.line(line.line_id) if before is not None else None
    if was is None:
        return None
    posting = context.ledger.find_posting(was.mark.key) if was.mark else None
    if posting is not None and was.mark is not None:
        old = next((each for each in posting.lines if each.ordinal == was.mark.ordinal), None)
        if old is not None:
            return _written(
                posting, context.psa.from_kept(posting.answer), old, fate.line_id, {fate.line_id: was.title}
            )
    # A ledger that does not know who wrote it: it must not be forgotten, or next month would add it a second time.
    return replace(
        _written(row, before, line, fate.line_id),
        key="",
        ordinal=-1,
        written_at="",
        last_created=None,
        period=str(Period.parse(row.period).previous),
        description=was.title,
        quantity=was.quantity,
        unit_price=was.unit_price,
        unit_cost=was.unit_cost or ZERO,
    )


def names(rows: Iterable[RecordedPosting]) -> str:
    """Clients in words, for messages."""
    return ", ".join(sorted({row.client_name for row in rows})[:5])
