"""What people decided about cards, and what that makes of the cards of today [CD1] [CD7] [CD8] [CD10]."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum

from billingsync.core.money import ZERO
from billingsync.core.period import Period
from billingsync.core.reconcile.card import NOTHING_CHOSEN, Card, CardKind, Choice
from billingsync.core.reconcile.values import Values

SNOOZE_DAYS = 92  # at most


class CardState(StrEnum):
    OPEN = "open"
    SNOOZED = "snoozed"
    DISMISSED = "dismissed"
    APPROVED = "approved"
    SCHEDULED = "scheduled"
    WRITING = "writing"
    DONE = "done"
    FAILED = "failed"
    UNDONE = "undone"
    REPLACED = "replaced"


# From each state to which others a card may go; everything else is a fault of ours.
NEXT: Mapping[CardState, frozenset[CardState]] = {
    CardState.OPEN: frozenset(
        (CardState.SNOOZED, CardState.DISMISSED, CardState.APPROVED, CardState.SCHEDULED, CardState.REPLACED)
    ),
    CardState.SNOOZED: frozenset(
        (CardState.OPEN, CardState.DISMISSED, CardState.APPROVED, CardState.SCHEDULED, CardState.REPLACED)
    ),
    CardState.DISMISSED: frozenset((CardState.OPEN, CardState.APPROVED, CardState.SCHEDULED, CardState.REPLACED)),
    CardState.APPROVED: frozenset((CardState.WRITING, CardState.OPEN, CardState.REPLACED)),
    CardState.SCHEDULED: frozenset(
        (
            CardState.WRITING,
            CardState.OPEN,
            CardState.SNOOZED,
            CardState.DISMISSED,
            CardState.APPROVED,
            CardState.REPLACED,
        )
    ),
    CardState.WRITING: frozenset((CardState.DONE, CardState.FAILED)),
    CardState.DONE: frozenset((CardState.UNDONE, CardState.OPEN)),
    CardState.FAILED: frozenset((CardState.OPEN, CardState.APPROVED, CardState.SCHEDULED, CardState.REPLACED)),
    CardState.UNDONE: frozenset((CardState.OPEN, CardState.APPROVED, CardState.SCHEDULED, CardState.REPLACED)),
    CardState.REPLACED: frozenset(),
}

_RESTING = (CardState.SNOOZED, CardState.DISMISSED, CardState.DONE)
_AFTER = (CardState.APPROVED, CardState.SCHEDULED, CardState.WRITING, CardState.FAILED, CardState.UNDONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One transition of one card, as the journal keeps it, in order. `cycle` is the calendar month."""

    card: str
    digest: str
    cycle: Period
    state: CardState
    before: Values
    after: Values
    who: str = ""
    reason: str = ""
    until: date | None = None  # of a snooze, or the day of what is scheduled
    choice: Choice = NOTHING_CHOSEN  # what the person typed or chose


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A card with its state today; `note` tells what was decided in earlier cycles."""

    card: Card
    state: CardState
    note: str = ""


def shown(card: Card, decisions: Sequence[Decision], cycle: Period, today: date) -> Shown:
    """A card as it stands in its cycle. What was dismissed, snoozed or done returns only with another from or to than
    was decided on; the next cycle makes all anew, and says what people thought last time."""
    of_card = [one for one in decisions if one.card == card.id]
    note = _note([one for one in of_card if one.cycle < cycle])
    last = next((one for one in reversed(of_card) if one.cycle == cycle), None)
    if last is None:
        return Shown(card=card, state=_scheduled_before(card, of_card), note=note)
    state = CardState.OPEN
    if last.state in _RESTING and (last.before, last.after) == (card.before, card.after):
        asleep = last.state is not CardState.SNOOZED or (last.until is not None and today < last.until)
        state = last.state if asleep else CardState.OPEN
    elif last.state is CardState.DONE and card.before == last.after and card.kind is CardKind.UNCHANGED:
        state = CardState.DONE
    elif last.state in _AFTER and _is_of(last, card):
        state = last.state
    return Shown(card=card, state=state, note=note)


def _scheduled_before(card: Card, decisions: Sequence[Decision]) -> CardState:
    """What was scheduled in an earlier cycle still is, as long as it is the same card."""
    if decisions and decisions[-1].state is CardState.SCHEDULED and _is_of(decisions[-1], card):
        return CardState.SCHEDULED
    return CardState.OPEN


def _is_of(one: Decision, card: Card) -> bool:
    """Whether a decision was about just this card; on the day that it was scheduled for, it has no day any more."""
    return one.digest == card.digest or (one.until is not None and one.digest == card.digest_from(one.until))


def _note(earlier: Sequence[Decision]) -> str:
    dismissed = [one for one in earlier if one.state is CardState.DISMISSED]
    if not dismissed:
        return ""
    times = len({one.cycle for one in dismissed})
    last = dismissed[-1]
    often = "once" if times == 1 else f"{times} times"
    return f"dismissed {often}, last by {last.who or 'somebody'}: {last.reason}"


def replaced(decisions: Sequence[Decision], cards: Mapping[str, Card], cycle: Period) -> tuple[Decision, ...]:
    """The decisions of this cycle that wait to be written and whose card is no longer what it was: each is to be noted
    as replaced. A card whose ground moved is never edited [CD1]."""
    last: dict[str, Decision] = {}
    for one in decisions:
        if one.cycle == cycle or one.state is CardState.SCHEDULED:
            last[one.card] = one
    waiting = (CardState.APPROVED, CardState.SCHEDULED)
    found = []
    for id_, one in sorted(last.items()):
        card = cards.get(id_)
        if one.state in waiting and (card is None or card.digest != one.digest):
            found.append(one)
    return tuple(found)


def may_snooze(until: date, today: date) -> bool:
    return 0 < (until - today).days <= SNOOZE_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What `--vendor --tag --client --product --invoice --kind --state` choose; an empty one chooses everything."""

    vendors: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    clients: frozenset[int] = frozenset()
    products: frozenset[str] = frozenset()  # SKUs or names
    invoices: frozenset[int] = frozenset()
    kinds: frozenset[CardKind] = frozenset()
    states: frozenset[CardState] = frozenset()

    def takes(self, one: Shown) -> bool:
        card = one.card
        asked = (
            (self.vendors, {card.vendor}),
            (self.tags, set(card.tags)),
            (self.clients, {card.client_id}),
            (self.products, {card.product, *card.skus}),
            (self.invoices, {card.invoice_id}),
            (self.kinds, {card.kind}),
            (self.states, {one.state}),
        )
        return all(not wanted or wanted & has for wanted, has in asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSet:
    """Cards that one command would approve together: its sums and *its* digest [CD8]. `left` are those that it leaves,
    since they lack something, go beyond a limit, or are not open."""

    cards: tuple[Card, ...]
    left: tuple[Shown, ...]
    digest: str
    more: Mapping[str, Decimal] = field(default_factory=dict)  # by currency: what clients will pay more a month
    less: Mapping[str, Decimal] = field(default_factory=dict)  # and what they will pay less, never netted
    unknown: int = 0


def card_set(shown_: Iterable[Shown]) -> CardSet:
    """The cards of these that may be approved together."""
    everyone = sorted(shown_, key=lambda one: (one.card.client_name, one.card.product, one.card.id))
    open_ = [one for one in everyone if one.state is CardState.OPEN and one.card.kind is not CardKind.UNCHANGED]
    taken = [one.card for one in open_ if one.card.approvable and not one.card.limits]
    names = {card.id for card in taken}
    more: dict[str, Decimal] = defaultdict(lambda: ZERO)
    less: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for card in taken:
        revenue = card.change.revenue_month
        if revenue is not None:
            side = more if revenue > 0 else less
            side[card.change.currency] += abs(revenue)
    digest = hashlib.sha256("|".join(sorted(card.digest for card in taken)).encode()).hexdigest()[:16]
    return CardSet(
        cards=tuple(taken),
        left=tuple(one for one in everyone if one.card.id not in names and one.card.kind is not CardKind.UNCHANGED),
        digest=digest,
        more=dict(more),
        less=dict(less),
        unknown=sum(card.change.revenue_month is None for card in taken),
    )
