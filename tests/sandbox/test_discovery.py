"""What HaloPSA has that rules can name, listed by `doctor` and `init`; and HaloPSA's own Pax8 sync beside us."""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal

import pytest
from cli import Office

from billingsync.core.invoice import Invoice
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox
from billingsync.setup.discovery import Discovery, Named, Recurring
from billingsync.setup.doctor import counted_sentence

CALM = SandboxOptions(trouble=False, clients=4, charges=30, history=0)


@pytest.fixture(scope="module")
def server():
    with Sandbox(CALM) as sandbox:
        yield sandbox


@pytest.fixture
def office(server, tmp_path):
    server.reset(CALM)
    made = Office(tmp_path, server)
    made.rules("")
    return made


def files(toml):
    """The snippets as they would stand in files: each block without its comment marks must be TOML."""
    found = {}
    for block in toml.strip().split("\n\n"):
        name, *lines = block.splitlines()
        found[name.removeprefix("# ")] = [line.removeprefix("# ") for line in lines]
    return found


def take(lines, *unwanted):
    return tomllib.loads("\n".join(line for line in lines if not line.startswith(("suppliers", "(no", *unwanted))))


def test_doctor_lists_what_rules_can_name(office):
    found = office.run("doctor", "--json").must().json["discovery"]
    assert [(one["id"], one["name"], one["detail"]) for one in found["taxes"]] == [
        ("1", "Zero rate", "0 %"), ("2", "Sales tax", "8 %"), ("12", "VAT", "19 %")]  # fmt: skip
    items = office.sandbox.halo.items.values()
    uses = sum(item["nominalcode"] == "200" for item in items if not item["status"])
    assert [(one["id"]) for one in found["income_accounts"]] == ["200"]
    assert found["income_accounts"][0]["detail"] in (f"used {uses} times", f"used {uses + 1} times")
    assert [one["id"] for one in found["expense_accounts"]] == ["310"]
    assert [one["name"] for one in found["item_groups"]] == ["Hardware", "Licences", "Managed Services"]  # no devices
    assert [one["name"] for one in found["suppliers"]] == ["Harbor Hardware Supply", "Pax8"]
    assert [(one["id"], one["client_id"]) for one in found["recurring"] if one["client_id"] == 214] == [
        (201, 214),
        (202, 214),
    ]
    assert found["problems"] == []


def test_the_snippets_are_ready_to_paste(office):
    toml = office.run("doctor", "--json").must().json["discovery"]["toml"]
    parts = files(toml)
    for name, lines in parts.items():
        seen = set()  # of several choices for a key the first is taken
        chosen = []
        for line in lines:
            key = line.partition(" = ")[0]
            if key not in seen:
                chosen.append(line)
            seen.add(key)
        assert take(chosen)
        text = "\n".join(line for line in chosen if not line.startswith("suppliers"))
        office.rules(text, name.removeprefix("rules/"))
    assert tomllib.loads((office.folder / "rules/clients/contoso.toml").read_text())["invoice"] == {
        "behavior": "recurring", "recurring_invoice": 201}  # fmt: skip
    office.run("rules", "check").must()
    plan = office.plan()
    contoso = next(client for client in plan["clients"] if client["client_id"] == 214)
    assert (contoso["behavior"], contoso["target_invoice_id"]) == ("recurring", -201)


def test_accounts_of_item_groups_count_too(office):
    office.sandbox.halo.groups[33] |= {"nominalcode": "230", "nominalcode_name": "Cloud", "nominalcodepurchase": "330"}
    found = office.run("doctor", "--json").must().json["discovery"]
    assert {"id": "230", "name": "Cloud", "detail": "used 1 time"} in found["income_accounts"]
    assert "330" in [one["id"] for one in found["expense_accounts"]]


def test_init_lists_it_where_credentials_are_there(office):
    told = office.run("init").must().stdout
    shown = (office.folder / "rules/halopsa-catalogue.toml.example").read_text()
    assert "halopsa-catalogue.toml.example" in told and "tax_code" not in told, "a file, not a thousand lines"
    assert '# tax_code = "12"  # VAT 19 %' in shown and "# recurring_invoice = 201  # Monthly services" in shown
    assert office.run("init", "--json").must().json["discovery"]["taxes"]


def test_init_without_credentials_asks_nobody(office):
    office.settings["BILLINGSYNC_HALO__CLIENT_SECRET"] = "unset"
    office.sandbox.calls.clear()
    told = office.run("init", "--json").must().json
    assert told["discovery"] is None and office.sandbox.calls == []


