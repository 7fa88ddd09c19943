"""What Pax8's invoices say over months: items that change after they were billed [S9], the same on two invoices [S10],
credits and re-issues in another month [R2]. HaloPSA's tables are the judge."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from cli import balanced, billed
from scene import BACKUP, M365, SETUP, Scene, total

Stage = Callable[..., Scene]
NOV, OCT, DEC = "2026-11", "2026-10", "2026-12"


def follow_step(made: Scene, plan: dict[str, Any], reason: str) -> None:
    """Types what the plan's one true-up prints as its first step."""
    (up,) = plan["true_ups"]
    words = [reason if word == "TEXT" else word for word in up["ways"][0]["command"]]
    assert words[0] == "billingsync"
    made.office.run(*words[1:]).must(0)


def pays(made: Scene, client: int = 214) -> Decimal:
    """What HaloPSA's invoices of a client come to, ours only."""
    return sum((price for price, _ in billed(made.sandbox).get(client, ())), Decimal(0))


def holds(document: dict[str, Any]) -> dict[str, str]:
    """Charge -> reason."""
    every = [*document["clients"], document["unassigned"]]
    return {hold["charge"]: hold["reason"] for one in every for hold in one["holds"]}


def invoice(made: Scene, invoice_id: str) -> dict[str, Any]:
    return next(row for row in made.sandbox.pax8.invoices if row["id"] == invoice_id)


def seats(made: Scene, quantity: int = 10, price: str = "21.00", **said: Any) -> dict[str, Any]:
    return made.charge(M365, quantity, price, **({"sub": "s1"} | said))


def run(made: Scene, period: str, *codes: int) -> Any:
    return made.office.run("run", period, "--yes", "--json").must(*codes).json


# --- [S9] --------------------------------------------------------------------------------------------------------


