"""Opening, upgrading, checking and copying the ledger's database [N4]; faults 27, 32 and 33."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from store_sample import NOW, intend, read_back, running, simple

from billingsync.errors import LedgerError, SettingsError
from billingsync.store import database as database_module
from billingsync.store import files, ledger, schema, upgrade
from billingsync.store.database import Database
from billingsync.store.ledger import open_ledger

pytestmark = pytest.mark.usefixtures("true_set_up")

HEAD = schema.REVISIONS[-1]


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def statement(url: str, sql: str) -> None:
    with closing(Database(url)) as database, database.writing() as connection:
        connection.execute(text(sql))


def refusal(url: str) -> str:
    """The sentence with which the ledger is refused, after checking that the refusal wrote nothing."""
    with pytest.raises(LedgerError) as refused:
        open_ledger(url, partner="default")
    assert "\n" not in refused.value.message
    assert refused.value.exit_code == 1
    return refused.value.message


def test_an_empty_database_is_set_up_by_itself_and_stays(database_url: str) -> None:
    with open_ledger(database_url, partner="default") as first:
        made = first.partner()
        assert len(made.installation) == 8 and int(made.installation, 16) >= 0
        assert (made.name, made.epoch, made.bound_at) == ("default", 0, None)
        first.assert_durable()
    with open_ledger(database_url, partner="default") as again:
        assert again.partner() == made
    with open_ledger(database_url, partner="other") as other:
        assert other.partner().installation != made.installation
    assert upgrade.current(database_url) == (HEAD, HEAD)
    assert upgrade.upgrade(database_url) == HEAD


def test_upgrade_makes_an_empty_database(database_url: str) -> None:
    if database_url.startswith("postgresql"):
        assert upgrade.current(database_url) == (None, HEAD)
    assert upgrade.upgrade(database_url) == HEAD
    assert upgrade.current(database_url) == (HEAD, HEAD)


def test_migrations_and_schema_say_the_same(database_url: str) -> None:
    upgrade.upgrade(database_url)
    with closing(Database(database_url)) as database:
        with database.reading() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, schema.metadata) == []
            migrated = indexes(connection)
        with database.writing() as connection:
            schema.metadata.drop_all(connection)
            schema.metadata.create_all(connection)
        with database.reading() as connection:
            assert indexes(connection) == migrated
    assert any("uq_claim_live" in index and "WHERE" in index for index in migrated)


def indexes(connection: Connection) -> set[str]:
    """Indexes as the database itself writes them: Alembic does not compare the WHERE of a partial one."""
    if connection.dialect.name == "sqlite":
        query = "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    else:
        query = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename != 'alembic_version'"
    return {"".join(str(sql).split()) for sql in connection.execute(text(query)).scalars()}


def test_the_known_revisions_are_those_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", "billingsync.store:migrations")
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())
    assert tuple(script.revision for script in reversed(scripts)) == schema.REVISIONS


def test_the_migrations_are_shipped() -> None:
    folder = Path(upgrade.__file__).with_name("migrations")
    assert (folder / "env.py").is_file() and (folder / "script.py.mako").is_file()


def test_every_table_has_the_partner_in_its_key() -> None:
    of_all = {
        "ledger_schema",
        "fleet_file",
        "fleet_version",
        "fleet_tenant",
        "fleet_worker",
        "fleet_notice",
        "call_budget",
    }  # they hold no partner's data
    for table in schema.metadata.sorted_tables:
        assert ("partner" in table.primary_key.columns) != (table.name in of_all), table.name


def test_fault_32_a_newer_schema_is_refused(database_url: str) -> None:
    open_ledger(database_url, partner="default").close()
    statement(database_url, "UPDATE alembic_version SET version_num = '9999'")
    assert "newer billingsync" in refusal(database_url)
    with pytest.raises(LedgerError, match="newer billingsync"):
        upgrade.upgrade(database_url)
    assert upgrade.current(database_url) == ("9999", HEAD)


def test_fault_32_an_old_schema_says_how_to_upgrade(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_ledger(database_url, partner="default").close()
    monkeypatch.setattr(database_module, "REVISIONS", (*schema.REVISIONS, "9998"))
    monkeypatch.setattr(database_module, "OLDEST_SCHEMA", "9998")
    with pytest.raises(LedgerError, match=f"has the schema {HEAD}, and this billingsync needs 9998") as refused:
        open_ledger(database_url, partner="default")
    assert refused.value.next_steps == (("billingsync", "db", "upgrade"),)


def test_fault_32_a_migration_that_dies_midway_leaves_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("alembic.runtime.migration.HeadMaintainer.update_to_step", die)
        with pytest.raises(KeyboardInterrupt):
            open_ledger(database_url, partner="default")
    with closing(Database(database_url)) as database, database.reading() as connection:
        assert inspect(connection).get_table_names() == []
    open_ledger(database_url, partner="default").close()


def test_another_programs_database_is_refused_and_left_alone(database_url: str) -> None:
    statement(database_url, "CREATE TABLE partner (id INTEGER)")
    before = path_of(database_url).read_bytes() if database_url.startswith("sqlite") else b""
    assert "no billingsync ledger" in refusal(database_url)
    if before:
        assert path_of(database_url).read_bytes() == before
        assert not path_of(database_url).with_name("billingsync.db-wal").exists()


def test_a_file_that_another_process_is_setting_up_is_waited_for(sqlite_url: str) -> None:
    with closing(sqlite3.connect(path_of(sqlite_url), isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, other.execute, ["ROLLBACK"])
        timer.start()
        open_ledger(sqlite_url, partner="default").close()
        timer.join()


def test_many_processes_set_up_one_database(database_url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        opened = list(pool.map(lambda _: open_ledger(database_url, partner="default"), range(6)))
    assert len({each.partner().installation for each in opened}) == 1
    for each in opened:
        each.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://u:s3cret@h/d",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=ro&uri=true",
        "postgresql://u:s3cret@h:port/d",
    ],
)
def test_a_url_that_cannot_be_used_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match="BILLINGSYNC_DATABASE_URL") as refused:
        open_ledger(url, partner="default")
    assert "s3cret" not in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("url", ["postgres://u:s3cret@127.0.0.1:9/d", "postgresql+psycopg://u:s3cret@127.0.0.1:9/d"])
def test_a_server_that_is_away(url: str) -> None:
    said = refusal(url)
    assert "d on 127.0.0.1:9 (PostgreSQL) cannot be reached" in said and "BILLINGSYNC_DATABASE_URL" in said
    assert "s3cret" not in said


def test_a_postgresql_database_that_does_not_exist(postgres_url: str) -> None:
    assert "does not exist" in refusal(postgres_url.replace("/test_", "/absent_"))


def test_a_postgresql_user_without_rights(postgres_url: str) -> None:
    statement(postgres_url, "CREATE ROLE small_user LOGIN")
    try:
        said = refusal(postgres_url.replace("postgres:@", "small_user:@"))
        assert "does not let this user do that" in said
    finally:
        statement(postgres_url, "DROP ROLE small_user")


def test_a_postgresql_without_utf8(postgres_server: str) -> None:
    admin = postgres_server
    with closing(Database(admin)) as database, database.outside_transaction() as connection:
        create = "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        connection.execute(text(create))
    try:
        assert "UTF8" in refusal(admin.replace("/postgres?", "/latin?"))
    finally:
        with closing(Database(admin)) as database, database.outside_transaction() as connection:
            connection.execute(text("DROP DATABASE latin WITH (FORCE)"))


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerError, match=r"psycopg.* with its extra \[postgres\]"):
        open_ledger("postgresql://h/d", partner="default")


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    said = refusal(f"sqlite:///{tmp_path}/away/billingsync.db")
    assert "does not exist" in said and "away" in said
    assert not (tmp_path / "away").exists()


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    assert "is a folder" in refusal(f"sqlite:///{tmp_path}")


def test_a_file_that_is_no_database(sqlite_url: str) -> None:
    path_of(sqlite_url).write_text("dear diary, " * 1000)
    assert "is not a SQLite database" in refusal(sqlite_url)
    assert path_of(sqlite_url).read_text().startswith("dear diary")


def test_current_makes_no_file(sqlite_url: str) -> None:
    with pytest.raises(LedgerError, match="There is no database"):
        upgrade.current(sqlite_url)
    assert not path_of(sqlite_url).exists()


def test_the_file_is_its_owners_alone(sqlite_url: str) -> None:
    before = os.umask(0)
    try:
        with open_ledger(sqlite_url, partner="default") as opened, opened.run_lock("me"):
            names = sorted(path_of(sqlite_url).parent.iterdir())
            assert [name.name.removeprefix("billingsync.db") for name in names] == ["", "-shm", "-wal", ".lock"]
            assert {stat.S_IMODE(name.stat().st_mode) for name in names} == {0o600}
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody without rights")
@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o700, 0o666), (0o755, 0o666), (0o777, 0o444), (0o777, 0o000)])
def test_a_folder_or_file_without_rights(folder_mode: int, file_mode: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/billingsync.db"
        open_ledger(url, partner="default").close()
        os.chmod(f"{folder}/billingsync.db", file_mode)
        os.chmod(folder, folder_mode)
        program = (
            "import os, sys; from billingsync.store.ledger import open_ledger\n"
            "from billingsync.errors import LedgerError\n"
            "os.setgid(65534); os.setuid(65534)\n"
            "try: open_ledger(sys.argv[1], partner='default')\n"
            "except LedgerError as refused: print(refused.message)\n"
        )
        done = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, timeout=30)
    assert done.stderr == "" and "cannot be" in done.stdout and "Check the rights" in done.stdout


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte, where we may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("may not mount a disk here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_fault_27_a_disk_that_fills_up_keeps_nothing_of_the_step(small_disk: Path) -> None:
    with (
        open_ledger(f"sqlite:///{small_disk}/billingsync.db", partner="default") as opened,
        running(opened) as (fence, run),
    ):
        intend(opened, fence, run, simple("k1", "i:1"))
        with pytest.raises(LedgerError, match="is full: nothing of this step was kept"):
            intend(opened, fence, run, simple("k2", "i:2"), content=os.urandom(1_500_000).hex())
        assert [each.key for each in opened.postings()] == ["k1"]
        assert opened.claims_of("i:2") == ()
        intend(opened, fence, run, simple("k2", "i:2"))  # and it goes on when there is room
        assert read_back(opened, simple("k2", "i:2")).key == "k2"


def test_fault_27_a_disk_full_from_the_first_byte(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * (1 << 20))
    assert "is full" in refusal(f"sqlite:///{small_disk}/billingsync.db")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_fault_27_a_disk_that_turned_read_only(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk}/billingsync.db"
    open_ledger(url, partner="default").close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "cannot be written" in refusal(url)


def test_fault_27_a_database_that_grows_no_more(sqlite_url: str) -> None:
    with open_ledger(sqlite_url, partner="default") as opened, running(opened) as (fence, run):
        with opened.writing() as connection:
            connection.execute(text("PRAGMA max_page_count=70"))
        with pytest.raises(LedgerError, match="is full"):
            intend(opened, fence, run, simple("k", "i:1"), content=os.urandom(500_000).hex())
        assert opened.postings() == ()


def test_fault_27_a_database_locked_by_another(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_S", 0)
    with open_ledger(sqlite_url, partner="default") as opened, closing(sqlite3.connect(path_of(sqlite_url))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="is locked by another program"):
            opened.set_item_match("SKU", 1, who="me", now=NOW)
        other.rollback()
        opened.set_item_match("SKU", 1, who="me", now=NOW)


def test_fault_27_a_row_locked_by_another_session(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_ledger(postgres_url, partner="default") as first:
        monkeypatch.setattr(database_module, "BUSY_S", 1)
        with (
            open_ledger(postgres_url, partner="default") as second,
            first.writing(),
            pytest.raises(LedgerError, match="is locked by"),
        ):
            second.set_item_match("SKU", 1, who="me", now=NOW)


def damage(path: Path, start: int) -> None:
    content = bytearray(path.read_bytes())
    content[start : start + 100] = os.urandom(100)
    path.write_bytes(content)


def test_fault_33_a_damaged_page_is_found(sqlite_url: str) -> None:
    with open_ledger(sqlite_url, partner="default") as opened:
        with running(opened) as (fence, run):
            for number in range(60):
                intend(opened, fence, run, simple(f"k{number}", f"i:{number}"))
        with opened.reading() as connection:
            page = connection.execute(text("SELECT rootpage FROM sqlite_master WHERE name = 'posting'")).scalar_one()
    damage(path_of(sqlite_url), (page - 1) * 4096)
    said = refusal(sqlite_url)
    assert "is damaged" in said and "backup" in said


def test_fault_33_a_damaged_value_is_never_believed(sqlite_url: str) -> None:
    """SQLite's own check does not look at values; ours carry a checksum."""
    content = os.urandom(20_000).hex()
    with open_ledger(sqlite_url, partner="default") as opened, running(opened) as (fence, run):
        intend(opened, fence, run, simple("k", "i:1"), content=content)
    packed = zlib.compress(content.encode(), level=1)[10_000:10_050]
    damage(path_of(sqlite_url), path_of(sqlite_url).read_bytes().index(packed))
    with open_ledger(sqlite_url, partner="default") as opened, pytest.raises(LedgerError, match="is damaged"):
        read_back(opened, simple("k", "i:1"), content)


