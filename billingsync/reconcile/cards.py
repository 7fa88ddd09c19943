"""The cards of now with their states, and what a person decides about them; nothing here writes to HaloPSA [CD1]."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property

from billingsync.connect import Connections
from billingsync.core.period import Period
from billingsync.core.progress import Say
from billingsync.core.reconcile.card import NOTHING_CHOSEN, Card, CardKind, Choice, card_id
from billingsync.core.reconcile.card_states import (
    NEXT,
    SNOOZE_DAYS,
    CardSet,
    CardState,
    Decision,
    Filter,
    Shown,
    card_set,
    may_snooze,
    shown,
)
from billingsync.core.reconcile.cards import cards_of
from billingsync.core.reconcile.compare import Reconciliation, Verdict, compare_tenant
from billingsync.core.reconcile.snapshot import ReconcileInputs, RecurringInvoice
from billingsync.core.reconcile.tenant import Tenant, tenant_of
from billingsync.core.rules import Rules
from billingsync.errors import StaleCard, UsageError
from billingsync.reconcile.choose import for_now
from billingsync.reconcile.inputs import Books, inputs_for
from billingsync.rulebook import load_rulebook
from billingsync.store.ledger import Ledger

SHORTEST = 4  # digits of a digest that will do where they are unique
_STEP = ("billingsync", "cards")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deck:
    """Today's cards, as of one snapshot. `unchanged` counts those that propose nothing."""

    snapshot: int
    as_at: datetime
    verdict: Verdict
    cycle: Period
    cards: tuple[Shown, ...]

    def chosen(self, wanted: Filter, *, unchanged: bool = False) -> tuple[Shown, ...]:
        """The cards that a filter takes; those that change nothing only on request."""
        return tuple(
            one for one in self.cards if wanted.takes(one) and (unchanged or one.card.kind is not CardKind.UNCHANGED)
        )

    def together(self, wanted: Filter) -> CardSet:
        """Those of them that one command could approve together."""
        return card_set(self.chosen(wanted))

    def find(self, digest: str) -> Shown:
        """The card whose digest begins so. StaleCard where no card of now has it, UsageError where several do."""
        wanted = digest.strip().lower()
        found = [one for one in self.cards if one.card.digest.startswith(wanted)]
        if len(wanted) < SHORTEST or len(found) > 1:
            raise UsageError(
                f"{digest!r:.40} names {len(found)} cards. Give at least {SHORTEST} digits of one digest.",
                next_steps=[_STEP],
            )
        if not found:
            raise StaleCard(
                f"No card has the digest {wanted!r:.40} now: what it showed has changed, or it was never shown.",
                next_steps=[_STEP],
            )
        return found[0]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What the cards of now stand on: both sides of one snapshot, and what was decided so far."""

    inputs: ReconcileInputs
    decisions: tuple[Decision, ...]
    today: date

    @property
    def cycle(self) -> Period:
        return Period.of(self.today)

    def since(self, decisions: tuple[Decision, ...], today: date) -> Ground:
        """The same sides, with what was decided since; what was compared already is not compared again."""
        later = replace(self, decisions=decisions, today=today)
        known: tuple[str, ...] = ("_compared", "_plain_cards")
        kept = {name: self.__dict__[name] for name in known if name in self.__dict__}
        later.__dict__.update(kept)
        return later

    @property
    def compared(self) -> Reconciliation:
        """Both sides compared."""
        return self._compared[1]

    @cached_property
    def _compared(self) -> tuple[Tenant, Reconciliation]:
        tenant = tenant_of(self.inputs)
        return tenant, compare_tenant(tenant)

    @cached_property
    def _plain_cards(self) -> tuple[Card, ...]:
        tenant, result = self._compared
        return cards_of(result, tenant)

    def _choices(self, cards: Sequence[Card], chosen: Choice, only: Card | None) -> dict[str, Choice]:
        """By card: what is chosen now, else what was chosen for a later day."""
        choices: dict[str, Choice] = {}
        last = {one.card: one for one in self.decisions}
        for one in last.values():
            if one.state is CardState.SCHEDULED and one.until is not None and one.until > self.today:
                choices |= {
                    id_: one.choice
                    for card in cards
                    for id_ in _ids(card, one.choice)
                    if one.card in _ids(card, one.choice)
                }
        if chosen != NOTHING_CHOSEN or only is not None:
            choices |= {id_: chosen for card in (cards if only is None else [only]) for id_ in _ids(card, chosen)}
        return choices

    def rules_of(self, client_id: int) -> Rules:
        """The rules of a client."""
        return self._compared[0].rules_of.client(client_id)

    def deck(self, chosen: Choice = NOTHING_CHOSEN, only: Card | None = None) -> Deck:
        """The card of each line. `chosen` is what a person wants: of the card `only`, else of every one."""
        tenant, result = self._compared
        cards = self._plain_cards
        if choices := self._choices(cards, chosen, only):
            cards = cards_of(result, tenant, choices)
        return Deck(
            snapshot=result.snapshot,
            as_at=result.as_at,
            verdict=result.verdict,
            cycle=self.cycle,
            cards=tuple(shown(card, self.decisions, self.cycle, self.today) for card in cards),
        )

    def compared_with_cards(self) -> Reconciliation:
        """The comparison, with the card of each finding that one would end."""
        cards = {
            one.card.finding: one.card.digest
            for one in self.deck().cards
            if one.card.finding is not None and one.card.kind is not CardKind.UNCHANGED
        }
        return replace(self._compared[1], cards=cards)

    def chosen(self, card: Card, choice: Choice) -> Shown | None:
        """What a card becomes with a person's choice, such as typed values; None where no card stands there now."""
        line_id = choice.line_id if choice.line_id is not None else card.line_id
        return next((one for one in self.beside(card, choice) if one.card.line_id == line_id), None)

    def beside(self, card: Card, choice: Choice = NOTHING_CHOSEN) -> list[Shown]:
        """All cards of the same client and product."""
        return self._same(self.deck(choice, card), card.client_id, card.key)

    def beside_key(self, client_id: int, key: str) -> list[Shown]:
        """All cards of a client and product."""
        return self._same(self.deck(), client_id, key)

    @staticmethod
    def _same(deck: Deck, client_id: int, key: str) -> list[Shown]:
        return [one for one in deck.cards if (one.card.client_id, one.card.key) == (client_id, key)]

    def with_read(self, read: Iterable[RecurringInvoice], gone: Collection[int] = ()) -> Ground:
        """The same with recurring invoices as they were just read, and without those that are gone."""
        fresh = {abs(one.id): one for one in read}
        snapshot = self.inputs.snapshot
        recurring = tuple(
            replace(fresh[abs(old.id)], id=old.id, moving=old.moving) if abs(old.id) in fresh else old
            for old in snapshot.recurring
            if old.id not in gone
        )
        return replace(self, inputs=replace(self.inputs, snapshot=replace(snapshot, recurring=recurring)))

    def invoices_of(self, card: Card) -> tuple[int, ...]:
        """The recurring invoices that a card rests on: its own, those of its group, and all of its client."""
        mine = {one.id for one in self.inputs.snapshot.recurring if one.client_id == card.client_id}
        mine |= {invoice_id for invoice_id, _, _ in card.lines if invoice_id is not None and invoice_id < 0}
        return tuple(sorted(mine | ({card.invoice_id} if card.invoice_id is not None else set())))


