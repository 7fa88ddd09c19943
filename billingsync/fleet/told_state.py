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


def counts(partners: Sequence[PartnerStanding]) -> Counter[PartnerState]:
    """How many are in which state, the worst state first."""
    found = Counter(one.state for one in partners)
    return Counter({state: found[state] for state in PartnerState if found[state]})


def standing_lines(found: Standing) -> Iterator[str]:
    if not found.version:
        yield "Nothing is published yet:  billingsync fleet apply"
        return
    assert found.published_at is not None
    yield f"Version {found.version}, published {_minute(found.published_at)} by {found.who}"
    yield ", ".join(f"{number} {state}" for state, number in counts(found.partners).items()) or "No partner."
    yield _work(found)
    for one in found.workers:
        if one not in found.living:
            seen = _minute(one.seen_at)
            yield f"Worker {one.name} was last seen {seen}: it was killed, or is cut off from the database."
        elif one.says:
            yield f"Worker {one.name} begins nothing: {one.says}"
        elif one.drain_by:
            yield f"Worker {one.name} stops; drained by {one.drain_by}."
    wrong = [one.name for one in found.partners if one.problems]
    if wrong:
        yield f"The newest files of {listed(wrong)} are wrong and were not published:  billingsync fleet check"


def _work(found: Standing) -> str:
    """Due, queued and at work, in a sentence."""
    due, living = found.due, found.living
    waits = "Nothing is due"
    if due and due[0].due_at is not None:
        minutes = int((found.at - due[0].due_at).total_seconds() // 60)
        waits = f"Due: {len(due)}, the oldest for {minutes} min ({due[0].name})"
    if not living:
        return f"{waits}. No worker is at work:  billingsync fleet worker"
    newest = max(living, key=lambda one: one.seen_at)
    queue = ", ".join(f"{newest.counts.get(kind, 0)} {kind}" for kind in ("queued", "running"))
    slots = f"{sum(one.running for one in living)} of {sum(one.slots for one in living)} slots at work"
    versions = Counter(one.version for one in living)
    says = ", ".join(f"{count} of {version}" for version, count in sorted(versions.items()))
    number = f"{len(living)} worker{'s' if len(living) > 1 else ''} ({says})"
    return f"{waits}. Queue: {queue}. {number}, {slots}."


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
        why = one.says
        if why and one.state == PartnerState.FAILED:  # a bare code: the doctor tells what is wrong, and its remedy
            why += f":  billingsync fleet doctor --partner {one.name}"
        says = [why, "a run is under way" if one.working else "", "newest files wrong" if one.problems else ""]
        moments = (_short(one.next_at), _short(one.last_at))
        rows.append((one.name, state_words(one.state, one.cause), *moments, "; ".join(filter(None, says))))
    return rows, max(len(listed_ones) - most, 0)


def _minute(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%MZ") if at else "-"


def _short(at: datetime | None) -> str:
    return at.strftime("%m-%d %H:%MZ") if at else "-"


def standing_document(found: Standing, chosen: Sequence[PartnerStanding]) -> dict[str, object]:
    """The same, for programs; `partners` are those that were chosen, all of them."""
    return {
        "at": found.at.isoformat(),
        "version": found.version or None,
        "published_at": found.published_at.isoformat() if found.published_at else None,
        "published_by": found.who or None,
        "due": len(found.due),
        "oldest_due_at": found.due[0].due_at.isoformat() if found.due and found.due[0].due_at else None,
        "workers": [
            {
                "name": one.name,
                "version": one.version,
                "alive": one in found.living,
                "started_at": one.started_at.isoformat(),
                "seen_at": one.seen_at.isoformat(),
                "slots": one.slots,
                "running": one.running,
                "says": one.says or None,
                "drained_by": one.drain_by or None,
                "counts": dict(one.counts),
            }
            for one in found.workers
        ],
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
