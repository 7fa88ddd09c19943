"""What ends within 15, 30 and 90 days: terms of their own, and yearly commitments billed monthly [EX1]-[EX4]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from billingsync.core.reconcile.classify import Class, Classified, status_of
from billingsync.core.reconcile.snapshot import Subscription
from billingsync.core.reconcile.terms import is_trial, months_of, rounded

THRESHOLDS = (15, 30, 90)  # days, cumulative and inclusive; one name and one meaning everywhere
PAST_DAYS = 30
_CLASSES = (Class.COMPARED, Class.UNMAPPED_COMPANY, Class.UNMAPPED_PRODUCT, Class.USAGE)


class Row(StrEnum):
    """Which of the two rows a subscription stands in; `none` where it is in neither."""

    TERM = "term"  # its billing term is neither Monthly nor Trial
    COMMITTED_MONTHLY = "committed_monthly"
    NONE = "none"


class Renews(StrEnum):
    YES = "renews by default"
    NO = "ends"
    NOT_KNOWN = "not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentTerms:
    """What Pax8 documents for a commitment id, read fresh and not stored; None where it does not say."""

    auto_renew: bool | None = None
    days_before_end: int | None = None
    days_after_end: int | None = None
    may_decrease: bool | None = None
    may_cancel_early: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiring:
    """One subscription. `days` is end - today, negative for what is past. `month` and `year` are what its seats come
    to at the client's price; None where the term or the price is not known."""

    one: Classified
    row: Row
    end: date | None
    days: int | None
    month: Decimal | None
    year: Decimal | None
    renews: Renews
    terms: CommitmentTerms

    @property
    def past_end(self) -> bool:
        return self.days is not None and -PAST_DAYS <= self.days < 0

    @property
    def no_date(self) -> bool:
        """Counted apart, never taken for month to month; plain monthly ones have no end."""
        return self.end is None and not _is_plain_monthly(self.one.subscription)

    def within(self, days: int) -> bool:
        return self.days is not None and 0 <= self.days <= days


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """`counts` and `committed_monthly` are by threshold; `companies` by row and threshold, their ids."""

    counts: Mapping[int, int]
    committed_monthly: Mapping[int, int]
    companies: Mapping[tuple[Row, int], tuple[str, ...]]
    no_date: int
    past_end: int
    subscriptions: tuple[Expiring, ...]  # all that end within the largest threshold, are past it or have no date


def end_of(subscription: Subscription) -> date | None:
    """The commitment's end, else the subscription's [EX1]."""
    commitment = subscription.commitment
    return commitment.end if commitment and commitment.end else subscription.end


def _commits(subscription: Subscription) -> bool:
    """Whether it is committed for more than a month; a term not known here counts, as it may well bind."""
    term = subscription.commitment.term if subscription.commitment else ""
    months = months_of(term)
    return bool(term) and (months is None or months > 1)


def _is_plain_monthly(subscription: Subscription) -> bool:
    return months_of(subscription.billing_term) == 1 and not _commits(subscription)


def row_of(subscription: Subscription) -> Row:
    """[EX3]."""
    if months_of(subscription.billing_term) == 1:
        return Row.COMMITTED_MONTHLY if _commits(subscription) else Row.NONE
    return Row.NONE if is_trial(subscription.billing_term) else Row.TERM


def expiring(
    classes: Iterable[Classified], today: date, commitments: Mapping[str, CommitmentTerms], *, within: int = 90
) -> Expiry:
    """What ends, soonest first. `commitments` is by commitment id, as far as Pax8 told them."""
    every = [_one(one, today, commitments) for one in classes if one.kind in _CLASSES]
    shown = [one for one in every if one.past_end or one.no_date or (one.row is not Row.NONE and one.within(within))]
    companies: dict[tuple[Row, int], set[str]] = defaultdict(set)
    counts = {row: dict.fromkeys(THRESHOLDS, 0) for row in (Row.TERM, Row.COMMITTED_MONTHLY)}
    for one in every:
        for days in THRESHOLDS:
            if one.row is not Row.NONE and one.within(days):
                counts[one.row][days] += 1
                companies[one.row, days].add(one.one.company.id)
    return Expiry(
        counts=counts[Row.TERM],
        committed_monthly=counts[Row.COMMITTED_MONTHLY],
        companies={key: tuple(sorted(ids)) for key, ids in sorted(companies.items())},
        no_date=sum(one.no_date for one in every),
        past_end=sum(one.past_end for one in every),
        subscriptions=tuple(sorted(shown, key=_soonest)),
    )


def _soonest(one: Expiring) -> tuple[date, str, str]:
    return one.end or date.max, one.one.company.name, one.one.subscription.id


def _one(one: Classified, today: date, commitments: Mapping[str, CommitmentTerms]) -> Expiring:
    subscription = one.subscription
    end = end_of(subscription)
    commitment = subscription.commitment.id if subscription.commitment else ""
    terms = commitments.get(commitment) or CommitmentTerms()
    whole = None if one.unit_price is None else Fraction(one.seats) * one.unit_price
    currency = subscription.currency
    return Expiring(
        one=one,
        row=row_of(subscription),
        end=end,
        days=(end - today).days if end else None,
        month=None if whole is None else rounded(whole, currency),
        year=None if whole is None else rounded(whole * 12, currency),
        renews=_renews(subscription, terms),
        terms=terms,
    )


def _renews(subscription: Subscription, terms: CommitmentTerms) -> Renews:
    """The subscription itself does not say it [EX4]."""
    if status_of(subscription) == "pendingcancel":
        return Renews.NO
    return Renews.YES if terms.auto_renew else Renews.NOT_KNOWN


def due_notices(expiry: Expiry, told: Collection[tuple[str, int]]) -> tuple[tuple[int, Expiring], ...]:
    """The narrowest threshold that each subscription has reached and nobody was told of, both rows [EX6]."""
    due = []
    for one in expiry.subscriptions:
        reached = next((days for days in THRESHOLDS if one.row is not Row.NONE and one.within(days)), None)
        if reached is not None and (one.one.subscription.id, reached) not in told:
            due.append((reached, one))
    return tuple(due)
