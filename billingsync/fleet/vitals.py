"""What a fleet's worker knows of itself: for its health port, and for what it shows in the database."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

LATENESS_S = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0, 86400.0)  # bounds of the histogram
NOT_NOW = "not_now"  # a cycle whose partner is at work elsewhere, or paused


@dataclass(slots=True)
class FleetVitals:
    """Numbers since the start. `planned_at` and what `children` hold are moments of `clock`."""

    slots: int
    tick_s: float  # the planner's
    longest_s: float
    clock: Callable[[], float] = time.monotonic
    cycles: Counter[str] = field(default_factory=Counter)  # by how they ended
    deaths: Counter[str] = field(default_factory=Counter)  # by kind: memory, time, signal, exit
    lease_losses: int = 0
    waited_s: float = 0.0  # for the budgets of calls
    lateness: list[float] = field(default_factory=lambda: [0.0] * (len(LATENESS_S) + 1))  # cycles that posted, by bound
    lateness_sum: float = 0.0
    engine: Mapping[str, int] = field(default_factory=dict)
    children: dict[str, float] = field(default_factory=dict)  # partner -> when its cycle began
    planned_at: float | None = None
    problem: str = ""  # why the planner could not do its work last time
    is_serving: bool = False

    def planned(self, problem: str = "") -> None:
        """The planner has been round."""
        self.planned_at, self.problem = self.clock(), problem

    def late(self, seconds: float) -> None:
        """A cycle that posted ended so many seconds after it was due."""
        place = sum(seconds > bound for bound in LATENESS_S)
        self.lateness[place] += 1
        self.lateness_sum += seconds

    def ills(self) -> dict[str, str]:
        """What shows no sign of life, and for how long; empty where all do."""
        now, found = self.clock(), {}
        silent = now - self.planned_at if self.planned_at is not None else 0.0
        if silent > 4 * self.tick_s + 60:
            found["planner"] = f"silent for {silent:.0f} s"
        if not self.is_serving:
            found["engine"] = "does not serve"
        for began in list(self.children.values()):
            if now - began > self.longest_s + 120:
                found["children"] = f"one runs for {now - began:.0f} s"
        return found

    def unready(self) -> str:
        """Why nothing new begins here: the planner's last round reached no database or engine; empty where it did."""
        return "not asked yet" if self.planned_at is None else self.problem or self.ills().get("planner", "")
