"""A worker process for the engine's contract: it writes down in `seen` when each job begins and ends, and stops at
SIGTERM. `python engine_worker.py CONNINFO NAME SLOTS DEAD_AFTER_S SECONDS_A_JOB GRACE_S`."""

from __future__ import annotations

import asyncio
import signal
import sys

import psycopg

from billingsync.fleet.engine import Job
from billingsync.fleet.engine_pgqueuer import PgQueuerEngine


async def main(conninfo: str, name: str, slots: int, dead_after_s: float, seconds: float, grace_s: float) -> None:
    engine = PgQueuerEngine(conninfo)

    async def note(job: Job, what: str) -> None:
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
            await connection.execute(
                "INSERT INTO seen (worker, partner, what) VALUES (%s, %s, %s)", (name, job.partner, what)
            )

    async def handle(job: Job) -> None:
        await note(job, "begins")
        if job.why == "breaks":
            raise RuntimeError("canary-secret of this partner")
        await asyncio.sleep(seconds)
        await note(job, "ends")

    async def stop() -> None:
        await engine.stop(grace_s)

    stopping: list[asyncio.Task[None]] = []
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, lambda: stopping.append(asyncio.ensure_future(stop()))
    )
    await engine.serve(handle, slots, dead_after_s)
    await asyncio.gather(*stopping)


if __name__ == "__main__":
    _, conninfo, name, slots, dead_after_s, seconds, grace_s = sys.argv
    asyncio.run(main(conninfo, name, int(slots), float(dead_after_s), float(seconds), float(grace_s)))