def test_fault_33_a_large_file_is_checked_on_demand(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_ledger(sqlite_url, partner="default").close()
    checked = []
    monkeypatch.setattr(files, "quick_check", checked.append)
    monkeypatch.setattr(files, "QUICK_CHECK_BYTES", 10)
    open_ledger(sqlite_url, partner="default").close()
    assert checked == []
    open_ledger(sqlite_url, check=True, partner="default").close()
    assert checked == [path_of(sqlite_url)]


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export /srv nfs4 rw 0 0
/dev/sdb1 /srv/local ext4 rw 0 0
user@host: /mnt/my\\040files fuse.sshfs rw 0 0
drvfs /mnt/c 9p rw 0 0
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/billingsync.db", "ext4"),
        ("/srv/billingsync.db", "nfs4"),
        ("/srv/local/billingsync.db", "ext4"),
        ("/mnt/my files/billingsync.db", "fuse.sshfs"),
        ("/mnt/c/billingsync.db", "9p"),
        ("/srvx/billingsync.db", "ext4"),
    ],
)
def test_fault_33_the_file_system_of_a_path(path: str, kind: str) -> None:
    assert files.file_system_of(Path(path), MOUNTS) == kind


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "smb3", "9p", "fuse.sshfs"])
def test_fault_33_a_network_share_is_refused(kind: str, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "file_system_of", lambda *_: kind)
    assert "lies on a network file system" in refusal(sqlite_url)
    assert not path_of(sqlite_url).exists()


