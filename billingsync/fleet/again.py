"""When a partner whose cycle failed is looked at again, in a fleet: nobody is asked in a storm, nor in step."""

from __future__ import annotations

import hashlib
from datetime import timedelta

LOGIN, LOGIN_LATER = timedelta(hours=1), timedelta(hours=6)
HOURLY = 6  # looks after credentials were refused; a look may log in twice, and a day may have 24 logins
FIRST, LONGEST = timedelta(minutes=5), timedelta(minutes=30)  # where a service or the secrets are away
SPREAD = 0.25  # of a wait


def wait_after(cause: str, failures: int, name: str) -> timedelta | None:
    """How long to wait after `failures` of this cause in a row, the newest one included; None where the partner's own
    schedule counts. `cause` is e.g. "login:Pax8", "upstream:HaloPSA" or "secrets"."""
    kind = cause.partition(":")[0]
    if kind == "login":
        wait = LOGIN if failures <= HOURLY else LOGIN_LATER
        return wait * (1 + SPREAD * share_of(f"{name} {failures}"))
    if kind in ("upstream", "secrets"):
        wait = min(FIRST * (1 << min(failures - 1, 10)), LONGEST)
        return wait * (1 - SPREAD * share_of(f"{name} {failures}"))
    return None


def share_of(name: str) -> float:
    """0 to 1, the same for a name each time."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
