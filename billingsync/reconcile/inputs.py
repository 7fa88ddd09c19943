"""Everything that a comparison is given: a snapshot, the months' charges, and what the ledger posted."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from billingsync.core.charge import Charge
from billingsync.core.period import Period
from billingsync.core.reconcile.snapshot import Month, PostedLine, ReconcileInputs, SeatChange, Snapshot, Unposted
from billingsync.core.reconcile.taken import SnapshotState
from billingsync.core.rules import Rulebook
from billingsync.core.states import LineAction, PostingAction
from billingsync.reconcile.counts import counts_beside
from billingsync.reconcile.kept import Opened, open_month, open_snapshot, read_histories
from billingsync.store.ledger import Ledger
from billingsync.store.postings import RecordedPosting
from billingsync.store.snapshots import SnapshotEntry

LONGEST_TERM = 36  # months: a charge of three years stands for each of them
_ACTIVE = ("Active", "Activated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Where the values come from, and how to read them."""

    ledger: Ledger
    rulebook: Rulebook
    zone: ZoneInfo


def inputs_for(books: Books, entry: SnapshotEntry, period: Period | None) -> ReconcileInputs:
    """The comparison of that snapshot with a period, or (None) with the newest released month."""
    opened = open_snapshot(books.ledger, entry, books.rulebook, books.zone)
    months = tuple(_months(books.ledger, period))
    newest = max((month.period for month in months if month.released), default=None)
    charges = {charge.id: charge for month in months for charge in month.charges}
    before = [one for one in books.ledger.snapshots() if one.id < entry.id and one.state is SnapshotState.WHOLE]
    beside = counts_beside(books.ledger, opened.snapshot, books.rulebook, period)
    return ReconcileInputs(
        snapshot=opened.snapshot,
        rulebook=books.rulebook,
        period=period,
        months=months,
        posted=tuple(_posted(books.ledger, [month.period for month in months], charges)),
        unposted=_unposted(books.ledger, newest) if newest is not None else (),
        written_lines=frozenset((line.invoice_id, line.line_id) for line in books.ledger.written_lines()),
        prices_before=_prices_before(books, before, entry),
        counts=beside.counts,
        rows_left_out=beside.rows_left_out,
        **_seats(books, opened, before, newest),
    )


def billing_inputs(books: Books, period: Period, empty: Snapshot) -> ReconcileInputs:
    """What the ledger itself posted for a period of which there is no snapshot [SN6]; `empty` stands in its place."""
    months = tuple(_months(books.ledger, period))
    charges = {charge.id: charge for month in months for charge in month.charges}
    return ReconcileInputs(
        snapshot=empty,
        rulebook=books.rulebook,
        period=period,
        months=months,
        posted=tuple(_posted(books.ledger, [month.period for month in months], charges)),
        unposted=_unposted(books.ledger, period),
    )


def _months(ledger: Ledger, period: Period | None) -> Iterator[Month]:
    """The months that we keep up to `period`; of those before the last two only what stands for several months."""
    known = sorted({Period.parse(one.period) for one in ledger.source_invoices()})
    known = [one for one in known if period is None or one <= period][-LONGEST_TERM - 1 :]
    for one in known:
        month = open_month(ledger, one)
        yield month if one in known[-2:] else replace(month, charges=tuple(filter(_is_long, month.charges)))


def _is_long(charge: Charge) -> bool:
    return charge.term.strip().casefold() not in ("monthly", "arrears", "")


def _posted(ledger: Ledger, periods: Iterable[Period], charges: Mapping[str, Charge]) -> Iterator[PostedLine]:
    for period in periods:
        for posting, live in ledger.billed_lines(period):
            yield from _lines_of(posting, live, period, charges)