def test_sqlite_that_could_forget_is_refused(sqlite_url: str) -> None:
    open_ledger(sqlite_url, partner="default").close()
    with closing(Database(sqlite_url)) as database:
        with database.outside_transaction() as connection:
            connection.execute(text("PRAGMA journal_mode=DELETE"))
        with pytest.raises(LedgerError, match="journal_mode is delete"):
            database.assert_durable()
    with open_ledger(sqlite_url, partner="default") as opened:
        opened.assert_durable()  # opening turned it on again


@pytest.mark.parametrize("setting", ["synchronous_commit", "fsync", "full_page_writes"])
def test_postgresql_that_could_forget_is_refused(setting: str, postgres_url: str) -> None:
    with open_ledger(postgres_url, partner="default") as opened, closing(Database(postgres_url)) as database:
        opened.assert_durable()
        with database.outside_transaction() as connection:
            connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
            try:
                wait_until(database, setting, "off")
                with pytest.raises(LedgerError, match=f"{setting} is off"):
                    opened.assert_durable()
            finally:
                connection.execute(text(f"ALTER SYSTEM RESET {setting}"))
                connection.execute(text("SELECT pg_reload_conf()"))
                wait_until(database, setting, "on")


def wait_until(database: Database, setting: str, value: str) -> None:
    for _ in range(500):
        with database.outside_transaction() as connection:
            if connection.execute(text(f"SHOW {setting}")).scalar_one() == value:
                return
    raise AssertionError(setting)


