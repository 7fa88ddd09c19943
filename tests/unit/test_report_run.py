"""What a run has to tell: where each posting went, what is not known, what waits, and what HaloPSA returned."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import sample_run

from billingsync.core.bill.plan import Account


def test_a_complete_run_says_that_what_came_back_is_what_was_sent() -> None:
    text = sample_run.run_text(sample_run.complete_run(), 100)
    assert "2026-11, run 7f3a: complete" in text
    assert "posted   Contoso Ltd  -> invoice 90211" in text
    assert "adopted  Fabrikam Incorporated  -> invoice 237" in text
    assert "17,950.07 charged = 17,950.07 posted + 0.00 dropped + 0.00 excluded + 0.00 held USD" in text
    assert "HaloPSA returned 17,950.07 USD, exactly what was posted (cost 15,000.00)." in text
    assert text.endswith("Next:  billingsync show 7f3a\n")


def test_a_troubled_run_calls_nothing_posted_that_is_not_confirmed() -> None:
    text = sample_run.run_text(sample_run.troubled_run(), 120)
    assert "18,035.17 charged = 17,950.07 to post + 0.00 dropped" in text
    assert (
        "HaloPSA returned 261.37 USD: 17,688.70 less than the price and 14,869.31 less than the cost to post." in text
    )
    assert "unknown  Fabrikam Incorporated" in text and "not known yet whether HaloPSA has it" in text
    assert "failed   Adventure Works" in text and "failed: HaloPSA refused: 403" in text
    assert "! Tailspin Toys" in text and "do: billingsync map products" in text
    assert "Next:  billingsync run 2026-11 --client 'Adventure Works'" in text
    assert "\x1b" not in text


def test_a_difference_in_cost_alone_is_said() -> None:
    run = replace(sample_run.complete_run(), returned={"USD": (D("17950.07"), D("15000.01"))})
    assert "HaloPSA returned 17,950.07 USD: 0.01 more than the cost to post." in sample_run.run_text(run, 120)


def test_a_currency_of_which_nothing_came_back_is_a_difference() -> None:
    run = replace(sample_run.complete_run(), returned={})
    assert "HaloPSA returned 0.00 USD: 17,950.07 less than the price" in sample_run.run_text(run, 120)


def test_a_currency_of_which_nothing_was_posted_is_not_said_to_come_back() -> None:
    (account,) = sample_run.complete_run().accounts
    nothing = Account(charges=D(0), posted=D(0), dropped=D(0), excluded=D(0), held=D(0), already_posted=D(0))
    price = replace(nothing, charges=D("42.00"), held=D("42.00"))
    held = replace(account, currency="EUR", price=price, cost=nothing)
    text = sample_run.run_text(replace(sample_run.complete_run(), accounts=(account, held)), 120)
    assert "42.00 held EUR" in text and "returned 0.00" not in text


def test_holds_by_reason_with_age_and_totals() -> None:
    text = sample_run.holds_text("2026-11", sample_run.open_holds(), 100)
    first, second = text.index("No HaloPSA item is known"), text.index("The client's amount moved")
    assert first < second  # the most money first
    assert "Tailspin Toys, 4 days old" in text and "Alpine Ski House, 1 day old" in text
    assert "Held in 2026-11: 85.10 USD (cost 70.00)" in text and "Held in 2026-11: -12.00 EUR (cost -9.00)" in text
    assert sample_run.holds_text("2026-11", []) == "Nothing is held in 2026-11.\n"


def test_a_plans_warnings_are_told_before_the_sums_and_equal_ones_once() -> None:
    alike = [f"{name}: charge {n} was billed at {n}.00, and Pax8 now says 9.00 USD" for n, name in enumerate("ABC", 1)]
    other = "rules/defaults.toml: exclude.products names 'MST-Y', which no charge of this month is"
    shown = sample_run.run_text(replace(sample_run.complete_run(), warnings=(*alike, other)), 80)
    assert max(map(len, shown.splitlines())) <= 80
    text = " ".join(shown.split())
    assert text.count("Warning: ") == 2 and "(and 2 more like this: billingsync plan 2026-11 --lines shows all)" in text
    assert text.index("Fabrikam") < text.index("Warning: ")
    assert text.index("Warning: ") < text.index("17,950.07")
    assert "Warning" not in sample_run.run_text(sample_run.complete_run(), 80)
