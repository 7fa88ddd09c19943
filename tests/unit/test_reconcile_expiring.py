"""Subscriptions that end: thresholds, the two rows, dates that are missing or past, money, and notices once."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from reconcile_sample import Book

from billingsync.core.reconcile.expiring import CommitmentTerms, Expiry, Renews, Row, due_notices, expiring
from billingsync.core.reconcile.snapshot import Commitment

TODAY = date(2026, 11, 28)
YEAR = "1-Year"


def book_of(rows: dict[str, tuple[str, str | None, date | None, date | None]]) -> Book:
    """id -> billing term, commitment term, commitment's end, the subscription's own end."""
    book = Book()
    for id_, (term, commitment, bound, end) in rows.items():
        made = Commitment(id=f"k-{id_}", term=commitment, end=bound) if commitment else None
        book.sub(id_, 12, billing_term=term, commitment=made, end=end, price="240.00")
    return book


EXAMPLE: dict[str, tuple[str, str | None, date | None, date | None]] = {
    "A": ("Annual", YEAR, date(2026, 12, 10), None),
    "B": ("Monthly", YEAR, date(2026, 12, 20), None),
    "C": ("Trial", None, None, date(2026, 12, 1)),
    "D": ("3-Year", None, None, date(2027, 2, 20)),
    "E": ("Annual", YEAR, date(2027, 2, 26), None),
    "F": ("Annual", YEAR, date(2027, 2, 27), None),
    "G": ("Annual", YEAR, None, None),
    "H": ("Annual", YEAR, date(2026, 11, 27), None),
    "I": ("Monthly", None, None, date(2026, 12, 5)),
}


def look(book: Book, **more: Any) -> Expiry:
    return expiring(book.compare().subscriptions, TODAY, more.pop("commitments", {}), **more)


def test_9_expiring_by_threshold_in_two_rows() -> None:
    expiry = look(book_of(EXAMPLE))
    assert expiry.counts == {15: 1, 30: 1, 90: 3} and expiry.committed_monthly == {15: 0, 30: 1, 90: 1}
    assert (expiry.no_date, expiry.past_end) == (1, 1)
    days = {one.one.subscription.id: one.days for one in expiry.subscriptions}
    assert days == {"A": 12, "B": 22, "D": 84, "E": 90, "G": None, "H": -1}
    (annual,) = [one for one in expiry.subscriptions if one.one.subscription.id == "A"]
    assert (annual.month, annual.year) == (Decimal("240.00"), Decimal("2880.00"))
    assert expiry.companies[Row.TERM, 15] == ("c1",)


def test_the_day_itself_counts_and_the_day_after_is_past() -> None:
    expiry = look(book_of({"a": ("Annual", YEAR, TODAY, None), "b": ("Annual", YEAR, date(2026, 10, 29), None)}))
    assert expiry.counts[15] == 1 and expiry.past_end == 1
    assert look(book_of({"b": ("Annual", YEAR, date(2026, 10, 28), None)})).past_end == 0


@pytest.mark.parametrize(
    ("term", "month", "year"),
    [
        ("Monthly", "2880.00", "34560.00"),
        ("2-Year", "120.00", "1440.00"),
        ("One-Time", "0.00", "0.00"),
        ("Weekly", None, None),
    ],
)
def test_money_follows_the_billing_term(term: str, month: str | None, year: str | None) -> None:
    (one,) = look(book_of({"a": (term, YEAR, date(2026, 12, 1), None)})).subscriptions
    wanted = (Decimal(month), Decimal(year)) if month and year else (None, None)
    assert (one.month, one.year) == wanted


def test_fault_53_a_commitment_that_is_a_bare_text_binds_too() -> None:
    book = Book()
    book.sub("a", 1, commitment=Commitment(term="1-Year"), end=date(2026, 12, 1))
    book.sub("b", 1, commitment=Commitment(term="Monthly"), end=date(2026, 12, 1))
    assert look(book).committed_monthly == {15: 1, 30: 1, 90: 1}


def test_plain_monthly_without_an_end_has_none() -> None:
    assert look(book_of({"a": ("Monthly", None, None, None)})).no_date == 0
    assert look(book_of({"a": ("Monthly", YEAR, None, None)})).no_date == 1


def test_whether_it_renews_is_only_said_where_pax8_says_it() -> None:
    book = book_of({"a": ("Annual", YEAR, date(2026, 12, 1), None), "b": ("Annual", YEAR, date(2026, 12, 2), None)})
    book.sub("c", 1, billing_term="Annual", status="PendingCancel", end=date(2026, 12, 3))
    told = {"k-a": CommitmentTerms(auto_renew=True), "k-b": CommitmentTerms(auto_renew=False)}
    renews = [one.renews for one in look(book, commitments=told).subscriptions]
    assert renews == [Renews.YES, Renews.NOT_KNOWN, Renews.NO]


def test_ended_and_excluded_ones_are_not_shown() -> None:
    book = Book()
    book.sub("a", 1, billing_term="Annual", status="Cancelled", end=date(2026, 12, 1))
    book.sub("b", 1, billing_term="Annual", status="PendingCancel", end=date(2026, 11, 20))
    assert look(book).subscriptions == ()


def test_a_notice_is_due_once_for_each_threshold_in_both_rows() -> None:
    expiry = look(book_of(EXAMPLE))
    due = {(one.one.subscription.id, days) for days, one in due_notices(expiry, ())}
    assert due == {("A", 15), ("B", 30), ("D", 90), ("E", 90)}
    assert due_notices(expiry, due) == ()
