"""A period of which there is no snapshot: only what the ledger itself posted can be compared [SN6]."""

from __future__ import annotations

from collections import defaultdict

from billingsync.core.charge import Charge
from billingsync.core.money import ZERO
from billingsync.core.reconcile.amounts import Money
from billingsync.core.reconcile.billing import BillingRow
from billingsync.core.reconcile.compare import ApartSum, Reconciliation, Verdict
from billingsync.core.reconcile.licences import group_id
from billingsync.core.reconcile.snapshot import PostedLine, ReconcileInputs
from billingsync.core.reconcile.terms import total

NO_SNAPSHOT = "no_snapshot"


def compare_posted(inputs: ReconcileInputs) -> Reconciliation:
    """Billing alone, one row for each client, SKU and currency that was posted. There is no figure of seats, all other
    charges stand apart, and the verdict is `incomplete`; `nothing_compared` where nothing was posted."""
    period, snapshot = inputs.compared_with, inputs.snapshot
    lines = [line for line in inputs.posted if line.period == period]
    names = {client.id: client.name for client in snapshot.clients}
    groups: dict[tuple[int, str, str], list[PostedLine]] = defaultdict(list)
    for line in lines:
        sku = min((charge.sku or charge.product for charge in line.charges), default="")
        groups[line.client_id, sku, line.currency].append(line)
    posted = {charge.id for line in lines for charge in line.charges}
    rest: dict[str, list[Charge]] = defaultdict(list)
    for month in inputs.months:
        for charge in month.charges:
            if month.period == period and charge.id not in posted:
                rest[charge.currency].append(charge)
    return Reconciliation(
        snapshot=0,
        as_at=snapshot.as_at,
        period=inputs.period,
        compared_with=period,
        verdict=Verdict.INCOMPLETE if lines else Verdict.NOTHING_COMPARED,
        verdicts=dict.fromkeys(sorted({line.client_id for line in lines}), Verdict.INCOMPLETE),
        classes={},
        subscriptions=(),
        lines=(),
        rows=(),
        billing=tuple(_row(key, of_key, names) for key, of_key in sorted(groups.items())),
        findings=(),
        totals={},
        tolerated={},
        apart=tuple(
            ApartSum(
                why=NO_SNAPSHOT,
                currency=currency,
                charges=len(charges),
                price=total(charge.price for charge in charges),
                cost=total(charge.cost for charge in charges),
            )
            for currency, charges in sorted(rest.items())
        ),
        ours=(),
        unmapped_counts=(),
        next_steps=(),
    )


def _row(key: tuple[int, str, str], lines: list[PostedLine], names: dict[int, str]) -> BillingRow:
    client_id, sku, currency = key
    charges = {charge.id: charge for line in lines for charge in line.charges}.values()
    money = Money(
        pax8_cost=total(charge.cost for charge in charges),
        pax8_price=total(charge.price for charge in charges),
        psa_cost=total(line.cost for line in lines),
        psa_price=total(line.amount for line in lines),
    )
    return BillingRow(
        client_id=client_id,
        client_name=names.get(client_id, f"client {client_id}"),
        group=group_id(client_id, sku),
        skus=tuple(sorted({charge.sku for charge in charges if charge.sku})),
        product=min((charge.product for charge in charges), default=sku),
        currency=currency,
        in_month=money,
        spread=money,
        parts=None,
        exact=False,
        estimated=False,
        mismatch=False,
        pax8_prorate=ZERO,
        psa_prorate=ZERO,
    )
