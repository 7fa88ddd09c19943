"""The faults that put a whole month at risk (spec/faults.md, rows 1 to 20), as far as posting is concerned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from sim_faults import try_cell
from sim_kills import images_of
from sim_late import try_late
from sim_month import MONTH, End, Shape, account, check, cycle, nothing_more, start, until_done, workshop
from sim_schedules import (
    NEW,
    backup_drill,
    killed_after,
    many_pages,
    marker_never_kept,
    one_fault,
    second_look,
    taken_over,
    two_installations,
)  # fmt: skip
from simulation import Image, freeze

from billingsync.core.period import Period
from billingsync.errors import StalePlan
from billingsync.run.plan import make_plan
from billingsync.run.run import post_digest
from billingsync.sandbox.faults import Fault

BEHAVIORS = ("new", "latest", "recurring")
EFFECT = {"new": "create", "latest": "append", "recurring": "recurring update"}


def _two(behavior: str) -> Shape:
    return Shape(clients=2, charges=2, behavior=behavior)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with workshop() as found:
        yield found


@pytest.mark.parametrize("behavior", BEHAVIORS)
def test_fault_01_ledger_restored(folder: Path, behavior: str) -> None:
    """Ledger restored from before the last run: everything is adopted, 0 posted. Where a recurring invoice's past is
    forgotten with it, nothing is sent for that client and the invoice and posting are named."""
    points, wrong = backup_drill(folder, _two(behavior), every=4)
    assert points >= 4
    assert wrong == []


def test_fault_01_search_not_complete(folder: Path) -> None:
    """Ledger restored, and HaloPSA's list cannot be read whole: nothing at all is posted."""
    begun = start(NEW)
    first = begun.sim(folder)
    _, images = images_of(first)
    after = first.image()
    sim = begun.sim(folder)
    sim.restore(Image(images[0][1].database, after.tables, after.moved + 60))
    sim.world.faults.add(Fault(service="halo", method="GET", path="/Invoice", kind="cut50", times=None))
    sim.world.change(list_paging="repeats", max_page_size=1)
    try:
        cycle(sim, End())
    finally:
        sim.world.change(list_paging="honoured", max_page_size=None)
    assert sim.world.halo.tables.invoices.keys() == after.tables["invoices"].keys()


@pytest.mark.parametrize("behavior", BEHAVIORS)
def test_fault_02_two_installations(folder: Path, behavior: str) -> None:
    """Strange installation id in a marker: exit 5, before anything is written, whatever the behavior."""
    assert two_installations(folder, _two(behavior)) == []


@pytest.mark.parametrize("delay", ["settle + 1", "horizon - 1", "horizon + 1", "next period", "after undo"])
def test_fault_04_late_landing(folder: Path, delay: str) -> None:
    """Absence believed after horizon and two complete looks; what lands later is an alarm with both ids."""
    assert try_late(folder, "create", delay, "true").wrong == ()


def test_fault_04_second_look(folder: Path) -> None:
    """What lands between the two looks is found by the second."""
    assert second_look(folder) == []


@pytest.mark.parametrize("behavior", BEHAVIORS)
@pytest.mark.parametrize("fault", ["reset after commit", "500 empty", "502/503/504", "timeout after commit"])
def test_fault_05_reply_lost(folder: Path, behavior: str, fault: str) -> None:
    """Unknown; no blind repeat; the key is found and adopted after comparing to the cent."""
    found = try_cell(folder, fault, EFFECT[behavior], shape=_two(behavior), again=False)
    assert found.wrong == ()
    assert found.hit


@pytest.mark.parametrize("search", ["stale", "cut at 50", "pages repeated"])
def test_fault_06_search_lies(folder: Path, search: str) -> None:
    """Absent only if the rows are as many as counted, none comes twice and a known invoice is found: never twice."""
    assert try_late(folder, "create", "settle - 1", search).wrong == ()


def test_fault_07_marker_never_kept(folder: Path) -> None:
    """The first posting goes alone and is read back: one client is affected, nothing else is posted."""
    assert marker_never_kept(folder) == []


