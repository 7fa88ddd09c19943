"""The commands of the fleet: many partners in one folder and one database."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.cli import fleet_doctor, fleet_move, fleet_plan, fleet_work
from billingsync.cli.terminal import FLAGS, console, document, note, out
from billingsync.errors import FleetError, UsageError

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
    fleet.command(
        "status",
        epilog="Example: billingsync fleet status --state failed. Exit codes: 0 all well, 1 one failed, is late or "
        "parked, 2, 3 something is held.",
    )(fleet_status)
    fleet.command(
        "pause", epilog='Example: billingsync fleet pause acme --reason "disputed invoice". Exit codes: 0, 1, 2.'
    )(fleet_pause)
    fleet.command("resume", epilog="Example: billingsync fleet resume acme. Exit codes: 0, 1, 2.")(fleet_resume)
    fleet_plan.register(fleet)
    fleet_work.register(fleet)
    fleet_move.register(fleet)
    fleet.command(
        "doctor", epilog="Example: billingsync fleet doctor --partner acme. Exit codes: 0, 1 something is wrong, 2."
    )(fleet_doctor.fleet_doctor)
    for command in fleet.registered_commands:  # whole: the library would cut it to one line
        command.short_help = " ".join((command.callback.__doc__ or "").partition("\n\n")[0].split())
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


def _database_url() -> str:
    """SettingsError where it is no PostgreSQL."""
    from billingsync.cli.session import load

    settings, _ = load()
    fleet_work.require_postgresql(settings.database_url)
    return settings.database_url


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

    from billingsync.fleet.folder import read_folder
    from billingsync.fleet.layout import read_layout
    from billingsync.fleet.publish import changes
    from billingsync.fleet.told import change_document, change_lines
    from billingsync.store.lock import who

    database_url = _database_url()
    files = read_folder(directory)
    layout = read_layout(files)
    for warning in layout.warnings:
        note(f"warning: {warning}")
    if layout.own_problems:
        refuse_mistakes(layout, directory)
    with fleet_work.opened(database_url) as fleet:
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
        out(_verdict(change, version, directory, dry_run=dry_run, wrong=bool(problems)))
    return 2 if problems else 0


def _verdict(change: Change, version: int, directory: Path, *, dry_run: bool, wrong: bool) -> str:
    if change.is_empty:
        if wrong:
            return f"Nothing to publish but what is wrong: version {version} stays."
        return f"Nothing to publish: these files are version {version}." if version else "Nothing to publish."
    if not dry_run:
        first = "  Next, once:  billingsync db upgrade, then on each machine:  billingsync fleet worker"
        return f"Published as version {version}.{first if version == 1 else ''}"
    typed = ["billingsync", "fleet", "apply", *([] if directory == Path() else [str(directory)])]
    return f"Dry run: nothing was published.  Publish it:  {shlex.join(typed)}{' --partial' if wrong else ''}"


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


Name = Annotated[str, typer.Argument(metavar="NAME", help="The partner's name.")]


def fleet_status(
    partner: Annotated[str, typer.Option("--partner", metavar="NAME", help="Only this partner.")] = "",
    state: Annotated[
        str, typer.Option("--state", metavar="STATE", help="Only those that are failed, late, held, paused, ...")
    ] = "",
    json: JsonOption = False,
) -> int:
    """Count the partners by state and list those that need somebody, the worst first. Reads the database alone."""
    from billingsync.core.states import PartnerState
    from billingsync.fleet.told_state import shown, standing_document, standing_lines
    from billingsync.report.layout import Page, table
    from billingsync.store.fleet_state import standing

    partner = partner or FLAGS.partner or ""
    if state and state not in list(PartnerState):
        raise UsageError(f"{state!r:.40} is no state of a partner; there are {', '.join(PartnerState)}.")
    with fleet_work.opened(_database_url()) as fleet:
        found = standing(fleet)
    if partner and partner not in {one.name for one in found.partners}:
        raise UsageError(
            f"The fleet has no partner {partner[:60]!r}.", next_steps=[["billingsync", "fleet", "status", "--json"]]
        )
    chosen = [one for one in found.partners if partner in ("", one.name) and state in ("", one.state)]
    if json:
        document(standing_document(found, chosen))
    else:
        screen = console()
        page = Page(screen.width)
        for line in standing_lines(found):
            page.prose(line, indent="  ", first="") if page.cuts else page.say(line)
        page.show(screen)
        rows, left = shown(chosen, everything=bool(partner or state))
        headers: tuple[str, ...] = ("Partner", "State", "Next", "Last cycle", "What")
        if page.cuts and not page.wide:  # so that there is room for why it is so
            headers, rows = (*headers[:3], headers[4]), [(*row[:3], row[4]) for row in rows]
        if rows:
            table(screen, headers, rows, names=(0,))
        if left:
            out(f"... {left} more:  billingsync fleet status --state STATE")
    states = {one.state for one in chosen}
    if states & {PartnerState.PARKED, PartnerState.FAILED, PartnerState.LATE}:
        return 1
    return 3 if PartnerState.HELD in states else 0


def fleet_pause(
    name: Name,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with your name.")],
    json: JsonOption = False,
) -> int:
    """Keep hands off a partner: no run begins for it until `fleet resume`. Planning and looking go on."""
    from datetime import UTC, datetime

    from billingsync.store.lock import who

    if not reason.strip():
        raise UsageError("Say why, for whoever finds the partner paused:  --reason TEXT")
    with fleet_work.opened(_database_url()) as fleet:
        done = fleet.pause(name, why=reason.strip(), who=who(), now=datetime.now(UTC))
    if json:
        document({"partner": name, "paused": done}, [["billingsync", "fleet", "resume", name]])
    elif done:
        out(f"Paused: no run begins for {name}. One that is under way goes on to its end.")
    else:
        out(f"{name} was paused already:  billingsync fleet status --partner {name}")
    return 0


def fleet_resume(name: Name, json: JsonOption = False) -> int:
    """Let runs begin again for a partner that was paused by command, or parked after its cycles died."""
    from datetime import UTC, datetime

    from billingsync.store.lock import who

    with fleet_work.opened(_database_url()) as fleet:
        done = fleet.resume(name, who=who(), now=datetime.now(UTC))
        by_file = fleet.published().partners[name].paused
    if json:
        document({"partner": name, "resumed": done, "paused_by_file": by_file})
        return 0
    out(f"Resumed: runs begin again for {name}." if done else f"{name} was neither paused by command nor parked.")
    if by_file:
        note("It is still paused by its partner.toml. Take paused = true out, then:  billingsync fleet apply")
    return 0
