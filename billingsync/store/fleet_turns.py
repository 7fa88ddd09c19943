"""How a partner's cycles fare at the workers: begun, ended, died; and who is parked because of it.

A cycle that begins and never ends is handed out again and again, so somebody has to count: the cycle itself that it
began and ended, its worker that it died.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, select, update

from billingsync.errors import Paused
from billingsync.store.clock import database_now
from billingsync.store.database import Database, insert
from billingsync.store.schema import fleet_turn

MOST_DEATHS = 3  # cycles in a row that died while their worker lived
# Cycles in a row that did not end, with nobody to say why: their worker died too. That may be a machine that is
# restarted again and again, which is no partner's fault, or a partner that takes the machine with it.
MOST_LOST = 10
_NONE = {"starts": 0, "deaths": 0, "failures": 0, "calls": 0, "calls_before": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What is known when a cycle begins: why the last one failed, "" where it did not, and how often in a row."""

    cause: str = ""
    failures: int = 0

    def failures_of(self, cause: str) -> int:
        """How often in a row it has failed for this cause, with the cycle that just did."""
        return self.failures + 1 if cause == self.cause else 1


def begin(database: Database, name: str) -> Turn:
    """A cycle of this partner begins. Paused, and the partner parked, where too many did not end."""
    with database.writing() as connection:
        row = _change(connection, name, starts=fleet_turn.c.starts + 1)
        found = Turn(cause=row.cause or "", failures=row.failures)
        if row.starts <= MOST_LOST:
            return found
        why = f"{MOST_LOST} cycles in a row did not end, and their workers died too"
        _park(connection, name, why)
    raise parked(name, why)


def end(database: Database, name: str, *, cause: str, month: str, calls: int) -> None:
    """The cycle has ended, well or not. `cause`: why it failed, "" where it did not; `calls`: made in `month`."""
    same = fleet_turn.c.cause == cause
    other_month = func.coalesce(fleet_turn.c.month, "") != month
    with database.writing() as connection:
        _change(
            connection,
            name,
            starts=0,
            deaths=0,
            failures=case((same, fleet_turn.c.failures + 1), else_=1) if cause else 0,
            cause=cause or None,
            cause_at=database_now() if cause else None,
            month=month,
            calls=case((other_month, calls), else_=fleet_turn.c.calls + calls),
            calls_before=case((other_month, fleet_turn.c.calls), else_=fleet_turn.c.calls_before),
        )


def died(database: Database, name: str, why: str) -> bool:
    """The cycle's process ended by itself or was killed, and its worker saw it: `why`, for people. Whether the partner
    is parked by it."""
    with database.writing() as connection:
        row = _change(connection, name, deaths=fleet_turn.c.deaths + 1)
        if row.deaths < MOST_DEATHS or row.parked_at is not None:
            return False
        _park(connection, name, f"{MOST_DEATHS} cycles in a row died; the last one {why}")
    return True


def unpark(connection: Connection, name: str) -> None:
    """Begins to count anew."""
    mine = fleet_turn.c.partner == name
    free: dict[str, Any] = {"starts": 0, "deaths": 0, "parked_at": None, "parked_why": None}
    connection.execute(update(fleet_turn).where(mine).values(**free))


def parked(name: str, why: str) -> Paused:
    """What to say to whoever wants to begin a run for a partner that is parked."""
    return Paused(
        f"{name} is parked: {why}. Nothing is half-recorded. Find out why, then let it go on.",
        next_steps=[["billingsync", "fleet", "resume", name]],
    )


def _park(connection: Connection, name: str, why: str) -> None:
    values = {"parked_at": database_now(), "parked_why": why}
    connection.execute(update(fleet_turn).where(fleet_turn.c.partner == name).values(**values))


def _change(connection: Connection, name: str, **values: ColumnElement[Any] | Any) -> Any:
    """Changes the partner's row, which is made where there is none, and gives it as it is then."""
    new = insert(connection, fleet_turn).values(partner=name, **_NONE).on_conflict_do_nothing()
    connection.execute(new)
    mine = fleet_turn.c.partner == name
    connection.execute(update(fleet_turn).where(mine).values(**values))
    return connection.execute(select(fleet_turn).where(mine)).one()
