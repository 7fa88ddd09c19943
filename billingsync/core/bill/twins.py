"""The same thing on two invoices [S10]: which open charge bills again what another invoice bills."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from json.encoder import encode_basestring_ascii

from billingsync.core.bill.plan import TrueUp
from billingsync.core.charge import Charge, Source
from billingsync.core.inputs import RunInputs
from billingsync.core.money import plain
from billingsync.core.remembered import Said
from billingsync.core.states import SET_ASIDE
from billingsync.core.steps import Step

# What may well be there twice, unless amount and quantity are the same too: prorates, one-time charges, and usage.
# Of usage one period has many charges that nothing else tells apart.
_ONCE = frozenset({"prorate", "one-time"})
_USAGE = "arrears"


def twin_key(charge: Charge, period: str) -> str:
    """Equal for twins. Where Pax8 gives no dates of service, the period of the invoice stands for them, and where it
    names no subscription either, only the same to the cent is a twin; "" for a charge of nobody, which has none."""
    if charge.company_id is None:
        return ""
    return _hash([*_what(charge), *(_dates(charge) or [period]), *_amounts(charge)])


def reissue_key(charge: Charge) -> str:
    """Of a charge without dates of service: equal for the same in whatever month. It tells a re-issue in another month
    of an invoice that was credited, and nothing else; "" where there are dates."""
    if charge.company_id is None or _dates(charge):
        return ""
    return _hash(["again", *_what(charge), *_amounts(charge)])


def _what(charge: Charge) -> list[str]:
    what = [charge.subscription_id] if charge.subscription_id else ["", charge.product_id or charge.product, charge.sku]
    payer = "pax8" if charge.billed_by_pax8 else ""  # what Pax8 bills itself is no twin of what it does not
    return [charge.company_id or "", charge.type, charge.currency, payer, *what]


def _dates(charge: Charge) -> list[str]:
    return [charge.start[:10], charge.end[:10]] if charge.start or charge.end else []


def _amounts(charge: Charge) -> list[str]:
    may_repeat = charge.type in _ONCE or charge.term.casefold() == _USAGE
    if not may_repeat and (charge.subscription_id or _dates(charge)):
        return []
    return ["" if charge.quantity is None else plain(charge.quantity), plain(charge.price)]


def _hash(parts: list[str]) -> str:
    text = f"[{','.join(map(encode_basestring_ascii, parts))}]"  # as JSON
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """The charge on another invoice that bills the same: posted already, or billed by this plan."""

    charge: str
    invoice_id: str
    period: str
    invoice_date: date
    posted: bool


def duplicates(inputs: RunInputs, *, as_if_taken_back: bool = False) -> dict[str, Twin]:
    """Open charge -> its twin on another invoice. Of several open ones that of the earliest invoice, by date and then
    by id, is billed, and is in nobody's way. `as_if_taken_back`: without what bills invoices that count no longer."""
    month, settled = str(inputs.period), inputs.memory.settled
    by_key: dict[str, list[Twin]] = defaultdict(list)
    remembered = [one for one in inputs.memory.twins if not (as_if_taken_back and one.invoice_id in inputs.credited)]
    for said in remembered:
        for key in {said.twin, said.reissue if said.invoice_id in inputs.credited else ""} - {""}:
            by_key[key].append(_posted(said))
    if not remembered and len(inputs.sources) < 2:
        return {}  # a twin is on another invoice
    open_charges: list[tuple[Source, Charge, str]] = []
    for source in inputs.sources:
        for charge in source.charges:
            before = settled.get(charge.id)
            if before is not None and before.state in SET_ASIDE:
                continue
            key = twin_key(charge, month)
            if key and before is None:
                open_charges.append((source, charge, key))
            if key:
                by_key[key].append(_of_this_month(source, charge, month, before is not None))
    found = {}
    for source, charge, key in open_charges:
        others = [*by_key[key], *by_key.get(reissue_key(charge), ())]
        if twin := _first_other(source, others):
            found[charge.id] = twin
    return found


def _first_other(source: Source, others: Iterable[Twin]) -> Twin | None:
    """The posted one, else the earliest of those that come before this invoice."""

    def order(one: Twin) -> tuple[bool, date, str]:
        return not one.posted, one.invoice_date, one.invoice_id

    here = (True, source.invoice_date, source.invoice_id)
    before = (one for one in others if one.invoice_id != source.invoice_id and order(one) < here)
    return min(before, key=order, default=None)


def _posted(said: Said) -> Twin:
    return Twin(
        charge=said.charge,
        invoice_id=said.invoice_id,
        period=said.period,
        invoice_date=said.invoice_date,
        posted=True,
    )


def _of_this_month(source: Source, charge: Charge, month: str, posted: bool) -> Twin:
    return Twin(
        charge=charge.id,
        invoice_id=source.invoice_id,
        period=month,
        invoice_date=source.invoice_date,
        posted=posted,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Why a charge waits for its twin, and what a person may do where that is not what the reason says."""

    detail: str
    steps: tuple[Step, ...] = ()


def by_itself(twin: Twin) -> Waiting:
    """A twin on an invoice that counts: a person says whether it is the same thing twice."""
    billed = "is billed already" if twin.posted else "is billed by this plan"
    return Waiting(
        detail=f"the same is on Pax8's invoice {twin.invoice_id} of {twin.period}, and {billed}: charge {twin.charge}"
    )


def by_true_up(twin: Twin, up: TrueUp) -> Waiting:
    """A twin on an older invoice that Pax8 credited: it is taken back when this is billed [R2]."""
    detail = f"it comes in the place of charge {twin.charge}, billed in {twin.period}: {up.detail}"
    return Waiting(detail=detail, steps=up.steps)


def recognised(
    sources: Iterable[Source], known: Mapping[str, object], aliases: Mapping[str, str]
) -> tuple[Source, ...]:
    """The sources with each charge called as the ledger called it first [S5]. `known` has the charges that the ledger
    knows, `aliases` what earlier versions called a charge, by what it is called today."""
    found = []
    for source in sources:
        charges = tuple(_called(charge, known, aliases) for charge in source.charges)
        found.append(source if charges == source.charges else replace(source, charges=charges))
    return tuple(found)


def _called(charge: Charge, known: Mapping[str, object], aliases: Mapping[str, str]) -> Charge:
    if not charge.former_id or charge.id in known:
        return charge
    name = charge.former_id if charge.former_id in known else aliases.get(charge.id, charge.id)
    return replace(charge, id=name) if name != charge.id else charge
