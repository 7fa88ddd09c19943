"""What HaloPSA has that was billed and then credited, of which a ledger that was put back knows nothing [N6] [R5]."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from billingsync.core.bill.plan import Posting
from billingsync.core.bill.postings import key_of
from billingsync.core.charge import Charged
from billingsync.core.invoice import Invoice, InvoiceLine
from billingsync.core.states import PostingAction, RunState
from billingsync.run.context import RunContext
from billingsync.run.credited import CREDIT_FOR, credit_key, credit_of
from billingsync.store.postings import ARRIVED

MOST_GENERATIONS = 9  # of one posting or credit that a ledger may have forgotten

_OF_INVOICE = re.compile(re.escape(CREDIT_FOR) + r"(\d+): ", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credited:
    """A posting of ours on a closed invoice, and the credit that takes these lines of it back, as HaloPSA has both."""

    key: str
    lines: tuple[int, ...]  # ordinals
    invoice: Invoice
    credit: Invoice
    credit_key: str
    generation: int

    @property
    def whole(self) -> bool:
        """Whether nothing of the posting bills anybody any more."""
        return {mark.ordinal for mark in self.invoice.live_marks if mark.key == self.key} <= set(self.lines)


def credited_in(invoices: Iterable[Invoice]) -> tuple[Credited, ...]:
    """The credits among these invoices of which one carries what they credit; their keys prove it."""
    by_id = {one.id: one for one in invoices if not one.template and not one.void and not one.is_copy}
    found = []
    for credit in by_id.values():
        for key, lines in _by_key(credit).items():
            said = {match[1] for line in lines if (match := _OF_INVOICE.match(line.text))}
            of = by_id.get(int(said.pop())) if len(said) == 1 else None
            if of is not None and (proven := _proven(of, credit, key, [_credited_text(line) for line in lines])):
                found.append(proven)
    return tuple(found)


def _by_key(invoice: Invoice) -> Mapping[str, list[InvoiceLine]]:
    """The lines of ours on an invoice that bill somebody, in the order in which they were sent."""
    lines: dict[str, list[tuple[int, InvoiceLine]]] = defaultdict(list)
    for line in invoice.lines:
        if line.mark is not None and not line.is_zeroed and not line.mark.of_card:
            lines[line.mark.key].append((line.mark.ordinal, line))
    return {key: [line for _, line in sorted(some, key=lambda each: each[0])] for key, some in lines.items()}


def _credited_text(line: InvoiceLine) -> str:
    return line.text.partition(": ")[2]


def _proven(of: Invoice, credit: Invoice, credit_mark: str, texts: Sequence[str]) -> Credited | None:
    for key, lines in _by_key(of).items():
        left = list(texts)
        chosen = [line for line in lines if left and line.text == left[0] and left.pop(0) is not None]
        for some in (chosen, lines):
            ordinals = tuple(line.mark.ordinal for line in some if line.mark)
            base = credit_key(key, ordinals)
            for generation in range(MOST_GENERATIONS + 1):
                if ordinals and key_of(base, generation) == credit_mark:
                    return Credited(
                        key=key,
                        lines=ordinals,
                        invoice=of,
                        credit=credit,
                        credit_key=credit_mark,
                        generation=generation,
                    )
    return None


Write = Callable[[RunContext, Posting, Mapping[str, Charged], Invoice | None], object]


def adopt_credited(
    context: RunContext,
    found: Iterable[tuple[Posting | None, Credited]],
    charges: Mapping[str, Charged],
    write: Write,
) -> None:
    """Records a posting as it was posted, in a run of its own, and its credit in another; a posting that the ledger
    knows is None. Nothing is sent: HaloPSA has both."""
    for posting, credited in found:
        if posting is not None:
            with_run = _run(context)
            created = posting.action is PostingAction.CREATE  # of an existing invoice a list does not show all
            write(with_run, posting, charges, credited.invoice if created else None)
            context.ledger.finish_run(context.fence, with_run.run, RunState.COMPLETE, {}, context.now())
        row = context.ledger.find_posting(credited.key)
        if row is None or row.state not in ARRIVED:
            continue
        lines = [line for line in row.lines if line.ordinal in credited.lines]
        with_run = _run(context)
        write(with_run, credit_of(row, lines, credited.generation), {}, credited.credit)
        known = context.ledger.find_posting(credited.credit_key)
        well = known is not None and known.state in ARRIVED
        ended = {"credit_of": row.key, "undo_of": row.run}
        state = RunState.COMPLETE if well else RunState.FAILED
        context.ledger.finish_run(context.fence, with_run.run, state, ended, context.now())
        if well:
            message = f"credited by invoice {credited.credit.id}"
            context.ledger.record_undone(
                context.fence, row.key, message, context.now(), lines=[line.ordinal for line in lines]
            )


def _run(context: RunContext) -> RunContext:
    """The context of a run of its own."""
    started = context.ledger.start_run(
        context.fence, period=context.period, digest=None, who=context.fence.holder, now=context.now()
    )
    return replace(context, run=started)
