"""Bugs planted on purpose: each breaks one promise in the product's own code, and a part of the campaign must see it.

A mutant is a context manager that replaces one function; `catch` is the part that is expected to notice.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from sim_faults import SHAPES, shape_for, try_cell
from sim_late import try_late
from sim_month import Shape
from sim_schedules import (
    NEW,
    backup_drill,
    many_pages,
    marker_never_kept,
    one_fault,
    person_edits,
    second_look,
    taken_over,
    two_installations,
    undo_and_again,
)  # fmt: skip
from simulation import current
from sqlalchemy import or_, select, update

from billingsync.core.invoice import Invoice
from billingsync.http import service
from billingsync.http.values import NotDone, OutcomeUnknown
from billingsync.psa.halo import body, compare
from billingsync.psa.halo import client as halo_client
from billingsync.psa.halo import psa as halo_psa
from billingsync.run import items, late, post, recover, run, send
from billingsync.run.already_there import AlreadyThere
from billingsync.sandbox.faults import Fault
from billingsync.sources.pax8 import client as pax8_client
from billingsync.store import lock
from billingsync.store.book import Book, Fence
from billingsync.store.intents import IntentBook
from billingsync.store.ledger import Ledger
from billingsync.store.lock import LockBook
from billingsync.store.memory import MemoryBook
from billingsync.store.partners import PartnerBook
from billingsync.store.receipts import ReceiptBook
from billingsync.store.schema import partner

Catch = Callable[[Path], list[str]]
_patch = mock.patch.object


def _cell(fault: str, effect: str, shape: Shape | None = None) -> Catch:
    return lambda folder: list(try_cell(folder, fault, effect, shape=shape or shape_for(effect, fault)).wrong)


def _late(*cell: str) -> Catch:
    return lambda folder: list(try_late(folder, *cell).wrong)


@dataclass(frozen=True)
class Mutant:
    name: str
    plant: Callable[[], contextlib.AbstractContextManager[Any]]
    catch: Catch


def _intent_after_post() -> Any:
    """The request goes first, the intent is written when its answer is there."""
    true = post.write_posting

    def wrong(context: Any, posting: Any, amounts: Any, there: Any) -> Any:
        prepared = send.prepare(context, posting)
        sent = prepared.send(lambda: None)
        with _patch(post, "prepare", lambda *_: replace(prepared, send=lambda _: sent)):
            return true(context, posting, amounts, there)

    return _patch(post, "write_posting", wrong)


def _random_key() -> Any:
    true, count = post.write_posting, iter(range(10**6))

    def wrong(context: Any, posting: Any, amounts: Any, there: Any) -> Any:
        return true(context, replace(posting, key=f"{next(count):020x}"), amounts, there)

    return _patch(post, "write_posting", wrong)


def _believed(self: Any, clients: Any, control: Any, since: Any = None) -> Any:
    """One page as it comes, whatever its count, and no control invoice."""
    query = {**halo_client._of_clients(clients), "order": "id"}
    rows, _ = halo_client.list_rows(self.service.get_json("/Invoice", query).json, "invoices")
    return halo_client.Look(rows=tuple(raw for raw in rows if raw.get("client_id") in clients), complete=True)


def _one_look() -> Any:
    true = recover._judge_ripe

    def wrong(context: Any, ripe: Any) -> None:
        for key, sight in recover.look_for(context, list(ripe.values())).items():
            if isinstance(sight, recover.Absent):
                context.ledger.record_abandoned(context.fence, key, "absent", context.now())
        true(context, {key: row for key, row in ripe.items() if context.ledger.posting(key).state != "abandoned"})

    return _patch(recover, "_judge_ripe", wrong)


@contextlib.contextmanager
def _no_fence() -> Iterator[None]:
    """Only the intent's transaction asks whether the lock is still ours, not the moment before the request."""
    with _patch(post, "still_ours", lambda context: lambda: None), _patch(Book, "fence_holds", lambda *_: True):
        yield


@contextlib.contextmanager
def _no_lock() -> Iterator[None]:
    """Anybody may run, and nobody raises the epoch."""

    @contextlib.contextmanager
    def free(self: Any, holder: str) -> Iterator[Fence]:
        with self.database.writing() as connection:
            connection.execute(update(partner).values(until=current().wall() + timedelta(days=1)))
            row = connection.execute(select(partner).where(partner.c.partner == self.name)).one()
        yield Fence(epoch=row.epoch, token=row.token, holder=holder)

    with _patch(LockBook, "run_lock", free):
        yield


