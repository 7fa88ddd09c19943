"""The commands for when something was wrong: undo a run, prove what was done, take over a lost installation."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.cli.session import connected, ledger_only
from billingsync.cli.terminal import ask, console, document, interactive, needs_yes, note, out, say
from billingsync.core.states import GIVEN_BACK, STILL_BILLED, LineFate, UndoOutcome, UndoState
from billingsync.errors import UsageError

if TYPE_CHECKING:
    from billingsync.audit import Verdict
    from billingsync.report.numbers import Figures
    from billingsync.run.undone import UndonePosting, UndoResult

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")]

_CODES = {UndoState.UNDONE: 0, UndoState.HELD: 3, UndoState.REFUSED: 5, UndoState.FAILED: 1}


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Example: billingsync undo 2026-11-22T0153-7f3a --dry-run. Exit codes: 0 all undone, 3 people's edits "
        "were kept, 5 a closed invoice was not touched or locked, 1, 2."
    )(undo)
    audit = typer.Typer(help="Prove what was done: export and verify.", no_args_is_help=True)
    audit.command(
        "export", epilog="Example: billingsync audit export 2026-11 --out audit-2026-11. Exit codes: 0, 1, 2."
    )(audit_export)
    audit.command("verify", epilog="Example: billingsync audit verify. Exit codes: 0 all well, 1 altered, 2.")(
        audit_verify
    )
    app.add_typer(audit, name="audit")
    app.command(epilog="Example: billingsync adopt 1a2b3c4d. Exit codes: 0, 1, 2.")(adopt)


# Undo -----------------------------------------------------------------------------------------------------------------


def undo(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, as `billingsync runs` lists it.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Undo without asking.")] = False,
    credit: Annotated[
        bool, typer.Option("--credit", help="Credit what is on closed invoices, on a new invoice each.")
    ] = False,
    client: Annotated[
        str, typer.Option("--client", help="Only this client of the run, by id or whole name.", metavar="NAME")
    ] = "",
    json: JsonOption = False,
) -> int:
    """Take back exactly the lines that one run wrote. People's edits and lines stay."""
    from urllib.parse import urlsplit

    from billingsync.run.undo import preview, undo_run
    from billingsync.store.lock import who

    if not dry_run and not yes and not interactive():
        raise needs_yes(f"undo {run}")
    with connected() as connections:
        locale = connections.settings.locale

        def confirm(shown: UndoResult) -> bool:
            _print(shown, locale, error=True)
            return ask(f"Undo this in HaloPSA ({urlsplit(connections.settings.halo.base_url).netloc})?")

        result: UndoResult | None
        if dry_run:
            result = preview(connections, run, client=client, say=say)
        else:
            asked = None if yes else confirm
            result = undo_run(connections, run, who=who(), say=say, client=client, credit=credit, confirm=asked)
    if result is None:
        note("Nothing was undone.")
        return 0
    if json:
        document(_as_json(result), _steps(result))
    else:
        _print(result, locale)
    return _CODES[result.state]


def _steps(result: UndoResult) -> list[list[str]]:
    again = ["billingsync", "undo", result.run, *(["--client", result.client] if result.client else [])]
    if result.dry_run:
        return [again]
    steps = []
    if result.state == UndoState.REFUSED:
        steps.append([*again, "--credit"])
    if result.state == UndoState.FAILED:
        steps.append(again)
    if not result.postings:
        return steps
    return [*steps, ["billingsync", "plan", result.period]]


def _as_json(result: UndoResult) -> dict[str, object]:
    from billingsync.core.money import plain

    def money(posting: UndonePosting, *fates: LineFate) -> dict[str, str]:
        price, cost = posting.sum(*fates)
        return {"amount": plain(price, posting.currency), "cost": plain(cost, posting.currency)}

    return {
        "run": result.run,
        "period": result.period,
        "dry_run": result.dry_run,
        "state": result.state,
        "postings": [
            {
                "key": posting.key,
                "client_id": posting.client_id,
                "client_name": posting.client_name,
                "invoice_id": posting.invoice_id,
                "action": posting.action,
                "currency": posting.currency,
                "outcome": posting.outcome,
                "invoice": posting.invoice,
                "removed": money(posting, *GIVEN_BACK),
                "kept": money(posting, *(fate for fate in STILL_BILLED if fate != LineFate.CLOSED)),
                "credit_needed": money(posting, LineFate.CLOSED),
                "credit_invoice": posting.credit_invoice,
                "problem": posting.problem,
                "lines": [
                    {
                        "line_id": line.line_id,
                        "action": line.action,
                        "description": line.text,
                        "amount": plain(line.amount, posting.currency),
                        "cost": plain(line.cost, posting.currency),
                        "charges": list(line.charges),
                        "fate": line.fate,
                        "why": line.why,
                    }
                    for line in posting.lines
                ],
            }
            for posting in result.postings
        ],
        "stays_taken_back": [
            {
                "client_name": one.client_name,
                "amount": plain(one.amount, one.currency),
                "currency": one.currency,
                "credit_run": one.credit_run or None,
            }
            for one in result.stays
        ],
        "unused_items": [{"id": id_, "name": name} for id_, name in result.items],
    }


