"""/healthz, /readyz, /metrics and the webhook, and that they survive whoever talks to them."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from billingsync.errors import LedgerError, SettingsError
from billingsync.http import CallRecord
from billingsync.service import http_port as port_module
from billingsync.service.ask_worker import ask
from billingsync.service.health import HealthServer
from billingsync.service.http_port import Port
from billingsync.service.metrics import Metrics
from billingsync.service.progress import Heartbeat
from billingsync.service.status import Snapshot, take
from billingsync.service.webhook import MOST_BODY, PATH, route
from billingsync.store.ledger import Ledger, open_ledger
from billingsync.store.notices import Thing

VALUE = "a value nobody guesses"


@dataclass
class Bed:
    ledger: Ledger
    progress: Heartbeat
    woken: list[int] = field(default_factory=list)
    clock: list[float] = field(default_factory=lambda: [0.0])
    port: int = 0
    hook: int = 0

    def post(self, body: Any = None, **headers: str) -> int:
        """To the webhook; the status."""
        return self.get(PATH, "POST", body, port=self.hook, **headers)[0]

    def get(self, path: str, method: str = "GET", body: Any = None, port: int = 0, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        try:
            connection.request(method, path, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture
def bed(sqlite_ledger_url: str) -> Iterator[Bed]:
    with open_ledger(sqlite_ledger_url, partner="default") as ledger:
        made = Bed(ledger, Heartbeat(patience_s=100, clock=lambda: made.clock[0] if "made" in locals() else 0.0))
        made.progress.clock = lambda: made.clock[0]
        hook = route(VALUE, lambda: made.woken.append(1))
        server = HealthServer("127.0.0.1", 0, take=lambda: take(ledger), vitals=made.progress)
        with server, Port("127.0.0.1", 0, [hook], group="WEBHOOK") as webhook:
            made.port, made.hook = server.port, webhook.port
            yield made


def call(service: str, status: int | None = 200, attempt: int = 1) -> CallRecord:
    return CallRecord(service=service, method="GET", path="/secret/path", status=status, seconds=0.1, attempt=attempt)


def a_cycle(ledger: Ledger, state: str = "held", **summary: Any) -> None:
    now = datetime(2026, 11, 5, 9, tzinfo=UTC)
    month = {
        "state": "held",
        "problem": "",
        "charges": {"all": 9, "held": 2, "settled": 7},
        "money": {"USD": {"charges": ["10.50", "8.00"], "held": ["1.50", "1.00"]}},
        "holds": {"client_unmapped": {"charges": 2, "days": 3, "price": {"USD": "1.50"}}},
    }
    cycle = ledger.start_cycle(now)
    services = {"Pax8": {"calls": 5, "budget_left": 595, "budget": 600}}
    ledger.end_cycle(
        cycle.id,
        state,
        months={"since": "2026-11", "months": {"2026-11": month}},
        summary={"services": services, "problem": None, **summary},
        next_at=now,
        now=now,
    )


def test_healthz_is_about_the_work_loop_alone(bed: Bed) -> None:
    assert bed.get("/healthz")[0] == 200
    bed.clock[0] = 101.0
    assert bed.get("/healthz")[0] == 503
    bed.progress.alive()
    assert bed.get("/healthz")[0] == 200
    assert ask("127.0.0.1", bed.port) == {"state": "alive", "silent_s": 0.0}


def test_readyz_wants_the_database_both_services_and_a_cycle_that_did_not_fail(bed: Bed) -> None:
    status, body = bed.get("/readyz")
    assert status == 503 and json.loads(body)["checks"]["HaloPSA"] == "no answer yet"
    bed.progress.note_call(call("Pax8"))
    bed.progress.note_call(call("HaloPSA", 500))
    assert bed.get("/readyz")[0] == 503
    bed.progress.note_call(call("HaloPSA"))
    assert bed.get("/readyz")[0] == 200
    a_cycle(bed.ledger, "failed", problem={"code": "BS-LOGIN", "message": "no"})
    status, body = bed.get("/readyz")
    assert status == 503 and json.loads(body)["checks"]["cycle"] == "BS-LOGIN"
    bed.progress.contact["Pax8"] = time.time() - 30 * 3600
    assert json.loads(bed.get("/readyz")[1])["checks"]["Pax8"] == "no answer for more than a day"


def samples(text: bytes) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_metrics_tell_cycles_charges_money_holds_calls_and_build(bed: Bed) -> None:
    bed.progress.note_call(call("Pax8"))
    bed.progress.note_call(call("Pax8", 503, attempt=2))
    a_cycle(bed.ledger)
    bed.ledger.tell([Thing(key="held:1", event="held", title="x", lasting=True)], [], datetime.now(UTC))
    status, text = bed.get("/metrics")
    found = samples(text)
    assert status == 200
    assert found["billingsync_money{currency=USD,period=2026-11,side=price,state=held}"] == 1.5
    assert found["billingsync_charges{period=2026-11,state=all}"] == 9
    assert found["billingsync_held_charges{period=2026-11,reason=client_unmapped}"] == 2
    assert found["billingsync_hold_age_days{period=2026-11,reason=client_unmapped}"] == 3
    assert found["billingsync_calls_total{method=GET,service=Pax8,status=503}"] == 1
    assert found["billingsync_call_retries_total{service=Pax8}"] == 1
    assert found["billingsync_call_budget_left{service=Pax8}"] == 595
    assert found["billingsync_cycles{state=held}"] == 1
    assert found["billingsync_last_success_timestamp_seconds{}"] == datetime(2026, 11, 5, 9, tzinfo=UTC).timestamp()
    assert found["billingsync_database_up{}"] == 1 and found["billingsync_waiting_notices{}"] == 1
    assert any(name.startswith("billingsync_build_info{") for name in found)
    assert b"/secret/path" not in text


def test_metrics_without_a_database_say_so() -> None:
    def fail() -> Snapshot:
        raise LedgerError("gone")

    assert samples(Metrics(fail).text()) == {"billingsync_database_up{}": 0}


def test_a_port_that_is_taken_is_a_mistake_in_the_settings(bed: Bed) -> None:
    with pytest.raises(SettingsError, match="BILLINGSYNC_HEALTH__PORT") as wrong:
        HealthServer("127.0.0.1", bed.port, take=lambda: take(bed.ledger), vitals=bed.progress)
    assert wrong.value.exit_code == 2


def test_the_probe_of_the_image(bed: Bed) -> None:
    def probe(port: int) -> int:
        environment = {**os.environ, "BILLINGSYNC_HEALTH__PORT": str(port)}
        words = [sys.executable, "-m", "billingsync.service.probe"]
        return subprocess.run(words, env=environment, timeout=20, check=False).returncode

    assert probe(bed.port) == 0
    bed.clock[0] = 1000.0
    assert probe(bed.port) == 1
    assert probe(0) == 0


# The webhook ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["", "wrong", VALUE[:-1], VALUE + "x", VALUE.upper(), f"Bearer {VALUE}"])
def test_only_the_right_value_wakes(bed: Bed, given: str) -> None:
    headers = {"Authorization": given} if given else {}
    assert bed.get(PATH, "POST", b"{}", port=bed.hook, **headers) == (401, b"unauthorized\n")
    assert bed.woken == []


def test_the_right_value_wakes_whatever_the_body_says(bed: Bed) -> None:
    for body in (b'{"webhookTopic": "INVOICE"}', b"\xff\xfenot json", b"", b"[" * 60_000):
        assert bed.post(body, Authorization=VALUE) == 202
    assert len(bed.woken) == 4
    assert bed.get(PATH, "GET", port=bed.hook, Authorization=VALUE)[0] == 405


def test_two_values_are_no_value_and_a_large_body_is_cut_off(bed: Bed) -> None:
    with socket.create_connection(("127.0.0.1", bed.hook), timeout=10) as peer:
        lines = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {VALUE}\r\nAuthorization: {VALUE}\r\n"
        peer.sendall(f"{lines}Content-Length: 0\r\n\r\n".encode())
        assert b" 401 " in peer.recv(1000)
    assert bed.post(b"x" * (MOST_BODY + 1), Authorization=VALUE) == 413
    assert bed.woken == []


@pytest.mark.parametrize("value", [VALUE, "wrong"])
def test_a_body_without_end_is_cut_off(bed: Bed, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_module, "LIFETIME_S", 1.0)
    sent = 0
    with socket.create_connection(("127.0.0.1", bed.hook), timeout=10) as peer:
        lines = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {value}\r\nTransfer-Encoding: chunked\r\n\r\n"
        peer.sendall(lines.encode())
        try:
            while sent < 200_000_000:
                peer.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                sent += 65536
        except OSError:
            pass
    assert sent < 100_000_000 and bed.woken == []
    assert bed.post(b"{}", Authorization=VALUE) == 202


def test_the_webhook_and_the_health_endpoint_do_not_share_a_port(bed: Bed) -> None:
    """Who publishes the one must not publish the other."""
    for path in ("/healthz", "/readyz", "/metrics"):
        assert bed.get(path, port=bed.hook)[0] == 404
    assert bed.get(PATH, "POST", b"{}", Authorization=VALUE)[0] == 404
    assert bed.woken == []


def test_the_comparison_takes_no_longer_for_a_value_that_is_nearly_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the clock, which would be chance: what is compared is two digests, by the one function for it."""
    from billingsync.service import webhook

    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(webhook.hmac, "compare_digest", compare)
    with Port("127.0.0.1", 0, [route(VALUE, lambda: None)], group="WEBHOOK") as hook:
        for given in ("", "a", VALUE[:-1], VALUE, "x" * 5000):
            connection = http.client.HTTPConnection("127.0.0.1", hook.port, timeout=10)
            connection.request("POST", PATH, headers={"Authorization": given})
            assert connection.getresponse().status == (202 if given == VALUE else 401)
            connection.close()
    assert len(compared) == 5
    assert {len(side) for pair in compared for side in pair} == {32}


