"""Months as they came, small, through the command line, with the right values from HaloPSA's own tables."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from cli import balanced, billed
from months_rules import OPEN
from scene import BACKUP, M365, Scene

Stage = Callable[..., Scene]
NOV, OCT, DEC = "2026-11", "2026-10", "2026-12"
AUTOMATIC = OPEN.replace('"off"', '"automatic"')


def pays(made: Scene, client: int = 214) -> Decimal:
    return sum((price for price, _ in billed(made.sandbox).get(client, ())), Decimal(0))


def held(document: dict[str, Any]) -> dict[str, str]:
    """Charge -> reason."""
    return {
        one["charge"]: one["reason"] for part in [*document["clients"], document["unassigned"]] for one in part["holds"]
    }


def run(made: Scene, period: str = NOV, *codes: int) -> Any:
    return made.office.run("run", period, "--yes", "--json").must(*(codes or (0,))).json


# --- which client [V2] ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Contoso Ltd", "contoso ltd", "Contoso"])
def test_case_10_a_client_without_charges_is_not_another_with_a_name_like_it(stage: Stage, name: str) -> None:
    made = stage()
    made.month(NOV, made.charge(M365, 10, "21.00", client=215))
    refused = made.office.run("run", NOV, "--client", name, "--yes").must(2)
    assert "Contoso Europe" in refused.stderr and pays(made, 215) == 0
    digest = made.office.plan(NOV)["digest"]
    made.office.run("approve", digest, "--client", name, "--reason", "x").must(2)


# --- carried balances [S2] -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "carried", "code"), [("37.50", "37.50", 0), ("-12.00", "-12.00", 0), ("37.50", "0.00", 4)]
)
def test_case_18_an_invoice_of_a_carried_balance_alone_has_no_charges(
    stage: Stage, total: str, carried: str, code: int
) -> None:
    made = stage()
    made.month(NOV, made.charge(M365, 10, "21.00"), invoice="A")
    made.month(NOV, invoice="B")
    made.sandbox.pax8.invoices[-1].update(
        total=Decimal(total), carriedBalance=Decimal(carried), status="Carried", partnerName="Child"
    )
    made.office.run("run", NOV, "--yes").must(code)
    assert pays(made) == (Decimal("210.00") if code == 0 else 0)
    if code == 0:
        sources = {one["invoice_id"]: one["charges"] for one in made.office.plan(NOV)["sources"]}
        assert sources == {"A": 1, "B": 0}


# --- Azure of other vendors [M1] -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ({"vendorName": "Alpha"}, "36.00"),
        ({"vendorName": "Microsoft"}, "0"),
        ({"vendorName": None}, "0"),
        ({"vendorName": "Microsoft", "unitOfMeasure": "User"}, "36.00"),
        ({"vendorName": "Microsoft", "term": "Arrears", "type": "usage"}, "0"),
    ],
    ids=["another vendor", "Microsoft", "no vendor", "seats", "arrears of unknown type"],
)
def test_case_19_azure_in_the_name_of_another_vendors_product_is_no_azure(
    stage: Stage, said: dict[str, Any], right: str
) -> None:
    made = stage(OPEN + '[modifiers]\nazure = "drop"\n')
    name = "Alpha Backup for Microsoft Azure"
    made.month(NOV, {**made.charge(BACKUP, 4, "9.00", productName=name, description=name), "sku": "ALP-1", **said})
    run(made)
    assert pays(made) == Decimal(right)


def test_M1_a_pattern_that_the_partner_wrote_counts_as_written(stage: Stage) -> None:
    made = stage(OPEN + '[modifiers]\nazure = "drop"\nazure_patterns = ["for microsoft azure"]\n')
    made.month(NOV, made.charge(BACKUP, 4, "9.00", productName="Alpha Backup for Microsoft Azure", vendorName="Alpha"))
    run(made)
    assert pays(made) == 0


# --- items [P3a] [P5] ----------------------------------------------------------------------------------------------


def test_case_20_two_skus_of_one_name_make_two_items_with_names_of_their_own(stage: Stage) -> None:
    made = stage(AUTOMATIC)
    before = set(made.sandbox.halo.items)

    def suite(sku: str, number: int) -> dict[str, Any]:
        return {**made.charge(BACKUP, 1, "10.00", sub=f"s{number}"), "sku": sku, "productName": "Suite P"}

    made.month(NOV, suite("P-M", 1), suite("P-Y", 2))
    run(made)
    names = [row["name"] for id_, row in made.sandbox.halo.items.items() if id_ not in before]
    assert len(names) == 2 and len(set(names)) == 2
    made.month(DEC, suite("P-M", 1), suite("P-Y", 2), suite("P-3Y", 3))
    run(made, DEC)
    names = [row["name"] for id_, row in made.sandbox.halo.items.items() if id_ not in before]
    assert len(set(names)) == len(names)
    assert pays(made) == Decimal("50.00")


@pytest.mark.parametrize(
    ("quantity", "price", "right"),
    [(3, "0.40", ["0.27", "0.93"]), (-3, "0.40", ["-0.93", "-0.27"]), (2, "11.00", ["5.00", "17.00"])],
    ids=["prorate", "credit", "half a period"],
)
def test_P5_a_part_of_fixed_price_takes_its_share_of_a_prorate(
    stage: Stage, quantity: int, price: str, right: list[str]
) -> None:
    made = stage(
        AUTOMATIC
        + f'[[product]]\npax8_sku = "{M365}"\nparts = [{{halo_item = 411, unit_price = 5}}, {{halo_item = 412, rest = true}}]\n'
    )
    made.month(
        NOV,
        made.charge(M365, 10, "22.00", sub="s1"),
        {**made.charge(M365, quantity, price, sub="s1"), "type": "prorate"},
    )
    run(made)
    amounts = sorted((price for price, _ in billed(made.sandbox)[214]), key=abs)
    assert [str(one) for one in sorted(amounts[:2])] == right
    assert sorted(str(one) for one in amounts[2:]) == ["170.00", "50.00"]


# --- usage of nobody [A3] ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"type": "subscription", "term": "Arrears"}, 3),
        ({"type": "one-time"}, 3),
        ({"type": "prorate"}, 3),
        ({"type": "usage"}, 3),
        ({"total": Decimal(0), "subTotal": Decimal(0), "price": Decimal(0)}, 3),  # it costs something
        ({"type": "rebate"}, 0),
        ({"type": "service-charge"}, 0),
    ],
    ids=["arrears", "one-time", "prorate", "unknown", "cost only", "rebate", "fee"],
)
def test_case_21_usage_that_nobody_assigned_is_held(stage: Stage, said: dict[str, Any], code: int) -> None:
    made = stage()
    nobodys = {**made.charge(BACKUP, 1, "480.00"), "companyId": None, "companyName": None, **said}
    nobodys.pop("externalId", None)
    made.month(NOV, made.charge(M365, 10, "21.00"), nobodys)
    run(made, NOV, code)
    plan = made.office.plan(NOV)
    balanced(plan)
    assert set(held(plan).values()) == ({"no_company"} if code else set())
    assert pays(made) == Decimal("210.00")


@pytest.mark.parametrize(
    ("modifiers", "said"),
    [
        ('azure = "drop"', {"sku": "MST-AZR-1", "term": "Arrears"}),
        ('azure = "collapse"', {"sku": "MST-AZR-1", "term": "Arrears"}),
        (
            'favorable_prorata = "drop"',
            {"type": "prorate", "quantity": -1, "total": -480, "subTotal": -480, "costTotal": -400},
        ),
    ],
    ids=["azure dropped", "azure on one line", "favorable"],
)
def test_V1_what_a_person_bills_by_its_amount_no_modifier_drops(
    stage: Stage, modifiers: str, said: dict[str, Any]
) -> None:
    """Whose usage it is was not known; who says so has seen what it comes to."""
    made = stage(OPEN + f"[modifiers]\n{modifiers}\n")
    nobodys = {**made.charge(BACKUP, 1, "480.00"), "companyId": None, "companyName": None, **said}
    nobodys.pop("externalId", None)
    made.month(NOV, made.charge(M365, 10, "21.00"), nobodys)
    run(made, NOV, 3)
    plan = made.office.plan(NOV)
    (charge,) = held(plan)
    typed = ("--client", "Contoso Ltd", "--charge", charge, "--as", "bill", "--reason", "it is theirs")
    made.office.run("approve", plan["digest"], *typed).must()
    run(made, NOV, 0)
    assert pays(made) == Decimal("210.00") + Decimal(said.get("total", 480))
    balanced(made.office.plan(NOV))


# --- pairs of prorates [M2] ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prorates", "right"),
    [
        ([(-10, "11.00"), (11, "11.00")], "231.00"),
        ([(11, "11.00"), (-10, "11.00")], "231.00"),
        ([(-10, "11.00"), (9, "11.00")], "220.00"),
        ([(-10, "11.00")], "220.00"),
        ([(-10, "11.00"), (10, "11.00")], "220.00"),
        ([(2, "11.00"), (-1, "11.00")], "231.00"),
    ],
    ids=["a seat more", "in other order", "a seat less", "all back", "nothing", "two changes"],
)
def test_case_22_prorates_of_one_subscription_are_one_change(
    stage: Stage, prorates: list[tuple[int, str]], right: str
) -> None:
    made = stage(OPEN + '[modifiers]\nfavorable_prorata = "drop"\n')
    rows = [{**made.charge(M365, quantity, price, sub="s1"), "type": "prorate"} for quantity, price in prorates]
    made.month(NOV, made.charge(M365, 10, "22.00", sub="s1"), *rows)
    run(made)
    assert pays(made) == Decimal(right)
    balanced(made.office.plan(NOV))
