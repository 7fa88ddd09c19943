"""Simulated months: random weather, kills and people at work, all from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sim_faults import AWAY, NOT_DONE, NOT_SENT, NOT_TOLD, OTHERWISE, SLOW
from sim_month import End, Shape, Start, account, check, cycle, start, until_done
from simulation import Sim, Trouble

from billingsync.sandbox.faults import Fault
from billingsync.sandbox.wire import Request, copy_json

SHAPES = (
    Shape(clients=3, charges=2),
    Shape(clients=4, charges=2, lines="merge"),
    Shape(clients=4, charges=1, sent_as="updatelines", create_items=False),
    Shape(clients=4, charges=3, sent_as="add_lines"),
    Shape(clients=3, charges=2, behavior="latest"),
    Shape(clients=3, charges=3, behavior="recurring", lines="merge"),
    Shape(clients=3, charges=2, behavior="new", old_invoices=53),
)
PASSING: tuple[Any, ...] = (
    *NOT_SENT.values(), *NOT_DONE.values(), *NOT_TOLD.values(), *SLOW.values(), *AWAY.values(),
    OTHERWISE["error inside"], OTHERWISE["list for object"],
)  # fmt: skip
LIES = (Fault(kind="stale", seconds=100), Fault(kind="repeat_pages"), Fault(kind="cut50"))


@dataclass(frozen=True)
class Outcome:
    seed: int
    wrong: tuple[str, ...]
    trace: str
    charged: int
    billed: int
    faults: int
    kills: int
    edits: int
    cycles: int


def simulate(folder: Path, seed: int, shapes: tuple[Shape, ...] = SHAPES) -> Outcome:
    """One month: up to four cycles of weather, at most two kills, then calm until done."""
    dice = random.Random(f"month {seed}")
    random.seed(seed)  # the jitter of waits
    begun = start(dice.choice(shapes))
    sim = begun.sim(folder, seed)
    weather = dice.choice((0.0, 0.02, 0.05, 0.1))
    kills, faults, edits = dice.randrange(3), [0], [0]
    edited = {name: dict(rows) if isinstance(rows, dict) else rows for name, rows in begun.image.tables.items()}

    def on_request(name: str, asked: Request, _: int) -> Fault | Trouble | None:
        if dice.random() >= weather:
            return None
        faults[0] += 1
        write = asked.method != "GET" and not asked.path.endswith("/token")
        if write and dice.random() < 0.3:
            return Fault(kind="late", seconds=dice.uniform(0, 175), answer=dice.choice(("504", "timeout", "reset")))
        if name == "invoice search" and dice.random() < 0.4:
            return dice.choice(LIES)
        return dice.choice(PASSING)

    end = End()
    for number in range(4):
        sim.on_request = on_request
        sim.number = 0
        sim.cut_at = dice.randrange(1, 190) if number < kills else None
        edit_at = dice.randrange(1, 190) if dice.random() < 0.4 else 0

        def watch(now: int, what: str, edit_at: int = edit_at) -> None:
            if now == edit_at:
                edits[0] += _person(sim, dice, edited)

        sim.watch = watch
        cycle(sim, end)
        if end.result is not None and end.result.state == "complete":
            break
        sim.pass_time(dice.uniform(1, 400))
    sim.on_request, sim.watch, sim.cut_at = None, None, None
    if end.result is None or end.result.state != "complete":
        calm = until_done(sim, most=2)
        end = replace(calm, cycles=end.cycles + calm.cycles, errors=[*end.errors, *calm.errors])
    sim.pass_time(600)
    # A person's edit between a crash and the look that follows cannot be told from what our write did: told, not lost.
    wrong = check(begun, sim, end, edited=edited, complete=not edits[0])
    missing = account(begun, sim).missing
    return Outcome(
        seed, tuple(wrong), sim.trace_hash(), len(begun.due), len(begun.due) - len(missing), faults[0], kills, edits[0],
        end.cycles,
    )  # fmt: skip


def _person(sim: Sim, dice: random.Random, edited: dict[str, Any]) -> int:
    """Somebody writes a comment on a line that is not ours."""
    table = dice.choice(("invoices", "recurring"))
    rows = sim.world.halo.tables.table(table)
    ids = [one for one in edited[table] if one in rows and not rows[one]["posted"]]
    if not ids:
        return 0
    one = dice.choice(ids)
    row, base = copy_json(rows[one]), copy_json(edited[table][one])
    strangers = [line["id"] for line in base["lines"] if "[bs:" not in line["item_longdescription"]]
    if not strangers:
        return 0
    chosen, text = dice.choice(strangers), f"seen {dice.randrange(1000)}"
    for each in (row, base):
        for line in each["lines"]:
            if line["id"] == chosen:
                line["comment_1"] = text
    row["change_seq"] += 1
    sim.world.halo.tables.put(table, row)
    edited[table][one] = base
    return 1


__all__ = ["Outcome", "Start", "simulate"]
