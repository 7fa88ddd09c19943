"""What Pax8 said: the raw JSON of every page, unaltered [S3], and what became of each distributor invoice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from sqlalchemy import Connection, delete, select, update

from billingsync.core.period import Period
from billingsync.store.book import Book
from billingsync.store.columns import Zipped, zipped
from billingsync.store.database import insert, read_as
from billingsync.store.schema import source_document, source_invoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One answer as it came. `kind` says of what, e.g. "invoices" or "items"; `invoice_id` is "" and `page` 0 where
    they mean nothing."""

    kind: str
    invoice_id: str
    page: int
    body: bytes
    source: str = "pax8"

    @property
    def packed(self) -> bytes:
        return bytes(zipped((self.body,)).data)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


class Answer(Protocol):
    """What is to be kept: a `Document`, or whatever else has these."""

    @property
    def source(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def invoice_id(self) -> str: ...
    @property
    def page(self) -> int: ...
    @property
    def packed(self) -> bytes: ...  # zlib-compressed, as it is kept
    @property
    def sha256(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenInvoice:
    """A distributor invoice as Pax8 lists it now. `charges` is their count, None where they were not read."""

    invoice_id: str
    status: str
    currency: str
    total: Decimal | None
    charges: int | None
    source: str = "pax8"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInvoice:
    """A distributor invoice as the ledger knows it, with the last change of its status [R2]."""

    invoice_id: str
    period: str
    status: str
    previous_status: str | None
    status_changed_at: datetime | None
    currency: str
    total: Decimal | None
    charges: int | None
    first_seen: datetime
    last_seen: datetime
    source: str = "pax8"


class SourceBook(Book):
    def save_sources(
        self, period: Period, documents: Sequence[Answer], invoices: Sequence[SeenInvoice], now: datetime
    ) -> None:
        """Keeps what was read, all or nothing. The same content is kept once, however often it is read."""
        with self.writing(fresh=True) as connection:
            kept = kept_documents(connection, self.name, period)
            new = {_identity(document): document for document in documents if _identity(document) not in kept}
            for document in new.values():
                add_document(connection, self.name, period, document, now)
            known = {invoice.invoice_id: invoice for invoice in find_invoices(connection, self.name)}
            for invoice in invoices:
                save_invoice(connection, self.name, period, invoice, known.get(invoice.invoice_id), now)
            if new:
                body = {"period": str(period), "sha256": sorted(document.sha256 for document in new.values())}
                self.note(connection, "source", body, now)

    def forget_sources(self, before: Period, now: datetime) -> int:
        """Retention: the raw answers of periods before this one go, their hashes stay in the journal with the fact that
        they were let go. Gives how many. Nothing that decides about money is touched."""
        with self.writing() as connection:
            mine = (source_document.c.partner == self.name, source_document.c.period < str(before))
            rows = connection.execute(select(source_document.c.period, source_document.c.sha256).where(*mine)).all()
            if rows:
                connection.execute(delete(source_document).where(*mine))
                told = {"before": str(before), "sha256": sorted({row.sha256 for row in rows})}
                self.note(connection, "source.forgotten", told, now)
            return len(rows)

    def source_documents(self, period: Period) -> tuple[Document, ...]:
        """Everything kept of a period, oldest first."""
        with self.reading() as connection:
            return find_documents(connection, self.name, period)

    def invoice_documents(self, invoice_id: str) -> tuple[Document, ...]:
        """Everything kept of one distributor invoice, oldest first."""
        with self.reading() as connection:
            return find_documents(connection, self.name, invoice_id=invoice_id)

    def source_invoices(self, period: Period | None = None) -> tuple[SourceInvoice, ...]:
        """The distributor invoices of a period, or all, by period and id."""
        with self.reading() as connection:
            return find_invoices(connection, self.name, period)


def _identity(document: Answer) -> tuple[str, str, int, str]:
    return document.kind, document.invoice_id, document.page, document.sha256


def kept_documents(connection: Connection, name: str, period: Period) -> frozenset[tuple[str, str, int, str]]:
    """What is kept already, by kind, invoice, page and content."""
    table = source_document.c
    rows = connection.execute(
        select(table.kind, table.invoice_id, table.page, table.sha256).where(
            table.partner == name, table.period == str(period)
        )
    )
    return frozenset((row.kind, row.invoice_id, row.page, row.sha256) for row in rows)


def add_document(connection: Connection, name: str, period: Period, document: Answer, now: datetime) -> None:
    """Keeps one answer, compressed."""
    row = insert(connection, source_document).values(
        partner=name,
        source=document.source,
        kind=document.kind,
        invoice_id=document.invoice_id,
        page=document.page,
        sha256=document.sha256,
        period=str(period),
        body=Zipped(document.packed),
        fetched_at=now,
    )
    connection.execute(row.on_conflict_do_nothing())


def find_documents(
    connection: Connection, name: str, period: Period | None = None, *, invoice_id: str | None = None
) -> tuple[Document, ...]:
    """The documents of a period, of an invoice, or all, in the order in which they came."""
    table = source_document.c
    query = select(source_document).where(table.partner == name)
    if period is not None:
        query = query.where(table.period == str(period))
    if invoice_id is not None:
        query = query.where(table.invoice_id == invoice_id)
    rows = connection.execute(query.order_by(table.fetched_at, table.kind, table.invoice_id, table.page, table.sha256))
    return tuple(read_as(Document, row) for row in rows)


def save_invoice(
    connection: Connection,
    name: str,
    period: Period,
    invoice: SeenInvoice,
    known: SourceInvoice | None,
    now: datetime,
) -> None:
    """Adds or brings up to date one distributor invoice; a changed status keeps what it was and when it changed."""
    seen: dict[str, Any] = {
        "source": invoice.source,
        "period": str(period),
        "status": invoice.status,
        "currency": invoice.currency,
        "total": invoice.total,
        "last_seen": now,
    }
    if invoice.charges is not None:
        seen["charges"] = invoice.charges
    if known is None:
        row = insert(connection, source_invoice).values(
            partner=name, invoice_id=invoice.invoice_id, first_seen=now, **seen
        )
        connection.execute(row)
        return
    if known.status != invoice.status:
        seen |= {"previous_status": known.status, "status_changed_at": now}
    table = source_invoice.c
    connection.execute(
        update(source_invoice).where(table.partner == name, table.invoice_id == invoice.invoice_id).values(**seen)
    )


def find_invoices(connection: Connection, name: str, period: Period | None = None) -> tuple[SourceInvoice, ...]:
    """The distributor invoices of a period, or all."""
    table = source_invoice.c
    query = select(source_invoice).where(table.partner == name).order_by(table.period, table.invoice_id)
    if period is not None:
        query = query.where(table.period == str(period))
    return tuple(read_as(SourceInvoice, row) for row in connection.execute(query))