def test_init_succeeds_although_halopsa_does_not_answer(office):
    office.sandbox.faults.add("halo:*:*:1+:403")
    ran = office.run("init").must()
    assert "HaloPSA was not asked" in ran.stderr and (office.folder / ".env").exists()


def test_a_list_that_a_role_may_not_see_keeps_nothing_else_back(office):
    office.sandbox.faults.add("halo:GET:/Tax:1+:403")
    found = office.run("doctor", "--json").must().json["discovery"]
    assert found["taxes"] == [] and found["suppliers"] and "/Tax cannot be listed" in found["problems"][0]


def test_fault_03_halopsas_own_sync_fails_the_doctor_and_holds_in_the_plan(office):
    assert office.run("doctor").must().stdout.splitlines()[-1].startswith("Ready.")
    office.sandbox.halo.clients[214]["pax8monthlyinvoice"] = -201
    told = office.run("doctor", "--json").must(1).json
    checks = told["checks"]
    assert told["verdict"].startswith("Not ready: 1 check is WRONG.")
    assert [c["says"] for c in checks if c["state"] == "fail"] == [
        "HaloPSA's own Pax8 sync is set up for Contoso Ltd: they may be billed twice"]  # fmt: skip
    plan = office.plan()
    contoso = next(client for client in plan["clients"] if client["client_id"] == 214)
    assert contoso["held"] == "other_writer"


def test_fault_03_counted_licences_warn_in_doctor_and_plan(office):
    checks = office.run("doctor", "--json").must().json["checks"]
    (warning,) = [c["says"] for c in checks if c["state"] == "warn" and "counts the licences" in c["says"]]
    assert warning.startswith("HaloPSA counts the licences of 3 recurring invoices itself: ")
    assert "203 of Contoso Europe" in warning
    assert any("recurring invoice 203" in text for text in office.plan()["warnings"])


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (1, "recurring invoice 201 of Client 1: HaloPSA counts the licences of Suite, Backup itself; if"),
        (2, "HaloPSA counts the licences of 2 recurring invoices itself: 201 of Client 1, 202 of Client 2; if"),
        (20, "208 of Client 8 and 12 more; if"),
    ],
)
def test_counted_licences_are_one_warning_with_their_number(number, says):
    invoices = [Invoice(id=-200 - n, client_id=n, client_name=f"Client {n}") for n in range(1, number + 1)]
    assert says in counted_sentence([(one, ["Suite", "Backup"]) for one in invoices])


@pytest.mark.parametrize("fault", ["halo:*:*:1+:401", "pax8:*:*:1+:503", "halo:GET:/Client:1+:403", ""])
def test_every_wrong_has_a_remedy(office, fault):
    if fault:
        office.sandbox.faults.add(fault)
    else:
        office.rules("[invoice]\nbehaviour = 1\n")
    ran = office.run("doctor").must(1)
    wrong = [line for line in ran.stdout.splitlines() if line.startswith("WRONG")]
    steps = [line for line in ran.stdout.splitlines() if line.startswith("  next:  ")]
    assert wrong and len(steps) >= len(wrong), ran.stdout
    assert "  next:  billingsync doctor" not in steps
    assert ran.stdout.splitlines()[-1].startswith("Not ready: ")


def test_no_log_line_reaches_stdout_and_no_secret_anything(office):
    for words in (("doctor",), ("init",), ("doctor", "--json")):
        ran = office.run(*words)
        assert "[debug" not in ran.stdout and office.sandbox.options.secret not in ran.stdout + ran.stderr


def test_hostile_names_stay_comments():
    hostile = 'x"\n[approval]\nauto_post = "within_limits"\x1b[31m\x7f'
    found = Discovery(
        taxes=(Named(id="1", name=hostile, detail="8 %"),),
        income_accounts=(Named(id=hostile, name=hostile),),
        item_groups=(Named(id="3", name=hostile),),
        suppliers=(Named(id="4", name=hostile),),
        recurring=(Recurring(id=7, client_id=1, client_name=hostile, reference=hostile, counted=(hostile,)),),
    )
    assert tomllib.loads(found.toml) == {}
    assert all(line.startswith("# ") or not line for line in found.toml.splitlines())
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", found.toml)
    lines = [line.removeprefix("# ") for line in found.toml.splitlines() if " = " in line and "item_group" in line]
    assert tomllib.loads("\n".join(lines), parse_float=Decimal) == {"item_group": hostile}
