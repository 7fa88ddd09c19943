"""What people decided about cards, in order; also what the journal tells of each transition [CD1] [CD7]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from billingsync.core.period import Period
from billingsync.core.reconcile.card import NOTHING_CHOSEN, Choice
from billingsync.core.reconcile.values import Values
from billingsync.store.book import Book
from billingsync.store.schema import card_decision

if TYPE_CHECKING:
    from billingsync.core.reconcile.card_states import Decision


class CardBook(Book):
    def decide_cards(self, decisions: Sequence[Decision], now: datetime) -> None:
        """Keeps these transitions and tells the journal, all or nothing."""
        with self.writing() as connection:
            self.add_decisions(connection, decisions, now)

    def add_decisions(self, connection: Connection, decisions: Sequence[Decision], now: datetime) -> None:
        """The same in the caller's transaction (`writing` or `fenced`)."""
        mine = select(func.max(card_decision.c.seq)).where(card_decision.c.partner == self.name)
        newest = connection.execute(mine).scalar() or 0
        rows = [
            {"partner": self.name, "seq": seq, "at": now, **_row(one)}
            for seq, one in enumerate(decisions, start=newest + 1)
        ]
        if rows:
            connection.execute(card_decision.insert(), rows)
            self.note_each(connection, "card", [_told(one) for one in decisions], now)

    def card_decisions(self) -> tuple[Decision, ...]:
        """Every transition of every card, oldest first."""
        from billingsync.core.reconcile.card_states import CardState, Decision

        query = select(card_decision).where(card_decision.c.partner == self.name).order_by(card_decision.c.seq)
        with self.reading() as connection:
            return tuple(
                Decision(
                    card=row.card,
                    digest=row.digest,
                    cycle=Period.parse(row.cycle),
                    state=CardState(row.state),
                    before=values_of(row.before),
                    after=values_of(row.after),
                    who=row.who,
                    reason=row.reason,
                    until=date.fromisoformat(row.until) if row.until else None,
                    choice=choice_of(row.choice),
                )
                for row in connection.execute(query)
            )


def _row(one: Decision) -> dict[str, Any]:
    return {
        "card": one.card,
        "digest": one.digest,
        "cycle": str(one.cycle),
        "state": one.state.value,
        "before": numbers_of(one.before),
        "after": numbers_of(one.after),
        "who": one.who,
        "reason": one.reason,
        "until": one.until.isoformat() if one.until else None,
        "choice": None if one.choice == NOTHING_CHOSEN else kept_choice(one.choice),
    }


def _told(one: Decision) -> dict[str, Any]:
    return {name: value for name, value in _row(one).items() if value is not None}


def numbers_of(values: Values) -> dict[str, str | None]:
    """A line's numbers as the ledger keeps them."""
    found = {"quantity": values.quantity, "unit_price": values.unit_price, "unit_cost": values.unit_cost}
    return {name: None if number is None else format(number, "f") for name, number in found.items()}


def values_of(kept: dict[str, str | None]) -> Values:
    """What `numbers_of` kept."""

    def number(name: str) -> Decimal | None:
        text = kept[name]
        return None if text is None else Decimal(text)

    return Values(
        quantity=Decimal(kept["quantity"] or 0), unit_price=number("unit_price"), unit_cost=number("unit_cost")
    )


def kept_choice(choice: Choice) -> dict[str, Any]:
    """What a person chose, as JSON."""

    def text(number: Decimal | None) -> str | None:
        return None if number is None else format(number, "f")

    return {
        "line_id": choice.line_id,
        "invoice_id": choice.invoice_id,
        "quantity": text(choice.quantity),
        "price": text(choice.price),
        "cost": text(choice.cost),
        "with_price": choice.with_price,
        "with_cost": choice.with_cost,
        "day": choice.day.isoformat() if choice.day else None,
        "entries": [[day.isoformat(), format(quantity, "f")] for day, quantity in choice.entries],
    }


def choice_of(kept: Mapping[str, Any] | None) -> Choice:
    """What `kept_choice` kept."""
    if kept is None:
        return NOTHING_CHOSEN
    numbers = {name: Decimal(kept[name]) if kept[name] else None for name in ("quantity", "price", "cost")}
    return Choice(
        line_id=kept["line_id"],
        invoice_id=kept["invoice_id"],
        with_price=kept["with_price"],
        with_cost=kept["with_cost"],
        day=date.fromisoformat(kept["day"]) if kept["day"] else None,
        entries=tuple((date.fromisoformat(day), Decimal(quantity)) for day, quantity in kept["entries"]),
        **numbers,
    )
