"""The cards of one recurring invoice looked at anew right before they are written: as shown, or stale [WB3]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from billingsync.connect import Connections
from billingsync.core.invoice import Invoice
from billingsync.core.reconcile.card import Card
from billingsync.core.reconcile.card_states import CardState
from billingsync.core.reconcile.card_write import base_of, key_of, line_set
from billingsync.core.rules import ProductRules
from billingsync.reconcile.approval import Approval, Became, CardResult, decided, result_of
from billingsync.reconcile.cards import Ground
from billingsync.reconcile.changed import since_shown, what_changed
from billingsync.run.card_writes import Prepared, may_be_written, prepare_cards
from billingsync.run.context import RunContext
from billingsync.store.card_writes import CardWrite


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A write that may be sent; `notes` is by digest what a person should know although the card is as shown."""

    prepared: Prepared
    notes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anew:
    """What cards are looked at with; `ground` is what they were shown from."""

    connected: Connections
    context: RunContext
    asked: Approval
    ground: Ground

    def ready(self, cards: Sequence[Card]) -> tuple[Ready | None, list[CardResult]]:
        """The write as HaloPSA is now, and what is stale of it. UpstreamError where HaloPSA cannot be read."""
        there, ground = self._read(cards[0])
        good: list[Card] = []
        stale: list[CardResult] = []
        for card in cards:
            fresh = ground.chosen(card, self.asked.choice)
            if fresh is not None and _as_shown(card, fresh.card):
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
        prepared = Prepared(write=replace(write, content=body.content), decisions=decisions, there=there, body=body)
        notes = {now.digest: since_shown(card, now) for card in cards for now in good if now.digest == card.digest}
        return Ready(prepared=prepared, notes=notes), stale

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
        base = base_of(ledger.key_name, card.client_id, card.invoice_id, sets)
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


def _as_shown(card: Card, fresh: Card) -> bool:
    """Whether a card read anew is what was shown. Pro rata is worth another amount once HaloPSA has made an invoice."""
    return fresh.digest == card.digest and not fresh.lacks and fresh.entries == card.entries
