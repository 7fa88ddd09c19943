"""What the ledger remembers of all periods, as far as one month can touch it: what its invoices said when they were
billed [S9], what else bills the same [S10], and whom its companies were billed to [C1b].

Each question names the month's own charges, invoices or companies, so the answer does not grow with the years."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from itertools import chain

from sqlalchemy import ColumnElement, Connection, delete, exists, func, select

from billingsync.core.period import Period
from billingsync.core.remembered import Billed, LivePosting, Said, Settled, WrittenLine
from billingsync.store.book import Book, Fence
from billingsync.store.columns import AT_ONCE, batches_of
from billingsync.store.database import insert, read_as
from billingsync.store.memory import live_postings, settled_claims
from billingsync.store.postings import BILLED, put_written_lines
from billingsync.store.schema import (
    claim,
    company_billed,
    posting,
    rule_name,
    said_charge,
    source_document,
    source_invoice,
)
from billingsync.store.sources import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidCharge:
    """What one invoice said of one charge, to be remembered. `unit_price` is Pax8's of a full period, else None;
    `name_now` is what the charge is called today, where the ledger calls it as an earlier version did [S5]."""

    charge: str
    invoice_id: str
    dated: date  # the invoice
    period: str
    company_id: str
    type: str
    sold: str
    product: str
    twin: str
    reissue: str
    price: Decimal
    cost: Decimal
    currency: str
    unit_price: Decimal | None
    name_now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a month asks: its charges by id (but for those of which it knows where they are), its invoices, its
    companies, the keys that twins would have, and what it sells in parts of a period."""

    charges: Sequence[str] = ()
    invoices: Sequence[str] = ()
    companies: Sequence[str] = ()
    left: Sequence[str] = ()  # companies without a charge
    twins: Sequence[str] = ()
    reissues: Sequence[str] = ()
    sold: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LookBack:
    """The answer. `settled` has charges of the month that a posting of another period bills."""

    said: tuple[Said, ...] = ()
    twins: tuple[Said, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    settled: Mapping[str, Settled] = field(default_factory=dict)
    billed: Mapping[str, Billed] = field(default_factory=dict)
    left: Mapping[str, Billed] = field(default_factory=dict)
    full_prices: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleName:
    """What a name in the rules meant when it first fitted."""

    target: str
    target_name: str
    at: datetime


class LookBackBook(Book):
    def look_back(self, asked: Question) -> LookBack:
        """What is remembered of what a month asks for, in one consistent view."""
        name = self.name
        with self.reading() as connection:
            rows = list(_said_rows(connection, name, said_charge.c.invoice_id, asked.invoices))
            keys, again = set(asked.twins), set(asked.reissues)
            twins = [each for each in rows if each[0].live and (each[0].twin in keys or each[0].reissue in again)]
            for column, values in ((said_charge.c.twin, asked.twins), (said_charge.c.reissue, asked.reissues)):
                twins += _said_rows(connection, name, column, values, live=True, but=asked.invoices)
            return LookBack(
                said=tuple(each for each, _ in rows),
                twins=tuple({each.charge: each for each, _ in twins}.values()),
                aliases={now: each.charge for each, now in rows if now != each.charge},
                settled=settled_claims(connection, name, asked.charges),
                billed=_billed(connection, name, asked.companies),
                left=_billed(connection, name, asked.left),
                full_prices=_full_prices(connection, name, asked.sold),
            )

    def live_of_invoices(self, gone: Iterable[str]) -> tuple[LivePosting, ...]:
        """The postings of any period that bill a charge of these Pax8 invoices and whose lines still do [R2]."""
        found: list[LivePosting] = []
        with self.reading() as connection:
            for month in sorted(_periods_billing(connection, self.name, sorted(set(gone)))):
                found += live_postings(connection, self.name, month)
        return tuple(found)

    def known_invoices(self) -> dict[str, str]:
        """Every Pax8 invoice that a plan ever read, with its period: a handful a month."""
        table = source_invoice.c
        query = select(table.invoice_id, table.period).where(table.partner == self.name)
        with self.reading() as connection:
            return {row.invoice_id: row.period for row in connection.execute(query)}

    def note_said(self, fence: Fence, charges: Sequence[SaidCharge], billed_to: Mapping[str, Billed]) -> None:
        """Remembers what invoices say and whom companies (by id) are billed to, right before it is done. What a company
        has on a line already stays as it was said then: an approved invoice never changes [S9]."""
        invoices = sorted({one.invoice_id for one in charges})
        with self.fenced(fence) as connection:
            _put_billed(connection, self.name, billed_to)
            rows = [each for each, _ in _said_rows(connection, self.name, said_charge.c.invoice_id, invoices)]
            billed = {(one.invoice_id, one.company_id) for one in rows if one.live}
            stale = [one.charge for one in rows if (one.invoice_id, one.company_id) not in billed]
            kept = {one.charge for one in rows} - set(stale)
            for some in batches_of(stale):
                mine = (said_charge.c.partner == self.name, said_charge.c.charge.in_(some))
                connection.execute(delete(said_charge).where(*mine))
            new = [
                _row(self.name, one)
                for one in charges
                if one.charge not in kept and (one.invoice_id, one.company_id) not in billed
            ]
            if new:
                connection.execute(insert(connection, said_charge).on_conflict_do_nothing(), new)

    def unsaid_periods(self) -> dict[Period, datetime]:
        """Periods of which nothing is remembered although they were billed, by an earlier version; and when that
        began."""
        said = select(said_charge.c.period).where(said_charge.c.partner == self.name).distinct()
        mine = (posting.c.partner == self.name, posting.c.state.in_(BILLED), posting.c.period.not_in(said))
        query = select(posting.c.period, func.min(posting.c.intended_at)).where(*mine).group_by(posting.c.period)
        with self.reading() as connection:
            return {Period.parse(period): began for period, began in connection.execute(query)}

    def rule_names(self, kind: str = "company") -> dict[str, RuleName]:
        """What names of companies, or of products, in the rules are bound to [C4], by the name."""
        query = select(rule_name).where(rule_name.c.partner == self.name, rule_name.c.kind == kind)
        with self.reading() as connection:
            return {
                row.text: RuleName(target=row.target, target_name=row.target_name, at=row.at)
                for row in connection.execute(query)
            }

    def bind_names(self, kind: str, names: Mapping[str, str], now: datetime) -> None:
        """Binds names in the rules to ids of companies or products; what is bound stays so."""
        rows = [
            {
                "partner": self.name,
                "kind": kind,
                "text": text,
                "target": id_,
                "target_name": text,
                "who": "",
            }
            for text, id_ in sorted(names.items())
        ]
        with self.writing() as connection:
            put = insert(connection, rule_name).on_conflict_do_nothing()
            connection.execute(put, [row | {"at": now} for row in rows])

    def documents_before(self, period: Period, moment: datetime) -> tuple[Document, ...]:
        """What was read of a period's invoices until then, oldest first."""
        table = source_document.c
        mine = (table.partner == self.name, table.period == str(period), table.fetched_at <= moment)
        query = select(source_document).where(*mine).order_by(table.fetched_at, table.kind, table.page)
        with self.reading() as connection:
            return tuple(read_as(Document, row) for row in connection.execute(query))

    def note_older(self, charges: Sequence[SaidCharge]) -> None:
        """Remembers what invoices said that an earlier version billed, read again from what is kept of them [S3]."""
        with self.writing() as connection:
            rows = [_row(self.name, one) for one in charges]
            connection.execute(insert(connection, said_charge).on_conflict_do_nothing(), rows)

    def note_older_lines(self, lines: Sequence[WrittenLine]) -> None:
        """Lines on recurring invoices that an earlier version wrote, with what is known of them by now."""
        with self.writing() as connection:
            put_written_lines(connection, self.name, "", lines)


def _put_billed(connection: Connection, name: str, billed: Mapping[str, Billed]) -> None:
    """Whom companies were billed to; the newest period counts."""
    before = _billed(connection, name, list(billed))
    rows = [
        {
            "partner": name,
            "company_id": company,
            "client_id": one.client_id,
            "client_name": one.client_name,
            "period": one.period,
            "partner_names": list(one.partner_names) or None,
        }
        for company, one in sorted(billed.items())
        if company not in before or before[company].period <= one.period
    ]
    if rows:
        added = insert(connection, company_billed)
        replaced = {
            column: added.excluded[column] for column in ("client_id", "client_name", "period", "partner_names")
        }
        put = added.on_conflict_do_update(index_elements=["partner", "company_id"], set_=replaced)
        connection.execute(put, rows)


def _row(name: str, one: SaidCharge) -> dict[str, object]:
    row: dict[str, object] = {column: getattr(one, column) for column in SaidCharge.__slots__}
    row["dated"] = one.dated.isoformat()
    return row | {"partner": name}


def _said_rows(
    connection: Connection,
    name: str,
    column: ColumnElement[str],
    values: Sequence[str],
    *,
    live: bool = False,
    but: Sequence[str] = (),
) -> Iterator[tuple[Said, str]]:
    """What was said where a column has one of these values, and what the charge is called today; with `live` only
    what is on a line. What the invoices `but` say is left out."""
    on_a_line = (
        exists()
        .where(claim.c.partner == said_charge.c.partner, claim.c.charge == said_charge.c.charge, claim.c.live)
        .label("live")
    )
    known: dict[str, str] = {}

    def once(text: str) -> str:
        """A month names few invoices, companies and products, and each many times: together they take much room."""
        return known.setdefault(text, text)

    for some in batches_of(values):
        query = select(said_charge, on_a_line).where(said_charge.c.partner == name, column.in_(some))
        query = query.where(said_charge.c.invoice_id.not_in(but)) if but else query
        found = connection.execute(query.where(on_a_line) if live else query)
        for row in chain.from_iterable(found.partitions(AT_ONCE)):  # an invoice has very many
            yield (
                Said(
                    charge=row.charge,
                    invoice_id=once(row.invoice_id),
                    invoice_date=date.fromisoformat(row.dated),
                    period=once(row.period),
                    company_id=once(row.company_id),
                    type=once(row.type),
                    sold=row.sold,
                    product=once(row.product),
                    twin=row.twin,
                    reissue=row.reissue,
                    price=row.price,
                    cost=row.cost,
                    currency=once(row.currency),
                    live=bool(row.live),
                ),
                row.name_now,
            )


def _billed(connection: Connection, name: str, companies: Sequence[str]) -> dict[str, Billed]:
    found = {}
    for some in batches_of(companies):
        mine = (company_billed.c.partner == name, company_billed.c.company_id.in_(some))
        for row in connection.execute(select(company_billed).where(*mine)):
            found[row.company_id] = Billed(
                client_id=row.client_id,
                client_name=row.client_name,
                period=row.period,
                partner_names=tuple(row.partner_names or ()),
            )
    return found


def _full_prices(connection: Connection, name: str, sold: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Decimal]:
    """The newest unit price of a full period of each."""
    newest: dict[tuple[str, str], tuple[str, Decimal]] = {}
    wanted = set(sold)
    table = said_charge.c
    for some in batches_of([what for _, what in sold]):
        columns = (table.company_id, table.sold, table.period, table.unit_price)
        query = select(*columns).where(table.partner == name, table.sold.in_(some), table.unit_price.is_not(None))
        for row in connection.execute(query):
            key = (row.company_id, row.sold)
            if key in wanted and row.period >= newest.get(key, ("",))[0]:
                newest[key] = (row.period, row.unit_price)
    return {key: price for key, (_, price) in newest.items()}


def _periods_billing(connection: Connection, name: str, invoices: Sequence[str]) -> set[str]:
    """The periods of live postings that bill a charge of these invoices; a charge's id begins with its invoice's."""
    found: set[str] = set()
    for invoice in invoices:
        query = (
            select(posting.c.period)
            .join(claim, (claim.c.partner == posting.c.partner) & (claim.c.key == posting.c.key))
            .where(posting.c.partner == name, claim.c.live)
            .where(claim.c.charge.startswith(f"{invoice}:", autoescape=True))
            .distinct()
        )
        found |= set(connection.execute(query).scalars())
    return found
