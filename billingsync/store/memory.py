"""What planning may know of the past: `core.inputs.Memory`, read in one consistent view."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Row, case, func, select

from billingsync.core.money import ZERO
from billingsync.core.period import Period
from billingsync.core.remembered import LivePosting, RememberedMatch, Settled, WrittenLine
from billingsync.core.states import ChargeState, PostingState
from billingsync.store.book import Book
from billingsync.store.columns import batches_of
from billingsync.store.decisions import find_decisions
from billingsync.store.mappings import find_company_matches, find_item_matches
from billingsync.store.postings import BILLED, find_postings
from billingsync.store.schema import claim, company_billed, company_seen, posting, product_seen, settled, written_line

if TYPE_CHECKING:
    from billingsync.core.inputs import Memory


class MemoryBook(Book):
    def memory(self, period: Period) -> Memory:
        """Everything planning a period may know."""
        from billingsync.core.inputs import Memory

        name, month = self.name, str(period)
        with self.reading() as connection:
            return Memory(
                matches={
                    id: RememberedMatch(
                        client_id=match.client_id,
                        how=match.how,
                        company_name=match.company_name,
                        confirmed=match.confirmed,
                    )
                    for id, match in find_company_matches(connection, name).items()
                },
                items_by_sku={sku: match.item_id for sku, match in find_item_matches(connection, name).items()},
                settled=decided_charges(connection, name, month) | claimed_charges(connection, name, month),
                generations=generations(connection, name, month),
                known_clients=known_clients(connection, name),
                known_products=known_products(connection, name),
                last_amounts=last_amounts(connection, name, month),
                last_companies=last_companies(connection, name, month),
                approvals=find_decisions(connection, name, month),
                written_lines=written_lines(connection, name),
            )

    def memory_of_charge(self, period: Period, charge: str) -> Memory:
        """As `memory`, of one charge alone: what was decided about it, and what people approved in its period."""
        from billingsync.core.inputs import Memory

        name, month = self.name, str(period)
        with self.reading() as connection:
            return Memory(
                settled=decided_charges(connection, name, month, charge) | settled_claims(connection, name, [charge]),
                approvals=find_decisions(connection, name, month),
            )

    def live_postings(self, period: Period) -> tuple[LivePosting, ...]:
        """A period's postings as far as charges are still on their lines: what a true-up may take back [R2]."""
        with self.reading() as connection:
            return live_postings(connection, self.name, str(period))

    def looks_after(self, period: Period) -> bool:
        """Whether a plan of this period has something to look after even where Pax8 has no invoice of it that counts:
        what is billed [R2], or lines on recurring invoices of companies that it billed last and whose bill was taken
        back, which have to come off [B8]."""
        with self.reading() as connection:
            if live_postings(connection, self.name, str(period)):
                return True
            query = (
                select(written_line.c.line_id)
                .join(
                    company_billed,
                    (company_billed.c.partner == written_line.c.partner)
                    & (company_billed.c.company_id == written_line.c.company_id),
                )
                .where(written_line.c.partner == self.name, company_billed.c.period == str(period))
                .where(written_line.c.period <= str(period))
                .limit(1)
            )
            return connection.execute(query).first() is not None

    def written_lines(self) -> tuple[WrittenLine, ...]:
        """Our lines on recurring invoices, by invoice and line [B3]."""
        with self.reading() as connection:
            return written_lines(connection, self.name)

    def keys_on(self, invoice_id: int) -> dict[int, tuple[str, str]]:
        """Our lines on one recurring invoice, as far as is remembered: line id -> Pax8 company and recurring key."""
        where = (written_line.c.partner == self.name, written_line.c.invoice_id == invoice_id)
        columns = written_line.c.line_id, written_line.c.company_id, written_line.c.recurring_key
        with self.reading() as connection:
            rows = connection.execute(select(*columns).where(*where)).all()
        return {row.line_id: (row.company_id, row.recurring_key) for row in rows}


def decided_charges(connection: Connection, name: str, month: str, charge: str = "") -> dict[str, Settled]:
    """What runs dropped or excluded of a period's charges, or of this one."""
    query = select(settled).where(settled.c.partner == name, settled.c.period == month)
    rows = connection.execute(query.where(settled.c.charge == charge) if charge else query)
    return {
        row.charge: Settled(state=row.state, by=row.by, price=row.price, cost=row.cost, currency=row.currency)
        for row in rows
    }


