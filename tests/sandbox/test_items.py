"""The four lifecycles [P1]-[P5]: what is matched, what is made, and that it is made once."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from decimal import Decimal

import pytest
from cli import quick_time
from scene import AZURE, BACKUP, M365, PRODUCTS, SETUP, SHIELD, SIEM, STAGE, scene

from billingsync.psa.halo.client import Halo
from billingsync.sandbox.wire import copy_json

AUTOMATIC = '[products]\nincome_account = "210"\nexpense_account = "320"\ntax_code = "12"\n'
TWICE = "ORB-RMM-ADV"


@pytest.fixture
def stage(server, tmp_path, sqlite_template):
    def make(rules=AUTOMATIC, **switches):
        settings = {name: switches.pop(name) for name in list(switches) if name.isupper()}
        server.reset(dataclasses.replace(STAGE, **switches))
        server.calls.clear()
        shutil.copy(sqlite_template, tmp_path / "ledger.db")
        made = scene(server, tmp_path, **settings)
        made.office.rules(rules)
        return made

    return make


def written_items(made):
    """(client, item id) of each line that was written."""
    rows = [row for row in made.sandbox.halo.invoices.values() if "billingsync" in row["internal_note"]]
    return [(row["client_id"], line["_itemid"]) for row in rows for line in row["lines"]]


def named(made, sku):
    return [row for row in made.sandbox.halo.items.values() if row["externalreference"] == sku]


def catalogue(made):
    return copy_json(made.sandbox.halo.items)


def plan_items(plan):
    return [line["item"] for client in plan["clients"] for line in client["lines"]]


# --- matching ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("item_rows", ["full", "short"])
@pytest.mark.parametrize("sku", [M365, SHIELD, "TRL-VOICE-10"], ids=["reference", "part code", "name"])
def test_P1_an_item_that_exists_is_used_and_never_changed(stage, sku, item_rows):
    made = stage(item_rows=item_rows)
    made.month("2026-11", made.charge(sku, 3))
    before = catalogue(made)
    assert len(before) > 50  # more than HaloPSA's silent page, and the one wanted is not on the first
    made.office.run("run", "2026-11", "--yes").must()
    ((_, item_id),) = written_items(made)
    assert PRODUCTS[sku].name in before[item_id]["name"] and list(before).index(item_id) >= 25
    assert made.sandbox.halo.items == before and made.sandbox.alarms == []


def test_P1_two_items_that_match_equally_are_a_question(stage):
    made = stage()
    made.month("2026-11", made.charge(TWICE, 3), made.charge(M365, 1))
    told = made.office.run("run", "2026-11", "--yes", "--json").must(3).json
    assert [hold["reason"] for hold in told["holds"]] == ["product_ambiguous"] and len(written_items(made)) == 1
    chosen = named(made, TWICE)[1]["id"]
    assert f"--set {TWICE}=" in told["holds"][0]["next_step"]
    made.office.run("map", "products", "--set", f"{TWICE}={chosen}").must()
    made.office.run("run", "2026-11", "--yes").must()
    assert written_items(made)[-1] == (214, chosen)


def test_P1_rules_come_before_people_and_people_before_the_catalogue(stage):
    made = stage()
    made.month("2026-11", made.charge(M365, 1))
    made.office.run("map", "products", "--set", f"{M365}=401").must()
    assert [item["id"] for item in plan_items(made.office.plan())] == [401]
    made.office.rules(f'{AUTOMATIC}[[product]]\npax8_sku = "{M365}"\nhalo_item = 402\n')
    assert [item["id"] for item in plan_items(made.office.plan())] == [402]


# --- the lifecycles ------------------------------------------------------------------------------------------------


def test_P2_off_writes_text_only(stage):
    made = stage('[products]\nlifecycle = "off"\n')
    made.month("2026-11", made.charge(M365, 1), made.charge(SIEM, 1))
    before = catalogue(made)
    made.office.run("run", "2026-11", "--yes").must()
    assert written_items(made) == [(214, 0), (214, 0)] and made.sandbox.halo.items == before


def test_P2_manual_holds_the_whole_client_until_a_person_matches(stage):
    made = stage('[products]\nlifecycle = "manual"\n')
    made.month("2026-11", made.charge(M365, 1), made.charge(SIEM, 1), made.charge(M365, 2, client=216))
    before = catalogue(made)
    told = made.office.run("run", "2026-11", "--yes", "--json").must(3).json
    assert [(hold["reason"], hold["amount"]) for hold in told["holds"]] == [
        ("product_unmatched", "22.00"), ("product_unmatched", "89.00")]  # fmt: skip
    assert [client for client, _ in written_items(made)] == [216] and made.sandbox.halo.items == before
    listed = made.office.run("map", "products", "--json").must().json["products"]  # what only subscriptions have, too
    assert (SIEM, None) in [(row["pax8_id"], row["halo_id"]) for row in listed]
    mapped = [row["halo_id"] is not None for row in listed]
    assert mapped == sorted(mapped)  # unmapped first
    made.office.run("map", "products", "--set", f"{SIEM}=408").must()
    (row,) = [
        row for row in made.office.run("map", "products", "--json").must().json["products"] if row["pax8_id"] == SIEM
    ]
    assert (row["halo_id"], row["how"]) == (408, "person") and row["who"] and row["at"].startswith("20")
    made.office.run("run", "2026-11", "--yes").must()
    assert (214, 408) in written_items(made) and made.sandbox.halo.items == before


def test_P2_default_item_takes_everything(stage):
    made = stage('[products]\nlifecycle = "default_item"\ndefault_item = 407\n')
    made.month("2026-11", made.charge(M365, 1), made.charge(SIEM, 1), made.charge(TWICE, 1))
    before = catalogue(made)
    made.office.run("run", "2026-11", "--yes").must()
    assert written_items(made) == [(214, 407)] * 3 and made.sandbox.halo.items == before


def test_P2_a_default_item_that_is_not_there_holds(stage):
    made = stage('[products]\nlifecycle = "default_item"\ndefault_item = 9999\n')
    made.month("2026-11", made.charge(M365, 1))
    (hold,) = made.office.run("run", "2026-11", "--yes", "--json").must(3).json["holds"]
    assert hold["reason"] == "product_unmatched" and "rules/defaults.toml" in hold["next_step"]


def test_P2_automatic_makes_what_is_missing_once_and_finds_it_again(stage):
    made = stage()
    made.month("2026-11", made.charge(SIEM, 1), made.charge(SIEM, 2, client=216), made.charge(M365, 1))
    before, groups = catalogue(made), dict(made.sandbox.halo.groups)
    plan = made.office.plan()
    assert [item["create"] for item in plan_items(plan)].count(True) == 2
    assert made.sandbox.halo.items == before and made.sandbox.halo.groups == groups  # a dry run makes nothing
    made.office.run("run", "--dry-run").must()
    assert made.sandbox.halo.items == before
    made.office.run("run", "2026-11", "--yes").must()
    (item,) = named(made, SIEM)
    group = made.sandbox.halo.groups[item["assetgroup_id"]]
    assert group["name"] == "BillingSync_Pax8" and len(made.sandbox.halo.groups) == len(groups) + 1
    assert (item["name"], item["nominalcode"], item["purchasenominalcode"], item["taxcode"]) == (
        "Verdant SIEM Connector", "210", "320", 12)  # fmt: skip
    assert item["dont_track_stock"] and item["baseprice"] == 0  # prices stay with the lines
    assert {number: row for number, row in made.sandbox.halo.items.items() if number in before} == before
    assert sorted(id_ for _, id_ in written_items(made)).count(item["id"]) == 2
    bodies = [json.loads(call.body) for call in made.sandbox.calls if call.method == "POST" and call.path == "/Item"]
    assert len(bodies) == 1 and "update_recurring_invoice_price" not in bodies[0][0]
    assert made.sandbox.alarms == []
    made.month("2026-12", made.charge(SIEM, 1), made.charge(SIEM, 2, client=216), made.charge(M365, 1))
    again = plan_items(made.office.plan("2026-12"))
    assert [one["id"] for one in again].count(item["id"]) == 2 and not any(one["create"] for one in again)


def test_P4_codes_that_the_rules_do_not_name_are_not_sent(stage):
    made = stage('[products]\nitem_group = "Licences"\n')
    made.month("2026-11", made.charge(SIEM, 1))
    made.office.run("run", "2026-11", "--yes").must()
    (item,) = named(made, SIEM)
    (body,) = [
        json.loads(call.body)[0] for call in made.sandbox.calls if call.path == "/Item" and call.method == "POST"
    ]
    assert not {"nominalcode", "purchasenominalcode", "taxcode"} & body.keys()
    assert item["assetgroup_name"] == "Licences"
    assert not any(call.path == "/AssetGroup" and call.method == "POST" for call in made.sandbox.calls)


# --- made once, whatever becomes of the answer ---------------------------------------------------------------------

LOST = ["reset", "reset_after", "timeout_after:seconds=9", "500", "500_after", "504_after", "cut", "not_json_after",
        "error_inside_after", "empty_after", "list_for_object", "400", "429", "401", "late:seconds=30",
        "late:calls=1:answer=reset"]  # fmt: skip


EACH_COMMIT = [("/Item", fault) for fault in LOST] + [("/AssetGroup", fault) for fault in LOST[:3]]
LONG = [("/AssetGroup", fault) for fault in LOST[3:]]


@pytest.mark.parametrize(
    ("path", "fault"), [*EACH_COMMIT, *(pytest.param(*one, marks=pytest.mark.long) for one in LONG)]
)
def test_P3_whatever_becomes_of_the_answer_one_item_is_made(stage, path, fault):
    made = stage(HALO__TIMEOUT_S="1", HALO__ABSENCE_S="60")
    made.month("2026-11", made.charge(SIEM, 1), made.charge(M365, 1, client=216))
    groups = len(made.sandbox.halo.groups)
    kind, _, more = fault.partition(":")
    made.sandbox.faults.add(f"halo:POST:{path}:1:{kind}{':' + more if more else ''}")
    with quick_time(made.sandbox):
        made.office.run("run", "2026-11", "--yes").must()
    made.sandbox.land()
    assert len(named(made, SIEM)) == 1 and len(made.sandbox.halo.groups) == groups + 1
    assert (214, named(made, SIEM)[0]["id"]) in written_items(made)


def test_P3_a_run_that_died_after_sending_an_item_lets_it_land_before_the_next_one_looks(stage, monkeypatch):
    """The next run's search comes before the landing: without the memory of the intent it would make a second one."""
    made = stage(HALO__ABSENCE_S="60")
    made.month("2026-11", made.charge(SIEM, 1))
    made.sandbox.faults.add("halo:POST:/Item:1:late:seconds=30:answer=reset")
    create = Halo.create_item

    def killed(self, *given, **more):
        create(self, *given, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Halo, "create_item", killed)
        with contextlib.suppress(KeyboardInterrupt):
            made.office.run("run", "2026-11", "--yes")
    assert named(made, SIEM) == []
    with quick_time(made.sandbox):
        made.office.run("run", "2026-11", "--yes").must()
    made.sandbox.land()
    assert len(named(made, SIEM)) == 1


