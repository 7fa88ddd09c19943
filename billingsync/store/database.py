"""One database, SQLite or PostgreSQL behind the same doors: reading, writing, durable, and of which schema."""

from __future__ import annotations

import copy
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.schema import Table

from billingsync.errors import LedgerError, SettingsError
from billingsync.store import files
from billingsync.store.schema import OLDEST_SCHEMA, REVISIONS, fleet_version, ledger_schema
from billingsync.store.trouble import BUSY_S, explained

_BEGIN = "billingsync_begin"  # execution option: how a transaction begins on SQLite
_ACTS = "billingsync_acts"  # execution option: for which partner a transaction is, and as which role
IDLE_S = 60  # seconds that a transaction may rest between two statements; no work of ours takes as long
_EXAMPLES = "sqlite:///billingsync.db or postgresql+psycopg://user:password@host/billingsync"
# A standby's own name in synchronous_standby_names: "*" would be whoever comes, and FIRST and ANY are words of its own.
_NAMED_STANDBY = re.compile(r'(?i)"[^"*]+"|\b(?!(?:first|any)\b)[a-z_]\w*')
Value = TypeVar("Value")
UPGRADE = ("billingsync", "db", "upgrade")


def parse(url: str) -> URL:
    """The URL with its driver named and its file absolute. SettingsError where it is none that we can use."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # their messages may quote the URL, password and all
        raise SettingsError([f"BILLINGSYNC_DATABASE_URL is not a database URL; write e.g. {_EXAMPLES}"]) from None
    dialect = parsed.drivername.partition("+")[0]
    if dialect in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if dialect != "sqlite":
        raise SettingsError([f"BILLINGSYNC_DATABASE_URL: {dialect} is not supported; write e.g. {_EXAMPLES}"])
    name = parsed.database or ""
    if not name or name == ":memory:" or name.startswith("file:") or parsed.query:
        raise SettingsError(
            ["BILLINGSYNC_DATABASE_URL: SQLite needs the plain path of a file, e.g. sqlite:///billingsync.db"]
        )
    return URL.create("sqlite+pysqlite", database=str(Path(name).expanduser().resolve()))


class Database:
    """Engines and transactions. Give it back with `close()`.

    A run uses two connections at the most [F5]: its own, and one beside it, which the reading back of intents and the
    renewal of the lease share by holding `beside` meanwhile. None keeps anything in its session, so that a pooler may
    give each transaction another one."""

    def __init__(self, url: str, *, create: bool = True) -> None:
        self.url = parse(url)
        self.file = Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None
        self.where = str(self.file) if self.file else _place(self.url)
        self.password = self.url.password or ""
        if self.file:
            files.prepare(self.file, create=create)
        self._engine = self._make_engine()
        self._fresh_engine = self._make_engine(poolclass=NullPool)  # each connection is a new one
        self.partner = ""  # whose rows its transactions see where that is a matter of rows [F6]
        self.role = ""  # what its transactions are done as, where that is another role than the one that signed in
        self._expanded = ""  # a newer schema that lets this version go on
        self.beside = threading.Lock()
        self._wrote = threading.local()  # which connection this thread wrote on last

    def _make_engine(self, **options: Any) -> Engine:
        if self.file:
            arguments: dict[str, Any] = {"timeout": BUSY_S}
        else:
            # A server that vanished is noticed within a minute rather than after the kernel's quarter of an hour.
            alive = {
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
                "tcp_user_timeout": 60_000,
            }
            # Prepared statements belong to a session, which behind PgBouncer is another's at the next transaction.
            plain = {"application_name": "billingsync", "prepare_threshold": None}
            arguments = {"connect_timeout": BUSY_S, **plain, **alive}
        try:
            engine = create_engine(self.url, connect_args=arguments, pool_pre_ping=self.file is None, **options)
        except ModuleNotFoundError as missing:
            raise LedgerError(
                f"PostgreSQL needs the driver {missing.name}, which is not installed. Install billingsync again, from "
                "the checkout or file that it came from, with its extra [postgres] (docs/postgresql.md)."
            ) from missing
        if self.file:
            event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite if self.file else _begin_postgresql)
        return engine

    def acting_for(self, partner: str) -> Database:
        """The same database and connections, for one partner's rows. Closed with this one."""
        acting = copy.copy(self)
        acting.partner, acting.role = partner, ""
        return acting

    def close(self) -> None:
        self._engine.dispose()
        self._fresh_engine.dispose()

    def explained(self) -> Any:
        """Every access to the database goes through here, so that its trouble becomes a LedgerError."""
        return explained(self.where, self.password)

    @contextmanager
    def writing(self, *, fresh: bool = False) -> Iterator[Connection]:
        """One transaction that may write; committed at the end of the block, rolled back on any exception. `fresh`: on
        a connection of its own, for large values: SQLite's keeps a copy of what it was given last."""
        with self.explained(), self._engine_for(fresh).connect() as connection:
            self._wrote.on = _identity(connection)
            connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE", _ACTS: (self.partner, self.role)})
            with connection.begin():
                yield connection

    @contextmanager
    def reading(self, *, fresh: bool = False) -> Iterator[Connection]:
        """One consistent view of all that is committed; `fresh` as in `writing`."""
        with self.explained(), self._engine_for(fresh).connect() as connection:
            yield self._reader(connection)

    @contextmanager
    def reading_beside(self) -> Iterator[Connection]:
        """As `reading`, on another connection than the one that this thread wrote on last: what it sees was kept by the
        database and not only by our session. Nothing may be open meanwhile that waits for it."""
        with self.explained(), self.beside, ExitStack() as held:
            connection = held.enter_context(self._engine.connect())
            if _identity(connection) == getattr(self._wrote, "on", None):
                connection = held.enter_context(self._engine.connect())
            yield self._reader(connection)

    def _engine_for(self, fresh: bool) -> Engine:
        return self._fresh_engine if fresh and self.file else self._engine

    def _reader(self, connection: Connection) -> Connection:
        if not self.file:
            acts = {_ACTS: (self.partner, self.role)}
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True, **acts)
        return connection

    @contextmanager
    def outside_transaction(self) -> Iterator[Connection]:
        """A new connection without transactions, for what cannot be done within one."""
        with self.explained(), self._fresh_engine.connect() as connection:
            connection.execution_options(**({_BEGIN: ""} if self.file else {"isolation_level": "AUTOCOMMIT"}))
            yield connection

    def use_wal(self) -> None:
        """Turns SQLite's write-ahead log on. It stays on, as it is kept in the file."""
        if not self.file:
            return
        until = time.monotonic() + BUSY_S
        with self.outside_transaction() as connection:
            while True:
                try:
                    connection.execute(text("PRAGMA journal_mode=WAL"))
                    return
                except OperationalError as busy:
                    # While another process sets up the same new file, SQLite refuses this at once, without a wait.
                    if "database is locked" not in str(busy) or time.monotonic() > until:
                        raise
                time.sleep(0.05)

    def assert_durable(self) -> None:
        """LedgerError unless what is committed survives a power cut [N4]; and, where a fleet says so, the loss of the
        server: a standby that is named must have it too [F8]."""
        lone = ""
        with self.reading() as connection:
            if self.file:
                wanted = {"journal_mode": {"wal"}, "synchronous": {"2"}}
                found = {name: str(connection.execute(text(f"PRAGMA {name}")).scalar_one()) for name in wanted}
            else:
                wanted = {"fsync": {"on"}, "full_page_writes": {"on"}}
                found = {name: str(connection.execute(text(f"SHOW {name}")).scalar_one()) for name in wanted}
                found["synchronous_commit"] = str(connection.execute(text("SHOW synchronous_commit")).scalar_one())
                wanted["synchronous_commit"] = {"on", "local", "remote_write", "remote_apply"}
                newest = select(fleet_version.c.standby).order_by(fleet_version.c.number.desc()).limit(1)
                if connection.scalar(newest):
                    wanted["synchronous_commit"] = {"on", "remote_apply"}
                    lone = str(connection.execute(text("SHOW synchronous_standby_names")).scalar_one())
                    lone = "" if _NAMED_STANDBY.search(lone) else f"synchronous_standby_names is {lone!r}"
        wrong = [f"{name} is {found[name]}" for name in wanted if found[name] not in wanted[name]]
        wrong += [f"fleet.toml says standby = true, and {lone}"] if lone else []
        if wrong:
            raise LedgerError(
                f"Nothing is posted: the database {self.where} could forget what it committed ({', '.join(wrong)}). "
                "Turn it on in the database's configuration."
            )

    def revision(self, connection: Connection) -> str | None:
        """The schema's revision: None for an empty database. LedgerError where the database is another program's, or
        cannot hold every text."""
        if not self.file and (encoding := connection.scalar(text("SHOW server_encoding"))) != "UTF8":
            raise LedgerError(
                f"The database {self.where} is encoded in {encoding} and cannot hold every name. "
                "Create one with ENCODING 'UTF8'."
            )
        tables = set(inspect(connection).get_table_names())
        if "alembic_version" in tables:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
            if len(found) == 1 and "posting" in tables:
                if found[0] not in REVISIONS and "ledger_schema" in tables:
                    query = select(ledger_schema.c.oldest_reader).where(ledger_schema.c.schema == found[0])
                    oldest = connection.execute(query).scalars().all()
                    self._expanded = str(found[0]) if set(oldest) & set(REVISIONS) else ""
                return str(found[0])
        if tables - {"alembic_version"}:
            raise LedgerError(
                f"The database {self.where} holds other tables and no billingsync ledger. "
                "Give billingsync a database of its own in BILLINGSYNC_DATABASE_URL."
            )
        return None

    def require_known(self, revision: str | None) -> None:
        """LedgerError where a newer billingsync made the schema, and does not let this version go on beside it."""
        if revision is not None and revision not in (*REVISIONS, self._expanded):
            raise LedgerError(
                f"The database {self.where} was made by a newer billingsync (schema {revision}; this one knows up to "
                f"{REVISIONS[-1]}). Nothing was written. Install the newer version again."
            )

    def require_current(self, revision: str | None) -> None:
        """LedgerError unless this version can work with the schema: its own, or a newer one that only expanded it."""
        self.require_known(revision)
        if revision is None or revision in REVISIONS[: REVISIONS.index(OLDEST_SCHEMA)]:
            raise LedgerError(
                f"The database {self.where} has the schema {revision or 'of no version'}, and this billingsync needs "
                f"{OLDEST_SCHEMA} or later. Nothing was written. Make a backup and upgrade it.",
                next_steps=[UPGRADE],
            )


