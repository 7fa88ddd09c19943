"""A file, checked whole before anything of it is taken: how many rows are in which state, and every mistake [IM6]."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from billingsync.core.charge import Charge
from billingsync.core.period import Period
from billingsync.core.tables.cells import BadCell, DateOrder, inert_cell, read_month
from billingsync.core.tables.charges import ChargeTable, with_ordinals
from billingsync.core.tables.profile import Profile
from billingsync.core.tables.rows import Problem, ProblemKind, Row, RowState, Totals, UsageTable
from billingsync.errors import ImportAmbiguous, ImportRefused
from billingsync.sources.csvfile.kept import KeptFile, Unreadable
from billingsync.sources.csvfile.reading import Layout, NoLayout, find_layout, records, rows_below, separator_of

SHOWN = 1000  # mistakes that are listed; the rest is counted

# A month in a file's name, but no day: exports are often called after the day on which they were made.
_MONTH_IN_NAME = re.compile(r"(?<!\d)(20\d\d)[-_. ]?(0[1-9]|1[0-2])(?![-_. ]?\d)")
_MONTH_IN_TITLE = re.compile(
    r"(?<![\d-])(20\d\d-(?:0[1-9]|1[0-2]))(?![-\d])"
    r"|(?<![A-Za-z])((?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.? 20\d\d)(?!\d)",
    re.IGNORECASE,
)


@dataclass(slots=True, kw_only=True)
class Check:
    """What a whole file came to. `problems` has the first 1,000 mistakes and `mistakes` their number; `layout` is None
    where the table was not found. `accounts` and `services` count the rows of each name."""

    file: KeptFile
    profile: Profile
    period: Period
    layout: Layout | None = None
    rows: Counter[RowState] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    mistakes: int = 0
    accounts: Counter[str] = field(default_factory=Counter)
    services: Counter[str] = field(default_factory=Counter)

    def add(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self.mistakes += 1
            if len(self.problems) < SHOWN:
                self.problems.append(problem)
            elif problem.kind is not ProblemKind.ROW:
                # What refuses the whole file is never among those that are only counted.
                self.problems[-1] = problem

    @property
    def refused(self) -> bool:
        """Whether nothing of the file may be taken, not even with --skip-bad."""
        nothing = not self.rows[RowState.COUNTED]
        return nothing or any(problem.kind is not ProblemKind.ROW for problem in self.problems)

    def as_rows(self) -> dict[str, int]:
        return {state.value: self.rows[state] for state in RowState}

    def error(self) -> ImportRefused:
        """The refusal that lists everything."""
        ambiguous = any(problem.kind is ProblemKind.AMBIGUOUS for problem in self.problems)
        kind = ImportAmbiguous if ambiguous else ImportRefused
        count = f"{self.mistakes:,} mistakes" if self.mistakes != 1 else "1 mistake"
        more = self.mistakes - len(self.problems)
        lines = [str(problem) for problem in self.problems] + ([f"... and {more:,} more"] if more else [])
        if not self.mistakes:
            lines = ["the file: no row of it counts; is this the right file?"]
        name = inert_cell(self.file.name)
        message = "\n".join([f"{name} was not taken: {count}.", *lines])
        return kind(message, [problem_document(problem) for problem in self.problems])


class _Table(Protocol):
    """What turns cells into rows: a `UsageTable` or a `ChargeTable`."""

    @property
    def totals(self) -> Totals | None: ...


def problem_document(problem: Problem) -> dict[str, object]:
    return {
        "line": problem.line or None,
        "column": inert_cell(problem.column),
        "cell": problem.cell,
        "message": str(problem),
    }


def check_usage(file: KeptFile, profile: Profile, period: Period) -> Check:
    """Reads the whole file and takes nothing. Never raises for what the file holds: the check says it."""
    check = Check(file=file, profile=profile, period=period)
    try:
        layout = _prepare(check)
        table = UsageTable(profile=profile, header=layout.header, marks=layout.marks, period=period)
        for row in (table.read(record.line, record.cells) for record in rows_below(file, profile, layout)):
            check.rows[row.state] += 1
            check.add(row.problems)
            if row.usage is not None:
                check.accounts[row.usage.account] += 1
                check.services[row.usage.service] += 1
        _check_totals(check, table)
    except Unreadable as wrong:
        check.add([wrong.problem])
    except NoLayout as wrong:
        check.add(wrong.problems)
    return check


def usage_rows(check: Check) -> Iterator[Row]:
    """The rows of a file that was checked, read once more: blank ones are left out."""
    assert check.layout is not None
    layout = check.layout
    table = UsageTable(profile=check.profile, header=layout.header, marks=layout.marks, period=check.period)
    for record in rows_below(check.file, check.profile, layout):
        row = table.read(record.line, record.cells)
        if row.state is not RowState.BLANK:
            yield row


def read_charges(file: KeptFile, profile: Profile, period: Period) -> tuple[Check, tuple[Charge, ...]]:
    """All charges of a distributor invoice's file, or none: an invoice is read whole or not at all [S2]. Raises
    ImportRefused with every mistake."""
    check = Check(file=file, profile=profile, period=period)
    charges: list[Charge] = []
    try:
        layout = _prepare(check)
        table = ChargeTable(
            profile=profile,
            header=layout.header,
            marks=layout.marks,
            period=period,
            invoice_id=f"{profile.name}/{period}",
        )
        for record in rows_below(file, profile, layout):
            row = table.read(record.line, record.cells)
            check.rows[row.state] += 1
            check.add(row.problems)
            if row.charge is not None:
                charges.append(row.charge)
        _check_totals(check, table)
    except Unreadable as wrong:
        check.add([wrong.problem])
    except NoLayout as wrong:
        check.add(wrong.problems)
    if check.mistakes or check.refused:
        raise check.error()
    return check, with_ordinals(charges)


def month_of(file: KeptFile, profile: Profile) -> Period | None:
    """The month that the file's first row names, None where it has no such column. Raises ImportRefused where the file
    cannot be read so far."""
    check = Check(file=file, profile=profile, period=Period(2000, 1))  # no row is judged by it
    try:
        layout = find_layout(file, profile)
        place = layout.header.places.get("period")
        if place is None:
            return None
        for record in rows_below(file, profile, layout):
            if place < len(record.cells) and record.cells[place].strip():
                return read_month(record.cells[place], profile.dates)
    except Unreadable as wrong:
        check.add([wrong.problem])
    except NoLayout as wrong:
        check.add(wrong.problems)
    except BadCell as wrong:
        column = profile.columns.get("period", "")
        cell = inert_cell(record.cells[place]) if place is not None else ""
        check.add([Problem(line=record.line, column=column, cell=cell, expected=str(wrong), kind=ProblemKind.FILE)])
    if check.problems:
        raise check.error()
    return None


def _prepare(check: Check) -> Layout:
    """Finds the table, and refuses a file whose name or title is another month's [IM8]."""
    check.add(_other_month(check.file.name, _MONTH_IN_NAME.findall(check.file.name), check.period, 0))
    layout = find_layout(check.file, check.profile)
    check.layout = layout
    has_separator = separator_of(check.file, check.profile) is not None
    check.rows[RowState.SKIPPED] = layout.above + has_separator
    for record in islice(records(check.file, check.profile, layout.delimiter), layout.above - 1):
        title = " ".join(record.cells)
        found = [(one or other) for one, other in _MONTH_IN_TITLE.findall(title)]
        check.add(_other_month(title, found, check.period, record.line))
    return layout


def _other_month(text: str, found: Sequence[str | tuple[str, str]], period: Period, line: int) -> list[Problem]:
    """The problem where a text names months, and none of them is this one."""
    months: set[Period] = set()
    for name in found:
        try:
            months.add(_as_month(name))
        except (BadCell, ValueError):
            continue
    if not months or period in months:
        return []
    where = "in the file's name" if line == 0 else "above the table"
    expected = f"{period}: {where} stands {', '.join(map(str, sorted(months)))}"
    return [Problem(line=line, column="", cell=inert_cell(text), expected=expected, kind=ProblemKind.FILE)]


def _as_month(name: str | tuple[str, str]) -> Period:
    if isinstance(name, tuple):
        return Period(int(name[0]), int(name[1]))
    return read_month(name, DateOrder.AUTO)


def _check_totals(check: Check, table: _Table) -> None:
    """Total rows against the sums; where rows are bad the sums are not whole, and those must be mended first."""
    if table.totals is None or check.rows[RowState.BAD] or check.layout is None:
        return
    wrong = table.totals.unequal(check.layout.header)
    check.rows[RowState.TOTAL] -= len(wrong)
    check.rows[RowState.BAD] += len(wrong)
    check.add(wrong)
