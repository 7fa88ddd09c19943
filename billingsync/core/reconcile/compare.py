"""Both sides of one partner compared: `compare(inputs) -> Reconciliation`. Pure, and the same whatever the order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from billingsync.core.money import ZERO
from billingsync.core.period import Period
from billingsync.core.reconcile.billing import BillingRow, OursCheck, billing_rows, ours_checks
from billingsync.core.reconcile.classify import Class, Classified, classified
from billingsync.core.reconcile.find import Measured, billing_findings, mapping_findings, row_findings
from billingsync.core.reconcile.findings import (
    KINDS,
    MAPPING,
    Finding,
    Kind,
    Side,
    in_order,
)
from billingsync.core.reconcile.licences import SeatRow, rows_of_client
from billingsync.core.reconcile.lines import Scope, SeatLine, posted_lines, recurring_lines
from billingsync.core.reconcile.sides import Apart, collect, is_mapped
from billingsync.core.reconcile.snapshot import ReconcileInputs, VendorCount
from billingsync.core.reconcile.taken import SnapshotState
from billingsync.core.reconcile.tenant import Tenant, tenant_of
from billingsync.core.reconcile.terms import rounded, total
from billingsync.core.reconcile.wrong_client import with_wrong_clients


class Verdict(StrEnum):
    CLEAN = "clean"
    DIFFERENCES = "differences"
    INCOMPLETE = "incomplete"
    NOTHING_COMPARED = "nothing_compared"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSum:
    """How many subscriptions a class has, their seats, and what they cost a month by currency; `unknown_cost` counts
    those whose cost nobody says."""

    subscriptions: int
    seats: Decimal
    cost_month: Mapping[str, Decimal]
    unknown_cost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Three sums that are never netted, and the margin beside them; `unknown` findings have no known money. The parts
    that happen once stand in `missing_once` and `owed_once` too; `pax8` is once as a whole."""

    missing: Decimal = ZERO
    owed: Decimal = ZERO
    pax8: Decimal = ZERO
    margin: Decimal = ZERO
    missing_once: Decimal = ZERO
    owed_once: Decimal = ZERO
    unknown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApartSum:
    """Charges of the month that stand apart from every row: credits, billed_by_pax8, excluded, or not mapped."""

    why: str
    currency: str
    charges: int
    price: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """Everything that reports show. All figures come from one snapshot and one period."""

    snapshot: int
    as_at: datetime
    period: Period | None  # None: now
    compared_with: Period | None
    verdict: Verdict
    verdicts: Mapping[int, Verdict]  # by client
    classes: Mapping[Class, ClassSum]
    subscriptions: tuple[Classified, ...]
    lines: tuple[SeatLine, ...]  # every recurring line, in scope or not
    rows: tuple[SeatRow, ...]
    billing: tuple[BillingRow, ...]
    findings: tuple[Finding, ...]
    totals: Mapping[str, Totals]  # by currency
    tolerated: Mapping[str, Decimal]  # by currency: what the tolerance passed over [BC8]
    apart: tuple[ApartSum, ...]
    ours: tuple[OursCheck, ...]
    unmapped_counts: tuple[VendorCount, ...]
    next_steps: tuple[tuple[str, ...], ...]
    cards: Mapping[str, str] = field(default_factory=dict)  # by finding: the digest of the card that would end it


def compare(inputs: ReconcileInputs) -> Reconciliation:
    """Raises AssertionError for a partial snapshot: nothing may be made of one [SN2]."""
    return compare_tenant(tenant_of(inputs))


def compare_tenant(tenant: Tenant) -> Reconciliation:
    """The same, for who needs the indexes too."""
    inputs, snapshot = tenant.inputs, tenant.inputs.snapshot
    assert snapshot.state is SnapshotState.WHOLE, "a partial snapshot is used by nothing"
    recurring = recurring_lines(tenant)
    in_scope: dict[int, list[SeatLine]] = defaultdict(list)
    for client_id, lines in recurring.items():
        in_scope[client_id] += [line for line in lines if line.in_scope]
    for client_id, lines in posted_lines(tenant).items():
        in_scope[client_id] += lines
    in_scope = {client_id: lines for client_id, lines in in_scope.items() if lines}
    classes = classified(tenant, _families_at(in_scope))
    sides, apart = collect(tenant, classes, in_scope)
    rows = [row for side in sides for row in rows_of_client(side)]
    billing = billing_rows(tenant, rows)
    compared = [one for one in classes if one.kind is Class.COMPARED]
    counts = [count for count in inputs.counts if is_mapped(tenant, count)]
    one_side = not (compared or counts) or not in_scope
    mapping = mapping_findings(tenant, classes)
    found, tolerated = ([], {}) if one_side else _money_findings(tenant, rows, billing)
    findings = in_order([*mapping, *found])
    every_line = tuple(line for lines in recurring.values() for line in lines)
    return Reconciliation(
        snapshot=snapshot.id,
        as_at=snapshot.as_at,
        period=inputs.period,
        compared_with=tenant.period,
        verdict=_verdict(one_side, _is_incomplete(tenant, classes, every_line, len(counts)), findings),
        verdicts=_client_verdicts(classes, rows, every_line, findings),
        classes=_class_sums(classes),
        subscriptions=classes,
        lines=every_line,
        rows=tuple(rows),
        billing=tuple(billing),
        findings=findings,
        totals=_totals(findings),
        tolerated=tolerated,
        apart=_apart_sums(apart),
        ours=tuple(ours_checks(tenant, rows, billing)),
        unmapped_counts=tuple(count for count in inputs.counts if not is_mapped(tenant, count)),
        next_steps=_next_steps(findings),
    )