def _lines_of(
    posting: RecordedPosting, live: frozenset[int], period: Period, charges: Mapping[str, Charge]
) -> Iterator[PostedLine]:
    returned = {line.ordinal: line for line in posting.returned_lines}
    parts: Counter[tuple[str, ...]] = Counter()
    for line in posting.lines:
        names = tuple(share.charge for share in line.shares)
        part = parts[names]
        parts[names] += 1
        if line.ordinal not in live or line.action == LineAction.REMOVE:
            continue
        back = returned.get(line.ordinal)
        yield PostedLine(
            period=period,
            client_id=posting.client_id,
            company_id=line.company_id,
            invoice_id=posting.invoice_id,
            line_id=back.line_id if back else line.line_id,
            recurring=posting.action == PostingAction.UPDATE,
            quantity=line.quantity,
            unit_price=line.unit_price,
            unit_cost=line.unit_cost,
            amount=back.amount if back else line.amount,
            cost=back.cost if back else line.cost,
            currency=posting.currency,
            item_id=line.item_id,
            charges=tuple(charges[name] for name in names if name in charges),
            part=part,
        )


def _unposted(ledger: Ledger, period: Period) -> tuple[Unposted, ...]:
    """What the newest whole plan of the period left out or held."""
    plans = [one for one in ledger.plans(period) if not one.asked]
    if not plans:
        return ()
    document = json.loads(ledger.find_plan(plans[-1].digest).document)
    return tuple(_left_out([*document["clients"], document["unassigned"]]))


def _left_out(clients: Iterable[Mapping[str, Any]]) -> Iterator[Unposted]:
    for client in clients:
        for entry in client.get("dropped", ()):
            yield Unposted(charge_id=entry["charge"], state="dropped", by=entry["modifier"])
        for entry in client["excluded"]:
            yield Unposted(charge_id=entry["charge"], state="excluded", by=entry["rule"])
        for entry in client["holds"]:
            yield Unposted(charge_id=entry["charge"], state="held", by=entry["reason"])


def _seats(books: Books, opened: Opened, before: list[SnapshotEntry], compared_with: Period | None) -> dict[str, Any]:
    """What changed and what was last active: from our own snapshots where they saw it, else from Pax8's history; and
    of which subscriptions neither tells it since the month that is compared began."""
    day = opened.snapshot.day
    since = Period.of(day).previous.first_day
    recent = [one for one in before if one.as_at.astimezone(books.zone).date() >= since]
    seen = books.ledger.snapshot_seats([one.id for one in recent])
    own: dict[str, list[SeatChange]] = defaultdict(list)
    last: dict[str, Decimal] = {}
    active: dict[str, Decimal] = {}
    steps = [(one.as_at.astimezone(books.zone).date(), seen.get(one.id, {})) for one in recent]
    now = {
        one.id: (None if one.quantity is None else format(one.quantity, "f"), one.status)
        for one in opened.snapshot.subscriptions
    }
    for at, subscriptions in [*steps, (day, now)]:
        for name, (text, status) in subscriptions.items():
            if text is None:
                continue
            quantity = Decimal(text)
            if name in last and last[name] != quantity:
                own[name].append(SeatChange(subscription_id=name, day=at, before=last[name], after=quantity))
            last[name] = quantity
            if status in _ACTIVE:
                active[name] = quantity
    changes = [change for changes in own.values() for change in changes]
    # A history is read once, when the change is new: later snapshots find the same seats as the one before.
    told = dict.fromkeys(opened.changes)
    known = set(opened.histories)
    for one in recent:
        documents = tuple(books.ledger.snapshot_documents(one.id, "history"))
        told |= dict.fromkeys(read_histories(documents)[0])
        known.update(document.of for document in documents)
    changes += [change for change in told if change.subscription_id not in own]
    first = (compared_with or Period.of(day)).first_day
    seen_first = {name: at for at, subscriptions in reversed(steps) for name in subscriptions}
    unknown = {
        one.id
        for one in opened.snapshot.subscriptions
        if one.id not in known and one.updated is not None and first <= one.updated < seen_first.get(one.id, date.max)
    }
    return {
        "changes": tuple(changes),
        "last_active": {**opened.last_active, **active},
        "past_unknown": frozenset(unknown),
    }


def _prices_before(books: Books, before: list[SnapshotEntry], entry: SnapshotEntry) -> dict[int, Decimal]:
    """Unit prices as the last snapshot of an earlier month had them."""
    month = Period.of(entry.as_at.astimezone(books.zone).date())
    earlier = [one for one in before if Period.of(one.as_at.astimezone(books.zone).date()) < month]
    if not earlier:
        return {}
    return {line: Decimal(price) for line, price in books.ledger.snapshot_prices(earlier[-1].id).items()}
