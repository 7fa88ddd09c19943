"""Taking a snapshot: both sides read whole at one time, and kept in one transaction [SN1]-[SN4]. Only GET is sent."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from billingsync.audit.rules import keep_rules
from billingsync.connect import Connections
from billingsync.core.period import Period
from billingsync.core.progress import Progress, Say, Stage
from billingsync.core.reconcile.snapshot import Snapshot, suspects
from billingsync.core.reconcile.taken import SnapshotState, newest_whole
from billingsync.core.rules import Rulebook
from billingsync.errors import Locked, NotReleased
from billingsync.http import in_parallel
from billingsync.psa.halo import bulk
from billingsync.psa.halo.client import Halo
from billingsync.reconcile.kept import mappings, open_snapshot, rows_by_kind, snapshot_of
from billingsync.rulebook import load_rulebook
from billingsync.run.context import now
from billingsync.run.fetch import keep_sources, newest_released
from billingsync.sources.pax8 import seats
from billingsync.sources.pax8.client import Listed
from billingsync.sources.source import Document
from billingsync.store.snapshots import NewSnapshot, SnapshotEntry

MOST_HISTORIES = 400  # subscriptions whose past is asked for: it explains differences, and each is a call
LONGEST_WAIT = timedelta(minutes=30)  # for a run that holds the lock
LOOK_AGAIN_S = 5.0
_IN_MOTION = ("PendingManual", "PendingAutomated")  # a change under way: what counts is what was active before [LC3]


class Why(StrEnum):
    """What a snapshot was taken for."""

    COMMAND = "command"
    DAILY = "daily"
    INVOICE = "invoice"  # a period's invoice was just read for the first time
    NOW = "now"  # a comparison needed one


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One answer as it came, compressed; `of` is what it hangs on, "" for a list."""

    kind: str
    of: str
    page: int
    packed: bytes
    sha256: str

    @property
    def body(self) -> bytes:
        return zlib.decompress(self.packed)


def take(
    connected: Connections,
    *,
    why: Why,
    say: Say,
    rulebook: Rulebook | None = None,
    patience: timedelta = LONGEST_WAIT,
) -> SnapshotEntry:
    """Reads everything and keeps it, whole or partial.

    Waits while a run holds the lock, as long as `patience`; takes at most half of HaloPSA's budget. Raises Locked where
    a run took too long, UpstreamError where a service cannot be reached; then nothing is kept."""
    _let_run_end(connected, say, patience)
    rulebook = rulebook or load_rulebook(connected.settings.rules_dir, connected.ledger.desk_rules())
    keep_rules(connected.ledger, connected.settings.rules_dir, rulebook.digest, now())
    period, invoice_ids = _newest_invoices(connected, say)
    say(Progress(stage=Stage.READ_SNAPSHOT))
    began = now()
    readers: list[Callable[[], Any]] = [connected.pax8.lists, lambda: _halo_lists(connected)]
    both: list[Any] = in_parallel(lambda read: read(), readers, len(readers))
    ended = now()
    pax8: Mapping[str, Listed] = both[0]
    halo: Mapping[str, bulk.Listed] = both[1]
    whys = [*(one.why for one in pax8.values()), *(one.why for one in halo.values())]
    missing = tuple(why for why in whys if why)
    state = SnapshotState.PARTIAL if missing else SnapshotState.WHOLE
    pages = [*_pax8_pages(pax8), *_halo_pages(halo)]
    last = _last_whole(connected, rulebook)
    if state is SnapshotState.WHOLE:
        since = period.first_day if period is not None else _first_of_month(connected, began)
        pages += [_page(one) for one in _histories(connected, pax8["subscriptions"].rows, last, since, say)]
    found = snapshot_of(
        rows_by_kind(pages) if not missing else {},  # half a list proves nothing: it is kept for the log
        span=(began, ended),
        zone=connected.settings.zone,
        rulebook=rulebook,
        mapped=mappings(connected.ledger),
        head={"state": state, "invoice_ids": invoice_ids, "rules_digest": rulebook.digest, "missing": missing},
    )
    percent = rulebook.base.limits.missing_company_percent_max
    new = _kept(found, ended, why, pages, suspects(found, last, percent) if not missing else frozenset())
    number = connected.ledger.save_snapshot(new, now())
    _forget_old(connected)
    return next(one for one in connected.ledger.snapshots() if one.id == number)


def _first_of_month(connected: Connections, moment: datetime) -> date:
    return Period.of(moment.astimezone(connected.settings.zone).date()).first_day


def _let_run_end(connected: Connections, say: Say, patience: timedelta) -> None:
    """A snapshot taken in the middle of a run would see half of its invoices; and the run needs the calls [SN3]."""
    until = now() + patience
    while connected.ledger.run_is_under_way():
        if now() >= until:
            raise Locked(
                "A run is under way. Take the snapshot when it is done.", next_steps=[["billingsync", "status"]]
            )
        say(Progress(stage=Stage.AWAIT_RUN))
        connected.wait(LOOK_AGAIN_S)


