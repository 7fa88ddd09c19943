"""Everything the ledger knows about one month, read for an export."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from billingsync.core.bill.templates import amount_of, cost_of, currency_of
from billingsync.core.money import plain
from billingsync.core.period import Period
from billingsync.core.remembered import WrittenLine
from billingsync.core.states import ChargeState, PostingState, RunState
from billingsync.store import schema
from billingsync.store.columns import from_json
from billingsync.store.journal import Entry
from billingsync.store.ledger import Ledger
from billingsync.store.plans import SavedPlan
from billingsync.store.postings import ARRIVED, RecordedPosting
from billingsync.store.runs import Run
from billingsync.store.sources import Document, SourceInvoice

CHARGE_COLUMNS = (
    "charge",
    "state",
    "by",
    "price",
    "cost",
    "currency",
    "client",
    "client_id",
    "invoice",
    "line_id",
    "waiting",
    "posting",
    "run",
    "text",
)
_DECISIONS = (
    "approval",
    "decision",
    "decision.ended",
    "set_aside",
    "put_back",
    "match.company",
    "match.item",
    "installation.adopted",
    "fleet.paused",
    "fleet.resumed",
    "unsettled",
    "rules",
    "posting.undoing",
    "import",
    "import.removed",
    "import.match",
    "card",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    partner: str
    key_name: str  # what the journal's hashes are made with
    period: str
    documents: Sequence[Document]
    invoices: Sequence[SourceInvoice]
    plans: Sequence[SavedPlan]
    rules: Sequence[tuple[str, Mapping[str, str]]]  # digest, texts by path
    runs: Sequence[Run]
    versions: Mapping[str, str]  # run -> the billingsync that made it
    postings: Sequence[RecordedPosting]
    undos: Mapping[str, Sequence[Mapping[str, Any]]]  # key -> the undos that were intended of it
    charges: Sequence[Mapping[str, object]]
    journal: Sequence[Entry]  # the whole of it, else its chain could not be checked
    decisions: Sequence[Entry]  # what people decided, of every month: mappings have none
    sums: Mapping[str, Mapping[str, tuple[Decimal, Decimal]]]  # currency -> state -> (price, cost)
    waiting: Mapping[str, tuple[Decimal, Decimal]]  # currency -> what of `posted` is on no invoice yet [B5]


def read_month(ledger: Ledger, period: Period) -> Month:
    journal = ledger.journal_entries()
    plans = [ledger.find_plan(entry.digest) for entry in ledger.plans(period)]
    digests = dict.fromkeys(plan.rules_digest for plan in plans)
    undone = ledger.undone_runs()
    runs = [replace(run, state=RunState.UNDONE) if run.id in undone else run for run in ledger.runs(period)]
    postings = ledger.postings(period=period)
    keys = {row.key for row in postings}
    undos: dict[str, list[Mapping[str, Any]]] = {}
    versions: dict[str, str] = {}
    for entry in journal:
        if entry.kind == "posting.undoing" and (body := json.loads(entry.body))["key"] in keys:
            undos.setdefault(body["key"], []).append({"at": entry.at, **body})
        elif entry.kind == "run.started":
            body = json.loads(entry.body)
            versions[body["run"]] = str(body.get("version", ""))
    waiting = [line for line in ledger.waiting_lines() if line.period == str(period)]
    charges = _charges(ledger, period, plans, postings, waiting, _freed(journal))
    return Month(
        partner=ledger.name,
        key_name=ledger.key_name,
        period=str(period),
        documents=ledger.source_documents(period),
        invoices=ledger.source_invoices(period),
        plans=plans,
        rules=[(digest, files) for digest in digests for files in ledger.rules_texts(digest)],
        runs=runs,
        versions=versions,
        postings=postings,
        undos=undos,
        charges=charges,
        journal=journal,
        decisions=[entry for entry in journal if entry.kind in _DECISIONS],
        sums=_sums(charges),
        waiting=_waiting_sums(waiting),
    )


def _charges(
    ledger: Ledger,
    period: Period,
    plans: Sequence[SavedPlan],
    postings: Sequence[RecordedPosting],
    waiting: Sequence[WrittenLine],
    freed: frozenset[str],
) -> list[Mapping[str, object]]:
    """Every charge of the month with its one state [A1]: on a live line, dropped, excluded, held in the newest plan
    that looked at its client, or undone. `freed` are charges that were dropped or excluded, and no longer are."""
    found: dict[str, list[Mapping[str, object]]] = {}
    waits = {(line.key, line.ordinal) for line in waiting}
    for row in postings:
        live = ledger.live_lines(row.key)
        ids = {line.ordinal: line.line_id for line in row.returned_lines}
        state = ChargeState.POSTED if row.state in ARRIVED else row.state
        for line in row.lines:
            for share in line.shares if line.ordinal in live else ():
                found.setdefault(share.charge, []).append(
                    {
                        "charge": share.charge,
                        "state": state,
                        "by": row.state,
                        "price": plain(share.price, row.currency),
                        "cost": plain(share.cost, row.currency),
                        "currency": row.currency,
                        "client": row.client_name,
                        "client_id": row.client_id,
                        "invoice": row.invoice_id,
                        "line_id": ids.get(line.ordinal),
                        "waiting": "yes" if (row.key, line.ordinal) in waits else None,
                        "posting": row.key,
                        "run": row.run,
                        "text": line.description,
                    }
                )
    table = schema.settled
    with ledger.reading() as connection:
        rows = connection.execute(
            select(table).where(table.c.partner == ledger.name, table.c.period == str(period)).order_by(table.c.charge)
        )
        for settled in rows:
            if settled.charge not in found:
                found[settled.charge] = [
                    {
                        "charge": settled.charge,
                        "state": settled.state,
                        "by": settled.by,
                        "price": plain(settled.price, settled.currency),
                        "cost": plain(settled.cost, settled.currency),
                        "currency": settled.currency,
                        "run": settled.run,
                    }
                ]
    undone = _undone(postings, found)
    for plan in reversed(plans):
        for charge, held in _waiting(from_json(plan.document)).items():
            found.setdefault(charge, [held])
    for charge, parts in undone.items():
        found.setdefault(charge, parts)
    for plan in reversed(plans) if freed - found.keys() else ():
        for charge, was in _left_out(from_json(plan.document)).items():
            if charge in freed:
                found.setdefault(charge, [was])
    return [part for charge in sorted(found) for part in found[charge]]


def _waiting_sums(lines: Sequence[WrittenLine]) -> dict[str, tuple[Decimal, Decimal]]:
    """By currency, what of what is posted is on no invoice yet [B5]."""
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for line in lines:
        currency = currency_of(line.recurring_key)
        price, cost = sums.get(currency, (Decimal(0), Decimal(0)))
        sums[currency] = (price + amount_of(line), cost + cost_of(line))
    return sums


def _undone(
    postings: Sequence[RecordedPosting], elsewhere: Mapping[str, object]
) -> dict[str, list[Mapping[str, object]]]:
    """Charges whose last posting was undone, and that are nowhere else: billed to nobody."""
    found: dict[str, list[Mapping[str, object]]] = {}
    for row in postings:
        if row.state != PostingState.UNDONE:
            continue
        mine: dict[str, list[Mapping[str, object]]] = {}
        for line in row.lines:
            for share in line.shares:
                mine.setdefault(share.charge, []).append(
                    {
                        "charge": share.charge,
                        "state": PostingState.UNDONE,
                        "by": row.message,
                        "price": plain(share.price, row.currency),
                        "cost": plain(share.cost, row.currency),
                        "currency": row.currency,
                        "client": row.client_name,
                        "client_id": row.client_id,
                        "posting": row.key,
                        "run": row.run,
                        "text": line.description,
                    }
                )
        found |= {charge: parts for charge, parts in mine.items() if charge not in elsewhere}  # the newest counts
    return found


def _freed(journal: Sequence[Entry]) -> frozenset[str]:
    """The charges of which it was once undone that they were dropped or excluded, by `undo` or by `free`."""
    return frozenset(
        charge for entry in journal if entry.kind == "unsettled" for charge in json.loads(entry.body)["charges"]
    )


def _left_out(document: Mapping[str, Any]) -> dict[str, Mapping[str, object]]:
    """What a plan drops or excludes, by charge, as undone."""
    found: dict[str, Mapping[str, object]] = {}
    for client in [*document["clients"], document["unassigned"]]:
        for name, rule in (("dropped", "modifier"), ("excluded", "rule")):
            for one in client.get(name, ()):
                found[one["charge"]] = {
                    "charge": one["charge"],
                    "state": PostingState.UNDONE,
                    "by": f"undone: {name} by {one[rule]}",
                    "price": one["amount"],
                    "cost": one["cost"],
                    "currency": one.get("currency") or client.get("currency") or "",
                    "client": client.get("client_name") or client.get("company_name"),
                    "client_id": client.get("client_id"),
                }
    return found


def _waiting(document: Mapping[str, Any]) -> dict[str, Mapping[str, object]]:
    """What a plan holds, by charge."""
    found: dict[str, Mapping[str, object]] = {}
    for client in [*document["clients"], document["unassigned"]]:
        who = {"client": client.get("client_name") or client.get("company_name"), "client_id": client.get("client_id")}
        for hold in client["holds"]:
            found[hold["charge"]] = {
                "charge": hold["charge"],
                "state": "held",
                "by": hold["reason"],
                "price": hold["amount"],
                "cost": hold["cost"],
                "currency": hold.get("currency") or client.get("currency") or "",
                "text": hold["next_step"],
                **who,
            }
    return found


def _sums(charges: Sequence[Mapping[str, object]]) -> dict[str, dict[str, tuple[Decimal, Decimal]]]:
    sums: dict[str, dict[str, tuple[Decimal, Decimal]]] = {}
    for charge in charges:
        states = sums.setdefault(str(charge["currency"]), {})
        price, cost = states.get(str(charge["state"]), (Decimal(0), Decimal(0)))
        states[str(charge["state"])] = price + Decimal(str(charge["price"])), cost + Decimal(str(charge["cost"]))
    return sums
