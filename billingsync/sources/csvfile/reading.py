"""A kept file and a profile -> the table's layout, then its rows, one after the other [IM3] [IM5] [IM9].

The file is read twice: once for what only the whole of it can say (which delimiter, which decimal mark), once for its
rows. Both times through the standard library's `csv`, strictly.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from billingsync.core.tables.cells import inert_cell
from billingsync.core.tables.header import (
    DELIMITERS,
    HEADER_WITHIN,
    ROWS_BELOW,
    Header,
    bears_out,
    find_header,
    nearest_header,
    repeated_columns,
    separator_line,
)
from billingsync.core.tables.numbers import ColumnMarks, Mark
from billingsync.core.tables.profile import AUTO, NUMBERS, Profile
from billingsync.core.tables.rows import Problem, ProblemKind
from billingsync.sources.csvfile.kept import KeptFile, Unreadable, lines

MAX_ROWS = 2_000_000  # [IM9]
MAX_COLUMNS = 500
_PREVIEW = HEADER_WITHIN + ROWS_BELOW + 20  # records that are enough to find the header and to look below it
_PREVIEW_CHARACTERS = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record: its first physical line, and its cells as they stand."""

    line: int
    cells: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a file is to be read. `above` counts the records before the table's first row, the header among them; `marks`
    has each number column's decimal mark, None where no cell needs one."""

    delimiter: str
    header: Header
    header_line: int
    above: int
    marks: Mapping[str, Mark | None]


class NoLayout(Exception):
    """The file does not fit the profile, or fits it in two ways; `problems` say all of it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, problems)))


def records(file: KeptFile, profile: Profile, delimiter: str) -> Iterator[Record]:
    """Every record of the file, a `sep=` line left out. Raises Unreadable for broken quoting and beyond the caps: what
    follows then cannot be told apart."""
    with file.text(profile.encoding) as text:
        physical = lines(text)
        first = next(physical, "")
        skipped = 1 if separator_line(first) else 0
        rest = physical if skipped else chain((first,), physical)
        reader = csv.reader(rest, delimiter=delimiter, strict=True)
        count = 0
        while True:
            line = reader.line_num + 1 + skipped
            try:
                cells = next(reader, None)
            except csv.Error as wrong:
                raise Unreadable(_broken(str(wrong)), line=line) from None
            if cells is None:
                return
            count += 1
            if count > MAX_ROWS:
                raise Unreadable(f"at most {MAX_ROWS:,} rows; import one account at a time", line=line)
            if len(cells) > MAX_COLUMNS:
                raise Unreadable(f"at most {MAX_COLUMNS} columns, not {len(cells)}", line=line)
            yield Record(line=line, cells=cells)


def _broken(message: str) -> str:
    if "field larger than" in message:
        return "at most 64 KiB in a cell; is a quotation mark open?"
    if "unexpected end" in message:
        return "a closing quotation mark before the file's end"
    return "closed quotation marks, doubled inside a cell; what follows cannot be told apart"


def find_layout(file: KeptFile, profile: Profile) -> Layout:
    """Delimiter, header and decimal marks. Raises NoLayout with every mistake that can be known, or Unreadable."""
    delimiter, header, line = _table_of(file, profile)
    problems = [
        Problem(line=line, column=name, cell="", expected="one column of this name", kind=ProblemKind.AMBIGUOUS)
        for name in repeated_columns(header, profile.columns)
    ]
    marks = _decimal_marks(file, profile, delimiter, header, problems)
    if problems:
        raise NoLayout(problems)
    return Layout(delimiter=delimiter, header=header, header_line=line, above=header.at + 1, marks=marks)


def rows_below(file: KeptFile, profile: Profile, layout: Layout) -> Iterator[Record]:
    """The records below the header."""
    return islice(records(file, profile, layout.delimiter), layout.above, None)


def separator_of(file: KeptFile, profile: Profile) -> str | None:
    """The delimiter that the file's own `sep=` line names, None without one."""
    with file.text(profile.encoding) as text:
        return separator_line(next(lines(text), ""))


