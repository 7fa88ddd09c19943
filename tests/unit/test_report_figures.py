"""How people see numbers and foreign text: every digit kept, nothing alive."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billingsync.report.escape import inert, one_line, shortened, whole
from billingsync.report.labels import likeness
from billingsync.report.numbers import Figures


@pytest.mark.parametrize(
    ("locale", "number", "currency", "text"),
    [
        ("en_US", "18231.07", "USD", "18,231.07"),
        ("de_DE", "-1234567.5", "EUR", "-1.234.567,50"),
        ("de-CH", "1234.5", "CHF", "1’234.50"),
        ("hi_IN", "12345678.9", "INR", "1,23,45,678.90"),
        ("fr_FR.UTF-8", "18231.07", "EUR", "18\u202f231,07"),
        ("en_US", "12000", "JPY", "12,000"),
        ("en_US", "1.25", "KWD", "1.250"),
        ("en_US", "2.4999", "USD", "2.4999"),
        ("C", "1000", "USD", "1,000.00"),
        ("nonsense", "-0.004", "USD", "-0.004"),
        ("en_US", "999", "JPY", "999"),
        ("ar_EG", "-1234.5", "EGP", "-1,234.50"),
    ],
)
def test_amounts(locale: str, number: str, currency: str, text: str) -> None:
    assert Figures(locale).amount(D(number), currency) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12))
def test_no_digit_is_lost(number: D) -> None:
    assert D(Figures().amount(number, "USD").replace(",", "")) == number
    assert D(Figures("de_DE").quantity(number).replace(".", "").replace(",", ".")) == number


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        ("261.37", "232.53", "+12.4 %"),
        ("50", "100", "-50.0 %"),
        ("100", "100", "unchanged"),
        ("100", "0", "was 0.00"),
        ("100", "-5", "was -5.00"),
        ("100.04", "100", "+0.0 %"),
        ("0", "100", "-100.0 %"),
    ],
)
def test_changes(now: str, before: str, said: str) -> None:
    assert Figures().change(D(now), D(before), "USD") == said


def test_nothing_came_before() -> None:
    assert Figures().change(D(1), None, "USD") == ""


def test_dates() -> None:
    assert Figures().month("2026-11") == "November 2026" and Figures("fr_FR").month("2026-11") == "novembre 2026"
    assert Figures().month("soon") == "soon" and Figures().moment("soon") == "soon"
    assert "2026" in Figures().moment("2026-12-05T07:30:00+00:00")


@given(st.text(alphabet=st.characters(), max_size=50))
def test_foreign_text_is_inert(text: str) -> None:
    shown = one_line(text)
    shown.encode("utf-8")
    assert shown.isprintable() or not {"\n", "\r", "\x1b", "\x9b", "\u202e", "\u2066"} & set(shown)
    whole(text).encode("utf-8")


def test_what_is_shown_of_it() -> None:
    assert one_line("\x1b[31m\u202ea\r\n b\tc\x00") == "\\x1b[31m\\u202ea b c\\x00"
    assert one_line("\ud83d\ude00 \ud800") == "😀 \\ud800"
    assert one_line("می‌خواهم 👩‍💻") == "می‌خواهم 👩‍💻"  # joiners are needed to write and draw these
    assert inert("a\nb\x07", keep="\n") == "a\nb\\x07"
    assert shortened("abcdef", 4) == "abc…" and shortened("abcd", 4) == "abcd"


@pytest.mark.parametrize(
    ("exact", "shown"),
    [
        ("94.1176 % similar", "94 % similar"),
        ("99.97 % similar", "99 % similar"),  # only equal names are 100 % similar
        ("93 % similar", "93 % similar"),
        ("", ""),
    ],
)
def test_a_guess_is_read_in_whole_percent(exact: str, shown: str) -> None:
    assert likeness(exact) == shown
