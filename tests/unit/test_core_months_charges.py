"""What months brought: another vendor's "Azure" [M1], changes of seats [M2], SKUs of one name [P3a], parts with a fixed
price [P5]. The whole months are in tests/months."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from test_core_notation import azure, charge, fate_of, fates_of, lines, month, rules, split

from billingsync.core.bill.plan_run import plan_run
from billingsync.core.inputs import Item, Memory

DROP = rules(modifiers={"azure": "drop"})
FAVORABLE = rules(modifiers={"favorable_prorata": "drop"})
NAMED = {"product": "Alpha Backup for Microsoft Azure", "sku": "ALPHA-1"}


# --- [M1] --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "fate"),
    [
        (NAMED, "dropped azure"),  # nobody is named as the vendor
        (NAMED | {"vendor": "Alpha"}, "posted"),
        (NAMED | {"vendor": "Microsoft"}, "dropped azure"),
        (NAMED | {"vendor": "MICROSOFT Corporation"}, "dropped azure"),
        (NAMED | {"vendor": "Alpha", "term": "Arrears"}, "posted"),  # arrears of other vendors are not Azure
        (NAMED | {"vendor": "Alpha", "type": "usage"}, "held unknown_charge_type"),
        (NAMED | {"vendor": "Microsoft", "unit": "User", "quantity": "4"}, "posted"),  # seats
        (NAMED | {"vendor": "", "unit": "Licences", "quantity": "4"}, "posted"),
        (NAMED | {"vendor": "Microsoft", "unit": "User", "quantity": "4.5"}, "dropped azure"),
        (NAMED | {"vendor": "Microsoft", "unit": "User", "quantity": "4", "term": "Arrears"}, "dropped azure"),
        (NAMED | {"vendor": "Microsoft", "unit": "Hour", "quantity": "4"}, "dropped azure"),
        (NAMED | {"vendor": "Microsoft", "unit": "User", "type": "one-time"}, "dropped azure"),
        (NAMED | {"vendor": "Alpha", "sku": "MST-AZR-1"}, "dropped azure"),  # a SKU says it whoever sells it
        ({"description": "Azure Plan - storage", "vendor": "Beta"}, "posted"),
        ({"details": "azure plan", "vendor": "Microsoft"}, "dropped azure"),
    ],
)
def test_M1_what_another_vendor_calls_azure_and_seats_are_not(said: dict[str, Any], fate: str) -> None:
    assert fate_of(charge(**said), base=DROP) == fate


@pytest.mark.parametrize("pattern", ["alpha backup", "Backup for Microsoft"])
def test_M1_a_pattern_that_the_partner_wrote_counts_as_written(pattern: str) -> None:
    base = rules(modifiers={"azure": "drop", "azure_patterns": ["microsoft azure", pattern]})
    assert fate_of(charge(**NAMED, vendor="Alpha", unit="User", quantity="4"), base=base) == "dropped azure"


def test_M1_an_unknown_type_is_azure_unless_azure_is_kept() -> None:
    usage = azure(type="usage", term="Arrears")
    assert fate_of(usage, base=DROP) == "dropped azure"
    assert fate_of(usage, base=rules(modifiers={"azure": "collapse"})) == "posted"
    assert fate_of(usage) == "held unknown_charge_type"


# --- [M2] --------------------------------------------------------------------------------------------------------


def prorate(name: str, price: str, cost: str = "", **said: Any) -> Any:
    return charge(name, price, cost or price, **({"type": "prorate", "subscription": "s1"} | said))


def posted(*charges: Any, **said: Any) -> Decimal:
    said.setdefault("base", FAVORABLE)
    return sum((line.amount for line in lines(plan_run(month(*charges, **said)))), Decimal(0))


def test_M2_a_pair_that_takes_seats_back_and_bills_more_of_them_is_one_change() -> None:
    subscription = charge("1", "220.00", "180.00", subscription="s1", quantity="10", unit_price="22.00")
    assert posted(subscription, prorate("2", "-110.00"), prorate("3", "121.00")) == Decimal("231.00")


def test_M2_of_a_negative_sum_both_halves_go() -> None:
    found = fates_of(prorate("1", "-110.00"), prorate("2", "99.00"), base=FAVORABLE)
    assert found == {"1": "dropped favorable_prorata", "2": "dropped favorable_prorata"}


def test_M2_a_sum_of_nothing_is_not_favorable() -> None:
    assert posted(prorate("1", "-110.00"), prorate("2", "110.00")) == 0
    assert set(fates_of(prorate("1", "-110.00"), prorate("2", "110.00"), base=FAVORABLE).values()) == {"posted"}


@pytest.mark.parametrize("apart", [{"subscription": "s2"}, {"invoice": "other"}, {"subscription": ""}])
def test_M2_prorates_of_another_subscription_or_invoice_are_another_change(apart: dict[str, str]) -> None:
    found = fates_of(prorate("1", "-110.00"), prorate("2", "121.00", **apart), base=FAVORABLE)
    assert found == {"1": "dropped favorable_prorata", "2": "posted"}


def test_M2_several_changes_of_one_subscription_on_one_invoice_are_one_sum() -> None:
    members = [prorate("1", "-110.00"), prorate("2", "50.00"), prorate("3", "40.00"), prorate("4", "30.00")]
    assert posted(*members) == Decimal("10.00")


def test_M2_where_one_half_waits_the_other_waits() -> None:
    """Else the client would pay for eleven seats while the ten that it gave back wait."""
    broken = prorate("1", "0.00", problem="total: not a number")
    assert fates_of(broken, prorate("2", "121.00"), base=FAVORABLE) == {"1": "held bad_amount", "2": "held bad_amount"}
    opposite = prorate("1", "-110.00", "90.00")
    assert set(fates_of(opposite, prorate("2", "121.00"), base=FAVORABLE).values()) == {"held price_cost_sign"}


def test_M2_kept_prorates_are_not_judged() -> None:
    assert fates_of(prorate("1", "-110.00"), prorate("2", "99.00")) == {"1": "posted", "2": "posted"}


# --- [P3a] -------------------------------------------------------------------------------------------------------


def created(*charges: Any, items: tuple[Item, ...] = ()) -> dict[str, str]:
    """SKU -> the name of the item that is made for it, or the id of the one that it has."""
    found = lines(plan_run(month(*charges, items=items)))
    return {line.charges[0][4:]: line.item.name if line.item.create else str(line.item.id) for line in found}  # type: ignore[union-attr]


def suite(sku: str, **said: Any) -> Any:
    return charge(sku, sku=sku, product="Suite P", **said)


def test_P3a_two_skus_of_one_name_do_not_make_two_items_of_one_name() -> None:
    assert created(suite("P-M"), suite("P-Y")) == {"P-M": "Suite P", "P-Y": "Suite P (P-Y)"}
    assert created(suite("P-Y"), suite("P-M", company="Fabrikam GmbH")) == {"P-M": "Suite P", "P-Y": "Suite P (P-Y)"}


def test_P3a_a_later_sku_finds_no_two_of_our_items_equally_good() -> None:
    ours = (
        Item(id=1, name="Suite P", external_reference="P-M"),
        Item(id=2, name="Suite P (P-Y)", external_reference="P-Y"),
    )
    assert created(suite("P-M"), suite("P-Y"), suite("P-3Y"), items=ours) == {"P-M": "1", "P-Y": "2", "P-3Y": "1"}
    before = (ours[0], Item(id=2, name="Suite P", external_reference="P-Y"))  # as earlier versions made them
    assert created(suite("P-3Y"), suite("P-4Y"), items=before) == {"P-3Y": "Suite P (P-3Y)", "P-4Y": "Suite P (P-4Y)"}


def test_P3a_where_halopsa_keeps_no_sku_the_second_name_is_found_again() -> None:
    bare = (Item(id=1, name="Suite P"), Item(id=2, name="Suite P (P-Y)"))
    assert created(suite("P-M"), suite("P-Y"), items=bare) == {"P-M": "1", "P-Y": "2"}


def test_P1_two_items_of_other_people_that_match_equally_still_wait() -> None:
    theirs = (Item(id=1, name="Suite P"), Item(id=2, name="Suite P"))
    assert fate_of(suite("P-M"), items=theirs) == "held product_ambiguous"


def test_P3a_a_long_name_keeps_the_sku_that_tells_it_apart() -> None:
    long = "x" * 400
    found = created(charge("A", sku="A", product=long), charge("B", sku="B", product=long))
    assert found["A"] == long and found["B"].endswith(" (B)") and len(found["B"]) <= 240


# --- [P5] --------------------------------------------------------------------------------------------------------

ITEMS = (Item(id=11, name="Licence"), Item(id=12, name="Support"))
FIXED = rules(split("S-1", {"halo_item": 11, "unit_price": "5.00"}, {"halo_item": 12, "rest": True}))


def parts(*charges: Any, memory: Memory | None = None) -> dict[str, list[str]]:
    said: dict[str, Any] = {"memory": memory} if memory else {}
    found: dict[str, list[str]] = {}
    for line in lines(plan_run(month(*charges, base=FIXED, items=ITEMS, **said))):
        found.setdefault(line.charges[0][4:], []).append(str(line.amount))
    return found


def sold(name: str, price: str, **said: Any) -> Any:
    return charge(name, price, price, **({"sku": "S-1", "subscription": "s1"} | said))


def test_P5_prorates_and_credits_take_the_share_that_the_fixed_price_is_of_a_full_period() -> None:
    full = sold("1", "200.00", quantity="10", unit_price="20.00")
    prorate = sold("2", "1.20", type="prorate", quantity="3", unit_price="0.40")
    credit = sold("3", "-60.00", type="prorate", quantity="-3", unit_price="20.00")
    back = sold("4", "-40.00", quantity="-2", unit_price="20.00")
    assert parts(full, prorate, credit, back) == {
        "1": ["50.00", "150.00"],
        "2": ["0.30", "0.90"],  # a quarter, as 5.00 is of 20.00
        "3": ["-15.00", "-45.00"],
        "4": ["-10.00", "-30.00"],
    }


def test_P5_where_the_full_period_is_not_known_the_prorate_waits() -> None:
    prorate = sold("2", "1.20", type="prorate", quantity="3")
    assert fate_of(prorate, base=FIXED, items=ITEMS) == "held full_price_unknown"
    other = sold("1", "200.00", quantity="10", unit_price="20.00", subscription="s2")
    assert fates_of(other, prorate, base=FIXED, items=ITEMS) == {"1": "posted", "2": "held full_price_unknown"}
    remembered = Memory(full_prices={("c-1", "s1"): Decimal("20.00")})
    assert parts(prorate, memory=remembered) == {"2": ["0.30", "0.90"]}


def test_P5_two_full_prices_are_none() -> None:
    one, other = sold("1", "20.00", unit_price="20.00"), sold("2", "30.00", unit_price="30.00")
    prorate = sold("3", "1.20", type="prorate")
    assert fates_of(one, other, prorate, base=FIXED, items=ITEMS)["3"] == "held full_price_unknown"
