"""CSV: what stands in it adds up to the equation, and no cell that others wrote can become a formula."""

from __future__ import annotations

import csv
import re
from decimal import Decimal as D
from io import StringIO

import pytest
import sample_plan as sample
from hypothesis import given
from hypothesis import strategies as st

from billingsync.core.bill.plan import Plan
from billingsync.report.csv_file import COLUMNS, defused, plan_csv

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def rows(plan: Plan) -> list[dict[str, str]]:
    text = plan_csv(plan)
    assert text.startswith("\ufeffperiod,")
    return list(csv.DictReader(StringIO(text.removeprefix("\ufeff"), newline="")))


def test_it_is_rfc_4180_with_a_byte_order_mark() -> None:
    text = plan_csv(sample.small_plan())
    assert text.endswith("\r\n") and text.count("\n") == text.count("\r\n") == 4
    assert text.encode("utf-8").startswith(b"\xef\xbb\xbfperiod,state,")
    assert tuple(next(csv.reader(StringIO(text.removeprefix("\ufeff"))))) == COLUMNS


@pytest.mark.parametrize("make", [sample.full_plan, sample.small_plan, sample.held_plan, sample.empty_plan])
@pytest.mark.parametrize("side", ["amount", "cost"])
def test_the_rows_add_up_to_the_equation(make: object, side: str) -> None:
    plan: Plan = make()  # type: ignore[operator]
    table = rows(plan)
    for entry in plan.accounts:
        account = entry.price if side == "amount" else entry.cost
        sums = {state: D(0) for state in ("already_posted", "to_post", "dropped", "excluded", "held")}
        for row in table:
            if row["currency"] == entry.currency:
                sums[row["state"]] += D(row[side])
        assert sums["already_posted"] == account.already_posted
        assert sums["already_posted"] + sums["to_post"] == account.posted
        assert (sums["dropped"], sums["excluded"], sums["held"]) == (account.dropped, account.excluded, account.held)
        assert sum(sums.values()) == account.charges


def test_every_state_has_its_rows() -> None:
    table = rows(sample.full_plan())
    assert {row["state"] for row in table} == {"already_posted", "to_post", "dropped", "excluded", "held"}
    assert {row["action"] for row in table} == {"", "add", "update", "remove", "stays"}
    line = table[0]
    assert (line["client"], line["invoice"], line["quantity"], line["unit_price"], line["amount"]) == (
        "Contoso Ltd", "-237", "10", "22.00", "220.00",
    )  # fmt: skip
    assert (line["amount_before"], line["charges"]) == ("198.00", "inv-USD:1 inv-USD:2")
    held = next(row for row in table if row["reason"] == "product_unmatched")
    assert held["next_step"] == "billingsync map products --set EXO-1=<item id>" and held["amount"] == "18.00"


@pytest.mark.parametrize(
    "cell",
    [
        "=cmd|' /C calc'!A0", "+1+1", "-1-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=1", "-", "--1", "-1.", "+1", "-1e5",
        "＝1+1", "＋1", "－1", "＠x", " =1", "\u00a0=1", "\ufeff=1", "\u200b=1", "\x00=1", "\u202e=1", "\x1b=1",
        "  -cmd", "-１",
    ],
)  # fmt: skip
def test_fault_37_what_begins_like_a_formula_is_defused(cell: str) -> None:
    assert defused(cell).startswith("'")


@pytest.mark.parametrize(
    "cell", ["", "-4.10", "0", "12000", "-237", "0.000001", "Contoso Ltd", "2026-11", "inv:1 inv:2"]
)
def test_a_strict_decimal_and_plain_text_stay(cell: str) -> None:
    assert defused(cell) == cell


def test_what_another_locale_would_split_is_defused_too() -> None:
    assert defused("Contoso;=cmd") == "Contoso;'=cmd"
    assert defused("two\r\n =cmd") == "two\r\n '=cmd"
    assert defused("a;b") == "a;b"


@given(st.text(alphabet=st.characters(), max_size=20))
def test_no_text_at_all_becomes_a_formula(text: str) -> None:
    cell = defused(text)
    cell.encode("utf-8")
    assert NUMBER.fullmatch(cell) or not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", cell)


def test_fault_37_the_file_has_hostile_text_only_as_text() -> None:
    text = plan_csv(sample.full_plan())
    text.encode("utf-8")
    for row in rows(sample.full_plan()):
        for cell in row.values():
            assert NUMBER.fullmatch(cell) or not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert "\x1b" not in text and "\u202e" not in text
    assert "'=cmd|' /C calc'!A0" in {row["product"] for row in rows(sample.full_plan())}


def test_no_cell_is_longer_than_excel_holds() -> None:
    charges = tuple(f"0f3c2a9e-6d0b-4c1e-9a57-1f2f6f0c8a11:{number}" for number in range(2000))
    line = sample.line("add", "Azure", "1", "1.00", "1.00", "1.00", "1.00", *charges, text="x" * 50_000)
    row = rows(sample.plan([sample.client("Contoso", 1, lines=(line,))]))[0]
    assert len(row["text"]) <= 32_767 and len(row["charges"]) <= 32_767
    shown = row["charges"].partition(" ... and ")
    assert len(shown[0].split()) + int(shown[2].removesuffix(" more")) == 2000
