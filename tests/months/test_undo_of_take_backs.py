"""A month that Pax8 voided whole and that was taken back off a recurring invoice: what stands there of the month before,
which HaloPSA has billed, comes off, whatever was undone or died in between [B8] [R2] [R5] [N4]."""

from __future__ import annotations

import shlex
from decimal import Decimal
from typing import Any

import pytest
from bench import Bench
from months_rules import BASE
from scene import BACKUP, M365, SETUP, Scene, texts, total

TEMPLATE = -201
NOV, DEC, JAN = "2026-11", "2026-12", "2027-01"
CAREFUL = BASE.replace("missing_company_percent_max = 100\n", "")
ITSELF = BASE + '[approval]\nauto_post = "within_limits"\n'


def run(made: Scene, month: str, code: int = 0) -> Any:
    return made.office.run("run", month, "--yes", "--json").must(code).json


def billed(made: Scene, client: int = 214) -> Decimal:
    rows = made.sandbox.halo.invoices.values()
    return sum((total(row) for row in rows if row["client_id"] == client and not row["voided"]), Decimal(0))


def settle(made: Scene, period: str) -> str:
    """Types the printed step of the month's one true-up, and runs it. Gives the run."""
    (up,) = made.office.run("plan", period, "--json").must(3).json["true_ups"]
    made.office.run(*shlex.split(up["next_step"].replace("TEXT", "seen"))[1:]).must()
    return str(run(made, period)["run"])


def voided(made: Scene, *more: dict[str, Any]) -> str:
    """November, which HaloPSA invoiced, then December, which waits and is void at Pax8; the run that took it back."""
    made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"), *more)
    run(made, NOV)
    made.sandbox.make(TEMPLATE)
    made.month(DEC, made.charge(M365, 12, "22.00", sub="s-1"))
    run(made, DEC)
    made.sandbox.pax8.invoices[-1]["status"] = "Void"
    run(made, DEC, 3)
    return settle(made, DEC)


@pytest.mark.parametrize("gone", ["void", "not listed"])
@pytest.mark.parametrize("rules", [BASE, CAREFUL], ids=["no limit", "missing companies are limited"])
def test_R5_last_months_line_comes_off_again_after_the_undo_of_a_credit_only_run(contoso, rules, gone) -> None:
    made = contoso(schedule="off", rules=rules)
    of_credit = voided(made)
    if gone == "not listed":
        made.sandbox.pax8.invoices.pop()
    assert texts(made.invoice(TEMPLATE)) == []
    undone = made.office.run("undo", of_credit, "--yes", "--json").must().json
    made.office.run(*undone["next_steps"][0][1:]).must()
    told = run(made, DEC)
    assert (told["state"], len(told["postings"])) == ("complete", 1)
    assert texts(made.invoice(TEMPLATE)) == []
    made.office.run("run", DEC, "--yes").must(4)  # nothing is left to look after
    made.sandbox.make(TEMPLATE)
    assert billed(made) == Decimal("220.00")


@pytest.mark.parametrize("by_itself", [False, True], ids=["run by hand", "run by the worker"])
def test_R5_the_worker_takes_it_off_too(contoso, by_itself: bool) -> None:
    made = contoso(schedule="off", rules=ITSELF)
    worker = Bench(made.office, start="2026-12-05T09:00")

    def cycle() -> None:
        worker.turn(hours=25)
        worker.cycle()

    if by_itself:
        made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"))
        run(made, NOV)
        made.sandbox.make(TEMPLATE)
        made.month(DEC, made.charge(M365, 12, "22.00", sub="s-1"))
        cycle()
        made.sandbox.pax8.invoices[-1]["status"] = "Void"
        cycle()
        (up,) = made.office.run("plan", DEC, "--json").must(3).json["true_ups"]
        made.office.run(*shlex.split(up["next_step"].replace("TEXT", "seen"))[1:]).must()
        of_credit = run(made, DEC)["run"]
        cycle()
    else:
        of_credit = voided(made)
        cycle()
    assert texts(made.invoice(TEMPLATE)) == []
    made.office.run("undo", of_credit, "--yes").must()
    assert texts(made.invoice(TEMPLATE)) == ["10 x 22.00 Microsoft 365 Business Premium"]
    cycle()
    assert texts(made.invoice(TEMPLATE)) == []
    cycle()
    made.sandbox.make(TEMPLATE)
    assert billed(made) == Decimal("220.00")


