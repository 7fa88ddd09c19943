"""Carry out one write of cards: intent, one POST, receipt, read-back; and find out about one that was cut off [WB1].

The road is the billing job's. Only the proof differs: a number that is set is its own proof [WB4]. Where the lines show
what they were to be, it was done; where they show what they were, two looks after the absence horizon prove that it was
not; anything else means that a person was there, and nothing more is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from billingsync.connect import Connections
from billingsync.core.invoice import Invoice
from billingsync.core.money import plain
from billingsync.core.period import Period
from billingsync.core.progress import Progress, Say, Stage
from billingsync.core.reconcile.card_states import CardState, Decision
from billingsync.core.reconcile.card_write import LineSet, SetAction, WriteState
from billingsync.core.reconcile.values import Values
from billingsync.core.rules import ProductRules
from billingsync.errors import OtherInstallation, UpstreamError
from billingsync.http import Answered, NotDone
from billingsync.psa.psa import Body, LineSight, SetLines, SetSight, Shows
from billingsync.run.context import RunContext, context_of
from billingsync.run.recover import read_target
from billingsync.run.send import still_ours
from billingsync.store.book import Fence
from billingsync.store.card_writes import CardWrite

LOOKS = 3  # tries at reading a recurring invoice, before the outcome stays unknown


def card_context(connected: Connections, fence: Fence, say: Say) -> RunContext:
    """The tools of a write that belongs to no run."""
    today = datetime.now(connected.settings.zone).date()
    return context_of(connected, fence, Period.of(today), say=say)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A write that is ready: its intent, its cards' transitions on the way, the target as it was read, and the body."""

    write: CardWrite
    decisions: Sequence[Decision]
    there: Invoice
    body: Body


def may_be_written(context: RunContext, there: Invoice) -> None:
    """Raises UpstreamError where a recurring invoice cannot be sent back as it is, or a posting to it is not settled;
    OtherInstallation where another billingsync writes to it."""
    if not there.lines_shown or any(line.id is None for line in there.lines):
        # What goes back may be taken as the whole truth: a line that we do not see would be lost.
        raise _cannot(f"HaloPSA does not show the lines of recurring invoice {there.id} as they are")
    if any(_same(row.target_invoice_id, there.id) for row in context.ledger.unresolved()):
        raise _cannot(f"a posting to recurring invoice {there.id} is not settled yet: the next run finds out about it")
    ours = context.ledger.installations()
    strangers = sorted({mark.installation for mark in there.live_marks} - set(ours))
    if strangers:
        raise OtherInstallation(
            f"Recurring invoice {there.id} carries lines of another billingsync installation, {strangers[0]}. If that "
            "one is gone, take it over; if not, stop it first.",
            next_steps=[["billingsync", "adopt", strangers[0]]],
        )


def _cannot(why: str) -> UpstreamError:
    return UpstreamError("HaloPSA", "/RecurringInvoice", None, f"{why}. Nothing was sent.")


def prepare_cards(context: RunContext, write: CardWrite, there: Invoice, codes: ProductRules) -> Body:
    """The body of a write, for the recurring invoice as it was just read. `codes` are those of added lines."""
    wanted = SetLines(sets=write.lines, key=write.key, installation=context.installation, codes=codes)
    return context.psa.set_lines(there, wanted)


def carry_out_cards(context: RunContext, ready: Prepared) -> CardWrite:
    """One write: intent committed and read back, sent, receipt committed. Raises Locked, LedgerError."""
    context.say(Progress(stage=Stage.SET_LINES, client=ready.write.client_name))
    context.ledger.record_card_intent(context.fence, ready.write, ready.decisions, context.now())
    write = context.ledger.read_card_back(ready.write)
    sent = ready.body.send(still_ours(context))
    if isinstance(sent, NotDone):
        return _record(context, write, WriteState.REFUSED, sent.message, card=CardState.FAILED)
    if not isinstance(sent, Answered):
        return _record(context, write, WriteState.UNKNOWN, sent.why)
    try:
        there = context.psa.read(write.invoice_id, template=True)
        there = _taken_out(context, write, there)
        settled = None if there is None else _read_outcome(context, write, there)
    except UpstreamError as failed:
        return _record(context, write, WriteState.UNKNOWN, f"it could not be read back: {failed.message}")
    why = "HaloPSA answered, yet the recurring invoice shows what it was before"
    return settled or _record(context, write, WriteState.UNKNOWN, why)


def _taken_out(context: RunContext, write: CardWrite, there: Invoice | None) -> Invoice | None:
    """Where HaloPSA merges lists of lines, a line that is left out stays: it is set to nothing instead."""
    wanted = {one.line_id for one in write.lines if one.action is SetAction.TAKE_OUT}
    left = [line.id for line in (there.lines if there else ()) if line.id in wanted and not line.is_zeroed]
    if there is None or not left:
        return there
    what = f"lines that HaloPSA kept on recurring invoice {write.invoice_id} set to nothing"
    context.ledger.record_zeroed(context.fence, what, context.now())
    context.psa.zeroed(there, [id_ for id_ in left if id_ is not None], template=True).send(still_ours(context))
    return context.psa.read(write.invoice_id, template=True)


# What became of it ----------------------------------------------------------------------------------------------------


def resolve_cards(context: RunContext) -> tuple[CardWrite, ...]:
    """Find out about every write that was cut off; gives what each is now. One that HaloPSA does not show waits for the
    absence horizon and two looks; one that cannot be read stays unknown."""
    return tuple(_resolve(context, write) for write in context.ledger.open_card_writes())


