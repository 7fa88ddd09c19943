"""How long the partners' cycles took, which is what capacity is planned from."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from billingsync.core.states import CycleState
from billingsync.store.clock import database_now
from billingsync.store.fleet import Fleet
from billingsync.store.schema import cycle

OF = timedelta(days=35)  # a month, and some days: each partner's month is posted in one of its cycles
_ENDED = (CycleState.WELL, CycleState.HELD, CycleState.WAITING)


def longest_cycles(fleet: Fleet) -> dict[str, float]:
    """Partner -> seconds of its longest cycle of the last 35 days that was not broken off: where it posted."""
    query = select(cycle.c.partner, cycle.c.started_at, cycle.c.ended_at).where(
        cycle.c.ended_at.is_not(None),
        cycle.c.state.in_(_ENDED),
        cycle.c.started_at > database_now(-OF.total_seconds()),
    )
    found: dict[str, float] = {}
    with fleet.as_status().reading() as connection:
        for row in connection.execute(query):
            found[row.partner] = max(found.get(row.partner, 0.0), (row.ended_at - row.started_at).total_seconds())
    return found
