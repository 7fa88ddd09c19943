"""Carrying out what the desk asked for: each kind is one call of the function that the command calls too."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from billingsync.connect import Connections
from billingsync.core.desk import OrderKind, OrderState
from billingsync.core.money import plain
from billingsync.core.period import Period
from billingsync.core.progress import Progress, Say
from billingsync.core.states import GIVEN_BACK, STILL_BILLED, RunState, UndoState
from billingsync.errors import BillingSyncError, ConfigurationError, LedgerError, Locked, Refused, StalePlan, UsageError
from billingsync.report.progress import progress_text
from billingsync.run import mapping
from billingsync.run.context import now
from billingsync.run.plan import make_plan
from billingsync.run.run import post_digest
from billingsync.run.undo import preview, undo_run
from billingsync.run.undone import UndoResult
from billingsync.store.ledger import Ledger
from billingsync.store.orders import Order

BEAT_S = 15.0
SAY_S = 1.0  # progress is written down at most this often


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of an order: the run that it became, and what the page about it shows."""

    run: str | None = None
    outcome: Mapping[str, Any] = field(default_factory=dict)
    state: OrderState = OrderState.DONE


Carry = Callable[[Connections, Order, Say], Done]


def _plan(connected: Connections, order: Order, say: Say) -> Done:
    period = order.arguments.get("period")
    if period is None:
        from billingsync.run.fetch import newest_released

        month = newest_released(connected)
    else:
        month = Period.parse(str(period))
    planned = make_plan(connected, month, say=say)
    return Done(outcome={"period": planned.plan.period, "digest": planned.plan.digest})


def _post(connected: Connections, order: Order, say: Say) -> Done:
    assert order.digest is not None
    _, result = post_digest(connected, order.digest, who=order.who, say=say)
    state = OrderState.FAILED if result.state == RunState.FAILED else OrderState.DONE
    return Done(run=result.run, outcome={"state": result.state, "message": result.message}, state=state)


def _undo(connected: Connections, order: Order, say: Say) -> Done:
    """With `dry_run` what it would do; else exactly what was shown, or nothing."""
    asked = order.arguments
    run = str(asked["run"])
    if asked.get("dry_run"):
        return Done(outcome=_undone(preview(connected, run, say=say)))

    def as_shown(found: UndoResult) -> bool:
        # Of an undo that a process left half-done the rest is other than what was shown, and is still what was asked.
        return order.taken_over or bool(_undone(found)["digest"] == order.digest)

    credit = bool(asked.get("credit"))
    result = undo_run(connected, run, who=order.who, say=say, credit=credit, confirm=as_shown)
    if result is None:
        raise StalePlan("What undoing would do has changed since you looked. Nothing was undone; look again.")
    return Done(
        run=run,
        outcome=_undone(result),
        state=OrderState.FAILED if result.state == UndoState.FAILED else OrderState.DONE,
    )


def _undone(result: UndoResult) -> dict[str, Any]:
    """What an undo did, or would do, and a digest of that."""
    postings = []
    for posting in result.postings:
        removed, _ = posting.sum(*GIVEN_BACK)
        kept, _ = posting.sum(*STILL_BILLED)
        postings.append(
            {
                "client": posting.client_name,
                "invoice_id": posting.invoice_id,
                "currency": posting.currency,
                "outcome": posting.outcome,
                "invoice": posting.invoice,
                "removed": plain(removed, posting.currency),
                "kept": plain(kept, posting.currency),
                "problem": posting.problem,
                "lines": [
                    [line.action, line.text, plain(line.amount, posting.currency), line.fate, line.why]
                    for line in posting.lines
                ],
            }
        )
    digest = hashlib.sha256(json.dumps(postings, sort_keys=True).encode()).hexdigest()
    stays = [
        {
            "client": one.client_name,
            "amount": plain(one.amount, one.currency),
            "currency": one.currency,
            "credit_run": one.credit_run,
        }
        for one in result.stays
    ]
    return {"state": result.state, "period": result.period, "postings": postings, "stays": stays, "digest": digest}


def _map_company(connected: Connections, order: Order, say: Say) -> Done:
    """Maps a company, and plans its month anew, so that the page shows what it changed."""
    asked = order.arguments
    rows = mapping.companies(connected, say=say)
    client = asked.get("client")
    _as_shown(order, rows, str(asked["company"]), asked.get("was"), client)
    says = mapping.set_company(
        connected, str(asked["company"]), None if client is None else int(client), who=order.who, now=now(), rows=rows
    )
    return _planned_anew(connected, order, say, says)


def _confirm_guessed(connected: Connections, order: Order, say: Say) -> Done:
    """Confirms the guesses that a person chose, and plans the month anew. All must be what was shown, or none is kept;
    what a process that died had confirmed already is as it should be."""
    rows = {row.pax8_id: row for row in mapping.companies(connected, say=say)}
    chosen = []
    for company, client in order.arguments["pairs"]:
        row = rows.get(company)
        if row is None or row.halo_id != client or row.how.startswith("client_"):
            name = row.pax8_name if row else company
            raise Refused(f"The guess for {name} is another one now. No guess was confirmed. Look at Clients again.")
        chosen.append(row)
    says = mapping.confirm_guessed(connected, chosen, who=order.who, now=now())
    return _planned_anew(connected, order, say, "\n".join(says))


