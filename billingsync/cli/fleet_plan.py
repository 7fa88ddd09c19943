"""`billingsync fleet simulate`: how many machines a fleet needs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.cli.terminal import document, out
from billingsync.errors import UsageError

if TYPE_CHECKING:
    from billingsync.fleet.simulate import Forecast

FEW = 5  # partners whose cycles were measured: fewer say nothing of many


def register(fleet: typer.Typer) -> None:
    fleet.command(
        "simulate",
        epilog="Example: billingsync fleet simulate --partners 2000 --workers 4 --slots 32 --kill-every 300. "
        "Exit codes: 0, 1, 2.",
    )(fleet_simulate)


def fleet_simulate(
    partners: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="How many partners.")] = 2000,
    workers: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="How many workers, one a machine.")] = 4,
    slots: Annotated[int, typer.Option(metavar="N", min=1, max=256, help="Partners that each works for at once.")] = 16,
    cores: Annotated[float, typer.Option(metavar="N", min=0.1, help="Processors of each machine.")] = 2,
    kill_every: Annotated[
        float, typer.Option("--kill-every", metavar="S", min=0, help="Kill a worker every so many seconds; 0: none.")
    ] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")] = False,
) -> int:
    """How long it takes until everybody is billed where all months are released at once, and what it costs.

    By the fleet's own cycles of the last 35 days, or, without a database of a fleet, by what was measured for the
    pages. Calls nobody and needs no credentials."""
    from billingsync.fleet.simulate import Shape, forecast, measured, typical

    if 0 < kill_every < 10:
        raise UsageError("--kill-every is at least 10 seconds, or 0 for none: a worker needs 30 to come back.")
    lengths = _lengths()
    own = len(lengths) >= FEW
    months = measured(lengths, partners) if own else typical(partners)
    shape = Shape(workers=workers, slots=slots, cores=cores * workers, kill_every_s=kill_every)
    found = forecast(months, shape)
    if json:
        document({"measured_partners": len(lengths) if own else 0, "forecast": asdict(found)})
        return 0
    out(f"{partners} partners, {workers} workers of {slots} slots and {cores:g} processors")
    where = f"the cycles of {len(lengths)} partners here" if own else "what was measured for docs/fleet-grow.md"
    out(f"by {where}")
    for name, value in _rows(found, own=own):
        out(f"  {name:<42}{value:>14}")
    return 0


def _rows(found: Forecast, *, own: bool) -> list[tuple[str, str]]:
    half, most, everyone = found.late_s
    rows = [
        ("posted: half of them", _time(half)),
        ("posted: 95 of 100", _time(most)),
        ("posted: all", _time(everyone)),
        ("no faster with so many slots", _time(found.ideal_s)),
        ("slots in use at once", f"{found.slots_used}"),
        ("connections to the database", f"{found.connections}"),
        ("slot-hours", f"{found.slot_s / 3600:.1f}"),
        ("processor-hours", f"{found.cpu_s / 3600:.1f}"),
    ]
    if not own:
        rows += [("calls of HaloPSA", f"{found.calls:,}"), ("commits", f"{found.commits:,}")]
    if found.kills:
        rows += [("workers killed", f"{found.kills}"), ("cycles begun again", f"{found.begun_again}")]
    return rows


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 180 else f"{seconds / 60:.0f} min"


def _lengths() -> dict[str, float]:
    """Of this fleet's partners; none where the database is no fleet's."""
    from billingsync.cli.session import load
    from billingsync.store.fleet import open_fleet
    from billingsync.store.fleet_due import newest_version
    from billingsync.store.fleet_lengths import longest_cycles

    settings, _ = load()
    if not settings.database_url.startswith("postgresql"):
        return {}
    with open_fleet(settings.database_url) as fleet:
        return longest_cycles(fleet) if newest_version(fleet) else {}
