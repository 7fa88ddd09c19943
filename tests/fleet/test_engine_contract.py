"""What every engine must do, whichever library is behind it: the contract C1 to C13, but for what needs the worker."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from engine_memory import MemoryEngine, Queue

from billingsync.fleet.engine import Engine, Job
from billingsync.fleet.engine_pgqueuer import PgQueuerEngine

DEAD_AFTER_S = 2.0
Make = Callable[[], Engine]


def conninfo_of(url: str) -> str:
    return url.replace("+psycopg", "", 1)


@pytest.fixture(params=["memory", "pgqueuer"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes engines that share one queue."""
    if request.param == "memory":
        queue = Queue()
        return lambda: MemoryEngine(queue)
    conninfo = conninfo_of(request.getfixturevalue("postgres_url"))
    PgQueuerEngine(conninfo).prepare()
    return lambda: PgQueuerEngine(conninfo)


class Hands:
    """A handler that notes what it was given, and whether two ran for one partner at once."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.at_once = self.most = 0
        self.twice: list[str] = []
        self.running: set[str] = set()

    async def __call__(self, job: Job) -> None:
        if job.partner in self.running:
            self.twice.append(job.partner)
        self.running.add(job.partner)
        self.begun.append(job.partner)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            if job.why == "breaks":
                raise RuntimeError("broken")
            await asyncio.sleep(self.seconds)
            self.ended.append(job.partner)
        finally:
            self.at_once -= 1
            self.running.discard(job.partner)


async def served(engines: list[Engine], hands: Hands, until: Callable[[], bool], *, slots: int = 4) -> None:
    """Serves with all of them until this is so, or fails after 20 seconds; then stops them."""
    serving = [asyncio.ensure_future(engine.serve(hands, slots, 30)) for engine in engines]
    try:
        await come(until)
    finally:
        for engine in engines:
            await engine.stop(5)
        await asyncio.wait_for(asyncio.gather(*serving), 20)


async def come(until: Callable[[], bool], seconds: float = 20) -> None:
    limit = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < limit, "it did not come to that"
        await asyncio.sleep(0.02)


def jobs(*partners: str, **more: int) -> list[Job]:
    return [Job(partner=partner, **more) for partner in partners]


def test_c1_a_partner_that_is_queued_or_runs_is_not_queued_again(make: Make) -> None:
    async def work() -> None:
        engine, hands = make(), Hands(0.3)
        assert await engine.submit(jobs("acme", "birch")) == 2
        assert await engine.submit(jobs("acme", "cedar")) == 1
        counts = await engine.counts()
        assert (counts["queued"], counts["running"]) == (3, 0)
        planner = make()

        async def again() -> None:
            await come(lambda: "acme" in hands.running)
            assert await planner.submit(jobs("acme")) == 0

        told = asyncio.ensure_future(again())
        await served([engine], hands, lambda: len(hands.ended) == 3)
        await told
        assert sorted(hands.begun) == ["acme", "birch", "cedar"]
        assert await planner.submit(jobs("acme")) == 1, "what has ended may be queued again"

    asyncio.run(work())


def test_c4_two_workers_never_run_one_partner_at_once(make: Make) -> None:
    names = [f"p{number}" for number in range(30)]

    async def work() -> None:
        hands, planner = Hands(0.02), make()
        await planner.submit(jobs(*names))

        async def planning() -> None:
            for _ in range(10):
                await planner.submit(jobs(*names))
                await asyncio.sleep(0.03)

        told = asyncio.ensure_future(planning())
        await served([make(), make()], hands, lambda: told.done() and set(hands.ended) == set(names))
        assert not hands.twice
        assert hands.most <= 8

    asyncio.run(work())


@pytest.mark.parametrize("slots", [1, 3])
def test_no_more_run_at_once_than_there_are_slots(make: Make, slots: int) -> None:
    async def work() -> None:
        hands, engine = Hands(1.5), make()
        await engine.submit(jobs(*"abcdef"[: slots + 1]))
        await served([engine], hands, lambda: len(hands.ended) == slots + 1, slots=slots)
        assert hands.most == slots

    asyncio.run(work())


def test_c6_an_emptied_engine_takes_everything_again(make: Make, request: pytest.FixtureRequest) -> None:
    async def work() -> None:
        engine, hands = make(), Hands()
        await engine.submit(jobs("acme", "birch"))
        if isinstance(engine, MemoryEngine):
            engine.queue.queued.clear()
        else:
            with psycopg.connect(conninfo_of(request.getfixturevalue("postgres_url")), autocommit=True) as connection:
                connection.execute("TRUNCATE engine.pgqueuer, engine.pgqueuer_log, engine.pgqueuer_statistics")
        assert (await engine.counts())["queued"] == 0
        assert await engine.submit(jobs("acme", "birch")) == 2
        await served([engine], hands, lambda: len(hands.ended) == 2)

    asyncio.run(work())


def test_c7_what_was_not_begun_goes_back_and_what_runs_may_end(make: Make) -> None:
    async def work() -> None:
        leaving, hands = make(), Hands(0.5)
        await leaving.submit(jobs("a", "b", "c"))
        serving = asyncio.ensure_future(leaving.serve(hands, 1, 30))
        await come(lambda: hands.at_once == 1)
        began = time.monotonic()
        await leaving.stop(10)
        await asyncio.wait_for(serving, 10)
        assert len(hands.begun) == len(hands.ended) == 1
        assert time.monotonic() - began < 5, "nobody waited for the rest"
        counts = await make().counts()
        assert (counts["queued"], counts["running"]) == (2, 0)

    asyncio.run(work())


def test_c7_what_runs_longer_than_the_grace_is_cancelled(make: Make) -> None:
    async def work() -> None:
        engine, hands = make(), Hands(60)
        await engine.submit(jobs("a"))
        serving = asyncio.ensure_future(engine.serve(hands, 2, 30))
        await come(lambda: hands.at_once == 1)
        await engine.stop(0.2)
        await asyncio.wait_for(serving, 10)
        assert hands.at_once == 0 and not hands.ended
        assert (await make().counts())["running"] == 0

    asyncio.run(work())


def test_c8_a_handler_that_raises_is_not_repeated(make: Make) -> None:
    async def work() -> None:
        engine, hands = make(), Hands()
        await engine.submit([Job(partner="a", why="breaks"), Job(partner="b")])
        await served([engine], hands, lambda: hands.ended == ["b"] and "a" in hands.begun)
        assert sorted(hands.begun) == ["a", "b"]
        counts = await make().counts()
        assert (counts["queued"], counts["running"]) == (0, 0)

    asyncio.run(work())


def test_c9_twenty_thousand_are_queued_in_ten_seconds_and_the_heavier_begin_first(make: Make) -> None:
    async def work() -> None:
        engine = make()
        many = [Job(partner=f"p{number}", weight=number % 7) for number in range(20_000)]
        began = time.process_time(), time.monotonic()
        assert await engine.submit(many) == 20_000
        assert min(time.process_time() - began[0], time.monotonic() - began[1]) < 10
        hands = Hands()
        await engine.submit(jobs("heavy", weight=1_000) + jobs("light", weight=-1) + jobs("middling", weight=500))
        await served([engine], hands, lambda: len(hands.ended) >= 5, slots=1)
        assert hands.begun[:2] == ["heavy", "middling"] and "light" not in hands.begun

    asyncio.run(work())


def test_what_ended_long_ago_is_swept(make: Make) -> None:
    async def work() -> None:
        engine, hands = make(), Hands()
        await engine.submit(jobs("a", "b"))
        await served([engine], hands, lambda: len(hands.ended) == 2)
        assert await make().sweep(datetime.now(UTC) - timedelta(days=7)) == 0
        assert await make().sweep(datetime.now(UTC) + timedelta(seconds=60)) >= 2

    asyncio.run(work())


def test_no_file_but_the_adapters_names_an_engine() -> None:
    package = Path(__file__).resolve().parents[2] / "billingsync"
    texts = {path.name: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    importing = {name for name, text in texts.items() if "import pgqueuer" in text or "from pgqueuer" in text}
    assert importing == {"engine_pgqueuer.py"}
    for path in (package / "fleet").glob("engine_*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 150


# Processes that die, on a database that stays or does not ----------------------------------------------------------------


class Workers:
    """Processes that work at one PostgreSQL, and what they wrote down there."""

    def __init__(self, url: str) -> None:
        self.conninfo = conninfo_of(url)
        self.engine = PgQueuerEngine(self.conninfo)
        self.engine.prepare()
        self.started: list[subprocess.Popen[bytes]] = []
        self.ask("CREATE TABLE seen (at timestamptz DEFAULT clock_timestamp(), worker text, partner text, what text)")

    def start(self, name: str, *, seconds: float = 0.2, slots: int = 4, grace_s: float = 10) -> subprocess.Popen[bytes]:
        words = [self.conninfo, name, str(slots), str(DEAD_AFTER_S), str(seconds), str(grace_s)]
        script = Path(__file__).with_name("engine_worker.py")
        process = subprocess.Popen([sys.executable, str(script), *words], stderr=subprocess.DEVNULL)
        self.started.append(process)
        return process

    def ask(self, query: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            cursor = connection.execute(query, values)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def seen(self, what: str) -> list[tuple[object, ...]]:
        return self.ask("SELECT worker, partner FROM seen WHERE what = %s ORDER BY at", what)

    def submit(self, *partners: str, why: str = "due") -> int:
        return asyncio.run(self.engine.submit([Job(partner=one, why=why) for one in partners]))

    def wait(self, until: Callable[[], bool], seconds: float = 60) -> None:
        limit = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < limit, self.ask("SELECT * FROM seen ORDER BY at")
            time.sleep(0.05)


@pytest.fixture
def workers(postgres_url: str) -> Iterator[Workers]:
    found = Workers(postgres_url)
    yield found
    for process in found.started:
        process.kill()
        process.wait(10)


def test_c2_what_was_queued_survives_everybody(workers: Workers) -> None:
    first = workers.start("one", seconds=60, slots=2)
    assert workers.submit("a", "b", "c", "d") == 4
    workers.wait(lambda: len(workers.seen("begins")) == 2)
    first.kill()
    workers.start("two")
    workers.wait(lambda: {partner for _, partner in workers.seen("ends")} == set("abcd"))


def test_c3_the_job_of_a_killed_worker_begins_elsewhere(workers: Workers) -> None:
    first = workers.start("one", seconds=60)
    workers.submit("a")
    workers.wait(lambda: len(workers.seen("begins")) == 1)
    workers.start("two")
    time.sleep(2)  # it has come up, and leaves the job to the first
    assert len(workers.seen("begins")) == 1
    first.kill()
    killed = workers.ask("SELECT clock_timestamp()")[0][0]
    workers.wait(lambda: ("two", "a") in workers.seen("ends"))
    took = workers.ask("SELECT at FROM seen WHERE worker = 'two' AND what = 'begins'")[0][0]
    assert took - killed < timedelta(seconds=DEAD_AFTER_S + 5)  # type: ignore[operator]


def test_c5_a_worker_that_was_frozen_does_not_end_the_others_job(workers: Workers) -> None:
    first = workers.start("one", seconds=3)
    workers.submit("a")
    workers.wait(lambda: len(workers.seen("begins")) == 1)
    os.kill(first.pid, signal.SIGSTOP)
    workers.start("two", seconds=8)
    workers.wait(lambda: ("two", "a") in workers.seen("begins"))
    os.kill(first.pid, signal.SIGCONT)
    workers.wait(lambda: ("one", "a") in workers.seen("ends"))
    time.sleep(1)  # the first has told the engine by now that its own is over
    assert workers.submit("a") == 0, "the second still runs it"
    workers.wait(lambda: ("two", "a") in workers.seen("ends"))
    workers.wait(lambda: workers.submit("a") == 1)


def test_c10_workers_come_back_after_the_database_cut_them_off(workers: Workers) -> None:
    workers.start("one")
    workers.submit("a")
    workers.wait(lambda: ("one", "a") in workers.seen("ends"))
    workers.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    workers.submit("b")
    workers.wait(lambda: ("one", "b") in workers.seen("ends"))


def test_c7_a_process_that_is_told_to_stop_ends_what_it_began(workers: Workers) -> None:
    first = workers.start("one", seconds=1, slots=2)
    workers.submit("a", "b", "c", "d", "e")
    workers.wait(lambda: len(workers.seen("begins")) == 2)
    first.terminate()
    assert first.wait(20) == 0
    assert len(workers.seen("begins")) == len(workers.seen("ends")) == 2
    counts = asyncio.run(workers.engine.counts())
    assert (counts["queued"], counts["running"]) == (3, 0)


def test_c13_what_a_handler_said_is_in_none_of_the_engines_tables(workers: Workers) -> None:
    workers.start("one")
    workers.submit("a", why="breaks")
    workers.submit("b")
    workers.wait(lambda: len(workers.seen("ends")) == 1 and len(workers.seen("begins")) == 2)
    workers.wait(lambda: not workers.ask("SELECT 1 FROM engine.pgqueuer"))
    for (table,) in workers.ask("SELECT table_name FROM information_schema.tables WHERE table_schema = 'engine'"):
        rows = workers.ask(f"SELECT t::text FROM engine.{table} t")
        assert "canary" not in str(rows)
