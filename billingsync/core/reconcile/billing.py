"""The month's cost and price beside the PSA's, by client, group and currency [BC1]-[BC11]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from billingsync.core.money import ZERO
from billingsync.core.reconcile.amounts import GroupAmounts, Money, Parts
from billingsync.core.reconcile.licences import SeatRow
from billingsync.core.reconcile.lines import Keeper, standing_posted
from billingsync.core.reconcile.snapshot import PostedLine
from billingsync.core.reconcile.tenant import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingRow:
    """`exact`: a plain group that splits into seats and rate to the cent. `parts` is None where money is not known."""

    client_id: int
    client_name: str
    group: str
    skus: tuple[str, ...]
    product: str
    currency: str
    in_month: Money
    spread: Money
    parts: Parts | None
    exact: bool
    estimated: bool
    mismatch: bool
    pax8_prorate: Decimal
    psa_prorate: Decimal


def billing_rows(tenant: Tenant, rows: Sequence[SeatRow]) -> list[BillingRow]:
    """One row for each client, group and currency; none before the month's invoice is out."""
    if tenant.period is None:
        return []
    groups: dict[tuple[int, str], list[SeatRow]] = defaultdict(list)
    for row in rows:
        if not row.counts:  # what a vendor's file counts is on no Pax8 invoice
            groups[row.client_id, row.group].append(row)
    posted = _posted_by_group(tenant, rows)
    found: list[BillingRow] = []
    for key, members in groups.items():
        found.extend(_of_group(tenant, members, posted.get(key, [])))
    return found


def _posted_by_group(tenant: Tenant, rows: Sequence[SeatRow]) -> dict[tuple[int, str], list[PostedLine]]:
    """What was posted, by the group of its charges. A line of several families counts for the first of them."""
    group_of = {(row.client_id, family): row.group for row in rows for family in row.families}
    found: dict[tuple[int, str], list[PostedLine]] = defaultdict(list)
    for line in tenant.inputs.posted:
        matcher = tenant.matcher_for(tenant.rules_of.client(line.client_id))
        families = sorted({matcher.family_of(tenant.ref_of_charge(charge)) for charge in line.charges})
        group = next((group_of[line.client_id, key] for key in families if (line.client_id, key) in group_of), None)
        if group is not None:
            found[line.client_id, group].append(line)
    return found


def _of_group(tenant: Tenant, rows: Sequence[SeatRow], posted: Sequence[PostedLine]) -> Iterable[BillingRow]:
    first, leading = rows[0], [row for row in rows if row.leads]
    money = [charge for row in leading for charge in row.money]
    standing = [one for row in leading for one in row.charges]
    kept = {(line.invoice_id, line.line_id): line for row in rows for line in row.every_line}
    hand = [line for line in kept.values() if line.keeper is not Keeper.OURS]
    now = tenant.period
    currencies = {charge.currency for charge in money} | {charge.currency for _, charge in standing}
    currencies |= {line.currency for line in hand} | {line.currency for line in posted if line.period == now}
    psa_side = {line.currency for line in hand} | {line.currency for line in posted if line.period == now}
    pax8_side = {charge.currency for charge in money}
    pax8_side |= {one.subscription.currency for row in rows for one in row.members if one.subscription.currency}
    for currency in sorted(currencies | pax8_side):
        of_currency = [line for line in posted if line.currency == currency]
        side = GroupAmounts(
            tenant=tenant,
            rows=rows,
            currency=currency,
            money=[charge for charge in money if charge.currency == currency],
            standing=[(period, charge) for period, charge in standing if charge.currency == currency],
            hand=[line for line in hand if line.currency == currency],
            posted=[line for line in of_currency if line.period == now],
            standing_posted=standing_posted(of_currency, now),
        )
        in_month, spread, estimated = side.in_month(), side.spread()[0], side.spread()[1]
        mismatch = len(psa_side | pax8_side) > 1
        parts, exact = side.parts(spread) if not mismatch else (None, False)
        yield BillingRow(
            client_id=first.client_id,
            client_name=first.client_name,
            group=first.group,
            skus=tuple(sorted({sku for row in rows for sku in row.skus})),
            product=first.product,
            currency=currency,
            in_month=in_month,
            spread=spread,
            parts=parts,
            exact=exact,
            estimated=estimated,
            mismatch=mismatch,
            pax8_prorate=side.pax8_prorate,
            psa_prorate=side.psa_prorate,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OursCheck:
    """A client whose lines are all the billing job's own [BC10]: what is left of its price difference once what the
    plan did not post is taken off. Not zero: a fault of ours, or somebody edited an invoice."""

    client_id: int
    currency: str
    price_difference: Decimal
    dropped: Decimal
    held: Decimal
    excluded: Decimal

    @property
    def rest(self) -> Decimal:
        return self.price_difference - self.dropped - self.held - self.excluded


def ours_checks(tenant: Tenant, rows: Sequence[SeatRow], billing: Sequence[BillingRow]) -> list[OursCheck]:
    """One for each client and currency that only the billing job bills."""
    states = tenant.unposted
    kept = {row.client_id for row in rows for line in row.every_line if line.keeper is not Keeper.OURS}
    ours = {line.client_id for line in tenant.inputs.posted if line.period == tenant.period} - kept
    sums: dict[tuple[int, str], dict[str, Decimal]] = defaultdict(lambda: defaultdict(lambda: ZERO))
    for billed in billing:
        if billed.client_id in ours and billed.in_month.price_difference is not None:
            sums[billed.client_id, billed.currency]["difference"] += billed.in_month.price_difference
    for row in rows:
        for charge in row.money if row.leads else ():
            if row.client_id in ours and (one := states.get(charge.id)):
                sums[row.client_id, charge.currency][one.state] += charge.price
    return [
        OursCheck(
            client_id=client_id,
            currency=currency,
            price_difference=by_state["difference"],
            dropped=by_state["dropped"],
            held=by_state["held"],
            excluded=by_state["excluded"],
        )
        for (client_id, currency), by_state in sorted(sums.items())
    ]
