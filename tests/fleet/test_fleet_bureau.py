"""What the bureau is told, and which of the partners' own notices wait meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from billingsync.errors import LoginFailed, UpstreamError
from billingsync.fleet.bureau import Bureau, waiting
from billingsync.fleet.folder import read_folder
from billingsync.fleet.layout import read_layout
from billingsync.fleet.publish import changes
from billingsync.redaction import Redactor
from billingsync.service.messages import failure
from billingsync.service.notify import Delivery
from billingsync.settings import Settings
from billingsync.store import fleet_turns
from billingsync.store.fleet import Fleet, open_fleet
from billingsync.store.fleet_notices import many
from billingsync.store.ledger import open_ledger
from billingsync.store.schema import fleet_notice, fleet_turn
from tests.fleet.fleet_folder import FLEET, partner, write
from tests.fleet.fleet_house import house
from tests.fleet.notice_board import board

NAMES = tuple(f"p{n}" for n in range(8))
EVENTS = ("failed", "recovered")
AWAY = UpstreamError("Pax8", "/invoices", 503, "canary-secret of p1")
REFUSED = LoginFailed("HaloPSA", "/auth/token", 401, "no")


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def fleet(ledger_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with open_fleet(ledger_url) as opened:
        files = {"fleet.toml": FLEET, **{f"partners/{name}/partner.toml": partner(name) for name in NAMES}}
        found = read_folder(write(tmp_path / "fleet", files))
        opened.publish(changes(read_layout(found), found, opened.published(), ()).new, who="ops", now=now())
        yield opened


class Bench:
    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.told, self.is_down = fleet, [], False
        self.bureau = Bureau(fleet.database, ["json://bureau"], EVENTS, send=self.send)

    told: list[tuple[str, str]]

    def send(self, url: str, title: str, body: str) -> str:
        if not self.is_down:
            self.told.append((title, body))
        return "it is down" if self.is_down else ""

    def fails(self, cause: str, *names: str, ago: timedelta = timedelta(0)) -> None:
        for name in names:
            fleet_turns.begin(self.fleet.database, name)
            fleet_turns.end(self.fleet.database, name, cause=cause, month="2026-11", calls=1)
            if ago:
                with self.fleet.database.writing() as connection:
                    own = update(fleet_turn).where(fleet_turn.c.partner == name)
                    connection.execute(own.values(cause_at=now() - ago))

    def titles(self) -> list[str]:
        self.bureau.round()
        return [title.removeprefix("billingsync fleet: ") for title, _ in self.told]


def test_how_many_are_many() -> None:
    assert [many(n) for n in (1, 10, 60, 100, 399, 2000)] == [3, 3, 3, 5, 20, 20]


def test_one_cause_at_many_partners_is_one_notice_until_it_is_over(fleet: Fleet) -> None:
    bench = Bench(fleet)
    bench.fails("upstream:Pax8", "p1", "p2")
    bench.fails("login:HaloPSA", "p3")
    bench.fails("upstream:Pax8", "p4", ago=timedelta(minutes=20))
    assert bench.titles() == []  # two of it within a quarter of an hour
    bench.fails("upstream:Pax8", "p4")
    assert bench.titles() == ["Pax8 cannot be used for 3 partners"]
    assert bench.titles() == ["Pax8 cannot be used for 3 partners"]  # once
    assert "p1, p2, p4" in bench.told[0][1] and "p3" not in bench.told[0][1]
    bench.fails("upstream:Pax8", "p1", "p2", "p4", ago=timedelta(hours=1))
    assert len(bench.titles()) == 1  # it goes on
    bench.fails("", "p1", "p2", "p4")
    assert bench.titles()[1:] == ["Well again: Pax8 cannot be used for 3 partners"]


def test_an_address_that_is_down_gets_the_notice_later(fleet: Fleet) -> None:
    bench = Bench(fleet)
    bench.is_down = True
    bench.fails("secrets", *NAMES)
    assert bench.titles() == []
    bench.is_down = False
    assert bench.titles() == []  # another worker may be at it
    with fleet.database.writing() as connection:
        connection.execute(update(fleet_notice).values(sending_until=now() - timedelta(seconds=1)))
    assert bench.titles() == ["The secrets of 8 partners cannot be read"]


def test_parked_partners_and_those_without_secrets_are_told_by_name(fleet: Fleet) -> None:
    bench = Bench(fleet)
    for _ in range(3):
        fleet_turns.died(fleet.database, "p5", "was killed by signal 9")
    bench.fails("secrets", "p6", "p6")
    assert sorted(bench.titles()) == ["The secrets of p6 cannot be read", "p5 is parked"]
    assert any("signal 9" in body and "fleet resume p5" in body for _, body in bench.told)
    fleet.resume("p5", who="ops", now=now())
    assert bench.titles()[2:] == ["Well again: p5 is parked"]


def test_the_partners_own_notices_of_it_wait_and_others_do_not(fleet: Fleet, ledger_url: str) -> None:
    bench = Bench(fleet)
    bench.fails("upstream:Pax8", *NAMES[:4])
    bench.titles()
    assert "canary" not in str(bench.told)
    sent: list[str] = []

    def told(partner: str) -> str:
        sent.clear()
        settings = Settings.model_validate({"notify": {"urls": ["json://partner"]}})
        with open_ledger(ledger_url, partner=partner) as ledger:
            ledger.tell([failure(AWAY), failure(REFUSED)], (), now())
            waits = waiting(ledger.database)
            Delivery(settings, ledger, Redactor(()), send=lambda *words: sent.extend(words) or "", waits=waits).round()
        return "\n".join(sent)

    first = told("p1")
    assert "HaloPSA does not accept the credentials" in first and "Pax8" not in first
    with fleet.database.writing() as connection:  # four hours later
        connection.execute(update(fleet_notice).values(opened_at=now() - timedelta(hours=4, minutes=1)))
    assert "Pax8 cannot be used" in told("p1")
    bench.fails("", *NAMES)
    bench.titles()
    assert "Pax8 cannot be used" in told("p2")


def test_a_worker_tells_the_bureau_once_when_pax8_is_down(tmp_path: Path, postgres_url: str) -> None:
    with board() as bureau, house(tmp_path, postgres_url, "acme", "birch", "cedar") as home:
        home.more = {"BILLINGSYNC_NOTIFY__URLS": f'["{bureau.url}"]'}
        home.lease_s = 4
        for sandbox in home.sandboxes.values():
            sandbox.faults.add("pax8:GET:/invoices:*:503")
        home.worker("--slots", "3", "--name", "one")
        home.worker("--slots", "3", "--name", "two")
        home.wait(lambda: bool(bureau.told))
        home.wait(lambda: all(home.cycles(name) == ["failed"] for name in home.sandboxes))
        assert bureau.titles == ["billingsync fleet: Pax8 cannot be used for 3 partners"]
        for name, sandbox in home.sandboxes.items():
            sandbox.faults.clear()
            home.run("fleet", "run", name).must(0)
        home.wait(lambda: len(bureau.told) > 1)
        assert bureau.titles[1:] == ["billingsync fleet: Well again: Pax8 cannot be used for 3 partners"]
