"""Postings as the ledger keeps them: the intent before a write, and what became of it after [N1] [N2].

A posting's state: `sending` (its intent is committed: from here on it may have reached HaloPSA), then
`posted | adopted | differs` (there, and its charges are billed), `refused | abandoned` (not there, its charges are
free again) or `unknown` (to be looked for); later perhaps `undone`. There is no state between the commit of the
intent and the sending: after a crash nobody could tell the two apart, so both mean "look for the key".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, delete, select, update

from billingsync.core.inputs import WrittenLine
from billingsync.core.money import ZERO
from billingsync.core.plan import Posting
from billingsync.store.columns import as_json
from billingsync.store.database import insert
from billingsync.store.schema import posting as table
from billingsync.store.schema import written_line

UNRESOLVED = ("sending", "unknown")
BILLED = ("posted", "adopted", "differs")
FREE = ("refused", "abandoned")  # not in HaloPSA: the same key may be intended again


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What of a charge one line carries: all of it, or its part where it is split over items [P5]."""

    charge: str
    price: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedLine:
    """One line of a posting, numbered from 0; `action`, `line_id` and the rest as in `core.plan.PlanLine`."""

    ordinal: int
    action: str
    line_id: int | None
    title: str
    description: str
    item_id: int | None
    quantity: Decimal
    unit_price: Decimal
    unit_cost: Decimal
    amount: Decimal
    cost: Decimal
    group: str
    recurring_key: str
    shares: tuple[Share, ...]
    company_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnedLine:
    """A line as HaloPSA gave it back."""

    ordinal: int
    line_id: int | None
    amount: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What HaloPSA said it has now: the invoice, its answer as it came, our lines in it and what they come to.

    `written` are our lines on a recurring invoice as they are now, `gone` those that no longer are, as
    (invoice id, line id) [B3]."""

    invoice_id: int
    answer: str
    price: Decimal
    cost: Decimal
    lines: tuple[ReturnedLine, ...] = ()
    written: tuple[WrittenLine, ...] = ()
    gone: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPosting:
    """A posting with its fate. `content` is the request's body, to be sent byte for byte and sent so again;
    `before` is the target invoice as it was read right before."""

    key: str
    base_key: str
    generation: int
    run: str
    period: str
    client_id: int
    client_name: str
    action: str
    group: str
    target_invoice_id: int | None
    currency: str
    amount: Decimal
    cost: Decimal
    content: str
    before: str | None
    lines: tuple[PostedLine, ...]
    state: str
    invoice_id: int | None
    attempts: int
    intended_at: datetime
    sent_at: datetime
    settled_at: datetime | None
    message: str
    answer: str | None
    returned_price: Decimal | None
    returned_cost: Decimal | None
    returned_lines: tuple[ReturnedLine, ...]
    installation: str


def lines_of(posting: Posting, amounts: Mapping[str, tuple[Decimal, Decimal]]) -> tuple[PostedLine, ...]:
    """A planned posting's lines with each charge's share. `amounts` are price and cost of each charge; those that are
    given are checked, and charges that share a line need theirs."""
    # Only this posting's: `amounts` may hold the whole month.
    mine = {charge for line in posting.lines for charge in line.charges if charge in amounts}
    prices = _shares(posting, [line.amount for line in posting.lines], {charge: amounts[charge][0] for charge in mine})
    costs = _shares(posting, [line.cost for line in posting.lines], {charge: amounts[charge][1] for charge in mine})
    return tuple(
        PostedLine(
            ordinal=ordinal,
            action=line.action,
            line_id=line.line_id,
            title=line.title,
            description=line.description,
            item_id=line.item.id if line.item else None,
            quantity=line.quantity,
            unit_price=line.unit_price,
            unit_cost=line.unit_cost,
            amount=line.amount,
            cost=line.cost,
            group=line.group,
            recurring_key=line.recurring_key,
            company_id=line.company_id,
            shares=tuple(
                Share(charge=charge, price=prices[ordinal, charge], cost=costs[ordinal, charge])
                for charge in line.charges
            ),
        )
        for ordinal, line in enumerate(posting.lines)
    )


def _shares(
    posting: Posting, totals: Sequence[Decimal], amounts: Mapping[str, Decimal]
) -> dict[tuple[int, str], Decimal]:
    """What each line, by ordinal, carries of each charge, so that lines and charges both add up exactly.

    Lines of the same charges are the parts of one draft [P5]. Where it also sums several charges [M1], no split of a
    charge over the lines is truer than another: the first charge takes up what the parts leave.
    """
    parts: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for ordinal, line in enumerate(posting.lines):
        parts[line.charges].append(ordinal)
    shares: dict[tuple[int, str], Decimal] = {}
    for charges, (first, *others) in parts.items():
        for ordinal in (first, *others):
            for charge in charges[1:]:
                shares[ordinal, charge] = amounts[charge] if ordinal == first else ZERO
            for charge in charges[:1]:
                shares[ordinal, charge] = totals[ordinal] - sum((shares[ordinal, each] for each in charges[1:]), ZERO)
        for charge in charges:
            carried = sum((shares[ordinal, charge] for ordinal in (first, *others)), ZERO)
            assert carried == amounts.get(charge, carried), f"{charge}: {carried} on lines, {amounts[charge]} charged"
    return shares


def add_posting(connection: Connection, name: str, row: Mapping[str, Any]) -> None:
    """A new posting."""
    connection.execute(table.insert().values(partner=name, **row))


def update_posting(connection: Connection, name: str, key: str, values: Mapping[str, Any]) -> None:
    """Changes a posting."""
    connection.execute(update(table).where(table.c.partner == name, table.c.key == key).values(**values))


def find_state(connection: Connection, name: str, key: str) -> tuple[str, int] | None:
    """A posting's state and how often it was sent; None where there is none of that key."""
    query = select(table.c.state, table.c.attempts).where(table.c.partner == name, table.c.key == key)
    row = connection.execute(query).first()
    return (row.state, row.attempts) if row else None


