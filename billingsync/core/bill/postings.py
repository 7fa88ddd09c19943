"""Lines -> postings, with their derived keys [B1] [N1]."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from billingsync.core.bill.company import Work
from billingsync.core.bill.plan import PlanLine, PlannedTarget, Posting
from billingsync.core.bill.templates import currency_of
from billingsync.core.inputs import RunInputs
from billingsync.core.invoice import InvoiceLine
from billingsync.core.money import ZERO, plain
from billingsync.core.states import LineAction, PostingAction


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a posting goes: its client and, but for a new invoice, which one. `action` as in `Posting`."""

    key_name: str
    period: str
    client_id: int
    client_name: str
    action: PostingAction
    invoice_id: int | None


def postings_of(works: Sequence[Work], inputs: RunInputs) -> tuple[Posting, ...]:
    """One posting a client, target and group [B1], with its derived key [N1]. Companies of one client share them."""
    together: dict[tuple[int, PostingAction, int | None, str, str], list[tuple[Work, PlanLine]]] = defaultdict(list)
    for work in works:
        invoice = work.target.invoice.id if work.target.invoice else None
        client_id, action, currency = work.client_id, work.target.action, work.currency
        for line in work.lines:
            assert client_id is not None
            together[client_id, action, invoice, line.group, currency].append((work, line))
        for gone in work.removals:
            owner = gone.template.client_id or 0
            money = gone.template.currency or currency_of(gone.line.recurring_key)
            together[owner, PostingAction.UPDATE, gone.template.id, "", money].append((work, gone.line))
    names = {client.id: client.name for client in inputs.clients}
    postings = []
    for (client_id, action, invoice, group, currency), members in together.items():
        lines = tuple(line for _, line in members)
        base = base_key(inputs.named_in_keys, client_id, f"{action}:{_text(invoice)}:{inputs.period}", lines)
        generation = inputs.memory.generations.get(base, 0)
        postings.append(
            Posting(
                key=key_of(base, generation),
                base_key=base,
                generation=generation,
                action=action,
                client_id=client_id,
                client_name=names.get(client_id, ""),
                invoice_id=invoice,
                group=group,
                currency=currency,
                amount=sum((line.amount for line in lines), ZERO),
                cost=sum((line.cost for line in lines), ZERO),
                lines=lines,
            )
        )
    return tuple(postings)


def targets_of(works: Sequence[Work]) -> tuple[PlannedTarget, ...]:
    """The existing invoices that lines would go to, as they are [V3]."""
    found: dict[int, PlannedTarget] = {}
    for work in works:
        invoice = work.target.invoice
        if invoice is not None and work.lines and invoice.id not in found:
            client = work.match.client
            found[invoice.id] = PlannedTarget(
                invoice_id=invoice.id,
                client_name=client.name if client else work.company.name,
                closed=invoice.closed,
                lines={str(line.id): _said(line) for line in invoice.lines},
            )
    return tuple(found[id_] for id_ in sorted(found))


def _said(line: InvoiceLine) -> tuple[str, ...]:
    amount = "" if line.net_amount is None else plain(line.net_amount)
    inactive = "inactive" if line.inactive else ""
    return (line.title, plain(line.quantity), plain(line.unit_price), amount, inactive)


def base_key(key_name: str, client_id: int, target: str, lines: Sequence[PlanLine]) -> str:
    """What a posting's key is derived from: who is billed, where, and for which charges [N1]."""
    charges = sorted({charge for line in lines for charge in line.charges})
    removed = sorted(f"-{line.line_id}" for line in lines if line.action == LineAction.REMOVE)
    return _hash([key_name, client_id, target, charges, removed])


def elsewhere(posting: Posting, lines: Sequence[PlanLine], place: Place, removed: Sequence[PlanLine] = ()) -> Posting:
    """These lines as they would have been posted at another place, in its first generation: a mapping, a behavior or a
    target may have been another one when they were. `removed` is what that posting took off its template as well."""
    added = [replace(line, action=LineAction.ADD, line_id=None) for line in lines if line.action != LineAction.REMOVE]
    kept = (*added, *removed)
    target = f"{place.action}:{_text(place.invoice_id)}:{place.period}"
    base = base_key(place.key_name, place.client_id, target, kept)
    return replace(
        posting,
        key=base,
        base_key=base,
        generation=0,
        action=place.action,
        client_id=place.client_id,
        client_name=place.client_name,
        invoice_id=place.invoice_id,
        amount=sum((line.amount for line in kept), ZERO),
        cost=sum((line.cost for line in kept), ZERO),
        lines=kept,
    )


def _text(invoice_id: int | None) -> str:
    return "" if invoice_id is None else str(invoice_id)


def key_of(base: str, generation: int) -> str:
    """A posting's key in a generation: each undo raises it, so that the same may be posted again [N1] [R5]."""
    return base if generation == 0 else _hash([base, generation])


def _hash(parts: list[object]) -> str:
    """A posting's key: 20 hex digits, the same for the same content on every machine [N1]."""
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()[:20]
