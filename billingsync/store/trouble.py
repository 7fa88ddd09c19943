"""A database's trouble as one sentence that says what happened and what to do; never a password in it."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from billingsync.errors import LedgerError

BUSY_S = 10  # how long we wait for another's write before we say so

# What drivers say (SQLite's text, or PostgreSQL's SQLSTATE) -> what happened, what to do.
_SENTENCES = {
    "file is not a database": ("is not a SQLite database", "Point BILLINGSYNC_DATABASE_URL at the right file"),
    "malformed": (
        "is damaged",
        "Keep the file, put the newest backup in its place and run again: HaloPSA is searched first, and what the "
        "backup does not know is adopted",
    ),
    "unable to open database file": ("cannot be opened", "Check that the folder exists and that you may write to it"),
    "readonly": (
        "cannot be written",
        "Check the rights on the file and its folder, and that the disk is not read-only",
    ),
    "disk is full": ("is full: nothing of this step was kept", "Free some space on its disk and run again"),
    "database is locked": (
        f"is locked by another program for more than {BUSY_S} s",
        "Wait until it is done, then run again",
    ),
    "disk I/O error": ("cannot be read or written: the disk fails", "Check the disk before anything else runs"),
    "53100": ("is full: nothing of this step was kept", "Free some space on its disk and run again"),
    "25006": ("is read-only, perhaps a replica", "Point BILLINGSYNC_DATABASE_URL at the primary server"),
    "55P03": (f"is locked by another session for more than {BUSY_S} s", "Wait until it is done, then run again"),
    "42501": ("does not let this user do that", "Grant the user the rights to create and write tables"),
    "28P01": ("does not accept this user and password", "Check BILLINGSYNC_DATABASE_URL"),
    "3D000": ("does not exist", "Create it (createdb) or check BILLINGSYNC_DATABASE_URL"),
}


def first_line(problem: BaseException) -> str:
    """What the driver says, without SQLAlchemy's statement and parameters around it."""
    original = problem.orig if isinstance(problem, DBAPIError) else problem
    lines = str(original).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(original).__name__


def explain(problem: BaseException, where: str, password: str = "") -> LedgerError:
    """The LedgerError that says what `problem` means for the database at `where`."""
    original = problem.orig if isinstance(problem, DBAPIError) else problem
    said = first_line(problem)
    signs = (getattr(original, "sqlstate", None) or "", said)
    for sign, (what, remedy) in _SENTENCES.items():
        if sign in signs or (sign in said and not sign[0].isdigit()):
            sentence = f"The database {where} {what}. {remedy}."
            break
    else:
        lost = isinstance(problem, DBAPIError) and problem.connection_invalidated
        what = "cannot be reached" if lost or "connection" in said else "could not be used"
        sentence = (
            f"The database {where} {what}: {said}. Check that it runs and that BILLINGSYNC_DATABASE_URL is right."
        )
    if password:
        sentence = sentence.replace(password, "***")
    return LedgerError(sentence, next_steps=[["billingsync", "doctor"]])


@contextmanager
def explained(where: str, password: str = "") -> Iterator[None]:
    """Turns what the database's drivers raise into LedgerError. The original stays its cause."""
    try:
        yield
    except (DBAPIError, PoolTimeout, sqlite3.Error) as problem:
        raise explain(problem, where, password) from problem
    except zlib.error as problem:  # a packed value whose own checksum is wrong: no check of the file's pages sees that
        raise explain(sqlite3.DatabaseError("malformed"), where) from problem
