"""The fleet under chaos, in three sizes: pytest as it is called runs a sample, BILLINGSYNC_CAMPAIGN=commit what each commit
must see, --long many more (BILLINGSYNC_FLEET="PARTNERS KILLS SEED" chooses)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from fleet_chaos import LIMIT, Plan, chaos, own_server

WHOLE = os.environ.get("BILLINGSYNC_CAMPAIGN", "") == "commit"
PLAN = Plan(partners=66, kills=6, freezes=2, restarts=2) if WHOLE else Plan(partners=8, kills=2, freezes=1, restarts=1)


def tried(plan: Plan) -> None:
    with tempfile.TemporaryDirectory(prefix="bs-chaos-", dir="/dev/shm", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with own_server(folder) as server:
            found = chaos(folder / "house", server, plan)
    print(
        f"{plan.partners} partners, {dict(found.done)}, {found.again} again, {found.seconds:.0f} s, {found.fullest} calls"
    )
    assert found.wrong == [], found.log[-8000:]
    assert 0 < found.fullest <= LIMIT
    assert sum(found.done.values()) >= (plan.kills + plan.freezes + plan.restarts) * 0.7
    assert found.again, "nothing was interrupted"


def test_nothing_is_billed_twice_lost_or_at_anothers() -> None:
    tried(PLAN)


@pytest.mark.long
def test_the_same_at_length() -> None:
    partners, kills, seed = (int(word) for word in os.environ.get("BILLINGSYNC_FLEET", "200 30 2").split())
    tried(
        Plan(
            partners=partners, kills=kills, freezes=kills // 4, restarts=kills // 4, seed=seed, seconds=3600, workers=4
        )
    )
