"""Numbers as people and programs write them in files. The decimal mark is found from a whole column and never guessed:
`1,234` read wrongly is a factor of a thousand on a client's invoice [IM3]."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from billingsync.core.money import read_number

_SPACES = " \t\xa0\u2007\u2009\u202f"  # also those that keep thousands together
_APOSTROPHES = "'’"  # Switzerland: 1'234.50
_MINUS = "-−–"
_DIGITS_AND_MARKS = re.compile(r"[0-9.,]+", re.ASCII)
_SCIENTIFIC = re.compile(r"[0-9][0-9.,]*[eE][+-]?[0-9]+", re.ASCII)


class Mark(StrEnum):
    """What stands before the decimals."""

    POINT = "."
    COMMA = ","

    @property
    def other(self) -> Mark:
        return Mark.COMMA if self is Mark.POINT else Mark.POINT


class NotNumber(ValueError):
    """A cell that is no usable number; the message says what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """A number's digits and marks (`1.234,5`), without sign, currency and spaces."""

    digits: str
    negative: bool


def bare(text: str) -> Bare:
    """What remains of a cell once spaces, a currency sign and the sign are gone. NotNumber for anything else."""
    rest = text.strip(_SPACES)
    if "%" in rest:
        raise NotNumber("a number without a percent sign")
    if _SCIENTIFIC.fullmatch(rest.lstrip(f"+{_MINUS}")):
        raise NotNumber("all digits: Excel has shortened this number; format the column as a number and export again")
    negative = False
    if rest.startswith("(") and rest.endswith(")"):
        rest, negative = rest[1:-1].strip(_SPACES), True
    plain = _without_currency(rest)
    has_currency, rest = plain != rest, plain
    if rest[:1] in ("+", *_MINUS):
        rest, negative = _signed(rest[1:], negative, rest[0] != "+")
    elif rest and rest[-1] in _MINUS:
        rest, negative = _signed(rest[:-1], negative, True)
    rest = _without_spaces(rest if has_currency else _without_currency(rest))
    if not _DIGITS_AND_MARKS.fullmatch(rest) or not any(letter.isdigit() for letter in rest):
        raise NotNumber("a number such as 12 or 12.5")
    return Bare(digits=rest, negative=negative)


def _signed(rest: str, already: bool, minus: bool) -> tuple[str, bool]:
    if already or not rest:
        raise NotNumber("a number with one sign")
    return rest.strip(_SPACES), minus


def _without_currency(text: str) -> str:
    """One currency sign goes, at either end."""
    if text and unicodedata.category(text[0]) == "Sc":
        return text[1:].strip(_SPACES)
    if text and unicodedata.category(text[-1]) == "Sc":
        return text[:-1].strip(_SPACES)
    return text


def _without_spaces(text: str) -> str:
    """Spaces and apostrophes inside go only where they part thousands: `12 34` is not 1234."""
    groups = re.split(f"[{re.escape(_SPACES + _APOSTROPHES)}]", text)
    if len(groups) == 1:
        return text
    whole = re.split("[.,]", groups[-1])[0]
    if not 1 <= len(groups[0]) <= 3 or any(len(group) != 3 for group in (*groups[1:-1], whole)):
        raise NotNumber("one number; this looks like two")
    if not all(group.isascii() and group.isdigit() for group in groups[:-1]):
        raise NotNumber("a number with one kind of thousands mark")
    return "".join(groups)


def marks_of(digits: str) -> frozenset[Mark]:
    """The decimal marks by which these digits can be read: none, one, or both."""
    return frozenset(mark for mark in Mark if _fits(digits, mark))


def _fits(digits: str, mark: Mark) -> bool:
    whole, decimal, fraction = digits.partition(mark)
    if mark in fraction or mark.other in fraction or (decimal and not fraction):
        return False
    groups = whole.split(mark.other)
    if len(groups) == 1:
        return bool(whole) or bool(fraction)
    # Thousands: 1 to 3 digits, then threes. A leading nought never has thousands behind it: 0,123 is a fraction.
    return 1 <= len(groups[0]) <= 3 and groups[0][0] != "0" and all(len(group) == 3 for group in groups[1:])


def read_decimal(text: str, mark: Mark | None) -> Decimal:
    """The number in a cell, exactly. `mark` None: no cell of the column has a mark that says something. Raises
    NotNumber, whose message says what was expected."""
    if len(text) < 12 and text.isascii() and text.isdigit():  # as most cells are
        return Decimal(text)
    found = bare(text)
    possible = marks_of(found.digits)
    if not possible:
        raise NotNumber("a number such as 12 or 12.5")
    if mark is not None and mark not in possible:
        raise NotNumber(f'a number with "{mark}" before its decimals, as the rest of the column has')
    chosen = mark or min(possible)
    plain = found.digits.replace(chosen.other, "").replace(chosen, ".")
    if len(plain) > 60:
        raise NotNumber("a number of at most 40 digits")
    try:
        number = read_number(Decimal(plain))
    except ValueError:
        raise NotNumber("a number of at most 40 digits, below 1,000,000,000,000") from None
    assert number is not None
    return -number if found.negative and number else number


@dataclass(slots=True)
class ColumnMarks:
    """What the cells of one column say about its decimal mark. `seen` has the first cell and line for each mark that
    some cell has for certain; `doubtful` the first one that can be read both ways and means two numbers."""

    seen: dict[Mark, tuple[str, int]] = field(default_factory=dict)
    doubtful: tuple[str, int] | None = None

    def add(self, text: str, line: int) -> None:
        """Takes one cell into account; cells that are no numbers say nothing."""
        if "." not in text and "," not in text:
            return
        try:
            digits = bare(text).digits
        except NotNumber:
            return
        possible = marks_of(digits)
        if len(possible) == 1:
            self.seen.setdefault(next(iter(possible)), (text, line))
        elif possible and self.doubtful is None:
            self.doubtful = (text, line)

    @property
    def mark(self) -> Mark | None:
        """The one mark of the column; None where nothing needs one. Ask `trouble` first."""
        return next(iter(self.seen)) if len(self.seen) == 1 else None

    @property
    def trouble(self) -> tuple[tuple[str, int], str] | None:
        """The cell (text, line) that makes the column unreadable, and what was expected; None where all is well."""
        if len(self.seen) > 1:
            (first, line), second = sorted(self.seen.values(), key=lambda cell: cell[1])
            return second, f"one decimal mark in the column; line {line} has another one ({first.strip()[:40]})"
        if self.doubtful and not self.seen:
            return (
                self.doubtful,
                'one reading; set decimal = "." or decimal = "," in the profile',
            )
        return None
