"""The worker's cycles: what each found, and when the next one is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, select, update

from billingsync.core.states import CycleState
from billingsync.store.book import Book
from billingsync.store.database import read_as
from billingsync.store.schema import cycle

KEPT = 2_000  # cycles: three months of hourly ones; the months themselves travel with every cycle


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """`months` and `summary` are JSON; a running or
    interrupted cycle has the months of the one before."""

    id: int
    state: CycleState
    started_at: datetime
    ended_at: datetime | None
    next_at: datetime | None
    months: Mapping[str, Any]
    summary: Mapping[str, Any]


class CycleBook(Book):
    def start_cycle(self, now: datetime) -> Cycle:
        """Opens a cycle with what the last one knew. One that still seems to run was interrupted."""
        with self.writing() as connection:
            last = newest_cycle(connection, self.name)
            mine = cycle.c.partner == self.name
            running = update(cycle).where(mine, cycle.c.state == CycleState.RUNNING)
            connection.execute(running.values(state=CycleState.INTERRUPTED, ended_at=now))
            id = last.id + 1 if last else 1
            months = dict(last.months) if last else {}
            summary = dict(last.summary) if last else {}
            row: dict[str, Any] = {
                "id": id,
                "state": CycleState.RUNNING,
                "started_at": now,
                "months": months,
                "summary": summary,
            }
            connection.execute(cycle.insert().values(partner=self.name, **row))
            connection.execute(delete(cycle).where(mine, cycle.c.id <= id - KEPT))
        return Cycle(ended_at=None, next_at=None, **row)

    def end_cycle(
        self,
        id: int,
        state: CycleState,
        *,
        months: Mapping[str, Any],
        summary: Mapping[str, Any],
        next_at: datetime | None,
        now: datetime,
    ) -> None:
        """Closes a cycle."""
        values = {"state": state, "months": months, "summary": summary, "next_at": next_at, "ended_at": now}
        with self.writing() as connection:
            connection.execute(update(cycle).where(cycle.c.partner == self.name, cycle.c.id == id).values(**values))

    def last_cycle(self) -> Cycle | None:
        """The newest cycle, running or not; None where there was none."""
        with self.reading() as connection:
            return newest_cycle(connection, self.name)

    def last_success(self) -> datetime | None:
        """When the last cycle that did not fail ended."""
        good = (CycleState.WELL, CycleState.HELD, CycleState.WAITING)
        with self.reading() as connection:
            query = select(func.max(cycle.c.ended_at)).where(cycle.c.partner == self.name, cycle.c.state.in_(good))
            found = connection.scalar(query)
        return found if isinstance(found, datetime) or found is None else datetime.fromisoformat(str(found))

    def cycle_counts(self) -> dict[str, int]:
        """How many of the cycles that are kept ended in which state."""
        with self.reading() as connection:
            query = select(cycle.c.state, func.count()).where(cycle.c.partner == self.name).group_by(cycle.c.state)
            return {row[0]: row[1] for row in connection.execute(query)}


def newest_cycle(connection: Connection, name: str) -> Cycle | None:
    """The newest cycle of a partner."""
    query: Select[Any] = select(cycle).where(cycle.c.partner == name).order_by(cycle.c.id.desc()).limit(1)
    row = connection.execute(query).first()
    return read_as(Cycle, row) if row else None
