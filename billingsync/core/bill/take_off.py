"""Lines of ours that come off a template beside the month's bill: of companies that are not billed there any more [B8],
and what was to be billed once and has been [B7]. Whatever else holds that company then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from billingsync.core.bill.company import Removal, Work
from billingsync.core.bill.plan import Hold, Stays
from billingsync.core.bill.targets import removal, stays, touched
from billingsync.core.bill.templates import amount_of, currency_of, not_invoiced
from billingsync.core.inputs import RunInputs
from billingsync.core.invoice import Invoice, InvoiceLine
from billingsync.core.money import ZERO, plain
from billingsync.core.reasons import BILL, EXCLUDE_COMPANY, HOLDS, LEAVE_OUT, WAIT, Reason
from billingsync.core.remembered import WrittenLine
from billingsync.core.steps import Slot, Step, instruction

_BY_HAND = instruction(
    LEAVE_OUT,
    "take our lines for ",
    Slot.COMPANY,
    " off recurring invoice ",
    Slot.INVOICE,
    " in HaloPSA and bill by hand what is due of them, then run ",
    Slot.PERIOD,
    " again",
)


def take_off(work: Work, inputs: RunInputs) -> None:
    """Puts what comes off into `work.removals`; what must stay, and why, into `work.left`."""
    decided = {line.line_id for line in work.lines if line.line_id is not None} | {one.line_id for one in work.left}
    found = comes_off(work, inputs, decided)
    work.left, work.removals = (*work.left, *found.left), (*work.removals, *found.removals)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComesOff:
    """The company's lines that have no place on a template any more: those that may go, and those that must stay."""

    removals: tuple[Removal, ...] = ()
    left: tuple[Stays, ...] = ()


def comes_off(work: Work, inputs: RunInputs, decided: Collection[int] = ()) -> ComesOff:
    """What comes off, but for lines of these ids, of which the month's bill decides."""
    if not work.written:
        return ComesOff()
    month = str(inputs.period)
    waits: list[WrittenLine] = []
    left: list[Stays] = []
    removals: list[Removal] = []
    for line in work.written:
        template, there = _on_template(work, line)
        if template is None or there is None or line.line_id in decided:
            continue
        stranded = is_stranded(work, line) and (line.period < month or not line.live)
        if not stranded and not _is_used_up(work, line):
            continue
        if template.disabled:
            continue  # HaloPSA makes no invoice from it
        if trouble := touched(line, there):
            why = f"line {line.line_id} ({line.title}) should come off, but {trouble.detail}"
            left.append(stays(line, Reason.RECURRING_LEFT_BEHIND, why))
        elif stranded and not_invoiced([line], work.made):
            waits.append(line)
        else:
            gone = replace(removal(line, currency_of(line.recurring_key)), company_id=work.company.id)
            removals.append(Removal(template=template, line=gone))
    if why := not_invoiced(waits, work.made):
        left.append(stays(waits[0], Reason.RECURRING_NOT_INVOICED, f"its lines must come off, but {why}"))
    return ComesOff(removals=tuple(removals), left=tuple(left))


def hold_what_stays(work: Work) -> None:
    """A hold for each line that stays although nothing stands behind it, where no charge says so already. It carries no
    money of this month: what waits was charged, and counted, in the month that its text names."""
    told = " ".join(hold.detail for hold in work.holds)
    for one in work.left:
        if one.text not in told:
            work.holds.append(
                Hold(
                    charge=f"line {one.line_id} of recurring invoice {abs(one.invoice_id)}",
                    reason=one.reason,
                    amount=ZERO,
                    cost=ZERO,
                    product="Lines on a recurring invoice",
                    currency=one.currency,
                    detail=one.text,
                    no_charge=True,
                    steps=work.steps(one.reason, {Slot.INVOICE: str(abs(one.invoice_id))}, steps_of([one])),
                )
            )


def steps_of(left: Sequence[Stays]) -> tuple[Step, ...]:
    """What ends it. What waits may be billed by hand instead; a line that a person changed is taken off by hand."""
    if own := next((one.steps for one in left if one.steps), ()):
        return own
    by_template: dict[int, list[str]] = defaultdict(list)
    for one in left:
        if one.reason is Reason.RECURRING_LEFT_BEHIND:
            by_template[abs(one.invoice_id)].append(str(one.line_id))
    changed = " and ".join(
        f"remove line{'s' if len(lines) > 1 else ''} {', '.join(lines)} from recurring invoice {template}"
        for template, lines in by_template.items()
    )
    if all(one.reason is Reason.RECURRING_LEFT_BEHIND for one in left):
        return (instruction(BILL, f"{changed} in HaloPSA"),)
    if not changed:
        return (*HOLDS[Reason.RECURRING_NOT_INVOICED].steps, _BY_HAND)
    create: tuple[str | Slot, ...] = ("create the invoice from recurring invoice ", Slot.INVOICE, " in HaloPSA")
    both = instruction(WAIT, *create, f", {changed}, then run ", Slot.PERIOD, " again")
    return (both, _BY_HAND)


def is_stranded(work: Work, line: WrittenLine) -> bool:
    """Whether the company is not billed on this template any more, by a decision and not only because it waits."""
    if work.is_excluded:
        return True
    if work.match.client is None or work.match.reason is not None:
        return False
    invoice = work.rules.invoice
    if invoice.behavior != "recurring":
        return True
    return invoice.recurring_invoice is not None and abs(line.invoice_id) != abs(invoice.recurring_invoice)


def _on_template(work: Work, line: WrittenLine) -> tuple[Invoice, InvoiceLine] | tuple[None, None]:
    """The template and the line on it as they are now, where the line bills somebody."""
    template, there = work.made.on_template(line)
    if template is None or there is None or there.inactive or there.quantity == 0:
        return None, None
    return template, there


def may_come_yet(work: Work, inputs: RunInputs) -> Stays | None:
    """Why the lines of a company without a charge must stay: the invoice of whom billed it last is not there, and may
    charge it yet [B8]. None where it has left, or was never billed here, or by a decision is not any more."""
    here = {source.partner_name for source in inputs.sources}
    billed = inputs.memory.left.get(work.company.id)
    missing = [name for name in billed.partner_names if name not in here] if billed is not None else []
    if billed is None or not missing or billed.period >= work.period:
        return None  # what this month billed and took back again, nobody waits for
    standing = []
    for line in work.written:
        template, _ = _on_template(work, line)
        if template is not None and not template.disabled and line.live and not _is_used_up(work, line):
            standing.append(line)
    if not standing or any(line.period >= work.period for line in standing):
        return None
    if any(is_stranded(work, line) for line in standing) or not_invoiced(standing, work.made):
        return None
    currency = currency_of(standing[0].recurring_key)
    amount = sum((amount_of(line) for line in standing), ZERO)
    whose = " and ".join(map(repr, missing))
    why = (
        f"it has no charge, and Pax8's invoice of {whose}, which billed it in {billed.period}, is not there yet: "
        f"{plain(amount, currency)} {currency} stays on recurring invoice {abs(standing[0].invoice_id)}, and HaloPSA "
        "goes on billing it"
    )
    run = instruction(WAIT, f"wait for Pax8's invoice of {whose}, then run ", Slot.PERIOD, " again")
    return replace(stays(standing[0], Reason.RECURRING_LEFT_BEHIND, why), steps=(run, EXCLUDE_COMPANY))


def _is_used_up(work: Work, line: WrittenLine) -> bool:
    return line.once and line.live and work.made.of(line).done
