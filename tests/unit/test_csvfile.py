"""A vendor's file from its bytes to its rows: each row in exactly one state, every mistake at once, nothing guessed."""

import codecs
import io
import random
import tracemalloc
from decimal import Decimal

import pytest
from files_sample import ACRONIS, NOVEMBER, WORKED_EXAMPLE, checked, file_of, profile, said

from billingsync.core.tables.profile import SameService, TextEncoding
from billingsync.core.tables.rows import RowState
from billingsync.sources.csvfile import kept, reading
from billingsync.sources.csvfile.checking import check_usage, usage_rows
from billingsync.sources.csvfile.kept import Unreadable, keep_file, keep_stream


def counted(check):
    return [(row.line, row.usage.account, row.usage.quantity) for row in usage_rows(check) if row.usage]


def test_worked_example_12_a_file():
    check = checked(WORKED_EXAMPLE)
    assert said(check) == []
    assert check.as_rows() == {"counted": 3, "blank": 0, "total": 1, "skipped": 4, "bad": 0}
    assert counted(check) == [
        (5, "Contoso", Decimal("1250.5")), (6, "Contoso", Decimal("249.5")), (7, "Fabrikam", Decimal(-3)),
    ]  # fmt: skip
    assert sum(quantity for _, account, quantity in counted(check) if account == "Contoso") == Decimal("1500.0")


def test_worked_example_12_the_only_number_is_ambiguous():
    check = checked('Customer,Product,Usage\nContoso,Backup GB,"1,234"\n')
    assert check.refused
    error = check.error()
    assert (error.code, error.exit_code) == ("BS-IMPORT-AMBIGUOUS", 2)
    assert "line 2, column Usage" in str(error)
    assert "set decimal" in str(error)
    for mark, number in ((".", "1234"), (",", "1.234")):
        right = checked('Customer,Product,Usage\nContoso,Backup GB,"1,234"\n', decimal=mark)
        assert counted(right) == [(2, "Contoso", Decimal(number))]


def test_j1_every_row_is_in_exactly_one_state():
    text = "Report\n\nCustomer,Product,Usage\nA,B,1\n\nA,C,x\n,,\nTotal,,1\n"
    check = checked(text)
    assert check.as_rows() == {"counted": 1, "blank": 2, "total": 1, "skipped": 3, "bad": 1}
    assert sum(check.rows.values()) == text.count("\n")


def test_all_mistakes_come_at_once_with_line_column_and_cell():
    check = checked(
        "Customer,Product,Usage,Currency\nA,B,x,USD\n,B,1,USD\nA,#REF!,2,USD\nA,B,3,FOO\nA,B,4,USD\n",
        columns={"currency": "Currency"},
    )
    lines = said(check)
    assert check.mistakes == 4
    assert any(line.startswith("line 2, column Usage: found x,") for line in lines)
    assert any(line.startswith("line 3, column Customer: found nothing,") for line in lines)
    assert any(line.startswith("line 4, column Product: found #REF!,") for line in lines)
    assert any(line.startswith("line 5, column Currency: found FOO,") for line in lines)
    assert not check.refused, "the good row may be taken with --skip-bad"


def test_a_thousand_mistakes_are_listed_and_the_rest_is_counted():
    check = checked("Customer,Product,Usage\n" + "A,B,x\n" * 1500)
    assert (check.mistakes, len(check.problems)) == (1500, 1000)
    assert "1,500 mistakes" in str(check.error())
    assert "and 500 more" in str(check.error())


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter):
    text = delimiter.join(("Customer", "Product", "Usage")) + "\n" + delimiter.join(("A", "B", "7")) + "\n"
    assert counted(checked(text)) == [(2, "A", Decimal(7))]


def test_a_sep_line_is_obeyed_even_against_the_profile():
    text = "sep=|\nCustomer|Product|Usage\nA|B|7\n"
    assert counted(checked(text, delimiter=",")) == [(3, "A", Decimal(7))]


def test_a_decimal_comma_that_splits_a_row_is_a_mistake_not_a_number():
    check = checked("Customer,Product,Usage\nA,B,1,5\n")
    assert "is a text with the delimiter not quoted?" in said(check)[0]


def test_a_short_row_is_as_good_as_its_cells():
    check = checked("Customer,Product,Usage,Note\nA,B,7\nA,B\n")
    assert counted(check) == [(2, "A", Decimal(7))]
    assert said(check) == ["line 3, column Usage: found nothing, expected a number such as 12 or 12.5"]


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("Customer,Product,Usage\nZürich,B,7\n".encode(), "auto"),
        (codecs.BOM_UTF8 + "Customer,Product,Usage\nZürich,B,7\n".encode(), "auto"),
        ("\ufeffCustomer,Product,Usage\nZürich,B,7\n".encode("utf-16-le"), "auto"),
        ("\ufeffCustomer,Product,Usage\nZürich,B,7\n".encode("utf-16-be"), "auto"),
        ("Customer,Product,Usage\nZürich,B,7\n".encode("cp1252"), "windows-1252"),
        ("Customer,Product,Usage\nZürich,B,7\n".encode(), "windows-1252"),
        ("Customer,Product,Usage\nZürich,B,7\n".encode("utf-16-le"), "utf-16"),
        ("Customer,Product,Usage\nZürich,B,7\n".encode("utf-16-be"), "utf-16"),
    ],
)
def test_encodings(content, wanted):
    assert counted(checked(content, encoding=TextEncoding(wanted))) == [(2, "Zürich", Decimal(7))]


