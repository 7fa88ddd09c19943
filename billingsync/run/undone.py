"""What an undo did, or would do, line by line and posting by posting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from billingsync.core.money import ZERO
from billingsync.core.states import (
    UNDO_TROUBLE,
    InvoiceFate,
    LineAction,
    LineFate,
    PostingAction,
    PostingState,
    UndoOutcome,
    UndoState,
)
from billingsync.psa.psa import Fate
from billingsync.store.postings import FREE, PostedLine, RecordedPosting

STRAY = (*FREE, PostingState.UNDONE)  # not in HaloPSA as far as we know; a late landing may prove that wrong [N5]


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoneLine:
    """One line of a posting, and what is left of it."""

    ordinal: int
    line_id: int | None
    action: LineAction  # what the run had done
    text: str
    amount: Decimal
    cost: Decimal
    charges: tuple[str, ...]
    fate: LineFate
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndonePosting:
    """One posting of the run. `invoice` is what became of its invoice; `problem` says what went wrong."""

    key: str
    client_id: int
    client_name: str
    invoice_id: int | None
    action: PostingAction
    currency: str
    outcome: UndoOutcome
    invoice: InvoiceFate
    lines: tuple[UndoneLine, ...]
    problem: str = ""
    credit_invoice: int | None = None

    def sum(self, *wanted: LineFate) -> tuple[Decimal, Decimal]:
        """Price and cost of the lines of these fates."""
        chosen = [line for line in self.lines if line.fate in wanted]
        return sum((line.amount for line in chosen), ZERO), sum((line.cost for line in chosen), ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaysTakenBack:
    """What a true-up of the run had taken back, and an undo of the run does not bring back [R5]. `credit_run` is the
    run that credited it; "" where it was taken out in place."""

    client_name: str
    amount: Decimal
    currency: str
    credit_run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoResult:
    """With `dry_run` its state is what it would be."""

    run: str
    period: str
    dry_run: bool
    postings: tuple[UndonePosting, ...]
    items: tuple[tuple[int, str], ...] = ()  # created by the run, on no line of ours any more
    stays: tuple[StaysTakenBack, ...] = ()
    client: str = ""  # the one that was asked for, as it was named; "" for all of the run

    @property
    def state(self) -> UndoState:
        """The worst of its postings decides."""
        outcomes = {posting.outcome for posting in self.postings}
        if outcomes & set(UNDO_TROUBLE):
            return UndoState.FAILED
        if UndoOutcome.CLOSED in outcomes:
            return UndoState.REFUSED
        return UndoState.HELD if outcomes & {UndoOutcome.PART, UndoOutcome.KEPT} else UndoState.UNDONE


def undone_lines(row: RecordedPosting, seen: Iterable[Fate]) -> tuple[UndoneLine, ...]:
    lines = {line.ordinal: line for line in row.lines}
    return tuple(_line(lines[fate.ordinal], fate) for fate in seen)


def _line(line: PostedLine, fate: Fate) -> UndoneLine:
    return UndoneLine(
        ordinal=line.ordinal,
        line_id=fate.line_id,
        action=line.action,
        text=line.description,
        amount=line.amount,
        cost=line.cost,
        charges=tuple(share.charge for share in line.shares),
        fate=fate.kind,
        why=fate.why,
    )


def with_fates(lines: Sequence[UndoneLine], to: Mapping[LineFate, LineFate], why: str = "") -> tuple[UndoneLine, ...]:
    return tuple(replace(line, fate=to[line.fate], why=why) if line.fate in to else line for line in lines)


def undone_posting(
    row: RecordedPosting,
    lines: Sequence[UndoneLine],
    outcome: UndoOutcome,
    invoice: InvoiceFate,
    problem: str = "",
    invoice_id: int | None = None,
) -> UndonePosting:
    return UndonePosting(
        key=row.key,
        client_id=row.client_id,
        client_name=row.client_name,
        invoice_id=next((one for one in (invoice_id, row.invoice_id, row.target_invoice_id) if one is not None), None),
        action=row.action,
        currency=row.currency,
        outcome=outcome,
        invoice=invoice,
        lines=tuple(lines),
        problem=problem,
    )
