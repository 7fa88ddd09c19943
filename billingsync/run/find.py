"""Whom a person means by a client that is named in a command: exactly one, by id or whole name [V2]."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rapidfuzz import fuzz, process

from billingsync.core.bill.clients import Match
from billingsync.core.bill.names import normalise
from billingsync.errors import UsageError

NEAR = 50  # percent: below it two names have little in common


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """One HaloPSA client with all its Pax8 companies, or a company that has no client yet. `key` is the client's id as
    text, else the company's; `called` are the ids and whole names by which a person may name it."""

    key: str
    name: str
    companies: tuple[str, ...]
    called: frozenset[str]


def payers_of(rows: Iterable[tuple[str, str, int | None, str]]) -> list[Payer]:
    """From (company id, company name, client id or None, client name); companies of one client are one payer."""
    together: dict[str, list[tuple[str, str, int | None, str]]] = {}
    for row in rows:
        together.setdefault(row[0] if row[2] is None else str(row[2]), []).append(row)
    found = []
    for key, members in together.items():
        called = {text for company, name, _, client in members for text in (company, name, client) if text}
        found.append(
            Payer(
                key=key,
                name=members[0][3] or members[0][1],
                companies=tuple(dict.fromkeys(company for company, _, _, _ in members if company)),
                called=frozenset({key, *called}),
            )
        )
    return found


def payers_of_matches(matches: Mapping[str, Match]) -> list[Payer]:
    return payers_of(
        (id_, match.company.name, match.client.id if match.client else None, match.client.name if match.client else "")
        for id_, match in matches.items()
    )


def payers_of_document(document: Mapping[str, Any]) -> list[Payer]:
    """Of a kept plan's document, those with a true-up included."""
    rows = [
        (one["company_id"] or "", one["company_name"], one["client_id"], one["client_name"])
        for one in document["clients"]
    ]
    for up in document.get("true_ups", ()):
        rows += [(company, "", up["client_id"], up["client_name"]) for company in up["company_ids"] or [""]]
    return payers_of(rows)


def find_payer(payers: Sequence[Payer], text: str) -> Payer:
    """The one that is named so, case aside. UsageError where none or several are, naming what was perhaps meant."""
    wanted = text.strip().casefold()
    found = [one for one in payers if any(wanted == called.casefold() for called in one.called)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{one.name} ({one.key})" for one in found[:5])
        raise UsageError(f"{text!r:.80} is the name of {len(found)} clients: {names}. Give the id.")
    names_by_key = {(one.key, called): normalise(called) for one in payers for called in one.called}
    near = process.extract(normalise(text), names_by_key, scorer=fuzz.WRatio, limit=6, score_cutoff=NEAR)
    by_key = {one.key: one for one in payers}
    likely = list(dict.fromkeys(key for _, _, (key, _) in near))[:3]
    hint = f" Perhaps: {', '.join(f'{by_key[key].name} ({key})' for key in likely)}." if likely else ""
    raise UsageError(f"No client is called {text!r:.80} here. Give its id or its whole name.{hint}")
