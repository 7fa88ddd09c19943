"""A plan of a period: read, decide, remember. Preview and posting share it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from rapidfuzz import fuzz, process

from billingsync.audit import keep_rules
from billingsync.connect import Connections
from billingsync.core.bill.clients import match_companies
from billingsync.core.bill.names import normalise, same_name
from billingsync.core.bill.plan import Plan
from billingsync.core.bill.plan_run import plan_run
from billingsync.core.inputs import Client, Company, RememberedMatch, RunInputs
from billingsync.core.period import Period
from billingsync.core.reasons import Reason
from billingsync.core.rules import Rulebook
from billingsync.errors import UsageError
from billingsync.report.document import kept_plan, plan_document, true_up_document
from billingsync.report.waiting import OpenHold, plan_holds
from billingsync.rulebook import load_rulebook
from billingsync.run.context import Say, now
from billingsync.run.fetch import Upstream, detailed, existing_invoices, fetch
from billingsync.run.plan_rows import plan_rows
from billingsync.run.remember import with_memory
from billingsync.run.replan import Shift, shifts
from billingsync.store.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, what it was made from, and when."""

    plan: Plan
    inputs: RunInputs
    created_at: datetime
    shifts: tuple[Shift, ...] | None = None  # where only asked what today's rules would make of the month [R3]
    from_file: str = ""  # the source's name where the charges came from a file: then it is never posted [IM11]

    @property
    def document(self) -> dict[str, object]:
        created = self.created_at.isoformat(timespec="seconds")
        if self.from_file:
            return plan_document(self.plan, created, []) | {"from_file": self.from_file}
        if self.shifts is None:
            return plan_document(self.plan, created)
        return plan_document(self.plan, created, []) | {"replan": [shift.as_dict() for shift in self.shifts]}


def similar(
    companies: Sequence[Company], clients: Sequence[Client], rulebook: Rulebook, at_least: Decimal | None = None
) -> dict[str, tuple[tuple[int, Decimal], ...]]:
    """Company id -> (client id, percent) of clients whose normalised names are alike, by plain edit ratio [C1]."""
    cutoff = float(at_least if at_least is not None else rulebook.base.clients.match_percent)
    names = {client.id: normalise(client.name) for client in clients}
    names = {id_: name for id_, name in names.items() if name}
    equal: dict[str, list[str]] = defaultdict(list)
    for client in clients:
        equal[normalise(client.name)].append(client.name)
    found = {}
    for company in companies:
        name = normalise(company.name)
        if not name or (at_least is None and any(same_name(one, company.name) for one in equal.get(name, ()))):
            continue  # an equal name decides before likeness is asked
        best = process.extract(name, names, scorer=fuzz.ratio, score_cutoff=cutoff, limit=6)
        if best:
            found[company.id] = tuple((id_, Decimal(str(round(score, 4)))) for _, score, id_ in best)
    return found


def charged_companies(upstream: Upstream) -> tuple[Company, ...]:
    """The companies of the month, as Pax8 lists them or else as the charges name them."""
    listed = {company.id: company for company in upstream.companies}
    result: dict[str, Company] = {}
    for source in upstream.sources:
        for charge in source.charges:
            if charge.company_id and charge.company_id not in result:
                result[charge.company_id] = listed.get(charge.company_id) or Company(
                    id=charge.company_id, name=charge.company_name, external_id=charge.external_id
                )
    return tuple(result.values())


