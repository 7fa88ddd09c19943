"""Changes of single lines as the ledger keeps them: JSON with every digit of every number."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from billingsync.core.reconcile.card_write import LineSet, SetAction, SetEntry
from billingsync.store.cards import numbers_of, values_of


def line_row(one: LineSet) -> dict[str, Any]:
    """A line's change as JSON."""
    return {
        "ordinal": one.ordinal,
        "action": one.action.value,
        "card": one.card,
        "digest": one.digest,
        "line_id": one.line_id,
        "before": numbers_of(one.before),
        "after": numbers_of(one.after),
        "title": one.title,
        "item_id": one.item_id,
        "takes": one.takes,
        "entries": [
            [entry.day.isoformat(), *_texts(entry.quantity, entry.unit_price, entry.unit_cost)] for entry in one.entries
        ],
    }


def _texts(*numbers: Decimal | None) -> list[str | None]:
    return [None if number is None else format(number, "f") for number in numbers]


def read_line(row: dict[str, Any]) -> LineSet:
    """What `line_row` made JSON of."""
    return LineSet(
        ordinal=row["ordinal"],
        action=SetAction(row["action"]),
        card=row["card"],
        digest=row["digest"],
        line_id=row["line_id"],
        before=values_of(row["before"]),
        after=values_of(row["after"]),
        title=row["title"],
        item_id=row["item_id"],
        takes=row["takes"],
        entries=tuple(_entry(*one) for one in row["entries"]),
    )


def _entry(day: str, quantity: str, unit_price: str | None, unit_cost: str | None) -> SetEntry:
    return SetEntry(
        day=date.fromisoformat(day),
        quantity=Decimal(quantity),
        unit_price=None if unit_price is None else Decimal(unit_price),
        unit_cost=None if unit_cost is None else Decimal(unit_cost),
    )
