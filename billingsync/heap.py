"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """glibc keeps what a thread has freed for that thread to use again. Pages of a large month are read by threads that
    end right after, and a worker waits for weeks between months: what they freed would stay ours all the while."""
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # absent from other C libraries, such as musl
    if trim is not None:
        trim(0)
