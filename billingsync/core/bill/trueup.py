"""True-up [R2]: Pax8 credited an invoice that is billed. What must be taken back, what comes instead, the net.

A posting is taken back whole, so what else it billed is open again and is billed anew with the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from billingsync.core.bill.changed import Changed
from billingsync.core.bill.company import Work, names_of_payers
from billingsync.core.bill.plan import TakenBack, TrueUp
from billingsync.core.bill.templates import MadeInvoices
from billingsync.core.bill.twins import Twin
from billingsync.core.decisions import swapped
from billingsync.core.inputs import RunInputs
from billingsync.core.money import ZERO, plain
from billingsync.core.reasons import RUN, WAIT, ApproveAs, approve
from billingsync.core.remembered import LivePosting, Settled
from billingsync.core.states import ChargeState, SourceChange, TrueUpState
from billingsync.core.steps import Slot, Step, command

AFTER_ANOTHER = "another true-up of the same client must be settled first"
WITHOUT_CLIENT = command(WAIT, "plan", Slot.PERIOD)  # of all clients


def invoice_of(charge_id: str) -> str:
    """The Pax8 invoice of a charge, by the charge's identity [S5]."""
    return charge_id.partition(":")[0]


def to_take_back(inputs: RunInputs, altered: Sequence[Changed] = ()) -> tuple[LivePosting, ...]:
    """The postings that bill a charge of an invoice that counts no longer, or that says something else now."""
    return tuple(one for one in inputs.memory.live if _gone(one, inputs) or _is_altered(one, altered))


def _gone(posting: LivePosting, inputs: RunInputs) -> frozenset[str]:
    """The invoices that a posting bills and that count no longer."""
    counted = {source.invoice_id for source in inputs.sources}
    mine = frozenset(invoice_of(charge) for charge in posting.charges)
    return mine - counted if posting.period in ("", str(inputs.period)) else mine & inputs.credited


def _is_altered(posting: LivePosting, altered: Sequence[Changed]) -> bool:
    return any(one.charge in posting.charges for each in altered for one in each.billed)


def true_ups(
    inputs: RunInputs, works: Sequence[Work], altered: Sequence[Changed], twins: Mapping[str, Twin]
) -> tuple[TrueUp, ...]:
    """One for each client, currency and period that was billed from an invoice that is gone or says something else;
    what to add is not in it yet."""
    month = str(inputs.period)
    affected: dict[tuple[int, str, str], list[LivePosting]] = defaultdict(list)
    for posting in to_take_back(inputs, altered):
        affected[posting.client_id, posting.currency, posting.period or month].append(posting)
    asked = set(inputs.clients_asked)
    if not affected:
        return ()
    names = names_of_payers(inputs, works)
    found = []
    for (client_id, currency, period), postings in sorted(affected.items()):
        companies = frozenset().union(*(posting.companies for posting in postings))
        if asked and not (
            asked & companies or any(work.client_id == client_id and work.company.id in asked for work in works)
        ):
            continue
        gone = frozenset().union(*(_gone(posting, inputs) for posting in postings))
        mine = [each for each in altered if any(_is_altered(posting, [each]) for posting in postings)]
        billed = frozenset().union(*(posting.charges for posting in postings))
        up = TrueUp(
            client_id=client_id,
            client_name=postings[0].client_name,
            companies=tuple(sorted(companies)),
            currency=currency,
            credited=tuple(sorted(gone or {each.invoice_id for each in mine})),
            postings=tuple(_taken(posting, inputs) for posting in postings),
            take_back=sum((posting.price for posting in postings), ZERO),
            take_back_cost=sum((posting.cost for posting in postings), ZERO),
            add=ZERO,
            add_cost=ZERO,
            state=TrueUpState.HELD,
            detail="; ".join(f"{each.invoice_id}: {each.detail}" for each in mine) if not gone else "",
            period=period,
            older=period != month,
            kind=SourceChange.CREDITED if gone else SourceChange.CHANGED,
            waits=frozenset(id_ for id_, twin in twins.items() if period != month and twin.charge in billed),
            called=names.called(postings[0].client_name, str(client_id)),
        )
        if blocked := _blocked(up, postings, inputs, asked):
            why, step = blocked
            up = replace(up, state=TrueUpState.BLOCKED, detail=why, steps=(step,))
        elif client_id not in inputs.memory.not_taken_back and _allowed(up, works, inputs):
            up = replace(up, state=TrueUpState.APPROVED)
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
    month = {Slot.PERIOD: str(inputs.period)}
    if any(posting.state != ChargeState.POSTED for posting in postings):
        return "whether HaloPSA has all that was sent for this client is not certain", RUN.filled(month)
    if asked and not set(up.companies) <= set(asked):
        return "its invoices bill another company too, which --client leaves out", WITHOUT_CLIENT.filled(month)
    if up.older:
        others = {invoice_of(charge) for posting in postings for charge in posting.charges} - set(up.credited)
        if others:
            why = (
                f"what bills it in {up.period} bills Pax8's invoice {min(others)} too, which counts: settle it in the "
                f"plan of {up.period}"
            )
            return why, WITHOUT_CLIENT.filled({Slot.PERIOD: up.period})
    return None


def _allowed(up: TrueUp, works: Sequence[Work], inputs: RunInputs) -> bool:
    """Whether the rules of all whom it concerns allow it and the new invoice is there, or it was begun already. An
    invoice that says something else now always waits for a person [S9]."""
    if _begun(up, inputs):
        return True
    if up.kind == SourceChange.CHANGED:
        return False
    if up.older:
        reissued = bool(up.waits)
    else:
        billed = {invoice_of(charge) for posting in inputs.memory.live for charge in posting.charges}
        reissued = any(source.invoice_id not in billed for source in inputs.sources)
    rules = [work.rules for work in works if concerns(up, work)]
    return reissued and bool(rules) and all(each.approval.true_up == "post" for each in rules)