def test_another_encoding_is_an_error_with_its_line_and_never_detected():
    check = checked("Customer,Product,Usage\nA,B,1\nZürich,B,7\n".encode("cp1252"))
    assert said(check)[0].startswith("line 3: expected text in UTF-8; a byte 0xfc is none")
    assert check.refused


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04rest", "Excel workbook"),
        (b"\xd0\xcf\x11\xe0rest", "old Excel workbook"),
        (b"  <html><table>", "HTML"),
        (b"\xef\xbb\xbf<!DOCTYPE html>", "HTML"),
        (b'<?xml version="1.0"?>', "XML"),
        (b'{"a": 1}', "JSON"),
        (b"%PDF-1.7", "PDF"),
        (b"\x1f\x8b\x08", "gzip"),
    ],
)
def test_another_kind_of_file_says_how_to_export(content, says):
    check = checked(content)
    assert check.refused
    assert says in said(check)[0]


def test_a_changed_header_is_refused_with_the_difference():
    check = checked("Customer,Product,Usage (GB)\nA,B,7\n")
    assert check.refused
    assert "a header row with Usage;" in said(check)[0]
    assert "Usage (GB)" in said(check)[0]


def test_the_header_is_found_whatever_its_case_and_spaces_and_below_a_title():
    check = checked("Acronis usage\nprinted for us,,\n cUSTOMER ,pro duct,USAGE\nA,B,7\n")
    assert counted(check) == [(4, "A", Decimal(7))]


def test_fault_51_a_column_that_is_there_twice_is_ambiguous():
    error = checked("Customer,Product,Usage,Usage\nA,B,7,9\n").error()
    assert error.code == "BS-IMPORT-AMBIGUOUS"
    assert "one column of this name" in str(error)


def test_fault_51_two_joined_files_are_not_one():
    check = checked("Customer,Product,Usage\nA,B,7\nCustomer,Product,Usage\nA,B,7\n")
    assert said(check) == [
        "line 3: expected one header; were two files joined? Import each of them, the second with --append"
    ]


def test_fault_51_a_nul_character_refuses_the_file():
    assert "NUL" in said(checked("Customer,Product,Usage\nA,B\0,7\n"))[0]


@pytest.mark.parametrize("tail", ['"A,B,7\nC,D,8\n', 'A,"B"x,7\nC,D,8\n', '"A,B,7\n' + "C,D,8\n" * 40000])
def test_fault_51_an_open_quote_refuses_the_file_and_skips_nothing(tail):
    check = checked("Customer,Product,Usage\nok,B,1\n" + tail)
    assert check.refused, "what follows an open quotation mark cannot be told apart"
    assert "line 3" in said(check)[0]


def test_fault_51_a_formula_is_text_and_shown_inert():
    check = checked("Customer,Product,Usage\n=cmd|' /C calc'!A0,B,x\n=1+1,B,7\n")
    assert counted(check) == [(3, "=1+1", Decimal(7))], "stored as it is"
    check = checked("Customer,Product,Usage\nA,B,=1+1\n")
    assert "found '=1+1," in said(check)[0]


def test_fault_51_a_whole_file_in_one_line_is_refused_within_little_memory():
    check = checked(b"Customer,Product,Usage," + b"x," * 3_000_000)
    assert check.refused
    assert "characters in a line" in said(check)[0]


def test_the_caps(monkeypatch):
    monkeypatch.setattr(kept, "MAX_BYTES", 1000)
    with pytest.raises(Unreadable, match="at most"):
        keep_stream(io.BytesIO(b"x" * 1001), "x.csv")
    monkeypatch.setattr(reading, "MAX_ROWS", 3)
    assert "at most 3 rows" in said(checked("Customer,Product,Usage\nA,B,1\nA,B,1\nA,B,1\n"))[0]
    monkeypatch.setattr(reading, "MAX_ROWS", 1000)
    assert "500 columns" in said(checked("Customer,Product,Usage\nA,B,1" + "," * 500 + "\n"))[0]


def test_an_empty_file_and_one_without_rows_are_refused(tmp_path):
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(Unreadable, match="empty"):
        keep_file(tmp_path / "empty.csv")
    check = checked("Customer,Product,Usage\n\n")
    assert check.refused
    assert "no row of it counts" in str(check.error())


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(Unreadable):
            keep_file(path)


