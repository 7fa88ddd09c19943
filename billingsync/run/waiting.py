"""What waits for a person, and since when: from the plan that was kept last, without asking a vendor."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from billingsync.core.bill.plan import Plan
from billingsync.core.period import Period
from billingsync.errors import UsageError
from billingsync.report.waiting import OpenHold, plan_holds
from billingsync.rulebook import load_rulebook
from billingsync.run.kept_plan import KeptPlan, kept_plan_of
from billingsync.store.ledger import Ledger

if TYPE_CHECKING:
    from billingsync.run.plan import Planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits in a period, by a plan that was made at `made_at`."""

    period: str
    digest: str
    made_at: datetime
    holds: tuple[OpenHold, ...]


def waiting_of(ledger: Ledger, rules_dir: Path, period: str | None) -> Waiting | None:
    """What waits in a period (None: the newest that was planned) by the newest plan of all its clients; what people
    decided since then counts. None where no plan was kept, or an older version kept it."""
    planned = ledger.planned_periods()
    digest = next((found for one in _wanted(planned, period) if (found := ledger.newest_digest(one))), None)
    head = None if digest is None else ledger.plan_head(digest)
    if head is None:
        return None
    same_rules = load_rulebook(rules_dir, ledger.desk_rules()).digest == head.rules_digest
    kept: KeptPlan | Planned
    try:
        if same_rules and not ledger.decided_since(head.created_at):
            kept = kept_plan_of(ledger, head.digest)
        else:
            from billingsync.run.plan import plan_again  # with all that asks the vendors, a quarter of a second

            kept = plan_again(ledger, rules_dir, head.digest)
    except UsageError:  # of an older version
        return None
    holds = open_holds(ledger, kept.plan, kept.created_at)
    return Waiting(period=head.period, digest=kept.plan.digest, made_at=head.created_at, holds=tuple(holds))


def _wanted(planned: tuple[str, ...], period: str | None) -> list[str]:
    """The periods to be tried, the newest first."""
    return [one for one in reversed(planned) if period in (None, one)]


def open_holds(ledger: Ledger, plan: Plan, at: datetime) -> list[OpenHold]:
    """What waits in this plan, made `at`, with how long it has: since the first plan of the month that held it."""
    waiting = plan_holds(plan)
    wanted = {one.hold.charge for one in waiting}
    first: dict[str, datetime] = {}
    for entry in ledger.plans(Period.parse(plan.period)):
        if not wanted - first.keys():
            break
        document = json.loads(ledger.find_plan(entry.digest).document)
        for client in [*document["clients"], document["unassigned"]]:
            for hold in client["holds"]:
                first.setdefault(hold["charge"], entry.created_at)
    found = []
    for one in waiting:
        since = first.get(one.hold.charge, at)
        age = (at - since).days
        found.append(replace(one, period=plan.period, since=since.date().isoformat(), age_days=age))
    return found
