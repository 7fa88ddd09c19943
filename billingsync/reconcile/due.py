"""Cards that were approved for a later day, written when that day has come [CD6]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from billingsync.connect import Connections
from billingsync.core.progress import Say
from billingsync.core.reconcile.card import Card, Choice, card_id
from billingsync.core.reconcile.card_states import CardState, Decision
from billingsync.reconcile.approval import Approval, Became, CardResult
from billingsync.reconcile.cards import Ground, stand
from billingsync.reconcile.changed import what_changed
from billingsync.reconcile.write_back import approve
from billingsync.run.card_guard import TenantSearch
from billingsync.run.card_writes import card_context, resolve_cards
from billingsync.run.context import now
from billingsync.store.card_writes import CardWrite


def settle_cut_off(connected: Connections, *, who: str, say: Say) -> tuple[CardWrite, ...]:
    """Finds out about writes that were cut off; the lock is taken only where there are some. Raises Locked."""
    if not connected.ledger.open_card_writes():
        return ()
    with connected.ledger.run_lock(who) as fence:
        return resolve_cards(card_context(connected, fence, say))


def due(decisions: Sequence[Decision], today: date) -> tuple[Decision, ...]:
    """The cards whose day has come and that nobody decided otherwise about since."""
    last = {one.card: one for one in decisions}
    waiting = (one for one in last.values() if one.state is CardState.SCHEDULED and one.until is not None)
    return tuple(one for one in waiting if one.until is not None and one.until <= today)


def write_due(connected: Connections, today: date, *, say: Say) -> tuple[CardResult, ...]:
    """Writes them: each is looked at anew, and where what it showed is not so any more it is replaced, not written.
    Raises Locked, NoSnapshot, LedgerError."""
    waiting = due(connected.ledger.card_decisions(), today)
    if not waiting:
        return ()
    ground = stand(connected, say=say, today=today)
    results, search = [], TenantSearch()
    for one in waiting:
        choice = replace(one.choice, day=None)
        shown = scheduled_card(ground, one, choice)
        if shown is None or one.until is None or shown.digest_from(one.until) != one.digest:
            results.append(_replaced(connected, ground, one, shown))
            continue
        late = f", written late on {today}" if one.until < today else ""
        asked = Approval(
            who=one.who,
            digests=(shown.digest,),
            choice=choice,
            over_limit=True,
            today=today,
            reason=f"for {one.until} by {one.who}{late}" + (f": {one.reason}" if one.reason else ""),
        )
        results += [replace(result, digest=one.digest) for result in approve(connected, asked, say=say, search=search)]
    return tuple(results)


def scheduled_card(ground: Ground, one: Decision, choice: Choice) -> Card | None:
    """The card of a decision as it is with its choice; None where none stands there."""
    for shown in ground.deck().cards:
        card = shown.card
        if one.card in (card.id, card_id(card.client_id, card.key, choice.line_id)):
            chosen = ground.chosen(card, choice)
            if chosen is not None and chosen.card.id == one.card:
                return chosen.card
    return None


def _replaced(connected: Connections, ground: Ground, one: Decision, card: Card | None) -> CardResult:
    gone = replace(
        one, state=CardState.REPLACED, cycle=ground.cycle, who="", reason="what it showed is not so any more"
    )
    connected.ledger.decide_cards([gone], now())
    why = what_changed(replace(card, before=one.before, after=one.after), card) if card else "The line is gone."
    return CardResult(
        digest=one.digest,
        became=Became.STALE,
        card=card,
        client_id=card.client_id if card else None,
        client_name=card.client_name if card else "",
        invoice_id=card.invoice_id if card else None,
        line_id=card.line_id if card else None,
        was=one.before,
        new_digest=card.digest if card else "",
        message=why,
    )
