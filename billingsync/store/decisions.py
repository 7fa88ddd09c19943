"""What people decided about held charges: approvals of a period [V1], and what is set aside."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, select, update

from billingsync.store.book import Book
from billingsync.store.database import insert
from billingsync.store.schema import decision, set_aside, settled

if TYPE_CHECKING:
    from billingsync.core.decisions import Approval, SetAside

_KEY = ["partner", "digest", "client", "currency", "kind"]


class DecisionBook(Book):
    def add_decision(self, period: str, one: Approval, now: datetime) -> None:
        """Keeps an approval. Approving the same again replaces the reason; other charges of the same kind are added."""
        facts: dict[str, Any] = {
            "amount": str(one.amount),
            "limits": {reason: list(numbers) for reason, numbers in one.limits.items()},
            "charges": {charge: str(price) for charge, price in one.charges.items()},
            "taken": sorted(one.taken),
            "take_back": str(one.take_back),
        }
        body = {
            "digest": one.digest,
            "client": one.client,
            "currency": one.currency,
            "kind": one.kind.value,
            "period": period,
            "facts": facts,
            "reason": one.reason,
            "who": one.who,
        }
        with self.writing() as connection:
            mine = {"partner": self.name, **body}
            same = [decision.c[name] == mine[name] for name in _KEY]
            kept = connection.scalar(select(decision.c.facts).where(*same, decision.c.ended_at.is_(None)))
            facts["charges"] = {**(kept["charges"] if kept else {}), **facts["charges"]}
            added = insert(connection, decision).values(partner=self.name, **body, at=now, ended_at=None)
            replaced = {name: added.excluded[name] for name in ("facts", "reason", "who", "at", "ended_at")}
            connection.execute(added.on_conflict_do_update(index_elements=_KEY, set_=replaced))
            self.note(connection, "decision", body, now)

    def decisions(self, period: str) -> tuple[Approval, ...]:
        """The approvals of a period that have not ended, oldest first."""
        with self.reading() as connection:
            return find_decisions(connection, self.name, period)

    def end_decisions(self, period: str, clients: Collection[str], now: datetime) -> None:
        """What was approved for these clients ends: what it let pass was undone."""
        mine = (decision.c.partner == self.name, decision.c.period == period, decision.c.client.in_(clients))
        with self.writing() as connection:
            ended = connection.execute(
                update(decision).where(*mine, decision.c.ended_at.is_(None)).values(ended_at=now)
            )
            if ended.rowcount:
                self.note(connection, "decision.ended", {"period": period, "clients": sorted(clients)}, now)

    def set_charges_aside(self, period: str, charges: Collection[str], *, who: str, reason: str, now: datetime) -> None:
        """These charges of a period wait until they are put back."""
        with self.writing() as connection:
            for charge in sorted(charges):
                row = {"charge": charge, "period": period, "who": who, "at": now, "reason": reason}
                added = insert(connection, set_aside).values(partner=self.name, **row)
                replaced = {name: added.excluded[name] for name in ("period", "who", "at", "reason")}
                connection.execute(added.on_conflict_do_update(index_elements=["partner", "charge"], set_=replaced))
            body = {"charges": sorted(charges), "period": period, "who": who, "reason": reason}
            self.note(connection, "set_aside", body, now)

    def put_charges_back(self, charges: Collection[str], *, who: str, now: datetime) -> frozenset[str]:
        """These charges go out again with the next posting. Returns those that were set aside."""
        with self.writing() as connection:
            mine = (set_aside.c.partner == self.name, set_aside.c.charge.in_(charges))
            there = frozenset(connection.execute(select(set_aside.c.charge).where(*mine)).scalars())
            if there:
                connection.execute(delete(set_aside).where(*mine))
                self.note(connection, "put_back", {"charges": sorted(there), "who": who}, now)
        return there

    def set_aside_periods(self, charges: Collection[str]) -> dict[str, str]:
        """Of these charges, those that are set aside, with their period."""
        mine = (set_aside.c.partner == self.name, set_aside.c.charge.in_(charges))
        with self.reading() as connection:
            rows = connection.execute(select(set_aside.c.charge, set_aside.c.period).where(*mine))
            return {row.charge: row.period for row in rows}

    def free_settled(self, charge: str, *, reason: str, who: str, now: datetime) -> str | None:
        """What a run dropped or excluded may be decided anew. Returns its period; None where no run did."""
        mine = (settled.c.partner == self.name, settled.c.charge == charge)
        with self.writing() as connection:
            row = connection.execute(select(settled.c.period, settled.c.state, settled.c.by).where(*mine)).first()
            if row is None:
                return None
            connection.execute(delete(settled).where(*mine))
            body = {"charges": [charge], "state": row.state, "by": row.by, "reason": reason, "who": who}
            self.note(connection, "unsettled", body, now)
            return str(row.period)

    def charges_set_aside(self, period: str) -> dict[str, SetAside]:
        """What is set aside of a period, by charge."""
        from billingsync.core.decisions import SetAside

        query = select(set_aside).where(set_aside.c.partner == self.name, set_aside.c.period == period)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(set_aside.c.charge))
            return {row.charge: SetAside(who=row.who, at=row.at, reason=row.reason) for row in rows}


def find_decisions(connection: Connection, name: str, period: str) -> tuple[Approval, ...]:
    """The approvals of a period that have not ended, oldest first."""
    mine = (decision.c.partner == name, decision.c.period == period, decision.c.ended_at.is_(None))
    query = select(decision).where(*mine).order_by(decision.c.at, decision.c.digest, decision.c.client)
    return tuple(_approval(row, row.facts) for row in connection.execute(query))


def _approval(row: Any, facts: Mapping[str, Any]) -> Approval:
    from billingsync.core.decisions import Approval
    from billingsync.core.reasons import ApproveAs

    return Approval(
        kind=ApproveAs(row.kind),
        digest=row.digest,
        client=row.client,
        currency=row.currency,
        amount=Decimal(facts["amount"]),
        limits={reason: tuple(numbers) for reason, numbers in facts["limits"].items()},
        charges={charge: Decimal(price) for charge, price in facts["charges"].items()},
        taken=frozenset(facts["taken"]),
        take_back=Decimal(facts["take_back"]),
        who=row.who,
        at=row.at,
        reason=row.reason,
    )