@pytest.mark.parametrize(
    ("total", "agrees"), [("3.0", True), ("3", True), ("3.5", False), ("3.00", True), ("", True), ("x", False)]
)
def test_a_total_row_is_checked_against_the_sums(total, agrees):
    check = checked(f"Customer,Product,Usage\nA,B,1.0\nA,C,2.0\nTOTAL:,,{total}\n")
    assert (check.rows[RowState.BAD] == 0) is agrees
    assert sum(check.rows.values()) == 4


def test_subtotals_and_a_total_above_are_understood():
    check = checked("Customer,Product,Usage\nTotal,,10\nA,B,1\nA,C,2\nTotal,,3\nB,B,7\nTotal,,7\nSumme,,10\n")
    assert said(check) == []
    assert check.rows[RowState.TOTAL] == 4


def test_a_total_that_shows_fewer_decimals_is_compared_in_its_own():
    assert said(checked("Customer,Product,Usage\nA,B,1.04\nA,C,2.02\nTotal,,3.1\n")) == []


def test_same_service_may_be_an_error():
    check = checked("Customer,Product,Usage\nA,B,1\nA,B,2\n", same_service=SameService.ERROR)
    assert "line 2 has this one already" in said(check)[0]


@pytest.mark.parametrize("cell", ["2026-10", "31.10.2026", "Oct 2026", "October 2026"])
def test_fault_52_last_months_rows_refuse_the_file(cell):
    check = checked(f"Customer,Product,Usage,Month\nA,B,1,2026-11\nA,B,1,{cell}\n", columns={"period": "Month"})
    assert check.refused, "not even --skip-bad takes it"
    assert "another month" in said(check)[0]


def test_fault_52_last_months_name_or_title_refuses_the_file():
    good = "Customer,Product,Usage\nA,B,1\n"
    assert checked(good, name="acronis-2026-10.csv").refused
    assert checked("Usage October 2026\n" + good).refused
    assert checked("Usage 2026-10\n" + good).refused
    assert not checked(good, name="acronis-2026-11.csv").refused
    assert not checked(good, name="acronis_202611.csv").refused
    assert not checked(good, name="export-2026-12-01.csv").refused, "a day on which it was made is no month of it"
    assert not checked("Usage 2026-11-01 to 2026-11-30, made 2026-12-01\n" + good).refused


def test_j10_row_order_and_line_ends_change_nothing():
    head, *rows = ["Customer;Product;Usage", "A;B;1,5", "A;C;2", "B;B;-3", "B;C;1.000"]
    whole = sorted(quantity for _, _, quantity in counted(checked("\n".join([head, *rows]) + "\n")))
    chance = random.Random(7)
    for end in ("\n", "\r\n", "\r"):
        chance.shuffle(rows)
        check = checked(end.join([head, *rows]))
        assert said(check) == []
        assert sorted(quantity for _, _, quantity in counted(check)) == whole


def test_prices_need_a_currency():
    check = checked("Customer,Product,Usage,Price\nA,B,1,2.50\n", columns={"unit_price": "Price"})
    assert "set currency" in said(check)[0]
    check = checked("Customer,Product,Usage,Price\nA,B,1,2.50\n", columns={"unit_price": "Price"}, currency="USD")
    assert said(check) == []


def test_each_number_column_has_its_own_decimal_mark():
    check = checked(
        "Customer;Product;Usage;Price\nA;B;1,5;2.50\nA;C;1.000;3.25\n", columns={"unit_price": "Price"}, currency="USD"
    )
    assert said(check) == []
    assert [row.usage.quantity for row in usage_rows(check)] == [Decimal("1.5"), Decimal(1000)]


def test_the_file_is_read_once_and_its_copy_ever_after(tmp_path):
    path = tmp_path / "usage.csv"
    path.write_text("Customer,Product,Usage\nA,B,1\n")
    file = keep_file(path)
    path.write_text("Customer,Product,Usage\nA,B,2\n")
    check = check_usage(file, ACRONIS, NOVEMBER)
    assert counted(check) == [(2, "A", Decimal(1))]


def test_checking_a_file_takes_the_same_memory_however_long_it_is():
    peaks = []
    for rows in (2_000, 16_000):
        file = file_of(b"Customer,Product,Usage\n" + b"Contoso Ltd,Backup GB,12\n" * rows)
        tracemalloc.start()
        try:
            check = check_usage(file, profile(), NOVEMBER)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert check.rows[RowState.COUNTED] == rows
    assert peaks[1] < peaks[0] + 1_500_000, "buffers of a fixed size, and no more"


def test_preview_of_broken_quoting_still_finds_the_other_delimiter():
    check = checked('Customer;Product;Usage\nA;say ,"x"y;7\n')
    assert counted(check) == [(2, "A", Decimal(7))]