@pytest.mark.parametrize("behavior", BEHAVIORS)
@pytest.mark.parametrize("fault", ["marker dropped", "text cut"])
def test_fault_07_marker_dropped(folder: Path, behavior: str, fault: str) -> None:
    """Lines like ours without their marks are shown and held, never posted over."""
    found = try_cell(folder, fault, EFFECT[behavior], shape=_two(behavior), again=False)
    assert found.wrong == ()
    assert found.hit


@pytest.mark.parametrize("at", ["after commit intent", "before create", "after create", "after commit receipt"])
def test_fault_09_frozen_and_woken(folder: Path, at: str) -> None:
    """The epoch stops a process that was taken over while it stood still. Only between the last look at the fence and
    the request's first byte nothing can: then both invoices are named."""
    assert taken_over(folder, at) == []


def test_fault_09_frozen_while_it_waits_to_send_again(folder: Path) -> None:
    """The fence is asked before every sending, not only before the first."""
    assert taken_over(folder, "after create 429", busy=True) == []


@pytest.mark.parametrize("at", ["before item page", "after commit intent", "after create"])
def test_fault_09_two_at_once(folder: Path, at: str) -> None:
    """The second exits 5 and wrote nothing."""
    assert taken_over(folder, at, lock_held=True) == []


@pytest.mark.parametrize("behavior", BEHAVIORS)
def test_fault_10_power_cut_right_after_the_post(folder: Path, behavior: str) -> None:
    """The key is found by search and adopted."""
    assert killed_after(folder, EFFECT[behavior], _two(behavior)) == []


def test_fault_12_pages(folder: Path) -> None:
    """An invoice of many pages is billed whole; a page that comes twice is not ready, and billed in the next cycle."""
    assert many_pages(folder) == []
    assert one_fault(folder, "item page", Fault(kind="no_rows")) == []


def test_fault_14_another_tenant(folder: Path) -> None:
    """Exit 5 before any client is read."""
    begun = start(NEW)
    sim = begun.sim(folder)
    cycle(sim, End())
    sim.requests.clear()
    elsewhere = sim.settings.halo.model_copy(update={"base_url": "http://localhost:1/halo"})
    sim.settings = sim.settings.model_copy(update={"halo": elsewhere})
    end = End()
    cycle(sim, end)
    assert any("BS-OTHER-TENANT" in error for error in end.errors), end.errors
    assert not sim.requests.keys() & {"clients", "invoice search", "create"}


def test_fault_17_source_changed_after_approval(folder: Path) -> None:
    """Digest differs: StalePlan, what changed is shown, nothing is written."""
    begun = start(NEW)
    sim = begun.sim(folder)
    with sim.connected() as opened:
        shown = make_plan(opened, Period.parse(MONTH), say=sim.say).plan.digest
    row = next(row for invoice in begun.world.pax8.invoices if invoice["invoiceDate"].startswith(MONTH)
               for row in begun.world.pax8.items[invoice["id"]])  # fmt: skip
    before = row["total"]
    row["total"] = before + Decimal("1.00")
    try:
        with sim.connected() as opened, pytest.raises(StalePlan, match="before"):
            post_digest(opened, shown, who="the simulation", say=sim.say)
    finally:
        row["total"] = before
    assert freeze(begun.world)["invoices"] == begun.image.tables["invoices"]


@pytest.mark.parametrize("behavior", BEHAVIORS)
def test_fault_18_pressed_again(folder: Path, behavior: str) -> None:
    """Run again: nothing is planned, sent or changed."""
    begun = start(_two(behavior))
    sim = begun.sim(folder)
    assert check(begun, sim, until_done(sim)) == []
    assert nothing_more(begun, sim) == []


def test_fault_16_all_prices_missing(folder: Path) -> None:
    """Well-formed, and all amounts gone: nothing is billed at zero without a word."""
    begun = start(replace(NEW, seed=2))
    sim = begun.sim(folder)
    rows = [row for rows in begun.world.pax8.items.values() for row in rows]
    kept = [dict(row) for row in rows]
    for row in rows:
        for name in ("total", "subTotal", "price"):
            row.pop(name, None)
    try:
        end = End()
        cycle(sim, end)
        assert end.result is None or end.result.state != "complete"
        assert account(begun, sim).missing == begun.due
    finally:
        for row, was in zip(rows, kept, strict=True):
            row.update(was)
