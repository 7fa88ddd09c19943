"""After a write: what became of it [N2]. Each change of a posting's state is one commit behind the fence."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from billingsync.core.period import Period
from billingsync.core.remembered import WrittenLine
from billingsync.core.states import PostingState, WriteKind
from billingsync.errors import LedgerError
from billingsync.store.book import Book, Fence
from billingsync.store.claims import AlreadyClaimed, Claim, any_live, find_claims, live_keys, set_live
from billingsync.store.columns import from_json
from billingsync.store.postings import (
    ARRIVED,
    BILLED,
    FREE,
    UNRESOLVED,
    PostingHead,
    Receipt,
    RecordedPosting,
    find_heads,
    find_postings,
    find_state,
    find_states,
    line_as_json,
    put_written_lines,
    remove_written_by,
    remove_written_lines,
    update_posting,
)
from billingsync.store.schema import claim, journal, posting, written_line

# State -> the states it may follow. A late landing turns a refused posting into an adopted one, an undone one into an
# alarm.
_MAY_FOLLOW: dict[PostingState, tuple[PostingState, ...]] = {
    PostingState.POSTED: UNRESOLVED + BILLED + FREE,
    PostingState.ADOPTED: UNRESOLVED + BILLED + FREE,
    PostingState.DIFFERS: (*UNRESOLVED, *BILLED, *FREE, PostingState.UNDONE),
    PostingState.UNKNOWN: UNRESOLVED,
    PostingState.REFUSED: UNRESOLVED,
    PostingState.ABANDONED: UNRESOLVED,
    PostingState.UNDOING: (
        *BILLED,
        *FREE,
        PostingState.UNDONE,
    ),  # the last two: a late landing that a person takes out again
    PostingState.UNDONE: (*BILLED, PostingState.UNDOING),
}

_OF_ITEMS = (WriteKind.ITEM, WriteKind.ITEM_GROUP)  # earlier versions named no kind and wrote only these so


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A posting, and its lines by ordinal, that bill again once their credit is taken back [R5]."""

    key: str
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoIntent:
    """An undo that was about to be sent: the lines (by ordinal) it takes out or puts back, the request's body ("" for
    a DELETE), the invoice as it was read right before (JSON), and what the posting was before it. `restores` is what
    a credit had credited: its charges are claimed from the intent on, so that nobody bills them meanwhile."""

    key: str
    was: PostingState
    lines: tuple[int, ...]
    content: str
    before: str
    restores: Restored | None = None


SIZE_AT_ONCE = 500_000  # characters of lines
MOST_AT_ONCE = 100  # postings


def batches(heads: Iterable[PostingHead], size: int) -> Iterator[list[PostingHead]]:
    """Some postings at a time: at most so many, and about so much of their lines, but at least one."""
    some: list[PostingHead] = []
    for head in heads:
        if some and (len(some) == MOST_AT_ONCE or sum(one.size for one in some) + head.size > size):
            yield some
            some = []
        some.append(head)
    if some:
        yield some


