"""What became of a write: found, absent, or cannot tell [N2]; and what HaloPSA holds of it, to the cent [N5]."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from billingsync.core.inputs import WrittenLine
from billingsync.core.money import ZERO
from billingsync.desk import Desk
from billingsync.errors import UpstreamError
from billingsync.halo.compare import Comparison, Raw, carries, compare, foreign_changes, id_of, twin
from billingsync.store.claims import AlreadyClaimed
from billingsync.store.postings import PostedLine, Receipt, RecordedPosting, ReturnedLine
from billingsync.write import finish_removals

CLIENTS_A_LOOK = 40  # in one query: the address stays short, and one incomplete look concerns few
DAYS_BEFORE = 3  # an invoice of ours is dated the day it was sent, give or take a time zone
LOOKS = 3  # tries at a look that is not complete, before a person must decide


@dataclass(frozen=True, slots=True)
class Found:
    raw: Raw
    certain: bool = True  # False: its lines are ours but carry no marks


@dataclass(frozen=True, slots=True)
class Absent:
    pass


@dataclass(frozen=True, slots=True)
class CannotTell:
    why: str


Sight = Found | Absent | CannotTell


def resolve(desk: Desk, rows: Sequence[RecordedPosting]) -> None:
    """Find out what became of postings whose outcome is not known.

    Found: settled at once. Absent: believed only after the horizon, in two complete looks; then the posting is
    abandoned and its charges are free to be sent again under the same key. Cannot tell: it stays unknown [N2].
    """
    waiting = {row.key: row for row in rows}
    _look_once(desk, waiting)
    while waiting:
        due = min(_due(desk, row) for row in waiting.values())
        if due > 0:
            names = ", ".join(sorted({row.client_name for row in waiting.values()})[:3])
            desk.say(f"waiting {due:.0f} s: HaloPSA may still show what was sent for {names}")
            desk.wait(due)
        ripe = {key: row for key, row in waiting.items() if _due(desk, row) <= 0}
        _judge_ripe(desk, ripe)
        for key in ripe:
            del waiting[key]


def _due(desk: Desk, row: RecordedPosting) -> float:
    """Seconds until this posting's absence may be believed; a clock that jumped back cannot make it longer."""
    since = (desk.now() - row.sent_at).total_seconds()
    return desk.absence_s - min(max(since, 0.0), desk.absence_s)


def _look_once(desk: Desk, waiting: dict[str, RecordedPosting]) -> None:
    for key, sight in look(desk, list(waiting.values())).items():
        if isinstance(sight, Found):
            settle_sight(desk, waiting.pop(key), sight)


def _judge_ripe(desk: Desk, ripe: dict[str, RecordedPosting]) -> None:
    absent: dict[str, int] = dict.fromkeys(ripe, 0)
    why: dict[str, str] = {}
    unclear = dict.fromkeys(ripe, 0)
    left = dict(ripe)
    while left:
        for key, sight in look(desk, list(left.values())).items():
            row = left[key]
            if isinstance(sight, Found):
                settle_sight(desk, row, sight)
                del left[key]
            elif isinstance(sight, Absent):
                absent[key] += 1
                if absent[key] == 2:
                    message = "HaloPSA does not have it: two complete looks after the horizon found nothing"
                    desk.ledger.record_abandoned(desk.fence, key, message, desk.now())
                    del left[key]
            else:
                unclear[key] += 1
                why[key] = sight.why
                if unclear[key] == LOOKS:
                    desk.ledger.record_unknown(desk.fence, key, f"cannot tell: {sight.why}", desk.now())
                    del left[key]
        if left:
            desk.wait(1.0)


def settle_sight(desk: Desk, row: RecordedPosting, sight: Found) -> RecordedPosting:
    """Record what a look found."""
    if sight.certain:
        return settle(desk, row, sight.raw, adopted=True)
    return _differs(desk, row, sight.raw, ZERO, ZERO, "an invoice with just these lines is there, without our marks")


def look(desk: Desk, rows: Sequence[RecordedPosting]) -> dict[str, Sight]:
    """One look for each posting: new invoices by searching the clients' invoices, others by reading the target."""
    sights: dict[str, Sight] = {}
    created = [row for row in rows if row.action == "create"]
    for some in _clients_at_once(created):
        sights |= _look_among(desk, some)
    for row in rows:
        if row.action != "create":
            sights[row.key] = _look_at_target(desk, row)
    return sights


def _clients_at_once(rows: Sequence[RecordedPosting]) -> Iterator[list[RecordedPosting]]:
    ordered = sorted(rows, key=lambda row: row.client_id)
    for start in range(0, len(ordered), CLIENTS_A_LOOK):
        yield ordered[start : start + CLIENTS_A_LOOK]


def _look_among(desk: Desk, rows: Sequence[RecordedPosting]) -> dict[str, Sight]:
    try:
        control = desk.halo.control(_known_invoices(desk))
        day = min(row.intended_at for row in rows).date() - timedelta(days=DAYS_BEFORE)
        seen = desk.halo.look(sorted({row.client_id for row in rows}), control, day)
    except UpstreamError as failed:
        return {row.key: CannotTell(failed.message) for row in rows}
    sights: dict[str, Sight] = {}
    for row in rows:
        found = next((raw for raw in seen.rows if carries(raw, row.key)), None)
        twins = [raw for raw in seen.rows if raw.get("client_id") == row.client_id and twin(raw, row.lines)]
        same_day = [
            raw for raw in twins if str(raw.get("invoice_date"))[:10] == str(_body(row).get("invoice_date"))[:10]
        ]
        if found is not None:
            sights[row.key] = Found(found)
        elif same_day:
            sights[row.key] = Found(same_day[0], certain=False)
        else:
            sights[row.key] = Absent() if seen.complete else CannotTell(seen.why)
    return sights


