"""Schedules that are more than one fault: two processes, old ledgers, other installations, people at work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from sim_kills import images_of
from sim_month import End, Shape, Start, account, check, cycle, freeze, nothing_more, start, until_done
from simulation import Image, Sim, at_work

from billingsync.errors import BillingSyncError
from billingsync.run import undo
from billingsync.sandbox.faults import Fault
from billingsync.sandbox.wire import Request, copy_json
from billingsync.sources.pax8 import client as pax8_client
from billingsync.store.ledger import open_ledger
from billingsync.store.lock import LockBook

MIXED = Shape()
NEW = Shape(clients=2, charges=2, behavior="new")


def backup_drill(folder: Path, shape: Shape = MIXED, every: int = 1) -> tuple[int, list[str]]:
    """Faults 1 and 10: the ledger is put back to each commit of the month while HaloPSA stays; then it runs again."""
    begun = start(shape)
    first = begun.sim(folder)
    _, images = images_of(first)
    after = first.image()
    wrong: list[str] = []
    tried = images[::every]
    for what, image in tried:
        sim = begun.sim(folder)
        sim.restore(Image(image.database, after.tables, after.moved + 60))
        end = until_done(sim, most=2)
        # what a recurring invoice was before is forgotten too: then its client waits for a person, and is told why
        waits = {one.client_id for n, one in enumerate(begun.members) if shape.behavior_of(n) == "recurring"}
        missing = account(begun, sim).missing
        named = bool(missing) and {line[0] for line in missing} <= waits
        problems = [posting for posting in end.result.postings if posting.problem] if end.result else []
        if any(posting.client_id not in waits for posting in problems):
            wrong.append(f"ledger of {what}: {problems[0].problem}")
        else:
            told = all("carries posting" in posting.problem for posting in problems)
            wrong += [f"ledger of {what}: {each}" for each in check(begun, sim, end, complete=not (problems or named))]
            wrong += [] if told else [f"ledger of {what}: {problems[0].problem}"]
        if sim.world.halo.tables.invoices.keys() != after.tables["invoices"].keys():
            wrong.append(f"ledger of {what}: other invoices than before")
    return len(tried), wrong


@contextlib.contextmanager
def _file_lock(alone: bool) -> Iterator[None]:
    """The file beside the database stops nobody: `alone`, as if its lock were free although its holder still lives;
    else the lease alone decides, as it does on PostgreSQL."""
    with mock.patch.object(LockBook, "_file_lock", return_value=contextlib.nullcontext(alone)):
        yield


def taken_over(
    folder: Path,
    at: str,
    *,
    lock_held: bool = False,
    lease: bool = False,
    stands_s: float = 5.0,
    ahead_s: float = 0.0,
    shape: Shape = NEW,
    busy: bool = False,
) -> list[str]:
    """Fault 9: a process stands still at its first effect of this name, `stands_s` long; another one, whose clock is
    `ahead_s`, takes over, bills everything, and then the first goes on. With `lock_held` the lock still works, and the
    second must leave without a write; with `lease` the lease is all of the lock; with `busy` HaloPSA answers the first
    creation with 429, so that it is sent once more."""
    begun = start(shape)
    sim = begun.sim(folder)
    if busy:
        sim.on_request = lambda name, _, number: Fault(kind="429") if (name, number) == ("create", 1) else None
    second = Sim(folder, begun.world, sim.settings, ahead_s=ahead_s)
    other = End()

    def watch(_: int, what: str) -> None:
        if what.startswith(at) and not other.cycles:
            sim.world.clock.advance(stands_s)
            with contextlib.nullcontext() if lock_held or lease else _file_lock(True):
                cycle(second, other)

    sim.watch = watch
    end = End()
    with _file_lock(False) if lease else contextlib.nullcontext():
        cycle(sim, end)
    sim.watch = None
    wrong = []
    if not other.cycles:
        wrong.append(f"nothing stood still at {at}")
    if lock_held:
        if not any("BS-LOCKED" in error for error in other.errors):
            wrong.append(f"the second was not turned away: {other.errors}")
    elif end.result is not None and end.result.postings and not any("BS-LOCKED" in error for error in end.errors):
        wrong.append("the first was not stopped by the fence")
    again = until_done(sim, most=2)
    if at.startswith("before create") and (twice := account(begun, sim).twice):
        # Between the last look at the fence and the first byte of the request nothing can stop a frozen process. It
        # must be told.
        problems = " ".join(posting.problem for one in (end, again) if one.result for posting in one.result.postings)
        problems += " ".join([again.result.message if again.result else "", *end.errors, *again.errors])
        return wrong if "times" in problems else [f"billed twice and nobody is told: {twice}"]
    wrong += check(begun, sim, again)
    wrong += [f"I4 {what}" for what in second.broken_order]
    return wrong


def two_installations(folder: Path, shape: Shape = NEW) -> list[str]:
    """Fault 2: another installation, with a ledger of its own, points at the tenant that was billed already."""
    begun = start(shape)
    first = begun.sim(folder)
    wrong = check(begun, first, until_done(first))
    elsewhere = folder / "other"
    elsewhere.mkdir(exist_ok=True)
    for old in elsewhere.glob("*"):
        old.unlink()
    second = Sim(elsewhere, begun.world, begun.settings(elsewhere))
    with at_work(second):
        open_ledger(second.settings.database_url, partner="default").close()
    before = freeze(begun.world)
    end = End()
    cycle(second, end)
    if not any("BS-OTHER-INSTALLATION" in error for error in end.errors):
        wrong.append(f"the other installation was not stopped: {end.errors}")
    if freeze(begun.world)["invoices"] != before["invoices"]:
        wrong.append("the other installation billed too")
    return wrong


def person_edits(folder: Path, effect: str, shape: Shape) -> list[str]:
    """Fault 22: between our reading and our writing a person edits another line of the same invoice."""
    begun = start(shape)
    sim = begun.sim(folder)
    edited: dict[str, Any] = {}

    def on_request(name: str, asked: Request, number: int) -> Fault | None:
        if name == effect and not edited:
            tables = sim.world.halo.tables
            table, invoice_id = (
                ("recurring", -700) if effect == "recurring update" else ("invoices", max(tables.invoices))
            )
            row = copy_json(tables.table(table)[invoice_id])
            stranger = next(line for line in row["lines"] if "[bs:" not in line["item_longdescription"])
            stranger["comment_1"] = "edited by hand meanwhile"
            row["change_seq"] += 1
            tables.put(table, row)
            before = {name: dict(begun.image.tables[name]) for name in begun.image.tables if name in _EDITED}
            before[table][invoice_id] = row
            edited.update({**begun.image.tables, **before})
        return None

    sim.on_request = on_request
    end = until_done(sim)
    return [] if edited and not (wrong := check(begun, sim, end, edited=edited)) else wrong if edited else ["no write"]


_EDITED = ("invoices", "recurring")


def marker_never_kept(folder: Path) -> list[str]:
    """Fault 7: HaloPSA drops the marker of every line. One client is affected, nothing else is posted."""
    begun = start(replace(NEW, clients=3))
    sim = begun.sim(folder)
    begun.world.change(marker_fields_kept=("internal_note",))
    try:
        end = End()
        cycle(sim, end)
    finally:
        begun.world.change(marker_fields_kept=("longdescription", "productnumber", "customfields", "internal_note"))
    made = sim.world.halo.tables.invoices.keys() - begun.image.tables["invoices"].keys()
    wrong = [] if len(made) == 1 else [f"{len(made)} invoices were made without a marker"]
    if not any("BS-MARKER-LOST" in error for error in end.errors):
        wrong.append(f"nobody was told: {end.errors}")
    return wrong


def second_look(folder: Path) -> list[str]:
    """[N2]: what lands between the first and the second look after the horizon is seen by the second."""
    begun = start(replace(NEW, clients=1))
    sim = begun.sim(folder)
    hits: list[int] = []

    def on_request(name: str, asked: Request, number: int) -> Fault | None:
        if name == "create" and not hits:
            hits.append(1)
            return Fault(kind="late", seconds=180.4)
        return None

    sim.on_request = on_request
    end = until_done(sim)
    sim.pass_time(600)
    return check(begun, sim, end)


def undo_and_again(folder: Path, shape: Shape = MIXED) -> list[str]:
    """I7: undone, HaloPSA is as before the month; run again, it is as after it."""
    begun = start(shape)
    sim = begun.sim(folder)
    end = until_done(sim)
    wrong = check(begun, sim, end)
    with contextlib.suppress(BillingSyncError), sim.connected() as opened:
        undo.undo_run(opened, end.result.run, who="the simulation", say=sim.say)
    if account(begun, sim).missing != begun.due:
        wrong.append(f"undone, yet billed: {sorted(begun.due - account(begun, sim).missing)}")
    sim.world.clock.advance(60)
    again = until_done(sim, most=2)
    wrong += check(begun, sim, again)
    return wrong or nothing_more(begun, sim)


def many_pages(folder: Path) -> list[str]:
    """Fault 12: an invoice of several pages is billed whole."""
    begun = start(NEW)
    sim = begun.sim(folder)
    with mock.patch.object(pax8_client, "_PAGE_SIZE", 1):
        end = until_done(sim, most=1)
    return check(begun, sim, end)


def one_fault(folder: Path, effect: str, fault: Fault, shape: Shape = NEW) -> list[str]:
    """A fault that is none of the matrix, at the effect's first time."""
    begun = start(shape)
    sim = begun.sim(folder)
    sim.on_request = lambda name, _, number: fault if (name, number) == (effect, 1) else None
    end = until_done(sim)
    return check(begun, sim, end)


