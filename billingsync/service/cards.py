"""Cards in the worker's cycle: what was cut off is found out about, what was approved for today is written."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from billingsync.connect import Connections
from billingsync.core.progress import Say
from billingsync.core.reconcile.card_write import WriteState
from billingsync.core.schedule import local_day
from billingsync.reconcile.approval import Became, CardResult
from billingsync.reconcile.cards import Deck, deal
from billingsync.reconcile.due import settle_cut_off, write_due
from billingsync.report.card_results import result_sentence
from billingsync.report.escape import one_line, shortened
from billingsync.store.card_writes import CardWrite
from billingsync.store.imports import ImportState
from billingsync.store.ledger import Ledger
from billingsync.store.notices import Thing

_WELL = (Became.DONE, Became.ALREADY)
_STEPS = (("billingsync", "cards"),)


def carry_out(connected: Connections, now: datetime, who: str, say: Say) -> list[Thing]:
    """What people are to be told of cards in this cycle. Raises Locked, NoSnapshot, LedgerError."""
    things = [_cut_off(one) for one in settle_cut_off(connected, who=who, say=say) if one.state is not WriteState.DONE]
    results = write_due(connected, local_day(now, connected.settings.zone), say=say)
    return things + [_failed(one) for one in results if one.became not in _WELL]


def _failed(one: CardResult) -> Thing:
    return Thing(
        key=f"card_failed:{one.digest}",
        event="card_failed",
        title=f"A card that was scheduled was not written: {shortened(one_line(one.client_name), 80)}",
        body=shortened(one_line(result_sentence(one)), 400),
        steps=_STEPS,
    )


def _cut_off(one: CardWrite) -> Thing:
    return Thing(
        key=f"card_failed:{one.key}:{one.state.value}",
        event="card_failed",
        title=f"A card's write was cut off: {shortened(one_line(one.client_name), 80)} ({one.state.value})",
        body=shortened(one_line(one.message), 400),
        steps=(("billingsync", "log", "--client", str(one.client_id)),),
    )


def counted(connected: Connections, say: Say) -> dict[str, Any]:
    """Cards by kind and state, and rows of imported files by state, for the metrics."""
    deck: Deck = deal(connected, say=say)
    cards = Counter((one.card.kind.value, one.state.value) for one in deck.cards)
    return {
        "cards": [[kind, state, number] for (kind, state), number in sorted(cards.items())],
        "import_rows": dict(sorted(_rows(connected.ledger).items())),
    }


def _rows(ledger: Ledger) -> Counter[str]:
    rows: Counter[str] = Counter()
    for file in ledger.imports():
        if file.state is ImportState.CURRENT:
            rows.update(file.rows)
    return rows
