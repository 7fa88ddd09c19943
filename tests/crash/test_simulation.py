"""The simulated campaigns of issue 4: kill points, faults x effects, late landings x searches, months, planted bugs.

Three sizes: what every call of pytest runs is a sample; BILLINGSYNC_CAMPAIGN=commit runs what each commit must see
(every cell); --long runs more behaviors, pairs of kills and many more months. Each failure names its cell or its seed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sim_faults import CELLS as MATRIX
from sim_faults import EFFECTS, FAULTS, Verdict, shape_for, try_cell, why_not
from sim_kills import cut_at, kill_everywhere
from sim_late import CELLS as LATE
from sim_late import WRITES, beyond, try_late
from sim_month import Shape, check, start, until_done, workshop
from sim_months import SHAPES, simulate
from sim_mutants import MUTANTS, Mutant
from sim_schedules import backup_drill, undo_and_again

WHOLE = os.environ.get("BILLINGSYNC_CAMPAIGN", "") == "commit"
MONEY = ("create", "append", "recurring update", "intent commit", "receipt commit")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with workshop() as found:
        yield found


# Kill points ----------------------------------------------------------------------------------------------------------


def test_undisturbed_month_is_billed_to_the_cent(folder: Path) -> None:
    begun = start(Shape())
    sim = begun.sim(folder)
    end = until_done(sim, most=1)
    assert check(begun, sim, end) == []
    assert {"create", "append", "recurring update", "item create"} <= sim.requests.keys()


def test_killed_at_every_effect_the_end_is_the_undisturbed_one(folder: Path) -> None:
    """Before and after every request, changing statement and commit, all three behaviors and item creation."""
    killed = kill_everywhere(start(Shape(clients=4)), folder, again=WHOLE)
    assert killed.wrong == []
    assert killed.points > 150
    assert killed.images > 20


@pytest.mark.parametrize("every", [1 if WHOLE else 37])
def test_power_cut_as_an_exception(folder: Path, every: int) -> None:
    """The same as an exception that nothing catches, after which the dead process can do nothing; and as Ctrl-C, after
    which it still may."""
    begun = start(Shape())
    for number in range(3, 175, every):
        assert cut_at(begun, folder, number) == [], number
    for number in range(9, 175, 2 * every):
        assert cut_at(begun, folder, number, KeyboardInterrupt) == [], number


@pytest.mark.long
@pytest.mark.parametrize("lines", ["replace", "merge"])
@pytest.mark.parametrize("sent_as", ["header", "updatelines", "add_lines"])
def test_killed_at_every_effect_in_every_way_of_writing(folder: Path, sent_as: str, lines: str) -> None:
    assert kill_everywhere(start(Shape(sent_as=sent_as, lines=lines)), folder).wrong == []


@pytest.mark.long
@pytest.mark.parametrize("behavior", ["", "new", "latest", "recurring"])
def test_killed_twice_every_ordered_pair(folder: Path, behavior: str) -> None:
    killed = kill_everywhere(start(Shape(clients=4 if not behavior else 2, behavior=behavior)), folder, twice=True)
    assert killed.wrong == []
    assert killed.pairs > 1_000


def test_ledger_restored_to_each_commit_of_the_month(folder: Path) -> None:
    """Everything is adopted, and nothing is posted once more."""
    points, wrong = backup_drill(folder, every=1 if WHOLE else 7)
    assert wrong == []
    assert points >= 3


def test_undo_gives_back_what_was_and_a_new_run_what_had_been(folder: Path) -> None:
    assert undo_and_again(folder) == []


# Faults x effects -----------------------------------------------------------------------------------------------------


def test_the_matrix_has_544_cells_and_says_which_do_not_apply() -> None:
    assert len(MATRIX) == 544
    idle = {cell: why_not(*cell) for cell in MATRIX if why_not(*cell)}
    assert len(idle) == 96
    assert all(any(not why_not(fault, effect) for effect in EFFECTS) for fault in FAULTS)


def _sample(effect: str) -> list[str]:
    """All cells of an effect, or those that a short run takes: each fault meets money, the rest takes turns."""
    faults = [fault for fault in FAULTS if not why_not(fault, effect)]
    if WHOLE:
        return faults
    turn = EFFECTS.index(effect)
    return [fault for n, fault in enumerate(faults) if (n + turn) % (5 if effect in MONEY else 13) == 0]


@pytest.mark.parametrize("effect", EFFECTS)
def test_one_fault_and_everything_is_billed_once(folder: Path, effect: str) -> None:
    """I1 to I7, I9 and I10 after each: within two cycles everything is posted or adopted without a person; only where
    HaloPSA stored something else than was sent it waits, named."""
    found = [try_cell(folder, fault, effect, again=WHOLE) for fault in _sample(effect)]
    _all_well(found)


@pytest.mark.long
@pytest.mark.parametrize("lines", ["replace", "merge"])
@pytest.mark.parametrize("behavior", ["new", "latest", "recurring"])
@pytest.mark.parametrize("effect", EFFECTS)
def test_one_fault_under_every_behavior(folder: Path, effect: str, behavior: str, lines: str) -> None:
    shape = Shape(clients=2, charges=2, behavior=behavior, lines=lines)
    ways = {"create": "new", "append": "latest", "recurring update": "recurring", "delete": "new"}
    if ways.get(effect, behavior) != behavior:
        pytest.skip("this behavior has no such effect")
    found = [
        try_cell(folder, fault, effect, nth, shape)
        for fault in FAULTS
        if not why_not(fault, effect)
        for nth in ((1,) if effect in ("report out", "delete") else (1, 2))
    ]
    assert [str(each) for each in found if each.wrong] == []


def _all_well(found: list[Verdict]) -> None:
    assert [str(each) for each in found if each.wrong] == []
    assert [str(each) for each in found if not each.hit] == []


# Late landings x searches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", WRITES)
def test_late_landings_under_every_search(folder: Path, write: str) -> None:
    """Up to the horizon as if nothing had been; beyond it never unnoticed: both ids are told, nothing is deleted."""
    cells = [cell for cell in LATE if cell[0] == write]
    if not WHOLE:
        cells = cells[WRITES.index(write) % 3 :: 9]
    found = [try_late(folder, *cell) for cell in cells]
    assert [str(each) for each in found if each.wrong] == []
    assert all(beyond(each.delay, each.search) for each in found if each.twice)
    assert all(each.detected for each in found if each.twice)


@pytest.mark.long
@pytest.mark.parametrize("lines", ["replace", "merge"])
def test_late_landings_under_both_semantics(folder: Path, lines: str) -> None:
    found = [try_late(folder, *cell, lines=lines) for cell in LATE]
    assert [str(each) for each in found if each.wrong] == []


# Months ---------------------------------------------------------------------------------------------------------------


def _months(folder: Path, seeds: range, shapes: tuple[Shape, ...] = SHAPES) -> None:
    charged = billed = 0
    for seed in seeds:
        month = simulate(folder, seed, shapes)
        assert month.wrong == (), f"seed {seed}: {month.wrong}"
        charged, billed = charged + month.charged, billed + month.billed
    print(f"months with seeds {seeds.start} to {seeds.stop - 1}: {billed} of {charged} charges billed")
    assert billed >= charged * 0.99  # I10: in the worst random weather


def test_random_months(folder: Path) -> None:
    """Random faults, kills and people's edits; the failing seed is printed."""
    if WHOLE:
        _months(folder, range(6_000))
    else:
        _months(folder, range(10), SHAPES[:2])


@pytest.mark.long
@pytest.mark.parametrize("block", range(20))
def test_many_random_months(folder: Path, block: int) -> None:
    _months(folder, range(10_000 + 300 * block, 10_300 + 300 * block))


def test_same_seed_same_trace(folder: Path) -> None:
    """I8: every request, statement, commit and the last byte of HaloPSA's tables."""
    first, second = (simulate(folder, 3, SHAPES[:2]).trace for _ in range(2))
    assert first == second
    assert first != simulate(folder, 4, SHAPES[:2]).trace


# Planted bugs ---------------------------------------------------------------------------------------------------------


def test_at_least_twenty_bugs_are_planted() -> None:
    assert len({mutant.name for mutant in MUTANTS}) >= 20


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_planted_bug_is_caught(folder: Path, mutant: Mutant) -> None:
    if WHOLE:
        assert mutant.catch(folder) == [], "the campaign complains without the bug"
    with mutant.plant():
        try:
            wrong = mutant.catch(folder)
        except Exception as bad:  # noqa: BLE001 - a bug that breaks the run is a bug that is seen
            wrong = [repr(bad)]
    assert wrong


__all__ = ["shape_for"]
