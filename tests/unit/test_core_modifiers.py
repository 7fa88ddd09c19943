"""What is excluded [A3], what is not known [S7], and the modifiers [M1]-[M4], each charge judged once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from test_core_notation import (
    CLIENTS,
    azure,
    charge,
    fate_of,
    fates_of,
    line_of,
    lines,
    month,
    rules,
)

from billingsync.core.bill.plan import Kept
from billingsync.core.bill.plan_run import plan_run
from billingsync.core.charge import KNOWN_TYPES
from billingsync.core.rules import ClientFile

# --- [A3] --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "exclude", "fate"),
    [
        ({}, {}, "posted"),
        ({}, {"companies": ["c-1"]}, "excluded company"),
        ({}, {"companies": ["Contoso Ltd"]}, "excluded company"),
        ({}, {"companies": ["contoso ltd"]}, "posted"),  # an exact name
        ({}, {"companies": ["Contoso"]}, "posted"),
        ({"sku": "S-1"}, {"products": ["S-1"]}, "excluded product"),
        ({"sku": "S-1"}, {"products": ["s-1"]}, "posted"),
        ({"product": "Office"}, {"products": ["Office"]}, "excluded product"),
        ({"product": "Office 365"}, {"products": ["Office"]}, "posted"),
        ({"product": "", "sku": "", "description": "Set-up"}, {"products": [""]}, "posted"),  # no name is no name
        ({"type": "rebate"}, {}, "excluded charge_type"),
        ({"type": "payment-credit"}, {}, "excluded charge_type"),
        ({"type": "invoice-credit"}, {}, "excluded charge_type"),
        ({"type": "service-credit"}, {}, "excluded charge_type"),
        ({"type": "service-charge"}, {}, "excluded charge_type"),
        ({"type": "rebate"}, {"types": []}, "posted"),
        ({"type": "one-time"}, {}, "posted"),
        ({"type": "one-time"}, {"types": ["one-time"]}, "excluded charge_type"),
        ({"billed_by_pax8": True}, {}, "excluded billed_by_pax8"),
        ({"billed_by_pax8": True}, {"billed_by_pax8": False}, "posted"),
        ({"company": None}, {}, "held no_company"),  # usage that nobody assigned in Pax8
        ({"company": None, "price": "0.00", "cost": "0.00"}, {}, "excluded no_company"),
        ({"company": None, "price": "0.00", "cost": "5.00"}, {}, "held no_company"),
        ({"company": None, "type": "usage"}, {}, "held no_company"),
        ({"company": None, "type": "prorate", "price": "-4.00"}, {}, "held no_company"),
        ({"company": None, "type": "one-time"}, {"types": ["one-time"]}, "excluded charge_type"),
        ({"company": None, "type": "rebate"}, {"types": []}, "excluded no_company"),
        ({"company": None, "sku": "MST-AZR-1", "term": "Arrears"}, {}, "held no_company"),
    ],
)
def test_A3_excluded_by_rule(said: dict[str, Any], exclude: dict[str, Any], fate: str) -> None:
    assert fate_of(charge(**said), base=rules(exclude=exclude)) == fate


EVERYTHING: dict[str, Any] = {
    "companies": ["c-1"],
    "products": ["Widget"],
    "types": ["rebate"],
    "billed_by_pax8": True,
}


@pytest.mark.parametrize(
    ("without", "fate"),
    [
        ({}, "excluded company"),
        ({"companies": []}, "excluded product"),
        ({"companies": [], "products": []}, "excluded charge_type"),
        ({"companies": [], "products": [], "types": []}, "excluded billed_by_pax8"),
    ],
)
def test_A3_where_several_rules_exclude_the_first_is_named(without: dict[str, Any], fate: str) -> None:
    one = charge(type="rebate", billed_by_pax8=True)
    assert fate_of(one, base=rules(exclude=EVERYTHING | without)) == fate


@pytest.mark.parametrize(
    ("said", "others"),
    [
        ({"problem": "total: not a number"}, {}),
        ({"type": "rebate-of-a-new-kind"}, {"exclude": {"types": ["rebate-of-a-new-kind"]}}),
        ({"currency": "EUR"}, {}),
        ({}, {"modifiers": {"azure": "drop", "azure_patterns": ["widget"]}}),
        ({"price": "0.00"}, {"modifiers": {"zero_lines": "drop"}}),
        ({"price": "-4.00", "type": "prorate"}, {"modifiers": {"favorable_prorata": "drop"}}),
    ],
    ids=["bad amount", "unknown type", "currency", "azure", "zero", "prorata"],
)
def test_A3_excluded_before_anything_else_is_judged(said: dict[str, Any], others: dict[str, Any]) -> None:
    base = rules(**({"exclude": {"products": ["Widget"]}} | others))
    assert fate_of(charge(**said), base=base).startswith("excluded")


def test_A3_excluded_although_the_client_is_unknown() -> None:
    assert fates_of(charge("1", type="rebate"), charge("2"), clients=()) == {
        "1": "excluded charge_type",
        "2": "held client_unmapped",
    }


def test_A3_a_clients_file_may_say_otherwise_than_the_layers_below() -> None:
    own = ClientFile(path="c.toml", pax8_company="c-1", rules=rules(exclude={"types": []}))
    found = fates_of(charge("1", type="rebate"), charge("2", type="rebate", company="Fabrikam GmbH"), files=(own,))
    assert found == {"1": "posted", "2": "excluded charge_type"}


@pytest.mark.parametrize("said", [{"pax8_company": "c-1"}, {"name": "Contoso Ltd"}, {"halo_client": 1}])
def test_A3_a_clients_file_may_exclude_the_client(said: dict[str, Any]) -> None:
    assert fate_of(charge(), files=(ClientFile(path="c.toml", exclude=True, **said),)) == "excluded company"


def test_A3_a_charge_without_company_stands_apart_and_is_counted() -> None:
    plan = plan_run(month(charge("1", "7.00", company=None, type="rebate"), base=rules(exclude={"types": []})))
    assert [out.rule for out in plan.unassigned_excluded] == ["no_company"]
    assert plan.clients == ()
    assert plan.accounts[0].price.excluded == Decimal("7.00")


# --- [S7] --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["usage", "", "subscription2", "rebates", "x" * 10_000, "\N{PILE OF POO}"])
def test_S7_an_unknown_type_is_held(kind: str) -> None:
    assert fate_of(charge(type=kind)) == "held unknown_charge_type"


@pytest.mark.parametrize("term", ["", "Arrears", "7 Years", "\N{PILE OF POO}"])
def test_S7_an_unknown_term_changes_nothing(term: str) -> None:
    assert fate_of(charge(term=term)) == "posted"


def test_S7_what_a_hold_says_to_type_can_be_typed() -> None:
    """To leave charges without a type out, the step must not name a type that no charge has."""
    (client,) = plan_run(month(charge(type=""))).clients
    assert "(none)" not in client.holds[0].next_step


@pytest.mark.parametrize("kind", sorted(KNOWN_TYPES))
def test_S7_every_documented_type_is_billed_where_no_rule_leaves_it_out(kind: str) -> None:
    assert fate_of(charge(type=kind), base=rules(exclude={"types": []})) == "posted"


def test_S7_the_documented_types_are_these() -> None:
    credits = {"rebate", "payment-credit", "invoice-credit", "service-credit"}
    assert {"subscription", "prorate", "one-time", "service-charge"} | credits == KNOWN_TYPES


# --- [M1] --------------------------------------------------------------------------------------------------------

AZURE: list[dict[str, Any]] = [
    {"sku": "MST-AZR-PLN-C100"},
    {"sku": "MST-AZR"},
    {"sku": "AZR-ARR-1"},
    {"sku": "MST-ARI-9"},
    {"description": "Microsoft Azure Plan - Arrears Charge - Prod - 1111 - Storage"},
    {"description": "MICROSOFT AZURE"},
    {"product": "Azure Plan"},
    {"details": "the azure plan of Contoso"},
    {"product": "microsoft azure reservation", "term": "Annual"},
]
NOT_AZURE: list[dict[str, Any]] = [
    {},
    {"sku": "AZR-AD-P1", "product": "Azure AD Premium P1"},
    {"sku": "X-MST-AZR"},  # within is not in front
    {"sku": "mst-azr"},
    {"product": "Azure", "description": "azure", "details": "plan"},
    {"product": "Acronis", "description": "Acronis - Arrears Charge", "term": "Arrears"},
    {"subscription": "microsoft azure"},
]


@pytest.mark.parametrize("said", AZURE, ids=repr)
@pytest.mark.parametrize("kind", ["subscription", "one-time", "prorate", "usage", ""])
@pytest.mark.parametrize(("azure_is", "fate"), [("drop", "dropped azure"), ("collapse", "posted")])
def test_M1_azure_is_azure_whatever_its_type(said: dict[str, Any], kind: str, azure_is: str, fate: str) -> None:
    one = charge(**({"type": kind, "term": "Arrears"} | said))
    assert fate_of(one, base=rules(modifiers={"azure": azure_is})) == fate


@pytest.mark.parametrize("said", NOT_AZURE, ids=repr)
def test_M1_what_is_not_azure_is_billed(said: dict[str, Any]) -> None:
    assert fate_of(charge(**said), base=rules(modifiers={"azure": "drop"})) == "posted"


def test_M1_arrears_of_other_vendors_of_an_unknown_type_are_held() -> None:
    one = charge(type="usage", term="Arrears", product="Acronis")
    assert fate_of(one, base=rules(modifiers={"azure": "drop"})) == "held unknown_charge_type"


@pytest.mark.parametrize(("kind", "fate"), [("subscription", "posted"), ("usage", "held unknown_charge_type")])
def test_M1_keep_makes_azure_a_charge_like_any_other(kind: str, fate: str) -> None:
    assert fate_of(azure(type=kind)) == fate


@pytest.mark.parametrize(
    ("price", "cost", "said", "fate"),
    [
        ("-4.00", "-3.00", {"type": "prorate"}, "dropped favorable_prorata"),
        ("-4.00", "3.00", {"type": "prorate"}, "held price_cost_sign"),
        ("0.00", "0.00", {}, "dropped zero_lines"),
    ],
)
def test_M1_kept_azure_meets_the_other_modifiers(price: str, cost: str, said: dict[str, str], fate: str) -> None:
    base = rules(modifiers={"favorable_prorata": "drop", "zero_lines": "drop"})
    assert fate_of(azure(price=price, cost=cost, **said), base=base) == fate


@pytest.mark.parametrize(
    ("price", "cost", "said"),
    [
        ("-4.00", "-3.00", {"type": "prorate"}),
        ("-4.00", "3.00", {"type": "prorate"}),
        ("0.00", "0.00", {}),
        ("0.00", "5.00", {}),
    ],
)
def test_M1_azure_is_judged_before_any_other_modifier_and_once(price: str, cost: str, said: dict[str, str]) -> None:
    others = {"favorable_prorata": "drop", "zero_lines": "drop"}
    one = azure("1", price, cost, **said)
    assert fate_of(one, base=rules(modifiers={"azure": "drop"} | others)) == "dropped azure"
    collapsed = fates_of(one, azure("2", "100.00", "80.00"), base=rules(modifiers={"azure": "collapse"} | others))
    assert collapsed == {"1": "posted", "2": "posted"}


def test_M1_collapse_makes_one_line_of_quantity_1_with_the_sums() -> None:
    charges = [
        azure("1", "103.44", "86.20", start="2026-10-02", end="2026-10-20", quantity="7", type="usage"),
        azure("2", "0.005", "0.004", start="2026-10-01", end="2026-10-31", description="Microsoft Azure Plan - x"),
        azure("3", "-3.44", "-6.20", type="prorate"),
        charge("4", "5.00", "4.00"),
    ]
    charges[1] = azure("2", "0.01", "0.00", start="2026-10-01", end="2026-10-31")
    plan = plan_run(month(*charges, base=rules(modifiers={"azure": "collapse"})))
    line = next(line for line in lines(plan) if len(line.charges) > 1)
    assert line.charges == ("inv:1", "inv:2", "inv:3")
    assert (line.quantity, line.unit_price, line.unit_cost) == (1, Decimal("100.01"), Decimal("80.00"))
    assert (line.amount, line.cost) == (Decimal("100.01"), Decimal("80.00"))
    assert line.description == "Microsoft Azure Plan (2026-10-01 to 2026-10-31) - 3 charges"
    assert len(lines(plan)) == 2


def test_M1_collapse_names_the_count_where_the_template_does_not() -> None:
    said = {"lines": {"text": "{product}, {charge_count} items"}, "modifiers": {"azure": "collapse"}}
    assert line_of(azure(), base=rules(**said)).description == "Microsoft Azure Plan, 1 items"
    assert line_of(azure(), base=rules(modifiers={"azure": "collapse"})).description.endswith("1 charge")


def test_M1_collapse_keeps_currencies_apart() -> None:
    clients = (CLIENTS[0],)
    found = fates_of(
        azure("1"), azure("2", currency="EUR"), base=rules(modifiers={"azure": "collapse"}), clients=clients
    )
    assert found == {"1": "posted", "2": "held currency_mismatch"}


def test_M1_collapse_leaves_what_cannot_be_read_out() -> None:
    base = rules(modifiers={"azure": "collapse"})
    found = fates_of(azure("1"), azure("2", problem="total: NaN"), azure("3"), base=base)
    assert found == {"1": "posted", "2": "held bad_amount", "3": "posted"}
    assert fate_of(azure(problem="total: NaN"), base=rules(modifiers={"azure": "drop"})) == "held bad_amount"


def test_M1_each_client_has_its_own_collapsed_line() -> None:
    charges = [azure("1", "1.00"), azure("2", "2.00", company="Fabrikam GmbH"), azure("3", "4.00")]
    plan = plan_run(month(*charges, base=rules(modifiers={"azure": "collapse"})))
    assert {posting.client_id: posting.amount for posting in plan.postings} == {1: Decimal(5), 2: Decimal(2)}


def test_M1_the_lists_are_rules() -> None:
    own = {"azure": "drop", "azure_sku_prefixes": ["CLOUD-"], "azure_patterns": ["Cloud Plan"]}
    found = fates_of(
        charge("1", sku="CLOUD-1"), charge("2", details="our CLOUD PLAN"), azure("3"), base=rules(modifiers=own)
    )
    assert found == {"1": "dropped azure", "2": "dropped azure", "3": "posted"}
    nothing = {"azure": "drop", "azure_sku_prefixes": [], "azure_patterns": []}
    assert fate_of(azure(), base=rules(modifiers=nothing)) == "posted"


# --- [M2] --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "cost", "said", "fate"),
    [
        ("-14.08", "-11.36", {"quantity": "-2", "unit_price": "7.04"}, "dropped favorable_prorata"),
        ("-14.08", "-11.36", {"quantity": "2", "unit_price": "-7.04"}, "dropped favorable_prorata"),
        ("14.08", "11.36", {"quantity": "-2", "unit_price": "-7.04"}, "posted"),  # the amount decides
        ("14.08", "11.36", {"quantity": "2", "unit_price": "7.04"}, "posted"),
        ("-0.01", "0.00", {}, "dropped favorable_prorata"),
        ("-0.01", "-0.01", {}, "dropped favorable_prorata"),
        ("0.00", "-5.00", {}, "posted"),
        ("0.00", "5.00", {}, "posted"),
        ("-14.08", "11.36", {}, "held price_cost_sign"),
        ("14.08", "-11.36", {}, "held price_cost_sign"),
        ("14.08", "0.00", {}, "posted"),
        ("-14.08", "-11.36", {"type": "subscription"}, "posted"),  # other credits are not prorata
        ("-14.08", "-11.36", {"type": "one-time"}, "posted"),
        ("-14.08", "11.36", {"type": "one-time"}, "posted"),
        ("-14.08", "-11.36", {"type": "subscription", "description": "Mar Partial: Office"}, "posted"),
    ],
)
def test_M2_drop(price: str, cost: str, said: dict[str, str], fate: str) -> None:
    one = charge(price=price, cost=cost, **({"type": "prorate"} | said))
    assert fate_of(one, base=rules(modifiers={"favorable_prorata": "drop"})) == fate


@pytest.mark.parametrize(("price", "cost"), [("-14.08", "-11.36"), ("-14.08", "11.36"), ("14.08", "-11.36")])
def test_M2_keep(price: str, cost: str) -> None:
    assert fate_of(charge(type="prorate", price=price, cost=cost)) == "posted"


# --- [M3] --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "cost", "policy", "fate"),
    [
        ("0.00", "0.00", "hold", "dropped zero_lines"),
        ("0.00", "0.00", "drop", "dropped zero_lines"),
        ("0.00", "0.00", "keep", "dropped zero_lines"),
        ("0.00", "7.50", "hold", "held zero_price_with_cost"),
        ("0.00", "7.50", "drop", "dropped zero_lines"),
        ("0.00", "7.50", "keep", "posted"),
        ("0.00", "-7.50", "hold", "held zero_price_with_cost"),
        ("0.01", "0.00", "hold", "posted"),
        ("-0.01", "0.00", "hold", "posted"),
    ],
)
def test_M3_drop(price: str, cost: str, policy: str, fate: str) -> None:
    base = rules(modifiers={"zero_lines": "drop", "zero_price_with_cost": policy})
    assert fate_of(charge(price=price, cost=cost), base=base) == fate


def test_M3_the_amount_is_zero_not_the_unit_price() -> None:
    base = rules(modifiers={"zero_lines": "drop"})
    assert fate_of(charge(price="12.00", quantity="5", unit_price="0.00"), base=base) == "posted"
    assert fate_of(charge(price="0.00", cost="0.00", quantity="0", unit_price="5.00"), base=base).startswith("dropped")


@pytest.mark.parametrize("policy", ["hold", "drop", "keep"])
def test_M3_keep_keeps_all_of_them(policy: str) -> None:
    base = rules(modifiers={"zero_price_with_cost": policy})
    assert fates_of(charge("1", "0.00", "0.00"), charge("2", "0.00", "5.00"), base=base) == {
        "1": "posted",
        "2": "posted",
    }


@pytest.mark.parametrize(
    ("first", "second", "policy", "fate"),
    [
        (("5.00", "4.00"), ("-5.00", "-4.00"), "hold", "dropped zero_lines"),
        (("5.00", "4.00"), ("-5.00", "-3.00"), "hold", "held zero_price_with_cost"),
        (("5.00", "4.00"), ("-5.00", "-3.00"), "drop", "dropped zero_lines"),
        (("5.00", "4.00"), ("-5.00", "-3.00"), "keep", "posted"),
        (("5.00", "4.00"), ("0.00", "0.00"), "hold", "posted"),
    ],
)
def test_M3_a_collapsed_line_of_zero_goes_too(
    first: tuple[str, str], second: tuple[str, str], policy: str, fate: str
) -> None:
    base = rules(modifiers={"azure": "collapse", "zero_lines": "drop", "zero_price_with_cost": policy})
    assert fates_of(azure("1", *first), azure("2", *second), base=base) == {"1": fate, "2": fate}


# --- what waits says why, and what to do [A4] ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "detail", "step"),
    [
        (charge(type=""), "does not say what kind of charge this is", "exclude.products"),
        (charge(type="usage"), "Pax8 calls this charge 'usage'", '"service-charge", "usage"] in '),
        (
            charge(type="prorate", price="-4.00", cost="3.00"),
            "price (-4.00) and cost (3.00) point in opposite directions",
            'favorable_prorata = "keep"',
        ),
        (charge(price="0.00", cost="7.50"), "yet it costs 7.50", "zero_price_with_cost"),
    ],
    ids=["no type", "unknown type", "signs", "zero"],
)
def test_A4_a_hold_says_why_and_what_to_type(one: Any, detail: str, step: str) -> None:
    base = rules(modifiers={"favorable_prorata": "drop", "zero_lines": "drop"})
    (client,) = plan_run(month(one, base=base)).clients
    (hold,) = client.holds
    assert detail in hold.detail
    assert any(step in way.text for way in hold.ways)


# --- [M4] --------------------------------------------------------------------------------------------------------


def test_M4_what_the_modifiers_kept_from_each_client_is_a_figure() -> None:
    base = rules(modifiers={"azure": "drop", "favorable_prorata": "drop", "zero_lines": "drop"})
    charges = [
        azure("1", "100.00", "80.00"),
        charge("2", "-4.10", "-3.00", type="prorate"),
        charge("3", "0.00", "0.00"),
        charge("4", "10.00", "8.00"),
        azure("5", "50.00", "40.00", company="Fabrikam GmbH"),
    ]
    assert plan_run(month(*charges, base=base)).kept == (
        Kept(
            company_name="Contoso Ltd",
            currency="USD",
            credits_withheld=Decimal("4.10"),
            price_dropped=Decimal("95.90"),
            cost_absorbed=Decimal("77.00"),
        ),
        Kept(
            company_name="Fabrikam GmbH",
            currency="USD",
            credits_withheld=Decimal("0.00"),
            price_dropped=Decimal("50.00"),
            cost_absorbed=Decimal("40.00"),
        ),
    )


def test_M4_nothing_is_kept_where_everything_waits() -> None:
    base = rules(modifiers={"azure": "drop"}, limits={"new_client": "hold"})
    assert plan_run(month(azure("1"), charge("2"), base=base)).kept == ()
