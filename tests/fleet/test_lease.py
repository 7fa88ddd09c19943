"""The lock of a run is a lease in the partner's row, on the database's clock: no session keeps anything [F4] [F5]."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import event, select, text, update
from sqlalchemy.exc import OperationalError

from billingsync.core.period import Period
from billingsync.errors import LedgerError, Locked
from billingsync.sandbox.server import Sandbox
from billingsync.store import upgrade
from billingsync.store.clock import database_now
from billingsync.store.columns import moment
from billingsync.store.database import Database
from billingsync.store.ledger import Ledger, open_ledger
from billingsync.store.lock import LockBook
from billingsync.store.schema import partner
from tests.fleet.schemas import upgrade_to
from tests.sandbox.cli import CALM, TEXT_ONLY, Office, billed, due

PERIOD = Period.parse("2026-11")
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def lease_alone() -> Iterator[None]:
    """On SQLite, too, the lease is all of the lock: as if no file's lock were there."""
    with mock.patch.object(LockBook, "_file_lock", return_value=contextlib.nullcontext(False)):
        yield


@pytest.fixture
def two(ledger_url: str) -> Iterator[tuple[Ledger, Ledger]]:
    """The ledger as two processes have it."""
    with open_ledger(ledger_url, partner="default") as one, open_ledger(ledger_url, partner="default") as other:
        yield one, other


def until(ledger: Ledger) -> datetime:
    with ledger.reading() as connection:
        found = connection.scalar(select(partner.c.until))
    assert isinstance(found, datetime)
    return found


def database_time(ledger: Ledger, seconds: float = 0.0) -> datetime:
    with ledger.reading() as connection:
        found = connection.scalar(select(database_now(seconds)))
    assert isinstance(found, datetime)
    return found


def time_passes(ledger: Ledger, passed: timedelta) -> None:
    """For the lease alone: as if it had been taken earlier."""
    with ledger.writing() as connection:
        connection.execute(update(partner).values(until=until(ledger) - passed))


@pytest.mark.parametrize("seconds", [0.0, 60.0, 0.25])
def test_the_databases_time_has_the_form_of_every_other(ledger_url: str, seconds: float) -> None:
    with open_ledger(ledger_url, partner="default") as ledger, ledger.reading() as connection:
        said = connection.scalar(select(database_now(seconds)))
        assert isinstance(said, datetime) and said.tzinfo is not None
        assert abs((said - datetime.now(UTC)).total_seconds() - seconds) < 60
        raw = connection.execute(select(database_now(seconds))).cursor
        assert raw is not None and len(raw.fetchone()[0]) == len(moment(NOW))


def test_the_lease_is_taken_for_its_time_and_given_back(two: tuple[Ledger, Ledger]) -> None:
    ledger, other = two
    assert not other.run_is_under_way()
    with ledger.run_lock("me") as fence:
        left = until(other) - database_time(other)
        assert timedelta(seconds=45) < left <= timedelta(seconds=60)
        assert other.run_is_under_way()
    assert not other.run_is_under_way() and not ledger.fence_holds(fence) and not ledger.renew(fence)
    with pytest.raises(Locked), ledger.fenced(fence):
        raise AssertionError("a write after the end")
    with other.run_lock("the next"):
        pass


def test_who_comes_second_is_told_by_whom_and_until_when(two: tuple[Ledger, Ledger]) -> None:
    ledger, other = two
    with ledger.run_lock("me"):
        with pytest.raises(Locked, match="under way: me") as refused, other.run_lock("them"):
            raise AssertionError("two runs at once")
        assert f"the next run can begin at {until(other):%H:%M:%S} UTC." in refused.value.message


