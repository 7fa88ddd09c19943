"""What differs between a plan as it was shown and as it would be now."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from billingsync.core.bill.plan import PlannedTarget
from billingsync.run.plan import Planned
from billingsync.store.ledger import Ledger


def changes_since(document: str, planned: Planned) -> list[str]:
    """What differs, client by client, between a plan as it was shown and as it is now; empty where the rest of an
    interrupted posting of that very plan is all that is left."""
    shown, clients = json.loads(document), planned.document["clients"]
    assert isinstance(clients, list)
    changes = _clients_changed(shown["clients"], clients, planned.inputs.memory.settled)
    return changes + _targets_changed(shown.get("targets", ()), planned.plan.targets)


def changes_between(ledger: Ledger, before: str, after: str) -> list[str]:
    """What differs between two kept plans, client by client. Only clients whose part differs are read."""
    old, new = ledger.client_rows(before), ledger.client_rows(after)
    same = {row.body for row in old} & {row.body for row in new}
    shown, now = (
        list(ledger.last_bodies(digest, [row.nth for row in rows if row.body not in same]).values())
        for digest, rows in ((before, old), (after, new))
    )
    return _clients_changed(shown, now, {})


def _clients_changed(
    shown: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]], settled: Mapping[str, object]
) -> list[str]:
    shown_clients = {_client_key(client): client for client in shown}
    now_clients = {_client_key(client): client for client in now}
    changes = []
    for key in sorted({*shown_clients, *now_clients}):
        before, after = shown_clients.get(key), now_clients.get(key)
        if before is not None and after is None:
            ids = [charge for line in before["lines"] for charge in line["charges"]]
            ids += [entry["charge"] for name in ("dropped", "excluded") for entry in before[name]]
            if before["holds"] or not all(_done(settled, charge) for charge in ids):
                changes.append(f"{before['company_name']}: {before['amount']} {before['currency']} before, nothing now")
        elif before is None and after is not None:
            changes.append(f"{after['company_name']}: nothing before, {after['amount']} {after['currency']} now")
        elif before is not None and after is not None and _facts(before) != _facts(after):
            if _facts(_rest(before, after, settled), after) == _facts(after):
                continue  # what is missing was posted or left out by this very plan
            changes.append(f"{after['company_name']}: {_difference(before, after)}")
    return changes


def _targets_changed(shown: Iterable[Mapping[str, Any]], now: Iterable[PlannedTarget]) -> list[str]:
    """What people changed on the invoices that lines would still go to, line by line [V3]."""
    before = {one["invoice_id"]: one for one in shown}
    changes = []
    for target in now:
        if (was := before.get(target.invoice_id)) is None:
            continue
        where = f"{target.client_name}, invoice {abs(target.invoice_id)}"
        if target.closed != (was["closed"] or ""):
            changes.append(f"{where}: it {target.closed or 'is open again'}")
        for id_ in sorted({*was["lines"], *target.lines}, key=lambda one: (len(one), one)):
            old, new = was["lines"].get(id_), target.lines.get(id_)
            if old is None and new is not None:
                changes.append(f"{where}: line added: {_line(new)}")
            elif old is not None and new is None:
                changes.append(f"{where}: line removed: {_line(old)}")
            elif old is not None and new is not None and list(old) != list(new):
                changes.append(f"{where}: line changed: {_line(old)}; now {_line(new)}")
    return changes


def _line(said: Sequence[str]) -> str:
    title, quantity, price, amount, inactive = said
    return f"{title:.80}, {quantity} x {price}{f' = {amount}' if amount else ''}{f', {inactive}' if inactive else ''}"


def _done(settled: Mapping[str, object], charge: str) -> bool:
    return charge in settled


def _client_key(client: Mapping[str, object]) -> str:
    return f"{client['company_id']}"


def _rest(client: Mapping[str, Any], now: Mapping[str, Any], settled: Mapping[str, object]) -> Mapping[str, Any]:
    """What of a client's part is still to be decided: without lines and entries whose charges all are settled, and
    without lines that were to come off and are not there `now`."""
    still = [line["line_id"] for line in now["lines"] if not line["charges"]]

    def open_(line: Mapping[str, Any]) -> bool:
        if not line["charges"]:
            return line["line_id"] in still
        return not all(_done(settled, charge) for charge in line["charges"])

    return {
        **client,
        "lines": [line for line in client["lines"] if open_(line)],
        **{
            name: [entry for entry in client[name] if not _done(settled, entry["charge"])]
            for name in ("dropped", "excluded")
        },
    }


def _facts(client: Mapping[str, object], other: Mapping[str, object] | None = None) -> object:
    """What must be the same; where no line is left to post, it does not matter where lines of `other` would go."""
    lines = client["lines"]
    assert isinstance(lines, list)
    facts = [
        [
            line[name]
            for name in ("action", "line_id", "description", "quantity", "unit_price", "amount", "cost", "charges")
        ]
        for line in lines
    ]
    left = [sorted(entry["charge"] for entry in _list(client, name)) for name in ("dropped", "excluded", "holds")]
    target = client["target_invoice_id"] if lines or other is None else other["target_invoice_id"]
    return [client["client_id"], target, facts, left]


def _list(client: Mapping[str, object], name: str) -> list[dict[str, str]]:
    found = client[name]
    assert isinstance(found, list)
    return found


def _difference(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    held = f", held now: {after['held'].replace('_', ' ')}" if isinstance(after["held"], str) else ""
    if before["client_id"] != after["client_id"]:
        now = f"HaloPSA client {after['client_id']}" if after["client_id"] is not None else "no HaloPSA client"
        return f"was for HaloPSA client {before['client_id']}, now for {now}{held}"
    if before["target_invoice_id"] != after["target_invoice_id"]:
        one, other = (
            f"invoice {x}" if x is not None else "a new invoice"
            for x in (before["target_invoice_id"], after["target_invoice_id"])
        )
        return f"was for {one}, now for {other}{held}"
    if before["amount"] != after["amount"]:
        return f"{before['amount']} before, {after['amount']} {after['currency']} now{held}"
    if before["held"] != after["held"]:
        return f"held before: {before['held'] or 'no'}, now: {after['held'] or 'no'}"
    return "the amount is the same, but lines, texts or holds are not"
