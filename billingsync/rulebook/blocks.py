"""`[[reconcile.match]]` and `[[reconcile.bundle]]` blocks: which products and items belong together [LC7]."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from billingsync.core.rules import BundleBlock, Covered, MatchBlock, Rules
from billingsync.rulebook.file import Where
from billingsync.rulebook.keys import BUNDLE_KEYS, CLIENT_FILE, COVER_KEYS, MATCH_KEYS, Key
from billingsync.rulebook.unknown import unknown_key
from billingsync.rulebook.wording import shown

if TYPE_CHECKING:
    from billingsync.rulebook.layer import Layer


def read_matches(layer: Layer, value: object) -> None:
    """All `[[reconcile.match]]` blocks of a file."""
    for number, table in _tables(layer, "match", value):
        place, label = ("reconcile", "match", number), f"reconcile.match {number + 1}"
        before = len(layer.problems)
        values = _values(layer, table, MATCH_KEYS, (place, label))
        if "pax8_skus" not in table:
            layer.wrong(place, label, "has no pax8_skus; write the products that count as one")
        if not table.keys() & {"halo_items", "halo_lines"}:
            layer.wrong(place, label, "has neither halo_items nor halo_lines; write the items that carry the products")
        if values.get("pax8_skus") == ():
            layer.wrong((*place, "pax8_skus"), f"{label}.pax8_skus", "is empty; write at least one SKU")
        if len(layer.problems) == before:
            layer.matches.append(MatchBlock(**values))


def read_bundles(layer: Layer, value: object) -> None:
    """All `[[reconcile.bundle]]` blocks of a file."""
    for number, table in _tables(layer, "bundle", value):
        place, label = ("reconcile", "bundle", number), f"reconcile.bundle {number + 1}"
        before = len(layer.problems)
        covers = table.get("covers")
        rest = {name: entry for name, entry in table.items() if name != "covers"}
        values = _values(layer, rest, BUNDLE_KEYS, (place, label))
        covered = _covers(layer, covers, ((*place, "covers"), f"{label}.covers"))
        if "halo_item" not in table:
            layer.wrong(place, label, "has no halo_item; write the HaloPSA item that is sold")
        if len(layer.problems) == before:
            layer.bundles.append(BundleBlock(covers=covered, **values))


BLOCKS = {"reconcile.match": read_matches, "reconcile.bundle": read_bundles}


def _tables(layer: Layer, name: str, value: object) -> Iterator[tuple[int, Mapping[str, object]]]:
    if isinstance(value, list) and all(isinstance(block, dict) for block in value):
        yield from enumerate(value)
        return
    says = f"is a list of blocks; write [[reconcile.{name}]] with double brackets, once for each"
    layer.wrong(("reconcile", name), f"reconcile.{name}", says)


def _values(layer: Layer, table: Mapping[str, object], keys: Iterable[Key], at: tuple[Where, str]) -> dict[str, Any]:
    """The keys of one block that are right; what is wrong is noted."""
    place, label = at
    known = {key.name: key for key in keys}
    section = next(iter(known.values())).section
    values: dict[str, Any] = {}
    for name, entry in table.items():
        where, key_label = (*place, name), f"{label}.{name}"
        key = known.get(name)
        if key is None:
            layer.wrong(where, key_label, unknown_key(name, section, entry))
        elif key.where == CLIENT_FILE and not layer.is_client:
            layer.wrong(where, key_label, "may stand only in a client's file; move it to rules/clients/")
        else:
            read = layer.read(key, entry, where, key_label)
            if read is not None:
                values[name] = read
    return values


def _covers(layer: Layer, value: object, at: tuple[Where, str]) -> tuple[Covered, ...]:
    """`covers = [{ pax8_sku = "A", seats = 1 }, ...]`."""
    where, label = at
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        layer.wrong(where, label, 'is not a list of products; write [{ pax8_sku = "A", seats = 1 }, ...]')
        return ()
    covered: list[Covered] = []
    for number, table in enumerate(value):
        before = len(layer.problems)
        one_label = f"{label}[{number + 1}]"
        values = _values(layer, table, COVER_KEYS, ((*where, number), one_label))
        if "pax8_sku" not in table:
            layer.wrong((*where, number), one_label, "has no pax8_sku; write the product that the item covers")
        elif len(layer.problems) == before:
            covered.append(Covered(**values))
    names = [one.pax8_sku for one in covered]
    for twice in sorted({name for name in names if names.count(name) > 1}):
        layer.wrong(where, label, f"names {shown(twice)} twice; write it once, with all its seats")
    return tuple(covered)


def merged_matches(below: Sequence[MatchBlock], own: Sequence[MatchBlock]) -> tuple[MatchBlock, ...]:
    """A layer's blocks over those below: a block replaces all below that name one of its products."""
    named = {sku for block in own for sku in block.pax8_skus}
    return (*own, *(block for block in below if not named & set(block.pax8_skus)))


def merged_bundles(below: Sequence[BundleBlock], own: Sequence[BundleBlock]) -> tuple[BundleBlock, ...]:
    """A layer's blocks over those below: a block replaces the one below of the same item."""
    named = {block.halo_item for block in own}
    return (*own, *(block for block in below if block.halo_item not in named))


def block_mistakes(rules: Rules, layer: Layer) -> Iterator[tuple[Where, str, str]]:
    """Blocks of this layer that contradict each other or one below: place, key, what to do."""
    seen: dict[str, int] = {}
    for number, block in enumerate(layer.matches, start=1):
        for sku in block.pax8_skus:
            place, label = ("reconcile", "match", number - 1, "pax8_skus"), f"reconcile.match {number}.pax8_skus"
            first = seen.setdefault(sku, number)
            if first != number:
                yield place, label, f"{shown(sku)} is in reconcile.match {first} already; keep it in one of the two"
            elif block.pax8_skus.count(sku) > 1:
                yield place, label, f"names {shown(sku)} twice; keep it once"
                break
    bundled = [block.halo_item for block in layer.bundles]
    for number, item in enumerate(bundled, start=1):
        if item in bundled[: number - 1]:
            place, label = ("reconcile", "bundle", number - 1, "halo_item"), f"reconcile.bundle {number}.halo_item"
            yield place, label, f"there is a [[reconcile.bundle]] block of item {item} already; keep one"
    matched = {item for block in rules.matches for item in block.halo_items}
    for number, bundle in enumerate(layer.bundles, start=1):
        if bundle.halo_item in matched:
            place, label = ("reconcile", "bundle", number - 1, "halo_item"), f"reconcile.bundle {number}.halo_item"
            yield (
                place,
                label,
                f"item {bundle.halo_item} stands in a [[reconcile.match]] block too; keep one of the two",
            )
    own_items = {bundle.halo_item for bundle in layer.bundles}
    below = {bundle.halo_item for bundle in rules.bundles} - own_items
    for number, block in enumerate(layer.matches, start=1):
        for item in sorted(below & set(block.halo_items)):
            place, label = ("reconcile", "match", number - 1, "halo_items"), f"reconcile.match {number}.halo_items"
            yield place, label, f"item {item} stands in a [[reconcile.bundle]] block too; keep one of the two"
