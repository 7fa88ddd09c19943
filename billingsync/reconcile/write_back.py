"""Approved cards, written to HaloPSA's recurring invoices [WB1] [WB3].

`look_at` and `approve` are what every surface calls: the command line, the desk and the worker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from billingsync.connect import Connections
from billingsync.core.invoice import Invoice
from billingsync.core.progress import Say
from billingsync.core.reconcile.card import NOTHING_CHOSEN, Card, Choice
from billingsync.core.reconcile.card_states import CardState, Filter, Shown
from billingsync.core.reconcile.card_write import OPEN, WriteState, base_of, key_of, line_set
from billingsync.core.rules import ProductRules
from billingsync.errors import StaleCard, UpstreamError, UsageError
from billingsync.reconcile.approval import (
    STEP,
    Approval,
    Became,
    CardResult,
    became,
    choose,
    decided,
    done_already,
    held_back,
    result_of,
)
from billingsync.reconcile.cards import SHORTEST, Ground, stand
from billingsync.reconcile.changed import what_changed
from billingsync.run.card_writes import (
    Prepared,
    card_context,
    carry_out_cards,
    may_be_written,
    prepare_cards,
    resolve_cards,
)
from billingsync.run.context import RunContext
from billingsync.store.book import Fence
from billingsync.store.card_writes import CardWrite

SENDINGS = 3  # of one write in one go; each after a first was certainly not carried out
MOST_REFUSALS = 5  # in a row: then it is not these cards, it is HaloPSA, our rights or the way there


def look_at(connected: Connections, digest: str, choice: Choice = NOTHING_CHOSEN, *, say: Say) -> Shown:
    """A card with what a person typed: its summary of change, lacks, limits and digest, computed anew. StaleCard where
    no card has the digest now."""
    return choose(stand(connected, say=say), digest, choice)


def approve(connected: Connections, asked: Approval, *, say: Say) -> tuple[CardResult, ...]:
    """Writes the approved cards, all of one recurring invoice in one POST; gives what became of each, in their order.

    Raises Locked while a run is under way, UsageError for a digest that names several cards, StaleCard where a set is
    not the expected one, LedgerError. A dry run sends and records nothing.
    """
    if asked.dry_run:
        nobody = Fence(epoch=-1, token="", holder="")  # nothing may be recorded with it
        context = card_context(connected, nobody, say)
        return _Approving(connected=connected, context=context, asked=asked).everything()
    with connected.ledger.run_lock(asked.who) as fence:
        connected.ledger.assert_durable()
        context = card_context(connected, fence, say)
        resolve_cards(context)
        return _Approving(connected=connected, context=context, asked=asked).everything()


@dataclass(slots=True, kw_only=True)
class _Approving:
    """One approval at work."""

    connected: Connections
    context: RunContext
    asked: Approval
    results: dict[str, CardResult] = field(default_factory=dict)  # by the digest as it was asked for
    refused: int = 0
    stopped: str = ""
    _ground: Ground | None = None

    @property
    def ground(self) -> Ground:
        if self._ground is None:
            self._ground = stand(self.connected, say=self.context.say, today=self.asked.today)
        return self._ground

    def everything(self) -> tuple[CardResult, ...]:
        chosen = self._named() if self.asked.digests else self._set()
        together: dict[int, list[tuple[str, Card]]] = defaultdict(list)
        for digest, one in chosen.items():
            if one is None:
                continue
            if (held := held_back(one, self.asked)) is not None:
                self.results[digest] = held
            elif one.card.scheduled:
                self.results[digest] = self._schedule(one.card)
            else:
                assert one.card.invoice_id is not None, one.card
                together[one.card.invoice_id].append((digest, one.card))
        for cards in together.values():
            self._write(cards)
        return tuple(self.results[digest] for digest in chosen)

    def _named(self) -> dict[str, Shown | None]:
        """The cards that were named; None for one whose result is told: done already, or not there now."""
        digests = list(dict.fromkeys(one.strip().lower() for one in self.asked.digests))
        if self.asked.over_limit and len(digests) > 1:
            raise UsageError("--over-limit lifts the limits of one card at a time.")
        decisions = self.connected.ledger.card_decisions()
        found: dict[str, Shown | None] = {}
        for digest in digests:
            found[digest] = None
            if (done := done_already(decisions, digest, self.context.period)) is not None:
                self.results[digest] = done
                continue
            try:
                found[digest] = choose(self.ground, digest, self.asked.choice)
            except StaleCard as stale:
                self.results[digest] = CardResult(digest=digest, became=Became.STALE, message=stale.message)
        return found

    def _set(self) -> dict[str, Shown | None]:
        """The cards that the filter takes; StaleCard where they are not those that were shown."""
        deck = self.ground.deck(self.asked.choice)
        together = deck.together(self.asked.wanted or Filter())
        expected = self.asked.expect.strip().lower()
        if expected and not (len(expected) >= SHORTEST and together.digest.startswith(expected)):
            raise StaleCard(
                f"These are other cards now: their digest is {together.digest}, not {expected!r:.40}.",
                next_steps=[STEP],
            )
        return {card.digest: deck.find(card.digest) for card in together.cards}

    def _schedule(self, card: Card) -> CardResult:
        if not self.asked.dry_run:
            one = decided(card, self.ground, CardState.SCHEDULED, self.asked)
            self.connected.ledger.decide_cards([replace(one, until=card.effective)], self.context.now())
        return result_of(card, Became.SCHEDULED, f"It is written on {card.effective}.")

    # One recurring invoice --------------------------------------------------------------------------------------------

    def _write(self, cards: Sequence[tuple[str, Card]]) -> None:
        """All cards of one recurring invoice: looked at anew, written in one POST, sent again where it certainly did
        not arrive."""
        names = {card.digest: digest for digest, card in cards}
        left = [card for _, card in cards]
        for _ in range(SENDINGS):
            if self.stopped:
                return self._tell(names, [result_of(card, Became.NOT_SENT, self.stopped) for card in left])
            try:
                ready, stale = self._ready(left)
            except UpstreamError as failed:
                return self._tell(names, [result_of(card, Became.FAILED, failed.message) for card in left])
            self._tell(names, stale)
            gone = {one.digest for one in stale}
            left = [card for card in left if card.digest not in gone]
            if ready is None:
                return None
            if self.asked.dry_run:
                shown = [replace(result_of(card, Became.SHOWN), body=ready.body.content) for card in left]
                return self._tell(names, shown)
            written = carry_out_cards(self.context, ready)
            if written.state in OPEN:
                written = next(one for one in resolve_cards(self.context) if one.key == written.key)
            if written.state is not WriteState.ABANDONED:
                self._judge(written)
                return self._tell(names, [became(card, written) for card in left])
        return self._tell(names, [result_of(card, Became.FAILED, "HaloPSA does not carry it out.") for card in left])

    def _tell(self, names: dict[str, str], results: Iterable[CardResult]) -> None:
        for one in results:
            self.results[names[one.digest]] = one

    def _judge(self, written: CardWrite) -> None:
        """Whether what HaloPSA did to one recurring invoice forbids going on with the next [N7] [WB5]."""
        self.refused = self.refused + 1 if written.state is WriteState.REFUSED else 0
        if written.state is WriteState.ALARM:
            self.stopped = f"Not sent, as the one before came out otherwise: {written.message}"
        if self.refused == MOST_REFUSALS:
            self.stopped = f"Not sent, as HaloPSA refused {self.refused} writes one after the other: {written.message}"

    def _ready(self, cards: Sequence[Card]) -> tuple[Prepared | None, list[CardResult]]:
        """The write as HaloPSA is now, and what is stale of it. UpstreamError where HaloPSA cannot be read."""
        there, ground = self._read(cards[0])
        good: list[Card] = []
        stale: list[CardResult] = []
        for card in cards:
            fresh = ground.chosen(card, self.asked.choice)
            if fresh is not None and fresh.card.digest == card.digest and not fresh.card.lacks:
                good.append(fresh.card)
                continue
            fresh = fresh or next(iter(ground.beside(card)), None)
            new = fresh.card.digest if fresh and fresh.card.digest != card.digest else ""
            why = what_changed(card, fresh.card if fresh else None)
            stale.append(result_of(card, Became.STALE, why, new_digest=new))
        if not good or there is None:
            return None, stale
        write = self._intent(good, there)
        body = prepare_cards(self.context, write, there, self._codes(good[0]))
        decisions = [
            decided(card, self.ground, state, self.asked)
            for card in good
            for state in (CardState.APPROVED, CardState.WRITING)
        ]
        ready = Prepared(write=replace(write, content=body.content), decisions=decisions, there=there, body=body)
        return ready, stale

    def _codes(self, card: Card) -> ProductRules:
        return self.ground.rules_of(card.client_id).products

    def _read(self, card: Card) -> tuple[Invoice | None, Ground]:
        """The card's recurring invoice as it is now, and the ground with all of its client's read anew."""
        assert card.invoice_id is not None
        read, there, gone = [], None, set()
        for invoice_id in self.ground.invoices_of(card):
            found = self.context.psa.read(invoice_id, template=True)
            if found is None:
                gone.add(invoice_id)
                continue
            may_be_written(self.context, found)
            there = found if invoice_id == card.invoice_id else there
            read += [one for one in [self.context.psa.recurring(found)] if one is not None]
        return there, self.ground.with_read(read, gone)

    def _intent(self, cards: Sequence[Card], there: Invoice) -> CardWrite:
        ledger, card, now = self.connected.ledger, cards[0], self.context.now()
        assert card.invoice_id is not None
        sets = tuple(line_set(one, nth) for nth, one in enumerate(cards))
        base = base_of(ledger.name, card.client_id, card.invoice_id, sets)
        generation = ledger.card_generation(base)
        return CardWrite(
            key=key_of(base, generation),
            base_key=base,
            generation=generation,
            client_id=card.client_id,
            client_name=card.client_name,
            invoice_id=card.invoice_id,
            cycle=self.ground.cycle,
            who=self.asked.who,
            reason=self.asked.reason.strip(),
            lines=sets,
            content="",
            before=self.context.psa.kept(there),
            installation=ledger.installation,
            intended_at=now,
            sent_at=now,
        )
