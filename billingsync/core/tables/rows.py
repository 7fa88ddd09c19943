"""A file's rows, each in exactly one state [IM6]."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation
from enum import StrEnum
from functools import lru_cache

from billingsync.core.money import ZERO, minor_unit, plain
from billingsync.core.period import Period
from billingsync.core.tables.cells import BadCell, check_whole, inert_cell, read_month, read_name, unwrapped
from billingsync.core.tables.header import Header, folded
from billingsync.core.tables.numbers import Mark, NotNumber, read_decimal
from billingsync.core.tables.profile import Profile, SameService

# Wide enough for a sum of two million of the longest numbers that are read; what would not be exact is an error.
_EXACT = Context(prec=120, traps=[Inexact, InvalidOperation])
_ROUND = Context(prec=120, rounding=ROUND_HALF_UP)


def exact_sum(one: Decimal, other: Decimal) -> Decimal:
    """The sum of two read numbers, every digit kept."""
    return _EXACT.add(one, other)


class RowState(StrEnum):
    COUNTED = "counted"
    BLANK = "blank"
    TOTAL = "total"
    SKIPPED = "skipped"  # above the table, and its header
    BAD = "bad"


class ProblemKind(StrEnum):
    ROW = "row"  # --skip-bad leaves the row out
    FILE = "file"  # nothing of the file can be taken
    AMBIGUOUS = "ambiguous"  # it can be read in two ways, and a person must say in which


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a file. `line` is the physical line from 1, 0 where it is about the whole file; `column` is the
    file's own name of it, "" where it is about the row; `cell` is inert; `expected` says what should stand there."""

    line: int
    column: str
    cell: str
    expected: str
    kind: ProblemKind = ProblemKind.ROW

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line else "the file"
        place += f", column {inert_cell(self.column)}" if self.column else ""
        found = f": found {self.cell or 'nothing'}," if self.column else ":"
        return f"{place}{found} expected {self.expected}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one counted row says. Texts are "" and prices None where the file has none."""

    account: str
    service: str
    quantity: Decimal
    sku: str = ""
    unit_price: Decimal | None = None
    unit_cost: Decimal | None = None
    currency: str = ""
    subscription: str = ""
    vendor: str = ""

    @property
    def same_as(self) -> tuple[str, ...]:
        """Rows with equal ones are about the same thing [IM7]; two currencies are never summed."""
        return self.vendor, self.account, self.service, self.sku, self.currency


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row, its first physical line, and what it says where it is counted."""

    line: int
    state: RowState
    usage: Usage | None = None
    problems: tuple[Problem, ...] = ()


class CellReader:
    """One row's cells by our column names, each read strictly; what is wrong is gathered in `problems`."""

    def __init__(self, cells: Sequence[str], line: int, header: Header, marks: Mapping[str, Mark | None]) -> None:
        self.cells, self.line, self.header, self.marks = cells, line, header, marks
        self.problems: list[Problem] = []

    def raw(self, column: str) -> str:
        """The cell as it stands; "" where the row ends before it or the profile has no such column."""
        place = self.header.places.get(column)
        return "" if place is None or place >= len(self.cells) else self.cells[place]

    def wrong(self, column: str, expected: str, kind: ProblemKind = ProblemKind.ROW) -> None:
        place = self.header.places.get(column)
        name = "" if place is None else self.header.names[place]
        problem = Problem(line=self.line, column=name, cell=inert_cell(self.raw(column)), expected=expected, kind=kind)
        self.problems.append(problem)

    def text(self, column: str, *, required: bool = False, read: Callable[[str], str] = read_name) -> str:
        if column not in self.header.places:
            return ""
        try:
            text = read(self.raw(column))
        except BadCell as bad:
            self.wrong(column, str(bad))
            return ""
        if required and not text:
            self.wrong(column, "a text")
        return text

    def number(self, column: str, *, required: bool = False) -> Decimal | None:
        if column not in self.header.places:
            return None
        text = self.raw(column)
        try:
            check_whole(text)
            text = unwrapped(text)
            if not text and not required:
                return None
            return read_decimal(text, self.marks.get(column))
        except (BadCell, NotNumber) as bad:
            self.wrong(column, str(bad))
            return None

    def currency(self, otherwise: str) -> str:
        """The row's currency as ISO 4217 has it, else the profile's."""
        code = self.text("currency").upper()
        if code and minor_unit(code) is None:
            self.wrong("currency", "an ISO 4217 code such as USD")
        elif code and otherwise and code != otherwise:
            self.wrong("currency", f"{otherwise}, as the profile says")
        return code or otherwise

    def check_month(self, profile: Profile, period: Period) -> None:
        """A file of another month must not pass for this one's [IM8]."""
        text = self.raw("period")
        if not text.strip():
            return
        try:
            found = read_month(text, profile.dates)
        except BadCell as bad:
            self.wrong("period", str(bad))
            return
        if found != period:
            self.wrong("period", f"{period}: this file is about another month", ProblemKind.FILE)

    def check_width(self) -> None:
        """Cells beyond the header are what an unquoted delimiter in a text, or a decimal comma, makes."""
        if any(cell.strip() for cell in self.cells[len(self.header.names) :]):
            expected = f"{len(self.header.names)} cells as in the header; is a text with the delimiter not quoted?"
            self.problems.append(Problem(line=self.line, column="", cell=inert_cell(self.cells[-1]), expected=expected))