def again_with_other_ids(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["id"] = f"other-{row['id']}"


def test_case_2_the_same_items_under_other_ids_are_not_billed_again(stage: Stage) -> None:
    made = stage()
    charges = [seats(made), made.charge(BACKUP, 3, client=216), made.charge(SETUP, 1, client=217)]
    made.month(NOV, *charges, invoice="A")
    run(made, NOV, 0)
    before = billed(made.sandbox)
    again_with_other_ids(made.sandbox.pax8.items["A"])
    told = run(made, NOV, 3)
    assert told["postings"] == [] and billed(made.sandbox) == before
    plan = made.office.plan(NOV)
    assert set(holds(plan).values()) == {"source_changed"} and len(holds(plan)) == 3
    balanced(plan)
    assert {up["net"]["amount"] for up in plan["true_ups"]} == {"0.00"}


def change_amount(rows: list[dict[str, Any]]) -> None:
    rows[0]["quantity"], rows[0]["total"], rows[0]["subTotal"] = Decimal(12), Decimal("252.00"), Decimal("252.00")


def take_out(rows: list[dict[str, Any]]) -> None:
    del rows[0]


def rename_first(rows: list[dict[str, Any]]) -> None:
    again_with_other_ids(rows[:1])


def add_one(rows: list[dict[str, Any]]) -> None:
    rows.append({**rows[0], "id": "new", "subscriptionId": "s9"})


@pytest.mark.parametrize("ids", [True, False], ids=["with ids", "without ids"])
@pytest.mark.parametrize(
    ("change", "now"),
    [(change_amount, "252.00"), (take_out, "0.00"), (add_one, "420.00"), (rename_first, "210.00")],
)
def test_S9_what_an_invoice_said_stays_said_until_a_person_approves(
    stage: Stage, change: Callable[[list[dict[str, Any]]], None], now: str, ids: bool
) -> None:
    made = stage()
    made.month(NOV, seats(made), made.charge(BACKUP, 3, client=216), invoice="A")
    rows = made.sandbox.pax8.items["A"]
    for row in rows if not ids else ():
        row["id"] = None
    run(made, NOV, 0)
    others = pays(made, 216)
    change(rows)
    if not ids:
        for row in rows:
            row["id"] = None
        if change is rename_first:
            assert run(made, NOV, 0)["postings"] == [], "without ids they are the same"
            return
    assert run(made, NOV, 3)["postings"] == []
    assert pays(made) == Decimal("210.00")
    plan = made.office.plan(NOV)
    (up,) = plan["true_ups"]
    assert (up["take_back"]["amount"], up["add"]["amount"], up["state"]) == ("210.00", now, "held")
    assert "210.00" in up["detail"] and "now says" in up["detail"]
    follow_step(made, plan, "as Pax8 says")
    run(made, NOV, 0)
    assert (pays(made), pays(made, 216)) == (Decimal(now), others)
    assert run(made, NOV, 0)["postings"] == []


def test_S9_rules_that_let_true_ups_be_posted_do_not_let_a_changed_invoice(stage: Stage) -> None:
    made = stage()
    made.office.rules((made.office.folder / "rules/defaults.toml").read_text() + '[approval]\ntrue_up = "post"\n')
    made.month(NOV, seats(made), invoice="A")
    run(made, NOV, 0)
    change_amount(made.sandbox.pax8.items["A"])
    assert run(made, NOV, 3)["postings"] == [] and pays(made) == Decimal("210.00")


def test_S9_what_only_waited_may_be_corrected(stage: Stage) -> None:
    """A charge that could not be used is corrected in Pax8: that is how its hold ends."""
    made = stage()
    broken = {**made.charge(BACKUP, 3), "total": "much"}
    made.month(NOV, seats(made), broken, invoice="A")
    run(made, NOV, 3)
    made.sandbox.pax8.items["A"][1]["total"] = Decimal("30.00")
    run(made, NOV, 0)
    assert pays(made) == Decimal("240.00")


def test_S9_after_an_undo_nothing_is_billed_that_could_stay_said(stage: Stage) -> None:
    made = stage()
    made.month(NOV, seats(made), invoice="A")
    made.office.run("undo", run(made, NOV, 0)["run"], "--yes").must(0)
    change_amount(made.sandbox.pax8.items["A"])
    run(made, NOV, 0)
    assert pays(made) == Decimal("252.00")


# --- [S10] -------------------------------------------------------------------------------------------------------


def test_S10_the_same_on_two_invoices_of_a_month_is_billed_once(stage: Stage) -> None:
    made = stage()
    made.month(NOV, seats(made, 10), made.charge(SETUP, 1), invoice="A")
    made.month(NOV, seats(made, 12), made.charge(SETUP, 1), made.charge(BACKUP, 2), invoice="B")
    plan = made.office.plan(NOV)
    assert set(holds(plan).values()) == {"source_duplicate"} and {c[:2] for c in holds(plan)} == {"B:"}
    balanced(plan)
    run(made, NOV, 3)
    assert pays(made) == sum((row["total"] for row in made.sandbox.pax8.items["A"]), Decimal(0)) + Decimal(
        made.sandbox.pax8.items["B"][2]["total"]
    )
    assert run(made, NOV, 3)["postings"] == []


def test_S10_twins_on_one_invoice_and_other_service_dates_are_two(stage: Stage) -> None:
    made = stage()
    twin = seats(made)
    made.month(NOV, twin, {**twin, "id": "twin"}, invoice="A")
    made.month(NOV, seats(made, startPeriod="2026-12-01", endPeriod="2026-12-28"), invoice="B")
    run(made, NOV, 0)
    assert pays(made) == Decimal("630.00")


def test_S10_the_next_months_charge_is_no_twin(stage: Stage) -> None:
    made = stage()
    for period in (OCT, NOV):
        made.month(period, seats(made), made.charge(SETUP, 1, "5.00"))
        run(made, period, 0)
    assert pays(made) == Decimal("430.00")


def test_S10_a_twin_of_a_charge_that_another_month_billed(stage: Stage) -> None:
    """Not credited: perhaps it is meant so, which a person has to say."""
    made = stage()
    made.month(OCT, seats(made), invoice="A")
    run(made, OCT, 0)
    made.month(NOV, {**made.sandbox.pax8.items["A"][0], "id": "x"}, made.charge(BACKUP, 2, "5.00"), invoice="B")
    run(made, NOV, 3)
    plan = made.office.plan(NOV)
    assert holds(plan) == {"B:x": "source_duplicate"} and pays(made) == Decimal("220.00")
    hold = next(hold for client in plan["clients"] for hold in client["holds"])
    assert "A" in hold["detail"] and "no-duplicate" in hold["next_step"]


# --- [R2] across months ------------------------------------------------------------------------------------------


def reissued(made: Scene, period: str = NOV, **change: Any) -> None:
    """October's invoice A is credited, and comes again as B, dated in another month."""
    made.month(OCT, seats(made), invoice="A")
    run(made, OCT, 0)
    invoice(made, "A")["status"] = "Credited"
    made.month(
        period,
        *[{**copy.deepcopy(row), "id": f"b-{row['id']}", **change} for row in made.sandbox.pax8.items["A"]],
        made.charge(BACKUP, 2, "5.00", client=216),
        invoice="B",
    )


def test_case_1_a_re_issue_in_the_next_month_is_not_billed_beside_the_old(stage: Stage) -> None:
    made = stage()
    reissued(made)
    told = run(made, NOV, 3)
    assert pays(made) == Decimal("210.00") and pays(made, 216) == Decimal("10.00")
    assert [posting["client_id"] for posting in told["postings"]] == [216]
    plan = made.office.plan(NOV)
    assert set(holds(plan).values()) == {"source_duplicate"}
    (up,) = plan["true_ups"]
    assert (up["period"], up["take_back"]["amount"], up["net"]["amount"], up["state"]) == (
        OCT,
        "210.00",
        "0.00",
        "held",
    )
    october = made.office.run("plan", OCT, "--json").must(3).json
    assert [one["take_back"]["amount"] for one in october["true_ups"]] == ["210.00"]
    follow_step(made, plan, "credit of October")
    run(made, NOV, 0)
    assert pays(made) == Decimal("210.00")
    assert run(made, NOV, 0)["postings"] == []
    assert pays(made) == Decimal("210.00")


@pytest.mark.parametrize("status", ["Void", "gone"])
def test_R2_void_and_listed_no_more_are_as_credited(stage: Stage, status: str) -> None:
    made = stage()
    reissued(made)
    if status == "gone":
        made.sandbox.pax8.invoices.remove(invoice(made, "A"))
    else:
        invoice(made, "A")["status"] = status
    run(made, NOV, 3)
    assert pays(made) == Decimal("210.00")


def test_R2_a_re_issue_with_another_amount_shows_the_net(stage: Stage) -> None:
    made = stage()
    reissued(made, quantity=Decimal(12), total=Decimal("252.00"), subTotal=Decimal("252.00"))
    plan = made.office.plan(NOV)
    assert [up["net"]["amount"] for up in plan["true_ups"]] == ["42.00"]
    follow_step(made, plan, "more seats")
    run(made, NOV, 0)
    assert pays(made) == Decimal("252.00")


def test_R2_a_credit_of_an_old_month_stands_in_every_later_plan_while_the_rest_goes_on(stage: Stage) -> None:
    made = stage()
    made.month(OCT, seats(made), invoice="A")
    run(made, OCT, 0)
    for period in (NOV, DEC):
        made.month(period, seats(made), invoice=f"I{period}")
    run(made, NOV, 0)
    invoice(made, "A")["status"] = "Credited"
    told = run(made, DEC, 3)
    assert told["postings"], "December's own charges are billed"
    assert pays(made) == Decimal("630.00")
    for period in (NOV, DEC):
        plan = made.office.plan(period)
        assert [(up["period"], up["take_back"]["amount"]) for up in plan["true_ups"]] == [(OCT, "210.00")]
    follow_step(made, plan, "credit only")
    run(made, DEC, 0)
    assert pays(made) == Decimal("420.00")


def test_R2_the_credit_of_a_month_without_another_invoice_can_be_settled_in_its_own_plan(stage: Stage) -> None:
    made = stage()
    made.month(OCT, seats(made), invoice="A")
    run(made, OCT, 0)
    invoice(made, "A")["status"] = "Credited"
    plan = made.office.run("plan", OCT, "--json").must(3).json
    balanced(plan)
    follow_step(made, plan, "nothing in its place")
    run(made, OCT, 0)
    assert pays(made) == Decimal(0)


def test_R2_two_re_issues_are_billed_once(stage: Stage) -> None:
    made = stage()
    reissued(made)
    made.month(
        NOV, *[{**copy.deepcopy(row), "id": f"c-{row['id']}"} for row in made.sandbox.pax8.items["A"]], invoice="C"
    )
    plan = made.office.plan(NOV)
    follow_step(made, plan, "credit of October")
    run(made, NOV, 3)
    assert pays(made) == Decimal("210.00")


def test_R2_rules_may_allow_a_true_up_of_an_older_month_once_its_replacement_is_there(stage: Stage) -> None:
    made = stage()
    made.office.rules((made.office.folder / "rules/defaults.toml").read_text() + '[approval]\ntrue_up = "post"\n')
    reissued(made)
    run(made, NOV, 0)
    assert pays(made) == Decimal("210.00")


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_R2_across_periods_on_the_latest_invoice(stage: Stage, closed: bool) -> None:
    """What stands on a closed invoice is credited by one of our own, to which nothing is ever appended [B2]."""
    made = stage()
    made.office.rules('[client]\nhalo_client = 214\n[invoice]\nbehavior = "latest"\n', "clients/contoso.toml")
    for row in [row for row in made.sandbox.halo.invoices.values() if row["client_id"] == 214]:
        made.sandbox.halo.delete("invoices", row["id"])
    first = by_hand(made, "2026-10-02")
    reissued(made, quantity=Decimal(12), total=Decimal("252.00"), subTotal=Decimal("252.00"))
    assert total(made.invoice(first)) == Decimal("210.00")
    if closed:
        made.sandbox.person(do="close", id=first, how="sent")
    by_hand(made, "2026-11-02")
    plan = made.office.plan(NOV)
    (up,) = plan["true_ups"]
    assert (up["take_back"]["amount"], up["add"]["amount"], up["net"]["amount"]) == ("210.00", "252.00", "42.00")
    follow_step(made, plan, "more seats")
    told = made.office.run("run", NOV, "--yes", "--json").must(0, 3).json
    if told["holds"]:
        assert {hold["reason"] for hold in told["holds"]} == {"latest_closed"}
        by_hand(made, "2026-11-30")
    run(made, NOV, 0)
    assert pays(made) == Decimal("252.00")
    credits = [row for row in made.sandbox.halo.invoices.values() if row["client_id"] == 214 and total(row) < 0]
    assert [total(row) for row in credits] == ([Decimal("-210.00")] if closed else [])


@pytest.mark.parametrize("replaced", [True, False], ids=["re-issued", "nothing in its place"])
def test_R2_what_stood_on_a_latest_invoice_that_is_closed_is_settled_by_the_printed_step(
    stage: Stage, replaced: bool
) -> None:
    """The credit is an invoice of our own, and so is what comes instead: the closed one takes no more."""
    made = stage()
    made.office.rules('[client]\nhalo_client = 214\n[invoice]\nbehavior = "latest"\n', "clients/contoso.toml")
    made.month(NOV, seats(made), invoice="A")
    (posting,) = run(made, NOV, 0)["postings"]
    made.sandbox.person(do="close", id=posting["invoice_id"], how="sent")
    invoice(made, "A")["status"] = "Credited"
    if replaced:
        made.month(NOV, seats(made, 12), invoice="B")
    plan = made.office.plan(NOV)
    (up,) = plan["true_ups"]
    assert (up["take_back"]["amount"], up["add"]["amount"]) == ("210.00", "252.00" if replaced else "0.00")
    follow_step(made, plan, "as Pax8 says")
    told = run(made, NOV, 0)
    assert told["holds"] == [] and [one["action"] for one in told["postings"]] == ["create"] * replaced
    rows = [row for row in made.sandbox.halo.invoices.values() if row["client_id"] == 214]
    assert sum(total(row) for row in rows) == (252 if replaced else 0)
    if replaced:
        assert run(made, NOV, 0)["postings"] == []
        made.month(DEC, seats(made, 1))
        run(made, DEC, 0)
        assert min(total(row) for row in made.sandbox.halo.invoices.values()) == Decimal("-210.00"), (
            "the credit as it was"
        )


def by_hand(made: Scene, day: str) -> int:
    """A person opens an invoice for Contoso."""
    rows = made.sandbox._world.halo.invoices
    row = rows.save("invoices", {"client_id": 214, "invoice_date": f"{day}T12:00:00", "lines": []}, "")
    return int(row["id"])
