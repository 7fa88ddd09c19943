"""The commands that write cards to HaloPSA, and take them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

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
    WithCost,
    WithPrice,
    card_filter,
    choice_of,
)
from billingsync.cli.roles import require
from billingsync.cli.session import connected
from billingsync.cli.terminal import ask, console, document, interactive, note, out, say
from billingsync.errors import UsageError

if TYPE_CHECKING:
    from billingsync.connect import Connections
    from billingsync.core.reconcile.card import Choice
    from billingsync.core.reconcile.card_states import Filter, Shown
    from billingsync.reconcile.approval import CardResult
    from billingsync.reconcile.cards import Deck

Some = Annotated[list[str] | None, typer.Argument(metavar="DIGEST...", help="Cards by their digest, or its beginning.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
_CODES = "Exit codes: 0, 1 failed or not known, 3 blocked or to be looked at, 5 stale or locked, 2, 4."


def register(group: typer.Typer) -> None:
    """Adds the commands to `billingsync cards`."""
    group.command("approve", epilog=f"Example: billingsync cards approve 7c1e9f. {_CODES}")(approve)
    group.command("pair", epilog=f"Example: billingsync cards pair 7c1e9f --line 9001. {_CODES}")(pair)
    group.command("undo", epilog=f"Example: billingsync cards undo 7c1e9f. {_CODES}")(undo)


def approve(
    digests: Some = None,
    all_: Annotated[bool, typer.Option("--all", help="All that the filters take, within the limits.")] = False,
    expect: Annotated[str, typer.Option("--expect", metavar="DIGEST", help="The digest of the set, with --all.")] = "",
    client: Annotated[list[str] | None, typer.Option("--client", help="With --all: only this client.")] = None,
    vendor: Annotated[list[str] | None, typer.Option("--vendor", help="With --all: only this vendor.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="With --all: only this tag.")] = None,
    product: Annotated[list[str] | None, typer.Option("--product", help="With --all: only this product.")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="With --all: new, changed or gone.")] = None,
    invoice: Invoice = None,
    line: Line = None,
    quantity: Quantity = None,
    price: Price = None,
    cost: Cost = None,
    with_price: WithPrice = False,
    with_cost: WithCost = False,
    effective: Day = None,
    prorate: Entries = None,
    over_limit: Annotated[bool, typer.Option("--over-limit", help="Also beyond a limit; needs --reason.")] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with your name.")] = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    json: JsonOption = False,
) -> int:
    """Write cards to HaloPSA's recurring invoices."""
    from billingsync.reconcile.approval import Approval
    from billingsync.reconcile.write_back import approve as carry_out
    from billingsync.store.lock import who

    if bool(digests) == all_:
        raise UsageError("Name cards by their digests, or say --all.", next_steps=[["billingsync", "cards"]])
    if over_limit and not reason.strip():
        raise UsageError("--over-limit needs --reason: it is what somebody will read next month.")
    if all_ and (line, quantity, price, cost, effective, prorate) != (None,) * 6:
        raise UsageError("With --all nothing can be typed or chosen but --with-price and --with-cost.")
    choice = choice_of(
        (line, None if all_ else invoice), (quantity, price, cost), (with_price, with_cost), (effective, prorate)
    )
    with connected() as connections:
        require(connections.settings, "financial", "approve cards")
        wanted = None
        left: tuple[Shown, ...] = ()
        if all_:
            words = (vendor, tag, client, product, None if invoice is None else [invoice])
            deck = deal(connections, choice)
            wanted = card_filter(words, (kind, None), deck)
            left = deck.together(wanted).left
            if not (yes and expect) and not dry_run:
                expect = _asked(deck, wanted, connections.settings.locale)
                if not expect:
                    return 0
        asked = Approval(
            who=who(),
            digests=tuple(digests or ()),
            choice=choice,
            over_limit=over_limit,
            reason=reason,
            wanted=wanted,
            expect=expect,
            dry_run=dry_run,
        )
        results = carry_out(connections, asked, say=say)
    return _told(results, json=json, left=left)


