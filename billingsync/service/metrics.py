"""The picture as Prometheus metrics. No label comes from a client, a product or anything else that others name, but
for currencies and hold reasons, of which there are few."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from billingsync.core.states import CycleState
from billingsync.errors import LedgerError
from billingsync.service.status import Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_CACHE_S = 5.0  # scrapes in a row must not keep the database busy


class Vitals(Protocol):
    """What the running process itself knows (`worker.progress.Progress`)."""

    def silent_s(self) -> float: ...

    def hangs(self) -> bool: ...

    def counts(self) -> tuple[dict[tuple[str, str, str], int], dict[str, int], dict[str, float]]: ...


class _Collector(Collector):
    def __init__(self, take: Callable[[], Snapshot], vitals: Vitals | None) -> None:
        self._take, self._vitals = take, vitals
        self._kept: tuple[float, Snapshot] | None = None

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("billingsync_database_up", "Whether the database could be read for this answer.")
        try:
            found = self._snapshot()
        except LedgerError:
            found = None
        up.add_metric([], 1.0 if found else 0.0)
        yield up
        if self._vitals is not None:
            yield from _vitals(self._vitals)
        if found is not None:
            yield from _picture(found)

    def _snapshot(self) -> Snapshot:
        now = time.monotonic()
        if self._kept is None or now - self._kept[0] > _CACHE_S:
            self._kept = (now, self._take())
        return self._kept[1]


class Metrics:
    """`text()` is the answer to a scrape."""

    def __init__(self, take: Callable[[], Snapshot], vitals: Vitals | None = None) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(take, vitals))

    def text(self) -> bytes:
        return generate_latest(self._registry)


def _vitals(vitals: Vitals) -> Iterator[Metric]:
    calls, retries, contact = vitals.counts()
    made = CounterMetricFamily(
        "billingsync_calls", "Calls since the start, by what was answered.", labels=["service", "method", "status"]
    )
    for (service, method, status), number in sorted(calls.items()):
        made.add_metric([service, method, status], number)
    yield made
    again = CounterMetricFamily("billingsync_call_retries", "Calls that were made again.", labels=["service"])
    for service, number in sorted(retries.items()):
        again.add_metric([service], number)
    yield again
    seen = GaugeMetricFamily(
        "billingsync_last_contact_seconds", "When a service last answered well.", labels=["service"]
    )
    for service, moment in sorted(contact.items()):
        seen.add_metric([service], moment)
    yield seen
    yield GaugeMetricFamily("billingsync_work_silent_seconds", "Since the work's last sign of life.", vitals.silent_s())


def _picture(found: Snapshot) -> Iterator[Metric]:
    yield InfoMetricFamily(
        "billingsync_build", "What runs here.", {"version": found.version, "installation": found.installation}
    )
    cycles = GaugeMetricFamily("billingsync_cycles", "Cycles that are remembered, by how they ended.", labels=["state"])
    for state, number in sorted(found.cycles.items()):
        cycles.add_metric([state], number)
    yield cycles
    for name, says, moment in (
        ("last_success_timestamp_seconds", "When the last cycle that did not fail ended.", found.last_success),
        ("next_cycle_timestamp_seconds", "When the next cycle is due.", found.next_at),
        ("last_cycle_timestamp_seconds", "When the last cycle began.", found.cycle.started_at if found.cycle else None),
    ):
        gauge = GaugeMetricFamily(f"billingsync_{name}", says)
        if moment is not None:
            gauge.add_metric([], moment.timestamp())
        yield gauge
    failed = GaugeMetricFamily("billingsync_last_cycle_failed", "1 where the last cycle failed.")
    failed.add_metric([], 1.0 if found.cycle and found.cycle.state == CycleState.FAILED else 0.0)
    yield failed
    yield GaugeMetricFamily("billingsync_unresolved_postings", "Writes whose outcome is not known.", found.unresolved)
    yield GaugeMetricFamily("billingsync_open_notices", "Problems that are open and were reported.", len(found.open))
    yield GaugeMetricFamily("billingsync_waiting_notices", "Notices that nobody has yet.", found.untold)
    budget = GaugeMetricFamily(
        "billingsync_call_budget_left", "Calls that could start at the end of the last cycle.", labels=["service"]
    )
    for name, service in sorted(found.services.items()):
        budget.add_metric([name], int(service.get("budget_left", 0)))
    yield budget
    yield from _months(found)
    yield _on_templates(found)
    yield from _reconciled(found)


def _months(found: Snapshot) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "billingsync_month_state", "1 for the state that a month is in.", labels=["period", "state"]
    )
    charges = GaugeMetricFamily("billingsync_charges", "Charges of a month by state.", labels=["period", "state"])
    money = GaugeMetricFamily(
        "billingsync_money",
        "Money of a month by state; to be shown, not to be counted with.",
        labels=["period", "state", "currency", "side"],
    )
    held = GaugeMetricFamily("billingsync_held_charges", "Charges that wait, by reason.", labels=["period", "reason"])
    age = GaugeMetricFamily("billingsync_hold_age_days", "Days the oldest one waits.", labels=["period", "reason"])
    for period, month in sorted(found.months.items()):
        state.add_metric([period, str(month["state"])], 1)
        for name, number in month["charges"].items():
            charges.add_metric([period, name], number)
        for currency, sides in month["money"].items():
            for name, (price, cost) in sides.items():
                # Prometheus knows floats only; nothing is computed from these.
                money.add_metric([period, name, currency[:12], "price"], float(Decimal(price)))
                money.add_metric([period, name, currency[:12], "cost"], float(Decimal(cost)))
        for reason, group in month["holds"].items():
            held.add_metric([period, reason], group["charges"])
            age.add_metric([period, reason], group["days"])
    yield from (state, charges, money, held, age)


def _on_templates(found: Snapshot) -> Metric:
    """What of the money of a month that is posted is on no invoice yet [B5]."""
    money = GaugeMetricFamily(
        "billingsync_waiting_money",
        "Posted to recurring invoices of which HaloPSA has made no invoice since; to be shown, not to be counted with.",
        labels=["period", "currency", "side"],
    )
    sums: dict[tuple[str, str, str], Decimal] = {}
    for one in found.waiting:
        for side, amount in (("price", one.amount), ("cost", one.cost)):
            key = (one.period, one.currency[:12], side)
            sums[key] = sums.get(key, Decimal(0)) + amount
    for (period, currency, side), amount in sorted(sums.items()):
        money.add_metric([period, currency, side], float(amount))
    return money


def _reconciled(found: Snapshot) -> Iterator[Metric]:
    """What the last daily comparison came to."""
    age = GaugeMetricFamily("billingsync_snapshot_age_seconds", "Since the newest whole snapshot was taken.")
    if found.snapshot_at is not None:
        age.add_metric([], max(0.0, time.time() - found.snapshot_at.timestamp()))
    classes = GaugeMetricFamily(
        "billingsync_reconcile_subscriptions", "Subscriptions by what they count as.", labels=["class"]
    )
    money = GaugeMetricFamily(
        "billingsync_reconcile_money",
        "What the findings come to; to be shown, not to be counted with.",
        labels=["side", "currency"],
    )
    findings = GaugeMetricFamily("billingsync_findings", "Findings.", labels=["kind", "confidence"])
    ending = GaugeMetricFamily(
        "billingsync_expiring_subscriptions", "What ends within so many days.", labels=["days", "row"]
    )
    cards = GaugeMetricFamily("billingsync_cards", "Cards of this month.", labels=["kind", "state"])
    rows = GaugeMetricFamily("billingsync_import_rows", "Rows of the imported files that count.", labels=["state"])
    body = found.reconciled
    for kind, state, number in body.get("cards", ()):
        cards.add_metric([kind, state], number)
    for state, number in body.get("import_rows", {}).items():
        rows.add_metric([state], number)
    for name, number in body.get("classes", {}).items():
        classes.add_metric([name], number)
    for currency, sides in body.get("money", {}).items():
        for side, amount in sides.items():
            money.add_metric([side, currency[:12]], float(Decimal(amount)))
    for kind, confidence, number in body.get("findings", ()):
        findings.add_metric([kind, confidence], number)
    for row, counts in body.get("expiring", {}).items():
        for days, number in counts.items():
            ending.add_metric([days, row], number)
    yield from (age, classes, money, findings, ending, cards, rows)
