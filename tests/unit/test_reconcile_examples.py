"""The worked examples of the reconciliation, number by number."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from reconcile_sample import BP, DEFENDER, NOVEMBER, Book, D
from worked_books import (
    blocks,
    bundle,
    cost_moved,
    margins,
    nothing_compared,
    right_month,
    several_items,
    three_ways,
    twice,
    two_subscriptions,
    year_ahead,
)

from billingsync.core.inputs import Item
from billingsync.core.period import Period
from billingsync.core.reconcile.classify import Class
from billingsync.core.reconcile.compare import Verdict
from billingsync.core.reconcile.findings import Confidence, Kind, Side
from billingsync.core.reconcile.lines import Keeper
from billingsync.core.reconcile.posted import compare_posted
from billingsync.core.reconcile.snapshot import ItemTerms, SeatChange
from billingsync.core.reconcile.terms import shares
from billingsync.core.rules import Part, ProductBlock, Rules


def test_1_two_subscriptions_of_one_product_are_summed() -> None:
    book = two_subscriptions()
    result = book.compare()
    (row,), (finding,) = result.rows, result.findings
    assert (row.count, row.psa_quantity, row.difference) == (12, 10, 2)
    assert (finding.kind, finding.side, finding.confidence) == (Kind.UNDER_BILLED, Side.MISSING, Confidence.CERTAIN)
    assert (finding.month, finding.year, finding.once) == (D("44.00"), D("528.00"), None)
    (billed,) = result.billing
    assert billed.in_month.cost_difference == D("36.00")
    assert billed.in_month.price_difference == D("44.00") and billed.exact
    assert result.verdict is Verdict.DIFFERENCES and result.verdicts == {214: Verdict.DIFFERENCES}
    assert result.totals["USD"].missing == D("44.00") and result.totals["USD"].owed == 0


def test_2_a_right_month_with_a_prorate_has_no_seat_finding() -> None:
    book = right_month()
    result = book.compare()
    (row,), (billed,), (finding,) = result.rows, result.billing, result.findings
    assert (row.count, row.invoiced, row.psa_quantity, row.difference) == (12, 12, 12, 0)
    assert billed.in_month.pax8_price == D("288.13") and billed.in_month.price_difference == D("24.13")
    assert (finding.kind, finding.side, finding.once) == (Kind.PRORATE_NOT_BILLED, Side.MISSING, D("24.13"))
    assert finding.month is None and finding.year is None
    assert billed.parts and billed.parts.prorate == D("24.13") and billed.parts.sum == D("24.13") and not billed.exact


@pytest.mark.parametrize(
    ("count", "quantities", "differences"), [("sum", (6, 5), [-1]), ("each", (10, 9), [0, 1])], ids=["sum", "each"]
)
def test_3_one_product_on_two_items(count: str, quantities: tuple[int, int], differences: list[int]) -> None:
    book = several_items(count, quantities)
    result = book.compare()
    assert [row.difference for row in result.rows] == differences
    assert [finding.seats for finding in result.findings] == [one for one in differences if one]
    if count == "sum":
        assert (result.findings[0].side, result.findings[0].month) == (Side.OWED, D("22.00"))


def test_3_parts_of_a_product_each_carry_all_seats() -> None:
    parts = (Part(halo_item=11, share=D(60)), Part(halo_item=12, share=D(40)))
    book = Book(rules=Rules(product_blocks=(ProductBlock(pax8_sku=BP, parts=parts),)))
    book.sub("a", 10)
    book.line(9001, 10, 11)
    book.line(9002, 9, 12)
    assert [row.difference for row in book.compare().rows] == [0, 1]


def test_3_blocks_of_a_hundred_are_rounded_up() -> None:
    row = blocks().row("STORE")
    assert (row.seats, row.count, row.psa_quantity, row.difference) == (1250, 13, 12, 1)


def test_4_a_bundle_covers_seats_of_two_products() -> None:
    book = bundle()
    result = book.compare()
    assert {row.key: row.difference for row in result.rows} == {BP: 1, DEFENDER: 0}
    assert len({row.group for row in result.rows}) == 1
    (billed,) = result.billing
    assert (billed.in_month.pax8_cost, billed.in_month.psa_price) == (D("518.00"), D("710.00"))
    assert (billed.in_month.margin, billed.in_month.margin_percent) == (D("192.00"), D("27.04"))


def test_5_a_year_ahead_is_spread_over_its_months() -> None:
    book = year_ahead()
    result = book.compare()
    (billed,) = result.billing
    assert billed.in_month.price_difference == D("2640.00")
    assert billed.spread.pax8_price == D("240.00") and billed.spread.price_difference == 0
    assert [finding.kind for finding in result.findings] == []
    book.more = {"period": Period(2026, 12)}
    book.charges[Period(2026, 12)] = []
    result = book.compare()
    (row,) = result.rows
    assert row.invoiced == 12 and result.billing[0].spread.pax8_price == D("240.00")


def test_5_shares_add_up() -> None:
    assert shares(D("2880.00"), 12, "USD") == (D("240.00"), D("240.00"))
    assert shares(D("1000.00"), 12, "USD") == (D("83.37"), D("83.33"))
    assert shares(D(100000), 12, "JPY") == (D(8337), D(8333))


def test_6_nothing_compared() -> None:
    book = nothing_compared()
    result = book.compare()
    counts = {kind: one.subscriptions for kind, one in result.classes.items() if one.subscriptions}
    assert counts == {Class.TRIAL: 1, Class.PENDING: 1, Class.USAGE: 1, Class.ENDED: 1}
    assert result.verdict is Verdict.NOTHING_COMPARED and result.findings == ()


def test_6_a_whole_side_that_is_empty_is_no_finding_for_every_row() -> None:
    book = Book()
    for number in range(20):
        book.sub(f"s{number}", 156)
    book.company("c2", None, "Nobody knows")
    book.sub("x", 1, company="c2")
    result = book.compare()
    assert result.verdict is Verdict.NOTHING_COMPARED
    assert [finding.kind for finding in result.findings] == [Kind.UNMAPPED_COMPANY]
    assert result.next_steps == (("billingsync", "map", "companies"),)
    book.subscriptions.clear()
    book.line(9001, 10)
    assert book.compare().verdict is Verdict.NOTHING_COMPARED and book.compare().findings == ()


@pytest.mark.parametrize(
    ("seats", "psa", "price", "difference", "parts"),
    [(10, 11, "22.00", "-22.00", ("-22.00", "0.00")), (12, 10, "23.50", "29.00", ("47.00", "-18.00"))],
)
def test_7_the_price_difference_splits_exactly(
    seats: int, psa: int, price: str, difference: str, parts: tuple[str, str]
) -> None:
    book = margins(seats, psa, price)
    (billed,) = book.compare().billing
    assert billed.in_month.price_difference == D(difference)
    assert billed.parts and (billed.parts.seats, billed.parts.rate) == tuple(map(D, parts))
    if psa == 11:
        assert (billed.in_month.margin, billed.in_month.margin_percent) == (D("62.00"), D("25.62"))
        assert billed.in_month.mspbots_product_margin == D("-62.00")


def test_8_cost_moved_and_below_cost() -> None:
    book = cost_moved()
    found = book.findings()
    assert found[Kind.COST_MOVED].month == D("21.00") and found[Kind.COST_MOVED].below_cost == D("1.00")
    assert found[Kind.BELOW_COST].month == D("1.00")
    assert {one.side for one in found.values()} == {Side.MARGIN}
    totals = book.compare().totals["USD"]
    assert totals.margin == D("22.00") and totals.missing == totals.owed == totals.pax8 == 0


@pytest.mark.parametrize(
    ("three", "kind", "seats", "confidence"),
    [
        ((12, 12, 10), Kind.UNDER_BILLED, 2, Confidence.CERTAIN),
        ((14, 12, 12), Kind.CHANGED_SINCE_INVOICE, 2, Confidence.CERTAIN),
        ((12, None, 10), Kind.UNDER_BILLED, 2, Confidence.LIKELY),
        ((14, 12, 10), Kind.UNCLEAR, 4, Confidence.LOOK),
    ],
)
def test_10_seats_three_ways(
    three: tuple[int, int | None, int], kind: Kind, seats: int, confidence: Confidence
) -> None:
    (finding,) = three_ways(*three).compare().findings
    assert (finding.kind, finding.seats, finding.confidence) == (kind, seats, confidence)


def test_10_pax8_bills_too_many() -> None:
    (finding,) = three_ways(12, 14, 12).compare().findings
    assert (finding.kind, finding.side) == (Kind.PAX8_INVOICE_DIFFERS, Side.PAX8)
    assert finding.once == D("36.00") and finding.month is None and finding.year is None
    assert finding.confidence is Confidence.CERTAIN


def test_10_where_nobody_tells_whether_seats_changed_it_is_only_looked_at() -> None:
    book = three_ways(12, 14, 12)
    book.more["past_unknown"] = frozenset({"a"})
    (finding,) = book.compare().findings
    assert (finding.kind, finding.confidence) == (Kind.PAX8_INVOICE_DIFFERS, Confidence.LOOK)


def test_10_a_change_since_the_invoice_explains_it() -> None:
    book = three_ways(14, 12, 14)
    assert [finding.kind for finding in book.compare().findings] == [Kind.PAX8_INVOICE_DIFFERS]
    assert book.compare().findings[0].once == D("-36.00")
    book.changes.append(SeatChange(subscription_id="a", day=date(2026, 11, 10), before=D(12), after=D(14)))
    assert book.compare().findings == () and book.compare().verdict is Verdict.CLEAN


def test_10_pax8_bills_what_was_cancelled() -> None:
    (finding,) = three_ways(None, 5, 0).compare().findings
    assert (finding.kind, finding.once) == (Kind.PAX8_BILLS_CANCELLED, D("90.00"))


def test_11_billed_twice() -> None:
    book = twice()
    result = book.compare()
    (row,), (finding,) = result.rows, result.findings
    assert (row.count, row.psa_quantity, row.difference) == (10, 20, -10)
    assert (finding.kind, finding.side) == (Kind.DUPLICATE, Side.OWED)
    assert (finding.month, finding.year) == (D("220.00"), D("2640.00"))
    assert {line.keeper for line in row.every_line} == {Keeper.OURS, Keeper.HAND}


def test_follows_the_next_invoice_where_only_the_billing_job_bills() -> None:
    book = Book()
    book.sub("a", 9)
    book.post(book.charge(8, sub="a"))
    result = book.compare()
    (finding,) = result.findings
    assert (finding.kind, finding.explained, finding.month, finding.seats) == (Kind.FOLLOWS_INVOICE, True, None, 1)
    assert result.verdict is Verdict.CLEAN


def test_not_billed_takes_the_items_price_else_pax8s() -> None:
    book = three_ways(12, 12, 0)
    (finding,) = book.compare().findings
    assert (finding.kind, finding.month, finding.confidence) == (Kind.NOT_BILLED, D("264.00"), Confidence.LIKELY)
    book.terms[1502] = ItemTerms(price=D("25.00"))
    (finding,) = book.compare().findings
    assert finding.month == D("300.00")


def test_items_of_one_name_are_ambiguous() -> None:
    book = Book()
    book.product("NEW", "New product")
    book.items[1] = Item(id=1, name="New product")
    book.items[2] = replace(book.items[1], id=2)
    book.sub("a", 3, "NEW")
    book.line(9001, 1)
    (found,) = [one for one in book.compare().findings if one.kind is Kind.UNMAPPED_PRODUCT]
    assert found.note == "New product (1), New product (2)" and found.month == D("54.00")


def test_a_period_without_a_snapshot_compares_only_what_was_posted() -> None:
    book = Book()
    posted = book.charge(10, sub="a")
    book.charge(3, DEFENDER, sub="b")
    book.post(posted, amount=D("219.99"))
    result = compare_posted(replace(book.inputs(), period=NOVEMBER))
    (billed,), (apart,) = result.billing, result.apart
    assert billed.in_month.price_difference == D("0.01") and billed.skus == (BP,)
    assert (apart.why, apart.charges, apart.price) == ("no_snapshot", 1, D("66.00"))
    assert result.verdict is Verdict.INCOMPLETE and result.rows == () and result.classes == {}
    book.posted.clear()
    assert compare_posted(replace(book.inputs(), period=NOVEMBER)).verdict is Verdict.NOTHING_COMPARED


def test_missing_and_owed_are_never_netted() -> None:
    book = three_ways(12, 12, 10)
    book.sub("d", 4, DEFENDER)
    book.charge(4, DEFENDER, sub="d")
    book.line(9002, 7, 1503)
    totals = book.compare().totals["USD"]
    assert (totals.missing, totals.owed, totals.pax8) == (D("44.00"), D("66.00"), 0)
