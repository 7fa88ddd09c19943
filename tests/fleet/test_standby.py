"""A standby, and a failover in the middle of a run [F8]."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select, text, update

from billingsync.errors import LedgerError, Locked
from billingsync.sandbox.server import Sandbox
from billingsync.store.clock import server_now
from billingsync.store.ledger import open_ledger
from billingsync.store.schema import fleet_version, partner
from tests.fleet.fleet_folder import FLEET, small, write
from tests.sandbox.cli import CALM, TEXT_ONLY, Office, billed, due


def plain(url: str) -> str:
    return url.replace("+psycopg", "")


@pytest.fixture
def names(postgres_url: str) -> Iterator[object]:
    """Sets synchronous_standby_names on the whole server; nothing may be committed meanwhile: it would wait."""
    with psycopg.connect(plain(postgres_url), autocommit=True) as connection:

        def to(value: str) -> None:
            connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{value}'")  # type: ignore[call-overload]  # a test's
            connection.execute("SELECT pg_reload_conf()")
            with psycopg.connect(plain(postgres_url)) as another:
                while another.execute("SHOW synchronous_standby_names").fetchone() != (value,):
                    another.rollback()

        yield to
        to("")


@pytest.mark.parametrize(
    ("value", "well"),
    [
        ("", False),
        ("*", False),
        ("ANY 1 (*)", False),
        ("standby_1", True),
        ("FIRST 1 (berlin, *)", True),
        ("first 2 (a, b)", True),
    ],
)
def test_a_fleet_with_a_standby_posts_only_where_a_named_one_has_what_is_committed(
    postgres_url: str, names: object, value: str, well: bool
) -> None:
    with open_ledger(postgres_url, partner="default") as ledger:
        ledger.assert_durable()
        with ledger.database.writing() as connection:
            row = {
                "number": 1,
                "settings": "x",
                "published_at": "2026-11-01T00:00:00.000000Z",
                "who": "me",
                "standby": True,
            }
            columns = ", ".join(row)
            connection.execute(
                text(f"INSERT INTO fleet_version ({columns}) VALUES ({', '.join(':' + name for name in row)})"), row
            )
        names(value)  # type: ignore[operator]  # the fixture's
        if well:
            ledger.assert_durable()
        else:
            with pytest.raises(LedgerError, match="standby = true"):
                ledger.assert_durable()
        with ledger.database.reading() as connection:
            assert connection.scalar(text("SHOW synchronous_commit")) == "on"


def test_apply_publishes_what_fleet_toml_says_of_the_standby(postgres_url: str, tmp_path: Path) -> None:
    with Sandbox(CALM) as server:
        office = Office(tmp_path, server, postgres_url)
        write(tmp_path / "fleet", small())
        office.run("fleet", "apply", "fleet").must()
        write(tmp_path / "fleet", {"fleet.toml": "standby = true\n" + FLEET})
        office.run("fleet", "apply", "fleet").must()
    with open_ledger(postgres_url, partner="acme") as ledger, ledger.reading() as connection:
        said = connection.execute(select(fleet_version.c.standby).order_by(fleet_version.c.number)).scalars().all()
    assert said == [False, True]


def test_the_lease_knows_its_server_and_timeline_and_another_ends_the_run(postgres_ledger_url: str) -> None:
    with psycopg.connect(plain(postgres_ledger_url)) as connection:
        row = connection.execute(
            "SELECT system_identifier, timeline_id FROM pg_control_system(), pg_control_checkpoint()"
        )
        identifier, timeline = row.fetchone() or (0, 0)
    with open_ledger(postgres_ledger_url, partner="default") as ledger:
        with ledger.run_lock("before") as fence:
            assert fence.server == f"{identifier}/{timeline:08X}" and ledger.fence_holds(fence)
            with ledger.database.writing() as connection:
                assert connection.scalar(select(server_now)) == fence.server
                connection.execute(update(partner).values(server=f"{identifier}/{timeline + 1:08X}"))
            assert not ledger.fence_holds(fence) and "another server" in ledger.why_lost(fence)
            with pytest.raises(Locked, match="another server"), ledger.fenced(fence):
                raise AssertionError("a write")
        with ledger.run_lock("after") as fence, ledger.fenced(fence):
            assert ledger.fence_holds(fence)


def test_a_failover_in_mid_run_ends_it_before_its_next_write_and_the_next_run_adopts(
    postgres_ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right after the first posting was sent, the database is another server's, which has lost that posting."""
    with Sandbox(CALM) as server:
        office = Office(tmp_path, server, postgres_ledger_url)
        office.rules(TEXT_ONLY)
        office.plan()
        from billingsync.store.intents import IntentBook

        true, sent = IntentBook.record_intent, []

        def record(self: IntentBook, *given: object, **more: object) -> object:
            if sent:
                with self.database.writing() as connection:
                    connection.execute(update(partner).values(server="another/00000002"))
            sent.append(1)
            return true(self, *given, **more)  # type: ignore[arg-type]  # passed on

        monkeypatch.setattr(IntentBook, "record_intent", record)
        refused = office.run("run", "--yes", "--json").must(5).json["error"]
        assert "another server" in refused["message"]
        monkeypatch.undo()
        written = len(billed(server))
        assert 0 < written < len(due(server))
        office.run("run", "--yes", "--json").must(0, 3)
        assert billed(server) == due(server)
        office.run("audit", "verify").must()
