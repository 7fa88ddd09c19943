"""What today's rules would make of charges that earlier runs decided [R3]: nothing is changed by that, only shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from billingsync.core.bill.plan import Plan
from billingsync.core.inputs import RunInputs
from billingsync.core.money import ZERO, plain
from billingsync.core.remembered import Settled
from billingsync.core.states import ChargeState


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Charges of one company and currency whose fate would be another. `before` and `now` are as people read them:
    posted, held: REASON, dropped: MODIFIER, excluded: RULE."""

    company_name: str
    currency: str
    before: str
    now: str
    charges: tuple[str, ...]
    amount: Decimal
    cost: Decimal

    def as_dict(self) -> dict[str, object]:
        return {
            "company_name": self.company_name,
            "currency": self.currency,
            "before": self.before,
            "now": self.now,
            "charges": list(self.charges),
            "amount": plain(self.amount, self.currency),
            "cost": plain(self.cost, self.currency),
        }

    def __str__(self) -> str:
        count = f"{len(self.charges)} charge{'' if len(self.charges) == 1 else 's'}"
        amount = f"{plain(self.amount, self.currency)} {self.currency}"
        return f"{self.company_name}: {count}, {amount}: {self.before} before, {self.now} by today's rules"


def shifts(plan: Plan, inputs: RunInputs, decided: Mapping[str, Settled]) -> tuple[Shift, ...]:
    """Every decided charge of which `plan`, made as if nothing was decided, says something else; most money first."""
    fates = _fates(plan)
    found: dict[tuple[str, str, str, str], list[tuple[str, Decimal, Decimal]]] = defaultdict(list)
    for source in inputs.sources:
        for charge in source.charges:
            settled, now = decided.get(charge.id), fates.get(charge.id)
            if settled is None or now is None:
                continue
            before = settled.state if settled.state == ChargeState.POSTED else f"{settled.state}: {settled.by}"
            if settled.state in (ChargeState.UNRESOLVED, ChargeState.DIFFERS):
                before = "posted"
            if before != now:
                found[charge.company_name, charge.currency, before, now].append((charge.id, charge.price, charge.cost))
    made = [
        Shift(
            company_name=company,
            currency=currency,
            before=before,
            now=now,
            charges=tuple(id_ for id_, _, _ in charges),
            amount=sum((price for _, price, _ in charges), ZERO),
            cost=sum((cost for _, _, cost in charges), ZERO),
        )
        for (company, currency, before, now), charges in found.items()
    ]
    return tuple(sorted(made, key=lambda one: (-abs(one.amount), one.company_name, one.before, one.now)))


def replan_sentences(found: Sequence[Shift]) -> tuple[str, ...]:
    """What is said at the end of such a plan."""
    if not found:
        return ("Only shown. Today's rules would decide everything as it was decided.",)
    return (
        *(str(shift) for shift in found),
        "Only shown: what was posted, dropped or excluded stays so. To decide a run anew: billingsync undo RUN",
    )


def _fates(plan: Plan) -> dict[str, str]:
    fates: dict[str, str] = {}
    for client in plan.clients:
        fates |= {charge: "posted" for line in client.lines for charge in line.charges}
        fates |= {gone.charge: f"dropped: {gone.modifier}" for gone in client.dropped}
        fates |= {out.charge: f"excluded: {out.rule}" for out in client.excluded}
        fates |= {hold.charge: f"held: {hold.reason}" for hold in client.holds}
    fates |= {out.charge: f"excluded: {out.rule}" for out in plan.unassigned_excluded}
    return fates | {hold.charge: f"held: {hold.reason}" for hold in plan.unassigned_holds}
