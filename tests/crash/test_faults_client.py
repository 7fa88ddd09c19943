"""The faults that put one client's month or less at risk (spec/faults.md, rows 21 to 40), as far as posting goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sim_faults import SHAPES, try_cell
from sim_kills import cut_at
from sim_late import try_late
from sim_month import End, Shape, account, check, cycle, start, until_done, workshop
from sim_schedules import NEW, items_twice, killed_after_item, one_fault, person_edits, undo_and_again
from simulation import Sim

from billingsync.sandbox.faults import Fault
from billingsync.sandbox.wire import Request, copy_json


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with workshop() as found:
        yield found


@pytest.mark.parametrize("effect", ["append", "recurring update"])
@pytest.mark.parametrize("lines", ["replace", "merge"])
def test_fault_22_lost_update(folder: Path, effect: str, lines: str) -> None:
    """A person edits another line between our reading and our writing: the edit stays, and we bill once."""
    assert person_edits(folder, effect, replace(SHAPES[effect], lines=lines)) == []


def test_fault_23_target_closed_between_read_and_write(folder: Path) -> None:
    """Refused; nothing is on the closed invoice, and the client is named."""
    begun = start(SHAPES["append"])
    sim = begun.sim(folder)

    def close(name: str, _: object, __: int) -> None:
        if name == "append":
            invoices = sim.world.halo.tables.invoices
            row = copy_json(invoices[max(invoices)])
            sim.world.halo.tables.put("invoices", row | {"posted": True, "dateposted": row["invoice_date"]})

    sim.on_request = close  # type: ignore[assignment]
    end = End()
    cycle(sim, end)
    cycle(sim, end)
    assert account(begun, sim).missing == begun.due
    assert end.result.state in ("held", "failed")
    assert all(hold.reason == "latest_closed" for hold in end.result.holds)


@pytest.mark.parametrize("fault", ["error inside", "list for object", "body not JSON", "body cut"])
def test_fault_24_answer_of_another_kind(folder: Path, fault: str) -> None:
    """Only our key with our amounts is done; anything else is read back, and billed once."""
    assert try_cell(folder, fault, "create", again=False).wrong == ()


@pytest.mark.parametrize("fault", ["fewer lines", "amounts rounded"])
def test_fault_24_something_else_was_stored(folder: Path, fault: str) -> None:
    """An alarm that shows both sides; nothing is posted over it."""
    assert try_cell(folder, fault, "create", again=False).wrong == ()


def test_fault_24_error_inside_and_nothing_done(folder: Path) -> None:
    """A 200 that did nothing is not believed: sent again after the horizon."""
    assert one_fault(folder, "create", Fault(kind="error_inside")) == []


def test_fault_25_undo_interrupted(folder: Path) -> None:
    """Each line is undone once, whatever becomes of the reply; what was undone can be billed again."""
    for fault in ("reset after commit", "reset before body", "502/503/504"):
        assert try_cell(folder, fault, "delete").wrong == (), fault


def test_fault_25_original_lands_after_undo(folder: Path) -> None:
    """The undone key is watched: its late landing is named with both ids."""
    assert try_late(folder, "create", "after undo", "true").wrong == ()


@pytest.mark.parametrize("behavior", ["new", "latest", "recurring"])
def test_fault_25_undo_and_bill_again(folder: Path, behavior: str) -> None:
    """After the undo HaloPSA is as before; after the next run as if nothing had been undone."""
    assert undo_and_again(folder, Shape(clients=2, charges=2, behavior=behavior)) == []


@pytest.mark.parametrize("fault", ["reset after commit", "timeout after commit", "error inside"])
@pytest.mark.parametrize("effect", ["intent commit", "receipt commit"])
def test_fault_26_commit_unknown(folder: Path, effect: str, fault: str) -> None:
    """The intent is read back on a new connection before the POST: without it nothing is sent."""
    found = try_cell(folder, fault, effect, again=False)
    assert found.wrong == ()
    assert found.hit


@pytest.mark.parametrize("fault", ["DNS fails", "refused", "reset before body", "429 absurd", "HTML login page"])
@pytest.mark.parametrize("effect", ["intent commit", "receipt commit"])
def test_fault_27_disk_trouble(folder: Path, effect: str, fault: str) -> None:
    """Before the POST nothing is sent; after it the outcome is found at the next start."""
    found = try_cell(folder, fault, effect, again=False)
    assert found.wrong == ()
    assert found.hit


def test_fault_29_token_expires_between_intent_and_post(folder: Path) -> None:
    """One renewal, and the same posting goes out."""
    begun = start(NEW)
    sim = begun.sim(folder)

    def void(name: str, _: object, number: int) -> None:
        if (name, number) == ("create", 1):
            sim.world.halo.tokens.void_all()

    sim.on_request = void  # type: ignore[assignment]
    assert check(begun, sim, until_done(sim, most=1)) == []


def test_fault_29_right_is_missing(folder: Path) -> None:
    """Refused with the status, the intent closed as refused; with the right it is billed."""
    begun = start(NEW)
    sim = begun.sim(folder)
    sim.on_request = lambda name, *_: Fault(kind="403") if name == "create" else None
    end = End()
    cycle(sim, end)
    assert end.result.state == "failed"
    assert all("403" in posting.problem for posting in end.result.postings)
    with sim.connected() as opened:
        assert opened.ledger.unresolved() == ()
    sim.on_request = None
    assert check(begun, sim, until_done(sim, most=1)) == []


@pytest.mark.parametrize("retry_after", [None, "0", "-5", "1000000000", "Sun, 06 Nov 1994 08:49:37 GMT"])
def test_fault_30_429_storm(folder: Path, retry_after: str | None) -> None:
    """A 429 on a write is refused, not unknown: it is sent again, no horizon is waited for, and waits stay short."""
    begun = start(NEW)
    sim = begun.sim(folder)
    storm = Fault(kind="429", retry_after=retry_after)
    sim.on_request = lambda name, _, number: storm if name == "create" and number in (1, 2, 4) else None
    began = sim.world.clock.now()
    end = until_done(sim, most=1)
    assert check(begun, sim, end) == []
    assert sim.world.clock.now() - began < 3 * 300 + 60
    assert not any("may still show" in text for text in sim.said)


@pytest.mark.parametrize("fault", ["reset after commit", "timeout after commit", "reset before body", "marker dropped"])
def test_fault_34_item_created_twice(folder: Path, fault: str) -> None:
    """Searched, marked, read back: one item."""
    assert try_cell(folder, fault, "item create", again=False).wrong == ()


def test_fault_34_killed_after_the_item(folder: Path) -> None:
    """The next run finds it."""
    assert killed_after_item(folder) == []


def test_fault_34_item_group_reply_lost(folder: Path) -> None:
    """One group, one item, although the group's reply was lost."""
    begun = start(NEW)
    sim = begun.sim(folder)
    lost = Fault(kind="reset_after")
    sim.on_request = lambda _, asked, __: lost if _first_group(sim, asked) else None
    assert check(begun, sim, until_done(sim)) == []
    assert items_twice(sim) == []
    groups = [row["name"] for row in sim.world.halo.tables.groups.values()]
    assert len(groups) == len(set(groups))


