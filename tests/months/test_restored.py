"""A ledger that was put back to an older copy [N6]: what it forgot is adopted, whatever happened since, and where it
cannot be, what is printed ends it. HaloPSA's tables are the judge."""

from __future__ import annotations

import shutil
from decimal import Decimal
from typing import Any

import pytest
from months_rules import BASE
from scene import BACKUP, M365, SETUP, Scene, total

OCT, NOV = "2026-10", "2026-11"
NEW = '[client]\nhalo_client = 214\n[invoice]\nbehavior = "new"\n'
LATEST = '[client]\nhalo_client = 214\n[invoice]\nbehavior = "latest"\n'


def run(made: Scene, period: str = NOV, code: int = 0) -> Any:
    return made.office.run("run", period, "--yes", "--json").must(code).json


def backup(made: Scene) -> None:
    shutil.copy(made.office.folder / "ledger.db", made.office.folder / "backup.db")


def restore(made: Scene) -> None:
    for file in made.office.folder.glob("ledger.db*"):
        file.unlink()
    shutil.copy(made.office.folder / "backup.db", made.office.folder / "ledger.db")


def new_invoice(made: Scene) -> None:
    """A person creates one in HaloPSA: from now on it is the client's latest."""
    rows = made.sandbox._world.halo.invoices
    rows.save("invoices", {"client_id": 214, "invoice_date": "2027-01-20T12:00:00", "lines": []}, "")


def net(made: Scene) -> Decimal:
    """What Contoso is invoiced by us, credits and all."""
    rows = made.sandbox.halo.invoices.values()
    return sum((total(row) for row in rows if row["client_id"] == 214 and not row["voided"]), Decimal(0))


@pytest.mark.parametrize("client", [NEW, LATEST], ids=["new", "latest"])
def test_N6_what_two_runs_of_a_month_billed_is_adopted_run_by_run(contoso, client: str) -> None:
    made = contoso(client)
    if "latest" in client:
        new_invoice(made)
    made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"), made.charge(SETUP, 1, "90.00"), invoice="A")
    made.office.run("plan", NOV).must()
    backup(made)
    first = run(made)["postings"]
    made.month(NOV, made.charge(BACKUP, 2, "9.00", sub="s-2"), made.charge(BACKUP, 2, "9.00", sub="s-9"), invoice="B")
    second = run(made)["postings"]
    made.month(NOV, made.charge(BACKUP, 1, "7.00", sub="s-3"), invoice="C")
    before = net(made)
    restore(made)
    told = run(made)
    assert {(one["state"], one["key"]) for one in told["postings"]} >= {
        ("adopted", one["key"]) for one in (*first, *second)
    }
    assert sorted(one["state"] for one in told["postings"]) == ["adopted", "adopted", "posted"]
    assert net(made) == before + Decimal("7.00")
    made.office.run("audit", "verify").must()
    assert run(made)["postings"] == []


@pytest.mark.parametrize("again", [True, False], ids=["billed again", "not billed again"])
@pytest.mark.parametrize("client", [NEW, LATEST], ids=["new", "latest"])
def test_N6_what_was_billed_and_credited_is_adopted_with_its_credit(contoso, client: str, again: bool) -> None:
    made = contoso(client)
    if "latest" in client:
        new_invoice(made)
    made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"), made.charge(SETUP, 1, "90.00"), invoice="A")
    made.office.run("plan", NOV).must()
    backup(made)
    told = run(made)
    made.sandbox.person(do="close", id=told["postings"][0]["invoice_id"], how="posted")
    made.office.run("undo", told["run"], "--yes", "--credit").must()
    if "latest" in client:
        new_invoice(made)
    if again:
        run(made)
    invoices = len(made.sandbox.halo.invoices)
    restore(made)
    first = run(made, code=0 if again else 1)
    if not again:
        assert "run again to bill it anew" in first["postings"][0]["problem"]
        first = run(made)  # what was undone is billed again by a person's command only [R5]
    assert [one["state"] for one in first["postings"]] == ["adopted" if again else "posted"]
    assert net(made) == Decimal("310.00")
    assert len(made.sandbox.halo.invoices) == invoices + (not again and "new" in client)
    assert run(made)["postings"] == []
    made.office.run("audit", "verify").must()
    made.office.run("undo", first["run"], "--yes").must()
    assert net(made) == 0
    run(made)
    assert net(made) == Decimal("310.00")