def _ids(card: Card, choice: Choice) -> tuple[str, ...]:
    """The ids that a card has, or gets with the line that was chosen."""
    return card.id, card_id(card.client_id, card.key, choice.line_id)


def stand(connected: Connections, *, say: Say, today: date | None = None) -> Ground:
    """Both sides as they are now; `today` None is the clock's day. NoSnapshot where there is no whole snapshot."""
    entry = for_now(connected, say)
    zone = connected.settings.zone
    rulebook = load_rulebook(connected.settings.rules_dir, connected.ledger.desk_rules())
    books = Books(ledger=connected.ledger, rulebook=rulebook, zone=zone)
    return Ground(
        inputs=inputs_for(books, entry, None),
        decisions=connected.ledger.card_decisions(),
        today=today or datetime.now(zone).date(),
    )


def deal(connected: Connections, *, say: Say, chosen: Choice = NOTHING_CHOSEN) -> Deck:
    """Both sides as they are now, and the card of each line; `chosen` is what a person wants of every card, such as
    Pax8's price or cost too. NoSnapshot where there is no whole snapshot."""
    return stand(connected, say=say).deck(chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What a person says instead of approving: `state` dismissed, or snoozed `until` a day."""

    state: CardState
    reason: str
    until: date | None = None


def put_aside(
    ledger: Ledger, deck: Deck, digests: Sequence[str], rest: Rest, *, who: str, now: datetime
) -> tuple[Card, ...]:
    """Dismisses or snoozes these cards, all or none. UsageError without a reason, for a day that is too far or for a
    card that cannot rest any more; StaleCard for a digest that no card has now."""
    if not rest.reason.strip():
        raise UsageError("--reason must say why: it is what somebody will read next month.")
    if rest.state is CardState.SNOOZED and (rest.until is None or not may_snooze(rest.until, _of(now, deck))):
        raise UsageError(f"A card is snoozed until a day within the next {SNOOZE_DAYS} days.")
    found = [deck.find(digest) for digest in dict.fromkeys(digests)]
    for one in found:
        if one.card.kind is CardKind.UNCHANGED:
            raise UsageError(f"Card {one.card.digest[:8]} changes nothing.", next_steps=[_STEP])
        if one.state is not rest.state and rest.state not in NEXT[one.state]:
            raise UsageError(f"Card {one.card.digest[:8]} is {one.state}: it cannot be {rest.state} now.")
    decisions = [
        Decision(
            card=one.card.id,
            digest=one.card.digest,
            cycle=deck.cycle,
            state=rest.state,
            before=one.card.before,
            after=one.card.after,
            who=who,
            reason=rest.reason.strip(),
            until=rest.until,
        )
        for one in found
    ]
    ledger.decide_cards(decisions, now)
    return tuple(one.card for one in found)


def _of(now: datetime, deck: Deck) -> date:
    """The day that it is where the partner is."""
    return now.astimezone(deck.as_at.tzinfo).date()
