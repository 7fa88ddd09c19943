"""The commands about the installation: setting up, checking, the sandbox and the demo."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.cli.session import load
from billingsync.cli.terminal import console, document, interactive, note, out, wrapped, write_file
from billingsync.errors import UsageError

if TYPE_CHECKING:
    from billingsync.setup.discovery import Discovery

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: billingsync init /etc/billingsync. Exit codes: 0, 1, 2.")(init)
    app.command(epilog="Example: billingsync doctor. Exit codes: 0 all well, 1 something is wrong, 2.")(doctor)
    app.command(epilog="Example: billingsync demo. Exit codes: 0, 1.")(demo)
    app.command(
        epilog="Example: billingsync sandbox --seed 7 --clients 40 --fault halo:POST:/Invoice:2:timeout_after. "
        "Exit codes: 0, 1, 2, 130."
    )(sandbox)
    settings = typer.Typer(help="Show the effective settings.", no_args_is_help=True)
    settings.command("show", epilog="Example: billingsync settings show. Exit codes: 0, 2.")(settings_show)
    settings.callback()(_group)
    app.add_typer(settings, name="settings")
    db = typer.Typer(help="The database: its schema and its backup.", no_args_is_help=True)
    db.command("upgrade", epilog="Example: billingsync db upgrade. Exit codes: 0, 1, 2.")(db_upgrade)
    db.command("current", epilog="Example: billingsync db current. Exit codes: 0, 1, 2.")(db_current)
    db.command("backup", epilog="Example: billingsync db backup ledger-2026-11.db. Exit codes: 0, 1, 2.")(db_backup)
    app.add_typer(db, name="db")


def _group() -> None:
    """A group of one command stays a group."""


# Setting up -----------------------------------------------------------------------------------------------------------

# The ending keeps the rulebook from reading it. It is written anew each time: nobody is to edit it.
CATALOGUE = Path("rules", "halopsa-catalogue.toml.example")
CATALOGUE_HEAD = (
    "# What HaloPSA has for the rules, written by `billingsync init`. Copy what you want into your rules files, and\n"
    '# take away the "# " in front of it.\n'
)


def init(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where .env and rules/ go.")] = Path(),
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="VARIABLE=VALUE", help="A setting for .env; repeatable.")
    ] = None,
    json: JsonOption = False,
) -> int:
    """Write a commented .env and rules/. Asks on a terminal, overwrites nothing."""
    from billingsync.cli.questions import ASKED, REQUIRED, ask_for_settings
    from billingsync.setup.scaffold import write_scaffold

    values: dict[str, str] = {}
    for pair in set_ or []:
        name, mark, value = pair.partition("=")
        if not mark:
            raise UsageError(f"--set takes VARIABLE=VALUE, not {name!r:.80}.")
        values[name if name.startswith("BILLINGSYNC_") else f"BILLINGSYNC_{name}"] = value
    exported = {name for name in ASKED if os.environ.get(name)}  # known already: nobody is asked for them again
    if interactive() and not json and not (directory / ".env").exists():
        _quiet_log(directory)
        values |= ask_for_settings({*values, *exported}, values)
    done = write_scaffold(directory, values)
    _quiet_log(directory)
    missing = [name for name in REQUIRED if not values.get(name) and name not in exported]
    kept_env = any(path.name == ".env" and state == "kept" for path, state in done)
    found = _found(directory)
    if json:
        discovered = found.as_dict() if found is not None and not isinstance(found, str) else None
        files = [{"path": str(path), "state": state} for path, state in done]
        document({"files": files, "discovery": discovered}, [["billingsync", "doctor"]])
        return 0
    for path, state in done:
        out(f"{state:8} {path}")
    if missing and not kept_env:
        out(f"Fill in {directory / '.env'}: {', '.join(missing)}")
    if isinstance(found, str):
        note(f"HaloPSA was not asked what the rules can name: {found}")
    elif found is not None:
        write_file(str(directory / CATALOGUE), f"{CATALOGUE_HEAD}{found.toml}\n".encode(), told=False)
        listed = f"listed   {directory / CATALOGUE}: what HaloPSA has for your rules, {found.count} entries"
        out(wrapped(listed, sys.stdout))
    there = "" if directory == Path() else f"cd {shlex.quote(str(directory))} && "  # .env is read from where we are
    out(f"Next:  {there}billingsync doctor")
    return 0


def _quiet_log(directory: Path) -> None:
    """Logging for commands that must work without usable settings: to stderr, and no secret in it."""
    from billingsync.cli.terminal import FLAGS
    from billingsync.errors import BillingSyncError
    from billingsync.log import set_up_logging
    from billingsync.redaction import Redactor
    from billingsync.settings import load_settings

    try:
        redactor = Redactor(load_settings(cwd=directory).settings.secrets())
    except BillingSyncError:
        redactor = Redactor(())
    level = "debug" if FLAGS.debug else "warning"
    set_up_logging(format="console", level=level, redact=redactor.text, debug=FLAGS.debug, color=not FLAGS.no_color)


def _found(directory: Path) -> Discovery | str | None:
    """What HaloPSA has that rules can name; why that is not known; None where its credentials are not set."""
    from billingsync.errors import BillingSyncError
    from billingsync.redaction import Redactor
    from billingsync.settings import load_settings
    from billingsync.setup.discovery import look_around

    try:
        settings = load_settings(cwd=directory).settings
        halo = settings.halo
        if not (halo.base_url and halo.client_id and halo.client_secret.get_secret_value()):
            return None
        return look_around(settings, Redactor(settings.secrets()))
    except BillingSyncError as wrong:
        return wrong.message


def doctor(json: JsonOption = False) -> int:
    """Check settings, rules, database, logins, rights and clocks: one line each, the remedies, a verdict.

    With --json it also lists what HaloPSA has that rules can name; `billingsync init` writes that into a file."""
    from billingsync.report.layout import table
    from billingsync.setup.doctor import examine, verdict

    _quiet_log(Path())
    if partner := _partner_of_a_fleet():
        from billingsync.cli.fleet_doctor import tell_checks

        return tell_checks(partner, json=json)
    checks = examine()
    worst = 1 if any(check.state == "fail" for check in checks) else 0
    if json:
        reached = any(check.name == "HaloPSA" and check.state == "ok" for check in checks)
        found = _found(Path()) if reached else None
        steps = [list(check.next_step) for check in checks if check.next_step]
        discovered = found.as_dict() if found is not None and not isinstance(found, str) else None
        shown = [{"name": c.name, "state": c.state, "says": c.says, "remedy": c.remedy} for c in checks]
        document({"checks": shown, "verdict": verdict(checks), "discovery": discovered}, steps)
        return worst
    marks = {"ok": "ok", "warn": "look", "fail": "WRONG"}
    table(console(), ("", "Check", "Found"), [(marks[check.state], check.name, check.says) for check in checks])
    for check in checks:
        if check.next_step:
            out(f"  next:  {' '.join(check.next_step)}")
        elif check.remedy and check.state == "fail":
            out(wrapped(f"  next:  {check.remedy}", sys.stdout))
    out(wrapped(verdict(checks), sys.stdout))
    return worst


def _partner_of_a_fleet() -> str:
    """The partner that was named, where the database is a fleet's; "" where it is not, or cannot be asked."""
    from billingsync.core.partner import SINGLE
    from billingsync.errors import BillingSyncError
    from billingsync.settings import load_settings
    from billingsync.store.fleet import open_fleet
    from billingsync.store.fleet_due import newest_version

    try:
        settings = load_settings(calls=False).settings
        if settings.partner == SINGLE or not settings.database_url.startswith("postgresql"):
            return ""
        with open_fleet(settings.database_url) as fleet:
            return settings.partner if newest_version(fleet) else ""
    except BillingSyncError:
        return ""


