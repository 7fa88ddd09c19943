"""Limits and approval, end to end by the command line: the numbers that held a client, who let it through and why."""

from __future__ import annotations

import dataclasses
import shutil
from decimal import Decimal as D

import pytest
from cli import balanced
from scene import AZURE, BACKUP, M365, STAGE, STANDARD, scene

from billingsync.store.ledger import open_ledger

OFF = '[products]\nlifecycle = "off"\n'


@pytest.fixture
def stage(server, tmp_path, sqlite_template):
    def make(limits="", more=""):
        server.reset(dataclasses.replace(STAGE))
        shutil.copy(sqlite_template, tmp_path / "ledger.db")
        made = scene(server, tmp_path)
        made.office.rules(f"{OFF}[limits]\n{limits}\n{more}")
        return made

    return make


def invoices(made):
    rows = [row for row in made.sandbox.halo.invoices.values() if "billingsync" in row["internal_note"]]
    return sorted((row["client_id"], str(row["revenue"])) for row in rows)


def held(made, period="2026-11"):
    """Reason -> detail of what the month's plan holds; the equation must hold with it."""
    plan = made.office.plan(period)
    balanced(plan)
    found = {}
    for client in plan["clients"]:
        for hold in client["holds"]:
            found.setdefault(hold["reason"], hold["detail"])
    return found


def grown(made):
    """Contoso grows from 220.00 to 440.00, Northwind stays."""
    made.month("2026-10", made.charge(M365, 10), made.charge(M365, 10, client=216))
    made.office.run("run", "2026-10", "--yes").must()
    made.month("2026-11", made.charge(M365, 20), made.charge(M365, 10, client=216))


