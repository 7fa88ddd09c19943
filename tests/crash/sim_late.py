"""Late landings: a write that is carried out only after it was given up, under searches that tell the truth or lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sim_month import (
    MONTH,
    NEXT_MONTH,
    End,
    Shape,
    Start,
    account,
    check,
    cycle,
    make_invoices,
    nothing_more,
    start,
    until_done,
)
from simulation import Sim, freeze

from billingsync.errors import BillingSyncError
from billingsync.run import undo
from billingsync.sandbox.faults import Fault
from billingsync.sandbox.wire import Request

HORIZON, SETTLE, BEHIND = 180.0, 60.0, 100.0  # seconds; the last: how far a stale search is behind
DELAYS: dict[str, float | None] = {
    "0": 0.0, "1 s": 1.0, "settle - 1": SETTLE - 1, "settle + 1": SETTLE + 1, "horizon - 1": HORIZON - 1,
    "horizon + 1": HORIZON + 1, "after undo": None, "next period": None,
}  # fmt: skip
SEARCHES = {
    "true": None,
    "stale": Fault(kind="stale", seconds=BEHIND, times=None),
    "cut at 50": Fault(kind="cut50", count="cut", times=None),
    "pages repeated": Fault(kind="repeat_pages", times=None),
}
WRITES = ("create", "append", "recurring update", "item create", "delete")
CELLS = [(write, delay, search) for write in WRITES for delay in DELAYS for search in SEARCHES]
assert len(CELLS) == 160


@dataclass(frozen=True)
class Late:
    write: str
    delay: str
    search: str
    wrong: tuple[str, ...]
    twice: bool
    detected: bool

    def __str__(self) -> str:
        return f"{self.write} landing {self.delay}, search {self.search}: {'; '.join(self.wrong) or 'well'}"


def shape_for(write: str, search: str, lines: str = "replace") -> Shape:
    behavior = {"append": "latest", "recurring update": "recurring"}.get(write, "new")
    long = search in ("cut at 50", "pages repeated") and behavior == "new"
    return Shape(clients=1, charges=2, behavior=behavior, old_invoices=53 if long else 2, lines=lines)


def try_late(folder: Path, write: str, delay: str, search: str, *, lines: str = "replace") -> Late:
    begun = start(shape_for(write, search, lines))
    sim = begun.sim(folder)
    begun.world.change(max_page_size=50 if search == "pages repeated" else None)
    try:
        return _try(begun, sim, write, delay, search)
    finally:
        begun.world.change(max_page_size=None)
        sim.world.pending.clear()


def beyond(delay: str, search: str) -> bool:
    """Whether HaloPSA shows it only after the horizon: an index that is late counts as a landing that is late."""
    seconds = DELAYS[delay]
    return seconds is None or seconds + (BEHIND if search == "stale" else 0) > HORIZON


def _arm(sim: Sim, write: str, seconds: float | None) -> None:
    hits: list[str] = []

    def on_request(name: str, asked: Request, number: int) -> Fault | None:
        if name == write and not hits and not (write == "item create" and asked.path.lower().startswith("/assetgroup")):
            hits.append(name)
            return Fault(kind="late", seconds=seconds)
        return None

    sim.on_request = on_request


def _lie(sim: Sim, search: str) -> None:
    if fault := SEARCHES[search]:
        sim.world.faults.add(replace(fault, service="halo", method="GET", path="/Invoice"))
        # of items none is known to exist beforehand: there the count must be believed
        sim.world.faults.add(replace(fault, service="halo", method="GET", path="/Item", count="true"))


def _try(begun: Start, sim: Sim, write: str, delay: str, search: str) -> Late:
    seconds = DELAYS[delay]
    run = ""
    if write == "delete":
        end = until_done(sim)
        run = end.result.run
    _arm(sim, write, seconds)
    _lie(sim, search)
    if write == "delete":
        return _deleted(begun, sim, run, delay, search)
    end = End()
    cycle(sim, end)
    sim.world.faults.clear()  # the lie ends with the run
    if delay != "next period":
        end = _go_on(sim, end)
    if delay == "after undo" and end.result is not None:
        _undo(sim, end.result.run)
        sim.world.land()
        cycle(sim, end)
    elif delay == "next period":
        end = _go_on(sim, end)
        make_invoices(sim.world)
        sim.world.land()
        end = End()
        cycle(sim, end, NEXT_MONTH)
    elif beyond(delay, search):
        sim.pass_time(HORIZON)
        cycle(sim, end)
    sim.pass_time(2 * HORIZON)  # whatever is still on its way arrives
    return _verdict(begun, sim, end, write, delay, search)


def _go_on(sim: Sim, end: End) -> End:
    while end.cycles < 3 and (end.result is None or end.result.state != "complete"):
        sim.world.clock.advance(60)
        cycle(sim, end)
    return end


def _undo(sim: Sim, run: str) -> str:
    try:
        with sim.connected() as opened:
            result = undo.undo_run(opened, run, who="the simulation", say=sim.say)
            return result.state if result else "no"
    except BillingSyncError as stopped:
        return str(stopped)


def _verdict(begun: Start, sim: Sim, end: End, write: str, delay: str, search: str) -> Late:
    """Within the horizon: as if nothing had been. Beyond: at most twice in HaloPSA, and then told with both ids."""
    wanted = begun.due
    if delay == "next period":
        from sim_month import due

        wanted = begun.due | due(begun.world, begun.members, NEXT_MONTH)
    found = account(begun, sim, wanted)
    late = beyond(delay, search)
    wrong: list[str] = []
    ids = holders(begun, sim)
    detected = False
    if write == "item create":
        items = [row["name"] for row in sim.world.halo.tables.items.values()]
        doubles = {name for name in items if items.count(name) > 1}
        if doubles and not late:
            wrong.append(f"items created twice: {doubles}")
        if not late:
            wrong += check(begun, sim, end)
        elif found.twice:
            wrong.append(f"billed twice: {found.twice}")
        return Late(write, delay, search, tuple(wrong), bool(doubles), True)
    if found.twice:
        told = _told(sim, end)
        detected = bool(ids) and all(str(abs(one)) in told for one in ids)
        if not late:
            wrong.append(f"billed twice within the horizon: {dict(found.twice)}")
        elif not detected:
            wrong.append(f"billed twice on {ids}, and nobody is told: {told[:300]!r}")
    elif not late:
        wrong += check(begun, sim, end)
        wrong += [] if wrong else nothing_more(begun, sim)
    elif found.wrong:
        wrong.append(f"not what was charged: {found.wrong}")
    return Late(write, delay, search, tuple(wrong), bool(found.twice), detected)


def holders(begun: Start, sim: Sim) -> list[int]:
    """The invoices on which a charge of November is that stands on another line too."""
    now = freeze(sim.world)
    where: dict[object, set[int]] = {}
    from sim_month import _bill, live

    for name in ("invoices", "recurring"):
        for row in now[name].values():
            for line in row["lines"]:
                key = (row["client_id"], *_bill(line))
                if live(line) and key in begun.due and not row["voided"]:
                    where.setdefault(key, set()).add(row["id"])
    return sorted({one for ids in where.values() if len(ids) > 1 for one in ids})


def _told(sim: Sim, end: End) -> str:
    """All that the last cycle said: result, holds, and what the ledger tells of postings that are not well."""
    told = [*end.errors]
    if end.result is not None:
        told += [f"{posting.problem} {posting.state}" for posting in end.result.postings if posting.problem]
        told += [f"{hold.reason} {hold.detail}" for hold in end.result.holds]
        told.append(end.result.message)
    with sim.connected() as opened:
        told += [row.message for row in opened.ledger.postings(period=MONTH) if row.state == "differs"]
    return " | ".join(told)


def _deleted(begun: Start, sim: Sim, run: str, delay: str, search: str) -> Late:
    """The deletion itself is late. The month is undone, then billed again."""
    states = [_undo(sim, run)]
    sim.world.faults.clear()
    for _ in range(2):
        if states[-1] == "undone":
            break
        sim.world.clock.advance(60)
        states.append(_undo(sim, run))
    again = until_done(sim)
    if sim.world.pending:  # the deletion of an invoice that is gone already, or of one that is billed again
        sim.world.clock.advance(HORIZON * 2)
        sim.world.land()
    wrong = check(begun, sim, again)
    return Late("delete", delay, search, tuple(wrong), False, True)
