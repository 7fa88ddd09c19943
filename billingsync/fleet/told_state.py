"""What `fleet status` tells, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from billingsync.core.states import PartnerState
from billingsync.fleet.wording import listed
from billingsync.store.fleet_state import PartnerStanding, Standing

_NEEDS_SOMEBODY = (PartnerState.PARKED, PartnerState.FAILED, PartnerState.LATE, PartnerState.HELD, PartnerState.PAUSED)
MOST_ROWS = 40


def counts(partners: Sequence[PartnerStanding]) -> dict[PartnerState, int]:
    """How many are in which state, the worst state first."""
    found = Counter(one.state for one in partners)
    return {state: found[state] for state in PartnerState if found[state]}


def standing_lines(found: Standing) -> Iterator[str]:
    if not found.version:
        yield "Nothing is published yet:  billingsync fleet apply"
        return
    assert found.published_at is not None
    yield f"Version {found.version}, published {_minute(found.published_at)} by {found.who}"
    yield ", ".join(f"{number} {state}" for state, number in counts(found.partners).items()) or "No partner."
    wrong = [one.name for one in found.partners if one.problems]
    if wrong:
        yield f"The newest files of {listed(wrong)} are wrong and were not published:  billingsync fleet check"


def state_words(state: str, cause: str) -> str:
    """A state and why it is so, as people see it: "failed:login", "well"."""
    kind, _, about = cause.partition(":")
    return f"{state}:{about if kind == 'cycle' else kind}" if cause and state == PartnerState.FAILED else str(state)


def shown(chosen: Sequence[PartnerStanding], *, everything: bool) -> tuple[list[tuple[str, ...]], int]:
    """The rows of a table, and how many partners there are beyond it."""
    listed_ones = [one for one in chosen if everything or one.state in _NEEDS_SOMEBODY]
    most = len(listed_ones) if everything else MOST_ROWS
    rows: list[tuple[str, ...]] = []
    for one in listed_ones[:most]:
        says = [one.says, "a run is under way" if one.working else "", "newest files wrong" if one.problems else ""]
        moments = (_minute(one.last_at), _minute(one.next_at))
        rows.append(
            (one.name, state_words(one.state, one.cause), *moments, str(one.version), "; ".join(filter(None, says)))
        )
    return rows, max(len(listed_ones) - most, 0)


def _minute(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%MZ") if at else "-"


def standing_document(found: Standing, chosen: Sequence[PartnerStanding]) -> dict[str, object]:
    """The same, for programs; `partners` are those that were chosen, all of them."""
    return {
        "at": found.at.isoformat(),
        "version": found.version or None,
        "published_at": found.published_at.isoformat() if found.published_at else None,
        "published_by": found.who or None,
        "counts": {state.value: number for state, number in counts(found.partners).items()},
        "partners": [
            {
                "name": one.name,
                "state": one.state.value,
                "cause": one.cause or None,
                "version": one.version,
                "last_cycle_at": one.last_at.isoformat() if one.last_at else None,
                "next_at": one.next_at.isoformat() if one.next_at else None,
                "says": one.says,
                "working": one.working,
                "problems": list(one.problems),
            }
            for one in chosen
        ],
    }
