"""Cells: what Excel did to them, months, and how they are shown."""

import pytest

from billingsync.core.period import Period
from billingsync.core.tables.cells import BadCell, DateOrder, check_whole, inert_cell, read_month, read_name, unwrapped


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('="00123"', "00123"),
        ('="say ""hi"""', 'say "hi"'),
        ("'00123", "00123"),
        (" 00123 ", "00123"),
        ("=cmd|' /C calc'!A0", "=cmd|' /C calc'!A0"),
        ("-5", "-5"),
        ("@SUM(1)", "@SUM(1)"),
    ],
)
def test_what_excel_wraps_around_text_goes_and_nothing_else(cell, text):
    assert unwrapped(cell) == text


@pytest.mark.parametrize("cell", ["1.23457E+11", "1,2E+15", "9E+99"])
def test_an_id_that_excel_shortened_is_refused(cell):
    with pytest.raises(BadCell, match="format the column as text"):
        read_name(cell)


@pytest.mark.parametrize("cell", ["#REF!", "#N/A", "#VALUE!", "#DIV/0!", "########", "#name?"])
def test_an_error_of_excels_is_refused(cell):
    with pytest.raises(BadCell, match="Excel shows an error"):
        check_whole(cell)


def test_ids_are_text():
    assert read_name("00123") == "00123"
    assert read_name("1E5-ABC") == "1E5-ABC"
    assert read_name("Contoso \t  Ltd") == "Contoso Ltd"


def test_a_name_that_swallowed_a_line_is_refused():
    with pytest.raises(BadCell, match="quotation mark"):
        read_name("Contoso\nFabrikam,Backup,3")


def test_a_cell_of_more_than_64_kib_is_refused():
    check_whole("x" * 65536)
    for cell in ("x" * 65537, "é" * 32769):
        with pytest.raises(BadCell, match="64 KiB"):
            check_whole(cell)


@pytest.mark.parametrize(
    "cell",
    ["2026-11", "2026-11-30", "2026-11-01T00:00:00Z", "2026/11/5", "30.11.2026", "11/2026", "Nov 2026", "November 2026",
     "5 Nov 2026", "Nov 5, 2026", "11/30/2026", "30/11/2026", "11/11/2026", "'2026-11"],
)  # fmt: skip
def test_months_as_people_write_them(cell):
    assert read_month(cell, DateOrder.AUTO) == Period(2026, 11)


@pytest.mark.parametrize(
    "cell", ["45962", "2026-13", "31.11.2026", "Foo 2026", "11", "2026", "", "00/00/2026", "11/31/2026"]
)
def test_what_names_no_month_is_refused(cell):
    with pytest.raises(BadCell):
        read_month(cell, DateOrder.AUTO)


def test_excels_number_of_a_day_is_named_as_such():
    with pytest.raises(BadCell, match="format the column as a date"):
        read_month("45962", DateOrder.AUTO)


def test_a_date_of_two_readings_needs_a_word():
    with pytest.raises(BadCell, match="dates ="):
        read_month("11/12/2026", DateOrder.AUTO)
    assert read_month("11/12/2026", DateOrder.MONTH_FIRST) == Period(2026, 11)
    assert read_month("11/12/2026", DateOrder.DAY_FIRST) == Period(2026, 12)


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-2", "'-2"),
        ("@x", "'@x"),
        ("\tx", "'\\tx"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("abc\u202etxt", "abc\\u202etxt"),
        ("\ud800", "\\ud800"),
        ("x" * 100, "x" * 59 + "…"),
        ("1\u202f234\xa0kg", "1 234 kg"),
        ("\u202f", ""),
    ],
)
def test_a_cell_is_inert_where_it_is_shown(cell, shown):
    assert inert_cell(cell) == shown
