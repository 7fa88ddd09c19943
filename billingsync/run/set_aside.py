"""Keeping charges from the next posting, and putting them back; and freeing what was left out by mistake."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from billingsync.errors import UsageError
from billingsync.run.find import find_payer, payers_of_document
from billingsync.store.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The charges that were set aside, put back or freed, and their period."""

    charges: tuple[str, ...]
    period: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InPlan:
    """Where the charges stand: clients of a kept plan, by their place in it. So no whole plan is read for it."""

    digest: str
    nths: tuple[int, ...]


def set_aside(
    ledger: Ledger,
    charges: Sequence[str],
    *,
    client: str = "",
    reason: str = "",
    who: str,
    now: datetime,
    there: InPlan | None = None,
) -> Moved:
    """These charges, or with `client` all of a client, wait from now on. They are named as the newest plan that has
    them names them, or the plan `there`. UsageError where a charge is in no plan, or was posted, dropped or excluded
    already."""
    period, known, clients = _newest(ledger, charges) if there is None else _there(ledger, there)
    wanted = list(charges)
    if client:
        payer = find_payer(payers_of_document({"clients": clients}), client)
        of_client = [one for one in clients if one["company_id"] in payer.companies]
        wanted += [id_ for one in of_client for id_ in _open(one)]
    if not wanted:
        raise UsageError("Name a charge, or a client with --client.")
    if unknown := [charge for charge in wanted if charge not in known]:
        raise UsageError(
            f"Charge {unknown[0]!r:.120} is not waiting to be posted in the newest plan of {period}.",
            next_steps=[["billingsync", "plan", period]],
        )
    wanted = sorted(set(wanted))
    ledger.set_charges_aside(period, wanted, who=who, reason=reason, now=now)
    return Moved(charges=tuple(wanted), period=period)


def put_back(ledger: Ledger, charges: Collection[str], *, who: str, now: datetime) -> Moved:
    """These charges go out again with the next posting. UsageError where one was not set aside."""
    there = ledger.set_aside_periods(charges)
    if missing := sorted(set(charges) - set(there)):
        raise UsageError(f"Charge {missing[0]!r:.120} is not set aside.")
    ledger.put_charges_back(charges, who=who, now=now)
    return Moved(charges=tuple(sorted(charges)), period=max(there.values(), default=""))


def free(ledger: Ledger, charge: str, *, reason: str, who: str, now: datetime) -> Moved:
    """One charge that a run dropped or excluded is planned again, by today's rules [R5]. UsageError where no run did,
    e.g. as it was posted: then it is undone, not freed."""
    period = ledger.free_settled(charge, reason=reason, who=who, now=now)
    if period is None:
        raise UsageError(
            f"No run dropped or excluded charge {charge!r:.120}. What was posted is taken back with "
            "billingsync undo RUN --client NAME.",
            next_steps=[["billingsync", "explain", charge]],
        )
    return Moved(charges=(charge,), period=period)


def _there(ledger: Ledger, there: InPlan) -> tuple[str, frozenset[str], list[dict[str, object]]]:
    """As `_newest`, of a few clients of one plan."""
    head = ledger.plan_head(there.digest)
    if head is None:
        raise UsageError("There is no such plan.", next_steps=[["billingsync", "plan"]])
    clients = [dict(body) for body in ledger.last_bodies(there.digest, there.nths).values()]
    return head.period, frozenset(id_ for one in clients for id_ in _open(one)), clients


def _newest(ledger: Ledger, charges: Sequence[str]) -> tuple[str, frozenset[str], list[dict[str, object]]]:
    """The period, the open charges and the clients of the newest plan that has the charges, else of the newest."""
    plans = list(reversed(ledger.plans()))
    if not plans:
        raise UsageError("There is no plan yet.", next_steps=[["billingsync", "plan"]])
    seen: set[str] = set()
    for entry in plans:
        if entry.period in seen:
            continue
        seen.add(entry.period)
        clients = json.loads(ledger.find_plan(entry.digest).document)["clients"]
        known = frozenset(id_ for one in clients for id_ in _open(one))
        if not charges or any(charge in known for charge in charges):
            return entry.period, known, clients
    return plans[0].period, frozenset(), []


def _open(client: dict[str, object]) -> list[str]:
    """The charges of a client in a plan's document that a run of it would post, drop or hold."""
    lines, dropped, holds = client["lines"], client["dropped"], client["holds"]
    assert isinstance(lines, list)
    assert isinstance(dropped, list)
    assert isinstance(holds, list)
    return [
        *(charge for line in lines for charge in line["charges"]),
        *(one["charge"] for one in dropped),
        *(one["charge"] for one in holds),
    ]
