"""Plans client by client, for pages: rows that are listed, sorted and searched without parsing any plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select, update

from billingsync.core.period import Period
from billingsync.store.book import Book
from billingsync.store.columns import as_json, from_json
from billingsync.store.database import insert
from billingsync.store.schema import plan, plan_body, plan_client, plan_head


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What waits of one client for one reason in one currency."""

    reason: str
    currency: str
    amount: Decimal
    cost: Decimal
    charges: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRow:
    """One client of a plan as lists show it. `added`, `updated`, `removed` count lines that change; `same` those of
    which only the period moves. `held` is the reason where every charge waits. `search` is folded text."""

    nth: int
    company_id: str
    company_name: str
    client_id: int | None
    client_name: str
    matched_by: str
    guessed: str
    behavior: str
    target_invoice_id: int | None
    currency: str
    added: int
    updated: int
    removed: int
    same: int
    amount: Decimal
    cost: Decimal
    held: str
    holds: tuple[Held, ...]
    left_out: int
    last_amount: Decimal | None
    last_period: str
    moved: bool
    below_cost: bool
    search: str
    body: str

    @property
    def lines(self) -> int:
        return self.added + self.updated + self.removed + self.same

    @property
    def name(self) -> str:
        """The HaloPSA client's name, else the company's."""
        return self.client_name or self.company_name


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRows:
    """A plan for the ledger: its head, its rows, and by SHA-256 the bodies that the rows name."""

    head: Mapping[str, Any]
    rows: Sequence[ClientRow]
    bodies: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanHead:
    """What stands above the clients of a kept plan. `created_at` is when it was last made; `content` is JSON with
    Decimals."""

    digest: str
    period: str
    created_at: datetime
    rules_digest: str
    content: Mapping[str, Any]


def body_of(document: Mapping[str, Any]) -> tuple[str, str]:
    """A client's part of the plan document as kept text, and its SHA-256."""
    text = as_json(document)
    return hashlib.sha256(text.encode("ascii")).hexdigest(), text


