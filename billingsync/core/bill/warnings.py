"""What people should know beside the bill: sums of each source, what modifiers kept [M4], warnings [S8]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from billingsync.core.bill.bound import fits_no_product, fits_nothing
from billingsync.core.bill.company import Work
from billingsync.core.bill.plan import Kept, SourceSummary
from billingsync.core.bill.targets import licence_lines
from billingsync.core.charge import Source
from billingsync.core.inputs import RunInputs
from billingsync.core.money import ZERO, plain
from billingsync.core.states import ChargeState


def source_summary(source: Source) -> SourceSummary:
    header = None
    if source.total is not None:
        header = source.total - (source.carried_balance or ZERO)
    return SourceSummary(
        invoice_id=source.invoice_id,
        status=source.status,
        charges=len(source.charges),
        price=sum((charge.price for charge in source.charges), ZERO),
        cost=sum((charge.cost for charge in source.charges), ZERO),
        sales_tax=sum((charge.sales_tax for charge in source.charges), ZERO),
        currency=source.currency,
        header_total=header,
        price_rounding=sum((charge.price_rounding for charge in source.charges), ZERO),
        cost_rounding=sum((charge.cost_rounding for charge in source.charges), ZERO),
    )


def kept_from_clients(works: Sequence[Work]) -> tuple[Kept, ...]:
    """What modifiers kept from each client [M4]: credits it would have had, and cost that nobody is billed for."""
    kept = []
    for work in works:
        for currency in sorted({gone.currency for gone in work.dropped}):
            gone = [dropped for dropped in work.dropped if dropped.currency == currency]
            kept.append(
                Kept(
                    company_name=work.company.name,
                    currency=currency,
                    credits_withheld=-sum((dropped.amount for dropped in gone if dropped.amount < 0), ZERO),
                    price_dropped=sum((dropped.amount for dropped in gone), ZERO),
                    cost_absorbed=sum((dropped.cost for dropped in gone), ZERO),
                )
            )
    return tuple(kept)


def warnings_of(
    inputs: RunInputs, summaries: Sequence[SourceSummary], works: Sequence[Work], missing: str
) -> tuple[str, ...]:
    """What people should know although nothing waits for it [S8]."""
    warnings = []
    for source, summary in zip(inputs.sources, summaries, strict=True):
        taxed = summary.cost + summary.sales_tax
        if summary.header_total is not None and summary.header_total not in (summary.cost, taxed):
            warnings.append(
                f"Pax8 invoice {source.invoice_id}: its charges cost {plain(summary.cost, source.currency)} "
                f"(with tax {plain(taxed, source.currency)}), its header says "
                f"{plain(summary.header_total, source.currency)} {source.currency}; "
                f"difference {plain(summary.header_total - taxed, source.currency)}"
            )
        for charge in source.charges:
            settled = inputs.memory.settled.get(charge.id)
            if (
                settled
                and settled.state == ChargeState.POSTED
                and (settled.price, settled.cost) != (charge.price, charge.cost)
            ):
                warnings.append(
                    f"charge {charge.id} was billed at {settled.price} (cost {settled.cost}), and Pax8 now says "
                    f"{charge.price} (cost {charge.cost}) {charge.currency}"
                )
    if missing:
        warnings.append(missing)
    warnings.extend(fits_nothing(inputs.rulebook, inputs.companies, inputs.clients))
    products = {*inputs.memory.rule_products.values(), *inputs.memory.known_products}
    warnings.extend(fits_no_product(inputs.rulebook, inputs.sources, products))
    warnings.extend(_computed(inputs, works))
    for work in works:
        warnings.extend(f"{work.company.name}: {left.text}" for left in work.left)
        if why := _stays(work, inputs, missing):
            warnings.append(f"{work.company.name} is not billed now, but its recurring lines stay: {why}")
    return tuple(warnings)


def _computed(inputs: RunInputs, works: Sequence[Work]) -> Iterator[str]:
    """Recurring invoices of billed clients on which HaloPSA counts licences by itself: its own Pax8 sync bills so."""
    names = {work.client_id: work.company.name for work in works if work.charges}
    for invoice in inputs.existing:
        counted = licence_lines(invoice) if invoice.template and invoice.client_id in names else []
        if counted:
            lines = "1 line" if len(counted) == 1 else f"{len(counted)} lines"
            yield (
                f"{names[invoice.client_id]}: HaloPSA counts the licences of {lines} on recurring invoice "
                f"{abs(invoice.id)} itself ({counted[0]:.60}); if that is its own Pax8 sync, they are billed twice"
            )


def _stays(work: Work, inputs: RunInputs, missing: str) -> str:
    """Why lines of a company that is not billed now stay on its recurring invoice, where nothing else says so."""
    month = str(inputs.period)
    gone = {one.line.line_id for one in work.removals}
    written = any(line.period < month and line.line_id not in gone for line in work.written)
    if not written or work.lines or work.left or work.holds:
        return ""
    other = work.match.client and (work.match.client.pax8_monthly_invoice or work.match.client.pax8_annual_invoice)
    never = "a person said that it is never billed" if work.match.excluded and not work.match.client else ""
    own_sync = "HaloPSA's own Pax8 sync bills it" if other else ""
    left_out = "the rules leave out all that Pax8 charges for it" if work.excluded or work.dropped else ""
    return work.match.detail or never or own_sync or work.target.detail or missing or left_out
