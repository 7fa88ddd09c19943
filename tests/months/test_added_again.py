"""A line that a person took off a recurring invoice and had added again [V1]: whatever comes later goes by the line that
is there. HaloPSA's tables are the judge."""

from __future__ import annotations

import shlex
from decimal import Decimal
from typing import Any

from scene import BACKUP, M365, Scene, texts, total

TEMPLATE = -201
OCT, NOV, DEC = "2026-10", "2026-11", "2026-12"


def run(made: Scene, month: str, code: int = 0) -> Any:
    return made.office.run("run", month, "--yes", "--json").must(code).json


def follow(made: Scene, step: str) -> None:
    made.office.run(*shlex.split(step.replace("TEXT", "seen"))[1:]).must()


def billed(made: Scene) -> Decimal:
    rows = made.sandbox.halo.invoices.values()
    return sum((total(row) for row in rows if row["client_id"] == 214 and not row["voided"]), Decimal(0))


def test_S9_what_comes_in_place_of_a_changed_month_is_what_the_step_says_where_a_line_was_added_again(contoso) -> None:
    made = contoso(schedule="off")
    made.month(OCT, made.charge(M365, 9, "22.00", sub="s-1"))
    run(made, OCT)
    made.sandbox.make(TEMPLATE)
    (line,) = [one for one in made.invoice(TEMPLATE)["lines"] if "Microsoft 365" in one["item_shortdescription"]]
    made.delete_line(TEMPLATE, line["id"])
    made.month(NOV, made.charge(M365, 10, "22.00", sub="s-1"))
    (hold,) = run(made, NOV, 3)["holds"]
    assert (hold["reason"], "removed by hand" in hold["detail"]) == ("line_edited", True)
    follow(made, hold["next_step"])
    run(made, NOV)
    made.sandbox.make(TEMPLATE)
    made.month(DEC, made.charge(M365, 11, "22.00", sub="s-1"), made.charge(BACKUP, 1, "5.00", sub="s-2"), invoice="D")
    run(made, DEC)
    made.sandbox.pax8.items["D"].pop()
    (up,) = run(made, DEC, 3)["true_ups"]
    assert (up["take_back"]["amount"], up["add"]["amount"]) == ("247.00", "242.00")
    follow(made, up["next_step"])
    assert [one["amount"] for one in run(made, DEC)["postings"]] == ["242.00"]
    assert texts(made.invoice(TEMPLATE)) == ["11 x 22.00 Microsoft 365 Business Premium"]
    made.sandbox.make(TEMPLATE)
    assert billed(made) == Decimal(22) * (9 + 10 + 11)
    made.office.run("audit", "verify").must()
