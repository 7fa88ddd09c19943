"""How findings are made: by seats, by unit prices, by Pax8's own invoice, by what is not mapped [FD1] [FD3]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from billingsync.core.charge import Charge
from billingsync.core.money import ZERO
from billingsync.core.reconcile.billing import BillingRow
from billingsync.core.reconcile.classify import Class, Classified, status_of
from billingsync.core.reconcile.findings import Confidence, Finding, Kind, Side, finding_id
from billingsync.core.reconcile.licences import Mode, SeatRow
from billingsync.core.reconcile.lines import Keeper, SeatLine
from billingsync.core.reconcile.prices import Prices, prices_of
from billingsync.core.reconcile.tenant import Tenant
from billingsync.core.reconcile.terms import months_of, rounded, to_decimal, total


def seat_kind(row: SeatRow) -> Kind | None:
    """The one seat finding of a row: the first that fits [FD1]."""
    subscribed, invoiced, psa = row.count, row.invoiced, row.psa_quantity
    if subscribed == psa:
        return None
    lines = row.every_line
    keepers = {line.keeper for line in lines}
    if psa > subscribed > 0 and ((Keeper.OURS in keepers and keepers - {Keeper.OURS}) or surplus_lines(row)):
        return Kind.DUPLICATE
    if keepers == {Keeper.OURS} or (not lines and row.billed_here):
        return Kind.FOLLOWS_INVOICE
    if subscribed > 0 and not lines:
        return Kind.NOT_BILLED
    if invoiced is not None and invoiced == psa:
        return Kind.CHANGED_SINCE_INVOICE
    if subscribed == 0:
        return Kind.BILLED_NOT_BOUGHT
    if invoiced is not None and len({subscribed, invoiced, psa}) == 3:
        return Kind.UNCLEAR
    return Kind.UNDER_BILLED if psa < subscribed else Kind.OVER_BILLED


def surplus_lines(row: SeatRow) -> tuple[SeatLine, ...]:
    """Lines beside one of the same item that alone carries all seats: these should not be there."""
    for one in row.lines:
        same = [line for line in row.lines if line.item_id == one.item_id and line is not one]
        if one.quantity == row.count and same and one.item_id is not None:
            return tuple(same)
    return ()


# A finding with what the tolerance is to be held against; None where it always is one [BC8].
Measured = tuple[Finding, Decimal | None]


def row_findings(row: SeatRow, tenant: Tenant) -> list[Measured]:
    """What one row says by its seats, its unit prices and Pax8's invoice."""
    if row.mode is Mode.USAGE:
        return []
    made = _Made(row=row, prices=prices_of(row, tenant), tenant=tenant)
    seats = made.seats()
    found: list[Measured] = [(seats, None)] if seats else []
    found += [(one, None) for one in made.document()]
    return [*found, *made.margins()]


