"""The commands about what was: runs, and what people have mapped."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.cli.session import connected, ledger_only
from billingsync.cli.terminal import console, document, note, out, say
from billingsync.errors import UsageError

if TYPE_CHECKING:
    from billingsync.run.mapping import Row

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: billingsync runs. Exit codes: 0, 1, 2.")(runs)
    app.command(epilog="Example: billingsync show 2026-11-22T0153-7f3a. Exit codes: 0, 1, 2.")(show)
    app.command("map", epilog="Example: billingsync map companies --set PAX8_ID=214. Exit codes: 0, 1, 2.")(map_)


def runs(json: JsonOption = False) -> int:
    """Every run, newest first."""
    from billingsync.report.labels import local_time, person
    from billingsync.report.layout import table

    with ledger_only(local=True) as (settings, ledger):
        undone = ledger.undone_runs()
        found = [
            (
                run.id,
                run.period,
                "undone" if run.id in undone else run.state,
                run.started_at.isoformat(timespec="seconds"),
                run.who,
                (run.digest or "")[:12],
            )
            for run in reversed(ledger.runs())
        ]
    if json:
        names = ("run", "period", "state", "started_at", "who", "digest")
        document({"runs": [dict(zip(names, row, strict=True)) for row in found]})
    elif found:
        rows = [
            (id_, period, state, local_time(started, settings.zone), person(who), digest)
            for id_, period, state, started, who, digest in found
        ]
        table(console(), ("Run", "Period", "State", f"Started ({settings.timezone})", "By", "Plan"), rows)
    else:
        out("Nothing has run yet. Begin with:  billingsync plan")
    return 0


def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, as `billingsync runs` lists it.")],
    json: JsonOption = False,
) -> int:
    """What one run wrote, invoice by invoice."""
    from billingsync.core.money import plain
    from billingsync.report.labels import person
    from billingsync.report.layout import table

    with ledger_only(local=True) as (_, ledger):
        one = ledger.show_run(run)
        postings = ledger.postings(run=one.id)
        state = "undone" if one.id in ledger.undone_runs() else one.state
    if json:
        document(
            {
                "run": one.id,
                "period": one.period,
                "state": state,
                "digest": one.digest,
                "started_at": one.started_at.isoformat(timespec="seconds"),
                "ended_at": one.ended_at.isoformat(timespec="seconds") if one.ended_at else None,
                "who": one.who,
                "postings": [
                    {
                        "key": row.key,
                        "client_id": row.client_id,
                        "client_name": row.client_name,
                        "invoice_id": row.invoice_id,
                        "action": row.action,
                        "lines": len(row.lines),
                        "amount": plain(row.amount, row.currency),
                        "cost": plain(row.cost, row.currency),
                        "currency": row.currency,
                        "state": row.state,
                        "message": row.message,
                    }
                    for row in postings
                ],
            }
        )
        return 0
    out(f"Run {one.id} of {one.period}: {state}. By {person(one.who)}, plan {(one.digest or '')[:12]}.")
    rows = [
        (
            row.client_name,
            str(row.invoice_id or ""),
            row.action,
            f"{plain(row.amount, row.currency)} {row.currency}",
            row.state,
            row.message,
        )
        for row in postings
    ]
    if rows:
        table(console(), ("Client", "Invoice", "Action", "Amount", "State", "Message"), rows)
    return 0


def map_(
    what: Annotated[str, typer.Argument(metavar="companies|products|accounts|services", help="What to map.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PAX8=HALO", help="Company id = client id; SKU = item id, or 1502,1602."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="PAX8", help="Never bill this company; repeatable.")
    ] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Confirm every guessed match that is listed.")] = False,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="Of accounts and services: whose files.")
    ] = None,
    json: JsonOption = False,
) -> int:
    """What is mapped to what, unmapped first; map by hand.

    Companies and products are Pax8's; accounts and services are those of imported files."""
    if what in ("accounts", "services"):
        from billingsync.cli.map_files import map_files

        return map_files(what, profile, set_ or (), exclude or (), auto=auto, json=json)
    from billingsync.report.layout import table
    from billingsync.run.mapping import companies, confirm_guessed, products, set_company, set_product
    from billingsync.store.lock import who

    if what not in ("companies", "products"):
        raise UsageError(
            f"map takes companies, products, accounts or services, not {what!r:.40}.",
            next_steps=[["billingsync", "map", "companies"]],
        )
    if what == "products" and (exclude or auto):
        raise UsageError(
            "--exclude and --auto are for companies; leave products out with exclude.products in the rules."
        )
    now = datetime.datetime.now(datetime.UTC)
    with connected() as connections:
        rows: list[Row] = (companies if what == "companies" else products)(connections, say=say)
        for pair in set_ or []:
            left, mark, right = pair.rpartition("=")
            numbers = right.split(",") if what == "products" else [right]
            if not mark or not left or not all(one.strip().lstrip("-").isdigit() for one in numbers):
                raise UsageError(
                    f"--set takes PAX8=HALO, e.g. {rows[0].pax8_id if rows else 'ID'}=214, not {pair!r:.80}."
                )
            name, ids = left.strip(), [int(one) for one in numbers]
            if what == "companies":
                note(set_company(connections, name, ids[0], who=who(), now=now, rows=rows))
            else:
                note(set_product(connections, name, ids, who=who(), now=now, rows=rows))
        for company in exclude or []:
            note(set_company(connections, company.strip(), None, who=who(), now=now, rows=rows))
        if auto:
            for done in confirm_guessed(connections, rows, who=who(), now=now):
                note(done)
        if set_ or exclude or auto:
            rows = (companies if what == "companies" else products)(connections, say=say)
    if json:
        document({what: [row.as_dict() for row in rows]}, [["billingsync", "plan"]])
        return 0
    headers = ("Pax8 id", "Pax8 name", "HaloPSA id", "HaloPSA name", "How", "Suggestions", "By")
    shown = [
        (row.pax8_id, row.pax8_name, str(row.halo_id or ""), row.halo_name, row.how, row.suggestions, _by(row))
        for row in rows
    ]
    table(console(), headers, shown)
    return 0


def _by(row: Row) -> str:
    """Who made a mapping, and on which day."""
    return f"{row.who} {row.at[:10]}".strip()
