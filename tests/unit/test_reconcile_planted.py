"""Bugs put in on purpose: for each one a test that passes without it must fail with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import test_reconcile_cards as cards_tests
import test_reconcile_examples as examples
import test_reconcile_expiring as expiring_tests
import test_reconcile_rules as rules_tests

from billingsync.core.reconcile import (
    amounts,
    card_change,
    card_making,
    cards,
    classify,
    compare,
    expiring,
    find,
    licences,
    lines,
    matches,
    prices,
    snapshot,
    tenant,
    terms,
)
from billingsync.core.reconcile.taken import newest_whole

Patch = Callable[[pytest.MonkeyPatch], None]
Check = Callable[[], None]


def only_the_first_subscription(patch: pytest.MonkeyPatch) -> None:
    right = licences.rows_of_client

    def wrong(side: licences.Side) -> list[licences.SeatRow]:
        side.members = {key: found[:1] for key, found in side.members.items()}
        return right(side)

    patch.setattr(compare, "rows_of_client", wrong)


def prorates_add_to_the_quantity(patch: pytest.MonkeyPatch) -> None:
    for module in (terms, lines, tenant):
        patch.setattr(module, "is_seats", lambda charge: charge.type in ("subscription", "prorate"))


def trials_are_counted(patch: pytest.MonkeyPatch) -> None:
    right = classify._class_of

    def wrong(*args: Any) -> Any:
        kind, seats = right(*args)
        return (classify.Class.COMPARED if kind is classify.Class.TRIAL else kind), seats

    patch.setattr(classify, "_class_of", wrong)


def todays_snapshot_for_another_month(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rules_tests, "snapshot_for_period", lambda taken, period, read: newest_whole(taken))


def parts_are_summed(patch: pytest.MonkeyPatch) -> None:
    right = matches._LookUp.family

    def wrong(*args: Any) -> matches.Family:
        return replace(right(*args), each=False)

    patch.setattr(matches._LookUp, "family", wrong)


def waiting_pro_rata_is_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(snapshot.RecurringLine, "waits", property(lambda line: Decimal(0)))


def inactive_lines_are_counted(patch: pytest.MonkeyPatch) -> None:
    right = lines._scope

    def wrong(*args: Any) -> lines.Scope:
        found = right(*args)
        return lines.Scope.IN_SCOPE if found is lines.Scope.INACTIVE else found

    patch.setattr(lines, "_scope", wrong)


def the_whole_count_is_written_beside_pro_rata(patch: pytest.MonkeyPatch) -> None:
    right = cards._Cards._target
    patch.setattr(cards._Cards, "_target", lambda maker, line: right(maker, line) + line.waiting)


def money_is_a_float(patch: pytest.MonkeyPatch) -> None:
    def wrong(amount: Fraction, currency: str) -> Decimal:
        return Decimal(str(round(float(amount), 2)))

    for module in (terms, amounts, find, lines):
        patch.setattr(module, "rounded", wrong)


def currencies_are_added(patch: pytest.MonkeyPatch) -> None:
    right = compare._totals
    patch.setattr(compare, "_totals", lambda found: right([replace(one, currency="USD") for one in found]))


def the_sign_of_the_difference_flips(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(licences.SeatRow, "difference", property(lambda row: row.psa_quantity - row.count))


def a_year_is_not_spread(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(amounts, "_share", lambda amount, term, months, currency: amount)


def an_empty_side_makes_findings(patch: pytest.MonkeyPatch) -> None:
    right = compare._verdict
    patch.setattr(compare, "_verdict", lambda nothing, incomplete, found: right(False, incomplete, found))


def missing_and_owed_are_netted(patch: pytest.MonkeyPatch) -> None:
    right = compare._totals

    def wrong(found: Any) -> Any:
        netted = {}
        for code, one in right(found).items():
            netted[code] = replace(one, missing=one.missing - one.owed, owed=Decimal(0))
        return netted

    patch.setattr(compare, "_totals", wrong)


def the_bills_exclusions_hide(patch: pytest.MonkeyPatch) -> None:
    def wrong(company: Any, ref: Any, rules: Any) -> bool:
        return company.id in rules.exclude.companies

    patch.setattr(classify, "is_excluded", wrong)


def recorded_profit_is_revenue(patch: pytest.MonkeyPatch) -> None:
    right = card_change.change_of

    def wrong(*args: Any) -> card_change.Change:
        made = right(*args)
        return replace(made, recorded_profit_month=made.revenue_month)

    patch.setattr(card_making, "change_of", wrong)


def monthly_ones_expire_too(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(expiring, "row_of", lambda subscription: expiring.Row.TERM)


def the_digest_hangs_on_the_snapshot(patch: pytest.MonkeyPatch) -> None:
    right = card_making.card_digest
    count = iter(range(1000))
    patch.setattr(card_making, "card_digest", lambda *args: f"{right(*args)}{next(count)}")


def parts_check() -> None:
    examples.test_3_parts_of_a_product_each_carry_all_seats()


def inactive_check() -> None:
    rules_tests.test_each_line_is_in_scope_or_says_why_not({"inactive": True}, {}, lines.Scope.INACTIVE)


PLANTED: tuple[tuple[Patch, Check], ...] = (
    (only_the_first_subscription, examples.test_1_two_subscriptions_of_one_product_are_summed),
    (prorates_add_to_the_quantity, examples.test_2_a_right_month_with_a_prorate_has_no_seat_finding),
    (trials_are_counted, examples.test_6_nothing_compared),
    (
        todays_snapshot_for_another_month,
        rules_tests.test_a_period_has_exactly_one_snapshot_and_never_one_of_another_month,
    ),
    (parts_are_summed, parts_check),
    (waiting_pro_rata_is_not_counted, rules_tests.test_pro_rata_that_waits_counts_on_lines_by_hand_whatever_its_day),
    (inactive_lines_are_counted, inactive_check),
    (the_whole_count_is_written_beside_pro_rata, cards_tests.test_pro_rata_that_waits_is_left_for_halopsa_to_add),
    (money_is_a_float, rules_tests.test_halves_are_rounded_away_from_zero_without_floats),
    (currencies_are_added, rules_tests.test_currencies_are_never_added_and_two_in_one_group_are_told),
    (the_sign_of_the_difference_flips, cards_tests.test_the_sign_of_a_cards_change_is_that_of_its_difference),
    (a_year_is_not_spread, examples.test_5_a_year_ahead_is_spread_over_its_months),
    (an_empty_side_makes_findings, examples.test_6_a_whole_side_that_is_empty_is_no_finding_for_every_row),
    (missing_and_owed_are_netted, examples.test_missing_and_owed_are_never_netted),
    (the_bills_exclusions_hide, rules_tests.test_what_the_bill_leaves_out_is_checked_and_what_reports_leave_out_is_not),
    (recorded_profit_is_revenue, cards_tests.test_1_a_card_shows_revenue_recorded_profit_and_cash),
    (monthly_ones_expire_too, expiring_tests.test_9_expiring_by_threshold_in_two_rows),
    (the_digest_hangs_on_the_snapshot, cards_tests.test_the_digest_lives_as_long_as_what_it_shows),
)


@pytest.fixture(autouse=True)
def fresh_caches() -> Iterator[None]:
    """What a patched function once answered must not be remembered."""
    yield
    for cached in (terms.months_of, classify._per_month, lines._discounted, prices._unit):
        cached.cache_clear()


@pytest.mark.parametrize(("plant", "check"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_a_planted_bug_is_caught(plant: Patch, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    check()
    plant(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        check()
