"""Loaded in a worker of the chaos and in the server that forks its cycles: time sped up by FLEET_SPEED."""

from __future__ import annotations

import os

from billingsync import connect
from billingsync.http import account_budget

SPEED = float(os.environ.get("FLEET_SPEED", "1"))


def sped_up() -> None:
    """Budgets: their windows, and how long a block may be used, are shorter by the factor, as the lease is by setting."""
    account_budget.USED_WITHIN_S /= SPEED
    connect.USED_WITHIN_S /= SPEED
    connect._LATE_S /= SPEED
    true = connect.AccountBlocks

    def blocks(database, account, service, windows, *, held_s):  # type: ignore[no-untyped-def]
        return true(database, account, service, [(calls, s / SPEED) for calls, s in windows], held_s=held_s)

    connect.AccountBlocks = blocks  # type: ignore[assignment,misc]


if SPEED != 1:
    sped_up()