def test_N6_what_pax8_took_back_meanwhile_and_was_credited_stops_nobody(contoso) -> None:
    made = contoso(NEW, rules=BASE + '[approval]\ntrue_up = "post"\n')
    made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"), invoice="A")
    made.office.run("plan", NOV).must()
    backup(made)
    told = run(made)
    made.sandbox.person(do="close", id=told["postings"][0]["invoice_id"], how="posted")
    made.sandbox.pax8.invoices[-1]["status"] = "Credited"
    made.month(NOV, made.charge(M365, 10, "23.00", sub="s-1"), invoice="B")
    run(made)
    assert net(made) == Decimal("230.00")
    restore(made)
    assert [one["state"] for one in run(made)["postings"]] == ["adopted"]
    assert net(made) == Decimal("230.00")
    assert run(made)["postings"] == []


def test_N6_lines_on_an_invoice_that_is_not_the_latest_any_more_are_adopted_as_they_are(contoso) -> None:
    made = contoso(LATEST)
    new_invoice(made)
    made.edit(made.latest(214)["id"], notes_2="as agreed")
    made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"), made.charge(SETUP, 1, "90.00"), invoice="A")
    made.office.run("plan", NOV).must()
    backup(made)
    first = run(made)["postings"]
    new_invoice(made)
    restore(made)
    assert [(one["state"], one["key"]) for one in run(made)["postings"]] == [("adopted", first[0]["key"])]


@pytest.mark.parametrize("client", [NEW, LATEST], ids=["new", "latest"])
def test_N6_a_ledger_from_before_last_month_says_to_bring_that_month_back_first(contoso, client: str) -> None:
    made = contoso(client)
    if "latest" in client:
        new_invoice(made)
    made.month(OCT, made.charge(M365, 10, "22.00", sub="s-1"), made.charge(SETUP, 1, "90.00"), invoice="A")
    made.office.run("plan", OCT).must()
    backup(made)
    run(made, OCT)
    made.month(NOV, made.charge(M365, 11, "22.00", sub="s-1"), invoice="B")
    run(made, NOV)
    restore(made)
    told = run(made, NOV, code=3)
    assert [one["state"] for one in told["postings"]] == ["adopted"]
    assert f"First run that month, which takes over what is there: billingsync run {OCT}" in told["message"]
    made.month(NOV, made.charge(BACKUP, 1, "7.00", sub="s-3"), invoice="C")
    (failed,) = run(made, NOV, code=1)["postings"]
    assert f"billingsync run {OCT}" in failed["problem"]
    assert [one["state"] for one in run(made, OCT)["postings"]] == ["adopted"]
    assert [one["state"] for one in run(made, NOV)["postings"]] == ["posted"]
    assert net(made) == Decimal("559.00")
    assert run(made, OCT)["postings"] == [] and run(made, NOV)["postings"] == []
    made.office.run("audit", "verify").must()


@pytest.mark.parametrize("dated", ["0001-01-01T00:00:00", "1900-01-01T00:00:00"])
def test_N6_a_forgotten_posting_on_an_invoice_without_a_date_is_held(contoso, dated: str) -> None:
    made = contoso(LATEST)
    new_invoice(made)
    made.month(OCT, made.charge(M365, 10, "22.00", sub="s-1"), invoice="A")
    made.office.run("plan", OCT).must()
    backup(made)
    invoice = run(made, OCT)["postings"][0]["invoice_id"]
    restore(made)
    made.edit(invoice, invoice_date=dated)
    made.month(NOV, made.charge(M365, 11, "22.00", sub="s-1"), invoice="B")
    (failed,) = run(made, NOV, code=1)["postings"]
    assert "billingsync run 20" in failed["problem"]
