"""What happens in a life, as plain data: who is there at the beginning, and what comes in which month."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

MONTHS = 36
BEHAVIORS = ("new", "latest", "recurring")

# What may happen, and when in the month: before Pax8's invoice is there, before it is billed, after that, after HaloPSA
# has made its invoices from the templates.
PHASES = {
    "begin": (
        "seats", "price", "one_time", "prorate", "credit", "rename_company", "rename_client", "leave", "return", "move",
        "behavior", "exclude",
    ),
    "unbilled": ("reissue_early", "reissue_next", "reissue_old", "edit_own", "close", "kill"),
    "billed": (
        "reissue_late", "ids", "amount", "gone_item", "void", "second", "undo", "undo_closed", "again", "restore", "restore_old",
        "edit_own", "edit_ours", "close",
    ),
    "schedule": ("never", "twice"),
    "made": ("undo_made", "restore", "restore_old", "edit_own", "again"),
}  # fmt: skip


@dataclass(frozen=True, order=True)
class Event:
    """`who`: a company or a client by its number, `n`: how much or which one; both are taken modulo what there is."""

    month: int
    phase: str
    kind: str
    who: int = 0
    n: int = 0


@dataclass(frozen=True)
class Script:
    seed: int
    behaviors: tuple[str, ...]  # of the clients; company number n belongs to client number n, the last has none
    months: int = MONTHS
    events: tuple[Event, ...] = ()
    switches: tuple[tuple[str, object], ...] = field(default=())  # of HaloPSA's build
    charges: int = 1  # subscriptions of each company

    def of(self, month: int, phase: str) -> list[Event]:
        return [event for event in self.events if (event.month, event.phase) == (month, phase)]

    def __str__(self) -> str:
        lines = [f"{self.months} months, clients {', '.join(self.behaviors)}, build {dict(self.switches)}"]
        lines += [f"  month {e.month:2} {e.phase:8} {e.kind} who={e.who} n={e.n}" for e in self.events]
        return "\n".join(lines)


BUILDS: Sequence[dict[str, object]] = (
    {},
    {},
    {"made_line_ids": False},
    {"lastcreated": "date"},
    {"lines_semantics": "merge"},
    {"made_header_id": False, "made_line_ids": False},
    {"made_fields_copied": ()},
    {"prorata_sent": "kept"},
)


def live(seed: int, kinds: Collection[str], months: int = MONTHS, often: float = 0.4) -> Script:
    """A life from one seed: about `often` events a month, of these kinds."""
    dice = random.Random(f"life {seed}")
    clients = dice.choice((1, 1, 2))
    behaviors = tuple(dice.choice(BEHAVIORS) for _ in range(clients + 1))
    known = [(phase, kind) for phase, there in PHASES.items() for kind in there if kind in kinds]
    events = []
    for month in range(months):
        while known and dice.random() < often / (1 + often):
            phase, kind = dice.choice(known)
            events.append(Event(month, phase, kind, dice.randrange(60), dice.randrange(1, 60)))
    order = {phase: number for number, phase in enumerate(PHASES)}
    events.sort(key=lambda event: (event.month, order[event.phase]))
    switches = dict(dice.choice(BUILDS)) if "builds" in kinds else {}
    return Script(seed, behaviors, months, tuple(events), tuple(switches.items()), dice.choice((1, 1, 2)))
