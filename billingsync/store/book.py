"""A database as one partner sees it: the transactions that every part of the ledger works in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from billingsync.errors import Locked
from billingsync.store import journal
from billingsync.store.clock import database_now, server_now
from billingsync.store.database import Database
from billingsync.store.moved import refuse_moved
from billingsync.store.schema import partner

LEASE_S = 60.0  # how long a lease lasts that is not renewed


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The right to post, as long as nobody took the lock after us. The token tells apart two runs that were given
    the same epoch, as can happen after a failover to a server that lost the last commits."""

    epoch: int
    token: str
    holder: str
    server: str = ""  # whose database it was [F8]; "" where that is not known


class Book:
    """The ledger is several books over one database; each keeps one noun."""

    def __init__(self, database: Database, name: str, key_name: str) -> None:
        self.database = database
        self.lease_s = LEASE_S  # renewed when a quarter of it is over
        self.name = name  # the partner's
        self.key_name = key_name  # what its keys and its journal's hashes are made with [F7]

    @cached_property
    def installation(self) -> str:
        """The mark of our lines in HaloPSA. It never changes, and is asked for with every one of them."""
        with self.reading() as connection:
            mine = select(partner.c.installation).where(partner.c.partner == self.name)
            return str(connection.execute(mine).scalar_one())

    def reading(self, *, fresh: bool = False) -> AbstractContextManager[Connection]:
        """See `Database.reading`."""
        return self.database.reading(fresh=fresh)

    @contextmanager
    def writing(self, *, fresh: bool = False) -> Iterator[Connection]:
        """A transaction that holds the partner's row, so that the partner's writers follow one another. `fresh` as in
        `Database.writing`. Moved where the ledger went on elsewhere."""
        with self.database.writing(fresh=fresh) as connection:
            refuse_moved(connection.execute(_LOCKED_ROW, {"name": self.name}).one().moved)
            yield connection

    @contextmanager
    def fenced(self, fence: Fence) -> Iterator[Connection]:
        """A transaction in which nobody can take the lock. Locked where somebody already did."""
        with self.database.writing() as connection:
            row = connection.execute(_LOCKED_ON[bool(fence.server)], {"name": self.name}).one()
            if not _is_of(row, fence):
                raise Locked(_lost(row, fence))
            if self._runs_out(row):
                self._extend(connection, fence)
            yield connection

    def fence_holds(self, fence: Fence) -> bool:
        """Whether the lock is still ours; to be asked right before each write to HaloPSA.

        A lease that was not renewed for three quarters of its time is renewed first: nothing is written without one.
        """
        row = self._row(fence)
        return _is_of(row, fence) and (not self._runs_out(row) or self.renew(fence))

    def why_lost(self, fence: Fence) -> str:
        """What became of a lock that is not ours any more, for people."""
        return _lost(self._row(fence), fence)

    def _row(self, fence: Fence) -> Row[Any]:
        with self.reading() as connection:
            return connection.execute(_ROW_ON[bool(fence.server)], {"name": self.name}).one()

    def renew(self, fence: Fence) -> bool:
        """Another `lease_s` from now, on the database's clock. False where the lock is another's or was given back.

        A lease that ran out while we stood still is ours again if nobody took it meanwhile: the row says so."""
        with self.database.writing() as connection:
            return self._extend(connection, fence)

    def _extend(self, connection: Connection, fence: Fence) -> bool:
        mine = {"name": self.name, "of_epoch": fence.epoch, "of_token": fence.token, "lease_s": self.lease_s}
        return connection.execute(_EXTEND, mine).rowcount == 1

    def _runs_out(self, row: Row[Any]) -> bool:
        return bool(row.until - row.now < timedelta(seconds=self.lease_s / 4))

    def note(self, connection: Connection, kind: str, body: dict[str, Any], now: datetime) -> None:
        """An entry in the journal, in the caller's transaction (`writing` or `fenced`)."""
        self.note_each(connection, kind, (body,), now)

    def note_each(self, connection: Connection, kind: str, bodies: Iterable[dict[str, Any]], now: datetime) -> None:
        """An entry for each body, likewise."""
        journal.append(connection, journal.Chain(self.name, self.key_name), kind, bodies, now)


_ROW = select(partner, database_now().label("now")).where(partner.c.partner == bindparam("name"))
# Locked until the transaction ends (on SQLite the transaction locks the whole file).
_LOCKED_ROW = _ROW.with_for_update(key_share=True)
# Without and with the server that we are at.
_ROW_ON = (_ROW, _ROW.add_columns(server_now.label("on_server")))
_LOCKED_ON = (_LOCKED_ROW, _ROW_ON[True].with_for_update(key_share=True))
_EXTEND = (
    update(partner)
    .where(
        partner.c.partner == bindparam("name"),
        partner.c.epoch == bindparam("of_epoch"),
        partner.c.token == bindparam("of_token"),
        partner.c.until.is_not(None),
    )
    .values(until=database_now(bindparam("lease_s")))
)


def _is_of(row: Row[Any], fence: Fence) -> bool:
    return (row.epoch, row.token) == (fence.epoch, fence.token) and row.until is not None and _is_there(row, fence)


def _is_there(row: Row[Any], fence: Fence) -> bool:
    return not fence.server or row.on_server == row.server


def _lost(row: Row[Any], fence: Fence) -> str:
    if not _is_there(row, fence):
        return (
            "PostgreSQL is another server than when this run began, or went back to an earlier moment: it may have "
            "lost what was committed last. This run stopped before its next write; the next one searches HaloPSA first."
        )
    by = f" by {row.holder}" if row.holder else ""
    return f"This run was taken over{by} while it stood still. It stopped; the other run finds out what became of it."
