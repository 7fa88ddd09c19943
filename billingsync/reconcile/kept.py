"""What the ledger keeps, as the values that are compared: snapshots and months, read again without a call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from billingsync.core.period import Period
from billingsync.core.reconcile.snapshot import Month, SeatChange, Snapshot
from billingsync.core.reconcile.taken import SnapshotState
from billingsync.core.remembered import RememberedMatch
from billingsync.core.rules import Rulebook
from billingsync.psa.halo import bulk, templates
from billingsync.run.plan import similar
from billingsync.sources.pax8 import seats
from billingsync.sources.pax8.kept import sources_of
from billingsync.sources.pax8.wire import NOT_TAKEN, read_company
from billingsync.store.ledger import Ledger
from billingsync.store.snapshots import SnapshotEntry

Rows = dict[str, list[Mapping[str, Any]]]
PAX8 = ("companies", "subscriptions", "products", "history")  # kinds of documents; all others are HaloPSA's


class Document(Protocol):
    """One answer as it was kept. `of`: what it hangs on, such as a subscription's id, "" for a list."""

    @property
    def kind(self) -> str: ...
    @property
    def of(self) -> str: ...
    @property
    def body(self) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A kept snapshot, and what the history that it read says about seats: changes, and the last active quantity."""

    snapshot: Snapshot
    changes: tuple[SeatChange, ...]
    last_active: Mapping[str, Decimal]
    histories: frozenset[str]  # subscriptions whose history was read


def open_snapshot(ledger: Ledger, entry: SnapshotEntry, rulebook: Rulebook, zone: ZoneInfo) -> Opened:
    """A snapshot with today's mappings: what a person says about who is who holds for every time."""
    documents = ledger.snapshot_documents(entry.id)
    rows = rows_by_kind(documents)
    snapshot = snapshot_of(
        rows,
        span=(entry.as_at, entry.ended_at),
        zone=zone,
        rulebook=rulebook,
        mapped=mappings(ledger),
        head={
            "id": entry.id,
            "state": entry.state,
            "invoice_ids": entry.invoice_ids,
            "rules_digest": entry.rules_digest,
            "suspect": frozenset(entry.suspect),
            "confirmed": bool(entry.confirmed_by),
            "missing": entry.missing,
        },
    )
    changes, last_active = read_histories(documents)
    histories = frozenset(document.of for document in documents if document.kind == "history")
    return Opened(snapshot=snapshot, changes=changes, last_active=last_active, histories=histories)


def rows_by_kind(documents: Iterable[Document]) -> Rows:
    """The rows of all lists; single objects take the place of their row in a list."""
    rows: Rows = defaultdict(list)
    for document in documents:
        if document.kind == "history":
            continue
        if document.kind in PAX8:
            rows[document.kind] += seats.rows_of(document.body)
            continue
        list_name, _, one = document.kind.partition("/")
        found = bulk.rows_of(document.kind, document.body)
        if one:
            ids = {row.get("id") for row in found}
            rows[list_name] = [row for row in rows[list_name] if row.get("id") not in ids]
        rows[list_name] += found
    return rows


def read_histories(documents: Iterable[Document]) -> tuple[tuple[SeatChange, ...], dict[str, Decimal]]:
    """What the kept histories say."""
    changes: list[SeatChange] = []
    last_active: dict[str, Decimal] = {}
    for document in documents:
        if document.kind == "history":
            found, active = seats.read_history(seats.rows_of(document.body))
            changes += found
            if active is not None:
                last_active[document.of] = active
    return tuple(changes), last_active


def mappings(ledger: Ledger) -> dict[str, Any]:
    """What people and matching said about companies and products by now."""
    return {
        "remembered": {
            company_id: RememberedMatch(
                client_id=match.client_id,
                how=match.how,
                company_name=match.company_name,
                confirmed=match.confirmed,
            )
            for company_id, match in ledger.company_matches().items()
        },
        "items_by_sku": {sku: match.item_ids for sku, match in ledger.item_matches().items()},
        "pairings": ledger.pairings(),
    }


def snapshot_of(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    span: tuple[datetime, datetime],
    zone: ZoneInfo,
    rulebook: Rulebook,
    mapped: Mapping[str, Any],
    head: Mapping[str, Any],
) -> Snapshot:
    """The rows of both sides as one value. `span`: when they were read; `head`: the snapshot's own facts."""
    moving = seats.Span(began=span[0], ended=span[1])
    companies = tuple(one for row in rows.get("companies", ()) if (one := read_company(row)) is not None)
    clients = templates.read_clients(rows.get("clients", ()), rows.get("currencies", ()))
    items, terms = templates.read_items(rows.get("items", ()), rows.get("suppliers", ()))
    recurring = (templates.read_recurring(row, (*span, zone)) for row in rows.get("recurring", ()))
    facts: dict[str, Any] = {"id": 0, "state": SnapshotState.WHOLE, **head}
    return Snapshot(
        as_at=span[0].astimezone(zone),
        companies=companies,
        subscriptions=tuple(seats.read_subscription(row, moving) for row in rows.get("subscriptions", ())),
        products=tuple(sold for row in rows.get("products", ()) if (sold := seats.read_product(row)) is not None),
        clients=clients,
        items=items,
        item_terms=terms,
        recurring=tuple(one for one in recurring if one is not None),
        billed_by_pax8=frozenset(str(row.get("id")) for row in rows.get("companies", ()) if seats.bills_itself(row)),
        similar=similar(companies, clients, rulebook),
        **mapped,
        **facts,
    )


def open_month(ledger: Ledger, period: Period) -> Month:
    """A period's charges as the ledger kept them; not released where it knows no invoice that counts."""
    invoices = ledger.source_invoices(period)
    counted = {one.invoice_id for one in invoices if one.status.lower() not in NOT_TAKEN and one.charges is not None}
    sources = sources_of(ledger.source_documents(period), counted) if counted else ()
    charges = tuple(charge for source in sources for charge in source.charges)
    return Month(period=period, charges=charges, released=bool(sources))
