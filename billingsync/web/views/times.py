"""Moments as people read them, in the partner's time zone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo


def moment(value: object, zone: ZoneInfo) -> str:
    """`2026-11-28 14:03`; "never" where there is none."""
    return value.astimezone(zone).strftime("%Y-%m-%d %H:%M") if isinstance(value, datetime) else "never"


def clock(value: datetime, now: datetime, zone: ZoneInfo) -> str:
    """`14:03` of today, else with its day."""
    there, here = value.astimezone(zone), now.astimezone(zone)
    return there.strftime("%H:%M") if there.date() == here.date() else there.strftime("%Y-%m-%d %H:%M")