def items_twice(sim: Sim) -> list[str]:
    names = [row["name"] for row in sim.world.halo.tables.items.values() if not row.get("status")]
    return sorted({f"item twice: {name}" for name in names if names.count(name) > 1})


def killed_after_item(folder: Path) -> list[str]:
    """Fault 34: killed right after each item was created; run again, there is one of each."""
    begun = start(NEW)
    first = begun.sim(folder)
    _, images = images_of(first)
    wrong: list[str] = []
    for what, image in images:
        if "item create" in what:
            sim = begun.sim(folder)
            sim.restore(image)
            end = until_done(sim, most=2)
            wrong += [*check(begun, sim, end), *items_twice(sim)]
    return wrong


def killed_after(folder: Path, effect: str, shape: Shape = NEW) -> list[str]:
    """Killed right after HaloPSA did it."""
    begun = start(shape)
    first = begun.sim(folder)
    _, images = images_of(first)
    wrong: list[str] = []
    for what, image in images:
        if f"after {effect} " in what:
            sim = begun.sim(folder)
            sim.restore(image)
            sim.world.clock.advance(1)
            end = until_done(sim, most=2)
            wrong += check(begun, sim, end)
    return wrong


__all__ = ["NEW", "Start", "backup_drill", "killed_after", "taken_over", "two_installations", "undo_and_again"]
