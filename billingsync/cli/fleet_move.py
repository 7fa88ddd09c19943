"""The commands that move ledgers: into the fleet, out of it, off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from billingsync.cli.terminal import document, out
from billingsync.errors import LedgerError

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The partner's name.")]


def register(fleet: typer.Typer) -> None:
    fleet.command(
        "import",
        epilog="Example: billingsync fleet import acme /var/lib/billingsync/billingsync.db. Exit codes: 0, 1, 2, 5 the "
        "old installation still runs, or a write is not resolved.",
    )(fleet_import)
    fleet.command("export", epilog="Example: billingsync fleet export acme acme.db. Exit codes: 0, 1, 2, 5.")(
        fleet_export
    )
    fleet.command(
        "forget", epilog="Example: billingsync fleet forget acme --exported acme.db. Exit codes: 0, 1, 2, 5."
    )(fleet_forget)


def fleet_import(
    name: Name,
    ledger: Annotated[str, typer.Argument(metavar="LEDGER", help="A SQLite file, an export, or a PostgreSQL URL.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Put the partner's own ledger back to what it is in LEDGER.")
    ] = False,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="After a move that was broken off: let the old one bill on instead.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Move an installation's ledger into the fleet, with its keys and its journal. The old one posts no more."""
    from datetime import UTC, datetime

    from billingsync.cli.fleet_work import require_postgresql
    from billingsync.cli.session import load
    from billingsync.fleet.moving import give_up_import, import_ledger
    from billingsync.store.lock import who

    settings, _ = load()
    require_postgresql(settings.database_url)
    url, now = settings.database_url, datetime.now(UTC)
    if give_up:
        give_up_import(url, name, ledger, holder=who(), now=now, lease_s=settings.lease_s)
        if json:
            document({"partner": name, "given_up": True})
        else:
            out(f"Given up: nothing of it is in the fleet, and {ledger} bills on.")
        return 0
    done = import_ledger(url, name, ledger, replace=replace, holder=who(), now=now, lease_s=settings.lease_s)
    steps = [["billingsync", "audit", "verify", "--partner", name], ["billingsync", "plan", "--partner", name]]
    if json:
        document(
            {"partner": name, "installation": done.installation, "key_name": done.key_name, "rows": done.rows}, steps
        )
        return 0
    moved = f"{name} has the ledger of installation {done.installation}: {done.rows:,} rows."
    out(moved if done.rows else f"{name} had the whole ledger already; the old one is marked as moved.")
    out(f"Next:  billingsync audit verify --partner {name}")
    return 0


def fleet_export(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Must not exist yet.")],
    json: JsonOption = False,
) -> int:
    """Write all that the fleet has of a partner into one file, which can be verified and imported."""
    from datetime import UTC, datetime

    from billingsync.cli.fleet_work import require_postgresql
    from billingsync.cli.session import load
    from billingsync.fleet.moving import export_partner

    settings, _ = load()
    require_postgresql(settings.database_url)
    done = export_partner(settings.database_url, name, file, now=datetime.now(UTC))
    try:
        size = file.stat().st_size
    except OSError as problem:
        raise LedgerError(f"{file} cannot be read: {problem.strerror}.") from problem
    if json:
        document(
            {
                "partner": name,
                "file": str(file),
                "bytes": size,
                "rows": done.rows,
                "journal_entries": done.entries,
                "installation": done.installation,
            }
        )
        return 0
    out(f"{file}: {done.rows:,} rows of {name}, {done.entries:,} journal entries, all proven ({size:,} bytes).")
    out(f"Prove it again at any time:  billingsync audit verify --ledger {file}")
    return 0


def fleet_forget(
    name: Name,
    exported: Annotated[
        Path, typer.Option("--exported", metavar="FILE", help="What `fleet export` wrote, newer than its last run.")
    ],
    json: JsonOption = False,
) -> int:
    """Delete all that the fleet has of a partner whose folder is gone. Its name and the day stay."""
    from datetime import UTC, datetime

    from billingsync.cli.fleet_work import require_postgresql
    from billingsync.cli.session import load
    from billingsync.fleet.moving import forget_partner
    from billingsync.store.lock import who

    settings, _ = load()
    require_postgresql(settings.database_url)
    if not exported.exists():
        raise LedgerError(
            f"There is no file {exported}. Nothing was forgotten.",
            next_steps=[["billingsync", "fleet", "export", name, str(exported)]],
        )
    rows = forget_partner(
        settings.database_url, name, exported, holder=who(), now=datetime.now(UTC), lease_s=settings.lease_s
    )
    if json:
        document({"partner": name, "rows": rows})
    else:
        out(f"Forgotten: {rows:,} rows of {name}. Keep {exported}: nothing else is left of it.")
    return 0
