"""The commands of the fleet: many partners in one folder and one database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.cli.terminal import document, note, out
from billingsync.errors import FleetError, SettingsError

if TYPE_CHECKING:
    from billingsync.fleet.layout import Layout
    from billingsync.fleet.publish import Change

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")]
Directory = Annotated[Path, typer.Argument(metavar="[DIR]", help="The fleet's folder, with fleet.toml in it.")]


def register(app: typer.Typer) -> None:
    fleet = typer.Typer(help="Many partners, each with its own settings, rules and ledger.", no_args_is_help=True)
    fleet.command("init", epilog="Example: billingsync fleet init /etc/billingsync/fleet. Exit codes: 0, 1, 2.")(
        fleet_init
    )
    fleet.command("check", epilog="Example: billingsync fleet check. Exit codes: 0 no mistake, 2.")(fleet_check)
    fleet.command(
        "apply", epilog="Example: billingsync fleet apply --dry-run. Exit codes: 0, 1, 2 a partner is wrong, 5."
    )(fleet_apply)
    app.add_typer(fleet, name="fleet")


def fleet_init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the fleet's folder goes.")],
    json: JsonOption = False,
) -> int:
    """Write a commented fleet.toml, the bureau's rules, and an example of a partner. Overwrites nothing."""
    from billingsync.fleet.scaffold import EXAMPLE, write_fleet

    done = write_fleet(directory)
    if json:
        files = [{"path": str(path), "state": state} for path, state in done]
        document({"files": files}, [["billingsync", "fleet", "check", str(directory)]])
        return 0
    for path, state in done:
        out(f"{state:8} {path}")
    partners = directory / "partners"
    out(f"For each partner:  cp -r {directory / EXAMPLE} {partners / 'acme'}, and fill in its partner.toml")
    out(f"Next:  billingsync fleet check {directory}")
    return 0


def fleet_check(directory: Directory = Path(), json: JsonOption = False) -> int:
    """Read every file of every partner and report every mistake at once. Changes nothing."""
    layout = _read(directory)
    refuse_mistakes(layout, directory)
    clients = sum(len(one.rulebook.clients) for one in layout.partners.values() if one.rulebook)
    if json:
        document({"partners": list(layout.partners), "client_files": clients, "warnings": list(layout.warnings)})
    else:
        out(f"Fleet OK: {_count(len(layout.partners), 'partner')}, {_count(clients, 'client file')}")
    return 0


def fleet_apply(
    directory: Directory = Path(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Publish the partners that are right, though others are wrong.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Check all files, show what changes, and publish them as one version in the database.

    Partners are made here and nowhere else. Who is wrong keeps its last good version."""
    from datetime import UTC, datetime

    from billingsync.cli.session import load
    from billingsync.fleet.folder import read_folder
    from billingsync.fleet.layout import read_layout
    from billingsync.fleet.publish import changes
    from billingsync.fleet.told import change_document, change_lines
    from billingsync.store.fleet import open_fleet
    from billingsync.store.lock import who

    settings, _ = load()
    if not settings.database_url.startswith("postgresql"):
        raise SettingsError(
            ["BILLINGSYNC_DATABASE_URL: a fleet needs PostgreSQL, e.g. postgresql+psycopg://user:password@host/fleet"],
            next_steps=[["billingsync", "settings", "show"]],
        )
    files = read_folder(directory)
    layout = read_layout(files)
    for warning in layout.warnings:
        note(f"warning: {warning}")
    if layout.own_problems:
        refuse_mistakes(layout, directory)
    with open_fleet(settings.database_url) as fleet:
        published = fleet.published()
        if not published.version:
            fleet.refuse_others(layout.partners)
        change = changes(layout, files, published, fleet.have_posted(published.partners))
        problems = tuple(dict.fromkeys((*layout.strays, *(one for all in change.wrong.values() for one in all))))
        publishes = not dry_run and (partial or not problems) and bool(published.version or not change.is_empty)
        version = fleet.publish(change.new, who=who(), now=datetime.now(UTC)) if publishes else published.version
    if problems and not (dry_run or partial):
        right = _count(len(layout.partners) - len(change.wrong), "partner")
        raise FleetError(
            [
                *problems,
                f"Nothing was published: {_count(len(problems), 'mistake')}. {right} could be, with --partial.",
            ],
            next_steps=[["billingsync", "fleet", "apply", str(directory), "--partial"]],
        )
    if json:
        document(change_document(change, layout) | {"version": version, "dry_run": dry_run})
    else:
        for line in change_lines(change, layout):
            out(line)
        out(_verdict(change, version, dry_run, wrong=bool(problems)))
    return 2 if problems else 0


def _verdict(change: Change, version: int, dry_run: bool, *, wrong: bool) -> str:
    if change.is_empty:
        return f"Nothing to publish: these files are version {version}." if version else "Nothing to publish."
    if not dry_run:
        return f"Published as version {version}."
    return f"Dry run: nothing was published.  Publish it:  billingsync fleet apply{' --partial' if wrong else ''}"


def _read(directory: Path) -> Layout:
    """The fleet's folder, with its warnings told."""
    from billingsync.fleet.folder import read_folder
    from billingsync.fleet.layout import read_layout

    layout = read_layout(read_folder(directory))
    for warning in layout.warnings:
        note(f"warning: {warning}")
    return layout


def refuse_mistakes(layout: Layout, directory: Path) -> None:
    """FleetError with every mistake, where there is one."""
    if not layout.problems:
        return
    wrong = sum(bool(one.problems) for one in layout.partners.values())
    mistakes = _count(len(layout.problems), "mistake")
    summary = f"{mistakes}; {wrong} of {_count(len(layout.partners), 'partner')} cannot be worked for as they stand."
    raise FleetError([*layout.problems, summary], next_steps=[["billingsync", "fleet", "check", str(directory)]])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
