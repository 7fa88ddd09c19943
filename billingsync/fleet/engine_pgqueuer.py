"""pgqueuer as an `Engine`: a queue in tables of a schema of its own in the fleet's PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import psycopg
import structlog
from pgqueuer.adapters.drivers.psycopg import PsycopgDriver
from pgqueuer.adapters.persistence import qb
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain import models, types
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.settings import DBSettings

from billingsync.errors import LedgerError
from billingsync.fleet.engine import Handle, Job

LOOK_S = 1.0  # how long a free slot may wait where a notification was lost
AGAIN_S = 1.0  # between tries to reach the database
TURN_S = 0.2  # how soon a job that waits for a slot sees that the worker stops
SCHEMA = "engine"
SWEEP = """WITH counted AS (DELETE FROM engine.pgqueuer_statistics WHERE created < $1)
DELETE FROM engine.pgqueuer_log WHERE created < $1"""
_ENTRY = "cycle"
Ended = tuple[models.Job, types.JOB_STATUS, models.TracebackRecord | None]

log = structlog.get_logger()


@dataclass
class _Queries(Queries):
    """A worker that was frozen and is woken must not end a job that another one has taken over meanwhile."""

    async def log_jobs(self, ended: list[Ended]) -> None:
        now = [(one, await self.queue_job_by_id(one[0].id)) for one in ended]
        ours = [one for one, row in now if row is not None and row.queue_manager_id == one[0].queue_manager_id]
        await super().log_jobs(ours)


@dataclass
class PgQueuerEngine:
    """`conninfo` is libpq's, of PostgreSQL itself: a pooler in transaction mode cannot pass on notifications."""

    conninfo: str
    _manager: QueueManager | None = field(default=None, init=False)
    _running: set[asyncio.Future[None]] = field(default_factory=set, init=False)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def prepare(self) -> None:
        async def work() -> None:
            async with self._connected() as queries:
                await (queries.upgrade() if await queries.schema_is_installed() else queries.install())

        asyncio.run(work())

    async def submit(self, jobs: Sequence[Job]) -> int:
        if not jobs:
            return 0
        words: list[bytes | None] = [f"{job.partner} {job.why}".encode() for job in jobs]
        keys: list[str | None] = [job.partner for job in jobs]
        weights = [job.weight for job in jobs]
        try:
            async with self._connected() as queries:
                ids = await queries.enqueue([_ENTRY] * len(jobs), words, weights, None, keys, on_conflict="skip")
        except psycopg.OperationalError as lost:
            raise LedgerError(f"The engine's database is away ({type(lost).__name__}).") from lost
        return sum(id_ is not None for id_ in ids)

    async def serve(self, handle: Handle, slots: int, dead_after_s: float) -> None:
        while not self._stopping.is_set():
            try:
                async with self._connected() as queries:
                    await self._serve(queries, handle, slots, dead_after_s)
            except psycopg.OperationalError as lost:
                log.warning("the engine's database is away", says=type(lost).__name__)
                await asyncio.sleep(AGAIN_S)

    async def _serve(self, queries: Queries, handle: Handle, slots: int, dead_after_s: float) -> None:
        free = asyncio.Semaphore(slots)
        manager = self._manager = QueueManager(queries, queries.qbe.settings.channel)

        @manager.entrypoint(_ENTRY)
        async def cycle(job: models.Job) -> None:
            if not await self._turn(free):
                raise RetryRequested(delay=timedelta(0), reason="this worker stops")
            partner, _, why = (job.payload or b"").decode().partition(" ")
            try:
                await self._handled(handle, Job(partner=partner, why=why, weight=job.priority))
            finally:
                free.release()

        if not self._stopping.is_set():
            await manager.run(
                dequeue_timeout=timedelta(seconds=LOOK_S),
                batch_size=max(1, slots // 2),
                max_concurrent_tasks=max(2, slots),  # the library asks for twice the batch, so one slot needs a queue
                heartbeat_timeout=timedelta(seconds=dead_after_s),
            )

    async def _turn(self, free: asyncio.Semaphore) -> bool:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                return await asyncio.wait_for(free.acquire(), TURN_S)
        return False

    async def _handled(self, handle: Handle, job: Job) -> None:
        """What goes wrong is told by its kind alone: the library would keep a traceback, with all that is in it."""
        task = asyncio.ensure_future(handle(job))
        self._running.add(task)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a cycle broke off", partner=job.partner, says=type(error).__name__)

    async def stop(self, grace_s: float) -> None:
        self._stopping.set()
        if self._manager is not None:
            self._manager.shutdown.set()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace_s)
            for task in late:
                task.cancel()

    async def counts(self) -> Mapping[str, int]:
        async with self._connected() as queries:
            sizes, ages = await queries.queue_size(), await queries.queue_age()
        queued, running = (sum(one.count for one in sizes if one.status == state) for state in ("queued", "picked"))
        oldest_s = int(max([0, *(one.oldest_age_seconds for one in ages)]))
        return {"queued": queued, "running": running, "oldest_s": oldest_s}

    async def sweep(self, before: datetime) -> int:
        async with self._connected() as queries:
            return int((await queries.driver.execute(SWEEP, before)).rpartition(" ")[2])

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Queries]:
        settings = DBSettings(db_schema=SCHEMA)
        async with await psycopg.AsyncConnection.connect(self.conninfo, autocommit=True) as connection:
            yield _Queries(
                PsycopgDriver(connection), qb.QueryBuilderEnvironment(settings), qb.QueryQueueBuilder(settings)
            )