@contextlib.contextmanager
def _no_fence_at_all() -> Iterator[None]:
    """Nobody asks whose the lock is."""

    @contextlib.contextmanager
    def unasked(self: Any, fence: Any) -> Iterator[Any]:
        with self.writing() as connection:
            yield connection

    with _patch(Book, "fenced", unasked), _no_fence():
        yield


def _local_clock() -> Any:
    """A lease is over when the clock of whoever wants it says so."""

    def wrong(self: Any, holder: str, alone: bool) -> Fence:
        now, token = current().wall(), lock.secrets.token_hex(8)
        over = alone or or_(partner.c.until.is_(None), partner.c.until <= now)
        until = now + timedelta(seconds=self.lease_s)
        values = {"epoch": partner.c.epoch + 1, "token": token, "holder": holder, "until": until}
        with self.database.writing() as connection:
            if not connection.execute(update(partner).where(over).values(values)).rowcount:
                raise self._locked()
            return Fence(epoch=connection.scalar(select(partner.c.epoch)), token=token, holder=holder)

    return _patch(LockBook, "_take", wrong)


def _accepts(context: Any, row: Any, sent: Any) -> None:
    """Whatever a 2xx says is done."""
    there = context.psa.answered(sent.json, template=row.action == "update") or Invoice(id=1, client_id=None)
    receipt = recover._receipt(context, row, there, row.amount, row.cost, None)
    context.ledger.record_done(context.fence, row.key, receipt, context.now())


def _refused_is_done() -> Any:
    true = post.record_outcome

    def wrong(context: Any, row: Any, sent: Any) -> Any:
        if isinstance(sent, NotDone):
            receipt = recover._receipt(context, row, Invoice(id=1, client_id=None), row.amount, row.cost, None)
            context.ledger.record_done(context.fence, row.key, receipt, context.now())
            return context.ledger.posting(row.key)
        return true(context, row, sent)

    return _patch(post, "record_outcome", wrong)


def _unknown_is_refused() -> Any:
    true = post.record_outcome

    def wrong(context: Any, row: Any, sent: Any) -> Any:
        return true(context, row, NotDone(status=None, message=sent.why) if isinstance(sent, OutcomeUnknown) else sent)

    return _patch(post, "record_outcome", wrong)


def _float_compare() -> Any:
    """Within a unit of money is near enough."""
    true = compare._amounts

    def wrong(there: Any, line: Any, currency: str) -> Any:
        price, cost = true(there, line, currency)
        near = abs(float(price) - float(line.amount)) < 1 and abs(float(cost) - float(line.cost)) < 1
        return (line.amount, line.cost) if near else (price, cost)

    return _patch(compare, "_amounts", wrong)


@contextlib.contextmanager
def _near_enough() -> Iterator[None]:
    with _float_compare(), _patch(compare, "_half_unit", lambda currency: 1):
        yield


@contextlib.contextmanager
def _page_skipped() -> Iterator[None]:
    true = pax8_client.Pax8._side_by_side
    with (
        _patch(pax8_client.Pax8, "_side_by_side", lambda *given: [pages[:1] for pages in true(*given)]),
        _patch(pax8_client, "_incomplete", lambda pages: ""),
    ):
        yield


def _drops_others() -> Any:
    """Sends only its own lines where HaloPSA takes the list for the whole truth."""
    true = body.changed

    def wrong(*given: Any) -> Any:
        path, rows = true(*given)
        ours = [line for line in rows[0]["lines"] if "[bs:" in str(line.get("item_longdescription"))]
        return path, [{**rows[0], "lines": ours}]

    return _patch(body, "changed", wrong)


def _no_sequence() -> Any:
    """Writes over whatever a person did since it read."""
    true = body.changed

    def wrong(*given: Any) -> Any:
        path, rows = true(*given)
        return path, [{name: value for name, value in row.items() if name != "last_change_seq"} for row in rows]

    return _patch(body, "changed", wrong)


def _undone_key_again() -> Any:
    """A posting that was undone is meant again under its old key."""
    return _patch(run, "make_plan", functools.partial(_same_generation, run.make_plan))


def _same_generation(true: Any, *given: Any, **more: Any) -> Any:
    memory = MemoryBook.memory
    with _patch(MemoryBook, "memory", lambda self, *a, **b: replace(memory(self, *a, **b), generations={})):
        return true(*given, **more)


def _short_horizon() -> Any:
    return _patch(recover, "_due", lambda context, row: 0.0)


def _blind_retry() -> Any:
    return _patch(service, "_certainly_not_done", lambda error: isinstance(error, service.Retryable))


def _nothing_found(context: Any, plan: Any, targets: Any, tenant: Any) -> Any:
    return AlreadyThere(postings=list(plan.postings))


APPEND, RECURRING = SHAPES["append"], SHAPES["recurring update"]