def make_plan(
    connected: Connections,
    period: Period,
    *,
    asked: Sequence[str] = (),
    say: Say,
    rulebook: Rulebook | None = None,
    upstream: Upstream | None = None,
    replan: bool = False,
    approved: Collection[int] = (),
    from_file: str = "",
) -> Planned:
    """Fetch and plan one period, remember how companies were matched, and keep the plan under its digest.

    `asked`: clients by name or id, as people type them. Approvals let clients through the limits of the plan that was
    shown; as that makes another plan, with another digest, they are followed until no more apply. `replan` forgets
    what earlier runs decided, to show what today's rules would make of it [R3]; such a plan is not kept, so that
    nobody can post it. `approved` are HaloPSA clients that need no approval any more.
    """
    rulebook = rulebook or load_rulebook(connected.settings.rules_dir)
    upstream = upstream or fetch(connected, period, rulebook, say)
    companies = charged_companies(upstream)
    memory = connected.ledger.memory(period)
    inputs = RunInputs(
        partner=connected.ledger.name,
        period=period,
        sources=upstream.sources,
        companies=upstream.companies,
        clients=upstream.clients,
        items=upstream.items,
        rulebook=rulebook,
        memory=replace(memory, approved=frozenset(approved)),
        credited=upstream.credited,
        similar=similar(companies, upstream.clients, rulebook),
    )
    inputs = with_memory(connected.ledger, inputs, upstream.listed)
    decided = inputs.memory.settled
    if replan:
        inputs = replace(inputs, memory=replace(inputs.memory, settled={}, said=(), twins=(), live=()))
    inputs = replace(inputs, clients_asked=tuple(sorted({_asked_for(inputs, companies, text) for text in asked})))
    if upstream.short:
        inputs = replace(inputs, clients=detailed(connected, inputs))
    inputs = replace(inputs, existing=existing_invoices(connected, inputs))
    say("planning")
    plan = plan_run(inputs)
    through: frozenset[int | str] = frozenset(approved)
    while more := (_approved(connected, period, plan) - through):
        through |= more
        inputs = replace(inputs, memory=replace(inputs.memory, approved=through))
        plan = plan_run(inputs)
    told = shifts(plan, inputs, decided) if replan else None
    planned = Planned(plan=plan, inputs=inputs, created_at=now(), shifts=told, from_file=from_file)
    if not replan:
        _remember(connected, planned)
    return planned


def _approved(connected: Connections, period: Period, plan: Plan) -> frozenset[int | str]:
    """Who was let through in this very plan; and whose true-up was approved in another plan of the period and is still
    the same, as after a run that died when others' were made [N4] [R2]."""
    through = connected.ledger.let_through(plan.digest)
    waiting = _numbers(true_up_document(up) for up in plan.true_ups if up.state == "held")
    if not waiting:
        return through
    for entry in connected.ledger.plans(period):
        clients = {approval.client for approval in connected.ledger.approvals(entry.digest)}
        if clients:
            shown = _numbers(json.loads(connected.ledger.find_plan(entry.digest).document).get("true_ups", ()))
            through |= {
                id_ for id_, ups in waiting.items() if str(id_) in clients and ups <= shown.get(id_, frozenset())
            }
    return through


def _numbers(ups: Iterable[Mapping[str, Any]]) -> dict[int, frozenset[str]]:
    """What a person approves of each client's true-ups: what is taken back from where, and what is added."""
    found: dict[int, frozenset[str]] = {}
    for up in ups:
        keys = sorted(one["key"] for one in up["invoices"])
        said = json.dumps([up["currency"], up["take_back"], up["add"], keys], sort_keys=True)
        found[up["client_id"]] = found.get(up["client_id"], frozenset()) | {said}
    return found


def _remember(connected: Connections, planned: Planned) -> None:
    plan = planned.plan
    matches = {
        client.company_id: RememberedMatch(
            client_id=client.client_id, how=client.matched_by, company_name=client.company_name
        )
        for client in plan.clients
        if client.company_id and client.client_id is not None and client.matched_by and not _doubtful(client.held)
    }
    if not planned.from_file:  # what a file calls its companies decides nothing about later months
        connected.ledger.remember_matches(matches, planned.created_at)
    keep_rules(connected.ledger, connected.settings.rules_dir, plan.rules_digest, planned.created_at)
    connected.ledger.save_plan(
        digest=plan.digest,
        period=planned.inputs.period,
        rules_digest=plan.rules_digest,
        asked=(planned.from_file,) if planned.from_file else plan.clients_asked,  # so it is nobody's whole month
        document=kept_plan(plan, planned.created_at.isoformat(timespec="seconds")),
        now=planned.created_at,
        rows=plan_rows(plan, planned.inputs.rulebook, planned.created_at.isoformat(timespec="seconds")),
    )


