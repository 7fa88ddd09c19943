"""The worker of a fleet: plans what is due, and gives each partner's cycle to a child of its own [F1] [F2].

The parent holds no partner's secret. It asks the ledger which partners are due, tells the engine, and for each job
that the engine hands it forks a child from a server process that has the modules loaded. Losing a job or handing it
out twice does no harm: the child takes the partner's lease, or ends.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import secrets
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess

import structlog

from billingsync import __version__
from billingsync.errors import LedgerError
from billingsync.fleet.bureau import Bureau
from billingsync.fleet.cycle import OVER_MEMORY, Work, in_a_child
from billingsync.fleet.engine import Engine, Job
from billingsync.fleet.engines import counts_of
from billingsync.fleet.vitals import NOT_NOW, FleetVitals
from billingsync.store.book import LEASE_S
from billingsync.store.fleet import Fleet
from billingsync.store.fleet_due import due_partners, size_of
from billingsync.store.fleet_turns import died
from billingsync.store.fleet_workers import leave, show_worker

LONGEST_S = 3600.0  # no cycle takes longer; one that does hangs
MEMORY = 1 << 30  # bytes of data that one cycle may have
FULL = 0.95  # of the database's room: from then on nothing new begins
TURN_S = 1200.0  # a cycle that posts for longer comes back, so that drains are short and slots turn
MOST_TOLD = 4096  # bytes of what a child tells at its end
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
    turn_s: float = TURN_S
    log_format: str | None = None
    log_level: str = "info"
    bureau: Bureau | None = None
    database_bytes: int = 0  # room that the database has; 0: unknown
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    vitals: FleetVitals = field(init=False)
    _context: ForkServerContext = field(init=False)
    _children: set[ForkServerProcess] = field(default_factory=set, init=False)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        self.vitals = FleetVitals(slots=self.slots, tick_s=self.lease_s / 4, longest_s=self.longest_s)
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
        self.vitals.is_serving = True
        serving.add_done_callback(lambda _: setattr(self.vitals, "is_serving", False))
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
                full = await self._full()
                if await self._show(full):
                    self._stopping.set()
                    return
                if full:
                    structlog.get_logger().error("nothing new begins", says=full)
                    self.vitals.planned()
                    await self._pause()
                    continue
                due = await asyncio.to_thread(due_partners, self.fleet)
                new = await self.engine.submit([Job(partner=one.name, weight=one.weight) for one in due])
                if new:
                    structlog.get_logger().info("partners are due", due=len(due), queued=new)
                self.vitals.planned()
            except (LedgerError, OSError) as away:
                structlog.get_logger().warning("what is due cannot be read", says=str(away))
                self.vitals.planned(getattr(away, "code", type(away).__name__))
            await self._pause()

    async def _pause(self) -> None:
        """Until the next look, or until we are to stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), self.lease_s / 4)

    async def _full(self) -> str:
        """Why nothing new may begin, "" where it may: a database that fills up loses the end of what has begun."""
        if not self.database_bytes:
            return ""
        size = await asyncio.to_thread(size_of, self.fleet)
        if size < self.database_bytes * FULL:
            return ""
        return f"the database is nearly full: {size / 10**9:.2f} of {self.database_bytes / 10**9:g} GB"

    async def _tell(self) -> None:
        """Tells the bureau what it must know, beside the planning: an address may hang for half a minute."""
        while self.bureau is not None and not self._stopping.is_set():
            try:
                full = await self._full()
                more = [("worker:full", "The database is nearly full", f"No cycle begins: {full}.")] if full else []
                await asyncio.to_thread(self.bureau.round, more)
            except LedgerError as away:
                structlog.get_logger().warning("the bureau's notices cannot be read", says=away.message)
            await self._pause()

    async def _show(self, says: str) -> bool:
        """Shows itself in the database. Whether somebody drained it."""
        self.vitals.engine = await counts_of(self.engine)
        deaths = {f"died_{kind}": number for kind, number in self.vitals.deaths.items()}
        counts = {**self.vitals.engine, **self.vitals.cycles, **deaths}
        values = {"name": self.name, "version": __version__, "slots": self.slots, "running": len(self._children)}
        by = await asyncio.to_thread(show_worker, self.fleet.database, self.id, values, counts, says)
        if by:
            structlog.get_logger().info("drained", by=by)
        return bool(by)

    async def _handle(self, job: Job) -> None:
        work = Work(
            database_url=self.database_url,
            partner=job.partner,
            memory=self.memory,
            turn_s=self.turn_s,
            lease_s=self.lease_s,
            log_format=self.log_format,
            log_level=self.log_level,
        )
        hears, tells = self._context.Pipe(duplex=False)
        child = self._context.Process(target=in_a_child, args=(work, tells), name=f"cycle of {job.partner}")
        await asyncio.to_thread(_start, child)
        tells.close()
        self._children.add(child)
        self.vitals.children[job.partner] = self.vitals.clock()
        if self._stopping.is_set():  # meanwhile: those that ran then were told
            child.terminate()
        in_time = True
        try:
            in_time = await self._ended(child)
        finally:
            child.kill()
            child.join()
            self._children.discard(child)
            self.vitals.children.pop(job.partner, None)
            self._hear(hears)
        if not in_time:
            await self._died(job.partner, "time", f"had not ended after {self.longest_s / 60:g} minutes")
        elif child.exitcode:
            await self._died(job.partner, *self._how(child.exitcode))

    def _hear(self, hears: Connection) -> None:
        """What the child told of its cycle, if it came so far."""
        with hears, suppress(EOFError, OSError):
            if not hears.poll():
                return
            ended = json.loads(hears.recv_bytes(MOST_TOLD))
            self.vitals.cycles[ended["state"] or NOT_NOW] += 1
            self.vitals.waited_s += ended.get("waited_s", 0.0)
            self.vitals.lease_losses += bool(ended.get("lease_lost"))
            if ended.get("late_s") is not None:
                self.vitals.late(ended["late_s"])

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
        self.vitals.deaths[kind] += 1
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
