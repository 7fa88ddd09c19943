"""Where the work stands: on a terminal one line that updates, with an estimate from the call budget; elsewhere a log
line for each stage."""

from __future__ import annotations

import math
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from billingsync.core.progress import Progress, Stage

if TYPE_CHECKING:
    from billingsync.http import Service

_TURN_S = 1.0  # between two looks at what is left to wait for
_NARROWEST = 20
_MINUTE_S = 60.0


@dataclass(slots=True)
class ProgressLine:
    """One line at the bottom of a terminal, without any escape code: it is written over, and cleared before anything
    else is printed. May be shared by threads.

    `services` are those whose calls are counted; the last one's budget is what a month takes its time for.
    """

    width: Callable[[], int] = lambda: shutil.get_terminal_size((80, 24)).columns
    clock: Callable[[], float] = time.monotonic
    services: tuple[Service, ...] = ()
    _progress: Progress | None = None
    _shown: int = 0  # cells of what stands there
    _since: tuple[float, int] = (0.0, 0)  # when this stage began, and how many calls had been made
    _from: int = 1  # the first step of this stage that was told of
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _ticker: threading.Thread | None = None

    def show(self, progress: Progress) -> None:
        """The next step, in place of the one before."""
        with self._lock:
            if self._progress is None or self._progress.stage != progress.stage:
                self._since, self._from = (self.clock(), self._calls()), max(progress.nth, 1)
            self._progress = progress
            self.draw()
            if self._ticker is None:
                self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
                self._ticker.start()

    def clear(self, *, done: bool = True) -> None:
        """Empties the line, for something else to be printed; where it is not `done`, it comes back by itself."""
        with self._lock:
            if self._shown:
                self._write("\r" + " " * self._shown + "\r")
                self._shown = 0
            if done:
                self._progress = None

    def draw(self) -> None:
        """The line as it is now."""
        from rich.cells import cell_len

        from billingsync.report.layout import fit
        from billingsync.report.progress import estimate_text, progress_text

        with self._lock:
            if self._progress is None:
                return
            room = max(self.width() - 1, _NARROWEST)  # in the last column a terminal would wrap
            more = estimate_text(self._progress, self.seconds_left(), self._calls(), self._waits())
            beside = f"  {more}" if more and cell_len(more) + 14 <= room else ""
            text = f"{fit(f'… {progress_text(self._progress)}', room - cell_len(beside))}{beside}"
            cells = cell_len(text)
            self._write(f"\r{text}{' ' * max(self._shown - cells, 0)}")
            self._shown = max(cells, self._shown)

    def seconds_left(self) -> float | None:
        """How long the steps of this stage that are left take: as quick as those before, and no quicker than the
        budget lets them be called. None where nobody knows how many there are."""
        progress = self._progress
        if progress is None or not progress.nth or not self.services:
            return None
        steps = progress.of - progress.nth + 1
        began, calls_before = self._since
        done = progress.nth - self._from
        each = (self._calls() - calls_before) / done if done else 1.0
        pace = (self.clock() - began) / done if done else 0.0
        service = self.services[-1]
        limit = service.config.calls_per_minute
        over = math.ceil(steps * each) - service.budget_left()
        # As many calls as a minute takes go at once when the first is free again; the others a minute later each.
        waits = (service.budget_wait() or _MINUTE_S) + (over - 1) // limit * _MINUTE_S if over > 0 else 0.0
        return max(steps * pace, waits)

    def _calls(self) -> int:
        return sum(service.calls_made for service in self.services)

    def _waits(self) -> tuple[str, float] | None:
        """The service whose calls of this minute are used up, and how long until the next one."""
        for service in self.services:
            if (wait := service.budget_wait()) > 0:
                return service.name, wait
        return None

    def _tick(self) -> None:
        while True:
            time.sleep(_TURN_S)
            try:
                self.draw()
            except (OSError, ValueError):  # nobody looks any more
                return

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


LINE = ProgressLine()  # of this process's one command


class Stderr:
    """stderr, whichever it is by now, with the progress line out of the way first."""

    def write(self, text: str) -> int:
        LINE.clear(done=False)
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


@dataclass(slots=True)
class StageLog:
    """A line in the log where a new stage begins, and for each trouble."""

    last: Stage | None = None  # of which the log spoke last

    def show(self, progress: Progress) -> None:
        if self.last == progress.stage != Stage.TROUBLE:
            return
        self.last = progress.stage
        import structlog

        from billingsync.report.progress import stage_text

        if structlog.is_configured():  # else it would go to stdout, which is the result's
            structlog.get_logger().info(stage_text(progress), stage=progress.stage.value)


STAGES = StageLog()