def claimed_charges(connection: Connection, name: str, month: str) -> dict[str, Settled]:
    """What is on a live line of a period's charges, or may be; the parts of a split charge added up again."""
    # The keys first: asked for both at once, the database walks through the claims of all periods.
    keys = select(posting.c.key).where(posting.c.partner == name, posting.c.period == month)
    return _claims(connection, name, claim.c.key, list(connection.execute(keys).scalars()))


def settled_claims(connection: Connection, name: str, charges: Sequence[str]) -> dict[str, Settled]:
    """The same of these charges, whatever period's posting bills them."""
    return _claims(connection, name, claim.c.charge, charges)


def _claims(connection: Connection, name: str, column: ColumnElement[str], values: Sequence[str]) -> dict[str, Settled]:
    """The live claims whose column has one of these values."""
    rows: list[Row[Any]] = []
    for some in batches_of(values):
        query = (
            select(claim, posting.c.state, posting.c.message, posting.c.run)
            .join(posting, (posting.c.partner == claim.c.partner) & (posting.c.key == claim.c.key))
            .where(claim.c.partner == name, claim.c.live, column.in_(some))
        )
        rows += connection.execute(query).all()
    found: dict[str, Settled] = {}
    for row in sorted(rows, key=lambda row: (row.key, row.line, row.part)):
        other = found.get(row.charge)
        found[row.charge] = Settled(
            state=_state(row.state),
            by=row.key,
            price=row.price + other.price if other else row.price,
            cost=row.cost + other.cost if other else row.cost,
            currency=row.currency,
            detail=row.message if row.state not in BILLED or row.state == PostingState.DIFFERS else "",
            run=row.run,
        )
    return found


def live_postings(connection: Connection, name: str, month: str) -> tuple[LivePosting, ...]:
    """A period's postings as far as charges are still on their lines [R2]."""
    query = (
        select(claim.c.charge, claim.c.price, claim.c.cost, posting.c.key)
        .join(posting, (posting.c.partner == claim.c.partner) & (posting.c.key == claim.c.key))
        .where(claim.c.partner == name, claim.c.live, posting.c.period == month)
    )
    claims: dict[str, list[tuple[str, Decimal, Decimal]]] = defaultdict(list)
    for row in connection.execute(query):
        claims[row.key].append((row.charge, row.price, row.cost))
    found = []
    for one in find_postings(connection, name, period=month, texts=False):
        if mine := claims.get(one.key):
            charges = frozenset(charge for charge, _, _ in mine)
            lines = [line for line in one.lines if not charges.isdisjoint(share.charge for share in line.shares)]
            found.append(
                LivePosting(
                    key=one.key,
                    period=month,
                    client_id=one.client_id,
                    client_name=one.client_name,
                    invoice_id=one.invoice_id,
                    action=one.action,
                    currency=one.currency,
                    state=_state(one.state),
                    price=sum((price for _, price, _ in mine), ZERO),
                    cost=sum((cost for _, _, cost in mine), ZERO),
                    charges=charges,
                    companies=frozenset(line.company_id for line in lines if line.company_id),
                )
            )
    return tuple(found)


def _state(state: PostingState) -> ChargeState:
    if state == PostingState.DIFFERS:
        return ChargeState.DIFFERS
    return ChargeState.POSTED if state in BILLED else ChargeState.UNRESOLVED


def generations(connection: Connection, name: str, month: str) -> dict[str, int]:
    """For each base key that was undone, the generation that comes next [R5]."""
    query = (
        select(posting.c.base_key, func.max(posting.c.generation))
        .where(posting.c.partner == name, posting.c.period == month, posting.c.state == PostingState.UNDONE)
        .group_by(posting.c.base_key)
    )
    return {base_key: newest + 1 for base_key, newest in connection.execute(query)}


def known_clients(connection: Connection, name: str) -> frozenset[int]:
    """Clients that have been billed before."""
    query = select(posting.c.client_id).where(posting.c.partner == name, posting.c.state.in_(BILLED)).distinct()
    return frozenset(connection.execute(query).scalars())


def known_products(connection: Connection, name: str) -> frozenset[str]:
    """Products that have been posted before."""
    query = select(product_seen.c.product).where(product_seen.c.partner == name)
    return frozenset(connection.execute(query).scalars())