MUTANTS = [
    Mutant("intent after POST", _intent_after_post, _cell("reset after commit", "create")),
    Mutant("random key", _random_key, lambda folder: backup_drill(folder, NEW, every=6)[1]),
    Mutant("blind retry", _blind_retry, _cell("reset after commit", "create")),
    Mutant("50-row search believed", lambda: _patch(halo_client.Halo, "search_rows", _believed),
           _late("create", "1 s", "cut at 50")),
    Mutant("no horizon", _short_horizon, _late("create", "settle + 1", "true")),
    Mutant("no second look", _one_look, second_look),
    Mutant("fence checked once", _no_fence, lambda folder: taken_over(folder, "after create 429", busy=True)),
    Mutant("fence not asked", _no_fence_at_all,
           lambda folder: taken_over(folder, "after create 429", busy=True, lease=True, stands_s=61)),
    Mutant("lease by local clock", _local_clock,
           lambda folder: taken_over(folder, "after commit intent", lock_held=True, lease=True, ahead_s=3_600)),
    Mutant("no lock", _no_lock, lambda folder: taken_over(folder, "after commit intent", lock_held=True)),
    Mutant("marker not verified, canary skipped", lambda: _patch(post, "read_first_back", lambda *_: None),
           marker_never_kept),
    Mutant("every 2xx is done", lambda: _patch(post, "_answered", _accepts),
           lambda folder: one_fault(folder, "create", Fault(kind="error_inside"))),
    Mutant("receipts for refused", _refused_is_done, _cell("400 string", "create")),
    Mutant("unknown taken for refused", _unknown_is_refused, _cell("timeout after commit", "create")),
    Mutant("absent, and never sent again", lambda: _patch(ReceiptBook, "record_abandoned", lambda *_: None),
           _cell("reset before body", "create")),
    Mutant("amounts compared as floats, roughly", _near_enough, _cell("amounts rounded", "create")),
    Mutant("page skipped", _page_skipped, many_pages),
    Mutant("intent not read back",
           lambda: _patch(IntentBook, "read_back", lambda self, key, *_: _last(self, key)),
           _cell("error inside", "intent commit")),
    Mutant("what is there already is not looked for", lambda: _patch(post, "already_there", _nothing_found),
           lambda folder: backup_drill(folder, NEW, every=6)[1]),
    Mutant("another installation's marks are ours",
           lambda: _patch(PartnerBook, "installations", lambda _: _Everybody()), two_installations),
    Mutant("an undone key is used again", _undone_key_again, undo_and_again),
    Mutant("others' lines left out of a full list", _drops_others,
           lambda folder: person_edits(folder, "append", APPEND)),
    Mutant("a person's edit overwritten", _no_sequence,
           lambda folder: person_edits(folder, "recurring update", RECURRING)),
    Mutant("late landings not looked for", lambda: _both_late(), _late("create", "next period", "true")),
    Mutant("lines without their marks believed absent", lambda: _patch(halo_psa.HaloPsa, "unmarked", lambda *_: False),
           _cell("marker dropped", "append")),
    Mutant("items created without a search", lambda: _patch(items, "_find", lambda *_: None),
           _cell("reset after commit", "item create")),
    Mutant("network call inside a transaction", lambda: _call_inside(), _cell("DNS fails", "companies")),
]  # fmt: skip


@contextlib.contextmanager
def _both_late() -> Iterator[None]:
    with _patch(run, "look_for_late", lambda *_, **__: ()), _patch(post, "look_for_late", lambda *_, **__: ()):
        yield


class _Everybody(frozenset):  # type: ignore[type-arg]
    def __contains__(self, _: object) -> bool:
        return True


def _last(ledger: Any, key: str) -> Any:
    """The intent as its own connection meant it, kept or not."""
    found = ledger.postings(keys=(key,))
    return found[0] if found else mock.MagicMock(key=key, state="sending", action="create", lines=(), before=None)


def _call_inside() -> Any:
    true = IntentBook.record_intent

    def wrong(self: Any, fence: Any, *given: Any, **more: Any) -> Any:
        text = true(self, fence, *given, **more)
        with self.fenced(fence):
            _HALO[-1].item_groups()
        return text

    @contextlib.contextmanager
    def planted() -> Iterator[None]:
        write_ = post.write_posting

        def with_halo(context: Any, *given: Any) -> Any:
            _HALO.append(context.psa)
            return write_(context, *given)

        with _patch(IntentBook, "record_intent", wrong), _patch(post, "write_posting", with_halo):
            yield

    return planted()


_HALO: list[Any] = []

__all__ = ["MUTANTS", "Ledger", "Mutant", "late"]
