"""The workbook, read back by another library: figures as numbers, text as text, nothing that computes or links."""

from __future__ import annotations

from decimal import Decimal as D
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import openpyxl
import pytest
import sample_plan as sample

from billingsync.core.bill.plan import Plan
from billingsync.report.xlsx import plan_xlsx


def book(plan: Plan) -> Any:
    return openpyxl.load_workbook(BytesIO(plan_xlsx(plan, sample.CREATED_AT)))


def records(sheet: Any) -> list[dict[str, Any]]:
    head, *rows = sheet.iter_rows(values_only=True)
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_the_sheets() -> None:
    workbook = book(sample.full_plan())
    assert workbook.sheetnames == ["Summary", "Clients", "Lines", "Held", "Dropped and excluded", "Sources"]
    for sheet in workbook:
        assert sheet.freeze_panes == "B2" and sheet.auto_filter.ref and sheet.print_title_rows == "$1:$1"


def test_the_summary_adds_up() -> None:
    for currency in ("USD", "JPY", "KWD", "EUR"):
        rows = [row for row in records(book(sample.full_plan())["Summary"]) if row["Currency"] == currency]
        rows = [row for row in rows if not row[None if None in row else ""].startswith("kept")]
        for side in ("Price", "Cost", "Margin"):
            charged, *parts = (D(str(row[side])) for row in rows)
            assert charged == sum(parts)


def test_amounts_are_numbers_in_their_currencys_format() -> None:
    sheet = book(sample.full_plan())["Lines"]
    head = {cell.value: cell.column for cell in sheet[1]}
    first, acronis = sheet[2], sheet[4]
    amount = first[head["Amount"] - 1]
    assert (amount.value, amount.data_type, amount.number_format) == (220, "n", "#,##0.00")
    assert (acronis[head["Unit price"] - 1].value, acronis[head["Unit price"] - 1].number_format) == (
        2.4999,
        "#,##0.0000",
    )
    yen = next(row for row in sheet.iter_rows(min_row=2) if row[head["Currency"] - 1].value == "JPY")
    dinar = next(row for row in sheet.iter_rows(min_row=2) if row[head["Currency"] - 1].value == "KWD")
    assert yen[head["Amount"] - 1].number_format == "#,##0"
    assert dinar[head["Amount"] - 1].number_format == "#,##0.000"


def test_lines_and_charges_left_out_add_up_to_the_equation() -> None:
    plan, workbook = sample.full_plan(), book(sample.full_plan())
    account = next(entry.price for entry in plan.accounts if entry.currency == "USD")
    for name, expected in (
        ("Lines", account.posted),
        ("Held", account.held),
        ("Dropped and excluded", account.dropped + account.excluded),
    ):
        rows = [row for row in records(workbook[name]) if row["Currency"] == "USD"]
        assert sum(D(str(row["Amount"])) for row in rows) == expected


@pytest.mark.parametrize("number", ["1234567890123456.78", "0.1234567890123456789"])
def test_what_a_float_would_change_is_text(number: str) -> None:
    line = sample.line("add", "Huge", "1", number, "1", number, "1.00")
    row = records(book(sample.plan([sample.client("Contoso", 1, lines=(line,))]))["Lines"])[0]
    assert row["Amount"] == number


def test_fault_37_nothing_is_a_formula_or_a_link() -> None:
    data = plan_xlsx(sample.full_plan(), sample.CREATED_AT)
    with ZipFile(BytesIO(data)) as archive:
        for name in archive.namelist():
            text = archive.read(name).decode("utf-8")
            if name.startswith("xl/worksheets/"):
                assert "<f>" not in text and "hyperlink" not in text
            assert not set(text) & {chr(code) for code in range(32) if code not in (9, 10, 13)}
    cells = [cell for sheet in openpyxl.load_workbook(BytesIO(data)) for row in sheet.iter_rows() for cell in row]
    assert all(cell.data_type in ("s", "n") for cell in cells)
    assert sample.FORMULA in {cell.value for cell in cells}
    assert all(len(cell.value) <= 32_767 for cell in cells if isinstance(cell.value, str))


def test_the_same_plan_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = plan_xlsx(sample.small_plan(), sample.CREATED_AT)
    assert plan_xlsx(sample.small_plan(), sample.CREATED_AT) == first


@pytest.mark.parametrize("make", [sample.empty_plan, sample.held_plan, sample.bare_plan])
def test_small_plans_are_workbooks_too(make: Any) -> None:
    assert len(book(make()).sheetnames) == 6
