"""A life that went wrong, made as small as it goes while it still goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from life_script import Script

Wrong = Callable[[Script], bool]


def shrink(script: Script, wrong: Wrong, most: int = 60) -> Script:
    """Fewer events, fewer months, fewer companies, the plain build; at most so many lives are tried."""
    tries = [most]

    def still(smaller: Script) -> bool:
        if smaller == script or tries[0] <= 0:
            return False
        tries[0] -= 1
        return wrong(smaller)

    script = _fewer_events(script, still)
    last = max((event.month for event in script.events), default=0)
    for months in (last + 1, last + 2, last + 4):
        if months < script.months and still(shorter := replace(script, months=months)):
            script = shorter
            break
    for smaller in (
        replace(script, charges=1),
        replace(script, switches=()),
        replace(script, behaviors=script.behaviors[-2:]),
        replace(script, behaviors=script.behaviors[:2]),
    ):
        if still(smaller):
            script = replace(script, charges=smaller.charges, switches=smaller.switches, behaviors=smaller.behaviors)
    return _fewer_events(script, still)


def _fewer_events(script: Script, still: Wrong) -> Script:
    """Halves, quarters, ... are left out as long as it stays wrong."""
    size = max(len(script.events) // 2, 1)
    while script.events:
        start = 0
        while start < len(script.events):
            smaller = replace(script, events=script.events[:start] + script.events[start + size :])
            if still(smaller):
                script = smaller
            else:
                start += size
        if size == 1:
            break
        size //= 2
    return script
