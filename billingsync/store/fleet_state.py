"""How each partner of the fleet stands, read from the database alone: names, states and counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, tuple_

from billingsync.core.states import CycleState, PartnerState
from billingsync.store.clock import database_now
from billingsync.store.columns import batches_of
from billingsync.store.fleet import Fleet
from billingsync.store.fleet_workers import SEEN_S, ShownWorker, workers_in
from billingsync.store.schema import cycle, fleet_partner, fleet_partner_version, fleet_turn, fleet_version, partner

LATE = timedelta(minutes=15)  # a look is spread over some minutes, and a busy machine needs some
LONGEST = timedelta(hours=2)  # no cycle takes longer; one that seems to has died

_NONE_DUE = (PartnerState.REMOVED, PartnerState.PAUSED, PartnerState.PARKED)
_OF_CYCLE = {
    CycleState.FAILED: PartnerState.FAILED,
    CycleState.HELD: PartnerState.HELD,
    CycleState.WAITING: PartnerState.WAITING,
    CycleState.WELL: PartnerState.WELL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerStanding:
    """`says`: why it is so, "" where the state says all. `problems` are mistakes in files that were not published: the
    partner works by `version`. `working`: a run holds its lock right now. `cause`: why it failed, e.g. "login:Pax8"."""

    name: str
    state: PartnerState
    version: int
    last_at: datetime | None
    next_at: datetime | None
    says: str
    problems: tuple[str, ...]
    working: bool
    cause: str = ""
    due_at: datetime | None = None  # None where no cycle may begin, or one is under way


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The fleet at a moment of the database's clock; `version` 0 where nothing was published. `partners`: the worst
    first, then by name."""

    at: datetime
    version: int
    published_at: datetime | None
    who: str
    partners: tuple[PartnerStanding, ...]
    workers: tuple[ShownWorker, ...] = ()

    @property
    def living(self) -> tuple[ShownWorker, ...]:
        """The workers that showed themselves just now."""
        return tuple(one for one in self.workers if self.at - one.seen_at < timedelta(seconds=SEEN_S))

    @property
    def due(self) -> tuple[PartnerStanding, ...]:
        """Partners whose cycle should begin now, those that wait longest first."""
        waiting = [one for one in self.partners if one.due_at is not None and one.due_at <= self.at]
        return tuple(sorted(waiting, key=lambda one: (one.due_at, one.name)))


def standing(fleet: Fleet) -> Standing:
    """All partners, those that were removed last."""
    with fleet.as_status().reading() as connection:
        at = connection.execute(select(database_now())).scalar_one()
        row = connection.execute(select(fleet_version).order_by(fleet_version.c.number.desc()).limit(1)).first()
        each = fleet_partner_version.c.partner
        highest = select(each, func.max(fleet_partner_version.c.version)).group_by(each)
        versions = {name: version for name, version in connection.execute(highest)}  # noqa: C416  rows are no pairs to mypy
        own = cycle.alias("own")
        newest = select(func.max(own.c.id)).where(own.c.partner == fleet_partner.c.partner).scalar_subquery()
        joined = (
            fleet_partner.join(partner, partner.c.partner == fleet_partner.c.partner)
            .outerjoin(cycle, (cycle.c.partner == fleet_partner.c.partner) & (cycle.c.id == newest))
            .outerjoin(fleet_turn, fleet_turn.c.partner == fleet_partner.c.partner)
        )
        of_cycle = (cycle.c.id, cycle.c.state, cycle.c.started_at, cycle.c.ended_at, cycle.c.next_at)
        columns = (*of_cycle, fleet_turn.c.parked_at, fleet_turn.c.parked_why, fleet_turn.c.cause)
        rows = connection.execute(select(fleet_partner, partner.c.until, *columns).select_from(joined)).all()
        found = {one.partner: (_state(one, at), one) for one in rows}
        says = _reasons(connection, found)
        workers = workers_in(connection)
    order = list(PartnerState)
    partners = [
        PartnerStanding(
            name=name,
            state=state,
            version=versions.get(name, 0),
            last_at=one.ended_at or one.started_at,
            next_at=one.next_at,
            says=says.get(name, ""),
            problems=tuple(one.problems),
            working=_is_working(one, at),
            due_at=None
            if state in _NONE_DUE or _is_working(one, at)
            else one.next_at or one.ended_at or one.started_at or at,
            cause=(one.cause or "") if state == PartnerState.FAILED else "",
        )
        for name, (state, one) in found.items()
    ]
    return Standing(
        at=at,
        version=row.number if row else 0,
        published_at=row.published_at if row else None,
        who=row.who if row else "",
        workers=workers,
        partners=tuple(sorted(partners, key=lambda one: (order.index(one.state), one.name))),
    )


def _is_working(row: Any, at: datetime) -> bool:
    return row.until is not None and row.until > at


def _state(row: Any, at: datetime) -> PartnerState:
    if row.removed:
        return PartnerState.REMOVED
    if row.paused or row.paused_at is not None:
        return PartnerState.PAUSED
    if row.parked_at is not None:
        return PartnerState.PARKED
    if row.state is None:
        return PartnerState.NEW
    if row.state == CycleState.FAILED:
        return PartnerState.FAILED
    if row.state == CycleState.RUNNING:
        alive = _is_working(row, at) or row.started_at + LONGEST > at
        return PartnerState.RUNNING if alive else PartnerState.LATE
    due = row.next_at or row.ended_at or row.started_at
    if due + LATE < at and not _is_working(row, at):
        return PartnerState.LATE
    return _OF_CYCLE.get(row.state, PartnerState.RUNNING)


def _reasons(connection: Connection, found: Mapping[str, tuple[PartnerState, Any]]) -> dict[str, str]:
    """Why a partner failed, is held or paused."""
    says = {}
    for name, (state, row) in found.items():
        if state == PartnerState.PAUSED:
            by_command = row.paused_at is not None
            says[name] = f"by {row.paused_by}: {row.paused_why}" if by_command else "by its partner.toml"
        elif state == PartnerState.PARKED:
            says[name] = f"{row.parked_why}:  billingsync fleet resume {name}"
    wanted = {name for name, (state, _) in found.items() if state in (PartnerState.FAILED, PartnerState.HELD)}
    columns = (cycle.c.partner, cycle.c.summary, cycle.c.months)
    for some in batches_of(wanted):
        newest = tuple_(cycle.c.partner, cycle.c.id).in_([(name, found[name][1].id) for name in some])
        for row in connection.execute(select(*columns).where(newest)):
            says[row.partner] = _why(found[row.partner][0], row.summary, row.months)
    return says


def _why(state: PartnerState, summary: Mapping[str, Any], months: Mapping[str, Any]) -> str:
    if state == PartnerState.FAILED:
        problem = summary.get("problem") or {}
        return str(problem.get("code", ""))
    held = {
        period: sum(int(group["charges"]) for group in month.get("holds", {}).values())
        for period, month in months.get("months", {}).items()
    }
    return ", ".join(
        f"{count} {'charge' if count == 1 else 'charges'} of {period}" for period, count in held.items() if count
    )