@dataclass(slots=True)
class Totals:
    """A file's total rows, each with what the sums were when it came [IM5]. `column` is ours."""

    column: str
    rows: list[tuple[int, Decimal, Decimal, Decimal]] = field(default_factory=list)
    whole: Decimal = ZERO
    since: Decimal = ZERO

    def count(self, amount: Decimal) -> None:
        self.whole = exact_sum(self.whole, amount)
        self.since = exact_sum(self.since, amount)

    def read(self, reader: CellReader) -> Row:
        """One total row; with an empty cell it has nothing to say."""
        says = reader.number(self.column)
        if reader.problems:
            return bad_row(reader)
        if says is not None:
            self.rows.append((reader.line, says, self.whole, self.since))
            self.since = ZERO
        return Row(line=reader.line, state=RowState.TOTAL)

    def unequal(self, header: Header) -> list[Problem]:
        """Totals that are neither the sum of the rows above, nor since the last total, nor of the whole file. One that
        shows fewer decimals than its rows is compared in its own."""
        found = []
        for line, says, above, since in self.rows:
            exponent = says.as_tuple().exponent
            assert isinstance(exponent, int)
            unit = Decimal(1).scaleb(min(exponent, 0))
            if all(
                says != amount and says != amount.quantize(unit, context=_ROUND)
                for amount in (above, since, self.whole)
            ):
                expected = f"{plain(above)}, the sum of the rows above"
                column = header.names[header.places[self.column]]
                found.append(Problem(line=line, column=column, cell=plain(says), expected=expected))
        return found


@dataclass(slots=True, kw_only=True)
class UsageTable:
    """Turns a usage file's rows into `Row`s, one after the other, and keeps what several of them must agree on."""

    profile: Profile
    header: Header
    marks: Mapping[str, Mark | None]
    period: Period
    totals: Totals = field(default_factory=lambda: Totals("quantity"))
    seen: dict[tuple[str, ...], int] = field(default_factory=dict)  # where equal services are an error

    def read(self, line: int, cells: Sequence[str]) -> Row:
        """One record below the header."""
        reader = CellReader(cells, line, self.header, self.marks)
        if (other := uncounted(reader, self.profile, self.totals)) is not None:
            return other
        usage = self._usage(reader)
        if usage is None or reader.problems:
            return bad_row(reader)
        if self.profile.same_service is SameService.ERROR:
            first = self.seen.setdefault(usage.same_as, line)
            if first != line:
                reader.wrong("service", f"one row for each account and service; line {first} has this one already")
                return bad_row(reader)
        self.totals.count(usage.quantity)
        return Row(line=line, state=RowState.COUNTED, usage=usage)

    def _usage(self, reader: CellReader) -> Usage | None:
        reader.check_width()
        reader.check_month(self.profile, self.period)
        account, service = reader.text("account", required=True), reader.text("service", required=True)
        quantity = reader.number("quantity", required=True)
        price, cost = reader.number("unit_price"), reader.number("unit_cost")
        currency = reader.currency(self.profile.currency)
        if (price is not None or cost is not None) and not currency:
            reader.wrong("currency", 'a currency beside prices; set currency = "USD" or such in the profile')
        sku, subscription, vendor = reader.text("sku"), reader.text("subscription"), reader.text("vendor")
        if quantity is None or reader.problems:
            return None
        return Usage(
            account=account,
            service=service,
            quantity=quantity,
            sku=sku,
            unit_price=price,
            unit_cost=cost,
            currency=currency,
            subscription=subscription,
            vendor=vendor or self.profile.vendor,
        )


def uncounted(reader: CellReader, profile: Profile, totals: Totals | None) -> Row | None:
    """The row where it is blank, a total, or the header once more; None where it must say something itself."""
    cells = reader.cells
    if not any(cell.strip() for cell in cells):
        return Row(line=reader.line, state=RowState.BLANK)
    if is_total(cells[0], profile.total_rows):
        return totals.read(reader) if totals else Row(line=reader.line, state=RowState.TOTAL)
    header = reader.header
    if all(place < len(cells) and is_same_name(cells[place], header.names[place]) for place in header.places.values()):
        # As where two files were joined: what they say together is more than either of them says.
        expected = "one header; were two files joined? Import each of them, the second with --append"
        reader.problems.append(Problem(line=reader.line, column="", cell="", expected=expected))
        return bad_row(reader)
    return None


@lru_cache(maxsize=4096)
def is_total(cell: str, names: tuple[str, ...]) -> bool:
    """Whether a row's first cell is one of `total_rows`, case, spaces and a colon aside."""
    first = folded(cell).rstrip(":")
    return bool(first) and any(first == folded(name).rstrip(":") for name in names)


@lru_cache(maxsize=4096)
def is_same_name(cell: str, name: str) -> bool:
    return folded(cell) == folded(name)


def bad_row(reader: CellReader) -> Row:
    return Row(line=reader.line, state=RowState.BAD, problems=tuple(reader.problems))
