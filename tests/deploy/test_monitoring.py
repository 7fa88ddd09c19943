"""Alert rules, dashboard and metric names: each is right for Prometheus, and each names metrics that we have."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from billingsync.service.metrics import Metrics
from billingsync.service.status import take
from billingsync.store.ledger import open_ledger

MONITORING = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"


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


def test_prometheus_accepts_the_alert_rules() -> None:
    code, said = promtool("check", "rules", "alerts.yml")
    assert code == 0, said


def test_each_alert_fires_when_it_must_and_is_quiet_when_nothing_is_wrong() -> None:
    code, said = promtool("test", "rules", "alerts.test.yml")
    assert code == 0, said
    rules = re.findall(r"- alert: (\w+)", (MONITORING / "alerts.yml").read_text())
    fired = re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", (MONITORING / "alerts.test.yml").read_text())
    assert sorted(fired) == sorted(rules)


def test_a_rule_that_never_fires_would_be_found(tmp_path: Path) -> None:
    for path in MONITORING.glob("*.yml"):
        shutil.copy(path, tmp_path)
    rules = tmp_path / "alerts.yml"
    rules.write_text(rules.read_text().replace("billingsync_database_up == 0", "billingsync_database_up == 2"))
    code, _ = promtool("test", "rules", str(tmp_path / "alerts.test.yml"))
    assert code != 0


def test_prometheus_accepts_every_metric_name(scraped: bytes) -> None:
    code, said = promtool("check", "metrics", text=scraped)
    assert (code, said) == (0, "")


def test_rules_and_dashboard_name_metrics_that_exist(scraped: bytes) -> None:
    known = set(re.findall(r"^# TYPE (\w+)", scraped.decode(), re.MULTILINE))
    for name in ("alerts.yml", "dashboard.json"):
        text = (MONITORING / name).read_text()
        assert set(re.findall(r"billingsync_[a-z_]+", text)) <= known | {"billingsync_calls_total"}, name
    titles = [panel["title"] for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]]
    assert len(titles) == len(set(titles)) == 10
