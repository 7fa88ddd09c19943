"""What the desk asked for, and who carries it out: claimed by compare and set, so that it is done by one at a time."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, select, update

from billingsync.core.desk import OrderKind, OrderState
from billingsync.store.book import Book
from billingsync.store.database import insert, read_as
from billingsync.store.schema import desk_life, desk_order

SILENT = timedelta(seconds=60)  # after so long a process is taken for dead; the run's lock says the last word

_TAKEN_OVER = "The process that began it has ended; another goes on."
_OPEN = [state.value for state in OrderState if state.open]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """`arguments` and `outcome` are JSON. `run` is the run that it became, where it became one."""

    id: str
    kind: str
    arguments: Mapping[str, Any]
    digest: str | None
    who: str
    at: datetime
    state: str
    claimer: str | None
    begun_at: datetime | None
    ended_at: datetime | None
    says: str
    run: str | None
    outcome: Mapping[str, Any]
    taken_over: bool = False  # by the process that claimed it just now, from one that has ended

    @property
    def open(self) -> bool:
        return OrderState(self.state).open


class OrderBook(Book):
    def file_order(
        self,
        kind: OrderKind,
        *,
        arguments: Mapping[str, Any],
        digest: str | None = None,
        who: str,
        now: datetime,
        state: OrderState = OrderState.WAITING,
    ) -> Order:
        """Keeps an order. One of the same kind, digest and arguments that is still open is that very order. `state`
        is `asked` where a second person must confirm it."""
        same = [
            desk_order.c.partner == self.name,
            desk_order.c.kind == kind.value,
            desk_order.c.state.in_(_OPEN),
            desk_order.c.digest.is_(None) if digest is None else desk_order.c.digest == digest,
        ]
        with self.writing() as connection:
            for row in connection.execute(select(desk_order).where(*same)):
                if row.arguments == dict(arguments):
                    return read_as(Order, row)
            id = f"{now.strftime('%Y%m%d%H%M')}-{secrets.token_hex(4)}"
            row_values = {"id": id, "kind": kind.value, "arguments": dict(arguments), "digest": digest, "who": who}
            more: dict[str, Any] = {"at": now, "state": state.value, "says": "", "outcome": {}}
            connection.execute(desk_order.insert().values(partner=self.name, **row_values, **more))
            said = {"order": id, "kind": kind.value, "arguments": dict(arguments), "digest": digest, "who": who}
            self.note(connection, "desk.order", said, now)
            return read_as(Order, connection.execute(select(desk_order).where(*self._one(id))).one())

    def order(self, id: str) -> Order | None:
        with self.reading() as connection:
            row = connection.execute(select(desk_order).where(*self._one(id))).first()
        return None if row is None else read_as(Order, row)

    def orders(self, *, open_only: bool = False, limit: int = 100) -> tuple[Order, ...]:
        """The newest orders first."""
        query = select(desk_order).where(desk_order.c.partner == self.name)
        if open_only:
            query = query.where(desk_order.c.state.in_(_OPEN))
        query = query.order_by(desk_order.c.at.desc(), desk_order.c.id.desc()).limit(limit)
        with self.reading() as connection:
            return tuple(read_as(Order, row) for row in connection.execute(query))

    def last_ended(self, kind: OrderKind) -> Order | None:
        """The newest order of a kind that came to its end, well or not."""
        mine = (desk_order.c.partner == self.name, desk_order.c.kind == kind.value)
        query = select(desk_order).where(*mine, desk_order.c.ended_at.is_not(None))
        with self.reading() as connection:
            row = connection.execute(query.order_by(desk_order.c.ended_at.desc()).limit(1)).first()
        return None if row is None else read_as(Order, row)

    def claim_order(self, claimer: str, now: datetime, *, kind: str = "desk") -> Order | None:
        """The oldest order that waits, or that a process left which is dead; it is this claimer's now. None where
        there is none. Reads only, where nothing waits."""
        open_states = [OrderState.WAITING.value, OrderState.BEGUN.value]
        query = select(desk_order).where(desk_order.c.partner == self.name, desk_order.c.state.in_(open_states))
        lives = select(desk_life.c.id).where(desk_life.c.partner == self.name, desk_life.c.at > now - SILENT)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(desk_order.c.at, desk_order.c.id)).all()
            alive = set(connection.execute(lives).scalars()) if rows else set()
        for row in rows:
            if row.state == OrderState.BEGUN.value and row.claimer in alive:
                return None  # one at a time
        for row in rows:
            as_seen = (desk_order.c.state == row.state, _equal(desk_order.c.claimer, row.claimer))
            with self.database.writing() as connection:
                claimed = connection.execute(
                    update(desk_order)
                    .where(*self._one(row.id), *as_seen)
                    .values(
                        state=OrderState.BEGUN.value,
                        claimer=claimer,
                        begun_at=row.begun_at or now,
                        says=_TAKEN_OVER if row.claimer else "",
                    )
                )
                if claimed.rowcount == 1:  # in one commit, so that no other takes the new claimer for dead
                    self._show_life(connection, claimer, kind, now)
            if claimed.rowcount == 1:
                claimed_order = self.order(row.id)
                return claimed_order and replace(claimed_order, taken_over=row.claimer is not None)
        return None

    def say_of_order(self, id: str, claimer: str, says: str) -> None:
        """How far it is, for who watches."""
        mine = (*self._one(id), desk_order.c.claimer == claimer, desk_order.c.state == OrderState.BEGUN.value)
        with self.database.writing() as connection:
            connection.execute(update(desk_order).where(*mine).values(says=says[:500]))

    def put_order_back(self, id: str, claimer: str, says: str) -> None:
        """It cannot be carried out yet: it waits again, and `says` for whom."""
        mine = (*self._one(id), desk_order.c.claimer == claimer, desk_order.c.state == OrderState.BEGUN.value)
        values = {"state": OrderState.WAITING.value, "claimer": None, "begun_at": None, "says": says[:500]}
        with self.database.writing() as connection:
            connection.execute(update(desk_order).where(*mine).values(**values))

    def end_order(
        self, id: str, claimer: str, state: OrderState, *, run: str | None, outcome: Mapping[str, Any], now: datetime
    ) -> None:
        """What became of it. Journalled."""
        mine = (*self._one(id), desk_order.c.claimer == claimer, desk_order.c.state == OrderState.BEGUN.value)
        with self.writing() as connection:
            values = {"state": state.value, "run": run, "outcome": dict(outcome), "ended_at": now, "says": ""}
            if connection.execute(update(desk_order).where(*mine).values(**values)).rowcount:
                said = {"order": id, "state": state.value, "run": run, "outcome": dict(outcome)}
                self.note(connection, "desk.order_ended", said, now)

    def confirm_order(self, id: str, *, who: str, now: datetime) -> bool:
        """A second person confirms what a first one asked for. Whether it still waited for that."""
        mine = (*self._one(id), desk_order.c.state == OrderState.ASKED.value)
        with self.writing() as connection:
            first = connection.execute(select(desk_order.c.who).where(*mine)).scalar()
            if first is None:
                return False
            values = {"state": OrderState.WAITING.value, "who": f"{first}, confirmed by {who}"}
            connection.execute(update(desk_order).where(*mine).values(**values))
            self.note(connection, "desk.order_confirmed", {"order": id, "asked_by": first, "who": who}, now)
            return True

    def cancel_order(self, id: str, *, who: str, reason: str = "", now: datetime) -> bool:
        """Takes back an order that was not begun. Whether it did."""
        mine = (*self._one(id), desk_order.c.state.in_([OrderState.WAITING.value, OrderState.ASKED.value]))
        with self.writing() as connection:
            because = f" {reason}" if reason else ""
            outcome = {"message": f"Sent back by {who}.{because} Nothing was done."}
            values = {"state": OrderState.REFUSED.value, "ended_at": now, "outcome": outcome, "says": ""}
            done = connection.execute(update(desk_order).where(*mine).values(**values)).rowcount == 1
            if done:
                self.note(connection, "desk.order_cancelled", {"order": id, "who": who, "reason": reason}, now)
            return done

    # Who lives -------------------------------------------------------------------------------------------------------

    def show_life(self, id: str, kind: str, now: datetime) -> None:
        """A process shows that it lives; those that are long silent are forgotten."""
        with self.database.writing() as connection:
            self._show_life(connection, id, kind, now)
            old = desk_life.c.at < now - 60 * SILENT
            connection.execute(delete(desk_life).where(desk_life.c.partner == self.name, old))

    def last_life(self, kind: str) -> datetime | None:
        """When a process of that kind last showed that it lives."""
        query = select(desk_life.c.at).where(desk_life.c.partner == self.name, desk_life.c.kind == kind)
        with self.reading() as connection:
            return max(connection.execute(query).scalars(), default=None)

    def _show_life(self, connection: Connection, id: str, kind: str, now: datetime) -> None:
        put = insert(connection, desk_life).values(partner=self.name, id=id, kind=kind, at=now)
        replaced = {"at": put.excluded["at"]}
        connection.execute(put.on_conflict_do_update(index_elements=["partner", "id"], set_=replaced))

    def _one(self, id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return desk_order.c.partner == self.name, desk_order.c.id == id


def _equal(column: Any, value: str | None) -> Any:
    return column.is_(None) if value is None else column == value
