"""Snapshots in a list: which of them counts for a period, and which for now [SN5]."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from billingsync.core.period import Period


class SnapshotState(StrEnum):
    WHOLE = "whole"
    PARTIAL = "partial"  # a list was not read whole, or we lack the right to read it: used by nothing [SN2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One snapshot as a list of them shows it."""

    id: int
    as_at: datetime
    state: SnapshotState


def snapshot_for_period(taken: Iterable[Taken], period: Period, invoice_read: datetime | None) -> Taken | None:
    """The one snapshot that counts for a period [SN5]: the first whole one at or after the invoice was first read,
    inside that month; else the last whole one inside the month. None: the period is refused [SN6]."""
    inside = _whole(one for one in taken if Period.of(one.as_at.date()) == period)
    if invoice_read is not None:
        after = [one for one in inside if one.as_at >= invoice_read]
        if after:
            return after[0]
    return inside[-1] if inside else None


def newest_whole(taken: Iterable[Taken]) -> Taken | None:
    """The snapshot that counts for "now" where it is young enough."""
    whole = _whole(taken)
    return whole[-1] if whole else None


def _whole(taken: Iterable[Taken]) -> Sequence[Taken]:
    return sorted((one for one in taken if one.state == SnapshotState.WHOLE), key=lambda one: (one.as_at, one.id))
