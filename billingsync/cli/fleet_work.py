"""The commands that do the fleet's work: a worker that lives, and one partner's cycle right now."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.cli.terminal import document, out
from billingsync.errors import FleetError, SettingsError, UsageError

if TYPE_CHECKING:
    from billingsync.fleet.worker import FleetWorker
    from billingsync.settings.groups import Health
    from billingsync.store.fleet import Fleet

MOST_SLOTS = 256
DRAINED_S = 180.0  # a worker looks every 15 s whether it is drained, and ends within 90


def register(fleet: typer.Typer) -> None:
    fleet.command(
        "worker", epilog="Example: billingsync fleet worker --slots 32. Exit codes: 0 stopped by a signal, 1, 2."
    )(fleet_worker)
    fleet.command(
        "run",
        epilog="Example: billingsync fleet run acme. Exit codes: 0 well, 1 failed, 2, 3 held, 5 at work elsewhere "
        "or paused.",
    )(fleet_run)
    fleet.command(
        "drain", epilog="Example: billingsync fleet drain billing-2. Exit codes: 0, 1 it is still at work, 2."
    )(fleet_drain)


def fleet_worker(
    slots: Annotated[
        int,
        typer.Option("--slots", metavar="N", min=0, max=MOST_SLOTS, help="Partners at a time; 0: as fleet.toml says."),
    ] = 0,
    name: Annotated[str, typer.Option("--name", metavar="X", help="What the log calls this worker.")] = "",
) -> int:
    """Work for all partners of the fleet until SIGTERM, each cycle in a process of its own.

    Any number of workers on any number of machines may run beside each other."""
    import asyncio
    import socket

    from billingsync.cli.session import load
    from billingsync.fleet.bureau import Bureau
    from billingsync.fleet.engines import make_engine, require_prepared
    from billingsync.fleet.fleet_file import read_fleet_file
    from billingsync.fleet.layout import FLEET
    from billingsync.fleet.worker import FleetWorker
    from billingsync.rulebook.file import read_rules_text
    from billingsync.store.fleet_due import newest_version

    settings, _ = load()
    with opened(settings.database_url) as fleet:
        version = _published(newest_version(fleet))
        engine = make_engine(settings.database_url)
        require_prepared(engine)
        own, _, _ = read_fleet_file(read_rules_text(FLEET, fleet.settings_of(version)))
        assert own is not None, "what is published was checked"
        worker = FleetWorker(
            fleet=fleet,
            engine=engine,
            database_url=settings.database_url,
            lease_s=settings.lease_s,
            slots=slots or own.slots,
            database_bytes=own.limits.database_gb * 10**9,
            name=name or socket.gethostname(),
            log_format=settings.log.format,
            log_level=settings.log.level,
            bureau=Bureau(fleet.database, [url.get_secret_value() for url in settings.notify.urls], own.notify.events),
        )
        with ExitStack() as stack:
            if settings.health.port:
                _serve_health(stack, settings.health, worker)
            asyncio.run(worker.work())
    return 0


def _serve_health(stack: ExitStack, at: Health, worker: FleetWorker) -> None:
    """The health port until the stack is left. Where it is taken, e.g. by another worker of this machine, that is told
    and the work goes on: partners are billed without it."""
    import structlog

    from billingsync.fleet.health import FleetHealth
    from billingsync.fleet.told_state import counts
    from billingsync.store.fleet_state import standing

    try:
        health = FleetHealth(at.host, at.port, worker.vitals, lambda: counts(standing(worker.fleet).partners))
        stack.enter_context(health)
    except SettingsError as taken:
        structlog.get_logger().warning("no health port", says=taken.message)


def fleet_run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The partner's name.")],
    json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")] = False,
) -> int:
    """One cycle of one partner, here and now, whatever is due. Needs no worker and no engine."""
    from billingsync.cli.session import load
    from billingsync.core.states import CycleState
    from billingsync.fleet.cycle import Work, one_cycle
    from billingsync.fleet.told_state import state_words
    from billingsync.store.fleet_due import newest_version

    settings, _ = load()
    with opened(settings.database_url) as fleet:
        _published(newest_version(fleet))
    ended = one_cycle(Work(database_url=settings.database_url, partner=name, lease_s=settings.lease_s))
    state = ended.state
    if json:
        steps = [["billingsync", "fleet", "status", "--partner", name]]
        document({"partner": name, "state": state.value, "cause": ended.cause or None}, steps)
    else:
        out(f"{name}: {state_words(state, ended.cause)}")
    return {CycleState.HELD: 3, CycleState.FAILED: 1, CycleState.INTERRUPTED: 1}.get(state, 0)


def fleet_drain(
    worker: Annotated[str, typer.Argument(metavar="WORKER", help="Its name, as `fleet status` shows it.")],
    wait: Annotated[bool, typer.Option("--wait", help="Come back when it has stopped.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")] = False,
) -> int:
    """Empty a machine, from any other: its worker begins nothing new, ends the writes in hand, and stops."""
    import time

    from billingsync.cli.session import load
    from billingsync.store.fleet_state import standing
    from billingsync.store.fleet_workers import drain
    from billingsync.store.lock import who

    settings, _ = load()
    with opened(settings.database_url) as fleet:
        told = drain(fleet.database, worker, who())
        living = standing(fleet).living
        if not told:
            names = ", ".join(sorted({one.name for one in living})) or "none"
            raise UsageError(
                f"No worker {worker[:60]!r} is at work. Those that are: {names}.",
                next_steps=[["billingsync", "fleet", "status"]],
            )
        until = time.monotonic() + DRAINED_S
        left = told
        while wait and left and time.monotonic() < until:
            time.sleep(1)
            left = sum(one.name == worker for one in standing(fleet).living)
    if json:
        document({"worker": worker, "told": told, "at_work": left}, [["billingsync", "fleet", "status"]])
    elif left:
        out(f"Told {worker} to stop. It ends what it has in hand:  billingsync fleet status")
    else:
        out(f"{worker} has stopped. Its partners are due again at once, elsewhere.")
    return 1 if wait and left else 0


def require_postgresql(database_url: str) -> None:
    """SettingsError where it is another database."""
    if not database_url.startswith("postgresql"):
        raise SettingsError(
            ["BILLINGSYNC_DATABASE_URL: a fleet needs PostgreSQL, e.g. postgresql+psycopg://user:password@host/fleet"],
            next_steps=[["billingsync", "settings", "show"]],
        )


def opened(database_url: str) -> Fleet:
    """The fleet in this database. SettingsError where it is no PostgreSQL."""
    from billingsync.store.fleet import open_fleet

    require_postgresql(database_url)
    return open_fleet(database_url)


def _published(version: int) -> int:
    if not version:
        raise FleetError(
            ["Nothing is published in this database, so there is no partner to work for."],
            next_steps=[["billingsync", "fleet", "apply", "--dry-run"]],
        )
    return version
