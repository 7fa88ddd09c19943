"""The health port of a fleet's worker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from billingsync.core.states import PartnerState
from billingsync.errors import LedgerError
from billingsync.fleet.health import FleetHealth
from billingsync.fleet.vitals import FleetVitals
from tests.fleet.fleet_house import house


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def vitals(clock: Clock) -> FleetVitals:
    found = FleetVitals(slots=32, tick_s=15, longest_s=3600, clock=clock, is_serving=True)
    found.cycles.update(dict.fromkeys(("well", "held", "waiting", "failed", "interrupted", "not_now"), 3))
    found.deaths["memory"] = 2
    found.engine = {"queued": 7, "running": 3, "oldest_s": 40}
    for late in (5.0, 400.0, 1e6):
        found.late(late)
    return found


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def test_metrics_are_few_well_formed_and_name_no_partner() -> None:
    clock = Clock()
    found = vitals(clock)
    for number in range(300):
        found.children[f"partner-{number}"] = clock.now
    states = Counter({PartnerState.WELL: 1990, PartnerState.FAILED: 10})
    with FleetHealth("127.0.0.1", 0, found, lambda: states) as port:
        code, text = get(f"http://127.0.0.1:{port.port}/metrics")
    assert code == 200 and "partner-" not in text
    series = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(series) <= 500
    for line in (
        'billingsync_fleet_cycles_total{outcome="held"} 3.0',
        'billingsync_fleet_children_killed_total{cause="memory"} 2.0',
        'billingsync_fleet_lateness_seconds_bucket{le="60"} 1.0',
        'billingsync_fleet_lateness_seconds_bucket{le="+Inf"} 3.0',
        'billingsync_fleet_engine_jobs{state="queued"} 7.0',
        'billingsync_fleet_partners{state="failed"} 10.0',
        "billingsync_fleet_slots_busy 300.0",
    ):
        assert line in series, text
    if shutil.which("promtool") is None:
        if "CI" in os.environ:
            pytest.fail("promtool is missing")
        pytest.skip("NOT CHECKED: no promtool here")
    done = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_health_asks_for_signs_of_life_and_ready_for_the_database() -> None:
    clock = Clock()
    found = vitals(clock)

    def away() -> Counter[PartnerState]:
        raise LedgerError("away")

    with FleetHealth("127.0.0.1", 0, found, away) as port:
        at = f"http://127.0.0.1:{port.port}"
        assert get(f"{at}/healthz")[0] == 200 and get(f"{at}/readyz")[0] == 503
        assert "\nbillingsync_fleet_ready 0.0" in get(f"{at}/metrics")[1]
        found.planned()
        assert get(f"{at}/readyz")[0] == 200
        told = get(f"{at}/metrics")[1]
        assert "\nbillingsync_fleet_ready 1.0" in told and "\nbillingsync_fleet_alive 1.0" in told
        found.planned("BS-LEDGER")
        assert get(f"{at}/readyz")[0] == 503 and "BS-LEDGER" in get(f"{at}/readyz")[1]
        assert "billingsync_database_up 0.0" in get(f"{at}/metrics")[1]
        assert get(f"{at}/healthz")[0] == 200  # asking must not fail for the database's fault
        found.planned()
        clock.now += 200
        assert "planner" in get(f"{at}/healthz")[1] and get(f"{at}/healthz")[0] == 503
        found.planned()
        found.is_serving = False
        assert "engine" in json.loads(get(f"{at}/healthz")[1])["checks"]
        assert "\nbillingsync_fleet_alive 0.0" in get(f"{at}/metrics")[1]
        found.is_serving = True
        found.children["acme"] = clock.now - 4000
        assert "children" in get(f"{at}/healthz")[1] and "acme" not in get(f"{at}/healthz")[1]


def test_a_worker_serves_its_port_and_a_second_one_on_the_machine_works_without(
    tmp_path: Path, postgres_url: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with house(tmp_path, postgres_url, "acme", "birch") as home:
        home.lease_s = 4
        home.more = {"BILLINGSYNC_HEALTH__PORT": str(port)}
        home.sandboxes["birch"].change(halo_latency_ms=5000)
        home.worker("--slots", "2", "--name", "one")
        home.wait(lambda: home.child_of("birch") is not None)
        pid = home.child_of("birch")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        home.sandboxes["birch"].change(halo_latency_ms=0)
        home.wait(lambda: all(home.cycles(name) == ["well"] for name in home.sandboxes))
        at = f"http://127.0.0.1:{port}"
        home.wait(lambda: 'cycles_total{outcome="well"} 2.0' in get(f"{at}/metrics")[1])
        text = get(f"{at}/metrics")[1]
        assert 'children_killed_total{cause="signal"} 1.0' in text
        assert "billingsync_fleet_lateness_seconds_count 2.0" in text
        assert get(f"{at}/healthz")[0] == 200 and get(f"{at}/readyz")[0] == 200
        second = home.worker("--name", "two")
        home.wait(lambda: "no health port" in home.logs())
        home.wait(lambda: len(home.run("fleet", "status", "--json").json["workers"]) == 2)
        assert second.poll() is None