def _newest_invoices(connected: Connections, say: Say) -> tuple[Period | None, tuple[str, ...]]:
    """The Pax8 invoices that this snapshot stands beside: the newest released month's, read whole now where they are
    not kept yet [SN1]. None where nothing is released."""
    try:
        period = newest_released(connected)
    except NotReleased:
        return None, ()
    known = {one.invoice_id: one.charges for one in connected.ledger.source_invoices(period)}
    listed = connected.pax8.taken_invoices(period)
    if not listed or any(known.get(invoice_id) is None for invoice_id in listed):
        say(Progress(stage=Stage.READ_INVOICE, about=str(period)))
        keep_sources(connected, period, connected.pax8.fetch(period))
    return period, tuple(sorted(listed))


def _halo_lists(connected: Connections) -> dict[str, bulk.Listed]:
    half = connected.settings.halo.calls_per_minute // 2
    return bulk.read_lists(Halo(connected.psa.service.within(half)))


def _last_whole(connected: Connections, rulebook: Rulebook) -> Snapshot | None:
    zone = connected.settings.zone
    entries = connected.ledger.snapshots()
    newest = newest_whole(one.taken(zone) for one in entries)
    if newest is None:
        return None
    entry = next(one for one in entries if one.id == newest.id)
    return open_snapshot(connected.ledger, entry, rulebook, zone).snapshot


def _histories(
    connected: Connections, rows: Sequence[Mapping[str, Any]], last: Snapshot | None, since: date, say: Say
) -> list[Document]:
    """The past of those subscriptions whose seats may have changed since that day, or are changing. What is left out,
    as one call each takes its time, is no proof that nothing changed: findings that hang on it say so."""
    before = {one.id: one for one in last.subscriptions} if last else {}
    wanted = []
    for row in rows:
        one = seats.read_subscription(row)
        known = before.get(one.id)
        changed = _changed_since(row, since) if known is None else known.quantity != one.quantity
        if changed or one.status in _IN_MOTION:
            wanted.append((one.status not in _IN_MOTION, one.id))
    chosen = [subscription_id for _, subscription_id in sorted(wanted)[:MOST_HISTORIES]]
    if chosen:
        say(Progress(stage=Stage.READ_HISTORIES, of=len(chosen)))
    return connected.pax8.history(chosen)


def _changed_since(row: Mapping[str, Any], since: date) -> bool:
    day = seats.updated_on(row)
    return day is not None and day >= since


def _kept(found: Snapshot, ended: datetime, why: Why, pages: Sequence[Page], suspect: frozenset[str]) -> NewSnapshot:
    lines = [line for invoice in found.recurring for line in invoice.lines]
    return NewSnapshot(
        as_at=found.as_at,
        ended_at=ended,
        state=found.state,
        why=why.value,
        counts={
            "companies": len(found.companies),
            "subscriptions": len(found.subscriptions),
            "products": len(found.products),
            "clients": len(found.clients),
            "items": len(found.items),
            "recurring_invoices": len(found.recurring),
            "lines": len(lines),
        },
        invoice_ids=found.invoice_ids,
        rules_digest=found.rules_digest,
        missing=found.missing,
        suspect=suspect,
        mapped={
            "companies": {company_id: [match.client_id, match.how] for company_id, match in found.remembered.items()},
            "products": {sku: list(items) for sku, items in found.items_by_sku.items()},
        },
        seats={
            one.id: [None if one.quantity is None else format(one.quantity, "f"), one.status]
            for one in found.subscriptions
        },
        prices={str(line.id): format(line.unit_price, "f") for line in lines if line.unit_price is not None},
        documents=pages,
    )


def _pax8_pages(lists: Mapping[str, Listed]) -> list[Page]:
    return [_page(document) for one in lists.values() for document in one.documents]


def _page(document: Document) -> Page:
    return Page(
        kind=document.kind,
        of=document.invoice_id,
        page=document.page,
        packed=document.packed,
        sha256=document.sha256,
    )


def _halo_pages(lists: Mapping[str, bulk.Listed]) -> list[Page]:
    return [
        Page(
            kind=body.kind,
            of="",
            page=body.page,
            packed=zlib.compress(body.body, level=1),
            sha256=hashlib.sha256(body.body).hexdigest(),
        )
        for one in lists.values()
        for body in one.bodies
    ]


def _forget_old(connected: Connections) -> None:
    """Retention [SN8]."""
    moment = now()
    before = moment - timedelta(days=connected.settings.snapshot.keep_days)
    connected.ledger.forget_snapshots(before, connected.settings.zone, moment)
