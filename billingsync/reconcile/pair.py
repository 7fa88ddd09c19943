"""A person joins a `new` card to a line that carries its seats already [LC6]."""

from __future__ import annotations

from billingsync.connect import Connections
from billingsync.core.decisions import Pairing
from billingsync.core.progress import Say
from billingsync.core.reconcile.card import Card, CardKind
from billingsync.core.reconcile.snapshot import RecurringInvoice, RecurringLine
from billingsync.errors import UsageError
from billingsync.reconcile.approval import STEP
from billingsync.reconcile.cards import Ground, stand
from billingsync.run.context import now


def pair(connected: Connections, digest: str, line_id: int, *, who: str, say: Say) -> tuple[Card, ...]:
    """Joins the card to the line, and gives the cards that stand in its place now. Nothing is written to HaloPSA.

    StaleCard for a digest that no card has now; UsageError for a card that has a line, or a line that is not the
    client's or is none that carries seats.
    """
    ground = stand(connected, say=say)
    card = ground.deck().find(digest).card
    if card.kind is not CardKind.NEW:
        raise UsageError(f"Card {card.digest[:8]} has a line already: {card.line_id}.", next_steps=[STEP])
    if _line(ground, card, line_id) is None:
        named = ", ".join(f"{line.id} ({line.text:.40})" for _, line in _lines(ground, card)[:8]) or "none"
        raise UsageError(
            f"{card.client_name} has no recurring line {line_id} that could carry it. Lines: {named}.",
            next_steps=[STEP],
        )
    connected.ledger.pair(Pairing(client_id=card.client_id, family=card.key, line_id=line_id), who, now())
    return tuple(one.card for one in stand(connected, say=say).beside_key(card.client_id, card.key))


def _lines(ground: Ground, card: Card) -> list[tuple[RecurringInvoice, RecurringLine]]:
    """The client's lines that could carry seats."""
    return [
        (invoice, line)
        for invoice in ground.inputs.snapshot.recurring
        for line in invoice.lines
        if (line.client_id or invoice.client_id) == card.client_id and not (line.heading or line.meter or line.inactive)
    ]


def _line(ground: Ground, card: Card, line_id: int) -> RecurringLine | None:
    return next((line for _, line in _lines(ground, card) if line.id == line_id), None)
