"""Which products count as one, and which HaloPSA items carry them [LC6] [LC7].

A **family** is one product, or the products of one `[[reconcile.match]]` block. A **piece** is what rules and catalogue
cannot tell apart: families that share an item, with all their items. Both are the same for all clients with the same
rules, so that they are worked out once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

from billingsync.core.bill.names import normalise
from billingsync.core.bill.products import Catalogue
from billingsync.core.rules import MatchBlock, ProductBlock, Rules


class How(StrEnum):
    """What a match of a product and an item rests on; by name or text it is a guess."""

    PAIRED = "paired"
    RULES = "rules"
    PERSON = "person"
    SKU = "sku"
    NAME = "name"
    TEXT = "text"
    LEDGER = "ledger"  # the billing job's own line: what was posted says what it is of

    @property
    def guessed(self) -> bool:
        return self in (How.NAME, How.TEXT)


@dataclass(frozen=True, slots=True)
class Ref:
    """One Pax8 product as a subscription, a charge or a vendor's file names it."""

    sku: str = ""
    name: str = ""
    product_id: str = ""
    vendor: str = ""

    @property
    def own_family(self) -> str:
        """What it is called where no block says otherwise: its SKU, else its name, else its id."""
        return self.sku or " ".join(self.name.casefold().split()) or self.product_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Products that count as one. `each`: every item carries all seats, else the items carry them together."""

    key: str
    refs: tuple[Ref, ...]
    items: tuple[int, ...] = ()
    lines: frozenset[int] = frozenset()
    how: How | None = None
    each: bool = False
    ambiguous: str = ""  # the items that match equally well [P1]
    per_unit: Decimal = Decimal(1)
    round_up: bool = False
    vendor: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Families that share items, with all their items; `key` is stable over snapshots."""

    key: str
    families: tuple[str, ...]
    items: tuple[int, ...]
    each: bool


def _key(name: str) -> str:
    return " ".join(name.casefold().split())


_text = lru_cache(maxsize=65_536)(normalise)  # few texts stand on very many lines


@dataclass(slots=True)
class Matcher:
    """What the rules of some clients say about products and items. Made by `matcher`."""

    families: dict[str, Family] = field(default_factory=dict)
    piece_of: dict[str, Piece] = field(default_factory=dict)  # by family
    by_item: dict[int, tuple[str, ...]] = field(default_factory=dict)
    by_line: dict[int, str] = field(default_factory=dict)
    by_text: dict[str, tuple[str, ...]] = field(default_factory=dict)
    bundles: dict[int, dict[str, Decimal]] = field(default_factory=dict)  # item -> family -> seats
    _blocks: dict[str, MatchBlock] = field(default_factory=dict)

    def family_of(self, ref: Ref) -> str:
        """The key of the family that a product belongs to."""
        block = self._blocks.get(ref.sku or ref.name)
        if block is not None and (block.vendor is None or not ref.vendor or _key(block.vendor) == _key(ref.vendor)):
            return block.pax8_skus[0]
        return ref.own_family

    def by_line_text(self, text: str) -> tuple[str, ...]:
        """The families whose products are called just like this line."""
        name = _text(text)
        return self.by_text.get(name, ()) if name else ()


def matcher(
    rules: Rules, refs: Iterable[Ref], catalogue: Catalogue, by_person: Mapping[str, tuple[int, ...]]
) -> Matcher:
    """Families, items and pieces under these rules, for all products that anybody names."""
    made = Matcher(_blocks={sku: block for block in rules.matches for sku in block.pax8_skus})
    members: dict[str, set[Ref]] = defaultdict(set)
    for ref in refs:
        if ref.own_family:
            members[made.family_of(ref)].add(ref)
    blocks = {block.pax8_skus[0]: block for block in rules.matches}
    for key in blocks:
        members.setdefault(key, set())
    made.bundles = {
        bundle.halo_item: {made.family_of(Ref(sku=one.pax8_sku)): one.seats for one in bundle.covers}
        for bundle in rules.bundles
    }
    for covered in made.bundles.values():
        for key in covered:
            members.setdefault(key, set())
    look = _LookUp(rules=rules, catalogue=catalogue, by_person=by_person, bundled=frozenset(made.bundles))
    for key in sorted(members):
        refs_ = tuple(sorted(members[key], key=lambda ref: (ref.sku, ref.name, ref.product_id, ref.vendor)))
        block = blocks.get(key)
        made.families[key] = _of_block(block, refs_) if block else look.family(key, refs_)
    _index(made)
    return made


