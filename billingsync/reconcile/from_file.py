"""A month compared with a distributor invoice's file in the place of Pax8's invoice; Pax8 is not asked [IM11]."""

from __future__ import annotations

from dataclasses import replace

from billingsync.connect import Connections
from billingsync.core.progress import Progress, Say, Stage
from billingsync.core.reconcile.compare import Reconciliation, compare
from billingsync.core.reconcile.snapshot import Month
from billingsync.reconcile.choose import for_period
from billingsync.reconcile.inputs import Books, inputs_for
from billingsync.rulebook import load_rulebook
from billingsync.sources.source import ChargeSource


def reconcile_file(connected: Connections, source: ChargeSource, *, say: Say) -> Reconciliation:
    """The file's charges beside the snapshot of their month; where Pax8's own invoice of it is kept, the file stands in
    its place. NoSnapshot where the month has none [SN6]."""
    period = source.released()[0].period
    entry = for_period(connected.ledger, connected.settings.zone, period)
    fetched = source.fetch(period)
    charges = tuple(charge for one in fetched.sources for charge in one.charges)
    rulebook = load_rulebook(connected.settings.rules_dir, connected.ledger.desk_rules())
    books = Books(ledger=connected.ledger, rulebook=rulebook, zone=connected.settings.zone)
    say(Progress(stage=Stage.COMPARE, about=str(entry.id)))
    inputs = inputs_for(books, entry, period)
    others = tuple(month for month in inputs.months if month.period != period)
    return compare(replace(inputs, months=(*others, Month(period=period, charges=charges))))
