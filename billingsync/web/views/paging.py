"""Long lists: whole where they fit, so that a browser's own search finds everything, else in pages [DP3]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar
from urllib.parse import urlencode

from billingsync.web.views.money import View

WHOLE = 1000  # rows
A_PAGE = 500

T = TypeVar("T")


def page_of(rows: Sequence[T], asked: str, at: str, query: Mapping[str, str]) -> tuple[Sequence[T], View]:
    """The rows of the page that is asked for, and where the others are: at `at` with this `query`."""
    pages = 1 if len(rows) <= WHOLE else -(-len(rows) // A_PAGE)
    number = min(max(int(asked) if asked.isdigit() and len(asked) < 6 else 1, 1), pages)

    def link(page: int) -> str:
        kept = {name: value for name, value in query.items() if value} | {"page": str(page)}
        return f"{at}?{urlencode(kept)}"

    part: View = {
        "page": number,
        "pages": pages,
        "before": link(number - 1) if number > 1 else "",
        "after": link(number + 1) if number < pages else "",
    }
    return rows if pages == 1 else rows[(number - 1) * A_PAGE : number * A_PAGE], part
