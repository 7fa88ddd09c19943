"""Which cards a comparison makes [CD3] [CD4] [CD6]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from billingsync.core.money import ZERO, plain
from billingsync.core.reconcile.card import NOTHING_CHOSEN, Card, CardKind, Choice, Lack, card_id
from billingsync.core.reconcile.card_change import Terms
from billingsync.core.reconcile.card_making import CardMaking
from billingsync.core.reconcile.compare import Reconciliation, Verdict
from billingsync.core.reconcile.find import seat_kind, surplus_lines
from billingsync.core.reconcile.findings import SEATS
from billingsync.core.reconcile.findings import Kind as FindingKind
from billingsync.core.reconcile.licences import Mode, SeatRow
from billingsync.core.reconcile.lines import Keeper, SeatLine, months_of_invoice
from billingsync.core.reconcile.prices import prices_of
from billingsync.core.reconcile.snapshot import RecurringInvoice
from billingsync.core.reconcile.tenant import Tenant
from billingsync.core.reconcile.terms import to_decimal, total
from billingsync.core.reconcile.values import Values


def cards_of(result: Reconciliation, tenant: Tenant, choices: Mapping[str, Choice] | None = None) -> tuple[Card, ...]:
    """All cards, by client and product. `choices` is by card id; a card with a choice may get another id, as the line
    is part of it, and stands for the one that was chosen for. None where nothing was compared."""
    if result.verdict is Verdict.NOTHING_COMPARED:
        return ()
    findings = {(one.client_id, one.group, one.key): one for one in result.findings if one.kind in SEATS}
    groups: dict[tuple[int, str], list[SeatRow]] = {}
    for row in result.rows:
        groups.setdefault((row.client_id, row.group), []).append(row)
    cards: list[Card] = []
    for row in result.rows:
        if row.mode is Mode.USAGE or not (row.members or row.counts or row.every_line):
            continue
        finding = findings.get((row.client_id, row.group, row.key))
        maker = _Cards(
            tenant=tenant,
            row=row,
            group=groups[row.client_id, row.group],
            finding=finding,
            prices=prices_of(row, tenant),
            choices=choices or {},
        )
        cards.extend(maker.cards())
    return tuple(cards)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cards(CardMaking):
    """The cards of one row."""

    def cards(self) -> list[Card]:
        row, kind = self.row, seat_kind(self.row)
        lines = list(row.lines)
        hand = [line for line in lines if line.keeper is Keeper.HAND]
        if kind is FindingKind.DUPLICATE:
            return self._duplicates(hand)
        if not row.every_line:
            return [self._new()] if row.count > 0 else []
        alone = row.mode is Mode.EACH or (len(self.group_lines) == 1 and len(self.group) == 1)
        if len(lines) == 1 and alone:
            return [self._of_line(lines[0], self._target(lines[0]), [])]
        if row.difference == 0:
            return []
        chosen = self.choices.get(card_id(row.client_id, row.key, None), NOTHING_CHOSEN)
        line = next((one for one in lines if one.line_id == chosen.line_id and chosen.line_id is not None), None)
        if line is not None:
            return [self._of_line(line, self._target(line), [])]
        keepers = {one.keeper for one in row.every_line}
        if keepers == {Keeper.OURS}:
            return [self._whole_row([Lack.OURS])]
        return [self._whole_row([Lack.HALO] if keepers == {Keeper.HALO} else [Lack.NEEDS_LINE])]

    def _target(self, line: SeatLine) -> Decimal:
        """What the line alone must carry so that the row is right, less pro rata that still waits on it [CD4]."""
        others = self.row.psa_quantity - line.quantity
        return self.row.count - others - line.waiting

    def _duplicates(self, hand: Sequence[SeatLine]) -> list[Card]:
        """End the hand lines that should not be there: those beside ours, or beside one that carries all seats."""
        surplus = surplus_lines(self.row)
        beside_ours = any(line.keeper is Keeper.OURS for line in self.row.every_line)
        ended = list(hand) if beside_ours else [line for line in surplus if line.keeper is Keeper.HAND]
        left = self.row.psa_quantity - total(line.quantity for line in ended)
        # Two lines by hand: which of them is right only a person knows.
        unclear = not beside_ours or left != self.row.count or len(ended) != 1 or len(self.group) > 1
        if not ended:
            return [self._whole_row([Lack.HALO])]
        return [self._ended(line, unclear) for line in ended]

    def _ended(self, line: SeatLine, unclear: bool) -> Card:
        """The end of one line; where a person has to say which, what it must carry once they chose it."""
        target = self._target(line)
        chosen = self.choice(line.line_id).line_id == line.line_id and target >= 0
        if unclear and chosen:
            return self._of_line(line, target, [])
        return self._of_line(line, ZERO, [Lack.NEEDS_LINE] if unclear else [])

    def _of_line(self, line: SeatLine, target: Decimal, lacks: list[Lack]) -> Card:
        chosen = self.choice(line.line_id)
        invoice, raw = line.invoice, line.line
        before = Values(
            quantity=line.quantity - line.waiting,
            unit_price=raw.unit_price if raw else line.posted.unit_price if line.posted else None,
            unit_cost=raw.unit_cost if raw else line.posted.unit_cost if line.posted else None,
        )
        ends = self.row.count == 0 or target == 0
        after = Values(
            quantity=chosen.quantity if chosen.quantity is not None else ZERO if self.row.count == 0 else target,
            unit_price=self._typed(chosen.price, chosen.with_price, self.prices.pax8, line.months, before.unit_price),
            unit_cost=self._typed(chosen.cost, chosen.with_cost, self.prices.pax8_cost, line.months, before.unit_cost),
        )
        lacks = [*lacks, *self._line_lacks(line), *self.lacks(after)]
        if line.waiting and (ends or after.quantity < 0):
            lacks.append(Lack.WAITING)
        kind = CardKind.GONE if after.quantity == 0 else CardKind.CHANGED
        kind = CardKind.UNCHANGED if after == before else kind
        if kind is CardKind.GONE and self.suspect:
            lacks.append(Lack.SUSPECT)
        terms = Terms(
            months=line.months, discount_percent=raw.discount_percent if raw else ZERO, currency=line.currency
        )
        return self.card(kind, line, (invoice, terms), (before, after), (chosen, lacks))

    def _line_lacks(self, line: SeatLine) -> list[Lack]:
        lacks = []
        if line.keeper is Keeper.OURS:
            lacks.append(Lack.OURS)
        if line.keeper is Keeper.HALO:
            lacks.append(Lack.HALO)
        invoice = line.invoice
        if invoice is not None and invoice.client_id != self.row.client_id:
            lacks.append(Lack.OTHER_CLIENT)
        if invoice is not None and (invoice.disabled or invoice.in_approval):
            lacks.append(Lack.INVOICE_CLOSED)
        return lacks

    @staticmethod
    def _typed(
        typed: Decimal | None, take: bool, month: Fraction | None, months: int | None, now: Decimal | None
    ) -> Decimal | None:
        """A typed value, else Pax8's where it was asked for, else what stands there."""
        if typed is not None:
            return typed
        return _decimal(month * months) if take and month is not None and months else now

    def _whole_row(self, lacks: list[Lack]) -> Card:
        """A card of all lines together, until one is chosen."""
        row = self.row
        before = Values(quantity=row.psa_quantity)
        after = Values(quantity=row.count)
        kind = CardKind.GONE if row.count == 0 else CardKind.CHANGED
        terms = Terms(months=None, discount_percent=ZERO, currency=self.prices.currency)
        return self.card(kind, None, (None, terms), (before, after), (NOTHING_CHOSEN, lacks))

    def _new(self) -> Card:
        row = self.row
        chosen = self.choice(None)
        invoices = [one for one in self.tenant.inputs.snapshot.recurring if self._may_take(one)]
        invoice = next((one for one in invoices if one.id == chosen.invoice_id), None)
        if invoice is None and chosen.invoice_id is None and len(invoices) == 1:
            invoice = invoices[0]
        items = (row.item_id,) if row.item_id is not None else row.items
        months = months_of_invoice(invoice, self.tenant) if invoice is not None else 1
        rules = self.tenant.rules_of.client(row.client_id).cards
        terms_ = self.tenant.inputs.snapshot.item_terms.get(items[0]) if items else None
        listed = terms_.price if terms_ else None
        pax8 = None if self.prices.pax8 is None else _decimal(self.prices.pax8)
        first, second = (listed, pax8) if rules.new_price == "item" else (pax8, listed)
        price = first if first is not None else second
        cost = None if self.prices.pax8_cost is None else _decimal(self.prices.pax8_cost)
        after = Values(
            quantity=chosen.quantity if chosen.quantity is not None else row.count,
            unit_price=chosen.price if chosen.price is not None else _times(price, months),
            unit_cost=chosen.cost if chosen.cost is not None else _times(cost, months),
        )
        lacks = self.lacks(after)
        if row.billed_here:
            lacks.append(Lack.OURS)
        if invoice is None:
            lacks.append(Lack.NEEDS_INVOICE)
        if not items:  # of several that add up, the first takes the line
            lacks.append(Lack.NEEDS_ITEM)
        if self.suspect:
            lacks.append(Lack.SUSPECT)
        currency = (invoice.currency if invoice else "") or self.prices.currency
        terms = Terms(months=months, discount_percent=ZERO, currency=currency)
        return self.card(CardKind.NEW, None, (invoice, terms), (Values(), after), (chosen, lacks))

    def _may_take(self, invoice: RecurringInvoice) -> bool:
        day = self.tenant.inputs.snapshot.day
        runs = (invoice.start is None or invoice.start <= day) and (invoice.end is None or day <= invoice.end)
        return invoice.client_id == self.row.client_id and runs and not (invoice.disabled or invoice.in_approval)


def _decimal(number: Fraction) -> Decimal:
    """A unit's price with as many of six decimals as it needs."""
    return Decimal(plain(to_decimal(number, 6)))


def _times(amount: Decimal | None, months: int | None) -> Decimal | None:
    return None if amount is None or months is None else amount * months
