"""Cards in words and figures: what would change on which line, what it comes to, and what is lacking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from billingsync.core.money import ZERO
from billingsync.core.reconcile.card import LACKS, Card, CardKind, Lack
from billingsync.core.reconcile.card_change import Limit
from billingsync.core.reconcile.card_states import CardSet, CardState, Decision, Shown
from billingsync.core.reconcile.values import Values
from billingsync.report.comparison.tables import Amount, Column, Table
from billingsync.report.html import clean
from billingsync.report.labels import plural
from billingsync.report.numbers import Figures, code
from billingsync.web.views.money import View, amount, exponent, minor
from billingsync.web.views.reconcile import quantity, signed

KINDS = {
    CardKind.NEW: "New",
    CardKind.CHANGED: "Changed",
    CardKind.GONE: "Gone",
    CardKind.UNCHANGED: "Unchanged",
}
STATES = {
    CardState.OPEN: "open",
    CardState.SNOOZED: "snoozed",
    CardState.DISMISSED: "dismissed",
    CardState.APPROVED: "approved",
    CardState.SCHEDULED: "scheduled",
    CardState.WRITING: "being written",
    CardState.DONE: "done",
    CardState.FAILED: "failed",
    CardState.UNDONE: "taken back",
    CardState.REPLACED: "replaced",
}
_BUTTONS = {
    Lack.NEEDS_LINE: "Choose line…",
    Lack.NEEDS_INVOICE: "Choose invoice…",
    Lack.NEEDS_ITEM: "Map the product…",
}
# What a person does about it here, where the command's words name an option.
_HERE = {
    Lack.NEEDS_LINE: "Several lines carry these seats. Choose one in its details.",
    Lack.NEEDS_INVOICE: "The client has several recurring invoices. Choose one in its details.",
    Lack.NEEDS_ITEM: "No HaloPSA item is known for this product. Map it first.",
    Lack.SUSPECT: "Too much is gone since the last snapshot. Somebody must confirm it first.",
}
LIMITS = {
    Limit.QUANTITY: "The quantity moves more than the limit lets pass.",
    Limit.PRICE: "The price moves more than the limit lets pass.",
    Limit.BELOW_COST: "The price is below the cost.",
    Limit.DECREASE_ON_LOOK: "It takes seats away on a finding that must be looked at.",
}


def card_view(one: Shown, figures: Figures, *, money: bool) -> View:
    """A card as a list shows it."""
    card, currency = one.card, one.card.change.currency
    return {
        "digest": card.digest,
        "client": clean(card.client_name, 160),
        "product": clean(card.product, 160),
        "vendor": clean(card.vendor, 60),
        "tags": [clean(tag, 40) for tag in card.tags],
        "kind": card.kind.value,
        "kind_words": KINDS[card.kind],
        "invoice": str(abs(card.invoice_id)) if card.invoice_id is not None else "",
        "from": "–" if card.kind is CardKind.NEW else quantity(card.before.quantity, figures),
        "to": "–" if card.kind is CardKind.GONE else quantity(card.after.quantity, figures),
        "difference": signed(card.difference, figures),
        "effective": card.effective.isoformat() if card.effective else "next invoice",
        "next": card.next_invoice.isoformat() if card.next_invoice and not card.effective else "",
        "money": _signed(card.change.revenue_month, currency, figures) if money else "",
        "minor": "" if card.change.revenue_month is None or not money else minor(card.change.revenue_month, currency),
        "currency": code(currency),
        "digits": exponent(currency),
        "state": STATES[one.state],
        "open": one.state in (CardState.OPEN, CardState.UNDONE, CardState.FAILED),
        "note": clean(one.note, 300),
        "lacks": lacks(card),
        "button": next((_BUTTONS[lack] for lack in card.lacks if lack in _BUTTONS), "") if card.lacks else "",
        "limits": [LIMITS[limit] for limit in card.limits],
        "may": card.approvable and not card.limits,
        "confidence": card.confidence.value,
    }


def _line(card: Card) -> str:
    if card.line_id is not None:
        return str(card.line_id)
    return "none: a line would be added" if card.kind is CardKind.NEW else "not one line: see what it lacks"


def lacks(card: Card) -> list[str]:
    """What keeps a card from being approved."""
    return [_HERE.get(lack, LACKS[lack]) for lack in card.lacks]


def _signed(number: Decimal | None, currency: str, figures: Figures) -> str:
    if number is None:
        return "not known"
    return f"{'+' if number > 0 else ''}{amount(figures, number, currency)} {code(currency)}"


def grouped(rows: Sequence[Shown], by: str) -> list[tuple[str, list[Shown]]]:
    """By account, service or recurring invoice, in the order of their names."""
    found: dict[str, list[Shown]] = {}
    for one in sorted(
        rows, key=lambda one: (one.card.client_name.casefold(), one.card.product.casefold(), one.card.id)
    ):
        name = {
            "service": one.card.product,
            "invoice": f"Recurring invoice {abs(one.card.invoice_id)}"
            if one.card.invoice_id
            else "No recurring invoice",
        }.get(by, one.card.client_name)
        found.setdefault(name, []).append(one)
    return sorted(found.items(), key=lambda entry: entry[0].casefold())


def set_view(together: CardSet, figures: Figures) -> View:
    """What could be approved together: how many, the sums never netted, and its digest."""
    sums = [
        {
            "more": f"+{amount(figures, together.more.get(currency, ZERO), currency)}",
            "less": f"\u2212{amount(figures, together.less.get(currency, ZERO), currency)}",
            "code": code(currency),
        }
        for currency in sorted({*together.more, *together.less})
    ]
    return {
        "count": figures.count(len(together.cards)),
        "number": len(together.cards),
        "words": plural(len(together.cards), "card"),
        "sums": sums,
        "digest": together.digest,
        "unknown": together.unknown,
        "left": figures.count(len(together.left)),
        "left_number": len(together.left),
        "digests": [card.digest for card in together.cards],
    }


def quarters(one: Shown, decisions: Iterable[Decision], figures: Figures, *, money: bool, as_at: str) -> View:
    """Details in four quarters [CD5]; the fourth is what a person types, and what that comes to."""
    card = one.card

    def price(number: Decimal | None) -> str:
        return (
            "not known"
            if number is None
            else f"{amount(figures, number, card.change.currency)} {code(card.change.currency)}"
        )

    there = [
        ("HaloPSA client", f"{clean(card.client_name, 160)} ({card.client_id})"),
        ("Recurring invoice", str(abs(card.invoice_id)) if card.invoice_id is not None else "not chosen yet"),
        ("Line", _line(card)),
        ("Contract", str(card.contract_id) if card.contract_id else "none"),
        ("Period", clean(card.period_name, 60) or "not known"),
        ("Quantity", quantity(card.before.quantity, figures)),
    ]
    if money:
        there += [("Unit price", price(card.before.unit_price)), ("Unit cost", price(card.before.unit_cost))]
    names = [
        ("At Pax8", clean(card.product, 160)),
        ("SKU", clean(" ".join(card.skus), 160) or "none"),
        ("In HaloPSA", clean(card.text, 200) or (f"item {card.item_id}" if card.item_id else "nothing yet")),
        ("Vendor", clean(card.vendor, 80) or "not known"),
        ("Matched", "by a guess" if card.guessed else "by rule, SKU or a person"),
        ("How sure", card.confidence.value),
        ("As at", as_at),
    ]
    counted = [
        ("Counted at Pax8", quantity(card.count, figures)),
        ("Difference", signed(card.difference, figures)),
        *([("Waits on the line as pro rata", quantity(card.waiting, figures))] if card.waiting else []),
    ]
    done = [
        {
            "state": STATES[said.state],
            "cycle": str(said.cycle),
            "who": clean(said.who.partition(" (desk")[0], 120),
            "reason": clean(said.reason, 300),
            "moved": f"{quantity(said.before.quantity, figures)} to {quantity(said.after.quantity, figures)}",
            "digest": said.digest,
        }
        for said in decisions
        if said.card == card.id
    ]
    return {
        "there": there,
        "names": names,
        "counted": counted,
        "done": list(reversed(done))[:20],
        "lines": [
            {
                "invoice": str(abs(invoice)) if invoice else "",
                "line": str(line or ""),
                "quantity": quantity(held, figures),
            }
            for invoice, line, held in card.lines
        ],
        "may_undo": one.state in (CardState.DONE, CardState.FAILED) and any(said["state"] == "done" for said in done),
        "undo_digest": next((said["digest"] for said in done[::-1] if said["state"] == "done"), ""),
    }


def summary(one: Shown, figures: Figures) -> View:
    """The summary of change: revenue, recorded profit and cash, a month and a year, and pro rata once."""
    card, change = one.card, one.card.change
    rows = [
        ("Revenue", change.revenue_month, change.revenue_year),
        ("Recorded profit", change.recorded_profit_month, change.recorded_profit_year),
        ("Cash", change.cash_month, change.cash_year),
    ]
    return {
        "rows": [
            (words, _signed(month, change.currency, figures), _signed(year, change.currency, figures))
            for words, month, year in rows
        ],
        "once": _signed(change.once, change.currency, figures) if change.once is not None else "",
        "to": quantity(card.after.quantity, figures),
        "from": quantity(card.before.quantity, figures),
        "digest": card.digest,
        "kind": card.kind.value,
        "may": card.approvable and not card.limits,
        "over": card.approvable and bool(card.limits),
        "lacks": lacks(card),
        "limits": [LIMITS[limit] for limit in card.limits],
        "amount": _signed(change.revenue_month, change.currency, figures),
        "when": f"from {card.effective.isoformat()}"
        if card.effective
        else f"with the next invoice{f' on {card.next_invoice.isoformat()}' if card.next_invoice else ''}",
        "scheduled": card.scheduled,
    }


def typed(values: Values, chosen: Any, figures: Figures) -> View:
    """What stands in the fields: what was typed, else what the card proposes. Plain digits: they are typed back."""

    def text(number: Decimal | None) -> str:
        return "" if number is None else format(number.normalize() if number else ZERO, "f")

    return {
        "quantity": text(chosen.quantity if chosen.quantity is not None else values.quantity),
        "price": text(chosen.price if chosen.price is not None else values.unit_price),
        "cost": text(chosen.cost if chosen.cost is not None else values.unit_cost),
        "day": chosen.day.isoformat() if chosen.day else "",
        "line": str(chosen.line_id or ""),
        "invoice": str(abs(chosen.invoice_id)) if chosen.invoice_id else "",
    }


def cards_table(cards: Iterable[Shown], *, money: bool) -> Table:
    """The cards to save; prices and amounts only for who may see them."""
    columns = (
        Column("card", "Card"), Column("kind", "Kind"), Column("state", "State"), Column("client", "Client", wide=True),
        Column("product", "Product", wide=True), Column("vendor", "Vendor"), Column("tags", "Tags"),
        Column("invoice", "Recurring invoice", number=True), Column("line", "Line", number=True),
        Column("from", "From", number=True), Column("to", "To", number=True),
        Column("difference", "Difference", number=True), Column("effective", "Counts from"),
        Column("month", "A month", number=True), Column("currency", "Currency"), Column("lacks", "Lacks", wide=True),
    )  # fmt: skip
    rows = [
        (
            one.card.digest,
            one.card.kind.value,
            one.state.value,
            one.card.client_name,
            one.card.product,
            one.card.vendor,
            " ".join(one.card.tags),
            abs(one.card.invoice_id) if one.card.invoice_id is not None else None,
            one.card.line_id,
            one.card.before.quantity,
            one.card.after.quantity,
            one.card.difference,
            one.card.effective.isoformat() if one.card.effective else "next invoice",
            Amount(one.card.change.revenue_month, one.card.change.currency)
            if one.card.change.revenue_month is not None
            else None,
            one.card.change.currency,
            " ".join(lacks(one.card)),
        )
        for one in cards
    ]
    table = Table(name="Cards", columns=columns, rows=rows)
    return table if money else table.without("month", "currency")
