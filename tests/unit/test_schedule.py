"""When the worker looks next: month ends, leap days, clocks that change, jump, or are plainly wrong."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billingsync.core.period import Period
from billingsync.core.schedule import (
    MOST_MONTHS,
    Polling,
    first_moment,
    is_overdue,
    local_day,
    months_due,
    next_look,
    opening,
)

HOURLY = Polling(from_day=4, every_minutes=60, alert_day=10)
BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Pacific/Niue", "Australia/Lord_Howe",
        "America/Havana", "America/Asuncion", "Africa/Cairo", "Asia/Beirut", "Asia/Kathmandu", "Pacific/Apia",
    )
]  # fmt: skip
NOVEMBER = Period(2026, 11)


def at(text: str, zone: str = "Europe/Berlin") -> datetime:
    """`2026-11-04 00:00` as people in the zone say it."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def due(text: str, since: str = "2026-11", closed: str = "", polling: Polling = HOURLY) -> str:
    found = months_due(
        at(text),
        zone=BERLIN,
        polling=polling,
        since=Period.parse(since),
        closed={Period.parse(one) for one in closed.split()},
    )
    return " ".join(map(str, found))


@pytest.mark.parametrize(
    ("now", "since", "closed", "expected"),
    [
        ("2026-11-03 23:59", "2026-11", "", ""),
        ("2026-11-04 00:00", "2026-11", "", "2026-11"),
        ("2026-11-30 23:59", "2026-11", "", "2026-11"),
        ("2026-11-30 23:59", "2026-11", "2026-11", ""),
        # not released by the end of the month: it stays due while the next one is not yet looked for
        ("2026-12-01 00:00", "2026-11", "", "2026-11"),
        ("2026-12-04 00:00", "2026-11", "", "2026-11 2026-12"),
        ("2027-01-01 00:00", "2026-11", "2026-11", "2026-12"),
        # two months missed, caught up oldest first
        ("2027-01-20 12:00", "2026-10", "2026-10", "2026-11 2026-12 2027-01"),
        # held in the middle: looked at again, beside the newest
        ("2027-01-20 12:00", "2026-10", "2026-10 2026-12", "2026-11 2027-01"),
        # the partner's midnight decides, not that of UTC: 23:30 UTC on the 3rd is the 4th in Berlin
        ("2026-11-04 00:30", "2026-11", "", "2026-11"),
        ("2024-02-29 23:59", "2024-02", "2024-02", ""),
        # a clock that was set back before everything
        ("2025-01-01 12:00", "2026-11", "", ""),
    ],
)
def test_months_due(now: str, since: str, closed: str, expected: str) -> None:
    assert due(now, since, closed) == expected


def test_a_clock_gone_wild_does_not_make_thousands_of_months() -> None:
    assert len(due("2106-02-07 00:00").split()) == MOST_MONTHS


@pytest.mark.parametrize("from_day", [1, 28])
def test_looking_from_the_first_and_from_the_28th_of_a_february(from_day: int) -> None:
    polling = Polling(from_day=from_day, every_minutes=60, alert_day=28)
    first = opening(Period(2027, 2), BERLIN, polling)
    assert local_day(first, BERLIN) == date(2027, 2, from_day)
    assert months_due(first, zone=BERLIN, polling=polling, since=Period(2027, 2), closed=()) == (Period(2027, 2),)
    earlier = first - timedelta(seconds=1)
    assert months_due(earlier, zone=BERLIN, polling=polling, since=Period(2027, 2), closed=()) == ()


@pytest.mark.parametrize(
    ("now", "period", "overdue"),
    [
        ("2026-11-09 23:59", "2026-11", False),
        ("2026-11-10 00:00", "2026-11", True),
        ("2026-12-01 00:00", "2026-11", True),
        ("2026-12-01 00:00", "2026-12", False),
    ],
)
def test_overdue(now: str, period: str, overdue: bool) -> None:
    assert is_overdue(at(now), Period.parse(period), zone=BERLIN, polling=HOURLY) is overdue


def look(now: str, last: str | None, closed: str = "", *, failed: bool = False, polling: Polling = HOURLY) -> str:
    found = next_look(
        at(now),
        zone=BERLIN,
        polling=polling,
        since=NOVEMBER,
        closed={Period.parse(one) for one in closed.split()},
        last=at(last) if last else None,
        failed=failed,
    )
    return found.astimezone(BERLIN).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("now", "last", "closed", "expected"),
    [
        # never looked: at once
        ("2026-11-04 09:00", None, "", "2026-11-04 09:00"),
        ("2026-11-20 09:00", None, "2026-11", "2026-11-20 09:00"),
        # polling: an hour after the last look began
        ("2026-11-04 09:05", "2026-11-04 09:00", "", "2026-11-04 10:00"),
        ("2026-11-30 23:30", "2026-11-30 23:15", "", "2026-12-01 00:15"),
        # overslept: at once, and once
        ("2026-11-04 15:00", "2026-11-04 09:00", "", "2026-11-04 15:00"),
        # resting: a look a day
        ("2026-11-05 09:05", "2026-11-05 09:00", "2026-11", "2026-11-06 09:00"),
        # resting, and the next month opens before the daily look
        ("2026-12-03 12:00", "2026-12-03 11:00", "2026-11", "2026-12-04 00:00"),
        # before the first month opens
        ("2026-11-03 20:00", "2026-11-03 19:00", "", "2026-11-04 00:00"),
        ("2026-11-01 20:00", "2026-11-01 19:00", "", "2026-11-02 19:00"),
        # the turn of the year
        ("2027-01-03 20:00", "2027-01-03 19:00", "2026-11 2026-12", "2027-01-04 00:00"),
    ],
)
def test_next_look(now: str, last: str | None, closed: str, expected: str) -> None:
    assert look(now, last, closed) == expected