def test_B8_a_line_that_a_limit_keeps_on_the_template_is_told_and_comes_off_once_approved(contoso) -> None:
    """The month's charges are posted, and only then is a company gone: no charge of it could say that it waits."""
    made = contoso(schedule="off", rules=CAREFUL)
    made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"), made.charge(M365, 1, "9.00", client=216))
    run(made, NOV)
    made.sandbox.make(TEMPLATE)
    made.month(DEC, made.charge(M365, 1, "9.00", client=216))
    while holds := run(made, DEC, 3)["holds"]:
        assert {one["reason"] for one in holds} == {"limit_missing_companies"}
        assert any("should come off" in one["detail"] for one in holds)
        assert texts(made.invoice(TEMPLATE)) == ["10 x 22.00 Microsoft 365 Business Premium"]
        made.office.run(*shlex.split(holds[-1]["next_step"].replace("TEXT", "seen"))[1:]).must()
        if len(holds) == 1:
            break
    assert run(made, DEC)["state"] == "complete"
    assert texts(made.invoice(TEMPLATE)) == []


def test_R5_undo_says_that_what_the_run_took_back_stays_so_and_how_its_credit_is_taken_back(contoso) -> None:
    """December was invoiced too, so it was credited on an invoice of ours, and then its line came off."""
    made = contoso(schedule="off")
    made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"))
    run(made, NOV)
    made.sandbox.make(TEMPLATE)
    made.month(DEC, made.charge(M365, 12, "22.00", sub="s-1"))
    run(made, DEC)
    made.sandbox.make(TEMPLATE)
    made.sandbox.pax8.invoices[-1]["status"] = "Void"
    run(made, DEC, 3)
    of_december = settle(made, DEC)
    assert (billed(made), texts(made.invoice(TEMPLATE))) == (Decimal("220.00"), [])
    (stays,) = made.office.run("undo", of_december, "--yes", "--json").must().json["stays_taken_back"]
    assert (stays["client_name"], stays["amount"]) == ("Contoso Ltd", "264.00")
    said = " ".join(made.office.run("undo", of_december, "--yes").must().stdout.split())
    assert f"Contoso Ltd (264.00 USD) stays taken back: billingsync undo {stays['credit_run']}" in said
    run(made, DEC)  # the line that the undo put back comes off again
    assert (billed(made), texts(made.invoice(TEMPLATE))) == (Decimal("220.00"), [])
    made.office.run("undo", stays["credit_run"], "--yes").must()
    assert billed(made) == Decimal("484.00")
    settle(made, DEC)
    assert (billed(made), texts(made.invoice(TEMPLATE))) == (Decimal("220.00"), [])
    made.office.run("audit", "verify").must()


@pytest.mark.parametrize("back", [True, False], ids=["it is billed again", "it is gone"])
@pytest.mark.parametrize("void", [True, False], ids=["void", "no charge"])
def test_R5_under_a_later_month_no_line_that_came_off_is_put_back(contoso, void: bool, back: bool) -> None:
    made = contoso(schedule="off")
    if void:
        of_december = voided(made)
    else:
        made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"))
        run(made, NOV)
        made.sandbox.make(TEMPLATE)
        made.month(DEC, made.charge(M365, 1, "9.00", client=216))
        of_december = str(run(made, DEC)["run"])
    assert texts(made.invoice(TEMPLATE)) == []
    if not back:
        made.month(JAN, made.charge(SETUP, 1, "5.00", sub="s-2"))
    else:
        made.month(JAN, made.charge(M365, 11, "22.00", sub="s-1"))
    run(made, JAN)
    stands = texts(made.invoice(TEMPLATE))
    told = made.office.run("undo", of_december, "--client", "214", "--yes", "--json").must(3).json["postings"]
    assert [one["outcome"] for one in told] == ["kept"]
    assert "stays off" in told[0]["lines"][0]["why"]
    assert texts(made.invoice(TEMPLATE)) == stands and len(stands) == 1
    made.office.run("audit", "verify").must()