class ReceiptBook(Book):
    def record_done(
        self, fence: Fence, key: str, receipt: Receipt, now: datetime, *, state: PostingState = PostingState.POSTED
    ) -> None:
        """HaloPSA has our key with our amounts: `posted` by its own answer, or `adopted` when it was found later.

        AlreadyClaimed where the posting had been refused and its charges went elsewhere meanwhile."""
        assert state in ARRIVED, state
        self._received(fence, key, state, receipt, "", now)

    def record_differs(self, fence: Fence, key: str, receipt: Receipt, message: str, now: datetime) -> None:
        """HaloPSA has our key, but not with our amounts: an alarm, and the charges stay claimed [N5]."""
        self._received(fence, key, PostingState.DIFFERS, receipt, message, now)

    def record_unknown(self, fence: Fence, key: str, message: str, now: datetime, *, answer: str | None = None) -> None:
        """Nobody can tell whether HaloPSA has it. The charges stay claimed until the key is found, or is absent."""
        with self.fenced(fence) as connection:
            self._move(connection, key, PostingState.UNKNOWN, {"message": message, "answer": _packed(answer)}, now)

    def record_refused(self, fence: Fence, key: str, message: str, now: datetime, *, answer: str | None = None) -> None:
        """HaloPSA said no, or was never reached. The charges are free again."""
        with self.fenced(fence) as connection:
            self._move(connection, key, PostingState.REFUSED, {"message": message, "answer": _packed(answer)}, now)
            set_live(connection, self.name, key, False)

    def record_abandoned(self, fence: Fence, key: str, message: str, now: datetime) -> None:
        """It is certain that HaloPSA does not have it, and it will not be sent again as it is. The charges are free."""
        with self.fenced(fence) as connection:
            self._move(connection, key, PostingState.ABANDONED, {"message": message}, now)
            set_live(connection, self.name, key, False)

    def note_invoiced(
        self, fence: Fence, found: Mapping[tuple[int, int], Collection[int]], lines: Iterable[WrittenLine] = ()
    ) -> None:
        """(recurring invoice, line) -> the invoices that were seen to bill the line: nobody need ask HaloPSA again, nor
        show them when they are old [B5]. `lines` are those that are there now: their postings remember it when a later
        month has written the line anew [N5]."""
        by_posting: dict[str, dict[int, list[int]]] = defaultdict(dict)
        for line in lines:
            if line.key and (line.invoice_id, line.line_id) in found:
                by_posting[line.key][line.ordinal] = sorted(found[line.invoice_id, line.line_id])
        with self.fenced(fence) as connection:
            for one in find_postings(connection, self.name, keys=tuple(by_posting), texts=False) if by_posting else ():
                told = [
                    replace(each, invoiced=tuple(by_posting[one.key].get(each.ordinal, each.invoiced)))
                    for each in one.returned_lines
                ]
                update_posting(
                    connection, self.name, one.key, {"returned_lines": [line_as_json(each) for each in told]}
                )
            for (invoice_id, line_id), invoices in found.items():
                mine = (written_line.c.invoice_id == invoice_id) & (written_line.c.line_id == line_id)
                where = (written_line.c.partner == self.name) & mine
                connection.execute(update(written_line).where(where).values(invoiced=sorted(invoices)))

    def record_undone(
        self,
        fence: Fence,
        key: str,
        message: str,
        now: datetime,
        *,
        lines: Collection[int] | None = None,
        written: Collection[WrittenLine] = (),
        gone: Collection[tuple[int, int]] = (),
        stay: bool = False,
        restores: Restored | None = None,
    ) -> None:
        """The lines of these ordinals (None: all) were taken out of HaloPSA again: their charges are free [R4] [R5].

        Undone is the posting when no charge of it is live any more. `gone` are our lines on a recurring invoice that
        are no more, `written` those that were put back to what they were before, as they are now.
        `stay`: they were credited, and stand on their invoice still. `restores`: they were a credit's."""
        with self.fenced(fence) as connection:
            if restores is not None:
                self._restore(connection, restores, now)
            set_live(connection, self.name, key, False, lines)
            state = _known(connection, self.name, key)
            if state is PostingState.UNDOING and (intent := find_undo(connection, self.name, key)) is not None:
                state = intent.was
            if lines is None or not any_live(connection, self.name, key):
                state = PostingState.UNDONE
                if not stay:
                    remove_written_by(connection, self.name, key)
            self._move(connection, key, state, {"message": message}, now, lines=sorted(lines or ()))
            remove_written_lines(connection, self.name, gone)
            put_written_lines(connection, self.name, key, written)

    def record_undoing(self, fence: Fence, intent: UndoIntent, who: str, now: datetime) -> None:
        """Commits that these lines are about to be taken out of HaloPSA: from here on that may have happened. Their
        charges stay claimed until it is known. Ask `read_undo_back` before sending."""
        with self.fenced(fence) as connection:
            before = _known(connection, self.name, intent.key)
            if before not in _MAY_FOLLOW[PostingState.UNDOING]:
                raise LedgerError(f"Posting {intent.key} is {before}, which cannot be undone. Nothing was changed.")
            values = {"state": PostingState.UNDOING, "sent_at": now, "settled_at": None}
            update_posting(connection, self.name, intent.key, values)
            if intent.restores is not None:
                self._restore(connection, intent.restores, now)
            told: dict[str, Any] = {
                "key": intent.key,
                "was": before,
                "lines": list(intent.lines),
                "content": intent.content,
                "before": intent.before,
                "who": who,
            }
            if intent.restores is not None:
                told["restores"] = {"key": intent.restores.key, "lines": list(intent.restores.lines)}
            self.note(connection, "posting.undoing", told, now)

    def read_undo_back(self, intent: UndoIntent) -> RecordedPosting:
        """The posting as another connection sees it. LedgerError unless the intent of its undo is there, as it was."""
        with self.database.reading_beside() as connection:
            found = find_postings(connection, self.name, keys=(intent.key,))
            kept = find_undo(connection, self.name, intent.key)
        if not found or found[0].state is not PostingState.UNDOING or kept is None or kept.content != intent.content:
            raise LedgerError(
                f"The database {self.database.where} did not keep the intent to undo posting {intent.key}. Nothing was "
                "sent.",
                next_steps=[["billingsync", "doctor"]],
            )
        return found[0]

    def undo_under_way(self, key: str) -> UndoIntent | None:
        """The last undo that was intended of a posting."""
        with self.reading() as connection:
            return find_undo(connection, self.name, key)

    def record_kept(self, fence: Fence, key: str, message: str, now: datetime) -> None:
        """It is certain that the undo did not happen: the posting is again what it was."""
        with self.fenced(fence) as connection:
            intent = find_undo(connection, self.name, key)
            if _known(connection, self.name, key) is not PostingState.UNDOING or intent is None:
                raise LedgerError(f"Posting {key} is not being undone. Nothing was changed.")
            update_posting(connection, self.name, key, {"state": intent.was, "settled_at": now})
            self.note(connection, "posting.kept", {"key": key, "state": intent.was, "message": message}, now)
            if intent.restores is not None:
                self._credited_still(connection, intent.restores, now)

    def _restore(self, connection: Connection, credited: Restored, now: datetime) -> None:
        """What was credited bills again. IntegrityError where a charge of it is on another live line."""
        before = _known(connection, self.name, credited.key)
        state = PostingState.POSTED if before is PostingState.UNDONE else before
        set_live(connection, self.name, credited.key, True, credited.lines)
        update_posting(connection, self.name, credited.key, {"state": state, "message": "", "settled_at": now})
        told = {"key": credited.key, "was": before, "state": state, "lines": sorted(credited.lines)}
        self.note(connection, "posting.restored", told, now)

    def _credited_still(self, connection: Connection, credited: Restored, now: datetime) -> None:
        """The credit is still there: what it credits is free again."""
        message = "its credit was not taken back"
        set_live(connection, self.name, credited.key, False, credited.lines)
        state = _known(connection, self.name, credited.key)
        state = state if any_live(connection, self.name, credited.key) else PostingState.UNDONE
        self._move(connection, credited.key, state, {"message": message}, now, lines=sorted(credited.lines))

    def record_write_intended(self, fence: Fence, write: WriteKind, what: str, now: datetime) -> None:
        """Before a write that is no posting (an item, a group): who finds no end of it must wait and look [P3]."""
        with self.fenced(fence) as connection:
            self.note(connection, "write.intended", {"write": write, "what": what}, now)

    def record_write_settled(self, fence: Fence, write: WriteKind, what: str, outcome: str, now: datetime) -> None:
        """What became of it."""
        with self.fenced(fence) as connection:
            self.note(connection, "write.settled", {"write": write, "what": what, "outcome": outcome}, now)

    def last_open_write(self) -> datetime | None:
        """When the newest writing of an item or a group was intended of which nobody knows the end; None where there is
        none."""
        kinds = ("write.intended", "write.settled")
        query = select(journal.c.kind, journal.c.at, journal.c.body).where(
            journal.c.partner == self.name, journal.c.kind.in_(kinds)
        )
        settled: set[str] = set()
        with self.reading() as connection:
            for entry in connection.execute(query.order_by(journal.c.seq.desc())):
                told = from_json(entry.body)
                what = told["what"]
                if told.get("write", WriteKind.ITEM) not in _OF_ITEMS:
                    continue
                if entry.kind == "write.intended" and what not in settled:
                    return datetime.fromisoformat(entry.at)
                settled.add(what)
        return None

    def record_zeroed(self, fence: Fence, what: str, now: datetime) -> None:
        """Before a request that sets lines of ours to nothing, which is part of a posting or of its undo."""
        with self.fenced(fence) as connection:
            self.note(connection, "write.zeroed", {"what": what}, now)

    def note_true_up(self, fence: Fence, run: str, keys: Collection[str], now: datetime) -> None:
        """Before a run takes these postings back to bill something else instead [R2]: an undo of them that is seen
        later was no person's."""
        with self.fenced(fence) as connection:
            self.note(connection, "run.true_up", {"run": run, "keys": sorted(keys)}, now)

    def true_ups_begun(self) -> dict[str, str]:
        """Key of each posting that a true-up was about to take back -> the newest run that was."""
        query = select(journal.c.body).where(journal.c.partner == self.name, journal.c.kind == "run.true_up")
        found: dict[str, str] = {}
        with self.reading() as connection:
            for body in connection.execute(query.order_by(journal.c.seq)).scalars():
                told = from_json(body)
                found |= dict.fromkeys(told["keys"], told["run"])
        return found

    def was_done(self, key: str) -> bool:
        """Whether HaloPSA once had this posting just as it was sent."""
        kinds = [f"posting.{state}" for state in ARRIVED]
        mine = (journal.c.partner == self.name, journal.c.kind.in_(kinds), journal.c.body.contains(key))
        with self.reading() as connection:
            return connection.execute(select(journal.c.seq).where(*mine).limit(1)).first() is not None

    def live_lines(self, key: str) -> frozenset[int]:
        """The ordinals of a posting's lines whose charges are still on them."""
        with self.reading() as connection:
            return frozenset(claim.line for claim in find_claims(connection, self.name, key=key) if claim.live)

    def unresolved(self) -> tuple[RecordedPosting, ...]:
        """Postings of which nobody knows yet whether HaloPSA has them, or has them still, of all periods."""
        with self.reading() as connection:
            return find_postings(connection, self.name, states=(*UNRESOLVED, PostingState.UNDOING))

    def heads(
        self, *, run: str | None = None, period: object = None, states: Collection[str] = ()
    ) -> tuple[PostingHead, ...]:
        """Postings of a run or of a period, in the order of their intents; only those in `states`, if any."""
        with self.reading() as connection:
            wanted = None if period is None else str(period)
            return find_heads(connection, self.name, run=run, period=wanted, states=states)

    def posted_periods(self) -> frozenset[str]:
        """The months of which the ledger knows a posting, whatever became of it."""
        query = select(posting.c.period).where(posting.c.partner == self.name).distinct()
        with self.reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def postings(
        self,
        *,
        run: str | None = None,
        period: object = None,
        keys: Collection[str] | None = None,
        states: Collection[str] = (),
        texts: bool = True,
    ) -> tuple[RecordedPosting, ...]:
        """Postings of a run, of a period or of some keys, whole. `texts` as in `find_postings`."""
        with self.reading() as connection:
            wanted = None if period is None else str(period)
            return find_postings(connection, self.name, run=run, period=wanted, keys=keys, states=states, texts=texts)

    def clients_of_postings(self, keys: Collection[str]) -> dict[str, tuple[str, int]]:
        """Run and client of each of these postings."""
        wanted = select(posting.c.key, posting.c.run, posting.c.client_id).where(
            posting.c.partner == self.name, posting.c.key.in_(keys)
        )
        with self.reading() as connection:
            return {row.key: (row.run, row.client_id) for row in connection.execute(wanted)}

    def find_posting(self, key: str) -> RecordedPosting | None:
        """The posting of this key, None where there is none."""
        return next(iter(self.postings(keys=(key,))), None)

    def posting(self, key: str) -> RecordedPosting:
        """The posting of this key, which is there."""
        found = self.find_posting(key)
        assert found is not None, key
        return found

    def with_lines(self, heads: Iterable[PostingHead]) -> Iterator[RecordedPosting]:
        """These postings with their lines, some at a time: a large month's lines are not held together."""
        for some in batches(heads, SIZE_AT_ONCE):
            yield from self.postings(keys=[head.key for head in some], texts=False)

    def billed_lines(self, period: Period) -> Iterator[tuple[RecordedPosting, frozenset[int]]]:
        """A period's postings that HaloPSA has, as `with_lines`, with the ordinals of the lines that still bill."""
        query = (
            select(claim.c.key, claim.c.line)
            .join(posting, (posting.c.partner == claim.c.partner) & (posting.c.key == claim.c.key))
            .where(claim.c.partner == self.name, claim.c.live, posting.c.period == str(period))
            .distinct()
        )
        live: dict[str, set[int]] = defaultdict(set)
        with self.reading() as connection:
            for key, line in connection.execute(query):
                live[key].add(line)
            heads = find_heads(connection, self.name, period=str(period), states=BILLED)
        for one in self.with_lines(head for head in heads if head.key in live):
            yield one, frozenset(live[one.key])

    def states(self, *, run: str | None = None, period: object = None) -> dict[str, PostingState]:
        """The state of each posting of a run or of a period, by key: without reading all that they hold."""
        with self.reading() as connection:
            return find_states(connection, self.name, run=run, period=None if period is None else str(period))

    def claims_of(self, charge: str) -> tuple[Claim, ...]:
        """On which lines a charge is or was."""
        with self.reading() as connection:
            return find_claims(connection, self.name, charge=charge)

    def _received(
        self, fence: Fence, key: str, state: PostingState, receipt: Receipt, message: str, now: datetime
    ) -> None:
        values = {
            "message": message,
            "invoice_id": receipt.invoice_id,
            "answer": _packed(receipt.answer),
            "returned_price": receipt.price,
            "returned_cost": receipt.cost,
            "returned_lines": [line_as_json(line) for line in receipt.lines],
        }
        try:
            with self.fenced(fence) as connection:
                before = self._move(connection, key, state, values, now)
                if before in (*FREE, PostingState.UNDONE):  # what was undone line by line must stay so
                    set_live(connection, self.name, key, True)
                remove_written_lines(connection, self.name, receipt.gone)
                put_written_lines(connection, self.name, key, receipt.written)
        except LedgerError as failed:
            if isinstance(failed.__cause__, IntegrityError):
                raise self._elsewhere(key) from failed
            raise

    def _move(
        self, connection: Connection, key: str, state: PostingState, values: dict[str, Any], now: datetime, **also: Any
    ) -> PostingState:
        """Changes the state, if that may follow, and tells the journal. Gives the state before."""
        before = _known(connection, self.name, key)
        part = before is PostingState.UNDOING and "lines" in also  # what is left of it is what it was
        if before not in _MAY_FOLLOW[state] and not part:
            raise LedgerError(f"Posting {key} is {before}, which cannot become {state}. Nothing was changed.")
        settled_at = None if state is PostingState.UNKNOWN else now
        update_posting(connection, self.name, key, {"state": state, "settled_at": settled_at, **values})
        told = {"key": key, "was": before, **also}
        for name in ("message", "invoice_id"):
            told |= {name: values[name]} if values.get(name) else {}
        for name in ("returned_price", "returned_cost"):
            told |= {name: format(values[name], "f")} if name in values else {}
        if values.get("answer") is not None:
            told["answer_sha256"] = hashlib.sha256(values["answer"]).hexdigest()
        self.note(connection, f"posting.{state}", told, now)
        return before

    def _elsewhere(self, key: str) -> AlreadyClaimed:
        """Names the charge of a late landing that another posting has billed meanwhile."""
        with self.reading() as connection:
            charges = [claim.charge for claim in find_claims(connection, self.name, key=key)]
            for charge, other in live_keys(connection, self.name, charges).items():
                return AlreadyClaimed(charge, f"landed late as posting {key}, and is on posting {other} too", key=other)
        return AlreadyClaimed(charges[0], f"landed late as posting {key}")


def find_undo(connection: Connection, name: str, key: str) -> UndoIntent | None:
    """The newest intent to undo a posting, as the journal has it."""
    query = select(journal.c.body).where(journal.c.partner == name, journal.c.kind == "posting.undoing")
    for body in connection.execute(query.order_by(journal.c.seq.desc())).scalars():
        told = from_json(body)
        if told["key"] == key:
            restores = told.get("restores")
            return UndoIntent(
                key=key,
                was=PostingState(told["was"]),
                lines=tuple(told["lines"]),
                content=told["content"],
                before=told["before"],
                restores=Restored(key=restores["key"], lines=tuple(restores["lines"])) if restores else None,
            )
    return None


def _known(connection: Connection, name: str, key: str) -> PostingState:
    """The state of a posting that must be there."""
    known = find_state(connection, name, key)
    if known is None:
        raise LedgerError(f"There is no posting {key} in the ledger.")
    return known[0]


def _packed(answer: str | None) -> bytes | None:
    # What a broken server says need not be text; what cannot be encoded is kept with its marks.
    return None if answer is None else answer.encode("utf-8", "surrogatepass")
