"""A recurring invoice is a template: what stands on it is billed only once HaloPSA has made an invoice from it [B5].

Line ids live on over the months, so an id alone proves nothing. What proves it: an invoice with the marker of that
very write; an invoice that names our line and was made after our write; the invoice that a one-time line names; or a
template of which an invoice was made after our write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from billingsync.core.bill.plan import Waiting
from billingsync.core.inputs import RunInputs
from billingsync.core.invoice import Invoice, InvoiceLine
from billingsync.core.money import ZERO, multiply, plain, round_money
from billingsync.core.remembered import WrittenLine

YEARLY = "annual"  # the kind, in a line's key, of a subscription that is billed once in a year or more


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoiced:
    """What became of one line of ours on a template. `invoices` are those that bill it, as far as they are known."""

    done: bool
    invoices: tuple[int, ...] = ()


class MadeInvoices:
    """The invoices of the tenant, by what they tell of our lines on templates. Made once a plan: each is looked up."""

    def __init__(self, invoices: Iterable[Invoice], templates: Iterable[Invoice]) -> None:
        self._templates = {abs(one.id): one for one in templates if one.template}
        self._lines = {
            (template, line.id): line for template, one in self._templates.items() for line in reversed(one.lines)
        }
        self._by_mark: dict[tuple[str, int], set[int]] = defaultdict(set)
        self._by_line: dict[tuple[int, int], set[tuple[str, int]]] = defaultdict(set)
        self._void: set[tuple[str, int]] = set()
        self._voided: set[int] = set()
        for invoice in invoices:
            if invoice.template or invoice.credit_note:
                continue
            if invoice.void:
                self._voided.add(invoice.id)
            for line in invoice.lines:
                template, line_id = line.made_from
                if line.mark is not None:
                    place = (line.mark.key, line.mark.ordinal)
                    self._void.add(place) if invoice.void else self._by_mark[place].add(invoice.id)
                if template is not None and line_id is not None and not invoice.void:
                    self._by_line[abs(template), line_id].add((invoice.created, invoice.id))

    def of(self, line: WrittenLine) -> Invoiced:
        """Whether HaloPSA has billed this line since we wrote it."""
        template, there = self.on_template(line)
        found = set(line.invoiced) | self._by_mark.get((line.key, line.ordinal), set())
        if line.written_at:
            named = self._by_line.get((abs(line.invoice_id), line.line_id), set())
            found |= {invoice for created, invoice in named if created > line.written_at}
        if there is not None and there.one_time_invoice_id is not None:
            found.add(there.one_time_invoice_id)
        found -= self._voided
        if found:
            return Invoiced(done=True, invoices=tuple(sorted(found)))
        # A void invoice explains why an invoice was made, and bills nobody.
        void = (line.key, line.ordinal) in self._void
        made = template is not None and line.last_created is not None and template.last_created > line.last_created
        return Invoiced(done=made and not void)

    def by_mark(self, key: str, ordinal: int) -> Invoiced:
        """Whether an invoice that HaloPSA made carries the mark of this very line."""
        found = self._by_mark.get((key, ordinal), set())
        return Invoiced(done=bool(found), invoices=tuple(sorted(found)))

    def voided(self, key: str, ordinal: int) -> bool:
        """Whether the invoice that carries the mark of this line is void, and no other has it."""
        return (key, ordinal) in self._void and not self._by_mark.get((key, ordinal))

    def on_template(self, line: WrittenLine) -> tuple[Invoice | None, InvoiceLine | None]:
        """The template that the line was written on, and the line on it as it is now."""
        template = abs(line.invoice_id)
        return self._templates.get(template), self._lines.get((template, line.line_id))

    def next_creation(self, template_id: int) -> str:
        """When the template's next invoice is due, as ISO text; "" where HaloPSA does not say."""
        template = self._templates.get(abs(template_id))
        return template.next_creation if template is not None else ""


