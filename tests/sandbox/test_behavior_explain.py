"""`explain CHARGE`: six hops, each with the rule, the key and the file that decided, for every state of a charge."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
from scene import AZURE, BACKUP, M365, SIEM, STAGE, STANDARD, scene

HOPS = ["1 read", "2 client", "3 modifiers", "4 product", "5 target", "6 line"]
TWICE = "ORB-RMM-ADV"


@pytest.fixture
def stage(server, tmp_path, sqlite_template):
    server.reset(dataclasses.replace(STAGE))
    shutil.copy(sqlite_template, tmp_path / "ledger.db")
    return scene(server, tmp_path)


def explained(made, charge, code=0):
    """Hop -> what it says; all six are always there, in order."""
    told = made.office.run("explain", charge, "--json").must(code).json
    assert [hop["hop"] for hop in told["hops"]][:6] == HOPS
    return {hop["hop"]: hop["says"] for hop in told["hops"]}


def test_a_charge_that_would_be_posted(stage):
    stage.office.rules('[products]\nlifecycle = "automatic"\nitem_group = "Licences"\n')
    stage.month("2026-11", stage.charge(M365, 3), stage.charge(SIEM, 1))
    hops = explained(stage, "inv-2026-11-0:item-0001")
    assert hops == {
        "1 read": "Pax8 invoice inv-2026-11-0, subscription: Microsoft 365 Business Premium; "
        "price 66.00, cost 52.80 USD",
        "2 client": "Contoso Ltd is HaloPSA client Contoso Ltd (214): their names are equal",
        "3 modifiers": "kept as it is: no modifier is about it",
        "4 product": "item Microsoft: Microsoft 365 Business Premium (426): has the SKU MST-NCE-M365BP-C1 "
        '(products.lifecycle = "automatic" in rules/defaults.toml)',
        "5 target": 'added to a new invoice (invoice.behavior = "new" by default)',
        "6 line": "3 x 22 = 66.00 USD: Microsoft 365 Business Premium (2026-11-01 to 2026-11-28) "
        '(lines.text = "{product} ({start} to {end})" by default)',
    }
    assert explained(stage, "item-0002")["4 product"] == (
        "item Verdant SIEM Connector (to be created): no item has its SKU or name, so one is made in Licences in "
        'rules/defaults.toml (products.lifecycle = "automatic" in rules/defaults.toml)'
    )


def test_a_charge_that_was_posted(stage):
    stage.office.rules('[products]\nlifecycle = "off"\n[modifiers]\nazure = "collapse"\n')
    stage.month("2026-11", stage.charge(AZURE, 1, "18.22"), stage.charge(AZURE, 1, "7.30"), stage.charge(M365, 1))
    before = explained(stage, "item-0001")
    assert before["3 modifiers"] == (
        'summed with 1 other Azure charges on one line (modifiers.azure = "collapse" in rules/defaults.toml)'
    )
    stage.office.run("run", "2026-11", "--yes").must()
    stage.office.rules('[products]\nlifecycle = "automatic"\n[invoice]\nbehavior = "latest"\n')  # changes nothing [R3]
    after = explained(stage, "item-0001")
    assert after["3 modifiers"].startswith("summed with 1 other Azure charges by run 2")
    assert after["4 product"] == "text only, as it was posted"
    assert after["5 target"].startswith("new invoice 900") and after["5 target"].endswith(" of Contoso Ltd")
    assert after["6 line"] == "1 x 25.52 = 25.52 USD: Microsoft Azure Plan (2026-11-01 to 2026-11-28) - 2 charges"
    assert after["posted"].startswith("posted by run 2")


def test_parts(stage):
    stage.office.rules(f'[[product]]\npax8_sku = "{BACKUP}"\n'
                       "parts = [{ halo_item = 411, share = 60 }, { halo_item = 412, share = 40 }]\n")  # fmt: skip
    stage.month("2026-11", stage.charge(BACKUP, 1, "100.01"))
    hops = explained(stage, "item-0001")
    assert hops["4 product"].startswith(
        "item Docking Station (411), item Monitor 24 inch (412): [[product]] HBL-BKP-SRV-C1"
    )
    assert "rules/defaults.toml" in hops["4 product"]
    assert "1 x 60.01 = 60.01 USD" in hops["6 line"] and "1 x 40 = 40.00 USD" in hops["6 line"]
    stage.office.run("run", "2026-11", "--yes").must()
    assert explained(stage, "item-0001")["4 product"] == "item 411, item 412, as it was posted"


EXCLUDED = {
    "types": ({"type": "rebate"}, "", 'excluded by rule charge_type (exclude.types = ["rebate",'),
    "billed by Pax8": ({"billedByPax8": True}, "",
                       "excluded by rule billed_by_pax8 (exclude.billed_by_pax8 = true by default)"),
    "product": ({}, f'[exclude]\nproducts = ["{M365}"]\n',
                f'excluded by rule product (exclude.products = ["{M365}"] in rules/defaults.toml)'),
    "company": ({}, '[exclude]\ncompanies = ["Contoso Ltd"]\n',
                'excluded by rule company (exclude.companies = ["Contoso Ltd"] in rules/defaults.toml)'),
    "nobody": ({"companyId": None, "total": 0, "subTotal": 0, "costTotal": 0}, "", "excluded by rule no_company: there is nobody to bill [A3]"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXCLUDED)
def test_an_excluded_charge_now_and_afterwards(stage, name):
    more, rules, says = EXCLUDED[name]
    stage.office.rules(rules)
    stage.month("2026-11", stage.charge(M365, 1) | more, stage.charge(STANDARD, 1, client=216))
    hops = explained(stage, "item-0001")
    assert hops["3 modifiers"].startswith(says)
    assert [hops[name] for name in HOPS[3:]] == ["not reached"] * 3
    stage.office.run("run", "2026-11", "--yes").must()
    stage.office.rules("")
    assert "in an earlier run, which stays so [R3]" in explained(stage, "item-0001")["3 modifiers"]


def test_excluded_by_a_clients_file_and_by_a_person(stage):
    stage.office.rules("")
    stage.office.rules('[client]\nname = "Contoso Ltd"\nexclude = true\n', "clients/contoso.toml")
    stage.month("2026-11", stage.charge(M365, 1), stage.charge(M365, 1, client=216))
    assert explained(stage, "item-0001")["3 modifiers"] == (
        "excluded by rule company (client.exclude = true in rules/clients/contoso.toml)"
    )
    stage.office.run("map", "companies", "--exclude", "Northwind Traders Inc.").must()
    assert "excluded by rule company: a person said so by " in explained(stage, "item-0002")["3 modifiers"]


def test_a_dropped_charge_now_and_afterwards(stage):
    stage.office.rules("")
    stage.office.rules(
        '[client]\nname = "Contoso Ltd"\n[modifiers]\nfavorable_prorata = "drop"\n', "clients/contoso.toml"
    )
    stage.month("2026-11", stage.charge(M365, -1, "4.10", type="prorate"), stage.charge(M365, 1))
    assert explained(stage, "item-0001")["3 modifiers"] == (
        'dropped by favorable_prorata (modifiers.favorable_prorata = "drop" in rules/clients/contoso.toml)'
    )
    stage.office.run("run", "2026-11", "--yes").must()
    (stage.office.folder / "rules/clients/contoso.toml").unlink()
    assert explained(stage, "item-0001")["3 modifiers"] == (
        "dropped by favorable_prorata in an earlier run, which stays so [R3]; today modifiers.favorable_prorata is "
        '"keep" by default'
    )


HELD = {
    "bad amount": ({"total": "1,0"}, "", "1 read", "held, bad_amount"),
    "client": ({"companyId": "c-9", "companyName": "Nobody Known"}, "", "2 client",
               "held, client_unmapped: no HaloPSA client"),
    "currency": ({"currencyCode": "EUR"}, "", "2 client", "held, currency_mismatch"),
    "type": ({"type": "surprise"}, "", "3 modifiers", 'held, unknown_charge_type: Pax8 calls this charge \'surprise\''),
    "sign": ({"type": "prorate", "total": -3}, '[modifiers]\nfavorable_prorata = "drop"\n', "3 modifiers",
             'point in opposite directions (modifiers.favorable_prorata = "drop" in rules/defaults.toml)'),
    "product": ({"sku": TWICE}, "", "4 product", 'held, product_ambiguous: several HaloPSA items'),
    "latest": ({}, '[invoice]\nbehavior = "latest"\n', "5 target",
               'is posted to accounting (invoice.when_latest_closed = "hold" by default)'),
    "limit": ({}, "[limits]\nclient_amount_max = 1\n", "5 target",
              "held, limit_amount: 22.00 USD is more than 1 (limits.client_amount_max = 1 in rules/defaults.toml)"),
}  # fmt: skip


@pytest.mark.parametrize("name", HELD)
def test_a_held_charge_stops_where_it_stopped(stage, name):
    more, rules, hop, says = HELD[name]
    stage.office.rules(rules)
    stage.month("2026-11", stage.charge(M365, 1, client=216) | more)
    hops = explained(stage, "item-0001")
    assert says in hops[hop], hops
    later = HOPS[HOPS.index(hop) + 1 :]
    assert [hops[name] for name in later] == ["not reached"] * len(later)
    assert hops["next"]


def test_recurring_limits_let_through_and_the_lines_before(stage):
    stage.office.rules('[products]\nlifecycle = "off"\n')
    stage.office.rules('[client]\nname = "Contoso Ltd"\n[invoice]\nbehavior = "recurring"\nrecurring_invoice = 201\n',
                       "clients/contoso.toml")  # fmt: skip
    stage.month("2026-10", stage.charge(M365, 10))
    stage.office.run("run", "2026-10", "--yes").must()
    stage.month("2026-11", stage.charge(M365, 30))
    digest = stage.office.plan("2026-11")["digest"]
    assert "limits.change_percent_max = 50 by default" in explained(stage, "item-0002")["5 target"]
    stage.office.run("approve", digest, "--client", "Contoso Ltd", "--reason", "merger").must()
    target = explained(stage, "item-0002")["5 target"]
    assert target.startswith(
        'updates its line on recurring invoice 201 (invoice.behavior = "recurring" in rules/clients/'
    )
    assert "(invoice.recurring_invoice = -201 in rules/clients/contoso.toml)" in target
    assert "let through its limits by " in target and target.endswith(": merger")
    assert "on recurring invoice 201 of Contoso Ltd" in explained(stage, "item-0001")["5 target"]  # of an older month


def test_how_a_client_was_matched(stage):
    stage.office.rules("")
    stage.listed(219).pop("externalId")
    stage.month("2026-11", stage.charge(M365, 1, client=219), stage.charge(M365, 1, client=218), stage.charge(M365, 1))
    assert (
        explained(stage, "item-0001")["2 client"].endswith(
            "their names are 97.5 % similar (clients.match_percent = 90 by default)"
        )
        or "% similar (clients.match_percent = 90 by default)" in explained(stage, "item-0001")["2 client"]
    )
    assert explained(stage, "item-0002")["2 client"].endswith("Pax8's externalId is its HaloPSA id")
    stage.office.run("map", "companies", "--set", f"{stage.company(214).company_id}=216").must()
    assert "Northwind Traders (216): mapped by hand by " in explained(stage, "item-0003")["2 client"]
    stage.office.rules('[client]\nname = "Contoso Ltd"\nhalo_client = 221\n', "clients/contoso.toml")
    assert "as rules/clients/contoso.toml says (client.halo_client)" in explained(stage, "item-0003")["2 client"]


def test_what_is_not_there(stage):
    stage.office.rules("")
    stage.month("2026-11", stage.charge(M365, 1), stage.charge(M365, 2))
    assert "No charge of 2026-11 matches 'item-77'" in stage.office.run("explain", "item-77").must(2).stderr


@pytest.mark.parametrize("text", ["item-", "inv-2026-11-0", "Contoso Ltd", "contoso", "214", "Business Premium"])
def test_an_invoice_a_client_and_a_product_list_their_charges(stage, text):
    stage.office.rules('[products]\nlifecycle = "off"\n')
    stage.month("2026-11", stage.charge(M365, 1), stage.charge(M365, 2))
    told = stage.office.run("explain", text, "--json").must().json
    assert [(one["charge"], one["amount"], one["fate"]) for one in told["matches"]] == [
        ("inv-2026-11-0:item-0001", "22.00", "to post"),
        ("inv-2026-11-0:item-0002", "44.00", "to post"),
    ]
    stage.office.run(*told["next_steps"][0][1:]).must()
    shown = stage.office.run("explain", text).must().stdout
    assert "2 charges of 2026-11 match" in shown and "item-0002" in shown
