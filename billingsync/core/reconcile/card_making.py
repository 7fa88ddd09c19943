"""One card of a row: its choice, its lacks, from when it counts, and its digest [CD3] [CD6].

Which cards a row has is said in `cards`; here is what all of them have in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from billingsync.core.money import ZERO
from billingsync.core.reconcile.card import NOTHING_CHOSEN, Card, CardKind, Choice, Lack, card_digest, card_id
from billingsync.core.reconcile.card_change import Entry, Terms, change_of, limits_of, pro_rata, running_period
from billingsync.core.reconcile.findings import Confidence, Finding
from billingsync.core.reconcile.licences import SeatRow
from billingsync.core.reconcile.lines import SeatLine
from billingsync.core.reconcile.prices import Prices
from billingsync.core.reconcile.snapshot import RecurringInvoice
from billingsync.core.reconcile.tenant import Tenant
from billingsync.core.reconcile.terms import to_decimal, total
from billingsync.core.reconcile.values import Values


@dataclass(frozen=True, slots=True, kw_only=True)
class CardMaking:
    """A row with what its cards rest on. `group` are all rows that cannot be told apart from it."""

    tenant: Tenant
    row: SeatRow
    group: Sequence[SeatRow]
    finding: Finding | None
    prices: Prices
    choices: Mapping[str, Choice]

    @property
    def group_lines(self) -> list[SeatLine]:
        """All lines that carry the group's seats, each once."""
        found = {(line.invoice_id, line.line_id): line for row in self.group for line in row.every_line}
        return [found[key] for key in sorted(found, key=lambda key: (key[0] or 0, key[1] or 0))]

    def choice(self, line_id: int | None) -> Choice:
        """What a person chose for the card of this line, or for the row's."""
        ids = (card_id(self.row.client_id, self.row.key, line_id), card_id(self.row.client_id, self.row.key, None))
        return next((self.choices[one] for one in ids if one in self.choices), NOTHING_CHOSEN)

    def lacks(self, after: Values) -> list[Lack]:
        """What any card of this row lacks, whatever its line."""
        lacks = []
        if self.row.moving:
            lacks.append(Lack.MOVING)
        if self.row.unsure:
            lacks.append(Lack.UNSURE)
        if after.quantity != after.quantity.to_integral_value():
            lacks.append(Lack.PART_OF_A_UNIT)
        return lacks

    @property
    def suspect(self) -> bool:
        """Whether too much is gone since the last snapshot, and nobody confirmed it."""
        snapshot = self.tenant.inputs.snapshot
        return bool(snapshot.suspect) and not snapshot.confirmed

    def card(
        self,
        kind: CardKind,
        line: SeatLine | None,
        where: tuple[RecurringInvoice | None, Terms],
        values: tuple[Values, Values],
        chosen_: tuple[Choice, list[Lack]],
    ) -> Card:
        """The card of a line; `values` are its numbers before and after, `where` its recurring invoice and terms."""
        row, (invoice, terms), (before, after), (chosen, lacks) = self.row, where, values, chosen_
        effective, entries, after, more = self._effective(chosen, invoice, (before, after), terms)
        rules = self.tenant.rules_of.client(row.client_id).cards
        real = None
        if self.prices.pax8_cost is not None and terms.months:
            real = to_decimal(self.prices.pax8_cost * terms.months, 6)
        confidence = self.finding.confidence if self.finding else Confidence.CERTAIN
        then = Values(
            quantity=after.quantity + total(entry.quantity for entry in entries),
            unit_price=after.unit_price,
            unit_cost=after.unit_cost,
        )
        limits = limits_of(
            before, then, is_new=kind is CardKind.NEW, real_cost=real, confidence=confidence, rules=rules
        )
        line_id = line.line_id if line else None
        id_ = card_id(row.client_id, row.key, line_id)
        lines = tuple((one.invoice_id, one.line_id, one.quantity) for one in self.group_lines)
        item = line.item_id if line else row.item_id if row.item_id is not None else next(iter(row.items), None)
        keeper, waiting = (line.keeper, line.waiting) if line else (None, None)
        fields = [item, keeper, waiting, invoice and invoice.id, lines, terms.currency]
        return Card(
            id=id_,
            digest=card_digest(id_, before, after, fields, effective, entries),
            kind=kind,
            client_id=row.client_id,
            client_name=row.client_name,
            group=row.group,
            key=row.key,
            product=row.product,
            skus=row.skus,
            vendor=row.vendor,
            tags=row.tags,
            invoice_id=invoice.id if invoice else line.invoice_id if line else None,
            line_id=line_id,
            contract_id=invoice.contract_id if invoice else None,
            item_id=item,
            text=line.line.text if line and line.line else "",
            period_name=invoice.period_name if invoice else "",
            count=row.count,
            difference=row.difference,
            waiting=line.waiting if line else ZERO,
            before=before,
            after=after,
            effective=effective,
            next_invoice=invoice.next_creation if invoice else None,
            entries=entries,
            change=change_of(before, after, terms, entries),
            lacks=tuple(dict.fromkeys([*lacks, *more])),
            limits=limits,
            confidence=confidence,
            finding=self.finding.id if self.finding else None,
            guessed=row.guessed,
            lines=lines,
            facts=tuple(fields),
            companies=tuple(dict.fromkeys(one.company_name for one in row.companies)),
            terms=tuple(sorted({one.subscription.billing_term for one in row.members} - {""})),
            matched=tuple(sorted({one.how for one in self.group_lines if one.how is not None})),
        )

    def _effective(
        self,
        chosen: Choice,
        invoice: RecurringInvoice | None,
        values: tuple[Values, Values],
        terms: Terms,
    ) -> tuple[date | None, tuple[Entry, ...], Values, list[Lack]]:
        """From when the change counts [CD6]: the next invoice, a later day, or pro rata for a day in the running
        period. HaloPSA adds an entry's quantity by itself, so that the line's own then stays."""
        before, after = values
        today = self.tenant.inputs.snapshot.day
        added = after.quantity - before.quantity
        dated = chosen.entries
        if not dated and chosen.day is not None:
            if chosen.day > max(today, running_period(invoice, today)[1]):
                return chosen.day, (), after, []
            dated = ((chosen.day, added),)
        if not dated:
            return None, (), after, []
        entries = pro_rata(dated, after, terms, invoice)
        lacks = []
        if self.tenant.rules_of.client(self.row.client_id).cards.prorata == "off":
            lacks.append(Lack.PRORATA_OFF)
        if total(entry.quantity for entry in entries) != added or any(entry.quantity <= 0 for entry in entries):
            lacks.append(Lack.PRORATA_QUANTITY)
        stays = Values(quantity=before.quantity, unit_price=after.unit_price, unit_cost=after.unit_cost)
        return entries[0].day, entries, stays, lacks
