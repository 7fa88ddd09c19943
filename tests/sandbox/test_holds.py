"""`holds` reads the plan that was kept; nobody is asked, and what was decided since then counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli import TEXT_ONLY, Office

from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox

TROUBLED = SandboxOptions(clients=12, charges=60, history=0)


@pytest.fixture
def office(tmp_path: Path):
    with Sandbox(TROUBLED) as sandbox:
        made = Office(tmp_path, sandbox)
        made.rules(TEXT_ONLY)
        yield made


def test_holds_of_a_kept_plan_ask_nobody(office: Office) -> None:
    plan = office.plan()
    waiting = sorted(hold["charge"] for each in [*plan["clients"], plan["unassigned"]] for hold in each["holds"])
    office.sandbox.calls.clear()
    told = office.run("holds", "--json").must(3).json
    assert waiting and sorted(one["charge"] for one in told["holds"]) == waiting and told["period"] == "2026-11"
    assert list(office.sandbox.calls) == []


def test_without_a_plan_one_is_made(office: Office) -> None:
    told = office.run("holds", "--json").must(3).json
    assert told["holds"] and list(office.sandbox.calls)


def test_a_decision_since_the_plan_counts_and_asks_nobody_either(office: Office) -> None:
    plan = office.plan()
    line = next(line for client in plan["clients"] for line in client["lines"] if not client["holds"])
    office.run("set-aside", line["charges"][0], "--reason", "ask them").must(0)
    office.sandbox.calls.clear()
    told = office.run("holds", "--json").must(3).json
    assert line["charges"][0] in {one["charge"] for one in told["holds"]}
    assert list(office.sandbox.calls) == []


def test_people_are_told_by_which_plan_it_is(office: Office) -> None:
    digest = office.plan()["digest"]
    assert f"By plan {digest[:12]} of " in office.run("holds").must(3).stderr
