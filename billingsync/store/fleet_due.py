"""Which partners of the fleet have a cycle due, by the database's clock."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, or_, select

from billingsync.core.states import CycleState
from billingsync.store.clock import database_now
from billingsync.store.fleet import Fleet
from billingsync.store.schema import cycle, fleet_partner, fleet_turn, fleet_version, partner


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """`weight`: how much more work than others; the heavier begins first."""

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
    query = (
        select(fleet_partner.c.partner, fleet_partner.c.weight)
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
        .order_by(fleet_partner.c.weight.desc(), fleet_partner.c.partner)
    )
    with fleet.database.reading() as connection:
        return tuple(Due(name=row.partner, weight=row.weight) for row in connection.execute(query))


def newest_version(fleet: Fleet) -> int:
    """The number of what was published last; 0 where nothing was."""
    with fleet.database.reading() as connection:
        return connection.scalar(select(func.max(fleet_version.c.number))) or 0
