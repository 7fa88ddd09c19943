"""A ledger that was lost or restored [N6]: what HaloPSA has already is taken over, and nothing is posted twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from billingsync.sandbox.server import Sandbox
from tests.sandbox.cli import CALM, MARK, TEXT_ONLY, Office, billed, due
from tests.sandbox.test_trueup import marked
from tests.sandbox.test_undo import LOOSE, open_invoices, recurring_office, rows


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(CALM) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: Sandbox) -> Sandbox:
    server.reset(CALM)
    return server


def another(office: Office, url: str) -> Office:
    """The same rules, with a ledger that knows nothing."""
    return Office(office.folder, office.sandbox, url)


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Callable[[], str]:
    """An empty database of the same kind, as after the first was deleted."""

    def make() -> str:
        if database_url.startswith("sqlite"):
            return f"sqlite:///{tmp_path / 'new.db'}"
        import psycopg

        with psycopg.connect(database_url.replace("+psycopg", "", 1), autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return database_url

    return make


def test_fault_01_a_lost_ledger_is_refused_then_adopts_everything_and_posts_nothing(
    sandbox: Sandbox, tmp_path: Path, database_url: str, empty_url: Callable[[], str]
) -> None:
    office = Office(tmp_path, sandbox, database_url)
    office.rules(TEXT_ONLY + LOOSE)
    posted = office.run("run", "--yes", "--json").must().json
    state = sandbox.state()
    (lost,) = {mark[2] for row in sandbox.halo.invoices.values() for line in row["lines"]
               if (mark := MARK.search(line["item_longdescription"]))}  # fmt: skip
    office = another(office, empty_url())
    refused = office.run("run", "--yes").must(5)
    assert "BS-OTHER-INSTALLATION" in refused.stderr and f"billingsync adopt {lost}" in refused.stderr
    assert sandbox.state() == state
    assert office.run("adopt", lost, "--json").must().json["adopted"]
    told = office.run("run", "--yes", "--json").must().json
    assert sandbox.state() == state
    assert {one["state"] for one in told["postings"]} == {"adopted"}
    assert {one["key"] for one in told["postings"]} == {one["key"] for one in posted["postings"]}
    assert office.run("run", "--yes", "--json").must().json["postings"] == [] and sandbox.state() == state
    assert not office.run("adopt", lost, "--json").must().json["adopted"]  # once is enough
    office.run("audit", "verify").must()
    office.run("undo", told["run"], "--yes").must()  # what was adopted can be undone like what was posted
    assert all("billingsync key=" not in row["internal_note"] for row in sandbox.halo.invoices.values())
    office.run("run", "--yes").must()
    assert billed(sandbox) == due(sandbox)


def test_fault_01_a_ledger_restored_from_before_the_run_adopts(
    sandbox: Sandbox, tmp_path: Path, sqlite_url: str
) -> None:
    office = Office(tmp_path, sandbox, sqlite_url)
    office.rules(TEXT_ONLY + LOOSE)
    office.plan()
    office.run("db", "backup", "before.db").must()
    office.run("run", "--yes").must()
    state = sandbox.state()
    for old in tmp_path.glob("billingsync.db*"):
        old.unlink()
    shutil.move(tmp_path / "before.db", tmp_path / "billingsync.db")
    told = office.run("run", "--yes", "--json").must().json
    assert {one["state"] for one in told["postings"]} == {"adopted"} and rows(sandbox.state()) == rows(state)
    assert billed(sandbox) == due(sandbox)


def test_only_another_installation_s_id_is_taken_over(sandbox: Sandbox, tmp_path: Path, sqlite_url: str) -> None:
    office = Office(tmp_path, sandbox, sqlite_url)
    office.rules(TEXT_ONLY)
    for wrong in ("", "1a2b3c4", "1a2b3c4g", "1a2b3c4d5"):
        assert "8 digits" in office.run("adopt", wrong).must(2).stderr
    own = office.run("adopt", "1a2b3c4d", "--json").must().json["own"]
    assert "is this installation itself" in office.run("adopt", own).must(2).stderr
    (entry,) = [one for one in _journal(sqlite_url) if one.kind == "installation.adopted"]
    assert '"installation":"1a2b3c4d"' in entry.body and '"who":"' in entry.body


def _journal(url: str):  # type: ignore[no-untyped-def]
    from billingsync.store.ledger import open_ledger

    with open_ledger(url, partner="default") as ledger:
        return ledger.journal_entries()


@pytest.mark.parametrize("behavior", ["new", "latest", "recurring"])
def test_fault_01_what_was_undone_and_posted_again_is_adopted_too(
    sandbox: Sandbox, tmp_path: Path, sqlite_url: str, behavior: str
) -> None:
    """Then HaloPSA has the second generation of each posting, and the restored ledger has never heard of an undo."""
    office = Office(tmp_path, sandbox, sqlite_url)
    office.rules(TEXT_ONLY + LOOSE)
    if behavior == "latest":
        open_invoices(sandbox, 214, 215, 216, 217)
        office.rules(TEXT_ONLY + LOOSE + '[invoice]\nbehavior = "latest"\n')
    if behavior == "recurring":
        recurring_office(office)
    office.plan()
    office.run("db", "backup", "before.db").must()
    run = office.run("run", "--yes", "--json").must().json["run"]
    office.run("undo", run, "--yes").must()
    again = office.run("run", "--yes", "--json").must().json
    state = sandbox.state()
    for old in tmp_path.glob("billingsync.db*"):
        old.unlink()
    shutil.move(tmp_path / "before.db", tmp_path / "billingsync.db")
    told = office.run("run", "--yes", "--json").must().json
    assert rows(sandbox.state()) == rows(state)
    assert {one["state"] for one in told["postings"]} == {"adopted"}
    assert {one["key"] for one in told["postings"]} == {one["key"] for one in again["postings"]}
    office.run("undo", told["run"], "--yes").must()
    office.run("run", "--yes").must()
    assert marked(sandbox) == due(sandbox)
