"""rules/*.toml -> `core.rules.Rulebook`; every mistake of every file at once, with file, line and key.

Layers: rules/defaults.toml < rules/integrations/pax8.toml < the desk's, of all < the desk's, of one client <
rules/clients/*.toml; in a fleet the bureau's two are below them. What a layer does not say follows
the layer below; a list replaces the list below; `[[product]]` blocks replace the block of the same product below.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from billingsync.core.rules import ClientFile, DeskRules, Rulebook, Rules
from billingsync.errors import RulesError
from billingsync.rulebook.blocks import block_mistakes, merged_bundles, merged_matches
from billingsync.rulebook.effective import block_name, rulebook_digest
from billingsync.rulebook.file import Problem, read_rules_text
from billingsync.rulebook.keys import SECTIONS
from billingsync.rulebook.layer import Layer, layer_of, read_layer
from billingsync.rulebook.wording import nearest, printable, shown

_SHARED = ("defaults.toml", "integrations/pax8.toml")
_NOT_RULES = (".example", "~", ".swp", ".swo", ".bak", ".orig", ".tmp")  # examples and what editors leave behind


def load_rulebook(directory: Path, desk: Sequence[DeskRules] = ()) -> Rulebook:
    """All rules below `directory`, and what the desk wrote over the shared ones. Raises RulesError with every problem
    of every file."""
    return load_rulebook_with_warnings(directory, desk)[0]


def load_rulebook_with_warnings(directory: Path, desk: Sequence[DeskRules] = ()) -> tuple[Rulebook, tuple[str, ...]]:
    """The same, with sentences about what is no mistake but looks like one, e.g. a file that no layer reads."""
    if not os.path.isdir(directory):
        what = "is not a directory" if os.path.lexists(directory) else "does not exist"
        raise RulesError(
            [f"{printable(str(directory))}: the rules directory {what}; `billingsync init` writes one"],
            next_steps=[["billingsync", "init"]],
        )
    problems: list[Problem] = []
    warnings: list[str] = []
    client_paths = list(_client_paths(directory, problems, warnings))
    _find_misplaced(directory, problems)
    shared = [
        read_layer(path, is_client=False)
        for folder in (*bureau_folders(directory), directory)
        for path in (folder / name for name in _SHARED)
        if os.path.lexists(path)
    ]
    own = [read_layer(path, is_client=True) for path in client_paths]
    return combined(shared, own, desk, problems=problems, warnings=warnings)


def combined(
    shared: Sequence[Layer],
    own: Sequence[Layer],
    desk: Sequence[DeskRules] = (),
    *,
    problems: Sequence[Problem] = (),
    warnings: Sequence[str] = (),
) -> tuple[Rulebook, tuple[str, ...]]:
    """The rules of layers that were read: the `shared` ones, weakest first, and the clients' `own`. `problems` and
    `warnings` are what was found on the way to them. Raises RulesError with all problems."""
    problems, warnings = list(problems), list(warnings)
    for_all = [desk_layer(one) for one in desk if not one.company_id]
    for_one = [(one, desk_layer(one)) for one in desk if one.company_id]
    for layer in (*shared, *for_all, *(layer for _, layer in for_one), *own):
        problems.extend(layer.problems)
        warnings.extend(layer.warnings)
    warnings.extend(_beaten(shared, [*for_all, *(layer for _, layer in for_one)]))
    shared = [*shared, *for_all]
    base = _effective(Rules(), shared)
    problems.extend(_contradictions(base, shared, shared))
    clients = []
    for layer in own:
        rules = _effective(base, [layer])
        problems.extend(_contradictions(rules, [*shared, layer], [layer]))
        warnings.extend(_unmapped_recurring(rules, layer))
        clients.append(ClientFile(path=layer.file.path, rules=rules, **layer.client))
    problems.extend(_two_files_for_one(own))
    for one, layer in for_one:
        file = Rulebook(clients=tuple(clients)).file_for(
            company_id=one.company_id,
            company_name=one.company_name,
            client_id=one.client_id,
            other_names=one.other_names,
        )
        above = [each for each in own if file is not None and each.file.path == file.path]
        rules = _effective(base, [layer, *above])
        problems.extend(_contradictions(rules, [*shared, layer, *above], [layer]))
        mine = _desk_client(one, layer, file, rules)
        clients = [mine, *(each for each in clients if each.pax8_company != one.company_id)]
    if problems:
        order = {layer.file.path: number for number, layer in enumerate((*shared, *own))}
        problems.sort(key=lambda problem: (order.get(problem.path, -1), problem.line or 0))
        raise RulesError([str(problem) for problem in problems], next_steps=[["billingsync", "rules", "check"]])
    rulebook = Rulebook(base=base, clients=tuple(clients))
    return replace(rulebook, digest=rulebook_digest(rulebook)), tuple(warnings)


def desk_layer(one: DeskRules) -> Layer:
    """What the desk wrote, as a layer."""
    return layer_of(read_rules_text(one.path, one.text), is_client=bool(one.company_id), desk=True)


def _desk_client(one: DeskRules, layer: Layer, file: ClientFile | None, rules: Rules) -> ClientFile:
    """A client's desk rules as a file of its own, with what its file says over them."""
    exclude = bool(layer.client.get("exclude"))
    if file is None:
        name = one.company_name or None
        return ClientFile(path=one.path, pax8_company=one.company_id, name=name, exclude=exclude, rules=rules)
    # A file that names a HaloPSA client alone maps no company to it: that the company is billed so may change.
    client = file.halo_client if file.pax8_company or file.name else None
    exclude = file.exclude or exclude
    return replace(file, pax8_company=one.company_id, halo_client=client, exclude=exclude, rules=rules)