_SIGNS = {"taken": "-", "gone": " ", "back": " ", "credited": "-"}
_WORDS = {
    "gone": "gone already",
    "back": "as before already",
    "edited": "kept, still billed",
    "later": "kept, still billed",
    "unsure": "kept, still billed",
    "still_there": "still billed",
    "closed": "still billed, not touched",
    "credited": "credited",
}
_ACTIONS = {"add": "", "update": "back to what it was: ", "remove": "added again: "}


def undo_sentence(result: UndoResult, figures: Figures) -> str:
    """What an undo does, or would do, with its sum in each currency; then what it leaves."""
    sums: dict[str, Decimal] = {}
    kept = 0
    for posting in result.postings:
        price, _ = posting.sum(*GIVEN_BACK)
        sums[posting.currency] = sums.get(posting.currency, Decimal(0)) + price
        kept += any(line.fate in STILL_BILLED for line in posting.lines)
    money = " and ".join(figures.money(amount, code) for code, amount in sorted(sums.items()) if amount)
    count = f"{len(result.postings)} invoice{'' if len(result.postings) == 1 else 's'}"
    begin = "Dry run. Undoing" if result.dry_run else "Undoing"
    verb = {True: "would take back", False: "took back"}[result.dry_run]
    said = f"{begin} run {result.run} of {result.period} {verb} {money or 'nothing'} on {count}."
    return f"{said} Something on {kept} of them stays billed." if kept else said


def _print(result: UndoResult, locale: str, *, error: bool = False) -> None:
    from billingsync.core.money import ZERO
    from billingsync.report.escape import one_line, shortened
    from billingsync.report.layout import Page
    from billingsync.report.numbers import Figures
    from billingsync.report.outcome import steps

    where = console(error=error)
    page, figures = Page(where.width), Figures(locale)
    page.prose(undo_sentence(result, figures), style="bold")
    if not result.postings:
        page.say("The run wrote nothing.")
    for posting in result.postings:
        page.blank()
        invoice = "" if posting.invoice_id is None else f"  -> invoice {abs(posting.invoice_id)}"
        removed, _ = posting.sum(*GIVEN_BACK)
        page.row(
            posting.client_name,
            figures.amount(-removed if removed else ZERO, posting.currency),
            f" {posting.currency}",
            head=f"{posting.outcome:<8} ",
            after=invoice,
            mid=posting.invoice,
            style="bold",
        )
        if posting.problem:
            page.prose(shortened(one_line(posting.problem), 600), indent="         ")
        for line in posting.lines:
            why = ": ".join(part for part in (_WORDS.get(line.fate, ""), line.why) if part)
            page.row(
                f"{_ACTIONS[line.action]}{shortened(one_line(line.text), 200)}",
                figures.amount(line.amount, posting.currency),
                "",
                head=f"  {_SIGNS.get(line.fate, '!')} ",
            )
            if why:
                page.prose(shortened(one_line(why), 400), indent="      ")
        credit, cost = posting.sum(LineFate.CLOSED)
        if posting.outcome == UndoOutcome.CLOSED:
            page.prose(
                f"A credit of {figures.money(credit, posting.currency)} (cost {figures.amount(cost, posting.currency)})"
                " would be needed; --credit posts it on a new invoice.",
                indent="         ",
            )
        if posting.credit_invoice is not None:
            page.prose(f"Credited by invoice {posting.credit_invoice}.", indent="         ")
    if result.stays:
        page.blank()
    for one in result.stays:
        name = shortened(one_line(one.client_name), 80)
        how = f": billingsync undo {one.credit_run} takes its credit back" if one.credit_run else ""
        page.prose(
            f"What this run took back of {name} ({figures.money(one.amount, one.currency)}) stays taken back{how}."
        )
    if any(line.fate in GIVEN_BACK and line.charges for posting in result.postings for line in posting.lines):
        page.blank()
        page.prose("What is undone is posted again only by a person's command: the worker leaves it.")
    if result.items:
        page.blank()
        page.say("Items that this run created and that no line of billingsync's carries any more:")
        for id_, name in result.items:
            page.prose(f"{id_}  {shortened(one_line(name), 200)}", indent="  ")
        page.prose("They are not deleted: somebody else may use them.", indent="  ")
    page.blank()
    steps(_steps(result), page)
    page.show(where)


