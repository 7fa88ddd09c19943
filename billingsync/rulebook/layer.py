"""One rules file's keys, checked one by one: which are known, which may stand there, what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from billingsync.core.charge import KNOWN_TYPES
from billingsync.core.money import plain
from billingsync.core.rules import BundleBlock, MatchBlock, Part, ProductBlock
from billingsync.rulebook.blocks import BLOCKS
from billingsync.rulebook.file import Problem, RulesFile, Where, read_rules_file
from billingsync.rulebook.keys import ABOVE, CLIENT_FILE, CLIENT_KEYS, KEYS, PART_KEYS, PRODUCT_KEYS, SECTIONS, Key
from billingsync.rulebook.kinds import NotAllowed
from billingsync.rulebook.unknown import unknown_key
from billingsync.rulebook.wording import nearest, shown


@dataclass(slots=True, kw_only=True)
class Layer:
    """One file's keys, as core wants them: `values` by dotted key, `blocks` by SKU or product id, `client` as the
    arguments of a ClientFile. `broken` holds the dotted keys that are there but wrong."""

    file: RulesFile
    is_client: bool
    desk: bool = False  # written by the desk: whom it is about is known without it [DR1]
    values: dict[str, object] = field(default_factory=dict)
    blocks: dict[str, ProductBlock] = field(default_factory=dict)
    matches: list[MatchBlock] = field(default_factory=list)
    bundles: list[BundleBlock] = field(default_factory=list)
    client: dict[str, Any] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def wrong(self, where: Where, key: str, says: str) -> None:
        self.problems.append(self.file.problem(where, key, says))
        self.broken.add(key)

    def read(self, key: Key, value: object, where: Where, label: str) -> object:
        """The value as core wants it, or None after noting what is wrong with it."""
        try:
            return key.kind.read(value)
        except NotAllowed as wrong:
            self.wrong(where, label, str(wrong))
            return None


def read_layer(path: Path, *, is_client: bool) -> Layer:
    """Reads one file; what is wrong with it comes as `problems`."""
    return layer_of(read_rules_file(path), is_client=is_client)


def layer_of(file: RulesFile, *, is_client: bool, desk: bool = False) -> Layer:
    """The keys of a file that was read."""
    layer = Layer(file=file, is_client=is_client, desk=desk, problems=list(file.problems))
    if file.data is None:
        return layer
    if file.empty:
        layer.warnings.append(f"{file.path}: is empty, as a file that was not saved completely is")
    for name, value in file.data.items():
        if name == "product":
            _read_products(layer, value)
        elif name == "client" and is_client:
            _read_client(layer, value)
        elif name in SECTIONS and not (name == "clients" and is_client):
            _read_section(layer, name, value)
        else:
            _unknown_section(layer, name, value)
    if is_client and not desk and "client" not in file.data:
        says = "the section [client] is missing; write pax8_company, name or halo_client there, to name its client"
        layer.wrong((), "client", says)
    return layer


def _read_section(layer: Layer, section: str, value: object) -> None:
    """One of the sections that become Rules."""
    table = _as_table(layer, section, value)
    known = {key.name: key for key in KEYS if key.section == section}
    for name, entry in table.items():
        where, label = (section, name), f"{section}.{name}"
        key = known.get(name)
        if label in BLOCKS:
            BLOCKS[label](layer, entry)
        elif key is None:
            layer.wrong(where, label, unknown_key(name, section, entry))
        elif key.where == CLIENT_FILE and not layer.is_client:
            layer.wrong(where, label, "may stand only in a client's file; move it to rules/clients/")
        else:
            read = layer.read(key, entry, where, label)
            if read is not None:
                layer.values[label] = read
    if section == "exclude":
        _warn_of_types(layer)


def _warn_of_types(layer: Layer) -> None:
    """Pax8 may invent types [S7], so that an unknown one may be excluded; but it may also be misspelt."""
    types = layer.values.get("exclude.types", ())
    assert isinstance(types, tuple)
    for text in types:
        if text not in KNOWN_TYPES:
            guess = nearest(text, sorted(KNOWN_TYPES))
            hint = f"; did you mean {shown(guess)}?" if guess else ""
            warning = f"{layer.file.path}: exclude.types: {shown(text)} is not a type that Pax8 documents{hint}"
            layer.warnings.append(warning)


def _read_client(layer: Layer, value: object) -> None:
    table = _as_table(layer, "client", value)
    known = {key.name: key for key in CLIENT_KEYS}
    for name, entry in table.items():
        where, label = ("client", name), f"client.{name}"
        if name in known:
            read = layer.read(known[name], entry, where, label)
            if read is not None:
                layer.client[name] = read
        else:
            layer.wrong(where, label, unknown_key(name, "client", entry))
    if not layer.desk and not table.keys() & {"pax8_company", "name", "halo_client"} and isinstance(value, dict):
        layer.wrong(("client",), "client", "does not name its client; write pax8_company, name or halo_client")


def _as_table(layer: Layer, section: str, value: object) -> Mapping[str, object]:
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value) and value:
        says = f"is a section of its own; write [{section}] with single brackets, once"
    else:
        says = f"{shown(value)} is not a section; write [{section}] on a line and its keys below"
    layer.wrong((section,), section, says)
    return {}


def _read_products(layer: Layer, value: object) -> None:
    if not isinstance(value, list) or not all(isinstance(block, dict) for block in value):
        says = "is a list of blocks; write [[product]] with double brackets, once for each product"
        layer.wrong(("product",), "product", says)
        return
    for number, table in enumerate(value):
        block = _read_block(layer, number, table)
        if block is None:
            continue
        name = block.pax8_sku or block.pax8_product or ""
        # SKUs are compared exactly; two that differ in case only are one product misspelt.
        twin = next((known for known in layer.blocks if known.casefold() == name.casefold()), None)
        if twin is not None:
            label = f"product {number + 1}"
            layer.wrong(("product", number), label, f"there is a [[product]] block for {shown(twin)} already; keep one")
        else:
            layer.blocks[name] = block


def _read_block(layer: Layer, number: int, table: Mapping[str, object]) -> ProductBlock | None:
    """One `[[product]]` block; None where it has mistakes."""
    before = len(layer.problems)
    place = ("product", number)
    named = table.get("pax8_sku") or table.get("pax8_product")
    label = f"product {number + 1}" + (f" ({named:.60})" if isinstance(named, str) else "")
    known = {key.name: key for key in PRODUCT_KEYS}
    values: dict[str, Any] = {}
    for name, entry in table.items():
        where, key_label = (*place, name), f"{label}.{name}"
        if name == "parts":
            values["parts"] = _read_parts(layer, entry, where, key_label)
        elif name in known:
            values[name] = layer.read(known[name], entry, where, key_label)
        else:
            layer.wrong(where, key_label, unknown_key(name, "product", entry))
    for either, other, why in (
        ("pax8_sku", "pax8_product", "to say which product it is about"),
        ("halo_item", "parts", "to say which item it becomes"),
    ):
        if either in table and other in table:
            layer.wrong((*place, other), label, f"has both {either} and {other}; keep one")
        elif either not in table and other not in table:
            layer.wrong(place, label, f"has neither {either} nor {other}; write one of them {why}")
    return ProductBlock(**values) if len(layer.problems) == before else None


def _read_parts(layer: Layer, value: object, where: Where, label: str) -> tuple[Part, ...]:
    """`parts = [{ halo_item = 11, share = 60 }, ...]` [P5]."""
    if not isinstance(value, list) or not value or not all(isinstance(part, dict) for part in value):
        layer.wrong(where, label, "is not a list of parts; write [{ halo_item = 11, share = 60 }, ...]")
        return ()
    before = len(layer.problems)
    known = {key.name: key for key in PART_KEYS}
    parts = []
    for number, table in enumerate(value):
        part_label = f"{label}[{number + 1}]"
        values: dict[str, Any] = {}
        for name, entry in table.items():
            if name in known:
                values[name] = layer.read(known[name], entry, (*where, number, name), f"{part_label}.{name}")
            else:
                says = unknown_key(name, "parts", entry)
                layer.wrong((*where, number, name), f"{part_label}.{name}", says)
        if "halo_item" not in table:
            layer.wrong((*where, number), part_label, "has no halo_item; write the HaloPSA item that it becomes")
        elif len(layer.problems) == before:
            parts.append(Part(**values))
    if len(layer.problems) == before:
        for says in _part_mistakes(parts):
            layer.wrong(where, label, says)
    return tuple(parts)


def _part_mistakes(parts: Sequence[Part]) -> Iterator[str]:
    """Either shares that add up to 100, or fixed unit prices and exactly one rest [P5]."""
    for number, part in enumerate(parts, start=1):
        given = (part.share is not None) + (part.unit_price is not None) + part.rest
        if given != 1:
            has = "more than one" if given else "none"
            yield f"part {number} has {has} of share, unit_price and rest = true; write exactly one"
            return
    shares = [part.share for part in parts if part.share is not None]
    rests = sum(part.rest for part in parts)
    if shares and len(shares) < len(parts):
        yield "mixes shares with unit_price or rest; write either shares only, or unit prices and one rest = true"
    elif shares and sum(shares) != 100:
        yield f"the shares add up to {plain(sum(shares, Decimal(0)))}; make them add up to 100"
    elif not shares and rests != 1:
        has = "no part has" if not rests else f"{rests} parts have"
        yield f"{has} rest = true; exactly one takes what the unit prices leave"
    elif not shares and len(parts) == 1:
        yield "one part that takes everything splits nothing; write halo_item instead of parts"


_SECTIONS_THERE_ARE = (*SECTIONS, "client", "product")


def _unknown_section(layer: Layer, name: str, value: object) -> None:
    if name == "client":
        says = "may stand only in a client's file; move it to a file in rules/clients/"
    elif name == "clients":
        says = f"may stand only in {ABOVE}"
        if isinstance(value, dict) and value.keys() & {key.name for key in CLIENT_KEYS}:
            says += "; did you mean [client]?"
    elif not isinstance(value, dict):
        says = unknown_key(name, "", value)
    elif guess := nearest(name, _SECTIONS_THERE_ARE):
        says = f"unknown section; did you mean {'[[product]]' if guess == 'product' else f'[{guess}]'}?"
    else:
        says = f"unknown section; known: {', '.join(_SECTIONS_THERE_ARE)}"
    layer.wrong((name,), name, says)
