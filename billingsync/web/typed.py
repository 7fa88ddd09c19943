"""Keys that somebody typed for the first run, between their test and saving them: in this process's memory alone, by
session, for a few minutes. They are in no table, log, order, journal, address or answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from billingsync.setup.keys import Typed

KEPT = timedelta(minutes=10)


@dataclass(slots=True)
class TypedKeys:
    _held: dict[str, tuple[Typed, datetime]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, session: str, keys: Typed, now: datetime) -> None:
        """Holds what a session typed last; what others typed is thrown away once it is old."""
        with self._lock:
            self._held = {one: held for one, held in self._held.items() if now - held[1] < KEPT}
            self._held[session] = (keys, now)

    def take(self, session: str, side: str, now: datetime) -> Typed | None:
        """What the session typed for a side, once; None where that is nothing, or is too old."""
        with self._lock:
            keys, at = self._held.pop(session, (None, now))
        return keys if keys is not None and keys.side == side and now - at < KEPT else None
