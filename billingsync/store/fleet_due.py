"""Which partners of the fleet have a cycle due, by the database's clock."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import case, func, or_, select

from billingsync.core.states import CycleState
from billingsync.store.clock import database_now
from billingsync.store.fleet import Fleet
from billingsync.store.schema import cycle, fleet_partner, fleet_turn, fleet_version, partner

HEAVIEST = 2**31 - 1  # an engine keeps it as a number of four bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """`weight`: how much work it is, by the calls of last month and what its file says; the heavier begins first."""

    name: str
    weight: int


def due_partners(fleet: Fleet) -> tuple[Due, ...]:
    """Those whose next look has come, or whose last one was broken off, the heaviest first; without those that are
    paused, parked or removed, and those that somebody works for right now."""
    each = cycle.alias()
    newest = select(func.max(each.c.id)).where(each.c.partner == fleet_partner.c.partner).scalar_subquery()
    joined = (
        fleet_partner.join(partner, partner.c.partner == fleet_partner.c.partner)
        .outerjoin(cycle, (cycle.c.partner == fleet_partner.c.partner) & (cycle.c.id == newest))
        .outerjoin(fleet_turn, fleet_turn.c.partner == fleet_partner.c.partner)
    )
    calls = case((fleet_turn.c.calls_before > fleet_turn.c.calls, fleet_turn.c.calls_before), else_=fleet_turn.c.calls)
    # Early in a month last month's calls say more than this month's.
    weight = fleet_partner.c.weight * (func.coalesce(calls, 0) + 1)
    query = (
        select(fleet_partner.c.partner, weight.label("weight"))
        .select_from(joined)
        .where(
            fleet_partner.c.removed.is_(False),
            fleet_partner.c.paused.is_(False),
            fleet_partner.c.paused_at.is_(None),
            fleet_turn.c.parked_at.is_(None),
            or_(partner.c.until.is_(None), partner.c.until <= database_now()),
            or_(
                cycle.c.id.is_(None),
                cycle.c.next_at <= database_now(),
                cycle.c.state.in_((CycleState.RUNNING, CycleState.INTERRUPTED)),
            ),
        )
        .order_by(weight.desc(), fleet_partner.c.partner)
    )
    with fleet.database.reading() as connection:
        return tuple(Due(name=row.partner, weight=min(row.weight, HEAVIEST)) for row in connection.execute(query))


def size_of(fleet: Fleet) -> int:
    """Bytes that the database takes; 0 where it cannot say."""
    if fleet.database.file is not None:
        return 0
    with fleet.database.reading() as connection:
        return int(connection.scalar(select(func.pg_database_size(func.current_database()))) or 0)


def newest_version(fleet: Fleet) -> int:
    """The number of what was published last; 0 where nothing was."""
    with fleet.database.reading() as connection:
        return connection.scalar(select(func.max(fleet_version.c.number))) or 0
