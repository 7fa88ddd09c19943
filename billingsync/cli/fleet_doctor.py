"""`fleet doctor`, and `doctor` of one partner of a fleet."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from billingsync.cli.terminal import FLAGS, console, document, out, wrapped


def fleet_doctor(
    partner: Annotated[
        str, typer.Option("--partner", metavar="NAME", help="Try this partner's secrets and logins, not a sample's.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")] = False,
) -> int:
    """Check database, pooler, engine, versions, workers, clocks, and secrets and logins of three partners.

    One line each, the remedies, a verdict. Calls Pax8 and HaloPSA to read; changes nothing."""
    return tell_checks(partner or FLAGS.partner or "", json=json)


def tell_checks(partner: str, *, json: bool) -> int:
    """The checks as text or JSON, and the exit code."""
    from billingsync.cli.fleet_work import require_postgresql
    from billingsync.cli.session import load
    from billingsync.fleet.doctor import examine_fleet, verdict
    from billingsync.report.layout import table
    from billingsync.store.fleet import open_fleet
    from billingsync.store.fleet_gate import require_known

    settings, _ = load()
    require_postgresql(settings.database_url)
    if partner:
        with open_fleet(settings.database_url) as fleet, fleet.database.reading() as connection:
            require_known(connection, partner)
    checks = examine_fleet(settings, partner)
    worst = 1 if any(check.state == "fail" for check in checks) else 0
    if json:
        shown = [{"name": c.name, "state": c.state, "says": c.says, "remedy": c.remedy} for c in checks]
        steps = [list(check.next_step) for check in checks if check.next_step]
        document({"checks": shown, "verdict": verdict(checks)}, steps)
        return worst
    marks = {"ok": "ok", "warn": "look", "fail": "WRONG"}
    table(console(), ("", "Check", "Found"), [(marks[check.state], check.name, check.says) for check in checks])
    for check in checks:
        if check.next_step:
            out(f"  next:  {' '.join(check.next_step)}")
        elif check.remedy and check.state != "ok":
            out(wrapped(f"  next:  {check.remedy}", sys.stdout))
    out(wrapped(verdict(checks), sys.stdout))
    return worst
