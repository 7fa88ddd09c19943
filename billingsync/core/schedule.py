"""When the worker looks next: pure, from the clock, the partner's zone, and what became of each month so far.

All arithmetic is on instants in UTC: adding hours to a local time would be an hour off when the clocks change.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from billingsync.core.period import Period

MOST_MONTHS = 36  # that are caught up: with a clock gone wild there would be thousands
REST = timedelta(hours=24)  # a daily look while resting: late and replaced invoices, and credentials that expired
JITTER = 10  # the jitter is at most a tenth of the interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """The settings POLL__*: days of the month, minutes. `jitter` is a share between 0 and 1, one draw a worker, so
    that all the workers in the world do not ask Pax8 in the same second."""

    from_day: int
    every_minutes: int
    alert_day: int
    jitter: float = 0.0

    @property
    def delay(self) -> timedelta:
        """What the jitter adds to every wait."""
        return timedelta(minutes=self.every_minutes) * min(max(self.jitter, 0.0), 1.0) / JITTER

    @property
    def interval(self) -> timedelta:
        return timedelta(minutes=self.every_minutes) + self.delay


def local_day(now: datetime, zone: tzinfo) -> date:
    """The partner's day at an aware instant."""
    assert now.tzinfo is not None, "the schedule needs an aware time"
    return now.astimezone(zone).date()


def first_moment(day: date, zone: tzinfo) -> datetime:
    """The instant (UTC) at which a day begins in a zone.

    Where the clocks skip midnight, fold=0 reads 00:00 with the offset before the change, which is the very instant of
    the change; where midnight comes twice, it is the first one.
    """
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def opening(period: Period, zone: tzinfo, polling: Polling) -> datetime:
    """From when a period's invoice is looked for."""
    return first_moment(period.first_day.replace(day=polling.from_day), zone)


def months_due(
    now: datetime, *, zone: tzinfo, polling: Polling, since: Period, closed: Collection[Period]
) -> tuple[Period, ...]:
    """The months to look at now, oldest first: from `since` to the current one, without those that are closed.

    The current month is due from `POLL__FROM_DAY`; earlier ones at any time: they were missed, or something waits.
    """
    current = Period.of(local_day(now, zone))
    months: list[Period] = []
    month = since
    while month < current or (month == current and now >= opening(month, zone, polling)):
        if month not in closed:
            months.append(month)
        month = month.next
    return tuple(months[-MOST_MONTHS:])


def is_overdue(now: datetime, period: Period, *, zone: tzinfo, polling: Polling) -> bool:
    """Whether a month that has no invoice yet is an alarm."""
    day = local_day(now, zone)
    current = Period.of(day)
    return period < current or (period == current and day.day >= polling.alert_day)


def next_look(
    now: datetime,
    *,
    zone: tzinfo,
    polling: Polling,
    since: Period,
    closed: Collection[Period],
    last: datetime | None,
    failed: bool = False,
) -> datetime:
    """When to look next, never before `now` (UTC).

    `last` is when the last look began, None where there was none: then at once. While a month is due, or the last look
    failed, every `POLL__EVERY_MINUTES`; else a look a day, and one as soon as the next month opens. No wait is longer
    than counted from `now`: a clock that was set back must not put the next look off.
    """
    now = now.astimezone(UTC)
    if last is None:
        return now
    due = months_due(now, zone=zone, polling=polling, since=since, closed=closed)
    if due or failed:
        return max(now, min(last.astimezone(UTC), now) + polling.interval)
    rest = min(last.astimezone(UTC), now) + REST + polling.delay
    month = max(since, Period.of(local_day(now, zone)))
    while month in closed or opening(month, zone, polling) <= now:
        month = month.next
    return max(now, min(rest, opening(month, zone, polling) + polling.delay))


def snapshot_moment(now: datetime, at: time, zone: tzinfo) -> datetime:
    """The newest instant (UTC), not after `now`, at which the daily snapshot was due.

    A time that the clocks skip is read with the offset before the change, so that no day goes without one."""
    day = local_day(now, zone)
    today = datetime.combine(day, at, tzinfo=zone).astimezone(UTC)
    if today <= now:
        return today
    return datetime.combine(day - timedelta(days=1), at, tzinfo=zone).astimezone(UTC)


def is_snapshot_due(now: datetime, last: datetime | None, at: time, zone: tzinfo) -> bool:
    """Whether none was taken since the last time that one was due; a worker that was off takes it late, once. `last`
    after `now`, as after a clock that was set back, counts as none."""
    return last is None or last > now or last < snapshot_moment(now, at, zone)
