"""The sandbox's time: real, but it can be moved on, so that waiting for a late write need not take minutes."""

from __future__ import annotations

import time


class Clock:
    def __init__(self) -> None:
        self._moved = 0.0

    def now(self) -> float:
        """Seconds; only differences mean something."""
        return time.monotonic() + self._moved

    @property
    def moved(self) -> float:
        """By how many seconds in all."""
        return self._moved

    def advance(self, seconds: float) -> None:
        """Tokens age, rate limits recover and late writes land as if this much time had passed."""
        self._moved += seconds
