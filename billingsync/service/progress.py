"""Is the work going on? What the watchdog, the stop and the metrics are told by the work itself."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from billingsync.core.progress import Progress
from billingsync.http import CallRecord
from billingsync.report.progress import progress_text

SLICE_S = 5.0  # a sign of life at least this often while a run waits


class Stop(BaseException):
    """The worker was told to stop, and nothing is half-done. No Exception, so that nothing takes it for a failure."""


@dataclass(slots=True)
class Heartbeat:
    """Shared by the thread that works and those that watch it. Each method is one quick step under a lock.

    `patience_s`: a work loop that has shown no sign of life for longer hangs. Signs are each step that a run tells
    of, each call that ends, each turn of the waiting loop.
    """

    patience_s: float
    clock: Callable[[], float] = time.monotonic
    doing: str = "starting"
    writing: bool = False  # a write to HaloPSA may be in hand
    stopping: threading.Event = field(default_factory=threading.Event)
    calls: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (service, method, status) -> calls
    retries: Counter[str] = field(default_factory=Counter)  # service -> calls that were made again
    contact: dict[str, float] = field(default_factory=dict)  # service -> time.time() of the last good answer
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: float = 0.0

    def __post_init__(self) -> None:
        self._last = self.clock()

    def say(self, progress: Progress) -> None:
        """Where the work stands, between two steps: here it stops if it has to, with no write in hand."""
        with self._lock:
            self.doing, self.writing, self._last = progress_text(progress), progress.stage.writes, self.clock()
        if self.stopping.is_set():
            with self._lock:
                self.writing = False
            raise Stop

    def alive(self) -> None:
        """A sign of life."""
        with self._lock:
            self._last = self.clock()

    def wait(self, seconds: float) -> None:
        """How a run waits, for minutes where a write is in doubt: what it waits for is in the ledger, so that a stop
        ends it at once, and the next start waits on."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.alive()
            if self.stopping.wait(min(left, SLICE_S)):
                with self._lock:
                    self.writing = False
                raise Stop

    def hangs(self) -> bool:
        """Whether the work has shown no sign of life for too long."""
        with self._lock:
            return self.clock() - self._last > self.patience_s

    def silent_s(self) -> float:
        """Seconds since the last sign of life."""
        with self._lock:
            return self.clock() - self._last

    def note_call(self, call: CallRecord) -> None:
        """A call has ended, well or not."""
        with self._lock:
            self._last = self.clock()
            self.calls[call.service, call.method, str(call.status or "none")] += 1
            if call.attempt > 1:
                self.retries[call.service] += 1
            if call.status is not None and call.status < 400:
                self.contact[call.service] = time.time()

    def counts(self) -> tuple[dict[tuple[str, str, str], int], dict[str, int], dict[str, float]]:
        """Copies of the counters: calls, retries, contacts."""
        with self._lock:
            return dict(self.calls), dict(self.retries), dict(self.contact)
