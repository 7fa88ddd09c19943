"""What a kept plan was made from, for pages: whom a company may be billed as. Read once for a plan, as a plan never
changes; no vendor is asked [DK3]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from rapidfuzz import fuzz, process

from billingsync.core.bill.names import normalise
from billingsync.core.charge import Charge
from billingsync.core.states import RunState
from billingsync.run.kept_plan import kept_month
from billingsync.store.ledger import Ledger
from billingsync.store.plan_rows import PlanHead
from billingsync.store.runs import Run

MOST = 20  # candidates that a search shows


@dataclass(frozen=True, slots=True)
class Choice:
    """Something of HaloPSA's that may be chosen. `note` says why it might not be right."""

    id: int
    name: str
    note: str = ""


@lru_cache(maxsize=4)
def clients_of(ledger: Ledger, digest: str) -> tuple[Choice, ...]:
    """HaloPSA's clients as they were when a plan was made. UsageError where an older version made the plan."""
    clients = kept_month(ledger, digest).inputs.clients
    return tuple(Choice(client.id, client.name, "inactive" if client.inactive else "") for client in clients)


def posted_by(ledger: Ledger, head: PlanHead) -> Run | None:
    """The newest run that posted this very plan; None where none came to its end."""
    ended = (RunState.COMPLETE, RunState.HELD)
    return next((run for run in reversed(ledger.runs()) if run.digest == head.digest and run.state in ended), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product of the month: what it is charged as, to whom, and for how much, per currency. `sku` is "" where Pax8
    gives none; `key` is what it is called then too."""

    key: str
    sku: str
    name: str
    charges: tuple[str, ...]
    companies: frozenset[str]
    money: Mapping[str, Decimal]


@lru_cache(maxsize=2)
def products_of(ledger: Ledger, digest: str) -> Mapping[str, Product]:
    """Every product that the month of a plan charges, by SKU or else by name."""
    found: dict[str, list[Charge]] = {}
    for charge in kept_month(ledger, digest).charges.values():
        found.setdefault(charge.sku.strip() or charge.product, []).append(charge)
    products = {}
    for key, charges in found.items():
        money: dict[str, Decimal] = {}
        for charge in charges:
            money[charge.currency] = money.get(charge.currency, Decimal(0)) + charge.price
        products[key] = Product(
            key=key,
            sku=charges[0].sku.strip(),
            name=charges[0].product,
            charges=tuple(charge.id for charge in charges),
            companies=frozenset(charge.company_id for charge in charges if charge.company_id),
            money=money,
        )
    return products


@lru_cache(maxsize=2)
def items_of(ledger: Ledger, digest: str) -> tuple[Choice, ...]:
    """HaloPSA's items as they were when a plan was made."""
    items = kept_month(ledger, digest).inputs.items
    return tuple(Choice(item.id, item.name, "inactive" if item.inactive else "") for item in items)


@lru_cache(maxsize=2)
def product_fates(ledger: Ledger, digest: str) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """By charge: the item of its line in that plan, and why it waits where that is about its product."""
    items: dict[str, Any] = {}
    waits: dict[str, str] = {}
    wanted = [row.nth for row in ledger.client_rows(digest)]
    for body in ledger.last_bodies(digest, wanted).values():
        for line in body["lines"]:
            items |= dict.fromkeys(line["charges"], line["item"])
        for hold in body["holds"]:
            if hold["reason"].startswith("product_"):
                waits[hold["charge"]] = hold["reason"]
    return items, waits


@dataclass(frozen=True, slots=True)
class Recurring:
    """A recurring invoice of HaloPSA's. `next` is the day on which it makes the next invoice, "" where not known."""

    id: int
    client_id: int | None
    name: str
    next: str
    lines: int


@lru_cache(maxsize=4)
def _all_recurring(ledger: Ledger, digest: str) -> tuple[Recurring, ...]:
    inputs = kept_month(ledger, digest).inputs
    return tuple(
        Recurring(one.id, one.client_id, one.reference or one.number, one.next_creation[:10], len(one.lines))
        for one in inputs.existing
        if one.template
    )


def recurring_of(ledger: Ledger, digest: str, client_id: int) -> list[Recurring]:
    """A client's recurring invoices as that plan read them; none where an older version made it."""
    if not ledger.has_inputs(digest):
        return []
    return [one for one in _all_recurring(ledger, digest) if one.client_id == client_id]


def search(choices: Sequence[Choice], text: str) -> list[Choice]:
    """At most `MOST`, the likeliest first: by id, by a part of the name, by likeness."""
    wanted = text.strip()
    if not wanted:
        return []
    folded = wanted.casefold()
    found = [one for one in choices if wanted == str(one.id)]
    found += [one for one in choices if folded in one.name.casefold()]
    names = {nth: normalise(one.name) for nth, one in enumerate(choices)}
    near = process.extract(normalise(wanted), names, scorer=fuzz.WRatio, limit=MOST, score_cutoff=60)
    found += [choices[nth] for _, _, nth in near]
    return list(dict.fromkeys(found))[:MOST]
