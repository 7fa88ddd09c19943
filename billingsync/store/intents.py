"""Before a write: its intent, committed and read back [N1]."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.exc import IntegrityError

from billingsync.core.money import ZERO
from billingsync.core.states import PostingState
from billingsync.errors import LedgerError
from billingsync.store.book import Book, Fence
from billingsync.store.claims import AlreadyClaimed, add_claims, live_keys, remove_claims, settled_states
from billingsync.store.columns import JsonText
from billingsync.store.postings import (
    FREE,
    UNRESOLVED,
    PostedLine,
    RecordedPosting,
    add_posting,
    find_known,
    find_state,
    lines_text,
    update_posting,
)
from billingsync.store.schema import run as run_table

if TYPE_CHECKING:
    from billingsync.core.bill.plan import Posting


class IntentBook(Book):
    _run = _period = ""  # the run that was last written in, and its period

    def record_intent(
        self,
        fence: Fence,
        run: str,
        posting: Posting,
        content: str,
        lines: Sequence[PostedLine],
        now: datetime,
        *,
        before: str | None = None,
    ) -> str:
        """Commits that `content` is about to be sent, and claims every charge in it: all or nothing. Gives the text of
        the lines, as `read_back` wants it.

        A posting that was refused or abandoned is intended again under its key. Raises AlreadyClaimed where a charge
        has its place already, Locked where the run was taken over. Ask `read_back` before sending.
        """
        charges = _charges_of(posting, lines)
        installation, text = self.installation, lines_text(lines)
        try:
            with self.fenced(fence) as connection:
                known = find_state(connection, self.name, posting.key)
                if known and known[0] not in FREE:
                    charge = charges[0] if charges else "(none)"
                    raise AlreadyClaimed(charge, f"is on posting {posting.key} ({known[0]})", key=posting.key)
                for charge, state in settled_states(connection, self.name, charges).items():
                    raise AlreadyClaimed(charge, f"was {state} earlier, which stays so")
                row = _row(posting, content, text) | {
                    "run": run,
                    "period": self._period_of(connection, run),
                    "before": None if before is None else before.encode(),
                    "attempts": known[1] + 1 if known else 1,
                    "intended_at": now,
                    "sent_at": now,
                    "installation": installation,
                }
                if known:
                    update_posting(connection, self.name, posting.key, row)
                    remove_claims(connection, self.name, posting.key)
                else:
                    add_posting(connection, self.name, row)
                add_claims(connection, self.name, _claims(posting, lines))
                told = _told(posting, run, content, charges)
                told["before_sha256"] = None if before is None else hashlib.sha256(before.encode()).hexdigest()
                told["lines_sha256"] = hashlib.sha256(text.encode()).hexdigest()
                self.note(connection, "posting.intent", told, now)
        except LedgerError as failed:
            if isinstance(failed.__cause__, IntegrityError):
                raise self._claimed(charges) from failed
            raise
        return text

    def read_back(self, key: str, content: str, lines: Sequence[PostedLine], text: str) -> RecordedPosting:
        """The intent as another connection sees it. LedgerError unless it is there, byte for byte, and not settled.
        `text` is what `record_intent` made of `lines`."""
        with self.database.reading_beside() as connection:
            found = find_known(connection, self.name, key, lines)
        if found is not None:
            row, kept = found
            if row.content == content and kept == text and row.state in UNRESOLVED:
                return row
        raise LedgerError(
            f"The database {self.database.where} did not keep the intent of posting {key}. Nothing was sent.",
            next_steps=[["billingsync", "doctor"]],
        )

    def _period_of(self, connection: Connection, run: str) -> str:
        """A run's period, which never changes."""
        if self._run != run:
            self._period = str(connection.execute(_PERIOD, {"name": self.name, "run": run}).scalar_one())
            self._run = run
        return self._period

    def _claimed(self, charges: Sequence[str]) -> AlreadyClaimed:
        """Names the charge that the database refused to claim a second time."""
        with self.reading() as connection:
            for charge, key in live_keys(connection, self.name, charges).items():
                return AlreadyClaimed(charge, f"is on a line of posting {key}", key=key)
        return AlreadyClaimed(charges[0] if charges else "(none)", "was claimed by another process")


_PERIOD = select(run_table.c.period).where(run_table.c.partner == bindparam("name"), run_table.c.id == bindparam("run"))


def _charges_of(posting: Posting, lines: Sequence[PostedLine]) -> list[str]:
    """The charges of a posting, each once. What its lines carry must be what was planned, to the cent [L1]."""
    for line in lines:
        if line.shares:
            assert sum((share.price for share in line.shares), ZERO) == line.amount, f"{posting.key}: {line}"
            assert sum((share.cost for share in line.shares), ZERO) == line.cost, f"{posting.key}: {line}"
    charges = {share.charge for line in lines for share in line.shares}
    assert charges == {charge for line in posting.lines for charge in line.charges}, posting.key
    return sorted(charges)


def _claims(posting: Posting, lines: Sequence[PostedLine]) -> list[dict[str, Any]]:
    """A claim for each share. The parts of a charge are numbered from 0 in the order of the lines, so that the first
    is refused whenever any other posting has the charge, in however many parts."""
    parts: dict[str, int] = {}
    rows = []
    for line in lines:
        for share in line.shares:
            part = parts.get(share.charge, 0)
            parts[share.charge] = part + 1
            rows.append(
                {
                    "key": posting.key,
                    "charge": share.charge,
                    "part": part,
                    "line": line.ordinal,
                    "price": share.price,
                    "cost": share.cost,
                    "currency": posting.currency,
                }
            )
    return rows


def _row(posting: Posting, content: str, lines: str) -> dict[str, Any]:
    return {
        "key": posting.key,
        "base_key": posting.base_key,
        "generation": posting.generation,
        "client_id": posting.client_id,
        "client_name": posting.client_name,
        "action": posting.action,
        "grouped_by": posting.group,
        "target_invoice_id": posting.invoice_id,
        "currency": posting.currency,
        "amount": posting.amount,
        "cost": posting.cost,
        "content": content.encode(),
        "lines": JsonText(lines),
        "state": PostingState.SENDING,
        "message": "",
        "invoice_id": None,
        "settled_at": None,
        "answer": None,
        "returned_price": None,
        "returned_cost": None,
        "returned_lines": None,
    }


def _told(posting: Posting, run: str, content: str, charges: Sequence[str]) -> dict[str, Any]:
    """What the journal says about an intent."""
    return {
        "key": posting.key,
        "write": posting.kind,
        "run": run,
        "client_id": posting.client_id,
        "action": posting.action,
        "target": posting.invoice_id,
        "amount": format(posting.amount, "f"),
        "cost": format(posting.cost, "f"),
        "currency": posting.currency,
        "charges": list(charges),
        "content_sha256": hashlib.sha256(content.encode()).hexdigest(),
    }
