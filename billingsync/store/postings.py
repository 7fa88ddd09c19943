"""Postings as the ledger keeps them: the intent before a write, and what became of it after [N1] [N2].

A posting's state: `sending` (its intent is committed: from here on it may have reached HaloPSA), then
`posted | adopted | differs` (there, and its charges are billed), `refused | abandoned` (not there, its charges are
free again) or `unknown` (to be looked for); later perhaps `undone`. There is no state between the commit of the
intent and the sending: after a crash nobody could tell the two apart, so both mean "look for the key".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Select, Text, bindparam, delete, func, select, type_coerce, update

from billingsync.core.money import ZERO
from billingsync.core.remembered import WrittenLine
from billingsync.core.states import LineAction, PostingAction, PostingState
from billingsync.store.columns import as_json
from billingsync.store.database import insert
from billingsync.store.schema import posting as table
from billingsync.store.schema import written_line

if TYPE_CHECKING:
    from billingsync.core.bill.plan import Posting

UNRESOLVED = tuple(state for state in PostingState if state.unresolved)
ARRIVED = tuple(state for state in PostingState if state.arrived)
BILLED = tuple(state for state in PostingState if state.billed)
FREE = tuple(state for state in PostingState if state.free)  # not in HaloPSA: the same key may be intended again


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
    action: LineAction
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
    """A line as HaloPSA gave it back; `invoiced` are the invoices seen to bill it, where it is on a template."""

    ordinal: int
    line_id: int | None
    amount: Decimal
    cost: Decimal
    invoiced: tuple[int, ...] = ()


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
class PostingHead:
    """A posting and its fate without what it says: a month of them takes little room. `size` is about that of its
    lines, in characters."""

    key: str
    base_key: str
    generation: int
    run: str
    period: str
    client_id: int
    client_name: str
    action: PostingAction
    group: str
    target_invoice_id: int | None
    currency: str
    amount: Decimal
    cost: Decimal
    state: PostingState
    invoice_id: int | None
    attempts: int
    intended_at: datetime
    sent_at: datetime
    settled_at: datetime | None
    message: str
    returned_price: Decimal | None
    returned_cost: Decimal | None
    installation: str
    size: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPosting(PostingHead):
    """A posting with all it says. `content` is the request's body, to be sent byte for byte and sent so again;
    `before` is the target invoice as it was read right before."""

    content: str
    before: str | None
    lines: tuple[PostedLine, ...]
    answer: str | None
    returned_lines: tuple[ReturnedLine, ...]


def posted_lines(posting: Posting, amounts: Mapping[str, tuple[Decimal, Decimal]]) -> tuple[PostedLine, ...]:
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


# Statements are made once: making one costs more than carrying it out.
_THIS = (table.c.partner == bindparam("of_partner"), table.c.key == bindparam("of_key"))
_UPDATE = update(table).where(*_THIS)
_STATE = select(table.c.state, table.c.attempts).where(*_THIS)
_TEXTS = ("content", "before", "answer")
_COLUMNS: dict[str, tuple[ColumnElement[Any], ...]] = {
    "states": (table.c.key, table.c.state),
    "heads": (
        *(column for column in table.c if column.name not in ("lines", "returned_lines", *_TEXTS)),
        func.length(type_coerce(table.c.lines, Text)).label("size"),
    ),
    "lines": tuple(column for column in table.c if column.name not in _TEXTS),
    "all": tuple(table.c),
}
_KNOWN = select(
    *(column for column in table.c if column.name != "lines"), type_coerce(table.c.lines, Text).label("lines_text")
).where(*_THIS)


_AMONG = {"keys": table.c.key, "states": table.c.state}


def received(row: RecordedPosting, receipt: Receipt, state: PostingState, at: datetime) -> RecordedPosting:
    """The posting as the ledger has it once `record_done` is committed, without reading it again."""
    return replace(
        row,
        state=state,
        message="",
        invoice_id=receipt.invoice_id,
        settled_at=at,
        answer=receipt.answer,
        returned_price=receipt.price,
        returned_cost=receipt.cost,
        returned_lines=receipt.lines,
    )


def add_posting(connection: Connection, name: str, row: Mapping[str, Any]) -> None:
    """A new posting."""
    connection.execute(table.insert(), {"partner": name, **row})


def update_posting(connection: Connection, name: str, key: str, values: Mapping[str, Any]) -> None:
    """Changes a posting."""
    connection.execute(_UPDATE, {"of_partner": name, "of_key": key, **values})


def find_state(connection: Connection, name: str, key: str) -> tuple[PostingState, int] | None:
    """A posting's state and how often it was sent; None where there is none of that key."""
    row = connection.execute(_STATE, {"of_partner": name, "of_key": key}).first()
    return (row.state, row.attempts) if row else None


def find_states(connection: Connection, name: str, *, run: str | None, period: str | None) -> dict[str, PostingState]:
    """Key -> state of the postings of a run or of a period."""
    query, wanted = _query("states", name, run=run, period=period)
    return {row.key: row.state for row in connection.execute(query, wanted)}


