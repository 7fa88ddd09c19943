"""Bearer tokens and rate limits, the same for both services."""

from __future__ import annotations

from collections import deque

from billingsync.sandbox.clock import Clock


class Tokens:
    """Tokens that expire. `void_at_call`: with that authenticated call all tokens given so far stop working, once."""

    def __init__(self, clock: Clock, *, prefix: str, life_s: int, void_at_call: int | None) -> None:
        self._clock = clock
        self._prefix = prefix
        self.life_s = life_s
        self.void_at_call = void_at_call
        self._given: dict[str, tuple[float, str]] = {}
        self._count = 0
        self._checks = 0

    def give(self, scope: str = "") -> str:
        self._count += 1
        token = f"{self._prefix}-token-{self._count}"
        self._given[token] = (self._clock.now() + self.life_s, scope)
        return token

    def check(self, authorization: str) -> str | None:
        """The scope of a valid `Authorization: Bearer ...`, else None."""
        self._checks += 1
        if self.void_at_call is not None and self._checks == self.void_at_call:
            self.void_all()
        scheme, _, token = authorization.partition(" ")
        given = self._given.get(token.strip())
        if scheme.lower() != "bearer" or given is None or self._clock.now() >= given[0]:
            return None
        return given[1]

    def void_all(self) -> None:
        self._given.clear()


class Window:
    """A rolling rate limit: at most `calls` in `seconds`; None: no limit."""

    def __init__(self, clock: Clock, calls: int | None, seconds: float) -> None:
        self._clock = clock
        self.calls = calls
        self._seconds = seconds
        self._times: deque[float] = deque()

    def admits(self) -> bool:
        """Counts the call if it is let in; refused calls do not count."""
        if self.calls is None:
            return True
        now = self._clock.now()
        while self._times and self._times[0] <= now - self._seconds:
            self._times.popleft()
        if len(self._times) >= self.calls:
            return False
        self._times.append(now)
        return True
