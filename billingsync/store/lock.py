"""One run at a time for each partner, across processes and machines: a lease in the partner's row [F4]."""

from __future__ import annotations

import getpass
import hashlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from sqlalchemy import bindparam, or_, select, update

from billingsync.core.partner import SINGLE
from billingsync.errors import LedgerError, Locked
from billingsync.store.book import Book, Fence
from billingsync.store.clock import database_now, server_now
from billingsync.store.schema import partner


class LockBook(Book):
    @contextmanager
    def run_lock(self, holder: str) -> Iterator[Fence]:
        """Holds the lock for the block, or raises Locked naming who holds it and until when. `holder` says who we are,
        for people.

        The lock is a lease of `lease_s` on the database's clock, renewed by a thread and given back at the end. What
        outlives a process that is only frozen, or cut off from the database, is stopped by the fence: each taker
        raises the epoch, and every intent and every request checks it.
        """
        with self._file_lock() as alone:
            fence = self._take(holder, alone)
            try:
                with self._renewed(fence):
                    yield fence
            finally:
                with suppress(LedgerError):  # then it ends by itself
                    self._give_back(fence)

    def run_is_under_way(self) -> bool:
        """Whether somebody holds the lock right now; a run that was killed may hold it until its lease ends."""
        with self.reading() as connection:
            if connection.scalar(_HELD, {"name": self.name}) is None:
                return False
        try:
            with self._file_lock() as alone:
                return not alone
        except Locked:
            return True

    @contextmanager
    def _file_lock(self) -> Iterator[bool]:
        """SQLite, beside the lease: the kernel's lock on a file beside the database. It dies with its process, so that
        nobody need wait for the lease of a run that was killed. Gives whether we are alone, whatever the row says."""
        database = self.database.file
        if database is None:
            yield False
            return
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
            yield True
        finally:
            lock.release()

    def _take(self, holder: str, alone: bool) -> Fence:
        """Takes the lease where it is over (or we are `alone`) and raises the epoch, which shuts out who had it."""
        if not alone:  # asked first, as the holder may be long at a transaction that keeps the row
            with self.reading() as connection:
                held = connection.execute(_HELD, {"name": self.name}).one_or_none() is not None
            if held:
                raise self._locked()
        token = secrets.token_hex(8)
        server = self._server()
        given = {"name": self.name, "new_token": token, "new_holder": holder, "lease_s": self.lease_s}
        given["new_server"] = server or None
        with self.database.writing() as connection:
            taken = connection.execute(_TAKE_ALONE if alone else _TAKE, given).rowcount == 1
            epoch = int(connection.execute(_EPOCH, {"name": self.name}).scalar_one())
        if not taken:
            raise self._locked()
        return Fence(epoch=epoch, token=token, holder=holder, server=server)

    def _server(self) -> str:
        """PostgreSQL's identity and timeline [F8]; "" where it does not tell, as some that are hosted."""
        if self.database.file:
            return ""
        try:
            with self.reading() as connection:
                return str(connection.scalar(select(server_now)) or "")
        except LedgerError:
            return ""

    @contextmanager
    def _renewed(self, fence: Fence) -> Iterator[None]:
        """Renews the lease now and then while the block is at work."""
        over = threading.Event()

        def renew() -> None:
            while not over.wait(self.lease_s / 4):
                # Where it cannot, the next turn asks again; so does each write, and stops.
                with suppress(LedgerError), self.database.beside:
                    if not over.is_set() and not self.renew(fence):
                        return

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(self.lease_s / 4)

    def _give_back(self, fence: Fence) -> None:
        mine = {"name": self.name, "of_epoch": fence.epoch, "of_token": fence.token}
        with self.database.writing() as connection:
            connection.execute(_GIVE_BACK, mine)

    def _locked(self) -> Locked:
        row = None
        for _ in range(20):  # on SQLite the winner has the lock a moment before it has written its name
            with self.reading() as connection:
                row = connection.execute(_HELD, {"name": self.name}).one_or_none()
            if row is not None:
                break
            time.sleep(0.05)
        who = f": {row.holder}" if row is not None and row.holder else ""
        until = f" If it was killed, the next run can begin at {_clock_time(row.until)}." if row is not None else ""
        return Locked(
            f"Another run is under way{who}. It goes on; wait until it is done.{until}",
            next_steps=[["billingsync", "status"]],
        )


_MINE = partner.c.partner == bindparam("name")
_HELD = select(partner.c.holder, partner.c.until).where(_MINE, partner.c.until > database_now())
_EPOCH = select(partner.c.epoch).where(_MINE)
_TAKEN = {
    "epoch": partner.c.epoch + 1,
    "token": bindparam("new_token"),
    "holder": bindparam("new_holder"),
    "until": database_now(bindparam("lease_s")),
    "server": bindparam("new_server"),
}
_TAKE_ALONE = update(partner).where(_MINE).values(_TAKEN)
_TAKE = _TAKE_ALONE.where(or_(partner.c.until.is_(None), partner.c.until <= database_now()))
_GIVE_BACK = (
    update(partner)
    .where(_MINE, partner.c.epoch == bindparam("of_epoch"), partner.c.token == bindparam("of_token"))
    .values(until=None)
)


def _clock_time(moment: datetime) -> str:
    return f"{moment:%H:%M:%S} UTC"


def _number(name: str) -> int:
    """A partner's number in the name of its lock's file."""
    return int.from_bytes(hashlib.sha256(f"billingsync run {name}".encode()).digest()[:8], "big") >> 1


def who() -> str:
    """Who runs this, for people: user, machine, process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()} (process {os.getpid()})"
