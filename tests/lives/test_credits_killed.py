"""Undo of a credit, killed at its effects: what the client is invoiced in the end is right, whatever comes next [N4] [R5]."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from life_model import must_pay, was_invoiced
from life_office import lifelong
from life_play import Play
from life_script import Script


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with lifelong() as found:
        yield found


def credited(folder: Path) -> tuple[Play, str]:
    """A month that was billed, closed and credited; the run of the credit."""
    folder.mkdir()
    play = Play(folder, Script(0, ("new", "new"), 1))
    play.scene.until(1, 8)
    play._payers()
    play._write_rules()
    play.bills[0] = play.scene.release()
    play.scene.until(5)
    run = play._bill(0).json["run"]
    for row in play.scene.open_invoices(0):
        play.scene.person("close", row["id"], how="posted")
    assert play.office.run("undo", run, "--yes", "--credit", "--json").code == 0
    return play, play.office.run("runs", "--json").json["runs"][0]["run"]


def right(play: Play) -> bool:
    pax8, halo = play.world.pax8, play.world.halo.tables
    must = must_pay(pax8.invoices, pax8.items, play.scene.decisions.payer)
    return must == was_invoiced(halo.invoices.values())


def test_R5_killed_while_a_credit_is_taken_back(folder: Path) -> None:
    """Killed at every fifth effect; then it is undone again, or the month is run at once."""
    code, effect, killed = 137, 1, 0
    while code == 137:
        play, run = credited(folder / f"{effect}")
        play.office.cut_at = effect
        code = play.office.run("undo", run, "--yes", "--json").code
        killed += code == 137
        if effect % 2:
            assert play.office.run("undo", run, "--yes", "--json").code == 0, effect
        assert play.office.run("run", "2026-01", "--yes", "--json").code == 0, effect
        assert right(play), effect
        assert play.office.run("audit", "verify").code == 0, effect
        effect += 5
    assert killed >= 4
