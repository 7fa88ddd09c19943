"""Bugs of a fleet, planted on purpose: each breaks one promise in the product's own code, and is found by a scene that the
code without it passes."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import bindparam, func, or_, select, update

from billingsync.core.states import CycleState
from billingsync.errors import Locked
from billingsync.fleet.engine import Job
from billingsync.fleet.engine_pgqueuer import PgQueuerEngine
from billingsync.store import book, cycles, lock
from billingsync.store.book import Fence
from billingsync.store.budgets import AccountBlocks
from billingsync.store.clock import database_now
from billingsync.store.database import Database
from billingsync.store.ledger import Ledger, open_ledger
from billingsync.store.schema import cycle, partner
from tests.fleet.fleet_house import house
from tests.sandbox.cli import process_environment

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
patch = mock.patch.object


@dataclass(frozen=True)
class Planted:
    """`scene` gives what it saw that must not be."""

    name: str
    plant: Callable[[], contextlib.AbstractContextManager[Any]]
    scene: Callable[[Path, str], list[str]]


# The fence is not asked: who was frozen goes on ----------------------------------------------------------------------------


def frozen_and_woken(folder: Path, url: str) -> list[str]:
    wrong = []
    with open_ledger(url, partner="default") as one, open_ledger(url, partner="default") as other:
        taken = contextlib.ExitStack()
        fence = taken.enter_context(one.run_lock("frozen"))
        _lease_is_over(one)
        with other.run_lock("the next"):
            wrong += ["a request of the woken one would go out"] if one.fence_holds(fence) else []
            try:
                with one.fenced(fence):
                    wrong.append("the woken one wrote")
            except Locked:
                pass
        with contextlib.suppress(Locked):
            taken.close()
    return wrong


def _lease_is_over(ledger: Ledger) -> None:
    with ledger.writing() as connection:
        connection.execute(update(partner).values(until=database_now(-1.0)))


# A lease by the worker's own clock: one whose clock is an hour fast takes what is another's [C11] -----------------------------


def clocks_differ(folder: Path, url: str) -> list[str]:
    wrong = []
    with open_ledger(url, partner="default") as one, open_ledger(url, partner="default") as other:
        for hours in (1, -1):
            with one.run_lock("me"), an_hour_off(hours):
                try:
                    with other.run_lock("whose clock is off"):
                        wrong.append("two runs at once")
                except Locked:
                    pass
            with an_hour_off(hours), one.run_lock("whose clock is off") as fence:
                with one.reading() as connection:
                    until = connection.scalar(select(partner.c.until))
                    left = until - connection.scalar(select(database_now()))
                if not timedelta(seconds=45) < left <= timedelta(seconds=60):
                    wrong.append(f"a lease of {left}")
                wrong += [] if one.fence_holds(fence) else ["lost its own lease"]
    return wrong


_OFF = [timedelta(0)]


def local_now() -> datetime:
    return datetime.now(UTC) + _OFF[0]


@contextlib.contextmanager
def an_hour_off(hours: int) -> Any:
    """The clock of this process, for whatever asks `datetime.now` in the lock's code."""

    class Off(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(hours=hours)

    _OFF[0] = timedelta(hours=hours)
    with contextlib.ExitStack() as stack:
        for module in (book, lock, cycles):
            if hasattr(module, "datetime"):
                stack.enter_context(patch(module, "datetime", Off))
        yield
    _OFF[0] = timedelta(0)


@contextlib.contextmanager
def lease_by_local_clock() -> Any:
    """`until` is compared with, and made of, what the process thinks the time is."""

    def now() -> Any:
        return bindparam(None, callable_=local_now)

    mine = partner.c.partner == bindparam("name")
    held = select(partner.c.holder, partner.c.until).where(mine, partner.c.until > now())
    take = lock._TAKE_ALONE.where(or_(partner.c.until.is_(None), partner.c.until <= now()))
    with patch(lock, "_HELD", held), patch(lock, "_TAKE", take):
        yield


# A query without its WHERE: a partner's last cycle is another's --------------------------------------------------------------


def two_partners(folder: Path, url: str) -> list[str]:
    with open_ledger(url, partner="default") as one:
        begun = one.start_cycle(NOW)
        values: dict[str, Any] = {"months": {"2026-11": {}}, "summary": {}, "next_at": NOW, "now": NOW}
        one.end_cycle(begun.id, CycleState.WELL, **values)
        with one.writing() as connection:
            connection.execute(partner.insert().from_select(*_another_like(one)))
            connection.execute(
                cycle.insert().values(partner="birch", id=7, state="failed", started_at=NOW, months={}, summary={})
            )
        last = one.last_cycle()
    return [] if last is not None and last.id == begun.id else [f"the last cycle of default is {last}"]


def _another_like(ledger: Ledger) -> tuple[list[str], Any]:
    names = [column.name for column in partner.columns]
    changed = {"partner": "birch", "until": None}
    columns = [
        func.coalesce(changed[name], None).label(name) if changed.get(name) else partner.c[name] for name in names
    ]
    return names, select(*columns).where(partner.c.partner == "default")


def newest_of_anybody(connection: Any, name: str) -> Any:
    row = connection.execute(select(cycle).order_by(cycle.c.id.desc()).limit(1)).one_or_none()
    kept = {each: row._mapping[each] for each in cycles.Cycle.__dataclass_fields__} if row else {}
    return cycles.Cycle(**kept) if row else None


# One redactor for all: what is one partner's secret is blacked out in another's log --------------------------------------------

TWO_CYCLES = """
import sys
from billingsync.fleet import cycle
if sys.argv[2] == "planted":
    shared = cycle.Redactor(())
    cycle.Redactor = lambda secrets: shared
for name in ("acme", "birch"):
    print("NEXT", flush=True)
    cycle.one_cycle(cycle.Work(database_url=sys.argv[1], partner=name, log_format="json"))
"""
_PLANTED = [False]


def secret_of_another(folder: Path, url: str) -> list[str]:
    with house(folder, url, "acme", "birch") as home:
        secret = next((home.folder / "secrets" / "acme").glob("*PAX8__CLIENT_SECRET"))
        secret.write_text("cycle ended")
        ran = subprocess.run(
            [sys.executable, "-c", TWO_CYCLES, url, "planted" if _PLANTED[0] else "as it is"],
            env=process_environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            timeout=120,
        )
    _, of_acme, of_birch = ran.stdout.split("NEXT\n")
    wrong = [] if "cycle ended" not in of_acme else ["acme's secret is in its log"]
    return wrong if "cycle ended" in of_birch else [*wrong, "birch's log is blacked out by acme's secret"]


@contextlib.contextmanager
def one_redactor() -> Any:
    _PLANTED[0] = True
    try:
        yield
    finally:
        _PLANTED[0] = False


# Submitted without a key: a partner is queued twice ----------------------------------------------------------------------------


def planned_twice(folder: Path, url: str) -> list[str]:
    engine = PgQueuerEngine(url.replace("+psycopg", "", 1))
    engine.prepare()
    counts = [asyncio.run(engine.submit([Job(partner="acme")])) for _ in range(2)]
    return [] if counts == [1, 0] else [f"queued {counts}"]


def without_key() -> Any:
    from billingsync.fleet import engine_pgqueuer

    class Keyless(engine_pgqueuer._Queries):
        async def enqueue(self, entries: Any, words: Any, weights: Any, delay: Any, keys: Any, **more: Any) -> Any:
            return await super().enqueue(entries, words, weights, delay, [None] * len(keys), **more)

    return patch(engine_pgqueuer, "_Queries", Keyless)


# A budget for each process: two of them make twice the calls -------------------------------------------------------------------


def two_processes(folder: Path, url: str) -> list[str]:
    with contextlib.closing(Database(url)) as one, contextlib.closing(Database(url)) as other:
        both = [AccountBlocks(each, "account", "halo", [(15, 300.0)], 60.0) for each in (one, other)]
        calls = sum(blocks.take(10, {})[1] for blocks in (*both, *both))
    return [] if calls <= 15 else [f"{calls} calls in a window of 15"]


def budget_per_process() -> Any:
    true = AccountBlocks.__init__

    def own(self: Any, database: Any, account: str, *rest: Any) -> None:
        true(self, database, f"{account} {id(database)}", *rest)  # as if `os.getpid()`: each has its own

    return patch(AccountBlocks, "__init__", own)


def fence_not_asked() -> Any:
    return patch(book, "_is_of", lambda row, fence: isinstance(fence, Fence))


MUTANTS = [
    Planted("fence not asked", fence_not_asked, frozen_and_woken),
    Planted("lease by local clock", lease_by_local_clock, clocks_differ),
    Planted("missing WHERE partner", lambda: patch(cycles, "newest_cycle", newest_of_anybody), two_partners),
    Planted("shared redactor", one_redactor, secret_of_another),
    Planted("submit without key", without_key, planned_twice),
    Planted("budget per process", budget_per_process, two_processes),
]


@pytest.fixture
def url(request: pytest.FixtureRequest, planted: Planted) -> str:
    bare = planted.scene in (secret_of_another, planned_twice)
    return str(request.getfixturevalue("postgres_url" if bare else "postgres_ledger_url"))


@pytest.mark.parametrize("planted", MUTANTS, ids=lambda one: one.name)
def test_the_code_as_it_is_passes(planted: Planted, url: str, tmp_path: Path) -> None:
    assert planted.scene(tmp_path, url) == []


@pytest.mark.parametrize("planted", MUTANTS, ids=lambda one: one.name)
def test_a_planted_bug_is_found(planted: Planted, url: str, tmp_path: Path) -> None:
    with planted.plant():
        assert planted.scene(tmp_path, url) != []
