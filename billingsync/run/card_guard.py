"""Before a first card is written: the whole tenant is searched for marks that this ledger does not know [N6]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from billingsync.connect import Connections
from billingsync.run.already_there import marks_of, no_strangers
from billingsync.run.context import RunContext
from billingsync.run.tenant import read_tenant


@dataclass(slots=True)
class TenantSearch:
    """The search of one command or cycle: made before its first write, and once."""

    forgotten: Mapping[int, str] | None = None

    def held(self, connected: Connections, context: RunContext, client_id: int) -> str:
        """Why no card of this client may be written; "" where it may. Raises as `search_tenant`."""
        if self.forgotten is None:
            self.forgotten = search_tenant(connected, context)
        return self.forgotten.get(client_id, "")


def search_tenant(connected: Connections, context: RunContext) -> Mapping[int, str]:
    """By client why no card of it may be written: HaloPSA has a posting of ours that the ledger forgot, so that what
    looks unbilled may be billed, and a line that looks kept by hand may be the billing job's.

    Raises OtherInstallation where another billingsync writes to the tenant, UpstreamError where it cannot be read."""
    tenant = read_tenant(connected, context.period, context.say)
    everything = (*tenant.templates, *tenant.invoices)
    no_strangers(context, everything)
    ledger = connected.ledger
    known = {*ledger.card_keys()}
    for month in (context.period.previous, context.period):
        known |= ledger.states(period=month).keys()
    forgotten: dict[int, str] = {}
    for invoice in everything:
        if invoice.void or invoice.client_id is None:
            continue
        for mark in marks_of(invoice):
            if mark.key in known or mark.of_card:
                continue
            if ledger.find_posting(mark.key) is not None:
                known.add(mark.key)
                continue
            forgotten[invoice.client_id] = (
                f"HaloPSA invoice {invoice.id} carries posting {mark.key}, which this ledger does not know: perhaps it "
                "was put back to an older state. Run that month again first: billingsync takes over what is there"
            )
    return forgotten
