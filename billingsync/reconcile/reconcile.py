"""A comparison carried out: the right snapshot, everything that stands beside it, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from billingsync.connect import Connections
from billingsync.core.period import Period
from billingsync.core.progress import Progress, Say, Stage
from billingsync.core.reconcile.compare import Reconciliation, Verdict, compare
from billingsync.core.reconcile.expiring import CommitmentTerms, Expiry, expiring
from billingsync.core.reconcile.posted import compare_posted
from billingsync.core.reconcile.snapshot import Snapshot
from billingsync.core.reconcile.taken import SnapshotState
from billingsync.core.schedule import local_day
from billingsync.errors import NoSnapshot, UsageError
from billingsync.reconcile.cards import Ground
from billingsync.reconcile.choose import for_now, for_period
from billingsync.reconcile.inputs import Books, billing_inputs, inputs_for
from billingsync.rulebook import load_rulebook
from billingsync.run.context import now
from billingsync.settings import PartnerSettings
from billingsync.store.ledger import Ledger

Compare = Callable[[Period | None], Reconciliation]
ComparePosted = Callable[[Period, NoSnapshot], Reconciliation]
_CODES = {Verdict.CLEAN: 0, Verdict.DIFFERENCES: 3, Verdict.INCOMPLETE: 3, Verdict.NOTHING_COMPARED: 4}
_MOST_MONTHS = 120


def reconcile(connected: Connections, period: Period | None, *, say: Say) -> Reconciliation:
    """Both sides as they are now, or as the period's own snapshot has them. NoSnapshot where there is none [SN6]."""
    zone = connected.settings.zone
    entry = for_now(connected, say) if period is None else for_period(connected.ledger, zone, period)
    say(Progress(stage=Stage.COMPARE, about=str(entry.id)))
    inputs = inputs_for(books_of(connected.ledger, connected.settings), entry, period)
    if period is not None:
        return compare(inputs)  # cards change what is billed from now on
    ground = Ground(inputs=inputs, decisions=connected.ledger.card_decisions(), today=local_day(now(), zone))
    return ground.compared_with_cards()


def posted_only(books: Books, period: Period, refusal: NoSnapshot) -> Reconciliation:
    """What the ledger itself posted for a period without a snapshot, beside its charges [SN6]. Raises `refusal` where
    it posted nothing."""
    moment: datetime = now().astimezone(books.zone)
    empty = Snapshot(id=0, as_at=moment, state=SnapshotState.WHOLE)
    found = compare_posted(billing_inputs(books, period, empty))
    if found.verdict is Verdict.NOTHING_COMPARED:
        raise refusal
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Months:
    """One comparison, or one of each month by its own snapshot; `missing` are the months that have none, with why.
    `posted` tells that there is only what the ledger itself posted, since the month has no snapshot."""

    found: tuple[Reconciliation, ...]
    missing: tuple[tuple[Period, str], ...] = ()
    posted: str = ""

    @property
    def code(self) -> int:
        """What a command exits with."""
        codes = [_CODES[one.verdict] for one in self.found]
        return max([*codes, 3 if self.missing or self.posted else 0])


def periods_of(text: str | None) -> list[Period | None]:
    """`2026-11`, `2026-09..2026-11`, or None for now. Raises UsageError for what is no month, or ends before it
    begins."""
    if text is None:
        return [None]
    try:
        first, dots, last = text.partition("..")
        start = Period.parse(first)
        end = Period.parse(last) if dots else start
    except ValueError as wrong:
        raise UsageError(f"{str(wrong).capitalize()}.", next_steps=[["billingsync", "snapshots"]]) from wrong
    found: list[Period | None] = []
    while start <= end and len(found) < _MOST_MONTHS:
        found.append(start)
        start = start.next
    if not found:
        raise UsageError(f"{text} ends before it begins.")
    return found


def months(
    text: str | None, one_of: Compare, posted_of: Callable[[Period, NoSnapshot], Reconciliation] | None
) -> Months:
    """Each month of `text`; those without a snapshot are named, not filled [BC12]. `posted_of` serves a single month
    without one. NoSnapshot where nothing can be compared."""
    periods = periods_of(text)
    found: list[Reconciliation] = []
    missing: list[tuple[Period, str]] = []
    for period in periods:
        try:
            found.append(one_of(period))
        except NoSnapshot as refusal:
            if period is None or len(periods) == 1:
                if period is None or posted_of is None:
                    raise
                return Months(found=(posted_of(period, refusal),), posted=refusal.message)
            missing.append((period, refusal.message))
    if not found:
        raise NoSnapshot(f"None of these months has a whole snapshot: {text}.")
    return Months(found=tuple(found), missing=tuple(missing))


def renewals(connected: Connections, *, within: int, say: Say) -> tuple[Reconciliation, Expiry]:
    """What ends within so many days, by the snapshot that counts for now; what Pax8 documents of the commitments is
    read fresh [EX4]."""
    found = reconcile(connected, None, say=say)
    today = local_day(now(), connected.settings.zone)
    commitments = documented(connected, found, today, within=within, say=say)
    return found, expiring(found.subscriptions, today, commitments, within=within)


def documented(
    connected: Connections, found: Reconciliation, today: date, *, within: int, say: Say
) -> Mapping[str, CommitmentTerms]:
    """What Pax8 says now about the commitments of all that ends soon, by commitment id."""
    first = expiring(found.subscriptions, today, {}, within=within)
    products = {
        one.one.subscription.product_id for one in first.subscriptions if one.one.subscription.commitment is not None
    }
    say(Progress(stage=Stage.READ_COMMITMENTS))
    return connected.pax8.commitments(sorted(filter(None, products)))


def books_of(ledger: Ledger, settings: PartnerSettings) -> Books:
    """The ledger with today's rules."""
    return Books(ledger=ledger, rulebook=load_rulebook(settings.rules_dir, ledger.desk_rules()), zone=settings.zone)
