"""The states of runs, postings, lines, undos, true-ups and charges, each once. JSON and the ledger keep their texts."""

from __future__ import annotations

from enum import StrEnum


class WriteKind(StrEnum):
    """What is written to the PSA. Each kind has its own intent, committed before it is sent [N1]."""

    POSTING = "posting"
    CREDIT = "credit"
    ITEM = "item"
    ITEM_GROUP = "item_group"
    CARD = "card"  # lines of a recurring invoice that carry no charges


class RunState(StrEnum):
    RUNNING = "running"
    COMPLETE = "complete"
    HELD = "held"  # done, and something waits for a person
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    UNDONE = "undone"  # how it reads once all that it wrote was taken back; never kept


class PostingState(StrEnum):
    """A posting in the ledger. `unresolved`: nobody knows yet whether the PSA has it. `arrived`: it is there, and what
    came back was equal to the cent. `billed`: it is there. `free`: it is not there, and its key may be used again."""

    SENDING = "sending"
    POSTED = "posted"
    ADOPTED = "adopted"
    DIFFERS = "differs"
    REFUSED = "refused"
    ABANDONED = "abandoned"
    UNKNOWN = "unknown"
    UNDOING = "undoing"
    UNDONE = "undone"

    @property
    def unresolved(self) -> bool:
        return self in (PostingState.SENDING, PostingState.UNKNOWN)

    @property
    def arrived(self) -> bool:
        return self in (PostingState.POSTED, PostingState.ADOPTED)

    @property
    def billed(self) -> bool:
        return self.arrived or self is PostingState.DIFFERS

    @property
    def free(self) -> bool:
        return self in (PostingState.REFUSED, PostingState.ABANDONED)


class OutcomeState(StrEnum):
    """What a run says of one posting."""

    POSTED = "posted"
    ADOPTED = "adopted"  # found in the PSA: an earlier attempt had reached it
    UNKNOWN = "unknown"
    FAILED = "failed"


OUTCOME_ARRIVED = (OutcomeState.POSTED, OutcomeState.ADOPTED)


class PostingAction(StrEnum):
    """What a posting does to an invoice."""

    CREATE = "create"
    APPEND = "append"
    UPDATE = "update"  # of a recurring invoice


class LineAction(StrEnum):
    ADD = "add"
    UPDATE = "update"
    REMOVE = "remove"


class LineFate(StrEnum):
    """What is left of one line of a posting, before or after its undo."""

    THERE = "there"  # as we wrote it: it can be taken back
    GONE = "gone"  # not there any more, by whatever hand
    BACK = "back"  # what was there before us is there again
    EDITED = "edited"  # somebody changed it since: it is kept
    LATER = "later"  # a later posting wrote it anew: that one is to be undone first
    UNSURE = "unsure"  # it cannot be told which line is ours, or what was there before
    TAKEN = "taken"  # this undo took it back, or would
    STILL_THERE = "still_there"  # the PSA did not take it back
    CLOSED = "closed"  # it stands on an invoice that nobody may change
    CREDITED = "credited"  # it stands there, and a new invoice credits it


# Lines that bill nobody any more, and lines that are billed still.
GIVEN_BACK = (LineFate.TAKEN, LineFate.CREDITED, LineFate.GONE, LineFate.BACK)
STILL_BILLED = (LineFate.EDITED, LineFate.LATER, LineFate.UNSURE, LineFate.STILL_THERE, LineFate.CLOSED)


class InvoiceFate(StrEnum):
    """What an undo did to an invoice."""

    DELETED = "deleted"
    CHANGED = "changed"
    UNTOUCHED = "untouched"
    GONE = "gone"


class UndoOutcome(StrEnum):
    """What an undo came to for one posting."""

    UNDONE = "undone"
    PART = "part"
    CLOSED = "closed"
    KEPT = "kept"
    UNKNOWN = "unknown"
    FAILED = "failed"
    NOTHING = "nothing"  # it wrote nothing that is there


UNDO_TROUBLE = (UndoOutcome.FAILED, UndoOutcome.UNKNOWN)


class UndoState(StrEnum):
    """What an undo of a run came to."""

    UNDONE = "undone"
    HELD = "held"
    REFUSED = "refused"
    FAILED = "failed"


class TrueUpState(StrEnum):
    HELD = "held"  # a person may approve it
    APPROVED = "approved"
    BLOCKED = "blocked"  # it cannot be carried out yet


class SourceChange(StrEnum):
    """What happened to a billed Pax8 invoice."""

    CREDITED = "credited"  # also: void, or listed no more
    CHANGED = "changed"  # it lists other items now [S9]


class ChargeState(StrEnum):
    """What earlier runs decided about a charge."""

    POSTED = "posted"
    DROPPED = "dropped"
    EXCLUDED = "excluded"
    UNRESOLVED = "unresolved"  # being sent, and its outcome is not known
    DIFFERS = "differs"  # the PSA has something else than was sent


SET_ASIDE = (ChargeState.DROPPED, ChargeState.EXCLUDED)  # decided for good, without a bill [R3]


class CycleState(StrEnum):
    """A cycle of the worker."""

    RUNNING = "running"
    WELL = "well"
    HELD = "held"
    WAITING = "waiting"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class MonthState(StrEnum):
    """What the worker knows of a month."""

    WAITING = "waiting"  # Pax8 has no invoice yet
    UNREADABLE = "unreadable"  # not completely readable yet
    READY = "ready"  # a person posts it
    HELD = "held"  # something waits for a person
    FAILED = "failed"
    DONE = "done"
    ABSENT = "absent"  # Pax8 never made one


class PartnerState(StrEnum):
    """How a partner of a fleet stands, the worst first."""

    PARKED = "parked"  # cycle after cycle died, so no more begins
    FAILED = "failed"  # its last cycle failed
    LATE = "late"  # its next cycle should have begun by now
    HELD = "held"  # something waits for a person
    PAUSED = "paused"
    RUNNING = "running"
    NEW = "new"  # no cycle yet
    WAITING = "waiting"  # Pax8 has no invoice yet
    WELL = "well"
    REMOVED = "removed"


# What is said of a posting whose invoice bills nobody any more: nothing in HaloPSA can make that right.
VOIDED_SINCE = "it was posted, and a person has voided it since"
GONE_SINCE = "it was posted, and reading it back finds no trace of it"
