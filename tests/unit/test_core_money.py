"""Money: exact, rounded in one place, halves away from zero [S4] [L3]; faults 19 and 20."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billingsync.core.money import divide, is_half, minor_unit, multiply, plain, read_number, round_money


@pytest.mark.parametrize(
    ("amount", "currency", "rounded"),
    [
        ("0.005", "USD", "0.01"),  # half-even would give 0.00
        ("0.015", "USD", "0.02"),
        ("0.025", "USD", "0.03"),  # half-even would give 0.02
        ("-0.005", "USD", "-0.01"),
        ("-0.025", "USD", "-0.03"),  # half-up towards plus infinity would give -0.02
        ("0.0049999999999999999999999999999999999999", "USD", "0.00"),
        ("-0.004", "USD", "0.00"),  # never -0.00
        ("27.4989", "USD", "27.50"),
        ("0.5", "JPY", "1"),
        ("-0.5", "JPY", "-1"),
        ("1.5", "JPY", "2"),
        ("2.5", "JPY", "3"),
        ("0.0005", "KWD", "0.001"),
        ("1.2345", "KWD", "1.235"),
        ("-1.2345", "KWD", "-1.235"),
        ("0.00005", "CLF", "0.0001"),
        ("999999999999.995", "USD", "1000000000000.00"),
        ("1E+3", "USD", "1000.00"),
        ("7", "ZZZ", "7.00"),  # an unknown currency is held anyway; shown with two digits
    ],
)
def test_L3_halves_are_rounded_away_from_zero_to_the_minor_unit(amount: str, currency: str, rounded: str) -> None:
    found = round_money(Decimal(amount), currency)
    assert str(found) == rounded


@pytest.mark.parametrize(
    ("amount", "currency", "half"),
    [
        ("0.005", "USD", True),
        ("-12.345", "USD", True),
        ("0.01", "USD", False),
        ("0.0050000001", "USD", False),
        ("0.05", "USD", False),
        ("0.5", "JPY", True),
        ("0.005", "JPY", False),
        ("0.0005", "KWD", True),
        ("0.005", "KWD", False),
        ("0.005", "ZZZ", True),
    ],
)
def test_L1_an_exact_half_is_one_of_the_minor_unit(amount: str, currency: str, half: bool) -> None:
    assert is_half(Decimal(amount), currency) is half


@pytest.mark.parametrize(
    ("currency", "digits"),
    [("USD", 2), ("EUR", 2), ("GBP", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3), ("BHD", 3), ("CLF", 4)]
    + [(odd, None) for odd in ("ZZZ", "", "usd", "US", "XXX", "BTC")],
)
def test_fault_20_minor_units_come_from_a_table_and_unknown_codes_have_none(currency: str, digits: int | None) -> None:
    assert minor_unit(currency) == digits


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, None),
        (0, "0"),
        (5, "5"),
        (-7, "-7"),
        (Decimal("103.4412"), "103.4412"),
        (Decimal("1e3"), "1000"),
        (Decimal("1E-10"), "0.0000000001"),
        (Decimal("-0"), "0"),
        (Decimal("-0.00"), "0"),
        (Decimal("0.1234567890123456789012345678901234567890"), "0.1234567890123456789012345678901234567890"),
        (Decimal("999999999999.99"), "999999999999.99"),
        (Decimal("1E-40"), "0." + "0" * 39 + "1"),
    ],
)
def test_S4_numbers_are_read_exactly(value: object, number: str | None) -> None:
    found = read_number(value)
    assert found == (None if number is None else Decimal(number))
    assert found is None or not found.is_signed() or found < 0  # -0 is 0


@pytest.mark.parametrize(
    "value",
    [
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
        Decimal("1E+999"),
        Decimal("1E+1000000"),  # beyond what decimal's own contexts compute with
        Decimal("-1E+99999999"),
        Decimal("1E-41"),
        Decimal("1E-999"),
        Decimal("1E-99999999"),
        Decimal("1e12"),
        Decimal("-1e12"),
        Decimal("0." + "1" * 41),
        Decimal("1" * 41),
        10**12,
        1.5,
        float("nan"),
        "10.00",
        "1,000.00",
        "",
        True,
        False,
        [],
        {},
        {"amount": 1},
    ],
    ids=repr,
)
def test_fault_19_what_is_no_usable_number_is_refused_never_rounded(value: object) -> None:
    with pytest.raises(ValueError, match="number"):
        read_number(value)


def test_products_and_quotients_keep_every_digit_that_they_promise() -> None:
    third = Decimal("0." + "3" * 40)
    assert multiply(third, Decimal("11" + "0" * 10)) == Decimal("36666666666." + "6" * 29 + "3" + "0" * 10)
    assert multiply(third, third).as_tuple().exponent == -80
    assert divide(Decimal(10), Decimal(3), 6) == Decimal("3.333333")
    assert divide(Decimal(20), Decimal(3), 6) == Decimal("6.666667")
    assert divide(Decimal(-20), Decimal(3), 6) == Decimal("-6.666667")
    assert divide(Decimal(1), Decimal(8), 2) == Decimal("0.13")  # the half goes up
    assert divide(Decimal(1), Decimal(-8), 2) == Decimal("-0.13")


@pytest.mark.parametrize(
    ("number", "currency", "text"),
    [
        ("1E+3", None, "1000"),
        ("22.00", None, "22"),
        ("22.10", None, "22.1"),
        ("-0.00", None, "0"),
        ("0", "USD", "0.00"),
        ("-0", "USD", "0.00"),
        ("2.5", "USD", "2.50"),
        ("2.4999", "USD", "2.4999"),
        ("1E+3", "USD", "1000.00"),
        ("100", "JPY", "100"),
        ("33.5", "JPY", "33.5"),  # a unit price may have more digits than its currency
        ("5", "ZZZ", "5.00"),
        ("1.5", "KWD", "1.500"),
        ("-4.1", "EUR", "-4.10"),
        ("1E-7", None, "0.0000001"),
    ],
)
def test_numbers_are_written_plainly_without_exponent(number: str, currency: str | None, text: str) -> None:
    assert plain(Decimal(number), currency) == text
