"""Names in rules are remembered by id [C4].

A name binds, the first time it fits, to what it fitted: a rename at Pax8 neither ends a rule nor gives it away."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from billingsync.core.inputs import Client, Company
from billingsync.core.rules import Rulebook, Rules


def names_in(rulebook: Rulebook) -> set[str]:
    """Every text in the rules that names a Pax8 company, by name or by id."""
    found = {file.name for file in rulebook.clients if file.name and not file.pax8_company}
    for rules in (rulebook.base, *(file.rules for file in rulebook.clients)):
        found |= set(rules.exclude.companies)
    return found


def fitting(rulebook: Rulebook, companies: Iterable[Company]) -> dict[str, Company]:
    """The texts that name exactly one company now."""
    by_name: dict[str, list[Company]] = {}
    for company in companies:
        by_name.setdefault(company.name, []).append(company)
    wanted = names_in(rulebook)
    return {name: found[0] for name, found in by_name.items() if name in wanted and len(found) == 1}


def bound(rulebook: Rulebook, names: Mapping[str, str]) -> Rulebook:
    """The rules with the id in place of each name that is bound; `names` is what each text is bound to."""
    if not names:
        return rulebook
    clients = tuple(
        replace(
            file,
            pax8_company=file.pax8_company or (names.get(file.name) if file.name else None),
            rules=_by_id(file.rules, names),
        )
        for file in rulebook.clients
    )
    return replace(rulebook, base=_by_id(rulebook.base, names), clients=clients)


def _by_id(rules: Rules, names: Mapping[str, str]) -> Rules:
    listed = rules.exclude.companies
    ids = tuple(names.get(text, text) for text in listed)
    return rules if ids == listed else replace(rules, exclude=replace(rules.exclude, companies=ids))


def fits_nothing(rulebook: Rulebook, companies: Sequence[Company], clients: Sequence[Client]) -> Iterator[str]:
    """Names and ids in the rules that nothing at Pax8 or HaloPSA has, a sentence each with the nearest name."""
    names = [company.name for company in companies]
    known = {*names, *(company.id for company in companies)}
    ids = {client.id for client in clients}
    for file in rulebook.clients:
        for text in (file.pax8_company, file.name):
            if text and text not in known:
                yield f"{file.path}: Pax8 has no company {text!r:.80}{_nearest(text, names)}; the file decides nothing"
                break
        if file.halo_client is not None and file.halo_client not in ids:
            yield f"{file.path}: HaloPSA has no client {file.halo_client}"
    layers = [(rulebook.base, "rules"), *((file.rules, file.path) for file in rulebook.clients)]
    said = set()
    for rules, path in layers:
        where = rules.origins.get("exclude.companies", path)
        for text in rules.exclude.companies:
            if text not in known and (text, where) not in said:
                said.add((text, where))
                yield f"{where}: exclude.companies names {text!r:.80}, which Pax8 does not have{_nearest(text, names)}"


def _nearest(text: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.6)
    return f"; the nearest is {near[0]!r:.80}" if near else ""