def _beaten(below: Sequence[Layer], desk: Sequence[Layer]) -> Iterator[str]:
    """Which keys of the shared files the desk's beat: both are named, as nobody expects it of a file [DR1]."""
    for layer in desk:
        for key in layer.values:
            under = next((one.file.path for one in reversed(below) if key in one.values), None)
            if under is not None:
                yield f"{key} is set by {layer.file.path}, over {under}"


# Finding the files


def bureau_folders(directory: Path) -> Iterator[Path]:
    """Below a partner's rules in a fleet's folder, `partners/NAME/rules`, are those of the bureau."""
    above = directory.parent.parent
    if above.name == "partners" and (above.parent / "fleet.toml").is_file():
        yield above.parent / "rules"


def _client_paths(directory: Path, problems: list[Problem], warnings: list[str]) -> Iterator[Path]:
    """The files of clients/, sorted by name so that messages come in the same order everywhere."""
    folder = directory / "clients"
    if not os.path.lexists(folder):
        return
    for path in _entries(folder, problems):
        if _ignored(path.name):
            continue
        if path.suffix.lower() == ".toml":
            yield path
        elif path.is_dir():
            for inner in sorted(path.rglob("*.toml")):
                says = f"no layer reads this file; move it to {printable(folder.as_posix())}/"
                problems.append(Problem(path=printable(inner.as_posix()), line=None, key="", says=says))
        else:
            warnings.append(
                f"{printable(path.as_posix())}: not read, because a client's file ends in .toml; rename it, "
                "or let its name end in .example"
            )


def _find_misplaced(directory: Path, problems: list[Problem]) -> None:
    """A rules file that no layer reads would be billed against without a word: that is a mistake."""
    read = {directory / name for name in _SHARED}
    by_stem = {Path(name).stem: name for name in _SHARED}
    folders = [path for path in _entries(directory, problems) if path.is_dir() and not _ignored(path.name)]
    for folder in (directory, *folders):
        if folder in (directory / "clients", directory / "imports"):  # the latter are profiles of vendors' files
            continue
        for path in _entries(folder, problems):
            if path in read or _ignored(path.name) or path.suffix.lower() != ".toml":
                continue
            guess = nearest(path.stem, by_stem, at_least=75)
            advice = f"rename it to {by_stem[guess]}" if guess else "the rules of one client stand in clients/"
            says = f"no layer reads this file; {advice}"
            problems.append(Problem(path=printable(path.as_posix()), line=None, key="", says=says))


def _entries(folder: Path, problems: list[Problem]) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as wrong:
        says = f"cannot be read: {wrong.strerror or wrong}"
        problems.append(Problem(path=printable(folder.as_posix()), line=None, key="", says=says))
        return []


def _ignored(name: str) -> bool:
    return name.startswith((".", "_", "#")) or name.lower().endswith(_NOT_RULES)


# The layers together


def _effective(below: Rules, layers: Sequence[Layer]) -> Rules:
    """The rules of `below` with the layers over it, the last one strongest."""
    sections: dict[str, Any] = {section: getattr(below, section) for section in SECTIONS}
    origins = dict(below.origins)
    blocks = {block_name(block): block for block in below.product_blocks}
    matches, bundles = below.matches, below.bundles
    for layer in layers:
        for dotted, value in layer.values.items():
            section, _, name = dotted.partition(".")
            sections[section] = replace(sections[section], **{name: value})
            over = f", over {origins[dotted]}" if layer.desk and dotted in origins else ""
            origins[dotted] = f"{layer.file.path}{over}"
        for name in layer.blocks:
            origins[f"product.{name}"] = layer.file.path
        # Core takes the first block that fits: a stronger layer's come first, and within a layer their order in the
        # file must not matter.
        mine = dict(sorted(layer.blocks.items(), key=lambda item: (item[1].pax8_sku is None, item[0])))
        blocks = mine | {name: block for name, block in blocks.items() if name not in mine}
        for match in layer.matches:
            origins |= dict.fromkeys((f"reconcile.match.{sku}" for sku in match.pax8_skus), layer.file.path)
        for bundle in layer.bundles:
            origins[f"reconcile.bundle.{bundle.halo_item}"] = layer.file.path
        matches = merged_matches(matches, layer.matches)
        bundles = merged_bundles(bundles, layer.bundles)
    return Rules(product_blocks=tuple(blocks.values()), matches=matches, bundles=bundles, origins=origins, **sections)


