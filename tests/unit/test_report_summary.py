"""The plan's first screen: one row a client, what waits by reason, equal warnings once; no amount or currency is lost."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from io import StringIO

import pytest
import sample_plan as sample
from rich.cells import cell_len
from rich.console import Console

from billingsync.core.bill.plan import Plan
from billingsync.report.layout import UNLIMITED
from billingsync.report.summary import MOST_CLIENTS, print_summary, question


def summary(plan: Plan, width: int = UNLIMITED) -> str:
    file = StringIO()
    print_summary(plan, Console(file=file, width=width, force_terminal=False, no_color=True))
    return file.getvalue()


def billed(name: str, number: int, amount: str, last: tuple[str, str] | None = None):
    return sample.client(
        name, number, last=last, lines=(sample.line("add", "Suite", "1", amount, "1", amount, "1", f"i:{number}"),)
    )


def test_each_client_has_one_row_and_the_one_that_moved_most_comes_first() -> None:
    plan = sample.plan(
        [billed("Alder Ltd", 1, "110.00", ("2026-10", "100.00")), billed("Zinc Ltd", 2, "50.00", ("2026-10", "400.00"))]
    )
    lines = summary(plan).splitlines()
    zinc, alder = (next(n for n, line in enumerate(lines) if line.startswith(name)) for name in ("Zinc", "Alder"))
    assert zinc < alder
    assert "50.00 USD" in lines[zinc] and "-87.5 %" in lines[zinc] and "+10.0 %" in lines[alder]
    assert "since 2026-10" in lines[zinc - 1]


def test_a_month_of_many_clients_stays_on_one_screen_and_says_what_it_leaves_out() -> None:
    plan = sample.plan([billed(f"Client {n:03}", n, "10.00") for n in range(1, 201)])
    text = summary(plan)
    assert f"... {200 - MOST_CLIENTS} more, {10 * (200 - MOST_CLIENTS):,}.00 USD (--lines shows every line)" in text
    assert len(text.splitlines()) < 60


def test_what_waits_is_told_by_reason_with_every_currency() -> None:
    holds = (
        sample.hold("a:1", "client_unmapped", "853.30", "0", "Suite", "no client", "map it"),
        sample.hold("a:2", "client_unmapped", "42.00", "0", "Suite", "no client", "map it", currency="EUR"),
    )
    text = summary(sample.plan([sample.client("Fabrikam", None, held="client_unmapped", holds=holds)]))
    assert "Needs your decision: 1 client, 853.30 USD and 42.00 EUR (not billed yet)" in text
    assert "2 charges, 853.30 USD and 42.00 EUR" in text
    assert "billingsync holds 2026-11" in text


def test_equal_warnings_are_one_with_their_number() -> None:
    warnings = tuple(f"Client {n}: HaloPSA counts the licences of {n} lines itself" for n in range(54))
    text = " ".join(summary(sample.plan([], warnings=(*warnings, "another thing"))).split())
    assert text.count("Warning:") == 2 and "(and 53 more like this: --lines shows all)" in text


def test_a_line_that_only_moves_to_the_next_month_is_no_change() -> None:
    same = sample.line(
        "update", "Suite", "9", "22", "18", "198.00", "1", "i:1", line_id=1, before="9 x 22", before_amount="198.00"
    )
    more = replace(same, amount=D("220.00"))
    assert same.stays and not more.stays
    text = summary(sample.plan([sample.client("Contoso", 214, behavior="recurring", target=-237, lines=(same, more))]))
    assert "~1 =1" in text


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("make", [sample.full_plan, sample.small_plan, sample.held_plan, sample.empty_plan])
def test_it_fits_a_terminal(make, width: int) -> None:
    long = [line for line in summary(make(), width).splitlines() if cell_len(line) > width]
    assert [line for line in long if "billingsync " not in line] == []


def test_outside_a_terminal_nothing_is_cut() -> None:
    name = "A client with a name that is much longer than any terminal is wide, " * 3
    assert name.strip() in summary(sample.plan([billed(name.strip(), 1, "1.00")]))


def test_the_question_says_how_much_goes_to_whom_and_what_stays_held() -> None:
    holds = tuple(sample.hold(f"a:{n}", "client_unmapped", "1.00", "0", "Suite", "", "") for n in range(23))
    plan = sample.plan(
        [billed("Contoso", 1, "22289.93"), sample.client("X", None, held="client_unmapped", holds=holds)]
    )
    assert question(plan, "acme.halopsa.com") == (
        "Post 1 invoice, 22,289.93 USD, to acme.halopsa.com? 23 charges stay held"
    )


def test_hostile_texts_are_inert() -> None:
    assert "\x1b" not in summary(sample.full_plan()) and "\u202e" not in summary(sample.full_plan())
