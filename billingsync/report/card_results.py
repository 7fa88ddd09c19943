"""What became of approved cards, as JSON and as sentences."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from billingsync.core.money import plain
from billingsync.core.reconcile.values import Values


class Result(Protocol):
    """One card's outcome; see `reconcile.approval.CardResult`."""

    @property
    def digest(self) -> str: ...
    @property
    def became(self) -> str: ...
    @property
    def client_id(self) -> int | None: ...
    @property
    def client_name(self) -> str: ...
    @property
    def invoice_id(self) -> int | None: ...
    @property
    def line_id(self) -> int | None: ...
    @property
    def was(self) -> Values | None: ...
    @property
    def now(self) -> Values | None: ...
    @property
    def new_digest(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def body(self) -> str: ...


def result_document(one: Result) -> dict[str, object]:
    """One result. `was` and `now` are the line's numbers."""
    told: dict[str, object] = {
        "digest": one.digest,
        "state": str(one.became),
        "client_id": one.client_id,
        "invoice_id": one.invoice_id,
        "line_id": one.line_id,
        "was": _values(one.was),
        "now": _values(one.now),
        "new_digest": one.new_digest or None,
        "message": one.message,
    }
    return told | ({"body": one.body} if one.body else {})


def _values(values: Values | None) -> dict[str, str | None] | None:
    if values is None:
        return None
    return {
        "quantity": plain(values.quantity),
        "unit_price": _number(values.unit_price),
        "unit_cost": _number(values.unit_cost),
    }


def _number(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def result_sentence(one: Result) -> str:
    """One result for the terminal: what, where, and what to do."""
    where = f" (line {one.line_id} of recurring invoice {one.invoice_id})" if one.line_id else ""
    who = f"{one.client_name}{where}: " if one.client_name else f"{one.digest[:12]}: "
    moved = f" {plain(one.was.quantity)} -> {plain(one.now.quantity)}." if one.was and one.now else ""
    new = f" The card is {one.new_digest} now." if one.new_digest else ""
    return f"{who}{str(one.became).replace('_', ' ')}.{moved} {one.message}{new}".strip()
