"""A period is a calendar month."""

from __future__ import annotations

from datetime import date

import pytest

from billingsync.core.period import Period


@pytest.mark.parametrize(
    ("text", "first", "last", "before", "after"),
    [
        ("2026-11", "2026-11-01", "2026-11-30", "2026-10", "2026-12"),
        ("2026-12", "2026-12-01", "2026-12-31", "2026-11", "2027-01"),
        ("2027-01", "2027-01-01", "2027-01-31", "2026-12", "2027-02"),
        ("2028-02", "2028-02-01", "2028-02-29", "2028-01", "2028-03"),  # a leap year
        ("2100-02", "2100-02-01", "2100-02-28", "2100-01", "2100-03"),  # not one
    ],
)
def test_months_follow_each_other(text: str, first: str, last: str, before: str, after: str) -> None:
    period = Period.parse(text)
    assert (str(period.first_day), str(period.last_day)) == (first, last)
    assert (str(period.previous), str(period.next)) == (before, after)
    assert period.next.previous == period.previous.next == period
    assert Period.of(period.first_day) == Period.of(period.last_day) == period
    assert str(period) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026",
        "2026-1",
        "2026-13",
        "2026-00",
        "26-11",
        "2026-11-01",
        "2026/11",
        " 2026-11",
        "2026-11\n",
        "１９９９-01",
        "２０２６-11",
        "1999-12",
        "9999-01",
        "0000-01",
    ],
)
def test_anything_else_is_no_period(text: str) -> None:
    with pytest.raises(ValueError):
        Period.parse(text)


@pytest.mark.parametrize(("year", "month"), [(2000, 1), (9998, 12)])
def test_the_first_and_the_last_month_there_are(year: int, month: int) -> None:
    """A year more to either side is a slip of the finger."""
    period = Period(year, month)
    assert Period.parse(str(period)) == period
    for other in (1999, 9999):
        with pytest.raises(ValueError, match=f"no such month: {other}-01"):
            Period(other, 1)


def test_a_slip_in_a_period_is_named() -> None:
    with pytest.raises(ValueError, match="a period is written like 2026-11, not '2026/11'"):
        Period.parse("2026/11")
    with pytest.raises(ValueError, match="no such month: 2026-13"):
        Period.parse("2026-13")


def test_periods_are_ordered_by_time() -> None:
    assert Period(2025, 12) < Period(2026, 1) < Period(2026, 11) < Period(2027, 1)
    assert Period.of(date(2026, 11, 15)) == Period(2026, 11)


@pytest.mark.parametrize(
    ("text", "count", "found"),
    [
        ("2026-11", 0, "2026-11"),
        ("2026-11", 1, "2026-10"),
        ("2026-11", 10, "2026-01"),
        ("2026-11", 11, "2025-12"),
        ("2026-01", 1, "2025-12"),
        ("2026-12", 12, "2025-12"),
        ("2026-12", 35, "2024-01"),
    ],
)
def test_months_before(text: str, count: int, found: str) -> None:
    assert str(Period.parse(text).months_before(count)) == found
