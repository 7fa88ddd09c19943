"""Amounts, quantities, changes and dates as people read them, in their locale. Data formats use `core.money.plain`."""

from __future__ import annotations

from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from billingsync.core.money import plain
from billingsync.report.escape import one_line, shortened

if TYPE_CHECKING:
    from babel import Locale


@lru_cache(maxsize=8)
def _locale(name: str) -> Locale:
    """`de_DE`, `de-DE`, `de_DE.UTF-8`; what Babel does not know reads as en_US: a report must not fail over taste."""
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(name.partition(".")[0].partition("@")[0].replace("-", "_"))
    except (UnknownLocaleError, ValueError, TypeError):
        return Locale.parse("en_US")


def code(currency: str) -> str:
    """A currency's code as people see it: what Pax8 gave may be anything."""
    return shortened(one_line(currency), 12) or "(no currency)"


class Figures:
    """Numbers and dates of one locale.

    Digits are never rounded or dropped: Babel gives the symbols and the grouping, the digits are the Decimal's own.
    The minus sign is always "-", because some locales' signs carry invisible direction marks.
    """

    def __init__(self, locale: str = "en_US") -> None:
        from babel.numbers import get_decimal_symbol, get_group_symbol

        self._locale = _locale(locale)
        self._point = get_decimal_symbol(self._locale)
        self._comma = get_group_symbol(self._locale)
        pattern = self._locale.decimal_formats.get(None)
        grouping: tuple[int, int] = getattr(pattern, "grouping", (3, 3))  # Indian locales: (3, 2)
        self._first, self._others = grouping

    def amount(self, number: Decimal, currency: str) -> str:
        """`18,231.07`: at least the currency's minor unit's digits, more where the number has more."""
        return self._spell(plain(number, currency))

    def money(self, number: Decimal, currency: str) -> str:
        """`18,231.07 USD`. A currency that is none is foreign text, too."""
        return f"{self.amount(number, currency)} {code(currency)}"

    def quantity(self, number: Decimal) -> str:
        """`10`, `1.5`: no needless zeros."""
        return self._spell(plain(number))

    def count(self, number: int) -> str:
        return self._spell(str(number))

    def percent(self, part: Decimal, whole: Decimal, *, signed: bool = False, places: int = 1) -> str:
        """`12.4 %` of a whole that is not zero, to one decimal or more; `signed` writes the plus too."""
        value = (part * 100 / whole).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
        text = self._spell(format(abs(value), "f"))
        sign = "-" if value < 0 else "+" if signed else ""
        return f"{sign}{text} %"

    def change(self, now: Decimal, before: Decimal | None, currency: str) -> str:
        """`+12.4 %` since `before`; in words where a percentage would mislead; "" where nothing came before."""
        if before is None:
            return ""
        if now == before:
            return "unchanged"
        if before <= 0:
            return f"was {self.amount(before, currency)}"
        return self.percent(now - before, before, signed=True)

    def month(self, period: str) -> str:
        """`2026-11` -> `November 2026`; what is no period is given back as it is."""
        from babel.dates import format_skeleton

        try:
            first = date.fromisoformat(f"{period}-01")
        except ValueError:
            return period
        return str(format_skeleton("yMMMM", first, locale=self._locale))

    def moment(self, created_at: str) -> str:
        """An ISO 8601 moment in words with its offset; what is none is given back as it is."""
        from babel.dates import format_datetime

        try:
            moment = datetime.fromisoformat(created_at)
        except ValueError:
            return created_at
        return str(format_datetime(moment, "long" if moment.tzinfo else "medium", locale=self._locale))

    def _spell(self, text: str) -> str:
        whole, point, fraction = text.removeprefix("-").partition(".")
        sign = "-" if text.startswith("-") else ""
        if len(whole) > self._first:
            head, groups = whole[: -self._first], [whole[-self._first :]]
            while head:
                groups.append(head[-self._others :])
                head = head[: -self._others]
            whole = self._comma.join(reversed(groups))
        return f"{sign}{whole}{self._point if point else ''}{fraction}"
