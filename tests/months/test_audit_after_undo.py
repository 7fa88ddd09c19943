"""The export of a month that was undone: every charge of it, in exactly one place [A1] [N5]."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cli import Office
from months_rules import OPEN
from scene import BACKUP, M365, SETUP, SHIELD, Scene

from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox

Stage = Callable[..., Scene]
NOV = "2026-11"
RULES = OPEN + f'[exclude]\nproducts = ["{SETUP}"]\n[modifiers]\nzero_lines = "drop"\n'


def exported(office: Office, folder: str) -> tuple[list[dict[str, Any]], str]:
    """The rows of charges.csv, and the first page."""
    office.run("audit", "export", NOV, "--out", folder).must()
    where = office.folder / folder
    rows = csv.DictReader(io.StringIO((where / "charges.csv").read_text(encoding="utf-8-sig")))
    return list(rows), (where / "index.html").read_text()


def states(rows: list[dict[str, Any]]) -> dict[str, int]:
    return dict(Counter(row["state"] for row in rows))


def test_case_27_an_export_after_an_undo_has_every_charge(tmp_path: Path, sqlite_url: str) -> None:
    with Sandbox(SandboxOptions()) as sandbox:
        office = Office(tmp_path, sandbox, sqlite_url)
        office.rules('[products]\nlifecycle = "off"\n')
        told = office.run("run", NOV, "--yes", "--json").must(3).json
        office.run("undo", told["run"], "--yes").must()
        rows, page = exported(office, "after")
        assert len({row["charge"] for row in rows}) == 192 and "192 charges" in page
        assert states(rows) == {"undone": 169, "held": 23}
        (run,) = office.run("runs", "--json").must().json["runs"]
        assert run["state"] == "undone"
        said = office.run("worker", "--once").must(3)
        assert "14 invoices" not in said.text.replace("14 invoices to post", "")


def month(made: Scene) -> str:
    """A charge that is posted, one that is excluded, one dropped, one held, and two of another client; gives the run."""
    made.month(
        NOV,
        made.charge(M365, 10, "21.00"),
        made.charge(SETUP, 1, "5.00"),
        made.charge(SHIELD, 1, "0.00", cost="0"),
        made.charge(BACKUP, 1, "7.00", type="mystery"),
        made.charge(BACKUP, 1, "3.00", client=216),
        made.charge(SETUP, 1, "2.00", client=216),
    )
    return str(made.office.run("run", NOV, "--yes", "--json").must(3).json["run"])


def sums(rows: list[dict[str, Any]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for row in rows:
        found[row["state"]] = found.get(row["state"], Decimal(0)) + Decimal(row["price"])
    return found


@pytest.mark.parametrize("again", [False, True], ids=["undone", "run again"])
def test_A1_what_an_undone_run_dropped_or_excluded_is_billed_to_nobody_too(stage: Stage, again: bool) -> None:
    made = stage(RULES)
    run = month(made)
    made.office.run("undo", run, "--yes").must()
    if again:
        made.office.run("run", NOV, "--yes").must(3)
    rows, _ = exported(made.office, "after")
    assert len(rows) == 6
    if again:
        assert sums(rows) == {"posted": 213, "excluded": 7, "dropped": 0, "held": 7}
    else:
        assert sums(rows) == {"undone": 220, "held": 7}
        assert {row["by"] for row in rows if Decimal(row["price"]) in (5, 2)} == {"undone: excluded by product"}


def test_A1_after_the_undo_of_one_client_the_others_stay_where_they_are(stage: Stage) -> None:
    made = stage(RULES)
    made.office.run("undo", month(made), "--client", "Contoso Ltd", "--yes").must()
    rows, _ = exported(made.office, "after")
    assert states(rows) == {"undone": 3, "held": 1, "posted": 1, "excluded": 1}
    assert sums(rows) == {"undone": 215, "held": 7, "posted": 3, "excluded": 2}


def test_A1_a_charge_that_was_freed_is_not_lost_from_the_export(stage: Stage) -> None:
    made = stage(RULES)
    month(made)
    excluded = next(row for row in exported(made.office, "before")[0] if row["price"] == "5.00")
    made.office.rules(OPEN)
    made.office.run("free", excluded["charge"], "--reason", "a mistake").must()
    rows, _ = exported(made.office, "after")
    assert len(rows) == 6
    assert {row["charge"]: row["by"] for row in rows if row["state"] == "undone"} == {
        excluded["charge"]: "undone: excluded by product"
    }


def test_A1_what_is_posted_of_what_was_undone_is_told_as_posted(stage: Stage) -> None:
    made = stage(RULES)
    made.office.run("undo", month(made), "--yes").must()
    made.office.rules(OPEN)
    made.office.run("run", NOV, "--yes").must(3)
    rows, _ = exported(made.office, "after")
    assert sums(rows) == {"posted": 220, "held": 7}