def amount_of(line: WrittenLine) -> Decimal:
    """What the line bills."""
    return round_money(multiply(line.quantity, line.unit_price), currency_of(line.recurring_key))


def cost_of(line: WrittenLine) -> Decimal:
    return round_money(multiply(line.quantity, line.unit_cost), currency_of(line.recurring_key))


def currency_of(key: str) -> str:
    """The currency of a numbered recurring key."""
    return _kind_and_currency(key)[1]


def is_once(key: str) -> bool:
    """Whether a line of this numbered recurring key is billed once and then comes off [B7]."""
    return _kind_and_currency(key)[0] in _ONCE


_ONCE = ("one-time", "prorate", YEARLY)


def _kind_and_currency(key: str) -> tuple[str, str]:
    """A key is `what|kind|currency|ordinal`, with `|part N` before the ordinal for a part [P5] and a `+` behind it for
    what came late in its month."""
    parts = [one for one in key.rstrip("+").split("|") if not one.startswith("part ")]
    return (parts[-3], parts[-2]) if len(parts) > 3 else ("", parts[-2] if len(parts) > 1 else "")


def waiting_of(inputs: RunInputs, made: MadeInvoices) -> tuple[Waiting, ...]:
    """What waits on each template, by template, period and currency."""
    sums: dict[tuple[int, int, str, str], list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
    for line in inputs.memory.written_lines:
        if line.live and not made.of(line).done:
            currency = currency_of(line.recurring_key)
            both = sums[line.invoice_id, line.client_id, line.period, currency]
            both[0] += round_money(multiply(line.quantity, line.unit_price), currency)
            both[1] += round_money(multiply(line.quantity, line.unit_cost), currency)
    names = {client.id: client.name for client in inputs.clients}
    return tuple(
        Waiting(
            invoice_id=invoice,
            client_id=client,
            client_name=names.get(client, ""),
            period=period,
            currency=currency,
            amount=amount,
            cost=cost,
            next_creation=made.next_creation(invoice),
        )
        for (invoice, client, period, currency), (amount, cost) in sorted(sums.items())
    )


def waiting_text(one: Waiting) -> str:
    """It as a sentence."""
    due = f"; its next creation is {one.next_creation[:10]}" if one.next_creation else ""
    return (
        f"{plain(one.amount, one.currency)} {one.currency} of {one.period} waits on recurring invoice "
        f"{abs(one.invoice_id)} of {one.client_name or one.client_id}: HaloPSA has not made an invoice of it yet{due}"
    )


def not_invoiced(lines: Sequence[WrittenLine], made: MadeInvoices) -> str:
    """Why lines of an earlier month must stay as they are: what of them waits, in words; "" where nothing does [B6]."""
    left = [line for line in lines if line.live and not made.of(line).done]
    if not left:
        return ""
    currency = currency_of(left[0].recurring_key)
    amount = sum((amount_of(line) for line in left), ZERO)
    due = made.next_creation(left[0].invoice_id)
    when = f"; its next creation is {due[:10]}" if due else ""
    where = (
        f"{plain(amount, currency)} {currency} of {min(line.period for line in left)} waits on recurring invoice "
        f"{abs(left[0].invoice_id)}, of which HaloPSA has made no invoice since{when}"
    )
    if any(line.ordinal < 0 and line.key for line in left):
        return f"{where}, as far as is known: an older version wrote it, so look in HaloPSA first"
    return where


def billed_twice(inputs: RunInputs, made: MadeInvoices) -> tuple[str, ...]:
    """Lines that are to be billed once and that HaloPSA has put on several invoices, a sentence each [B6]."""
    found = []
    for line in inputs.memory.written_lines:
        invoices = made.of(line).invoices if line.once and line.live else ()
        if len(invoices) > 1:
            found.append(
                f"{line.title} of {line.period} is billed {len(invoices)} times: HaloPSA made invoices "
                f"{', '.join(map(str, invoices))} from recurring invoice {abs(line.invoice_id)}; credit all but one"
            )
    return tuple(found)
