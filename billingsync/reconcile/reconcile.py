"""A comparison carried out: the right snapshot, everything that stands beside it, and what comes of it."""

from __future__ import annotations

from datetime import datetime

from billingsync.connect import Connections
from billingsync.core.period import Period
from billingsync.core.reconcile.compare import Reconciliation, compare
from billingsync.core.reconcile.snapshot import Snapshot, SnapshotState
from billingsync.errors import NoSnapshot
from billingsync.reconcile.choose import for_now, for_period
from billingsync.reconcile.inputs import Books, billing_inputs, inputs_for
from billingsync.rulebook import load_rulebook
from billingsync.run.context import Say, now


def reconcile(connected: Connections, period: Period | None, *, say: Say) -> Reconciliation:
    """Both sides as they are now, or as the period's own snapshot has them. NoSnapshot where there is none [SN6]."""
    entry = for_now(connected, say) if period is None else for_period(connected, period)
    say(f"comparing with snapshot {entry.id}")
    return compare(inputs_for(_books(connected), entry, period))


def posted_only(connected: Connections, period: Period, refusal: NoSnapshot) -> Reconciliation:
    """What the ledger itself posted for a period without a snapshot, beside its charges [SN6]. Raises `refusal` where
    it posted nothing."""
    moment: datetime = now().astimezone(connected.settings.zone)
    empty = Snapshot(id=0, as_at=moment, state=SnapshotState.WHOLE)
    inputs = billing_inputs(_books(connected), period, empty)
    if not inputs.posted:
        raise refusal
    return compare(inputs)


def _books(connected: Connections) -> Books:
    rulebook = load_rulebook(connected.settings.rules_dir)
    return Books(ledger=connected.ledger, rulebook=rulebook, zone=connected.settings.zone)
