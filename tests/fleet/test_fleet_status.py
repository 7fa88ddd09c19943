"""How the partners of a fleet stand: counted from the database alone; paused and resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billingsync.core.states import CycleState, PartnerState
from billingsync.fleet.folder import read_folder
from billingsync.fleet.layout import read_layout
from billingsync.fleet.publish import changes
from billingsync.fleet.told_state import shown, standing_document, standing_lines
from billingsync.store.fleet import Fleet, open_fleet
from billingsync.store.fleet_state import Standing, standing
from billingsync.store.fleet_workers import drain, leave, show_worker
from billingsync.store.ledger import open_ledger
from billingsync.store.schema import cycle as cycle_table
from billingsync.store.schema import fleet_worker
from tests.fleet.fleet_folder import FLEET, partner, write
from tests.fleet.test_fleet_commands import run
from tests.sandbox.cli import Ran


def now() -> datetime:
    return datetime.now(UTC)


HOUR = timedelta(hours=1)
NAMES = ("anna", "berta", "cora", "dora", "emma", "fanny", "gerda")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path()


def publish(fleet: Fleet, folder: Path, files: dict[str, str | bytes]) -> None:
    found = read_folder(write(folder, {"fleet.toml": FLEET, **files}))
    published = fleet.published()
    fleet.publish(changes(read_layout(found), found, published, ()).new, who="ops", now=now())


@pytest.fixture
def fleet(ledger_url: str, folder: Path) -> Iterator[Fleet]:
    with open_fleet(ledger_url) as opened:
        publish(opened, folder, {f"partners/{name}/partner.toml": partner(name) for name in NAMES})
        yield opened


def cycle(url: str, name: str, state: CycleState, *, next_in: timedelta = HOUR, **more: Any) -> None:
    """A cycle that ended just now."""
    with open_ledger(url, partner=name) as ledger:
        begun = ledger.start_cycle(now())
        said: dict[str, Any] = {"months": {}, "summary": {}} | more
        ledger.end_cycle(begun.id, state, **said, next_at=now() + next_in, now=now())


def states(found: Standing) -> dict[str, PartnerState]:
    return {one.name: one.state for one in found.partners}


def test_each_state_is_told(fleet: Fleet, ledger_url: str, folder: Path) -> None:
    held = {"months": {"2026-11": {"holds": {"true_up": {"charges": 3}, "new_client": {"charges": 2}}}}}
    cycle(ledger_url, "anna", CycleState.WELL)
    cycle(ledger_url, "berta", CycleState.WELL)
    cycle(ledger_url, "berta", CycleState.FAILED, summary={"problem": {"code": "BS-LOGIN", "message": "secret?"}})
    cycle(ledger_url, "cora", CycleState.HELD, months=held)
    cycle(ledger_url, "dora", CycleState.WELL, next_in=-HOUR)
    cycle(ledger_url, "fanny", CycleState.WAITING)
    fleet.pause("emma", why="disputed", who="ops", now=now())
    (folder / "partners/gerda/partner.toml").unlink()
    (folder / "partners/gerda").rmdir()
    publish(fleet, folder, {"partners/anna/partner.toml": "="})
    found = standing(fleet)
    assert states(found) == {
        "berta": PartnerState.FAILED,
        "dora": PartnerState.LATE,
        "cora": PartnerState.HELD,
        "emma": PartnerState.PAUSED,
        "fanny": PartnerState.WAITING,
        "anna": PartnerState.WELL,
        "gerda": PartnerState.REMOVED,
    }
    assert list(states(found)) == ["berta", "dora", "cora", "emma", "fanny", "anna", "gerda"]  # the worst first
    says = {one.name: one.says for one in found.partners}
    assert says["berta"] == "BS-LOGIN" and says["cora"] == "5 charges of 2026-11" and says["emma"] == "by ops: disputed"
    rows = {row[0]: row[-1] for row in shown(found.partners, everything=False)[0]}
    assert rows["berta"] == "BS-LOGIN:  billingsync fleet doctor --partner berta"  # a code alone helps nobody
    assert {one.name for one in found.partners if one.problems} == {"anna"}
    assert (found.version, found.who) == (2, "ops")


def test_a_partner_that_works_is_not_late(fleet: Fleet, ledger_url: str) -> None:
    cycle(ledger_url, "anna", CycleState.WELL, next_in=-HOUR)
    cycle(ledger_url, "berta", CycleState.WELL, next_in=timedelta(minutes=-5))
    with open_ledger(ledger_url, partner="anna") as ledger, ledger.run_lock("x"):
        found = {one.name: one for one in standing(fleet).partners}
        assert found["anna"].working and found["anna"].state == PartnerState.WELL
    assert states(standing(fleet))["anna"] == PartnerState.LATE
    assert states(standing(fleet))["berta"] == PartnerState.WELL


def test_a_cycle_that_died_is_late(fleet: Fleet, ledger_url: str) -> None:
    for name, ago in (("anna", HOUR / 2), ("berta", 3 * HOUR)):
        with open_ledger(ledger_url, partner=name) as ledger:
            ledger.start_cycle(now() - ago)
    found = states(standing(fleet))
    assert (found["anna"], found["berta"], found["cora"]) == (
        PartnerState.RUNNING,
        PartnerState.LATE,
        PartnerState.NEW,
    )


def test_workers_show_themselves_and_are_drained_by_name(fleet: Fleet) -> None:
    database = fleet.database
    values = {"name": "one", "version": "1", "slots": 4, "running": 2}
    assert show_worker(database, "a", values, {"queued": 3, "running": 2}) == ""
    assert show_worker(database, "b", {**values, "name": "two"}, {}, "the database is nearly full") == ""
    with database.writing() as connection:  # it was killed long ago
        old = {"seen_at": now() - HOUR, "started_at": now() - 2 * HOUR, "counts": {}}
        connection.execute(fleet_worker.insert().values(worker="c", **{**values, "name": "gone"}, **old))
    found = standing(fleet)
    assert [(one.name, one in found.living) for one in found.workers] == [("gone", False), ("one", True), ("two", True)]
    told = "\n".join(standing_lines(found))
    assert "Due: 7, the oldest for 0 min (anna)" in told and "2 workers (2 of 1), 4 of 8 slots at work" in told
    assert "Worker gone was last seen" in told and "Worker two begins nothing: the database is nearly full" in told
    assert drain(database, "gone", "ops") == 0 and drain(database, "one", "ops") == 1
    assert show_worker(database, "a", values, {}) == "ops" and show_worker(database, "b", values, {}) == ""
    assert "Worker one stops; drained by ops" in "\n".join(standing_lines(standing(fleet)))
    leave(database, "a")
    document = standing_document(standing(fleet), ())
    assert [one["name"] for one in document["workers"]] == ["gone", "one"]  # type: ignore[attr-defined]  # it is JSON


def test_a_fleet_that_published_nothing_has_no_partner(ledger_url: str) -> None:
    with open_fleet(ledger_url) as fleet:
        found = standing(fleet)
    assert (found.version, found.partners) == (0, ())


# The commands, on PostgreSQL


@pytest.fixture
def command(postgres_ledger_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    monkeypatch.setenv("BILLINGSYNC_DATABASE_URL", postgres_ledger_url)
    write(folder, {"fleet.toml": FLEET, **{f"partners/{name}/partner.toml": partner(name) for name in NAMES}})
    assert "Nothing is published yet" in run("status").must().stdout
    run("apply").must()
    return run


def test_status_counts_and_lists_those_that_need_somebody(
    command: Callable[..., Ran], postgres_ledger_url: str
) -> None:
    assert "7 new" in command("status").must().stdout
    cycle(postgres_ledger_url, "cora", CycleState.HELD)
    cycle(postgres_ledger_url, "dora", CycleState.WELL)
    told = command("status").must(3).stdout
    assert "1 held, 5 new, 1 well" in told and "cora" in told and "dora" not in told
    cycle(postgres_ledger_url, "berta", CycleState.FAILED)
    command("status").must(1)
    assert "dora" in command("status", "--partner", "dora").must().stdout
    found = command("status", "--state", "failed", "--json").must(1).json
    assert [one["name"] for one in found["partners"]] == ["berta"] and found["counts"]["well"] == 1
    assert "is no state of a partner" in command("status", "--state", "fine").must(2).stderr
    assert "no partner 'dorra'" in command("status", "--partner", "dorra").must(2).stderr


def test_pause_and_resume(command: Callable[..., Ran], folder: Path) -> None:
    assert "Paused: no run begins for anna" in command("pause", "anna", "--reason", "dispute 7").must().stdout
    assert "was paused already" in command("pause", "anna", "--reason", "x").must().stdout
    told = command("status", "--state", "paused").must().stdout
    assert "anna" in told and ": dispute 7" in told
    assert "Resumed" in command("resume", "anna").must().stdout
    assert "was neither paused by command nor parked" in command("resume", "anna").must().stdout
    write(folder, {"partners/anna/partner.toml": partner("anna", "[partner]\npaused = true\n")})
    run("apply").must()
    assert "still paused by its partner.toml" in command("resume", "anna").must().stderr
    assert "Did you mean anna?" in command("pause", "ana", "--reason", "x").must(2).stderr
    assert command("pause", "anna").code == 2
    assert "Say why" in command("pause", "anna", "--reason", " ").must(2).stderr


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_status_of_a_large_fleet_is_quick(ledger_url: str, folder: Path) -> None:
    """1 s for 2,000 partners, with history; here 500, CPU time of ours, with a wide margin."""
    names = [f"p{n:04}" for n in range(500)]
    with open_fleet(ledger_url) as fleet:
        publish(fleet, folder, {f"partners/{name}/partner.toml": partner(name) for name in names})
        row = {
            "state": CycleState.WELL,
            "started_at": now(),
            "ended_at": now(),
            "next_at": now() + HOUR,
            "months": {},
            "summary": {},
        }
        with fleet.database.writing() as connection:
            rows = [{"partner": name, "id": id, **row} for name in names for id in range(1, 21)]
            connection.execute(cycle_table.insert(), rows)
        before = time.process_time()
        assert len(standing(fleet).partners) == 500
        assert time.process_time() - before < 1
