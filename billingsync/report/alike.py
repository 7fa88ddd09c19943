"""Equal warnings once, as text for people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from billingsync.report.escape import one_line, shortened
from billingsync.report.layout import Page

_WHO = re.compile(r"^[^:]{1,120}: ")
_PARTICULAR = re.compile(r"\([^()]*\)|[0-9a-f]{8}-[0-9a-f-]{27}|\d[\d.,]*")


@dataclass(slots=True)
class _Alike:
    """Warnings that say the same of different clients."""

    first: str
    count: int = 1


def warning_rows(warnings: Sequence[str], page: Page, where: str) -> None:
    """Warnings that say the same of different clients once, with their count and `where` all of them are shown."""
    alike: dict[str, _Alike] = {}
    for text in warnings:
        shape = _PARTICULAR.sub("#", _WHO.sub("", text, count=1))
        if found := alike.get(shape):
            found.count += 1
        else:
            alike[shape] = _Alike(text)
    if alike:
        page.blank()
    for one in alike.values():
        more = f" (and {one.count - 1} more like this: {where})" if one.count > 1 else ""
        page.prose(shortened(one_line(one.first), 400) + more, first="Warning: ", indent="  ", style="yellow")
