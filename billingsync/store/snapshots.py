"""Snapshots: what both sides said at one time, in raw JSON with its hash [SN1], whole or not at all.

A snapshot is one transaction, made when everything was read: a process that is killed half-way leaves none.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, Protocol

from sqlalchemy import Connection, delete, func, select, update

from billingsync.core.period import Period
from billingsync.core.reconcile.taken import SnapshotState, Taken, snapshot_for_period
from billingsync.store.book import Book
from billingsync.store.columns import Zipped
from billingsync.store.database import insert
from billingsync.store.schema import journal, snapshot, snapshot_document, source_invoice


class Page(Protocol):
    """One answer exactly as it came, compressed; `of` is the id of what it hangs on, "" for a list."""

    @property
    def kind(self) -> str: ...
    @property
    def of(self) -> str: ...
    @property
    def page(self) -> int: ...
    @property
    def packed(self) -> bytes: ...
    @property
    def sha256(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDocument:
    kind: str
    of: str
    page: int
    sha256: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotEntry:
    """A snapshot as a list shows it. `counts`: rows by list; `suspect`, `missing` as in `core.reconcile.snapshot`;
    `period`: the one that it counts for, for ever [SN5], or ""."""

    id: int
    as_at: datetime
    ended_at: datetime
    state: SnapshotState
    why: str  # command | daily | invoice | now: what it was taken for
    counts: Mapping[str, int]
    invoice_ids: tuple[str, ...]
    rules_digest: str
    missing: tuple[str, ...] = ()
    suspect: tuple[str, ...] = ()
    period: str = ""
    confirmed_by: str = ""

    def taken(self, zone: tzinfo) -> Taken:
        return Taken(id=self.id, as_at=self.as_at.astimezone(zone), state=self.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSnapshot:
    """What is to be kept of a snapshot. `mapped`: the mappings of that time; `seats`: by subscription id its quantity
    and status, and `prices`: by line id its unit price, as texts, to tell later what changed."""

    as_at: datetime
    ended_at: datetime
    state: SnapshotState
    why: str
    counts: Mapping[str, int]
    invoice_ids: Sequence[str]
    rules_digest: str
    missing: Sequence[str]
    suspect: Collection[str]
    mapped: Mapping[str, Any]
    seats: Mapping[str, Any]
    prices: Mapping[str, str]
    documents: Sequence[Page] = field(repr=False)


class SnapshotBook(Book):
    def save_snapshot(self, new: NewSnapshot, now: datetime) -> int:
        """Keeps a snapshot, all or nothing, and gives its number."""
        with self.writing(fresh=True) as connection:
            newest = select(func.max(snapshot.c.id)).where(snapshot.c.partner == self.name)
            number = int(connection.scalar(newest) or 0) + 1
            row = {
                "id": number, "as_at": new.as_at, "ended_at": new.ended_at, "state": new.state.value, "why": new.why,
                "counts": dict(new.counts), "invoice_ids": list(new.invoice_ids), "rules_digest": new.rules_digest,
                "missing": list(new.missing), "suspect": sorted(new.suspect), "mapped": dict(new.mapped),
                "seats": dict(new.seats), "prices": dict(new.prices), "period": "", "confirmed_by": "",
            }  # fmt: skip
            connection.execute(snapshot.insert().values(partner=self.name, **row))
            for document in new.documents:
                added = insert(connection, snapshot_document).values(
                    partner=self.name, snapshot=number, kind=document.kind, of=document.of, page=document.page,
                    sha256=document.sha256, body=Zipped(document.packed),
                )  # fmt: skip
                connection.execute(added)
            said = {name: row[name] for name in ("id", "state", "why", "counts", "invoice_ids", "missing", "suspect")}
            hashes = sorted(document.sha256 for document in new.documents)
            self.note(connection, "snapshot", said | {"sha256": hashes, "rules_digest": new.rules_digest}, now)
            return number

    def snapshots(self) -> tuple[SnapshotEntry, ...]:
        """All of them, oldest first, without what they hold."""
        with self.reading() as connection:
            return find_snapshots(connection, self.name)

    def snapshot_documents(self, number: int, kind: str = "") -> tuple[SnapshotDocument, ...]:
        """What a snapshot holds, or (`kind`) only one kind of it, in the order in which it was read."""
        table = snapshot_document.c
        query = select(snapshot_document).where(table.partner == self.name, table.snapshot == number)
        query = query.where(table.kind == kind) if kind else query
        with self.reading(fresh=True) as connection:
            return tuple(
                SnapshotDocument(kind=row.kind, of=row.of, page=row.page, sha256=row.sha256, body=row.body)
                for row in connection.execute(query.order_by(table.kind, table.of, table.page))
            )

    def snapshot_seats(self, numbers: Collection[int]) -> dict[int, dict[str, tuple[str | None, str]]]:
        """By snapshot and subscription: its quantity as text, and its status."""
        table = snapshot.c
        query = select(table.id, table.seats).where(table.partner == self.name, table.id.in_(numbers))
        with self.reading() as connection:
            return {
                row.id: {name: (quantity, status) for name, (quantity, status) in row.seats.items()}
                for row in connection.execute(query)
            }

    def snapshot_prices(self, number: int) -> dict[int, str]:
        """By line id its unit price in that snapshot."""
        table = snapshot.c
        query = select(table.prices).where(table.partner == self.name, table.id == number)
        with self.reading() as connection:
            return {int(line): price for line, price in (connection.scalar(query) or {}).items()}

    def first_read(self, period: Period) -> datetime | None:
        """When one of the period's Pax8 invoices was first read whole."""
        with self.reading() as connection:
            return first_read(connection, self.name, period)

    def snapshot_for(self, period: Period, zone: tzinfo, now: datetime) -> SnapshotEntry | None:
        """The one that counts for a period, or None [SN5]. Once nothing can change the choice it is written down, and
        holds for ever."""
        with self.writing() as connection:
            chosen, read = chosen_snapshot(connection, self.name, period, zone)
            over = Period.of(now.astimezone(zone).date()) > period
            if chosen and not chosen.period and (over or (read is not None and chosen.as_at >= read)):
                where = (snapshot.c.partner == self.name, snapshot.c.id == chosen.id)
                connection.execute(update(snapshot).where(*where).values(period=str(period)))
                self.note(connection, "snapshot.chosen", {"id": chosen.id, "period": str(period)}, now)
            return chosen

    def snapshot_shown_for(self, period: Period, zone: tzinfo) -> SnapshotEntry | None:
        """The same for somebody who only looks: nothing is written down."""
        with self.reading() as connection:
            return chosen_snapshot(connection, self.name, period, zone)[0]

    def note_reconciled(self, body: Mapping[str, Any], told: Collection[tuple[str, int]], now: datetime) -> None:
        """What the daily comparison came to, and of which subscriptions and thresholds people were told [EX6]."""
        with self.writing() as connection:
            pairs = [list(pair) for pair in sorted(told)]
            self.note(connection, "reconciled", {**body, "expiring_told": pairs}, now)

    def reconciled(self) -> tuple[dict[str, Any], ...]:
        """What the daily comparisons came to, oldest first."""
        query = select(journal.c.body).where(journal.c.partner == self.name, journal.c.kind == "reconciled")
        with self.reading() as connection:
            return tuple(json.loads(body) for body in connection.execute(query.order_by(journal.c.seq)).scalars())

    def newest_change(self) -> int:
        """The number of the newest entry of the journal but those of the desk itself, such as who looked at what, and
        of what is decided about cards: as long as it stays, whatever is compared stays as it was."""
        others = (~journal.c.kind.like("desk.%"), ~journal.c.kind.like("card%"))
        mine = (journal.c.partner == self.name, *others)
        with self.reading() as connection:
            return int(connection.scalar(select(func.max(journal.c.seq)).where(*mine)) or 0)

    def confirm_snapshot(self, number: int, who: str, now: datetime) -> None:
        """A person says that what is suspect about it is right [SN4]."""
        with self.writing() as connection:
            where = (snapshot.c.partner == self.name, snapshot.c.id == number)
            connection.execute(update(snapshot).where(*where).values(confirmed_by=who))
            self.note(connection, "snapshot.confirmed", {"id": number, "who": who}, now)

    def forget_snapshots(self, before: datetime, zone: tzinfo, now: datetime) -> int:
        """Retention [SN8]: older ones go, but those that a period rests on, or may come to, stay for ever; their
        hashes stay in the journal. Gives how many went."""
        with self.writing() as connection:
            entries = find_snapshots(connection, self.name)
            months = {Period.of(one.as_at.astimezone(zone).date()) for one in entries}
            taken = [one.taken(zone) for one in entries]
            chosen = (snapshot_for_period(taken, one, first_read(connection, self.name, one)) for one in months)
            kept = {one.id for one in entries if one.period} | {one.id for one in chosen if one is not None}
            gone = [one.id for one in entries if one.as_at < before and one.id not in kept]
            if gone:
                held, table = snapshot_document.c, snapshot.c
                connection.execute(delete(snapshot_document).where(held.partner == self.name, held.snapshot.in_(gone)))
                connection.execute(delete(snapshot).where(table.partner == self.name, table.id.in_(gone)))
                self.note(connection, "snapshot.forgotten", {"ids": gone}, now)
            return len(gone)


