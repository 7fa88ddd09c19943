"""What several commands about cards take, and the filters that choose cards [CD10]."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.errors import UsageError

if TYPE_CHECKING:
    from billingsync.core.reconcile.card import Choice
    from billingsync.core.reconcile.card_states import Filter
    from billingsync.reconcile.cards import Deck

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")]
Digests = Annotated[list[str], typer.Argument(metavar="DIGEST...", help="Cards by their digest, or its beginning.")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with your name.")]
WithPrice = Annotated[bool, typer.Option("--with-price", help="Propose Pax8's price too.")]
WithCost = Annotated[bool, typer.Option("--with-cost", help="Propose Pax8's cost too.")]
Line = Annotated[int | None, typer.Option("--line", help="The line to change, where several carry the seats.")]
Invoice = Annotated[int | None, typer.Option("--invoice", help="The recurring invoice that gets a new line.")]
Quantity = Annotated[str | None, typer.Option("--quantity", metavar="N", help="Another quantity than the card's.")]
Price = Annotated[str | None, typer.Option("--price", metavar="AMOUNT", help="Another unit price.")]
Cost = Annotated[str | None, typer.Option("--cost", metavar="AMOUNT", help="Another unit cost.")]
Day = Annotated[
    str | None, typer.Option("--effective", metavar="DATE", help="From this day on; else the next invoice.")
]
Entries = Annotated[
    list[str] | None,
    typer.Option("--prorate", metavar="DATE=SEATS", help="Seats added from a day in the running period; repeatable."),
]


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
        kinds=frozenset(CardKind(one_of(text, [kind.value for kind in CardKind], "kind")) for text in kinds or ()),
        states=frozenset(CardState(one_of(text, [one.value for one in CardState], "state")) for text in states or ()),
    )


def one_of(text: str, known: list[str], noun: str) -> str:
    """The word, if it is known; UsageError with the nearest one."""
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


# What was typed -------------------------------------------------------------------------------------------------------


def choice_of(
    places: tuple[int | None, int | None],
    numbers: tuple[str | None, str | None, str | None],
    taken: tuple[bool, bool],
    days: tuple[str | None, list[str] | None],
) -> Choice:
    """What a person typed for a card: line and recurring invoice; quantity, price and cost; whether Pax8's price and
    cost are taken; from which day, or the dated seats of pro rata."""
    from billingsync.core.reconcile.card import Choice

    effective, prorate = days
    entries = []
    for text in prorate or ():
        day, _, seats = text.partition("=")
        entries.append((_day("--prorate", day), _number("--prorate", seats)))
    quantity, price, cost = (
        None if text is None else _number(name, text)
        for name, text in zip(("--quantity", "--price", "--cost"), numbers, strict=True)
    )
    return Choice(
        line_id=places[0],
        invoice_id=None if places[1] is None else -abs(places[1]),
        quantity=quantity,
        price=price,
        cost=cost,
        with_price=taken[0],
        with_cost=taken[1],
        day=None if effective is None else _day("--effective", effective),
        entries=tuple(entries),
    )


def _number(name: str, text: str) -> Decimal:
    """A number as typed: digits with a point, never guessed."""
    if not re.fullmatch(r"-?\d{1,12}(\.\d{1,6})?", text.strip(), re.ASCII):
        raise UsageError(f"{name} takes a number such as 12 or 21.50, not {text!r:.40}.")
    number = Decimal(text.strip())
    if number < 0:
        raise UsageError(f"{name} must not be negative.")
    return number


def _day(name: str, text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{name} takes a day such as 2026-12-20, not {text!r:.40}.") from None
