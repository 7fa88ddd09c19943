"""The commands of the service: the worker, how it fares, and whether its notices arrive."""

from __future__ import annotations

import os
import shlex
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from billingsync.cli.session import ledger_only, load
from billingsync.cli.terminal import console, document, note, out
from billingsync.core.states import CycleState
from billingsync.errors import UsageError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from billingsync.core.bill.plan import Waiting
    from billingsync.service.status import Snapshot
    from billingsync.service.worker import Worker

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")]
_CODES = {CycleState.WELL: 0, CycleState.HELD: 3, CycleState.WAITING: 4, CycleState.FAILED: 1}


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Example: billingsync worker --once. SIGHUP looks now. Exit codes: 0 stopped by SIGTERM, 1, 2; with "
        "--once 0 done, 1 failed, 2, 3 held, 4 not released."
    )(worker)
    app.command(epilog="Example: billingsync status. Exit codes: 0 well, 1 the last cycle failed, 2, 3 held.")(status)
    notify = typer.Typer(help="Notices to people.", no_args_is_help=True)
    notify.command("test", epilog="Example: billingsync notify test. Exit codes: 0 all took it, 1, 2.")(notify_test)
    notify.callback()(_group)
    app.add_typer(notify, name="notify")


def _group() -> None:
    """A group of one command stays a group."""


def worker(
    once: Annotated[bool, typer.Option("--once", help="One cycle, then exit.")] = False, json: JsonOption = False
) -> int:
    """Watch Pax8, plan and post by the rules, for years. Tells people when they must act."""
    if json and not once:
        raise UsageError("--json goes with --once: a service has no last line.")
    from billingsync.service.sdnotify import Systemd
    from billingsync.service.worker import Worker, open_worker_ledger
    from billingsync.settings import LiveSettings, load_settings
    from billingsync.setup.orders import carries

    settings, redactor = load()
    settings.require_upstreams()
    with open_worker_ledger(settings) as ledger:
        live = LiveSettings(settings, redactor, lambda: load_settings().settings)
        service = Worker(live, ledger, carries=carries(live))
        if once:
            return _once(service, json)
        return _serve(service, Systemd())


def _once(service: Worker, json: bool) -> int:
    from billingsync.service.status import take

    state = service.once()
    found = take(service.ledger)
    if json:
        document(found.as_json(), _steps(found))
    else:
        _show(found, service.settings.zone, None)
    return _CODES.get(state, 1)


def _serve(service: Worker, systemd: Any) -> int:
    from contextlib import ExitStack

    from billingsync.service.health import HealthServer
    from billingsync.service.http_port import Port
    from billingsync.service.process import run_process
    from billingsync.service.status import take
    from billingsync.service.webhook import route

    health, webhook = service.settings.health, service.settings.webhook
    with ExitStack() as stack:
        if health.port:
            server = HealthServer(health.host, health.port, take=lambda: take(service.ledger), vitals=service.progress)
            stack.enter_context(server)
        if value := webhook.authorization.get_secret_value():
            hook = route(value, lambda: service.wake(gently=True))
            stack.enter_context(Port(webhook.host, webhook.port, [hook], group="WEBHOOK"))
        if service.settings.desk.port:
            from billingsync.cli.desk import desk_server

            stack.enter_context(desk_server(service.live, service.ledger, wake=service.wake_for_orders))
        return run_process(service, systemd, exit_now=os._exit)


def status(json: JsonOption = False) -> int:
    """Last and next cycle, what waits, what failed. Works while the worker runs."""
    from billingsync.service.ask_worker import ask
    from billingsync.service.status import take

    with ledger_only(local=True) as (settings, ledger):
        found = take(ledger)
    health = settings.health
    answer = ask(health.host, health.port) if health.port else None
    if json:
        alive = answer.get("state") if answer else None
        document(found.as_json() | {"worker": alive}, _steps(found))
    else:
        _show(
            found,
            settings.zone,
            answer.get("state") if answer else ("not answering" if health.port else "not asked: port 0"),
        )
    if found.cycle is not None and found.cycle.state == CycleState.FAILED:
        return 1
    return 3 if found.held_charges or found.held_months or found.unresolved else 0