def test_P3_a_list_that_is_late_does_not_make_a_second_item(stage):
    made = stage(HALO__ABSENCE_S="60")
    made.month("2026-11", made.charge(SIEM, 1))
    made.sandbox.faults.add("halo:GET:/AssetGroup:1+:stale")
    made.sandbox.faults.add("halo:POST:/Item:1:error_inside_after")
    with quick_time(made.sandbox):
        made.office.run("run", "2026-11", "--yes")
    assert len(named(made, SIEM)) == 1


def test_P3_an_item_that_cannot_be_made_concerns_its_clients_only(stage):
    made = stage()
    made.month("2026-11", made.charge(SIEM, 1), made.charge(M365, 1, client=216))
    made.sandbox.faults.add("halo:POST:/Item:1+:400")
    told = made.office.run("run", "2026-11", "--yes", "--json").must(1).json
    assert sorted((one["client_id"], one["state"]) for one in told["postings"]) == [(214, "failed"), (216, "posted")]
    assert "HaloPSA refused to create the item 'Verdant SIEM Connector'" in json.dumps(told)
    made.sandbox.faults.clear()
    made.office.run("run", "2026-11", "--yes").must()
    assert len(named(made, SIEM)) == 1 and len(written_items(made)) == 2


def test_P3_two_runs_at_once_make_one_item(stage):
    made = stage()
    made.month("2026-11", made.charge(SIEM, 1), made.charge(SETUP, 1))
    made.sandbox.change(latency_ms=30)
    running = [made.office.start("run", "2026-11", "--yes") for _ in range(2)]
    told = [one.communicate(timeout=60) for one in running]
    codes = sorted(one.returncode for one in running)
    assert codes[0] == 0 and codes[1] in (0, 5), (codes, told)
    assert len(named(made, SIEM)) == len(named(made, SETUP)) == 1
    assert len([row for row in made.sandbox.halo.groups.values() if row["name"] == "BillingSync_Pax8"]) == 1
    assert len(written_items(made)) == 2