def _begun(up: TrueUp, inputs: RunInputs) -> bool:
    return up.client_id in inputs.memory.approved or not inputs.memory.approved.isdisjoint(up.companies)


def agreed(ups: Sequence[TrueUp], trials: Sequence[Work], inputs: RunInputs) -> tuple[TrueUp, ...]:
    """A bill is taken back only together with what comes in its place. So the rules' leave ends where anything of that
    is held (a person sees the numbers and may go on); and nothing happens while another true-up of the same companies
    waits, as their charges wait then, too."""
    found = [
        told(replace(up, state=TrueUpState.HELD))
        if up.state == TrueUpState.APPROVED
        and not (up.approved_by or _begun(up, inputs))
        and any(_waits_there(up, t) for t in trials)
        else up
        for up in ups
    ]
    while waiting := [up for up in found if up.state != TrueUpState.APPROVED]:
        stuck = [
            up for up in found if up.state == TrueUpState.APPROVED and any(_shared(up, one, trials) for one in waiting)
        ]
        if not stuck:
            break
        steps = waiting[0].steps
        found = [
            replace(up, state=TrueUpState.BLOCKED, detail=AFTER_ANOTHER, steps=steps) if up in stuck else up
            for up in found
        ]
    return tuple(found)


def _waits_there(up: TrueUp, trial: Work) -> bool:
    """Whether something that comes in the place of what is taken back would have to wait."""
    if up.older:
        return any(hold.charge in up.waits for hold in trial.holds)
    return bool(trial.holds) and concerns(up, trial)


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


def once_taken_back(inputs: RunInputs, ups: Sequence[TrueUp]) -> tuple[RunInputs, frozenset[str]]:
    """The month once all of this was taken back, and the keys of postings whose lines, which wait on a template, come
    off it then: they stand in nobody's way any more."""
    if not ups:
        return inputs, frozenset()
    memory = inputs.memory
    settled = opened(memory.settled, ups, memory.live)
    keys = {posting.key for up in ups for posting in up.postings}
    mine = [line for line in memory.written_lines if line.key in keys]
    made = MadeInvoices(inputs.made, inputs.existing) if mine else None
    off = {(line.invoice_id, line.line_id) for line in mine if made is not None and not made.of(line).done}
    memory = replace(
        memory,
        settled=settled,
        written_lines=tuple(line for line in memory.written_lines if (line.invoice_id, line.line_id) not in off),
        taken_back=memory.taken_back | {up.client_id for up in ups if not up.older},
    )
    freed = frozenset(line.key for line in mine if (line.invoice_id, line.line_id) in off)
    return replace(inputs, memory=memory), freed


def with_what_comes(up: TrueUp, trials: Sequence[Work], inputs: RunInputs) -> TrueUp:
    """The true-up with what comes instead, approved where a person has agreed to just that, else with what to type.
    `trials` are the companies as they would be billed once it was taken back."""
    comes = True
    if up.older and up.waits:
        billed = {charge for trial in trials for line in trial.lines for charge in line.charges} & up.waits
        coming = [charge for trial in trials for charge in trial.charges if charge.id in billed]
        add = (sum((charge.price for charge in coming), ZERO), sum((charge.cost for charge in coming), ZERO))
        comes = bool(coming)
    elif up.older:
        add, comes = (ZERO, ZERO), False  # nothing of this month comes in its place
    else:
        mine = [trial for trial in trials if concerns(up, trial) and trial.currency == up.currency]
        lines = [line for trial in mine for line in trial.lines]
        add = (sum((line.amount for line in lines), ZERO), sum((line.cost for line in lines), ZERO))
        comes = any(line.charges for line in lines)
    up = replace(up, add=add[0], add_cost=add[1], replaced=comes)
    if up.state != TrueUpState.HELD:
        return up
    client, sums = (str(up.client_id), up.currency), (up.take_back, up.add)
    ruling = swapped(inputs.memory.approvals, approved_as(up), client, sums, (one.key for one in up.postings))
    if ruling.by and up.client_id not in inputs.memory.not_taken_back:
        return replace(up, state=TrueUpState.APPROVED, approved_by=ruling.by.who)
    return told(up, ruling.lapsed)


def approved_as(up: TrueUp) -> ApproveAs:
    """How a person approves it; a credit with nothing in its place is a decision of its own [R2]."""
    if up.kind == SourceChange.CHANGED:
        return ApproveAs.SOURCE_CHANGED
    return ApproveAs.TRUE_UP if up.replaced else ApproveAs.CREDIT_ONLY


def told(up: TrueUp, lapsed: str = "") -> TrueUp:
    """A held true-up in words, with the one step that settles it."""
    step = approve(approved_as(up)).filled({Slot.CLIENT: up.called})
    return replace(up, detail="; ".join(filter(None, (wording(up), lapsed))), steps=(step,))


def wording(up: TrueUp) -> str:
    """The true-up as one sentence."""
    currency = up.currency
    which = ", ".join(up.credited[:3])
    happened = f"Pax8 credited its invoice {which}, which is billed"
    if up.kind == SourceChange.CHANGED:
        happened = f"Pax8's invoice {up.detail}"
    elif up.older:
        happened = f"Pax8 credited its invoice {which}, which is billed in {up.period}"
    return (
        f"{happened}: take back {plain(up.take_back, currency)}, "
        f"add {plain(up.add, currency)}, net {plain(up.net, currency)} {currency}"
    )
