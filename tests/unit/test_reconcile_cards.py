"""Cards: kinds, what they lack, their change, digests, limits, effective day, decisions and sets."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from reconcile_sample import BP, DEFENDER, NOVEMBER, Book, D

from billingsync.core.reconcile.card import Card, CardKind, Choice, Lack
from billingsync.core.reconcile.card_change import Limit
from billingsync.core.reconcile.card_states import (
    CardState,
    Decision,
    Filter,
    Shown,
    card_set,
    may_snooze,
    replaced,
    shown,
)
from billingsync.core.reconcile.snapshot import ItemTerms, RecurringInvoice, WaitingProRata
from billingsync.core.rules import BundleBlock, CardRules, Covered, MatchBlock, Rules

TODAY = date(2026, 11, 28)


def simple(seats: object = 12, psa: object = 10, **line: Any) -> Book:
    book = Book()
    book.sub("a", seats)
    book.charge(seats, sub="a")
    book.line(9001, psa, **line)
    return book


def test_1_a_card_shows_revenue_recorded_profit_and_cash() -> None:
    card = simple().card()
    assert (card.kind, card.before.quantity, card.after.quantity) == (CardKind.CHANGED, 10, 12)
    change = card.change
    assert (change.revenue_month, change.recorded_profit_month, change.cash_month) == (
        D("44.00"),
        D("8.00"),
        D("44.00"),
    )
    assert (change.revenue_year, change.once, change.currency) == (D("528.00"), None, "USD")
    assert card.approvable and card.limits == () and card.finding is not None
    assert (card.invoice_id, card.line_id, card.difference) == (-237, 9001, 2)


def test_4_a_bundles_card_needs_a_line() -> None:
    covers = (Covered(pax8_sku=BP), Covered(pax8_sku=DEFENDER))
    book = Book(rules=Rules(bundles=(BundleBlock(halo_item=1700, covers=covers),)))
    book.sub("a", 26)
    book.sub("b", 20, DEFENDER, cost="2.50")
    book.line(9001, 20, 1700, price="30.00")
    book.line(9002, 5)
    card = book.card()
    assert card.lacks == (Lack.NEEDS_LINE,) and card.line_id is None and card.difference == 1
    chosen = book.card(line_id=9002)
    assert (chosen.line_id, chosen.before.quantity, chosen.after.quantity, chosen.lacks) == (9002, 5, 6, ())


def test_11_the_card_of_a_duplicate_ends_the_line_by_hand() -> None:
    book = Book()
    book.sub("a", 10)
    book.post(book.charge(10, sub="a"))
    book.line(9001, 10)
    card = book.card()
    assert (card.kind, card.line_id, card.after.quantity, card.approvable) == (CardKind.GONE, 9001, 0, True)
    assert card.change.revenue_month == D("-220.00") and card.limits == (Limit.QUANTITY,)


def test_of_two_lines_by_hand_a_person_says_which_one_ends() -> None:
    book = Book()
    book.sub("a", 10)
    book.line(9001, 10)
    book.line(9002, 3)
    card = book.card()
    assert (card.kind, card.line_id, card.lacks) == (CardKind.GONE, 9002, (Lack.NEEDS_LINE,))
    chosen = book.card(line_id=9002)
    assert (chosen.kind, chosen.after.quantity, chosen.approvable) == (CardKind.GONE, 0, True)


def test_a_line_by_hand_beside_too_few_of_ours_takes_what_is_missing_once_it_is_chosen() -> None:
    book = Book()
    book.sub("a", 10)
    book.post(book.charge(8, sub="a"))
    book.line(9001, 10)
    assert book.card().lacks == (Lack.NEEDS_LINE,)
    assert (book.card(line_id=9001).after.quantity, book.card(line_id=9001).approvable) == (2, True)


def test_a_new_line_of_several_items_takes_the_first() -> None:
    book = simple(10)
    book.rules = Rules(matches=(MatchBlock(pax8_skus=(DEFENDER,), halo_items=(11, 12)),))
    book.sub("d", 3, DEFENDER)
    (card,) = [card for card in book.cards() if card.kind is CardKind.NEW]
    assert card.approvable and card.item_id == 11


def test_13_limits_of_a_large_move() -> None:
    assert simple(17).card().limits == (Limit.QUANTITY,)
    assert simple(15).card().limits == ()  # 50 % is not more than 50 %
    assert simple(3, 1).card().limits == ()  # 200 %, but two seats


def test_13_pro_rata_from_a_day_in_the_running_period() -> None:
    card = simple().card(day=date(2026, 11, 16))
    assert card.change.once == D("22.00") and card.lacks == (Lack.PRORATA_OFF,)
    (entry,) = card.entries
    assert (entry.quantity, entry.amount, card.after.quantity) == (2, D("22.00"), 10)
    assert card.change.revenue_month == D("44.00")


def test_several_dated_entries_add_up_to_the_missing_seats() -> None:
    book = simple()
    book.rules = Rules(cards=CardRules(prorata="halo"))
    entries = ((date(2026, 11, 16), D(1)), (date(2026, 11, 26), D(1)))
    card = book.card(entries=entries)
    assert card.approvable and [entry.amount for entry in card.entries] == [D("11.00"), D("3.67")]
    assert card.change.once == D("14.67") and (card.before.quantity, card.after.quantity) == (10, 10)
    short = book.card(entries=entries[:1])
    assert short.lacks == (Lack.PRORATA_QUANTITY,)


def test_a_later_day_is_scheduled_without_pro_rata() -> None:
    card = simple().card(day=date(2026, 12, 1))
    assert card.scheduled and card.effective == date(2026, 12, 1) and card.approvable and card.change.once is None
    header = {"last_created": date(2026, 11, 15), "next_creation": date(2026, 12, 15)}
    inside = simple(header=header).card(day=date(2026, 12, 1))
    assert inside.lacks == (Lack.PRORATA_OFF,)
    assert inside.change.once == D("20.53")  # 14 of the 30 days from 11-15 to 12-14


def test_pro_rata_that_waits_is_left_for_halopsa_to_add() -> None:
    book = simple(13, waiting=(WaitingProRata(day=date(2026, 11, 16), quantity=D(2)),))
    card = book.card()
    assert (card.before.quantity, card.waiting, card.after.quantity, card.difference) == (10, 2, 11, 1)
    assert card.change.revenue_month == D("22.00")


def test_more_waits_than_there_is_room_for() -> None:
    book = simple(1, waiting=(WaitingProRata(quantity=D(2)),))
    assert Lack.WAITING in book.card().lacks


@pytest.mark.parametrize(
    ("line", "lack"),
    [
        ({"counted": True}, Lack.HALO),
        ({"header": {"in_approval": True}}, Lack.INVOICE_CLOSED),
        ({"moving": True}, Lack.MOVING),
        ({"invoice": -500, "client": 999, "client_id": 214}, Lack.OTHER_CLIENT),
    ],
)
def test_what_blocks_a_card(line: dict[str, Any], lack: Lack) -> None:
    header = line.pop("header", None)
    book = simple()
    book.invoices.clear()
    book.line(9001, 10, header=header, **line)
    assert book.card().lacks == (lack,)


def test_a_line_of_the_billing_job_is_never_written_by_a_card() -> None:
    book = simple()
    book.more = {"written_lines": frozenset({(-237, 9001)})}
    assert book.card().lacks == (Lack.OURS,)
    book = Book()
    book.sub("a", 9)
    book.post(book.charge(8, sub="a"))
    assert book.card().lacks == (Lack.OURS,)


def test_parts_of_a_unit_and_unknown_quantities_are_blocked() -> None:
    assert simple("2.5", 1).card().lacks == (Lack.PART_OF_A_UNIT,)
    book = simple()
    book.sub("b", None)
    assert book.card().lacks == (Lack.UNSURE,)


def test_suspect_lists_make_no_approvable_new_or_gone_card_until_confirmed() -> None:
    book = simple()
    book.sub("d", 3, DEFENDER)
    book.snapshot_more = {"suspect": frozenset({"lines"})}
    lacks = {card.kind: card.lacks for card in book.cards()}
    assert lacks == {CardKind.CHANGED: (), CardKind.NEW: (Lack.SUSPECT,)}
    book.snapshot_more["confirmed"] = True
    assert all(card.approvable for card in book.cards())


def test_a_new_card_takes_the_only_recurring_invoice_and_the_items_price() -> None:
    book = simple(10)
    book.sub("d", 3, DEFENDER, price="4.00", cost="2.50")
    book.terms[1503] = ItemTerms(price=D("5.00"))
    (card,) = [card for card in book.cards() if card.kind is CardKind.NEW]
    assert (card.invoice_id, card.item_id, card.line_id) == (-237, 1503, None)
    assert (card.after.quantity, card.after.unit_price, card.after.unit_cost) == (3, D("5.00"), D("2.5"))
    assert card.change.revenue_month == D("15.00") and card.change.recorded_profit_month == D("7.50")
    book.rules = Rules(cards=CardRules(new_price="pax8"))
    assert next(card for card in book.cards() if card.kind is CardKind.NEW).after.unit_price == D(4)
    book.invoices[-238] = RecurringInvoice(id=-238, client_id=214, currency="USD", period_name="Quarterly")
    (card,) = [card for card in book.cards() if card.kind is CardKind.NEW]
    assert card.lacks == (Lack.NEEDS_INVOICE,)
    chosen = next(one for one in book.cards({card.id: Choice(invoice_id=-238)}) if one.kind is CardKind.NEW)
    assert chosen.approvable and chosen.after.unit_price == D(12) and chosen.change.revenue_month == D("12.00")


def test_prices_and_costs_stay_unless_they_are_asked_for() -> None:
    book = simple(price="20.00", cost="15.00")
    card = book.card()
    assert (card.after.unit_price, card.after.unit_cost) == (D("20.00"), D("15.00"))
    card = book.card(with_price=True, with_cost=True)
    assert (card.after.unit_price, card.after.unit_cost) == (D(22), D(18))
    assert card.change.revenue_month == D("64.00")
    typed = book.card(price=D("25.00"))
    assert typed.limits == (Limit.PRICE,) and typed.digest != card.digest
    assert Limit.BELOW_COST in book.card(price=D("17.00")).limits
    assert book.card(quantity=D(11)).after.quantity == 11


def test_several_lines_of_one_row_need_a_choice() -> None:
    book = Book(rules=Rules(matches=(MatchBlock(pax8_skus=(BP,), halo_items=(11, 12)),)))
    book.sub("a", 10)
    book.line(9001, 6, 11)
    book.line(9002, 5, 12)
    assert book.card().lacks == (Lack.NEEDS_LINE,)
    chosen = book.card(line_id=9002)
    assert (chosen.before.quantity, chosen.after.quantity, chosen.approvable) == (5, 4, True)


def test_items_that_each_carry_all_seats_have_a_card_each() -> None:
    book = Book(rules=Rules(matches=(MatchBlock(pax8_skus=(BP,), halo_items=(11, 12), count="each"),)))
    book.sub("a", 10)
    book.line(9001, 10, 11)
    book.line(9002, 9, 12)
    kinds = {card.line_id: (card.kind, card.approvable) for card in book.cards()}
    assert kinds == {9001: (CardKind.UNCHANGED, False), 9002: (CardKind.CHANGED, True)}


def test_the_digest_lives_as_long_as_what_it_shows() -> None:
    first = simple().card()
    later = simple()
    later.snapshot_more = {"id": 42}
    assert later.card().digest == first.digest
    for changed in (
        simple(13),
        simple(psa=11),
        simple(price="23.00"),
        simple(cost="17.00"),
        simple(counted=True),
        simple(waiting=(WaitingProRata(quantity=D(1)),)),
    ):
        assert changed.card().id == first.id and changed.card().digest != first.digest
    added = simple()
    added.line(9002, 1)
    assert first.digest not in {card.digest for card in added.cards()}
    assert simple().card(day=date(2026, 12, 1)).digest != first.digest


def test_the_sign_of_a_cards_change_is_that_of_its_difference() -> None:
    for seats in (8, 12):
        card = simple(seats).card()
        assert card.change.revenue_month
        assert (card.difference > 0) is (card.change.revenue_month > 0) is (card.after.quantity > card.before.quantity)


def test_a_quarterly_lines_change_is_shown_for_a_month() -> None:
    card = simple(price="66.00", cost="54.00", header={"period_name": "Quarterly"}).card()
    assert card.change.revenue_month == D("44.00") and card.change.revenue_year == D("528.00")


# Decisions


def decided(card: Card, state: CardState, **more: Any) -> Decision:
    values = {"card": card.id, "digest": card.digest, "cycle": NOVEMBER, "before": card.before, "after": card.after}
    return Decision(state=state, who="anna", **(values | more))


def state(card: Card, *decisions: Decision, cycle: Any = NOVEMBER, today: date = TODAY) -> CardState:
    return shown(card, decisions, cycle, today).state


def test_a_dismissed_card_returns_only_with_other_values() -> None:
    card, other = simple().card(), simple(13).card()
    no = decided(card, CardState.DISMISSED, reason="free until March")
    assert state(card, no) is CardState.DISMISSED and state(other, no) is CardState.OPEN
    again = shown(card, [no, replace(no, cycle=NOVEMBER.next)], NOVEMBER.next.next, TODAY)
    assert again.state is CardState.OPEN and again.note == "dismissed 2 times, last by anna: free until March"


def test_a_snoozed_card_wakes_on_its_day() -> None:
    card = simple().card()
    later = decided(card, CardState.SNOOZED, until=date(2026, 12, 24), reason="ask them")
    assert state(card, later) is CardState.SNOOZED
    assert state(card, later, today=date(2026, 12, 24)) is CardState.OPEN
    assert (
        may_snooze(date(2027, 2, 28), TODAY)
        and not may_snooze(date(2027, 3, 1), TODAY)
        and not may_snooze(TODAY, TODAY)
    )


def test_an_approved_card_whose_ground_moved_is_open_again_and_replaced() -> None:
    card, moved = simple().card(), simple(psa=11).card()
    yes = decided(card, CardState.APPROVED)
    assert state(card, yes) is CardState.APPROVED and state(moved, yes) is CardState.OPEN
    assert replaced([yes], {card.id: card}, NOVEMBER) == ()
    assert replaced([yes], {card.id: moved}, NOVEMBER) == (yes,) == replaced([yes], {}, NOVEMBER)


def test_what_was_scheduled_stays_so_in_the_next_cycle() -> None:
    card = simple().card(day=date(2026, 12, 1))
    assert state(card, decided(card, CardState.SCHEDULED), cycle=NOVEMBER.next) is CardState.SCHEDULED


def test_a_set_has_its_own_digest_and_sums_and_names_what_it_leaves() -> None:
    book = simple()
    book.company("c2", 300, "Fabrikam")
    book.sub("b", 5, company="c2")
    book.charge(5, sub="b", company_id="c2")
    book.line(8001, 7, client=300, invoice=-300)
    book.company("c3", 301, "Litware")
    book.sub("c", 20, company="c3")
    book.line(7001, 10, client=301, invoice=-301)
    everyone = [Shown(card=card, state=CardState.OPEN) for card in book.cards()]
    whole = card_set(everyone)
    assert {card.client_name for card in whole.cards} == {"Contoso Ltd", "Fabrikam"}
    assert (whole.more, whole.less) == ({"USD": D("44.00")}, {"USD": D("44.00")})
    assert [one.card.client_name for one in whole.left] == ["Litware"]
    assert card_set(reversed(everyone)).digest == whole.digest != card_set(everyone[:1]).digest
    only = [one for one in everyone if Filter(clients=frozenset({300})).takes(one)]
    assert [one.card.client_id for one in only] == [300]
    assert not Filter(kinds=frozenset({CardKind.NEW})).takes(everyone[0])
    assert Filter(products=frozenset({BP}), vendors=frozenset({"Microsoft"})).takes(everyone[0])
