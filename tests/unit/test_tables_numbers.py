"""Numbers in files: what a whole column says about its decimal mark, and that nothing is ever guessed."""

from decimal import Decimal

import pytest

from billingsync.core.tables.numbers import ColumnMarks, Mark, NotNumber, marks_of, read_decimal


@pytest.mark.parametrize(
    ("text", "mark", "number"),
    [
        ("12", None, "12"),
        ("1,250.5", ".", "1250.5"),
        ("1.250,5", ",", "1250.5"),
        ("1.234.567,89", ",", "1234567.89"),
        ("1,234", ".", "1234"),
        ("1,234", ",", "1.234"),
        ("0.123", None, "0.123"),
        (".5", ".", "0.5"),
        ("(3)", None, "-3"),
        ("3-", None, "-3"),
        ("-3", None, "-3"),
        ("\u22123", None, "-3"),
        ("+3", None, "3"),
        ("$ 1,250.50", ".", "1250.50"),
        ("22,00 €", ",", "22.00"),
        ("-$5", None, "-5"),
        ("(€ 5)", None, "-5"),
        ("1 234,5", ",", "1234.5"),
        ("1\xa0234\u202f567", None, "1234567"),
        ("1'234.50", ".", "1234.50"),
        (" 7 ", None, "7"),
        ("-0", None, "0"),
    ],
)
def test_numbers_as_people_write_them(text, mark, number):
    assert read_decimal(text, Mark(mark) if mark else None) == Decimal(number)


@pytest.mark.parametrize(
    "text",
    "abc 12% 1E+5 1.23457E+11 1e3 -(3) (-3) --3 1..2 1.2.3 12,34,56 1,2345,678 12.34.567,8 ٣ １２ 1/2 12:30 - ( () . , "
    "Infinity NaN 0x10 1_000 $€5".split(),
)
def test_what_is_no_number_is_refused_under_both_marks(text):
    for mark in Mark:
        with pytest.raises(NotNumber):
            read_decimal(text, mark)


@pytest.mark.parametrize("text", ["12 34", "1 23", "1234 567", "1 234 5", ""])
def test_two_numbers_in_a_cell_are_not_one(text):
    with pytest.raises(NotNumber):
        read_decimal(text, None)


def test_fault_51_ten_to_the_forty_is_refused_whole():
    with pytest.raises(NotNumber, match="40 digits"):
        read_decimal("1" + "0" * 40, None)
    with pytest.raises(NotNumber, match="40 digits"):
        read_decimal("9" * 5000, None)


def column(*cells):
    marks = ColumnMarks()
    for line, cell in enumerate(cells, start=2):
        marks.add(cell, line)
    return marks


def test_one_certain_cell_decides_for_the_whole_column():
    assert column("1,234", "5", "1,5").mark is Mark.COMMA
    assert column("1,234", "5", "1,234,567").mark is Mark.POINT
    assert column("1.234", "1.250,5").mark is Mark.COMMA
    assert column("1,234", "0.5").mark is Mark.POINT
    assert column("0,123").mark is Mark.COMMA
    assert column("1234,567").mark is Mark.COMMA


def test_a_column_that_can_be_read_in_two_ways_is_ambiguous():
    found = column("5", "1,234", "12,345")
    (cell, line), expected = found.trouble
    assert (cell, line) == ("1,234", 3)
    assert "set decimal" in expected


def test_a_column_without_marks_needs_none():
    assert column("5", "12", "", "n/a").trouble is None
    assert column("5", "12").mark is None


def test_fault_51_mixed_decimals_name_both_lines():
    found = column("1,5", "7", "2.5")
    (cell, line), expected = found.trouble
    assert (cell, line) == ("2.5", 4)
    assert "line 2" in expected
    assert "1,5" in expected


def test_the_sign_and_the_spaces_do_not_change_what_a_cell_says():
    assert column("(1.250,5)").mark is Mark.COMMA
    assert column("1 250,5 €").mark is Mark.COMMA


@pytest.mark.parametrize(
    ("digits", "marks"),
    [
        ("12", ".,"),
        ("1,234", ".,"),
        ("1.234", ".,"),
        ("1,23", ","),
        ("1,2345", ","),
        ("12,345,678", "."),
        ("1,234.5", "."),
        ("1.234,5", ","),
        ("0,123", ","),
        ("1,23.4", ""),
        ("1.,2", ""),
        ("12.", ""),
        ("5,", ""),
    ],
)
def test_the_marks_by_which_digits_can_be_read(digits, marks):
    assert marks_of(digits) == {Mark(mark) for mark in marks}
