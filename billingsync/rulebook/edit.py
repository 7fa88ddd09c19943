"""Rules as text: keys set and taken out again, with everything else left as it stands, comments included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from billingsync.core.rules import DeskRules, Rulebook
from billingsync.errors import UsageError
from billingsync.rulebook.keys import KEYS
from billingsync.rulebook.layer import read_layer
from billingsync.rulebook.load import load_rulebook
from billingsync.rulebook.wording import nearest, shown

# Keys that a person must give a reason for [DR3]: what lets money out, and what leaves it out.
_NEEDS_REASON = ("limits.", "exclude.", "approval.auto_post", "client.exclude", "reconcile.exclude_")
_KNOWN = (*(key.dotted for key in KEYS), "client.exclude")
_TOGETHER = ("match", "bundle")  # blocks of `[reconcile]`: what belongs together


def needs_reason(dotted: str) -> bool:
    return dotted.startswith(_NEEDS_REASON)


def edited(text: str, values: Mapping[str, str]) -> str:
    """The text with these keys: "modifiers.azure" -> TOML, or a bare word for a text; "" takes the key out.
    "product.SKU" is that product's block: an item's id, or its parts. "reconcile.match.SKU" is the block that counts it
    together with others: `{ pax8_skus = [...], halo_items = [...] }`; "reconcile.bundle.ITEM" is what an item covers:
    `[{ pax8_sku = "...", seats = 1 }]`. UsageError for a key that rules do not have."""
    document = tomlkit.parse(text)
    for dotted, value in values.items():
        section, _, name = dotted.partition(".")
        if section == "product" and name:
            _set_block(document, name, value)
            continue
        kind, _, named = name.partition(".")
        if section == "reconcile" and kind in _TOGETHER and named:
            _set_together(document, kind, named, value)
            continue
        if dotted not in _KNOWN:
            guess = nearest(dotted, _KNOWN)
            hint = f" Did you mean {guess}?" if guess else ""
            raise UsageError(f"{shown(dotted)} is no key that can be set here.{hint}")
        if not value:
            if section in document and name in document[section]:
                del document[section][name]
                if not document[section]:
                    del document[section]
            continue
        if section not in document:
            document[section] = tomlkit.table()
        document[section][name] = _value(value)
    text = tomlkit.dumps(document)
    return text if text.strip() else ""


def _value(text: str) -> object:
    """What was typed, as TOML; what is no TOML is a text, so that nobody has to type quotes inside quotes."""
    try:
        return tomlkit.value(text.strip())
    except (TOMLKitError, ValueError):
        return tomlkit.string(text.strip())


def _set_block(document: tomlkit.TOMLDocument, sku: str, value: str) -> None:
    blocks = document.get("product")
    blocks = blocks if blocks is not None else tomlkit.aot()
    kept = [block for block in blocks if block.get("pax8_sku") != sku]
    if value:
        block = tomlkit.table()
        block["pax8_sku"] = sku
        target = _value(value)
        block["parts" if isinstance(target, list) else "halo_item"] = target
        kept.append(block)
    if "product" in document:
        del document["product"]
    if kept:
        document["product"] = tomlkit.aot()
        for block in kept:
            document["product"].append(block)


def _set_together(document: tomlkit.TOMLDocument, kind: str, name: str, value: str) -> None:
    """A block of `[[reconcile.match]]` or `[[reconcile.bundle]]`, in place of the one of that product or item."""
    blocks = [] if not value else [_together(kind, name, _value(value))]
    section = document.get("reconcile", {})
    kept = [block for block in section.get(kind, ()) if name not in _names(kind, block)]
    if kind in section:
        del section[kind]
    if kept or blocks:
        if "reconcile" not in document:
            document["reconcile"] = tomlkit.table()
        listed = tomlkit.aot()
        for block in (*kept, *blocks):
            listed.append(block)
        document["reconcile"][kind] = listed
    elif "reconcile" in document and not section:
        del document["reconcile"]


def _together(kind: str, name: str, given: object) -> Table:
    block = tomlkit.table()
    if kind == "bundle":
        if not (name.isdigit() and isinstance(given, list)):
            raise UsageError(
                'A bundle is set as reconcile.bundle.ITEM_ID=[{ pax8_sku = "SKU", seats = 1 }]. Nothing was saved.'
            )
        block["halo_item"] = int(name)
        block["covers"] = given
        return block
    if not isinstance(given, dict) or name not in given.get("pax8_skus", ()):
        raise UsageError(
            'Products that count as one are set as reconcile.match.SKU={ pax8_skus = ["SKU", "OTHER"], '
            "halo_items = [ITEM_ID] }, with that SKU among them. Nothing was saved."
        )
    for key, one in given.items():
        block[key] = one
    return block


def _names(kind: str, block: Mapping[str, Any]) -> list[str]:
    """Whose a block is: its item, or each of its products."""
    return [str(block.get("halo_item"))] if kind == "bundle" else [str(sku) for sku in block.get("pax8_skus", ())]


def keys_in(text: str) -> dict[str, str]:
    """Every key of a desk's text, and its value as TOML."""
    found = {}
    for section, table in tomlkit.parse(text).items():
        if section == "product":
            for block in table:
                target = block.get("halo_item", block.get("parts"))
                found[f"product.{block.get('pax8_sku')}"] = tomlkit.item(target).as_string()
            continue
        for name, value in table.items():
            if section == "reconcile" and name in _TOGETHER:
                found |= {f"{section}.{name}.{_names(name, block)[0]}": _block_value(name, block) for block in value}
            else:
                found[f"{section}.{name}"] = tomlkit.item(value).as_string()
    return found


def _block_value(kind: str, block: Table) -> str:
    if kind == "bundle":
        return str(tomlkit.item(block["covers"]).as_string())
    inline = tomlkit.inline_table()
    inline.update(block.unwrap())
    return str(inline.as_string())


def locked_keys(directory: Path, one: DeskRules) -> dict[str, str]:
    """The keys that stand in the client's own file, with file and line: no value of the desk beats them [DR1]."""
    if not one.company_id:
        return {}
    file = file_of(load_rulebook(directory), one)
    if file is None:
        return {}
    layer = read_layer(Path(file), is_client=True)
    lines = layer.file.lines
    found = {dotted: _at(file, lines.get(tuple(dotted.split(".")))) for dotted in layer.values}
    found |= {f"product.{name}": file for name in layer.blocks}
    found |= {f"reconcile.match.{sku}": file for block in layer.matches for sku in block.pax8_skus}
    found |= {f"reconcile.bundle.{block.halo_item}": file for block in layer.bundles}
    if "exclude" in layer.client:
        found["client.exclude"] = _at(file, lines.get(("client", "exclude")))
    return found


def _at(file: str, line: int | None) -> str:
    return file if line is None else f"{file}:{line}"


def file_of(rulebook: Rulebook, one: DeskRules) -> str | None:
    """The path of the client's file in rules that are of files only."""
    file = rulebook.file_for(
        company_id=one.company_id,
        company_name=one.company_name,
        client_id=one.client_id,
        other_names=one.other_names,
    )
    return file.path if file else None


def as_client_file(one: DeskRules) -> str:
    """A new file of that client, with nothing but whom it is about."""
    document = tomlkit.document()
    document.add(tomlkit.comment(f"{one.company_name or one.company_id}: written on the desk."))
    client = tomlkit.table()
    client["pax8_company"] = one.company_id
    if one.company_name:
        client["name"] = one.company_name
    document["client"] = client
    return tomlkit.dumps(document)