def find_states(connection: Connection, name: str, *, run: str | None, period: str | None) -> dict[str, str]:
    """Key -> state of the postings of a run or of a period."""
    query = select(table.c.key, table.c.state).where(table.c.partner == name).order_by(table.c.intended_at, table.c.key)
    for column, wanted in ((table.c.run, run), (table.c.period, period)):
        if wanted is not None:
            query = query.where(column == wanted)
    return {row.key: row.state for row in connection.execute(query)}


def find_postings(
    connection: Connection,
    name: str,
    *,
    run: str | None = None,
    period: str | None = None,
    key: str | None = None,
    states: Iterable[str] = (),
    texts: bool = True,
) -> tuple[RecordedPosting, ...]:
    """Postings by run, period, key and state, in the order of their intents; without `texts` what was sent, what was
    there before and what came back are left out, which are most of what a posting holds."""
    left_out = () if texts else ("content", "before", "answer")
    query = (
        select(*(column for column in table.c if column.name not in left_out))
        .where(table.c.partner == name)
        .order_by(table.c.intended_at, table.c.key)
    )
    for column, wanted in ((table.c.run, run), (table.c.period, period), (table.c.key, key)):
        if wanted is not None:
            query = query.where(column == wanted)
    if states:
        query = query.where(table.c.state.in_(tuple(states)))
    return tuple(_recorded(dict(row._mapping)) for row in connection.execute(query))


def put_written_lines(connection: Connection, name: str, key: str, lines: Iterable[WrittenLine]) -> None:
    """Remembers our lines on recurring invoices as they are now; `key` is the posting that made them so."""
    for line in lines:
        added = insert(connection, written_line).values(partner=name, key=key, **asdict(line))
        replaced = {column.name: added.excluded[column.name] for column in written_line.c if not column.primary_key}
        where = ["partner", "invoice_id", "line_id"]
        connection.execute(added.on_conflict_do_update(index_elements=where, set_=replaced))


def remove_written_lines(connection: Connection, name: str, lines: Iterable[tuple[int, int]]) -> None:
    """Forgets lines, given as (invoice id, line id), that are ours no more."""
    for invoice_id, line_id in lines:
        mine = (written_line.c.invoice_id == invoice_id, written_line.c.line_id == line_id)
        connection.execute(delete(written_line).where(written_line.c.partner == name, *mine))


def remove_written_by(connection: Connection, name: str, key: str) -> None:
    """Forgets the lines that a posting last wrote."""
    connection.execute(delete(written_line).where(written_line.c.partner == name, written_line.c.key == key))


def line_as_json(line: PostedLine | ReturnedLine) -> dict[str, Any]:
    """A line as JSON: amounts as text, so that they stay exact."""
    return {name: _plain(getattr(line, name)) for name in _FIELDS[type(line)]}


def lines_text(lines: Sequence[PostedLine]) -> str:
    """A posting's lines as canonical text, to be hashed."""
    return as_json([line_as_json(line) for line in lines])


# By name, not by `dataclasses.asdict`: that copies every value deeply first, for each line three times a posting.
_FIELDS = {kind: tuple(field.name for field in fields(kind)) for kind in (PostedLine, ReturnedLine, Share)}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return {name: _plain(getattr(value, name)) for name in _FIELDS[Share]} if isinstance(value, Share) else value


def _recorded(row: Mapping[str, Any]) -> RecordedPosting:
    values = {name: row[name] for name in RecordedPosting.__slots__ if name in row}
    values["group"] = row["grouped_by"]
    values["content"] = row.get("content", b"").decode()
    values["before"] = None if row.get("before") is None else row["before"].decode()
    # An answer need not be UTF-8: what could not be read as text was kept with these marks.
    values["answer"] = None if row.get("answer") is None else row["answer"].decode("utf-8", "surrogatepass")
    values["lines"] = tuple(_posted_line(line) for line in row["lines"])
    values["returned_lines"] = tuple(_returned_line(line) for line in row["returned_lines"] or ())
    return RecordedPosting(**values)


def _posted_line(line: dict[str, Any]) -> PostedLine:
    shares = [
        Share(charge=share["charge"], price=Decimal(share["price"]), cost=Decimal(share["cost"]))
        for share in line["shares"]
    ]
    amounts = {name: Decimal(line[name]) for name in ("quantity", "unit_price", "unit_cost", "amount", "cost")}
    return PostedLine(**{**line, **amounts, "shares": tuple(shares)})


def _returned_line(line: dict[str, Any]) -> ReturnedLine:
    return ReturnedLine(**{**line, "amount": Decimal(line["amount"]), "cost": Decimal(line["cost"])})
