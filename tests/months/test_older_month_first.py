"""A ledger that forgot several months: what is printed says which month to run first, and that takes over what is there
[N6]. HaloPSA's tables are the judge."""

from __future__ import annotations

import re
import shlex
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from scene import BACKUP, M365, SETUP, Scene, texts, total

TEMPLATE = -201
OCT, NOV, DEC = "2026-10", "2026-11", "2026-12"
NEW = '[client]\nhalo_client = 214\n[invoice]\nbehavior = "new"\n'


def month(made: Scene, period: str, quantity: int = 9) -> None:
    made.month(period, made.charge(M365, quantity, "22.00", sub="s-1"))


def run(made: Scene, period: str, *codes: int) -> Any:
    return made.office.run("run", period, "--yes", "--json").must(*codes).json


def put_back(made: Scene, kept: Path) -> None:
    for file in made.office.folder.glob("ledger.db*"):
        file.unlink()
    shutil.copy(kept, made.office.folder / "ledger.db")


def net(made: Scene, client: int = 214) -> Decimal:
    rows = made.sandbox.halo.invoices.values()
    return sum((total(row) for row in rows if row["client_id"] == client and not row["voided"]), Decimal(0))


def follow(made: Scene, told: Any) -> str:
    """Runs the month that the first posting's problem names; gives it."""
    found = re.search(r"billingsync run (20\d\d-\d\d)", told["postings"][0]["problem"] or told["message"])
    assert found, told["postings"]
    run(made, found[1], 0, 1, 3)
    return found[1]


@pytest.mark.parametrize("mapped", [False, True], ids=["as mapped", "mapped to another since"])
def test_N6_three_months_that_were_forgotten_are_adopted_oldest_first(contoso, tmp_path: Path, mapped: bool) -> None:
    made = contoso("" if mapped else NEW)
    month(made, OCT)
    made.office.run("plan", OCT).must()
    kept = Path(shutil.copy(made.office.folder / "ledger.db", tmp_path / "kept.db"))
    client = 216 if mapped else 214
    if mapped:
        made.office.run("map", "companies", "--set", "Contoso Ltd=216").must()
    for nth, period in enumerate((OCT, NOV, DEC)):
        if nth:
            month(made, period, 9 + nth)
        run(made, period, 0)
    before, count = net(made, client), len(made.sandbox.halo.invoices)
    put_back(made, kept)
    told = run(made, DEC, 3)  # what is there whole is adopted at once; what was forgotten is told
    assert {one["state"] for one in told["postings"]} == {"adopted"}
    assert follow(made, told) in (OCT, NOV)
    if mapped:  # whoever pays from now on, what was billed is adopted where it is [C1b]
        (hold,) = run(made, OCT, 3)["holds"]
        assert hold["reason"] == "client_changed"
        made.office.run(*shlex.split(hold["next_step"])[1:]).must()
    for period in (OCT, NOV, DEC):
        told = run(made, period, 0)
        assert {one["state"] for one in told["postings"]} <= {"adopted"}, told["postings"]
    assert (net(made, client), len(made.sandbox.halo.invoices)) == (before, count)
    if mapped:
        assert net(made) == 0
    for period in (OCT, NOV, DEC):
        assert run(made, period, 0)["postings"] == []


def test_N6_a_lost_ledger_is_told_to_run_the_month_that_stands_on_the_template_first(
    contoso, tmp_path: Path, sqlite_template: Path
) -> None:
    made = contoso(schedule="off")
    month(made, OCT)
    run(made, OCT, 0)
    made.sandbox.make(TEMPLATE)
    put_back(made, sqlite_template)
    month(made, NOV, 12)
    made.office.run("plan", NOV).must()
    refused = made.office.run("run", NOV, "--yes").must(5)
    found = re.search(r"billingsync adopt ([0-9a-f]{8})", refused.stderr)
    assert found
    made.office.run("adopt", found[1]).must()
    told = run(made, NOV, 1)
    assert follow(made, told) == OCT
    assert [one["amount"] for one in run(made, NOV, 0)["postings"]] == ["264.00"]
    assert texts(made.invoice(TEMPLATE)) == ["12 x 22.00 Microsoft 365 Business Premium"]
    assert net(made) == Decimal("198.00")


def settle(made: Scene, period: str) -> None:
    """Runs the month, and first whatever month is named as the one to run first, until it is complete."""
    told = run(made, period, 0, 1)
    for _ in range(3):
        if told["state"] == "complete":
            return
        settle(made, follow_name(told))
        told = run(made, period, 0, 1)
    assert told["state"] == "complete", told["postings"]


def follow_name(told: Any) -> str:
    found = re.search(r"billingsync run (20\d\d-\d\d)", told["postings"][0]["problem"])
    assert found, told["postings"]
    return found[1]


