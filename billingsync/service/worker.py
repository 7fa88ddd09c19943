"""The service: cycles by the clock, one at a time, for years; stops on a signal, and tells who must know.

What is here runs in the thread that works; `process` watches it.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import structlog

from billingsync.connect import Connections, OnCall, connections
from billingsync.core.desk import OrderKind
from billingsync.core.period import Period
from billingsync.core.progress import Progress, Stage
from billingsync.core.schedule import Polling, next_look
from billingsync.core.states import CycleState
from billingsync.errors import BillingSyncError, LedgerError, UpstreamError
from billingsync.reconcile.orders import CARRIES
from billingsync.redaction import Redactor
from billingsync.run.orders import Carrier, Carry
from billingsync.service import daily, messages
from billingsync.service.cycle import Look
from billingsync.service.month import CLOSED, Month, read_months, write_months
from billingsync.service.notify import Delivery
from billingsync.service.ping import Pings
from billingsync.service.progress import Heartbeat, Stop
from billingsync.settings import LiveSettings, Settings
from billingsync.store.cycles import Cycle
from billingsync.store.ledger import Ledger, open_ledger
from billingsync.store.lock import who
from billingsync.store.notices import Thing

ORDERS_S = 2.0  # another process may have filed an order for the desk this long ago
PING_S = 25.0  # the start's ping and the end's, each with the time that a call may take
LIFE = timedelta(seconds=20)  # how often it shows in the ledger that it lives
TURN_S = 20.0  # the waiting loop looks at the clock this often: a clock that jumps is noticed
WOKEN_GAP = timedelta(seconds=60)  # a webhook that is called in a loop must not eat the call budget


class Connect(Protocol):
    """How a cycle opens its connections: `connect.connections`, or what a simulation has instead."""

    def __call__(
        self, settings: Settings, redactor: Redactor, *, on_call: OnCall, wait: Callable[[float], None]
    ) -> AbstractContextManager[Connections]: ...


def utc_now() -> datetime:
    return datetime.now(UTC)


def patience_s(settings: Settings) -> float:
    """After how long a silence the work hangs: the longest wait that is meant, one call, and some."""
    return max(300.0, settings.halo.absence_s) + max(settings.halo.timeout_s, settings.pax8.timeout_s) + 60.0


class Worker:
    """One worker over one ledger. `clock`, `connect` and `jitter` are for simulations; `carries` are the
    kinds of orders that it carries out."""

    def __init__(
        self,
        live: LiveSettings,
        ledger: Ledger,
        *,
        clock: Callable[[], datetime] = utc_now,
        connect: Connect = connections,
        jitter: float | None = None,
        delivery: Delivery | None = None,
        progress: Heartbeat | None = None,
        carries: Mapping[OrderKind, Carry] = CARRIES,
        again: Callable[[str], timedelta | None] = lambda cause: None,
    ) -> None:
        """`again`: how long to wait after a cycle that failed for this cause; None where the schedule counts."""
        settings = live.current()
        self.live, self.redactor, self.ledger, self.clock = live, live.redactor, ledger, clock
        self.progress = progress or Heartbeat(patience_s=patience_s(settings))
        self.delivery = delivery or Delivery(settings, ledger, live.redactor)
        self.pings = Pings(settings.ping.url.get_secret_value())
        self.next_at: datetime | None = None
        self.last_problem = ""
        self.last_cause = ""  # why the last cycle failed, see `messages.cause_of`
        self.is_out_of_memory, self.waited_s = False, 0.0  # for calls' turns
        self._connect, self._again = connect, again
        self._wake = threading.Event()
        self._asked_at: datetime | None = None  # when somebody wanted a look, or the earliest it is granted
        self._fresh = False  # what waits is planned again too, also where nothing changed
        self._last: datetime | None = None  # when the last look began
        self._ended: datetime | None = None
        self._pinged: datetime | None = None
        self._snapshot_tried: datetime | None = None
        self._shown_alive: datetime | None = None
        self.orders = Carrier(ledger, self._connected, kind="worker", carries=carries, clock=clock)
        share = random.random() if jitter is None else jitter  # noqa: S311  spreads load, guards nothing
        poll = settings.poll
        self.polling = Polling(
            from_day=poll.from_day, every_minutes=poll.every_minutes, alert_day=poll.alert_day, jitter=share
        )

    @property
    def settings(self) -> Settings:
        """Those that count now."""
        return self.live.current()

    # A cycle ---------------------------------------------------------------------------------------------------------

    def cycle(self) -> CycleState:
        """One cycle, whatever goes wrong in it. Returns its state. Raises Stop only."""
        self._last = self.clock()
        self.pings.send("start")
        state = CycleState.FAILED
        try:
            state = self._recorded_cycle(self._last)
        except LedgerError as failed:  # neither the cycle nor a notice can be written down
            self._log_failure(failed)
            self.next_at = self._last + self.polling.interval
            self.delivery.directly(messages.failure(failed))
        finally:
            self._ended = self.clock()
            self.pings.send("fail" if state == CycleState.FAILED else "well")
            self._pinged = self._ended
            self.delivery.wake()
        return state

    def _recorded_cycle(self, began: datetime) -> CycleState:
        cycle = self.ledger.start_cycle(began)
        since, months = read_months(cycle.months)
        fresh, self._fresh = self._fresh, False
        log = structlog.get_logger().bind(cycle=cycle.id)
        log.info("cycle started")
        state, things, checked, summary = CycleState.INTERRUPTED, [], [], dict(cycle.summary)
        retries = self.progress.counts()[1]
        try:
            try:
                with self._connected() as connected:
                    look = Look(
                        connected=connected,
                        now=began,
                        polling=self.polling,
                        who=who(),
                        say=self.progress.say,
                        since=since,
                        fresh=fresh,
                        services=dict(cycle.summary.get("services", {})),
                        months=months,
                    )
                    try:
                        look.everything()
                    finally:
                        since, things, checked, summary = look.since, look.things, look.checked, look.summary()
                        self.waited_s += connected.pax8.service.waited_s + connected.psa.service.waited_s
                state = look.state
            except BillingSyncError as failed:
                self._log_failure(failed)
                state, things = CycleState.FAILED, [*things, messages.failure(failed)]
                problem = {"code": failed.code, "message": failed.message}
                summary = summary | {"problem": problem, "cause": messages.cause_of(messages.failure(failed))}
            except Exception as bug:
                # Our own mistake must not stop the service: the next cycle may well go through.
                log.error("cycle failed", kind=type(bug).__name__, exc_info=True)
                state, things = CycleState.FAILED, [*things, _bug(bug)]
                self.is_out_of_memory = isinstance(bug, MemoryError)
                problem = {"code": "BS-BUG", "message": type(bug).__name__}
                summary = summary | {"problem": problem, "cause": "cycle:BS-BUG"}
        finally:
            summary = summary | {"services": self._services(summary.get("services", {}), retries)}
            self._end(cycle, state, since, months, things, checked, summary)
        log.info("cycle ended", state=state.value, next=self.next_at.isoformat() if self.next_at else None)
        return state

    def _services(self, known: dict[str, Any], before: dict[str, int]) -> dict[str, Any]:
        """What `status` shows of each service, with the calls that this cycle had to make again and the last time
        that the service answered well; that of an earlier process where this one has had no answer."""
        _, retries, contact = self.progress.counts()
        found = {}
        for name in sorted({*known, *contact}):
            service = dict(known.get(name, {}))
            service["retries"] = retries.get(name, 0) - before.get(name, 0)
            if name in contact:
                service["last_contact"] = datetime.fromtimestamp(contact[name], UTC).isoformat(timespec="seconds")
            found[name] = service
        return found

    def _end(
        self,
        cycle: Cycle,
        state: CycleState,
        since: Period | None,
        months: dict[Period, Month],
        things: list[Thing],
        checked: list[str],
        summary: dict[str, Any],
    ) -> None:
        """Writes the cycle down, then what people must be told of it, and says when the next one is."""
        now = self.clock()
        problem = summary.get("problem")
        self.last_problem = str(problem["code"]) if problem and state == CycleState.FAILED else ""
        if state != CycleState.FAILED:
            summary = summary | {"problem": None, "cause": ""}
        self.last_cause = str(summary.get("cause", ""))
        self.next_at = self.due(since, months, failed=state == CycleState.FAILED, now=now)
        if self.last_cause and (wait := self._again(self.last_cause)) is not None:
            self.next_at = now + wait
        clean: Any = self.redactor.value({"months": write_months(since, months), "summary": summary})
        self.ledger.end_cycle(
            cycle.id, state, months=clean["months"], summary=clean["summary"], next_at=self.next_at, now=now
        )
        told = self.ledger.tell([self._clean(thing) for thing in things], checked, now)
        for notice in told:
            structlog.get_logger().info("notice", about=notice.event, thing=notice.thing, title=notice.title)

    def _clean(self, thing: Thing) -> Thing:
        """Without any secret: notices lie in the database and go to others."""
        text = self.redactor.text
        steps = tuple(tuple(text(word) for word in step) for step in thing.steps)
        return Thing(
            key=text(thing.key),
            event=thing.event,
            title=text(thing.title),
            body=text(thing.body),
            steps=steps,
            lasting=thing.lasting,
        )

    @property
    def calls(self) -> int:
        """How many calls it has made so far."""
        return sum(self.progress.counts()[0].values())

    # The daily snapshot ------------------------------------------------------------------------------------------

    def snapshot_due(self) -> bool:
        """Whether the daily snapshot is still to be taken, and was not tried within the last interval."""
        now, tried = self.clock(), self._snapshot_tried
        if tried is not None and tried <= now < tried + self.polling.interval:
            return False
        return daily.is_due(self.ledger, self.settings.snapshot.at, self.settings.zone, now)

    def take_snapshot(self) -> None:
        """The daily snapshot and what people are told of it. Whatever goes wrong is logged and tried again later: no
        bill waits for it. Raises Stop only."""
        self._snapshot_tried = self.clock()
        things: list[Thing] = []
        log = structlog.get_logger()
        try:
            with self._connected() as connected:
                daily.Daily(connected=connected, now=self.clock(), say=self.progress.say, things=things).take()
            self.ledger.tell([self._clean(thing) for thing in things], (), self.clock())
        except BillingSyncError as failed:
            self._log_failure(failed)
        except Exception as bug:
            log.error("the snapshot failed", kind=type(bug).__name__, exc_info=True)
        self.delivery.wake()

    def due(self, since: Period | None, months: dict[Period, Month], *, failed: bool, now: datetime) -> datetime:
        """When to look next."""
        zone = self.settings.zone
        if since is None:  # never got so far as to know which month it is
            return now + self.polling.interval
        closed = {period for period, month in months.items() if month.state in CLOSED}
        return next_look(
            now, zone=zone, polling=self.polling, since=since, closed=closed, last=self._last, failed=failed
        )

    def _log_failure(self, failed: BillingSyncError) -> None:
        service = failed.service if isinstance(failed, UpstreamError) else None
        structlog.get_logger().error("cycle failed", code=failed.code, says=failed.message, service=service)

    # The loop --------------------------------------------------------------------------------------------------------

    def once(self) -> CycleState:
        """One cycle, the day's snapshot where it is due, and what people must be told, all ended when it comes back.
        Raises Stop only."""
        self.pings.start()
        state = self.cycle()
        if self.snapshot_due() and not self.last_cause.startswith(("login:", "upstream:")):  # it would only ask again
            self.take_snapshot()
        self.delivery.round()
        self.delivery.stop()
        self.pings.stop(PING_S)
        return state

    def wake(self, *, gently: bool = False) -> None:
        """Look now; `gently`: not sooner than a minute after the last cycle."""
        now = self.clock()
        earliest = self._ended + WOKEN_GAP if gently and self._ended else now
        self._fresh = self._fresh or not gently
        self._asked_at = max(now, earliest)
        self._wake.set()

    def wake_for_orders(self) -> None:
        """The desk filed an order."""
        self._wake.set()

    def stop(self) -> None:
        self.progress.stopping.set()
        self._wake.set()

    def work(self) -> None:
        """Cycles until told to stop. At the start it looks at once: whoever starts it wants to see that it works."""
        with suppress(Stop):
            while not self.progress.stopping.is_set():
                self._carry_orders()
                now = self.clock()
                due = min(filter(None, (self.next_at or now, self._asked_at)))
                if now >= due or (self._last is not None and self._last > now + timedelta(minutes=5)):
                    self._asked_at = None
                    self.progress.say(Progress(stage=Stage.CYCLE))
                    self.cycle()
                    continue
                if self.snapshot_due():
                    self.progress.say(Progress(stage=Stage.DAILY))
                    self.take_snapshot()
                    continue
                self.progress.say(Progress(stage=Stage.IDLE, about=due.isoformat(timespec="seconds")))
                self._still_alive(now)
                self._wake.wait(min(TURN_S, ORDERS_S, (due - now).total_seconds()))
                self._wake.clear()

    def _carry_orders(self) -> None:
        """What the desk asked for, one after another."""
        try:
            while not self.progress.stopping.is_set() and self.orders.one():
                self.progress.say(Progress(stage=Stage.ORDER))
        except LedgerError as failed:
            structlog.get_logger("desk").error("orders wait", code=failed.code, says=failed.message)

    def _connected(self) -> AbstractContextManager[Connections]:
        """With the keys that were saved last, on the desk of whatever process; notices use them too from now on."""
        settings = self.live.newest()
        self.delivery.use(settings)
        return self._connect(settings, self.redactor, on_call=self.progress.note_call, wait=self.progress.wait)

    def show_life(self) -> None:
        """So that desks in other processes leave their orders to this one."""
        now = self.clock()
        if self._shown_alive is None or now - self._shown_alive >= LIFE:
            self._shown_alive = now
            with suppress(LedgerError):
                self.orders.show_life()

    def _still_alive(self, now: datetime) -> None:
        """While it rests well, the dead man's switch is told as often as while it polls."""
        cycle_failed = bool(self.last_problem)
        if self._pinged is not None and not cycle_failed and now - self._pinged >= self.polling.interval:
            self.pings.send("well")
            self._pinged = now


def _bug(bug: Exception) -> Thing:
    where = bug.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else "an unknown place"
    return Thing(
        key="failed:cycle:BS-BUG",
        event="failed",
        title="A cycle failed in a way that it should not",
        body=f"{type(bug).__name__} at {place}. Nothing is half-recorded; the next cycle goes on.",
        steps=(("billingsync", "run", "--dry-run", "--debug"),),
        lasting=True,
    )


def open_worker_ledger(settings: Settings) -> Ledger:
    """The ledger, after a look at who else may read it."""
    ledger = open_ledger(settings.database_url, partner=settings.partner)
    file = ledger.database.file
    with suppress(OSError):
        if file is not None and file.stat().st_mode & 0o077:
            structlog.get_logger().warning("others may read the database", file=str(file), remedy=f"chmod 600 {file}")
    return ledger
