"""What changed under a card since it was shown, in words [WB3]."""

from __future__ import annotations

from decimal import Decimal

from billingsync.core.money import plain
from billingsync.core.reconcile.card import LACKS, Card


def what_changed(shown: Card, now: Card | None) -> str:
    """Why a card is stale: `now` is the card that stands in its place, None where none does."""
    if now is None:
        return "The line is not there any more, or does not carry these seats any more. Nothing was sent."
    said = [
        f"{name} is {_number(there)}, not {_number(here)}"
        for name, here, there in (
            ("The quantity", shown.before.quantity, now.before.quantity),
            ("The price", shown.before.unit_price, now.before.unit_price),
            ("The cost", shown.before.unit_cost, now.before.unit_cost),
            ("What waits as pro rata", shown.waiting, now.waiting),
        )
        if here != there
    ]
    if shown.item_id != now.item_id:
        said.append(f"The item is {now.item_id or 'none'}, not {shown.item_id or 'none'}")
    if shown.lines != now.lines:
        said.append("The lines that carry these seats are others: " + _lines(now))
    if shown.after != now.after:
        said.append(f"It would be {_number(now.after.quantity)} now, not {_number(shown.after.quantity)}")
    if shown.change.once != now.change.once and [one.day for one in shown.entries] == [one.day for one in now.entries]:
        was, is_ = _number(shown.change.once), _number(now.change.once)
        said.append(f"The pro rata is worth {is_}, not {was}: HaloPSA has made an invoice since")
    said += [LACKS[lack].rstrip(".") for lack in now.lacks if lack not in shown.lacks]
    return ". ".join(said or ["Who keeps the line, or its recurring invoice, changed"]) + ". Nothing was sent."


def since_shown(shown: Card, now: Card) -> str:
    """What happened since a card was shown and does not make it stale, in words; "" where nothing did."""
    if shown.next_invoice == now.next_invoice or now.entries:
        return ""
    when = f", on {now.next_invoice}" if now.next_invoice else ""
    return f"HaloPSA's next invoice is another one than was shown: the change counts from the next it makes{when}."


def _number(number: Decimal | None) -> str:
    return "not known" if number is None else plain(number)


def _lines(card: Card) -> str:
    return ", ".join(f"line {line} with {plain(quantity)}" for _, line, quantity in card.lines) or "none"
