"""A run killed between what a true-up takes back and what comes instead: the next one posts just what an undisturbed run
would have posted [N4] [R2]."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from cli import process_environment
from months_rules import BASE, RECURRING
from scene import M365, Scene, texts, total

NOV, DEC = "2026-11", "2026-12"
NEW = '[client]\nhalo_client = 214\n[invoice]\nbehavior = "new"\n'
LATEST = '[client]\nhalo_client = 214\n[invoice]\nbehavior = "latest"\n'
POSTS = BASE + '[approval]\ntrue_up = "post"\n'
TIGHT = BASE.replace("change_percent_max = 100000\n", "client_amount_max = 225\n")
DIES = """
import os, signal
from billingsync.run import run
real = run.take_back
def take_back(*args, **more):
    real(*args, **more)
    os.kill(os.getpid(), signal.SIGKILL)
run.take_back = take_back
from billingsync.cli import main
import sys
main(["run", sys.argv[1], "--yes"])
"""


def run(made: Scene, month: str, code: int = 0) -> Any:
    return made.office.run("run", month, "--yes", "--json").must(code).json


def seats(made: Scene, price: str = "22.00", **more: Any) -> dict[str, Any]:
    return made.charge(M365, 10, price, sub="s-1", **more)


def billed(made: Scene) -> Decimal:
    rows = made.sandbox.halo.invoices.values()
    return sum((total(row) for row in rows if row["client_id"] == 214 and not row["voided"]), Decimal(0))


def prepared(made: Scene, *, later: bool) -> None:
    """November billed on what is closed by now, or stands under December; Pax8 credits it and issues it again."""
    made.month(NOV, seats(made), invoice="A")
    (posting,) = run(made, NOV)["postings"]
    if posting["invoice_id"] < 0:
        made.sandbox.make(-201)
    else:
        made.sandbox.person(do="close", id=posting["invoice_id"], how="posted")
    if later:
        made.month(DEC, seats(made), invoice="D")
        run(made, DEC)
    next(row for row in made.sandbox.pax8.invoices if row["id"] == "A")["status"] = "Credited"
    made.month(NOV, seats(made, "23.00"), invoice="B")


def agree(made: Scene, rules: str, month: str = NOV) -> None:
    if rules != POSTS:
        (up,) = made.office.run("plan", month, "--json").must(3).json["true_ups"]
        made.office.run(*shlex.split(up["next_step"].replace("TEXT", "seen"))[1:]).must()


def killed(made: Scene, month: str = NOV) -> None:
    words = [sys.executable, "-c", DIES, month]
    environment = process_environment(made.office.environment())
    died = subprocess.run(words, cwd=made.office.folder, env=environment, capture_output=True, timeout=120, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr


@pytest.mark.parametrize("rules", [BASE, POSTS, TIGHT], ids=["approved", "by the rules", "approved over a limit"])
@pytest.mark.parametrize(
    ("client", "later"), [(NEW, False), (LATEST, False), (RECURRING, True)], ids=["new", "latest", "recurring"]
)
def test_N4_what_comes_instead_is_posted_by_the_next_run(contoso, client: str, later: bool, rules: str) -> None:
    made = contoso(client, rules=rules, schedule="off")
    prepared(made, later=later)
    agree(made, rules)
    killed(made)
    assert billed(made) == 0
    told = run(made, NOV)
    assert (told["state"], told["holds"]) == ("complete", [])
    assert [(one["action"], one["amount"]) for one in told["postings"]] == [("create", "230.00")]
    assert billed(made) == Decimal("230.00")
    assert run(made, NOV)["postings"] == []
    assert texts(made.invoice(-201)) == (["10 x 22.00 Microsoft 365 Business Premium"] if later else [])
    made.office.run("audit", "verify").must()


def test_N4_what_comes_late_of_the_month_is_no_true_up(contoso) -> None:
    """Once it is posted, another late charge waits as ever."""
    made = contoso(LATEST, rules=POSTS, schedule="off")
    prepared(made, later=False)
    killed(made)
    (posting,) = run(made, NOV)["postings"]
    made.sandbox.person(do="close", id=posting["invoice_id"], how="posted")
    made.month(NOV, made.charge(M365, 1, "5.00", sub="s-2"))
    assert {one["reason"] for one in run(made, NOV, 3)["holds"]} == {"latest_closed"}


def test_N4_last_months_line_comes_off_after_a_credit_with_nothing_in_its_place_died(contoso) -> None:
    made = contoso(schedule="off")
    made.month(NOV, seats(made))
    run(made, NOV)
    made.sandbox.make(-201)
    made.month(DEC, seats(made, "23.00"), invoice="D")
    run(made, DEC)
    made.sandbox.pax8.invoices[-1]["status"] = "Void"
    agree(made, BASE, DEC)
    killed(made, DEC)
    assert texts(made.invoice(-201)) == ["10 x 22.00 Microsoft 365 Business Premium"]
    run(made, DEC)
    assert texts(made.invoice(-201)) == []
    made.sandbox.make(-201)
    assert billed(made) == Decimal("220.00")
