"""The charges of a plan that a text may mean: by a part of the charge's id, by invoice, company, client or product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from billingsync.core.bill.names import normalise
from billingsync.core.charge import Charge
from billingsync.core.money import plain
from billingsync.core.states import ChargeState
from billingsync.report.labels import short_charge
from billingsync.run.plan import Planned


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRow:
    """One charge in a list. `fate` says where it ended: to post, posted, held, dropped or excluded, with the reason."""

    charge: str
    company: str
    product: str
    amount: str
    currency: str
    fate: str

    @property
    def short(self) -> str:
        """As much of the charge's id as people need to type."""
        return short_charge(self.charge)

    def as_dict(self) -> dict[str, str]:
        return {
            "charge": self.charge,
            "company_name": self.company,
            "product": self.product,
            "amount": self.amount,
            "currency": self.currency,
            "fate": self.fate,
        }


def charges_like(planned: Planned, text: str) -> list[Charge]:
    """The charge of this very id alone; else those whose id contains the text; else those of the invoice, company,
    client or product of that name, whole names before parts of them."""
    charges = [charge for source in planned.inputs.sources for charge in source.charges]
    wanted, name = text.strip(), normalise(text)
    if not wanted:
        return []
    exact = [charge for charge in charges if charge.id == wanted]
    if exact or (exact := [charge for charge in charges if wanted in charge.id]):
        return exact
    clients = _clients(planned)

    def names(charge: Charge) -> Iterator[str]:
        yield from (charge.sku, charge.product, charge.company_name, charge.company_id or "")
        yield from clients.get(charge.company_id or "", ())

    whole = [one for one in charges if any(wanted == each or (name and name == normalise(each)) for each in names(one))]
    return whole or [one for one in charges if name and any(name in normalise(each) for each in names(one))]


def rows_of(planned: Planned, charges: list[Charge]) -> list[ChargeRow]:
    """One row a charge, in the order of the invoices."""
    fates = _fates(planned)
    return [
        ChargeRow(
            charge=one.id,
            company=one.company_name,
            product=one.product,
            amount=plain(one.price, one.currency),
            currency=one.currency,
            fate=fates.get(one.id) or _settled(planned, one.id),
        )
        for one in charges
    ]


def _clients(planned: Planned) -> Mapping[str, tuple[str, ...]]:
    """Company id -> what its HaloPSA client is called by."""
    return {
        one.company_id: (one.client_name, str(one.client_id or ""), one.company_name)
        for one in planned.plan.clients
        if one.company_id
    }


def _fates(planned: Planned) -> dict[str, str]:
    plan = planned.plan
    found: dict[str, str] = {}
    for client in plan.clients:
        for line in client.lines:
            found |= dict.fromkeys(line.charges, "to post")
        found |= {one.charge: f"dropped: {one.modifier}" for one in client.dropped}
        found |= {one.charge: f"excluded: {one.rule}" for one in client.excluded}
        found |= {one.charge: f"held: {one.reason}" for one in client.holds}
    found |= {one.charge: f"excluded: {one.rule}" for one in plan.unassigned_excluded}
    return found | {one.charge: f"held: {one.reason}" for one in plan.unassigned_holds}


def _settled(planned: Planned, charge: str) -> str:
    settled = planned.inputs.memory.settled.get(charge)
    if settled is None:
        return "stays as it is"
    return "posted" if settled.state == ChargeState.POSTED else f"{settled.state} by an earlier run"