# --- parts [P5] ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "amounts"),
    [
        ("{ halo_item = 411, share = 60 }, { halo_item = 412, share = 40 }", ["60.01", "40.00"]),
        ("{ halo_item = 411, share = 33.33 }, { halo_item = 412, share = 33.33 }, { halo_item = 413, share = 33.34 }",
         ["33.33", "33.33", "33.35"]),
        ("{ halo_item = 411, unit_price = 3.333 }, { halo_item = 412, rest = true }", ["23.33", "76.68"]),
    ],
    ids=["shares", "thirds", "a fixed price and the rest"],
)  # fmt: skip
def test_P5_the_parts_of_a_product_add_up_to_the_cent(stage, parts, amounts):
    made = stage(f'{AUTOMATIC}[[product]]\npax8_sku = "{BACKUP}"\nparts = [{parts}]\n')
    made.month("2026-11", made.charge(BACKUP, 7, "14.287142857", total=Decimal("100.01"), subTotal=Decimal("100.01")))
    made.office.run("run", "2026-11", "--yes").must()
    (row,) = [row for row in made.sandbox.halo.invoices.values() if "billingsync" in row["internal_note"]]
    assert [line["_itemid"] for line in row["lines"]] == [411, 412, 413][: len(amounts)]
    assert [str(line["net_amount"]) for line in row["lines"]] == amounts and str(row["revenue"]) == "100.01"
    assert made.office.run("run", "2026-11", "--yes", "--json").must().json["postings"] == []


