"""A turn of work for one partner: one that posts for long comes back between two postings, and goes on in the next."""

from __future__ import annotations

from dataclasses import dataclass

from billingsync.core.progress import Progress, Stage
from billingsync.service.progress import Heartbeat, Stop


@dataclass(kw_only=True)
class TurnHeartbeat(Heartbeat):
    """As `Heartbeat`. Stops the work once it is older than `turn_s`, but not before it has posted something: a partner
    whose month takes longer than that to read would else never get any further."""

    turn_s: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self._began = self.clock()
        self._posted = 0
        self.is_over = False  # whether the turn ended the work

    def say(self, progress: Progress) -> None:
        super().say(progress)
        if progress.stage != Stage.POST:
            return
        if self._posted and self.clock() - self._began >= self.turn_s:
            self.writing, self.is_over = False, True
            raise Stop
        self._posted += 1
