"""The orders of the desk about comparing, beside those about billing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from billingsync.connect import Connections
from billingsync.core.desk import OrderKind, OrderState
from billingsync.core.progress import Say
from billingsync.core.reconcile.compare import compare
from billingsync.core.reconcile.expiring import CommitmentTerms
from billingsync.core.reconcile.taken import SnapshotState
from billingsync.core.schedule import local_day
from billingsync.errors import UpstreamError
from billingsync.reconcile.approval import Approval, CardResult, exit_code
from billingsync.reconcile.inputs import inputs_for
from billingsync.reconcile.pair import pair
from billingsync.reconcile.reconcile import books_of, documented
from billingsync.reconcile.snapshot import Why, take
from billingsync.reconcile.take_back import TakeBack, undo
from billingsync.reconcile.write_back import approve
from billingsync.report.card_results import result_document, result_sentence
from billingsync.run import orders
from billingsync.run.context import now
from billingsync.run.orders import Carry, Done
from billingsync.store.cards import choice_of
from billingsync.store.orders import Order
from billingsync.store.snapshots import SnapshotEntry

WITHIN = 90  # days: of what ends within them the terms are asked for


def _snapshot(connected: Connections, order: Order, say: Say) -> Done:
    """A snapshot, and what Pax8 documents of the commitments that end soon. One that was taken after this was asked
    for will do."""
    entries = connected.ledger.snapshots()
    taken = entries[-1] if entries and entries[-1].as_at >= order.at else take(connected, why=Why.COMMAND, say=say)
    if taken.state is not SnapshotState.WHOLE:
        says = f"Snapshot {taken.id} is not whole, so nothing is compared with it: {' '.join(taken.missing)}"
        steps = [["billingsync", "doctor"]]
        outcome = {"code": "BS-NO-SNAPSHOT", "message": says, "next_steps": steps, "snapshot": taken.id}
        return Done(outcome=outcome, state=OrderState.FAILED)
    said = f"Snapshot {taken.id} was taken."
    if taken.suspect and not taken.confirmed_by:
        said += f" Much is gone since the last one ({', '.join(taken.suspect)}): look before you believe it."
    return Done(outcome={"snapshot": taken.id, "message": said, "documented": _documented(connected, taken, say)})


def _documented(connected: Connections, taken: SnapshotEntry, say: Say) -> dict[str, Any]:
    """By commitment id; nothing where Pax8 does not answer: the snapshot is good without it."""
    found = compare(inputs_for(books_of(connected.ledger, connected.settings), taken, None))
    today = local_day(now(), connected.settings.zone)
    try:
        terms = documented(connected, found, today, within=WITHIN, say=say)
    except UpstreamError:
        return {}
    return {id: {name: getattr(one, name) for name in CommitmentTerms.__slots__} for id, one in terms.items()}


def _approve_cards(connected: Connections, order: Order, say: Say) -> Done:
    asked = order.arguments
    approval = Approval(
        who=order.who,
        digests=tuple(asked["digests"]),
        choice=choice_of(asked.get("choice")),
        over_limit=bool(asked.get("over_limit")),
        reason=str(asked.get("reason", "")),
    )
    return _told(approve(connected, approval, say=say))


def _undo_cards(connected: Connections, order: Order, say: Say) -> Done:
    asked = order.arguments
    back = TakeBack(who=order.who, digests=tuple(asked["digests"]), reason=str(asked.get("reason", "")))
    return _told(undo(connected, back, say=say))


def _told(results: Sequence[CardResult]) -> Done:
    """What became of each card, by the worst of them."""
    code = exit_code(results)
    state = {0: OrderState.DONE, 1: OrderState.FAILED}.get(code, OrderState.REFUSED)
    says = "\n".join(result_sentence(one) for one in results)
    told = {"message": says, "results": [result_document(one) for one in results]}
    return Done(outcome=told | ({"code": _CODES[code]} if code else {}), state=state)


_CODES = {1: "BS-FAILED", 3: "BS-CARD-BLOCKED", 5: "BS-STALE-CARD"}


def _pair_card(connected: Connections, order: Order, say: Say) -> Done:
    asked = order.arguments
    cards = pair(connected, str(asked["digest"]), int(asked["line"]), who=order.who, say=say)
    says = "\n".join(f"{one.client_name}, {one.product}: {one.kind} on line {one.line_id}." for one in cards)
    return Done(outcome={"message": says})


CARRIES: Mapping[OrderKind, Carry] = {
    **orders.CARRIES,
    OrderKind.SNAPSHOT: _snapshot,
    OrderKind.APPROVE_CARDS: _approve_cards,
    OrderKind.UNDO_CARDS: _undo_cards,
    OrderKind.PAIR_CARD: _pair_card,
}
