"""Which snapshot a comparison rests on: for now a fresh one, for a period just the one that counts [SN5] [SN6]."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

from billingsync.connect import Connections
from billingsync.core.period import Period
from billingsync.core.progress import Say
from billingsync.core.reconcile.taken import SnapshotState, newest_whole
from billingsync.errors import NoSnapshot
from billingsync.reconcile.snapshot import Why, take
from billingsync.run.context import now
from billingsync.store.ledger import Ledger
from billingsync.store.snapshots import SnapshotEntry

FRESH = timedelta(hours=24)
_MOST_NAMED = 6


def for_now(connected: Connections, say: Say) -> SnapshotEntry:
    """The newest whole snapshot where it is at most a day old; else one is taken. NoSnapshot where that one is partial:
    half of a side would make findings of what was merely not read."""
    zone = connected.settings.zone
    entries = connected.ledger.snapshots()
    newest = newest_whole(one.taken(zone) for one in entries)
    if newest is not None and timedelta(0) <= now() - newest.as_at <= FRESH:
        return next(one for one in entries if one.id == newest.id)
    taken = take(connected, why=Why.NOW, say=say)
    if taken.state is not SnapshotState.WHOLE:
        raise NoSnapshot(
            f"Snapshot {taken.id} is not whole, so nothing is compared: {' '.join(taken.missing)}",
            next_steps=[["billingsync", "doctor"], ["billingsync", "snapshot"]],
        )
    return taken


def newest_kept(ledger: Ledger, zone: ZoneInfo) -> SnapshotEntry:
    """The newest whole snapshot, however old: nothing is asked of anybody. NoSnapshot where there is none."""
    entries = ledger.snapshots()
    newest = newest_whole(one.taken(zone) for one in entries)
    if newest is not None:
        return next(one for one in entries if one.id == newest.id)
    why = f" Snapshot {entries[-1].id} is not whole: {' '.join(entries[-1].missing)}" if entries else ""
    raise NoSnapshot(f"No whole snapshot was taken yet.{why}", next_steps=[["billingsync", "snapshot"]])


def for_period(ledger: Ledger, zone: ZoneInfo, period: Period) -> SnapshotEntry:
    """The one that counts for the period. NoSnapshot where there is none, naming the periods that have one."""
    found = ledger.snapshot_for(period, zone, now())
    if found is None:
        raise no_snapshot(ledger, zone, period)
    return found


def shown_for_period(ledger: Ledger, zone: ZoneInfo, period: Period) -> SnapshotEntry:
    """The same for a page: who only looks decides nothing."""
    found = ledger.snapshot_shown_for(period, zone)
    if found is None:
        raise no_snapshot(ledger, zone, period)
    return found


def no_snapshot(ledger: Ledger, zone: ZoneInfo, period: Period) -> NoSnapshot:
    """Why a period cannot be compared, and which can."""
    have = periods_with_one(ledger, zone)
    named = ", ".join(map(str, have[-_MOST_NAMED:])) if have else "none yet"
    return NoSnapshot(
        f"There is no whole snapshot of {period}, and today's seats say nothing of that month. "
        f"Periods that have one: {named}.",
        next_steps=[["billingsync", "reconcile", "licences", str(have[-1])]]
        if have
        else [["billingsync", "snapshot"], ["billingsync", "reconcile", "licences"]],
    )


def periods_with_one(ledger: Ledger, zone: ZoneInfo) -> list[Period]:
    """The months inside which a whole snapshot was taken, oldest first."""
    whole = [one for one in ledger.snapshots() if one.state is SnapshotState.WHOLE]
    return sorted({Period.of(one.as_at.astimezone(zone).date()) for one in whole})
