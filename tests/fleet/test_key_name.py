"""A ledger that goes on under another name of its partner: same keys, same digests, same chain [F7]."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import column, literal, select, text, update

from billingsync.core.partner import SINGLE
from billingsync.sandbox.server import Sandbox
from billingsync.store import upgrade
from billingsync.store.database import Database
from billingsync.store.journal import first_altered
from billingsync.store.ledger import open_ledger
from billingsync.store.schema import metadata, partner
from tests.fleet.schemas import upgrade_to
from tests.sandbox.cli import CALM, TEXT_ONLY, Office, billed, due
from tests.sandbox.test_undo import LOOSE


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(CALM) as sandbox:
        yield sandbox


@pytest.fixture
def office(server: Sandbox, tmp_path: Path, ledger_url: str) -> Office:
    server.reset(CALM)
    made = Office(tmp_path, server, ledger_url)
    made.rules(TEXT_ONLY + LOOSE)
    return made


@pytest.fixture
def rename(office: Office) -> Callable[[str], None]:
    """Gives the ledger another partner name, as moving it into a fleet does: every row, but not its `key_name`."""

    def to(name: str) -> None:
        before = office.settings.get("BILLINGSYNC_PARTNER", SINGLE)
        with closing(Database(office.database_url)) as database, database.writing() as connection:
            tables = [table for table in metadata.sorted_tables if "partner" in table.c]
            for table in tables:
                others = [each for each in table.c if each.name != "partner"]
                renamed = select(literal(name), *others).where(table.c.partner == before)
                connection.execute(table.insert().from_select([column("partner"), *others], renamed))
            for table in reversed(tables):
                connection.execute(table.delete().where(table.c.partner == before))
        office.settings["BILLINGSYNC_PARTNER"] = name

    return to


def keys(told: dict[str, list[dict[str, str]]]) -> set[str]:
    return {one["key"] for one in told["postings"]}


def test_a_renamed_ledger_knows_its_postings_and_posts_nothing(office: Office, rename: Callable[[str], None]) -> None:
    posted = office.run("run", "--yes", "--json").must().json
    state = office.sandbox.state()
    rename("acme")
    office.run("audit", "verify").must()
    again = office.run("run", "--yes", "--json").must().json
    assert posted["postings"] and again["postings"] == [] and office.sandbox.state() == state
    assert billed(office.sandbox) == due(office.sandbox)
    with open_ledger(office.database_url, partner="acme") as ledger:
        assert (ledger.name, ledger.key_name) == ("acme", SINGLE)
        assert set(ledger.states()) == keys(posted)
    office.run("audit", "verify").must()


def test_a_plan_keeps_its_digest_and_its_keys_under_the_new_name(office: Office, rename: Callable[[str], None]) -> None:
    before = office.plan()
    rename("acme")
    assert office.run("plan", "--digest", before["digest"], "--json").must(0, 3).json["clients"] == before["clients"]
    after = office.plan()
    assert (before["partner"], after["partner"]) == (SINGLE, "acme")
    assert (after["digest"], after["clients"]) == (before["digest"], before["clients"])
    posted = office.run("run", "--yes", "--json").must().json
    assert posted["postings"] and billed(office.sandbox) == due(office.sandbox)


def test_what_a_renamed_ledger_forgot_is_found_in_HaloPSA_by_its_keys(
    office: Office, rename: Callable[[str], None], tmp_path: Path
) -> None:
    """The ledger of before the run, restored and moved in: the marks in HaloPSA are those of its own keys."""
    office.plan()
    forgetting = Office(tmp_path, office.sandbox, f"sqlite:///{tmp_path / 'other.db'}")
    with open_ledger(office.database_url, partner=SINGLE) as ledger:
        own = ledger.installation
    open_ledger(forgetting.database_url, partner=SINGLE).close()
    with closing(Database(forgetting.database_url)) as database, database.writing() as connection:
        connection.execute(update(partner).values(installation=own))
    posted = forgetting.run("run", "--yes", "--json").must().json
    state = office.sandbox.state()
    rename("acme")
    told = office.run("run", "--yes", "--json").must().json
    assert {one["state"] for one in told["postings"]} == {"adopted"} and keys(told) == keys(posted)
    assert office.sandbox.state() == state and billed(office.sandbox) == due(office.sandbox)
    office.run("audit", "verify").must()


def test_the_journal_goes_on_with_the_key_name(office: Office, rename: Callable[[str], None], tmp_path: Path) -> None:
    office.run("run", "--yes").must()
    rename("acme")
    office.run("plan").must()
    with open_ledger(office.database_url, partner="acme") as ledger:
        entries = ledger.journal_entries()
        assert first_altered(entries, SINGLE) is None
        altered = first_altered(entries, "acme")
        assert altered is not None and altered.seq == 1
    folder = tmp_path / "evidence"
    office.run("audit", "export", "2026-11", "--out", str(folder)).must()
    assert subprocess.run([sys.executable, "-I", "verify.py"], cwd=folder, capture_output=True).returncode == 0
    with closing(Database(office.database_url)) as database, database.writing() as connection:
        connection.execute(update(partner).values(key_name="acme"))
    assert "entry 1 " in office.run("audit", "verify").must(1).stdout


def test_two_ledgers_of_one_key_name_share_a_database(office: Office, rename: Callable[[str], None]) -> None:
    """Every ledger that is moved in was `default` where it came from."""
    office.run("run", "--yes").must()
    rename("acme")
    with (
        open_ledger(office.database_url, partner=SINGLE) as other,
        open_ledger(office.database_url, partner="acme") as acme,
    ):
        assert other.key_name == acme.key_name == SINGLE and other.installation != acme.installation
        assert not other.states() and not other.journal_entries() and acme.states()


def test_an_existing_ledger_gets_its_name_as_key_name(database_url: str) -> None:
    with closing(Database(database_url)) as database, database.writing() as connection:
        upgrade_to("0014", connection)
        row = "INSERT INTO partner (partner, installation, epoch, token, holder) VALUES (:name, 'aa', 3, 't', 'h')"
        connection.execute(text(row), [{"name": SINGLE}, {"name": "acme"}])
    upgrade.upgrade(database_url)
    for name in (SINGLE, "acme"):
        with open_ledger(database_url, partner=name) as ledger:
            assert (ledger.key_name, ledger.partner().epoch, ledger.installation) == (name, 3, "aa")
