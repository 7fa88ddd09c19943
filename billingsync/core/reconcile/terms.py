"""How long terms last, and what a charge of a longer term stands for in each month [LC9] [BC5].

Pax8 spells terms in several ways (`2-Year` on subscriptions, `2 Year` on charges) and may invent others.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from billingsync.core.charge import Charge
from billingsync.core.money import ZERO, round_money
from billingsync.core.period import Period
from billingsync.core.reconcile.snapshot import Month

_MONTHS = {
    "monthly": 1, "month": 1, "1month": 1, "p1m": 1,
    "annual": 12, "annually": 12, "yearly": 12, "year": 12, "1year": 12, "12months": 12, "p1y": 12,
    "2year": 24, "2years": 24, "24months": 24, "p2y": 24,
    "3year": 36, "3years": 36, "36months": 36, "p3y": 36,
    "onetime": 0, "trial": 0, "activation": 0, "arrears": 0, "rebate": 0,
}  # fmt: skip


@lru_cache(maxsize=1024)  # a few terms stand on very many things
def months_of(term: str) -> int | None:
    """Months of a billing or commitment term; 0 for what does not recur, None for a term not known here."""
    return _MONTHS.get(re.sub(r"[\s_-]+", "", term.casefold()))


def is_trial(term: str) -> bool:
    return term.strip().casefold() == "trial"


def is_arrears(charge: Charge) -> bool:
    return charge.term.strip().casefold() == "arrears"


def is_seats(charge: Charge) -> bool:
    """Whether a charge bills seats: prorates, usage, credits and fees never add to a quantity [LC9]."""
    return charge.type == "subscription" and not is_arrears(charge) and not is_trial(charge.term)


def distance(start: Period, end: Period) -> int:
    """How many months `end` lies after `start`."""
    return (end.year - start.year) * 12 + end.month - start.month


def shares(amount: Decimal, months: int, currency: str) -> tuple[Decimal, Decimal]:
    """An amount over the months of its term: what the first month gets, and each other one. They add up exactly."""
    each = rounded(Fraction(amount) / months, currency)
    return amount - each * (months - 1), each


def share_of(amount: Decimal, months: int, month: int, currency: str) -> Decimal:
    """What one month (from 0) of the term gets."""
    if months == 1:
        return amount
    first, each = shares(amount, months, currency)
    return each if month else first


def rounded(amount: Fraction, currency: str) -> Decimal:
    """An exact amount in the currency's minor unit, halves away from zero [L3]."""
    return round_money(to_decimal(amount), currency)


def to_decimal(number: Fraction, decimals: int = 12) -> Decimal:
    """An exact number as a decimal; what does not end is cut after `decimals` digits, halves away from zero."""
    top, bottom = abs(number.numerator) * 10**decimals, number.denominator
    whole = (2 * top + bottom) // (2 * bottom)
    plain = Decimal(whole).scaleb(-decimals)
    return -plain if number < 0 else plain


def standing(months: Iterable[Month], now: Period) -> dict[str, tuple[tuple[Period, Charge], ...]]:
    """The charges that stand for a month, by what they are of: a subscription's id, else the charge's own.

    Those of the month itself, and earlier ones of longer terms. Of one subscription only the newest invoice counts: a
    renewal or a change takes the place of what was billed before.
    """
    found: dict[str, list[tuple[Period, Charge]]] = defaultdict(list)
    newest: dict[str, Period] = {}
    for month in months:
        if month.period > now:
            continue
        age = distance(month.period, now)
        for charge in month.charges:
            if not is_seats(charge) or age >= (months_of(charge.term) or 1):
                continue
            key = charge.subscription_id or f"charge {charge.id}"
            if month.period > newest.get(key, month.period):
                newest[key] = month.period
                found[key] = []
            newest.setdefault(key, month.period)
            if month.period == newest[key]:
                found[key].append((month.period, charge))
    return {key: tuple(rows) for key, rows in found.items()}


def total(numbers: Iterable[Decimal]) -> Decimal:
    return sum(numbers, ZERO)


def mean(weighted: Sequence[tuple[Decimal, Fraction]]) -> Fraction | None:
    """The mean of values by their weights; where those add up to nothing, the value that all share, else None."""
    if len(weighted) == 1:
        return weighted[0][1]
    weights = sum((Fraction(weight) for weight, _ in weighted), Fraction(0))
    if weights:
        return sum((Fraction(weight) * value for weight, value in weighted), Fraction(0)) / weights
    values = {value for _, value in weighted}
    return values.pop() if len(values) == 1 else None
