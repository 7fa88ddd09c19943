"""One charge, hop by hop, with what decided each: the way through `plan_run`, told for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from billingsync.connect import Connections
from billingsync.core.charge import Charge
from billingsync.core.money import plain
from billingsync.core.period import Period
from billingsync.core.plan import ClientPlan, Plan
from billingsync.core.rules import Rules
from billingsync.errors import UsageError
from billingsync.run import Planned, make_plan, newest_released


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    charge: str
    hops: tuple[tuple[str, str], ...]


def explanation(connections: Connections, text: str, *, say: Callable[[str], None]) -> Explanation:
    """Looks for the charge in the month whose source has it, newest first. UsageError where none has it."""
    wanted = text.strip()
    invoice = wanted.partition(":")[0]
    months = [row.period for row in connections.ledger.source_invoices() if row.invoice_id == invoice]
    period = Period.parse(months[0]) if months else newest_released(connections)
    planned = make_plan(connections, period, say=say)
    charges = [charge for source in planned.inputs.sources for charge in source.charges]
    found = [charge for charge in charges if charge.id == wanted] or [
        charge for charge in charges if wanted in charge.id
    ]
    if len(found) != 1:
        what = f"{len(found)} charges of {period} match" if found else f"No charge of {period} matches"
        raise UsageError(f"{what} {text!r:.80}. Give INVOICE:ITEM.", next_steps=[["billingsync", "plan", str(period)]])
    charge = found[0]
    return Explanation(charge=charge.id, hops=tuple(_hops(connections, charge, planned)))


def _hops(connections: Connections, charge: Charge, planned: Planned) -> list[tuple[str, str]]:
    plan = planned.plan
    client = next((one for one in plan.clients if one.company_id == charge.company_id), None)
    rulebook = planned.inputs.rulebook
    file = rulebook.file_for(
        company_id=charge.company_id,
        company_name=client.company_name if client else charge.company_name,
        client_id=client.client_id if client else None,
    )
    rules = file.rules if file else rulebook.base
    money = (
        f"price {plain(charge.price, charge.currency)}, cost {plain(charge.cost, charge.currency)} {charge.currency}"
    )
    hops = [("1 read", f"Pax8 invoice {charge.invoice_id}, {charge.type or 'no type'}: {charge.product}; {money}")]
    if charge.problem:
        hops.append(("1 read", f"an amount cannot be used: {charge.problem}"))
    if client and client.client_id is not None:
        hops.append(
            (
                "2 client",
                f"{client.company_name} is HaloPSA client {client.client_name} ({client.client_id}), "
                f"by {client.matched_by} {client.guessed}".strip(),
            )
        )
    else:
        hops.append(("2 client", f"{charge.company_name or 'no company'}: no HaloPSA client"))
    settled = planned.inputs.memory.settled.get(charge.id)
    if settled and settled.state in ("dropped", "excluded"):
        hops.append(("3 modifiers", f"{settled.state} by {settled.by} in an earlier run, which stays so [R3]"))
        return hops
    fate, line_hops = _fate(charge, plan, client, rules)
    hops += fate
    if settled and settled.state == "posted":
        hops += _posted(connections, charge)
    else:
        hops += line_hops
    return hops


def _fate(
    charge: Charge, plan: Plan, client: ClientPlan | None, rules: Rules
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The hop at which it stopped, or those of its line."""
    excluded = [*plan.unassigned_excluded, *(client.excluded if client else ())]
    for entry in excluded:
        if entry.charge == charge.id:
            key = {"charge_type": "exclude.types", "billed_by_pax8": "exclude.billed_by_pax8"}.get(entry.rule, "")
            return [("3 modifiers", f"excluded by rule {entry.rule}{_said(rules, key)}")], []
    for gone in client.dropped if client else ():
        if gone.charge == charge.id:
            return [("3 modifiers", f"dropped by {gone.modifier}{_said(rules, f'modifiers.{gone.modifier}')}")], []
    for hold in client.holds if client else ():
        if hold.charge == charge.id:
            return [("held", f"{hold.reason}: {hold.detail}"), ("next", hold.next_step)], []
    hops = []
    for line in client.lines if client else ():
        if charge.id in line.charges:
            together = f"together with {len(line.charges) - 1} others, " if len(line.charges) > 1 else ""
            hops.append(("3 modifiers", f"{together}kept{_said(rules, 'modifiers.azure')}"))
            item = "text only" if line.item is None else f"item {line.item.name} ({line.item.id or 'to be created'})"
            hops.append(("4 product", f"{item}{_said(rules, 'products.lifecycle')}"))
            target = (
                "a new invoice"
                if client and client.target_invoice_id is None
                else f"invoice {client and client.target_invoice_id}"
            )
            hops.append(("5 target", f"{line.action} on {target}{_said(rules, 'invoice.behavior')}"))
            hops.append(
                ("6 line", f"{plain(line.quantity)} x {plain(line.unit_price)} = {line.amount}: {line.description}")
            )
    return [], hops


def _posted(connections: Connections, charge: Charge) -> list[tuple[str, str]]:
    hops = []
    for claim in connections.ledger.claims_of(charge.id):
        if not claim.live:
            continue
        row = connections.ledger.postings(key=claim.key)[0]
        line = row.lines[claim.line]
        item = "text only" if line.item_id is None else f"item {line.item_id}"
        hops.append(("4 product", item))
        hops.append(("5 target", f"{row.action} on invoice {row.invoice_id} of {row.client_name}"))
        hops.append(
            ("6 line", f"{plain(line.quantity)} x {plain(line.unit_price)} = {line.amount}: {line.description}")
        )
        hops.append(("posted", f"{row.state} by run {row.run}, key {row.key}"))
    return hops


def _said(rules: Rules, key: str) -> str:
    """ " (modifiers.azure in rules/clients/contoso.toml)", or that it is the default."""
    if not key:
        return ""
    return f" ({key} {'in ' + rules.origins[key] if key in rules.origins else 'by default'})"
