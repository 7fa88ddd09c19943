"""What waits for a person, and since when: from the plan that was kept last, without asking a vendor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from billingsync.core.period import Period
from billingsync.errors import UsageError
from billingsync.report.waiting import HoldingPlan, OpenHold, plan_holds
from billingsync.rulebook import load_rulebook
from billingsync.run.kept_plan import HeldPlan, held_plan_of
from billingsync.store.ledger import Ledger
from billingsync.store.plan_rows import PlanHead


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
    try:
        if same_rules and not ledger.decided_since(head.created_at):
            held, at = _held(ledger, head), ledger.plan_entry(head.digest).created_at
            digest, holds = head.digest, open_holds(ledger, held, at)
        else:
            from billingsync.run.plan import plan_again  # with all that asks the vendors, a quarter of a second

            again = plan_again(ledger, rules_dir, head.digest)
            digest, holds = again.plan.digest, open_holds(ledger, again.plan, again.created_at)
    except UsageError:  # of an older version
        return None
    return Waiting(period=head.period, digest=digest, made_at=head.created_at, holds=tuple(holds))


def _held(ledger: Ledger, head: PlanHead) -> HeldPlan:
    """What waits in a kept plan, which is not read where its rows say that nothing does."""
    if not _held_rows(ledger, head) and not head.content["unassigned"]["holds"]:
        return HeldPlan(digest=head.digest, period=head.period, clients=(), unassigned_holds=())
    return held_plan_of(ledger, head.digest)


def _held_rows(ledger: Ledger, head: PlanHead) -> list[int]:
    return [row.nth for row in ledger.client_rows(head.digest) if row.holds]


def _wanted(planned: tuple[str, ...], period: str | None) -> list[str]:
    """The periods to be tried, the newest first."""
    return [one for one in reversed(planned) if period in (None, one)]


def open_holds(ledger: Ledger, plan: HoldingPlan, at: datetime) -> list[OpenHold]:
    """What waits in this plan, made `at`, with how long it has: since the first plan of the month that held it."""
    waiting = plan_holds(plan)
    wanted = {one.hold.charge for one in waiting}
    first: dict[str, datetime] = {}
    for entry in ledger.plans(Period.parse(plan.period)):
        if not wanted - first.keys():
            break
        for charge in _charges_held(ledger, entry.digest):
            first.setdefault(charge, entry.created_at)
    found = []
    for one in waiting:
        since = first.get(one.hold.charge, at)
        age = (at - since).days
        found.append(replace(one, period=plan.period, since=since.date().isoformat(), age_days=age))
    return found


def _charges_held(ledger: Ledger, digest: str) -> Iterator[str]:
    """The charges that a kept plan held: from its rows, or from all of it where an older version kept no rows."""
    head = ledger.plan_head(digest)
    if head is None:
        document = json.loads(ledger.find_plan(digest).document)
        held = [*document["clients"], document["unassigned"]]
    else:
        held = [*ledger.last_bodies(digest, _held_rows(ledger, head)).values(), head.content["unassigned"]]
    for one in held:
        for hold in one["holds"]:
            yield hold["charge"]
