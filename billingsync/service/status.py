"""One picture of the service, read from the database alone, so that any process can take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from billingsync import __version__
from billingsync.core.reconcile.taken import SnapshotState
from billingsync.core.states import MonthState
from billingsync.store.cycles import Cycle
from billingsync.store.ledger import Ledger
from billingsync.store.notices import Notice

if TYPE_CHECKING:
    from billingsync.core.bill.plan import Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """`months` is period -> what `worker.month.Month` keeps. `unresolved`: writes whose outcome is not known."""

    version: str
    installation: str
    cycle: Cycle | None
    last_success: datetime | None
    cycles: Mapping[str, int]
    months: Mapping[str, Mapping[str, Any]]
    since: str
    unresolved: int
    holder: str  # who last posted
    open: tuple[Notice, ...]
    untold: int
    waiting: tuple[Waiting, ...] = ()  # on recurring invoices: posted, and invoiced by nobody yet [B5]
    snapshot_at: datetime | None = None  # the newest whole snapshot of both sides
    reconciled: Mapping[str, Any] = field(default_factory=dict)  # what the last daily comparison came to

    @property
    def next_at(self) -> datetime | None:
        return self.cycle.next_at if self.cycle else None

    @property
    def services(self) -> Mapping[str, Mapping[str, Any]]:
        found = self.cycle.summary.get("services", {}) if self.cycle else {}
        return found if isinstance(found, Mapping) else {}

    @property
    def problem(self) -> Mapping[str, str] | None:
        found = self.cycle.summary.get("problem") if self.cycle else None
        return found if isinstance(found, Mapping) else None

    @property
    def held_charges(self) -> int:
        return sum(int(group["charges"]) for month in self.months.values() for group in month["holds"].values())

    @property
    def held_months(self) -> tuple[str, ...]:
        """The months in which something waits for a person: a true-up may, without a charge [R2]."""
        return tuple(period for period, month in self.months.items() if month["state"] == MonthState.HELD)

    def as_json(self) -> dict[str, Any]:
        """The document of `billingsync status --json`."""
        from billingsync.report.document import waiting_document

        cycle = self.cycle
        return {
            "version": self.version,
            "installation": self.installation,
            "since": self.since or None,
            "last_cycle": {
                "id": cycle.id,
                "state": cycle.state,
                "started_at": _iso(cycle.started_at),
                "ended_at": _iso(cycle.ended_at),
            }
            if cycle
            else None,
            "problem": dict(self.problem) if self.problem else None,
            "last_success": _iso(self.last_success),
            "next_cycle": _iso(self.next_at),
            "months": {period: dict(month) for period, month in self.months.items()},
            "held_charges": self.held_charges,
            "unresolved_postings": self.unresolved,
            "waiting": [waiting_document(one) for one in self.waiting],
            "services": {name: dict(service) for name, service in self.services.items()},
            "open": [
                {
                    "thing": one.thing,
                    "event": one.event,
                    "title": one.title,
                    "since": _iso(one.opened_at),
                    "steps": [list(step) for step in one.steps],
                }
                for one in self.open
            ],
            "notices_waiting": self.untold,
            "last_snapshot": _iso(self.snapshot_at),
            "verdict": self.reconciled.get("verdict"),
        }


def take(ledger: Ledger) -> Snapshot:
    """Reads the picture. Raises LedgerError."""
    partner = ledger.partner()
    cycle = ledger.last_cycle()
    known = cycle.months if cycle else {}
    return Snapshot(
        version=__version__,
        installation=partner.installation,
        cycle=cycle,
        last_success=ledger.last_success(),
        cycles=ledger.cycle_counts(),
        months=known.get("months", {}),
        since=str(known.get("since") or ""),
        unresolved=len(ledger.unresolved()) + len(ledger.open_card_writes()),
        holder=partner.holder,
        open=ledger.open_notices(),
        untold=len(ledger.untold()),
        waiting=ledger.waiting(),
        snapshot_at=max((one.as_at for one in ledger.snapshots() if one.state is SnapshotState.WHOLE), default=None),
        reconciled=next(iter(ledger.reconciled()[-1:]), {}),
    )


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
