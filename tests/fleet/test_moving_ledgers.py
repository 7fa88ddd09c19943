"""Ledgers into a fleet, out of it, back from a clone, and off."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, make_url, select, text, update

from billingsync.core.partner import SINGLE
from billingsync.core.states import PostingState
from billingsync.errors import Moved
from billingsync.store.ledger import open_ledger
from billingsync.store.schema import metadata, partner, posting
from tests.fleet.fleet_house import RULES, House, house
from tests.sandbox.cli import Office, Ran, billed, due

# Dies by kill -9 right before its nth commit, those of the thread that renews the lease not counted.
KILLED = """
import os, signal, sys, threading
from contextlib import contextmanager
from billingsync.store.database import Database
from billingsync.cli import main
left, true = [int(sys.argv.pop(1))], Database.writing
@contextmanager
def writing(self, **options):
    with true(self, **options) as connection:
        yield connection
        left[0] -= threading.current_thread() is threading.main_thread()
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
Database.writing = writing
sys.exit(main())
"""


@pytest.fixture
def home(tmp_path: Path, postgres_url: str) -> Iterator[House]:
    with house(tmp_path, postgres_url, "acme") as found:
        found.lease_s = 2
        yield found


@pytest.fixture
def old(home: House, tmp_path: Path) -> Office:
    """An installation of one partner, that has billed."""
    made = Office(tmp_path / "old", home.sandboxes["acme"])
    made.rules(RULES)
    made.run("run", "--yes").must()
    return made


def file_of(old: Office) -> str:
    return str(old.folder / "ledger.db")


def rows(home: House, name: str) -> int:
    with home.opened() as fleet, fleet.database.reading() as connection:
        tables = [one for one in metadata.sorted_tables if "partner" in one.c]
        return sum(
            connection.scalar(select(func.count()).select_from(one).where(one.c.partner == name)) or 0 for one in tables
        )


def test_a_ledger_moves_in_with_keys_and_journal_and_the_old_one_posts_no_more(home: House, old: Office) -> None:
    state = home.sandboxes["acme"].state()
    with open_ledger(f"sqlite:///{file_of(old)}", partner=SINGLE) as ledger:
        installation, entries = ledger.installation, ledger.journal_entries()
    told = home.run("fleet", "import", "acme", file_of(old), "--json").must().json
    assert (told["installation"], told["key_name"]) == (installation, SINGLE)
    with open_ledger(home.database_url, partner="acme") as ledger:
        assert (ledger.installation, ledger.key_name) == (installation, SINGLE)
        assert ledger.journal_entries()[: len(entries)] == entries
        assert [one.kind for one in ledger.journal_entries()[len(entries) :]] == ["fleet.imported"]
    home.run("audit", "verify", "--partner", "acme").must()
    home.run("fleet", "run", "acme").must()
    assert home.sandboxes["acme"].state() == state and home.is_billed("acme")
    for words in (("run", "--yes"), ("plan",), ("map", "companies", "--auto"), ("worker", "--once")):
        ran = old.run(*words)
        assert ran.code in (1, 5) and "BS-MOVED" in ran.text, ran.text
    refused = old.run("run", "--yes", "--json").must(5).json["error"]
    assert refused["code"] == "BS-MOVED" and refused["next_steps"] == [
        ["billingsync", "fleet", "status", "--partner", "acme"]
    ]
    old.run("runs").must()
    old.run("audit", "verify").must()
    assert home.sandboxes["acme"].state() == state
    again = home.run("fleet", "import", "acme", file_of(old), "--json").must().json
    assert again["rows"] == 0


def test_a_ledger_moves_in_from_postgresql_and_no_password_stays_behind(
    home: House, postgres_ledger_url: str, tmp_path: Path
) -> None:
    url = postgres_ledger_url.replace("postgres:@", "postgres:geheim@")
    made = Office(tmp_path / "old", home.sandboxes["acme"], url)
    made.rules(RULES)
    made.run("run", "--yes").must()
    state = home.sandboxes["acme"].state()
    home.run("fleet", "import", "acme", url).must()
    home.run("fleet", "run", "acme").must()
    home.run("audit", "verify", "--partner", "acme").must()
    assert home.sandboxes["acme"].state() == state
    made.run("run", "--yes").must(5)
    with open_ledger(url, partner=SINGLE) as ledger, ledger.reading() as connection:
        said = str(connection.scalar(select(partner.c.moved)))
    assert "acme" in said and "geheim" not in said


def test_a_move_that_was_broken_off_can_be_given_up(home: House, old: Office) -> None:
    home.run("fleet", "import", "acme", file_of(old), "--give-up").must(5)  # there was none
    broken_off = subprocess.run(
        [sys.executable, "-c", KILLED, "4", "fleet", "import", "acme", file_of(old)],
        cwd=home.folder,
        env=home.environment(),
        capture_output=True,
        timeout=60,
    )
    assert broken_off.returncode == -signal.SIGKILL
    with open_ledger(home.database_url, partner="acme") as ledger, ledger.database.writing() as connection:
        connection.execute(update(partner).values(until=None))  # as after the wait for its lease
    refused = old.run("run", "--yes", "--json").must(5).json["error"]
    assert refused["next_steps"] == [["billingsync", "fleet", "import", "acme", file_of(old)]]
    home.run("fleet", "import", "acme", file_of(old), "--give-up").must()
    old.run("run", "--yes").must()
    home.run("fleet", "import", "acme", file_of(old)).must()
    home.run("fleet", "import", "acme", file_of(old), "--give-up").must(5)  # it arrived


def test_killed_at_each_step_it_is_finished_and_never_two_can_post(home: House, old: Office) -> None:
    with open_ledger(f"sqlite:///{file_of(old)}", partner=SINGLE) as ledger:
        installation = ledger.installation
    seen = set()
    for step in range(1, 12):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(step), "fleet", "import", "acme", file_of(old)],
            cwd=home.folder,
            env=home.environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stdout + done.stderr
        with open_ledger(f"sqlite:///{file_of(old)}", partner=SINGLE) as ledger:
            try:
                with ledger.run_lock("the old one"):
                    old_posts = True
            except Moved:
                old_posts = False
        with open_ledger(home.database_url, partner="acme") as ledger:
            new_posts = ledger.installation == installation
            with ledger.database.writing() as connection:  # as after the wait for its lease
                connection.execute(update(partner).values(until=None))
        assert not (old_posts and new_posts)
        seen.add((old_posts, new_posts))
        if done.returncode == 0:
            break
    assert seen == {(True, False), (False, False), (False, True)}
    state = home.sandboxes["acme"].state()
    home.run("fleet", "run", "acme").must()
    assert home.sandboxes["acme"].state() == state
    home.run("audit", "verify", "--partner", "acme").must()


def test_it_is_refused_while_the_old_one_runs_or_a_write_is_unresolved_or_altered(home: House, old: Office) -> None:
    url = f"sqlite:///{file_of(old)}"
    before = rows(home, "acme")

    def refused(code: str, exit_code: int = 5) -> Ran:
        ran = home.run("fleet", "import", "acme", file_of(old), "--json").must(exit_code)
        assert ran.json["error"]["code"] == code, ran.text
        assert rows(home, "acme") == before
        return ran

    with open_ledger(url, partner=SINGLE) as ledger:
        with ledger.run_lock("somebody"):
            assert "somebody" in refused("BS-OTHER-INSTALLATION").stdout
        ledger.show_life("1", "worker", datetime.now(UTC))
        refused("BS-OTHER-INSTALLATION")
        with ledger.database.writing() as connection:
            connection.execute(text("DELETE FROM desk_life"))
            key = connection.scalar(select(posting.c.key).limit(1))
            own = update(posting).where(posting.c.key == key)
            connection.execute(own.values(state=PostingState.UNKNOWN))
        refused("BS-REFUSED")
        with ledger.database.writing() as connection:
            connection.execute(own.values(state=PostingState.POSTED, amount=Decimal(12)))
        assert "altered" in refused("BS-REFUSED").stdout
    home.run("fleet", "import", "nobody", file_of(old)).must(2)
    missing = home.run("fleet", "import", "acme", "nowhere.db").must(2).text
    assert "There is no file" in missing and "first plan or run" not in missing
    old.run("plan").must()  # it goes on


def test_a_ledger_that_went_to_one_partner_does_not_go_to_another(home: House, old: Office, tmp_path: Path) -> None:
    shutil.copytree(home.fleet_folder / "partners" / "acme", home.fleet_folder / "partners" / "birch")
    file = home.fleet_folder / "partners" / "birch" / "partner.toml"
    file.write_text(file.read_text().replace("127.0.0.1", "localhost"))
    home.run("fleet", "apply", "fleet").must()
    copied = tmp_path / "copy.db"
    old.run("db", "backup", str(copied)).must()
    home.run("fleet", "import", "acme", file_of(old)).must()
    home.run("fleet", "import", "birch", file_of(old)).must(5)
    ran = home.run("fleet", "import", "birch", str(copied)).must(5)
    assert "acme has this very ledger already" in ran.text.replace("\n", " ")


def test_an_export_verifies_posts_nothing_and_is_refused_elsewhere_while_its_origin_bills(
    home: House, old: Office, tmp_path: Path
) -> None:
    home.run("fleet", "import", "acme", file_of(old)).must()
    home.run("fleet", "export", "acme", "acme.db").must()
    home.run("fleet", "export", "acme", "acme.db").must(1)
    archive = home.folder / "acme.db"
    assert archive.stat().st_mode & 0o077 == 0 and not list(home.folder.glob("acme.db.*"))
    home.run("audit", "verify", "--ledger", "acme.db").must()
    reader = Office(tmp_path / "reader", home.sandboxes["acme"], f"sqlite:///{archive}")
    reader.rules(RULES)
    reader.run("audit", "verify").must()
    refused = reader.run("run", "--yes", "--json").must(5).json["error"]
    assert refused["code"] == "BS-MOVED" and refused["next_steps"][0][:4] == ["billingsync", "fleet", "import", "acme"]
    with sqlite3.connect(archive) as connection:
        connection.execute("UPDATE claim SET price = '0.01'")
    connection.close()
    home.run("audit", "verify", "--ledger", "acme.db").must(1)


def test_one_partner_is_put_back_from_a_clone_and_bills_nothing_twice(home: House, old: Office, tmp_path: Path) -> None:
    """The clone is the fleet's database as it was an hour ago: of the partner's last postings it knows nothing."""
    home.sandboxes["acme"].reset()
    live, there = home.database_url, make_url(home.database_url)
    with psycopg.connect(live.replace("+psycopg", ""), dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE clone_of_fleet TEMPLATE {there.database}")  # type: ignore[call-overload]  # a test's
        try:
            home.run("fleet", "run", "acme").must()
            home.database_url = there.set(database="clone_of_fleet").render_as_string(hide_password=False)
            home.run("fleet", "export", "acme", "before.db").must()
        finally:
            home.database_url = live
            connection.execute("DROP DATABASE clone_of_fleet WITH (FORCE)")
    state = home.sandboxes["acme"].state()
    assert home.is_billed("acme") and home.amount("acme") > 0
    refused = home.run("fleet", "import", "acme", "before.db").must(5)
    assert "--replace" in refused.text
    home.run("fleet", "import", "acme", "before.db", "--replace").must()
    with open_ledger(home.database_url, partner="acme") as ledger:
        assert not ledger.states()
    home.run("fleet", "run", "acme").must()
    with open_ledger(home.database_url, partner="acme") as ledger:
        assert set(ledger.states().values()) == {PostingState.ADOPTED}
    assert home.sandboxes["acme"].state() == state
    home.run("audit", "verify", "--partner", "acme").must()


def test_a_partner_is_forgotten_with_an_export_that_knows_everything_and_its_name_stays(
    home: House, old: Office
) -> None:
    home.run("fleet", "import", "acme", file_of(old)).must()
    home.run("fleet", "export", "acme", "early.db").must()
    home.run("fleet", "forget", "acme", "--exported", "early.db").must(5)  # its folder is there
    shutil.move(home.fleet_folder / "partners" / "acme", home.folder / "acme-files")
    (home.folder / "fleet" / "partners" / "birch").mkdir()
    (home.folder / "fleet" / "partners" / "birch" / "partner.toml").write_text(
        '[halo]\nbase_url = "https://b.example"\n'
    )
    home.run("fleet", "apply", "fleet").must()
    early = home.run("fleet", "forget", "acme", "--exported", "early.db").must(5).text  # no other fleet would take it
    assert "before its folder was taken away" in " ".join(early.split()) and rows(home, "acme") > 1
    home.run("fleet", "export", "acme", "acme.db").must()
    home.run("fleet", "forget", "acme", "--exported", file_of(old)).must(5)  # no export
    with open_ledger(home.database_url, partner="acme") as ledger, ledger.writing() as connection:
        ledger.note(connection, "decision", {"client": "1", "reason": "later"}, datetime.now(UTC))
    home.run("fleet", "forget", "acme", "--exported", "acme.db").must(5)  # older than what was decided
    (home.folder / "acme.db").unlink()
    with open_ledger(home.database_url, partner="acme") as ledger, ledger.database.writing() as connection:
        connection.execute(text("DELETE FROM journal WHERE kind = 'decision' AND body LIKE '%later%'"))
    home.run("fleet", "export", "acme", "acme.db").must()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "9", "fleet", "forget", "acme", "--exported", "acme.db"],
        cwd=home.folder,
        env=home.environment(),
        capture_output=True,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL and rows(home, "acme") > 1
    home.run("plan", "--partner", "acme").must(2)
    home.run("fleet", "forget", "acme", "--exported", "acme.db").must()
    assert rows(home, "acme") == 1  # its name and the day
    home.run("fleet", "run", "acme").must(2)
    home.run("fleet", "pause", "acme", "--reason", "gone").must(2)
    shutil.move(home.folder / "acme-files", home.fleet_folder / "partners" / "acme")
    assert "was forgotten" in home.run("fleet", "apply", "fleet").must(2).text
    assert os.path.exists(home.folder / "acme.db")
    assert billed(home.sandboxes["acme"]) == due(home.sandboxes["acme"])
