"""The worker as systemd sees it: a process with a NOTIFY_SOCKET, signals, a watchdog; without systemd."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sandbox"))

from bench import AUTO, NEVER
from cli import Office, billed, due, marks, process_environment

from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox

# The process has the true clock, so that the month in the sandbox must be the current one.
MONTH = datetime.now(UTC).strftime("%Y-%m")
CALM = SandboxOptions(trouble=False, clients=4, charges=30, history=0, month=MONTH)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.socket.close()


class Manager:
    """What systemd is to a service of Type=notify."""

    def __init__(self, folder: Path, *, abstract: bool = False) -> None:
        self.path = f"\0billingsync-test-{os.getpid()}-{id(self)}" if abstract else str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.heard: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.path.replace("\0", "@")}

    def wait(self, beginning: str, timeout: float = 30) -> str:
        """The next message that begins so."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                message = self.socket.recv(10_000).decode()
            except TimeoutError:
                break
            self.heard.append(message)
            if message.startswith(beginning):
                return message
        raise AssertionError(f"no {beginning} within {timeout} s; heard: {self.heard[-20:]}")

    def drain(self) -> None:
        """Forgets what was said so far."""
        self.socket.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.socket.recv(10_000)

    def quiet(self, beginning: str, seconds: float) -> None:
        """Fails where such a message comes within so long."""
        with contextlib.suppress(AssertionError):
            found = self.wait(beginning, seconds)
            raise RuntimeError(f"heard {found}")


@contextlib.contextmanager
def worker(
    folder: Path, sandbox: Sandbox, manager: Manager, *, rules: str = AUTO, first: str = "", **environment: str
) -> Iterator[tuple[Office, subprocess.Popen[str]]]:
    """A worker in a process of its own; `first` is Python that it runs before anything else, where a constant that is
    minutes in service must be seconds in a test."""
    settings = {
        "BILLINGSYNC_HEALTH__PORT": "0",
        "BILLINGSYNC_POLL__FROM_DAY": "1",
        **manager.environment,
        **environment,
    }
    office = Office(folder=folder, sandbox=sandbox, settings=settings)
    office.rules(rules)
    log = (folder / "log").open("w+")
    if first:
        program = f"{first}\nfrom billingsync.cli import main\nraise SystemExit(main(['worker']))"
        words = [sys.executable, "-c", program]
        process = subprocess.Popen(
            words, cwd=folder, env=process_environment(office.environment()), stdout=log, stderr=log, text=True
        )
    else:
        process = office.start("worker", stdout=log, stderr=log)
    try:
        yield office, process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        log.close()


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def probe(port: str) -> tuple[int, str]:
    """What /healthz says."""
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["state"]
    finally:
        connection.close()


def said(office: Office) -> list[dict[str, object]]:
    return [json.loads(line) for line in (office.folder / "log").read_text().splitlines() if line.startswith("{")]


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_status_watchdog_stopping_and_exit_0(tmp_path: Path, abstract: bool) -> None:
    manager = Manager(tmp_path, abstract=abstract)
    with (
        contextlib.closing(manager.socket),
        Sandbox(CALM) as sandbox,
        worker(tmp_path, sandbox, manager, WATCHDOG_USEC="900000") as (office, process),
    ):
        manager.wait("READY=1")
        assert not any(message.startswith(("STOPPING", "WATCHDOG")) for message in manager.heard[:-1])
        manager.wait("WATCHDOG=1")
        manager.wait("STATUS=waiting until ")
        assert billed(sandbox) == due(sandbox)
        for _ in range(3):
            manager.wait("WATCHDOG=1", 2)  # while it rests, too
        process.send_signal(signal.SIGTERM)
        manager.wait("STOPPING=1")
        assert process.wait(20) == 0
        assert said(office)[-1]["event"] == "stopped cleanly"


