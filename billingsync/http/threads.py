"""Pages side by side."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

_A = TypeVar("_A")
_T = TypeVar("_T")


GRACE_S = 2.0  # for calls under way when another has failed: nearly all end within


def in_parallel(work: Callable[[_A], _T], arguments: Sequence[_A], threads: int) -> list[_T]:
    """`[work(a) for a in arguments]`, up to `threads` at a time; the first error ends it and is raised.

    The threads are daemons: Ctrl-C does not wait for a call that may take another minute.
    """
    todo = deque(enumerate(arguments))
    results: SimpleQueue[tuple[int, Any, BaseException | None]] = SimpleQueue()

    def worker() -> None:
        while todo:
            try:
                index, argument = todo.popleft()
            except IndexError:  # another thread was quicker
                return
            try:
                results.put((index, work(argument), None))
            except BaseException as bad:  # noqa: BLE001 - raised again in the thread that asked
                results.put((index, None, bad))

    started = [
        threading.Thread(target=worker, name=f"page-{n}", daemon=True) for n in range(min(threads, len(arguments)))
    ]
    for thread in started:
        thread.start()
    done: dict[int, _T] = {}
    try:
        while len(done) < len(arguments):
            index, result, bad = results.get()
            if bad is not None:
                todo.clear()
                if isinstance(bad, Exception):
                    _let_end(started)
                raise bad
            done[index] = result
    finally:
        todo.clear()
    return [done[index] for index in range(len(arguments))]


def _let_end(threads: Sequence[threading.Thread]) -> None:
    """Waits a moment for calls under way, so that they are not still read when the caller has gone on to something
    else; not for such as wait for a dead network."""
    until = time.monotonic() + GRACE_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
