"""Which Pax8 company is which HaloPSA client, and which SKU which item: what is known, what could be meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal

from rapidfuzz import fuzz, process

from billingsync.connect import Connections
from billingsync.core.bill.clients import match_companies
from billingsync.core.bill.names import normalise
from billingsync.core.bill.products import Catalogue
from billingsync.core.progress import Progress, Say, Stage
from billingsync.errors import UsageError
from billingsync.rulebook import load_rulebook
from billingsync.run.fetch import Upstream, fetch, newest_released
from billingsync.run.plan import charged_companies, similar
from billingsync.run.remember import kept_charges
from billingsync.run.sold import sold_now

SUGGEST_FROM = Decimal(60)  # percent: below it two names have little in common


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One company or SKU with what it is mapped to. `how` is "" where nothing is."""

    pax8_id: str
    pax8_name: str
    halo_id: int | None
    halo_name: str
    how: str
    suggestions: str = ""
    who: str = ""
    at: str = ""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def companies(connections: Connections, *, say: Say) -> list[Row]:
    """The newest month's companies and all others that have a subscription, unmapped first."""
    rulebook = load_rulebook(connections.settings.rules_dir, connections.ledger.desk_rules())
    upstream = fetch(connections, newest_released(connections), rulebook, say)
    say(Progress(stage=Stage.READ_SUBSCRIPTIONS))
    sold = sold_now(connections)
    if sold.why:
        say(Progress(stage=Stage.TROUBLE, about=sold.why))
    charged = charged_companies(upstream)
    ids = {company.id for company in charged}
    month = (*charged, *(one for one in upstream.companies if one.id in sold.companies and one.id not in ids))
    known = connections.ledger.company_matches()
    remembered = connections.ledger.memory(newest_released(connections)).matches
    matches = match_companies(month, upstream.clients, rulebook, remembered, similar(month, upstream.clients, rulebook))
    near = similar(month, upstream.clients, rulebook, at_least=SUGGEST_FROM)
    names = {client.id: client.name for client in upstream.clients}
    rows = []
    for company in month:
        match = matches[company.id]
        memory = known.get(company.id)
        how = "never billed" if match.excluded else match.reason or match.how or ""
        if match.how == "similarity" and not match.reason:
            how = f"guessed ({int(match.percent or 0)} % similar)"
        rows.append(
            Row(
                pax8_id=company.id,
                pax8_name=company.name,
                halo_id=match.client.id if match.client else None,
                halo_name=match.client.name if match.client else "",
                how=how,
                suggestions=", ".join(
                    f"{names[id_]} ({id_}) {percent:.0f} %" for id_, percent in near.get(company.id, ())[:3]
                )
                if match.reason
                else "",
                who=memory.who if memory and memory.how == "person" else "",
                at=memory.at.isoformat(timespec="seconds") if memory and memory.how == "person" else "",
            )
        )
    return sorted(rows, key=lambda row: (_urgency(row), row.pax8_name.casefold()))


def _urgency(row: Row) -> int:
    if row.halo_id is None and row.how != "never billed":
        return 0
    return 1 if row.how.startswith(("guessed", "client_")) else 2


def products(connections: Connections, *, say: Say) -> list[Row]:
    """The newest month's products and all others that are subscribed, by SKU, unmapped first."""
    rulebook = load_rulebook(connections.settings.rules_dir, connections.ledger.desk_rules())
    upstream = fetch(connections, newest_released(connections), rulebook, say)
    items = upstream.items or connections.psa.items()
    catalogue = Catalogue.of(items)
    by_person = connections.ledger.item_matches()
    names = {item.id: item.name for item in items if not item.inactive}
    folded = {id_: name.casefold() for id_, name in names.items()}
    rows: dict[str, Row] = {}
    for code, name in _goods(connections, upstream):
        sku = code or name
        if sku in rows:
            continue
        found = catalogue.by_code.get(code, ()) if code else ()
        how = "SKU" if found else ""
        if not found:
            found = catalogue.by_name.get(" ".join(name.casefold().split()), ())
            how = "name" if found else ""
        item_id = found[0].id if len(found) == 1 else None
        person = by_person.get(code)
        if person:
            item_id, how = person.item_id, "person"
        near = [] if item_id else process.extract(name.casefold(), folded, scorer=fuzz.ratio, limit=3, score_cutoff=60)
        more = [names.get(one, str(one)) for one in person.more] if person else []
        rows[sku] = Row(
            pax8_id=sku,
            pax8_name=name,
            halo_id=item_id,
            halo_name=", ".join([names.get(item_id, ""), *more]) if item_id else "",
            how=how if item_id else ("product_ambiguous" if len(found) > 1 else ""),
            suggestions=", ".join(f"{names[id_]} ({id_}) {score:.0f} %" for _, score, id_ in near),
            who=person.who if person else "",
            at=person.at.isoformat(timespec="seconds") if person else "",
        )
    return sorted(rows.values(), key=lambda row: (row.halo_id is not None, row.pax8_name.casefold()))


