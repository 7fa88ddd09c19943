"""The commands that read both sides at one time, and list what was read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from billingsync.cli.session import connected, ledger_only
from billingsync.cli.terminal import console, document, out, say
from billingsync.errors import NoSnapshot

if TYPE_CHECKING:
    from datetime import tzinfo

    from billingsync.store.snapshots import SnapshotEntry

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")]
_STEPS = [["billingsync", "reconcile", "findings"]]


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Example: billingsync snapshot. Exit codes: 0 whole, 3 partial or suspect, 5 a run is under way, 1, 2."
    )(snapshot)
    app.command(epilog="Example: billingsync snapshots. Exit codes: 0, 1, 2.")(snapshots)


def snapshot(
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Say that the newest snapshot is right, although much is gone in it.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Read subscriptions from Pax8 and recurring invoices from HaloPSA, whole and at one time. Writes to neither."""
    if confirm:
        return _confirm(json)
    from billingsync.reconcile.snapshot import Why, take

    with connected() as connections:
        taken = take(connections, why=Why.COMMAND, say=say)
        zone = connections.settings.zone
    return _show(taken, zone, json)


def _confirm(json: bool) -> int:
    from billingsync.cli.roles import require
    from billingsync.core.reconcile.taken import newest_whole
    from billingsync.run.context import now
    from billingsync.store.lock import who

    with ledger_only() as (settings, ledger):
        require(settings, "financial", "confirm a snapshot")
        entries = ledger.snapshots()
        newest = newest_whole(one.taken(settings.zone) for one in entries)
        if newest is None:
            raise NoSnapshot("There is no whole snapshot to confirm.", next_steps=[["billingsync", "snapshot"]])
        ledger.confirm_snapshot(newest.id, who(), now())
        entry = next(one for one in ledger.snapshots() if one.id == newest.id)
        return _show(entry, settings.zone, json)


def _show(entry: SnapshotEntry, zone: tzinfo, json: bool) -> int:
    doubtful = bool(entry.missing or (entry.suspect and not entry.confirmed_by))
    if json:
        document(_as_json(entry, zone), _next(entry))
        return 3 if doubtful else 0
    counts = entry.counts
    out(
        f"Snapshot {entry.id} as at {entry.as_at.astimezone(zone):%Y-%m-%d %H:%M}: {_state(entry)}\n"
        f"  Pax8     {_count(counts, 'subscriptions')} of {_count(counts, 'companies')}, "
        f"{_count(counts, 'products')}\n"
        f"  HaloPSA  {_count(counts, 'recurring_invoices')} with {_count(counts, 'lines')}, "
        f"{_count(counts, 'clients')}, {_count(counts, 'items')}"
    )
    for sentence in entry.missing:
        out(f"  Not read: {sentence}")
    if entry.suspect:
        lost = ", ".join(entry.suspect)
        more = f"{entry.confirmed_by} says that it is right." if entry.confirmed_by else "Compare it, but look first."
        out(f"  Suspect: much is gone since the last snapshot ({lost}). {more}")
    out(f"Next:  {' '.join(_next(entry)[0])}")
    return 3 if doubtful else 0


def _next(entry: SnapshotEntry) -> list[list[str]]:
    if entry.missing:
        return [["billingsync", "doctor"], ["billingsync", "snapshot"]]
    if entry.suspect and not entry.confirmed_by:
        return [["billingsync", "snapshot", "--confirm"], *_STEPS]
    return _STEPS


def _state(entry: SnapshotEntry) -> str:
    if entry.missing:
        return "partial, so nothing is compared with it"
    return "whole, but suspect" if entry.suspect and not entry.confirmed_by else "whole"


_ONE = {"companies": "company", "products": "product"}


def _count(counts: Mapping[str, int], name: str) -> str:
    number, noun = counts[name], name.replace("_", " ")
    return f"{number} {_ONE.get(noun, noun.removesuffix('s')) if number == 1 else noun}"


def _as_json(entry: SnapshotEntry, zone: tzinfo) -> dict[str, Any]:
    return {
        "snapshot": entry.id,
        "as_at": entry.as_at.astimezone(zone).isoformat(timespec="seconds"),
        "state": entry.state.value,
        "why": entry.why,
        "counts": dict(entry.counts),
        "invoice_ids": list(entry.invoice_ids),
        "period": entry.period or None,
        "missing": list(entry.missing),
        "suspect": list(entry.suspect),
        "confirmed_by": entry.confirmed_by or None,
    }


def snapshots(json: JsonOption = False) -> int:
    """The snapshots that are kept, newest first."""
    with ledger_only() as (settings, ledger):
        entries = ledger.snapshots()[::-1]
        zone = settings.zone
    if json:
        document({"snapshots": [_as_json(entry, zone) for entry in entries]}, _STEPS)
        return 0
    if not entries:
        out("There is no snapshot yet.\nNext:  billingsync snapshot")
        return 0
    from billingsync.report.layout import table

    headers = ("Snapshot", "As at", "State", "Taken for", "Subscriptions", "Lines", "Counts for")
    rows = [
        (
            str(entry.id),
            f"{entry.as_at.astimezone(zone):%Y-%m-%d %H:%M}",
            _state(entry).partition(",")[0] + (", suspect" if "suspect" in _state(entry) else ""),
            entry.why,
            str(entry.counts["subscriptions"]),
            str(entry.counts["lines"]),
            entry.period,
        )
        for entry in entries
    ]
    table(console(), headers, rows, numbers=(0, 4, 5))
    return 0