def _families_at(lines: Mapping[int, Sequence[SeatLine]]) -> dict[int, frozenset[str]]:
    return {
        client_id: frozenset(
            key for line in of_client for key in (*line.families, *(family for family, _ in line.covers))
        )
        for client_id, of_client in lines.items()
    }


def _money_findings(
    tenant: Tenant, rows: Sequence[SeatRow], billing: Sequence[BillingRow]
) -> tuple[list[Finding], dict[str, Decimal]]:
    """All findings but those about mapping; and what the tolerance passed over, by currency."""
    first: dict[tuple[int, str], SeatRow] = {}
    for row in rows:
        first.setdefault((row.client_id, row.group), row)
    measured: list[tuple[SeatRow, Measured]] = [(row, one) for row in rows for one in row_findings(row, tenant)]
    for billed in billing:
        row = first[billed.client_id, billed.group]
        measured += [(row, one) for one in billing_findings(billed, row, tenant)]
    found: list[Finding] = []
    passed: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for row, (finding, amount) in measured:
        tolerance = tenant.rules_of.client(row.client_id).reconcile.money_tolerance * max(len(row.every_line), 1)
        if amount is not None and abs(amount) <= tolerance:
            passed[finding.currency] += abs(amount)
        else:
            found.append(finding)
    found = with_wrong_clients(found)
    unique = {one.id + one.currency: one for one in found}
    assert len(unique) == len(found), "two findings of one id"
    return found, {currency: amount for currency, amount in sorted(passed.items()) if amount}


def _is_incomplete(
    tenant: Tenant, classes: Iterable[Classified], lines: Iterable[SeatLine], mapped_counts: int
) -> bool:
    snapshot = tenant.inputs.snapshot
    return (
        any(one.kind in _OPEN for one in classes)
        or any(line.scope is Scope.UNKNOWN for line in lines)
        or mapped_counts < len(tenant.inputs.counts)
        or tenant.inputs.rows_left_out > 0
        or (bool(snapshot.suspect) and not snapshot.confirmed)
    )


_OPEN = (Class.UNKNOWN, Class.UNMAPPED_COMPANY, Class.UNMAPPED_PRODUCT)


def _verdict(nothing: bool, incomplete: bool, findings: Iterable[Finding]) -> Verdict:
    """Never clean on empty input [LC11]."""
    if nothing:
        return Verdict.NOTHING_COMPARED
    if incomplete:
        return Verdict.INCOMPLETE
    counts = any(not one.explained and one.kind is not Kind.COST_DRIFT for one in findings)
    return Verdict.DIFFERENCES if counts else Verdict.CLEAN


def _client_verdicts(
    classes: Sequence[Classified],
    rows: Sequence[SeatRow],
    lines: Iterable[SeatLine],
    findings: Sequence[Finding],
) -> dict[int, Verdict]:
    of_client: dict[int, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.client_id is not None:
            of_client[finding.client_id].append(finding)
    open_: set[int] = {one.client.id for one in classes if one.client and one.kind in _OPEN}
    open_ |= {line.client_id for line in lines if line.scope is Scope.UNKNOWN}
    compared = {row.client_id for row in rows if row.members or row.counts or row.every_line}
    everyone = compared | open_ | {row.client_id for row in rows} | {one.client.id for one in classes if one.client}
    return {
        client_id: _verdict(client_id not in compared, client_id in open_, of_client.get(client_id, ()))
        for client_id in sorted(everyone)
    }


def _class_sums(classes: Iterable[Classified]) -> dict[Class, ClassSum]:
    by_class: dict[Class, list[Classified]] = {kind: [] for kind in Class}
    for one in classes:
        by_class[one.kind].append(one)
    return {kind: _class_sum(ones) for kind, ones in by_class.items()}


def _class_sum(ones: Sequence[Classified]) -> ClassSum:
    costs: dict[str, Fraction] = defaultdict(Fraction)
    for one in ones:
        if one.cost_month is not None:
            costs[one.subscription.currency] += one.cost_month
    return ClassSum(
        subscriptions=len(ones),
        seats=total(one.seats for one in ones),
        cost_month={currency: rounded(cost, currency) for currency, cost in sorted(costs.items())},
        unknown_cost=sum(one.cost_month is None for one in ones),
    )


def _totals(findings: Iterable[Finding]) -> dict[str, Totals]:
    """By currency; findings without money count as unknown under the currency that they would have."""
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    amounts: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(lambda: ZERO))
    for one in findings:
        if one.side in (Side.NONE, Side.COST):
            continue
        money = one.money
        if money is None:
            sums[one.currency]["unknown"] += one.kind is not Kind.COST_DRIFT
            continue
        amounts[one.currency][one.side] += money
        if one.month is None and one.side in (Side.MISSING, Side.OWED):
            amounts[one.currency][f"{one.side}_once"] += money
    return {
        currency: Totals(unknown=sums[currency]["unknown"], **amounts[currency])
        for currency in sorted(amounts.keys() | sums.keys())
    }


def _apart_sums(apart: Apart) -> tuple[ApartSum, ...]:
    return tuple(
        ApartSum(
            why=why,
            currency=currency,
            charges=len(charges),
            price=total(charge.price for charge in charges),
            cost=total(charge.cost for charge in charges),
        )
        for (why, currency), charges in sorted(apart.items())
    )


def _next_steps(findings: Iterable[Finding]) -> tuple[tuple[str, ...], ...]:
    """What to type next, each once: mapping first, as the findings stand."""
    steps = [KINDS[one.kind].step for one in findings if not one.explained or one.kind in MAPPING]
    return tuple(dict.fromkeys(step for step in steps if step))
