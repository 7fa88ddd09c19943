"""The 32 faults, the 17 effects, and what a single one of them may lead to."""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpcore2
from sim_month import Shape, Start, account, check, nothing_more, start, until_done
from simulation import Sim, Trouble

from billingsync.core.progress import Progress
from billingsync.errors import BillingSyncError
from billingsync.run import undo
from billingsync.sandbox.faults import Fault
from billingsync.sandbox.wire import Request


def _unreached(text: str) -> Trouble:
    return Trouble(partial(httpcore2.ConnectError, text))


NOT_SENT = {
    "DNS fails": _unreached("[Errno -2] Name or service not known"),
    "refused": _unreached("[Errno 111] Connection refused"),
    "TLS expired": _unreached("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired"),
    "TLS wrong host": _unreached("[SSL: CERTIFICATE_VERIFY_FAILED] Hostname mismatch"),
}
NOT_DONE = {
    "reset before body": Fault(kind="reset"),
    "400 string": Fault(kind="400"),
    "400 object": Fault(kind="400_object"),
    "401": Fault(kind="401"),
    "403": Fault(kind="403"),
    "429 with Retry-After": Fault(kind="429", retry_after="3"),
    "429 without": Fault(kind="429"),
    "429 absurd": Fault(kind="429", retry_after="1000000000"),
}
NOT_TOLD = {
    "reset after commit": Fault(kind="reset_after"),
    "timeout after commit": Fault(kind="timeout_after"),
    "500 empty": Fault(kind="500_after"),
    "502/503/504": Fault(kind="504_after"),
    "body cut": Fault(kind="cut"),
    "body not JSON": Fault(kind="not_json_after"),
}
OTHERWISE = {
    "error inside": Fault(kind="error_inside_after"),
    "fewer lines": Fault(kind="fewer_lines"),
    "marker dropped": Fault(kind="drop_marker"),
    "text cut": Fault(kind="cut_text", length=30),
    "amounts rounded": Fault(kind="round_amounts"),
    "list for object": Fault(kind="list_for_object"),
}
LYING = {
    "late landing": Fault(kind="late", seconds=40),
    "stale search": Fault(kind="stale", seconds=3_600),
    "search cut at 50": Fault(kind="cut50", count="cut"),
    "pages repeated": Fault(kind="repeat_pages"),
}
SLOW = {"one byte a second": Fault(kind="drip"), "black hole": Fault(kind="black_hole")}
AWAY = {"308": Fault(kind="redirect"), "HTML login page": Fault(kind="not_json")}
FAULTS: dict[str, Any] = {**NOT_SENT, **NOT_DONE, **NOT_TOLD, **OTHERWISE, **LYING, **SLOW, **AWAY}
assert len(FAULTS) == 32

EFFECTS = (
    "pax8 token", "invoice list", "item page", "companies",
    "halo token", "clients", "item search", "item create", "invoice search", "invoice read", "create", "append",
    "recurring update", "delete",
    "intent commit", "receipt commit", "report out",
)  # fmt: skip
assert len(EFFECTS) == 17

LISTS = ("invoice list", "item page", "companies", "clients", "item search", "invoice search")
WRITES = ("item create", "create", "append", "recurring update", "delete")
LOCAL = ("intent commit", "receipt commit")
DAMAGING = ("fewer lines", "marker dropped", "text cut", "amounts rounded")

# The same timing at the disk: what SQLite says where the network would have refused, lost or delayed.
FULL, LOCKED, IO = "database or disk is full", "database is locked", "disk I/O error"
READ_ONLY, GONE, TORN = "attempt to write a readonly database", "unable to open database file", "malformed"
AT_THE_DISK: dict[str, str] = {
    **dict(zip(NOT_SENT, (f"fails:{text}" for text in (FULL, READ_ONLY, GONE, LOCKED)), strict=True)),
    **dict(zip(NOT_DONE, (f"fails:{text}" for text in (
        IO, LOCKED, FULL, READ_ONLY, TORN, "out of memory", "interrupted", "too many open files")), strict=True)),
    **dict(zip(NOT_TOLD, (f"then:{text}" for text in (IO, LOCKED, FULL, TORN, GONE, "interrupted")), strict=True)),
    "error inside": "lost",  # the commit says that it happened, and nothing was kept
    "one byte a second": "slow",
    "black hole": f"fails:{LOCKED}",
    "308": "fails:file is not a database",
    "HTML login page": f"fails:{TORN}",
}  # fmt: skip


def why_not(fault: str, effect: str) -> str:
    """Why a cell does not apply; "" where it does."""
    if effect in LOCAL:
        return "" if fault in AT_THE_DISK else "a database commits or does not; it does not commit otherwise or later"
    if effect == "report out":
        return ""
    if fault in DAMAGING:
        if effect not in WRITES:
            return "nothing is stored by reading"
        if effect == "delete" or (effect == "item create" and fault in ("fewer lines", "amounts rounded")):
            return "the request has no such field"
    if fault == "late landing" and effect not in WRITES:
        return "nothing lands by reading"
    if fault in ("search cut at 50", "pages repeated") and effect not in LISTS:
        return "not a list"
    if fault == "stale search" and effect not in ("clients", "item search", "invoice search"):
        return "not a search of HaloPSA's"
    return ""


