"""One rules file's keys, checked one by one: which are known, which may stand there, what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from billingsync.core.charge import KNOWN_TYPES
from billingsync.core.rules import BundleBlock, Covered, MatchBlock, Part, ProductBlock
from billingsync.rulebook.file import Problem, RulesFile, Where, read_rules_file
from billingsync.rulebook.keys import ABOVE, BLOCKS, ClientKeys, FileKeys, Section
from billingsync.rulebook.mistakes import Mistake, checked, label, unknown_key
from billingsync.rulebook.wording import nearest, shown

Core = TypeVar("Core")


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
    data = {}
    for name, value in file.data.items():
        if name in FileKeys.model_fields and name != ("clients" if is_client else "client"):
            data[name] = value
        else:
            _unknown_section(layer, name, value)
    _read(layer, data)
    if is_client and not desk and "client" not in file.data:
        says = "the section [client] is missing; write pax8_company, name or halo_client there, to name its client"
        layer.wrong((), "client", says)
    return layer


def _read(layer: Layer, data: Mapping[str, Any]) -> None:
    incomplete = list(_incomplete(data, desk=layer.desk))
    keys, mistakes, left_out = checked(FileKeys, data, is_client=layer.is_client, without=incomplete)
    for mistake in (*incomplete, *mistakes):
        layer.wrong(mistake.where, mistake.key, mistake.says)
    for name, section in keys.said().items():
        if name == "client":
            layer.client = section.said()
        elif name != "product":
            layer.values |= {f"{name}.{key}": one for key, one in section.said().items() if (name, key) not in BLOCKS}
    places = [where for where, _ in _tables(("product",), data) if where not in left_out]
    for where, product in zip(places, keys.product or (), strict=True):
        _take_product(layer, where, _as_core(ProductBlock, product))
    if keys.reconcile is not None:
        layer.matches += [_as_core(MatchBlock, block) for block in keys.reconcile.match or ()]
        layer.bundles += [_as_core(BundleBlock, block) for block in keys.reconcile.bundle or ()]
    _warn_of_types(layer)


def _as_core(kind: type[Core], block: Section) -> Core:
    """A block as core has it, its own tables too."""
    tables: dict[str, type] = {"parts": Part, "covers": Covered}
    values = block.said()
    for name in tables.keys() & values.keys():
        values[name] = tuple(_as_core(tables[name], one) for one in values[name])
    return kind(**values)


def _incomplete(data: Mapping[str, Any], *, desk: bool) -> Iterator[Mistake]:
    """Tables that lack a key, or have two of which there may be one: said together with all else that is wrong."""
    client = data.get("client")
    if isinstance(client, dict) and not desk and not client.keys() & {"pax8_company", "name", "halo_client"}:
        says = "does not name its client; write pax8_company, name or halo_client"
        yield Mistake(where=("client",), key="client", says=says)
    for where, table in _tables(("product",), data):
        for either, other, why in (
            ("pax8_sku", "pax8_product", "to say which product it is about"),
            ("halo_item", "parts", "to say which item it becomes"),
        ):
            if either in table and other in table:
                says = f"has both {either} and {other}; keep one"
                yield Mistake(where=(*where, other), key=label(where, data), says=says)
            elif either not in table and other not in table:
                says = f"has neither {either} nor {other}; write one of them {why}"
                yield Mistake(where=where, key=label(where, data), says=says)
    for where, table in _tables(("reconcile", "match"), data):
        if not table.keys() & {"halo_items", "halo_lines"}:
            says = "has neither halo_items nor halo_lines; write the items that carry the products"
            yield Mistake(where=where, key=label(where, data), says=says)


def _tables(at: Where, data: object) -> Iterator[tuple[Where, Mapping[str, object]]]:
    blocks = data
    for name in at:
        blocks = blocks.get(name) if isinstance(blocks, dict) else None
    for number, block in enumerate(blocks if isinstance(blocks, list) else ()):
        if isinstance(block, dict):
            yield (*at, number), block


def _take_product(layer: Layer, where: Where, block: ProductBlock) -> None:
    name = block.pax8_sku or block.pax8_product or ""
    # SKUs are compared exactly; two that differ in case only are one product misspelt.
    twin = next((known for known in layer.blocks if known.casefold() == name.casefold()), None)
    if twin is None:
        layer.blocks[name] = block
    else:
        says = f"there is a [[product]] block for {shown(twin)} already; keep one"
        layer.wrong(where, f"product {int(where[1]) + 1}", says)


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


def _unknown_section(layer: Layer, name: str, value: object) -> None:
    if name == "client":
        says = "may stand only in a client's file; move it to a file in rules/clients/"
    elif name == "clients":
        says = f"may stand only in {ABOVE}"
        if isinstance(value, dict) and value.keys() & ClientKeys.model_fields.keys():
            says += "; did you mean [client]?"
    elif not isinstance(value, dict):
        says = unknown_key(name, None, value)
    elif guess := nearest(name, FileKeys.model_fields):
        says = f"unknown section; did you mean {'[[product]]' if guess == 'product' else f'[{guess}]'}?"
    else:
        says = f"unknown section; known: {', '.join(FileKeys.model_fields)}"
    layer.wrong((name,), name, says)
