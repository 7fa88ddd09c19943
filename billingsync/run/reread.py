"""A month that was posted, looked at again: what people have deleted, voided or changed since [N5]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal

from billingsync.core.bill.targets import touched
from billingsync.core.bill.templates import MadeInvoices
from billingsync.core.invoice import Invoice
from billingsync.core.money import ZERO, plain
from billingsync.core.reasons import BILL, RUN
from billingsync.core.remembered import WrittenLine
from billingsync.core.states import LineAction, PostingAction, PostingState
from billingsync.core.steps import Slot, command
from billingsync.run.context import RunContext
from billingsync.run.recover import read_target, record_found
from billingsync.run.tenant import Tenant
from billingsync.store.postings import RecordedPosting


def reread(context: RunContext, tenant: Tenant, keys: Collection[str]) -> tuple[str, ...]:
    """Compares this period's postings of these keys with what HaloPSA has now, a sentence for each that is otherwise.
    Such a posting becomes an alarm, and its charges stay where they are until a person has decided."""
    written = context.ledger.written_lines()
    made = MadeInvoices(tenant.made(written), tenant.templates)
    # What HaloPSA was to charge once, and has, it may have taken off itself [B7].
    current = {(one.invoice_id, one.line_id): one.key for one in written if not (one.once and made.of(one).done)}
    seen = {(one.invoice_id, one.line_id): (one.invoiced, made.of(one).invoices) for one in written}
    news = {place: after for place, (before, after) in seen.items() if set(after) != set(before)}
    if news:
        context.ledger.note_invoiced(context.fence, news, written)
    now = {(one.key, one.ordinal): one for one in written}
    there_still = {one.id for one in tenant.invoices if not one.void}
    unpaid: list[str] = []
    told: list[str] = []
    for row, live in context.ledger.billed_lines(context.period):
        if row.action == PostingAction.UPDATE:
            unpaid += _unpaid(context, made, now, there_still, row, live)
        if row.key not in keys or row.state == PostingState.DIFFERS or not _whole(row, live, current):
            continue
        assert row.invoice_id is not None
        template = row.action == PostingAction.UPDATE
        there = tenant.find(row.invoice_id, template=template) or context.psa.read(row.invoice_id, template=template)
        there = there or Invoice(id=row.invoice_id, client_id=row.client_id, template=template)  # gone
        if template and _written_anew(row, there):
            continue  # by a run that this ledger does not know any more, as after a backup was put back [N6]
        settled = record_found(context, row, there, again=True)
        if settled.state == PostingState.DIFFERS:
            told.append(f"{row.client_name}: {settled.message}")
    return (*unpaid, *told)


_UNDO = command(BILL, "undo", Slot.RUN, "--client", Slot.CLIENT)


def _unpaid(
    context: RunContext,
    made: MadeInvoices,
    now: Mapping[tuple[str, int], WrittenLine],
    there: Collection[int],
    row: RecordedPosting,
    live: Collection[int],
) -> Iterator[str]:
    """A sentence for each invoice that HaloPSA made of this posting's lines on a template, and that nobody has any
    more: what it billed counts as invoiced, and nobody pays it. `now` are the lines as they are, by their marks;
    `there` the invoices that are there for certain."""
    lines: dict[tuple[int, ...], list[tuple[Decimal, str]]] = defaultdict(list)
    amounts = {line.ordinal: line.amount for line in row.lines}
    for one in row.returned_lines:
        line = now.get((row.key, one.ordinal))
        ids = made.of(line).invoices if line is not None else one.invoiced
        # One of them that is there bills the line: the others may have been made by mistake.
        if one.ordinal in live and ids and not any(id_ in there for id_ in ids):
            lines[tuple(ids)].append((amounts[one.ordinal], _otherwise(made, line)))
    for ids, billed in sorted(lines.items()):
        read = [read_target(context, id_, template=False) for id_ in ids]
        if all(one is None or one.void for one in read):
            yield _nobody_pays(row, ids, billed, is_void=any(read))


def _otherwise(made: MadeInvoices, line: WrittenLine | None) -> str:
    """Why an invoice that is made from the template now would not bill the line as it was billed; "" where it would."""
    there = made.on_template(line)[1] if line is not None else None
    if line is None or there is None or there.is_zeroed:
        return "off"
    return "changed" if touched(line, there) else ""


def _nobody_pays(
    row: RecordedPosting, ids: Collection[int], billed: Collection[tuple[Decimal, str]], *, is_void: bool
) -> str:
    """The sentence, with what to do: the invoice is made again where the template can, else what is not there any more
    is undone and billed anew."""
    total = sum((amount for amount, _ in billed), ZERO)
    reasons = {why for _, why in billed}
    again = "create it again from the recurring invoice, before the next month is billed there"
    if "off" in reasons:
        fill = {Slot.RUN: row.run, Slot.CLIENT: str(row.client_id), Slot.PERIOD: row.period}
        step = (
            "Not all of it is on the recurring invoice any more. To have it billed anew type "
            f"{_UNDO.filled(fill).text} and then {RUN.filled(fill).text}"
        )
    elif "changed" in reasons:
        step = f"A person has changed it on the recurring invoice: set it back to what was billed, then {again}."
    else:
        step = f"{again[0].upper()}{again[1:]}."
    return (
        f"{row.client_name}: invoice {' and '.join(map(str, ids))}, which HaloPSA made from recurring invoice "
        f"{abs(row.invoice_id or 0)}, is {'void' if is_void else 'gone from HaloPSA'}, so nobody pays the "
        f"{plain(total, row.currency)} {row.currency} that it billed. {step}"
    )


def _written_anew(row: RecordedPosting, there: Invoice) -> bool:
    """Whether a line of it on a template carries the marker of another posting: of ours, and no person's change."""
    marks = [line.mark for one in row.returned_lines if (line := there.line(one.line_id or 0)) is not None]
    return any(mark is not None and mark.key != row.key and not mark.of_card for mark in marks)


def _whole(row: RecordedPosting, live: Collection[int], current: dict[tuple[int, int], str]) -> bool:
    """Whether every line of it should still be there as it was written: none undone, and none of a template written
    anew or taken off by a later month."""
    if not {line.ordinal for line in row.lines if line.action != LineAction.REMOVE} <= set(live):
        return False
    if row.action != PostingAction.UPDATE:
        return True
    target = row.invoice_id or 0
    return all(current.get((target, one.line_id or 0)) == row.key for one in row.returned_lines)
