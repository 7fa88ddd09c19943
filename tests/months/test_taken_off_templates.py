"""A line that HaloPSA has billed and that came off its recurring invoice since, or was written anew by a later month, is
billed all the same: whoever takes it back credits it, and nobody is billed for it again [B5] [R2] [R4] [R5]."""

from __future__ import annotations

import shlex
from decimal import Decimal
from typing import Any

import pytest
from months_rules import BASE
from scene import BACKUP, M365, SETUP, Scene, ours, texts, total

TEMPLATE = -201
NOV, DEC = "2026-11", "2026-12"


def run(made: Scene, month: str, code: int = 0) -> Any:
    return made.office.run("run", month, "--yes", "--json").must(code).json


def undo(made: Scene, run: str, *more: str, code: int = 0) -> Any:
    (posting,) = made.office.run("undo", run, "--yes", "--json", *more).must(code).json["postings"]
    return posting


def seats(made: Scene, quantity: int = 10, price: str = "22.00") -> dict[str, Any]:
    return made.charge(M365, quantity, price, sub="s-1")


def billed(made: Scene) -> Decimal:
    """What HaloPSA's invoices come to for Contoso, credits and all, ours only."""
    rows = made.sandbox.halo.invoices.values()
    return sum((total(row) for row in rows if row["client_id"] == 214 and not row["voided"]), Decimal(0))


def follow_true_up(made: Scene, period: str) -> None:
    (up,) = made.office.plan(period)["true_ups"]
    made.office.run(*shlex.split(up["next_step"].replace("TEXT", "seen"))[1:]).must()


LACKING = [
    {},
    {"made_fields_copied": ("internal_note",), "lastcreated": "never"},  # no marks on what HaloPSA made
    {"made_line_ids": False, "made_header_id": False},
]


@pytest.mark.parametrize("switches", LACKING, ids=["all", "no marks", "no line ids"])
def test_R5_a_one_time_line_that_was_invoiced_and_came_off_is_not_billed_again_after_an_undo(contoso, switches) -> None:
    made = contoso(schedule="off", **switches)
    made.month(NOV, seats(made), made.charge(SETUP, 1, "300.00", type="one-time"))
    first = run(made, NOV)["run"]
    made.sandbox.advance(5)
    made.sandbox.make(TEMPLATE)
    run(made, NOV)
    assert texts(made.invoice(TEMPLATE)) == ["10 x 22.00 Microsoft 365 Business Premium"]
    told = undo(made, first, code=5)
    assert (told["outcome"], told["removed"]["amount"], told["credit_needed"]["amount"]) == ("closed", "0.00", "520.00")
    again = run(made, NOV)
    assert again["equation"]["USD"]["price"]["already_posted"] == "520.00" and again["postings"] == []
    assert texts(made.invoice(TEMPLATE)) == ["10 x 22.00 Microsoft 365 Business Premium"]
    undo(made, first, "--credit")
    assert billed(made) == 0 or switches.get("made_fields_copied")  # where no marks are copied, ours are the credits


def test_R4_a_month_that_a_later_one_wrote_anew_is_closed_and_credited_on_request(contoso) -> None:
    made = contoso(schedule="off")
    made.month(NOV, seats(made), made.charge(BACKUP, 1, "5.00", sub="s-2"))
    first = run(made, NOV)["run"]
    invoice = made.sandbox.make(TEMPLATE)["id"]
    made.month(DEC, seats(made, 12))
    run(made, DEC)
    told = undo(made, first, code=5)
    assert told["credit_needed"]["amount"] == "225.00" and f"on invoice {invoice}" in told["problem"]
    assert run(made, NOV)["postings"] == []
    credit = undo(made, first, "--credit")["credit_invoice"]
    assert total(made.invoice(credit)) == Decimal("-225.00")
    assert texts(made.invoice(TEMPLATE)) == ["12 x 22.00 Microsoft 365 Business Premium"]


@pytest.mark.parametrize("made_again", [False, True], ids=["december waits", "december is invoiced"])
def test_R2_a_credited_month_under_a_later_one_is_settled_by_the_printed_step(contoso, made_again: bool) -> None:
    made = contoso(schedule="off")
    made.month(NOV, seats(made), invoice="A")
    run(made, NOV)
    made.sandbox.make(TEMPLATE)
    made.month(DEC, seats(made), invoice="D")
    run(made, DEC)
    if made_again:
        made.sandbox.make(TEMPLATE)
    made.sandbox.pax8.invoices[-2]["status"] = "Credited"
    for period in (DEC, NOV):
        (up,) = made.office.run("plan", period, "--json").must(3).json["true_ups"]
        assert (up["take_back"]["amount"], up["add"]["amount"]) == ("220.00", "0.00")
    follow_true_up(made, DEC)
    (back,) = run(made, DEC)["taken_back"]
    assert (back["how"], back["amount"]) == ("credited", "220.00")
    assert run(made, DEC)["taken_back"] == []
    if not made_again:
        made.sandbox.make(TEMPLATE)
    assert billed(made) == Decimal("220.00")  # december's


def test_B5_what_a_person_took_off_before_it_was_invoiced_is_billed_to_nobody(contoso) -> None:
    made = contoso(schedule="off")
    made.month(NOV, seats(made), made.charge(BACKUP, 1, "5.00", sub="s-2"))
    first = run(made, NOV)["run"]
    line = next(line for line in ours(made.invoice(TEMPLATE)) if "Harborline" in line["item_shortdescription"])
    made.delete_line(TEMPLATE, line["id"])
    made.sandbox.make(TEMPLATE)
    told = undo(made, first, code=5)
    assert (told["removed"]["amount"], told["credit_needed"]["amount"]) == ("5.00", "220.00")


def test_R2_the_rules_leave_settles_an_older_month_under_a_later_one_too(contoso) -> None:
    made = contoso(schedule="off", rules=BASE + '[approval]\ntrue_up = "post"\n')
    made.month(NOV, seats(made), invoice="A")
    run(made, NOV)
    made.sandbox.make(TEMPLATE)
    made.month(DEC, seats(made), invoice="D")
    run(made, DEC)
    made.sandbox.make(TEMPLATE)
    made.sandbox.pax8.invoices[-2]["status"] = "Credited"
    again = {**seats(made, 10, "23.00"), "startPeriod": "2026-11-01", "endPeriod": "2026-11-28"}
    made.month(DEC, again, invoice="B")
    told = run(made, DEC)
    assert [(one["how"], one["amount"]) for one in told["taken_back"]] == [("credited", "220.00")]
    assert [one["amount"] for one in told["postings"]] == ["230.00"]
    after = run(made, DEC)
    assert after["taken_back"] == after["postings"] == []
