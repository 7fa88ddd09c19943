"""The calls that each account may still make, whichever process makes them, on the database's clock."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from billingsync.store.clock import database_now
from billingsync.store.database import Database, insert
from billingsync.store.schema import call_budget

_ALL = ""  # the name of an account's own row: locked by whoever takes, and until when the account is closed
FLEET_ACCOUNT = "*"  # of what counts for all partners together
_SLACK_S = 0.01  # SQLite's clock shows thousandths
_SOON_S = 0.05
_LATER_S = 5.0  # a block that is in use may come back sooner than it must
# No block and no 429 lasts as long: what says so was written before the database's clock was put back.
_FAR = timedelta(minutes=15)


class AccountBlocks:
    """What `http.account_budget.AccountCalls` asks for.

    A block counts as spent in each window from when it was taken until the window's length after its last call ended.
    One whose process died counts as ended when it must have been used up: `held_s` after it was taken.
    """

    def __init__(
        self, database: Database, account: str, service: str, windows: Sequence[tuple[int, float]], held_s: float
    ) -> None:
        """`windows`: (calls, seconds) each; `held_s` covers the use of a block and the longest call."""
        self._database, self._account, self._service = database, account, service
        self._windows = [(calls, timedelta(seconds=seconds + _SLACK_S)) for calls, seconds in windows]
        self._held_s = held_s

    def take(self, most: int, spent: Mapping[str, tuple[int, float]]) -> tuple[str, int, float]:
        with self._database.beside, self._database.writing() as connection:
            closed, now = self._lock(connection)
            self._spend(connection, spent, now)
            rows = self._blocks(connection, now)
            self._forget(connection, rows)
            calls, wait = self._free(rows, now)
            wait = max(wait, _seconds(closed, now))
            if wait:
                return "", 0, wait
            name = secrets.token_hex(8)
            row = {"until": now + timedelta(seconds=self._held_s), "taken": min(most, calls), "ended": None}
            connection.execute(call_budget.insert(), self._key | {"block": name} | row)
            return name, min(most, calls), 0.0

    def give_back(self, spent: Mapping[str, tuple[int, float]]) -> None:
        if spent:
            with self._database.beside, self._database.writing() as connection:
                _, now = self._lock(connection)
                self._spend(connection, spent, now)

    def close(self, seconds: float) -> None:
        with self._database.beside, self._database.writing() as connection:
            closed, now = self._lock(connection)
            if _seconds(closed, now) < seconds:
                until = now + timedelta(seconds=seconds)
                connection.execute(update(call_budget).where(*self._row(_ALL)).values(until=until))

    def closed_s(self) -> float:
        with self._database.beside, self._database.reading() as connection:
            return self._closed_s(connection)

    def free(self) -> tuple[int, float]:
        with self._database.beside, self._database.reading() as connection:
            now = _now(connection)
            calls, wait = self._free(self._blocks(connection, now), now)
            closed = self._closed_s(connection)
            return (0, max(closed, wait)) if closed else (max(calls, 0), wait)

    @property
    def _key(self) -> dict[str, str]:
        return {"account": self._account, "service": self._service}

    def _row(self, block: str) -> tuple[Any, ...]:
        return (*self._of_account, call_budget.c.block == block)

    @property
    def _of_account(self) -> tuple[Any, ...]:
        return (call_budget.c.account == self._account, call_budget.c.service == self._service)

    def _lock(self, connection: Connection) -> tuple[datetime | None, datetime]:
        """Until when the account is closed, and what time it is. Other takers of the account wait meanwhile."""
        query = select(call_budget.c.until).where(*self._row(_ALL)).with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None:
            own = insert(connection, call_budget).values(self._key | {"block": _ALL, "taken": 0})
            connection.execute(own.on_conflict_do_nothing())
            row = connection.execute(query).one()
        return row.until, _now(connection)

    def _closed_s(self, connection: Connection) -> float:
        query = select(call_budget.c.until, database_now().label("now")).where(*self._row(_ALL))
        row = connection.execute(query).one_or_none()
        return 0.0 if row is None else _seconds(row.until, row.now)

    def _spend(self, connection: Connection, spent: Mapping[str, tuple[int, float]], now: datetime) -> None:
        for name, (made, ago_s) in spent.items():
            if made:
                ended = now - timedelta(seconds=ago_s)
                connection.execute(update(call_budget).where(*self._row(name)).values(taken=made, ended=ended))
            else:
                connection.execute(delete(call_budget).where(*self._row(name)))

    def _blocks(self, connection: Connection, now: datetime) -> Sequence[Row[Any]]:
        """The account's blocks that still count."""
        rows = connection.execute(select(call_budget).where(*self._of_account, call_budget.c.block != _ALL)).all()
        longest = max(seconds for _, seconds in self._windows)
        return [row for row in rows if now - longest < _end(row) <= now + _FAR]

    def _forget(self, connection: Connection, counting: Sequence[Row[Any]]) -> None:
        """Removes the blocks that count no more."""
        names = [row.block for row in counting]
        old = (*self._of_account, call_budget.c.block.not_in([_ALL, *names]))
        connection.execute(delete(call_budget).where(*old))

    def _free(self, rows: Sequence[Row[Any]], now: datetime) -> tuple[int, float]:
        """Calls that every window has left, and the seconds until it has some: 0.0 where it has."""
        left, wait = [], 0.0
        for calls, length in self._windows:
            counted = [row for row in rows if _end(row) + length > now]
            left.append(calls - sum(row.taken for row in counted))
            if left[-1] <= 0:
                first = min(_end(row) for row in counted)
                wait = max(wait, min(max((first + length - now).total_seconds(), _SOON_S), _LATER_S))
        return min(left), wait