def test_a_backup_is_complete_private_and_overwrites_nothing(sqlite_url: str, tmp_path: Path) -> None:
    copy = tmp_path / "copies" / "billingsync.db"
    with open_ledger(sqlite_url, partner="default") as opened, running(opened) as (fence, run):
        intend(opened, fence, run, simple("k", "i:1"))
        with pytest.raises(LedgerError, match="does not exist"):
            upgrade.backup(sqlite_url, copy)
        copy.parent.mkdir()
        upgrade.backup(sqlite_url, copy)
        assert [name.name for name in copy.parent.iterdir()] == ["billingsync.db"]
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        before = copy.read_bytes()
        with pytest.raises(LedgerError, match="overwrites nothing"):
            upgrade.backup(sqlite_url, copy)
        assert copy.read_bytes() == before
        with open_ledger(f"sqlite:///{copy}", partner="default") as restored:
            assert restored.postings() == opened.postings()
            assert restored.partner() == opened.partner()
            restored.assert_durable()


def test_a_backup_of_a_newer_schema_is_possible(sqlite_url: str, tmp_path: Path) -> None:
    open_ledger(sqlite_url, partner="default").close()
    statement(sqlite_url, "UPDATE alembic_version SET version_num = '9999'")
    upgrade.backup(sqlite_url, tmp_path / "copy.db")
    assert upgrade.current(f"sqlite:///{tmp_path}/copy.db")[0] == "9999"


