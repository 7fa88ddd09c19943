"""A comparison carried out: the right snapshot, everything that stands beside it, and what comes of it."""

from __future__ import annotations

from datetime import datetime

from billingsync.connect import Connections
from billingsync.core.period import Period
from billingsync.core.progress import Progress, Say, Stage
from billingsync.core.reconcile.compare import Reconciliation, Verdict, compare
from billingsync.core.reconcile.expiring import Expiry, expiring
from billingsync.core.reconcile.posted import compare_posted
from billingsync.core.reconcile.snapshot import Snapshot, SnapshotState
from billingsync.core.schedule import local_day
from billingsync.errors import NoSnapshot
from billingsync.reconcile.choose import for_now, for_period
from billingsync.reconcile.inputs import Books, billing_inputs, inputs_for
from billingsync.rulebook import load_rulebook
from billingsync.run.context import now


def reconcile(connected: Connections, period: Period | None, *, say: Say) -> Reconciliation:
    """Both sides as they are now, or as the period's own snapshot has them. NoSnapshot where there is none [SN6]."""
    entry = for_now(connected, say) if period is None else for_period(connected, period)
    say(Progress(stage=Stage.COMPARE, about=str(entry.id)))
    return compare(inputs_for(_books(connected), entry, period))


def posted_only(connected: Connections, period: Period, refusal: NoSnapshot) -> Reconciliation:
    """What the ledger itself posted for a period without a snapshot, beside its charges [SN6]. Raises `refusal` where
    it posted nothing."""
    moment: datetime = now().astimezone(connected.settings.zone)
    empty = Snapshot(id=0, as_at=moment, state=SnapshotState.WHOLE)
    found = compare_posted(billing_inputs(_books(connected), period, empty))
    if found.verdict is Verdict.NOTHING_COMPARED:
        raise refusal
    return found


def renewals(connected: Connections, *, within: int, say: Say) -> tuple[Reconciliation, Expiry]:
    """What ends within so many days, by the snapshot that counts for now; what Pax8 documents of the commitments is
    read fresh [EX4]."""
    found = reconcile(connected, None, say=say)
    today = local_day(now(), connected.settings.zone)
    first = expiring(found.subscriptions, today, {}, within=within)
    products = {
        one.one.subscription.product_id for one in first.subscriptions if one.one.subscription.commitment is not None
    }
    say(Progress(stage=Stage.READ_COMMITMENTS))
    commitments = connected.pax8.commitments(sorted(filter(None, products)))
    return found, expiring(found.subscriptions, today, commitments, within=within)


def _books(connected: Connections) -> Books:
    rulebook = load_rulebook(connected.settings.rules_dir)
    return Books(ledger=connected.ledger, rulebook=rulebook, zone=connected.settings.zone)