def find_snapshots(connection: Connection, name: str) -> tuple[SnapshotEntry, ...]:
    """A partner's snapshots, oldest first."""
    large = ("partner", "mapped", "seats", "prices")
    columns = [column for column in snapshot.c if column.name not in large]
    query = select(*columns).where(snapshot.c.partner == name).order_by(snapshot.c.id)
    return tuple(_entry(row._mapping) for row in connection.execute(query))


def _entry(row: Mapping[Any, Any]) -> SnapshotEntry:
    return SnapshotEntry(
        id=row["id"],
        as_at=row["as_at"],
        ended_at=row["ended_at"],
        state=SnapshotState(row["state"]),
        why=row["why"],
        counts=row["counts"],
        invoice_ids=tuple(row["invoice_ids"]),
        rules_digest=row["rules_digest"],
        missing=tuple(row["missing"]),
        suspect=tuple(row["suspect"]),
        period=row["period"],
        confirmed_by=row["confirmed_by"],
    )


def first_read(connection: Connection, name: str, period: Period) -> datetime | None:
    """When one of the period's Pax8 invoices was first read whole."""
    table = source_invoice.c
    seen = (table.partner == name, table.period == str(period), table.charges.is_not(None))
    found = connection.execute(select(table.first_seen).where(*seen)).scalars().all()
    return min(found, default=None)


def chosen_snapshot(
    connection: Connection, name: str, period: Period, zone: tzinfo
) -> tuple[SnapshotEntry | None, datetime | None]:
    """The snapshot that was written down for a period, else the one that counts as of now; and when the period's first
    invoice was read."""
    entries, read = find_snapshots(connection, name), first_read(connection, name, period)
    if fixed := next((one for one in entries if one.period == str(period)), None):
        return fixed, read
    chosen = snapshot_for_period([one.taken(zone) for one in entries], period, read)
    return next((one for one in entries if chosen is not None and one.id == chosen.id), None), read
