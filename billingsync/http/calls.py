"""Calls within budget and deadline, and their repetition."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from itertools import count
from typing import TypeVar

import tenacity

from billingsync.errors import AnswerTooLarge, UpstreamError
from billingsync.http.budget import LONGEST_WAIT_S, Budget
from billingsync.http.exchange import CURRENT, Exchange, TooLarge
from billingsync.http.values import Asked, CallRecord, ServiceConfig
from billingsync.http.verdict import Verdict, timestamp

_ATTEMPTS = 5
_BUSY_ATTEMPTS = 6  # of a 429: 10 + 20 + 40 + 80 + 160 s outlast HaloPSA's five minutes (reference/halopsa 2.6)

_T = TypeVar("_T")


class Calls:
    """Makes the calls of one service."""

    def __init__(
        self,
        config: ServiceConfig,
        verdict: Verdict,
        budget: Budget,
        on_call: Callable[[CallRecord], None] | None,
        sleep: Callable[[float], None],
    ) -> None:
        self.budget = budget
        self.clock_skew_s: float | None = None
        self._config, self._verdict, self._on_call, self._sleep = config, verdict, on_call, sleep
        self._at_once = threading.BoundedSemaphore(config.at_once) if config.at_once else nullcontext()

    def timed(self, act: Callable[[], _T], asked: Asked, attempt: int) -> _T:
        """Runs one exchange within budget and deadline. Whatever breaks becomes NotReachable if nothing was sent,
        else Retryable without a status."""
        with self._at_once, self.budget.slot():
            if asked.before is not None:
                asked.before()
            began = time.monotonic()
            exchange = Exchange(began + self._config.timeout_s, self._config.connect_timeout_s)
            undo = CURRENT.set(exchange)
            try:
                return act()
            except UpstreamError:
                raise
            except TooLarge as bad:
                raise self._verdict.error(AnswerTooLarge, asked, exchange.status, f"{asked}: {bad}") from None
            except Exception as bad:
                raise self._verdict.broken(bad, asked, exchange) from bad
            finally:
                CURRENT.reset(undo)
                self._note(asked, exchange, time.monotonic() - began, attempt)

    def repeat(self, once: Callable[[int], _T], what: Callable[[BaseException], bool]) -> _T:
        """`once(attempt)`, again while it fails with `what`; the last error is raised as it is."""
        attempts = count(1)
        retrying = tenacity.Retrying(
            reraise=True,
            sleep=self._sleep,
            retry=tenacity.retry_if_exception(what),
            stop=lambda state: state.attempt_number >= (_BUSY_ATTEMPTS if _status(state) == 429 else _ATTEMPTS),
            wait=self._wait,
        )
        return retrying(lambda: once(next(attempts)))

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """Seconds until the next attempt. What the server asked for holds for every thread, through the budget."""
        asked = getattr(state.outcome and state.outcome.exception(), "retry_after", None)
        first = self._config.first_wait_s
        if asked is None and _status(state) == 429:
            asked = 10 * first * 2 ** (state.attempt_number - 1)
        if asked is None:
            jitter = tenacity.wait_random(0, first)  # threads that failed together do not come back together
            return (tenacity.wait_exponential(multiplier=first, max=LONGEST_WAIT_S) + jitter)(state)
        self.budget.pause(max(asked, first))
        return 0.0

    def _note(self, asked: Asked, exchange: Exchange, seconds: float, attempt: int) -> None:
        if (server := timestamp(exchange.date)) is not None:
            self.clock_skew_s = server - (time.time() - seconds / 2)
        if self._on_call is not None:
            call = CallRecord(
                service=self._config.name,
                method=asked.method,
                path=asked.path,
                status=exchange.status,
                seconds=seconds,
                attempt=attempt,
            )
            with suppress(Exception):  # a watcher's trouble is not the bill's (fault 40)
                self._on_call(call)


def _status(state: tenacity.RetryCallState) -> int | None:
    return getattr(state.outcome and state.outcome.exception(), "status", None)
