"""Undo of a credit [R5]: it takes the credit back, so that the invoice that it credited bills again, or says that it did
not and what to do. Never are both gone, and never is what it credited billed beside something in its place."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from months_rules import BASE
from scene import M365, Scene, total

NEW = '[client]\nhalo_client = 214\n[invoice]\nbehavior = "new"\n'
RECURRING = '[client]\nhalo_client = 214\n[invoice]\nbehavior = "recurring"\nrecurring_invoice = 201\n'
NOV = "2026-11"


def undo(made: Scene, run: str, *more: str, code: int = 0) -> Any:
    (posting,) = made.office.run("undo", run, "--yes", "--json", *more).must(code).json["postings"]
    return posting


def run(made: Scene, code: int = 0) -> Any:
    return made.office.run("run", NOV, "--yes", "--json").must(code).json


def newest_run(made: Scene) -> str:
    return made.office.run("runs", "--json").must().json["runs"][0]["run"]


def net(made: Scene) -> Decimal:
    """What Contoso is invoiced by us, credits and all."""
    rows = made.sandbox.halo.invoices.values()
    return sum((total(row) for row in rows if row["client_id"] == 214 and not row["voided"]), Decimal(0))


def billed(made: Scene) -> tuple[str, int]:
    """Ten seats of 22.00 on an invoice that is closed: the run, and the invoice."""
    made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"), invoice="A")
    told = run(made)
    (posting,) = told["postings"]
    invoice = posting["invoice_id"] if posting["invoice_id"] > 0 else made.sandbox.make(-201)["id"]
    made.sandbox.person(do="close", id=invoice, how="posted")
    return told["run"], invoice


def credited(made: Scene) -> tuple[str, str, int]:
    """That invoice credited by an undo: the first run, the run of the credit, and the credit's invoice."""
    first, _ = billed(made)
    credit = undo(made, first, "--credit")["credit_invoice"]
    assert net(made) == 0
    return first, newest_run(made), credit


@pytest.mark.parametrize("client", [NEW, RECURRING], ids=["new", "recurring"])
def test_R5_undo_of_a_credit_takes_it_back_and_the_invoice_bills_again(contoso, client: str) -> None:
    made = contoso(client, schedule="off")
    first, run_of_credit, credit = credited(made)
    told = undo(made, run_of_credit)
    assert (told["outcome"], told["invoice"]) == ("undone", "deleted")
    assert credit not in made.sandbox.halo.invoices and net(made) == Decimal("220.00")
    again = run(made)
    assert again["postings"] == [] and again["equation"]["USD"]["price"]["already_posted"] == "220.00"
    states = {one["run"]: one["state"] for one in made.office.run("runs", "--json").must().json["runs"]}
    assert (states[first], states[run_of_credit]) == ("complete", "undone")
    made.office.run("audit", "verify").must()
    anew = undo(made, first, "--credit")["credit_invoice"]  # and it can be credited once more
    assert anew not in (None, credit) and net(made) == 0
    undo(made, newest_run(made))
    assert net(made) == Decimal("220.00")
    made.office.run("audit", "verify").must()


def test_R5_a_credit_on_a_closed_invoice_stays_until_it_is_void_as_undo_says(contoso) -> None:
    made = contoso(NEW)
    _, run_of_credit, credit = credited(made)
    made.sandbox.person(do="close", id=credit, how="posted")
    told = undo(made, run_of_credit, code=3)
    assert told["outcome"] == "kept" and f"its invoice {credit}" in told["problem"]
    assert f"void it in HaloPSA, then billingsync undo {run_of_credit} again" in told["problem"]
    assert net(made) == 0
    made.sandbox.person(do="close", id=credit, how="voided")
    assert undo(made, run_of_credit)["outcome"] == "undone"
    assert (net(made), run(made)["postings"]) == (Decimal("220.00"), [])


def test_R5_a_credit_stays_while_what_it_credits_is_billed_again(contoso) -> None:
    made = contoso(NEW)
    _, run_of_credit, _ = credited(made)
    second = run(made)["run"]
    assert net(made) == Decimal("220.00")
    told = undo(made, run_of_credit, code=3)
    found = re.search(r"billingsync undo (\S+) first", told["problem"])
    assert told["outcome"] == "kept" and found is not None and found[1] == second
    undo(made, found[1])
    assert net(made) == 0
    undo(made, run_of_credit)
    assert (net(made), run(made)["postings"]) == (Decimal("220.00"), [])


def test_R5_the_credit_of_a_true_up_stays_while_the_new_invoice_is_billed(contoso) -> None:
    made = contoso(NEW, rules=BASE + '[approval]\ntrue_up = "post"\n')
    billed(made)
    made.sandbox.pax8.invoices[-1]["status"] = "Credited"
    made.month(NOV, made.charge(M365, 10, "23.00", sub="s-1"), invoice="B")
    told = run(made)
    credit = told["taken_back"][0]["credit_invoice"]
    assert net(made) == Decimal("230.00")
    runs = [one["run"] for one in made.office.run("runs", "--json").must().json["runs"]]
    (of_credit,) = [one for one in runs if credit in _invoices(made, one)]
    kept = undo(made, of_credit, code=3)
    assert kept["outcome"] == "kept" and f"billingsync undo {told['run']} first" in kept["problem"]
    assert net(made) == Decimal("230.00")


def _invoices(made: Scene, run: str) -> list[int]:
    return [one["invoice_id"] for one in made.office.run("show", run, "--json").must().json["postings"]]


def test_R5_a_credit_that_a_person_changed_stays(contoso) -> None:
    made = contoso(NEW)
    _, run_of_credit, credit = credited(made)
    line = made.invoice(credit)["lines"][0]
    made.edit(credit, line["id"], unit_price=Decimal("-20.00"), baseprice=Decimal("-20.00"))
    told = undo(made, run_of_credit, code=3)
    assert told["outcome"] == "kept" and "a person changed its invoice" in told["problem"]
    assert net(made) == Decimal("20.00")