def settings_show(json: JsonOption = False) -> int:
    """Every setting, its value and where it came from; secrets never."""
    from billingsync.report.layout import table
    from billingsync.settings import load_settings, settings_rows

    loaded = load_settings()
    rows = settings_rows(loaded)
    if json:
        document({"settings": [{"variable": name, "value": value, "origin": origin} for name, value, origin in rows]})
        return 0
    table(console(), ("Variable", "Value", "From"), rows)
    for warning in loaded.warnings:
        note(f"warning: {warning}")
    return 0


# Database -------------------------------------------------------------------------------------------------------------


def db_upgrade(json: JsonOption = False) -> int:
    """Bring the database to this version's schema."""
    from billingsync.store.upgrade import upgrade

    settings, _ = load()
    revision = upgrade(settings.database_url)
    isolated = _prepare_fleet(settings.database_url) if settings.database_url.startswith("postgresql") else None
    if json:
        document({"revision": revision} | ({} if isolated is None else {"isolated": isolated}))
    else:
        out(f"The database has schema {revision}.")
        if isolated is not None:
            says = "on" if isolated else "off: its three roles are missing (docs/fleet.md, Rows of one partner)"
            out(f"Row-level security is {says}.")
    return 0


def _prepare_fleet(database_url: str) -> bool | None:
    """Where the database is a fleet's, its engine's tables too, and who may see which rows. Whether rows are apart;
    None where it is no fleet's."""
    from billingsync.fleet.engines import make_engine
    from billingsync.store.fleet import open_fleet
    from billingsync.store.fleet_due import newest_version
    from billingsync.store.isolation import isolate

    with open_fleet(database_url) as fleet:
        if not newest_version(fleet):
            return None
        make_engine(database_url).prepare()
        fleet.database.role = ""  # the tables' owner
        return isolate(fleet.database)