def _goods(connections: Connections, upstream: Upstream) -> Iterator[tuple[str, str]]:
    """SKU and name of every product of the newest month, then of every subscription."""
    for source in upstream.sources:
        for charge in source.charges:
            yield charge.sku.strip(), charge.product_name or charge.product
    yield from sold_now(connections).products


def set_company(
    connections: Connections, company: str, client_id: int | None, *, who: str, now: datetime, rows: Sequence[Row]
) -> str:
    """Map a company (by id or name) to a client, or with None never bill it. Says what was done."""
    row = _row_of_any_month(connections, company, rows)
    name = ""
    if client_id is not None:
        client = next((one for one in connections.psa.clients().rows if one.id == client_id), None)
        if client is None:
            raise UsageError(f"HaloPSA has no client {client_id}.", next_steps=[["billingsync", "map", "companies"]])
        name = client.name
    connections.ledger.set_company_match(row.pax8_id, client_id, company_name=row.pax8_name, who=who, now=now)
    return f"{row.pax8_name} -> {name} ({client_id})" if client_id is not None else f"{row.pax8_name} is never billed"


def set_product(
    connections: Connections, sku: str, item_ids: Sequence[int], *, who: str, now: datetime, rows: Sequence[Row]
) -> str:
    """Map a SKU to an item, or to several: bills use the first, the reconciliation all. Says what was done."""
    named = []
    for item_id in item_ids:
        item = connections.psa.item(item_id)
        if item is None:
            raise UsageError(f"HaloPSA has no item {item_id}.", next_steps=[["billingsync", "map", "products"]])
        named.append(f"{item.name} ({item_id})")
    _must_be_sold(connections, [sku], rows)
    connections.ledger.set_item_match(sku, item_ids[0], who=who, now=now, more=item_ids[1:])
    return f"{sku} -> {', '.join(named)}"


def set_products(
    connections: Connections, pairs: Sequence[tuple[str, int]], *, who: str, now: datetime, rows: Sequence[Row]
) -> str:
    """Map each SKU to its item, all or none: every item and every SKU is looked at before the first is kept."""
    for item_id in dict.fromkeys(item for _, item in pairs):
        if connections.psa.item(item_id) is None:
            raise UsageError(
                f"HaloPSA has no item {item_id}. Nothing was mapped.", next_steps=[["billingsync", "map", "products"]]
            )
    _must_be_sold(connections, [sku for sku, _ in pairs], rows)
    for sku, item_id in pairs:
        connections.ledger.set_item_match(sku, item_id, who=who, now=now)
    return f"{len(pairs)} products are mapped to their items."


def _must_be_sold(connections: Connections, skus: Sequence[str], rows: Sequence[Row]) -> None:
    """UsageError for a SKU that Pax8 neither sells now nor has ever charged, with what is near it."""
    known = {row.pax8_id for row in rows}
    for sku in skus:
        if sku not in known and not _was_charged(connections, sku):
            _row(sku, rows)


def confirm_guessed(connections: Connections, rows: Sequence[Row], *, who: str, now: datetime) -> list[str]:
    """Make every guessed match a mapping of this person's. Says which are guessed, then what was done."""
    guesses = [(row, row.halo_id) for row in rows if row.how.startswith("guessed") and row.halo_id is not None]
    done = [f"{row.how}: {row.pax8_name} -> {row.halo_name} ({client})" for row, client in guesses]
    for row, client in guesses:
        connections.ledger.set_company_match(row.pax8_id, client, company_name=row.pax8_name, who=who, now=now)
        done.append(f"confirmed: {row.pax8_name} -> {row.halo_name} ({client})")
    return done or ["no guessed match waits to be confirmed"]


def _row_of_any_month(connections: Connections, text: str, rows: Sequence[Row]) -> Row:
    """The company that is meant: of the newest month, else any that Pax8 lists or that a kept month charged."""
    every = {row.pax8_id: row for row in rows}
    if text in every or any(text == row.pax8_name for row in rows):
        return _row(text, rows)
    for company in connections.pax8.companies():
        every.setdefault(company.id, _unmapped(company.id, company.name))
    for charge in kept_charges(connections.ledger):
        if charge.company_id:
            every.setdefault(charge.company_id, _unmapped(charge.company_id, charge.company_name))
    return _row(text, list(every.values()))


def _unmapped(pax8_id: str, name: str) -> Row:
    return Row(pax8_id=pax8_id, pax8_name=name, halo_id=None, halo_name="", how="")


def _was_charged(connections: Connections, sku: str) -> bool:
    return any(charge.sku.strip() == sku for charge in kept_charges(connections.ledger))


def _row(text: str, rows: Sequence[Row]) -> Row:
    found = [row for row in rows if text in (row.pax8_id, row.pax8_name)]
    found = found or [row for row in rows if normalise(row.pax8_name) == normalise(text)]
    if len(found) == 1:
        return found[0]
    near = process.extract(text, {row.pax8_id: row.pax8_name for row in rows}, limit=3, score_cutoff=50)
    hint = f" Nearest: {', '.join(f'{name} ({id_})' for name, _, id_ in near)}." if near else ""
    raise UsageError(f"{text!r:.80} is in no month that is kept, and nobody subscribes to it.{hint}")
