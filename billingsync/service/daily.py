"""The daily snapshot, what it is compared to, and what people are told of it. Its failure delays no bill [SN3]."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any

import structlog

from billingsync.connect import Connections
from billingsync.core.money import plain
from billingsync.core.period import Period
from billingsync.core.progress import Say
from billingsync.core.reconcile.compare import Reconciliation, Verdict
from billingsync.core.reconcile.expiring import THRESHOLDS, Expiring, Expiry, Row, due_notices, expiring
from billingsync.core.reconcile.findings import Side
from billingsync.core.reconcile.taken import SnapshotState
from billingsync.core.schedule import is_snapshot_due, local_day
from billingsync.errors import BillingSyncError
from billingsync.reconcile.reconcile import reconcile
from billingsync.reconcile.snapshot import Why, take
from billingsync.report.escape import one_line, shortened
from billingsync.report.labels import plural
from billingsync.report.numbers import Figures
from billingsync.service.cards import counted
from billingsync.store.ledger import Ledger
from billingsync.store.notices import Thing
from billingsync.store.snapshots import SnapshotEntry

_SIDES = (Side.MISSING, Side.OWED, Side.PAX8, Side.MARGIN)
_STEPS = (("billingsync", "reconcile", "findings"),)
_NO_WAIT = timedelta(0)  # for a run of somebody else: bills and orders would wait too, and the next cycle comes
_MOST_TRIES = 3  # of a month's snapshot that came out partial
_MOST = 10  # subscriptions named in one message


def is_due(ledger: Ledger, at: str, zone: Any, now: datetime) -> bool:
    """Whether today's is still to be taken. One that was taken by hand since then counts as well."""
    taken = [one.as_at for one in ledger.snapshots() if one.state is SnapshotState.WHOLE]
    return is_snapshot_due(now, max(taken, default=None), time.fromisoformat(at), zone)


def snapshot_of_month(connected: Connections, period: Period, now: datetime, say: Say) -> None:
    """One when a period's invoice was first read whole, before it is posted [SN3]: what the month is compared with.

    Only inside that month, and a few times at the most: a failure is logged, and the bill goes on."""
    if Period.of(local_day(now, connected.settings.zone)) != period:
        return
    read = connected.ledger.first_read(period)
    since = [one for one in connected.ledger.snapshots() if read is not None and one.as_at >= read]
    if read is None or len(since) >= _MOST_TRIES or any(one.state is SnapshotState.WHOLE for one in since):
        return
    try:
        take(connected, why=Why.INVOICE, say=say, patience=_NO_WAIT)
    except BillingSyncError as failed:
        structlog.get_logger().warning("the month's snapshot failed", code=failed.code, says=failed.message)


@dataclass(slots=True)
class Daily:
    """One daily snapshot with its comparison: `things` is what people are to be told."""

    connected: Connections
    now: datetime
    say: Say
    things: list[Thing]

    def take(self) -> SnapshotEntry | None:
        """The snapshot, and where it is whole the comparison. None where it failed: that is logged and tried again."""
        try:
            entry = take(self.connected, why=Why.DAILY, say=self.say, patience=_NO_WAIT)
            if entry.state is SnapshotState.WHOLE:
                self._compare()
        except BillingSyncError as failed:
            structlog.get_logger().warning("the daily snapshot failed", code=failed.code, says=failed.message)
            return None
        structlog.get_logger().info("snapshot taken", snapshot=entry.id, state=entry.state.value)
        return entry

    def _compare(self) -> None:
        found = reconcile(self.connected, None, say=self.say)
        today = local_day(self.now, self.connected.settings.zone)
        ending = expiring(found.subscriptions, today, {})
        before = self.connected.ledger.reconciled()
        told = {(str(name), int(days)) for body in before for name, days in body.get("expiring_told", ())}
        due = due_notices(ending, told)
        body = summary(found, ending) | counted(self.connected, self.say)
        if moved := _moved(before[-1] if before else None, body):
            self.things.append(_differences(found, moved, self.connected.settings.locale))
        self.things += _expiring(due, today.isoformat())
        pairs = [(one.one.subscription.id, days) for days, one in due]
        self.connected.ledger.note_reconciled(body, pairs, self.now)


def summary(found: Reconciliation, ending: Expiry) -> dict[str, Any]:
    """What a comparison came to in numbers: for the log, for metrics, and to see what moved."""
    findings = Counter((one.kind.value, one.confidence.value) for one in found.findings)
    money = {
        currency: {side.value: plain(getattr(sums, side.value), currency) for side in _SIDES}
        for currency, sums in found.totals.items()
    }
    return {
        "snapshot": found.snapshot,
        "as_at": found.as_at.isoformat(timespec="seconds"),
        "verdict": found.verdict.value,
        "classes": {kind.value: held.subscriptions for kind, held in found.classes.items()},
        "money": money,
        "findings": [[kind, confidence, number] for (kind, confidence), number in sorted(findings.items())],
        "expiring": {
            Row.TERM.value: {str(days): ending.counts[days] for days in THRESHOLDS},
            Row.COMMITTED_MONTHLY.value: {str(days): ending.committed_monthly[days] for days in THRESHOLDS},
        },
    }


def _moved(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """What changed since the last comparison, in words; "" where neither verdict nor sums did."""
    if before is None:
        return "" if now["verdict"] == Verdict.CLEAN.value else "compared for the first time"
    if before["verdict"] != now["verdict"]:
        return f"{_verdict(before['verdict'])} before"
    return "the sums moved" if before["money"] != now["money"] else ""


def _verdict(name: str) -> str:
    return name.replace("_", " ")


def _differences(found: Reconciliation, moved: str, locale: str) -> Thing:
    figures = Figures(locale)
    parts = [
        f"{figures.money(amount, currency)} {side.value}"
        for currency, sums in found.totals.items()
        for side in (Side.MISSING, Side.OWED, Side.PAX8)
        if (amount := getattr(sums, side.value)) != Decimal(0)
    ]
    return Thing(
        key=f"differences:{found.snapshot}",
        event="differences",
        title=f"Pax8 and HaloPSA: {_verdict(found.verdict.value)} ({moved})",
        body=f"{', '.join(parts)}." if parts else "",
        steps=_STEPS,
    )


def _expiring(due: Sequence[tuple[int, Expiring]], today: str) -> list[Thing]:
    """One message for each company and day."""
    by_company: dict[str, list[tuple[int, Expiring]]] = defaultdict(list)
    for days, one in due:
        by_company[one.one.company.id].append((days, one))
    found = []
    for company_id, ones in sorted(by_company.items()):
        number = len(ones)
        name = shortened(one_line(ones[0][1].one.company.name), 80)
        lines = [
            f"{one.end}: {shortened(one_line(one.one.ref.name), 80)} (within {days} days, {one.renews.value})"
            for days, one in sorted(ones, key=lambda pair: (pair[1].end or today, pair[1].one.subscription.id))
        ]
        more = [f"... and {number - _MOST} more"] if number > _MOST else []
        found.append(
            Thing(
                key=f"expires:{company_id}:{today}",
                event="expiring",
                title=f"{name}: {number} {plural(number, 'subscription ends', 'subscriptions end')} soon",
                body="\n".join([*lines[:_MOST], *more]),
                steps=(("billingsync", "renewals"),),
            )
        )
    return found