_OF_INVOICE = (Kind.PAX8_INVOICE_DIFFERS, Kind.PAX8_BILLS_CANCELLED)  # a change of seats would explain them


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    row: SeatRow
    prices: Prices
    tenant: Tenant

    def finding(self, kind: Kind, side: Side, month: Decimal | None, **more: object) -> Finding:
        row = self.row
        values: dict[str, object] = {
            "seats": ZERO,
            "once": None,
            "confidence": self.confidence(kind),
            "currency": self.prices.currency,
            **more,
        }
        return Finding(
            id=finding_id(row.client_id, f"{row.group}|{row.key}", kind),
            kind=kind,
            side=side,
            client_id=row.client_id,
            client_name=row.client_name,
            group=row.group,
            key=row.key,
            product=row.product,
            skus=row.skus,
            month=month,
            **values,  # type: ignore[arg-type]
        )

    def confidence(self, kind: Kind) -> Confidence:
        """[FD3]."""
        row = self.row
        unknown_months = any(line.months is None for line in row.every_line)
        if row.moving or row.unsure or unknown_months or self.prices.unknown_term or kind is Kind.UNCLEAR:
            return Confidence.LOOK
        if kind in _OF_INVOICE and not self._charged().isdisjoint(self.tenant.inputs.past_unknown):
            return Confidence.LOOK
        if row.guessed or self.prices.estimated or row.invoiced is None or self._mixed():
            return Confidence.LIKELY
        return Confidence.CERTAIN

    def _mixed(self) -> bool:
        """A bundle's row with lines of other rows has no unit price of its own."""
        return self.row.mode is Mode.BUNDLE

    def seats(self) -> Finding | None:
        row, kind = self.row, seat_kind(self.row)
        if kind is None:
            return None
        since = row.since
        if kind is Kind.FOLLOWS_INVOICE:
            return self.finding(kind, Side.NONE, None, seats=row.difference, explained=True, since=since)
        side = Side.MISSING if row.difference > 0 else Side.OWED
        unit = self.prices.psa
        month = None if unit is None else rounded(abs(Fraction(row.difference)) * unit, self.prices.currency)
        return self.finding(kind, side, month, seats=row.difference, since=since)

    def document(self) -> Iterable[Finding]:
        """What is wrong with Pax8's own invoice [BC11]."""
        row, period = self.row, self.tenant.period
        if row.invoiced is None or period is None or row.unsure or not row.leads:
            return
        after_end = [charge for of, charge in row.charges if of == period and self._is_after_end(charge)]
        late = total(charge.quantity or ZERO for charge in after_end)
        if after_end:
            currency = after_end[0].currency
            cost = total(charge.cost for charge in after_end)
            yield self.finding(Kind.PAX8_BILLS_CANCELLED, Side.PAX8, None, once=cost, seats=-late, currency=currency)
        excess = row.invoiced - row.count - late
        if row.count == row.psa_quantity and excess and not self._is_explained():
            unit = self._unit_cost_charged()
            once = None if unit is None else rounded(Fraction(excess) * unit, self.prices.currency)
            yield self.finding(Kind.PAX8_INVOICE_DIFFERS, Side.PAX8, None, once=once, seats=-excess)

    def _is_after_end(self, charge: Charge) -> bool:
        subscription = self.tenant.subscriptions.get(charge.subscription_id)
        period = self.tenant.period
        if subscription is None or period is None or status_of(subscription) != "cancelled":
            return False
        changes = self.tenant.changes.get(subscription.id, ())
        if any(change.after == 0 and change.day >= period.first_day for change in changes):
            return False
        return subscription.end is None or subscription.end < period.first_day

    def _is_explained(self) -> bool:
        """A change of seats between the invoice's first day and the snapshot: Pax8's next invoice prorates it."""
        row, day = self.row, self.tenant.inputs.snapshot.day
        first = min((period for period, _ in row.charges), default=self.tenant.period)
        if first is None:
            return True
        for id_ in self._charged():
            if any(first.first_day <= change.day <= day for change in self.tenant.changes.get(id_, ())):
                return True
            subscription = self.tenant.subscriptions.get(id_)
            if subscription is None:
                continue
            begun = subscription.billing_start or subscription.start
            ended = subscription.end if status_of(subscription) in ("cancelled", "pendingcancel") else None
            if any(one is not None and first.first_day <= one <= day for one in (begun, ended)):
                return True
        return False

    def _charged(self) -> set[str]:
        """The subscriptions that Pax8's invoice or the snapshot names here."""
        of_charges = {charge.subscription_id for _, charge in self.row.charges}
        return of_charges | {one.subscription.id for one in self.row.members}

    def _unit_cost_charged(self) -> Fraction | None:
        charges = [charge for _, charge in self.row.charges if charge.quantity]
        quantity = sum((Fraction(charge.quantity or 0) for charge in charges), Fraction(0))
        if quantity:
            whole = sum((Fraction(charge.cost) for charge in charges), Fraction(0))
            return whole / quantity * Fraction(self.row.per_unit)
        return self.prices.pax8_cost

    def margins(self) -> Iterable[Measured]:
        """Cost and price of a unit beside each other; only where a row's lines alone carry its seats."""
        row, prices = self.row, self.prices
        if row.mode is not Mode.PLAIN or prices.mismatch or not row.lines or row.count <= 0:
            return
        both = Fraction(min(row.count, row.psa_quantity))
        cost, price, currency = prices.pax8_cost, prices.psa, prices.currency
        loss = rounded((cost - price) * both, currency) if cost is not None and price is not None else ZERO
        if loss > 0:
            yield self.finding(Kind.BELOW_COST, Side.MARGIN, loss), loss
        moved = self._cost_moved()
        if moved and self._price_stood():
            change = rounded(moved * both, currency)
            below = min(max(loss, ZERO), max(change, ZERO))
            yield self.finding(Kind.COST_MOVED, Side.MARGIN, change, below_cost=below), change
        hand = [line for line in row.lines if line.keeper is Keeper.HAND]
        if cost is not None and prices.psa_cost is not None and hand and _differ(cost, prices.psa_cost, currency):
            drift = rounded((cost - prices.psa_cost) * Fraction(row.psa_quantity), currency)
            yield self.finding(Kind.COST_DRIFT, Side.MARGIN, None), drift

    def _cost_moved(self) -> Fraction | None:
        """How much one unit costs more than in the period before, by what both invoices charge [FD1]."""
        tenant = self.tenant
        weight, moved = Fraction(0), Fraction(0)
        for period, charge in self.row.charges:
            was = tenant.costs_before.get((charge.subscription_id, charge.term))
            if period != tenant.period or was is None or charge.unit_cost is None or not charge.quantity:
                continue
            months = months_of(charge.term) or 1
            weight += Fraction(charge.quantity)
            moved += Fraction(charge.quantity) * Fraction(charge.unit_cost - was) / months
        return moved / weight * Fraction(self.row.per_unit) if weight else None

    def _price_stood(self) -> bool:
        before = self.tenant.inputs.prices_before
        lines = [line.line for line in self.row.lines if line.line is not None]
        return all(before.get(line.id, line.unit_price) == line.unit_price for line in lines)


