"""What people decide, by command: exactly what was shown to them, and each step that a hold prints does what it says."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scene import BACKUP, M365, STAGE, Scene, scene

from billingsync.sandbox.server import Sandbox

Stage = Callable[..., Scene]
OPEN = """
[products]
lifecycle = "off"
[limits]
change_percent_max = 1000000
"""
STRICT = OPEN + 'client_amount_max = 300\nnew_product = "hold"\n'


@pytest.fixture
def stage(server: Sandbox, tmp_path: Path, sqlite_template: Path) -> Stage:
    def make(rules: str = OPEN) -> Scene:
        server.reset(dataclasses.replace(STAGE))
        shutil.copy(sqlite_template, tmp_path / "ledger.db")
        made = scene(server, tmp_path)
        made.office.rules(rules)
        return made

    return make


def holds(made: Scene, period: str = "2026-11") -> dict[str, dict[str, Any]]:
    """One hold of each reason in the plan of now."""
    plan = made.office.plan(period)
    every = [hold for client in plan["clients"] for hold in client["holds"]] + plan["unassigned"]["holds"]
    return {hold["reason"]: hold for hold in every}


def follow(made: Scene, hold: dict[str, Any], offer: str = "bill it", **filled: str) -> None:
    """Types the command that this hold offers, with what is left to people filled in."""
    command = next(way["text"] for way in hold["ways"] if way["offer"] == offer and way["command"])
    for slot, value in {"TEXT": "seen", **filled}.items():
        command = command.replace(slot, value)
    made.office.run(*shlex.split(command)[1:]).must()


def test_V1_all_limits_are_shown_at_once_and_one_approval_lifts_them(stage: Stage) -> None:
    """Case 8: the new product alone was shown, and approving it let everything else pass, too."""
    made = stage(STRICT)
    made.month("2026-11", made.charge(M365, 20, 22))
    (hold,) = holds(made).values()
    assert "never billed before" in hold["detail"] and "440.00 USD is more than 300" in hold["detail"]
    follow(made, hold)
    assert holds(made) == {}
    assert [one["amount"] for one in made.office.run("run", "2026-11", "--yes", "--json").must().json["postings"]] == [
        "440.00"
    ]


def test_V1_another_amount_is_asked_again_and_says_why(stage: Stage) -> None:
    """Case 9: what was approved at one amount was posted at five times that."""
    made = stage(STRICT)
    first = made.charge(M365, 20, 22)
    made.month("2026-11", first)
    follow(made, next(iter(holds(made).values())))
    made.sandbox.pax8.items["inv-2026-11-0"][0] |= {"quantity": 100, "subTotal": 2200, "total": 2200}
    (hold,) = holds(made).values()
    assert "approved 440.00 USD, and now it is 2200.00" in hold["detail"]


@pytest.mark.parametrize(
    ("limit", "lower"),
    [("client_amount_max = 300", "client_amount_max = 200"), ("margin_percent_min = 50", "margin_percent_min = 60")],
)
def test_V1_a_limit_that_is_another_by_now_is_asked_again(stage: Stage, limit: str, lower: str) -> None:
    """An approval of 440.00 above 300 says nothing of what may be above another limit."""
    made = stage(f"{OPEN}{limit}\n")
    made.month("2026-11", made.charge(M365, 20, 22))
    follow(made, next(iter(holds(made).values())))
    assert holds(made) == {}
    made.office.rules(f"{OPEN}{lower}\n")
    (hold,) = holds(made).values()
    assert "now the numbers of its limits are others" in hold["detail"]
    follow(made, hold)
    assert holds(made) == {}


def test_V1_an_approval_outlives_what_is_decided_about_others(stage: Stage) -> None:
    """Case 26: mapping another client ended an approval without a word."""
    made = stage(STRICT)
    made.month("2026-11", made.charge(M365, 20, 22), made.charge(BACKUP, 1, 10, client=216))
    plan = made.office.plan("2026-11")
    contoso, other = plan["clients"][0], plan["clients"][1]
    follow(made, contoso["holds"][0])
    made.office.run("map", "companies", "--exclude", other["company_id"]).must()
    assert not any(client["held"] for client in made.office.plan("2026-11")["clients"])


def test_V1_an_approval_ends_with_the_undo(stage: Stage) -> None:
    made = stage(STRICT)
    made.month("2026-11", made.charge(M365, 20, 22))
    follow(made, next(iter(holds(made).values())))
    run = made.office.run("run", "2026-11", "--yes", "--json").must().json["run"]
    made.office.run("undo", run, "--yes").must()
    assert "limit_amount" in holds(made)


def test_V2_a_near_miss_is_refused_and_says_what_was_perhaps_meant(stage: Stage) -> None:
    """Case 10: another client was billed, whose name began alike."""
    made = stage()
    made.month("2026-11", made.charge(M365, 1, 22))
    told = made.office.run("run", "2026-11", "--client", "Contoso", "--yes").must(2)
    assert "Perhaps: Contoso Ltd (214)" in told.stderr
    assert not [row for row in made.sandbox.halo.invoices.values() if row["client_id"] == 214 and row["total"] == 22]
    made.office.run("run", "2026-11", "--client", "CONTOSO LTD", "--yes").must()


def test_V3_a_line_that_a_person_added_makes_the_plan_stale_and_is_shown(stage: Stage) -> None:
    """Case 23: the invoice was not the one that the plan had shown, and was posted to all the same."""
    made = stage(OPEN + '[invoice]\nbehavior = "latest"\nwhen_latest_closed = "new"\n')
    made.month("2026-10", made.charge(M365, 1, 22))
    made.office.run("run", "2026-10", "--yes").must()
    made.month("2026-11", made.charge(M365, 1, 22))
    plan = made.office.plan("2026-11")
    target = plan["clients"][0]["target_invoice_id"]
    if target is None:
        pytest.skip("the stage's latest invoice is closed")
    line = made.invoice(target)["lines"][0]["id"]
    made.edit(target, line, item_shortdescription="Edited by Jane")
    told = made.office.run("post", plan["digest"]).must(5)
    assert "Edited by Jane" in told.stderr


def test_RI2_a_charge_is_set_aside_and_put_back(stage: Stage) -> None:
    made = stage()
    made.month("2026-11", made.charge(M365, 1, 22), made.charge(BACKUP, 1, 10))
    lines = made.office.plan("2026-11")["clients"][0]["lines"]
    charge = next(line["charges"][0] for line in lines if line["amount"] == "10.00")
    made.office.run("set-aside", charge, "--reason", "ask the customer").must()
    hold = holds(made)["set_aside"]
    assert (hold["charge"], hold["amount"]) == (charge, "10.00") and "ask the customer" in hold["detail"]
    assert [one["amount"] for one in made.office.run("run", "2026-11", "--yes", "--json").must(3).json["postings"]] == [
        "22.00"
    ]
    follow(made, hold)
    assert holds(made) == {}


def test_A4_an_unknown_type_can_be_billed_as_said(stage: Stage) -> None:
    made = stage()
    made.month("2026-11", made.charge(M365, 1, 22, type="usage"))
    follow(made, holds(made)["unknown_charge_type"])
    assert holds(made) == {}


def test_A3_usage_of_nobody_is_billed_to_whom_a_person_names(stage: Stage) -> None:
    made = stage()
    made.month(
        "2026-11",
        made.charge(M365, 1, 22),
        made.charge(BACKUP, 1, 48, companyId=None, companyName=None, externalId=None),
    )
    follow(made, holds(made)["no_company"], CLIENT='"Contoso Ltd"')
    plan = made.office.plan("2026-11")
    assert [client["amount"] for client in plan["clients"]] == ["70.00"] and holds(made) == {}


def test_R5_one_client_of_a_run_is_undone_alone(stage: Stage) -> None:
    made = stage()
    made.month("2026-11", made.charge(M365, 1, 22), made.charge(BACKUP, 1, 10, client=216))
    run = made.office.run("run", "2026-11", "--yes", "--json").must().json["run"]
    told = made.office.run("undo", run, "--client", "Contoso Ltd", "--yes", "--json").must().json
    assert [one["client_id"] for one in told["postings"]] == [214]
    assert [client["client_id"] for client in made.office.plan("2026-11")["clients"]] == [214]


def test_R5_the_step_after_an_undo_of_one_client_undoes_nobody_else(stage: Stage) -> None:
    made = stage()
    made.month("2026-11", made.charge(M365, 1, 22), made.charge(BACKUP, 1, 10, client=216))
    told = made.office.run("run", "2026-11", "--yes", "--json").must().json
    invoice = next(one["invoice_id"] for one in told["postings"] if one["client_id"] == 214)
    made.sandbox.person(do="close", id=invoice, how="sent")
    words = ("undo", told["run"], "--client", "Contoso Ltd")
    dry = made.office.run(*words, "--dry-run", "--json").must(5).json["next_steps"]
    assert dry == [["billingsync", *words]]
    refused = made.office.run(*words, "--yes", "--json").must(5).json["next_steps"]
    assert refused[0] == ["billingsync", *words, "--credit"]
    credited = made.office.run(*refused[0][1:], "--yes", "--json").must().json["postings"]
    assert [(one["client_id"], one["credit_needed"]["amount"]) for one in credited] == [(214, "0.00")]
    assert [client["client_id"] for client in made.office.plan("2026-11")["clients"]] == [214]


def test_R5_a_charge_that_was_dropped_by_mistake_is_freed_alone(stage: Stage) -> None:
    made = stage(OPEN + '[exclude]\nproducts = ["' + BACKUP + '"]\n')
    made.month("2026-11", made.charge(M365, 1, 22), made.charge(BACKUP, 1, 10))
    charge = made.office.plan("2026-11")["clients"][0]["excluded"][0]["charge"]
    made.office.run("run", "2026-11", "--yes").must()
    made.office.rules(OPEN)
    assert made.office.plan("2026-11")["clients"] == []
    made.office.run("free", charge, "--reason", "a mistake").must()
    assert [client["amount"] for client in made.office.plan("2026-11")["clients"]] == ["10.00"]
