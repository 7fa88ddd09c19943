"""The worker's snapshots: one a day, one when a month's invoice was first read; what people are told, once."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from bench import CALM, NEVER, bench

from billingsync.core.period import Period
from billingsync.core.schedule import is_snapshot_due, snapshot_moment
from billingsync.service.metrics import Metrics
from billingsync.service.status import take

SOLD = dataclasses.replace(CALM, charges=None, clients=6, hand_kept=2)
BERLIN = ZoneInfo("Europe/Berlin")


def this_month() -> str:
    return f"{datetime.now(UTC):%Y-%m}"


def test_it_is_due_once_a_day_and_taken_late_after_a_pause():
    at, zone = time(5), UTC
    noon = datetime(2026, 11, 28, 12, tzinfo=UTC)
    assert snapshot_moment(noon, at, zone) == datetime(2026, 11, 28, 5, tzinfo=UTC)
    assert snapshot_moment(noon.replace(hour=4), at, zone) == datetime(2026, 11, 27, 5, tzinfo=UTC)
    assert is_snapshot_due(noon, None, at, zone)
    assert not is_snapshot_due(noon, noon.replace(hour=5), at, zone)
    assert is_snapshot_due(noon, noon - timedelta(days=3), at, zone)
    assert is_snapshot_due(noon, noon + timedelta(days=1), at, zone), "a clock that was set back"


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25), date(2028, 2, 29)])
def test_no_day_goes_without_one_when_the_clocks_change(day):
    at = time(2, 30)  # skipped on the first of these days, there twice on the second
    moment = snapshot_moment(datetime.combine(day, time(23), tzinfo=BERLIN), at, BERLIN)
    assert moment.astimezone(BERLIN).date() == day
    last = moment + timedelta(minutes=1)
    assert not is_snapshot_due(datetime.combine(day, time(23), tzinfo=BERLIN), last, at, BERLIN)
    assert is_snapshot_due(datetime.combine(day + timedelta(days=1), time(4), tzinfo=BERLIN), last, at, BERLIN)


def test_the_daily_snapshot_is_compared_and_told_once(tmp_path: Path, ledger_url: str) -> None:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M}"
    with bench(tmp_path, SOLD, rules=NEVER, start=now, database_url=ledger_url) as (worker, sandbox):
        assert worker.worker.snapshot_due()
        worker.worker.take_snapshot()
        told = worker.told
        assert "differences" in told and "expiring" in told
        assert not worker.worker.snapshot_due()
        names = [one.thing for one in worker.notices if one.event == "expiring"]
        assert len(names) == len(set(names))  # one message a company and day
        worker.worker.take_snapshot()
        assert worker.told == told, "nothing moved, and every threshold was told"
        text = Metrics(lambda: take(worker.worker.ledger)).text().decode()
        for name in ("snapshot_age_seconds", "reconcile_subscriptions", "findings", "expiring_subscriptions"):
            assert f"\nbillingsync_{name}" in text, name
        assert "Contoso" not in text
        kinds = [entry.kind for entry in worker.worker.ledger.journal_entries()]
        assert kinds.count("snapshot") == 2 and kinds.count("reconciled") == 2
        assert {call.method for call in sandbox.calls if not call.path.endswith("/token")} == {"GET"}


def test_a_failure_of_the_snapshot_is_tried_again_later_and_delays_no_bill(tmp_path: Path) -> None:
    month = dataclasses.replace(CALM, month=this_month())
    with bench(tmp_path, month, start=f"{datetime.now(UTC):%Y-%m-%dT%H:%M}") as (worker, sandbox):
        sandbox.faults.add("pax8:GET:/subscriptions:*:not_json")
        worker.cycle()
        assert worker.state(this_month()) == "done"
        worker.worker.take_snapshot()
        assert not worker.worker.snapshot_due(), "not again within the same interval"
        worker.turn(hours=2)
        assert worker.worker.snapshot_due()


def test_the_months_own_snapshot_is_taken_when_its_invoice_was_first_read(tmp_path: Path) -> None:
    month = dataclasses.replace(CALM, month=this_month())
    with bench(tmp_path, month, start=f"{datetime.now(UTC):%Y-%m-%dT%H:%M}") as (worker, sandbox):
        worker.cycle()
        (entry,) = worker.worker.ledger.snapshots()
        assert entry.why == "invoice"
        first_write = next(call.number for call in sandbox.calls if call.effect)
        read = [call.number for call in sandbox.calls if call.path == "/subscriptions"]
        assert read and max(read) < first_write, "before anything is posted"
        period = Period.parse(this_month())
        chosen = worker.worker.ledger.snapshot_for(period, UTC, datetime.now(UTC))
        assert chosen is not None and chosen.id == entry.id
        worker.worker.take_snapshot()
        later = worker.worker.ledger.snapshot_for(period, UTC, datetime.now(UTC))
        assert later is not None and later.id == entry.id, "chosen once"
        # retention leaves what the month rests on
        gone = worker.worker.ledger.forget_snapshots(datetime.now(UTC) + timedelta(days=1), UTC, datetime.now(UTC))
        assert gone == 1 and [one.id for one in worker.worker.ledger.snapshots()] == [entry.id]
