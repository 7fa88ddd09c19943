"""Every key that a rules file may hold: where it may stand, what it may be and what it means.

This one table drives the reading of the files, `billingsync rules show` and the JSON Schema that editors use. The
defaults are not repeated here: `billingsync.core.rules` has them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from billingsync.core.money import MAX_AMOUNT
from billingsync.core.rules import Rules
from billingsync.rulebook.kinds import Choice, Code, Flag, Id, Ids, Kind, Number, Schema, Template, Text, Texts, Whole

ANY, CLIENT_FILE, ABOVE = "any layer", "a client's file", "defaults.toml or integrations/pax8.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the rules files. `where` is the only place it may stand."""

    section: str
    name: str
    kind: Kind
    says: str
    where: str = ANY

    @property
    def dotted(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def default(self) -> object:
        """As core.rules has it; None for a key that has no default."""
        return getattr(getattr(Rules(), self.section, None), self.name, None)


def _keys(section: str, where: str, *rows: tuple[str, Kind, str]) -> tuple[Key, ...]:
    return tuple(Key(section=section, name=name, kind=kind, says=says, where=where) for name, kind, says in rows)


_HOLD_OR_POST = Choice(("post", "hold"))
_PERCENT = Number(Decimal(0), Decimal(100))
_MONEY = Number(Decimal(0), MAX_AMOUNT - 1)
_SEATS = Number(Decimal(0), Decimal(1_000_000), above_low=True)
_ANY_PERCENT = Number(Decimal(0), Decimal(1_000_000))

KEYS: tuple[Key, ...] = (
    *_keys(
        "invoice",
        ANY,
        ("behavior", Choice(("new", "latest", "recurring")), "Which invoice a client's lines go to [B1]-[B3]."),
        (
            "group_by",
            Choice(("client", "distributor_invoice", "purchase_order")),
            'How behavior "new" splits a client\'s lines into invoices [B1].',
        ),
        (
            "when_latest_closed",
            Choice(("hold", "new")),
            'What behavior "latest" does where the newest invoice is closed or there is none [B2].',
        ),
    ),
    *_keys(
        "invoice",
        CLIENT_FILE,
        ("recurring_invoice", Id(recurring=True), "The client's recurring invoice, with or without minus sign [B3]."),
    ),
    *_keys(
        "modifiers",
        ANY,
        ("azure", Choice(("keep", "drop", "collapse")), "What becomes of Azure charges [M1]."),
        ("azure_sku_prefixes", Texts(), "A charge whose SKU starts with one of these is Azure [M1]."),
        ("azure_patterns", Texts(), "A charge whose texts contain one of these, in any case, is Azure [M1]."),
        ("favorable_prorata", Choice(("keep", "drop")), "What becomes of prorates with a negative amount [M2]."),
        ("zero_lines", Choice(("keep", "drop")), "What becomes of lines with a price of 0.00 [M3]."),
        (
            "zero_price_with_cost",
            Choice(("hold", "drop", "keep")),
            'Where zero_lines = "drop": what becomes of a price of 0.00 that has a cost [M3].',
        ),
    ),
    *_keys(
        "clients",
        ABOVE,
        # Below half, two names differ in more letters than they share: no match at all. It also catches 0.9 for 90.
        (
            "match_percent",
            Number(Decimal(50), Decimal(100)),
            "How similar two normalised names must be to count as the same client; 100 is equal [C1].",
        ),
        ("guessed", _HOLD_OR_POST, "What a match by similarity may do before a person confirms it [C1]."),
    ),
    *_keys(
        "products",
        ANY,
        (
            "lifecycle",
            Choice(("off", "manual", "default_item", "automatic")),
            "Where the HaloPSA items of products without a match come from [P2].",
        ),
        ("item_group", Text(), 'The item group in which lifecycle "automatic" creates items [P2].'),
        ("default_item", Id(), 'The HaloPSA item that lifecycle "default_item" uses for every line [P2].'),
        ("income_account", Code(), "Income account of items that are created [P4]."),
        ("expense_account", Code(), "Expense account of items that are created [P4]."),
        ("tax_code", Code(id_only=True), "Tax code (the id of a HaloPSA tax) of items that are created [P4]."),
    ),
    *_keys("lines", ANY, ("text", Template(), "The text of a line, with named fields in braces [L2].")),
    *_keys(
        "exclude",
        ANY,
        ("companies", Texts(), "Pax8 companies never billed: ids or exact names [A3]."),
        ("products", Texts(), "Products never billed: SKUs or exact names [A3]."),
        ("types", Texts(lower=True), "Charge types never billed [A3]."),
        ("billed_by_pax8", Flag(), "Whether charges that Pax8 bills the customer itself are left out [A3]."),
    ),
    *_keys(
        "limits",
        ANY,
        (
            "change_percent_max",
            _ANY_PERCENT,
            "Hold a client whose amount moved more than this percentage since its last posted period.",
        ),
        ("change_amount_min", _MONEY, "A move of less than this amount never counts as a change."),
        (
            "margin_percent_min",
            Number(Decimal(-100), Decimal(100)),
            "Hold a client with a line or a whole of less margin than this.",
        ),
        ("client_amount_max", _MONEY, "Hold a client that would be billed more than this."),
        ("negative_invoice", Choice(("hold", "post")), "What becomes of a new invoice that would be negative."),
        ("new_client", _HOLD_OR_POST, "What becomes of a client billed for the first time."),
        ("new_product", _HOLD_OR_POST, "What becomes of a product billed for the first time."),
        (
            "missing_company_percent_max",
            _PERCENT,
            "Hold the whole run where more than this share of last period's companies is absent.",
        ),
    ),
    *_keys(
        "approval",
        ANY,
        (
            "auto_post",
            Choice(("never", "within_limits")),
            "Whether the worker may post a plan that is within its limits.",
        ),
        (
            "true_up",
            Choice(("hold", "post")),
            "What becomes of a billed invoice that Pax8 credited and issued again [R2].",
        ),
    ),
    *_keys(
        "reconcile",
        ANY,
        ("exclude_companies", Texts(), "Pax8 companies left out of reports and cards: ids or exact names [LC2]."),
        ("exclude_products", Texts(), "Products left out of reports and cards: SKUs or exact names [LC2]."),
        ("usage_skus", Texts(), "Products without seats, compared by money only [LC2]."),
        ("price_source", Choice(("halo", "pax8")), "Whose price is right where the two differ [FD1]."),
        ("money_tolerance", _MONEY, "A difference of at most this amount a line is no finding [BC8]."),
    ),
    *_keys(
        "reconcile",
        CLIENT_FILE,
        ("period_months", Whole(1, 60), "How many months the client's recurring invoice bills at once [BC4]."),
    ),
    *_keys(
        "cards",
        ANY,
        ("prorata", Choice(("off", "halo")), "Whether a card may write entries of HaloPSA's own pro rata [CD6]."),
        ("new_price", Choice(("item", "pax8")), "Whose price a new line takes first [CD4]."),
        ("quantity_change_percent_max", _ANY_PERCENT, "A card that moves a quantity by more needs a reason [CD9]."),
        ("quantity_change_min", _ANY_PERCENT, "A move of at most this many seats never counts as too large [CD9]."),
        ("price_change_percent_max", _ANY_PERCENT, "A card that moves a price by more needs a reason [CD9]."),
    ),
)
CLIENT_KEYS = _keys(
    "client",
    CLIENT_FILE,
    ("pax8_company", Text(), "The Pax8 company's id."),
    ("name", Text(), "The Pax8 company's exact name, where the id is not given."),
    ("halo_client", Id(), "The HaloPSA client's id: makes the match [C1]."),
    ("exclude", Flag(), "true: never bill this client from here."),
)
PRODUCT_KEYS = _keys(
    "product",
    ANY,
    ("pax8_sku", Text(), "The product's SKU, exactly as Pax8 writes it."),
    ("pax8_product", Text(), "The product's Pax8 id, instead of its SKU."),
    ("halo_item", Id(), "The HaloPSA item that its lines use [P1]."),
)
PART_KEYS = _keys(
    "parts",
    ANY,
    ("halo_item", Id(), "The part's HaloPSA item."),
    ("share", Number(Decimal(0), Decimal(100), above_low=True), "The part's share of the amount in percent [P5]."),
    ("unit_price", _MONEY, "The part's fixed unit price [P5]."),
    ("rest", Flag(), "true: this part takes what the others leave [P5]."),
)
MATCH_KEYS = (
    *_keys(
        "reconcile.match",
        ANY,
        ("pax8_skus", Texts(), "The products that count as one: their SKUs, or a vendor file's services [LC7]."),
        ("halo_items", Ids(), "The HaloPSA items that carry them."),
        ("count", Choice(("sum", "each")), "Whether the items carry the seats together, or each carries them all."),
        ("per_unit", _SEATS, "How many seats one unit in HaloPSA is."),
        ("round", Choice(("exact", "up")), "What becomes of a part of a unit."),
        ("vendor", Text(), "The vendor, as cards and filters name it [CD10]."),
        ("tags", Texts(), "Free words to filter by [CD10]."),
    ),
    *_keys(
        "reconcile.match",
        CLIENT_FILE,
        ("halo_lines", Ids(), "The recurring lines that carry them, where an item does not tell."),
    ),
)
BUNDLE_KEYS = _keys(
    "reconcile.bundle",
    ANY,
    ("halo_item", Id(), "The HaloPSA item that covers seats of several products [LC7]."),
)
COVER_KEYS = _keys(
    "covers",
    ANY,
    ("pax8_sku", Text(), "A product that the bundle covers."),
    ("seats", _SEATS, "How many of its seats one unit covers."),
)
SECTIONS = tuple(dict.fromkeys(key.section for key in KEYS))


def rules_schema() -> Schema:
    """JSON Schema (draft 2020-12) of a rules file, for editors (taplo, Even Better TOML).

    One schema serves all layers; what may stand only in some of them is said in the description.
    """
    sections = {section: _table(key for key in KEYS if key.section == section) for section in SECTIONS}
    client = _table(CLIENT_KEYS) | {
        "description": "Whom this file is about; only in rules/clients/.",
        "anyOf": [{"required": [key.name]} for key in CLIENT_KEYS if key.name != "exclude"],
    }
    reconcile = sections["reconcile"]["properties"]
    assert isinstance(reconcile, dict)
    reconcile |= {
        "match": {"type": "array", "items": _table(MATCH_KEYS) | {"required": ["pax8_skus"]}},
        "bundle": {"type": "array", "items": _bundle_schema()},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "billingsync rules",
        "type": "object",
        "properties": {**sections, "client": client, "product": {"type": "array", "items": _product_schema()}},
        "additionalProperties": False,
    }


def _product_schema() -> Schema:
    product = _table(PRODUCT_KEYS)
    part = _table(PART_KEYS) | {"required": ["halo_item"]}
    properties = product["properties"]
    assert isinstance(properties, dict)
    properties["parts"] = {
        "type": "array",
        "items": part,
        "minItems": 1,
        "description": "Several items instead of one: shares that add up to 100, or unit prices and one rest [P5].",
    }
    selectors = [{"required": ["pax8_sku"]}, {"required": ["pax8_product"]}]
    targets = [{"required": ["halo_item"]}, {"required": ["parts"]}]
    return product | {"allOf": [{"oneOf": selectors}, {"oneOf": targets}]}


def _bundle_schema() -> Schema:
    covers = {
        "type": "array",
        "items": _table(COVER_KEYS) | {"required": ["pax8_sku"]},
        "minItems": 1,
        "description": "The products that one unit of the item covers, with the seats of each.",
    }
    bundle = _table(BUNDLE_KEYS)
    properties = bundle["properties"]
    assert isinstance(properties, dict)
    properties["covers"] = covers
    return bundle | {"required": ["halo_item", "covers"]}


def _table(keys: Iterable[Key]) -> Schema:
    properties: Schema = {}
    for key in keys:
        only = "" if key.where == ANY else f" Only in {key.where}."
        entry = {**key.kind.schema(), "description": key.says + only}
        if key.default is not None:
            entry["default"] = _json(key.default)
        properties[key.name] = entry
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _json(value: object) -> object:
    if isinstance(value, Decimal):
        return (
            int(value) if value == value.to_integral_value() else float(value)
        )  # shown by an editor, never computed with
    return list(value) if isinstance(value, tuple) else value
