"""The worker of a fleet: plans what is due, and gives each partner's cycle to a child of its own [F1] [F2].

The parent holds no partner's secret. It asks the ledger which partners are due, tells the engine, and for each job
that the engine hands it forks a child from a server process that has the modules loaded. Losing a job or handing it
out twice does no harm: the child takes the partner's lease, or ends.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import secrets
import signal
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess

import structlog

from billingsync import __version__
from billingsync.errors import LedgerError
from billingsync.fleet.bureau import Bureau
from billingsync.fleet.cycle import OVER_MEMORY, Work, in_a_child
from billingsync.fleet.engine import Engine, Job
from billingsync.fleet.engines import counts_of
from billingsync.store.book import LEASE_S
from billingsync.store.fleet import Fleet
from billingsync.store.fleet_due import due_partners
from billingsync.store.fleet_turns import died
from billingsync.store.fleet_workers import leave, show_worker

LONGEST_S = 3600.0  # no cycle takes longer; one that does hangs
MEMORY = 1 << 30  # bytes of data that one cycle may have
GRACE_S = 90.0  # a write in hand may end: one call of 60 s and what follows it


@dataclass(kw_only=True)
class FleetWorker:
    """`name` tells it from other workers, for people. What is due is looked at four times in `lease_s`, after which the
    partners of a worker that died may be taken over."""

    fleet: Fleet
    engine: Engine
    database_url: str
    slots: int
    name: str
    lease_s: float = LEASE_S
    longest_s: float = LONGEST_S
    grace_s: float = GRACE_S
    memory: int = MEMORY
    log_format: str | None = None
    log_level: str = "info"
    bureau: Bureau | None = None
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    counts: Counter[str] = field(default_factory=Counter)  # since the start: cycles that ended, that died by kind
    _context: ForkServerContext = field(init=False)
    _children: set[ForkServerProcess] = field(default_factory=set, init=False)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["billingsync.fleet.warm"])

    async def work(self) -> None:
        """Until SIGTERM or SIGINT; then nothing new begins, and what runs ends with the write that it has in hand."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        log = structlog.get_logger()
        log.info("fleet worker started", name=self.name, slots=self.slots)
        planning = asyncio.ensure_future(self._plan())
        telling = asyncio.ensure_future(self._tell())
        serving = asyncio.ensure_future(self.engine.serve(self._handle, self.slots, self.lease_s))
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({planning, serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopping.set()
            log.info("stopping", running=len(self._children))
            for child in self._children:
                child.terminate()
            await self.engine.stop(self.grace_s)
            await asyncio.gather(planning, telling, serving, stopped)
            with suppress(LedgerError):  # then it is seen to be gone
                await asyncio.to_thread(leave, self.fleet.database, self.id)
        log.info("stopped cleanly")

    async def _plan(self) -> None:
        """Tells the engine what is due, as long as we work. That the database is away is told, and tried again."""
        while not self._stopping.is_set():
            try:
                if await self._show():
                    self._stopping.set()
                    return
                due = await asyncio.to_thread(due_partners, self.fleet)
                new = await self.engine.submit([Job(partner=one.name, weight=one.weight) for one in due])
                if new:
                    structlog.get_logger().info("partners are due", due=len(due), queued=new)
            except (LedgerError, OSError) as away:
                structlog.get_logger().warning("what is due cannot be read", says=str(away))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self.lease_s / 4)

    async def _tell(self) -> None:
        """Tells the bureau what it must know, beside the planning: an address may hang for half a minute."""
        while self.bureau is not None and not self._stopping.is_set():
            try:
                await asyncio.to_thread(self.bureau.round)
            except LedgerError as away:
                structlog.get_logger().warning("the bureau's notices cannot be read", says=away.message)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self.lease_s / 4)

    async def _show(self) -> bool:
        """Shows itself in the database. Whether somebody drained it."""
        counts = {**await counts_of(self.engine), **self.counts}
        values = {"name": self.name, "version": __version__, "slots": self.slots, "running": len(self._children)}
        by = await asyncio.to_thread(show_worker, self.fleet.database, self.id, values, counts)
        if by:
            structlog.get_logger().info("drained", by=by)
        return bool(by)

    async def _handle(self, job: Job) -> None:
        work = Work(
            database_url=self.database_url,
            partner=job.partner,
            memory=self.memory,
            lease_s=self.lease_s,
            log_format=self.log_format,
            log_level=self.log_level,
        )
        child = self._context.Process(target=in_a_child, args=(work,), name=f"cycle of {job.partner}")
        await asyncio.to_thread(_start, child)
        self._children.add(child)
        if self._stopping.is_set():  # meanwhile: those that ran then were told
            child.terminate()
        in_time = True
        try:
            in_time = await self._ended(child)
        finally:
            child.kill()
            child.join()
            self._children.discard(child)
        if not in_time:
            await self._died(job.partner, "time", f"had not ended after {self.longest_s / 60:g} minutes")
        elif child.exitcode:
            await self._died(job.partner, *self._how(child.exitcode))

    def _how(self, exit: int) -> tuple[str, str]:
        """How a cycle died: a word to count by, and for people."""
        if exit == OVER_MEMORY:
            return "memory", f"needed more than {self.memory >> 20} MB of memory"
        if exit < 0:
            return "signal", f"was killed by signal {-exit}"
        return "exit", f"ended with exit code {exit}"

    async def _died(self, partner: str, kind: str, why: str) -> None:
        """Counts it; a partner whose cycles die again and again is parked."""
        log = structlog.get_logger()
        log.error("a cycle died", partner=partner, kind=kind, says=why)
        self.counts[f"died_{kind}"] += 1
        try:
            parked = await asyncio.to_thread(died, self.fleet.database, partner, why)
        except LedgerError as away:
            log.warning("a death cannot be written down", partner=partner, says=away.message)
            return
        if parked:
            log.error("the partner is parked", partner=partner, next=f"billingsync fleet resume {partner}")

    async def _ended(self, child: ForkServerProcess) -> bool:
        """Waits for the child. False where it takes too long."""
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(child.sentinel, over.set)
        try:
            await asyncio.wait_for(over.wait(), self.longest_s)
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(child.sentinel)
        return True


def _start(child: ForkServerProcess) -> None:
    """Starts it. SIGTERM is not for the server that forks the children: it would take them all with it, where systemd
    sends it to every process of a service."""
    resource_tracker.ensure_running()  # which would else let SIGTERM in again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # of this thread, and of the server that it begins
    child.start()
