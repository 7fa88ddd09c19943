"""What decides about money: the rules, as `rules/*.toml` say them (parsed by `billingsync.rulebook`).

Every default stands here once; `rules/defaults.toml` shows them with their reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRules:
    behavior: str = "new"  # new | latest | recurring
    group_by: str = "client"  # client | distributor_invoice | purchase_order
    when_latest_closed: str = "hold"  # hold | new
    recurring_invoice: int | None = None  # kept negative, as HaloPSA's API has it (reference/halopsa 0.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModifierRules:
    azure: str = "keep"  # keep | drop | collapse
    azure_sku_prefixes: tuple[str, ...] = ("MST-AZR", "AZR-ARR-", "MST-ARI")
    azure_patterns: tuple[str, ...] = ("microsoft azure", "azure plan")
    favorable_prorata: str = "keep"  # keep | drop
    zero_lines: str = "keep"  # keep | drop
    zero_price_with_cost: str = "hold"  # hold | drop | keep


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMatchRules:
    match_percent: Decimal = Decimal(90)
    guessed: str = "hold"  # post | hold


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductRules:
    lifecycle: str = "automatic"  # off | manual | default_item | automatic
    item_group: str = "BillingSync_Pax8"
    default_item: int | None = None
    income_account: str | None = None
    expense_account: str | None = None
    tax_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRules:
    text: str = "{product} ({start} to {end})"


LINE_FIELDS = ("product", "start", "end", "subscription", "sku", "charge_count", "company", "term", "period")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludeRules:
    companies: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    types: tuple[str, ...] = ("rebate", "payment-credit", "invoice-credit", "service-credit", "service-charge")
    billed_by_pax8: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRules:
    change_percent_max: Decimal = Decimal(50)
    change_amount_min: Decimal = Decimal("100.00")
    margin_percent_min: Decimal | None = None
    client_amount_max: Decimal | None = None
    negative_invoice: str = "hold"  # hold | post
    new_client: str = "post"  # post | hold
    new_product: str = "post"  # post | hold
    missing_company_percent_max: Decimal = Decimal(20)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRules:
    auto_post: str = "never"  # never | within_limits
    true_up: str = "hold"  # hold | post: what Pax8 credited and issued again [R2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of several items that a product is split over [P5]: a `share` in percent, a `unit_price`, or the `rest`."""

    halo_item: int
    share: Decimal | None = None
    unit_price: Decimal | None = None
    rest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductBlock:
    """A `[[product]]` block: exactly one of `pax8_sku` and `pax8_product`, exactly one of `halo_item` and `parts`."""

    pax8_sku: str | None = None
    pax8_product: str | None = None
    halo_item: int | None = None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileRules:
    """What reconciliation leaves out and how it measures. `exclude` above is about bills only: what the billing job
    leaves out is kept by hand, and just that must be checked [LC2]."""

    exclude_companies: tuple[str, ...] = ()
    exclude_products: tuple[str, ...] = ()
    usage_skus: tuple[str, ...] = ()
    price_source: str = "halo"  # halo | pax8: whose price is right [FD1]
    money_tolerance: Decimal = Decimal("0.01")
    period_months: int | None = None  # months of the client's recurring invoice [BC4]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRules:
    """How cards are made, and the limits beyond which one needs a reason of its own [CD9]."""

    prorata: str = "off"  # off | halo
    new_price: str = "item"  # item | pax8
    quantity_change_percent_max: Decimal = Decimal(50)
    quantity_change_min: Decimal = Decimal(5)
    price_change_percent_max: Decimal = Decimal(20)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchBlock:
    """A `[[reconcile.match]]` block [LC7]: products that count as one, and the items or lines that carry them. One
    unit in HaloPSA is `per_unit` seats, a part of one counts exactly or is rounded up."""

    pax8_skus: tuple[str, ...]
    halo_items: tuple[int, ...] = ()
    halo_lines: tuple[int, ...] = ()
    count: str = "sum"  # sum | each
    per_unit: Decimal = Decimal(1)
    round: str = "exact"  # exact | up
    vendor: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """How many seats of a product one unit of a bundle's item covers."""

    pax8_sku: str
    seats: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleBlock:
    """A `[[reconcile.bundle]]` block [LC7]: one item that covers seats of several products."""

    halo_item: int
    covers: tuple[Covered, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The effective rules of one client, or of all that have no file of their own.

    `origins` maps a dotted key ("modifiers.azure", "product.MST-1") to the file that decided it; a key that no file
    sets is absent there and has its default.
    """

    invoice: InvoiceRules = field(default_factory=InvoiceRules)
    modifiers: ModifierRules = field(default_factory=ModifierRules)
    clients: ClientMatchRules = field(default_factory=ClientMatchRules)
    products: ProductRules = field(default_factory=ProductRules)
    lines: LineRules = field(default_factory=LineRules)
    exclude: ExcludeRules = field(default_factory=ExcludeRules)
    limits: LimitRules = field(default_factory=LimitRules)
    approval: ApprovalRules = field(default_factory=ApprovalRules)
    reconcile: ReconcileRules = field(default_factory=ReconcileRules)
    cards: CardRules = field(default_factory=CardRules)
    product_blocks: tuple[ProductBlock, ...] = ()
    matches: tuple[MatchBlock, ...] = ()
    bundles: tuple[BundleBlock, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFile:
    """One file of `rules/clients/`: whom it is about, and the effective rules (its own over the layers below)."""

    path: str  # as shown to people, e.g. "rules/clients/contoso.toml"
    pax8_company: str | None = None
    name: str | None = None
    halo_client: int | None = None
    exclude: bool = False
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskRules:
    """What people wrote on the desk instead of in a file [DR1]: TOML, of one Pax8 company, or of all where
    `company_id` is "". `client_id` is the HaloPSA client that it was billed as; by `other_names` rules know it too."""

    company_id: str
    company_name: str
    client_id: int | None
    version: int
    text: str
    who: str
    at: datetime
    other_names: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """What stands where a file's name would: "desk, dana@msp.example, 2026-11-28"."""
        return f"desk, {self.who.partition(' (')[0]}, {self.at:%Y-%m-%d}"


@dataclass(frozen=True, kw_only=True)
class Rulebook:
    """All rules of one run. `digest` is a SHA-256 (hex) of the effective rules, independent of comments and order."""

    base: Rules = field(default_factory=Rules)
    clients: tuple[ClientFile, ...] = ()
    digest: str = ""

    def file_for(
        self, *, company_id: str | None, company_name: str, client_id: int | None, other_names: Iterable[str] = ()
    ) -> ClientFile | None:
        """The client's file: by Pax8 id, else by exact company name, else by HaloPSA client."""
        names = (("name", name) for name in (company_name, *other_names))
        for key in (("company", company_id), *names, ("client", client_id)):
            if file := self._files.get(key):
                return file
        return None

    @cached_property
    def _files(self) -> dict[tuple[str, object], ClientFile]:
        """Each file by what it names: asked for with every company, of which there may be as many as files."""
        found: dict[tuple[str, object], ClientFile] = {}
        for file in self.clients:
            if file.pax8_company:
                found.setdefault(("company", file.pax8_company), file)
            elif file.name:
                found.setdefault(("name", file.name), file)
            elif file.halo_client is not None:
                found.setdefault(("client", file.halo_client), file)
        return found
