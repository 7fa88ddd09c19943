"""The commands that plan and post."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.cli.formats import FORMATS, format_of
from billingsync.cli.session import connected, ledger_only
from billingsync.cli.terminal import (
    FLAGS,
    ask,
    console,
    document,
    for_partner,
    interactive,
    needs_yes,
    note,
    out,
    say,
    write_file,
)
from billingsync.core.states import RunState
from billingsync.errors import UsageError

if TYPE_CHECKING:
    from billingsync.connect import Connections
    from billingsync.core.period import Period
    from billingsync.report.result import RunResult
    from billingsync.report.text import Decided
    from billingsync.run.explain import Several
    from billingsync.run.kept_plan import KeptPlan
    from billingsync.run.plan import Planned

PeriodArgument = Annotated[
    str | None, typer.Argument(metavar="[PERIOD]", help="Month as 2026-11; by default the newest released.")
]
ClientOption = Annotated[
    list[str] | None, typer.Option("--client", help="Only this client, by name or id; repeatable.", metavar="NAME")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Post without asking.")]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: billingsync periods. Exit codes: 0, 1, 2.")(periods)
    app.command(
        epilog="Example: billingsync plan 2026-11 --format html --out plan.html. "
        "Exit codes: 0 clean or empty, 3 something is held, 4 not released, 1, 2."
    )(plan)
    app.command(
        epilog="Example: billingsync post 4f9c21. Exit codes: 0, 3 held, 5 the plan is stale or locked, 1, 2, 4."
    )(post)
    app.command(
        epilog="Example: billingsync run 2026-11 --yes. Exit codes: 0, 3 held, 4 not released, 5 locked, 1, 2."
    )(run)
    app.command(epilog="Example: billingsync holds 2026-11. Exit codes: 0 nothing waits, 3 something does, 1, 2, 4.")(
        holds
    )
    app.command(epilog="Example: billingsync explain INVOICE:ITEM. Exit codes: 0, 1, 2, 4.")(explain)


def _period(connections: Connections, text: str | None) -> Period:
    from billingsync.run.fetch import newest_released

    return newest_released(connections) if text is None else _parsed(text)


def _parsed(text: str) -> Period:
    from billingsync.core.period import Period

    try:
        return Period.parse(text)
    except ValueError as wrong:
        raise UsageError(f"{str(wrong).capitalize()}.", next_steps=[["billingsync", "periods"]]) from wrong


def periods(json: JsonOption = False) -> int:
    """Released months and what became of each."""
    from billingsync.report.layout import table
    from billingsync.store.postings import ARRIVED

    with connected() as connections:
        released = connections.pax8.released()
        runs, undone = connections.ledger.runs(), connections.ledger.undone_runs()
        rows = []
        for month in released:
            mine = [one for one in runs if one.period == str(month.period)]
            posted = connections.ledger.heads(period=month.period, states=ARRIVED)
            state = "not posted" if not mine else "undone" if mine[-1].id in undone else mine[-1].state
            last = mine[-1].started_at.date().isoformat() if mine else ""
            rows.append((str(month.period), month.invoices, month.skipped, state, len(posted), last))
    if json:
        names = ("period", "invoices", "skipped", "state", "postings", "last_run")
        document({"periods": [dict(zip(names, row, strict=True)) for row in rows]}, [["billingsync", "plan"]])
        return 0
    headers = ("Period", "Pax8 invoices", "Void or credited", "State", "Invoices written", "Last run")
    table(console(), headers, [tuple(map(str, row)) for row in rows])
    return 0


def plan(
    period: PeriodArgument = None,
    client: ClientOption = None,
    format: Annotated[
        str | None, typer.Option("--format", help=f"One of {', '.join(FORMATS)}; else by the ending of --out.")
    ] = None,
    out_file: Annotated[
        str | None, typer.Option("--out", help="Write to this file; - is stdout.", metavar="FILE")
    ] = None,
    replan: Annotated[
        bool, typer.Option("--replan", help="Show what today's rules would make of what is already decided.")
    ] = False,
    compare: Annotated[
        str | None, typer.Option("--compare", help="Show what changed since that plan.", metavar="DIGEST")
    ] = None,
    digest: Annotated[
        str | None,
        typer.Option("--digest", help="Show a plan that was kept, without asking anybody.", metavar="DIGEST"),
    ] = None,
    lines: Annotated[bool, typer.Option("--lines", help="Show every line of every client.")] = False,
    source: Annotated[
        str | None,
        typer.Option("--source", help="Plan from Pax8's invoice as a CSV file.", metavar="FILE"),
    ] = None,
    profile: Annotated[
        str, typer.Option("--profile", help="With --source: how to read the file.", metavar="NAME")
    ] = "pax8-portal",
    currency: Annotated[
        str | None, typer.Option("--currency", help="With --source: of its amounts, e.g. USD.", metavar="CODE")
    ] = None,
    json: JsonOption = False,
) -> int:
    """Show what would be billed. Writes nothing to HaloPSA."""
    chosen = format_of(format, out_file, json=json, command=["plan"])
    if digest is not None:
        if period or client or replan or compare or source:
            raise UsageError(
                "--digest shows a plan as it was made: no period, --client, --replan, --compare or --source beside it.",
                next_steps=[["billingsync", "plan", "--digest", digest]],
            )
        return _kept(digest, chosen, out_file, lines=lines)
    if source is not None:
        from billingsync.cli.source_file import planned_from_file

        with planned_from_file(source, (profile, currency), period, client or ()) as (connections, planned):
            _show(connections.settings.locale, planned, chosen, out_file, lines=lines)
        return 3 if planned.plan.held else 0
    from billingsync.run.changes import changes_since
    from billingsync.run.plan import make_plan

    with connected() as connections:
        before = connections.ledger.find_plan(compare) if compare else None
        planned = make_plan(connections, _period(connections, period), asked=client or (), say=say, replan=replan)
        _show(connections.settings.locale, planned, chosen, out_file, lines=lines)
        if before is not None:
            for change in changes_since(before.document, planned) or ["nothing changed"]:
                note(change)
    return 3 if planned.plan.held else 0


def _kept(digest: str, format: str, out_file: str | None, *, lines: bool) -> int:
    """`plan --digest`: the first screen from the plan's rows, all else from the whole plan."""
    from billingsync.run.kept_overview import kept_overview
    from billingsync.run.kept_plan import kept_plan_of

    with ledger_only(local=True) as (settings, ledger):
        if format == "text" and out_file is None and not lines and (overview := kept_overview(ledger, digest)):
            from billingsync.report.summary import print_summary

            print_summary(overview, console(), locale=settings.locale, next_command=_next_for_partner(overview))
            return 3 if overview.held else 0
        kept = kept_plan_of(ledger, digest)
    _show(settings.locale, kept, format, out_file, lines=lines)
    return 3 if kept.plan.held else 0