def _resolve(context: RunContext, write: CardWrite) -> CardWrite:
    unread = absent = 0
    while True:
        try:
            there = read_target(context, write.invoice_id, template=True)
            settled = None if there is None else _read_outcome(context, write, there, looked_for=True)
        except UpstreamError as failed:
            unread += 1
            if unread == LOOKS:
                return _record(context, write, WriteState.UNKNOWN, f"cannot tell: {failed.message}")
            context.wait(1.0)
            continue
        if there is None:
            message = f"recurring invoice {write.invoice_id} is gone from HaloPSA"
            return _record(context, write, WriteState.FAILED, message, card=CardState.FAILED)
        if settled is not None:
            return settled
        since = max((context.now() - write.sent_at).total_seconds(), 0.0)
        due = context.absence_s - min(since, context.absence_s)
        absent += due <= 0
        if absent == 2:
            message = "HaloPSA does not have it: two looks after the horizon show what was there before"
            return _record(context, write, WriteState.ABANDONED, message, card=CardState.FAILED)
        if due > 0:
            context.say(Progress(stage=Stage.AWAIT_POSTING, seconds=due, client=write.client_name))
        context.wait(max(due, 1.0))


def _read_outcome(
    context: RunContext, write: CardWrite, there: Invoice, *, looked_for: bool = False
) -> CardWrite | None:
    """Settles a write by what the recurring invoice shows; None where it shows nothing of it. `looked_for`: HaloPSA's
    answer is not known, so that the value alone must prove the write, with all else as it was [WB4]."""
    before = context.psa.from_kept(write.before)
    assert before is not None, write.key
    sight = context.psa.set_sight(before, there, write.lines, write.key, asked=True)
    if sight.all_show(Shows.FROM) and (there.lines_shown or not before.lines_shown):
        why = _entries_elsewhere(context, write, there, sight)
        return _record(context, write, WriteState.FAILED, why, card=CardState.FAILED) if why else None
    answer = context.psa.kept(there)
    if not all(line.shows in (Shows.TO, Shows.UNMARKED) for line in sight.lines):
        message = f"somebody changed it meanwhile, so nothing more is sent: {_both(write, sight)}"
        return _record(context, write, WriteState.FAILED, message, answer=answer, card=CardState.FAILED)
    if looked_for and sight.beside and not any(_has_mark(one) for one in write.lines):
        beside = "; ".join(sight.beside[:6])
        message = (
            f"its outcome is not known, and somebody changed the recurring invoice meanwhile ({beside}), so nothing "
            f"more is sent: {_both(write, sight)}"
        )
        return _record(context, write, WriteState.FAILED, message, answer=answer, card=CardState.FAILED)
    alarms = _alarms(context, write, there, sight)
    state = WriteState.ALARM if alarms else WriteState.DONE
    card = CardState.UNDONE if write.undoes else CardState.DONE
    return _record(context, write, state, "; ".join(alarms), answer=answer, card=card)


def _has_mark(one: LineSet) -> bool:
    """Whether a mark proves it: where a number is set, the number is the only proof."""
    return one.action is not SetAction.SET or bool(one.entries or one.takes)


def _entries_elsewhere(context: RunContext, write: CardWrite, there: Invoice, sight: SetSight) -> str:
    """Why pro rata entries that a line does not show may have arrived all the same; "" where they did not [WB7].

    HaloPSA takes entries off a line once they are invoiced, so what is not there may be billed already."""
    if not any(one.entries for one in write.lines):
        return ""
    if sight.made:
        made = _made(context, there)
        return f"HaloPSA made an invoice meanwhile{made}: look there whether it holds the pro rata before you try again"
    waits = write.key in context.psa.prorata_keys()
    return "HaloPSA lists the pro rata, yet not on its line: look at it there before you try again" if waits else ""


def _alarms(context: RunContext, write: CardWrite, there: Invoice, sight: SetSight) -> list[str]:
    """What a person should look at although the lines are what they were to be [WB5]."""
    alarms = [line.said for line in sight.lines if line.shows is Shows.UNMARKED]
    alarms += sight.prorated
    if sight.made:
        alarms.append(f"HaloPSA made an invoice while we wrote{_made(context, there)}: {_both(write, sight)}")
    return [*alarms, *sight.beside[:6]]


def _made(context: RunContext, there: Invoice) -> str:
    """Which invoice HaloPSA made last from this recurring invoice, in words; "" where it cannot be told."""
    if there.client_id is None or not there.last_created:
        return ""
    try:
        day = date.fromisoformat(there.last_created[:10])
        made = [one.id for one in context.psa.invoices_since([there.client_id], day) if _same(one.made_from, there.id)]
    except (UpstreamError, ValueError):
        return ""
    return f" (invoice {max(made)})" if made else ""


def _same(one: int | None, other: int) -> bool:
    return one is not None and abs(one) == abs(other)


def _both(write: CardWrite, sight: SetSight) -> str:
    """Each line's number before, as it was to be, and as it is."""
    lines = {one.ordinal: one for one in write.lines}
    return "; ".join(_said(lines[line.ordinal], line) for line in sight.lines)


def _said(one: LineSet, line: LineSight) -> str:
    name = f"line {line.line_id}" if line.line_id is not None else one.title
    now = f", it shows {line.said}" if line.said else ""
    return f"{name} was {_numbers(one.before)}, was to be {_numbers(one.after)}{now}"


def _numbers(values: Values) -> str:
    text = plain(values.quantity)
    return text if values.unit_price is None else f"{text} at {plain(values.unit_price)}"


def _record(
    context: RunContext,
    write: CardWrite,
    state: WriteState,
    message: str,
    *,
    answer: str | None = None,
    card: CardState | None = None,
) -> CardWrite:
    if write.undoes and card is CardState.FAILED:
        card = None  # an undo that did not happen leaves the card done
    return context.ledger.settle_card_write(
        context.fence, write, state, message, context.now(), answer=answer, card=card
    )
