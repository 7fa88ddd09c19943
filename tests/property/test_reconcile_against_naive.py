"""Random tenants against a second, naive counter; what must always hold; and that order changes nothing."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from reconcile_naive import (
    Tenant,
    count_subscription,
    pax8_in_month,
    pax8_spread,
    psa_in_month,
    rows,
    seat_finding,
    seat_money,
)
from reconcile_tenants import inputs_of, tenants

from billingsync.core.reconcile.card import CardKind
from billingsync.core.reconcile.cards import cards_of
from billingsync.core.reconcile.compare import Reconciliation, Verdict, compare, compare_tenant
from billingsync.core.reconcile.findings import SEATS, Side
from billingsync.core.reconcile.snapshot import ReconcileInputs
from billingsync.core.reconcile.tenant import tenant_of

D = Decimal
EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def check_counts(tenant: Tenant, result: Reconciliation) -> None:
    """Classes and rows are the naive counter's."""
    classes = {one.subscription.id: (str(one.kind), Fraction(one.seats)) for one in result.subscriptions}
    assert classes == {sub["id"]: count_subscription(tenant, sub) for sub in tenant["subs"]}
    wanted = rows(tenant)
    for row in result.rows:
        if row.key == "E":  # no item: only what Pax8 bills for it after its end has a row
            assert row.count == row.psa_quantity == 0
            continue
        naive = wanted.pop((row.client_id, row.key))
        assert (Fraction(row.count), Fraction(row.psa_quantity)) == (naive["subscribed"], naive["psa"]), row.key
        if not naive["usage"]:
            assert row.invoiced is None if not naive["known"] else Fraction(row.invoiced or 0) == naive["invoiced"]
    assert all(not one["subscribed"] and not one["psa"] for one in wanted.values())


def check_findings(tenant: Tenant, result: Reconciliation) -> None:
    currencies = {client["id"]: client["currency"] for client in tenant["clients"]}
    found = {(one.client_id, one.key): one for one in result.findings if one.kind in SEATS}
    assert sum(one.kind in SEATS for one in result.findings) == len(found)
    if result.verdict is Verdict.NOTHING_COMPARED:
        assert not found
        return
    for key, naive in rows(tenant).items():
        kind = seat_finding(naive)
        assert (str(found[key].kind) if key in found else None) == kind, key
        if kind is None or kind == "follows_invoice":
            continue
        assert Fraction(found[key].seats) == naive["subscribed"] - naive["psa"]
        amount = seat_money(naive, currencies[key[0]])
        if amount is not None:
            assert found[key].month == amount, key


def check_money(tenant: Tenant, result: Reconciliation) -> None:
    """Cost, price, spread, margin and Price Difference of each client are the naive counter's [BC1] [BC3] [BC5]."""
    for client in tenant["clients"]:
        id_, currency = client["id"], client["currency"]
        found = [one for one in result.billing if one.client_id == id_ and one.skus != ("E",)]
        assert {one.currency for one in found} <= {currency}
        price, cost = (pax8_in_month(tenant, id_, what, currency) for what in ("price", "cost"))
        assert sum(one.in_month.pax8_price for one in found) == price
        assert sum(one.in_month.pax8_cost for one in found) == cost
        for spread, what in ((pax8_spread(tenant, id_, what, currency), what) for what in ("price", "cost")):
            if spread is not None:
                assert sum(getattr(one.spread, f"pax8_{what}") for one in found) == spread, what
        psa = psa_in_month(tenant, id_, "price", currency)
        if psa is None:
            assert any(one.in_month.psa_price is None for one in found)
            continue
        assert sum(one.in_month.psa_price or 0 for one in found) == psa
        assert sum(one.in_month.psa_cost or 0 for one in found) == psa_in_month(tenant, id_, "cost", currency)
        assert sum(one.in_month.price_difference or 0 for one in found) == price - psa
        assert sum(one.in_month.margin or 0 for one in found) == psa - cost
        assert sum(one.in_month.mspbots_product_margin or 0 for one in found) == cost - psa


def check_invariants(inputs: ReconcileInputs, result: Reconciliation) -> None:
    # J1: each subscription in one class, each line in one, seats and money are the raw lists'.
    assert sum(one.subscriptions for one in result.classes.values()) == len(inputs.snapshot.subscriptions)
    assert len(result.lines) == sum(len(invoice.lines) for invoice in inputs.snapshot.recurring)
    raw: Counter[str] = Counter()
    for month in inputs.months:
        for charge in month.charges:
            if month.period == result.compared_with:
                raw[charge.currency] += charge.price  # type: ignore[assignment]
    sums: Counter[str] = Counter()
    for billed in result.billing:
        sums[billed.currency] += billed.in_month.pax8_price  # type: ignore[assignment]
    for apart in result.apart:
        sums[apart.currency] += apart.price  # type: ignore[assignment]
    assert {key: value for key, value in raw.items() if value} == {key: value for key, value in sums.items() if value}
    # J2: Differences of companies' rows and of seat findings.
    if result.verdict is not Verdict.NOTHING_COMPARED:
        assert sum((one.seats for one in result.findings if one.kind in SEATS), D(0)) == sum(
            (row.difference for row in result.rows), D(0)
        )
    # J3: parts add up, an exact split is exact, and the sums are those of their findings.
    for billed in result.billing:
        if billed.parts is not None and billed.spread.price_difference is not None:
            assert billed.parts.sum == billed.spread.price_difference
            assert not billed.exact or (billed.parts.other == 0 and billed.parts.prorate == 0)
    sides: dict[tuple[str, Side], Decimal] = defaultdict(lambda: D(0))
    for one in result.findings:
        sides[one.currency, one.side] += one.money or D(0)
    for currency, totals in result.totals.items():
        for side in (Side.MISSING, Side.OWED, Side.PAX8, Side.MARGIN):
            assert getattr(totals, side) == sides[currency, side]