class PlanRowBook(Book):
    def newest_plan(self, period: Period | str) -> PlanHead | None:
        """The newest plan of a period that covers all its clients; None where none was made yet."""
        digest = self.newest_digest(period)
        return None if digest is None else self.plan_head(digest)

    def newest_digest(self, period: Period | str) -> str | None:
        """Its digest alone."""
        query = (
            select(plan.c.digest)
            .join(plan_head, (plan_head.c.partner == plan.c.partner) & (plan_head.c.digest == plan.c.digest))
            .where(plan.c.partner == self.name, plan.c.period == str(period), plan.c.asked == [])
            .order_by(plan_head.c.made_at.desc(), plan.c.digest)
            .limit(1)
        )
        with self.reading() as connection:
            return connection.execute(query).scalar()

    def plan_head(self, digest: str) -> PlanHead | None:
        """The head of a kept plan by its whole digest."""
        query = (
            select(plan.c.digest, plan.c.period, plan_head.c.made_at, plan.c.rules_digest, plan_head.c.body)
            .join(plan_head, (plan_head.c.partner == plan.c.partner) & (plan_head.c.digest == plan.c.digest))
            .where(plan.c.partner == self.name, plan.c.digest == digest)
        )
        with self.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return PlanHead(
            digest=row.digest,
            period=row.period,
            created_at=row.made_at,
            rules_digest=row.rules_digest,
            content=from_json(row.body.decode()),
        )

    def planned_periods(self) -> tuple[str, ...]:
        """Every period that has a plan, oldest first."""
        query = select(plan.c.period).where(plan.c.partner == self.name).distinct().order_by(plan.c.period)
        with self.reading() as connection:
            return tuple(connection.execute(query).scalars())

    def client_rows(self, digest: str) -> tuple[ClientRow, ...]:
        """The clients of a plan, in its order."""
        mine = (plan_client.c.partner == self.name, plan_client.c.digest == digest)
        with self.reading() as connection:
            rows = connection.execute(select(plan_client).where(*mine).order_by(plan_client.c.nth)).all()
        return tuple(_row(row) for row in rows)

    def client_body(self, digest: str, nth: int) -> Mapping[str, Any] | None:
        """One client of a plan in full: its part of the plan document. None where there is none."""
        mine = (plan_client.c.partner == self.name, plan_client.c.digest == digest, plan_client.c.nth == nth)
        query = (
            select(plan_body.c.body)
            .join(
                plan_client,
                (plan_client.c.partner == plan_body.c.partner) & (plan_client.c.body == plan_body.c.sha256),
            )
            .where(*mine)
        )
        with self.reading() as connection:
            body = connection.execute(query).scalar()
        return None if body is None else from_json(body.decode())

    def held_since(self, period: str) -> dict[tuple[str, str], datetime]:
        """When a plan of the period first held something, by company id and reason."""
        query = (
            select(plan_client.c.company_id, plan_client.c.holds, plan.c.created_at)
            .join(plan, (plan.c.partner == plan_client.c.partner) & (plan.c.digest == plan_client.c.digest))
            .where(plan.c.partner == self.name, plan.c.period == period, plan_client.c.holds != [])
            .order_by(plan.c.created_at)
        )
        found: dict[tuple[str, str], datetime] = {}
        with self.reading() as connection:
            for row in connection.execute(query):
                for hold in row.holds:
                    found.setdefault((row.company_id, hold[0]), row.created_at)
        return found

    def last_bodies(self, digest: str, nths: Sequence[int]) -> dict[int, Mapping[str, Any]]:
        """As `client_body`, for several clients at once."""
        query = (
            select(plan_client.c.nth, plan_body.c.body)
            .join(
                plan_body,
                (plan_client.c.partner == plan_body.c.partner) & (plan_client.c.body == plan_body.c.sha256),
            )
            .where(plan_client.c.partner == self.name, plan_client.c.digest == digest, plan_client.c.nth.in_(nths))
        )
        with self.reading() as connection:
            return {row.nth: from_json(row.body.decode()) for row in connection.execute(query)}


def plan_made_again(connection: Connection, name: str, digest: str, kept: PlanRows | None, now: datetime) -> None:
    """A plan that is kept was made once more: it is the newest now, and its head says what waits now."""
    mine = (plan_head.c.partner == name, plan_head.c.digest == digest)
    values: dict[str, Any] = {"made_at": now} | ({"body": _head(kept)} if kept is not None else {})
    connection.execute(update(plan_head).where(*mine).values(**values))


def add_plan_rows(connection: Connection, name: str, digest: str, kept: PlanRows, now: datetime) -> None:
    """Keeps a plan's head, rows and bodies, in the transaction that keeps the plan. A body that is known stays."""
    connection.execute(plan_head.insert().values(partner=name, digest=digest, made_at=now, body=_head(kept)))
    bodies = [{"partner": name, "sha256": key, "body": text.encode()} for key, text in kept.bodies.items()]
    if bodies:
        connection.execute(insert(connection, plan_body).on_conflict_do_nothing(), bodies)
    rows = [{"partner": name, "digest": digest, **_columns(row)} for row in kept.rows]
    if rows:
        connection.execute(plan_client.insert(), rows)


def _head(kept: PlanRows) -> bytes:
    return json.dumps(dict(kept.head), allow_nan=False).encode()


def _columns(row: ClientRow) -> dict[str, Any]:
    holds = [
        [hold.reason, hold.currency, format(hold.amount, "f"), format(hold.cost, "f"), hold.charges]
        for hold in row.holds
    ]
    return {**{name: value for name, value in asdict(row).items() if name != "holds"}, "holds": holds}


def _row(row: Any) -> ClientRow:
    holds = tuple(
        Held(reason=reason, currency=currency, amount=Decimal(amount), cost=Decimal(cost), charges=charges)
        for reason, currency, amount, cost, charges in row.holds
    )
    values = {name: value for name, value in row._mapping.items() if name not in ("partner", "digest", "holds")}
    return ClientRow(**values, holds=holds)