LIMITS = {
    "change up": ("", {"limit_change": "440.00 USD after 220.00 USD in 2026-10 (+100.0 %): more than 50 % and 100"}),
    "change within percent": ("change_percent_max = 100", {}),
    "change below the amount": ("change_amount_min = 220.00", {}),
    "amount": ("client_amount_max = 300\nchange_percent_max = 500", {"limit_amount": "440.00 USD is more than 300"}),
    "amount enough": ("client_amount_max = 440\nchange_percent_max = 500", {}),
    "margin": ("margin_percent_min = 20.01\nchange_percent_max = 500",
               {"limit_margin": "Microsoft 365 Business Premium: price 440.00 USD, cost 352.00 USD is a margin below"}),
    "margin enough": ("margin_percent_min = 20\nchange_percent_max = 500", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_a_client_beyond_a_limit_is_held_with_the_numbers(stage, name):
    limits, wanted = LIMITS[name]
    made = stage(limits)
    if "margin" in name:  # the month before must not be held itself
        made.office.rules(OFF)
    grown(made)
    made.office.rules(f"{OFF}[limits]\n{limits}\n")
    found = held(made)
    assert found.keys() == wanted.keys()
    for reason, detail in wanted.items():
        assert found[reason].startswith(detail)


def test_a_first_client_and_a_first_product(stage):
    made = stage('new_client = "hold"')
    made.month("2026-11", made.charge(M365, 1))
    assert held(made) == {"limit_new_client": "this client has never been billed from here before"}
    made.office.rules(f'{OFF}[limits]\nnew_product = "hold"\n')
    assert held(made) == {"limit_new_product": f"never billed before: {M365}"}
    made.office.rules(OFF)
    made.office.run("run", "2026-11", "--yes").must()
    made.office.rules(f'{OFF}[limits]\nnew_product = "hold"\nnew_client = "hold"\n')
    made.month("2026-12", made.charge(M365, 1), made.charge(BACKUP, 1, client=216))
    plan = made.office.plan("2026-12")
    assert [(client["client_id"], client["held"]) for client in plan["clients"]] == [
        (214, None),
        (216, "limit_new_client"),
    ]


@pytest.mark.parametrize(("rule", "waits"), [("", True), ('negative_invoice = "post"', False)], ids=["hold", "post"])
def test_a_negative_invoice(stage, rule, waits):
    made = stage(rule)
    made.month("2026-11", made.charge(M365, -2, type="prorate"), made.charge(STANDARD, 1))
    found = held(made)
    assert found == ({"limit_negative": "the new invoice would come to -31.50 USD"} if waits else {})


def test_missing_companies_hold_the_whole_run(stage):
    made = stage()
    made.month("2026-10", *(made.charge(M365, 1, client=client) for client in (214, 216, 218, 219)))
    made.office.run("run", "2026-10", "--yes").must()
    made.month("2026-11", *(made.charge(M365, 1, client=client) for client in (214, 216, 218)))
    told = made.office.run("run", "2026-11", "--yes", "--json").must(3).json
    assert {hold["reason"] for hold in told["holds"]} == {"limit_missing_companies"} and told["postings"] == []
    assert "1 of last period's 4 companies (25 %) have no charge now: more than 20 %" in told["holds"][0]["detail"]
    made.office.rules(f"{OFF}[limits]\nmissing_company_percent_max = 25\n")
    made.office.run("run", "2026-11", "--yes").must()


def test_a_limit_may_differ_for_one_client(stage):
    made = stage()
    made.office.rules('[client]\nname = "Contoso Ltd"\n[limits]\nchange_percent_max = 200\n', "clients/contoso.toml")
    grown(made)
    assert held(made) == {}


# --- approval ------------------------------------------------------------------------------------------------------


def test_approve_lets_one_client_through_that_digest_only(stage):
    made = stage()
    grown(made)
    first = made.office.plan("2026-11")
    contoso, northwind = first["clients"]
    assert (contoso["held"], northwind["held"]) == ("limit_change", None)
    (step,) = {hold["next_step"] for hold in contoso["holds"]}
    assert step == f'billingsync approve {first["digest"][:12]} --client "Contoso Ltd" --reason TEXT'
    made.office.run("approve", first["digest"], "--client", "Contoso Ltd", "--reason", " ").must(2)
    made.office.run("approve", first["digest"], "--client", "Northwind Traders", "--reason", "no").must(2)
    told = made.office.run(
        "approve", first["digest"][:12], "--client", "Contoso Ltd", "--reason", "new office", "--json"
    )
    assert told.must().json["reason"] == "new office"
    with open_ledger(made.office.environment()["BILLINGSYNC_DATABASE_URL"], partner="default") as ledger:
        (approval,) = ledger.decisions("2026-11")
    assert (approval.reason, bool(approval.who), approval.client) == ("new office", True, "214")
    assert (approval.amount, set(approval.limits)) == (D("440.00"), {"limit_change"})
    second = made.office.plan("2026-11")
    assert second["digest"] != first["digest"] and not any(client["held"] for client in second["clients"])
    made.office.run("post", second["digest"]).must()
    assert invoices(made)[-4:] == [(214, "220.00"), (214, "440.00"), (216, "220.00"), (216, "220.00")]


def test_an_approval_is_worth_nothing_once_the_source_changed(stage):
    made = stage()
    grown(made)
    digest = made.office.plan("2026-11")["digest"]
    made.office.run("approve", digest, "--client", "Contoso Ltd", "--reason", "new office").must()
    made.month("2026-11", made.charge(BACKUP, 30))
    found = held(made)
    assert found["limit_change"].startswith("1880.00 USD after 220.00 USD")
    told = made.office.run("post", digest).must(5)
    assert "Contoso Ltd" in told.stderr


def test_the_others_are_posted_while_one_waits(stage):
    made = stage()
    grown(made)
    told = made.office.run("run", "2026-11", "--yes", "--json").must(3).json
    balanced(told, returned=True)
    assert [(one["client_id"], one["amount"]) for one in told["postings"]] == [(216, "220.00")]
    digest = made.office.plan("2026-11")["digest"]
    made.office.run("approve", digest, "--client", "contoso ltd", "--reason", "seen").must()
    made.office.run("run", "2026-11", "--yes").must()
    assert (214, "440.00") in invoices(made)
    assert made.office.run("run", "2026-11", "--yes", "--json").must().json["postings"] == []


def test_two_clients_are_approved_one_after_the_other(stage):
    made = stage()
    made.month("2026-10", made.charge(M365, 10), made.charge(M365, 10, client=216))
    made.office.run("run", "2026-10", "--yes").must()
    made.month("2026-11", made.charge(M365, 20), made.charge(M365, 40, client=216))
    digests = [made.office.plan("2026-11")["digest"]]
    for client, reason in (("Contoso Ltd", "one"), ("Northwind Traders Inc.", "two")):
        made.office.run("approve", digests[-1], "--client", client, "--reason", reason).must()
        digests.append(made.office.plan("2026-11")["digest"])
    assert len(set(digests)) == 3
    made.office.run("post", digests[-1]).must()
    assert {(214, "440.00"), (216, "880.00")} <= set(invoices(made))


def test_approval_lets_a_held_run_through_client_by_client(stage):
    made = stage()
    made.month("2026-10", *(made.charge(M365, 1, client=client) for client in (214, 216, 218)))
    made.office.run("run", "2026-10", "--yes").must()
    made.month("2026-11", *(made.charge(M365, 1, client=client) for client in (214, 216)))
    digest = made.office.plan("2026-11")["digest"]
    made.office.run("approve", digest, "--client", "Contoso Ltd", "--reason", "Proseware left").must()
    told = made.office.run("run", "2026-11", "--yes", "--json").must(3).json
    assert [one["client_id"] for one in told["postings"]] == [214]
    assert {hold["reason"] for hold in told["holds"]} == {"limit_missing_companies"}


def test_P2_automatic_posting_is_refused_for_manual(stage):
    made = stage()
    made.office.rules('[products]\nlifecycle = "manual"\n[approval]\nauto_post = "within_limits"\n')
    made.month("2026-11", made.charge(M365, 1))
    told = made.office.run("plan")
    assert told.must(2) and "auto_post" in told.stderr and "manual" in told.stderr


# --- what modifiers kept from clients [M4] -------------------------------------------------------------------------


def test_M4_what_modifiers_kept_is_in_plan_html_and_json(stage):
    made = stage(more='[modifiers]\nazure = "drop"\nfavorable_prorata = "drop"\n')
    made.month("2026-11", made.charge(M365, 10), made.charge(AZURE, 1, "18.22", cost="15.00"),
               made.charge(M365, -2, "4.10", cost="3.00", type="prorate"))  # fmt: skip
    plan = made.office.plan("2026-11")
    (kept,) = plan["kept_from_clients"]
    assert (kept["credits_withheld"], kept["price_dropped"], kept["cost_absorbed"]) == ("8.20", "10.02", "9.00")
    html = made.office.run("plan", "2026-11", "--format", "html", "--out", "-").must().stdout
    text = made.office.run("plan", "2026-11").must().stdout
    assert "8.20" in html and "9.00" in html and "8.20" in text
