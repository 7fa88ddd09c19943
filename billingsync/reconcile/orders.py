"""The orders of the desk about comparing, beside those about billing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from billingsync.connect import Connections
from billingsync.core.desk import OrderKind, OrderState
from billingsync.core.progress import Say
from billingsync.core.reconcile.compare import compare
from billingsync.core.reconcile.expiring import CommitmentTerms
from billingsync.core.reconcile.snapshot import SnapshotState
from billingsync.core.schedule import local_day
from billingsync.errors import UpstreamError
from billingsync.reconcile.inputs import inputs_for
from billingsync.reconcile.reconcile import books_of, documented
from billingsync.reconcile.snapshot import Why, take
from billingsync.run import orders
from billingsync.run.context import now
from billingsync.run.orders import Carry, Done
from billingsync.store.orders import Order
from billingsync.store.snapshots import SnapshotEntry

WITHIN = 90  # days: of what ends within them the terms are asked for


def _snapshot(connected: Connections, order: Order, say: Say) -> Done:
    """A snapshot, and what Pax8 documents of the commitments that end soon. One that was taken after this was asked
    for will do."""
    entries = connected.ledger.snapshots()
    taken = entries[-1] if entries and entries[-1].as_at >= order.at else take(connected, why=Why.COMMAND, say=say)
    if taken.state is not SnapshotState.WHOLE:
        says = f"Snapshot {taken.id} is not whole, so nothing is compared with it: {' '.join(taken.missing)}"
        steps = [["billingsync", "doctor"]]
        outcome = {"code": "BS-NO-SNAPSHOT", "message": says, "next_steps": steps, "snapshot": taken.id}
        return Done(outcome=outcome, state=OrderState.FAILED)
    said = f"Snapshot {taken.id} was taken."
    if taken.suspect and not taken.confirmed_by:
        said += f" Much is gone since the last one ({', '.join(taken.suspect)}): look before you believe it."
    return Done(outcome={"snapshot": taken.id, "message": said, "documented": _documented(connected, taken, say)})


def _documented(connected: Connections, taken: SnapshotEntry, say: Say) -> dict[str, Any]:
    """By commitment id; nothing where Pax8 does not answer: the snapshot is good without it."""
    found = compare(inputs_for(books_of(connected.ledger, connected.settings), taken, None))
    today = local_day(now(), connected.settings.zone)
    try:
        terms = documented(connected, found, today, within=WITHIN, say=say)
    except UpstreamError:
        return {}
    return {id: {name: getattr(one, name) for name in CommitmentTerms.__slots__} for id, one in terms.items()}


CARRIES: Mapping[OrderKind, Carry] = {**orders.CARRIES, OrderKind.SNAPSHOT: _snapshot}
