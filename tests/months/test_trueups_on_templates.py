"""True-ups of what stands on a recurring invoice: the printed step settles them in one run, whether HaloPSA has invoiced
it, whichever month the re-issue is of, and whatever month the template carries by then [R2] [R6]."""

from __future__ import annotations

import shlex
import shutil
from decimal import Decimal
from typing import Any

import pytest
from months_rules import BASE
from scene import BACKUP, M365, Scene, texts, total

TEMPLATE = -201
OCT, NOV, DEC = "2026-10", "2026-11", "2026-12"


def run(made: Scene, month: str, code: int = 0) -> Any:
    return made.office.run("run", month, "--yes", "--json").must(code).json


def seats(made: Scene, price: str = "22.00", period: str = "") -> dict[str, Any]:
    when = {"startPeriod": f"{period}-01", "endPeriod": f"{period}-28"} if period else {}
    return made.charge(M365, 10, price, sub="s-1", **when)


def credit(made: Scene, invoice: str) -> None:
    next(row for row in made.sandbox.pax8.invoices if row["id"] == invoice)["status"] = "Credited"


def billed(made: Scene) -> Decimal:
    rows = made.sandbox.halo.invoices.values()
    return sum((total(row) for row in rows if row["client_id"] == 214 and not row["voided"]), Decimal(0))


def follow(made: Scene, period: str, take_back: str, add: str) -> None:
    """Types the printed step of the one true-up of this plan, which shows these sums."""
    (up,) = made.office.run("plan", period, "--json").must(3).json["true_ups"]
    assert (up["take_back"]["amount"], up["add"]["amount"], up["state"]) == (take_back, add, "held"), up
    made.office.run(*shlex.split(up["next_step"].replace("TEXT", "seen"))[1:]).must()


@pytest.mark.parametrize("dated", [NOV, DEC], ids=["next month", "two months later"])
def test_R2_what_waits_on_the_template_is_swapped_in_one_run(contoso, dated: str) -> None:
    made = contoso(schedule="off")
    made.month(OCT, seats(made), invoice="A")
    run(made, OCT)
    credit(made, "A")
    made.month(dated, seats(made, "23.00", OCT), invoice="B")
    run(made, dated, 3)
    assert total(made.invoice(TEMPLATE)) == Decimal("220.00")
    follow(made, dated, "220.00", "230.00")
    told = run(made, dated)
    assert [one["amount"] for one in told["postings"]] == ["230.00"]
    assert texts(made.invoice(TEMPLATE)) == ["10 x 23.00 Microsoft 365 Business Premium"]
    assert run(made, dated)["postings"] == []
    made.sandbox.make(TEMPLATE)
    assert billed(made) == Decimal("230.00")


def test_R2_with_nothing_in_its_place_the_months_own_charges_go_on_in_the_same_run(contoso) -> None:
    made = contoso(schedule="off")
    made.month(OCT, seats(made), invoice="A")
    run(made, OCT)
    credit(made, "A")
    made.month(NOV, seats(made, "23.00"), invoice="N")
    run(made, NOV, 3)
    follow(made, NOV, "220.00", "0.00")
    assert [one["amount"] for one in run(made, NOV)["postings"]] == ["230.00"]
    made.sandbox.make(TEMPLATE)
    assert billed(made) == Decimal("230.00")


@pytest.mark.parametrize("invoiced", [False, True], ids=["december waits", "december is invoiced"])
def test_R2_what_comes_in_place_of_a_month_under_a_later_one_goes_on_an_invoice_of_its_own(contoso, invoiced) -> None:
    made = contoso(schedule="off")
    made.month(NOV, seats(made), made.charge(BACKUP, 1, "5.00", sub="s-2"), invoice="A")
    run(made, NOV)
    made.sandbox.make(TEMPLATE)
    made.month(DEC, seats(made), invoice="D")
    run(made, DEC)
    if invoiced:
        made.sandbox.make(TEMPLATE)
    credit(made, "A")
    made.month(NOV, seats(made, "23.00"), invoice="B")
    follow(made, NOV, "225.00", "230.00")
    told = run(made, NOV)
    assert [(one["how"], one["amount"]) for one in told["taken_back"]] == [("credited", "225.00")]
    assert [(one["action"], one["amount"]) for one in told["postings"]] == [("create", "230.00")]
    assert texts(made.invoice(TEMPLATE)) == ["10 x 22.00 Microsoft 365 Business Premium"]
    for period in (NOV, DEC):
        again = run(made, period)
        assert again["postings"] == again["taken_back"] == []
    if not invoiced:
        made.sandbox.make(TEMPLATE)
    assert billed(made) == Decimal("450.00")


def test_R2_what_else_the_credited_posting_billed_is_billed_anew_under_a_later_month(contoso) -> None:
    """Two Pax8 invoices of October, on one posting; one of them is credited when November stands on the template."""
    made = contoso(schedule="off")
    made.month(OCT, seats(made), invoice="A")
    made.month(OCT, made.charge(BACKUP, 1, "5.00", sub="s-2"), invoice="A2")
    run(made, OCT)
    made.sandbox.make(TEMPLATE)
    made.month(NOV, seats(made), invoice="N")
    run(made, NOV)
    credit(made, "A")
    run(made, NOV, 3)
    follow(made, OCT, "225.00", "5.00")
    run(made, OCT)
    assert run(made, NOV)["postings"] == []
    made.sandbox.make(TEMPLATE)
    assert billed(made) == Decimal("225.00")


def test_R2_a_late_charge_without_a_credit_still_waits_for_a_person(contoso) -> None:
    made = contoso(schedule="off")
    made.month(NOV, seats(made))
    run(made, NOV)
    made.sandbox.make(TEMPLATE)
    made.month(DEC, seats(made))
    run(made, DEC)
    made.month(NOV, made.charge(BACKUP, 1, "5.00", sub="s-2"))
    assert {one["reason"] for one in run(made, NOV, 3)["holds"]} == {"recurring_later_period"}


@pytest.mark.parametrize(
    "rules", [BASE + '[approval]\ntrue_up = "post"\n', BASE], ids=["by the rules", "approved again"]
)
def test_N6_a_true_up_on_a_template_that_the_ledger_forgot_is_adopted(contoso, rules: str) -> None:
    made = contoso(schedule="off", rules=rules)
    made.month(NOV, seats(made), invoice="A")
    run(made, NOV)
    made.sandbox.make(TEMPLATE)
    credit(made, "A")
    made.month(NOV, seats(made, "23.00"), invoice="B")
    ledger, kept = made.office.folder / "ledger.db", made.office.folder / "kept.db"
    shutil.copy(ledger, kept)

    def settle() -> Any:
        if rules == BASE:
            run(made, NOV, 3)
            follow(made, NOV, "220.00", "230.00")
        return run(made, NOV)

    settle()
    count, template = len(made.sandbox.halo.invoices), texts(made.invoice(TEMPLATE))
    for file in made.office.folder.glob("ledger.db*"):
        file.unlink()
    shutil.copy(kept, ledger)
    told = settle()
    assert [(one["how"], one["amount"]) for one in told["taken_back"]] == [("credited", "220.00")]
    assert [one["amount"] for one in told["postings"]] == ["230.00"]
    assert (len(made.sandbox.halo.invoices), texts(made.invoice(TEMPLATE))) == (count, template)
    assert run(made, NOV)["postings"] == []
    made.sandbox.make(TEMPLATE)
    assert billed(made) == Decimal("230.00")