def test_a_failed_look_is_repeated_although_the_month_rests() -> None:
    assert look("2026-11-05 09:05", "2026-11-05 09:00", "2026-11", failed=True) == "2026-11-05 10:00"


@pytest.mark.parametrize("closed", ["", "2026-11"])
def test_a_clock_set_back_by_years_does_not_put_the_next_look_off(closed: str) -> None:
    """`last` then lies in the future."""
    found = next_look(
        at("2026-11-20 09:00"),
        zone=BERLIN,
        polling=HOURLY,
        since=NOVEMBER,
        closed={NOVEMBER} if closed else (),
        last=at("2033-01-01 00:00"),
    )
    assert found - at("2026-11-20 09:00") <= timedelta(hours=24)


@pytest.mark.parametrize(
    ("day", "spring"), [("2027-03-28", True), ("2027-10-31", False)]
)  # Berlin's clocks: 2 to 3, 3 to 2
def test_an_hour_is_an_hour_when_the_clocks_change(day: str, spring: bool) -> None:
    last = at(f"{day} 01:30")
    found = next_look(
        last + timedelta(minutes=1), zone=BERLIN, polling=HOURLY, since=Period(2027, 3), closed=(), last=last
    )
    assert found - last == timedelta(hours=1)
    assert found.astimezone(BERLIN).strftime("%H:%M") == ("03:30" if spring else "02:30")


def test_a_midnight_that_the_clocks_skip() -> None:
    """Asuncion's and Cairo's clocks went from 0:00 to 1:00: there the day began at 1:00."""
    for zone, day in ((ZoneInfo("America/Asuncion"), date(2023, 10, 1)), (ZoneInfo("Africa/Cairo"), date(2024, 4, 26))):
        begins = first_moment(day, zone)
        assert local_day(begins, zone) == day
        assert local_day(begins - timedelta(seconds=1), zone) == day - timedelta(days=1)
        assert begins.astimezone(zone).hour == 1


def test_a_midnight_that_comes_twice() -> None:
    """Havana's clocks go from 1:00 back to 0:00: the first of the two midnights begins the day."""
    zone = ZoneInfo("America/Havana")
    begins = first_moment(date(2026, 11, 1), zone)
    assert local_day(begins - timedelta(seconds=1), zone) == date(2026, 10, 31)


@given(
    zone=st.sampled_from(ZONES),
    minutes=st.integers(min_value=0, max_value=40 * 366 * 24 * 60),
    from_day=st.integers(min_value=1, max_value=28),
    every=st.integers(min_value=1, max_value=1440),
    jitter=st.floats(min_value=0, max_value=1),
    ago=st.integers(min_value=-600_000, max_value=600_000),
    closed=st.integers(min_value=0, max_value=3),
    failed=st.booleans(),
)
def test_whatever_the_clock_says(
    zone: ZoneInfo, minutes: int, from_day: int, every: int, jitter: float, ago: int, closed: int, failed: bool
) -> None:
    """Never in the past, never further away than a day and the jitter, and never late for an opening."""
    now = datetime(2010, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    polling = Polling(from_day=from_day, every_minutes=every, alert_day=28, jitter=jitter)
    current = Period.of(local_day(now, zone))
    since = current.previous.previous
    months = [since, since.next, current][:closed]
    last = now - timedelta(minutes=ago)
    found = next_look(now, zone=zone, polling=polling, since=since, closed=frozenset(months), last=last, failed=failed)
    assert found.tzinfo is UTC
    assert now <= found <= now + timedelta(hours=24) * 1.1 + polling.delay
    opens = [opening(one, zone, polling) for one in (current, current.next) if one not in months]
    for opened in opens:
        if now < opened:
            assert found <= opened + polling.delay or found <= now + polling.interval
    assert local_day(opening(current, zone, polling), zone).day == from_day


def test_a_year_of_looks_month_after_month() -> None:
    """Played through: each month is opened within minutes, closed at its third look, and rests with a look a day."""
    polling = Polling(from_day=4, every_minutes=60, alert_day=10, jitter=0.5)
    now, closed, last = at("2027-01-01 12:00"), set(), None
    looks: dict[Period, list[datetime]] = {}
    rests = 0
    since = Period(2027, 1)
    for _ in itertools.count():
        now = next_look(now, zone=BERLIN, polling=polling, since=since, closed=closed, last=last)
        if now > at("2027-12-31 23:00"):
            break
        last = now
        months = months_due(now, zone=BERLIN, polling=polling, since=since, closed=closed)
        rests += not months
        for month in months:
            looks.setdefault(month, []).append(now)
            if len(looks[month]) == 3:
                closed.add(month)
        now += timedelta(seconds=7)
    assert [len(found) for found in looks.values()] == [3] * 12
    for month, found in looks.items():
        opened = opening(month, BERLIN, polling)
        assert opened <= found[0] <= opened + timedelta(minutes=10), month
    assert 330 <= rests <= 365
