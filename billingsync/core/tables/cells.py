"""Cells: data that others wrote. What Excel did to them is undone or refused, and what is shown is made inert [IM4]."""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from enum import StrEnum
from functools import lru_cache

from billingsync.core.period import Period

SHOWN = 60  # characters of a cell in a message
MAX_CELL = 64 * 1024  # bytes in UTF-8 [IM9]

_FORMULA_TEXT = re.compile(r'="((?:[^"]|"")*)"')
_ERRORS = re.compile(r"#(REF|N/A|VALUE|NAME|DIV/0|NUM|NULL|SPILL|CALC)[!?]?|#{3,}", re.IGNORECASE)
_SHORTENED = re.compile(r"[0-9]([.,][0-9]+)?E\+[0-9]{2,}", re.IGNORECASE | re.ASCII)
_SERIAL = re.compile(r"[2-6][0-9]{4}([.,][0-9]+)?", re.ASCII)  # Excel's days since 1900: 1954 to 2091
_FORMULA_SIGNS = "=+-@\t\r＝＋－＠﹢﹣﹦﹫−"
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SPACE = re.compile(r"[^\S\n]+")
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")  # Unicode's Zs, without the plain one


class BadCell(ValueError):
    """A cell that cannot be used; the message says what was expected."""


class DateOrder(StrEnum):
    """How dates with slashes are read; `auto` refuses those that can be read in two ways."""

    AUTO = "auto"
    DAY_FIRST = "day_first"
    MONTH_FIRST = "month_first"


def unwrapped(cell: str) -> str:
    """The cell without what Excel wraps around texts: `="00123"` and a leading apostrophe."""
    text = cell.strip()
    if wrapped := _FORMULA_TEXT.fullmatch(text):
        return wrapped[1].replace('""', '"').strip()
    return text[1:].strip() if text.startswith("'") else text


def inert_cell(cell: str) -> str:
    """The cell as messages show it: short, on one line, nothing in it that a terminal, page or spreadsheet obeys, every
    kind of space as a plain one. "" for a cell of nothing but spaces."""
    text = _SPACES.sub(" ", cell if len(cell) <= SHOWN else f"{cell[: SHOWN - 1]}…")
    if not text.strip(" "):
        return ""
    seen = "".join(letter if unicodedata.category(letter) not in _UNSEEN else ascii(letter)[1:-1] for letter in text)
    return f"'{seen}" if text[:1] and text[0] in _FORMULA_SIGNS else seen


def check_whole(cell: str) -> None:
    """BadCell for what no cell that is read may hold: an error of Excel's, or far too much."""
    if len(cell) > MAX_CELL or (len(cell) * 4 > MAX_CELL and len(cell.encode("utf-8", "surrogatepass")) > MAX_CELL):
        raise BadCell(f"at most {MAX_CELL // 1024} KiB in a cell; is a quotation mark open?")
    if _ERRORS.fullmatch(cell.strip()):
        raise BadCell("a value; Excel shows an error here: mend the sheet, or make the column wider, and export again")


@lru_cache(maxsize=4096)  # a file names the same accounts and services in many rows
def read_name(cell: str) -> str:
    """A text on one line, such as an account or an id: always text, whatever it looks like. "" where empty."""
    check_whole(cell)
    text = _SPACE.sub(" ", unwrapped(cell))
    if "\n" in text:
        raise BadCell("a text on one line; is a quotation mark open?")
    if _SHORTENED.fullmatch(text):
        raise BadCell("all digits: Excel has shortened this id; format the column as text and export again")
    return text


def read_text(cell: str) -> str:
    """Any text, several lines allowed."""
    check_whole(cell)
    return unwrapped(cell)


_ISO = re.compile(r"(\d{4})[-/.](\d{1,2})(?:[-/.](\d{1,2}))?(?:[T ].*)?", re.ASCII)
_DOTTED = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?: .*)?", re.ASCII)
_SLASHED = re.compile(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4})(?: .*)?", re.ASCII)
_MONTH_YEAR = re.compile(r"(\d{1,2})[./-](\d{4})", re.ASCII)
_NAMED = re.compile(r"(?:(\d{1,2})\.?[ -])?([A-Za-z]{3,9})\.?[ -](?:(\d{1,2}),? )?(\d{4})", re.ASCII)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONG = ("uary", "ruary", "ch", "il", "", "e", "y", "ust", "tember", "ober", "ember", "ember")
_NAMES = {short: n for n, short in enumerate(_MONTHS, 1)} | {
    short + rest: n for n, (short, rest) in enumerate(zip(_MONTHS, _LONG, strict=True), 1)
}


def read_month(cell: str, order: DateOrder) -> Period:
    """The month that a cell names: `2026-11`, a day of it in most notations, `Nov 2026`. BadCell where it names none,
    or where `11/12/2026` may be either of two."""
    text = unwrapped(cell)
    if _SERIAL.fullmatch(text):
        raise BadCell("a month such as 2026-11; this is Excel's number of a day: format the column as a date")
    try:
        return _month(text, order)
    except ValueError as wrong:
        raise BadCell(str(wrong) if isinstance(wrong, BadCell) else "a month such as 2026-11") from None


def _month(text: str, order: DateOrder) -> Period:
    if found := _ISO.fullmatch(text):
        year, month, day = found.groups()
    elif found := _DOTTED.fullmatch(text):
        day, month, year = found.groups()
    elif found := _MONTH_YEAR.fullmatch(text):
        (month, year), day = found.groups(), None
    elif found := _NAMED.fullmatch(text):
        day, name, other_day, year = found.groups()
        month, day = str(_NAMES.get(name.lower(), 0)), day or other_day
    elif found := _SLASHED.fullmatch(text):
        day, month, year = _slashed(found[1], found[2], found[3], order)
    else:
        raise ValueError
    if day is not None:
        date(int(year), int(month), int(day))
    return Period(int(year), int(month))


def _slashed(first: str, second: str, year: str, order: DateOrder) -> tuple[str, str, str]:
    if order is DateOrder.MONTH_FIRST:
        return second, first, year
    if order is DateOrder.DAY_FIRST or int(first) > 12 or first == second:
        return first, second, year
    if int(second) > 12:
        return second, first, year
    raise BadCell('a month that can be read in one way; set dates = "day_first" or "month_first" in the profile')
