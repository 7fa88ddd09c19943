"""What the rules need of HaloPSA now and was not read for a kept plan, as other rules counted then."""

from __future__ import annotations

from billingsync.core.bill.plan import Plan
from billingsync.core.inputs import RunInputs
from billingsync.core.rules import Rulebook

UNREAD = "The rules need more of HaloPSA than was read for this plan"  # how the sentence begins
_READ = ("latest", "recurring")  # of such a client's invoices, which are read for no other


def needs_items(rulebook: Rulebook) -> bool:
    """Whether these rules find items of HaloPSA for any client."""
    every = [rulebook.base, *(file.rules for file in rulebook.clients)]
    return any(rules.products.lifecycle != "off" for rules in every)


def unread(plan: Plan, inputs: RunInputs, before: Plan | None, *, known: bool = False) -> str:
    """A sentence where this plan, made anew from the inputs of the plan `before`, may become another once HaloPSA is
    read again; "" else. `known`: it was said of the plan before, and HaloPSA was not read since."""
    parts = []
    if needs_items(inputs.rulebook) and not inputs.items:
        parts.append("its items")
    was = {client.company_id: (client.client_id, client.behavior) for client in before.clients} if before else {}
    moved = sum(
        1
        for client in plan.clients
        if client.behavior in _READ and was.get(client.company_id) not in (None, (client.client_id, client.behavior))
    )
    if moved:
        parts.append(f"the invoices of {moved} {'client' if moved == 1 else 'clients'}")
    if not parts and not known:
        return ""
    what = f": {' and '.join(parts)}" if parts else ""
    return f"{UNREAD}{what}. Read again before posting; until then it may be another."
