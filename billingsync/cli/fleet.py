"""The commands of the fleet: many partners in one folder and one database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.cli.terminal import document, note, out
from billingsync.errors import FleetError

if TYPE_CHECKING:
    from billingsync.fleet.layout import Layout

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")]
Directory = Annotated[Path, typer.Argument(metavar="[DIR]", help="The fleet's folder, with fleet.toml in it.")]


def register(app: typer.Typer) -> None:
    fleet = typer.Typer(help="Many partners, each with its own settings, rules and ledger.", no_args_is_help=True)
    fleet.command("init", epilog="Example: billingsync fleet init /etc/billingsync/fleet. Exit codes: 0, 1, 2.")(
        fleet_init
    )
    fleet.command("check", epilog="Example: billingsync fleet check. Exit codes: 0 no mistake, 2.")(fleet_check)
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
