"""One card in full, for the terminal, and what was done to its line before [CD5]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Protocol

from billingsync.core.reconcile.card import LACKS, Card, CardKind
from billingsync.core.reconcile.card_change import Limit
from billingsync.core.reconcile.card_states import Shown
from billingsync.core.reconcile.matches import How
from billingsync.report.escape import one_line
from billingsync.report.numbers import Figures

_LIMITS: Mapping[Limit, str] = {
    Limit.QUANTITY: "the quantity moves by more than the rules allow",
    Limit.PRICE: "the price moves by more than the rules allow",
    Limit.BELOW_COST: "the price is below the cost",
    Limit.DECREASE_ON_LOOK: "it takes seats away, and the finding is uncertain",
}


def card_sentences(one: Shown, figures: Figures, *, money: bool) -> list[str]:
    """A card in full: where, what stands there and would stand there, from when, what it changes, what it lacks."""
    card = one.card
    said = [
        f"Card {card.digest}: {card.kind}, {one.state}. {one_line(card.client_name)}, {one_line(card.product)} "
        f"({_where(card)}).",
        *_sold(card),
        *_line(card),
        *_counted(card, figures),
    ]
    if money:
        said += _unit(card, figures)
    said.append(
        "It counts from "
        + (card.effective.isoformat() if card.effective else "the next invoice that HaloPSA makes")
        + (f" (on {card.next_invoice.isoformat()})." if card.next_invoice and not card.effective else ".")
    )
    if money and card.kind is not CardKind.UNCHANGED:
        said += _change(card, figures)
    said += [LACKS[lack] for lack in card.lacks]
    said += [
        f"Beyond a limit: {_LIMITS[limit]}. Approve it alone, with --over-limit --reason." for limit in card.limits
    ]
    if one.note:
        said.append(f"Earlier: {one_line(one.note)}.")
    return said


def left_document(one: Shown) -> dict[str, object]:
    """A card that is left out of a set, with what keeps it out."""
    card = one.card
    return {
        "digest": card.digest,
        "state": one.state.value,
        "client_id": card.client_id,
        "client_name": card.client_name,
        "product": card.product,
        "lacks": [lack.value for lack in card.lacks],
        "limits": [limit.value for limit in card.limits],
    }


def left_sentence(one: Shown) -> str:
    """Why a card is left out of a set."""
    card = one.card
    whys = [LACKS[lack].rstrip(".") for lack in card.lacks] + [_LIMITS[limit] for limit in card.limits]
    why = ". ".join(whys or [f"it is {one.state}"])
    return f"Left out: {card.digest[:8]} {one_line(card.client_name)}, {one_line(card.product)}: {why}."


def _where(card: Card) -> str:
    if card.line_id is not None:
        return f"line {card.line_id} of recurring invoice {card.invoice_id}"
    if card.kind is not CardKind.NEW:
        return "several lines"
    return "no line yet" if card.invoice_id is None else f"a new line on recurring invoice {card.invoice_id}"


_MATCHED: Mapping[How, str] = {
    How.PAIRED: "a person's pairing",
    How.RULES: "the rules",
    How.PERSON: "a person's mapping",
    How.SKU: "the SKU",
    How.NAME: "an equal name",
    How.TEXT: "an equal text",
    How.LEDGER: "what billingsync posted",
}


def _sold(card: Card) -> Iterator[str]:
    """The other side: whose subscriptions these are, and why the line belongs to them."""
    parts = [", ".join(map(one_line, card.companies)), " ".join(map(one_line, card.skus)), ", ".join(card.terms)]
    sold = "; ".join(part for part in parts if part)
    how = ", ".join(_MATCHED[one] for one in card.matched)
    if sold:
        yield f"Sold: {sold}." + (f" Matched by {how}." if how else "")


def _line(card: Card) -> Iterator[str]:
    """The line as HaloPSA shows it."""
    parts = [
        f'"{one_line(card.text)}"' if card.text else "",
        f"item {card.item_id}" if card.item_id is not None else "",
        one_line(card.period_name),
        f"contract {card.contract_id}" if card.contract_id is not None else "",
    ]
    known = ", ".join(part for part in parts if part)
    if known:
        yield f"In HaloPSA: {known}."


def _counted(card: Card, figures: Figures) -> Iterator[str]:
    waiting = f"; {figures.quantity(card.waiting)} wait as pro rata" if card.waiting else ""
    guess = " The match is a guess: look at both sides first." if card.guessed else ""
    yield (
        f"Quantity {figures.quantity(card.before.quantity)} -> {figures.quantity(card.after.quantity)}. "
        f"Counted: {figures.quantity(card.count)}; "
        f"difference {_plus(card.difference)}{figures.quantity(card.difference)}{waiting}.{guess}"
    )


def _unit(card: Card, figures: Figures) -> Iterator[str]:
    """What one seat costs and sells for, where the line's number moves with both values."""
    currency = card.change.currency
    said = [
        f"{name} {_number(before, currency, figures)}"
        + (f" -> {_number(after, currency, figures)}" if before != after else "")
        for name, before, after in (
            ("price", card.before.unit_price, card.after.unit_price),
            ("cost", card.before.unit_cost, card.after.unit_cost),
        )
        if before is not None or after is not None
    ]
    if said:
        text = ", ".join(said)
        yield f"{text[0].upper()}{text[1:]} {currency} a unit."


def _change(card: Card, figures: Figures) -> Iterator[str]:
    """What it changes, a month and a year, and pro rata once."""
    change = card.change
    names = ("clients pay", "recorded profit", "cash")
    months = (change.revenue_month, change.recorded_profit_month, change.cash_month)
    years = (change.revenue_year, change.recorded_profit_year, change.cash_year)
    for rhythm, amounts in (("month", months), ("year", years)):
        parts = [
            f"{name} {_amount(amount, change.currency, figures)}" for name, amount in zip(names, amounts, strict=True)
        ]
        yield f"Change a {rhythm}: {'; '.join(parts)}."
    if card.entries:
        days = ", ".join(f"{figures.quantity(entry.quantity)} from {entry.day.isoformat()}" for entry in card.entries)
        yield f"Pro rata, once: about {_amount(change.once, change.currency, figures)} ({days})."
    yield "Pax8 bills these seats already."


def _number(number: Decimal | None, currency: str, figures: Figures) -> str:
    return "not known" if number is None else figures.amount(number, currency)


def _amount(amount: Decimal | None, currency: str, figures: Figures) -> str:
    return "not known" if amount is None else f"{_plus(amount)}{figures.money(amount, currency)}"


def _plus(number: Decimal) -> str:
    return "+" if number > 0 else ""


class Past(Protocol):
    """See `reconcile.line_history.Past`."""

    @property
    def at(self) -> str: ...
    @property
    def who(self) -> str: ...
    @property
    def what(self) -> str: ...
    @property
    def ours(self) -> bool: ...


def past_document(past: Past) -> dict[str, object]:
    return {"at": past.at, "who": past.who, "what": past.what, "by": "billingsync" if past.ours else "halopsa"}


def past_sentence(past: Past) -> str:
    return f"{past.at[:16]} {past.who or 'somebody'}{' by a card' if past.ours else ''}: {past.what}"
