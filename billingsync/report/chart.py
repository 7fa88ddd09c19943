"""A picture of where the money goes: the equation as a waterfall, one bar a part, negative parts pointing back.

The first bar is what Pax8 charged; the others start where the one before ended, so the last one ends where the first
does. Every bar has its label and amount on a line of its own above it, so labels cannot overlap at any width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from billingsync.core.bill.plan import Account, ClientPlan
from billingsync.core.money import ZERO
from billingsync.report.equation import terms
from billingsync.report.escape import one_line, shortened
from billingsync.report.numbers import Figures
from billingsync.report.waiting import display_name

ROW = 38  # height of one part in pixels: a line of text, a bar, and air
CLIENT_ROW = 34
_MOST_CLIENTS = 20
_HAIR = Decimal("0.4")  # percent: a part that is not zero stays visible


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """`left`, `width` and `end` (where the next part starts) in percent of the picture's width, as CSS takes them."""

    state: str
    label: str
    amount: str
    left: str
    width: str
    end: str
    top: int
    backwards: bool  # a negative part
    linked: bool  # whether the next part starts where this one ends and has a width of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    bars: tuple[Bar, ...]
    zero: str  # where zero is, in percent
    negative: bool  # whether anything lies left of zero
    height: int


def picture(account: Account, currency: str, figures: Figures) -> Picture | None:
    """None where there is nothing to draw: every part is zero."""
    steps = [("charged", "charged by Pax8", ZERO, account.charges)]
    at = ZERO
    for term in terms(account):
        steps.append((term.state, term.label, at, at + term.amount))
        at += term.amount
    low = min([ZERO, *(min(start, end) for _, _, start, end in steps)])
    high = max([ZERO, *(max(start, end) for _, _, start, end in steps)])
    if low == high:
        return None

    def percent(value: Decimal) -> Decimal:
        return (value - low) * 100 / (high - low)

    bars = []
    for number, (state, label, start, end) in enumerate(steps):
        width = abs(percent(end) - percent(start))
        left = min(percent(start), percent(end))
        if start != end and width < _HAIR:
            left, width = min(left, 100 - _HAIR), _HAIR
        bars.append(
            Bar(
                state=state,
                label=label[0].upper() + label[1:],
                amount=figures.money(end - start, currency),
                left=_css(left),
                width=_css(width),
                end=_css(percent(end)),
                top=number * ROW,
                backwards=end < start,
                linked=0 < number < len(steps) - 1 and start != end and steps[number + 1][2] != steps[number + 1][3],
            )
        )
    return Picture(bars=tuple(bars), zero=_css(percent(ZERO)), negative=low < 0, height=len(bars) * ROW)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientBar:
    """One client's amount, and where last month's was; in percent of the picture's width."""

    label: str
    amount: str
    width: str
    last: str  # "" where nothing is known of last month
    top: int


def client_bars(clients: Sequence[ClientPlan], currency: str, figures: Figures) -> tuple[ClientBar, ...]:
    """The largest clients of a currency beside last month; nothing for a single one."""
    mine = [one for one in clients if one.currency == currency and not one.held and one.amount > 0]
    mine = sorted(mine, key=lambda one: (-one.amount, display_name(one)))[:_MOST_CLIENTS]
    if len(mine) < 2:
        return ()
    most = max(max(one.amount, one.last_amount or ZERO) for one in mine)
    return tuple(
        ClientBar(
            label=shortened(one_line(display_name(one)), 80),
            amount=figures.money(one.amount, currency),
            width=_css(max(one.amount * 100 / most, _HAIR)),
            last="" if one.last_amount is None or one.last_amount < 0 else _css(one.last_amount * 100 / most),
            top=number * CLIENT_ROW,
        )
        for number, one in enumerate(mine)
    )


def _css(percent: Decimal) -> str:
    return f"{percent.quantize(Decimal('0.001'), rounding=ROUND_HALF_EVEN):f}%"
