"""One cycle of one partner, in a process of its own [F2]: it reads the partner's published files and its secrets, holds
the partner's lease for the whole cycle, does what `worker --once` does, and ends."""

from __future__ import annotations

import ctypes
import json
import math
import multiprocessing.connection
import os
import resource
import signal
import tempfile
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import structlog

from billingsync.connect import FleetLimits, connections
from billingsync.core.states import CycleState
from billingsync.errors import BillingSyncError, LedgerError, Locked, SecretsError
from billingsync.fleet.again import share_of, wait_after
from billingsync.fleet.bureau import waiting
from billingsync.fleet.fleet_file import read_fleet_file
from billingsync.fleet.layout import FLEET
from billingsync.fleet.published import published_files, published_settings, write_rules
from billingsync.fleet.turn import TurnHeartbeat
from billingsync.log import set_up_logging
from billingsync.redaction import Redactor
from billingsync.rulebook.file import read_rules_text
from billingsync.service.notify import Delivery
from billingsync.service.progress import Stop
from billingsync.service.worker import Worker, patience_s
from billingsync.settings import LiveSettings, Settings
from billingsync.setup.orders import carries
from billingsync.store import fleet_turns
from billingsync.store.book import LEASE_S
from billingsync.store.fleet import open_fleet
from billingsync.store.fleet_due import newest_version
from billingsync.store.fleet_turns import Turn
from billingsync.store.ledger import Ledger, open_ledger
from billingsync.store.lock import who

AGAIN = timedelta(hours=1)  # after a failure before the cycle began: somebody must mend something
OVER_MEMORY = 77  # how a child ends that had to have more memory than it may
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a cycle is given: no secret but the database's. `memory`: bytes of data that it may have, 0 for no bound.
    `turn_s`: after so long it comes back between two postings, and is due again at once."""

    database_url: str
    partner: str
    memory: int = 0
    turn_s: float = math.inf
    lease_s: float = LEASE_S
    log_format: str | None = None
    log_level: str = "info"


def in_a_child(work: Work, tell: Connection | None = None) -> None:
    """The child's whole life: it dies with its parent, and ends with 0 whatever became of the cycle, which is in the
    ledger. `tell` gets an `Ended` as JSON, with `state` None where no cycle began."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # before any thread begins: it has what we have
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then asks us to stop
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # of the server that forked us
    threading.Thread(target=_die_with_the_worker, name="parent", daemon=True).start()
    if work.memory:
        resource.setrlimit(resource.RLIMIT_DATA, (work.memory, work.memory))
    ended: dict[str, object] = {"state": None}
    try:
        ended = asdict(one_cycle(work))
    except Locked as not_now:  # or paused
        structlog.get_logger().info("no cycle now", says=not_now.message)
    except BillingSyncError as failed:  # the ledger could not be opened
        structlog.get_logger().error("no cycle began", code=failed.code, says=failed.message)
    except MemoryError:
        os._exit(OVER_MEMORY)
    if tell is not None:
        tell.send_bytes(json.dumps(ended).encode())


