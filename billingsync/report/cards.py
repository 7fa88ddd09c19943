"""Cards as JSON and as text. `money` False leaves every price and amount out, for who may not see them [RA1]."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from billingsync.core.money import plain
from billingsync.core.reconcile.card import Card, CardKind, Lack
from billingsync.core.reconcile.card_change import Limit
from billingsync.core.reconcile.card_states import CardSet, Shown, card_set
from billingsync.core.reconcile.values import Values
from billingsync.report.numbers import Figures


def card_document(one: Shown, *, money: bool) -> dict[str, object]:
    """One card with its state."""
    card = one.card
    return {
        "id": card.id,
        "digest": card.digest,
        "kind": card.kind.value,
        "state": one.state.value,
        "note": one.note,
        "client_id": card.client_id,
        "client_name": card.client_name,
        "group": card.group,
        "product": card.product,
        "skus": list(card.skus),
        "invoice_id": card.invoice_id,
        "line_id": card.line_id,
        "contract_id": card.contract_id,
        "item": card.item_id,
        "vendor": card.vendor,
        "tags": list(card.tags),
        "count": plain(card.count),
        "difference": plain(card.difference),
        "line_text": card.text,
        "period_name": card.period_name,
        "companies": list(card.companies),
        "terms": list(card.terms),
        "matched": [how.value for how in card.matched],
        "guessed": card.guessed,
        "waiting": plain(card.waiting),
        "entries": [{"date": one.day.isoformat(), "quantity": plain(one.quantity)} for one in card.entries],
        "from": _values(card.before, money),
        "to": _values(card.after, money),
        "effective": card.effective.isoformat() if card.effective else None,
        "next_invoice": card.next_invoice.isoformat() if card.next_invoice else None,
        "change": _change(card) if money else None,
        "lacks": [lack.value for lack in card.lacks],
        "limits": [limit.value for limit in card.limits],
        "confidence": card.confidence.value,
        "finding": card.finding,
    }


def _values(values: Values, money: bool) -> dict[str, object]:
    return {
        "quantity": plain(values.quantity),
        "unit_price": _number(values.unit_price) if money else None,
        "unit_cost": _number(values.unit_cost) if money else None,
    }


def _change(card: Card) -> dict[str, object]:
    change = card.change
    amounts = {
        "revenue_month": change.revenue_month,
        "revenue_year": change.revenue_year,
        "recorded_profit_month": change.recorded_profit_month,
        "recorded_profit_year": change.recorded_profit_year,
        "cash_month": change.cash_month,
        "cash_year": change.cash_year,
        "once": change.once,
    }
    said = {name: None if amount is None else plain(amount, change.currency) for name, amount in amounts.items()}
    return {**said, "currency": change.currency}


def _number(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def set_document(together: CardSet, *, money: bool) -> dict[str, object]:
    """The sums of those that could be approved together, never netted, and their digest."""
    sums = {
        currency: {
            "more": plain(together.more.get(currency, Decimal(0)), currency),
            "less": plain(together.less.get(currency, Decimal(0)), currency),
        }
        for currency in sorted({*together.more, *together.less})
    }
    return {
        "sums": sums if money else {},
        "approvable": len(together.cards),
        "left": len(together.left),
        "unknown_money": together.unknown,
        "digest": together.digest,
    }


def set_sentences(together: CardSet, figures: Figures) -> list[str]:
    """What cards come to that are approved together, never netted, in one sentence; none where none could be."""
    if not together.cards:
        return []
    sums = []
    for currency in sorted({*together.more, *together.less}):
        more, less = (figures.amount(of.get(currency, Decimal(0)), currency) for of in (together.more, together.less))
        sums.append(f"{more} {currency} a month more, {less} {currency} less")
    if together.unknown:
        sums.append(f"the money of {together.unknown} is not known")
    return [f"{len(together.cards)} could be approved: {'; '.join(sums)}."]


# In as few words as a list has room for; `cards show` says each in a sentence.
_LACKS: Mapping[Lack, str] = {
    Lack.NEEDS_LINE: "choose its line",
    Lack.NEEDS_INVOICE: "choose its recurring invoice",
    Lack.NEEDS_ITEM: "map its product",
    Lack.OURS: "the billing job keeps this line",
    Lack.HALO: "HaloPSA counts this line",
    Lack.INVOICE_CLOSED: "the recurring invoice is closed",
    Lack.OTHER_CLIENT: "another client's recurring invoice",
    Lack.MOVING: "changed while it was read",
    Lack.SUSPECT: "too much is gone since the last snapshot",
    Lack.UNSURE: "unknown status or quantity",
    Lack.WAITING: "too much pro rata waits",
    Lack.PART_OF_A_UNIT: "not a whole number",
    Lack.PRORATA_OFF: "pro rata is off",
    Lack.PRORATA_QUANTITY: "the entries do not add up",
}
_LIMITS: Mapping[Limit, str] = {
    Limit.QUANTITY: "over the limit of quantity",
    Limit.PRICE: "over the limit of price",
    Limit.BELOW_COST: "below cost",
    Limit.DECREASE_ON_LOOK: "takes seats away on an uncertain finding",
}
CARD_HEADERS = ("Card", "Client", "Product", "HaloPSA", "", "To", "A month", "State", "Lacks")
CARD_NUMBERS = (3, 5, 6)  # columns of numbers
CARD_NAMES = (1, 2)  # columns that may be cut


def card_rows(cards: Iterable[Shown], figures: Figures, *, money: bool) -> list[tuple[str, ...]]:
    """One row a card for the terminal: from -> to, what clients will pay more a month, and what it lacks."""
    return [
        (
            one.card.digest[:8],
            one.card.client_name,
            one.card.product,
            plain(one.card.before.quantity),
            "->",
            "-" if one.card.kind is CardKind.GONE else plain(one.card.after.quantity),
            _a_month(one.card, figures) if money else "",
            one.state.value,
            ", ".join([*(_LACKS[lack] for lack in one.card.lacks), *(_LIMITS[limit] for limit in one.card.limits)]),
        )
        for one in cards
    ]


def _a_month(card: Card, figures: Figures) -> str:
    amount = card.change.revenue_month
    if amount is None:
        return "not known"
    return f"{'+' if amount > 0 else ''}{figures.money(amount, card.change.currency)}"


# Together -------------------------------------------------------------------------------------------------------------

GROUPS: Mapping[str, Callable[[Card], str]] = {
    "account": lambda card: card.client_name,
    "service": lambda card: card.product,
    "invoice": lambda card: "" if card.invoice_id is None else str(card.invoice_id),
}


def in_groups(cards: Iterable[Shown], by: str) -> list[Shown]:
    """The cards in the order of their groups; as they come where `by` is ""."""
    return sorted(cards, key=lambda one: GROUPS[by](one.card)) if by else list(cards)


def group_documents(cards: Sequence[Shown], by: str, *, money: bool) -> list[dict[str, object]]:
    """Each group's cards and sums."""
    return [
        {"name": name, "cards": [one.card.digest for one in members], **set_document(card_set(members), money=money)}
        for name, members in _grouped(cards, by)
    ]


def group_sentences(cards: Sequence[Shown], by: str, figures: Figures, *, money: bool) -> list[str]:
    """One sentence a group; none where `by` is ""."""
    said = []
    for name, members in _grouped(cards, by) if by else ():
        sums = "; ".join(set_sentences(card_set(members), figures)) if money else ""
        count = f"{len(members)} {'card' if len(members) == 1 else 'cards'}"
        said.append(f"{name or 'no recurring invoice'}: {count}. {sums}".strip())
    return said


def _grouped(cards: Sequence[Shown], by: str) -> list[tuple[str, list[Shown]]]:
    found: dict[str, list[Shown]] = {}
    for one in in_groups(cards, by):
        found.setdefault(GROUPS[by](one.card), []).append(one)
    return list(found.items())
