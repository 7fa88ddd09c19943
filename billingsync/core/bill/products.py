"""Which HaloPSA item a product is [P1], and what happens where there is none [P2]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from billingsync.core.bill.modifiers import Draft
from billingsync.core.bill.plan import ItemRef
from billingsync.core.charge import Charge
from billingsync.core.inputs import Item
from billingsync.core.reasons import BILL, EXCLUDE_PRODUCT, Reason
from billingsync.core.rules import Part, ProductBlock, Rules
from billingsync.core.steps import NOTHING, Fill, Slot, Step, instruction

NAME_LENGTH = 240  # characters of an item's name, so that HaloPSA does not cut the end that tells two items apart


class ItemBy(StrEnum):
    """By what a product's item was found, where it is no rule's text that names it."""

    LIFECYCLE_OFF = "lifecycle off"
    PERSON = "mapped by hand"
    SKU = "SKU"
    NAME = "name"
    CREATED = "created"


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """HaloPSA's items by everything that a product can be matched by; inactive items match nothing."""

    by_id: Mapping[int, Item] = field(default_factory=dict)
    by_code: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)
    by_name: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)
    first_skus: Mapping[str, str] = field(default_factory=dict)  # of several SKUs of one name, who may be called so

    @classmethod
    def of(cls, items: Iterable[Item], charges: Iterable[Charge] = ()) -> Catalogue:
        """`charges` are those of the month: two SKUs of one name must not become two items of one name [P3a]."""
        by_id: dict[int, Item] = {}
        by_code: dict[str, dict[int, Item]] = defaultdict(dict)
        by_name: dict[str, dict[int, Item]] = defaultdict(dict)
        for item in items:
            if item.inactive:
                continue
            by_id[item.id] = item
            for code in (item.external_reference, *item.supplier_part_codes):
                if code.strip():
                    by_code[code.strip()][item.id] = item
            if item.name.strip():
                by_name[_name(item.name)][item.id] = item
        return cls(
            by_id=by_id,
            by_code={code: tuple(found.values()) for code, found in by_code.items()},
            by_name={name: tuple(found.values()) for name, found in by_name.items()},
            first_skus=_first_skus(charges, by_code.keys()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What stands for a draft: items with the part each takes, or why it waits. `by` names what decided."""

    items: tuple[tuple[Part | None, ItemRef | None], ...] = ()
    by: str = ""
    reason: Reason | None = None
    detail: str = ""
    fill: Fill = field(default_factory=dict)  # what the reason's steps need to know
    steps: tuple[Step, ...] = ()  # where this case ends otherwise than the reason's others


def _first_skus(charges: Iterable[Charge], known: Collection[str]) -> dict[str, str]:
    """By product name, the first SKU of the month that has no item yet."""
    first: dict[str, str] = {}
    for name, sku in {((charge.product_name or charge.description), charge.sku.strip()) for charge in charges}:
        if name and sku not in known:
            folded = _name(name)
            first[folded] = min(first.get(folded, sku), sku)
    return first


def _correct(what: str) -> tuple[Step, ...]:
    return (instruction(BILL, f"correct {what}"), EXCLUDE_PRODUCT)


_NO_SKU = (instruction(BILL, "add a [[product]] block to the rules"), EXCLUDE_PRODUCT)


def _name(name: str) -> str:
    return " ".join(name.casefold().split())


def resolve(draft: Draft, rules: Rules, catalogue: Catalogue, by_person: Mapping[str, int]) -> Resolved:
    """[P1] in its order, then the lifecycle [P2]."""
    lifecycle = rules.products.lifecycle
    if lifecycle == "off":
        return Resolved(items=((None, None),), by=ItemBy.LIFECYCLE_OFF)
    if lifecycle == "default_item":
        return _default_item(rules, catalogue)
    if block := _block(draft, rules.product_blocks):
        return _from_block(block, catalogue, rules)
    sku = draft.sku.strip()
    if sku and sku in by_person:
        return _known(by_person[sku], catalogue, ItemBy.PERSON, fill={Slot.SKU: sku})
    found = catalogue.by_code.get(sku, ()) if sku else ()
    by = ItemBy.SKU
    if not found:
        found, by = _of_this_name(draft.product_name, sku, catalogue), ItemBy.NAME
    if len(found) == 1:
        return _item(found[0].id, found[0].name, by)
    fill, steps = {Slot.SKU: sku}, () if sku else _NO_SKU
    if found:
        names = ", ".join(f"{item.name} ({item.id})" for item in found[:4])
        return Resolved(
            reason=Reason.PRODUCT_AMBIGUOUS,
            detail=f"several HaloPSA items have this {by}: {names}",
            fill=fill,
            steps=steps,
        )
    if lifecycle == "manual":
        return Resolved(
            reason=Reason.PRODUCT_UNMATCHED,
            detail=f"no HaloPSA item for {draft.product_name or sku!r:.80}",
            fill=fill,
            steps=steps,
        )
    if not (draft.product_name or sku):
        return Resolved(
            reason=Reason.PRODUCT_UNMATCHED,
            detail="it has neither a name nor a SKU to make an item of",
            fill=fill,
            steps=steps,
        )
    return _created(_new_name(draft.product_name or sku, sku, catalogue), sku)


def _of_this_name(name: str, sku: str, catalogue: Catalogue) -> tuple[Item, ...]:
    """The items of a product's name. Where there are several, those that are another SKU's are no item of this one:
    else the items that we made ourselves would be in each other's way [P3a]."""
    found = catalogue.by_name.get(_name(f"{name} ({sku})"), ()) if sku else ()
    found = found or catalogue.by_name.get(_name(name), ())
    return found if len(found) == 1 else tuple(item for item in found if item.external_reference.strip() in ("", sku))


def _new_name(name: str, sku: str, catalogue: Catalogue) -> str:
    """What an item is called that is created for a SKU: the product's name, if no other item has it or will have it."""
    folded = _name(name)
    if not sku or (folded not in catalogue.by_name and catalogue.first_skus.get(folded, sku) == sku):
        return name
    return f"{name[: NAME_LENGTH - len(sku) - 3]} ({sku})"


def _item(item_id: int, name: str, by: str) -> Resolved:
    return Resolved(items=((None, ItemRef(id=item_id, name=name)),), by=by)


def _created(name: str, sku: str) -> Resolved:
    return Resolved(items=((None, ItemRef(id=None, name=name, create=True, sku=sku)),), by=ItemBy.CREATED)


def _block(draft: Draft, blocks: Iterable[ProductBlock]) -> ProductBlock | None:
    """The block of this SKU, else that of this product id, whatever their order in the file."""
    every = tuple(blocks)
    if not every:
        return None
    by_sku = (block for block in every if block.pax8_sku is not None and block.pax8_sku == draft.sku)
    by_id = (block for block in every if block.pax8_product is not None and block.pax8_product == draft.product_id)
    return next(by_sku, None) or next(by_id, None)


def _from_block(block: ProductBlock, catalogue: Catalogue, rules: Rules) -> Resolved:
    name = block.pax8_sku or block.pax8_product or ""
    by = f"[[product]] {name} in {rules.origins.get(f'product.{name}', 'the rules')}"
    steps = _correct(f"the [[product]] block of {name}")
    if not block.parts:
        return _known(block.halo_item, catalogue, by, steps)
    items: list[tuple[Part | None, ItemRef | None]] = []
    for part in block.parts:
        known = _known(part.halo_item, catalogue, by, steps)
        if known.reason:
            return known
        items.append((part, known.items[0][1]))
    return Resolved(items=tuple(items), by=by)


def _default_item(rules: Rules, catalogue: Catalogue) -> Resolved:
    where = rules.origins.get("products.default_item", "the rules")
    return _known(
        rules.products.default_item, catalogue, f"default_item in {where}", _correct(f"default_item in {where}")
    )


def _known(
    item_id: int | None, catalogue: Catalogue, by: str, steps: tuple[Step, ...] = (), fill: Fill = NOTHING
) -> Resolved:
    item = catalogue.by_id.get(item_id) if item_id is not None else None
    if item is None:
        return Resolved(
            reason=Reason.PRODUCT_UNMATCHED,
            detail=f"{by}: HaloPSA has no active item {item_id}",
            fill=fill,
            steps=steps,
        )
    return Resolved(items=((None, ItemRef(id=item.id, name=item.name)),), by=by)
