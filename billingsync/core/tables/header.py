"""Where the table begins: its header row and what parts its cells. Nothing here is a guess: what fits in two ways is
named, and refused by who asked [IM3] [IM5]."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
HEADER_WITHIN = 100  # rows from the top in which the header must stand
ROWS_BELOW = 10  # rows under the header that must bear a delimiter out

_SEP = re.compile(r'"?sep=(.)"?[,;|\t]*\s*', re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The header row: `at` counts records from 0; `places` maps our column names to cell positions; `names` are the
    cells as they stand."""

    at: int
    places: Mapping[str, int]
    names: tuple[str, ...]


def folded(name: str) -> str:
    """A column's name without case and spaces, as names are compared."""
    return re.sub(r"[\s\xa0\ufeff]+", "", name).casefold()


def separator_line(line: str) -> str | None:
    """The delimiter that a first line `sep=;` names, as Excel writes and obeys it; None for any other line."""
    found = _SEP.fullmatch(line.rstrip("\r\n"))
    return found[1] if found else None


def find_header(rows: Iterable[Sequence[str]], columns: Mapping[str, str]) -> Header | None:
    """The first row with all of the columns (ours = theirs), case and spaces aside."""
    wanted = {ours: folded(theirs) for ours, theirs in columns.items()}
    for at, row in enumerate(rows):
        if at >= HEADER_WITHIN:
            return None
        cells = [folded(cell) for cell in row]
        if all(theirs in cells for theirs in wanted.values()):
            places = {ours: cells.index(theirs) for ours, theirs in wanted.items()}
            return Header(at=at, places=places, names=tuple(cell.strip() for cell in row))
    return None


def repeated_columns(header: Header, columns: Mapping[str, str]) -> list[str]:
    """Their names of columns that we read and that the header has more than once."""
    cells = [folded(name) for name in header.names]
    return [theirs for theirs in columns.values() if cells.count(folded(theirs)) > 1]


def nearest_header(rows: Iterable[Sequence[str]], columns: Mapping[str, str]) -> tuple[int, list[str], list[str]]:
    """Where no row is the header: the record (from 0) that comes nearest, the columns it lacks, and its other cells."""
    wanted = {folded(theirs): theirs for theirs in columns.values()}
    best: tuple[int, int, Sequence[str]] = (0, 0, ())
    for at, row in zip(range(HEADER_WITHIN), rows, strict=False):
        hits = len(wanted.keys() & {folded(cell) for cell in row})
        if hits > best[0]:
            best = (hits, at, row)
    _, at, row = best
    have = {folded(cell) for cell in row}
    lacks = [theirs for name, theirs in wanted.items() if name not in have]
    others = [cell.strip() for cell in row if cell.strip() and folded(cell) not in wanted]
    return at, lacks, others


def bears_out(rows: Sequence[Sequence[str]], header: Header) -> bool:
    """Whether the rows below the header are parted by the same delimiter; an empty table bears out everything."""
    below = [row for row in rows[header.at + 1 :] if any(cell.strip() for cell in row)][:ROWS_BELOW]
    return not below or any(len(row) > 1 for row in below)
