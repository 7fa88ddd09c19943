"""No bytes crash an import, and a file that is taken says what was written [J10].

The short form makes 50,000 files in less than two minutes. `pytest tests/property/test_vendor_files.py --long` goes on for
BILLINGSYNC_FUZZ_MINUTES (30) and prints how many it made.
"""

from __future__ import annotations

import os
import random
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest
from files import random_bytes, written_files
from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from files_sample import NOVEMBER, file_of, profile

from billingsync.core.tables.rows import ProblemKind, RowState
from billingsync.sources.csvfile.checking import Check, check_usage, usage_rows
from billingsync.sources.csvfile.kept import Unreadable
from billingsync.sources.csvfile.propose import as_toml, propose

SHARDS = 10
EACH = 5_000
ACRONIS = profile()
POINT = profile(decimal=".")


def judge(check: Check) -> None:
    """What must hold of any file at all."""
    if check.layout is not None and not any(one.kind is not ProblemKind.ROW for one in check.problems):
        found = list(usage_rows(check))
        states = {state: sum(row.state is state for row in found) for state in RowState}
        assert states[RowState.COUNTED] == check.rows[RowState.COUNTED]
        above = check.rows[RowState.SKIPPED] + check.rows[RowState.BLANK]
        assert len(found) + above == sum(check.rows.values())
        assert all(row.usage.account and row.usage.service for row in found if row.usage)
        assert all(row.usage.quantity.is_finite() for row in found if row.usage)
    assert check.mistakes >= len(check.problems)
    for problem in check.problems:
        text = str(problem)
        assert text.isprintable(), text
        assert not problem.cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    if check.refused or check.mistakes:
        assert check.error().exit_code == 2


def throw(content: bytes) -> Check | None:
    try:
        file = file_of(content)
    except Unreadable:
        return None
    check = check_usage(file, ACRONIS, NOVEMBER)
    judge(check)
    return check


@pytest.mark.parametrize("shard", range(SHARDS))
def test_no_bytes_crash_an_import(shard: int) -> None:
    chance = random.Random(20261128 + shard)
    taken = 0
    for _ in range(EACH):
        check = throw(random_bytes(chance))
        taken += check is not None and not check.refused
    assert taken > EACH // 20, "most files must not fail at the door, else nothing behind it is tried"


@settings(max_examples=600, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(written_files())
def test_a_file_counts_what_was_written(written) -> None:
    check = check_usage(file_of(written.content), ACRONIS, NOVEMBER)
    assert not check.problems, [str(problem) for problem in check.problems]
    sums: dict[tuple[str, str], Decimal] = {}
    for row in usage_rows(check):
        if row.usage:
            key = (row.usage.account, row.usage.service)
            sums[key] = sums.get(key, Decimal(0)) + row.usage.quantity
    assert sums == written.sums
    assert check.rows[RowState.COUNTED] == written.rows
    judge(check)


def test_no_bytes_crash_a_proposal() -> None:
    chance = random.Random(7)
    for _ in range(1_500):
        try:
            assert as_toml(propose(file_of(random_bytes(chance))), vendor="Acronis").isascii() in (True, False)
        except Unreadable:
            continue


@pytest.mark.long
def test_no_bytes_crash_an_import_for_minutes() -> None:
    minutes = float(os.environ.get("BILLINGSYNC_FUZZ_MINUTES", "30"))
    seed = int(os.environ.get("BILLINGSYNC_FUZZ_SEED", "1"))
    chance, made, end = random.Random(seed), 0, time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        content = random_bytes(chance)
        made += 1
        try:
            throw(content)
            check_usage(file_of(content), POINT, NOVEMBER)
        except Unreadable:
            continue
        except Exception:
            print(f"seed {seed}, file {made}: {content!r}")
            raise
    print(f"{made} files in {minutes} minutes, seed {seed}")