@pytest.mark.parametrize("in_order", [True, False], ids=["oldest first", "as it is said"])
@pytest.mark.parametrize("last", ["invoiced", "waits"])
@pytest.mark.parametrize("months", [2, 3])
def test_N6_months_that_stand_on_one_template_are_adopted_by_what_HaloPSA_made_of_them(
    contoso, tmp_path: Path, months: int, last: str, in_order: bool
) -> None:
    made = contoso(schedule="off")
    forgotten, now = [OCT, NOV, DEC][:months], [OCT, NOV, DEC, "2027-01"][months]
    month(made, OCT)
    made.office.run("plan", OCT).must()
    kept = Path(shutil.copy(made.office.folder / "ledger.db", tmp_path / "kept.db"))
    for nth, period in enumerate(forgotten):
        if nth:
            month(made, period, 9 + nth)
        run(made, period, 0)
        if period != forgotten[-1] or last == "invoiced":
            made.sandbox.make(TEMPLATE)
    put_back(made, kept)
    if in_order:
        for period in forgotten:
            assert [one["state"] for one in run(made, period, 0)["postings"]] == ["adopted"]
    if last == "waits":
        made.sandbox.make(TEMPLATE)
    month(made, now, 15)
    settle(made, now)
    assert texts(made.invoice(TEMPLATE)) == ["15 x 22.00 Microsoft 365 Business Premium"]
    for period in forgotten:
        assert {one["state"] for one in run(made, period, 0)["postings"]} <= {"adopted"}
        assert run(made, period, 0)["postings"] == []
    made.sandbox.make(TEMPLATE)
    assert net(made) == Decimal(22) * (sum(range(9, 9 + months)) + 15)
    made.office.run("audit", "verify").must()


@pytest.mark.parametrize("which", [0, 1], ids=["oldest", "newest"])
def test_R5_a_month_that_was_adopted_by_its_invoice_is_closed_to_an_undo(contoso, tmp_path: Path, which: int) -> None:
    made = contoso(schedule="off")
    month(made, OCT)
    made.office.run("plan", OCT).must()
    kept = Path(shutil.copy(made.office.folder / "ledger.db", tmp_path / "kept.db"))
    run(made, OCT, 0)
    made.sandbox.make(TEMPLATE)
    month(made, NOV, 10)
    run(made, NOV, 0)
    made.sandbox.make(TEMPLATE)
    put_back(made, kept)
    runs = [run(made, period, 0) for period in (OCT, NOV)]
    assert [one["postings"][0]["state"] for one in runs] == ["adopted", "adopted"]
    before = net(made), texts(made.invoice(TEMPLATE))
    told = made.office.run("undo", runs[which]["run"], "--yes", "--json").must(5).json
    assert [one["outcome"] for one in told["postings"]] == ["closed"]
    assert (net(made), texts(made.invoice(TEMPLATE))) == before
    assert run(made, OCT, 0)["postings"] == run(made, NOV, 0)["postings"] == []
    made.office.run("undo", runs[which]["run"], "--yes", "--credit", "--json").must()
    assert net(made) == Decimal(22) * ((9 + 10) - (9 + which))
    made.office.run("audit", "verify").must()


@pytest.mark.parametrize("months", [2, 3])
@pytest.mark.parametrize("last", ["invoiced", "waits"])
def test_N6_months_with_lines_that_came_off_are_adopted_by_what_HaloPSA_made_of_them(
    contoso, tmp_path: Path, months: int, last: str
) -> None:
    made = contoso(schedule="off")
    charged = {
        OCT: [made.charge(M365, 9, "22.00", sub="s-1"), made.charge(SETUP, 1, "90.00", type="one-time")],
        NOV: [made.charge(M365, 10, "22.00", sub="s-1"), made.charge(BACKUP, 2, "9.00", sub="s-2")],
        DEC: [made.charge(M365, 11, "22.00", sub="s-1"), made.charge(SETUP, 1, "90.00", type="one-time")],
    }
    due = [Decimal(288), Decimal(238), Decimal(332)]
    forgotten, now = [OCT, NOV, DEC][:months], [OCT, NOV, DEC, "2027-01"][months]
    made.month(OCT, *charged[OCT])
    made.office.run("plan", OCT).must()
    kept = Path(shutil.copy(made.office.folder / "ledger.db", tmp_path / "kept.db"))
    for nth, period in enumerate(forgotten):
        if nth:
            made.month(period, *charged[period])
        run(made, period, 0)
        if period != forgotten[-1] or last == "invoiced":
            made.sandbox.make(TEMPLATE)
    put_back(made, kept)
    if last == "waits":
        made.sandbox.make(TEMPLATE)
    assert net(made) == sum(due[:months])
    month(made, now, 15)
    settle(made, now)
    assert texts(made.invoice(TEMPLATE)) == ["15 x 22.00 Microsoft 365 Business Premium"]
    for period in (*forgotten, now):
        assert run(made, period, 0)["postings"] == []
    made.sandbox.make(TEMPLATE)
    assert net(made) == sum(due[:months]) + 330
    made.office.run("audit", "verify").must()
