"""What people are told: an outbox. Each thing is told once, however many cycles find it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, update

from billingsync.store.book import Book
from billingsync.store.database import insert, read_as
from billingsync.store.schema import notice

KEPT = timedelta(days=400)  # told and closed notices: a year's worth is looked back at, no more
# In `delivered`, beside the positions in NOTIFY__URLS: the HaloPSA ticket is there; one may have been sent.
TICKET, TICKET_BEGUN = -1, -2
RECOVERS = ("failed", "overdue")  # events whose end is news, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something that people must know. `key` names it for good, e.g. "posted:2026-11"; its part before the last
    colons is what a cycle says it has checked. `lasting`: it goes on until a cycle that checked does not find it any
    more, and may come again; else it is told once for ever. `steps` are the commands to type next."""

    key: str
    event: str  # released | held | posted | failed | overdue | recovered
    title: str
    body: str = ""
    steps: tuple[tuple[str, ...], ...] = ()
    lasting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A thing as it lies in the outbox. `delivered` says who has it: positions in NOTIFY__URLS, TICKET;
    `told_at` is set when nobody is left to be told."""

    thing: str
    opened_at: datetime
    event: str
    title: str
    body: str
    steps: Sequence[Sequence[str]]
    lasting: bool
    delivered: Sequence[int] = field(default=())
    attempts: int = 0
    told_at: datetime | None = None
    closed_at: datetime | None = None


class NoticeBook(Book):
    def tell(self, things: Iterable[Thing], checked: Collection[str], now: datetime) -> tuple[Notice, ...]:
        """Puts new things into the outbox, and closes lasting ones that are over: those whose key begins with one of
        `checked` and that are not among `things`. Gives what is new; the end of a failure is news, too."""
        found = {thing.key: thing for thing in things}
        new: list[Thing] = []
        with self.writing() as connection:
            known = find_notices(connection, self.name)
            open_ = {row.thing: row for row in known if row.lasting and row.closed_at is None}
            for row in open_.values():
                if row.thing not in found and any(row.thing.startswith(prefix) for prefix in checked):
                    close_notice(connection, self.name, row, now)
                    if row.event in RECOVERS:
                        new.append(_recovered(row))
            once = {row.thing for row in known if not row.lasting}
            new += [thing for thing in found.values() if thing.key not in (open_ if thing.lasting else once)]
            # A microsecond apart, so that they stay in the order in which they are told.
            told = tuple(_as_notice(thing, now + timedelta(microseconds=n)) for n, thing in enumerate(new))
            for row in told:
                add_notice(connection, self.name, row)
            forget_notices(connection, self.name, now - KEPT)
        return told

    def untold(self) -> tuple[Notice, ...]:
        """What somebody still waits for, oldest first."""
        with self.reading() as connection:
            return tuple(row for row in find_notices(connection, self.name) if row.told_at is None)

    def open_notices(self) -> tuple[Notice, ...]:
        """Lasting things that go on."""
        with self.reading() as connection:
            return tuple(row for row in find_notices(connection, self.name) if row.lasting and row.closed_at is None)

    def mark_delivered(self, notices: Iterable[Notice], to: Collection[int], *, finished: bool, now: datetime) -> None:
        """After a round of sending: who has them now; `finished` where nobody is left."""
        with self.writing() as connection:
            for each in notices:
                has = sorted({*each.delivered, *to})
                values = {"delivered": has, "attempts": each.attempts + 1, "told_at": now if finished else None}
                connection.execute(update(notice).where(*_identity(self.name, each)).values(**values))


def _recovered(row: Notice) -> Thing:
    since = row.opened_at.isoformat(timespec="minutes")
    key = f"recovered:{row.thing}:{row.opened_at.isoformat()}"
    return Thing(key=key, event="recovered", title=f"Well again: {row.title}", body=f"It began at {since}.")


def _identity(name: str, row: Notice) -> tuple[Any, ...]:
    return notice.c.partner == name, notice.c.thing == row.thing, notice.c.opened_at == row.opened_at


def _as_notice(thing: Thing, now: datetime) -> Notice:
    return Notice(
        thing=thing.key,
        opened_at=now,
        event=thing.event,
        title=thing.title,
        body=thing.body,
        steps=thing.steps,
        lasting=thing.lasting,
    )


def add_notice(connection: Connection, name: str, row: Notice) -> None:
    """A new notice; none where another worker was faster."""
    values = {column: getattr(row, column) for column in Notice.__slots__}
    values |= {"steps": [list(step) for step in row.steps], "delivered": list(row.delivered)}
    connection.execute(insert(connection, notice).values(partner=name, **values).on_conflict_do_nothing())


def close_notice(connection: Connection, name: str, row: Notice, now: datetime) -> None:
    """The thing is over. What nobody was told of yet need not be told any more."""
    values = {"closed_at": now, "told_at": row.told_at or now}
    connection.execute(update(notice).where(*_identity(name, row)).values(**values))


def forget_notices(connection: Connection, name: str, before: datetime) -> None:
    """Drops lasting things that were over long ago. The others stay: each says that it was told."""
    over = (notice.c.lasting.is_(True), notice.c.closed_at < before)
    connection.execute(delete(notice).where(notice.c.partner == name, *over))
    connection.execute(
        delete(notice).where(notice.c.partner == name, notice.c.event == "recovered", notice.c.told_at < before)
    )


def find_notices(connection: Connection, name: str) -> tuple[Notice, ...]:
    """Every notice that is kept, oldest first."""
    query = select(notice).where(notice.c.partner == name).order_by(notice.c.opened_at, notice.c.thing)
    return tuple(read_as(Notice, row) for row in connection.execute(query))
