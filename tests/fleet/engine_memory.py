"""An `Engine` without a database, for tests: all workers share one `Queue`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from billingsync.fleet.engine import Handle, Job


@dataclass
class Queue:
    queued: dict[str, tuple[Job, float]] = field(default_factory=dict)  # by partner, with the time of submission
    running: dict[str, Job] = field(default_factory=dict)
    ended: list[tuple[Job, datetime]] = field(default_factory=list)


@dataclass
class MemoryEngine:
    queue: Queue
    _stopping: bool = False
    _tasks: set[asyncio.Future[None]] = field(default_factory=set)

    def prepare(self) -> None:
        """There is nothing to make."""

    async def submit(self, jobs: Sequence[Job]) -> int:
        new = 0
        for job in jobs:
            if job.partner not in self.queue.queued and job.partner not in self.queue.running:
                self.queue.queued[job.partner] = (job, time.monotonic())
                new += 1
        return new

    async def serve(self, handle: Handle, slots: int, dead_after_s: float) -> None:
        while not self._stopping:
            while self.queue.queued and len(self._tasks) < slots:
                job = max((job for job, _ in self.queue.queued.values()), key=lambda one: one.weight)
                del self.queue.queued[job.partner]
                self.queue.running[job.partner] = job
                task = asyncio.ensure_future(handle(job))
                self._tasks.add(task)
                task.add_done_callback(lambda done, job=job: self._ended(job, done))
            await asyncio.sleep(0.01)
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def _ended(self, job: Job, task: asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        self.queue.running.pop(job.partner, None)
        self.queue.ended.append((job, datetime.now(UTC)))
        if not task.cancelled():
            task.exception()

    async def stop(self, grace_s: float) -> None:
        self._stopping = True
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=grace_s)
            for task in late:
                task.cancel()

    async def counts(self) -> Mapping[str, int]:
        oldest = max((time.monotonic() - at for _, at in self.queue.queued.values()), default=0)
        return {"queued": len(self.queue.queued), "running": len(self.queue.running), "oldest_s": int(oldest)}

    async def sweep(self, before: datetime) -> int:
        kept = [one for one in self.queue.ended if one[1] >= before]
        gone = len(self.queue.ended) - len(kept)
        self.queue.ended[:] = kept
        return gone
