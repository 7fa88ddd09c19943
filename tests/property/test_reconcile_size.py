"""What a comparison costs: it grows with the tenant, and the largest one takes a minute at most."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from reconcile_size import PER_COMPANY, large_tenant

from billingsync.core.reconcile.compare import Reconciliation, Verdict, compare
from billingsync.core.reconcile.snapshot import ReconcileInputs

LIMIT = 60.0  # seconds of CPU for 5,000 companies
GROWTH = 3.0  # twice the tenant: twice the time, and room for a busy machine


def cpu_of(inputs: ReconcileInputs) -> tuple[float, Reconciliation]:
    begun = time.process_time()
    result = compare(inputs)
    return time.process_time() - begun, result


def check(result: Reconciliation, companies: int) -> None:
    assert len(result.rows) == companies * PER_COMPANY and result.verdict is Verdict.DIFFERENCES
    assert len(result.lines) == companies * 16


def test_a_tenth_of_the_largest_tenant_takes_a_tenth_of_the_time_and_grows_with_it() -> None:
    small, half = cpu_of(large_tenant(250))
    whole, result = cpu_of(large_tenant(500))
    check(half, 250)
    check(result, 500)
    assert whole < LIMIT / 10 * 2, f"{whole:.1f} s"
    assert whole < small * GROWTH, f"{small:.1f} s, then {whole:.1f} s for twice as much"


_ALONE = """
import resource, sys, time
from reconcile_size import large_tenant
from billingsync.core.reconcile.compare import compare
inputs = large_tenant(5_000)
begun = time.process_time()
result = compare(inputs)
taken = time.process_time() - begun
print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, len(inputs.snapshot.subscriptions))
print(len(result.lines), len(result.rows), result.verdict)
"""


@pytest.mark.long
def test_the_largest_tenant_takes_a_minute_and_a_gigabyte_at_most() -> None:
    """In a process of its own, so that its memory is that of the two sides and the comparison alone."""
    here = Path(__file__).parent
    paths = os.pathsep.join((str(here), str(here.parents[1])))
    done = subprocess.run(
        [sys.executable, "-c", _ALONE],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    taken, memory, subscriptions, *counts = done.stdout.split()
    assert (subscriptions, *counts) == ("60000", "80000", "60000", "differences")
    assert float(taken) < LIMIT, f"{taken} s"
    assert int(memory) < 1_000_000_000, f"{int(memory) / 1e6:.0f} MB"
