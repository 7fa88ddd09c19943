"""When a failed partner is looked at again, in pure numbers and in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from billingsync.errors import LoginFailed, Paused
from billingsync.fleet.again import wait_after
from billingsync.fleet.folder import read_folder
from billingsync.fleet.layout import read_layout
from billingsync.fleet.publish import changes
from billingsync.service.messages import cause_of, failure
from billingsync.store import fleet_turns
from billingsync.store.fleet import Fleet, open_fleet
from billingsync.store.fleet_due import due_partners
from billingsync.store.ledger import open_ledger
from tests.fleet.fleet_folder import small, write

DAY = timedelta(hours=24)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def fleet(ledger_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with open_fleet(ledger_url) as opened:
        files = read_folder(write(tmp_path / "fleet", small()))
        change = changes(read_layout(files), files, opened.published(), ())
        opened.publish(change.new, who="ops", now=datetime.now(UTC))
        yield opened


@pytest.mark.parametrize("name", ["acme", "birch", "cedar"])
def test_refused_credentials_cost_at_most_24_logins_a_day(name: str) -> None:
    """A look logs in at most twice: for the work, and for a ticket."""
    at, looks = timedelta(0), 0
    while at < DAY:
        looks += 1
        wait = wait_after("login:HaloPSA", looks, name)
        assert wait is not None and wait >= timedelta(hours=1)
        at += wait
    assert 2 * looks <= 24
    late = wait_after("login:HaloPSA", 50, name)
    assert late is not None and timedelta(hours=6) <= late < timedelta(hours=8)


@pytest.mark.parametrize("cause", ["upstream:Pax8", "secrets"])
def test_what_is_away_is_asked_up_to_every_half_hour_and_not_by_all_at_once(cause: str) -> None:
    first = [wait_after(cause, 1, f"p{n}") or DAY for n in range(200)]
    assert all(3 * MINUTE < wait <= 5 * MINUTE for wait in first)
    later = [wait_after(cause, 9, f"p{n}") or DAY for n in range(200)]
    assert all(22 * MINUTE < wait <= 30 * MINUTE for wait in later)
    assert len({int(wait / MINUTE) for wait in later}) >= 7


def test_other_causes_follow_the_partners_own_schedule() -> None:
    assert wait_after("rules", 1, "acme") is None and wait_after("cycle:BS-BUG", 3, "acme") is None


def test_a_login_that_is_not_answered_is_no_refusal() -> None:
    busy, refused = (LoginFailed("Pax8", "/token", status, "x") for status in (503, 401))
    assert cause_of(failure(busy)) == "upstream:Pax8" and cause_of(failure(refused)) == "login:Pax8"


def due(fleet: Fleet) -> list[str]:
    return [one.name for one in due_partners(fleet)]


def test_the_third_death_in_a_row_parks_and_an_end_begins_the_count_anew(fleet: Fleet) -> None:
    for _ in range(2):
        fleet_turns.begin(fleet.database, "acme")
        assert not fleet_turns.died(fleet.database, "acme", "was killed by signal 9")
    fleet_turns.end(fleet.database, "acme", cause="", month="2026-11", calls=3)
    for _ in range(2):
        fleet_turns.begin(fleet.database, "acme")
        assert not fleet_turns.died(fleet.database, "acme", "was killed by signal 9")
    assert due(fleet) == ["acme", "beta"]
    fleet_turns.begin(fleet.database, "acme")
    assert fleet_turns.died(fleet.database, "acme", "was killed by signal 9")
    assert due(fleet) == ["beta"]
    with open_ledger(str(fleet.database.url.render_as_string(hide_password=False)), partner="acme") as ledger:
        with pytest.raises(Paused, match=r"acme is parked: 3 cycles in a row died; the last one was killed by"):
            with ledger.run_lock("test"):
                pass
        assert fleet.resume("acme", who="ops", now=datetime.now(UTC))
        with ledger.run_lock("test"):
            pass
        assert "fleet.resumed" in [entry.kind for entry in ledger.journal_entries()]
    assert due(fleet) == ["acme", "beta"]


def test_workers_that_die_park_nobody_for_a_while(fleet: Fleet) -> None:
    """A machine that is killed again and again is no partner's fault; one that takes its machine along is stopped."""
    for _ in range(fleet_turns.MOST_LOST):
        fleet_turns.begin(fleet.database, "acme")
    assert due(fleet) == ["acme", "beta"]
    with pytest.raises(Paused, match="their workers died too"):
        fleet_turns.begin(fleet.database, "acme")
    assert due(fleet) == ["beta"]


def test_failures_in_a_row_are_counted_by_cause(fleet: Fleet) -> None:
    database = fleet.database
    for cause, then in (("login:Pax8", 2), ("login:Pax8", 3), ("upstream:Pax8", 2), ("", 1)):
        fleet_turns.begin(database, "acme")
        fleet_turns.end(database, "acme", cause=cause, month="2026-11", calls=0)
        turn = fleet_turns.begin(database, "acme")
        assert turn.failures_of(cause or "x") == then
        fleet_turns.begin(database, "acme")
