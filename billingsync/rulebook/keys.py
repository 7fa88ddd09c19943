"""Every key that a rules file may hold: where it may stand, what it may be and what it means.

These models drive the reading of the files, `billingsync rules show`, the desk's forms and the JSON Schema that editors
use. The defaults are not repeated here: `billingsync.core.rules` has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from billingsync.core.money import plain
from billingsync.core.rules import Rules
from billingsync.rulebook.kinds import (
    CLIENTS_ONLY,
    AnyPercent,
    Code,
    Flag,
    Id,
    Ids,
    LowerTexts,
    Margin,
    MatchPercent,
    Money,
    Months,
    Percent,
    RecurringId,
    Seats,
    Share,
    TaxId,
    Template,
    Text,
    Texts,
)
from billingsync.rulebook.wording import shown

ANY, CLIENT_FILE, ABOVE = "any layer", "a client's file", "defaults.toml or integrations/pax8.toml"


def _key(says: str, **more: Any) -> Any:
    """A key that may be absent."""
    return Field(default=None, description=says, **more)


class Section(BaseModel):
    """A table of a rules file."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)  # read as parts of a whole file

    def said(self) -> dict[str, Any]:
        """The keys that are there."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class InvoiceKeys(Section):
    behavior: Literal["new", "latest", "recurring"] = _key("Which invoice a client's lines go to [B1]-[B3].")
    group_by: Literal["client", "distributor_invoice", "purchase_order"] = _key(
        'How behavior "new" splits a client\'s lines into invoices [B1].'
    )
    when_latest_closed: Literal["hold", "new"] = _key(
        'What behavior "latest" does where the newest invoice is closed or there is none [B2].'
    )
    recurring_invoice: Annotated[RecurringId, CLIENTS_ONLY] = _key(
        "The client's recurring invoice, with or without minus sign [B3]."
    )


class ModifierKeys(Section):
    azure: Literal["keep", "drop", "collapse"] = _key("What becomes of Azure charges [M1].")
    azure_sku_prefixes: Texts = _key("A charge whose SKU starts with one of these is Azure [M1].")
    azure_patterns: Texts = _key("A charge whose texts contain one of these, in any case, is Azure [M1].")
    favorable_prorata: Literal["keep", "drop"] = _key("What becomes of prorates with a negative amount [M2].")
    zero_lines: Literal["keep", "drop"] = _key("What becomes of lines with a price of 0.00 [M3].")
    zero_price_with_cost: Literal["hold", "drop", "keep"] = _key(
        'Where zero_lines = "drop": what becomes of a price of 0.00 that has a cost [M3].'
    )


class ClientMatchKeys(Section):
    match_percent: MatchPercent = _key(
        "How similar two normalised names must be to count as the same client; 100 is equal [C1]."
    )
    guessed: Literal["post", "hold"] = _key("What a match by similarity may do before a person confirms it [C1].")


class ProductsKeys(Section):
    lifecycle: Literal["off", "manual", "default_item", "automatic"] = _key(
        "Where the HaloPSA items of products without a match come from [P2]."
    )
    item_group: Text = _key('The item group in which lifecycle "automatic" creates items [P2].')
    default_item: Id = _key('The HaloPSA item that lifecycle "default_item" uses for every line [P2].')
    income_account: Code = _key("Income account of items that are created [P4].")
    expense_account: Code = _key("Expense account of items that are created [P4].")
    tax_code: TaxId = _key("Tax code (the id of a HaloPSA tax) of items that are created [P4].")


class LineKeys(Section):
    text: Template = _key("The text of a line, with named fields in braces [L2].")


class ExcludeKeys(Section):
    companies: Texts = _key("Pax8 companies never billed: ids or exact names [A3].")
    products: Texts = _key("Products never billed: SKUs or exact names [A3].")
    types: LowerTexts = _key("Charge types never billed [A3].")
    billed_by_pax8: Flag = _key("Whether charges that Pax8 bills the customer itself are left out [A3].")


class LimitKeys(Section):
    change_percent_max: AnyPercent = _key(
        "Hold a client whose amount moved more than this percentage since its last posted period."
    )
    change_amount_min: Money = _key("A move of less than this amount never counts as a change.")
    margin_percent_min: Margin = _key("Hold a client with a line or a whole of less margin than this.")
    client_amount_max: Money = _key("Hold a client that would be billed more than this.")
    negative_invoice: Literal["hold", "post"] = _key("What becomes of a new invoice that would be negative.")
    new_client: Literal["post", "hold"] = _key("What becomes of a client billed for the first time.")
    new_product: Literal["post", "hold"] = _key("What becomes of a product billed for the first time.")
    missing_company_percent_max: Percent = _key(
        "Hold the whole run where more than this share of last period's companies is absent."
    )


class ApprovalKeys(Section):
    auto_post: Literal["never", "within_limits"] = _key("Whether the worker may post a plan that is within its limits.")
    true_up: Literal["hold", "post"] = _key(
        "What becomes of a billed invoice that Pax8 credited and issued again [R2]."
    )


class MatchKeys(Section):
    pax8_skus: Annotated[Texts, Field(min_length=1)] = Field(
        description="The products that count as one: their SKUs, or a vendor file's services [LC7]."
    )
    halo_items: Ids = _key("The HaloPSA items that carry them.")
    halo_lines: Annotated[Ids, CLIENTS_ONLY] = _key("The recurring lines that carry them, where an item does not tell.")
    count: Literal["sum", "each"] = _key("Whether the items carry the seats together, or each carries them all.")
    per_unit: Seats = _key("How many seats one unit in HaloPSA is.")
    round: Literal["exact", "up"] = _key("What becomes of a part of a unit.")
    vendor: Text = _key("The vendor, as cards and filters name it [CD10].")
    tags: Texts = _key("Free words to filter by [CD10].")


class CoverKeys(Section):
    pax8_sku: Text = Field(description="A product that the bundle covers.")
    seats: Seats = _key("How many of its seats one unit covers.")


def _named_once(covers: tuple[CoverKeys, ...]) -> tuple[CoverKeys, ...]:
    names = [one.pax8_sku for one in covers]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError("; ".join(f"names {shown(name)} twice; write it once, with all its seats" for name in twice))
    return covers


class BundleKeys(Section):
    halo_item: Id = Field(description="The HaloPSA item that covers seats of several products [LC7].")
    covers: Annotated[tuple[CoverKeys, ...], Field(min_length=1), AfterValidator(_named_once)] = Field(
        description="The products that one unit of the item covers, with the seats of each.",
        examples=[[{"pax8_sku": "A", "seats": 1}]],
    )


class ReconcileKeys(Section):
    exclude_companies: Texts = _key("Pax8 companies left out of reports and cards: ids or exact names [LC2].")
    exclude_products: Texts = _key("Products left out of reports and cards: SKUs or exact names [LC2].")
    usage_skus: Texts = _key("Products without seats, compared by money only [LC2].")
    price_source: Literal["halo", "pax8"] = _key("Whose price is right where the two differ [FD1].")
    money_tolerance: Money = _key("A difference of at most this amount a line is no finding [BC8].")
    period_months: Annotated[Months, CLIENTS_ONLY] = _key(
        "How many months the client's recurring invoice bills at once [BC4]."
    )
    match: tuple[MatchKeys, ...] = _key("Products that count as one, and the items that carry them [LC7].")
    bundle: tuple[BundleKeys, ...] = _key("Items that cover seats of several products [LC7].")


class CardKeys(Section):
    prorata: Literal["off", "halo"] = _key("Whether a card may write entries of HaloPSA's own pro rata [CD6].")
    new_price: Literal["item", "pax8"] = _key("Whose price a new line takes first [CD4].")
    quantity_change_percent_max: AnyPercent = _key("A card that moves a quantity by more needs a reason [CD9].")
    quantity_change_min: AnyPercent = _key("A move of at most this many seats never counts as too large [CD9].")
    price_change_percent_max: AnyPercent = _key("A card that moves a price by more needs a reason [CD9].")


class ClientKeys(Section):
    """Whom a client's file is about."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [name]} for name in ("pax8_company", "name", "halo_client")]}
    )
    pax8_company: Text = _key("The Pax8 company's id.")
    name: Text = _key("The Pax8 company's exact name, where the id is not given.")
    halo_client: Id = _key("The HaloPSA client's id: makes the match [C1].")
    exclude: Flag = _key("true: never bill this client from here.")


