"""Months as they came, small, through the command line, with the right values from HaloPSA's own tables."""

from __future__ import annotations

import csv
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from cli import balanced, billed
from conftest import OPEN
from scene import BACKUP, M365, SETUP, Scene

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
    assert len(names) == 3 and len(set(names)) == 3
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


# --- after an undo [A1] [N5] ---------------------------------------------------------------------------------------


def test_case_27_an_export_after_an_undo_has_every_charge_once(stage: Stage) -> None:
    made = stage(OPEN + '[modifiers]\nzero_lines = "drop"\n')
    fee = {**made.charge(SETUP, 1, "5.00"), "type": "service-charge"}
    free = {**made.charge(SETUP, 1, "0.00", cost="0.00"), "type": "one-time"}
    odd = {**made.charge(SETUP, 1, "7.00", client=216), "total": "much"}
    made.month(NOV, made.charge(M365, 10, "21.00"), made.charge(BACKUP, 2, "48.00", client=216), fee, free, odd)
    done = run(made, NOV, 3)["run"]
    made.office.run("undo", done, "--yes").must()
    folder = made.office.folder / "pack"
    made.office.run("audit", "export", NOV, "--out", str(folder)).must()
    (path,) = folder.rglob("charges.csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    states = sorted((row["charge"], row["state"]) for row in rows)
    assert len(rows) == 5 and len({charge for charge, _ in states}) == 5
    assert sorted(state for _, state in states) == ["dropped", "excluded", "held", "undone", "undone"]
    assert sum(Decimal(row["price"]) for row in rows if row["state"] == "undone") == Decimal("306.00")
    (listed,) = [row for row in made.office.run("runs", "--json").must().json["runs"] if row["run"] == done]
    assert listed["state"] == "undone"
    made.office.run("audit", "verify").must()


# --- true-ups across periods, behavior latest [R2] -----------------------------------------------------------------


@pytest.mark.parametrize("closed", ["", "sent"], ids=["open", "closed since"])
def test_R2_a_re_issue_in_the_next_month_of_what_stands_on_the_latest_invoice(stage: Stage, closed: str) -> None:
    made = stage(OPEN + '[invoice]\nbehavior = "latest"\nwhen_latest_closed = "new"\n')
    made.month(OCT, made.charge(M365, 10, "21.00", sub="s1"), made.charge(BACKUP, 1, client=216), invoice="A")
    (mine,) = [one for one in run(made, OCT)["postings"] if one["client_id"] == 214]
    if closed:
        made.sandbox.person(do="close", id=mine["invoice_id"], how=closed)
    others = pays(made, 216)
    next(row for row in made.sandbox.pax8.invoices if row["id"] == "A")["status"] = "Credited"
    rows = [dict(row, id=f"b-{row['id']}") for row in made.sandbox.pax8.items["A"]]
    rows[0].update(quantity=Decimal(12), total=Decimal("252.00"), subTotal=Decimal("252.00"))
    made.month(NOV, *rows, invoice="B")
    assert run(made, NOV, 3)["postings"] == [] and pays(made) == Decimal("210.00")
    plan = made.office.plan(NOV)
    assert set(held(plan).values()) == {"source_duplicate"}
    nets = {up["client_id"]: up["net"]["amount"] for up in plan["true_ups"]}
    assert nets == {214: "42.00", 216: "0.00"}
    for up in plan["true_ups"]:
        words = ["as agreed" if word == "TEXT" else word for word in up["ways"][0]["command"]]
        made.office.run(*words[1:]).must()
    run(made, NOV)
    assert (pays(made), pays(made, 216)) == (Decimal("252.00"), others)
    assert run(made, NOV)["postings"] == []
