"""What was done to a card's line before: by cards, and in HaloPSA itself [CD5]."""

from __future__ import annotations

from dataclasses import dataclass

from billingsync.connect import Connections
from billingsync.core.money import plain
from billingsync.core.reconcile.card import Card
from billingsync.core.reconcile.card_write import WRITTEN
from billingsync.errors import UpstreamError

MOST = 20  # of each, the newest


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """One change. `at` is ISO 8601: UTC of our own writes, HaloPSA's own time of the others."""

    at: str
    who: str
    what: str
    ours: bool


def line_history(connected: Connections, card: Card) -> tuple[Past, ...]:
    """The changes of the card's line, oldest first; without HaloPSA's where this build does not tell them."""
    if card.line_id is None or card.invoice_id is None:
        return ()
    ours = [
        Past(
            at=write.sent_at.isoformat(timespec="seconds"),
            who=write.who,
            what=f"quantity {plain(one.before.quantity)} -> {plain(one.after.quantity)}"
            + (" (undone)" if write.undoes else ""),
            ours=True,
        )
        for write in connected.ledger.card_writes(states=WRITTEN)
        for one in write.lines
        if one.line_id == card.line_id
    ]
    try:
        told = connected.psa.line_changes(card.invoice_id, card.line_id)
    except UpstreamError:
        told = ()
    theirs = [Past(at=one.at, who=one.who, what=one.what, ours=False) for one in told]
    return tuple(sorted([*ours[-MOST:], *theirs[-MOST:]], key=lambda one: one.at))