def last_amounts(connection: Connection, name: str, month: str) -> dict[tuple[int, str], tuple[str, Decimal]]:
    """For each client and currency: the newest billed period before `month`, and what its live lines come to."""
    billed = (posting.c.partner == name, posting.c.state.in_(BILLED))
    latest = (
        select(posting.c.client_id, posting.c.currency, func.max(posting.c.period).label("period"))
        .where(*billed, posting.c.period < month)
        .group_by(posting.c.client_id, posting.c.currency)
    )
    newest = {(row.client_id, row.currency): row.period for row in connection.execute(latest)}
    postings = select(posting.c.key, posting.c.client_id, posting.c.currency, posting.c.period, posting.c.amount).where(
        *billed, posting.c.period.in_(sorted(set(newest.values())))
    )
    rows = {row.key: row for row in connection.execute(postings)}
    rows = {key: row for key, row in rows.items() if newest.get((row.client_id, row.currency)) == row.period}
    found: dict[tuple[int, str], tuple[str, Decimal]] = {}
    for key, price in _live_prices(connection, name, {key: row.amount for key, row in rows.items()}).items():
        row = rows[key]
        _, so_far = found.get((row.client_id, row.currency), (row.period, ZERO))
        found[row.client_id, row.currency] = (row.period, so_far + price)
    return found


def _live_prices(connection: Connection, name: str, amounts: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """What the live lines of these postings come to, by key; none of a posting without charges. `amounts` are what all
    their lines come to: only where some were undone are prices added up."""
    found: dict[str, Decimal] = {}
    part: list[str] = []
    for some in batches_of(list(amounts)):
        mine = (claim.c.partner == name, claim.c.key.in_(some))
        live = func.sum(case((claim.c.live, 1), else_=0))
        for row in connection.execute(
            select(claim.c.key, func.count().label("all"), live.label("live")).where(*mine).group_by(claim.c.key)
        ):
            if row.live == row.all:
                found[row.key] = amounts[row.key]
            elif row.live:
                part.append(row.key)
    for some in batches_of(part):  # added here: SQL would add as floats
        query = select(claim.c.key, claim.c.price).where(claim.c.partner == name, claim.c.live, claim.c.key.in_(some))
        for row in connection.execute(query):
            found[row.key] = found.get(row.key, ZERO) + row.price
    return found


def last_companies(connection: Connection, name: str, month: str) -> frozenset[str]:
    """The companies charged in the newest period before `month`."""
    earlier = (company_seen.c.partner == name, company_seen.c.period < month)
    newest = select(func.max(company_seen.c.period)).where(*earlier).scalar_subquery()
    query = select(company_seen.c.company_id).where(company_seen.c.partner == name, company_seen.c.period == newest)
    return frozenset(connection.execute(query).scalars())


def written_lines(connection: Connection, name: str) -> tuple[WrittenLine, ...]:
    """Our lines on recurring invoices, by invoice and line."""
    query = select(written_line).where(written_line.c.partner == name)
    rows = connection.execute(query.order_by(written_line.c.invoice_id, written_line.c.line_id)).all()
    live = _live_lines(connection, name, {row.key for row in rows})
    return tuple(_written_line(row, live) for row in rows)


def _live_lines(connection: Connection, name: str, keys: Collection[str]) -> dict[str, set[int]]:
    """The ordinals of the lines of these postings that are a source of charges still."""
    live: dict[str, set[int]] = {key: set() for key in keys}
    query = (
        select(claim.c.key, claim.c.line)
        .where(claim.c.partner == name, claim.c.live)
        .where(claim.c.key.in_(select(written_line.c.key).where(written_line.c.partner == name)))
        .distinct()
    )
    for row in connection.execute(query):
        live[row.key].add(row.line)
    return live


def _written_line(row: Row[Any], live: Mapping[str, set[int]]) -> WrittenLine:
    """One line; an older version did not keep which of its posting's lines it is, and counts as live."""
    told = {name: value for name, value in row._mapping.items() if name != "partner"}
    ordinal = -1 if row.ordinal is None else row.ordinal
    told |= {
        "ordinal": ordinal,
        "written_at": row.written_at or "",
        "invoiced": tuple(row.invoiced or ()),
        "once": bool(row.once),
        "live": ordinal < 0 or ordinal in live[row.key],
    }
    return WrittenLine(**told)
