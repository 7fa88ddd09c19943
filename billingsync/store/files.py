"""SQLite's file: where it may lie, how it is made, opened and copied."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from billingsync.errors import LedgerError
from billingsync.store.trouble import BUSY_S, explained

# SQLite's locks and its shared memory do not hold across machines: https://sqlite.org/wal.html, "all processes using
# a database must be on the same host computer".
_NETWORK = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "gluster", "lustre", "ncpfs", "davfs", "sshfs", "s3fs", "rclone")

QUICK_CHECK_BYTES = 50_000_000  # beyond this a check takes longer than a command should


def file_system_of(path: Path, mounts: str) -> str:
    """The file system type under `path`, as `/proc/mounts` (its text is given) tells; "" where it does not."""
    found, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ")
        if path.is_relative_to(point) and len(point) >= found:
            found, kind = len(point), fields[2]
    return kind


def refuse_network(path: Path) -> None:
    """LedgerError where the file would lie on a network share. Best effort: says nothing where it cannot tell."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    kind = file_system_of(path, mounts)
    if any(kind.removeprefix("fuse.").startswith(name) for name in _NETWORK):
        raise LedgerError(
            f"The database {path} lies on a network file system ({kind}), where SQLite cannot keep its promises. "
            "Move it to a local disk, or use PostgreSQL."
        )


def prepare(path: Path, *, create: bool) -> None:
    """Checks that the file can be used; with `create` makes it where it is absent, for its owner's eyes only."""
    try:
        if not path.parent.is_dir():
            raise LedgerError(
                f"The folder {path.parent} of the database does not exist. Create it, or correct "
                "BILLINGSYNC_DATABASE_URL.",
                next_steps=[["mkdir", "-p", str(path.parent)]],
            )
        if path.is_dir():
            raise LedgerError(f"The database {path} is a folder. Give BILLINGSYNC_DATABASE_URL a file's name in it.")
        refuse_network(path)
        if create:
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        elif not path.exists():
            raise LedgerError(f"There is no database {path} yet. It is made by the first plan or run.")
        # SQLite itself would open a file it may not write, and only fail in the middle of the first posting.
        refused = [name for name in (path, path.parent) if not os.access(name, os.R_OK | os.W_OK)]
    except OSError as problem:
        raise LedgerError(
            f"The database {path} cannot be opened: {problem.strerror}. Check the rights on the file and its folder, "
            "and that the disk is neither full nor read-only."
        ) from problem
    if refused:
        raise LedgerError(
            f"The database {path} cannot be written: no right to write {refused[0]}. "
            "Check the rights on the file and its folder, and that the disk is not read-only."
        )


def connect_plainly(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing about the file, not even its journal mode; never creates one."""
    uri = f"{path.as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)


def quick_check(path: Path) -> None:
    """LedgerError where a page of the file is damaged."""
    with explained(str(path)), closing(connect_plainly(path)) as connection:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(f"database disk image is malformed: {found}")


def copy(path: Path, file: Path) -> None:
    """A consistent copy of a database in use, by SQLite's backup API: one step under one read lock, so that writers
    neither wait nor disturb it. It appears under its name only when it is complete and checked."""
    try:
        if file.exists():
            raise LedgerError(f"{file} exists already; a backup overwrites nothing. Give it another name.")
        if not file.parent.is_dir():
            raise LedgerError(f"The folder {file.parent} does not exist. Create it first.")
    except OSError as problem:
        raise _not_written(file, problem) from problem
    prepare(path, create=False)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with (
            explained(str(path)),
            closing(connect_plainly(path)) as source,
            closing(connect_plainly(partial)) as target,
        ):
            source.backup(target)
            # The copy is one file that needs no -wal beside it; opening it as a ledger turns WAL on again.
            target.execute("PRAGMA journal_mode=DELETE")
        quick_check(partial)
        _sync(partial)
        os.rename(partial, file)
        _sync(file.parent)
    except OSError as problem:
        raise _not_written(file, problem) from problem
    finally:
        with suppress(OSError):  # a disk that became read-only has its own message above
            partial.unlink(missing_ok=True)


def publish(partial: Path, file: Path) -> None:
    """Gives a database that nobody has open its name, as one file that needs no -wal beside it."""
    with explained(str(partial)), closing(connect_plainly(partial)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    quick_check(partial)
    try:
        _sync(partial)
        os.link(partial, file)  # unlike a rename, it overwrites nothing
        partial.unlink()
        _sync(file.parent)
    except OSError as problem:
        raise _not_written(file, problem) from problem


def _not_written(file: Path, problem: OSError) -> LedgerError:
    return LedgerError(
        f"The backup {file} could not be written: {problem.strerror}. There is no backup. Give it a folder that you "
        "may write to, with room on its disk."
    )


def _sync(path: Path) -> None:
    """Until this returns, a power cut may take away what was written."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
