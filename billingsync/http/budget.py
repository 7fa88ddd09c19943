"""How many calls a minute an upstream may get from us."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WINDOW_S = 60.0  # rolling
LONGEST_WAIT_S = 300.0  # HaloPSA's own window; whoever asks for more is asked again sooner (fault 30)


class Budget:
    """At most `calls_per_minute` calls in any rolling 60 s, as the *server* sees them; shared by threads.

    A slot is free again 60 s after its call *ended*: whenever within the call the server counted it, no window of its
    own can hold more. pyrate-limiter counts from the start, by the sleep it planned and not the one it got: slow calls
    (a TLS handshake each) followed by quick ones break the limit at the server. It also keeps a thread per bucket.
    """

    def __init__(
        self,
        calls_per_minute: int,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if calls_per_minute < 1:
            raise ValueError("a budget needs at least one call a minute")
        self.calls_made = 0
        self.waited_s = 0.0  # for a call's turn, all threads together
        self._limit = calls_per_minute
        self._now, self._sleep = now, sleep
        self._lock = threading.Lock()
        self._under_way = 0
        self._ended: deque[float] = deque()
        self._closed_until = -math.inf

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Waits for a slot (Ctrl-C ends the wait), holds it during the call."""
        while wait := self._take():
            self.waited_s += wait
            self._sleep(wait)
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                self._ended.append(self._now())

    def pause(self, seconds: float) -> None:
        """No call starts for so long: the server said that it is too busy, whichever thread heard it."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._now() + min(seconds, LONGEST_WAIT_S))

    def left(self) -> int:
        """How many calls could start right now."""
        with self._lock:
            self._forget()
            return 0 if self._now() < self._closed_until else self._limit - self._under_way - len(self._ended)

    def wait_s(self) -> float:
        """Seconds until a call could start; 0 where one could now."""
        with self._lock:
            return self._wait()

    def _take(self) -> float:
        """Takes a slot and gives 0, or gives the seconds after which it is worth asking again."""
        with self._lock:
            if wait := self._wait():
                return wait
            self._under_way += 1
            self.calls_made += 1
            return 0.0

    def _wait(self) -> float:
        self._forget()
        now = self._now()
        if now < self._closed_until:
            return max(self._closed_until - now, 0.001)
        if self._under_way + len(self._ended) < self._limit:
            return 0.0
        # All slots under way: none is free earlier than a window after the first of them ends.
        return max(self._ended[0] + WINDOW_S - now, 0.001) if self._ended else WINDOW_S

    def _forget(self) -> None:
        while self._ended and self._now() - self._ended[0] >= WINDOW_S:
            self._ended.popleft()
