"""Who pays, over months: names [C1a], payers [C1b], currencies [C3], names in rules [C4]. HaloPSA's tables are the judge."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from cli import billed
from months_rules import OPEN
from scene import BACKUP, M365, Scene

from billingsync.run.plan import plan_again
from billingsync.store.ledger import open_ledger

Stage = Callable[..., Scene]
NOV, OCT = "2026-11", "2026-10"


def pays(made: Scene, client: int = 214) -> Decimal:
    return sum((price for price, _ in billed(made.sandbox).get(client, ())), Decimal(0))


def reasons(document: dict[str, Any]) -> set[str]:
    return {hold["reason"] for one in document["clients"] for hold in one["holds"]}


def run(made: Scene, period: str, *codes: int) -> Any:
    return made.office.run("run", period, "--yes", "--json").must(*codes).json


def company(made: Scene, client: int = 214) -> dict[str, Any]:
    id_ = made.company(client).company_id
    return next(row for row in made.sandbox.pax8.companies if row["id"] == id_)


def client(made: Scene, client_id: int = 214, **changes: Any) -> None:
    row = {**made.sandbox.halo.clients[client_id], **changes}
    made.sandbox.halo.put("clients", row)


def rename(made: Scene, name: str, client_id: int = 214) -> None:
    """At Pax8, on its list and on what it charges from now on."""
    company(made, client_id)["name"] = name


def seats(made: Scene, client_id: int = 214, **said: Any) -> dict[str, Any]:
    row = made.charge(M365, 10, "21.00", client=client_id, sub="s1", companyName=company(made, client_id)["name"])
    return row | {"subscriptionId": said.pop("sub", "s1")} | said


def typed(made: Scene, command: list[str]) -> None:
    made.office.run(*["checked" if word == "TEXT" else word for word in command[1:]]).must(0)


def test_case_11_an_external_id_of_another_client_bills_nobody_wrongly(stage: Stage) -> None:
    made = stage()
    company(made)["externalId"] = "217"
    made.month(NOV, seats(made), made.charge(M365, 1, "5.00", client=217))
    run(made, NOV, 3)
    assert (pays(made), pays(made, 217)) == (Decimal(0), Decimal("5.00"))
    assert reasons(made.office.plan(NOV)) == {"client_ambiguous"}


def test_C1b_a_company_that_would_be_billed_to_another_client_waits_until_a_person_says_so(stage: Stage) -> None:
    made = stage()
    made.month(OCT, seats(made))
    run(made, OCT, 0)
    rename(made, "Somebody Else")
    company(made)["externalId"] = "216"
    made.month(NOV, seats(made))
    run(made, NOV, 3)
    plan = made.office.plan(NOV)
    assert reasons(plan) == {"client_changed"} and pays(made, 216) == 0
    made.office.run("map", "companies", "--set", f"{company(made)['id']}=216").must(0)
    run(made, NOV, 0)
    assert pays(made, 216) == Decimal("210.00")


def test_R6_a_true_up_of_a_company_that_is_billed_to_another_client_now_names_the_old_one_by_id(stage: Stage) -> None:
    """The company has the name of the client that paid for it, and is 216 by now: the name alone says neither [V2]."""
    made = stage()
    made.month(OCT, seats(made), invoice="A")
    run(made, OCT, 0)
    made.office.run("map", "companies", "--set", f"{company(made)['id']}=216").must(0)
    next(row for row in made.sandbox.pax8.invoices if row["id"] == "A")["status"] = "Credited"
    again = [{**copy.deepcopy(row), "id": f"b-{row['id']}"} for row in made.sandbox.pax8.items["A"]]
    made.month(NOV, *again, invoice="B")
    (up,) = run(made, NOV, 3)["true_ups"]
    assert pays(made) == Decimal("210.00") and pays(made, 216) == 0
    typed(made, up["ways"][0]["command"])
    run(made, NOV, 0)
    assert pays(made) == 0 and pays(made, 216) == Decimal("210.00")


def test_R6_of_two_companies_mapped_to_the_client_of_the_others_name_each_step_says_whose_it_is(stage: Stage) -> None:
    made = stage(OPEN.replace("[limits]\n", "[limits]\nclient_amount_max = 1\n"))
    made.month(NOV, seats(made), made.charge(BACKUP, 2, "5.00", client=216))
    for one, other in ((214, 216), (216, 214)):
        made.office.run("map", "companies", "--set", f"{company(made, one)['id']}={other}").must(0)
    held = run(made, NOV, 3)["holds"]
    assert {hold["reason"] for hold in held} == {"limit_amount"}
    for hold in held:
        typed(made, hold["ways"][0]["command"])
    run(made, NOV, 0)
    assert (pays(made), pays(made, 216)) == (Decimal("10.00"), Decimal("210.00"))


def test_case_12_an_excluded_company_stays_out_after_a_rename_and_is_asked_about_once(stage: Stage) -> None:
    made = stage()
    made.office.rules(
        (made.office.folder / "rules/defaults.toml").read_text() + '[exclude]\ncompanies = ["Contoso Ltd"]\n'
    )
    made.month(OCT, seats(made))
    run(made, OCT, 0)
    rename(made, "Contoso Holdings Ltd")
    client(made, name="Contoso Holdings Ltd")
    made.month(NOV, seats(made))
    assert run(made, NOV, 3)["postings"] == [] and pays(made) == 0
    assert reasons(made.office.plan(NOV)) == {"client_renamed"}
    made.office.run("map", "companies", "--exclude", company(made)["id"]).must(0)
    assert run(made, NOV, 0)["postings"] == [] and pays(made) == 0


@pytest.mark.parametrize(
    "file",
    ["", '[client]\nname = "Contoso Ltd"\nexclude = true\n'],
    ids=["in a list", "in a file"],
)
def test_C4_a_name_whose_company_is_called_otherwise_by_now_is_said_to_apply_still(stage: Stage, file: str) -> None:
    made = stage(OPEN + ("" if file else '[exclude]\ncompanies = ["Contoso Ltd"]\n'))
    if file:
        made.office.rules(file, "clients/contoso.toml")
    made.month(OCT, seats(made))
    run(made, OCT, 0)
    rename(made, "Contoso Holdings Ltd")
    made.month(NOV, seats(made))
    plan = made.office.plan(NOV)
    assert reasons(plan) == {"client_renamed"} and not [one for one in plan["warnings"] if "decides nothing" in one]
    for words in (("rules", "check"), ("doctor",)):
        shown = made.office.run(*words)
        said = " ".join((shown.stdout + shown.stderr).split())
        assert "Pax8 calls 'Contoso Ltd' 'Contoso Holdings Ltd' by now" in said and "still applies" in said, words
        assert "decides nothing" not in said and "nearest" not in said


def test_C4_a_name_that_another_company_takes_over_still_means_the_first(stage: Stage) -> None:
    """Two companies swap their names: the rule stays with whom it was made for."""
    made = stage()
    made.office.rules(
        (made.office.folder / "rules/defaults.toml").read_text() + '[exclude]\ncompanies = ["Contoso Ltd"]\n'
    )
    made.month(OCT, seats(made), seats(made, 217))
    run(made, OCT, 0)
    assert pays(made) == 0 and pays(made, 217) == Decimal("210.00")
    other = company(made, 217)["name"]
    rename(made, other)
    rename(made, "Contoso Ltd", 217)
    made.month(NOV, seats(made), seats(made, 217))
    before = pays(made), pays(made, 217)
    run(made, NOV, 3)
    assert (pays(made), pays(made, 217)) == before, "nobody is billed by a name that was another's"


def left_out(name: str, rules: str = OPEN) -> str:
    return rules + f'[exclude]\nproducts = ["{name}"]\n'


def test_C4_a_product_that_rules_name_is_followed_when_it_is_renamed(stage: Stage) -> None:
    made = stage(left_out("Suite X"))
    for period, name in ((OCT, "Suite X"), (NOV, "Suite X Plus")):
        made.month(period, seats(made, productName=name, productId="p-1"), made.charge(BACKUP, 1, "5.00"))
        run(made, period, 0)
    assert pays(made) == Decimal("10.00")
    shown = made.office.run("rules", "show", "--json").must(0).json["names"]
    assert [(one["kind"], one["name"], one["id"]) for one in shown] == [("product", "Suite X", "p-1")]
    assert "'Suite X' means the product p-1" in made.office.run("rules", "show").must(0).stdout


def test_C4_another_product_of_that_name_waits_and_is_never_silently_meant(stage: Stage) -> None:
    made = stage(left_out("Suite X"))
    made.month(OCT, seats(made, productName="Suite X", productId="p-1"))
    run(made, OCT, 0)
    made.month(
        NOV,
        seats(made, productName="Suite Old", productId="p-1"),
        seats(made, sub="s2", sku="NEW", productName="Suite X", productId="p-2"),
    )
    run(made, NOV, 3)
    assert reasons(made.office.plan(NOV)) == {"product_renamed"} and pays(made) == 0


def test_C4_what_the_desk_plans_again_knows_the_names_too(stage: Stage) -> None:
    made = stage(OPEN + '[exclude]\ncompanies = ["Contoso Ltd"]\n')
    made.month(OCT, seats(made))
    run(made, OCT, 0)
    rename(made, "Adatum")
    made.month(NOV, seats(made))
    digest = made.office.plan(NOV)["digest"]
    with open_ledger(f"sqlite:///{made.office.folder / 'ledger.db'}", partner="default") as ledger:
        again = plan_again(ledger, made.office.folder / "rules", digest).plan
    assert again.postings == () and {hold.reason for one in again.clients for hold in one.holds} == {"client_renamed"}


def test_C4_rules_check_compares_names_with_the_lists_that_were_read_last(stage: Stage) -> None:
    made = stage()
    made.office.rules('[client]\nname = "Contozo Ltd"\n', "clients/contoso.toml")
    made.month(NOV, seats(made))
    made.office.plan(NOV)
    calls = len(made.sandbox.calls)
    told = made.office.run("rules", "check", "--json").must(0).json
    assert any("Contozo" in warning and "Contoso Ltd" in warning for warning in told["warnings"])
    assert len(made.sandbox.calls) == calls, "nobody was asked"


def test_case_13_a_name_that_fits_nothing_is_a_warning_with_the_nearest(stage: Stage) -> None:
    made = stage()
    made.office.rules('[client]\nname = "Contozo Ltd"\n[invoice]\nbehavior = "latest"\n', "clients/contoso.toml")
    made.month(NOV, seats(made))
    said = [warning for warning in made.office.plan(NOV)["warnings"] if "Contozo" in warning]
    assert len(said) == 1 and "Contoso Ltd" in said[0] and "clients/contoso.toml" in said[0]
    for words in (("doctor",), ("rules", "check")):
        shown = made.office.run(*words)
        assert "Contozo" in shown.stdout + shown.stderr and "Contoso Ltd" in shown.stdout + shown.stderr, words


def test_C4_a_product_left_out_that_nothing_is_charged_as_is_a_warning_with_the_nearest(stage: Stage) -> None:
    made = stage()
    made.month(NOV, seats(made))
    made.office.plan(NOV)
    (row,) = (one for rows in made.sandbox.pax8.items.values() for one in rows if one["sku"])
    made.office.rules(f'[exclude]\nproducts = ["{row["sku"]}x"]\n', "clients/contoso.toml")
    with (made.office.folder / "rules/clients/contoso.toml").open("a") as file:
        file.write('[client]\nname = "Contoso Ltd"\n')
    for said in (
        made.office.plan(NOV)["warnings"],
        made.office.run("rules", "check", "--json").must(0).json["warnings"],
    ):
        (warning,) = (one for one in said if "exclude.products" in one)
        assert f"'{row['sku']}x'" in warning and f"the nearest is '{row['sku']}'" in warning
    made.office.rules(
        f'[client]\nname = "Contoso Ltd"\n[exclude]\nproducts = ["{row["sku"]}"]\n', "clients/contoso.toml"
    )
    assert not any("exclude.products" in one for one in made.office.plan(NOV)["warnings"])


@pytest.mark.parametrize(("setting", "code"), [({}, 3), ({"HALO__CURRENCY": "CAD"}, 0)])
def test_case_15_a_client_without_a_currency_is_billed_in_what_it_was_billed_in(
    stage: Stage, setting: dict[str, str], code: int
) -> None:
    made = stage(**setting)
    client(made, default_currency_code=0, default_currency_code_name="", currencyisocode="")
    made.month(NOV, seats(made, currencyCode="CAD"))
    if not setting:
        made.month(OCT, seats(made))
        run(made, OCT, 0)
    run(made, NOV, code)
    assert ("currency_mismatch" in reasons(made.office.plan(NOV))) is bool(code)


def test_case_25_rules_show_of_a_client_without_a_file_shows_the_shared_rules(stage: Stage) -> None:
    made = stage()
    shown = made.office.run("rules", "show", "Contoso Ltd", "--json").must(0).json
    assert {row["origin"] for row in shown["rules"]} >= {"default", "rules/defaults.toml"}
    made.office.run("rules", "show", "Kontozo Limitd").must(2)


def test_any_month_can_be_mapped(stage: Stage) -> None:
    made = stage()
    made.month(OCT, made.charge(M365, 1, client=216))
    made.month(NOV, seats(made))
    run(made, OCT, 0)
    made.office.run("map", "companies", "--set", f"{company(made, 216)['id']}=215").must(0)