def test_sighup_looks_now(tmp_path: Path, manager: Manager) -> None:
    options = SandboxOptions(trouble=False, clients=2, charges=10, history=0, month=MONTH, released=False)
    with Sandbox(options) as sandbox, worker(tmp_path, sandbox, manager) as (_, process):
        manager.wait("STATUS=waiting until ")
        assert billed(sandbox) == {}
        sandbox.release()
        process.send_signal(signal.SIGHUP)
        manager.wait("STATUS=", 10)
        deadline = time.monotonic() + 20
        while billed(sandbox) != due(sandbox) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert billed(sandbox) == due(sandbox)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_sigterm_in_the_middle_of_a_write_finishes_it_and_no_other(tmp_path: Path, manager: Manager) -> None:
    """Fault 40. The rest is recorded as interrupted, and the next start goes on: each charge once."""
    with Sandbox(CALM) as sandbox:
        sandbox.faults.add("halo:POST:/Invoice:2:slow:seconds=1.5")
        with worker(tmp_path, sandbox, manager) as (office, process):
            deadline = time.monotonic() + 30
            while sum(call.path == "/Invoice" and call.method == "POST" for call in sandbox.calls) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            manager.wait("STOPPING=1")
            assert process.wait(30) == 0
            assert len({key for key, _ in marks(sandbox)}) == 2
            states = {row["state"] for row in office.run("runs", "--json").json["runs"]}
            assert states == {"interrupted"}
        with worker(tmp_path, sandbox, manager):
            deadline = time.monotonic() + 30
            while billed(sandbox) != due(sandbox) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert billed(sandbox) == due(sandbox)
            assert len(marks(sandbox)) == len(set(marks(sandbox)))


def test_sigterm_while_pax8_does_not_answer_stops_in_seconds(tmp_path: Path, manager: Manager) -> None:
    with Sandbox(CALM) as sandbox:
        sandbox.faults.add("pax8:GET:/invoices:*:black_hole")
        with worker(tmp_path, sandbox, manager) as (office, process):
            manager.wait("STATUS=asking Pax8")
            time.sleep(0.5)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert time.monotonic() - began < 12
            assert said(office)[-1]["event"].startswith("stopped in the middle")  # type: ignore[union-attr]


def test_sigterm_while_a_write_in_doubt_is_waited_for_stops_at_once(tmp_path: Path, manager: Manager) -> None:
    """The horizon is minutes long: nothing is gained by waiting it out, as the doubt is in the ledger."""
    with Sandbox(CALM) as sandbox:
        sandbox.faults.add("halo:POST:/Invoice:2:504")
        with worker(tmp_path, sandbox, manager, BILLINGSYNC_HALO__ABSENCE_S="600") as (office, process):
            assert "HaloPSA may still show what was sent" in manager.wait("STATUS=waiting ")
            time.sleep(0.3)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert time.monotonic() - began < 5
            assert said(office)[-1]["event"] == "stopped cleanly"
        before = len(marks(sandbox))
        with worker(tmp_path, sandbox, manager, BILLINGSYNC_HALO__ABSENCE_S="1"):
            deadline = time.monotonic() + 30
            while billed(sandbox) != due(sandbox) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert billed(sandbox) == due(sandbox) and len(marks(sandbox)) > before
            assert len(marks(sandbox)) == len(set(marks(sandbox)))


def test_work_that_hangs_feeds_no_watchdog_and_fails_the_probe(tmp_path: Path, manager: Manager) -> None:
    """The process is alive and answers; the work waits in a black hole for longer than anything may take. systemd, and
    Docker's HEALTHCHECK, must get to know of it."""
    port = free_port()
    hangs_soon = "from billingsync.service import worker; worker.patience_s = lambda settings: 3.0"
    environment = {"WATCHDOG_USEC": "900000", "BILLINGSYNC_HEALTH__PORT": port, "BILLINGSYNC_PAX8__TIMEOUT_S": "600"}
    with Sandbox(CALM) as sandbox:
        sandbox.faults.add("pax8:GET:/invoices:*:black_hole")
        with worker(tmp_path, sandbox, manager, first=hangs_soon, **environment) as (office, process):
            manager.wait("STATUS=asking Pax8")
            manager.wait("WATCHDOG=1", 2)
            assert probe(port) == (200, "alive")
            deadline = time.monotonic() + 20
            while probe(port)[0] == 200 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert probe(port) == (503, "hangs")
            manager.drain()
            manager.quiet("WATCHDOG", 2.5)  # it wanted one every 0.9 s
            assert process.poll() is None and probe(port) == (503, "hangs")
            assert "the work hangs" in [line["event"] for line in said(office)]
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def test_without_a_watchdog_a_hung_worker_ends_with_1_so_that_it_is_started_again(
    tmp_path: Path, manager: Manager
) -> None:
    hangs_soon = "from billingsync.service import worker; worker.patience_s = lambda settings: 3.0"
    with Sandbox(CALM) as sandbox:
        sandbox.faults.add("pax8:GET:/invoices:*:black_hole")
        with worker(tmp_path, sandbox, manager, first=hangs_soon, BILLINGSYNC_PAX8__TIMEOUT_S="600") as (
            office,
            process,
        ):
            assert process.wait(60) == 1
            assert "the work hangs" in [line["event"] for line in said(office)]


