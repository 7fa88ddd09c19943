"""A company has left only once Pax8's invoice of the same `partnerName` that billed it last is there [B8]."""

from __future__ import annotations

from decimal import Decimal

import pytest
from scene import M365, SETUP, Scene, ours, total

TEMPLATE = -201
NOV, DEC = "2026-11", "2026-12"


def run(made: Scene, month: str, code: int = 0) -> dict:
    return made.office.run("run", month, "--yes", "--json").must(code).json


def release(made: Scene, month: str, partner: str, *charges: dict) -> None:
    """One invoice of the month, of this partner name."""
    made.month(month, *charges)
    made.sandbox.pax8.invoices[-1]["partnerName"] = partner


def parent(made: Scene, month: str) -> None:
    """The invoice that never has Contoso."""
    release(made, month, "Parent", made.charge(M365, 1, "22.00", client=216, sub="s-9"))


def billed_by_child(made: Scene) -> None:
    """November: Contoso is on the child's invoice, with seats and something once; HaloPSA has invoiced both."""
    parent(made, NOV)
    once = made.charge(SETUP, 1, "90.00", type="one-time")
    release(made, NOV, "Child", made.charge(M365, 10, "22.00", sub="s-1"), once)
    run(made, NOV)
    made.sandbox.make(TEMPLATE)


def standing(made: Scene) -> Decimal:
    return total(made.invoice(TEMPLATE))


def test_B8_a_company_whose_invoice_may_still_come_keeps_its_lines_and_it_is_told(contoso) -> None:
    made = contoso(schedule="off")
    billed_by_child(made)
    parent(made, DEC)
    told = run(made, DEC, 3)
    (hold,) = told["holds"]
    assert (hold["reason"], hold["company_name"], hold["amount"]) == ("recurring_left_behind", "Contoso Ltd", "0.00")
    assert "Pax8's invoice of 'Child', which billed it in 2026-11, is not there yet: 220.00 USD stays" in hold["detail"]
    assert told["state"] == "held"
    assert standing(made) == Decimal("220.00")  # what was once came off all the same [B7]
    assert "220.00 USD stays on recurring invoice 201" in " ".join(made.office.plan(DEC)["left"])
    release(made, DEC, "Child", made.charge(M365, 12, "22.00", sub="s-1"))
    told = run(made, DEC)
    assert (told["state"], told["holds"], standing(made)) == ("complete", [], Decimal("264.00"))


@pytest.mark.parametrize("step", ["it comes without the company", "leave it out"])
def test_B8_each_printed_step_ends_it(contoso, step: str) -> None:
    made = contoso(schedule="off")
    billed_by_child(made)
    parent(made, DEC)
    run(made, DEC, 3)
    (hold,) = made.office.run("holds", DEC, "--json").must(3).json["holds"]
    ways = [way["text"] for way in hold["ways"]]
    if step == "leave it out":
        assert 'billingsync map companies --exclude "Contoso Ltd"' in ways
        made.office.run("map", "companies", "--exclude", "Contoso Ltd").must()
    else:
        assert f"wait for Pax8's invoice of 'Child', then run {DEC} again" in ways
        release(made, DEC, "Child", made.charge(M365, 1, "22.00", client=217, sub="s-8"))
    told = run(made, DEC)
    assert (told["state"], told["holds"], ours(made.invoice(TEMPLATE))) == ("complete", [], [])


def test_B8_a_company_has_left_once_the_invoice_that_billed_it_is_there(contoso) -> None:
    made = contoso(schedule="off")
    billed_by_child(made)
    parent(made, DEC)
    release(made, DEC, "Child", made.charge(M365, 1, "22.00", client=217, sub="s-8"))
    assert run(made, DEC)["state"] == "complete"
    assert ours(made.invoice(TEMPLATE)) == []


def test_B8_an_invoice_that_is_void_is_not_there(contoso) -> None:
    made = contoso(schedule="off")
    billed_by_child(made)
    parent(made, DEC)
    release(made, DEC, "Child", made.charge(M365, 1, "22.00", client=217, sub="s-8"))
    made.sandbox.pax8.invoices[-1]["status"] = "Void"
    run(made, DEC, 3)
    assert standing(made) == Decimal("220.00")


def test_B8_without_a_name_a_company_without_charges_has_left(contoso) -> None:
    """As of sources that know no partner names, and of what an earlier version billed."""
    made = contoso(schedule="off")
    release(made, NOV, "", made.charge(M365, 10, "22.00", sub="s-1"))
    run(made, NOV)
    made.sandbox.make(TEMPLATE)
    parent(made, DEC)
    assert run(made, DEC)["state"] == "complete"
    assert ours(made.invoice(TEMPLATE)) == []


def test_B8_a_company_on_two_invoices_waits_for_both(contoso) -> None:
    made = contoso(schedule="off")
    other = made.charge(M365, 1, "22.00", client=216, sub="s-9")
    release(made, NOV, "Parent", other, made.charge(M365, 2, "22.00", sub="s-2"))
    release(made, NOV, "Child", made.charge(M365, 10, "22.00", sub="s-1"))
    run(made, NOV)
    made.sandbox.make(TEMPLATE)
    parent(made, DEC)
    run(made, DEC, 3)
    assert standing(made) == Decimal("264.00")


def test_B8_a_company_of_which_this_month_was_taken_back_is_not_waited_for(contoso) -> None:
    """A person approved a credit with nothing in its place: HaloPSA must not bill last month's lines again."""
    made = contoso(schedule="off")
    billed_by_child(made)
    parent(made, DEC)
    release(made, DEC, "Child", made.charge(M365, 12, "22.00", sub="s-1"))
    run(made, DEC)
    made.sandbox.pax8.invoices[-1]["status"] = "Void"
    digest = run(made, DEC, 3)["digest"]
    words = ("--client", "Contoso Ltd", "--as", "credit-only", "--reason", "void")
    made.office.run("approve", digest[:12], *words).must()
    run(made, DEC)
    assert ours(made.invoice(TEMPLATE)) == []


def test_B8_an_invoice_that_billed_something_once_is_not_waited_for(contoso) -> None:
    made = contoso(schedule="off")
    other = made.charge(M365, 1, "22.00", client=216, sub="s-9")
    release(made, NOV, "Parent", other, made.charge(M365, 10, "22.00", sub="s-1"))
    release(made, NOV, "Child", made.charge(SETUP, 1, "90.00", type="one-time"))
    run(made, NOV)
    made.sandbox.make(TEMPLATE)
    parent(made, DEC)
    assert run(made, DEC)["state"] == "complete"
    assert ours(made.invoice(TEMPLATE)) == []
