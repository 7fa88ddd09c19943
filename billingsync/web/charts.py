"""Charts as inline SVG, made here: no script, no style, a title and a description, and always the table beneath."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 960, 212, 8, 36, 18


@dataclass(frozen=True, slots=True)
class Bar:
    """One shape of the chart, ready to be placed."""

    kind: str
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True)
class Label:
    x: str
    y: str
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars of price and cost side by side, month by month."""

    width: int
    height: int
    base: str
    bars: tuple[Bar, ...]
    labels: tuple[Label, ...]


def price_and_cost(months: Sequence[tuple[str, Decimal, Decimal]]) -> Chart:
    """`months`: (label, price, cost). Negative sums stand as nothing: the table has them."""
    highest = max([Decimal(1), *(max(price, cost) for _, price, cost in months)])
    room = HEIGHT - BOTTOM - TOP
    step = Decimal(WIDTH - 2 * LEFT) / max(len(months), 1)
    wide = min(step * Decimal("0.34"), Decimal(34))
    bars, labels = [], []
    for nth, (label, price, cost) in enumerate(months):
        middle = LEFT + step * nth + step / 2
        for kind, number, at in (("price", price, middle - wide - 1), ("cost", cost, middle + 1)):
            height = max(number, Decimal(0)) * room / highest
            bars.append(Bar(kind, f"{at:.1f}", f"{HEIGHT - BOTTOM - height:.1f}", f"{wide:.1f}", f"{height:.1f}"))
        labels.append(Label(f"{middle:.1f}", str(HEIGHT - 13), label))
    return Chart(WIDTH, HEIGHT, str(HEIGHT - BOTTOM), tuple(bars), tuple(labels))