def test_a_backup_of_nothing_or_damage_leaves_nothing(sqlite_url: str, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="There is no database"):
        upgrade.backup(sqlite_url, tmp_path / "copy.db")
    path_of(sqlite_url).write_text("dear diary, " * 1000)
    with pytest.raises(LedgerError, match="not a SQLite database"):
        upgrade.backup(sqlite_url, tmp_path / "copy.db")
    assert [name.name for name in tmp_path.iterdir()] == ["billingsync.db"]


def test_a_backup_onto_a_full_disk_leaves_nothing(small_disk: Path, sqlite_url: str) -> None:
    with open_ledger(sqlite_url, partner="default") as opened, running(opened) as (fence, run):
        intend(opened, fence, run, simple("k", "i:1"), content=os.urandom(1_500_000).hex())
    with pytest.raises(LedgerError, match="full"):
        upgrade.backup(sqlite_url, small_disk / "copy.db")
    assert list(small_disk.iterdir()) == []


def test_a_backup_to_a_place_that_cannot_be_written_to_says_so(sqlite_url: str) -> None:
    open_ledger(sqlite_url, partner="default").close()
    with pytest.raises(LedgerError, match="There is no backup"):
        upgrade.backup(sqlite_url, Path("/proc/self/copy.db"))


def test_a_backup_of_postgresql_names_its_own_tool(postgres_url: str, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="PostgreSQL's own tool") as refused:
        upgrade.backup(postgres_url, tmp_path / "copy")
    assert refused.value.next_steps[0][0] == "pg_dump"


def test_a_ledger_moved_with_its_wal_loses_nothing(sqlite_url: str, tmp_path: Path) -> None:
    """A process that died leaves its write-ahead log behind; what it holds is committed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with open_ledger(sqlite_url, partner="default") as opened, running(opened) as (fence, run):
        intend(opened, fence, run, simple("k", "i:1"))
        for name in ("billingsync.db", "billingsync.db-wal"):
            shutil.copy(tmp_path / name, elsewhere / name)
    with open_ledger(f"sqlite:///{elsewhere}/billingsync.db", partner="default") as found:
        assert [each.key for each in found.postings()] == ["k"]


def test_opening_reads_the_modules_it_needs_only(sqlite_url: str) -> None:
    open_ledger(sqlite_url, partner="default").close()
    program = "import sys; from billingsync.store.ledger import open_ledger; open_ledger(sys.argv[1], partner='default').close()\n"
    program += "print([name for name in ('alembic', 'psycopg') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program, sqlite_url], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "[]", done.stderr
    assert ledger.__doc__