class PartKeys(Section):
    halo_item: Id = Field(description="The part's HaloPSA item.")
    share: Share = _key("The part's share of the amount in percent [P5].")
    unit_price: Money = _key("The part's fixed unit price [P5].")
    rest: Flag = _key("true: this part takes what the others leave [P5].")


def _add_up(parts: tuple[PartKeys, ...]) -> tuple[PartKeys, ...]:
    """Either shares that add up to 100, or fixed unit prices and exactly one rest [P5]."""
    for number, part in enumerate(parts, start=1):
        given = (part.share is not None) + (part.unit_price is not None) + bool(part.rest)
        if given != 1:
            has = "more than one" if given else "none"
            raise ValueError(f"part {number} has {has} of share, unit_price and rest = true; write exactly one")
    shares = [part.share for part in parts if part.share is not None]
    rests = sum(bool(part.rest) for part in parts)
    if shares and len(shares) < len(parts):
        raise ValueError(
            "mixes shares with unit_price or rest; write either shares only, or unit prices and one rest = true"
        )
    if shares and sum(shares) != 100:
        raise ValueError(f"the shares add up to {plain(sum(shares, Decimal(0)))}; make them add up to 100")
    if not shares and rests != 1:
        has = "no part has" if not rests else f"{rests} parts have"
        raise ValueError(f"{has} rest = true; exactly one takes what the unit prices leave")
    if not shares and len(parts) == 1:
        raise ValueError("one part that takes everything splits nothing; write halo_item instead of parts")
    return parts


