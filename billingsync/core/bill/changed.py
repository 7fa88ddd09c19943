"""What a counted invoice said stays said [S9]: invoices that were billed and list other items now."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from billingsync.core.bill.parts import sold
from billingsync.core.charge import Charge
from billingsync.core.inputs import RunInputs
from billingsync.core.money import ZERO, plain
from billingsync.core.remembered import Said


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One company on one invoice: what is billed of it, and what the invoice says now."""

    invoice_id: str
    company_id: str
    billed: tuple[Said, ...]
    now: tuple[Charge, ...]

    @property
    def detail(self) -> str:
        """Both sides in words."""
        return f"billed is {_listed(self.billed)}; the invoice now says {_listed(self.now)}"


def changes(inputs: RunInputs) -> tuple[Changed, ...]:
    """Companies of which something is billed from an invoice that now lists other items for them: one is gone, or has
    another amount, or is new. What was only held or left out then may change: it is on no line."""
    said: dict[str, list[Said]] = defaultdict(list)
    for one in inputs.memory.said:
        said[one.invoice_id].append(one)
    found = []
    for source in inputs.sources:
        before = said.get(source.invoice_id)
        if not before or not any(one.live for one in before):
            continue
        ids = {one.charge for one in before}
        companies: dict[str, _Sides] = defaultdict(_Sides)
        for one in before:
            companies[one.company_id].before.append(one)
        for charge in source.charges:
            if charge.company_id in companies:
                companies[charge.company_id].now.append(charge)
        for company_id, sides in sorted(companies.items()):
            if sides.differ(ids, inputs.memory.settled):
                billed = tuple(one for one in sides.before if one.live)
                found.append(
                    Changed(invoice_id=source.invoice_id, company_id=company_id, billed=billed, now=tuple(sides.now))
                )
    return tuple(found)


@dataclass(slots=True)
class _Sides:
    before: list[Said] = field(default_factory=list)
    now: list[Charge] = field(default_factory=list)

    def differ(self, known: set[str], settled: Mapping[str, object]) -> bool:
        billed = [one for one in self.before if one.live]
        if not billed:
            return False
        here = {charge.id: charge for charge in self.now}
        for one in billed:
            there = here.get(one.charge)
            if there is None or (there.price, there.cost, there.currency) != (one.price, one.cost, one.currency):
                return True
        # An item that waited then may have been corrected since, and have another identity by that.
        waited = Counter((one.sold, one.type) for one in self.before if not one.live and one.charge not in here)
        new = Counter(
            (sold(charge)[1], charge.type) for charge in self.now if charge.id not in known and charge.id not in settled
        )
        return bool(new - waited)


def _listed(charges: Sequence[Said] | Sequence[Charge]) -> str:
    """Up to three of them, and what all of them come to."""
    if not charges:
        return "nothing"
    shown = ", ".join(f"{one.product:.40} {plain(one.price, one.currency)}" for one in charges[:3])
    more = f" and {len(charges) - 3} more" if len(charges) > 3 else ""
    total = sum((one.price for one in charges), ZERO)
    return f"{plain(total, charges[0].currency)} {charges[0].currency} ({shown}{more})"