def test_a_value_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(AssertionError):
        route("short", lambda: None)


# Whoever talks to it --------------------------------------------------------------------------------------------------

RUBBISH = [
    b"\x00\x01\x02\x03\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n",  # no Host
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /" + b"a" * 100_000,
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /%00%ff/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
]


@pytest.mark.parametrize("port", ["port", "hook"])
@pytest.mark.parametrize("rubbish", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_is_survived(bed: Bed, rubbish: bytes, port: str) -> None:
    with socket.create_connection(("127.0.0.1", getattr(bed, port)), timeout=10) as peer:
        try:
            peer.sendall(rubbish)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(10_000):
                pass
        except OSError:
            pass
    assert bed.get("/healthz")[0] == 200
    assert bed.woken == []
    assert bed.post(b"{}", Authorization=VALUE) == 202


@pytest.mark.parametrize("port", ["port", "hook"])
def test_hundreds_of_slow_clients_do_not_keep_a_probe_waiting(bed: Bed, port: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    peers = []
    for number in range(300):
        peer = socket.create_connection(("127.0.0.1", getattr(bed, port)), timeout=10)
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHos" if number % 2 else b"P")
        peers.append(peer)
    began = time.monotonic()
    assert bed.get("/healthz")[0] == 200
    assert bed.post(b"{}", Authorization=VALUE) == 202
    assert time.monotonic() - began < 5
    most = before + len(peers) + port_module.MOST_CONNECTIONS + 10  # both ends of a connection are in this process
    while len(os.listdir("/proc/self/fd")) > most and time.monotonic() - began < 5:
        time.sleep(0.05)
    assert len(os.listdir("/proc/self/fd")) <= most
    for peer in peers:
        peer.close()
    deadline = time.monotonic() + 10
    while len(os.listdir("/proc/self/fd")) > before + 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(os.listdir("/proc/self/fd")) <= before + 5


@pytest.mark.parametrize("port", ["port", "hook"])
def test_a_trickling_request_is_ended_in_time(bed: Bed, port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_module, "LIFETIME_S", 0.3)
    with socket.create_connection(("127.0.0.1", getattr(bed, port)), timeout=10) as peer:
        began = time.monotonic()
        try:
            while time.monotonic() - began < 9:
                peer.sendall(b"G")
                time.sleep(0.05)
            ended = False
        except OSError:
            ended = True
    assert ended and time.monotonic() - began < 5


def test_scrapes_while_the_ledger_is_written(bed: Bed) -> None:
    """A reader in WAL mode neither waits nor makes anybody wait."""
    stop = threading.Event()
    statuses: list[int] = []

    def scrape() -> None:
        while not stop.is_set():
            statuses.append(bed.get("/metrics")[0])

    reader = threading.Thread(target=scrape)
    reader.start()
    began = time.monotonic()
    for _ in range(20):
        a_cycle(bed.ledger)
    took = time.monotonic() - began
    stop.set()
    reader.join(10)
    assert set(statuses) == {200} and took < 10
