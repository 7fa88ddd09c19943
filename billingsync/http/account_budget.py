"""How many calls an account may get from all processes together: a process takes some at a time, in a block."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from billingsync.http.budget import LONGEST_WAIT_S, Budget

BLOCK = 10  # calls that are taken at a time: one change in the database for so many
USED_WITHIN_S = 30.0  # what is left of a block then goes back, for whoever has more to ask
_ASKED_S = 1.0  # how old what we know of others' 429 may be


class AccountCalls(Protocol):
    """What all processes of an account know together. Each raises LedgerError where it cannot be asked."""

    def take(self, most: int, spent: Mapping[str, tuple[int, float]]) -> tuple[str, int, float]:
        """A block of up to `most` calls: its name, how many it has, and 0.0; or "", 0, and the seconds after which it
        is worth asking again. `spent`: blocks that are done with, by name; how many calls were made of each, and how
        many seconds ago the last of them ended."""

    def give_back(self, spent: Mapping[str, tuple[int, float]]) -> None:
        """Blocks that are done with."""

    def close(self, seconds: float) -> None:
        """No block is given for so long."""

    def closed_s(self) -> float:
        """For how many seconds more none is given; 0.0 where some are."""

    def free(self) -> tuple[int, float]:
        """Calls that could be taken right now; seconds until one can be."""


@dataclass(slots=True, eq=False)
class _Block:
    name: str
    left: int
    taken_at: float
    made: int = 0
    under_way: int = 0
    ended: float = 0.0


class AccountBudget(Budget):
    """As `Budget`, for an account that several processes share. Give it back with `close()`."""

    def __init__(
        self,
        calls_per_minute: int,
        account: AccountCalls,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        may_call: Callable[[], float] | None = None,
    ) -> None:
        """`may_call` is asked before each call: the seconds after which it is worth asking again, 0.0 where it may be
        made now."""
        super().__init__(calls_per_minute, now=now, sleep=sleep)
        self._may_call = may_call
        self._account = account
        self._most = max(1, min(BLOCK, calls_per_minute // 5))  # a small budget is not all one process's
        self._block: _Block | None = None
        self._past: list[_Block] = []  # not told yet
        self._asked = -math.inf

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Waits for a call (Ctrl-C ends the wait), and makes it. Raises LedgerError."""
        while self._may_call is not None and (wait := self._may_call()):
            self.waited_s += wait
            self._sleep(wait)
        while isinstance(found := self._one(), float):
            self.waited_s += found
            self._sleep(found)
        try:
            yield
        finally:
            with self._lock:
                found.under_way -= 1
                found.ended = self._now()

    def pause(self, seconds: float) -> None:
        """No call of the account starts for so long, whichever process would make it. Raises LedgerError."""
        super().pause(seconds)
        self._account.close(min(seconds, LONGEST_WAIT_S))

    def left(self) -> int:
        """How many calls could start right now."""
        with self._lock:
            if self._now() < self._closed_until:
                return 0
            mine = self._block.left if self._block else 0
            return mine + self._account.free()[0]

    def wait_s(self) -> float:
        """Seconds until a call could start; 0 where one could now."""
        with self._lock:
            if (closed := self._closed_until - self._now()) > 0:
                return closed
            return 0.0 if self._usable() else self._account.free()[1]

    def close(self) -> None:
        """Gives back what was taken and not used. Raises LedgerError."""
        with self._lock:
            self._retire()
            self._account.give_back(self._told())

    def _usable(self) -> bool:
        block = self._block
        return block is not None and block.left > 0 and self._now() - block.taken_at < USED_WITHIN_S

    def _one(self) -> _Block | float:
        """The block of which a call was taken, or the seconds after which it is worth asking again."""
        with self._lock:
            now = self._now()
            if self._usable() and now - self._asked >= _ASKED_S:
                self._asked = now
                self._closed_until = max(self._closed_until, now + self._account.closed_s())
            if (closed := self._closed_until - self._now()) > 0:
                return closed
            if not self._usable():
                self._retire()
                name, calls, wait = self._account.take(self._most, self._told())
                self._past = [block for block in self._past if block.under_way]
                if not calls:
                    return max(wait, 0.001)
                self._asked = self._now()
                self._block = _Block(name, calls, taken_at=now)
            block = self._block
            assert block is not None
            block.left -= 1
            block.made += 1
            block.under_way += 1
            self.calls_made += 1
            return block

    def _retire(self) -> None:
        if self._block is not None:
            self._past.append(self._block)
            self._block = None

    def _told(self) -> dict[str, tuple[int, float]]:
        now = self._now()
        return {block.name: (block.made, now - block.ended) for block in self._past if not block.under_way}
