"""Bringing a database to this version's schema, and copying it."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import DBAPIError

from billingsync.errors import LedgerError
from billingsync.store import files
from billingsync.store.database import Database
from billingsync.store.schema import OLDEST_READER, REVISIONS, ledger_schema

LOCK_S = 2.0  # how long an upgrade waits for a table, and everybody else behind it
TRIES, PAUSE_S = 30, 2.0
_LOCK_NOT_AVAILABLE = "55P03"
_UPGRADE_LOCK = 0x62696C6C  # PostgreSQL's advisory locks are numbers: "bill"


def upgrade(url: str) -> str:
    """Brings the database to the newest schema, creating it where it is empty. Gives the revision it has then: a newer
    one where a newer version upgraded it, and lets this one go on.

    A table that somebody uses is waited for two seconds at a time, since whoever comes after us waits behind us."""
    with closing(Database(url)) as database:
        with database.reading() as connection:
            revision = database.revision(connection)
            database.require_known(revision)
        if revision is not None and revision not in REVISIONS:
            return revision
        for turn in range(1, TRIES + 1):
            try:
                bring_up(database)
                break
            except LedgerError as busy:
                if turn == TRIES or not _is_busy(busy):
                    raise
                time.sleep(PAUSE_S)
    return REVISIONS[-1]


def _is_busy(problem: LedgerError) -> bool:
    cause = problem.__cause__
    return isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def current(url: str) -> tuple[str | None, str]:
    """The database's revision (None for an empty one) and this version's."""
    with closing(Database(url, create=False)) as database, database.reading() as connection:
        return database.revision(connection), REVISIONS[-1]


def backup(url: str, file: Path | str) -> None:
    """A consistent copy of a SQLite database, also while it is in use. PostgreSQL has its own tool: LedgerError."""
    with closing(Database(url, create=False)) as database:
        if not database.file:
            raise LedgerError(
                f"The database {database.where} is copied with PostgreSQL's own tool.",
                next_steps=[["pg_dump", "--format=custom", f"--file={file}", database.url.database or ""]],
            )
        files.copy(database.file, Path(file).expanduser().resolve())


def bring_up(database: Database) -> None:
    """All missing revisions in one transaction: killed half-way, the database is what it was. Safe to be called by
    several processes at once."""
    from alembic import command  # takes a tenth of a second to import, and is needed once in a database's life
    from alembic.config import Config

    database.use_wal()
    with database.writing() as connection:
        if not database.file:
            connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
            connection.execute(select(func.set_config("lock_timeout", f"{int(LOCK_S * 1000)}ms", True)))
        if database.revision(connection) == REVISIONS[-1]:
            return
        config = Config()
        config.set_main_option("script_location", "billingsync.store:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.execute(delete(ledger_schema))
        connection.execute(insert(ledger_schema).values(schema=REVISIONS[-1], oldest_reader=OLDEST_READER))