def _show(locale: str, planned: Planned | KeptPlan, format: str, out_file: str | None, *, lines: bool) -> None:
    """The plan in one of its formats, to stdout or to a file."""
    created = planned.created_at.isoformat(timespec="seconds")
    plan = planned.plan
    if format == "text" and out_file is None:
        from billingsync.report.summary import print_summary
        from billingsync.report.text import print_plan
        from billingsync.run.replan import replan_sentences

        last = () if planned.shifts is None else replan_sentences(planned.shifts)
        last = (
            ("This plan was made from a file. Nothing is written, and it is not posted.",)
            if planned.from_file
            else last
        )
        show = print_plan if lines or planned.shifts is not None else print_summary
        show(plan, console(), locale=locale, last=last, next_command=_next_for_partner(plan))
        return
    for shift in planned.shifts or ():
        note(str(shift))
    content = _rendered(planned, format, locale, created)
    if out_file is None:
        out(content.decode())
    else:
        write_file(out_file, content)


def _next_for_partner(plan: Decided) -> str | None:
    """What comes after the plan, for the partner that was named in the command; None where none was."""
    if not FLAGS.partner or not (plan.writes or plan.held):
        return None
    command = f"post {plan.digest[:6]}" if plan.writes else f"holds {plan.period}"
    return f"billingsync {command} --partner {FLAGS.partner}"


def _rendered(planned: Planned | KeptPlan, format: str, locale: str, created: str) -> bytes:
    plan = planned.plan
    if format == "json":
        from billingsync.report.document import dump

        return dump(for_partner(planned.document)).encode()
    if format == "csv":
        from billingsync.report.csv_file import plan_csv

        return plan_csv(plan).encode()
    if format == "html":
        from billingsync.report.html import plan_html

        return plan_html(plan, created, locale=locale).encode()
    if format == "xlsx":
        from billingsync.report.xlsx import plan_xlsx

        return plan_xlsx(plan, created)
    if format == "markdown":
        from billingsync.report.markdown import plan_markdown

        return plan_markdown(plan, created, locale=locale).encode()
    from billingsync.report.text import plan_text

    return plan_text(plan, locale=locale).encode()


def post(
    digest: Annotated[str, typer.Argument(help="The plan's digest, or its first 6 or more digits.")],
    json: JsonOption = False,
) -> int:
    """Post exactly the plan that was shown, or refuse.

    The refusal says what changed since."""
    from billingsync.cli.source_file import refuse_plan_from_file
    from billingsync.run.run import post_digest
    from billingsync.store.lock import who

    refuse_plan_from_file(digest)
    with connected() as connections:
        _, result = post_digest(connections, digest, who=who(), say=say)
        return _told(connections, result, json)


