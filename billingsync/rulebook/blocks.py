"""`[[reconcile.match]]` and `[[reconcile.bundle]]` blocks: which products and items belong together [LC7]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from billingsync.core.rules import BundleBlock, MatchBlock, Rules
from billingsync.rulebook.file import Where
from billingsync.rulebook.wording import shown

if TYPE_CHECKING:
    from billingsync.rulebook.layer import Layer


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
