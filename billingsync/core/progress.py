"""Where a run stands, as a value: the command line and the desk make text of it (`report/progress.py`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """What is being done now. The comment says which fields of `Progress` go with it."""

    CYCLE = "cycle"
    DAILY = "daily"
    ORDER = "order"
    IDLE = "idle"  # about: when the next cycle begins
    LIST_MONTHS = "list_months"
    READ_MONTH = "read_month"  # about: the period
    READ_PSA = "read_psa"  # about: the period
    READ_SUBSCRIPTIONS = "read_subscriptions"
    READ_SNAPSHOT = "read_snapshot"
    READ_INVOICE = "read_invoice"  # about: the period
    READ_HISTORIES = "read_histories"  # of: subscriptions
    READ_COMMITMENTS = "read_commitments"
    COMPARE = "compare"  # about: the snapshot's number
    AWAIT_RUN = "await_run"
    PLAN = "plan"
    RECOVER = "recover"  # of: postings
    LOOK_FOR_LATE = "look_for_late"  # of: postings
    LOOK_FOR_OURS = "look_for_ours"
    CREATE_GROUP = "create_group"  # about: its name
    CREATE_ITEM = "create_item"  # about: its name
    POST = "post"  # nth, of, client
    READ_BACK = "read_back"  # of: invoices
    PREVIEW_UNDO = "preview_undo"  # nth, of, client
    UNDO = "undo"  # nth, of, client
    SET_LINES = "set_lines"  # client
    AWAIT_POSTING = "await_posting"  # seconds; client: one or some
    AWAIT_UNDO = "await_undo"  # seconds, client
    AWAIT_ITEM = "await_item"  # seconds; about: which item, "" where an interrupted run left it open
    TROUBLE = "trouble"  # about: what went wrong; the work goes on

    @property
    def writes(self) -> bool:
        """Whether a write to the PSA may be in hand: whoever stops the work gives it more time."""
        return self in (Stage.CREATE_GROUP, Stage.CREATE_ITEM, Stage.POST, Stage.UNDO, Stage.SET_LINES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One step of the work, told as it begins. `nth` counts from 1, and 0 is no count; what `about` holds depends on
    the stage."""

    stage: Stage
    nth: int = 0
    of: int = 0
    client: str = ""
    about: str = ""
    seconds: float = 0.0  # how long it waits


Say = Callable[[Progress], None]  # whoever watches the work
