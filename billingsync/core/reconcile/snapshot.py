"""Both sides read at one time [SN1]: the frozen values that the shell fills and that everything else here compares.

Numbers are `Decimal` as read, None where the vendor gave none; `problem` says why one could not be used. Texts are
stripped, "" where absent. Days are the date part as the vendor wrote it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from billingsync.core.charge import Charge
from billingsync.core.decisions import Pairing
from billingsync.core.inputs import Client, Company, Item
from billingsync.core.money import ZERO
from billingsync.core.period import Period
from billingsync.core.reconcile.taken import SnapshotState
from billingsync.core.remembered import RememberedMatch
from billingsync.core.rules import Rulebook


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """A `commitmentTerm`; where Pax8 sends a bare text instead of the object, `term` is that text."""

    id: str = ""
    term: str = ""
    end: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What a company has at Pax8. `price` and `cost` are those of one seat for one billing term; `status` and
    `billing_term` are texts as Pax8 writes them, since it may invent others."""

    id: str
    company_id: str
    product_id: str = ""
    product_name: str = ""  # only where the subscription says it; else the product's
    parent_id: str = ""
    quantity: Decimal | None = None
    status: str = ""
    billing_term: str = ""
    commitment: Commitment | None = None
    start: date | None = None
    billing_start: date | None = None
    end: date | None = None
    price: Decimal | None = None
    cost: Decimal | None = None  # partnerCost
    currency: str = ""
    updated: date | None = None  # the day of its last change of any kind
    moving: bool = False  # changed while the snapshot was being read [SN4]
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A Pax8 product."""

    id: str
    sku: str = ""
    name: str = ""
    vendor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatChange:
    """That a subscription's quantity changed, and on which day: from our own snapshots, else from Pax8's history."""

    subscription_id: str
    day: date
    before: Decimal
    after: Decimal
    source: str = "snapshot"  # snapshot | history


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemTerms:
    """What HaloPSA's catalogue says of an item beside its name: one unit's recurring price and cost, its supplier."""

    price: Decimal | None = None
    cost: Decimal | None = None
    supplier: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingProRata:
    """An entry of a line's `prorata_data`: HaloPSA adds its quantity to the line once it was invoiced."""

    id: int | None = None
    day: date | None = None
    quantity: Decimal = ZERO
    unit_price: Decimal | None = None
    unit_cost: Decimal | None = None
    invoiced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringLine:
    """One line of a recurring invoice. `client_id` is `original_client_id`: whose line it is, where its payer's
    recurring invoice carries it. `counted` says that HaloPSA computes the quantity itself (any `quantity_*` not
    empty, or `recurring_invoice_quantity_type` above 0)."""

    id: int
    item_id: int | None = None
    text: str = ""  # item_shortdescription, else the first line of item_longdescription
    quantity: Decimal | None = None
    unit_price: Decimal | None = None
    unit_cost: Decimal | None = None
    discount_percent: Decimal = ZERO
    start: date | None = None
    end: date | None = None
    inactive: bool = False
    one_time: bool = False
    meter: bool = False
    heading: bool = False  # isgroupdesc
    bundled: bool = False  # is_bundled_line
    counted: bool = False
    supplier: str = ""
    client_id: int | None = None
    waiting: tuple[WaitingProRata, ...] = ()
    moving: bool = False
    problem: str = ""

    @property
    def waits(self) -> Decimal:
        """The quantity that HaloPSA will add to this line, whatever the entries' days [LC4]."""
        return sum((entry.quantity for entry in self.waiting if not entry.invoiced), ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringInvoice:
    """A template in HaloPSA, with all its lines. `id` is negative, as the API has it."""

    id: int
    client_id: int
    name: str = ""
    contract_id: int | None = None
    currency: str = ""  # "" where HaloPSA does not say: the client's
    period_name: str = ""
    disabled: bool = False
    in_approval: bool = False
    start: date | None = None
    end: date | None = None
    last_created: date | None = None
    next_creation: date | None = None
    lines: tuple[RecurringLine, ...] = ()
    moving: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorCount:
    """One account's count of one service from a vendor's file [IM2]. `client_id` and `items` are what mapping found,
    None and empty where nobody mapped it."""

    vendor: str
    account: str
    service: str
    quantity: Decimal
    sku: str = ""
    client_id: int | None = None
    items: tuple[int, ...] = ()
    unit_price: Decimal | None = None
    unit_cost: Decimal | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Both sides, and what people had mapped by then.

    `as_at` is aware and in the partner's zone: its date is the day that counts. `suspect` names the lists that
    `suspects` found to have lost too much; `missing` the lists that were not read whole, one sentence each.
    """

    id: int
    as_at: datetime
    state: SnapshotState
    companies: tuple[Company, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    products: tuple[Product, ...] = ()
    clients: tuple[Client, ...] = ()
    items: tuple[Item, ...] = ()
    item_terms: Mapping[int, ItemTerms] = field(default_factory=dict)  # by item id
    recurring: tuple[RecurringInvoice, ...] = ()
    billed_by_pax8: frozenset[str] = frozenset()  # companies with billOnBehalfOfEnabled
    remembered: Mapping[str, RememberedMatch] = field(default_factory=dict)  # by company id
    similar: Mapping[str, tuple[tuple[int, Decimal], ...]] = field(default_factory=dict)  # as in RunInputs
    items_by_sku: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # mappings made by people
    pairings: tuple[Pairing, ...] = ()
    invoice_ids: tuple[str, ...] = ()  # the Pax8 invoices that this snapshot is compared with
    rules_digest: str = ""
    suspect: frozenset[str] = frozenset()
    confirmed: bool = False  # a person said that what is suspect is right: `snapshot --confirm`
    missing: tuple[str, ...] = ()

    @property
    def day(self) -> date:
        return self.as_at.date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """The charges of all Pax8 invoices that count in one period. `released` False: there is no invoice yet."""

    period: Period
    charges: tuple[Charge, ...] = ()
    released: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedLine:
    """A line that the billing job posted and that is live, with its charges.

    `amount` and `cost` are what HaloPSA returned. `recurring`: it stands on a template, and then the template's line
    in the snapshot says the quantity; `new` and `latest` lines stand on invoices that no snapshot reads.
    """

    period: Period
    client_id: int
    company_id: str
    invoice_id: int | None
    line_id: int | None
    recurring: bool
    quantity: Decimal
    unit_price: Decimal
    unit_cost: Decimal
    amount: Decimal
    cost: Decimal
    currency: str
    item_id: int | None = None
    charges: tuple[Charge, ...] = ()
    part: int = 0  # several items for one charge [P5]: which of them this line is


@dataclass(frozen=True, slots=True, kw_only=True)
class Unposted:
    """What the ledger's plan of the period did not post: for each charge its state (dropped | held | excluded) and the
    modifier, reason or rule [A1]."""

    charge_id: str
    state: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileInputs:
    """What a comparison is given. `period` None means "now": the snapshot beside the newest released month.

    `months` are all that we keep, in any order: the one that is compared with, the one before it (what moved), and the
    earlier ones, since a charge of a year stands for twelve months. `posted` likewise.
    """

    snapshot: Snapshot
    rulebook: Rulebook = field(default_factory=Rulebook)
    period: Period | None = None
    months: tuple[Month, ...] = ()
    posted: tuple[PostedLine, ...] = ()
    unposted: tuple[Unposted, ...] = ()
    written_lines: frozenset[tuple[int, int]] = frozenset()  # (recurring invoice id, line id) that are ours [B3]
    changes: tuple[SeatChange, ...] = ()
    last_active: Mapping[str, Decimal] = field(default_factory=dict)  # by subscription id: its last Active quantity
    past_unknown: frozenset[str] = frozenset()  # subscriptions that changed, and nobody tells whether their seats did
    prices_before: Mapping[int, Decimal] = field(default_factory=dict)  # by line id: unit price in the snapshot before
    counts: tuple[VendorCount, ...] = ()
    rows_left_out: int = 0  # rows of imported files that were bad: then no comparison is complete [IM6]

    @property
    def compared_with(self) -> Period | None:
        """The period whose charges stand beside the snapshot; None where nothing is released yet."""
        released = [month.period for month in self.months if month.released]
        if self.period is not None:
            return self.period if self.period in released else None
        return max(released, default=None)


def suspects(now: Snapshot, last: Snapshot | None, percent_max: Decimal) -> frozenset[str]:
    """The lists of `now` of which more than `percent_max` percent has gone since the last whole snapshot [SN4]."""
    if last is None:
        return frozenset()
    lost = {
        name: _is_lost(_ids(last, name), _ids(now, name), percent_max)
        for name in ("companies", "companies with subscriptions", "subscriptions", "recurring invoices", "lines")
    }
    hollow = bool(now.recurring) and not any(invoice.lines for invoice in now.recurring)
    lost["lines"] = lost["lines"] or (hollow and any(invoice.lines for invoice in last.recurring))
    return frozenset(name for name, gone in lost.items() if gone)


def _ids(snapshot: Snapshot, name: str) -> Collection[object]:
    match name:
        case "companies":
            return {company.id for company in snapshot.companies}
        case "companies with subscriptions":
            return {subscription.company_id for subscription in snapshot.subscriptions}
        case "subscriptions":
            return {subscription.id for subscription in snapshot.subscriptions}
        case "recurring invoices":
            return {invoice.id for invoice in snapshot.recurring}
        case _:
            return {line.id for invoice in snapshot.recurring for line in invoice.lines if not line.inactive}


def _is_lost(before: Collection[object], now: Collection[object], percent_max: Decimal) -> bool:
    gone = sum(one not in now for one in before)
    return bool(before) and Decimal(gone * 100) > percent_max * len(before)