def _of_block(block: MatchBlock, refs: tuple[Ref, ...]) -> Family:
    return Family(
        key=block.pax8_skus[0],
        refs=refs,
        items=block.halo_items,
        lines=frozenset(block.halo_lines),
        how=How.RULES,
        each=block.count == "each",
        per_unit=block.per_unit,
        round_up=block.round == "up",
        vendor=block.vendor or "",
        tags=block.tags,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _LookUp:
    """The steps of [LC6] after pairings and blocks; the first that finds an item ends the search."""

    rules: Rules
    catalogue: Catalogue
    by_person: Mapping[str, tuple[int, ...]]
    bundled: frozenset[int]  # items that the rules sell as bundles: they stand for no single product

    def family(self, key: str, refs: tuple[Ref, ...]) -> Family:
        if block := next((found for ref in refs for found in self._product_blocks(ref)), None):
            if block.parts:
                parts = tuple(dict.fromkeys(part.halo_item for part in block.parts))
                return Family(key=key, refs=refs, items=parts, how=How.RULES, each=True)
            return Family(key=key, refs=refs, items=(block.halo_item,) if block.halo_item else (), how=How.RULES)
        for ref in refs:
            if ref.sku in self.by_person:
                return Family(key=key, refs=refs, items=self.by_person[ref.sku], how=How.PERSON)
        for how, table, names in (
            (How.SKU, self.catalogue.by_code, [ref.sku.strip() for ref in refs]),
            (How.NAME, self.catalogue.by_name, [_key(ref.name) for ref in refs]),
        ):
            for name in names:
                found = [item for item in table.get(name, ()) if item.id not in self.bundled] if name else []
                if len(found) == 1:
                    return Family(key=key, refs=refs, items=(found[0].id,), how=how)
                if found:
                    several = ", ".join(f"{item.name} ({item.id})" for item in found[:4])
                    return Family(key=key, refs=refs, ambiguous=several)
        return Family(key=key, refs=refs)

    def _product_blocks(self, ref: Ref) -> Iterator[ProductBlock]:
        blocks = self.rules.product_blocks
        yield from (block for block in blocks if block.pax8_sku is not None and block.pax8_sku == ref.sku)
        yield from (
            block for block in blocks if block.pax8_product is not None and block.pax8_product == ref.product_id
        )


def _index(made: Matcher) -> None:
    by_item: dict[int, list[str]] = defaultdict(list)
    by_text: dict[str, set[str]] = defaultdict(set)
    for key, family in made.families.items():
        for item in family.items:
            by_item[item].append(key)
        for line in family.lines:
            made.by_line[line] = key
        for ref in family.refs:
            if name := _text(ref.name):
                by_text[name].add(key)
    made.by_item = {item: tuple(keys) for item, keys in by_item.items()}
    made.by_text = {name: tuple(sorted(keys)) for name, keys in by_text.items()}
    joined = Joined(made.families)
    for keys in made.by_item.values():
        joined.join(keys)
    for keys in joined.pieces():
        families = [made.families[key] for key in keys]
        items = tuple(sorted({item for family in families for item in family.items}))
        # Families that count together and ones that count each cannot be told apart where they share an item: together.
        each = len(items) > 1 and all(family.each for family in families)
        piece = Piece(key=keys[0], families=keys, items=items, each=each)
        made.piece_of |= dict.fromkeys(keys, piece)


class Joined:
    """Sets that grow together wherever two of them share a member."""

    def __init__(self, members: Iterable[str]) -> None:
        self._parent = {member: member for member in members}

    def _root(self, member: str) -> str:
        while self._parent.setdefault(member, member) != member:
            self._parent[member] = self._parent[self._parent[member]]
            member = self._parent[member]
        return member

    def join(self, members: Iterable[str]) -> None:
        roots = {self._root(member) for member in members}
        if roots:
            first = min(roots)
            self._parent |= dict.fromkeys(roots, first)

    def pieces(self) -> list[tuple[str, ...]]:
        """Every set, sorted within and by its first member."""
        found: dict[str, list[str]] = defaultdict(list)
        for member in sorted(self._parent):
            found[self._root(member)].append(member)
        return [tuple(members) for members in found.values()]
