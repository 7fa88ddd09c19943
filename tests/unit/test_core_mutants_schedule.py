"""The edges of the worker's schedule: jitter, the partner's midnight, months of the future."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from billingsync.core.period import Period
from billingsync.core.schedule import REST, Polling, is_overdue, local_day, next_look

BERLIN = ZoneInfo("Europe/Berlin")
NOVEMBER = Period(2026, 11)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


def polling(jitter: float = 0.0) -> Polling:
    return Polling(from_day=4, every_minutes=60, alert_day=10, jitter=jitter)


def look(now: str, last: str, *closed: Period, jitter: float = 0.0) -> datetime:
    return next_look(
        at(now), zone=BERLIN, polling=polling(jitter), since=NOVEMBER, closed=closed, last=at(last), failed=False
    )


@pytest.mark.parametrize(
    ("jitter", "minutes"),
    [(0.0, 0), (0.5, 3), (1.0, 6), (7.0, 6), (-1.0, 0)],
    ids=["none", "half", "all", "more", "less"],
)
def test_the_jitter_adds_at_most_a_tenth_of_the_interval(jitter: float, minutes: int) -> None:
    assert polling(jitter).delay == timedelta(minutes=minutes)
    assert polling(jitter).interval == timedelta(minutes=60 + minutes)


def test_every_wait_has_the_jitter() -> None:
    assert look("2026-11-04 09:05", "2026-11-04 09:00", jitter=0.5) == at("2026-11-04 10:03")
    assert look("2026-11-05 09:05", "2026-11-05 09:00", NOVEMBER, jitter=0.5) == at("2026-11-06 09:03")
    assert look("2026-12-03 12:00", "2026-12-03 11:00", NOVEMBER, jitter=0.5) == at("2026-12-04 00:03")


def test_a_month_opens_at_the_partners_midnight() -> None:
    """Half an hour after it is still the day before in UTC."""
    assert look("2026-11-04 00:30", "2026-11-04 00:10") == at("2026-11-04 01:10")
    assert local_day(at("2026-11-04 00:30").astimezone(UTC), BERLIN).day == 4


def test_a_month_that_is_closed_before_it_opens_is_not_waited_for() -> None:
    assert look("2026-11-03 20:00", "2026-11-03 19:00", NOVEMBER) == at("2026-11-03 19:00") + REST


def test_a_month_of_the_future_is_not_overdue() -> None:
    assert is_overdue(at("2026-11-15 12:00"), NOVEMBER.next, zone=BERLIN, polling=polling()) is False
    assert is_overdue(at("2026-11-15 12:00"), NOVEMBER, zone=BERLIN, polling=polling()) is True


@pytest.mark.parametrize("last", ["2026-11-04 09:00", "2026-11-05 08:00"])
def test_the_next_look_is_said_in_utc(last: str) -> None:
    for closed in ((), (NOVEMBER,)):
        assert look("2026-11-05 09:05", last, *closed).tzinfo is UTC
    assert (
        next_look(at("2026-11-05 09:05"), zone=BERLIN, polling=polling(), since=NOVEMBER, closed=(), last=None).tzinfo
        is UTC
    )


def test_a_time_without_a_zone_is_no_time() -> None:
    with pytest.raises(AssertionError, match="aware"):
        local_day(datetime(2026, 11, 4), BERLIN)  # noqa: DTZ001 -- that is the point
