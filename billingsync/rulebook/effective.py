"""What the rules come to: their digest, every effective key with its origin, and whose file a person means."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from pathlib import Path

from billingsync.core.money import plain
from billingsync.core.rules import BundleBlock, ClientFile, Covered, MatchBlock, Part, ProductBlock, Rulebook
from billingsync.rulebook.keys import CLIENT_KEYS, KEYS
from billingsync.rulebook.wording import printable, shown


def block_name(block: ProductBlock) -> str:
    """What a `[[product]]` block is about: the SKU or the Pax8 product id."""
    return block.pax8_sku or block.pax8_product or ""


def rulebook_digest(rulebook: Rulebook) -> str:
    """SHA-256 (hex) of the effective rules: comments, file names, layers and the order of keys and files do not
    count, and neither does 50 written as 50.00."""
    clients = [
        {
            "pax8_company": file.pax8_company,
            "name": file.name,
            "halo_client": file.halo_client,
            "exclude": file.exclude,
            "rules": _canonical(file.rules),
        }
        for file in rulebook.clients
    ]
    whole = {"base": _canonical(rulebook.base), "clients": sorted(clients, key=_json)}
    return hashlib.sha256(_json(whole).encode()).hexdigest()


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _canonical(value: object) -> object:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, tuple):
        entries = [_canonical(entry) for entry in value]
        # Lists of texts are sets to those who read them; blocks and parts keep the order that core sees.
        return sorted(set(value)) if all(isinstance(entry, str) for entry in value) else entries
    if is_dataclass(value):
        return {part.name: _canonical(getattr(value, part.name)) for part in fields(value) if part.name != "origins"}
    return value


Row = tuple[str, object, str]  # dotted key, value, the file that decided it


def effective(rulebook: Rulebook, file: ClientFile | None) -> list[Row]:
    """Every effective key of one client's file, or of all without one (None). A key no file sets has the origin
    "default" and, where there is no default either, the value None."""
    rules = rulebook.base if file is None else file.rules
    rows: list[Row] = []
    if file is not None:
        selectors = (("client." + key.name, getattr(file, key.name)) for key in CLIENT_KEYS)
        rows += [(dotted, value, file.path) for dotted, value in selectors if value not in (None, False)]
    for key in KEYS:
        value = getattr(getattr(rules, key.section), key.name)
        rows.append((key.dotted, value, rules.origins.get(key.dotted, "default")))
    for block in rules.product_blocks:
        dotted = f"product.{block_name(block)}"
        rows.append((dotted, block, rules.origins.get(dotted, "default")))
    for match in rules.matches:
        dotted = f"reconcile.match.{match.pax8_skus[0]}"
        rows.append((dotted, match, rules.origins.get(dotted, "default")))
    for bundle in rules.bundles:
        dotted = f"reconcile.bundle.{bundle.halo_item}"
        rows.append((dotted, bundle, rules.origins.get(dotted, "default")))
    return rows


def as_toml(value: object) -> str:
    """A value of `effective` as TOML writes it; "" for None."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {as_toml(one)}' for name, one in value.items())} }}"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(as_toml(entry) for entry in value)}]"
    if isinstance(value, Part):
        share = f"share = {plain(value.share)}" if value.share is not None else ""
        price = f"unit_price = {plain(value.unit_price)}" if value.unit_price is not None else ""
        return f"{{ halo_item = {value.halo_item}, {share or price or 'rest = true'} }}"
    if isinstance(value, ProductBlock):
        return f"parts = {as_toml(value.parts)}" if value.parts else f"halo_item = {value.halo_item}"
    if isinstance(value, Covered):
        return f"{{ pax8_sku = {as_toml(value.pax8_sku)}, seats = {plain(value.seats)} }}"
    if isinstance(value, BundleBlock):
        return f"covers = {as_toml(value.covers)}"
    if isinstance(value, MatchBlock):
        said = {part.name: getattr(value, part.name) for part in fields(value)}
        unsaid = MatchBlock(pax8_skus=())
        return ", ".join(f"{name} = {as_toml(one)}" for name, one in said.items() if one != getattr(unsaid, name))
    if isinstance(value, str):
        return printable(json.dumps(value, ensure_ascii=False))
    return plain(value) if isinstance(value, Decimal) else shown(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`file` where the text means exactly one; else the `candidates` it may mean, or the nearest `suggestions`."""

    file: ClientFile | None = None
    candidates: tuple[ClientFile, ...] = ()
    suggestions: tuple[str, ...] = ()


def find_client_file(rulebook: Rulebook, text: str) -> Found:
    """The client's file that a person means by "contoso": the file's name, the company's name or an id, in any
    case; the beginning of a name will do where it is the beginning of one only."""
    wanted = text.strip().casefold()
    if not wanted:
        return Found()

    def names(file: ClientFile) -> list[str]:
        return [Path(file.path).stem, *(name for name in (file.name, file.pax8_company) if name)]

    def ids(file: ClientFile) -> list[str]:
        return [file.path, *([str(file.halo_client)] if file.halo_client is not None else [])]

    exact = [file for file in rulebook.clients if wanted in map(str.casefold, [*names(file), *ids(file)])]
    prefix = [file for file in rulebook.clients if any(name.casefold().startswith(wanted) for name in names(file))]
    for found in (exact, prefix):
        hits = list({file.path: file for file in reversed(found)}.values())  # with the desk's over one file: that
        if hits:
            return Found(file=hits[0]) if len(hits) == 1 else Found(candidates=tuple(hits))
    return Found(suggestions=_closest(wanted, (name for file in rulebook.clients for name in names(file))))


def _closest(wanted: str, names: Iterable[str]) -> tuple[str, ...]:
    from rapidfuzz import fuzz, process, utils

    unique = list(dict.fromkeys(names))
    near = process.extract(wanted, unique, scorer=fuzz.ratio, processor=utils.default_process, limit=3)
    return tuple(name for name, score, _ in near if score >= 60)
