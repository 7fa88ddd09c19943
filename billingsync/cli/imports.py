"""The commands about vendors' files, and the journal for people."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.cli.session import ledger_only
from billingsync.cli.terminal import FLAGS, console, document, note, out, write_file
from billingsync.errors import ImportRefused, UsageError

if TYPE_CHECKING:
    from billingsync.core.period import Period
    from billingsync.reconcile.imports import Imported
    from billingsync.store.imports import ImportedFile

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")]
LOG_LINES = 100  # entries that `log` shows unless it is told otherwise


def register(app: typer.Typer) -> None:
    app.command(
        "import",
        epilog="Example: billingsync import acronis-2026-11.csv --profile acronis --period 2026-11. Exit codes: 0 "
        "taken or there already, 3 taken without its bad rows, 2 the file, the profile or the command is wrong, 1, 5.",
    )(import_)
    app.command(epilog="Example: billingsync imports --period 2026-11. Exit codes: 0, 1, 2.")(imports)
    app.command(epilog='Example: billingsync log --client "Contoso Ltd" --since 2026-11-01. Exit codes: 0, 1, 2.')(log)


def import_(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE | init FILE | remove ID",
            help="A vendor's file to import; `init FILE` proposes a profile for it; `remove ID` takes an import back.",
        ),
    ],
    profile: Annotated[str | None, typer.Option("--profile", metavar="NAME", help="rules/imports/NAME.toml.")] = None,
    period: Annotated[str | None, typer.Option("--period", metavar="PERIOD", help="The month of it: 2026-11.")] = None,
    append: Annotated[
        bool, typer.Option("--append", help="Add accounts to what is imported instead of replacing it.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave rows with mistakes out; they are kept and named.")
    ] = False,
    unchanged: Annotated[
        bool, typer.Option("--unchanged", help="Yes, this file equals another month's, and it is right.")
    ] = False,
    vendor: Annotated[str | None, typer.Option("--vendor", help="With init: the vendor's name.")] = None,
    out_file: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="With init: write the profile there.")
    ] = None,
    json: JsonOption = False,
) -> int:
    """Take a vendor's file: the counts of a month, or a profile proposed from it."""
    if what[0] == "init":
        return _propose(what[1:], vendor, out_file, json)
    if what[0] == "remove":
        return _remove(what[1:], json)
    if len(what) != 1:
        raise UsageError(f"import takes one file, not {len(what)}.", next_steps=[["billingsync", "import", "--help"]])
    if profile is None or period is None:
        missing = " and ".join(name for name, given in (("--profile", profile), ("--period", period)) if given is None)
        raise UsageError(f"import needs {missing}.", next_steps=[["billingsync", "import", "init", what[0]]])
    try:
        return _take(Path(what[0]), profile, _period(period), (append, skip_bad, unchanged), json)
    except ImportRefused as refused:
        if not FLAGS.json:
            raise
        return _refused(refused, profile, period)


def _period(text: str) -> Period:
    from billingsync.core.period import Period

    try:
        return Period.parse(text)
    except ValueError as wrong:
        raise UsageError(f"{str(wrong).capitalize()}.") from wrong


def _take(path: Path, name: str, period: Period, chosen: tuple[bool, bool, bool], json: bool) -> int:
    from billingsync.cli.roles import require
    from billingsync.reconcile.imports import ImportOptions, check_file, import_usage, take_file
    from billingsync.sources.csvfile.profiles import find_profile, load_profiles
    from billingsync.store.lock import who

    append, skip_bad, unchanged = chosen
    options = ImportOptions(append=append, skip_bad=skip_bad, unchanged=unchanged)
    with ledger_only() as (settings, ledger):
        require(settings, "financial", "import files")
        profile = find_profile(load_profiles(settings.rules_dir), name)
        check = check_file(take_file(path), profile, period, skip_bad=skip_bad)
        done = import_usage(ledger, check, options, who=who(), now=datetime.datetime.now(datetime.UTC))
    steps = [["billingsync", "map", kind, "--profile", name] for kind in ("accounts", "services")]
    if json:
        document(done.as_dict(), steps)
    else:
        _tell(done)
    return 3 if done.is_incomplete else 0


def _tell(done: Imported) -> None:
    from billingsync.report.escape import one_line

    rows = ", ".join(f"{count:,} {state}" for state, count in done.rows.items() if count)
    if done.state == "unchanged":
        day = done.at.date().isoformat()
        out(f"The same file was imported on {day} by {done.by} (import {done.id}): nothing changes.")
        return
    before = f" It replaces import {', '.join(map(str, done.replaced))}." if done.replaced else ""
    out(f"Imported {one_line(done.file_name)} for {done.period} as import {done.id}: {rows}.{before}")
    out(f"{done.accounts:,} accounts, {done.services:,} services.")
    out(f"Next:  billingsync map accounts --profile {done.profile}")
    for problem in done.bad:
        note(str(problem["message"]))
    if done.is_incomplete:
        note("Rows were left out, so nothing about this month is complete. Mend the file and import it again.")


def _refused(refused: ImportRefused, profile: str, period: str) -> int:
    """The failure as the one document, with every mistake as a value of its own."""
    from billingsync.report.document import error_document

    error = error_document(refused.code, refused.message, refused.next_steps, refused.exit_code)
    document({**error, "import": None, "profile": profile, "period": period, "errors": list(refused.problems)})
    return refused.exit_code


