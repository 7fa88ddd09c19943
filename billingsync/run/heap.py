"""Memory that was freed, given back to the system."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """glibc keeps what a thread has freed for that thread to use again. Pages of a large month are read by threads that
    end right after, and a worker waits for weeks between months: what they freed would stay ours all the while."""
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    """glibc's malloc_trim; something that does nothing where there is none, as with musl."""
    if sys.platform == "linux":
        try:
            import ctypes  # an older libffi cannot be loaded where systemd's MemoryDenyWriteExecute is on

            return ctypes.CDLL(None).malloc_trim
        except (ImportError, OSError, MemoryError, AttributeError):
            pass
    return lambda pad: None