def preview(file: KeptFile, profile: Profile, delimiter: str) -> list[Record]:
    """The first records, as far as they can be read with this delimiter."""
    found: list[Record] = []
    size = 0
    try:
        for record in islice(records(file, profile, delimiter), _PREVIEW):
            found.append(record)
            size += sum(map(len, record.cells))
            if size > _PREVIEW_CHARACTERS:
                break
    except Unreadable:
        if not found:
            raise
    return found


def _table_of(file: KeptFile, profile: Profile) -> tuple[str, Header, int]:
    said = separator_of(file, profile) or (None if profile.delimiter == AUTO else profile.delimiter)
    candidates = [said] if said else list(DELIMITERS)
    found: list[tuple[str, Header, int]] = []
    for delimiter in candidates:
        try:
            top = preview(file, profile, delimiter)
        except Unreadable:
            if said:
                raise
            continue  # broken with this delimiter, perhaps whole with another
        cells = [record.cells for record in top]
        header = find_header(cells, profile.columns)
        if header is not None and (said or bears_out(cells, header)):
            found.append((delimiter, header, top[header.at].line))
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(DELIMITERS[delimiter] for delimiter, _, _ in found)
        expected = f"one delimiter; it may be {names}: set delimiter in the profile"
        raise NoLayout([Problem(line=0, column="", cell="", expected=expected, kind=ProblemKind.AMBIGUOUS)])
    raise NoLayout([_no_header(file, profile, candidates)])


def _no_header(file: KeptFile, profile: Profile, candidates: Sequence[str]) -> Problem:
    """What a changed header lacks, told of the delimiter under which most of it is there."""
    best: tuple[int, int, list[str], list[str]] | None = None
    broken: Unreadable | None = None
    for delimiter in candidates:
        try:
            top = preview(file, profile, delimiter)
        except Unreadable as wrong:
            broken = wrong
            continue
        at, lacks, others = nearest_header([record.cells for record in top], profile.columns)
        line = top[at].line if at < len(top) else 1
        if best is None or len(lacks) < best[0]:
            best = (len(lacks), line, lacks, others)
    if best is None:
        assert broken is not None, "no delimiter to try"
        raise broken
    _, line, lacks, others = best
    there = f" The columns there that the profile does not name: {_list(others)}." if others else ""
    many = len(lacks) == len(profile.columns)
    expected = f"a header row with {_list(profile.columns.values()) if many else _list(lacks)}"
    place = 0 if many else line
    advice = f"{expected}; the header has changed, or this is another file.{there if not many else ''}"
    return Problem(line=place, column="", cell="", expected=advice, kind=ProblemKind.FILE)


def _list(names: Iterable[str]) -> str:
    texts = [inert_cell(name) for name in names]
    return ", ".join(texts[:12]) + (f" and {len(texts) - 12} more" if len(texts) > 12 else "")


def _decimal_marks(
    file: KeptFile, profile: Profile, delimiter: str, header: Header, problems: list[Problem]
) -> dict[str, Mark | None]:
    """Each number column's mark, from the profile or from the whole column; what is in doubt is added to `problems`."""
    numbers = {ours: place for ours, place in header.places.items() if ours in NUMBERS}
    if profile.decimal != AUTO:
        return dict.fromkeys(numbers, Mark(profile.decimal))
    votes = {ours: ColumnMarks() for ours in numbers}
    for record in islice(records(file, profile, delimiter), header.at + 1, None):
        for ours, place in numbers.items():
            if place < len(record.cells):
                votes[ours].add(record.cells[place], record.line)
    for ours, vote in votes.items():
        if trouble := vote.trouble:
            (cell, line), expected = trouble
            problems.append(
                Problem(
                    line=line,
                    column=header.names[numbers[ours]],
                    cell=inert_cell(cell),
                    expected=expected,
                    kind=ProblemKind.AMBIGUOUS,
                )
            )
    return {ours: vote.mark for ours, vote in votes.items()}
