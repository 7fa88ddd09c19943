"""A plan of a period: read, decide, remember. Preview and posting share it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from rapidfuzz import fuzz, process

from billingsync.audit.rules import keep_rules
from billingsync.connect import Connections
from billingsync.core.bill.clients import match_companies
from billingsync.core.bill.names import normalise, same_name
from billingsync.core.bill.plan import Plan
from billingsync.core.bill.plan_run import plan_run, with_owners
from billingsync.core.charge import Source
from billingsync.core.inputs import Client, Company, RunInputs
from billingsync.core.period import Period
from billingsync.core.progress import Progress, Say, Stage
from billingsync.core.reasons import Reason
from billingsync.core.remembered import RememberedMatch
from billingsync.core.rules import DeskRules, Rulebook
from billingsync.report.document import client_document, kept_plan, plan_document
from billingsync.rulebook import load_rulebook
from billingsync.run.context import now
from billingsync.run.fetch import Beside, Upstream, detailed, existing_invoices, fetch
from billingsync.run.find import find_payer, payers_of_matches
from billingsync.run.kept_plan import KeptMonth, hold_in_memory, kept_month, near_in_memory, packed
from billingsync.run.plan_rows import plan_rows
from billingsync.run.remember import remember_names, remember_older_lines, with_memory, with_names
from billingsync.run.replan import Shift, shifts
from billingsync.run.tenant import read_tenant
from billingsync.run.unread import UNREAD, unread
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
    return charged_in(upstream.sources, upstream.companies)


def charged_in(sources: Sequence[Source], companies: Sequence[Company]) -> tuple[Company, ...]:
    """The companies that these invoices charge, as Pax8 lists them or else as the charges name them."""
    listed = {company.id: company for company in companies}
    result: dict[str, Company] = {}
    for source in sources:
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
    not_taken_back: Collection[int] = (),
    taken_back: Collection[int] = (),
    own_credits: Collection[int] = (),
    from_file: str = "",
) -> Planned:
    """Fetch and plan one period, remember how companies were matched, and keep the plan under its digest.

    `asked`: clients by id or whole name, as people type them. `replan` forgets what earlier runs decided, to show what
    today's rules would make of it [R3]; such a plan is not kept, so that nobody can post it. `approved` are HaloPSA
    clients that need no approval any more, `not_taken_back` those whose true-up was begun and could not be made,
    `taken_back` those of which a bill of this month was.
    `own_credits` are the invoices on which it was: nothing is added to them, and the latest invoice is as it was [B2].
    """
    rulebook = rulebook or load_rulebook(connected.settings.rules_dir, connected.ledger.desk_rules())
    if upstream is None:
        beside = Beside.TENANT if connected.ledger.written_lines() else Beside.TEMPLATES
        upstream = fetch(connected, period, rulebook, say, beside)
    memory = connected.ledger.memory(period)
    if remember_older_lines(connected.ledger, connected.psa, memory.written_lines):
        memory = connected.ledger.memory(period)
    inputs = RunInputs(
        partner=connected.ledger.name,
        key_name=connected.ledger.key_name,
        period=period,
        sources=upstream.sources,
        companies=upstream.companies,
        clients=upstream.clients,
        items=upstream.items,
        rulebook=rulebook,
        memory=replace(
            memory,
            approved=frozenset(approved),
            not_taken_back=frozenset(not_taken_back),
            taken_back=frozenset(taken_back),
            own_credits=frozenset(own_credits),
        ),
        set_aside=connected.ledger.charges_set_aside(str(period)),
        credited=upstream.credited,
        currency=connected.settings.halo.currency,
    )
    companies = charged_in(with_owners(inputs).sources, upstream.companies)
    inputs = replace(inputs, similar=similar(companies, upstream.clients, rulebook))
    inputs = with_memory(connected.ledger, with_names(connected.ledger, inputs), upstream.listed)
    decided = inputs.memory.settled
    if replan:
        inputs = replace(inputs, memory=replace(inputs.memory, settled={}, said=(), twins=(), live=()))
    inputs = replace(inputs, clients_asked=asked_for(inputs, companies, asked))
    if upstream.short:
        inputs = replace(inputs, clients=detailed(connected, inputs))
    tenant = upstream.tenant
    if tenant is None and memory.written_lines:
        tenant = read_tenant(connected, period, say)
    templates = upstream.templates if tenant is None else tenant.templates
    existing = existing_invoices(connected, inputs, templates)
    inputs = replace(
        inputs,
        existing=tuple(one for one in existing if one.id not in inputs.memory.own_credits),
        made=tenant.made(memory.written_lines) if tenant is not None else (),
    )
    say(Progress(stage=Stage.PLAN))
    plan = plan_run(inputs)
    told = shifts(plan, inputs, decided) if replan else None
    planned = Planned(plan=plan, inputs=inputs, created_at=now(), shifts=told, from_file=from_file)
    if not replan:
        remember(connected.ledger, connected.settings.rules_dir, planned)
    return planned


def plan_again(ledger: Ledger, rules_dir: Path, digest: str) -> Planned:
    """The kept plan made anew from what it was made from: no call to Pax8 or HaloPSA. Rules, mappings, approvals and
    what is set aside are as they are now. UsageError for an unknown digest, or where an older version made it."""
    digest = ledger.plan_entry(digest).digest
    month = kept_month(ledger, digest)
    planned = planned_again(ledger, rules_dir, month.inputs)
    head = ledger.plan_head(digest)
    known = head is not None and any(str(one).startswith(UNREAD) for one in head.content["warnings"])
    if says := unread(planned.plan, planned.inputs, month.plan, known=known):
        planned = replace(planned, plan=replace(planned.plan, warnings=(*planned.plan.warnings, says)))
    near = near_in_memory(ledger, digest)
    if remember(ledger, rules_dir, planned, near):  # else it is kept as it was first shown, and perhaps without all
        hold_in_memory(ledger, planned.plan, planned.inputs, of=near[0] if near else "")
    return planned


def planned_again(
    ledger: Ledger,
    rules_dir: Path,
    inputs: RunInputs,
    companies: Sequence[str] = (),
    desk: Sequence[DeskRules] | None = None,
) -> Planned:
    """As `plan_again`, of these Pax8 companies only where some are given, and nothing is kept of it. `inputs` are
    those of the kept plan; `desk` what the desk's rules would be."""
    rulebook = load_rulebook(rules_dir, ledger.desk_rules() if desk is None else desk)
    inputs = replace(inputs, memory=ledger.memory(inputs.period))
    names = charged_in(with_owners(inputs).sources, inputs.companies)
    inputs = replace(
        inputs,
        partner=ledger.name,
        key_name=ledger.key_name,
        rulebook=rulebook,
        similar=similar(names, inputs.clients, rulebook),
        set_aside=ledger.charges_set_aside(str(inputs.period)),
        clients_asked=tuple(companies) or inputs.clients_asked,
    )
    inputs = with_names(ledger, inputs)
    inputs = with_memory(ledger, inputs, {one: one not in inputs.credited for one in ledger.known_invoices()})
    return Planned(plan=plan_run(inputs), inputs=inputs, created_at=now())


