"""The commands about cards that list, show and put aside; nothing here writes to HaloPSA."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.cli import card_writes
from billingsync.cli.card_options import (
    Cost,
    Day,
    Digests,
    Entries,
    Invoice,
    JsonOption,
    Line,
    Price,
    Quantity,
    ReasonOption,
    WithCost,
    WithPrice,
    card_filter,
    choice_of,
    one_of,
)
from billingsync.cli.roles import may, require
from billingsync.cli.session import connected
from billingsync.cli.terminal import console, document, note, out, say
from billingsync.errors import UsageError

if TYPE_CHECKING:
    from billingsync.core.reconcile.card_states import CardState, Filter
    from billingsync.reconcile.cards import Deck

_CODES = "Exit codes: 0, 3 a card lacks something, 4 no snapshot, 5 a card is stale, 1, 2."


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Proposed changes of recurring lines, one card a line.",
        invoke_without_command=True,
        epilog=f"Example: billingsync cards --client 214. {_CODES}",
    )
    group.callback()(cards)
    group.command("show", epilog=f"Example: billingsync cards show 7c1e9f. {_CODES}")(show)
    group.command("dismiss", epilog=f'Example: billingsync cards dismiss 7c1e9f --reason "free until March". {_CODES}')(
        dismiss
    )
    group.command(
        "snooze", epilog=f'Example: billingsync cards snooze 7c1e9f --until 2026-12-20 --reason "asked". {_CODES}'
    )(snooze)
    card_writes.register(group)
    app.add_typer(group, name="cards")


def cards(
    context: typer.Context,
    vendor: Annotated[list[str] | None, typer.Option("--vendor", help="Only this vendor; repeatable.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Only this tag; repeatable.")] = None,
    client: Annotated[list[str] | None, typer.Option("--client", help="Only this client, by id or name.")] = None,
    product: Annotated[list[str] | None, typer.Option("--product", help="Only this product or SKU.")] = None,
    invoice: Annotated[list[int] | None, typer.Option("--invoice", help="Only this recurring invoice.")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="new, changed, gone or unchanged.")] = None,
    state: Annotated[list[str] | None, typer.Option("--state", help="open, snoozed, dismissed, done, ...")] = None,
    by: Annotated[str, typer.Option("--by", help="Together by account, service or invoice, with their sums.")] = "",
    with_price: WithPrice = False,
    with_cost: WithCost = False,
    json: JsonOption = False,
) -> int:
    """List the cards of this month: what would change on which recurring line."""
    if context.invoked_subcommand is not None:
        return 0
    from billingsync.core.reconcile.card import CardKind, Choice
    from billingsync.reconcile.cards import deal
    from billingsync.report.cards import GROUPS, card_document, group_documents, set_document

    grouped = one_of(by, list(GROUPS), "group") if by else ""
    with connected() as connections:
        locale = connections.settings.locale
        money = may(connections.settings, "financial")
        deck = deal(connections, say=say, chosen=Choice(with_price=with_price, with_cost=with_cost))
    wanted = card_filter((vendor, tag, client, product, invoice), (kind, state), deck)
    found = deck.chosen(wanted, unchanged=CardKind.UNCHANGED in wanted.kinds)
    together = deck.together(wanted)
    if json:
        body = {
            "snapshot": deck.snapshot,
            "as_at": deck.as_at.isoformat(timespec="seconds"),
            "cycle": str(deck.cycle),
            "verdict": deck.verdict.value,
            "cards": [card_document(one, money=money) for one in found],
            **set_document(together, money=money),
            **({"groups": group_documents(found, grouped, money=money)} if grouped else {}),
        }
        document(body, [["billingsync", "cards", "show", one.card.digest[:12]] for one in found[:1]])
    else:
        _print(deck, wanted, grouped, locale if money else None)
    return 3 if any(one.card.lacks for one in found) else 0


def _print(deck: Deck, wanted: Filter, grouped: str, locale: str | None) -> None:
    """The list for the terminal; `locale` is None for who may see no money."""
    from billingsync.core.reconcile.card import CardKind
    from billingsync.report.cards import (
        CARD_HEADERS,
        CARD_NAMES,
        CARD_NUMBERS,
        card_rows,
        group_sentences,
        in_groups,
        set_sentences,
    )
    from billingsync.report.layout import table
    from billingsync.report.numbers import Figures

    money, figures = locale is not None, Figures(locale or "en_US")
    found = deck.chosen(wanted, unchanged=CardKind.UNCHANGED in wanted.kinds)
    out(f"Cards of {deck.cycle}, snapshot {deck.snapshot} as at {deck.as_at:%Y-%m-%d %H:%M}")
    if not found:
        out(f"No card. The comparison says: {deck.verdict.value.replace('_', ' ')}.")
        return
    rows = card_rows(in_groups(found, grouped), figures, money=money)
    table(console(), CARD_HEADERS, rows, numbers=CARD_NUMBERS, names=CARD_NAMES)
    for sentence in group_sentences(found, grouped, figures, money=money):
        out(sentence)
    if money:
        together = deck.together(wanted)
        for sentence in set_sentences(together, figures):
            note(f"{sentence} Digest of the set: {together.digest}")
    note(f"One card in full:  billingsync cards show {found[0].card.digest[:8]}")


def show(
    digests: Digests,
    line: Line = None,
    invoice: Invoice = None,
    quantity: Quantity = None,
    price: Price = None,
    cost: Cost = None,
    with_price: WithPrice = False,
    with_cost: WithCost = False,
    effective: Day = None,
    prorate: Entries = None,
    json: JsonOption = False,
) -> int:
    """Show cards in full: from, to, what changes, what is missing, and what was done to the line before."""
    from billingsync.reconcile.approval import choose
    from billingsync.reconcile.cards import stand
    from billingsync.reconcile.line_history import line_history
    from billingsync.report.card_details import card_sentences, past_document, past_sentence
    from billingsync.report.cards import card_document
    from billingsync.report.numbers import Figures

    choice = choice_of((line, invoice), (quantity, price, cost), (with_price, with_cost), (effective, prorate))
    with connected() as connections:
        money, figures = may(connections.settings, "financial"), Figures(connections.settings.locale)
        ground = stand(connections, say=say)
        found = [choose(ground, digest, choice) for digest in digests]
        pasts = [line_history(connections, one.card) if money else () for one in found]
    as_at = ground.inputs.snapshot.as_at.isoformat(timespec="seconds")
    if json:
        documents = [
            {**card_document(one, money=money), "history": [past_document(each) for each in past]}
            for one, past in zip(found, pasts, strict=True)
        ]
        document({"snapshot": ground.inputs.snapshot.id, "as_at": as_at, "cards": documents})
    else:
        for one, past in zip(found, pasts, strict=True):
            out(f"As at {ground.inputs.snapshot.as_at:%Y-%m-%d %H:%M}, snapshot {ground.inputs.snapshot.id}.")
            for sentence in [*card_sentences(one, figures, money=money), *map(past_sentence, past)]:
                out(sentence)
    return 3 if any(one.card.lacks for one in found) else 0


def dismiss(digests: Digests, reason: ReasonOption, json: JsonOption = False) -> int:
    """Put cards aside for this month; they return when their numbers change, and next month."""
    from billingsync.core.reconcile.card_states import CardState

    return _rest(digests, CardState.DISMISSED, reason, None, json)


def snooze(
    digests: Digests,
    reason: ReasonOption,
    until: Annotated[str, typer.Option("--until", metavar="DATE", help="A day within 92 days: 2026-12-20.")],
    json: JsonOption = False,
) -> int:
    """Put cards aside until a day."""
    from billingsync.core.reconcile.card_states import CardState

    try:
        day = datetime.date.fromisoformat(until)
    except ValueError:
        raise UsageError(f"--until takes a day such as 2026-12-20, not {until!r:.40}.") from None
    return _rest(digests, CardState.SNOOZED, reason, day, json)


def _rest(digests: list[str], state: CardState, reason: str, until: datetime.date | None, json: bool) -> int:
    from billingsync.reconcile.cards import Rest, deal, put_aside
    from billingsync.store.lock import who

    with connected() as connections:
        require(connections.settings, "financial", "decide about cards")
        deck = deal(connections, say=say)
        now = datetime.datetime.now(datetime.UTC)
        rest = Rest(state=state, reason=reason, until=until)
        done = put_aside(connections.ledger, deck, digests, rest, who=who(), now=now)
    if json:
        document(
            {"results": [{"digest": card.digest, "state": state.value} for card in done]}, [["billingsync", "cards"]]
        )
    else:
        for card in done:
            out(f"{card.client_name}, {card.product}: {state.value}{f' until {until}' if until else ''}.")
    return 0
