"""What a comparison costs: it grows with the tenant, and the largest one takes a minute at most."""

from __future__ import annotations

import time
import tracemalloc

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


@pytest.mark.long
def test_the_largest_tenant_takes_a_minute_and_a_gigabyte_at_most() -> None:
    inputs = large_tenant(5_000)
    taken, result = cpu_of(inputs)
    check(result, 5_000)
    assert len(inputs.snapshot.subscriptions) == 60_000 and len(result.lines) == 80_000
    assert taken < LIMIT, f"{taken:.1f} s"
    tracemalloc.start()
    kept = compare(inputs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept.verdict is result.verdict and peak < 1_000_000_000, f"{peak / 1e6:.0f} MB"
