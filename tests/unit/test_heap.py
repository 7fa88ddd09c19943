"""Freed memory goes back to the system where the C library can do that, and nothing breaks where it cannot."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from billingsync.run import heap

# A thread frees most of many blocks that are too small to be mapped by themselves; what lies between keeps its arena.
FREED = """
import sys, threading
from billingsync.run.heap import give_back

def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])

kept = []
def work():
    blocks = [bytes(30_000) for _ in range(2_000)]
    kept.extend(blocks[::100])

thread = threading.Thread(target=work)
thread.start()
thread.join()
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says how much is resident")
@pytest.mark.skipif("glibc" not in str(sys.version) and not Path("/lib/x86_64-linux-gnu/libc.so.6").exists()
                    and not Path("/lib64/libc.so.6").exists(), reason="another C library")  # fmt: skip
def test_what_a_thread_freed_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    assert (
        int(re.fullmatch(r"(\d+)\n", done.stdout)[1]) > 5_000
    )  # KB, of some 58 MB of which glibc gives back most by itself


@pytest.mark.parametrize("trouble", [ImportError, OSError, MemoryError, AttributeError])
def test_where_it_cannot_be_had_nothing_happens(monkeypatch: pytest.MonkeyPatch, trouble: type[Exception]) -> None:
    def refuse(name: object) -> object:
        raise trouble

    monkeypatch.setattr("ctypes.CDLL", refuse)
    heap._trim.cache_clear()
    try:
        heap.give_back()
    finally:
        heap._trim.cache_clear()