def _map_product(connected: Connections, order: Order, say: Say) -> Done:
    """Maps a product to an item, and plans the month anew."""
    asked = order.arguments
    rows = mapping.products(connected, say=say)
    _as_shown(order, rows, str(asked["sku"]), asked.get("was"), int(asked["item"]))
    says = mapping.set_product(connected, str(asked["sku"]), [int(asked["item"])], who=order.who, now=now(), rows=rows)
    return _planned_anew(connected, order, say, says)


def _map_products(connected: Connections, order: Order, say: Say) -> Done:
    """Maps the products of a file, and plans the month anew."""
    rows = mapping.products(connected, say=say)
    pairs = []
    for sku, item, was in order.arguments["pairs"]:
        _as_shown(order, rows, str(sku), was, int(item))
        pairs.append((str(sku), int(item)))
    says = mapping.set_products(connected, pairs, who=order.who, now=now(), rows=rows)
    return _planned_anew(connected, order, say, says)


def _as_shown(order: Order, rows: list[mapping.Row], pax8_id: str, was: object, asked: object) -> None:
    """Refused where somebody else changed the mapping since the page was made. What a process that died had mapped
    already is as it should be."""
    row = next((row for row in rows if row.pax8_id == pax8_id), None)
    if row is not None and order.taken_over and row.halo_id == asked:
        return
    if row is not None and row.halo_id != was and row.who:
        raise Refused(
            f"{row.pax8_name} was mapped to {row.halo_name or 'nothing'} by {row.who} in the meantime. Nothing was "
            "changed. Look at it again."
        )


def _planned_anew(connected: Connections, order: Order, say: Say, says: str) -> Done:
    period = order.arguments.get("period")
    if period is None:
        return Done(outcome={"message": says})
    planned = make_plan(connected, Period.parse(str(period)), say=say)
    return Done(outcome={"message": says, "period": planned.plan.period, "digest": planned.plan.digest})


CARRIES: Mapping[OrderKind, Carry] = {
    OrderKind.PLAN: _plan,
    OrderKind.POST: _post,
    OrderKind.UNDO: _undo,
    OrderKind.MAP_COMPANY: _map_company,
    OrderKind.CONFIRM_GUESSED: _confirm_guessed,
    OrderKind.MAP_PRODUCT: _map_product,
    OrderKind.MAP_PRODUCTS: _map_products,
}


class Carrier:
    """One process's hands for orders. `connect` opens what a run needs; `carries` are the kinds that it knows."""

    def __init__(
        self,
        ledger: Ledger,
        connect: Callable[[], AbstractContextManager[Connections]],
        *,
        kind: str,
        carries: Mapping[OrderKind, Carry] = CARRIES,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self.ledger, self.kind, self.clock = ledger, kind, clock
        self.id = secrets.token_hex(8)
        self._connect, self._carries = connect, carries
        self._begun: set[str] = set()

    def show_life(self) -> None:
        self.ledger.show_life(self.id, self.kind, self.clock())

    def one(self) -> bool:
        """Carries out one order, if any waits. Whether one was carried out to its end. Raises LedgerError only, and
        what stops a process."""
        order = self.ledger.claim_order(self.id, self.clock(), kind=self.kind)
        if order is None:
            return False
        log = structlog.get_logger("desk").bind(order=order.id, kind=order.kind)
        log.info("order begun", who=order.who)
        with self._alive():
            try:
                done = self._carry(order)
            except Locked as busy:
                self.ledger.put_order_back(order.id, self.id, busy.message)
                return False
            except LedgerError:
                raise
            except BillingSyncError as failed:
                done = _failed(failed)
            except Exception as bug:
                # Our own mistake must not stop the service, nor be tried again and again.
                log.error("order failed", exc_info=True)
                says = "billingsync failed in a way that it should not; the log says more."
                done = Done(
                    state=OrderState.FAILED, outcome={"code": "BS-BUG", "message": says, "bug": type(bug).__name__}
                )
        self.ledger.end_order(order.id, self.id, done.state, run=done.run, outcome=done.outcome, now=self.clock())
        log.info("order ended", state=done.state.value)
        return True

    def _carry(self, order: Order) -> Done:
        carry = self._carries.get(OrderKind(order.kind))
        if carry is None:
            raise UsageError(f"This process cannot carry out an order of the kind {order.kind}.")
        said_at = -SAY_S

        def say(progress: Progress) -> None:
            nonlocal said_at
            if time.monotonic() - said_at >= SAY_S:
                said_at = time.monotonic()
                self.ledger.say_of_order(order.id, self.id, progress_text(progress))

        with self._connect() as connected:
            return carry(connected, order, say)

    @contextmanager
    def _alive(self) -> Iterator[None]:
        """Shows life from a thread of its own, as an order may take many minutes."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.is_set():
                with suppress(LedgerError):  # the order itself finds out
                    self.show_life()
                ended.wait(BEAT_S)

        self.show_life()
        beating = threading.Thread(target=beat, name="life", daemon=True)
        beating.start()
        try:
            yield
        finally:
            ended.set()
            beating.join()


def _failed(failed: BillingSyncError) -> Done:
    refused = isinstance(failed, (Refused, UsageError, ConfigurationError))
    outcome = {
        "code": failed.code,
        "message": failed.message,
        "next_steps": [list(step) for step in failed.next_steps],
    }
    return Done(state=OrderState.REFUSED if refused else OrderState.FAILED, outcome=outcome)
