"""The loop: what feeds the watchdog, what stops the work, what wakes it, and months from cycle to cycle."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billingsync.core.period import Period
from billingsync.core.progress import Progress, Stage
from billingsync.errors import NotReachable
from billingsync.http import CallRecord
from billingsync.redaction import Redactor
from billingsync.service.month import Month, read_months, write_months
from billingsync.service.process import run_process
from billingsync.service.progress import Heartbeat, Stop
from billingsync.service.sdnotify import Systemd
from billingsync.service.worker import Worker, patience_s
from billingsync.settings import LiveSettings, load_settings
from billingsync.store.ledger import Ledger, open_ledger

START = datetime(2026, 11, 5, 9, tzinfo=UTC)


@pytest.fixture
def ledger(sqlite_ledger_url: str) -> Iterator[Ledger]:
    with open_ledger(sqlite_ledger_url, partner="default") as opened:
        yield opened


def settings(folder: Path, **more: str) -> Any:
    given = {f"BILLINGSYNC_{name}": value for name, value in more.items()}
    return load_settings(given, folder, run_secrets=folder / "none").settings


class Fake(Worker):
    """A worker whose cycles do nothing but what they are told."""

    def __init__(self, folder: Path, ledger: Ledger, **more: Any) -> None:
        self.time = START
        self.cycles: list[datetime] = []
        self.act = lambda: None
        super().__init__(
            LiveSettings(settings(folder), Redactor()), ledger, clock=lambda: self.time, jitter=0.0, **more
        )

    def cycle(self) -> str:
        self._last = self.time
        self.cycles.append(self.time)
        self.act()
        self._ended = self.time
        self.next_at = self.time + timedelta(hours=1)
        return "well"


class Systemd_(Systemd):
    """Keeps what was said."""

    def __init__(self, watchdog_s: float | None = 0.05) -> None:
        super().__init__({})
        self.watchdog_s = watchdog_s
        self.said: list[str] = []

    def _send(self, message: str) -> None:
        self.said.append(message)


@contextmanager
def running(worker: Worker) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=worker.work, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        worker.stop()
        thread.join(10)
        assert not thread.is_alive()


def until(right: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not right():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# When it looks --------------------------------------------------------------------------------------------------------


def test_it_looks_at_once_then_when_due_then_when_woken(tmp_path: Path, ledger: Ledger) -> None:
    worker = Fake(tmp_path, ledger)
    with running(worker):
        until(lambda: len(worker.cycles) == 1)
        worker.wake()
        until(lambda: len(worker.cycles) == 2)
        worker.time += timedelta(minutes=61)
        worker._wake.set()
        until(lambda: len(worker.cycles) == 3)


def test_a_webhook_in_a_loop_gets_one_look_a_minute(tmp_path: Path, ledger: Ledger) -> None:
    worker = Fake(tmp_path, ledger)
    with running(worker):
        until(lambda: len(worker.cycles) == 1)
        for _ in range(100):
            worker.wake(gently=True)
        time.sleep(0.1)
        assert len(worker.cycles) == 1
        worker.time += timedelta(seconds=61)
        worker._wake.set()
        until(lambda: len(worker.cycles) == 2)  # what was asked for in between is granted then, once
        time.sleep(0.05)
        assert len(worker.cycles) == 2


def test_a_clock_set_back_is_noticed(tmp_path: Path, ledger: Ledger) -> None:
    worker = Fake(tmp_path, ledger)
    with running(worker):
        until(lambda: len(worker.cycles) == 1)
        worker.time -= timedelta(days=3650)
        worker._wake.set()
        until(lambda: len(worker.cycles) == 2)


# Signs of life --------------------------------------------------------------------------------------------------------


def test_the_watchdog_is_fed_while_the_work_lives_and_not_when_it_hangs(tmp_path: Path, ledger: Ledger) -> None:
    """The process is well all the time: main thread, health server and notifier go on."""
    release, hang = threading.Event(), threading.Event()
    clock = [0.0]
    worker = Fake(tmp_path, ledger, progress=Heartbeat(patience_s=60, clock=lambda: clock[0]))
    worker.act = lambda: hang.is_set() and release.wait(20)
    systemd = Systemd_()
    fed: list[int] = []

    def count() -> int:
        return systemd.said.count("WATCHDOG=1")

    def drive() -> None:
        until(lambda: count() > 3)
        hang.set()
        worker.wake()
        until(lambda: len(worker.cycles) == 2)
        clock[0] = 59.0
        before = count()
        until(lambda: count() > before + 2)  # slow is not hanging
        clock[0] = 61.0
        time.sleep(0.1)
        fed.append(count())
        time.sleep(0.3)
        fed.append(count())
        release.set()
        until(lambda: count() > fed[-1])  # it lives again
        os.kill(os.getpid(), signal.SIGTERM)

    driver = threading.Thread(target=drive, daemon=True)
    driver.start()
    assert run_process(worker, systemd, exit_now=lambda code: None) == 0
    driver.join(10)
    assert len(fed) == 2 and fed[0] == fed[1]
    assert systemd.said[0] == "READY=1" and "STOPPING=1" in systemd.said


def test_work_that_dies_ends_the_service_with_1(tmp_path: Path, ledger: Ledger) -> None:
    worker = Fake(tmp_path, ledger)

    def die() -> None:
        raise MemoryError

    worker.act = die
    with _unraised():
        assert run_process(worker, Systemd_(None), exit_now=lambda code: None) == 1


@contextmanager
def _unraised() -> Iterator[None]:
    before, threading.excepthook = threading.excepthook, lambda arguments: None
    try:
        yield
    finally:
        threading.excepthook = before


def test_a_stop_that_takes_too_long_is_cut_off_with_0(tmp_path: Path, ledger: Ledger) -> None:
    release = threading.Event()
    worker = Fake(tmp_path, ledger)
    worker.act = lambda: release.wait(20)
    codes: list[int] = []
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    assert run_process(worker, Systemd_(None), exit_now=codes.append, grace_s=0.2) == 0
    assert codes == [0] and time.monotonic() - began < 5
    release.set()


def test_handlers_are_as_before_afterwards(tmp_path: Path, ledger: Ledger) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGHUP)).start()
    threading.Timer(0.4, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    worker = Fake(tmp_path, ledger)
    assert run_process(worker, Systemd_(None), exit_now=lambda code: None) == 0
    assert len(worker.cycles) == 2
    assert {number: signal.getsignal(number) for number in before} == before


def test_patience_outlasts_every_wait_that_is_meant(tmp_path: Path) -> None:
    assert patience_s(settings(tmp_path)) == 420
    assert patience_s(settings(tmp_path, HALO__ABSENCE_S="3600", HALO__TIMEOUT_S="120")) == 3780


def test_progress_stops_between_steps_and_knows_a_write() -> None:
    progress = Heartbeat(patience_s=1)
    progress.say(Progress(stage=Stage.POST, nth=3, of=9, client="Contoso"))
    assert progress.writing
    progress.stopping.set()
    with pytest.raises(Stop):
        progress.say(Progress(stage=Stage.POST, nth=4, of=9, client="Fabrikam"))
    assert not progress.writing  # the fourth was not begun


def test_every_call_is_a_sign_of_life_and_counted() -> None:
    clock = [0.0]
    progress = Heartbeat(patience_s=10, clock=lambda: clock[0])
    clock[0] = 11
    assert progress.hangs()
    for status, attempt in ((200, 1), (None, 1), (503, 2)):
        progress.note_call(
            CallRecord(service="Pax8", method="GET", path="/x", status=status, seconds=1, attempt=attempt)
        )
    assert not progress.hangs()
    calls, retries, contact = progress.counts()
    assert calls == {("Pax8", "GET", "200"): 1, ("Pax8", "GET", "none"): 1, ("Pax8", "GET", "503"): 1}
    assert retries == {"Pax8": 1} and list(contact) == ["Pax8"]


def test_connections_that_cannot_be_made_fail_the_cycle_and_are_told(tmp_path: Path, ledger: Ledger) -> None:
    @contextmanager
    def away(*_: object, **__: object) -> Iterator[Any]:
        raise NotReachable("HaloPSA", "GET /authinfo", None, "HaloPSA cannot be reached: secret42")
        yield

    live = LiveSettings(settings(tmp_path), Redactor(["secret42"]))
    worker = Worker(live, ledger, clock=lambda: START, connect=away, jitter=0.0)
    assert worker.cycle() == "failed"
    assert worker.next_at == START + timedelta(hours=1)
    (notice,) = ledger.untold()
    assert notice.thing == "failed:upstream:HaloPSA" and "***" in notice.body
    cycle = ledger.last_cycle()
    assert cycle and cycle.state == "failed" and "secret42" not in str(cycle.summary)


# Months ---------------------------------------------------------------------------------------------------------------


def test_months_travel_as_json_and_old_closed_ones_are_forgotten() -> None:
    months = {Period(2026, month): Month(state="done", invoices=("a",)) for month in range(1, 12)}
    written = write_months(Period(2026, 1), months)
    since, read = read_months(written)
    assert since == Period(2026, 9) and sorted(read) == [Period(2026, 9), Period(2026, 10), Period(2026, 11)]
    assert read[Period(2026, 11)] == months[Period(2026, 11)]


def test_an_open_month_is_never_forgotten() -> None:
    months = {Period(2026, month): Month(state="done") for month in range(1, 12)}
    months[Period(2026, 2)] = Month(state="held")
    since, read = read_months(write_months(Period(2026, 1), months))
    assert since == Period(2026, 2) and Period(2026, 2) in read and len(read) == 10


# systemd's protocol ---------------------------------------------------------------------------------------------------


def test_messages_go_to_the_socket_and_status_only_when_new(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        systemd.ready()
        systemd.status("one\nREADY=0")
        systemd.status("one\nREADY=0")
        systemd.alive()
        systemd.stopping()
        heard = [listening.recv(1000) for _ in range(4)]
    assert heard == [b"READY=1", b"STATUS=one READY=0", b"WATCHDOG=1", b"STOPPING=1"]


def test_without_systemd_or_with_a_dead_one_nothing_happens(tmp_path: Path) -> None:
    for env in ({}, {"NOTIFY_SOCKET": str(tmp_path / "nobody")}, {"NOTIFY_SOCKET": "@nobody-at-all"}):
        Systemd(env).ready()


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "120000000"}, 120.0),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}, 1.0),
    ],
)
def test_watchdog_interval(env: dict[str, str], expected: float | None) -> None:
    assert Systemd(env).watchdog_s == expected