def find_heads(
    connection: Connection,
    name: str,
    *,
    run: str | None = None,
    period: str | None = None,
    states: Collection[str] = (),
) -> tuple[PostingHead, ...]:
    """Postings by run, period and state, in the order of their intents, without what they say."""
    query, wanted = _query("heads", name, run=run, period=period, states=states)
    return tuple(PostingHead(**_head(row._mapping)) for row in connection.execute(query, wanted))


def find_postings(
    connection: Connection,
    name: str,
    *,
    run: str | None = None,
    period: str | None = None,
    keys: Collection[str] | None = None,
    states: Collection[str] = (),
    texts: bool = True,
) -> tuple[RecordedPosting, ...]:
    """Postings by run, period, key and state, in the order of their intents; without `texts` what was sent, what was
    there before and what came back are left out, which are most of what a posting holds."""
    what = "all" if texts else "lines"
    query, wanted = _query(what, name, run=run, period=period, keys=keys, states=states)
    return tuple(_recorded(row._mapping) for row in connection.execute(query, wanted))


def find_known(
    connection: Connection, name: str, key: str, lines: Sequence[PostedLine]
) -> tuple[RecordedPosting, str] | None:
    """One posting whose lines are known, which spares reading them, and their text as the database has it."""
    row = connection.execute(_KNOWN, {"of_partner": name, "of_key": key}).first()
    return None if row is None else (_recorded(row._mapping, lines), row.lines_text)


def _query(what: str, name: str, **wanted: str | Collection[str] | None) -> tuple[Select[Any], dict[str, Any]]:
    """The query for these columns and its parameters: run and period as they are, keys and states among many. None,
    and no states, ask for all."""
    asked = {word: value for word, value in wanted.items() if value is not None and (value or word != "states")}
    values = {word: value if isinstance(value, str) else list(value) for word, value in asked.items()}
    query = select(*_COLUMNS[what]).where(table.c.partner == bindparam("partner"))
    for word in asked:
        among = _AMONG.get(word)
        query = query.where(
            table.c[word] == bindparam(word) if among is None else among.in_(bindparam(word, expanding=True))
        )
    return query.order_by(table.c.intended_at, table.c.key), {"partner": name, **values}


def put_written_lines(connection: Connection, name: str, key: str, lines: Iterable[WrittenLine]) -> None:
    """Remembers our lines on recurring invoices as they are now; `key` is the posting that made them so."""
    for line in lines:
        told = {name: value for name, value in asdict(line).items() if name != "live"}
        told |= {"key": line.key or key, "invoiced": list(line.invoiced)}
        added = insert(connection, written_line).values(partner=name, **told)
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
    told = {name: getattr(line, name) for name in _FIELDS[type(line)]}
    for name in _AMOUNTS_IN[type(line)]:
        told[name] = format(told[name], "f")
    if isinstance(line, ReturnedLine) and not line.invoiced:
        del told["invoiced"]
    if isinstance(line, PostedLine):
        told["shares"] = [
            {"charge": share.charge, "price": format(share.price, "f"), "cost": format(share.cost, "f")}
            for share in line.shares
        ]
    return told


def lines_text(lines: Sequence[PostedLine]) -> str:
    """A posting's lines as canonical text, to be hashed."""
    return as_json([line_as_json(line) for line in lines])


_AMOUNTS = frozenset({"quantity", "unit_price", "unit_cost", "amount", "cost"})
_FIELDS = {kind: tuple(each.name for each in fields(kind)) for kind in (PostedLine, ReturnedLine)}
_AMOUNTS_IN = {kind: _AMOUNTS.intersection(names) for kind, names in _FIELDS.items()}


def _head(row: Mapping[Any, Any]) -> dict[str, Any]:
    values = {name: row[name] for name in _HEAD if name in row}
    return {**values, "group": row["grouped_by"]}


_HEAD = tuple(each.name for each in fields(PostingHead) if each.name != "group")


def _recorded(row: Mapping[Any, Any], lines: Sequence[PostedLine] | None = None) -> RecordedPosting:
    return RecordedPosting(
        **_head(row),
        content=row["content"].decode() if "content" in row else "",
        before=row["before"].decode() if row.get("before") is not None else None,
        # An answer need not be UTF-8: what could not be read as text was kept with these marks.
        answer=row["answer"].decode("utf-8", "surrogatepass") if row.get("answer") is not None else None,
        lines=tuple(map(_posted_line, row["lines"])) if lines is None else tuple(lines),
        returned_lines=tuple(map(_returned_line, row["returned_lines"] or ())),
    )


def _posted_line(line: dict[str, Any]) -> PostedLine:
    shares = [
        Share(charge=share["charge"], price=Decimal(share["price"]), cost=Decimal(share["cost"]))
        for share in line["shares"]
    ]
    amounts = {name: Decimal(line[name]) for name in _AMOUNTS}
    return PostedLine(**{**line, **amounts, "action": LineAction(line["action"]), "shares": tuple(shares)})


def _returned_line(line: dict[str, Any]) -> ReturnedLine:
    invoiced = tuple(line.get("invoiced", ()))
    return ReturnedLine(
        **{**line, "amount": Decimal(line["amount"]), "cost": Decimal(line["cost"]), "invoiced": invoiced}
    )