class CallsAtOnce:
    """Room for calls that are under way at a time, of all processes on this database together, at one service.

    A process takes room for as many as it makes at once, and keeps it while it makes calls: one that makes none for
    `KEPT_S` has lost it, as has one that died."""

    KEPT_S = 90.0
    _RENEWED_S = 20.0
    _AGAIN_S = 0.5

    def __init__(self, database: Database, service: str, most: int, wanted: int) -> None:
        self._database, self._most, self._wanted = database, most, min(wanted, most)
        self._key = {"account": FLEET_ACCOUNT, "service": f"{service} at once"}
        self._name = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._renewed = -math.inf

    def may_call(self) -> float:
        """0.0 where we have room, else the seconds after which it is worth asking again. Raises LedgerError."""
        with self._lock:
            if time.monotonic() - self._renewed < self._RENEWED_S:
                return 0.0
            with self._database.beside, self._database.writing() as connection:
                if not self._take(connection):
                    return self._AGAIN_S
            self._renewed = time.monotonic()
            return 0.0

    def close(self) -> None:
        """Gives the room back. Raises LedgerError."""
        with self._database.beside, self._database.writing() as connection:
            connection.execute(delete(call_budget).where(*self._row(self._name)))

    def _take(self, connection: Connection) -> bool:
        own = insert(connection, call_budget).values(self._key | {"block": _ALL, "taken": 0})
        connection.execute(own.on_conflict_do_nothing())
        connection.execute(select(call_budget.c.until).where(*self._row(_ALL)).with_for_update())
        alive = (call_budget.c.block != _ALL, call_budget.c.until > database_now())
        rows = connection.execute(select(call_budget).where(*self._of_service, *alive)).all()
        others = sum(row.taken for row in rows if row.block != self._name)
        if others and others + self._wanted > self._most:
            return False
        old = (call_budget.c.block != _ALL, call_budget.c.until <= database_now())
        connection.execute(delete(call_budget).where(*self._of_service, *old))
        values = {"taken": self._wanted, "until": database_now(self.KEPT_S)}
        mine = insert(connection, call_budget).values(self._key | {"block": self._name} | values)
        key = ["account", "service", "block"]
        connection.execute(mine.on_conflict_do_update(index_elements=key, set_=values))
        return True

    @property
    def _of_service(self) -> tuple[Any, ...]:
        return (call_budget.c.account == self._key["account"], call_budget.c.service == self._key["service"])

    def _row(self, block: str) -> tuple[Any, ...]:
        return (*self._of_service, call_budget.c.block == block)


class NewLogins:
    """So many logins a second at one service, of all processes on this database together."""

    def __init__(self, database: Database, service: str, per_s: int, sleep: Callable[[float], None]) -> None:
        # A login counts from when it began, however long it takes.
        self._blocks = AccountBlocks(database, FLEET_ACCOUNT, f"{service} logins", [(per_s, 1.0)], held_s=0.0)
        self._sleep = sleep

    def wait(self) -> None:
        """Until it is our turn. Raises LedgerError."""
        while True:
            _, calls, wait = self._blocks.take(1, {})
            if calls:
                return
            self._sleep(wait)


def _end(row: Row[Any]) -> datetime:
    end: datetime = row.ended or row.until
    return end


def _now(connection: Connection) -> datetime:
    now: datetime = connection.execute(select(database_now())).scalar_one()
    return now


def _seconds(until: datetime | None, now: datetime) -> float:
    return 0.0 if until is None or until - now > _FAR else max((until - now).total_seconds(), 0.0)