def run(
    period: PeriodArgument = None,
    client: ClientOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> int:
    """Fetch, plan, post, verify; also the way to run one month again."""
    if dry_run:
        return plan(period, client, json=json)
    if not yes and not interactive():
        raise needs_yes(f"run {period}" if period else "run")
    from billingsync.run.run import run_period
    from billingsync.store.lock import who

    with connected() as connections:

        def confirm(planned: Planned) -> bool:
            if yes or not planned.plan.writes:
                return True
            from urllib.parse import urlsplit

            from billingsync.report.summary import print_summary, question

            locale = connections.settings.locale
            print_summary(planned.plan, console(error=True), locale=locale, next_command="")
            shown.append(planned)
            return ask(question(planned.plan, urlsplit(connections.settings.halo.base_url).netloc, locale=locale))

        shown: list[Planned] = []  # whose warnings were read already
        planned, result = run_period(
            connections, _period(connections, period), who=who(), asked=client or (), say=say, confirm=confirm
        )
        if result is None:
            note(f"Nothing was posted. To post it later: billingsync post {planned.plan.digest[:12]}")
            return 0
        return _told(connections, replace(result, warnings=()) if shown else result, json)


def _told(connections: Connections, result: RunResult, json: bool) -> int:
    if json:
        from billingsync.report.document import dump, run_document

        out(dump(for_partner(run_document(result))))
    else:
        from billingsync.report.outcome import print_run

        print_run(result, console(), locale=connections.settings.locale)
    return {RunState.COMPLETE: 0, RunState.HELD: 3, RunState.FAILED: 1}[result.state]


def holds(period: PeriodArgument = None, json: JsonOption = False) -> int:
    """What waits for a person: how much money, how old, what to do.

    By the plan that was made last, with what was decided since; nothing is fetched. Where there is no plan yet, one is
    made."""
    from billingsync.run.waiting import waiting_of

    wanted = None if period is None else str(_parsed(period))
    with ledger_only(local=True) as (settings, ledger):
        kept = waiting_of(ledger, settings.rules_dir, wanted)
    if kept is None:
        from billingsync.run.plan import make_plan

        with connected() as connections:
            make_plan(connections, _period(connections, period), say=say)
            kept = waiting_of(connections.ledger, settings.rules_dir, wanted)
    assert kept is not None  # just made
    if json:
        from billingsync.report.document import dump, holds_document

        out(dump(for_partner(holds_document(kept.period, kept.holds))))
    else:
        from billingsync.report.outcome import print_holds

        print_holds(kept.period, kept.holds, console(), locale=settings.locale)
        at = kept.made_at.astimezone(settings.zone)
        note(f"By plan {kept.digest[:12]} of {at:%Y-%m-%d %H:%M}. To look again:  billingsync plan {kept.period}")
    return 3 if kept.holds else 0


def explain(
    charge: Annotated[
        str, typer.Argument(help="A charge, INVOICE:ITEM or a part of it; or an invoice, client, product.")
    ],
    json: JsonOption = False,
) -> int:
    """One charge from the invoice to the line, hop by hop; of an invoice, client or product its charges."""
    from billingsync.run.explain import Several, explanation

    with connected() as connections:
        found = explanation(connections, charge, say=say)
    if isinstance(found, Several):
        return _matches(found, charge, json)
    if json:
        document({"charge": found.charge, "hops": [{"hop": hop, "says": says} for hop, says in found.hops]})
        return 0
    from billingsync.report.layout import table

    out(found.charge)
    table(console(), ("Hop", "What happened"), list(found.hops))
    return 0


def _matches(found: Several, text: str, json: bool) -> int:
    """The charges that a text means, and how to ask for one of them."""
    step = ["billingsync", "explain", found.rows[0].short]
    if json:
        document({"period": str(found.period), "matches": [row.as_dict() for row in found.rows]}, [step])
        return 0
    from billingsync.report.labels import spoken
    from billingsync.report.layout import table

    out(f"{len(found.rows)} charges of {found.period} match {text!r:.80}.")
    rows = [
        (row.short, row.company, row.product, f"{row.amount} {row.currency}", spoken(row.fate)) for row in found.rows
    ]
    table(console(), ("Charge", "Company", "Product", "Amount", "Where it ends"), rows, names={1, 2})
    out(f"One of them, hop by hop:  {' '.join(step)}")
    return 0


__all__ = ["FLAGS", "register"]