# --- map -----------------------------------------------------------------------------------------------------------


def test_map_companies_shows_unmapped_first_with_what_could_be_meant(stage):
    made = stage()
    stranger = {"companyId": "c-stranger", "companyName": "Fabrikan AG"}
    made.listed(219).pop("externalId")
    made.month("2026-11", made.charge(M365, 1), made.charge(M365, 1, client=219), made.charge(M365, 1) | stranger)
    rows = made.office.run("map", "companies", "--json").must().json["companies"]
    assert (rows[0]["pax8_name"], rows[0]["halo_id"]) == ("Fabrikan AG", None)
    assert rows[0]["suggestions"] == "FABRIKAM (217) 88 %"
    assert [row["how"] for row in rows[1:3]] == ["guessed (97 % similar)", "name"]
    assert {row["how"] for row in rows[3:]} <= {"name", "external_id"}  # those that only have subscriptions
    assert made.office.plan("2026-11", "--client", "219")["clients"][0]["held"] == "client_guessed"
    done = made.office.run("map", "companies", "--auto").must()
    pair = "Wide World Importers -> Wide World Importer (219)"
    shown, confirmed = (done.stderr.index(f"{how}: {pair}") for how in ("guessed (97 % similar)", "confirmed"))
    assert shown < confirmed
    made.office.run("map", "companies", "--exclude", "Fabrikan AG").must()
    rows = {row["pax8_name"]: row for row in made.office.run("map", "companies", "--json").must().json["companies"]}
    assert (rows["Wide World Importers"]["how"], rows["Fabrikan AG"]["how"]) == ("person", "never billed")
    assert all(rows[name]["who"] and rows[name]["at"] for name in ("Wide World Importers", "Fabrikan AG"))
    made.office.run("run", "2026-11", "--yes").must()
    assert {client for client, _ in written_items(made)} == {214, 219}


def test_map_shows_who_and_when_to_people_too(stage):
    made = stage()
    made.month("2026-11", made.charge(M365, 1))
    made.office.run("map", "products", "--set", f"{M365}=401").must()
    shown = made.office.run("map", "products").must().stdout
    assert "person" in shown and "By" in shown and "20" in shown


def test_map_products_suggests_by_similarity(stage):
    made = stage()
    made.month("2026-11", made.charge(SIEM, 1, productName="Harborline Backup for Server"), made.charge(AZURE, 1))
    rows = made.office.run("map", "products", "--json").must().json["products"]
    (row,) = [row for row in rows if row["pax8_id"] == SIEM]
    assert "Harborline: Harborline Backup for Servers (" in row["suggestions"]
