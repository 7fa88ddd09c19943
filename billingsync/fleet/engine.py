"""The seam to the library that hands cycles to workers. It holds no truth: what is due, who may work and what was
posted stands in the ledger, so an engine may lose a job, repeat it or be emptied, and nothing is billed twice or not at
all [F1]."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One cycle of one partner. `why` is a short word for people, e.g. "due"; a heavier job begins before lighter ones.
    Nothing else may be in it: what an engine keeps is no place for a secret or an amount."""

    partner: str
    why: str = "due"
    weight: int = 0


Handle = Callable[[Job], Awaitable[None]]


class Engine(Protocol):
    """One object for one process. All but `prepare` run in one event loop."""

    def prepare(self) -> None:
        """Makes or brings up what the engine keeps in the database; `db upgrade` alone calls it."""

    async def submit(self, jobs: Sequence[Job]) -> int:
        """Queues jobs, and gives how many: a partner that is queued or running counts 0. LedgerError where the database
        is away."""

    async def serve(self, handle: Handle, slots: int, dead_after_s: float) -> None:
        """Gives jobs to `handle`, so many at a time, until `stop`. A job whose process shows no sign of life for
        `dead_after_s` is handed to another. A `handle` that raises is told to the log and not repeated."""

    async def stop(self, grace_s: float) -> None:
        """Begins nothing new; what was not begun goes back at once, what runs may end within so many seconds and is
        cancelled after them. Comes back when `serve` is about to."""

    async def counts(self) -> Mapping[str, int]:
        """`queued` and `running` jobs, and `oldest_s`: seconds that the oldest queued one waits."""

    async def sweep(self, before: datetime) -> int:
        """Deletes what the engine remembers of jobs that ended before this moment, and gives how many."""
