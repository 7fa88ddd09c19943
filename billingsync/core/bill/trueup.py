"""True-up [R2]: Pax8 credited an invoice that is billed. What must be taken back, what comes instead, the net.

A posting is taken back whole, so what else it billed is open again and is billed anew with the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from billingsync.core.bill.company import Work
from billingsync.core.bill.plan import PlanLine, TakenBack, TrueUp
from billingsync.core.charge import Source
from billingsync.core.inputs import LivePosting, RunInputs, Settled
from billingsync.core.money import ZERO, plain
from billingsync.core.reasons import HOLDS, RUN, WAIT, Reason
from billingsync.core.steps import Slot, Step, command

AFTER_ANOTHER = "another true-up of the same client must be settled first"
WITHOUT_CLIENT = command(WAIT, "plan", Slot.PERIOD)  # of all clients


def invoice_of(charge_id: str) -> str:
    """The Pax8 invoice of a charge, by the charge's identity [S5]."""
    return charge_id.partition(":")[0]


def to_take_back(live: Sequence[LivePosting], sources: Sequence[Source]) -> tuple[LivePosting, ...]:
    """The postings that bill a charge of an invoice that counts no longer."""
    counted = {source.invoice_id for source in sources}
    return tuple(one for one in live if any(invoice_of(charge) not in counted for charge in one.charges))


def true_ups(inputs: RunInputs, works: Sequence[Work]) -> tuple[TrueUp, ...]:
    """One for each client and currency that was billed from a credited invoice; what to add is not in it yet."""
    affected: dict[tuple[int, str], list[LivePosting]] = defaultdict(list)
    for posting in to_take_back(inputs.memory.live, inputs.sources):
        affected[posting.client_id, posting.currency].append(posting)
    counted = {source.invoice_id for source in inputs.sources}
    asked = set(inputs.clients_asked)
    found = []
    for (client_id, currency), postings in sorted(affected.items()):
        companies = frozenset().union(*(posting.companies for posting in postings))
        if asked and not (
            asked & companies or any(work.client_id == client_id and work.company.id in asked for work in works)
        ):
            continue
        gone = {invoice_of(charge) for posting in postings for charge in posting.charges} - counted
        up = TrueUp(
            client_id=client_id,
            client_name=postings[0].client_name,
            companies=tuple(sorted(companies)),
            currency=currency,
            credited=tuple(sorted(gone)),
            postings=tuple(_taken(posting, inputs) for posting in postings),
            take_back=sum((posting.price for posting in postings), ZERO),
            take_back_cost=sum((posting.cost for posting in postings), ZERO),
            add=ZERO,
            add_cost=ZERO,
            state="held",
        )
        if blocked := _blocked(up, postings, inputs, asked):
            why, step = blocked
            up = replace(up, state="blocked", detail=why, steps=(step.filled({Slot.PERIOD: str(inputs.period)}),))
        elif _allowed(up, works, inputs):
            up = replace(up, state="approved")
        found.append(up)
    return tuple(found)


def _taken(posting: LivePosting, inputs: RunInputs) -> TakenBack:
    known = next((one for one in inputs.existing if one.id == posting.invoice_id), None)
    closed = "" if known is None or known.template else known.closed
    return TakenBack(key=posting.key, invoice_id=posting.invoice_id, closed=closed)


def _blocked(
    up: TrueUp, postings: Sequence[LivePosting], inputs: RunInputs, asked: Collection[str]
) -> tuple[str, Step] | None:
    """Why nobody may take this back now, and what ends that; None where a person may."""
    if missing := sorted(set(up.credited) - inputs.credited):
        return f"Pax8 lists invoice {missing[0]} no more, which is billed, and does not say that it is credited", RUN
    if any(posting.state != "posted" for posting in postings):
        return "whether HaloPSA has all that was sent for this client is not certain", RUN
    if asked and not set(up.companies) <= set(asked):
        return "its invoices bill another company too, which --client leaves out", WITHOUT_CLIENT
    return None


def _allowed(up: TrueUp, works: Sequence[Work], inputs: RunInputs) -> bool:
    """Whether a person has approved it, or the rules of all whom it concerns allow it and the new invoice is there."""
    if _by_person(up, inputs):
        return True
    billed = {invoice_of(charge) for posting in inputs.memory.live for charge in posting.charges}
    reissued = any(source.invoice_id not in billed for source in inputs.sources)
    rules = [work.rules for work in works if concerns(up, work)]
    return reissued and bool(rules) and all(each.approval.true_up == "post" for each in rules)


def _by_person(up: TrueUp, inputs: RunInputs) -> bool:
    return up.client_id in inputs.memory.approved or not inputs.memory.approved.isdisjoint(up.companies)


def agreed(ups: Sequence[TrueUp], trials: Sequence[Work], inputs: RunInputs) -> tuple[TrueUp, ...]:
    """A bill is taken back only together with what comes in its place. So the rules' leave ends where anything of that
    is held (a person sees the numbers and may go on); and nothing happens while another true-up of the same companies
    waits, as their charges wait then, too."""
    found = [
        replace(up, state="held")
        if up.state == "approved" and not _by_person(up, inputs) and any(t.holds for t in trials if concerns(up, t))
        else up
        for up in ups
    ]
    while waiting := [up for up in found if up.state != "approved"]:
        stuck = [up for up in found if up.state == "approved" and any(_shared(up, one, trials) for one in waiting)]
        if not stuck:
            break
        names = {Slot.CLIENT: waiting[0].client_name}
        steps = tuple(step.filled(names) for step in HOLDS[Reason.SOURCE_REPLACED].steps)
        found = [
            replace(up, state="blocked", detail=AFTER_ANOTHER, steps=waiting[0].steps or steps) if up in stuck else up
            for up in found
        ]
    return tuple(found)


def _shared(one: TrueUp, other: TrueUp, trials: Sequence[Work]) -> bool:
    return one.client_id == other.client_id or any(concerns(one, t) and concerns(other, t) for t in trials)


def concerns(up: TrueUp, work: Work) -> bool:
    """Whether a company's charges wait for a true-up: by who was billed then, and by who would be billed now."""
    return work.company.id in up.companies or work.client_id == up.client_id


def opened(settled: Mapping[str, Settled], ups: Sequence[TrueUp], live: Sequence[LivePosting]) -> dict[str, Settled]:
    """What is settled once these true-ups have been taken back."""
    keys = {posting.key for up in ups for posting in up.postings}
    free = {charge for posting in live if posting.key in keys for charge in posting.charges}
    return {charge: each for charge, each in settled.items() if charge not in free}


def with_what_comes(up: TrueUp, lines: Sequence[PlanLine]) -> TrueUp:
    """The true-up with what comes instead, and with what to type where a person may allow it."""
    up = replace(up, add=sum((line.amount for line in lines), ZERO), add_cost=sum((line.cost for line in lines), ZERO))
    if up.state == "held":
        names = {Slot.CLIENT: up.client_name}
        steps = tuple(step.filled(names) for step in HOLDS[Reason.SOURCE_REPLACED].steps)
        return replace(up, detail=wording(up), steps=steps)
    return up


def wording(up: TrueUp) -> str:
    """The true-up as one sentence."""
    currency = up.currency
    which = ", ".join(up.credited[:3])
    return (
        f"Pax8 credited its invoice {which}, which is billed: take back {plain(up.take_back, currency)}, "
        f"add {plain(up.add, currency)}, net {plain(up.net, currency)} {currency}"
    )