def _propose(words: Sequence[str], vendor: str | None, out_file: str | None, json: bool) -> int:
    from billingsync.reconcile.imports import take_file
    from billingsync.sources.csvfile.checking import problem_document
    from billingsync.sources.csvfile.kept import Unreadable
    from billingsync.sources.csvfile.propose import as_toml, propose

    if len(words) != 1:
        raise UsageError("import init takes one file.", next_steps=[["billingsync", "import", "--help"]])
    path = Path(words[0])
    file = take_file(path)
    try:
        proposal = propose(file)
    except Unreadable as wrong:
        raise ImportRefused(f"{wrong.problem}.", [problem_document(wrong.problem)]) from None
    text = as_toml(proposal, vendor=vendor or path.stem.split("-")[0].split("_")[0].capitalize())
    if out_file and out_file != "-" and Path(out_file).exists():
        raise UsageError(f"{out_file} is there already; choose another name, or remove it first.")
    step = ["billingsync", "import", words[0], "--profile", Path(out_file or "NAME.toml").stem, "--period", "2026-11"]
    if json:
        columns = {name: guess.value for name, guess in proposal.columns.items()}
        document({"profile": text, "columns": columns, "uncertain": list(proposal.uncertain)}, [step])
        return 0
    if out_file:
        write_file(out_file, text.encode())
    else:
        out(text)
    for doubt in proposal.uncertain:
        note(f"please check: {doubt}")
    if not out_file:
        note("Save it as rules/imports/NAME.toml, then:  billingsync import FILE --profile NAME --period 2026-11")
    return 0


def _remove(words: Sequence[str], json: bool) -> int:
    from billingsync.cli.roles import require
    from billingsync.reconcile.imports import remove_import
    from billingsync.store.lock import who

    if len(words) != 1 or not words[0].isascii() or not words[0].isdigit() or len(words[0]) > 9:
        raise UsageError("import remove takes an import's number.", next_steps=[["billingsync", "imports"]])
    with ledger_only() as (settings, ledger):
        require(settings, "financial", "remove imports")
        removed = remove_import(ledger, int(words[0]), who=who(), now=datetime.datetime.now(datetime.UTC))
    if json:
        document(_listed(removed), [["billingsync", "imports"]])
    else:
        out(f"Import {removed.id} ({removed.profile}, {removed.period}) is not counted any more. The file is kept.")
    return 0


def imports(
    period: Annotated[str | None, typer.Option("--period", metavar="PERIOD", help="Only this month.")] = None,
    profile: Annotated[str | None, typer.Option("--profile", metavar="NAME", help="Only this profile.")] = None,
    json: JsonOption = False,
) -> int:
    """Every file that was imported, newest first."""
    from billingsync.report.layout import table

    with ledger_only() as (_, ledger):
        found = ledger.imports(profile=profile, period=_period(period) if period else None)
    if json:
        document({"imports": [_listed(one) for one in reversed(found)]})
    elif found:
        headers = ("Import", "Profile", "Period", "State", "Rows", "Bad", "On", "By", "File")
        table(console(), headers, [_row(one) for one in reversed(found)])
    else:
        out("Nothing is imported. Begin with:  billingsync import init FILE")
    return 0


def _row(one: ImportedFile) -> tuple[str, ...]:
    rows = one.rows
    day = one.at.date().isoformat()
    return (
        str(one.id),
        one.profile,
        one.period,
        one.state,
        str(rows.get("counted", 0)),
        str(rows.get("bad", 0)),
        day,
        one.who,
        one.file_name,
    )


def _listed(one: ImportedFile) -> dict[str, object]:
    return {
        "import": one.id,
        "profile": one.profile,
        "vendor": one.vendor,
        "period": one.period,
        "file": one.file_name,
        "sha256": one.sha256,
        "size": one.size,
        "state": one.state,
        "rows": dict(one.rows),
        "by": one.who,
        "at": one.at.isoformat(timespec="seconds"),
        "ended_at": one.ended_at.isoformat(timespec="seconds") if one.ended_at else None,
        "ended_by": one.ended_by,
    }


def log(
    card: Annotated[str, typer.Option("--card", metavar="DIGEST", help="Only this card, by digest or id.")] = "",
    client: Annotated[str, typer.Option("--client", metavar="NAME", help="Only this client, by name or id.")] = "",
    who: Annotated[str, typer.Option("--who", metavar="NAME", help="Only what this person did.")] = "",
    since: Annotated[str | None, typer.Option("--since", metavar="DATE", help="From this day on: 2026-11-01.")] = None,
    last: Annotated[
        int, typer.Option("--last", metavar="N", help="At most so many, the newest; 0 for all.")
    ] = LOG_LINES,
    json: JsonOption = False,
) -> int:
    """What was done, by whom and when: the journal, oldest first."""
    from billingsync.report.layout import table
    from billingsync.report.log import Wanted, told

    with ledger_only() as (settings, ledger):
        day = _day(since, str(settings.timezone)) if since else None
        wanted = Wanted(card=card, client=client, who=who, since=day)
        names = {row.client_id: row.client_name for row in ledger.postings()} if client else {}
        found = list(told(ledger.journal_entries(), wanted, names))
    shown = found[-last:] if last > 0 else found
    if json:
        document({"entries": [one.as_dict() for one in shown], "left_out": len(found) - len(shown)})
        return 0
    if not shown:
        out("The journal has nothing of that.")
        return 0
    table(console(), ("When", "By", "What"), [(one.at[:19].replace("T", " "), one.who, one.says) for one in shown])
    if len(found) > len(shown):
        note(f"{len(found) - len(shown)} older entries are not shown: --last 0 shows all.")
    return 0


def _day(text: str, zone: str) -> datetime.datetime:
    """The beginning of a day in the partner's zone."""
    from zoneinfo import ZoneInfo

    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--since takes a day such as 2026-11-01, not {text!r:.40}.") from None
    local = datetime.datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return local.astimezone(datetime.UTC)