def _doubtful(held: Reason | None) -> bool:
    return held is not None and held.is_client


def _asked_for(inputs: RunInputs, companies: Sequence[Company], text: str) -> str:
    """The company of --client: as Pax8 calls it, or by its HaloPSA client's id or name."""
    rulebook, remembered = inputs.rulebook, inputs.memory.matches
    matches = match_companies(companies, inputs.clients, rulebook, remembered, inputs.similar)
    mine = [
        id_
        for id_, match in matches.items()
        if match.client and text.strip() in (str(match.client.id), match.client.name)
    ]
    return mine[0] if len(mine) == 1 else find_company(companies, text)


def find_company(companies: Sequence[Company], text: str) -> str:
    """The company that a person means: by id, or by (the beginning of) its name. UsageError with the nearest."""
    wanted = normalise(text)
    exact = [company for company in companies if text in (company.id, company.name)]
    found = exact or [company for company in companies if normalise(company.name) == wanted]
    found = found or [company for company in companies if wanted and normalise(company.name).startswith(wanted)]
    if len(found) == 1:
        return found[0].id
    if found:
        names = ", ".join(f"{company.name} ({company.id})" for company in found[:5])
        raise UsageError(f"{text!r:.80} could be any of {len(found)} companies: {names}. Give the id.")
    near = process.extract(
        wanted, {company.id: normalise(company.name) for company in companies}, limit=3, score_cutoff=50
    )
    names_by_id = {company.id: company.name for company in companies}
    hint = f" Nearest: {', '.join(names_by_id[id_] for _, _, id_ in near)}." if near else ""
    raise UsageError(f"No company of this month is called {text!r:.80}.{hint}")


def open_holds(connected: Connections, planned: Planned) -> list[OpenHold]:
    """What waits in this plan, with how long it has: since the first plan of the month that held it."""
    first: dict[str, datetime] = {}
    for entry in connected.ledger.plans(planned.inputs.period):
        document = json.loads(connected.ledger.find_plan(entry.digest).document)
        for client in [*document["clients"], document["unassigned"]]:
            for hold in client["holds"]:
                first.setdefault(hold["charge"], entry.created_at)
    found = []
    for waiting in plan_holds(planned.plan):
        since = first.get(waiting.hold.charge, planned.created_at)
        age = (planned.created_at - since).days
        found.append(replace(waiting, period=planned.plan.period, since=since.date().isoformat(), age_days=age))
    return found


def approve_client(
    ledger: Ledger, prefix: str, client: str, reason: str, by: str, at: datetime
) -> tuple[str, str, str]:
    """Let one client of a plan that was shown through its limits, or its true-up happen [R2].

    Gives its name, the digest and the period."""
    shown = ledger.find_plan(prefix)
    held = [
        one
        for one in json.loads(shown.document)["clients"]
        if any(hold["reason"].startswith("limit_") for hold in one["holds"])
    ]
    companies = [Company(id=one["company_id"], name=one["company_name"]) for one in held]
    true_ups = [one for one in json.loads(shown.document).get("true_ups", ()) if one["state"] == "held"]
    known = {one["client_id"]: one["client_name"] for one in true_ups}
    companies += [Company(id=str(id_), name=name) for id_, name in known.items()]
    if not companies:
        raise UsageError(
            f"Plan {shown.digest[:12]} holds no client for a limit or a true-up.",
            next_steps=[["billingsync", "holds", shown.period]],
        )
    company_id = find_company(companies, client)
    ledger.add_approval(digest=shown.digest, client=company_id, reason=reason, who=by, now=at)
    return next(one.name for one in companies if one.id == company_id), shown.digest, shown.period