def _die_with_the_worker() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a cycle came to; `cause`: why it failed, e.g. "login:Pax8", "" where it did not."""

    state: CycleState
    cause: str = ""
    late_s: float | None = None  # from when it was due to its end, where it posted
    waited_s: float = 0.0  # for calls' turns
    lease_lost: bool = False


def one_cycle(work: Work) -> Ended:
    """The cycle. Locked where the partner is at work elsewhere, Paused where no run may begin for it."""
    redactor = Redactor(())
    set_up_logging(format=work.log_format, level=work.log_level, redact=redactor.text)
    structlog.contextvars.bind_contextvars(partner=work.partner)
    with (
        open_ledger(work.database_url, partner=work.partner, lease_s=work.lease_s) as ledger,
        tempfile.TemporaryDirectory(prefix="billingsync-") as folder,
    ):
        try:
            with ledger.cycle_lease(who()):
                return _counted(work, ledger, redactor, Path(folder))
        except LedgerError as away:
            structlog.get_logger().error("the cycle broke off", code=away.code, says=away.message)
            return Ended(state=CycleState.INTERRUPTED)


def _counted(work: Work, ledger: Ledger, redactor: Redactor, folder: Path) -> Ended:
    """The cycle, with its beginning and its end written down: one that never ends parks the partner at last."""
    turn = fleet_turns.begin(ledger.database, work.partner)
    last, began = ledger.last_cycle(), datetime.now(UTC)
    due = last.next_at if last is not None and last.next_at is not None else began
    cause, calls, waited_s = "", 0, 0.0
    try:
        settings, limits = _settings(work, folder)
    except BillingSyncError as failed:
        cause = "secrets" if isinstance(failed, SecretsError) else f"cycle:{failed.code}"
        state = _not_begun(ledger, failed, cause, turn)
    else:
        worker = _worker(work, settings, limits, ledger, redactor, turn)
        os.chdir(folder)
        threading.Thread(target=_told_to_stop, args=[worker], name="signals", daemon=True).start()
        try:
            state = worker.once()
        except Stop:
            state = CycleState.INTERRUPTED
        if worker.is_out_of_memory:
            raise MemoryError
        cause, calls, waited_s = worker.last_cause, worker.calls, worker.waited_s
    mine = ledger.last_cycle()
    posted = mine is not None and mine.state != CycleState.FAILED and bool(mine.summary.get("runs"))
    late_s = max((datetime.now(UTC) - due).total_seconds(), 0.0) if posted else None
    fleet_turns.end(ledger.database, work.partner, cause=cause, month=f"{datetime.now(UTC):%Y-%m}", calls=calls)
    lost = not ledger.keeps_cycle_lease()
    return Ended(state=state, cause=cause, late_s=late_s, waited_s=waited_s, lease_lost=lost)


def _worker(
    work: Work, settings: Settings, limits: FleetLimits, ledger: Ledger, redactor: Redactor, turn: Turn
) -> Worker:
    live = LiveSettings(settings, redactor)
    live.renew(settings)
    connect = partial(connections, opened=ledger, limits=limits)  # the ledger holds the lease
    return Worker(
        live,
        ledger,
        connect=connect,
        carries=carries(live),
        jitter=share_of(work.partner),
        progress=TurnHeartbeat(patience_s=patience_s(settings), turn_s=work.turn_s),
        delivery=Delivery(settings, ledger, redactor, waits=waiting(ledger.database)),
        again=lambda cause: wait_after(cause, turn.failures_of(cause), work.partner),
    )


def _told_to_stop(worker: Worker) -> None:
    signal.sigwait({signal.SIGTERM})
    worker.stop()


def _not_begun(ledger: Ledger, failed: BillingSyncError, cause: str, turn: Turn) -> CycleState:
    """Writes down that the cycle failed before it could ask anybody."""
    now = datetime.now(UTC)
    structlog.get_logger().error("cycle failed", code=failed.code, says=failed.message)
    cycle = ledger.start_cycle(now)
    problem = {"code": failed.code, "message": failed.message}
    summary = dict(cycle.summary) | {"problem": problem, "cause": cause}
    wait = wait_after(cause, turn.failures_of(cause), ledger.name) or AGAIN
    state = CycleState.FAILED
    ledger.end_cycle(cycle.id, state, months=cycle.months, summary=summary, next_at=now + wait, now=now)
    return state


def _settings(work: Work, folder: Path) -> tuple[Settings, FleetLimits]:
    """The partner's settings with its secrets, of what is published now; its rules are written below `folder`."""
    with open_fleet(work.database_url) as fleet:
        version = newest_version(fleet)
        structlog.contextvars.bind_contextvars(version=version)
        files = published_files(fleet, work.partner, version)
    rules = write_rules(files, work.partner, folder)
    machine = Settings(database_url=work.database_url, lease_s=work.lease_s, share_calls=True, rules_dir=rules)
    settings = published_settings(files, work.partner, machine, secrets=True)
    own, _, _ = read_fleet_file(read_rules_text(FLEET, files[FLEET]))
    assert own is not None, "the partner's settings were read with it"
    limits = own.limits
    return settings, FleetLimits(new_logins_per_s=limits.new_logins_per_s, calls_at_once=limits.calls_at_once)
