"""A ledger that an older version made in the middle of a month goes on: nothing is billed again, nobody is held.

`ledgers/2d66cc8.db.gz` is the ledger that the commit 2d66cc8 left: October whole; of November three clients billed, of
whom two have charges without an id, and one charge held. `2d66cc8-waiting` is another one: October is on the recurring
invoices of two clients. `.json.gz` is what its sandbox held then.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import shutil
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cli import balanced
from months_rules import OPEN
from scene import BACKUP, M365, STAGE, Scene, scene, texts, total

from billingsync.sandbox.server import Sandbox

LEDGERS = Path(__file__).parent / "ledgers"
NOV, OCT = "2026-11", "2026-10"


def _decimal(row: dict[str, Any]) -> Any:
    return Decimal(row["$"]) if row.keys() == {"$"} else row


@pytest.fixture
def left_by(server: Sandbox, tmp_path: Path) -> Callable[[str], Scene]:
    """The scene that a version left, with its ledger not yet upgraded."""

    def make(version: str, **switches: Any) -> Scene:
        server.reset(dataclasses.replace(STAGE, **switches))
        made = scene(server, tmp_path)
        with gzip.open(LEDGERS / f"{version}.json.gz", "rt", encoding="utf-8") as file:
            there = json.load(file, object_hook=_decimal)
        made.sandbox.pax8.invoices.extend(there["pax8"]["invoices"])
        made.sandbox.pax8.items.update(there["pax8"]["items"])
        for row in there["halo"]:
            made.sandbox.halo.put("recurring" if row["id"] < 0 else "invoices", row)
        with gzip.open(LEDGERS / f"{version}.db.gz") as packed, (tmp_path / "ledger.db").open("wb") as ledger:
            shutil.copyfileobj(packed, ledger)
        with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as opened:  # the tenant has moved
            opened.execute("UPDATE partner SET halo_base_url = ?", [f"{server.url}/halo"])
            opened.commit()
        made.office.rules(OPEN)
        return made

    return make


CLIENT = '[client]\nhalo_client = {}\n[invoice]\nbehavior = "recurring"\nrecurring_invoice = {}\n'
CLIENTS = {f"clients/{client}.toml": CLIENT.format(client, row) for client, row in ((214, 201), (216, 204))}


@pytest.fixture
def waiting(left_by: Callable[..., Scene]) -> Callable[..., Scene]:
    """October stands on the recurring invoices of two clients; HaloPSA has made no invoice of them yet."""

    def make(**switches: Any) -> Scene:
        made = left_by("2d66cc8-waiting", schedule="off", **switches)
        made.office.invoices_templates = False
        for name, text in CLIENTS.items():
            made.office.rules(text, name)
        made.office.run("db", "upgrade").must()
        return made

    return make


def november(made: Scene) -> None:
    made.month(
        NOV,
        made.charge(M365, 12, "22.00", sub="s-1"),
        made.charge(BACKUP, 3, "9.00", client=216, sub="s-2"),
        made.charge(M365, 2, "22.00", client=217, sub="s-3"),
    )


def test_what_2d66cc8_put_on_templates_still_waits_and_is_not_overwritten(waiting: Callable[..., Scene]) -> None:
    made = waiting()
    november(made)
    plan = made.office.plan(OCT)
    assert [(one["client_id"], one["amount"]) for one in plan["waiting"]] == [(216, "27.00"), (214, "520.00")]
    told = made.office.run("run", NOV, "--yes", "--json").must(3).json
    assert {(hold["reason"], hold["company_name"]) for hold in told["holds"]} == {
        ("recurring_not_invoiced", "Contoso Ltd"), ("recurring_not_invoiced", "Northwind Traders Inc."),
    }  # fmt: skip
    assert [one["amount"] for one in told["postings"]] == ["44.00"]
    assert total(made.invoice(-201)) == Decimal("520.00")


@pytest.mark.parametrize(
    "switches",
    [
        {"lastcreated": "never", "made_line_ids": False, "made_header_id": False},
        {"lastcreated": "never", "made_fields_copied": ()},
        {"made_line_ids": False, "made_header_id": False, "made_fields_copied": ()},
    ],
    ids=["marks", "line ids", "lastcreated"],
)
def test_what_2d66cc8_put_on_templates_goes_on_once_HaloPSA_invoiced_it(
    waiting: Callable[..., Scene], switches: dict[str, Any]
) -> None:
    made = waiting(**switches)
    for row in (-201, -204):
        made.sandbox.make(row)
    november(made)
    told = made.office.run("run", NOV, "--yes", "--json").must().json
    assert sorted(one["amount"] for one in told["postings"]) == ["264.00", "27.00", "44.00"]
    assert texts(made.invoice(-201)) == ["12 x 22.00 Microsoft 365 Business Premium"]  # the one-time line is off
    assert made.office.run("run", NOV, "--yes", "--json").must().json["postings"] == []
    made.office.run("audit", "verify").must()


def test_an_older_ledger_is_upgraded_first(left_by: Callable[[str], Scene]) -> None:
    made = left_by("2d66cc8")
    refused = made.office.run("plan", NOV)
    assert refused.code and "db upgrade" in refused.stderr
    made.office.run("db", "upgrade").must()
    made.office.run("audit", "verify").must()


def test_a_month_that_2d66cc8_began_is_not_billed_again_and_holds_nobody(left_by: Callable[[str], Scene]) -> None:
    made = left_by("2d66cc8")
    made.office.run("db", "upgrade").must()
    before = made.sandbox.state()["halo"]["invoices"]
    plan = made.office.plan(NOV)
    balanced(plan)
    assert [
        (hold["reason"], hold["client_id"]) for hold in made.office.run("holds", NOV, "--json").must(3).json["holds"]
    ] == [("bad_amount", 217)]  # as it was held before
    assert plan["true_ups"] == []
    assert made.office.run("run", OCT, "--yes", "--json").must().json["postings"] == []
    assert made.office.run("run", NOV, "--yes", "--json").must(3).json["postings"] == []
    assert made.sandbox.state()["halo"]["invoices"] == before


def test_what_2d66cc8_held_is_billed_once_it_is_right_and_nothing_else(left_by: Callable[[str], Scene]) -> None:
    made = left_by("2d66cc8")
    made.office.run("db", "upgrade").must()
    (broken,) = [row for row in made.sandbox.pax8.items["nov"] if row["total"] == "much"]
    broken["total"] = Decimal("30.00")
    (posting,) = made.office.run("run", NOV, "--yes", "--json").must().json["postings"]
    assert (posting["client_id"], posting["amount"]) == (217, "30.00")
    assert made.office.run("run", NOV, "--yes", "--json").must().json["postings"] == []


def test_the_month_after_is_billed_as_any_other(left_by: Callable[[str], Scene]) -> None:
    """Identity by the content alone: the next month's charges of the same things are new ones."""
    made = left_by("2d66cc8")
    made.office.run("db", "upgrade").must()
    rows = [dict(row, startPeriod="2026-12-01", endPeriod="2026-12-28") for row in made.sandbox.pax8.items["oct"]]
    made.month("2026-12", *(dict(row, id=f"dec-{n}") for n, row in enumerate(rows)), invoice="dec")
    told = made.office.run("run", "2026-12", "--yes", "--json").must(0, 3).json
    assert told["holds"] == []
    assert sum(Decimal(one["amount"]) for one in told["postings"]) == Decimal("612.00")
