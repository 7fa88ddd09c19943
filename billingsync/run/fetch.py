"""What Pax8 and HaloPSA say about a period, read for one plan; raw sources are kept [S3]."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from billingsync.connect import Connections
from billingsync.core.bill.changed import changes
from billingsync.core.bill.company import clients_billed
from billingsync.core.bill.trueup import to_take_back
from billingsync.core.charge import Source
from billingsync.core.inputs import Client, Company, Item, RunInputs
from billingsync.core.invoice import Invoice
from billingsync.core.period import Period
from billingsync.core.progress import Progress, Say, Stage
from billingsync.core.rules import Rulebook
from billingsync.core.states import PostingAction
from billingsync.errors import NotReleased, Refused
from billingsync.http import in_parallel
from billingsync.psa.psa import Clients
from billingsync.run.context import now
from billingsync.run.tenant import Tenant, read_templates, read_tenant
from billingsync.run.unread import needs_items
from billingsync.sources.source import Fetched
from billingsync.store.sources import SeenInvoice

CLIENTS_AT_ONCE = 50  # in one search: the address stays short


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """What Pax8 and HaloPSA say about a period, read once for a run."""

    sources: tuple[Source, ...]
    companies: tuple[Company, ...]
    clients: tuple[Client, ...]
    items: tuple[Item, ...] = ()
    credited: frozenset[str] = frozenset()  # Pax8 invoices that count no longer
    listed: Mapping[str, bool] = field(default_factory=dict)  # all of Pax8's invoices: whether each counts
    short: bool = False  # the clients lack what only their details show
    templates: tuple[Invoice, ...] | None = None  # all recurring invoices, where they have been read
    tenant: Tenant | None = None  # what HaloPSA shows of our markers, where it has been read


def newest_released(connected: Connections) -> Period:
    """The newest month that Pax8 has released."""
    released = connected.pax8.released()
    if not any(month.invoices for month in released):
        raise NotReleased("Pax8 lists no invoice at all yet.", next_steps=[["billingsync", "periods"]])
    return max((month for month in released if month.invoices), key=lambda month: month.period).period


class Beside(StrEnum):
    """What of our own writes is read in the same time: only where no write was left open that may still change it."""

    NOTHING = "nothing"
    TEMPLATES = "templates"  # the recurring invoices
    TENANT = "tenant"  # and what all of HaloPSA shows of our markers


def fetch(
    connected: Connections, period: Period, rulebook: Rulebook, say: Say, beside: Beside = Beside.NOTHING
) -> Upstream:
    """Read everything a plan of this period needs; Pax8 and HaloPSA at the same time. Keeps the raw source [S3].

    Raises NotReleased, NotReady, UpstreamError. Nothing of a partial read is used [S2].
    """
    say(Progress(stage=Stage.READ_MONTH, about=str(period)))
    group = rulebook.base.products.item_group
    # Not an executor: the interpreter waits for an executor's threads, and Ctrl-C would wait for a dead network.
    calls: list[Callable[[], Any]] = [
        lambda: _fetch_source(connected, period),
        connected.pax8.companies,
        connected.psa.clients,
        lambda: connected.psa.items(group) if needs_items(rulebook) else (),
        connected.pax8.listed,
    ]
    if beside is Beside.TENANT:
        calls.append(lambda: read_tenant(connected, period))
    elif beside is Beside.TEMPLATES:
        calls.append(lambda: read_templates(connected))
    read: list[Any] = in_parallel(lambda call: call(), calls, len(calls))
    fetched: Fetched = read[0]
    companies: tuple[Company, ...] = read[1]
    clients: Clients = read[2]
    items: tuple[Item, ...] = read[3]
    found = Upstream(
        sources=fetched.sources,
        companies=companies,
        clients=clients.rows,
        items=items,
        credited=frozenset(one.invoice_id for one in fetched.skipped),
        short=clients.short,
        listed=read[4],
        templates=read[5] if beside is Beside.TEMPLATES else None,
        tenant=read[5] if beside is Beside.TENANT else None,
    )
    if not fetched.sources and not connected.ledger.looks_after(period):
        # Every invoice of the month was voided or credited: what takes their place is not out yet [R2].
        skipped = ", ".join(f"{one.invoice_id} ({one.status})" for one in fetched.skipped[:3])
        raise NotReleased(
            f"Pax8 has no invoice of {period} that counts: {skipped}. A new one has not been issued yet.",
            next_steps=[["billingsync", "periods"]],
        )
    keep_sources(connected, period, fetched)
    del read, fetched
    return found


def keep_sources(connected: Connections, period: Period, fetched: Fetched) -> None:
    """Keeps the raw source of a period, and what became of its invoices [S3]."""
    seen = [
        SeenInvoice(
            invoice_id=source.invoice_id,
            status=source.status,
            currency=source.currency,
            total=source.total,
            charges=len(source.charges),
        )
        for source in fetched.sources
    ]
    seen += [
        SeenInvoice(
            invoice_id=skipped.invoice_id, status=skipped.status, currency="", total=skipped.total, charges=None
        )
        for skipped in fetched.skipped
    ]
    connected.ledger.save_sources(period, fetched.documents, seen, now())


def _fetch_source(connected: Connections, period: Period) -> Fetched:
    try:
        return connected.pax8.fetch(period)
    except NotReleased as missing:
        if connected.ledger.looks_after(period):  # it was there, and was billed: it is as good as credited [R2]
            return Fetched(sources=(), skipped=(), documents=())
        raise _with_released_months(connected, missing) from missing


def _with_released_months(connected: Connections, missing: NotReleased) -> NotReleased:
    """The same refusal, with the newest months that are there: the month may be a slip of the finger."""
    months = [str(month.period) for month in connected.pax8.released()[:3]]
    there = f" Released: {', '.join(months)}." if months else ""
    steps = [["billingsync", "plan", months[0]]] if months else [["billingsync", "periods"]]
    return NotReleased(f"{missing.message}{there}", next_steps=steps)


def detailed(connected: Connections, inputs: RunInputs) -> tuple[Client, ...]:
    """The clients, with the details of those that are billed this month: currency, payer, whether to invoice at all."""
    wanted = clients_billed(inputs)
    details = {id_: connected.psa.client(id_) for id_ in sorted(wanted)}
    return tuple(details.get(client.id) or client for client in inputs.clients)


def existing_invoices(
    connected: Connections, inputs: RunInputs, templates: Sequence[Invoice] | None = None
) -> tuple[Invoice, ...]:
    """The invoices that `latest` and `recurring` may write to, with their lines, as they are now. `templates` are all
    recurring invoices where they have been read already."""
    rules = [inputs.rulebook.base, *(file.rules for file in inputs.rulebook.clients)]
    recurring = {
        abs(one.invoice.recurring_invoice)
        for one in rules
        if one.invoice.behavior == "recurring" and one.invoice.recurring_invoice is not None
    }
    recurring |= {abs(line.invoice_id) for line in inputs.memory.written_lines}  # those that still have lines of ours
    billed = clients_billed(inputs)
    listed = {abs(one.id): one for one in (read_templates(connected) if templates is None else templates)}
    # And those of billed clients on which HaloPSA counts by itself: its own Pax8 sync would bill there.
    recurring |= {id_ for id_, one in listed.items() if one.counts_licences and one.client_id in billed}
    affected = {one.invoice_id for one in to_take_back(inputs, changes(inputs)) if one.action != PostingAction.UPDATE}
    existing = [connected.psa.read(id_, template=False) for id_ in sorted(id_ for id_ in affected if id_ is not None)]
    existing += [_template(connected, listed.get(id_), id_) for id_ in sorted(recurring)]
    latest = sorted(clients_billed(inputs, "latest"))
    for start in range(0, len(latest), CLIENTS_AT_ONCE):
        found = connected.psa.search(latest[start : start + CLIENTS_AT_ONCE], None)
        if not found.complete:
            raise Refused(f"HaloPSA's invoices cannot be read whole, so the latest of each is not known: {found.why}")
        existing += found.rows
    # A row of another kind than was asked for, or that names no client, is not taken for what it should be.
    usable = (one for one in existing if one is not None and one.client_id is not None)
    return tuple({one.id: one for one in usable if (one.id < 0) is one.template}.values())


def _template(connected: Connections, listed: Invoice | None, invoice_id: int) -> Invoice | None:
    """One recurring invoice: as the list has it, or by itself where that does not show its lines."""
    if listed is not None and listed.lines_shown:
        return listed
    return connected.psa.read(-invoice_id, template=True)
