"""The table of what was measured, for a terminal and for the README."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, kw_only=True)
class Row:
    """One target. `ok` None: shown for comparison, nothing to meet."""

    what: str
    target: str
    measured: str
    ok: bool | None = None


def at_most(what: str, measured: float, most: float, unit: str = "", *, says: str = "", how: str = "") -> Row:
    """A target that is met by no more than `most`. `says` explains the target, `how` the figure."""
    return Row(
        what=what,
        target=f"≤ {_figure(most)}{unit}{f' ({says})' if says else ''}",
        measured=f"{_figure(measured)}{unit}{f' ({how})' if how else ''}",
        ok=measured <= most,
    )


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) or abs(number) >= 100 else f"{number:.2f}"


def as_text(rows: Sequence[Row]) -> str:
    widths = [max(len(getattr(row, name)) for row in rows) for name in ("what", "target", "measured")]
    return "\n".join(
        f"{row.what:<{widths[0]}}  {row.target:<{widths[1]}}  {row.measured:<{widths[2]}}  {_verdict(row)}".rstrip()
        for row in rows
    )


def as_markdown(rows: Sequence[Row]) -> str:
    lines = ["| | Target | Measured | |", "| --- | --- | --- | --- |"]
    lines += [f"| {row.what} | {row.target} | {row.measured} | {_verdict(row)} |" for row in rows]
    return "\n".join([*lines, "", f"Measured {machine()}."])


def _verdict(row: Row) -> str:
    return "" if row.ok is None else "ok" if row.ok else "**not ok**"


def machine() -> str:
    """When and where, without names: a day, the cores, the Python."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{datetime.now(UTC):%Y-%m-%d} on {cores} cores ({platform.machine()}, {platform.system()}), "
        f"{platform.python_implementation()} {platform.python_version()}"
    )