NEW = '[client]\nhalo_client = 214\n[invoice]\nbehavior = "new"\n'
ON_A_TEMPLATE = '[client]\nhalo_client = 214\n[invoice]\nbehavior = "recurring"\nrecurring_invoice = 201\n'


@pytest.mark.parametrize("client", [NEW, ON_A_TEMPLATE], ids=["new", "recurring"])
def test_R5_the_worker_leaves_what_a_person_undid_and_says_so(contoso, client: str) -> None:
    made = contoso(client, schedule="off", rules=ITSELF)
    worker = Bench(made.office, start="2026-11-05T09:00")
    made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"), made.charge(M365, 1, "9.00", client=216))
    worker.cycle()
    (of_worker,) = made.office.run("runs", "--json").must().json["runs"]

    def standing() -> Decimal:
        rows = [*made.sandbox.halo.invoices.values(), *made.sandbox.halo.recurring.values()]
        return sum((total(row) for row in rows if row["client_id"] == 214), Decimal(0))

    assert standing() == Decimal("220.00")
    undone = made.office.run("undo", of_worker["run"], "--client", "Contoso Ltd", "--yes").must()
    assert "only by a person's command" in " ".join(undone.stdout.split())
    for _ in range(2):
        worker.turn(hours=25)
        worker.cycle()
        assert standing() == 0
        assert worker.state(NOV) == "ready"
    (notice,) = [one for one in worker.notices if "undone" in one.title]
    assert "Contoso Ltd" in notice.title
    made.month(NOV, made.charge(M365, 1, "5.00", client=216, sub="late"))  # others are billed on
    worker.turn(hours=25)
    worker.cycle()
    assert (standing(), billed(made, 216)) == (0, Decimal("14.00"))
    made.office.run(*notice.steps[-1][1:], "--yes").must()
    assert standing() == Decimal("220.00")
    worker.turn(hours=25)
    worker.cycle()
    assert worker.state(NOV) == "done" and standing() == Decimal("220.00")


@pytest.mark.parametrize("client", [NEW, ON_A_TEMPLATE], ids=["new", "recurring"])
def test_R5_the_worker_leaves_what_was_undone_in_part(contoso, client: str) -> None:
    """A line that a person edited stays, the others are taken out."""
    made = contoso(client, schedule="off", rules=ITSELF)
    worker = Bench(made.office, start="2026-11-05T09:00")
    made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"), made.charge(BACKUP, 1, "9.00", sub="s-2"))
    worker.cycle()
    (of_worker,) = made.office.run("runs", "--json").must().json["runs"]
    invoice = TEMPLATE if client == ON_A_TEMPLATE else made.latest(214)["id"]
    line = next(one for one in made.invoice(invoice)["lines"] if "Backup" in one["item_shortdescription"])
    made.edit(invoice, line["id"], unit_price=Decimal("8.00"), baseprice=Decimal("8.00"))

    def standing() -> Decimal:
        rows = [*made.sandbox.halo.invoices.values(), *made.sandbox.halo.recurring.values()]
        return sum((total(row) for row in rows if row["client_id"] == 214), Decimal(0))

    made.office.run("undo", of_worker["run"], "--yes").must(3)
    assert standing() == Decimal("8.00")
    for _ in range(2):
        worker.turn(hours=25)
        worker.cycle()
        assert standing() == Decimal("8.00")


def test_R5_the_worker_leaves_what_was_undone_to_people_also_where_another_client_pays_since(contoso) -> None:
    made = contoso("", schedule="off", rules=ITSELF)
    worker = Bench(made.office, start="2026-11-05T09:00")
    made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"))
    worker.cycle()
    (of_worker,) = made.office.run("runs", "--json").must().json["runs"]
    made.office.run("undo", of_worker["run"], "--yes").must()
    made.office.run("map", "companies", "--set", f"{made.company(214).company_id}=216").must()
    for _ in range(2):
        worker.turn(hours=25)
        worker.cycle()
        assert billed(made, 216) == billed(made) == 0
    made.office.run("run", NOV, "--yes").must()
    assert (billed(made, 216), billed(made)) == (Decimal("220.00"), 0)
    worker.turn(hours=25)
    worker.cycle()
    assert worker.state(NOV) == "done"
    assert (billed(made, 216), billed(made)) == (Decimal("220.00"), 0)
