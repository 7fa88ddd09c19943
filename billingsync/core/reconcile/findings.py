"""What a finding is: kinds with title and next step, whose money it is, and the order of reading [FD1]-[FD4]."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from billingsync.core.money import ZERO


class Kind(StrEnum):
    DUPLICATE = "duplicate"
    FOLLOWS_INVOICE = "follows_invoice"
    NOT_BILLED = "not_billed"
    CHANGED_SINCE_INVOICE = "changed_since_invoice"
    BILLED_NOT_BOUGHT = "billed_not_bought"
    UNCLEAR = "unclear"
    UNDER_BILLED = "under_billed"
    OVER_BILLED = "over_billed"
    PRORATE_NOT_BILLED = "prorate_not_billed"
    BELOW_COST = "below_cost"
    COST_MOVED = "cost_moved"
    COST_DRIFT = "cost_drift"
    PRICE_DRIFT = "price_drift"
    PAX8_INVOICE_DIFFERS = "pax8_invoice_differs"
    PAX8_BILLS_CANCELLED = "pax8_bills_cancelled"
    WRONG_CLIENT = "wrong_client"
    UNMAPPED_COMPANY = "unmapped_company"
    UNMAPPED_PRODUCT = "unmapped_product"
    UNKNOWN_STATUS = "unknown_status"
    CLIENT_RENAMED = "client_renamed"
    CURRENCY_MISMATCH = "currency_mismatch"


class Side(StrEnum):
    """Whose money is wrong; the three sums are never netted."""

    MISSING = "missing"  # clients pay too little
    OWED = "owed"  # clients pay too much
    PAX8 = "pax8"  # the distributor's bill is wrong
    MARGIN = "margin"  # in none of the three sums
    COST = "cost"  # what is not mapped costs, a month
    NONE = "none"


class Confidence(StrEnum):
    CERTAIN = "certain"
    LIKELY = "likely"
    LOOK = "look"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    """One kind of finding, once: its title, and what a person does about it. `step` is a command to type where there
    is one, else `says` tells what to do."""

    title: str
    says: str
    step: tuple[str, ...] = ()


KINDS: Mapping[Kind, KindRow] = {
    Kind.DUPLICATE: KindRow(title="Billed twice", says="End the line that should not be there."),
    Kind.FOLLOWS_INVOICE: KindRow(
        title="Follows the next Pax8 invoice",
        says="Nothing to do: the next plan bills it, unless something is held.",
        step=("billingsync", "plan"),
    ),
    Kind.NOT_BILLED: KindRow(title="Not billed", says="Add a line.", step=("billingsync", "cards")),
    Kind.CHANGED_SINCE_INVOICE: KindRow(
        title="Changed since the last invoice", says="Change the line.", step=("billingsync", "cards")
    ),
    Kind.BILLED_NOT_BOUGHT: KindRow(
        title="Billed, not bought", says="Ask the client first, then end the line.", step=("billingsync", "cards")
    ),
    Kind.UNCLEAR: KindRow(title="Unclear: all three counts differ", says="Look at the group."),
    Kind.UNDER_BILLED: KindRow(title="Too few billed", says="Change the line.", step=("billingsync", "cards")),
    Kind.OVER_BILLED: KindRow(title="Too many billed", says="Change the line.", step=("billingsync", "cards")),
    Kind.PRORATE_NOT_BILLED: KindRow(title="Pro rata not billed", says="Bill the part of the month."),
    Kind.BELOW_COST: KindRow(title="Sold below cost", says="Raise the price."),
    Kind.COST_MOVED: KindRow(title="The cost moved, the price did not", says="Set a new price."),
    Kind.COST_DRIFT: KindRow(
        title="HaloPSA has another cost",
        says="Correct the cost, or margin reports are wrong.",
        step=("billingsync", "cards", "--with-cost"),
    ),
    Kind.PRICE_DRIFT: KindRow(
        title="HaloPSA has another price", says="Correct the price.", step=("billingsync", "cards", "--with-price")
    ),
    Kind.PAX8_INVOICE_DIFFERS: KindRow(
        title="Pax8 bills another number of seats", says="Ask Pax8, or expect a correction on the next invoice."
    ),
    Kind.PAX8_BILLS_CANCELLED: KindRow(
        title="Pax8 bills a cancelled subscription", says="Ask Pax8, or expect a correction on the next invoice."
    ),
    Kind.WRONG_CLIENT: KindRow(
        title="Perhaps the wrong client",
        says="See which client the company belongs to.",
        step=("billingsync", "map", "companies"),
    ),
    Kind.UNMAPPED_COMPANY: KindRow(
        title="No client for this company", says="Say which client it is.", step=("billingsync", "map", "companies")
    ),
    Kind.UNMAPPED_PRODUCT: KindRow(
        title="No item for this product", says="Say which item it is.", step=("billingsync", "map", "products")
    ),
    Kind.UNKNOWN_STATUS: KindRow(
        title="Unknown status or quantity", says="Look at the subscription in Pax8; it is not compared."
    ),
    Kind.CLIENT_RENAMED: KindRow(
        title="Pax8 renamed this company", says="Say once which client it is.", step=("billingsync", "map", "companies")
    ),
    Kind.CURRENCY_MISMATCH: KindRow(
        title="Two currencies", says="Correct the currency in Pax8 or HaloPSA; amounts were not compared."
    ),
}

MAPPING = frozenset((Kind.UNMAPPED_COMPANY, Kind.UNMAPPED_PRODUCT, Kind.UNKNOWN_STATUS, Kind.CLIENT_RENAMED))
SEATS = frozenset(tuple(Kind)[:8])  # exactly one of these for each Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong. `month` is what it comes to each month, `once` what happens once; both None where the
    money is not known. `seats` is the Difference that a seat finding is about, signed."""

    id: str
    kind: Kind
    side: Side
    client_id: int | None
    client_name: str
    group: str
    key: str
    product: str
    skus: tuple[str, ...]
    seats: Decimal
    month: Decimal | None
    once: Decimal | None
    currency: str
    confidence: Confidence
    since: date | None = None
    company_id: str = ""
    company_name: str = ""
    explained: bool = False
    note: str = ""
    below_cost: Decimal | None = None  # of `cost_moved`: how much of it is below cost
    related: tuple[str, ...] = ()  # ids of findings that may have the same cause

    @property
    def year(self) -> Decimal | None:
        """A month x 12: run rate, nothing more. What happens once has none."""
        return None if self.month is None else self.month * 12

    @property
    def money(self) -> Decimal | None:
        return self.month if self.month is not None else self.once


def finding_id(client: object, group: str, kind: Kind) -> str:
    """The same over snapshots."""
    return f"f-{hashlib.sha256(f'{client}|{group}|{kind}'.encode()).hexdigest()[:10]}"


_RANK = {Confidence.CERTAIN: 0, Confidence.LIKELY: 1, Confidence.LOOK: 2}


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Mapping first, as what is unmapped is invisible to every other check; then confidence, then money [FD4]."""

    def place(one: Finding) -> tuple[bool, bool, int, Decimal, str, str]:
        money = one.money if one.money is not None else ZERO
        return one.kind not in MAPPING, one.explained, _RANK[one.confidence], -abs(money), one.client_name, one.id

    return tuple(sorted(findings, key=place))
