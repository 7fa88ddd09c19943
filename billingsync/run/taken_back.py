"""What of a month was taken back and is not billed again yet: by a true-up that ended before what comes instead was
there [N4] [R2], or by a person's undo, which only a person bills again [R5]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from billingsync.core.period import Period
from billingsync.core.states import PostingState, RunState
from billingsync.store.ledger import Ledger
from billingsync.store.postings import ARRIVED, PostingHead, RecordedPosting

_ENDED = (RunState.COMPLETE, RunState.HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """HaloPSA clients: those of which a true-up of this month was `begun` and is not at its end, and those that were
    `undone` by a person, with the `companies` for which they were billed, as another client may pay since. `credits`
    are the invoices on which a true-up that was begun credited what was closed."""

    begun: frozenset[int] = frozenset()
    undone: frozenset[int] = frozenset()
    companies: frozenset[str] = frozenset()
    credits: frozenset[int] = frozenset()


def taken_back_of(ledger: Ledger, period: Period) -> TakenBack:
    """What the ledger's facts say of it. Reads the ledger only, and little where nothing of the month was undone."""
    gone = ledger.heads(period=period, states=(PostingState.UNDONE,))
    if not gone:
        return TakenBack()
    runs = {run.id: run for run in ledger.runs(period)}
    credits = {id_: str(run.summary["credit_of"]) for id_, run in runs.items() if run.summary.get("credit_of")}
    by_true_up = ledger.true_ups_begun()
    arrived = ledger.heads(period=period, states=ARRIVED)
    there = [one for one in arrived if one.run not in credits]
    begun: set[int] = set()
    undone: dict[str, datetime] = {}
    keys: set[str] = set()
    for row in gone:
        if row.run in credits:
            continue
        after = [one for one in there if one.client_id == row.client_id]
        if row.key not in by_true_up:
            since = row.settled_at or row.sent_at
            if not any(one.intended_at >= since for one in after):
                undone[row.key] = since
            continue
        run = runs.get(by_true_up[row.key])  # None where it is of another month
        if run is None or run.state in _ENDED:
            continue
        if not any(one.intended_at >= run.started_at and one.run != run.id for one in after):
            begun.add(row.client_id)
            keys.add(row.key)
    made_by = {id_ for id_, key in credits.items() if key in keys}
    left = _left(ledger, [row for row in gone if row.key in undone], undone, there)
    on = [one for one in arrived if one.run in made_by]
    return TakenBack(
        begun=frozenset(begun),
        undone=frozenset(left),
        companies=frozenset(company for some in left.values() for company in some),
        credits=frozenset(one.invoice_id for one in on if one.invoice_id is not None),
    )


def _left(
    ledger: Ledger, gone: Sequence[PostingHead], undone: Mapping[str, datetime], there: Sequence[PostingHead]
) -> dict[int, set[str]]:
    """By client: the companies of these postings, undone at these times by key, that nobody was billed for since."""
    if not gone:
        return {}
    first = min(undone.values())
    since: dict[str, datetime] = {}
    for row in ledger.with_lines([one for one in there if one.intended_at >= first]):
        for company in _companies(row):
            since[company] = max(row.intended_at, since.get(company, row.intended_at))
    left: dict[int, set[str]] = defaultdict(set)
    for row in ledger.with_lines(gone):
        companies = _companies(row)
        waiting = {one for one in companies if one not in since or since[one] < undone[row.key]}
        if waiting or not companies:
            left[row.client_id] |= waiting
    return left


def _companies(row: RecordedPosting) -> set[str]:
    return {line.company_id for line in row.lines if line.shares and line.company_id}
