"""Approved cards, written to HaloPSA's recurring invoices [WB1] [WB3].

`look_at` and `approve` are what every surface calls: the command line, the desk and the worker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from billingsync.connect import Connections
from billingsync.core.progress import Say
from billingsync.core.reconcile.card import NOTHING_CHOSEN, Card, Choice
from billingsync.core.reconcile.card_states import CardState, Filter, Shown
from billingsync.core.reconcile.card_write import OPEN, WriteState
from billingsync.errors import StaleCard, UpstreamError, UsageError
from billingsync.reconcile.anew import Anew
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
from billingsync.run.card_guard import TenantSearch
from billingsync.run.card_writes import (
    card_context,
    carry_out_cards,
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


def approve(
    connected: Connections, asked: Approval, *, say: Say, search: TenantSearch | None = None
) -> tuple[CardResult, ...]:
    """Writes the approved cards, all of one recurring invoice in one POST; gives what became of each, in their order.
    `search` is shared by several approvals of one cycle.

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
        approving = _Approving(connected=connected, context=context, asked=asked, search=search or TenantSearch())
        return approving.everything()


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
    search: TenantSearch = field(default_factory=TenantSearch)

    @property
    def ground(self) -> Ground:
        if self._ground is None:
            self._ground = stand(self.connected, say=self.context.say, today=self.asked.today)
        return self._ground

    @property
    def _anew(self) -> Anew:
        return Anew(connected=self.connected, context=self.context, asked=self.asked, ground=self.ground)

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
                if held := self._held(left[0].client_id):
                    return self._tell(names, [result_of(card, Became.BLOCKED, held) for card in left])
                ready, stale = self._anew.ready(left)
            except UpstreamError as failed:
                return self._tell(names, [result_of(card, Became.FAILED, failed.message) for card in left])
            self._tell(names, stale)
            gone = {one.digest for one in stale}
            left = [card for card in left if card.digest not in gone]
            if ready is None:
                return None
            if self.asked.dry_run:
                content = ready.prepared.body.content
                shown = [replace(result_of(card, Became.SHOWN), body=content) for card in left]
                return self._tell(names, shown)
            written = carry_out_cards(self.context, ready.prepared)
            if written.state in OPEN:
                written = next(one for one in resolve_cards(self.context) if one.key == written.key)
            if written.state is not WriteState.ABANDONED:
                self._check_outcome(written)
                return self._tell(names, [became(card, written, ready.notes.get(card.digest, "")) for card in left])
        return self._tell(names, [result_of(card, Became.FAILED, "HaloPSA does not carry it out.") for card in left])

    def _held(self, client_id: int) -> str:
        """Why nothing may be written for a client; the tenant is searched before the first write [N6]."""
        return "" if self.asked.dry_run else self.search.held(self.connected, self.context, client_id)

    def _tell(self, names: dict[str, str], results: Iterable[CardResult]) -> None:
        for one in results:
            self.results[names[one.digest]] = one

    def _check_outcome(self, written: CardWrite) -> None:
        """Whether what HaloPSA did to one recurring invoice forbids going on with the next [N7] [WB5]."""
        self.refused = self.refused + 1 if written.state is WriteState.REFUSED else 0
        if written.state is WriteState.ALARM:
            self.stopped = f"Not sent, as the one before came out otherwise: {written.message}"
        if self.refused == MOST_REFUSALS:
            self.stopped = f"Not sent, as HaloPSA refused {self.refused} writes one after the other: {written.message}"
