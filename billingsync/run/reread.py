"""A month that was posted, looked at again: what people have deleted, voided or changed since [N5]."""

from __future__ import annotations

from collections.abc import Collection

from billingsync.core.bill.templates import MadeInvoices
from billingsync.core.invoice import Invoice
from billingsync.core.remembered import WrittenLine
from billingsync.core.states import LineAction, PostingAction, PostingState
from billingsync.run.context import RunContext
from billingsync.run.recover import record_found
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
        context.ledger.note_invoiced(context.fence, news)
    told = _deleted(context, tenant, [(one, made.of(one).invoices) for one in written if _still_there(made, one)])
    for row, live in context.ledger.billed_lines(context.period):
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
    return tuple(told)


def _still_there(made: MadeInvoices, line: WrittenLine) -> bool:
    there = made.on_template(line)[1]
    return there is not None and not there.is_zeroed


def _deleted(context: RunContext, tenant: Tenant, billed: Collection[tuple[WrittenLine, Collection[int]]]) -> list[str]:
    """A sentence for each invoice that HaloPSA made of this period's lines on templates, and that nobody has any more:
    what it billed counts as invoiced, and nobody pays it. `billed` are lines that are still on their template, so that
    it can be made again, with the invoices that are known to bill each."""
    period = str(context.period)
    there = {one.id for one in tenant.invoices}
    # One of them that is there bills the line: the others may have been made by mistake.
    mine = [(line, ids) for line, ids in billed if line.period == period and ids and not there.intersection(ids)]
    told = []
    for invoice_id in sorted({id_ for _, ids in mine for id_ in ids}):
        if context.psa.read(invoice_id, template=False) is not None:
            continue
        lines = [line for line, ids in mine if invoice_id in ids]
        names = sorted({context.ledger.posting(line.key).client_name for line in lines})
        made_from = sorted({abs(line.invoice_id) for line in lines})
        told.append(
            f"{', '.join(names)}: invoice {invoice_id}, which HaloPSA made from recurring invoice "
            f"{', '.join(map(str, made_from))}, is gone from HaloPSA, so nobody pays what it billed. Create it again "
            "from the recurring invoice, before the next month is billed there."
        )
    return told


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