@given(tenant=tenants())
@EXAMPLES
def test_the_naive_counter_says_the_same(tenant: Tenant) -> None:
    check_all(tenant)


def check_all(tenant: Tenant) -> None:
    inputs = inputs_of(tenant)
    result = compare(inputs)
    check_counts(tenant, result)
    check_findings(tenant, result)
    check_money(tenant, result)
    check_invariants(inputs, result)


def summary(result: Reconciliation) -> tuple[Any, ...]:
    """All figures, without what names single subscriptions."""
    drop = {"members", "companies", "lines", "bundles", "charges", "money", "counts", "changes"}
    return (
        [{name: getattr(row, name) for name in row.__slots__ if name not in drop} for row in result.rows],
        result.billing,
        result.findings,
        result.totals,
        {kind: (one.seats, one.cost_month) for kind, one in result.classes.items()},
        result.verdict,
        result.verdicts,
        result.apart,
        result.tolerated,
    )


@given(tenant=tenants(), seed=st.integers(0, 9))
@EXAMPLES
def test_order_changes_nothing(tenant: Tenant, seed: int) -> None:
    inputs = inputs_of(tenant)
    dice = random.Random(seed)

    def mixed(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(dice.sample(values, len(values)))

    lists = ("companies", "subscriptions", "products", "clients", "items", "recurring")
    snapshot = replace(inputs.snapshot, **{name: mixed(getattr(inputs.snapshot, name)) for name in lists})
    months = mixed(tuple(replace(month, charges=mixed(month.charges)) for month in inputs.months))
    assert summary(compare(replace(inputs, snapshot=snapshot, months=months))) == summary(compare(inputs))


@given(tenant=tenants())
@EXAMPLES
def test_a_subscription_split_in_two_changes_no_figure(tenant: Tenant) -> None:
    for sub in tenant["subs"]:  # a charge names one subscription: what is split has none here
        sub["last_active"] = None
    tenant["charges"] = []
    tenant["subs"] = [one for one in tenant["subs"] if one["sku"] != "MST-AZR-U"]
    whole = compare(inputs_of(tenant))
    halves = []
    for sub in tenant["subs"]:
        if sub["quantity"] is None:
            halves.append(sub)
            continue
        part = D(sub["quantity"]) / 2
        halves += [{**sub, "quantity": str(part)}, {**sub, "id": f"{sub['id']}-2", "quantity": str(part)}]
    split = compare(inputs_of({**tenant, "subs": halves}))
    ours, theirs = summary(whole), summary(split)
    assert ours[0] == theirs[0] and ours[3:7] == theirs[3:7]
    assert [(one.id, one.month) for one in whole.findings] == [(one.id, one.month) for one in split.findings]


@given(tenant=tenants())
@EXAMPLES
def test_approvable_cards_leave_no_difference_and_touch_nothing_else(tenant: Tenant) -> None:
    inputs = inputs_of(tenant)
    indexed = tenant_of(inputs)
    before = compare_tenant(indexed)
    taken = [card for card in cards_of(before, indexed) if card.approvable]
    for card in taken:
        assert (card.after.quantity > card.before.quantity) is (card.difference > 0), "the sign flipped"
        if card.change.revenue_month:
            assert (card.change.revenue_month > 0) is (card.difference > 0)
    changed = {card.line_id: card for card in taken if card.line_id is not None}
    recurring = tuple(
        replace(
            invoice,
            lines=tuple(
                replace(
                    line,
                    quantity=changed[line.id].after.quantity,
                    inactive=changed[line.id].kind is CardKind.GONE,
                )
                if line.id in changed
                else line
                for line in invoice.lines
            ),
        )
        for invoice in inputs.snapshot.recurring
    )
    after = compare(replace(inputs, snapshot=replace(inputs.snapshot, recurring=recurring)))
    settled = {(card.client_id, card.key) for card in taken if card.kind is not CardKind.NEW}
    was = {(row.client_id, row.key): row.difference for row in before.rows}
    now = {(row.client_id, row.key): row.difference for row in after.rows}
    for key, difference in was.items():
        assert now.get(key, D(0)) == (0 if key in settled else difference), key


@pytest.mark.long
@pytest.mark.parametrize("shard", range(20))
def test_the_naive_counter_says_the_same_of_very_many(shard: int) -> None:
    """20,000 in all. Each shard is a search of its own: one search of so many slows down as it remembers them."""

    @seed(shard)
    @settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(tenant=tenants())
    def search(tenant: Tenant) -> None:
        check_all(tenant)

    search()
