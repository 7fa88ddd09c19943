"""Written cards taken back: *from* is put where the line still shows *to* [WB8]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from billingsync.connect import Connections
from billingsync.core.invoice import Invoice
from billingsync.core.money import plain
from billingsync.core.progress import Say
from billingsync.core.reconcile.card_states import CardState, Decision
from billingsync.core.reconcile.card_write import (
    OPEN,
    WRITTEN,
    LineSet,
    WriteState,
    base_of,
    key_of,
    reversed_set,
)
from billingsync.core.rules import ProductRules
from billingsync.errors import StaleCard, UpstreamError, UsageError
from billingsync.psa.psa import Shows
from billingsync.reconcile.approval import STEP, Became, CardResult
from billingsync.reconcile.cards import SHORTEST
from billingsync.run.card_guard import search_tenant
from billingsync.run.card_writes import (
    Prepared,
    card_context,
    carry_out_cards,
    may_be_written,
    prepare_cards,
    resolve_cards,
)
from billingsync.run.context import RunContext
from billingsync.store.book import Fence
from billingsync.store.card_writes import CardWrite

_BECAME = {WriteState.DONE: Became.UNDONE, WriteState.ALARM: Became.ALARM, WriteState.UNKNOWN: Became.UNKNOWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeBack:
    """Which cards a person takes back."""

    who: str
    digests: tuple[str, ...]
    reason: str = ""
    dry_run: bool = False


def undo(connected: Connections, asked: TakeBack, *, say: Say) -> tuple[CardResult, ...]:
    """Takes back what these cards wrote; gives what became of each. What HaloPSA invoiced meanwhile is named.

    Raises Locked while a run is under way, StaleCard for a digest that was never written, UsageError for one that names
    several cards, OtherInstallation, UpstreamError where HaloPSA cannot be read whole, LedgerError.
    """
    digests = tuple(dict.fromkeys(one.strip().lower() for one in asked.digests))
    if asked.dry_run:
        context = card_context(connected, Fence(epoch=-1, token="", holder=""), say)
        return tuple(_take_back(context, asked, digest, {}) for digest in digests)
    with connected.ledger.run_lock(asked.who) as fence:
        connected.ledger.assert_durable()
        context = card_context(connected, fence, say)
        resolve_cards(context)
        held = search_tenant(connected, context)
        return tuple(_take_back(context, asked, digest, held) for digest in digests)


def _take_back(context: RunContext, asked: TakeBack, digest: str, held: Mapping[int, str]) -> CardResult:
    write, done = _written(context, digest)
    last = _last(context, done.card)
    if last is not None and last.state is CardState.UNDONE:
        return _result(write, done, Became.ALREADY, "It is undone already.")
    if write.client_id in held:
        return _result(write, done, Became.BLOCKED, held[write.client_id])
    try:
        there = context.psa.read(write.invoice_id, template=True)
        if there is None:
            return _result(write, done, Became.FAILED, f"Recurring invoice {write.invoice_id} is gone.")
        may_be_written(context, there)
        one = reversed_set(done, write.key, _line_id(context, write, done))
        sight = context.psa.set_sight(there, there, [one], write.key, asked=False).lines[0]
        if sight.shows is not Shows.FROM:
            why = f"The line shows {sight.said or 'nothing'} now, not what the card wrote. Nothing was sent."
            return _result(write, done, Became.STALE, why)
        invoiced = _invoiced(context, there, write, one)
        return _sent(context, asked, (write, done), one, there, invoiced)
    except UpstreamError as failed:
        return _result(write, done, Became.FAILED, failed.message)


def _sent(
    context: RunContext, asked: TakeBack, of: tuple[CardWrite, LineSet], one: LineSet, there: Invoice, invoiced: str
) -> CardResult:
    write, done = of
    base = base_of(context.ledger.key_name, write.client_id, write.invoice_id, [one])
    now = context.now()
    generation = context.ledger.card_generation(base)
    back = replace(
        write,
        key=key_of(base, generation),
        base_key=base,
        generation=generation,
        undoes=write.key,
        who=asked.who,
        reason=asked.reason.strip(),
        lines=(one,),
        before=context.psa.kept(there),
        intended_at=now,
        sent_at=now,
        state=WriteState.SENDING,
        message="",
        answer=None,
        settled_at=None,
    )
    body = prepare_cards(context, back, there, ProductRules())
    if asked.dry_run:
        return replace(_result(write, done, Became.SHOWN, invoiced), body=body.content)
    ready = Prepared(write=replace(back, content=body.content), decisions=(), there=there, body=body)
    settled = carry_out_cards(context, ready)
    if settled.state in OPEN:
        settled = next(each for each in resolve_cards(context) if each.key == settled.key)
    became = _BECAME.get(settled.state, Became.FAILED)
    now_there = done.before if settled.state in WRITTEN else None
    message = " ".join(text for text in (settled.message, invoiced) if text)
    return replace(_result(write, done, became, message), now=now_there)


def _written(context: RunContext, digest: str) -> tuple[CardWrite, LineSet]:
    """The newest write of the card whose digest begins so."""
    found = [
        (write, one)
        for write in context.ledger.card_writes(states=WRITTEN)
        if not write.undoes
        for one in write.lines
        if one.digest.startswith(digest)
    ]
    if len(digest) < SHORTEST or len({one.digest for _, one in found}) > 1:
        raise UsageError(f"{digest!r:.40} names no single card. Give more digits of its digest.", next_steps=[STEP])
    if not found:
        raise StaleCard(f"No card with the digest {digest!r:.40} was written.", next_steps=[["billingsync", "log"]])
    return found[-1]


def _last(context: RunContext, card: str) -> Decision | None:
    return next((one for one in reversed(context.ledger.card_decisions()) if one.card == card), None)


def _line_id(context: RunContext, write: CardWrite, done: LineSet) -> int:
    """HaloPSA's id of the line: of one that we added as HaloPSA answered it."""
    if done.line_id is not None:
        return done.line_id
    answer = context.psa.from_kept(write.answer)
    lines = answer.lines if answer else ()
    mine = next((line.id for line in lines if done.is_marked(line.mark, write.key)), None)
    if mine is None:
        raise UpstreamError(
            "HaloPSA", "/RecurringInvoice", None, "Which line was added is not known. Nothing was sent."
        )
    return mine


def _invoiced(context: RunContext, there: Invoice, write: CardWrite, one: LineSet) -> str:
    """What HaloPSA invoiced of the line since it was written, in words; "" for nothing."""
    settled = write.settled_at or write.sent_at
    if there.client_id is None or not there.last_created or there.last_created[:10] < settled.date().isoformat():
        return ""
    said = []
    for made in context.psa.invoices_since([there.client_id], date.fromisoformat(there.last_created[:10])):
        for line in made.lines:
            if line.made_from[1] == one.line_id and line.net_amount is not None:
                said.append(f"invoice {made.id} ({plain(line.net_amount)})")
    return f"HaloPSA invoiced this line meanwhile: {', '.join(said)}." if said else ""


def _result(write: CardWrite, done: LineSet, became: Became, message: str) -> CardResult:
    return CardResult(
        digest=done.digest,
        became=became,
        client_id=write.client_id,
        client_name=write.client_name,
        invoice_id=write.invoice_id,
        line_id=done.line_id,
        was=done.after,
        message=message,
    )
