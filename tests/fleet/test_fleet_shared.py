"""What all partners of a fleet share: who goes first, calls and logins at a time, turns, the database's room and clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from billingsync.core.progress import Progress, Stage
from billingsync.fleet.turn import TurnHeartbeat
from billingsync.service.progress import Stop
from billingsync.store import fleet_turns
from billingsync.store.budgets import CallsAtOnce, NewLogins
from billingsync.store.database import Database
from billingsync.store.fleet import Fleet
from billingsync.store.fleet_due import due_partners
from billingsync.store.ledger import open_ledger
from billingsync.store.schema import call_budget
from tests.fleet.fleet_house import house
from tests.fleet.test_fleet_again import fleet as fleet
from tests.sandbox.cli import marks


@pytest.fixture
def database(ledger_url: str) -> Iterator[Database]:
    with closing(Database(ledger_url)) as opened:
        yield opened


def test_whoever_made_most_calls_last_month_goes_first(fleet: Fleet) -> None:
    assert [one.name for one in due_partners(fleet)] == ["acme", "beta"]

    def ended(name: str, month: str, calls: int) -> None:
        fleet_turns.end(fleet.database, name, cause="", month=month, calls=calls)

    ended("acme", "2026-10", 100)
    ended("beta", "2026-10", 60)
    ended("beta", "2026-10", 60)
    assert [(one.name, one.weight) for one in due_partners(fleet)] == [("beta", 121), ("acme", 101)]
    ended("beta", "2026-11", 3)  # a new month has begun: the last one still counts
    ended("acme", "2026-11", 5)
    assert [(one.name, one.weight) for one in due_partners(fleet)] == [("beta", 121), ("acme", 101)]
    ended("beta", "2026-12", 1)
    ended("acme", "2026-12", 1)
    assert [(one.name, one.weight) for one in due_partners(fleet)] == [("acme", 6), ("beta", 4)]


def test_calls_at_once_are_shared_and_those_of_the_dead_come_back(database: Database) -> None:
    first, second, other = (CallsAtOnce(database, name, 5, 4) for name in ("halo", "halo", "pax8"))
    assert first.may_call() == 0 and first.may_call() == 0 and other.may_call() == 0
    assert second.may_call() > 0
    first.close()
    assert second.may_call() == 0
    third = CallsAtOnce(database, "halo", 5, 4)
    assert third.may_call() > 0
    with database.writing() as connection:  # its process died a while ago
        connection.execute(update(call_budget).values(until=datetime.now(UTC) - timedelta(seconds=1)))
    assert third.may_call() == 0
    assert CallsAtOnce(database, "csv", 2, 4).may_call() == 0  # one that wants more than there is gets on alone


def test_so_many_logins_a_second(database: Database) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        with database.writing() as connection:  # a second later
            connection.execute(
                update(call_budget)
                .where(call_budget.c.block != "")
                .values(until=datetime.now(UTC) - timedelta(seconds=2))
            )

    logins = NewLogins(database, "pax8", 3, sleep)
    for _ in range(3):
        logins.wait()
    assert not waits
    logins.wait()
    assert len(waits) == 1 and 0 < waits[0] <= 1.1


def test_a_turn_ends_between_two_postings_and_not_before_the_first() -> None:
    now = [0.0]
    turn = TurnHeartbeat(patience_s=60, clock=lambda: now[0], turn_s=1200)
    now[0] = 5000
    turn.say(Progress(stage=Stage.PLAN))
    turn.say(Progress(stage=Stage.POST, nth=1, of=3))
    turn.say(Progress(stage=Stage.READ_BACK))
    with pytest.raises(Stop):
        turn.say(Progress(stage=Stage.POST, nth=2, of=3))
    assert turn.is_over and not turn.writing


def test_a_long_month_is_posted_in_turns_and_once(tmp_path: Path, postgres_url: str) -> None:
    with house(tmp_path, postgres_url, "acme", clients=4, charges=8) as home:
        home.lease_s = 4
        home.limited(turn_s=0)
        home.wait(lambda: home.is_billed("acme") and home.cycles("acme") == ["well"], 240)
        with open_ledger(home.database_url, partner="acme") as ledger:
            counts = ledger.cycle_counts()
        assert counts["interrupted"] >= 2, counts
        found = marks(home.sandboxes["acme"])
        assert len(found) == len(set(found))
        assert home.run("fleet", "status").must(0).stdout.count("parked") == 0


def test_a_database_that_is_nearly_full_begins_nothing_new_and_says_so(tmp_path: Path, postgres_url: str) -> None:
    with house(tmp_path, postgres_url, "acme") as home:
        home.lease_s = 4
        home.limited(database_bytes=1_000_000)
        home.wait(lambda: "nearly full" in home.run("fleet", "status").stdout)
        assert home.cycles("acme") == [] and not home.sandboxes["acme"].calls
        told = home.run("fleet", "doctor", "--json").must(1).json["checks"]
        assert any(one["state"] == "fail" and "nearly full" in one["says"] for one in told)