# Audit ----------------------------------------------------------------------------------------------------------------


def audit_export(
    period: Annotated[str, typer.Argument(metavar="PERIOD", help="Month as 2026-11.")],
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="A folder that does not exist yet.")],
    json: JsonOption = False,
) -> int:
    """Write one month's whole evidence to a folder that reads without billingsync."""
    from billingsync.audit import export
    from billingsync.core.period import Period

    try:
        month = Period.parse(period)
    except ValueError as wrong:
        raise UsageError(f"{str(wrong).capitalize()}.", next_steps=[["billingsync", "runs"]]) from wrong
    with ledger_only() as (settings, ledger):
        files = export(ledger, month, folder, secrets=settings.secrets(), locale=settings.locale)
    if json:
        document({"period": str(month), "folder": str(folder), "files": files})
    else:
        out(
            f"Written: {folder} ({files} files). Begin with {folder / 'index.html'}; check it with: sha256sum -c "
            "SHA256SUMS"
        )
    return 0


def audit_verify(
    file: Annotated[
        Path | None, typer.Option("--ledger", metavar="FILE", help="Of this file, e.g. what `fleet export` wrote.")
    ] = None,
    json: JsonOption = False,
) -> int:
    """Prove that nothing recorded was altered; name the first entry that was."""
    from billingsync.audit import verify

    if file is None:
        with ledger_only() as (_, ledger):
            found = verify(ledger)
    else:
        found = verify_file(file)
    if json:
        document(
            {
                "altered": bool(found.problems),
                "first": found.problems[0].as_dict() if found.problems else None,
                "problems": [problem.as_dict() for problem in found.problems],
                "checked": dict(found.checked),
            }
        )
        return 1 if found.problems else 0
    counted = ", ".join(f"{number:,} {what}" for what, number in found.checked.items())
    if not found.problems:
        out(f"Nothing was altered: {counted}.")
        return 0
    out(f"ALTERED. The first: {found.problems[0]}")
    for problem in found.problems[1:20]:
        out(f"  also: {problem}")
    if len(found.problems) > 20:
        out(f"  and {len(found.problems) - 20} more")
    out(f"Checked: {counted}. Keep this database as it is; compare it with a backup.")
    return 1


def verify_file(file: Path) -> Verdict:
    """The same of a ledger in a file, whosever it is."""
    from billingsync.audit import verify
    from billingsync.core.partner import SINGLE
    from billingsync.errors import LedgerError
    from billingsync.store.ledger import open_ledger

    if not file.is_file():
        raise LedgerError(f"There is no file {file}.")
    with open_ledger(f"sqlite:///{file.resolve()}", partner=SINGLE) as ledger:
        return verify(ledger)


# Adopt ----------------------------------------------------------------------------------------------------------------


def adopt(
    installation: Annotated[str, typer.Argument(help="The id that a refused run named: 8 digits of 0-9, a-f.")],
    json: JsonOption = False,
) -> int:
    """Take over the markers of an installation whose ledger was lost. Only if it will never run again."""
    from billingsync.store.lock import who

    wanted = installation.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{8}", wanted):
        raise UsageError(f"{installation!r:.40} is not an installation id: it has 8 digits of 0-9, a-f, e.g. 1a2b3c4d.")
    with ledger_only() as (_, ledger):
        own = ledger.partner().installation
        if wanted == own:
            raise UsageError(f"{wanted} is this installation itself.", next_steps=[["billingsync", "plan"]])
        known = wanted in ledger.installations()
        if not known:
            ledger.adopt_installation(wanted, who(), datetime.datetime.now(datetime.UTC))
    if json:
        document({"installation": wanted, "adopted": not known, "own": own}, [["billingsync", "run"]])
        return 0
    out(
        f"{wanted} was taken over before; nothing changed."
        if known
        else f"Lines of {wanted} now count as ours ({own}). The next run takes over what it finds, and posts the rest."
    )
    return 0
