"""What planning is given: one frozen value, so that a plan can be made again from it without credentials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from billingsync.core.charge import Source
from billingsync.core.decisions import Approval, SetAside
from billingsync.core.invoice import Invoice
from billingsync.core.period import Period
from billingsync.core.remembered import Billed, LivePosting, RememberedMatch, Said, Settled, WrittenLine
from billingsync.core.rules import Rulebook


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """A Pax8 company."""

    id: str
    name: str
    external_id: str = ""
    status: str = "Active"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A HaloPSA client. `currency` is an ISO code, "" where HaloPSA does not say; `pays_through` is the id of the
    client that is invoiced instead (`client_to_invoice`), and `pays_recurring_through` likewise."""

    id: int
    name: str
    inactive: bool = False
    dont_invoice: bool = False
    merged_into: int | None = None
    pays_through: int | None = None
    pays_recurring_through: int | None = None
    currency: str = ""
    site_id: int | None = None
    pax8_monthly_invoice: int | None = None  # set where HaloPSA's own Pax8 sync bills this client
    pax8_annual_invoice: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item of HaloPSA's catalogue."""

    id: int
    name: str
    external_reference: str = ""
    supplier_part_codes: tuple[str, ...] = ()
    group_id: int | None = None
    inactive: bool = False


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What the ledger knows, as far as planning needs it."""

    matches: Mapping[str, RememberedMatch] = field(default_factory=dict)  # by company id
    items_by_sku: Mapping[str, int] = field(default_factory=dict)  # mappings made by people
    settled: Mapping[str, Settled] = field(default_factory=dict)  # by charge id, this period
    generations: Mapping[str, int] = field(default_factory=dict)  # by a posting's base key; raised by undo
    known_clients: frozenset[int] = frozenset()  # clients that have been posted to before
    known_products: frozenset[str] = frozenset()  # SKUs (or product names) that have been posted before
    last_amounts: Mapping[tuple[int, str], tuple[str, Decimal]] = field(default_factory=dict)
    # (client id, currency) -> (its last posted period before this one, what it came to)
    last_companies: frozenset[str] = frozenset()  # company ids charged in the newest period before this one
    full_prices: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    # (company id, subscription id or "sku SKU") -> what Pax8 charged last for a unit and a full period [P5]
    approved: frozenset[int | str] = frozenset()  # client ids or company ids let through their limits
    approvals: tuple[Approval, ...] = ()  # of this period
    not_taken_back: frozenset[int] = frozenset()  # clients whose true-up this very run could not carry out
    taken_back: frozenset[int] = frozenset()  # clients of which a bill of this month was, or would be, taken back
    own_credits: frozenset[int] = frozenset()  # the invoices on which it was credited: nothing is added to them
    # clients whose bill of this month a person undid, and nobody billed again, and the companies that it was for [R5]
    undone: frozenset[int] = frozenset()
    undone_companies: frozenset[str] = frozenset()
    written_lines: tuple[WrittenLine, ...] = ()
    live: tuple[LivePosting, ...] = ()
    # of this period where an invoice is gone or says something else now, and of any period that bill an invoice that
    # is gone [R2]
    said: tuple[Said, ...] = ()  # of this period's invoices, as they were when they were billed [S9]
    twins: tuple[Said, ...] = ()  # charges on live lines that this month's charges may bill again, of any period [S10]
    rule_names: Mapping[str, str] = field(default_factory=dict)  # names of companies in rules -> Pax8 id [C4]
    rule_products: Mapping[str, str] = field(default_factory=dict)  # names of products in exclude.products, likewise
    billed: Mapping[str, Billed] = field(default_factory=dict)  # by company id: of this month's companies [C1b]
    left: Mapping[str, Billed] = field(default_factory=dict)  # of those without a charge that have lines of ours [B8]

    @cached_property
    def written_on(self) -> Mapping[int, tuple[WrittenLine, ...]]:
        """Our lines by recurring invoice: asked for with every client, of which each may have one."""
        found: dict[int, list[WrittenLine]] = defaultdict(list)
        for line in self.written_lines:
            found[line.invoice_id].append(line)
        return {invoice_id: tuple(lines) for invoice_id, lines in found.items()}


@dataclass(frozen=True, kw_only=True)
class RunInputs:
    partner: str
    period: Period
    sources: tuple[Source, ...]
    companies: tuple[Company, ...]
    clients: tuple[Client, ...]
    items: tuple[Item, ...] = ()
    existing: tuple[Invoice, ...] = ()
    made: tuple[Invoice, ...] = ()  # invoices that were made from templates, or carry a marker of a line on one [B5]
    rulebook: Rulebook = field(default_factory=Rulebook)
    memory: Memory = field(default_factory=Memory)
    similar: Mapping[str, tuple[tuple[int, Decimal], ...]] = field(default_factory=dict)
    # company id -> (client id, percent) of clients at least clients.match_percent similar [C1], computed by the
    # shell with rapidfuzz on `core.clients.normalise`d names
    credited: frozenset[str] = frozenset()
    # Pax8 invoices that count no longer: credited, void or listed no more; of other periods only those that we billed
    currency: str = ""  # of clients whose currency HaloPSA does not say (HALO__CURRENCY) [C3]
    clients_asked: tuple[str, ...] = ()  # --client: company ids; empty means all
    set_aside: Mapping[str, SetAside] = field(default_factory=dict)  # by charge id
    key_name: str = ""  # what keys and the digest are made with [F7]; "" where it is the partner's name

    @property
    def named_in_keys(self) -> str:
        """The partner as keys name it."""
        return self.key_name or self.partner

    def invoices_for(self, client_id: int, recurring_invoice: int | None) -> tuple[Invoice, ...]:
        """The existing invoices of a client, and the recurring one that its rules name, whosever that is."""
        mine = self._by_client.get(client_id, ())
        named = self._templates.get(abs(recurring_invoice)) if recurring_invoice is not None else None
        return (*mine, named) if named is not None and named not in mine else mine

    @cached_property
    def _by_client(self) -> Mapping[int | None, tuple[Invoice, ...]]:
        found: dict[int | None, list[Invoice]] = defaultdict(list)
        for invoice in self.existing:
            found[invoice.client_id].append(invoice)
        return {client_id: tuple(invoices) for client_id, invoices in found.items()}

    @cached_property
    def _templates(self) -> Mapping[int, Invoice]:
        found: dict[int, Invoice] = {}
        for invoice in self.existing:
            if invoice.template:
                found.setdefault(abs(invoice.id), invoice)
        return found
