"""Bringing a database to this version's schema, and copying it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from sqlalchemy import func, select

from billingsync.errors import LedgerError
from billingsync.store import files
from billingsync.store.database import Database
from billingsync.store.schema import REVISIONS

_UPGRADE_LOCK = 0x62696C6C  # PostgreSQL's advisory locks are numbers: "bill"


def upgrade(url: str) -> str:
    """Brings the database to the newest schema, creating it where it is empty. Gives the revision it has then."""
    with closing(Database(url)) as database:
        with database.reading() as connection:
            database.require_known(database.revision(connection))
        bring_up(database)
    return REVISIONS[-1]


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
        if database.revision(connection) == REVISIONS[-1]:
            return
        config = Config()
        config.set_main_option("script_location", "billingsync.store:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
