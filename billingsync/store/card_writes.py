"""Cards that are written to recurring invoices: intent before, receipt after, and what became of each card [WB1].

A write's row tells what happened in HaloPSA; the cards' transitions are kept in the same transaction, so that the two
never say different things.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select, update

from billingsync.core.period import Period
from billingsync.core.reconcile.card_write import OPEN, WRITTEN, LineSet, WriteState
from billingsync.core.states import WriteKind
from billingsync.errors import LedgerError
from billingsync.store.book import Fence
from billingsync.store.card_lines import line_row, read_line
from billingsync.store.cards import CardBook
from billingsync.store.schema import card_write

if TYPE_CHECKING:
    from billingsync.core.reconcile.card_states import CardState, Decision

_FREE = (WriteState.REFUSED, WriteState.ABANDONED, WriteState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardWrite:
    """One write. `undoes` is the key of the write that it takes back, "" where it takes none back; `before` is the
    recurring invoice as it was read right before, `answer` as it was read afterwards, both as text."""

    key: str
    base_key: str
    generation: int
    client_id: int
    client_name: str
    invoice_id: int
    cycle: Period
    who: str
    reason: str
    lines: tuple[LineSet, ...]
    content: str
    before: str
    installation: str
    intended_at: datetime
    sent_at: datetime
    undoes: str = ""
    state: WriteState = WriteState.SENDING
    message: str = ""
    answer: str | None = None
    attempts: int = 1
    settled_at: datetime | None = None

    def line(self, digest: str) -> LineSet | None:
        """The line of the card of this digest."""
        return next((one for one in self.lines if one.digest == digest), None)


class CardWriteBook(CardBook):
    def record_card_intent(self, fence: Fence, write: CardWrite, decisions: Sequence[Decision], now: datetime) -> None:
        """Commits that these lines are about to be set, and that their cards are being written. One that is known to
        have left nothing in HaloPSA is intended again under its key. Ask `read_card_back` before sending."""
        with self.fenced(fence) as connection:
            known = _find(connection, self.name, keys=(write.key,))
            if known and known[0].state not in _FREE:
                raise LedgerError(f"Card write {write.key} is {known[0].state} already. Nothing was sent.")
            row = _row(write) | {"attempts": known[0].attempts + 1 if known else 1}
            if known:
                _change(connection, self.name, write.key, row)
            else:
                connection.execute(card_write.insert(), {"partner": self.name, **row})
            self.note(connection, "card.intent", _told(write), now)
            self.add_decisions(connection, decisions, now)

    def read_card_back(self, write: CardWrite) -> CardWrite:
        """The intent as another connection sees it. LedgerError unless it is there as it was, and not settled."""
        with self.database.reading_beside() as connection:
            found = _find(connection, self.name, keys=(write.key,))
        if (
            not found
            or found[0].content != write.content
            or found[0].lines != write.lines
            or found[0].state not in OPEN
        ):
            raise LedgerError(
                f"The database {self.database.where} did not keep the intent of card write {write.key}. Nothing was "
                "sent.",
                next_steps=[["billingsync", "doctor"]],
            )
        return found[0]

    def settle_card_write(
        self,
        fence: Fence,
        write: CardWrite,
        state: WriteState,
        message: str,
        now: datetime,
        *,
        answer: str | None = None,
        card: CardState | None = None,
    ) -> CardWrite:
        """Keeps what became of a write; `card` is what its cards are from now on, None where that is not known yet."""
        with self.fenced(fence) as connection:
            known = _find(connection, self.name, keys=(write.key,))
            if not known or known[0].state not in OPEN:
                raise LedgerError(f"Card write {write.key} is settled already. Nothing was changed.")
            values: dict[str, Any] = {"state": state.value, "message": message}
            values |= {} if state in OPEN else {"settled_at": now}
            values |= {} if answer is None else {"answer": answer.encode()}
            _change(connection, self.name, write.key, values)
            told = {"key": write.key, "state": state.value, "client_id": write.client_id, "message": message}
            if answer is not None:
                told["answer_sha256"] = hashlib.sha256(answer.encode()).hexdigest()
            self.note(connection, f"card.{state.value}", told, now)
            if card is not None:
                self.add_decisions(connection, [decision(write, one, card, message) for one in write.lines], now)
            settled_at = None if state in OPEN else now
            return replace(known[0], state=state, message=message, answer=answer, settled_at=settled_at)

    def card_writes(
        self, *, states: Collection[WriteState] = (), keys: Collection[str] | None = None
    ) -> tuple[CardWrite, ...]:
        """Writes in the order of their intents; only those in `states` and of `keys`, if given."""
        with self.reading() as connection:
            return _find(connection, self.name, states=states, keys=keys)

    def open_card_writes(self) -> tuple[CardWrite, ...]:
        """Those of which nobody knows yet whether HaloPSA has them."""
        return self.card_writes(states=OPEN)

    def card_generation(self, base_key: str) -> int:
        """How often just this was done before."""
        query = select(func.count()).where(
            card_write.c.partner == self.name,
            card_write.c.base_key == base_key,
            card_write.c.state.in_([state.value for state in WRITTEN]),
        )
        with self.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def card_keys(self) -> frozenset[str]:
        """The keys of all writes: lines that cards added carry them, and so do the invoices made from them."""
        query = select(card_write.c.key).where(card_write.c.partner == self.name)
        with self.reading() as connection:
            return frozenset(connection.execute(query).scalars())


def decision(write: CardWrite, one: LineSet, state: CardState, reason: str) -> Decision:
    """A card's transition, as a write brings it about. An undo's line says what it was written to and comes from; the
    card stays the one that it was."""
    from billingsync.core.reconcile.card_states import Decision

    before, after = (one.after, one.before) if write.undoes else (one.before, one.after)
    return Decision(
        card=one.card,
        digest=one.digest,
        cycle=write.cycle,
        state=state,
        before=before,
        after=after,
        who=write.who,
        reason=reason or write.reason,
    )


def _find(
    connection: Connection, name: str, *, states: Collection[WriteState] = (), keys: Collection[str] | None = None
) -> tuple[CardWrite, ...]:
    query = select(card_write).where(card_write.c.partner == name)
    if states:
        query = query.where(card_write.c.state.in_([state.value for state in states]))
    if keys is not None:
        query = query.where(card_write.c.key.in_(list(keys)))
    rows = connection.execute(query.order_by(card_write.c.intended_at, card_write.c.key))
    return tuple(_read(row) for row in rows)


def _read(row: Any) -> CardWrite:
    return CardWrite(
        key=row.key,
        base_key=row.base_key,
        generation=row.generation,
        undoes=row.undoes or "",
        client_id=row.client_id,
        client_name=row.client_name,
        invoice_id=row.invoice_id,
        cycle=Period.parse(row.cycle),
        who=row.who,
        reason=row.reason,
        lines=tuple(map(read_line, row.lines)),
        content=row.content.decode(),
        before=row.before.decode(),
        installation=row.installation,
        state=WriteState(row.state),
        message=row.message,
        answer=None if row.answer is None else row.answer.decode(),
        attempts=row.attempts,
        intended_at=row.intended_at,
        sent_at=row.sent_at,
        settled_at=row.settled_at,
    )


def _row(write: CardWrite) -> dict[str, Any]:
    return {
        "key": write.key,
        "base_key": write.base_key,
        "generation": write.generation,
        "undoes": write.undoes or None,
        "client_id": write.client_id,
        "client_name": write.client_name,
        "invoice_id": write.invoice_id,
        "cycle": str(write.cycle),
        "who": write.who,
        "reason": write.reason,
        "lines": [line_row(one) for one in write.lines],
        "content": write.content.encode(),
        "before": write.before.encode(),
        "installation": write.installation,
        "state": write.state.value,
        "message": write.message,
        "answer": None,
        "attempts": write.attempts,
        "intended_at": write.intended_at,
        "sent_at": write.sent_at,
        "settled_at": None,
    }


def _change(connection: Connection, name: str, key: str, values: dict[str, Any]) -> None:
    mine = (card_write.c.partner == name, card_write.c.key == key)
    connection.execute(update(card_write).where(*mine).values(**values))


def _told(write: CardWrite) -> dict[str, Any]:
    """What the journal says of an intent."""
    return {
        "key": write.key,
        "write": WriteKind.CARD,
        "undoes": write.undoes or None,
        "client_id": write.client_id,
        "invoice_id": write.invoice_id,
        "who": write.who,
        "lines": [line_row(one) for one in write.lines],
        "content_sha256": hashlib.sha256(write.content.encode()).hexdigest(),
        "before_sha256": hashlib.sha256(write.before.encode()).hexdigest(),
    }
