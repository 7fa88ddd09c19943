"""What waits on recurring invoices as far as the ledger knows, so that it is told without asking HaloPSA [B5]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from billingsync.core.money import ZERO
from billingsync.core.remembered import WrittenLine
from billingsync.store.book import Book
from billingsync.store.columns import from_json
from billingsync.store.memory import written_lines
from billingsync.store.schema import plan, plan_head, posting, written_line

if TYPE_CHECKING:
    from billingsync.core.bill.plan import Waiting

_Place = tuple[int, int, str, str]  # recurring invoice, client, period, currency


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What the newest whole plan of any month said: when it was made, and what waited then."""

    at: datetime
    waiting: Mapping[_Place, Mapping[str, Any]]


class StandingBook(Book):
    def waiting_lines(self) -> tuple[WrittenLine, ...]:
        """Our lines of which HaloPSA had made no invoice when the newest plan looked, and those written since."""
        with self.reading() as connection:
            return _waiting_lines(connection, self.name, _told(connection, self.name))

    def waiting(self) -> tuple[Waiting, ...]:
        """The same in sums, by recurring invoice, client, period and currency."""
        with self.reading() as connection:
            told = _told(connection, self.name)
            lines = _waiting_lines(connection, self.name, told)
            names = _client_names(connection, self.name)
        if not lines:
            return ()
        from billingsync.core.bill.plan import Waiting  # which takes longer to import than to ask
        from billingsync.core.bill.templates import amount_of, cost_of

        sums: dict[_Place, list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
        for line in lines:
            both = sums[_place(line)]
            both[0] += amount_of(line)
            both[1] += cost_of(line)
        return tuple(
            Waiting(
                invoice_id=place[0],
                client_id=place[1],
                client_name=names.get(place[1], ""),
                period=place[2],
                currency=place[3],
                amount=amount,
                cost=cost,
                next_creation=(told.waiting.get(place, {}).get("next_creation") if told else "") or "",
            )
            for place, (amount, cost) in sorted(sums.items())
        )


def _told(connection: Connection, name: str) -> _Told | None:
    query = (
        select(plan_head.c.made_at, plan_head.c.body)
        .join(plan, (plan.c.partner == plan_head.c.partner) & (plan.c.digest == plan_head.c.digest))
        .where(plan_head.c.partner == name, plan.c.asked == [])
        .order_by(plan_head.c.made_at.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    said = from_json(row.body.decode()).get("waiting", ())
    places = {(one["invoice_id"], one["client_id"], one["period"], one["currency"]): one for one in said}
    return _Told(at=row.made_at, waiting=places)


def _waiting_lines(connection: Connection, name: str, told: _Told | None) -> tuple[WrittenLine, ...]:
    mine = select(written_line.c.key).where(written_line.c.partner == name)
    keys = select(posting.c.key, posting.c.intended_at).where(posting.c.partner == name, posting.c.key.in_(mine))
    written_at = {row.key: row.intended_at for row in connection.execute(keys)}

    def waits(line: WrittenLine) -> bool:
        if not line.live or line.invoiced:
            return False
        since = written_at.get(line.key)
        return told is None or (since is not None and since >= told.at) or _place(line) in told.waiting

    return tuple(line for line in written_lines(connection, name) if waits(line))


def _place(line: WrittenLine) -> _Place:
    from billingsync.core.bill.templates import currency_of

    return line.invoice_id, line.client_id, line.period, currency_of(line.recurring_key)


def _client_names(connection: Connection, name: str) -> dict[int, str]:
    mine = select(written_line.c.key).where(written_line.c.partner == name)
    query = select(posting.c.client_id, posting.c.client_name).where(posting.c.partner == name, posting.c.key.in_(mine))
    return {row.client_id: row.client_name for row in connection.execute(query)}