def _steps(found: Snapshot) -> list[list[str]]:
    steps = [list(step) for one in found.open for step in one.steps]
    return [step for n, step in enumerate(steps) if step not in steps[:n]]


def _show(found: Snapshot, zone: ZoneInfo, worker_state: str | None) -> None:
    from billingsync.report.escape import one_line
    from billingsync.report.layout import table

    def moment(value: Any) -> str:
        return value.astimezone(zone).isoformat(" ", timespec="minutes") if value else "never"

    rows = [("billingsync", f"{found.version}, installation {found.installation}")]
    if worker_state is not None:
        rows.append(("worker", worker_state))
    cycle = found.cycle
    rows.append(("last cycle", f"{moment(cycle.started_at)}, {cycle.state}" if cycle else "never"))
    rows.append(("last good cycle", moment(found.last_success)))
    rows.append(("next cycle", moment(found.next_at)))
    if found.problem and cycle and cycle.state == CycleState.FAILED:
        rows.append(("problem", one_line(f"{found.problem['code']}: {found.problem['message']}")))
    for period, month in found.months.items():
        rows.append((f"month {period}", _month(month)))
    rows += [("waits to be invoiced", one_line(_waits(one))) for one in found.waiting]
    rows.append(("writes in doubt", str(found.unresolved)))
    for name, service in found.services.items():
        left, budget = service.get("budget_left", 0), service.get("budget", 0)
        calls, again = service.get("calls", 0), service.get("retries", 0)
        rows.append((name, f"{calls} calls in the last cycle, {again} made again, {left} of {budget} a minute left"))
        last = service.get("last_contact")
        rows.append(("", f"last good answer {moment(datetime.fromisoformat(last) if last else None)}"))
    rows.append(("notices waiting", str(found.untold)))
    table(console(), ("What", "How"), rows)
    for one in found.open:
        out(f"{moment(one.opened_at)}  {one_line(one.title)}")
    for step in _steps(found):
        out(f"  next:  {shlex.join(step)}")


def _waits(one: Waiting) -> str:
    from billingsync.core.money import plain

    due = f", its next creation is {one.next_creation[:10]}" if one.next_creation else ""
    money = f"{plain(one.amount, one.currency)} {one.currency}"
    who = one.client_name or str(one.client_id)
    return f"{money} of {one.period} on recurring invoice {abs(one.invoice_id)} of {who}{due}"


def _month(month: Any) -> str:
    waits = [
        f"{group['charges']} {reason} since {group['days']} d ("
        + ", ".join(f"{amount} {currency}" for currency, amount in group["price"].items())
        + ")"
        for reason, group in month["holds"].items()
    ]
    parts = [str(month["state"]), *waits]
    if month["problem"]:
        from billingsync.report.escape import one_line, shortened

        parts.append(shortened(one_line(str(month["problem"])), 200))
    return "; ".join(parts)


def notify_test(json: JsonOption = False) -> int:
    """Send a test notice to every address in NOTIFY__URLS, and open a ticket where notices open tickets."""
    from billingsync.service.notify import try_out

    settings, redactor = load()
    found = try_out(settings, redactor)
    if not found:
        raise UsageError(
            "No notices are sent: neither BILLINGSYNC_NOTIFY__URLS nor BILLINGSYNC_NOTIFY__HALO_TICKET is set.",
            next_steps=[["billingsync", "settings", "show"]],
        )
    if json:
        document({"addresses": [{"kind": kind, "problem": problem or None} for kind, problem in found]})
    else:
        for number, (kind, problem) in enumerate(found, start=1):
            out(f"{number}  {kind:12} {problem or 'taken'}")
        if any(problem for kind, problem in found if kind != "ticket"):
            note("Check the address at https://github.com/caronc/apprise/wiki")
    return 1 if any(problem for _, problem in found) else 0