def test_pax8s_webhook_makes_it_look_and_nobody_elses_call_does(tmp_path: Path, manager: Manager) -> None:
    value, port = "a value that nobody guesses", free_port()
    options = SandboxOptions(trouble=False, clients=2, charges=10, history=0, month=MONTH, released=False)
    at_once = "from datetime import timedelta; from billingsync.service import worker; worker.WOKEN_GAP = timedelta()"
    environment = {"BILLINGSYNC_WEBHOOK__AUTHORIZATION": value, "BILLINGSYNC_WEBHOOK__PORT": port}

    def post(*headers: tuple[str, str], body: bytes = b"{}") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
        connection.putrequest("POST", "/webhooks/pax8")
        for name, text in (*headers, ("Content-Length", str(len(body)))):
            connection.putheader(name, text)
        connection.endheaders(body)
        try:
            return connection.getresponse().status
        finally:
            connection.close()

    with Sandbox(options) as sandbox, worker(tmp_path, sandbox, manager, first=at_once, **environment) as (office, _):
        manager.wait("STATUS=waiting until ")
        sandbox.release()
        looks = len(sandbox.calls)
        right = ("Authorization", value)
        for headers in ((), (("Authorization", value + "x"),), (right, right), (("X-Authorization", value),)):
            assert post(*headers, body=b'{"topic": "INVOICE", "action": "CREATED"}') == 401
        time.sleep(0.5)
        assert len(sandbox.calls) == looks and billed(sandbox) == {}
        # what it says of invoices is nothing to us: what counts is what Pax8's API then gives
        assert post(right, body=b'{"topic": "INVOICE", "invoiceId": "no-such", "total": "999999.99"}') == 202
        deadline = time.monotonic() + 20
        while billed(sandbox) != due(sandbox) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert billed(sandbox) == due(sandbox)
        written = (office.folder / "log").read_text()
        assert "no-such" not in written and value not in written


def test_a_missing_credential_is_exit_2_before_anything_else(tmp_path: Path, manager: Manager) -> None:
    with (
        Sandbox(CALM) as sandbox,
        worker(tmp_path, sandbox, manager, BILLINGSYNC_HALO__CLIENT_SECRET="unset") as (office, process),
    ):
        assert process.wait(30) == 2
        assert "BILLINGSYNC_HALO__CLIENT_SECRET" in (office.folder / "log").read_text()
        manager.quiet("READY", 0.2)


def test_a_health_port_that_is_taken_is_exit_2(tmp_path: Path, manager: Manager) -> None:
    with socket.socket() as taken, Sandbox(CALM) as sandbox:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with worker(tmp_path, sandbox, manager, BILLINGSYNC_HEALTH__PORT=port) as (office, process):
            assert process.wait(30) == 2
            assert "BILLINGSYNC_HEALTH__PORT" in (office.folder / "log").read_text()


def test_upstreams_that_are_away_at_the_start_do_not_stop_the_service(tmp_path: Path, manager: Manager) -> None:
    away = {"BILLINGSYNC_HALO__BASE_URL": "http://127.0.0.1:1"}
    with Sandbox(CALM) as sandbox, worker(tmp_path, sandbox, manager, rules=NEVER, **away) as (office, process):
        manager.wait("STATUS=waiting until ")
        assert process.poll() is None
        found = office.run("status", "--json").must(1).json
        assert found["problem"]["code"] == "BS-NOT-REACHABLE"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_status_while_the_worker_runs(tmp_path: Path, manager: Manager) -> None:
    port = free_port()
    with Sandbox(CALM) as sandbox, worker(tmp_path, sandbox, manager, BILLINGSYNC_HEALTH__PORT=port) as (office, _):
        manager.wait("STATUS=waiting until ")
        found = office.run("status", "--json").must().json
        assert found["worker"] == "alive" and found["last_cycle"]["state"] == "well"
        assert [month["state"] for month in found["months"].values()] == ["done"]
        for service in ("Pax8", "HaloPSA"):
            last = datetime.fromisoformat(found["services"][service]["last_contact"])
            assert abs((datetime.now(UTC) - last).total_seconds()) < 60 and found["services"][service]["retries"] == 0
        assert "last good answer 20" in office.run("status").stdout
