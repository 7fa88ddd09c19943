"""Workers of two versions side by side on one database [C12]: expand, replace one by one, contract."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from billingsync.errors import LedgerError
from billingsync.sandbox.server import Sandbox
from billingsync.store import schema, upgrade
from billingsync.store.database import Database
from billingsync.store.ledger import open_ledger
from tests.fleet.schemas import upgrade_to
from tests.sandbox.cli import CALM, TEXT_ONLY, Office, billed, due, process_environment

# A version that is newer than this one: of the same month it makes another plan.
NEWER = """
import sys
from billingsync.core.bill import plan_run
true = plan_run._digest
plan_run._digest = lambda plan, key_name: true(plan, key_name + " of the next version")
from billingsync.cli import main
sys.exit(main())
"""


@pytest.fixture
def office(tmp_path: Path, database_url: str) -> Iterator[Office]:
    with Sandbox(CALM) as server:
        made = Office(tmp_path, server, database_url)
        made.rules(TEXT_ONLY)
        yield made


def expand(url: str, oldest_reader: str = schema.OLDEST_READER) -> None:
    """What the next release's `db upgrade` does to this one's database."""
    with closing(Database(url)) as database, database.writing() as connection:
        for table in ("posting", "plan", "run", "cycle", "partner", "claim"):
            connection.execute(text(f"ALTER TABLE {table} ADD COLUMN of_the_next_version TEXT"))
        connection.execute(text("CREATE TABLE next_version (partner TEXT NOT NULL PRIMARY KEY)"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9001'"))
        connection.execute(
            text("UPDATE ledger_schema SET schema = '9001', oldest_reader = :oldest"), {"oldest": oldest_reader}
        )


def test_this_version_goes_on_beside_a_schema_that_was_only_expanded(office: Office) -> None:
    before = office.plan()
    expand(office.database_url)
    after = office.plan()
    assert after["digest"] == before["digest"] and after["clients"] == before["clients"]
    assert office.run("post", before["digest"], "--json").must(0, 3).json["postings"]
    assert billed(office.sandbox) == due(office.sandbox)
    office.run("audit", "verify").must()
    assert upgrade.upgrade(office.database_url) == "9001"  # nothing to do, and nothing done


def test_a_contracted_schema_ends_this_version(office: Office) -> None:
    before = office.plan()
    expand(office.database_url, "9001")
    state = office.sandbox.state()
    refused = office.run("post", before["digest"], "--json").must(1).json["error"]
    assert refused["code"] == "BS-LEDGER" and "newer billingsync" in refused["message"]
    assert office.sandbox.state() == state
    with pytest.raises(LedgerError, match="newer billingsync"):
        upgrade.upgrade(office.database_url)


def test_what_a_newer_version_planned_otherwise_is_not_posted_by_the_older(office: Office) -> None:
    office.plan()
    expand(office.database_url)
    done = subprocess.run(
        [sys.executable, "-c", NEWER, "plan", "--json"],
        cwd=office.folder,
        env=process_environment(office.environment()),
        capture_output=True,
        text=True,
        timeout=60,
    )
    digest = re.search(r'"digest": ?"([0-9a-f]+)"', done.stdout)
    assert digest is not None, done.stdout + done.stderr
    state = office.sandbox.state()
    assert office.run("post", digest[1], "--json").must(5).json["error"]["code"] == "BS-STALE-PLAN"
    assert office.sandbox.state() == state


def test_an_upgrade_waits_for_a_table_in_use_a_little_at_a_time(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "LOCK_S", 0.1)
    monkeypatch.setattr(upgrade, "PAUSE_S", 0.05)
    with closing(Database(postgres_url)) as database, database.writing() as connection:
        upgrade_to("0018", connection)
    plain = postgres_url.replace("+psycopg", "")
    with psycopg.connect(plain) as long_reader:
        long_reader.execute("SELECT count(*) FROM partner")
        monkeypatch.setattr(upgrade, "TRIES", 2)
        with pytest.raises(LedgerError, match="locked by another session"):
            upgrade.upgrade(postgres_url)
        monkeypatch.setattr(upgrade, "TRIES", 1000)
        upgraded = threading.Thread(target=upgrade.upgrade, args=[postgres_url])
        upgraded.start()
        with psycopg.connect(plain, autocommit=True) as another:
            another.execute("SET statement_timeout = '20s'")
            for _ in range(20):  # who comes after the upgrade is never behind it for long
                another.execute("SELECT count(*) FROM partner")
                time.sleep(0.01)
        assert upgraded.is_alive()
        long_reader.rollback()
        upgraded.join(60)
    assert upgrade.current(postgres_url) == (schema.REVISIONS[-1],) * 2


def test_an_older_schema_is_upgraded_by_command_alone(database_url: str) -> None:
    with closing(Database(database_url)) as database, database.writing() as connection:
        upgrade_to("0021", connection)
    with pytest.raises(LedgerError, match="has the schema 0021") as refused:
        open_ledger(database_url, partner="default")
    assert refused.value.next_steps == (("billingsync", "db", "upgrade"),)
    assert upgrade.upgrade(database_url) == schema.REVISIONS[-1]
    open_ledger(database_url, partner="default").close()


def test_what_contracts_raises_the_oldest_reader() -> None:
    """Fails for a revision that takes away or changes what the version before uses, and does not say so."""
    folder = Path(upgrade.__file__).with_name("migrations") / "versions"
    newer = schema.REVISIONS[schema.REVISIONS.index(schema.OLDEST_READER) + 1 :]
    for revision in newer:
        (file,) = folder.glob(f"v{revision}_*.py")
        assert not re.search(r"drop_|alter_column|rename|nullable=False\)\)", file.read_text()), file.name