def _body(row: RecordedPosting) -> dict[str, object]:
    body = json.loads(row.content, parse_float=Decimal)
    return body[0] if isinstance(body, list) and body and isinstance(body[0], dict) else {}


def _known_invoices(desk: Desk) -> list[tuple[int, int]]:
    """(invoice, client) of invoices that we know to exist: a search that does not find one of them proves nothing."""
    done = [row for row in desk.ledger.postings(period=desk.period) if row.state in ("posted", "adopted")]
    return [(row.invoice_id, row.client_id) for row in reversed(done) if row.invoice_id and row.action == "create"]


def _look_at_target(desk: Desk, row: RecordedPosting) -> Sight:
    assert row.target_invoice_id is not None
    try:
        raw = desk.halo.invoice(row.target_invoice_id, recurring=row.action == "update")
    except UpstreamError as failed:
        return CannotTell(failed.message)
    if raw is None:
        return CannotTell(f"invoice {row.target_invoice_id} is gone from HaloPSA")
    if carries(raw, row.key):
        return Found(raw)
    only_removals = all(line.action == "remove" for line in row.lines)
    if only_removals and compare(raw, row.key, row.lines, row.currency, marked=False):
        return Found(raw)
    return Absent()


def settle(
    desk: Desk,
    row: RecordedPosting,
    raw: Raw,
    *,
    adopted: bool = False,
    only_if_equal: bool = False,
    again: bool = False,
    answer: str | None = None,
) -> RecordedPosting:
    """Compare an invoice with a posting, and record it: done where equal to the cent, else `differs`, an alarm.

    `only_if_equal` leaves anything else as it was; `again` is the reading back of what was recorded as done before.
    """
    only_removals = all(line.action == "remove" for line in row.lines)
    comparison = compare(raw, row.key, row.lines, row.currency, marked=not only_removals)
    if comparison is None:
        if again:
            return _differs(desk, row, raw, ZERO, ZERO, "it was posted, and reading it back finds no trace of it")
        if row.action == "create" and not only_if_equal and twin(raw, row.lines):
            return settle_sight(desk, row, Found(raw, certain=False))
        return row
    if comparison.still_there and not again and not only_if_equal:
        raw = finish_removals(desk, row, raw, comparison.still_there) or raw
        comparison = compare(raw, row.key, row.lines, row.currency, marked=not only_removals) or comparison
    differences = list(comparison.differences)
    if row.before is not None and not again:
        ours = frozenset(line.line_id for line in row.lines if line.line_id is not None)
        differences += foreign_changes(json.loads(row.before, parse_float=Decimal), raw, ours)
    if differences:
        if only_if_equal:
            return row
        return _differs(desk, row, raw, comparison.price, comparison.cost, "; ".join(differences[:8]), comparison)
    if not again:
        receipt = _receipt(row, raw, comparison.price, comparison.cost, comparison, answer)
        try:
            desk.ledger.record_done(desk.fence, row.key, receipt, desk.now(), state="adopted" if adopted else "posted")
        except AlreadyClaimed as twice:
            return _differs(desk, row, raw, comparison.price, comparison.cost, twice.message, comparison)
    return desk.ledger.postings(key=row.key)[0]


def _differs(
    desk: Desk,
    row: RecordedPosting,
    raw: Raw,
    price: Decimal,
    cost: Decimal,
    why: str,
    comparison: Comparison | None = None,
) -> RecordedPosting:
    invoice_id = id_of(raw) or row.invoice_id or row.target_invoice_id or 0
    message = f"HaloPSA invoice {invoice_id} is not what was sent: {why}"
    receipt = _receipt(row, raw, price, cost, comparison, None, invoice_id=invoice_id)
    desk.ledger.record_differs(desk.fence, row.key, receipt, message, desk.now())
    return desk.ledger.postings(key=row.key)[0]


def _receipt(
    row: RecordedPosting,
    raw: Raw,
    price: Decimal,
    cost: Decimal,
    comparison: Comparison | None,
    answer: str | None,
    *,
    invoice_id: int | None = None,
) -> Receipt:
    ids = comparison.line_ids if comparison else {}
    found = invoice_id if invoice_id is not None else id_of(raw)
    assert found is not None
    kept = [line for line in row.lines if line.action != "remove"]
    update = row.action == "update"
    return Receipt(
        invoice_id=found,
        answer=answer if answer is not None else json.dumps(raw, default=str),
        price=price,
        cost=cost,
        lines=tuple(
            ReturnedLine(ordinal=line.ordinal, line_id=ids.get(line.ordinal), amount=line.amount, cost=line.cost)
            for line in kept
            if line.ordinal in ids
        ),
        written=tuple(_written(row, found, line, ids[line.ordinal]) for line in kept if update and line.ordinal in ids),
        gone=tuple((found, line.line_id) for line in row.lines if line.action == "remove" and line.line_id is not None),
    )


def _written(row: RecordedPosting, invoice_id: int, line: PostedLine, line_id: int) -> WrittenLine:
    return WrittenLine(
        invoice_id=invoice_id,
        client_id=row.client_id,
        company_id=line.company_id,
        period=row.period,
        line_id=line_id,
        recurring_key=line.recurring_key,
        title=line.title,
        description=line.description,
        quantity=line.quantity,
        unit_price=line.unit_price,
        unit_cost=line.unit_cost,
        item_id=line.item_id,
    )


def names(rows: Iterable[RecordedPosting]) -> str:
    """Clients in words, for messages."""
    return ", ".join(sorted({row.client_name for row in rows})[:5])
