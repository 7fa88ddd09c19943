"""What the bureau is told: one cause at many partners as one notice, and partners that are parked. Names, states and
counts alone: nothing else of a partner is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, func, or_, select, update

from billingsync.store.clock import database_now
from billingsync.store.database import Database
from billingsync.store.schema import fleet_notice, fleet_partner, fleet_turn

WITHIN = timedelta(minutes=15)  # failures for one cause within it are one matter
FEWEST, MOST, SHARE = 3, 20, 0.05  # partners: so many, or this share of all, are many
HELD_BACK = timedelta(hours=4)  # the partners' own notices of it wait no longer
SENDING_S = 120.0
STALE = timedelta(hours=24)  # what nobody could be told within it is no news any more
_NAMED = 5
_LOCK = 0x62696C6F  # PostgreSQL's advisory locks are numbers; this one lasts as long as its transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class BureauNotice:
    """`thing` names it for good, e.g. "many:upstream:Pax8"; `opened_at` as the database has it."""

    thing: str
    opened_at: Any
    event: str
    title: str
    body: str
    steps: Sequence[Sequence[str]]
    partners: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    thing: str
    title: str
    body: str
    steps: tuple[tuple[str, ...], ...]
    partners: int = 0


def many(partners: int) -> int:
    """How many of so many partners are told of as one matter."""
    return max(FEWEST, min(MOST, -int(-partners * SHARE // 1)))


def look_around(database: Database, more: Iterable[tuple[str, str, str]] = ()) -> tuple[BureauNotice, ...]:
    """Opens and closes notices by how the partners stand, and gives those that are new. `more`: what the worker itself
    found, (thing, title, body) each; its things begin with "worker:"."""
    with database.writing() as connection:
        if database.file is None:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        open_ = {
            row.thing: row for row in connection.execute(select(fleet_notice).where(fleet_notice.c.closed_at.is_(None)))
        }
        crowds = _crowds(connection, open_)
        alone = () if any(one.thing == "many:secrets" for one in crowds) else _without_secrets(connection)
        found = {one.thing: one for one in (*crowds, *alone, *_parked(connection))}
        found |= {thing: _Found(thing=thing, title=title, body=body, steps=(_STATUS,)) for thing, title, body in more}
        now = connection.execute(select(database_now())).scalar_one()
        new = []
        for thing, row in open_.items():
            if thing in found or row.event == "recovered":
                continue
            own = update(fleet_notice).where(fleet_notice.c.thing == thing, fleet_notice.c.opened_at == row.opened_at)
            connection.execute(own.values(closed_at=now))
            since = f"{row.opened_at:%Y-%m-%d %H:%MZ}"
            well = _Found(thing=f"over:{thing}", title=f"Well again: {row.title}", body=f"It began {since}.", steps=())
            new.append(_add(connection, well, "recovered", now))
        new += [_add(connection, one, "failed", now) for thing, one in found.items() if thing not in open_]
        return tuple(new)


def open_crowds(database: Database) -> frozenset[str]:
    """Causes of which the bureau was told that many partners have them, while the partners' own notices wait."""
    crowds = select(fleet_notice.c.thing).where(
        fleet_notice.c.closed_at.is_(None),
        fleet_notice.c.thing.like("many:%"),
        fleet_notice.c.opened_at > database_now(-HELD_BACK.total_seconds()),
    )
    with database.reading() as connection:
        return frozenset(thing.removeprefix("many:") for thing in connection.execute(crowds).scalars())


def deliver(database: Database, send: Callable[[BureauNotice], bool]) -> int:
    """Sends what nobody was told yet; one worker at a time is at a notice. `send` says whether it was taken. Gives how
    many were."""
    free = or_(fleet_notice.c.sending_until.is_(None), fleet_notice.c.sending_until < database_now())
    fresh = fleet_notice.c.opened_at > database_now(-STALE.total_seconds())
    untold = select(fleet_notice).where(fleet_notice.c.told_at.is_(None), free, fresh)
    with database.writing() as connection:
        rows = connection.execute(untold.order_by(fleet_notice.c.opened_at).with_for_update(skip_locked=True)).all()
        for row in rows:
            connection.execute(_of(row).values(sending_until=database_now(SENDING_S)))
    told = 0
    for row in rows:
        if send(_notice(row)):
            told += 1
            with database.writing() as connection:
                connection.execute(_of(row).values(told_at=database_now()))
    return told


