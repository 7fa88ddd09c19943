"""Which posting's line a charge is a source of: one live line only, and the database refuses a second [N3]."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from billingsync.errors import Refused
from billingsync.store.columns import batches_of
from billingsync.store.database import read_as
from billingsync.store.schema import claim, settled


class AlreadyClaimed(Refused):
    """A charge has its place already."""

    code = "BS-ALREADY-CLAIMED"

    def __init__(self, charge: str, why: str, *, key: str = "") -> None:
        """`key` is the posting that has the charge, "" where a run dropped or excluded it."""
        self.charge = charge
        self.key = key
        super().__init__(
            f"Charge {charge} {why}. It is not billed a second time, and nothing was sent for it. Plan again.",
            next_steps=[["billingsync", "explain", charge], ["billingsync", "plan"]],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A charge, or with [P5] a part of one, on line `line` of the posting `key`. Not live: undone or never sent."""

    key: str
    charge: str
    part: int
    line: int
    price: Decimal
    cost: Decimal
    currency: str
    live: bool


def add_claims(connection: Connection, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Claims charges. IntegrityError where one is on a live line already."""
    if rows:
        connection.execute(claim.insert(), [{"partner": name, "live": True, **row} for row in rows])


def remove_claims(connection: Connection, name: str, key: str) -> None:
    """Forgets the claims of a posting that is going to be written anew under its key."""
    connection.execute(delete(claim).where(claim.c.partner == name, claim.c.key == key))


def set_live(connection: Connection, name: str, key: str, live: bool, lines: Iterable[int] | None = None) -> None:
    """Makes a posting's claims live or not, or only those of some lines. IntegrityError as in `add_claims`."""
    statement = update(claim).where(claim.c.partner == name, claim.c.key == key).values(live=live)
    if lines is not None:
        statement = statement.where(claim.c.line.in_(sorted(lines)))
    connection.execute(statement)


def any_live(connection: Connection, name: str, key: str) -> bool:
    """Whether a posting has claims that are live."""
    query = select(claim.c.charge).where(claim.c.partner == name, claim.c.key == key, claim.c.live).limit(1)
    return connection.scalar(query) is not None


def find_claims(
    connection: Connection, name: str, *, charge: str | None = None, key: str | None = None
) -> tuple[Claim, ...]:
    """The claims of a charge or of a posting, live or not."""
    query = select(claim).where(claim.c.partner == name).order_by(claim.c.key, claim.c.line, claim.c.part)
    if charge is not None:
        query = query.where(claim.c.charge == charge)
    if key is not None:
        query = query.where(claim.c.key == key)
    return tuple(read_as(Claim, row) for row in connection.execute(query))


def live_keys(connection: Connection, name: str, charges: Sequence[str]) -> dict[str, str]:
    """Which of these charges are on a live line, and on which posting's."""
    found: dict[str, str] = {}
    for some in batches_of(charges):
        query = select(claim.c.charge, claim.c.key).where(
            claim.c.partner == name, claim.c.live, claim.c.charge.in_(some)
        )
        found |= {row.charge: row.key for row in connection.execute(query)}
    return found


def settled_states(connection: Connection, name: str, charges: Sequence[str]) -> dict[str, str]:
    """Which of these charges earlier runs dropped or excluded, and by what."""
    found: dict[str, str] = {}
    for some in batches_of(charges):
        rows = connection.execute(_SETTLED, {"name": name, "charges": some})
        found |= {row.charge: f"{row.state} by {row.by}" for row in rows}
    return found


_SETTLED = select(settled.c.charge, settled.c.state, settled.c.by).where(
    settled.c.partner == bindparam("name"), settled.c.charge.in_(bindparam("charges", expanding=True))
)
