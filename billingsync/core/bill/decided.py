"""What was decided on a charge's way to its line, kept in the plan so that `explain` prints it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class KeptBy(StrEnum):
    """Which modifier let a draft pass. The value is the rules key that decided; "" where no modifier is about it."""

    NONE = ""
    AZURE = "modifiers.azure"
    FAVORABLE_PRORATA = "modifiers.favorable_prorata"
    ZERO_LINES = "modifiers.zero_lines"
    ZERO_PRICE_WITH_COST = "modifiers.zero_price_with_cost"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedDraft:
    """One line to be: its charges, whether they are summed on it, which modifier let it pass, and by what its item was
    found (`core.bill.products.Resolved.by`)."""

    charges: tuple[str, ...]
    collapsed: bool
    kept_by: KeptBy
    item_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedCompany:
    """One company of the month: its HaloPSA client and how it was found (`percent`: how similar, 0 to 100), its rules
    file ("" where it has none), and its lines to be."""

    company_id: str
    company_name: str
    client_id: int | None
    client_name: str
    matched_by: str | None
    percent: Decimal | None
    never_billed: bool
    rules_file: str
    drafts: tuple[DecidedDraft, ...] = ()
