"""An invoice that HaloPSA made from a recurring one and that a person deleted or voided since: a re-run of the month
says whom and how much, and what it says to do ends it [N5] [R6]."""

from __future__ import annotations

import re
import shlex
from decimal import Decimal
from typing import Any

import pytest
from scene import BACKUP, M365, SETUP, Scene, texts, total

TEMPLATE = -201
NOV, DEC = "2026-11", "2026-12"


def run(made: Scene, month: str, code: int = 0) -> Any:
    return made.office.run("run", month, "--yes", "--json").must(code).json


def billed(made: Scene) -> Decimal:
    rows = made.sandbox.halo.invoices.values()
    return sum((total(row) for row in rows if row["client_id"] == 214 and not row["voided"]), Decimal(0))


def november(made: Scene, *more: dict[str, Any]) -> int:
    """Seats, and what is billed once, on an invoice that HaloPSA made."""
    made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"), *more)
    run(made, NOV)
    return int(made.sandbox.make(TEMPLATE)["id"])


def remove(made: Scene, invoice: int, how: str) -> None:
    if how == "deleted":
        made.sandbox.person(do="delete", id=invoice)
    else:
        made.sandbox.person(do="close", id=invoice, how="voided")


def typed(made: Scene, told: Any) -> None:
    """The commands in what the run says, to the letter; undo asks for nothing here."""
    for command in re.findall(r"billingsync (undo .*) and then billingsync run", told["message"]):
        made.office.run(*shlex.split(command), "--yes").must()


def test_N5_what_the_template_can_bill_again_is_made_again(contoso) -> None:
    made = contoso(schedule="off")
    invoice = november(made)
    run(made, NOV)
    remove(made, invoice, "deleted")
    said = run(made, NOV, 3)["message"]
    assert f"Contoso Ltd: invoice {invoice}," in said and "220.00 USD" in said and "Create it again" in said
    made.sandbox.make(TEMPLATE)
    run(made, NOV)
    assert billed(made) == Decimal("220.00")


def test_N5_what_a_person_repriced_on_the_template_is_set_back_first(contoso) -> None:
    made = contoso(schedule="off")
    invoice = november(made)
    run(made, NOV)
    (line,) = [one for one in made.invoice(TEMPLATE)["lines"] if "365" in one["item_shortdescription"]]
    made.edit(TEMPLATE, line["id"], unit_price=Decimal("18.00"), baseprice=Decimal("18.00"))
    remove(made, invoice, "deleted")
    said = run(made, NOV, 3)["message"]
    assert "220.00 USD" in said and "set it back to what was billed, then create it again" in said
    made.edit(TEMPLATE, line["id"], unit_price=Decimal("22.00"), baseprice=Decimal("22.00"))
    made.sandbox.make(TEMPLATE)
    run(made, NOV)
    assert billed(made) == Decimal("220.00")


@pytest.mark.parametrize("how", ["deleted", "voided"])
def test_N5_a_one_time_line_that_came_off_since_is_billed_anew_as_the_run_says(contoso, how: str) -> None:
    made = contoso(schedule="off")
    invoice = november(made, made.charge(SETUP, 1, "300.00", type="one-time"))
    run(made, NOV)
    assert len(texts(made.invoice(TEMPLATE))) == 1
    remove(made, invoice, how)
    told = run(made, NOV, 3)
    amount = {"deleted": "520.00 USD", "voided": "300.00 USD"}[how]  # what is left on the template waits there again
    assert f"invoice {invoice}," in told["message"] and amount in told["message"]
    typed(made, told)
    run(made, NOV)
    assert len(texts(made.invoice(TEMPLATE))) == 2
    made.sandbox.make(TEMPLATE)
    run(made, NOV)
    assert billed(made) == Decimal("520.00")


def test_N5_a_month_under_a_later_one_is_told_and_billed_anew(contoso) -> None:
    made = contoso(schedule="off")
    invoice = november(made, made.charge(BACKUP, 1, "5.00", sub="s-2"))
    made.month(DEC, made.charge(M365, 12, "22.00", sub="s-1"))
    run(made, DEC)
    assert run(made, NOV)["message"] == ""
    remove(made, invoice, "deleted")
    told = run(made, NOV, 3)
    assert f"invoice {invoice}," in told["message"] and "225.00 USD" in told["message"]
    assert run(made, DEC)["state"] == "complete"
    typed(made, told)
    assert texts(made.invoice(TEMPLATE)) == ["12 x 22.00 Microsoft 365 Business Premium"]
    assert {one["reason"] for one in run(made, NOV, 3)["holds"]} == {
        "recurring_later_period"
    }  # and its own step ends it
    made.month("2027-01", made.charge(M365, 13, "22.00", sub="s-1"))
    made.sandbox.make(TEMPLATE)
    run(made, "2027-01")
    assert texts(made.invoice(TEMPLATE)) == ["13 x 22.00 Microsoft 365 Business Premium"]
    made.office.run("audit", "verify").must()


UNMARKED = {"made_fields_copied": ("internal_note",), "made_line_ids": False, "made_header_id": False}


@pytest.mark.parametrize("switches", [{}, UNMARKED], ids=["all", "no marks"])
def test_R6_a_line_that_was_repriced_on_the_template_after_it_was_invoiced_is_made_right(contoso, switches) -> None:
    made = contoso(schedule="off", **switches)
    november(made)
    run(made, NOV)
    (line,) = [one for one in made.invoice(TEMPLATE)["lines"] if "365" in one["item_shortdescription"]]
    made.edit(TEMPLATE, line["id"], unit_price=Decimal("18.00"), baseprice=Decimal("18.00"))
    assert {one["reason"] for one in run(made, NOV, 3)["holds"]} == {"write_differs"}
    made.edit(TEMPLATE, line["id"], unit_price=Decimal("22.00"), baseprice=Decimal("22.00"))
    told = run(made, NOV)
    assert (told["state"], told["equation"]["USD"]["price"]["waiting"]) == ("complete", "0.00")
    made.month(DEC, made.charge(M365, 12, "22.00", sub="s-1"))
    run(made, DEC)
    assert texts(made.invoice(TEMPLATE)) == ["12 x 22.00 Microsoft 365 Business Premium"]


def test_R5_a_404_that_passes_is_no_deleted_invoice(contoso) -> None:
    made = contoso(schedule="off")
    made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"))
    first = run(made, NOV)["run"]
    invoice = int(made.sandbox.make(TEMPLATE)["id"])
    before = texts(made.invoice(TEMPLATE))
    made.sandbox.faults.add(f"halo:GET:/Invoice/{invoice}:1:404")
    told = made.office.run("undo", first, "--yes", "--json").must(5).json
    assert [one["outcome"] for one in told["postings"]] == ["closed"]
    assert made.sandbox.faults.fired
    assert texts(made.invoice(TEMPLATE)) == before