def _differ(cost: Fraction, psa: Fraction, currency: str) -> bool:
    """Whether two unit costs differ. A twelfth of a year's cost often has no end: then HaloPSA holds it rounded."""
    endless = Fraction(to_decimal(cost, 6)) != cost
    return rounded(cost, currency) != rounded(psa, currency) if endless else cost != psa


def billing_findings(billed: BillingRow, row: SeatRow, tenant: Tenant) -> Iterable[Measured]:
    """What the money of a group says beside its seats: pro rata, rate, currencies."""
    made = _Made(row=row, prices=prices_of(row, tenant), tenant=tenant)
    if billed.mismatch:
        yield made.finding(Kind.CURRENCY_MISMATCH, Side.NONE, None, currency=billed.currency), None
        return
    rules = tenant.rules_of.client(billed.client_id)
    states = tenant.unposted
    settled = total(
        charge.price
        for charge in row.money
        if charge.type == "prorate" and charge.currency == billed.currency and charge.id in states
    )
    if rest := billed.pax8_prorate - billed.psa_prorate - settled:
        kept = rest < 0 and rules.modifiers.favorable_prorata == "drop"
        comes = row.billed_here and billed.client_id not in tenant.posted_clients
        side = Side.NONE if kept or comes else Side.MISSING if rest > 0 else Side.OWED
        note = 'kept on purpose: favorable_prorata = "drop"' if kept else "the next plan bills it" if comes else ""
        more = {"once": abs(rest), "currency": billed.currency, "explained": kept or comes, "note": note}
        yield made.finding(Kind.PRORATE_NOT_BILLED, side, None, **more), rest
    rate = billed.parts.rate if billed.parts is not None else ZERO
    if rules.reconcile.price_source == "pax8" and row.lines and rate:
        yield made.finding(Kind.PRICE_DRIFT, Side.MARGIN, rate, currency=billed.currency), rate


def mapping_findings(tenant: Tenant, classes: Sequence[Classified]) -> list[Finding]:
    """What nobody can compare before it is mapped, one for each company and product, with what it costs [LC10]."""
    found = []
    for (kind, company_id, client_id, family), ones in sorted(_unmapped(tenant, classes).items(), key=str):
        first = ones[0]
        currencies = {one.subscription.currency for one in ones}
        costs = [one.cost_month for one in ones]
        known = len(currencies) == 1 and all(cost is not None for cost in costs)
        currency = first.subscription.currency if len(currencies) == 1 else ""
        whole = sum((cost for cost in costs if cost is not None), Fraction(0))
        product = first.ref.name or first.ref.sku
        several = len({one.ref for one in ones}) > 1
        found.append(
            Finding(
                id=finding_id(company_id, family, kind),
                kind=kind,
                side=Side.COST,
                client_id=client_id,
                client_name=first.client.name if first.client and client_id is not None else "",
                group="",
                key=family,
                product=f"{len(ones)} subscriptions" if several else product,
                skus=tuple(sorted({one.ref.sku for one in ones if one.ref.sku})),
                seats=total(one.seats for one in ones),
                month=rounded(whole, currency) if known else None,
                once=None,
                currency=currency,
                confidence=Confidence.CERTAIN,
                company_id=company_id,
                company_name=first.company.name,
                note=first.why,
            )
        )
    return found


def _unmapped(
    tenant: Tenant, classes: Sequence[Classified]
) -> dict[tuple[Kind, str, int | None, str], list[Classified]]:
    found: dict[tuple[Kind, str, int | None, str], list[Classified]] = defaultdict(list)
    for one in classes:
        company, client = one.company.id, one.client.id if one.client else None
        if one.kind is Class.UNMAPPED_COMPANY:
            found[Kind.UNMAPPED_COMPANY, company, None, ""].append(one)
        elif one.kind is Class.UNMAPPED_PRODUCT:
            found[Kind.UNMAPPED_PRODUCT, company, client, one.family].append(one)
        elif one.kind is Class.UNKNOWN:
            found[Kind.UNKNOWN_STATUS, company, client, one.family].append(one)
        match = tenant.matched.get(company)
        if match is not None and match.reason == "client_renamed" and one.kind is Class.COMPARED:
            found[Kind.CLIENT_RENAMED, company, client, ""].append(one)
    return found
