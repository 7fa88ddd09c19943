"""A plan as it was kept: alone, and with what it was made from. That is read once and held in memory: pages ask for the
newest one again and again, and a plan never changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from billingsync.core.bill.plan import ClientPlan, Hold, Plan
from billingsync.errors import UsageError
from billingsync.store.ledger import Ledger
from billingsync.store.packing import Parts, pack, unpack_beside, unpack_with
from billingsync.store.plans import OF, PlanEntry

if TYPE_CHECKING:
    from billingsync.core.charge import Charge
    from billingsync.core.inputs import RunInputs


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPlan:
    """A plan as it was made once."""

    plan: Plan
    created_at: datetime
    shifts: None = None
    from_file: str = ""

    @property
    def document(self) -> dict[str, object]:
        from billingsync.report.document import plan_document

        return plan_document(self.plan, self.created_at.isoformat(timespec="seconds"))


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldClient:
    """What waits of one client, as `ClientPlan` has it."""

    company_id: str | None
    company_name: str
    client_id: int | None
    client_name: str
    holds: tuple[Hold, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPlan:
    """What waits in a plan, as `Plan` has it: read without its lines and postings, which are most of it."""

    digest: str
    period: str
    clients: tuple[HeldClient, ...]
    unassigned_holds: tuple[Hold, ...]


def kept_plan_of(ledger: Ledger, digest: str) -> KeptPlan:
    """The plan of this digest (or its beginning) as it was shown. UsageError where none has it, or where an older
    version did not keep it whole."""
    saved = ledger.plan_entry(digest)
    return KeptPlan(plan=_part_of(ledger, saved, Plan), created_at=saved.created_at)


def held_plan_of(ledger: Ledger, digest: str) -> HeldPlan:
    """What waits in it; as `kept_plan_of`."""
    found: HeldPlan = _part_of(ledger, ledger.plan_entry(digest), HeldPlan)
    return found


def _part_of(ledger: Ledger, saved: PlanEntry, kind: type) -> Any:
    body = ledger.kept_inputs(saved.digest)
    found = None if body is None else unpack_beside(kind, body, "plan")
    if found is None:
        raise UsageError(
            f"Plan {saved.digest[:12]} was made by an older version, which kept its JSON only.",
            next_steps=[["billingsync", "plan", saved.period]],
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMonth:
    """`inputs` without rules and memory; `plan` is None where an older version did not keep it whole. `charges` are
    those of the inputs, by id."""

    inputs: RunInputs
    plan: Plan | None
    charges: Mapping[str, Charge]
    of: str = ""  # the plan where what both have in common is kept, "" where it is kept whole


_LARGE = ("sources", "companies", "clients", "items", "existing", "made")  # inputs that a plan made anew has too
_READING = threading.Lock()  # two pages that want the same plan read it once
_MOST = 2  # plans in memory: the one that is shown, and the one that it is made anew from
_MOST_CHARGES = 60_000  # of all plans in memory; beyond that there is one
_kept: OrderedDict[tuple[Ledger, str], KeptMonth] = OrderedDict()


def kept_month(ledger: Ledger, digest: str) -> KeptMonth:
    """By the whole digest of a plan. UsageError where an older version made it, which kept no inputs."""
    with _READING:
        found = _kept.get((ledger, digest))
        if found is None:
            found = _read(ledger, digest)
        _put(ledger, digest, found)
        return found


def near_in_memory(ledger: Ledger, digest: str) -> tuple[str, KeptMonth] | None:
    """The plan that is kept whole among this one and the one of which it was made anew, with its digest; None where it
    is not in memory. What is made anew of them is kept as what differs from it."""
    with _READING:
        month = _kept.get((ledger, digest))
        if month is not None and month.of:
            digest, month = month.of, _kept.get((ledger, month.of))
        if month is None or month.plan is None:
            return None
        _kept.move_to_end((ledger, digest))
        return digest, month


def packed(inputs: RunInputs, plan: Plan, near: tuple[str, KeptMonth] | None) -> Iterator[bytes]:
    """A plan with its inputs, but for rules and memory; of what is `near` it only what differs."""
    from billingsync.core.inputs import Memory
    from billingsync.core.rules import Rulebook

    inputs = replace(inputs, rulebook=Rulebook(), memory=Memory())
    if near is None or near[1].plan is None:
        return pack(inputs, plan=plan)
    digest, other, clients = near[0], near[1].inputs, near[1].plan.clients
    values = {field.name: getattr(inputs, field.name) for field in fields(inputs)}
    small = {name: value for name, value in values.items() if name not in _LARGE or value != getattr(other, name)}
    there = {client.company_id: nth for nth, client in enumerate(clients)}

    def place(client: ClientPlan) -> ClientPlan | int:
        nth = there.get(client.company_id)
        return client if nth is None or clients[nth] != client else nth

    parts = Parts({field.name: getattr(plan, field.name) for field in fields(plan)})
    return pack(Parts({OF: digest} | small), plan=Parts(parts | {"clients": tuple(map(place, plan.clients))}))


def hold_in_memory(ledger: Ledger, plan: Plan, inputs: RunInputs, of: str = "") -> None:
    """A plan that was just kept, as it would be read again: pages ask for it next. `of` is what it is kept beside."""
    from billingsync.core.inputs import Memory
    from billingsync.core.rules import Rulebook

    with _READING:
        _put(ledger, plan.digest, _month(replace(inputs, rulebook=Rulebook(), memory=Memory()), plan, of))


def _put(ledger: Ledger, digest: str, found: KeptMonth) -> None:
    _kept[ledger, digest] = found
    _kept.move_to_end((ledger, digest))
    while len(_kept) > 1 and (len(_kept) > _MOST or sum(len(one.charges) for one in _kept.values()) > _MOST_CHARGES):
        _kept.popitem(last=False)


def _read(ledger: Ledger, digest: str) -> KeptMonth:
    from billingsync.core.inputs import RunInputs

    body = ledger.kept_inputs(digest)
    if body is None:
        raise UsageError(
            f"What plan {digest[:12]} was made from was not kept. Make it again.", next_steps=[["billingsync", "plan"]]
        )
    inputs, plan = unpack_with(RunInputs, body, plan=Plan)
    return _month(inputs, plan, str(body.get(OF, "")))


def _month(inputs: RunInputs, plan: Plan | None, of: str) -> KeptMonth:
    charges = {charge.id: charge for source in inputs.sources for charge in source.charges}
    return KeptMonth(inputs=inputs, plan=plan, charges=charges, of=of)
