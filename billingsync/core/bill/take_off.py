"""Lines of ours that come off a template beside the month's bill: of companies that are not billed there any more [B8],
and what was to be billed once and has been [B7]. Whatever else holds that company then."""

from __future__ import annotations

from dataclasses import replace

from billingsync.core.bill.company import Removal, Work
from billingsync.core.bill.plan import Hold, Stays
from billingsync.core.bill.targets import removal, stays, touched
from billingsync.core.bill.templates import currency_of, not_invoiced
from billingsync.core.inputs import RunInputs, WrittenLine
from billingsync.core.money import ZERO
from billingsync.core.reasons import HOLDS, LEAVE_OUT, Reason
from billingsync.core.steps import Slot, Step, instruction

_BY_HAND = instruction(
    LEAVE_OUT,
    "take our lines off recurring invoice ",
    Slot.INVOICE,
    " in HaloPSA and bill by hand what is due of them, then run ",
    Slot.PERIOD,
    " again",
)


def take_off(work: Work, inputs: RunInputs) -> None:
    """Puts what comes off into `work.removals`; what must stay, and why, into `work.left`."""
    if not work.written:
        return
    month = str(inputs.period)
    decided = {line.line_id for line in work.lines if line.line_id is not None} | {one.line_id for one in work.left}
    templates = {abs(one.id): one for one in inputs.existing if one.template}
    waits: list[WrittenLine] = []
    for line in work.written:
        template = templates.get(abs(line.invoice_id))
        there = template.line(line.line_id) if template is not None else None
        if template is None or there is None or there.inactive or there.quantity == 0 or line.line_id in decided:
            continue
        stranded = is_stranded(work, line) and (line.period < month or not line.live)
        if not stranded and not _is_used_up(work, line):
            continue
        if template.disabled:
            continue  # HaloPSA makes no invoice from it
        if trouble := touched(line, there):
            why = f"line {line.line_id} ({line.title}) should come off, but {trouble.detail}"
            work.left = (*work.left, stays(line, Reason.RECURRING_LEFT_BEHIND, why))
        elif stranded and not_invoiced([line], work.made):
            waits.append(line)
        else:
            gone = replace(removal(line, currency_of(line.recurring_key)), company_id=work.company.id)
            work.removals = (*work.removals, Removal(template=template, line=gone))
    if why := not_invoiced(waits, work.made):
        why = f"its lines must come off, but {why}"
        work.left = (*work.left, stays(waits[0], Reason.RECURRING_NOT_INVOICED, why))


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
                    steps=work.steps(one.reason, {Slot.INVOICE: str(abs(one.invoice_id))}, steps_of(one)),
                )
            )


def steps_of(one: Stays) -> tuple[Step, ...]:
    """What ends it. What waits may be billed by hand instead; all else is taken off by hand anyway."""
    steps = HOLDS[one.reason].steps
    return (*steps, _BY_HAND) if one.reason is Reason.RECURRING_NOT_INVOICED else steps


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


def _is_used_up(work: Work, line: WrittenLine) -> bool:
    return line.once and line.live and work.made.of(line).done
