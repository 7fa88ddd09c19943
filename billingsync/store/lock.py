"""One run at a time for each partner, across processes and machines; the lock of a dead run is free at once."""

from __future__ import annotations

import getpass
import hashlib
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import DBAPIError

from billingsync.core.inputs import SINGLE
from billingsync.errors import LedgerError, Locked
from billingsync.store.book import Book, Fence
from billingsync.store.schema import partner


class LockBook(Book):
    @contextmanager
    def run_lock(self, holder: str) -> Iterator[Fence]:
        """Holds the lock for the block, or raises Locked naming who holds it. `holder` says who we are, for people.

        The lock itself dies with its process. What outlives a process that is only frozen, or cut off from
        PostgreSQL, is stopped by the fence: each taker raises the epoch, and every intent checks it.
        """
        held = self._file_lock(self.database.file) if self.database.file else self._session_lock()
        with held:
            yield self._take(holder)

    def run_is_under_way(self) -> bool:
        """Whether somebody holds the lock right now."""
        try:
            with self._file_lock(self.database.file) if self.database.file else self._session_lock():
                return False
        except Locked:
            return True

    @contextmanager
    def _file_lock(self, database: Path) -> Iterator[None]:
        """SQLite: the kernel's lock on a file beside the database."""
        from filelock import FileLock, SoftFileLock, Timeout

        mark = "" if self.name == SINGLE else f".{_number(self.name):016x}"
        lock = FileLock(f"{database}{mark}.lock", timeout=0, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            raise self._locked() from None
        except OSError as problem:
            raise LedgerError(f"The lock {lock.lock_file} cannot be made: {problem.strerror}.") from problem
        try:
            if isinstance(lock, SoftFileLock):  # filelock's way out where the file system has no locks
                raise LedgerError(f"The folder of {database} knows no file locks. Move the database to a local disk.")
            yield
        finally:
            lock.release()

    @contextmanager
    def _session_lock(self) -> Iterator[None]:
        """PostgreSQL: an advisory lock of a session that does nothing else."""
        with self.database.outside_transaction() as connection:
            if not connection.scalar(select(func.pg_try_advisory_lock(_number(self.name)))):
                raise self._locked()
            try:
                yield
            finally:
                # The server frees the lock when the session ends, but a moment later. A dead session has freed it.
                with suppress(DBAPIError):
                    connection.execute(select(func.pg_advisory_unlock(_number(self.name))))

    def _take(self, holder: str) -> Fence:
        """Raises the epoch, which shuts out whoever held the lock before."""
        token = secrets.token_hex(8)
        with self.writing() as connection:
            return Fence(epoch=raise_epoch(connection, self.name, token, holder), token=token, holder=holder)

    def _locked(self) -> Locked:
        holder = None
        for _ in range(20):  # the winner has the lock a moment before it has written its name
            with self.reading() as connection:
                holder = connection.scalar(select(partner.c.holder).where(partner.c.partner == self.name))
            if holder:
                break
            time.sleep(0.05)
        who = f": {holder}" if holder else ""
        return Locked(
            f"Another run is under way{who}. It goes on; wait until it is done.", next_steps=[["billingsync", "status"]]
        )


def raise_epoch(connection: Connection, name: str, token: str, holder: str) -> int:
    """Makes `holder` the one whose fence holds, and gives its epoch."""
    mine = partner.c.partner == name
    connection.execute(update(partner).where(mine).values(epoch=partner.c.epoch + 1, token=token, holder=holder))
    return int(connection.execute(select(partner.c.epoch).where(mine)).scalar_one())


def _number(name: str) -> int:
    """A partner's lock as PostgreSQL wants it: a signed 64-bit number."""
    return int.from_bytes(hashlib.sha256(f"billingsync run {name}".encode()).digest()[:8], "big") >> 1


def who() -> str:
    """Who runs this, for people: user, machine, process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()} (process {os.getpid()})"
