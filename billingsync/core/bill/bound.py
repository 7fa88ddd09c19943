"""Names in rules are remembered by id [C4].

A name binds, the first time it fits, to what it fitted: a rename at Pax8 neither ends a rule nor gives it away."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from billingsync.core.charge import Source
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


def product_names_in(rulebook: Rulebook) -> set[str]:
    """Every text in the rules that leaves a product out, by SKU or by name."""
    return {
        text for rules in (rulebook.base, *(file.rules for file in rulebook.clients)) for text in rules.exclude.products
    }


def fitting_products(rulebook: Rulebook, sources: Iterable[Source]) -> dict[str, str]:
    """The texts that are the name of exactly one product of this month, and no SKU, with its id."""
    wanted = product_names_in(rulebook)
    ids: dict[str, set[str]] = {}
    skus = set()
    for source in sources if wanted else ():
        for charge in source.charges:
            skus.add(charge.sku)
            if charge.product_name in wanted:
                ids.setdefault(charge.product_name, set()).add(charge.product_id)
    return {
        name: next(iter(found))
        for name, found in ids.items()
        if len(found) == 1 and "" not in found and name not in skus
    }


def bound(rulebook: Rulebook, names: Mapping[str, str], products: Mapping[str, str] = MappingProxyType({})) -> Rulebook:
    """The rules with the id in place of each name that is bound; `names` and `products` are what each text is bound
    to."""
    if not names and not products:
        return rulebook
    clients = tuple(
        replace(
            file,
            pax8_company=file.pax8_company or (names.get(file.name) if file.name else None),
            rules=_by_id(file.rules, names, products),
        )
        for file in rulebook.clients
    )
    return replace(rulebook, base=_by_id(rulebook.base, names, products), clients=clients)


def _by_id(rules: Rules, names: Mapping[str, str], products: Mapping[str, str]) -> Rules:
    listed = rules.exclude
    companies = tuple(names.get(text, text) for text in listed.companies)
    goods = tuple(products.get(text, text) for text in listed.products)
    if (companies, goods) == (listed.companies, listed.products):
        return rules
    return replace(rules, exclude=replace(listed, companies=companies, products=goods))


def fits_nothing(
    rulebook: Rulebook,
    companies: Sequence[Company],
    clients: Sequence[Client],
    bound_to: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[str]:
    """Names and ids in the rules that nothing at Pax8 or HaloPSA has, a sentence each with the nearest name; of one
    that is `bound_to` a company's id, what that is called now."""
    names = [company.name for company in companies]
    by_id = {company.id: company.name for company in companies}
    known = {*names, *by_id}
    ids = {client.id for client in clients}
    for file in rulebook.clients:
        for text in (file.pax8_company, file.name):
            if text == file.name and file.pax8_company in by_id:
                break  # the id decides, whatever it is called
            if text and text not in known:
                if (now := by_id.get(bound_to.get(text, ""))) is not None:
                    yield f"{file.path}: {_renamed(text, now)}"
                    break
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
                if (now := by_id.get(bound_to.get(text, ""))) is not None:
                    yield f"{where}: {_renamed(text, now)}"
                    continue
                yield f"{where}: exclude.companies names {text!r:.80}, which Pax8 does not have{_nearest(text, names)}"


def fits_no_product(rulebook: Rulebook, sources: Iterable[Source], known: Collection[str] = ()) -> Iterator[str]:
    """What exclude.products names and no charge of these invoices is, nor is `known` from before: a sentence for each
    text with the nearest SKU or name. Nothing where nothing is charged."""
    charged = dict.fromkeys(
        text
        for source in sources
        for charge in source.charges
        for text in (charge.sku, charge.product_name, charge.product_id)
        if text
    )
    said = set()
    for rules, path in [(rulebook.base, "rules"), *((file.rules, file.path) for file in rulebook.clients)]:
        where = rules.origins.get("exclude.products", path)
        for text in rules.exclude.products if charged else ():
            if text not in charged and text not in known and (text, where) not in said:
                said.add((text, where))
                near = _nearest(text, list(charged))
                yield f"{where}: exclude.products names {text!r:.80}, which no charge of this month is{near}"


def _renamed(text: str, now: str) -> str:
    return f"Pax8 calls {text!r:.80} {now!r:.80} by now; what the rules say of it still applies"


def _nearest(text: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.6)
    return f"; the nearest is {near[0]!r:.80}" if near else ""
