"""Three pictures: money missing and owed by client, seats by product on both sides, and what ends when.

Every bar has its label and figures on a line of its own, so that labels cannot overlap at any width; places are in
percent of the picture's width, heights in pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from billingsync.core.money import ZERO
from billingsync.core.reconcile.expiring import Expiring, Row
from billingsync.core.reconcile.findings import Finding, Side
from billingsync.core.reconcile.licences import SeatRow
from billingsync.report.comparison import words
from billingsync.report.comparison.view import by_product
from billingsync.report.escape import one_line, shortened
from billingsync.report.numbers import Figures

MOST = 12  # bars: more than fit on a screen are no picture
STEP = 40  # pixels of one bar with its label
_HAIR = Decimal("0.5")  # percent: what is not zero stays visible
_DAYS_A_BIN = 7
_UP, _DOWN, _AXIS = 92, 80, 26  # pixels above and below the time line, and for its own labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One rectangle: its colour's name, and where it lies, in percent."""

    kind: str
    left: str
    width: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    label: str
    figure: str
    pieces: tuple[Piece, ...]
    top: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """`zero`: where nothing is, in percent; `more`: how many are not drawn."""

    title: str
    bars: tuple[Bar, ...]
    zero: str
    height: int
    more: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Some days of the time line: how many end, and of whom."""

    kind: str
    count: int
    left: str
    width: str
    top: int
    height: int
    label_at: int
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A thin line over the time line, with its label."""

    left: str
    label: str
    anchor: str = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLine:
    title: str
    columns: tuple[Column, ...]
    months: tuple[Mark, ...]
    windows: tuple[Mark, ...]
    axis: int
    height: int


def money_picture(findings: Iterable[Finding], currency: str, figures: Figures) -> Bars | None:
    """What clients pay too little (right) and too much (left), the largest first; None where there is nothing."""
    amounts: dict[str, dict[Side, Decimal]] = defaultdict(lambda: {Side.MISSING: ZERO, Side.OWED: ZERO})
    for one in findings:
        if one.currency == currency and one.side in (Side.MISSING, Side.OWED) and one.money:
            amounts[one.client_name or one.company_name][one.side] += one.money
    ranked = sorted(amounts.items(), key=lambda entry: (-sum(entry[1].values()), entry[0]))
    if not ranked:
        return None
    shown = ranked[:MOST]
    most = {side: max(money[side] for _, money in shown) for side in (Side.MISSING, Side.OWED)}
    whole = most[Side.MISSING] + most[Side.OWED]
    zero = most[Side.OWED] * 100 / whole
    bars = []
    for number, (name, money) in enumerate(shown):
        pieces, says = [], []
        for side in (Side.OWED, Side.MISSING):
            if not money[side]:
                continue
            width = max(money[side] * 100 / whole, _HAIR)
            pieces.append(_piece(side.value, zero - width if side is Side.OWED else zero, width))
            says.append(f"{figures.amount(money[side], currency)} {words.SIDES[side]}")
        bars.append(Bar(label=_label(name), figure=" · ".join(says), pieces=tuple(pieces), top=number * STEP))
    return Bars(
        title="Money by client: what is missing points right, what is owed to clients points left",
        bars=tuple(bars),
        zero=_css(zero),
        height=len(bars) * STEP,
        more=len(ranked) - len(shown),
    )


def seats_picture(rows: Iterable[SeatRow], figures: Figures) -> Bars | None:
    """Seats subscribed beside seats billed, the products that differ most first."""
    products = [row for row in by_product(rows) if row.count or row.psa_quantity]
    ranked = sorted(products, key=lambda row: (-abs(row.difference), -row.count, row.product))
    if not ranked:
        return None
    shown = ranked[:MOST]
    most = max(max(row.count, row.psa_quantity, ZERO) for row in shown) or Decimal(1)
    bars = []
    for number, row in enumerate(shown):
        pieces = []
        for kind, seats in (("pax8", row.count), ("halopsa", row.psa_quantity)):
            if seats > 0:
                pieces.append(_piece(kind, ZERO, max(seats * 100 / most, _HAIR)))
        difference = f" ({words.signed(row.difference, figures)})" if row.difference else ""
        says = f"{figures.quantity(row.count)} at Pax8, {figures.quantity(row.psa_quantity)} in HaloPSA{difference}"
        bars.append(Bar(label=_label(row.product), figure=says, pieces=tuple(pieces), top=number * (STEP + 6)))
    return Bars(
        title="Seats by product, at Pax8 and in HaloPSA",
        bars=tuple(bars),
        zero="0%",
        height=len(bars) * (STEP + 6),
        more=len(ranked) - len(shown),
    )


def time_line(ending: Sequence[Expiring], today: date, within: int, figures: Figures) -> TimeLine | None:
    """What ends in which week: terms of their own above the line, yearly commitments billed monthly below it."""
    days = [one for one in ending if one.days is not None and 0 <= one.days <= within and one.row is not Row.NONE]
    if not days:
        return None
    bins = within // _DAYS_A_BIN + 1
    found: dict[tuple[Row, int], list[Expiring]] = defaultdict(list)
    for one in days:
        found[one.row, (one.days or 0) // _DAYS_A_BIN].append(one)
    most = max(map(len, found.values()))
    wide = Decimal(100) / bins
    columns = []
    for (row, place), ones in sorted(found.items(), key=lambda entry: (entry[0][0].value, entry[0][1])):
        up = row is Row.TERM
        room = min(_UP, _DOWN) - 20
        height = max(6, room * len(ones) // most)
        top = _UP - height if up else _UP + _AXIS
        columns.append(
            Column(
                kind=row.value,
                count=len(ones),
                left=_css(wide * place + wide / 10),
                width=_css(wide * 8 / 10),
                top=top,
                height=height,
                label_at=top - 5 if up else top + height + 14,
                says=_of_whom(ones, today + timedelta(days=place * _DAYS_A_BIN), figures),
            )
        )
    return TimeLine(
        title=f"What ends in the next {within} days, by week",
        columns=tuple(columns),
        months=tuple(_months(today, within)),
        windows=tuple(
            Mark(left=_css(Decimal(day * 100) / (bins * _DAYS_A_BIN)), label=f"{day} days", anchor="end")
            for day in (15, 30, 90)
            if day <= within
        ),
        axis=_UP,
        height=_UP + _AXIS + _DOWN,
    )


def _months(today: date, within: int) -> Iterable[Mark]:
    whole = (within // _DAYS_A_BIN + 1) * _DAYS_A_BIN
    yield Mark(left="0%", label="today")
    day = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    while (day - today).days < whole:
        if (day - today).days > whole // 12:
            yield Mark(left=_css(Decimal((day - today).days * 100) / whole), label=f"{day:%d %b %Y}".lstrip("0"))
        day = (day + timedelta(days=32)).replace(day=1)


def _of_whom(ones: Sequence[Expiring], week: date, figures: Figures) -> str:
    names = sorted({one.one.company.name for one in ones})
    more = f" and {figures.count(len(names) - 6)} more" if len(names) > 6 else ""
    return f"week from {week}: {figures.count(len(ones))} of {shortened(one_line(', '.join(names[:6])), 300)}{more}"


def _piece(kind: str, left: Decimal, width: Decimal) -> Piece:
    return Piece(kind=kind, left=_css(max(left, ZERO)), width=_css(width))


def _label(name: str) -> str:
    return shortened(one_line(name), 60)


def _css(percent: Decimal) -> str:
    return f"{percent.quantize(Decimal('0.001'), rounding=ROUND_HALF_EVEN):f}%"