def test_the_lease_is_renewed_while_the_run_works(two: tuple[Ledger, Ledger]) -> None:
    ledger, other = two
    ledger.lease_s = 2.0
    with ledger.run_lock("me") as fence:
        seen, given_up = {until(other)}, time.monotonic() + 60
        while len(seen) < 4:
            assert time.monotonic() < given_up, seen
            time.sleep(0.01)
            seen.add(until(other))
        assert ledger.fence_holds(fence)
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that renews stands still, as the whole process does."""
    monkeypatch.setattr(LockBook, "_renewed", lambda *_: contextlib.nullcontext())


@pytest.mark.usefixtures("asleep")
def test_a_lid_closed_for_an_hour_while_another_took_over(two: tuple[Ledger, Ledger]) -> None:
    ledger, other = two
    with ledger.run_lock("the sleeper") as fence:
        run = ledger.start_run(fence, period=PERIOD, digest=None, who="me", now=NOW)
        time_passes(ledger, HOUR)
        with other.run_lock("the next") as theirs:
            entries = other.journal_entries()
            assert not ledger.fence_holds(fence) and not ledger.renew(fence)
            with pytest.raises(Locked, match="taken over by the next"):
                ledger.finish_run(fence, run, "complete", {}, NOW)
            assert other.journal_entries() == entries and other.fence_holds(theirs)
            before = until(other)
            ledger._give_back(fence)  # the sleeper's end does not end the other's lease
            assert until(other) == before and other.fence_holds(theirs)
    assert not other.run_is_under_way()


@pytest.mark.usefixtures("asleep")
@pytest.mark.parametrize("passed", [timedelta(seconds=46), HOUR], ids=["45 s", "an hour"])
@pytest.mark.parametrize("asked", ["before a request", "before a commit"])
def test_nothing_is_written_on_an_old_lease(two: tuple[Ledger, Ledger], passed: timedelta, asked: str) -> None:
    """Not renewed for 45 s, it is renewed before the next write, as nobody took it meanwhile."""
    ledger, other = two
    with ledger.run_lock("the sleeper") as fence:
        time_passes(ledger, passed)
        if asked == "before a request":
            assert ledger.fence_holds(fence)
        else:
            ledger.start_run(fence, period=PERIOD, digest=None, who="me", now=NOW)
        assert until(other) - database_time(other) > timedelta(seconds=45)
        with pytest.raises(Locked, match="the sleeper"), other.run_lock("them"):
            raise AssertionError("two runs at once")


@pytest.mark.usefixtures("asleep")
def test_a_young_lease_is_not_renewed_at_each_write(two: tuple[Ledger, Ledger]) -> None:
    ledger, other = two
    with ledger.run_lock("me") as fence:
        time_passes(ledger, timedelta(seconds=40))
        before = until(other)
        assert ledger.fence_holds(fence)
        ledger.start_run(fence, period=PERIOD, digest=None, who="me", now=NOW)
        assert until(other) == before


def test_who_is_cut_off_from_the_database_writes_nothing(two: tuple[Ledger, Ledger]) -> None:
    ledger, other = two
    ledger.lease_s = 1.0
    gone = OperationalError("SELECT", {}, Exception("connection refused"))
    cut = threading.Event()

    def refuse(*_: object) -> None:
        if cut.is_set():
            raise gone

    event.listen(ledger.database._engine, "checkout", refuse)
    with ledger.run_lock("me") as fence:
        cut.set()
        with pytest.raises(LedgerError):
            ledger.fence_holds(fence)
        given_up = time.monotonic() + 60
        while other.run_is_under_way():  # the thread cannot renew either, and neither fails for it
            assert time.monotonic() < given_up
            time.sleep(0.01)
        with other.run_lock("the next"):
            cut.clear()
            assert not ledger.fence_holds(fence)
            cut.set()
    cut.clear()


def test_a_holder_in_a_long_transaction_refuses_others_at_once(two: tuple[Ledger, Ledger]) -> None:
    ledger, other = two
    with ledger.run_lock("me"), ledger.writing():
        began = time.monotonic()
        with pytest.raises(Locked), other.run_lock("them"):
            raise AssertionError("two runs at once")
        assert time.monotonic() - began < 5  # less than a database waits for a row


def test_the_intent_is_read_back_on_another_connection(two: tuple[Ledger, Ledger]) -> None:
    ledger, _ = two
    opened: list[int] = []
    event.listen(ledger.database._engine, "connect", lambda *_: opened.append(1))
    for _ in range(20):
        with ledger.writing() as connection:
            wrote = connection.connection.driver_connection
        with ledger.database.reading_beside() as connection:
            assert connection.connection.driver_connection is not wrote
    assert len(opened) <= 1  # one is there since the ledger was opened


# A whole run on PostgreSQL ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(CALM) as sandbox:
        yield sandbox


def office_at(server: Sandbox, folder: Any, url: str, **more: str) -> Office:
    server.reset(CALM)
    made = Office(folder, server, url, {f"BILLINGSYNC_{name}": value for name, value in more.items()})
    made.rules(TEXT_ONLY)
    return made


def test_a_run_has_two_connections_and_leaves_nothing_in_them(
    server: Sandbox, tmp_path: Any, postgres_ledger_url: str
) -> None:
    """However fast it renews: no new connection a write, no lock of a session, nothing set for one [F5]."""
    office = office_at(server, tmp_path, postgres_ledger_url, LEASE_S="0.5")
    counted = {"opened": 0, "open": 0, "most": 0}
    left: set[tuple[str, str]] = set()

    def opened(*_: object) -> None:
        counted["opened"] += 1
        counted["open"] += 1
        counted["most"] = max(counted["most"], counted["open"])

    def closed(connection: Any, _: object) -> None:
        counted["open"] -= 1
        locks = "SELECT 'lock', objid::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        said = "SELECT name, setting FROM pg_settings WHERE source = 'session'"
        with contextlib.suppress(Exception), closing(connection.cursor()) as cursor:
            cursor.execute(f"{locks} UNION ALL {said}")
            left.update(cursor.fetchall())

    true_make = Database._make_engine

    def make(self: Database, **options: Any) -> Any:
        engine = true_make(self, **options)
        event.listen(engine, "connect", opened)
        event.listen(engine, "close", closed)
        return engine

    with mock.patch.object(Database, "_make_engine", make):
        office.run("run", "--yes", "--json").must()
    assert billed(server) == due(server)
    # A third one was closed before the run began: it asked whether the database is a fleet's.
    assert counted["open"] == 0 and counted["most"] == 2 and counted["opened"] <= 3, counted
    assert {name for name, _ in left} == {"transaction_isolation", "transaction_read_only"}, left  # of the question


def test_an_older_ledger_gets_its_lease(database_url: str) -> None:
    with closing(Database(database_url)) as database, database.writing() as connection:
        upgrade_to("0015", connection)
        row = "INSERT INTO partner (partner, key_name, installation, epoch, token, holder)"
        connection.execute(text(f"{row} VALUES ('default', 'k', 'aa', 3, 't', 'h')"))
    upgrade.upgrade(database_url)
    with open_ledger(database_url, partner="default") as ledger:
        assert not ledger.run_is_under_way()
        with ledger.run_lock("me") as fence:
            assert fence.epoch == 4
