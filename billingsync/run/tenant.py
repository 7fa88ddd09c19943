"""What the whole tenant shows of our markers, read once before anything is written [N6], and for a plan that has lines
on templates [B5]."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from billingsync.connect import Connections
from billingsync.core.invoice import Invoice
from billingsync.core.period import Period
from billingsync.core.progress import Progress, Say, Stage
from billingsync.core.remembered import WrittenLine
from billingsync.errors import UpstreamError
from billingsync.store.postings import ARRIVED

DAYS_BEFORE_PERIOD = 35
MOST_FORGOTTEN = 6  # months without a posting, before the ledger is taken to have known none of them


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """The invoices of all clients since 35 days before the period, as far as they carry a marker or were made from a
    template, and all templates, with their lines. What the PSA said of an invoice is kept only where it may be asked
    for again: a month has thousands of lines."""

    invoices: tuple[Invoice, ...]
    templates: tuple[Invoice, ...]

    def find(self, invoice_id: int, *, template: bool) -> Invoice | None:
        """One of them, where it was read whole."""
        among = self._templates if template else self._invoices
        found = among.get(abs(invoice_id))
        return found if found is not None and found.lines_shown and (found.mark or found.origin) else None

    @cached_property
    def _invoices(self) -> dict[int, Invoice]:
        return {one.id: one for one in self.invoices}

    @cached_property
    def _templates(self) -> dict[int, Invoice]:
        return {abs(one.id): one for one in self.templates}

    def made(self, lines: Collection[WrittenLine]) -> tuple[Invoice, ...]:
        """The invoices that may bill these lines of ours on templates."""
        keys = {line.key for line in lines}
        templates = {abs(line.invoice_id) for line in lines}
        return tuple(one for one in self.invoices if _concerns(one, keys, templates))


def _concerns(invoice: Invoice, keys: Collection[str], templates: Collection[int]) -> bool:
    return any(
        (line.mark is not None and line.mark.key in keys)
        or (line.made_from[0] is not None and abs(line.made_from[0]) in templates)
        for line in invoice.lines
    )


def read_tenant(connected: Connections, period: Period, say: Say | None = None) -> Tenant:
    """Raises UpstreamError where HaloPSA's invoices cannot be read whole."""
    if say is not None:
        say(Progress(stage=Stage.LOOK_FOR_OURS))
    day = _first_forgotten(connected, period).first_day - timedelta(days=DAYS_BEFORE_PERIOD)
    templates = read_templates(connected)
    months = (period.previous, period)
    known = {head.key for month in months for head in connected.ledger.heads(period=month, states=ARRIVED)}
    found = connected.psa.invoices_since(None, day, lambda one: _is_asked_for(one, known))
    return Tenant(invoices=tuple(found), templates=templates)


def _first_forgotten(connected: Connections, period: Period) -> Period:
    """The oldest month right before the period of which the ledger knows no posting, though it knows one of a month
    before: perhaps it was put back to an older state, and nobody ran that month again. The period where none is."""
    posted, first = connected.ledger.posted_periods(), period
    for _ in range(MOST_FORGOTTEN):
        if str(first.previous) in posted:
            return first
        first = first.previous
    return period


def _is_asked_for(invoice: Invoice, known: Collection[str]) -> bool:
    """Whether more of an invoice than its values may be wanted: it carries our marks, and is not one that we made
    ourselves and have as it was answered."""
    if invoice.mark is not None:
        return invoice.mark.key not in known
    return any(line.mark for line in invoice.lines)


def read_templates(connected: Connections) -> tuple[Invoice, ...]:
    """All recurring invoices with their lines, in one list; none where we may not see them."""
    try:
        return connected.psa.templates()
    except UpstreamError as failed:
        if failed.status not in (401, 403, 404):
            raise
        return ()