def db_current(json: JsonOption = False) -> int:
    """The database's schema and this version's."""
    from billingsync.store.upgrade import current

    settings, _ = load()
    revision, head = current(settings.database_url)
    if json:
        document({"revision": revision, "head": head}, [] if revision == head else [["billingsync", "db", "upgrade"]])
    else:
        out(f"Database: {revision or 'empty'}, this version: {head}.")
    return 0


def db_backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Must not exist yet.")], json: JsonOption = False
) -> int:
    """Copy a SQLite database consistently, also while the worker runs."""
    from billingsync.store.upgrade import backup

    settings, _ = load()
    backup(settings.database_url, file)
    if json:
        document({"file": str(file), "bytes": file.stat().st_size})
    else:
        out(f"Copied to {file} ({file.stat().st_size:,} bytes).")
    return 0


# Sandbox and demo -----------------------------------------------------------------------------------------------------


def sandbox(
    seed: Annotated[int, typer.Option(help="Makes the month; the same seed, the same month.")] = 1,
    clients: Annotated[int | None, typer.Option(help="How many clients; 12, or 4 for each of many partners.")] = None,
    charges: Annotated[int | None, typer.Option(help="How many charges; by default what the clients have.")] = None,
    month: Annotated[
        str, typer.Option(help="The month released; 2026-11 unless said, or the current one with --partners.")
    ] = "",
    latency_ms: Annotated[int, typer.Option("--latency-ms", help="Added to every answer.")] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="SERVICE:METHOD:PATH:N:KIND", help="A fault, e.g. halo:POST:/Invoice:1:timeout_after."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on 127.0.0.1; 0 takes a free one.")] = 8791,
    partners: Annotated[
        int, typer.Option("--partners", metavar="N", min=0, max=5000, help="Serve so many partners of a fleet.")
    ] = 0,
    fleet: Annotated[
        Path, typer.Option("--fleet", metavar="DIR", help="Where the folder of these partners is written.")
    ] = Path("sandbox-fleet"),
    json: JsonOption = False,
) -> int:
    """Serve the emulated Pax8 and HaloPSA on loopback. Prints the settings to export. Ctrl-C stops it.

    With --partners it writes a fleet's folder instead, which `fleet check` and `fleet apply` take."""
    import shlex
    from datetime import UTC, datetime

    from billingsync.cli.sandbox_fleet import serve_fleet
    from billingsync.sandbox.faults import parse_fault
    from billingsync.sandbox.options import SandboxOptions
    from billingsync.sandbox.server import serve

    try:
        for text in fault or ():
            parse_fault(text)
        options = SandboxOptions(
            seed=seed,
            clients=(4 if partners else 12) if clients is None else clients,
            charges=charges,
            month=month or (f"{datetime.now(UTC):%Y-%m}" if partners else "2026-11"),
            latency_ms=latency_ms,
            faults=tuple(fault or ()),
        )
    except ValueError as wrong:
        raise UsageError(f"{wrong}.") from wrong

    def announce(environment: dict[str, str]) -> None:
        if json:
            document({"environment": environment}, [["billingsync", "plan"]])
            return
        for name, value in environment.items():
            out(f"export {name}={shlex.quote(value)}")
        note("Serving until Ctrl-C. In another terminal: paste these lines, then  billingsync init && billingsync plan")

    if partners:
        return serve_fleet(options, partners, fleet, port, json=json)
    serve(options, port, announce=announce)
    return 0


def demo(
    keep: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Work here instead of a temporary folder.")
    ] = None,
    desk: Annotated[bool, typer.Option("--desk", help="Open the demo's month in the desk instead.")] = False,
) -> int:
    """The whole job against the built-in sandbox. A month appears, plan, post, plan again, the equation."""
    from billingsync.cli.demo import run_demo

    return run_demo(keep, desk=desk)
