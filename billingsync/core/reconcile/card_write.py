"""What an approved card comes to on the wire: changes of single lines, and the derived key of one write [WB1] [WB2]."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from billingsync.core.invoice import CARD_MARKS, Mark
from billingsync.core.money import plain
from billingsync.core.reconcile.card import Card, CardKind
from billingsync.core.reconcile.values import Values


class SetAction(StrEnum):
    """`set` gives a line new numbers, `add` puts a line there, `take_out` takes out one that we had added."""

    SET = "set"
    ADD = "add"
    TAKE_OUT = "take_out"


class WriteState(StrEnum):
    """What became of a write. `sending` and `unknown` are to be looked at; of `refused`, `abandoned` and `failed`
    HaloPSA shows nothing, so that the same may be intended again."""

    SENDING = "sending"
    UNKNOWN = "unknown"
    DONE = "done"
    ALARM = "alarm"  # written, and something else happened beside it: a person should look
    REFUSED = "refused"
    ABANDONED = "abandoned"
    FAILED = "failed"


OPEN = (WriteState.SENDING, WriteState.UNKNOWN)
WRITTEN = (WriteState.DONE, WriteState.ALARM)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetEntry:
    """One entry of HaloPSA's own pro rata that is added to a line [WB7]."""

    day: date
    quantity: Decimal
    unit_price: Decimal | None
    unit_cost: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSet:
    """One line's change. `line_id` is None for one that is added. Of `before` and `after` None means that the number
    is not looked at, and not written. With `entries` the line's own quantity stays: HaloPSA adds theirs."""

    ordinal: int
    action: SetAction
    card: str
    digest: str
    line_id: int | None
    before: Values
    after: Values
    title: str = ""
    item_id: int | None = None
    entries: tuple[SetEntry, ...] = ()
    takes: str = ""  # the key of the write whose pro rata entries are taken off the line again

    @property
    def marked(self) -> int:
        """The number in the mark of a line that is added: even a ledger that forgot the card tells it from a
        posting's [WB6]."""
        return CARD_MARKS + self.ordinal

    def is_marked(self, mark: Mark | None, key: str) -> bool:
        """Whether a line's mark is that of the line which the write `key` added; earlier versions numbered it like a
        posting's."""
        return mark is not None and mark.key == key and mark.ordinal in (self.marked, self.ordinal)


def line_set(card: Card, ordinal: int) -> LineSet:
    """What a card does to its line."""
    return LineSet(
        ordinal=ordinal,
        action=SetAction.ADD if card.kind is CardKind.NEW else SetAction.SET,
        card=card.id,
        digest=card.digest,
        line_id=card.line_id,
        before=card.before,
        after=card.after,
        title=card.product,
        item_id=card.item_id,
        entries=tuple(
            SetEntry(day=one.day, quantity=one.quantity, unit_price=one.unit_price, unit_cost=one.unit_cost)
            for one in card.entries
        ),
    )


def reversed_set(done: LineSet, key: str, line_id: int) -> LineSet:
    """What takes a change of the write `key` back [WB8]. `line_id` is that of the line in HaloPSA."""
    return LineSet(
        ordinal=0,
        action=SetAction.TAKE_OUT if done.action is SetAction.ADD else SetAction.SET,
        card=done.card,
        digest=done.digest,
        line_id=line_id,
        before=done.after,
        after=done.before,
        title=done.title,
        item_id=done.item_id,
        takes=key if done.entries else "",
    )


def base_of(key_name: str, client_id: int, invoice_id: int, sets: Sequence[LineSet]) -> str:
    """Hash of partner, client, recurring invoice and each (line, from, to)."""
    lines = sorted(
        [
            one.action.value,
            str(one.line_id or one.card),
            _numbers(one.before),
            _numbers(one.after),
            [[entry.day.isoformat(), plain(entry.quantity)] for entry in one.entries],
            one.takes,
        ]
        for one in sets
    )
    return _hash(["card", key_name, client_id, invoice_id, lines])


def key_of(base: str, generation: int) -> str:
    """The key of a write; each time that the same was done before raises the generation."""
    return base if generation == 0 else _hash([base, generation])


def _numbers(values: Values) -> list[str]:
    found = (values.quantity, values.unit_price, values.unit_cost)
    return ["" if number is None else plain(number) for number in found]


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()[:20]
