"""Rules as text: keys set and taken out again, with everything else left as it stands, comments included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from billingsync.core.rules import DeskRules, Rulebook
from billingsync.errors import UsageError
from billingsync.rulebook.keys import KEYS
from billingsync.rulebook.layer import read_layer
from billingsync.rulebook.load import load_rulebook
from billingsync.rulebook.wording import nearest, shown

# Keys that a person must give a reason for [DR3]: what lets money out, and what leaves it out.
_NEEDS_REASON = ("limits.", "exclude.", "approval.auto_post", "client.exclude", "reconcile.exclude_")
_KNOWN = (*(key.dotted for key in KEYS), "client.exclude")


def needs_reason(dotted: str) -> bool:
    return dotted.startswith(_NEEDS_REASON)


def edited(text: str, values: Mapping[str, str]) -> str:
    """The text with these keys: "modifiers.azure" -> TOML, or a bare word for a text; "" takes the key out.
    "product.SKU" is that product's block: an item's id, or its parts. UsageError for a key that rules do not have."""
    document = tomlkit.parse(text)
    for dotted, value in values.items():
        section, _, name = dotted.partition(".")
        if section == "product" and name:
            _set_block(document, name, value)
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
    return tomlkit.dumps(document)


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


def keys_in(text: str) -> dict[str, str]:
    """Every key of a desk's text, and its value as TOML."""
    found = {}
    for section, table in tomlkit.parse(text).items():
        if section == "product":
            for block in table:
                target = block.get("halo_item", block.get("parts"))
                found[f"product.{block.get('pax8_sku')}"] = tomlkit.item(target).as_string()
        else:
            found |= {f"{section}.{name}": tomlkit.item(value).as_string() for name, value in table.items()}
    return found


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
    if "exclude" in layer.client:
        found["client.exclude"] = _at(file, lines.get(("client", "exclude")))
    return found


def _at(file: str, line: int | None) -> str:
    return file if line is None else f"{file}:{line}"


def file_of(rulebook: Rulebook, one: DeskRules) -> str | None:
    """The path of the client's file in rules that are of files only."""
    file = rulebook.file_for(company_id=one.company_id, company_name=one.company_name, client_id=one.client_id)
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
