"""Rule by rule: classes, lines in scope, matches, snapshots, confidence, tolerance, currencies, verdicts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from reconcile_sample import BP, DEFENDER, ITEMS, NOVEMBER, Book, D, ours

from billingsync.core.decisions import Pairing
from billingsync.core.period import Period
from billingsync.core.reconcile.classify import Class
from billingsync.core.reconcile.compare import Verdict, compare
from billingsync.core.reconcile.findings import Confidence, Kind, Side
from billingsync.core.reconcile.licences import Mode
from billingsync.core.reconcile.lines import Scope
from billingsync.core.reconcile.snapshot import SeatChange, Snapshot, Unposted, VendorCount, WaitingProRata, suspects
from billingsync.core.reconcile.taken import SnapshotState, Taken, newest_whole, snapshot_for_period
from billingsync.core.remembered import RememberedMatch
from billingsync.core.rules import ClientFile, MatchBlock, ModifierRules, Rules
from billingsync.report.comparison.document import finding_document

# Classes


@pytest.mark.parametrize(
    ("more", "kind", "seats"),
    [
        ({"status": "Active"}, Class.COMPARED, 5),
        ({"status": "Activated"}, Class.COMPARED, 5),
        ({"status": "active "}, Class.COMPARED, 5),
        ({"status": "Cancelled"}, Class.ENDED, 5),
        ({"status": "Converted"}, Class.ENDED, 5),
        ({"status": "PendingCancel", "end": date(2026, 11, 28)}, Class.COMPARED, 5),
        ({"status": "PendingCancel", "end": date(2026, 11, 27)}, Class.ENDED, 5),
        ({"status": "PendingCancel"}, Class.COMPARED, 5),
        ({"status": "Trial"}, Class.TRIAL, 5),
        ({"billing_term": "Trial"}, Class.TRIAL, 5),
        ({"status": "WaitingForDetails"}, Class.PENDING, 5),
        ({"status": "PendingActivation"}, Class.PENDING, 5),
        ({"status": "PendingManual"}, Class.PENDING, 5),
        ({"status": "PendingAutomated"}, Class.PENDING, 5),
        ({"status": "Paused"}, Class.UNKNOWN, 5),
        ({"status": ""}, Class.UNKNOWN, 5),
    ],
)
def test_each_status_has_one_class(more: dict[str, Any], kind: Class, seats: int) -> None:
    book = Book()
    book.sub("a", 5, **more)
    (one,) = book.compare().subscriptions
    assert (one.kind, one.seats) == (kind, seats)


@pytest.mark.parametrize("status", ["Converted", "WaitingForDetails", "PendingActivation", "PendingManual", "Paused"])
def test_a_charge_of_the_month_beats_the_status(status: str) -> None:
    book = Book()
    book.sub("a", 5, status=status)
    book.charge(5, sub="a", type="prorate")
    assert book.compare().subscriptions[0].kind is not Class.COMPARED
    book.charge(5, sub="a")
    assert book.compare().subscriptions[0].kind is Class.COMPARED


def test_a_change_under_way_counts_its_last_active_quantity() -> None:
    book = Book()
    book.sub("a", 5, status="PendingAutomated")
    book.line(9001, 2)
    book.more = {"last_active": {"a": D(2)}}
    row = book.row()
    assert (row.count, row.pending, row.difference) == (2, 3, 0)


@pytest.mark.parametrize(("quantity", "kind"), [(None, Class.UNKNOWN), (-3, Class.COMPARED), ("2.5", Class.COMPARED)])
def test_fault_53_quantities_are_taken_as_they_are_but_none_is_unknown(quantity: object, kind: Class) -> None:
    book = Book()
    book.sub("a", quantity)
    book.line(9001, 1)
    result = book.compare()
    assert result.subscriptions[0].kind is kind
    assert result.subscriptions[0].seats == (0 if quantity is None else D(str(quantity)))
    if quantity is None:
        assert result.verdict is Verdict.NOTHING_COMPARED


def test_an_unknown_quantity_makes_a_finding_only_a_look() -> None:
    book = Book()
    book.sub("a", None)
    book.sub("b", 1, DEFENDER)
    book.line(9001, 5)
    book.line(9002, 1, 1503)
    result = book.compare()
    found = {one.kind: one for one in result.findings}
    assert found[Kind.BILLED_NOT_BOUGHT].confidence is Confidence.LOOK
    assert Kind.UNKNOWN_STATUS in found and result.verdict is Verdict.INCOMPLETE


def test_what_the_bill_leaves_out_is_checked_and_what_reports_leave_out_is_not() -> None:
    book = Book()
    book.sub("a", 12)
    book.line(9001, 10)
    book.rules = Rules(exclude=replace(Rules().exclude, companies=("c1",), products=(BP,)))
    assert book.row().difference == 2
    book.rules = ours(Rules(), exclude_companies=("Contoso Ltd",))
    assert book.compare().classes[Class.EXCLUDED].seats == 12
    book.rules = ours(Rules(), exclude_products=(BP,))
    assert book.compare().classes[Class.EXCLUDED].subscriptions == 1
    book.rules, book.snapshot_more = Rules(), {"billed_by_pax8": frozenset({"c1"})}
    assert book.compare().classes[Class.EXCLUDED].subscriptions == 1


def test_a_person_who_never_bills_a_company_from_here_still_sees_its_seats() -> None:
    book = Book()
    book.sub("a", 12)
    book.line(9001, 10)
    never = RememberedMatch(client_id=None, how="person", company_name="Contoso Ltd")
    book.snapshot_more = {"remembered": {"c1": never}}
    assert book.row().difference == 2


def test_a_renamed_company_counts_under_its_remembered_client_and_is_told() -> None:
    book = Book()
    book.company("c1", 214, "New Name Ltd")
    book.companies["c1"] = replace(book.companies["c1"], external_id="")
    was = RememberedMatch(client_id=214, how="name", company_name="Contoso Ltd")
    book.snapshot_more = {"remembered": {"c1": was}}
    book.sub("a", 12)
    book.line(9001, 12)
    result = book.compare()
    assert [one.kind for one in result.findings] == [Kind.CLIENT_RENAMED] and result.rows[0].difference == 0


def test_unmapped_things_show_seats_and_cost_and_no_cost_is_never_nought() -> None:
    book = Book()
    book.product("NEW", "Something new")
    book.sub("a", 3, "NEW", cost="2.00")
    book.sub("b", 2, "NEW", cost=None)
    book.sub("c", 1)
    book.line(9001, 1)
    result = book.compare()
    whole = result.classes[Class.UNMAPPED_PRODUCT]
    assert (whole.subscriptions, whole.seats, whole.cost_month, whole.unknown_cost) == (2, 5, {"USD": D("6.00")}, 1)
    (found,) = result.findings
    assert (found.kind, found.month, found.company_id, found.seats) == (Kind.UNMAPPED_PRODUCT, None, "c1", 5)
    assert result.verdict is Verdict.INCOMPLETE


# Lines


@pytest.mark.parametrize(
    ("line", "header", "scope"),
    [
        ({}, {}, Scope.IN_SCOPE),
        ({}, {"disabled": True}, Scope.INVOICE_DISABLED),
        ({}, {"end": date(2026, 11, 27)}, Scope.INVOICE_ENDED),
        ({"inactive": True}, {}, Scope.INACTIVE),
        ({"start": date(2026, 11, 29)}, {}, Scope.OUTSIDE_DATES),
        ({"end": date(2026, 11, 27)}, {}, Scope.OUTSIDE_DATES),
        ({"one_time": True}, {}, Scope.ONE_TIME),
        ({"meter": True}, {}, Scope.METER),
        ({"heading": True}, {}, Scope.HEADING),
        ({"bundled": True}, {}, Scope.BUNDLED),
        ({"item": None, "text": " ", "price": 0}, {}, Scope.BLANK),
        ({"item": 99}, {}, Scope.OUT_OF_SCOPE),
        ({"item": 99, "supplier": "Pax8 UK"}, {}, Scope.IN_SCOPE),
        ({"quantity": None}, {}, Scope.UNKNOWN),
    ],
)
def test_each_line_is_in_scope_or_says_why_not(line: dict[str, Any], header: dict[str, Any], scope: Scope) -> None:
    book = Book()
    values = {"quantity": 10, **line}
    book.line(9001, values.pop("quantity"), values.pop("item", 1502), header=header, **values)
    (found,) = book.compare().lines
    assert found.scope is scope


def test_pro_rata_that_waits_counts_on_lines_by_hand_whatever_its_day() -> None:
    waiting = (WaitingProRata(quantity=D(2), day=date(2027, 1, 1)), WaitingProRata(quantity=D(9), invoiced=True))
    book = Book()
    book.sub("a", 12)
    book.line(9001, 10, waiting=waiting)
    assert book.row().difference == 0
    book.invoices.clear()
    book.line(9001, 10, waiting=waiting, counted=True)
    assert book.row().difference == 2


def test_a_payers_invoice_carries_its_clients_lines() -> None:
    book = Book()
    book.company("c2", 300, "Payer")
    book.sub("a", 12)
    book.line(9001, 12, client=300, invoice=-300, client_id=214)
    (row,) = book.compare().rows
    assert (row.client_id, row.difference) == (214, 0)


@pytest.mark.parametrize(
    ("header", "price", "money"),
    [
        ({"period_name": "Quarterly"}, "66.00", "44.00"),
        ({"period_name": "Half-Yearly"}, "132.00", "44.00"),
        ({"period_name": "", "last_created": date(2026, 11, 1), "next_creation": date(2027, 11, 1)}, "264.00", "44.00"),
        ({"period_name": "", "last_created": date(2026, 11, 1), "next_creation": date(2026, 11, 20)}, "22.00", None),
        ({"period_name": "every so often"}, "22.00", None),
    ],
)
def test_a_line_counts_for_the_months_of_its_invoice(header: dict[str, Any], price: str, money: str | None) -> None:
    book = Book()
    book.sub("a", 12)
    book.charge(12, sub="a")
    book.line(9001, 10, price=price, header=header, cost=None)
    (finding,) = book.compare().findings
    assert finding.month == (None if money is None else D(money))
    assert finding.confidence is (Confidence.LOOK if money is None else Confidence.CERTAIN)
    assert book.compare().totals["USD"].unknown == (money is None)


def test_the_rules_say_the_months_where_halopsa_does_not() -> None:
    book = Book()
    book.sub("a", 12)
    book.line(9001, 10, price="66.00", header={"period_name": "?"})
    rules = ours(Rules(), period_months=3)
    book.files = [ClientFile(path="contoso.toml", halo_client=214, rules=rules)]
    assert book.compare().findings[0].month == D("44.00")


def test_a_discount_lowers_the_price_of_a_unit() -> None:
    book = Book()
    book.sub("a", 12, cost="5.00")
    book.line(9001, 10, discount_percent=D(50), cost="5.00")
    result = book.compare()
    assert result.findings[0].month == D("22.00") and result.billing == ()


# Matches


def test_a_line_without_an_item_matches_by_its_text_as_a_guess() -> None:
    book = Book()
    book.sub("a", 12)
    book.charge(12, sub="a")
    book.line(9001, 10, None, text="Microsoft 365 Business Premium.")
    (finding,) = book.compare().findings
    assert (finding.seats, finding.confidence) == (2, Confidence.LIKELY)


def test_a_persons_pairing_comes_before_everything() -> None:
    book = Book()
    book.sub("a", 12)
    book.line(9001, 10, 99)
    assert book.compare().verdict is Verdict.NOTHING_COMPARED
    book.snapshot_more = {"pairings": (Pairing(client_id=214, family=BP, line_id=9001),)}
    assert book.row().difference == 2


def test_two_skus_on_one_item_are_one_row() -> None:
    book = Book()
    book.snapshot_more = {"items_by_sku": {DEFENDER: (1502,)}}
    book.sub("a", 12)
    book.sub("b", 3, DEFENDER)
    book.line(9001, 15)
    (row,) = book.compare().rows
    assert row.difference == 0 and row.skus == (DEFENDER, BP)


def test_a_product_mapped_to_several_items_is_summed() -> None:
    book = Book()
    book.snapshot_more = {"items_by_sku": {BP: (1502, 1602)}}
    book.sub("a", 12)
    book.line(9001, 7)
    book.line(9002, 5, 1602)
    assert book.row().difference == 0


def test_a_match_of_a_clients_file_takes_a_line_by_its_id() -> None:
    book = Book()
    book.sub("a", 12)
    book.line(9001, 12, None, text="licences")
    rules = Rules(matches=(MatchBlock(pax8_skus=(BP,), halo_lines=(9001,)),))
    book.files = [ClientFile(path="contoso.toml", pax8_company="c1", rules=rules)]
    assert book.row().difference == 0


def test_our_own_lines_count_by_their_charges_never_by_their_item() -> None:
    book = Book()
    book.sub("a", 12)
    book.sub("b", 3, DEFENDER)
    book.post(book.charge(12, sub="a"), item_id=17)
    book.post(book.charge(3, DEFENDER, sub="b"), item_id=17)
    assert {row.key: row.difference for row in book.compare().rows} == {BP: 0, DEFENDER: 0}
    assert book.compare().verdict is Verdict.CLEAN


def test_our_own_prorate_lines_are_no_seats() -> None:
    book = Book()
    book.sub("a", 12)
    book.post(book.charge(12, sub="a"))
    book.post(book.charge(2, sub="a", type="prorate", amount="24.13"), amount=D("24.13"))
    result = book.compare()
    assert result.rows[0].psa_quantity == 12 and result.findings == ()
    assert result.billing[0].in_month.price_difference == 0


def test_what_was_posted_last_month_counts_now_until_this_month_is_posted() -> None:
    book = Book()
    book.sub("a", 12)
    book.post(book.charge(10, sub="a", month=NOVEMBER.previous), month=NOVEMBER.previous)
    book.charge(12, sub="a")
    assert book.row().psa_quantity == 10
    book.more = {"period": NOVEMBER}
    assert book.row().psa_quantity == 0


def test_a_file_of_a_vendor_counts_beside_pax8() -> None:
    book = Book()
    book.rules = Rules(matches=(MatchBlock(pax8_skus=("Backup",), halo_items=(55,), vendor="Acronis"),))
    book.line(9001, 3, 55)
    known = VendorCount(vendor="Acronis", account="x", service="Backup", sku="Backup", quantity=D(5), client_id=214)
    unknown = VendorCount(vendor="Acronis", account="y", service="Other", quantity=D(1))
    book.more = {"counts": (known, unknown)}
    result = book.compare()
    (row,) = result.rows
    assert (row.count, row.difference, row.vendor) == (5, 2, "Acronis")
    assert result.unmapped_counts == (unknown,) and result.verdict is Verdict.INCOMPLETE


# Usage, prorates, currencies, tolerance


def test_usage_is_compared_by_money_only() -> None:
    book = Book()
    book.product("MST-AZR-PLN", "Microsoft Azure Plan", item=1600)
    book.sub("u", 1, "MST-AZR-PLN")
    book.charge(1, "MST-AZR-PLN", sub="u", term="Arrears", price="103.44", cost="86.20")
    book.line(9002, 1, 1600, price="90.00", cost="80.00")
    book.sub("a", 1)
    book.charge(1, sub="a")
    book.line(9001, 1)
    result = book.compare()
    (usage,) = [row for row in result.rows if row.mode is Mode.USAGE]
    assert usage.difference == 0 and result.findings == ()
    (billed,) = [row for row in result.billing if row.group == usage.group]
    assert billed.parts and (billed.parts.usage, billed.parts.sum) == (D("13.44"), D("13.44"))


def test_credits_and_what_pax8_bills_itself_stand_apart() -> None:
    book = Book()
    book.sub("a", 1)
    book.line(9001, 1)
    book.charge(1, sub="a")
    book.charge(1, sub="a", type="rebate", amount="-3.00")
    book.charge(1, sub="a", billed_by_pax8=True)
    book.charge(1, company_id="nobody")
    result = book.compare()
    assert {one.why: one.price for one in result.apart} == {
        "credits": D("-3.00"),
        "billed_by_pax8": D("22.00"),
        "unmapped_company": D("22.00"),
    }


def test_a_prorate_kept_on_purpose_is_named_and_one_that_the_plan_holds_is_not_told_twice() -> None:
    book = Book(rules=Rules(modifiers=ModifierRules(favorable_prorata="drop")))
    book.sub("a", 10)
    book.line(9001, 10)
    book.charge(10, sub="a")
    back = book.charge(-1, sub="a", type="prorate", amount="-11.00", cost_amount="-9.00")
    (finding,) = book.compare().findings
    assert (finding.kind, finding.explained, finding.side) == (Kind.PRORATE_NOT_BILLED, True, Side.NONE)
    assert "favorable_prorata" in finding.note and book.compare().verdict is Verdict.CLEAN
    book.rules = Rules()
    assert (book.compare().findings[0].side, book.compare().findings[0].once) == (Side.OWED, D("11.00"))
    book.unposted.append(Unposted(charge_id=back.id, state="held", by="limit_change"))
    assert book.compare().findings == ()


def test_a_prorate_that_the_billing_job_is_about_to_bill_is_no_alarm() -> None:
    book = Book()
    book.sub("a", 12)
    book.post(book.charge(12, sub="a", month=NOVEMBER.previous), month=NOVEMBER.previous)
    seats = book.charge(12, sub="a")
    book.charge(2, sub="a", type="prorate", amount="24.13", cost_amount="19.74")
    (finding,) = book.compare().findings
    assert (finding.kind, finding.explained, finding.note) == (
        Kind.PRORATE_NOT_BILLED,
        True,
        "the next plan bills it",
    )
    assert book.compare().verdict is Verdict.CLEAN and book.compare().totals == {}
    book.post(seats)  # the run went by, and left the prorate out
    assert book.compare().findings[0].side is Side.MISSING


def test_currencies_are_never_added_and_two_in_one_group_are_told() -> None:
    book = Book()
    book.sub("a", 12)
    book.line(9001, 10)
    book.company("c2", 300, "Kuwait Oil", currency="KWD")
    book.sub("b", 3, company="c2", currency="KWD", price="1.005", cost="1.000")
    book.line(8001, 2, client=300, invoice=-300, price="1.005", cost="1.000", header={"currency": "KWD"})
    totals = book.compare().totals
    assert {code: one.missing for code, one in totals.items()} == {"USD": D("44.00"), "KWD": D("1.005")}
    book.sub("d", 5, DEFENDER, currency="EUR")
    book.charge(5, DEFENDER, sub="d", currency="EUR")
    book.line(9002, 5, 1503)
    result = book.compare()
    mismatches = {one.currency for one in result.findings if one.kind is Kind.CURRENCY_MISMATCH}
    assert mismatches == {"EUR", "USD"}
    assert all(row.parts is None for row in result.billing if row.mismatch)


def test_halves_are_rounded_away_from_zero_without_floats() -> None:
    book = Book()
    book.sub("a", 1, price="2.675", cost="1.00")
    book.sub("b", 1, DEFENDER)
    book.charge(1, sub="a")
    book.line(9001, 0, price="2.675", cost="1.00")
    book.line(9002, 1, 1503)
    found = {one.kind: one for one in book.compare().findings}
    assert found[Kind.UNCLEAR if Kind.UNCLEAR in found else Kind.UNDER_BILLED].month == D("2.68")


def test_what_the_tolerance_passes_over_is_summed() -> None:
    book = Book()
    book.sub("a", 1, cost="18.01")
    book.charge(1, sub="a", cost="18.01")
    book.line(9001, 1, cost="18.00")
    result = book.compare()
    assert result.findings == () and result.tolerated == {"USD": D("0.01")}
    book.rules = ours(Rules(), money_tolerance=D(0))
    (finding,) = book.compare().findings
    assert finding.kind is Kind.COST_DRIFT and book.compare().verdict is Verdict.CLEAN


def test_prices_are_only_reported_where_pax8s_are_right() -> None:
    book = Book()
    book.sub("a", 12)
    book.charge(12, sub="a")
    book.line(9001, 12, price="20.00")
    assert book.compare().findings == ()
    book.rules = ours(Rules(), price_source="pax8")
    (finding,) = book.compare().findings
    assert (finding.kind, finding.month, finding.side) == (Kind.PRICE_DRIFT, D("24.00"), Side.MARGIN)


def test_a_client_of_ours_alone_comes_to_what_the_plan_did_not_post() -> None:
    book = Book()
    book.sub("a", 10)
    book.post(book.charge(10, sub="a"))
    held = book.charge(2, DEFENDER, sub="d")
    book.unposted.append(Unposted(charge_id=held.id, state="held", by="limit_change"))
    (check,) = book.compare().ours
    assert (check.price_difference, check.held, check.rest) == (D("44.00"), D("44.00"), 0)
    book.unposted.clear()
    assert book.compare().ours[0].rest == D("44.00")


# Terms


def test_a_year_billed_before_our_sources_begin_is_not_known_and_estimated() -> None:
    book = Book()
    book.sub("a", 12, billing_term="Annual", price="240.00", cost="200.00", start=date(2026, 3, 1))
    book.charges[NOVEMBER] = []
    book.line(9001, 10, price="20.00")
    result = book.compare()
    (row,), (billed,) = result.rows, result.billing
    assert row.invoiced is None and billed.estimated and billed.spread.pax8_price == D("240.00")
    assert result.findings[0].confidence is Confidence.LIKELY


def test_fault_53_an_unknown_term_is_only_looked_at() -> None:
    book = Book()
    book.sub("a", 12, billing_term="Weekly")
    book.line(9001, 10)
    (finding,) = book.compare().findings
    assert finding.confidence is Confidence.LOOK


def test_a_renewed_year_takes_the_place_of_the_one_before() -> None:
    book = Book()
    book.sub("a", 12, billing_term="Annual", price="240.00")
    book.charge(10, sub="a", term="Annual", month=Period(2026, 2))
    book.charge(12, sub="a", term="Annual", month=Period(2026, 10))
    book.charges[NOVEMBER] = []
    book.line(9001, 12)
    assert book.row().invoiced == 12


def test_a_change_inside_the_month_shows_its_day() -> None:
    book = Book()
    book.sub("a", 14)
    book.charge(12, sub="a")
    book.line(9001, 12)
    book.changes.append(SeatChange(subscription_id="a", day=date(2026, 11, 18), before=D(12), after=D(14)))
    (finding,) = book.compare().findings
    assert (finding.kind, finding.since) == (Kind.CHANGED_SINCE_INVOICE, date(2026, 11, 18))


# Order, ids, verdicts


def test_findings_of_mapping_come_first_then_what_is_certain_then_money() -> None:
    book = Book()
    book.company("c2", None, "Nobody")
    book.sub("x", 1, company="c2", cost="0.10")
    book.sub("a", 11)
    book.charge(11, sub="a")
    book.line(9001, 10)
    book.sub("d", 500, DEFENDER)
    kinds = [one.kind for one in book.compare().findings]
    assert kinds == [Kind.UNMAPPED_COMPANY, Kind.UNDER_BILLED, Kind.NOT_BILLED]


def test_seats_missing_here_and_as_many_too_many_elsewhere_are_perhaps_at_the_wrong_client() -> None:
    book = Book()
    book.company("c2", 215, "Fabrikam")
    book.company("c3", 216, "Tailspin")
    book.sub("a", 5)
    book.line(1, 7, ITEMS[DEFENDER])
    book.line(2, 5, client=215, invoice=-238)
    book.line(3, 4, client=216, invoice=-239)
    found = {(one.kind, one.client_id): one for one in book.compare().findings}
    here, there = found[Kind.NOT_BILLED, 214], found[Kind.BILLED_NOT_BOUGHT, 215]
    wrong = found[Kind.WRONG_CLIENT, 214]
    assert (wrong.related, here.related, there.related) == ((here.id, there.id), (wrong.id,), (wrong.id,))
    assert (wrong.money, wrong.confidence, wrong.side) == (None, Confidence.LOOK, Side.NONE)
    assert "Fabrikam" in wrong.note and found[Kind.BILLED_NOT_BOUGHT, 216].related == ()
    assert finding_document(wrong)["related"] == [here.id, there.id]


def test_a_findings_id_survives_snapshots_and_counts() -> None:
    book = Book()
    book.sub("a", 12)
    book.line(9001, 10)
    first = book.compare().findings[0].id
    book.snapshot_more = {"id": 99}
    book.sub("b", 5)
    assert book.compare().findings[0].id == first


def test_moving_things_are_only_looked_at() -> None:
    book = Book()
    book.sub("a", 12, moving=True)
    book.line(9001, 10)
    assert book.compare().findings[0].confidence is Confidence.LOOK


def test_each_client_has_a_verdict_of_its_own() -> None:
    book = Book()
    for number, name in enumerate(("Clean", "Off", "Open", "Empty")):
        book.company(f"k{number}", 400 + number, name)
    book.sub("a", 1, company="k0")
    book.charge(1, sub="a", company_id="k0")
    book.line(1, 1, client=400, invoice=-400)
    book.sub("b", 1, company="k1")
    book.line(2, 2, client=401, invoice=-401)
    book.sub("c", None, company="k2")
    book.line(3, 2, client=402, invoice=-402)
    book.sub("d", 1, company="k3", status="Trial")
    verdicts = book.compare().verdicts
    assert [verdicts[400 + number] for number in range(4)] == [
        Verdict.CLEAN,
        Verdict.DIFFERENCES,
        Verdict.INCOMPLETE,
        Verdict.NOTHING_COMPARED,
    ]


def test_an_empty_tenant_is_never_clean_and_a_partial_snapshot_is_used_by_nothing() -> None:
    assert Book().compare().verdict is Verdict.NOTHING_COMPARED
    inputs = Book().inputs()
    with pytest.raises(AssertionError):
        compare(replace(inputs, snapshot=replace(inputs.snapshot, state=SnapshotState.PARTIAL)))


# Snapshots


def taken(id_: int, day: int, month: int = 11, state: SnapshotState = SnapshotState.WHOLE) -> Taken:
    return Taken(id=id_, as_at=datetime(2026, month, day, 5, tzinfo=UTC), state=state)


def test_a_period_has_exactly_one_snapshot_and_never_one_of_another_month() -> None:
    every = [taken(1, 30, 10), taken(2, 3), taken(3, 5, state=SnapshotState.PARTIAL), taken(4, 6), taken(5, 20)]
    every += [taken(6, 28, 12)]
    read = datetime(2026, 11, 4, 12, tzinfo=UTC)
    assert (snapshot_for_period(every, NOVEMBER, read) or every[0]).id == 4
    assert (snapshot_for_period(every, NOVEMBER, datetime(2026, 12, 2, tzinfo=UTC)) or every[0]).id == 5
    assert (snapshot_for_period(every, NOVEMBER, None) or every[0]).id == 5
    assert snapshot_for_period(every, Period(2026, 9), None) is None
    assert (newest_whole(every) or every[0]).id == 6 and newest_whole([every[2]]) is None


def test_what_lost_too_much_since_the_last_snapshot_is_suspect() -> None:
    book = Book()
    for number in range(10):
        book.sub(f"s{number}", 1)
        book.line(9000 + number, 1)
    before: Snapshot = book.inputs().snapshot
    assert suspects(before, before, D(20)) == suspects(before, None, D(20)) == frozenset()
    fewer = replace(before, subscriptions=before.subscriptions[:8])
    assert suspects(fewer, before, D(20)) == frozenset()
    fewer = replace(before, subscriptions=before.subscriptions[:7])
    assert suspects(fewer, before, D(20)) == {"subscriptions"}
    hollow = replace(before, recurring=tuple(replace(one, lines=()) for one in before.recurring))
    assert suspects(hollow, before, D(100)) == {"lines"}