def insert(connection: Connection, table: Table) -> Any:
    """INSERT with ON CONFLICT, which both databases have and SQLAlchemy spells once for each."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        return sqlite_insert(table)
    from sqlalchemy.dialects.postgresql import insert as postgresql_insert

    return postgresql_insert(table)


def read_as(kind: type[Value], row: Any) -> Value:
    """A row as the dataclass whose fields are named like its columns; a field that is no column has its default."""
    said = row._mapping
    return kind(**{field.name: said[field.name] for field in fields(kind) if field.name in said})  # type: ignore[arg-type]


def _place(url: URL) -> str:
    """A PostgreSQL database in words, made only of what is no secret."""
    host = url.host or url.query.get("host") or "localhost"
    port = f":{url.port}" if url.port else ""
    return f"{url.database or url.username} on {host}{port} (PostgreSQL)"


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # sqlite3 of Python 3.11 begins transactions by its own guesses and lets DDL out of them; SQLAlchemy's recipe is
    # to turn that off here and to say BEGIN in `_begin_sqlite`.
    connection.isolation_level = None
    for pragma in ("foreign_keys=ON", "synchronous=FULL", f"busy_timeout={BUSY_S * 1000}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the write lock at once: one that read first and upgraded later could fail half-way as "locked".
    begin = connection.get_execution_options().get(_BEGIN, "BEGIN")
    if begin:
        connection.exec_driver_sql(begin)


def _begin_postgresql(connection: Connection) -> None:
    # For this transaction alone: what is set for a session would reach another's behind a pooler, and not reach us. A
    # forgotten session must not block us for ever, nor the server end a large statement. A process that was frozen in
    # the middle of a transaction loses it: its rows are others' then.
    options = connection.get_execution_options()
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    partner, role = options.get(_ACTS, ("", ""))
    acts = f"SET LOCAL ROLE {role}; " if role else ""
    if partner:
        quoted = partner.replace("'", "''").replace("\0", "")
        acts += f"SET LOCAL billingsync.partner = '{quoted}'; "
    connection.exec_driver_sql(
        f"{acts}SET LOCAL lock_timeout = '{BUSY_S}s'; SET LOCAL statement_timeout = 0; "
        f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_S}s'"
    )


def _identity(connection: Connection) -> int:
    return id(connection.connection.driver_connection)
