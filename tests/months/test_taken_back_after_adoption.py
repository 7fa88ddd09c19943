"""Take-backs of what a restored ledger only adopted on a recurring invoice [N6] [R2]: what HaloPSA shows when it is
adopted is not what was there before us. HaloPSA's tables are the judge."""

from __future__ import annotations

import shlex
import shutil
from decimal import Decimal
from typing import Any

import pytest
from scene import BACKUP, M365, Scene, texts, total

TEMPLATE = -201
SEP, OCT, NOV = "2026-09", "2026-10", "2026-11"


def run(made: Scene, month: str, code: int = 0) -> Any:
    return made.office.run("run", month, "--yes", "--json").must(code).json


def seats(made: Scene, quantity: int, price: str = "22.00") -> dict[str, Any]:
    return made.charge(M365, quantity, price, sub="s-1")


def credit(made: Scene, invoice: str) -> None:
    next(row for row in made.sandbox.pax8.invoices if row["id"] == invoice)["status"] = "Credited"


def billed(made: Scene) -> Decimal:
    rows = made.sandbox.halo.invoices.values()
    return sum((total(row) for row in rows if row["client_id"] == 214 and not row["voided"]), Decimal(0))


def adopted(made: Scene) -> Any:
    """November is billed over October on the template, forgotten with the ledger, and adopted."""
    made.month(OCT, seats(made, 9), invoice="O")
    run(made, OCT)
    made.sandbox.make(TEMPLATE)
    ledger, kept = made.office.folder / "ledger.db", made.office.folder / "kept.db"
    shutil.copy(ledger, kept)
    made.month(NOV, seats(made, 10), made.charge(BACKUP, 1, "5.00", sub="s-2"), invoice="A")
    run(made, NOV)
    for file in made.office.folder.glob("ledger.db*"):
        file.unlink()
    shutil.copy(kept, ledger)
    told = run(made, NOV)
    assert [one["state"] for one in told["postings"]] == ["adopted"]
    return told


def follow(made: Scene, period: str) -> None:
    (up,) = made.office.run("plan", period, "--json").must(3).json["true_ups"]
    made.office.run(*shlex.split(up["next_step"].replace("TEXT", "seen"))[1:]).must()


@pytest.mark.parametrize("semantics", ["replace", "merge"])
def test_N6_a_true_up_of_an_adopted_month_is_settled_by_the_printed_step(contoso, semantics: str) -> None:
    made = contoso(schedule="off", lines_semantics=semantics)
    adopted(made)
    credit(made, "A")
    made.month(NOV, seats(made, 10, "23.00"), invoice="B")
    run(made, NOV, 3)
    follow(made, NOV)
    told = run(made, NOV)
    assert [(one["how"], one["amount"]) for one in told["taken_back"]] == [("changed", "225.00")]
    assert [one["amount"] for one in told["postings"]] == ["230.00"]
    assert run(made, NOV)["postings"] == []
    made.sandbox.make(TEMPLATE)
    assert billed(made) == Decimal("198.00") + Decimal("230.00")
    made.office.run("audit", "verify").must()


def test_R4_undo_of_an_adopted_month_puts_back_what_the_month_before_had_written(contoso) -> None:
    made = contoso(schedule="off")
    told = adopted(made)
    made.office.run("undo", told["run"], "--yes").must()
    assert texts(made.invoice(TEMPLATE)) == ["9 x 22.00 Microsoft 365 Business Premium"]
    run(made, NOV)
    made.sandbox.make(TEMPLATE)
    assert billed(made) == Decimal("198.00") + Decimal("225.00")


def test_R6_where_what_was_there_before_is_not_known_the_printed_step_settles_it(contoso) -> None:
    """The month before was adopted too, by the invoice that HaloPSA had made of it: what it wrote is not known."""
    made = contoso(schedule="off")
    made.month(OCT, seats(made, 9), invoice="O")
    made.office.run("plan", OCT).must()
    made.month(SEP, seats(made, 8), invoice="S")
    run(made, SEP)
    made.sandbox.make(TEMPLATE)
    ledger, kept = made.office.folder / "ledger.db", made.office.folder / "kept.db"
    shutil.copy(ledger, kept)
    run(made, OCT)
    made.sandbox.make(TEMPLATE)
    made.month(NOV, seats(made, 10), invoice="A")
    run(made, NOV)
    for file in made.office.folder.glob("ledger.db*"):
        file.unlink()
    shutil.copy(kept, ledger)
    for month in (OCT, NOV):
        assert [one["state"] for one in run(made, month)["postings"]] == ["adopted"]
    credit(made, "A")
    made.month(NOV, seats(made, 10, "23.00"), invoice="B")
    run(made, NOV, 3)
    follow(made, NOV)
    (left,) = run(made, NOV, 3)["taken_back"]
    assert (left["how"], left["amount"]) == ("untouched", "0.00")
    assert "create the invoice from recurring invoice 201 in HaloPSA, then run again" in left["problem"]
    made.sandbox.make(TEMPLATE)
    told = run(made, NOV)
    assert [(one["how"], one["amount"]) for one in told["taken_back"]] == [("credited", "220.00")]
    made.sandbox.make(TEMPLATE)
    assert billed(made) == Decimal(22) * (8 + 9) + Decimal("230.00")


def test_N6_a_forgotten_month_that_nobody_ran_again_is_told_two_months_later(contoso) -> None:
    made = contoso(schedule="off")
    made.month(SEP, seats(made, 8), invoice="S")
    run(made, SEP)
    made.sandbox.make(TEMPLATE)
    ledger, kept = made.office.folder / "ledger.db", made.office.folder / "kept.db"
    shutil.copy(ledger, kept)
    made.month(OCT, seats(made, 9), invoice="O")
    run(made, OCT)
    made.sandbox.make(TEMPLATE)
    (line,) = [one for one in made.invoice(TEMPLATE)["lines"] if "Microsoft 365" in one["item_shortdescription"]]
    made.delete_line(TEMPLATE, line["id"])  # nothing of October is on the template any more
    for row in list(made.sandbox.halo.invoices.values()):
        day = "2026-10-20T06:00:00"
        made.sandbox.halo.put("invoices", {**row, "invoice_date": day, "date_created": day})
    for file in made.office.folder.glob("ledger.db*"):
        file.unlink()
    shutil.copy(kept, ledger)
    made.month("2026-12", seats(made, 10), invoice="D")
    (hold,) = run(made, "2026-12", 3)["holds"]
    made.office.run(*shlex.split(hold["next_step"].replace("TEXT", "seen"))[1:]).must()
    (failed,) = run(made, "2026-12", 1)["postings"]
    assert f"billingsync run {OCT}" in failed["problem"]