class ProductKeys(Section):
    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                {"oneOf": [{"required": ["pax8_sku"]}, {"required": ["pax8_product"]}]},
                {"oneOf": [{"required": ["halo_item"]}, {"required": ["parts"]}]},
            ]
        }
    )
    pax8_sku: Text = _key("The product's SKU, exactly as Pax8 writes it.")
    pax8_product: Text = _key("The product's Pax8 id, instead of its SKU.")
    halo_item: Id = _key("The HaloPSA item that its lines use [P1].")
    parts: Annotated[tuple[PartKeys, ...], Field(min_length=1), AfterValidator(_add_up)] = _key(
        "Several items instead of one: shares that add up to 100, or unit prices and one rest [P5].",
        examples=[[{"halo_item": 11, "share": 60}, {"halo_item": 12, "share": 40}]],
    )


class FileKeys(Section):
    """One rules file."""

    invoice: InvoiceKeys = _key("Where a client's lines go.")
    modifiers: ModifierKeys = _key("What becomes of charges before they are billed.")
    clients: ClientMatchKeys = _key("How Pax8's companies find their HaloPSA clients.")
    products: ProductsKeys = _key("Where the HaloPSA items of lines come from.")
    lines: LineKeys = _key("What a line says.")
    exclude: ExcludeKeys = _key("What is never billed.")
    limits: LimitKeys = _key("What a person looks at before it is billed.")
    approval: ApprovalKeys = _key("What is posted without a person.")
    reconcile: ReconcileKeys = _key("What is compared, and how exactly.")
    cards: CardKeys = _key("How HaloPSA's recurring lines are corrected.")
    client: ClientKeys = _key("Whom this file is about; only in rules/clients/.")
    product: tuple[ProductKeys, ...] = _key("Which HaloPSA item a product becomes.")


SECTIONS = tuple(name for name in FileKeys.model_fields if name not in ("client", "product"))
BLOCKS = (("product",), ("reconcile", "match"), ("reconcile", "bundle"))  # tables that may stand more than once


def section_model(annotation: object) -> type[Section] | None:
    """The model of a field's tables: of `InvoiceKeys` or of `tuple[PartKeys, ...]`; None for a plain value."""
    models = (one for one in (annotation, *get_args(annotation)) if isinstance(one, type) and issubclass(one, Section))
    return next(models, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the rules files."""

    section: str
    name: str
    field: FieldInfo

    @property
    def dotted(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def says(self) -> str:
        return self.field.description or ""

    @property
    def where(self) -> str:
        """The only place where it may stand."""
        if self.section == "clients":
            return ABOVE
        return CLIENT_FILE if self.section == "client" or CLIENTS_ONLY in self.field.metadata else ANY

    @property
    def default(self) -> object:
        """As core.rules has it; None for a key that has no default."""
        return getattr(getattr(Rules(), self.section, None), self.name, None)

    @property
    def is_flag(self) -> bool:
        return self.field.annotation is bool

    @property
    def options(self) -> tuple[str, ...]:
        """The words of which it is one; () for any other kind."""
        return tuple(get_args(self.field.annotation)) if _is_choice(self.field) else ()


def _is_choice(field: FieldInfo) -> bool:
    return getattr(field.annotation, "__origin__", None) is Literal


def _keys(*sections: str) -> Iterator[Key]:
    for section in sections:
        model = section_model(FileKeys.model_fields[section].annotation)
        assert model is not None
        for name, field in model.model_fields.items():
            if section_model(field.annotation) is None:
                yield Key(section=section, name=name, field=field)


KEYS = tuple(_keys(*SECTIONS))
CLIENT_KEYS = tuple(_keys("client"))
