"""What several commands about cards take, and the filters that choose cards [CD10]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.errors import UsageError

if TYPE_CHECKING:
    from billingsync.core.reconcile.card_states import Filter
    from billingsync.reconcile.cards import Deck

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")]
Digests = Annotated[list[str], typer.Argument(metavar="DIGEST...", help="Cards by their digest, or its beginning.")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with your name.")]
WithPrice = Annotated[bool, typer.Option("--with-price", help="Propose Pax8's price too.")]
WithCost = Annotated[bool, typer.Option("--with-cost", help="Propose Pax8's cost too.")]


def card_filter(
    words: tuple[list[str] | None, list[str] | None, list[str] | None, list[str] | None, list[int] | None],
    names: tuple[list[str] | None, list[str] | None],
    deck: Deck,
) -> Filter:
    """What was typed, as a filter; UsageError for what no card has."""
    from billingsync.core.reconcile.card import CardKind
    from billingsync.core.reconcile.card_states import CardState, Filter

    vendor, tag, client, product, invoice = words
    kinds, states = names
    return Filter(
        vendors=frozenset(vendor or ()),
        tags=frozenset(tag or ()),
        clients=frozenset(_client(text, deck) for text in client or ()),
        products=frozenset(product or ()),
        invoices=frozenset(-abs(one) for one in invoice or ()),
        kinds=frozenset(CardKind(_one_of(text, [kind.value for kind in CardKind], "kind")) for text in kinds or ()),
        states=frozenset(CardState(_one_of(text, [one.value for one in CardState], "state")) for text in states or ()),
    )


def _one_of(text: str, known: list[str], noun: str) -> str:
    if text in known:
        return text
    from billingsync.rulebook.wording import nearest

    near = nearest(text, known)
    raise UsageError(f"There is no {noun} {text!r:.40}." + (f" Did you mean {near}?" if near else ""))


def _client(text: str, deck: Deck) -> int:
    """A client by id or by whole name, case aside [V2]."""
    names = {one.card.client_id: one.card.client_name for one in deck.cards}
    wanted = text.strip().casefold()
    for id_, name in names.items():
        if wanted in (str(id_), name.casefold()):
            return id_
    from billingsync.rulebook.wording import nearest

    near = nearest(text, names.values())
    raise UsageError(f"No client with a card is called {text!r:.60}." + (f" Did you mean {near}?" if near else ""))
