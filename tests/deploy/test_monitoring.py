"""Alert rules, dashboard and metric names: each is right for Prometheus, and each names metrics that we have."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from billingsync.core.states import PartnerState
from billingsync.fleet.health import FleetHealth
from billingsync.fleet.vitals import FleetVitals
from billingsync.service.metrics import Metrics
from billingsync.service.status import take
from billingsync.store.ledger import open_ledger

MONITORING = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"
each_file = pytest.mark.parametrize("name", ["alerts", "fleet-alerts"])


def promtool(*words: str, text: bytes = b"") -> tuple[int, str]:
    """Its exit code and what it says. Where CI is set, a machine without it is a failure."""
    if not shutil.which("promtool"):
        if os.environ.get("CI"):
            pytest.fail("PROMTOOL IS MISSING: .ci/run installs Debian's prometheus")
        pytest.skip("NOT CHECKED: no promtool here")
    done = subprocess.run(
        ["promtool", *words], input=text, capture_output=True, timeout=60, check=False, cwd=MONITORING
    )
    return done.returncode, (done.stdout + done.stderr).decode()


class Alive:
    def silent_s(self) -> float:
        return 1.0

    def hangs(self) -> bool:
        return False

    def counts(self) -> tuple[dict[tuple[str, str, str], int], dict[str, int], dict[str, float]]:
        return {("Pax8", "GET", "200"): 3}, {"Pax8": 1}, {"Pax8": 1.0}


@pytest.fixture
def scraped(sqlite_url: str) -> bytes:
    with open_ledger(sqlite_url, partner="default") as ledger:
        return Metrics(lambda: take(ledger), Alive()).text()


@pytest.fixture
def scraped_of_fleet() -> bytes:
    vitals = FleetVitals(slots=32, tick_s=15, longest_s=3600)
    with FleetHealth("127.0.0.1", 0, vitals, lambda: Counter({PartnerState.WELL: 3})) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port.port}/metrics", timeout=30) as answer:
            text: bytes = answer.read()
    return text


@each_file
def test_prometheus_accepts_the_alert_rules(name: str) -> None:
    code, said = promtool("check", "rules", f"{name}.yml")
    assert code == 0, said


@each_file
def test_each_alert_fires_when_it_must_and_is_quiet_when_nothing_is_wrong(name: str) -> None:
    code, said = promtool("test", "rules", f"{name}.test.yml")
    assert code == 0, said
    rules = re.findall(r"- alert: (\w+)", (MONITORING / f"{name}.yml").read_text())
    tested = (MONITORING / f"{name}.test.yml").read_text()
    assert set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", tested)) == set(rules)
    assert sorted(re.findall(r"alertname: (\w+), exp_alerts: \[\]", tested)) == sorted(rules)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("alerts", "billingsync_database_up == 0", "billingsync_database_up == 2"),
        ("fleet-alerts", "billingsync_fleet_alive == 0", "billingsync_fleet_alive == 2"),
        ("fleet-alerts", "for: 6h", "for: 1h"),
        ("fleet-alerts", "paused|removed", "paused"),
    ],
)
def test_a_rule_that_never_fires_or_too_soon_would_be_found(name: str, right: str, wrong: str, tmp_path: Path) -> None:
    for path in MONITORING.glob("*.yml"):
        shutil.copy(path, tmp_path)
    rules = tmp_path / f"{name}.yml"
    assert right in rules.read_text()
    rules.write_text(rules.read_text().replace(right, wrong))
    code, _ = promtool("test", "rules", str(tmp_path / f"{name}.test.yml"))
    assert code != 0


def test_prometheus_accepts_every_metric_name(scraped: bytes) -> None:
    code, said = promtool("check", "metrics", text=scraped)
    assert (code, said) == (0, "")


def test_rules_and_dashboard_name_metrics_that_exist(scraped: bytes) -> None:
    assert_known(scraped, "alerts.yml", "dashboard.json", panels=10, silent={"billingsync_calls_total"})


def test_those_of_a_fleet_too(scraped_of_fleet: bytes) -> None:
    silent = {"billingsync_fleet_cycles_total"}  # none has ended yet
    assert_known(scraped_of_fleet, "fleet-alerts.yml", "fleet-dashboard.json", panels=14, silent=silent)


def assert_known(scraped: bytes, rules: str, dashboard: str, panels: int, silent: set[str]) -> None:
    known = set(re.findall(r"^# TYPE (\w+)", scraped.decode(), re.MULTILINE)) | silent
    known |= {f"{one}_bucket" for one in known}
    for name in (rules, dashboard):
        text = (MONITORING / name).read_text()
        assert set(re.findall(r"billingsync_[a-z_]+", text)) <= known, name
    titles = [panel["title"] for panel in json.loads((MONITORING / dashboard).read_text())["panels"]]
    assert len(titles) == len(set(titles)) == panels
