"""An import profile: what a partner says about one vendor's files. Read from `rules/imports/*.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from billingsync.core.tables.cells import DateOrder


class TableKind(StrEnum):
    USAGE = "usage"  # counts of a vendor, beside Pax8's [IM2]
    CHARGES = "charges"  # the rows of a distributor invoice [IM11]


class SameService(StrEnum):
    """What equal account and service in two rows mean [IM7]."""

    SUM = "sum"
    ERROR = "error"
    SEPARATE = "separate"


class TextEncoding(StrEnum):
    """`auto` takes a byte order mark, else UTF-8, and nothing else [IM3]."""

    AUTO = "auto"
    UTF_8 = "utf-8"
    WINDOWS_1252 = "windows-1252"
    UTF_16 = "utf-16"


AUTO = "auto"

# Our columns by kind: those that a profile must name, and those that it may.
REQUIRED: Mapping[TableKind, tuple[str, ...]] = {
    TableKind.USAGE: ("account", "service", "quantity"),
    TableKind.CHARGES: ("company", "type", "quantity"),
}
OPTIONAL: Mapping[TableKind, tuple[str, ...]] = {
    TableKind.USAGE: ("sku", "unit_price", "unit_cost", "currency", "period", "subscription", "vendor"),
    TableKind.CHARGES: (
        "company_id",
        "period",
        "start",
        "end",
        "term",
        "sku",
        "description",
        "details",
        "price",
        "sub_total",
        "total",
        "cost",
        "cost_total",
        "sales_tax",
        "partner_sub_total",
        "amount_due",
        "currency",
    ),
}
NUMBERS = frozenset(
    "quantity unit_price unit_cost price sub_total total cost cost_total sales_tax partner_sub_total amount_due".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """`columns` maps our names to the file's. `currency` is "" where the profile names none; `delimiter` and `decimal`
    are "auto" or the character. `digest` names everything that the profile says."""

    name: str
    path: str  # the file it stands in, or where it comes from
    kind: TableKind
    vendor: str = ""
    encoding: TextEncoding = TextEncoding.AUTO
    delimiter: str = AUTO
    decimal: str = AUTO
    dates: DateOrder = DateOrder.AUTO
    total_rows: tuple[str, ...] = ()
    same_service: SameService = SameService.SUM
    currency: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