_STATUS = ("billingsync", "fleet", "status")


def _of(row: Any) -> Any:
    return update(fleet_notice).where(fleet_notice.c.thing == row.thing, fleet_notice.c.opened_at == row.opened_at)


def _notice(row: Any) -> BureauNotice:
    return BureauNotice(**{key: getattr(row, key) for key in BureauNotice.__slots__})


def _add(connection: Connection, one: _Found, event: str, now: Any) -> BureauNotice:
    notice = BureauNotice(
        thing=one.thing,
        opened_at=now,
        event=event,
        title=one.title,
        body=one.body,
        steps=[list(step) for step in one.steps],
        partners=one.partners,
    )
    row = {key: getattr(notice, key) for key in BureauNotice.__slots__}
    closed = now if event == "recovered" else None
    connection.execute(fleet_notice.insert().values(**row, closed_at=closed))
    return notice


def _crowds(connection: Connection, open_: Mapping[str, Any]) -> list[_Found]:
    """Causes that many partners have: within a quarter of an hour, or still, where the bureau was told of it."""
    mine = fleet_turn.c.partner == fleet_partner.c.partner
    query = select(fleet_turn.c.partner, fleet_turn.c.cause, fleet_turn.c.cause_at, database_now().label("now"))
    live = fleet_partner.c.removed.is_(False)
    rows = connection.execute(query.join(fleet_partner, mine).where(fleet_turn.c.cause.is_not(None), live)).all()
    least = many(connection.scalar(select(func.count()).select_from(fleet_partner).where(live)) or 0)
    by_cause: dict[str, list[Any]] = {}
    for row in rows:
        by_cause.setdefault(row.cause, []).append(row)
    found = []
    for cause, those in sorted(by_cause.items()):
        counted = those if f"many:{cause}" in open_ else [row for row in those if row.now - row.cause_at <= WITHIN]
        if len(counted) >= least:
            found.append(_crowd(cause, sorted(row.partner for row in counted)))
    return found


def _crowd(cause: str, names: Sequence[str]) -> _Found:
    kind, _, about = cause.partition(":")
    number = len(names)
    title = {
        "login": f"{about} refuses the credentials of {number} partners",
        "upstream": f"{about} cannot be used for {number} partners",
        "secrets": f"The secrets of {number} partners cannot be read",
    }.get(kind, f"{number} partners fail for the same cause ({cause})")
    more = f" and {number - _NAMED} more" if number > _NAMED else ""
    body = f"{', '.join(names[:_NAMED])}{more}. Their own notices of it wait until it is over, at most 4 hours."
    step = (*_STATUS, "--state", "failed")
    return _Found(thing=f"many:{cause}", title=title, body=body, steps=(step,), partners=number)


def _without_secrets(connection: Connection) -> list[_Found]:
    """Partners whose secrets could not be read twice: their own addresses are among them, so they cannot be told."""
    rows = connection.execute(select(fleet_turn).where(fleet_turn.c.cause == "secrets", fleet_turn.c.failures > 1))
    return [
        _Found(
            thing=f"secrets:{row.partner}",
            title=f"The secrets of {row.partner} cannot be read",
            body="Nobody was called.",
            steps=(("billingsync", "fleet", "doctor", "--partner", row.partner),),
            partners=1,
        )
        for row in rows
    ]


def _parked(connection: Connection) -> list[_Found]:
    rows = connection.execute(select(fleet_turn).where(fleet_turn.c.parked_at.is_not(None)))
    return [
        _Found(
            thing=f"parked:{row.partner}",
            title=f"{row.partner} is parked",
            body=f"No cycle begins for it: {row.parked_why}.",
            steps=(("billingsync", "fleet", "resume", row.partner),),
            partners=1,
        )
        for row in rows
    ]
