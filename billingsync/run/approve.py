"""A person's decision about what a plan holds: exactly that, with the numbers that were shown [V1]."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from billingsync.core.bill.clients import match_companies
from billingsync.core.decisions import Approval
from billingsync.core.reasons import APPROVABLE, ApproveAs
from billingsync.core.states import SourceChange, TrueUpState
from billingsync.errors import UsageError
from billingsync.run.find import Payer, find_payer, payers_of_document, payers_of_matches
from billingsync.run.kept_plan import kept_month
from billingsync.store.ledger import Ledger
from billingsync.store.plans import SavedPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """What was approved: one approval for each currency."""

    name: str
    digest: str
    period: str
    approvals: tuple[Approval, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person says: `client` by id or whole name; `charges` where not all that are held for it are meant."""

    client: str
    kind: ApproveAs
    reason: str
    charges: tuple[str, ...] = ()


def approve(ledger: Ledger, prefix: str, asked: Asked, *, who: str, at: datetime) -> Approved:
    """Keeps what a person decides about a hold of the plan with this digest.

    Raises UsageError where no such plan, client or hold is, or where the charges named are not held so.
    """
    shown = ledger.find_plan(prefix)
    document = json.loads(shown.document, parse_float=Decimal)
    payers = payers_of_document(document)
    if asked.kind is ApproveAs.BILL and asked.charges:  # perhaps of somebody who buys nothing else
        payers = _with_all_companies(ledger, shown, payers)
    payer = find_payer(payers, asked.client)
    if asked.kind in (ApproveAs.TRUE_UP, ApproveAs.CREDIT_ONLY):
        found = _true_ups(document, payer, asked.kind)
    elif asked.kind is ApproveAs.SOURCE_CHANGED:
        found = _true_ups(document, payer, asked.kind) or _charges(document, payer, asked)
    elif asked.kind is ApproveAs.LIMITS:
        found = _limits(document, payer)
    else:
        found = _charges(document, payer, asked)
    if not found:
        raise UsageError(
            f"Plan {shown.digest[:12]} holds nothing of {payer.name} that can be approved as {asked.kind.value}.",
            next_steps=[["billingsync", "holds", shown.period]],
        )
    approvals = tuple(_signed(facts, shown, payer, asked, who, at) for facts in found)
    for one in approvals:
        ledger.add_decision(shown.period, one, at)
    return Approved(name=payer.name, digest=shown.digest, period=shown.period, approvals=approvals)


def _with_all_companies(ledger: Ledger, shown: SavedPlan, payers: Sequence[Payer]) -> list[Payer]:
    """The plan's payers, and each other company that Pax8 listed when it was made."""
    if not ledger.has_inputs(shown.digest):
        return list(payers)
    inputs = kept_month(ledger, shown.digest).inputs
    planned = {company for payer in payers for company in payer.companies}
    others = [one for one in inputs.companies if one.id not in planned]
    remembered = ledger.memory(inputs.period).matches
    matches = match_companies(others, inputs.clients, inputs.rulebook, remembered, {})
    mine = {payer.key: payer for payer in payers}
    return [*payers, *(one for one in payers_of_matches(matches) if one.key not in mine)]


Facts = Mapping[str, Any]  # the fields of an Approval that the plan says


def _signed(facts: Facts, shown: SavedPlan, payer: Payer, asked: Asked, who: str, at: datetime) -> Approval:
    said: dict[str, Any] = {"client": payer.key, **facts}
    return Approval(kind=asked.kind, digest=shown.digest, who=who, at=at, reason=asked.reason, **said)


def _limits(document: Mapping[str, Any], payer: Payer) -> list[Facts]:
    """The limits that the client is over, a currency each."""
    found: dict[str, Facts] = {}
    for client in document["clients"]:
        if client["company_id"] in payer.companies and client.get("limits"):
            limits = {one["reason"]: tuple(one["numbers"]) for one in client["limits"]}
            amount = Decimal(client["would_bill"])
            found[client["currency"]] = {"currency": client["currency"], "amount": amount, "limits": limits}
    return list(found.values())


def _true_ups(document: Mapping[str, Any], payer: Payer, kind: ApproveAs) -> list[Facts]:
    """The true-ups of the client that wait, of this kind [R2] [S9]; a credit only where nothing comes in its place."""
    return [
        {
            "currency": up["currency"],
            "amount": Decimal(up["add"]["amount"]),
            "take_back": Decimal(up["take_back"]["amount"]),
            "taken": frozenset(one["key"] for one in up["invoices"]),
        }
        for up in document.get("true_ups", ())
        if str(up["client_id"]) == payer.key and up["state"] == TrueUpState.HELD and _settled_as(up) is kind
    ]


def _settled_as(up: Mapping[str, Any]) -> ApproveAs:
    if up.get("kind") == SourceChange.CHANGED:
        return ApproveAs.SOURCE_CHANGED
    return ApproveAs.TRUE_UP if up.get("replaced", False) else ApproveAs.CREDIT_ONLY


def _charges(document: Mapping[str, Any], payer: Payer, asked: Asked) -> list[Facts]:
    """The held charges that this kind is about, a currency each; those of nobody only where they are named."""
    reasons: Collection[str] = APPROVABLE[asked.kind]
    mine: Sequence[Mapping[str, Any]] = [
        hold
        for client in document["clients"]
        if client["company_id"] in payer.companies
        for hold in client["holds"]
        if hold["reason"] in reasons
    ]
    nobodys = [hold for hold in document["unassigned"]["holds"] if hold["reason"] in reasons]
    if asked.charges:
        named = {hold["charge"]: hold for hold in [*mine, *nobodys]}
        if missing := [charge for charge in asked.charges if charge not in named]:
            raise UsageError(
                f"Charge {missing[0]!r:.120} is not held so for {payer.name}, and cannot be approved as "
                f"{asked.kind.value}.",
            )
        mine = [named[charge] for charge in asked.charges]
    together: dict[str, dict[str, Decimal]] = {}
    for hold in mine:
        together.setdefault(hold["currency"], {})[hold["charge"]] = Decimal(hold["amount"])
    owned = {"client": payer.companies[0]} if any(hold in nobodys for hold in mine) and payer.companies else {}
    return [
        {**owned, "currency": currency, "amount": sum(charges.values(), Decimal(0)), "charges": charges}
        for currency, charges in together.items()
    ]