def _first_group(sim: Sim, asked: Request) -> bool:
    before = sum(call.path == "/AssetGroup" and call.method == "POST" for call in sim.world.notes.calls)
    return asked.path == "/AssetGroup" and asked.method == "POST" and not before


@pytest.mark.parametrize("fault", ["one byte a second", "black hole", "DNS fails", "TLS expired", "308"])
def test_fault_39_slow_or_strange_network(folder: Path, fault: str) -> None:
    """The total deadline ends it; what was sent is looked for, what was not is sent again; no redirect is followed."""
    assert try_cell(folder, fault, "create", again=False).wrong == ()


def test_fault_40_stopped_in_mid_post(folder: Path) -> None:
    """Ctrl-C or SIGTERM between request and receipt: the write is unknown, and adopted at the next start."""
    begun = start(NEW)
    sim = begun.sim(folder)
    until_done(sim)
    for number, what in enumerate(sim.trace, 1):
        if what.startswith(("before create", "after create", "after commit intent")):
            assert cut_at(begun, folder, number, KeyboardInterrupt) == [], what


@pytest.mark.parametrize("fault", ["DNS fails", "TLS expired", "401", "403", "error inside"])
def test_fault_40_nobody_listens(folder: Path, fault: str) -> None:
    """A broken pipe or a full disk under our words changes nothing about the money."""
    assert try_cell(folder, fault, "report out", again=False).wrong == ()
