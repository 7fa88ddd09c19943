"""One cycle of one partner, in a process of its own [F2]: it reads the partner's published files and its secrets, holds
the partner's lease for the whole cycle, does what `worker --once` does, and ends."""

from __future__ import annotations

import ctypes
import hashlib
import multiprocessing.connection
import os
import resource
import signal
import tempfile
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import structlog

from billingsync.connect import connections
from billingsync.core.states import CycleState
from billingsync.errors import BillingSyncError, LedgerError, Locked, Paused
from billingsync.fleet.published import published_files, published_settings, write_rules
from billingsync.log import set_up_logging
from billingsync.redaction import Redactor
from billingsync.service.progress import Stop
from billingsync.service.worker import Worker
from billingsync.settings import LiveSettings, Settings
from billingsync.setup.orders import carries
from billingsync.store.book import LEASE_S
from billingsync.store.fleet import open_fleet
from billingsync.store.fleet_due import newest_version
from billingsync.store.ledger import Ledger, open_ledger
from billingsync.store.lock import who

AGAIN = timedelta(hours=1)  # after a failure before the cycle began: somebody must mend something
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a cycle is given: no secret but the database's. `memory`: bytes of data that it may have, 0 for no bound."""

    database_url: str
    partner: str
    memory: int = 0
    lease_s: float = LEASE_S
    log_format: str | None = None
    log_level: str = "info"


def in_a_child(work: Work) -> None:
    """The child's whole life: it dies with its parent, and ends with 0 whatever became of the cycle, which is in the
    ledger."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # before any thread begins: it has what we have
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then asks us to stop
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # of the server that forked us
    threading.Thread(target=_die_with_the_worker, name="parent", daemon=True).start()
    if work.memory:
        resource.setrlimit(resource.RLIMIT_DATA, (work.memory, work.memory))
    try:
        one_cycle(work)
    except BillingSyncError as failed:  # the ledger could not be opened
        structlog.get_logger().error("no cycle began", code=failed.code, says=failed.message)


def _die_with_the_worker() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


def one_cycle(work: Work) -> CycleState | None:
    """The cycle; None where the partner is at work elsewhere, paused, or where we were told to stop before it began."""
    redactor = Redactor(())
    set_up_logging(format=work.log_format, level=work.log_level, redact=redactor.text)
    structlog.contextvars.bind_contextvars(partner=work.partner)
    with (
        open_ledger(work.database_url, partner=work.partner, lease_s=work.lease_s) as ledger,
        tempfile.TemporaryDirectory(prefix="billingsync-") as folder,
    ):
        try:
            with ledger.cycle_lease(who()):
                return _cycle(work, ledger, redactor, Path(folder))
        except Stop:
            return CycleState.INTERRUPTED
        except (Locked, Paused) as not_now:
            structlog.get_logger().info("no cycle now", says=not_now.message)
            return None
        except LedgerError as away:
            structlog.get_logger().error("the cycle broke off", code=away.code, says=away.message)
            return CycleState.INTERRUPTED


def _cycle(work: Work, ledger: Ledger, redactor: Redactor, folder: Path) -> CycleState:
    try:
        settings = _settings(work, folder)
    except BillingSyncError as failed:
        return _not_begun(ledger, failed)
    live = LiveSettings(settings, redactor)
    live.renew(settings)
    os.chdir(folder)
    connect = partial(connections, opened=ledger)  # which holds the lease
    worker = Worker(live, ledger, connect=connect, carries=carries(live), jitter=share_of(work.partner))
    threading.Thread(target=_told_to_stop, args=[worker], name="signals", daemon=True).start()
    return worker.once()


def _told_to_stop(worker: Worker) -> None:
    signal.sigwait({signal.SIGTERM})
    worker.stop()


def _not_begun(ledger: Ledger, failed: BillingSyncError) -> CycleState:
    """Writes down that the cycle failed before it could ask anybody."""
    now = datetime.now(UTC)
    structlog.get_logger().error("cycle failed", code=failed.code, says=failed.message)
    cycle = ledger.start_cycle(now)
    summary = dict(cycle.summary) | {"problem": {"code": failed.code, "message": failed.message}}
    state = CycleState.FAILED
    ledger.end_cycle(cycle.id, state, months=cycle.months, summary=summary, next_at=now + AGAIN, now=now)
    return state


def _settings(work: Work, folder: Path) -> Settings:
    """The partner's settings with its secrets, of what is published now; its rules are written below `folder`."""
    with open_fleet(work.database_url) as fleet:
        version = newest_version(fleet)
        structlog.contextvars.bind_contextvars(version=version)
        files = published_files(fleet, work.partner, version)
    rules = write_rules(files, work.partner, folder)
    machine = Settings(database_url=work.database_url, lease_s=work.lease_s, share_calls=True, rules_dir=rules)
    return published_settings(files, work.partner, machine, secrets=True)


def share_of(name: str) -> float:
    """0 to 1, the same for a partner each time: poll minutes are spread by it."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