def kept_inputs(ledger: Ledger, digest: str) -> RunInputs:
    """What a kept plan was made from, but for rules and memory. UsageError where an older version made it."""
    return kept_month(ledger, digest).inputs


def remember(ledger: Ledger, rules_dir: Path, planned: Planned, near: tuple[str, KeptMonth] | None = None) -> bool:
    """Keeps a plan under its digest, what it was made from (with `near` only what differs from that), and how
    companies were matched. False where a plan of this digest was kept before."""
    plan = planned.plan
    matches = {
        client.company_id: RememberedMatch(
            client_id=client.client_id, how=client.matched_by, company_name=client.company_name
        )
        for client in plan.clients
        if client.company_id and client.client_id is not None and client.matched_by and not _doubtful(client.held)
    }
    if not planned.from_file:  # what a file calls its companies decides nothing about later months
        ledger.remember_matches(matches, planned.created_at)
        remember_names(ledger, planned.inputs, planned.created_at)
    keep_rules(ledger, rules_dir, plan.rules_digest, planned.created_at)
    created, documents = planned.created_at.isoformat(timespec="seconds"), [*map(client_document, plan.clients)]
    return ledger.save_plan(
        digest=plan.digest,
        period=planned.inputs.period,
        rules_digest=plan.rules_digest,
        asked=(planned.from_file,) if planned.from_file else plan.clients_asked,  # so it is nobody's whole month
        document=kept_plan(plan, created, documents),
        now=planned.created_at,
        rows=plan_rows(plan, planned.inputs.rulebook, created, documents),
        inputs=packed(planned.inputs, plan, near),
    )


def _doubtful(held: Reason | None) -> bool:
    return held is not None and held.is_client


def asked_for(inputs: RunInputs, companies: Sequence[Company], texts: Sequence[str]) -> tuple[str, ...]:
    """The companies of --client: all that belong to each HaloPSA client that is named [V2]."""
    if not texts:
        return ()
    matches = match_companies(companies, inputs.clients, inputs.rulebook, inputs.memory.matches, inputs.similar)
    payers = payers_of_matches(matches)
    return tuple(sorted({company for text in texts for company in find_payer(payers, text).companies}))
