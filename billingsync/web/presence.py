"""Who looks at the same thing just now, so that two people do not decide it apart. Held in this process's memory only:
nothing is refused for it, as every act carries what was shown [DK2]."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

LOOKS = timedelta(minutes=5)
MOST = 500  # things that are looked at


@dataclass(slots=True)
class Presence:
    _seen: dict[str, dict[str, datetime]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, thing: str, who: str, now: datetime) -> list[str]:
        """Notes that somebody looks at a thing. Who else did in the last minutes, by name."""
        with self._lock:
            people = self._seen.pop(thing, {})
            people = {one: at for one, at in people.items() if now - at < LOOKS} | {who: now}
            self._seen[thing] = people  # the last in order
            while len(self._seen) > MOST:
                del self._seen[next(iter(self._seen))]
            return sorted(one for one in people if one != who)