def deal(connections: Connections, choice: Choice) -> Deck:
    from billingsync.reconcile.cards import deal as dealt

    return dealt(connections, say=say, chosen=choice)


def _asked(deck: Deck, wanted: Filter, locale: str) -> str:
    """The digest of the set, once a person has seen it and said yes; "" where they said no."""
    from billingsync.report.cards import CARD_HEADERS, CARD_NAMES, CARD_NUMBERS, card_rows, set_sentences
    from billingsync.report.layout import table
    from billingsync.report.numbers import Figures

    together = deck.together(wanted)
    if not interactive():
        raise UsageError(
            "There is no terminal to ask on. Say --yes --expect DIGEST, with the digest of the set that you saw.",
            next_steps=[["billingsync", "cards"]],
        )
    names, figures = {card.id for card in together.cards}, Figures(locale)
    rows = card_rows([one for one in deck.cards if one.card.id in names], figures, money=True)
    table(console(), CARD_HEADERS, rows, numbers=CARD_NUMBERS, names=CARD_NAMES)
    for sentence in set_sentences(together, figures):
        note(sentence)
    note(f"{len(together.left)} are left out, and named at the end.")
    return together.digest if together.cards and ask(f"Write {len(together.cards)} cards to HaloPSA?") else ""


def undo(
    digests: Digests,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with your name.")] = "",
    dry_run: DryRun = False,
    json: JsonOption = False,
) -> int:
    """Put back what written cards changed, where the lines still show it."""
    from billingsync.reconcile.take_back import TakeBack
    from billingsync.reconcile.take_back import undo as carry_out
    from billingsync.store.lock import who

    with connected() as connections:
        require(connections.settings, "financial", "undo cards")
        asked = TakeBack(who=who(), digests=tuple(digests), reason=reason, dry_run=dry_run)
        results = carry_out(connections, asked, say=say)
    return _told(results, json=json)


def pair(
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="A new card, by its digest or its beginning.")],
    line: Annotated[int, typer.Option("--line", help="The line that carries these seats already.")],
    json: JsonOption = False,
) -> int:
    """Say that a line carries the seats of a new card. Nothing is written to HaloPSA."""
    from billingsync.reconcile.pair import pair as join
    from billingsync.store.lock import who

    with connected() as connections:
        require(connections.settings, "financial", "pair cards")
        cards = join(connections, digest, line, who=who(), say=say)
    if json:
        results = [{"digest": card.digest, "kind": card.kind.value, "line_id": card.line_id} for card in cards]
        document({"results": results}, [["billingsync", "cards"]])
    else:
        for card in cards:
            out(f"{card.client_name}, {card.product}: {card.kind} on line {card.line_id} (card {card.digest[:8]}).")
    return 0


def _told(results: Sequence[CardResult], *, json: bool, left: Sequence[Shown] = ()) -> int:
    """Prints what became of each card, and of a set what is left out of it; gives the exit code."""
    from billingsync.reconcile.approval import exit_code
    from billingsync.report.card_details import left_document, left_sentence
    from billingsync.report.card_results import result_document, result_sentence

    code = exit_code(results)
    if json:
        body: dict[str, object] = {"results": [result_document(one) for one in results]}
        if left:
            body["left"] = [left_document(one) for one in left]
        if code:
            worst = next(one for one in results if exit_code([one]) == code)
            body["error"] = {"code": _ERRORS[code], "message": worst.message, "exit_code": code}
        document(body, [["billingsync", "cards"]])
    else:
        for one in results:
            out(result_sentence(one))
            if one.body:
                out(one.body)
        for each in left:
            out(left_sentence(each))
        if not results:
            note("No card is to be written.")
    return code


_ERRORS = {1: "BS-FAILED", 3: "BS-CARD-BLOCKED", 5: "BS-STALE-CARD"}