def _contradictions(rules: Rules, layers: Sequence[Layer], changed: Sequence[Layer]) -> Iterator[Problem]:
    """Keys that do not go together in the effective rules, where one of the `changed` layers says one of them."""

    def unclear(*keys: str) -> bool:
        # A layer that could not be read may well say what seems to be missing: one mistake, one message.
        doubtful = {*keys, *(key.partition(".")[0] for key in keys)}
        return any(layer.file.data is None or layer.broken & doubtful for layer in layers)

    def said(*keys: str) -> Iterator[tuple[Layer, str]]:
        return ((layer, key) for layer in reversed(changed) for key in keys if key in layer.values)

    def at(place: tuple[Layer, str], says: str) -> Problem:
        layer, key = place
        return layer.file.problem(tuple(key.split(".")), key, says)

    no_item = rules.products.lifecycle == "default_item" and rules.products.default_item is None
    place = next(said("products.lifecycle"), None)
    if place and no_item and not unclear("products.default_item", "products.lifecycle"):
        yield at(place, '"default_item" needs an item; write default_item = ID in [products]')
    never = rules.approval.auto_post == "within_limits" and rules.products.lifecycle == "manual"
    place = next(said("approval.auto_post", "products.lifecycle"), None)
    if place and never and not unclear("approval.auto_post", "products.lifecycle"):
        yield at(place, _never_both(rules))
    for layer in changed:
        yield from _misspelt_products(rules, layer)
        yield from (layer.file.problem(*mistake) for mistake in block_mistakes(rules, layer))


def _unmapped_recurring(rules: Rules, layer: Layer) -> Iterator[str]:
    """A client whose bill has no recurring invoice to go to yet: it waits until one is chosen [B3]."""
    key = "invoice.behavior"
    doubtful = layer.file.data is None or layer.broken & {"invoice", "invoice.recurring_invoice"}
    if layer.values.get(key) == "recurring" and rules.invoice.recurring_invoice is None and not doubtful:
        says = '"recurring" without a recurring invoice: the client is held; write recurring_invoice = ID in [invoice]'
        yield str(layer.file.problem(tuple(key.split(".")), key, says))


def _misspelt_products(rules: Rules, layer: Layer) -> Iterator[Problem]:
    """SKUs are compared exactly, so a block that differs in case from one below replaces nothing."""
    for block in rules.product_blocks:
        name = block_name(block)
        for own in layer.blocks:
            if own != name and own.casefold() == name.casefold():
                where = rules.origins[f"product.{name}"]
                yield layer.file.problem(
                    ("product",), f"product {own}", f"is spelt {shown(name)} in {where}; write it alike"
                )


def _never_both(rules: Rules) -> str:
    def where(key: str) -> str:
        return rules.origins.get(key, "the defaults")

    return (
        f'auto_post = "within_limits" ({where("approval.auto_post")}) never posts with lifecycle = "manual" '
        f'({where("products.lifecycle")}) [P2]; write auto_post = "never", or another lifecycle'
    )


def _two_files_for_one(layers: Sequence[Layer]) -> Iterator[Problem]:
    """Two files about one company or client, or two clients whose lines would go to one recurring invoice."""
    seen: dict[tuple[str, object], Layer] = {}
    for layer in layers:
        invoice = layer.values.get("invoice.recurring_invoice")
        for key, value in (*layer.client.items(), ("recurring_invoice", invoice)):
            if key == "exclude" or value is None:
                continue
            same = " ".join(value.split()).casefold() if isinstance(value, str) else value
            first = seen.setdefault((key, same), layer)
            if first is layer:
                continue
            section = "invoice" if key == "recurring_invoice" else "client"
            says = f"{first.file.path} has the same {key} {shown(value)}; one client has one file: {_ADVICE[key]}"
            yield layer.file.problem((section, key), f"{section}.{key}", says)


_ADVICE = {
    "pax8_company": "put both into one",
    "name": "put both into one, or leave name out where pax8_company tells two companies of one name apart",
    "halo_client": "put both into one, or match the second company with `billingsync map companies --set`",
    "recurring_invoice": "give each its own recurring invoice",
}