CELLS = [(fault, effect) for effect in EFFECTS for fault in FAULTS]
APPLY = [cell for cell in CELLS if not why_not(*cell)]

SHAPES = {
    "append": Shape(clients=1, charges=2, behavior="latest"),
    "recurring update": Shape(clients=1, charges=2, behavior="recurring"),
}
COMMON = Shape(clients=2, charges=2, behavior="new")


def shape_for(effect: str, fault: str = "", behavior: str = "new") -> Shape:
    """The smallest installation in which the effect happens."""
    if effect in SHAPES:
        return SHAPES[effect]
    shape = replace(COMMON, behavior=behavior)
    return replace(shape, old_invoices=53) if fault == "search cut at 50" else shape


def arm(sim: Sim, effect: str, fault: str, nth: int = 1) -> list[int]:
    """The fault hits the effect's n-th time, once. Gives a list that is not empty once it did."""
    hits: list[int] = []
    chosen = FAULTS[fault]
    if effect == "item create" and fault == "marker dropped":
        chosen = replace(chosen, fields=("externalreference",))

    count = 0

    def on_request(name: str, asked: Request, _: int) -> Fault | Trouble | None:
        nonlocal count
        if name != effect or (name == "item create" and "assetgroup" in asked.path.lower()):
            return None
        count += 1
        if count != nth:
            return None
        hits.append(count)
        return chosen

    def on_commit(about: str, number: int) -> str | None:
        if f"{about} commit" != effect or number != nth or hits:
            return None
        hits.append(number)
        what = AT_THE_DISK[fault]
        if what == "slow":
            sim.world.clock.advance(30)
            return None
        return what

    if effect in LOCAL:
        sim.on_commit = on_commit
    elif effect == "report out":
        _break_report(sim, fault, hits)
    else:
        sim.on_request = on_request
    return hits


def _break_report(sim: Sim, fault: str, hits: list[int]) -> None:
    """Whatever takes our words breaks, at one of the moments at which there is something to say."""
    number = list(FAULTS).index(fault)
    kind = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF)[number % 4]
    count = 0
    say = sim.say

    def broken(progress: Progress) -> None:
        nonlocal count
        count += 1
        say(progress)
        if count == 1 + number % 7 and not hits:
            hits.append(count)
            raise OSError(kind, "cannot be written")

    sim.say = broken  # type: ignore[method-assign]


@dataclass(frozen=True)
class Verdict:
    fault: str
    effect: str
    wrong: tuple[str, ...]
    hit: bool
    billed: int  # charges that ended on a line
    charged: int
    cycles: int
    told: str = ""

    def __str__(self) -> str:
        return f"{self.fault} at {self.effect}: {'; '.join(self.wrong) or 'well'} ({self.billed} of {self.charged})"


def try_cell(
    folder: Path, fault: str, effect: str, nth: int = 1, shape: Shape | None = None, *, again: bool = True
) -> Verdict:
    """One month with one fault; up to two more cycles without; `again`: then one more, that must do nothing."""
    begun = start(shape or shape_for(effect, fault))
    sim = begun.sim(folder)
    if effect == "delete":
        return _try_delete(begun, sim, fault)
    hits = arm(sim, effect, fault, nth)
    end = until_done(sim)
    damaged = fault in DAMAGING and effect in WRITES and effect != "item create"
    wrong = check(begun, sim, end, damaged=damaged)
    if effect == "item create":
        names = [row["name"] for row in sim.world.halo.tables.items.values()]
        wrong += sorted({f"item twice: {name}" for name in names if names.count(name) > 1})
    if not damaged and not wrong and again and hits:  # a fault that nothing met would hit the look for more
        wrong += nothing_more(begun, sim)
    missing = account(begun, sim).missing
    told = "; ".join(
        [*end.errors, *(posting.problem for posting in end.result.postings if posting.problem)]
        if end.result
        else end.errors
    )
    return Verdict(
        fault, effect, tuple(wrong), bool(hits), len(begun.due) - len(missing), len(begun.due), end.cycles, told
    )


def _try_delete(begun: Start, sim: Sim, fault: str) -> Verdict:
    """The month is billed and undone; the fault hits the deletion. Undone again until nothing is left, then billed."""
    end = until_done(sim)
    wrong = [f"before: {what}" for what in check(begun, sim, end)]
    run = end.result.run
    hits = arm(sim, "delete", fault)
    states = []
    for _ in range(3):
        try:
            with sim.connected() as opened:
                result = undo.undo_run(opened, run, who="the simulation", say=sim.say)
            states.append(result.state if result else "no")
        except BillingSyncError as stopped:
            states.append(str(stopped))
        if states[-1] == "undone":
            break
        sim.world.clock.advance(60)
    sim.world.land_due()
    left = account(begun, sim)
    if left.missing != begun.due or left.wrong:
        wrong.append(f"I7 undone, yet on lines: {sorted(begun.due - left.missing)} {states}")
    if states[-1] != "undone":
        wrong.append(f"I5 the undo ended {states}")
    again = until_done(sim)
    wrong += check(begun, sim, again)
    missing = account(begun, sim).missing
    return Verdict(
        fault, "delete", tuple(wrong), bool(hits), len(begun.due) - len(missing), len(begun.due), again.cycles
    )
