"""One run: fetch, plan, record, post, verify. Preview and posting share one path: `make_plan`."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rapidfuzz import fuzz, process

from billingsync.audit import keep_rules
from billingsync.connect import Connections
from billingsync.core.charge import Source
from billingsync.core.clients import match_companies, normalise
from billingsync.core.inputs import Client, Company, Existing, Item, RememberedMatch, RunInputs
from billingsync.core.money import ZERO
from billingsync.core.period import Period
from billingsync.core.plan import Account, CurrencyAccount, Plan
from billingsync.core.planning import clients_billed, plan_run
from billingsync.core.rules import ProductRules, Rulebook
from billingsync.desk import Desk, Outcome
from billingsync.errors import BillingSyncError, MarkerLost, NotReleased, Refused, StalePlan, UpstreamError, UsageError
from billingsync.halo.client import Clients
from billingsync.halo.compare import id_of, number
from billingsync.http import in_parallel
from billingsync.late import look_for_late
from billingsync.pax8.client import Fetched
from billingsync.post import Carried, carry_out, read_back
from billingsync.recover import resolve
from billingsync.report.document import dump, plan_document
from billingsync.report.result import PostingResult, RunResult
from billingsync.report.waiting import OpenHold, plan_holds
from billingsync.rulebook import load_rulebook
from billingsync.store.book import Fence
from billingsync.store.ledger import Ledger
from billingsync.store.runs import Decision
from billingsync.store.sources import Document, SeenInvoice

Say = Callable[[str], None]

CLIENTS_AT_ONCE = 50  # in one search: the address stays short


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, what it was made from, and when."""

    plan: Plan
    inputs: RunInputs
    created_at: datetime

    @property
    def document(self) -> dict[str, object]:
        return plan_document(self.plan, self.created_at.isoformat(timespec="seconds"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """What Pax8 and HaloPSA say about a period, read once for a run."""

    sources: tuple[Source, ...]
    companies: tuple[Company, ...]
    clients: tuple[Client, ...]
    items: tuple[Item, ...] = ()
    short: bool = False  # the clients lack what only their details show


def now() -> datetime:
    return datetime.now(UTC)


def who() -> str:
    """Who runs this, for people: user, machine, process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()} (process {os.getpid()})"


def newest_released(connected: Connections) -> Period:
    """The newest month that Pax8 has released."""
    released = connected.pax8.released_periods()
    if not any(month.invoices for month in released):
        raise NotReleased("Pax8 lists no invoice at all yet.", next_steps=[["billingsync", "periods"]])
    return max((month for month in released if month.invoices), key=lambda month: month.period).period


def fetch(connected: Connections, period: Period, rulebook: Rulebook, say: Say) -> Upstream:
    """Read everything a plan of this period needs; Pax8 and HaloPSA at the same time. Keeps the raw source [S3].

    Raises NotReleased, NotReady, UpstreamError. Nothing of a partial read is used [S2].
    """
    say(f"reading {period} from Pax8 and HaloPSA")
    group = rulebook.base.products.item_group
    # Not an executor: the interpreter waits for an executor's threads, and Ctrl-C would wait for a dead network.
    calls: list[Callable[[], Any]] = [
        lambda: _fetch_source(connected, period),
        connected.pax8.companies,
        connected.halo.clients,
        lambda: connected.halo.items(group) if _needs_items(rulebook) else (),
    ]
    read: list[Any] = in_parallel(lambda call: call(), calls, len(calls))
    fetched: Fetched = read[0]
    companies: tuple[Company, ...] = read[1]
    clients: Clients = read[2]
    items: tuple[Item, ...] = read[3]
    found = Upstream(
        sources=fetched.sources, companies=companies, clients=clients.rows, items=items, short=clients.short
    )
    if not fetched.sources:
        # Every invoice of the month was voided or credited: what takes their place is not out yet [R2].
        skipped = ", ".join(f"{one.invoice_id} ({one.status})" for one in fetched.skipped[:3])
        raise NotReleased(
            f"Pax8 has no invoice of {period} that counts: {skipped}. A new one has not been issued yet.",
            next_steps=[["billingsync", "periods"]],
        )
    seen = [
        SeenInvoice(
            invoice_id=source.invoice_id,
            status=source.status,
            currency=source.currency,
            total=source.total,
            charges=len(source.charges),
        )
        for source in fetched.sources
    ]
    seen += [
        SeenInvoice(
            invoice_id=skipped.invoice_id, status=skipped.status, currency="", total=skipped.total, charges=None
        )
        for skipped in fetched.skipped
    ]
    documents = [
        Document(kind=one.kind, invoice_id=one.invoice_id, page=one.page, body=one.body) for one in fetched.documents
    ]
    connected.ledger.save_sources(period, documents, seen, now())
    return found


def _fetch_source(connected: Connections, period: Period) -> Fetched:
    try:
        return connected.pax8.fetch(period)
    except NotReleased as missing:
        raise _with_released_months(connected, missing) from missing


def _with_released_months(connected: Connections, missing: NotReleased) -> NotReleased:
    """The same refusal, with the newest months that are there: the month may be a slip of the finger."""
    months = [str(month.period) for month in connected.pax8.released_periods()[:3]]
    there = f" Released: {', '.join(months)}." if months else ""
    steps = [["billingsync", "plan", months[0]]] if months else [["billingsync", "periods"]]
    return NotReleased(f"{missing.message}{there}", next_steps=steps)


def _needs_items(rulebook: Rulebook) -> bool:
    every = [rulebook.base, *(file.rules for file in rulebook.clients)]
    return any(rules.products.lifecycle != "off" for rules in every)


def _detailed(connected: Connections, inputs: RunInputs) -> tuple[Client, ...]:
    """The clients, with the details of those that are billed this month: currency, payer, whether to invoice at all."""
    wanted = clients_billed(inputs)
    details = {id_: connected.halo.client(id_) for id_ in sorted(wanted)}
    return tuple(details.get(client.id) or client for client in inputs.clients)


def _existing(connected: Connections, inputs: RunInputs) -> tuple[Existing, ...]:
    """The invoices that `latest` and `recurring` may write to, with their lines, as they are now."""
    rules = [inputs.rulebook.base, *(file.rules for file in inputs.rulebook.clients)]
    recurring = {
        one.invoice.recurring_invoice
        for one in rules
        if one.invoice.behavior == "recurring" and one.invoice.recurring_invoice is not None
    }
    # Also those that still have lines of ours, and those of billed clients on which HaloPSA counts by itself.
    recurring |= {line.invoice_id for line in inputs.memory.written_lines} | _counted(connected, clients_billed(inputs))
    existing = []
    for invoice_id in sorted(recurring):
        raw = connected.halo.invoice(invoice_id, recurring=True)
        if raw is not None:
            existing.append(_as_existing(raw, recurring=True))
    latest = sorted(clients_billed(inputs, "latest"))
    for start in range(0, len(latest), CLIENTS_AT_ONCE):
        looked = connected.halo.look(latest[start : start + CLIENTS_AT_ONCE], None)
        if not looked.complete:
            raise Refused(f"HaloPSA's invoices cannot be read whole, so the latest of each is not known: {looked.why}")
        existing += [_as_existing(raw, recurring=False) for raw in looked.rows]
    return tuple(one for one in existing if one is not None)


def _counted(connected: Connections, clients: set[int]) -> set[int]:
    """These clients' recurring invoices with quantities that HaloPSA computes: where its own Pax8 sync would bill."""
    try:
        rows = connected.halo.recurring_invoices()
    except UpstreamError as failed:
        if failed.status not in (401, 403, 404):
            raise
        return set()
    counted = (raw for raw in rows if raw.get("contains_calculated_quantity") and raw.get("client_id") in clients)
    return {found for raw in counted if (found := id_of(raw)) is not None}


def _as_existing(raw: Mapping[str, object], *, recurring: bool) -> Existing | None:
    owner, found = number(raw.get("client_id")), id_of(raw)
    if owner is None or found is None or (found < 0) is not recurring:
        return None
    return Existing(id=found, client_id=int(owner), recurring=recurring, raw=raw)


def similar(
    companies: Sequence[Company], clients: Sequence[Client], rulebook: Rulebook, at_least: Decimal | None = None
) -> dict[str, tuple[tuple[int, Decimal], ...]]:
    """Company id -> (client id, percent) of clients whose normalised names are alike, by plain edit ratio [C1]."""
    cutoff = float(at_least if at_least is not None else rulebook.base.clients.match_percent)
    names = {client.id: normalise(client.name) for client in clients}
    names = {id_: name for id_, name in names.items() if name}
    equal = set(names.values())
    found = {}
    for company in companies:
        name = normalise(company.name)
        if not name or (at_least is None and name in equal):
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
) -> Planned:
    """Fetch and plan one period, remember how companies were matched, and keep the plan under its digest.

    `asked`: clients by name or id, as people type them. Approvals let clients through the limits of the plan that was
    shown; as that makes another plan, with another digest, they are followed until no more apply. `replan` forgets
    what earlier runs decided, to show what today's rules would make of it [R3]; such a plan is not kept, so that
    nobody can post it.
    """
    rulebook = rulebook or load_rulebook(connected.settings.rules_dir)
    upstream = upstream or fetch(connected, period, rulebook, say)
    companies = charged_companies(upstream)
    memory = connected.ledger.memory(period)
    if replan:
        memory = replace(memory, settled={})
    inputs = RunInputs(
        partner=connected.ledger.name,
        period=period,
        sources=upstream.sources,
        companies=upstream.companies,
        clients=upstream.clients,
        items=upstream.items,
        rulebook=rulebook,
        memory=memory,
        similar=similar(companies, upstream.clients, rulebook),
    )
    inputs = replace(inputs, clients_asked=tuple(sorted({_asked_for(inputs, companies, text) for text in asked})))
    if upstream.short:
        inputs = replace(inputs, clients=_detailed(connected, inputs))
    inputs = replace(inputs, existing=_existing(connected, inputs))
    say("planning")
    plan = plan_run(inputs)
    approved: frozenset[int | str] = frozenset()
    while more := connected.ledger.memory(period, digest=plan.digest).approved - approved:
        approved |= more
        inputs = replace(inputs, memory=replace(memory, approved=approved))
        plan = plan_run(inputs)
    planned = Planned(plan=plan, inputs=inputs, created_at=now())
    if not replan:
        _remember(connected, planned)
    return planned


def _remember(connected: Connections, planned: Planned) -> None:
    plan = planned.plan
    matches = {
        client.company_id: RememberedMatch(
            client_id=client.client_id, how=client.matched_by, company_name=client.company_name
        )
        for client in plan.clients
        if client.company_id and client.client_id is not None and client.matched_by and not _doubtful(client.held)
    }
    connected.ledger.remember_matches(matches, planned.created_at)
    keep_rules(connected.ledger, connected.settings.rules_dir, plan.rules_digest, planned.created_at)
    connected.ledger.save_plan(
        digest=plan.digest,
        period=planned.inputs.period,
        rules_digest=plan.rules_digest,
        asked=plan.clients_asked,
        document=dump(planned.document),
        now=planned.created_at,
    )


def _doubtful(held: str | None) -> bool:
    return held is not None and held.startswith("client_")


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
    """Let one client of a plan that was shown through its limits. Gives its name, the digest and the period."""
    shown = ledger.find_plan(prefix)
    held = [
        one
        for one in json.loads(shown.document)["clients"]
        if any(hold["reason"].startswith("limit_") for hold in one["holds"])
    ]
    companies = [Company(id=one["company_id"], name=one["company_name"]) for one in held]
    if not companies:
        raise UsageError(
            f"Plan {shown.digest[:12]} holds no client for a limit.",
            next_steps=[["billingsync", "holds", shown.period]],
        )
    company_id = find_company(companies, client)
    ledger.add_approval(digest=shown.digest, client=company_id, reason=reason, who=by, now=at)
    return next(one.name for one in companies if one.id == company_id), shown.digest, shown.period


# Posting --------------------------------------------------------------------------------------------------------------


def run_period(
    connected: Connections,
    period: Period,
    *,
    asked: Sequence[str] = (),
    say: Say,
    confirm: Callable[[Planned], bool] = lambda planned: True,
) -> tuple[Planned, RunResult | None]:
    """Fetch, recover, plan, post, verify. `confirm` is shown the plan; where it says no, nothing is posted (None)."""
    rulebook = load_rulebook(connected.settings.rules_dir)
    with connected.ledger.run_lock(who()) as fence:
        connected.ledger.assert_durable()
        upstream = fetch(connected, period, rulebook, say)
        recovered = _recover(connected, fence, period, upstream, rulebook, say)
        seen = _late(connected, fence, period, upstream, rulebook, say)
        planned = make_plan(connected, period, asked=asked, say=say, rulebook=rulebook, upstream=upstream)
        if not confirm(planned):
            return planned, None
        return planned, _post(connected, fence, planned, recovered, seen, say)


def post_digest(connected: Connections, prefix: str, *, say: Say) -> tuple[Planned, RunResult]:
    """Post exactly the plan that was shown, or refuse with StalePlan and what changed since."""
    shown = connected.ledger.find_plan(prefix)
    period = Period.parse(shown.period)
    rulebook = load_rulebook(connected.settings.rules_dir)
    with connected.ledger.run_lock(who()) as fence:
        connected.ledger.assert_durable()
        upstream = fetch(connected, period, rulebook, say)
        planned = make_plan(connected, period, asked=shown.asked, say=say, rulebook=rulebook, upstream=upstream)
        if planned.plan.digest != shown.digest:
            recovered = _recover(connected, fence, period, upstream, rulebook, say)
            planned = make_plan(connected, period, asked=shown.asked, say=say, rulebook=rulebook, upstream=upstream)
            changes = changes_since(shown.document, planned)
            begun = any(run.digest == shown.digest for run in connected.ledger.runs(period))
            # Only the rest of a posting of this very plan that was interrupted may go on without being shown again.
            if changes or not begun or planned.plan.rules_digest != shown.rules_digest:
                raise StalePlan(
                    f"The plan {shown.digest[:12]} is not what would be posted now. What changed:\n"
                    + "\n".join(f"  {change}" for change in changes or ["the rules, or what HaloPSA's items are"]),
                    next_steps=[
                        ["billingsync", "plan", str(period)],
                        ["billingsync", "post", planned.plan.digest[:12]],
                    ],
                )
        else:
            recovered = _recover(connected, fence, period, upstream, rulebook, say)
        seen = _late(connected, fence, period, upstream, rulebook, say)
        return planned, _post(connected, fence, planned, recovered, seen, say)


def changes_since(document: str, planned: Planned) -> list[str]:
    """What differs, client by client, between a plan as it was shown and as it is now; empty where the rest of an
    interrupted posting of that very plan is all that is left."""
    shown = {_client_key(client): client for client in json.loads(document)["clients"]}
    settled = planned.inputs.memory.settled
    changes = []
    now_clients: dict[str, dict[str, object]] = {}
    clients = planned.document["clients"]
    assert isinstance(clients, list)
    for client in clients:
        now_clients[_client_key(client)] = client
    for key in sorted({*shown, *now_clients}):
        before, after = shown.get(key), now_clients.get(key)
        if before is not None and after is None:
            ids = [charge for line in before["lines"] for charge in line["charges"]]
            ids += [entry["charge"] for name in ("dropped", "excluded") for entry in before[name]]
            if before["holds"] or not all(_done(settled, charge) for charge in ids):
                changes.append(f"{before['company_name']}: {before['amount']} {before['currency']} before, nothing now")
        elif before is None and after is not None:
            changes.append(f"{after['company_name']}: nothing before, {after['amount']} {after['currency']} now")
        elif before is not None and after is not None and _facts(before) != _facts(after):
            changes.append(f"{after['company_name']}: {_difference(before, after)}")
    return changes


def _done(settled: Mapping[str, object], charge: str) -> bool:
    return charge in settled


def _client_key(client: Mapping[str, object]) -> str:
    return f"{client['company_id']}"


def _facts(client: Mapping[str, object]) -> object:
    lines = client["lines"]
    assert isinstance(lines, list)
    facts = [
        [
            line[name]
            for name in ("action", "line_id", "description", "quantity", "unit_price", "amount", "cost", "charges")
        ]
        for line in lines
    ]
    left = [sorted(entry["charge"] for entry in _list(client, name)) for name in ("dropped", "excluded", "holds")]
    return [client["client_id"], client["target_invoice_id"], facts, left]


def _list(client: Mapping[str, object], name: str) -> list[dict[str, str]]:
    found = client[name]
    assert isinstance(found, list)
    return found


def _difference(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    held = f", held now: {after['held'].replace('_', ' ')}" if isinstance(after["held"], str) else ""
    if before["client_id"] != after["client_id"]:
        now = f"HaloPSA client {after['client_id']}" if after["client_id"] is not None else "no HaloPSA client"
        return f"was for HaloPSA client {before['client_id']}, now for {now}{held}"
    if before["target_invoice_id"] != after["target_invoice_id"]:
        one, other = (
            f"invoice {x}" if x is not None else "a new invoice"
            for x in (before["target_invoice_id"], after["target_invoice_id"])
        )
        return f"was for {one}, now for {other}{held}"
    if before["amount"] != after["amount"]:
        return f"{before['amount']} before, {after['amount']} {after['currency']} now{held}"
    if before["held"] != after["held"]:
        return f"held before: {before['held'] or 'no'}, now: {after['held'] or 'no'}"
    return "the amount is the same, but lines, texts or holds are not"


def _desk(
    connected: Connections,
    fence: Fence,
    run: str,
    period: Period,
    clients: Sequence[Client],
    codes: Callable[[int], ProductRules],
    say: Say,
) -> Desk:
    settings = connected.settings
    return Desk(
        ledger=connected.ledger,
        halo=connected.halo,
        fence=fence,
        run=run,
        period=period,
        marker=settings.halo.marker,
        write_lines=settings.halo.write_lines,
        absence_s=settings.halo.absence_s,
        today=datetime.now(settings.zone).date(),
        clients={client.id: client for client in clients},
        tax_and_accounts=codes,
        say=say,
    )


def _recover(
    connected: Connections, fence: Fence, period: Period, upstream: Upstream, rulebook: Rulebook, say: Say
) -> int:
    """Find out what became of postings that an earlier run left open, whatever their period. Gives their number."""
    left = connected.ledger.unresolved()
    if left:
        say(f"finding out about {len(left)} posting{'s' if len(left) > 1 else ''} of an interrupted run")
        for month in sorted({row.period for row in left}):
            desk = _desk(
                connected, fence, "", Period.parse(month), upstream.clients, lambda _: rulebook.base.products, say
            )
            resolve(desk, [row for row in left if row.period == month])
    return len(left)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What looking back showed before anything new was written: alarms, a sentence each, and what was read back."""

    alarms: tuple[str, ...]
    read_back: tuple[str, ...]  # keys


def _late(
    connected: Connections, fence: Fence, period: Period, upstream: Upstream, rulebook: Rulebook, say: Say
) -> Seen:
    """What of this period and the one before landed late, or was never read back and is not as it was sent [N5]."""
    desk = _desk(connected, fence, "", period, upstream.clients, lambda _: rulebook.base.products, say)
    ledger = connected.ledger
    months = (period.previous, period)
    known = {key for month in months for run in ledger.runs(month) for key in run.summary.get("read_back", ())}
    rows = [row for month in months for row in ledger.postings(period=month)]
    unread = [row for row in rows if row.state in ("posted", "adopted") and row.key not in known]
    failed = read_back(desk, unread)
    keys = frozenset(row.key for row in unread)
    rows = [row for month in months for row in ledger.postings(period=month)]
    alarms = [f"{row.client_name}: {row.message}" for row in rows if row.key in keys and row.state == "differs"]
    late = look_for_late(desk, rows)
    alarms += [sentence for sentence in late if sentence not in alarms]
    return Seen(alarms=(*alarms, *([failed] if failed else [])), read_back=() if failed else tuple(sorted(keys)))


def _post(connected: Connections, fence: Fence, planned: Planned, recovered: int, seen: Seen, say: Say) -> RunResult:
    """Post a plan and settle what it dropped or excluded. The run ends recorded, whatever happens."""
    plan, ledger = planned.plan, connected.ledger
    period = planned.inputs.period
    _marker_known_lost(connected, plan)
    run = ledger.start_run(fence, period=period, digest=plan.digest, who=who(), now=now())
    codes = _codes(planned)
    desk = _desk(connected, fence, run, period, planned.inputs.clients, codes, say)
    amounts = {charge.id: (charge.price, charge.cost) for source in planned.inputs.sources for charge in source.charges}
    try:
        targets = [existing.raw for existing in planned.inputs.existing]
        carried = carry_out(desk, plan, amounts, targets) if plan.postings else Carried()
    except BaseException as stopped:
        state = "failed" if isinstance(stopped, BillingSyncError) else "interrupted"
        if ledger.fence_holds(fence):
            ended: dict[str, object] = {
                "stopped": type(stopped).__name__,
                "marker": desk.marker,
                "read_back": list(seen.read_back),
            }
            ledger.finish_run(fence, run, state, ended, now())
        written = [row.client_name for row in ledger.postings(run=run) if row.state in ("posted", "adopted")]
        names = f": {', '.join(written[:5])}{', ...' if len(written) > 5 else ''}" if written else ""
        stopped.add_note(f"{len(written)} of {len(plan.postings)} invoices were written to HaloPSA{names}.")
        raise
    _settle(connected, fence, run, planned, carried.outcomes)
    alarms = (*seen.alarms, *([carried.unread] if carried.unread else []))
    result = _result(connected, run, planned, carried.outcomes, alarms)
    done = [] if carried.unread else [row.key for row in ledger.postings(run=run) if row.state in ("posted", "adopted")]
    summary: dict[str, object] = {"digest": plan.digest, "recovered": recovered, "read_back": [*seen.read_back, *done]}
    ledger.finish_run(fence, run, result.state, summary, now())
    return result


def _marker_known_lost(connected: Connections, plan: Plan) -> None:
    """One invoice without its marker may be an accident; after two runs in a row it is how this tenant works, and each
    further run would bill one more client that nobody recognises [N7]. Once those invoices are out of HaloPSA, or
    undone, the same setting may be tried again."""
    last = connected.ledger.runs()[-2:]
    setting = connected.settings.halo.marker
    lost = [run for run in last if (run.summary.get("stopped"), run.summary.get("marker")) == ("MarkerLost", setting)]
    if plan.postings and len(lost) == 2:
        gone = ("refused", "abandoned", "undone")
        left = [row for row in connected.ledger.postings(run=lost[-1].id) if row.state not in gone]
        if left:
            raise MarkerLost(
                f"HaloPSA did not keep the marker in {setting!r} on the invoices that the last two "
                f"runs wrote, {left[0].client_name}'s among them. Nothing was posted now. Set "
                "BILLINGSYNC_HALO__MARKER to another place, or take those invoices out of HaloPSA.",
                next_steps=[["billingsync", "show", lost[-1].id], ["billingsync", "doctor"]],
            )


def _codes(planned: Planned) -> Callable[[int], ProductRules]:
    """A client's account and tax codes: those of its file, else the shared ones."""
    rulebook = planned.inputs.rulebook
    by_client: dict[int, ProductRules] = {}
    for client in planned.plan.clients:
        if client.client_id is not None:
            file = rulebook.file_for(
                company_id=client.company_id, company_name=client.company_name, client_id=client.client_id
            )
            by_client.setdefault(client.client_id, file.rules.products if file else rulebook.base.products)
    return lambda client_id: by_client.get(client_id, rulebook.base.products)


def _settle(connected: Connections, fence: Fence, run: str, planned: Planned, outcomes: Sequence[Outcome]) -> None:
    """What this run dropped or excluded stays so [R3], for every client whose postings all arrived."""
    plan = planned.plan
    failed = {outcome.client_id for outcome in outcomes if outcome.state not in ("posted", "adopted")}
    decisions = [
        Decision(
            charge=gone.charge,
            state="dropped",
            by=gone.modifier,
            price=gone.amount,
            cost=gone.cost,
            currency=gone.currency,
        )
        for client in plan.clients
        if client.client_id not in failed
        for gone in client.dropped
    ]
    excluded = [
        entry
        for client in plan.clients
        if client.client_id is None or client.client_id not in failed
        for entry in client.excluded
    ]
    decisions += [
        Decision(
            charge=entry.charge,
            state="excluded",
            by=entry.rule,
            price=entry.amount,
            cost=entry.cost,
            currency=entry.currency,
        )
        for entry in [*excluded, *plan.unassigned_excluded]
    ]
    connected.ledger.settle(fence, run, decisions, now())
    companies = {charge.company_id for source in planned.inputs.sources for charge in source.charges}
    posted = {charge for outcome in outcomes if outcome.state in ("posted", "adopted") for charge in outcome.charges}
    products = {
        charge.sku or charge.product_name
        for source in planned.inputs.sources
        for charge in source.charges
        if charge.id in posted
    }
    connected.ledger.note_seen(planned.inputs.period, [id_ for id_ in companies if id_], products)


def _result(
    connected: Connections, run: str, planned: Planned, outcomes: Sequence[Outcome], late: Sequence[str] = ()
) -> RunResult:
    """What the run has to tell: each posting, what waits, and the equation with what HaloPSA returned [A2]."""
    plan = planned.plan
    holds = tuple(hold for client in plan.clients for hold in client.holds) + plan.unassigned_holds
    names = {hold.charge: client.company_name for client in plan.clients for hold in client.holds}
    failed = bool(late) or any(outcome.state == "failed" for outcome in outcomes)
    unknown = any(outcome.state == "unknown" for outcome in outcomes)
    state = "failed" if failed else "held" if unknown or holds else "complete"
    returned = _returned(connected, planned)
    steps: list[tuple[str, ...]] = []
    if holds or unknown:
        steps.append(("billingsync", "holds", plan.period))
    if unknown or failed:
        steps.append(("billingsync", "run", plan.period))
    return RunResult(
        run=run,
        digest=plan.digest,
        period=plan.period,
        state=state,
        postings=tuple(
            PostingResult(
                key=outcome.key,
                client_id=outcome.client_id,
                client_name=outcome.client_name,
                invoice_id=outcome.invoice_id,
                action=outcome.action,
                lines=outcome.lines,
                amount=outcome.amount,
                cost=outcome.cost,
                currency=outcome.currency,
                state=outcome.state,
                problem=outcome.problem,
            )
            for outcome in outcomes
        ),
        holds=holds,
        accounts=_after(plan.accounts, outcomes),
        returned=returned,
        next_steps=tuple(steps),
        message="\n".join(late),
        companies=names,
    )


def _returned(connected: Connections, planned: Planned) -> dict[str, tuple[Decimal, Decimal]]:
    """Price and cost by currency that HaloPSA returned for the charges of this plan, earlier runs included."""
    asked = frozenset(planned.plan.clients_asked)
    scope = {
        charge.id
        for source in planned.inputs.sources
        for charge in source.charges
        if not asked or charge.company_id in asked
    }
    sums = {account.currency: (ZERO, ZERO) for account in planned.plan.accounts}
    for row in connected.ledger.postings(period=planned.plan.period):
        if row.state not in ("posted", "adopted") or row.currency not in sums:
            continue
        if scope.isdisjoint(share.charge for line in row.lines for share in line.shares):
            continue
        price, cost = sums[row.currency]
        sums[row.currency] = (price + (row.returned_price or ZERO), cost + (row.returned_cost or ZERO))
    return sums


def _after(accounts: Sequence[CurrencyAccount], outcomes: Sequence[Outcome]) -> tuple[CurrencyAccount, ...]:
    """The equation after posting [A2]: what did not arrive, or may not have, is held and not posted."""
    result = []
    for account in accounts:
        missed = [
            outcome
            for outcome in outcomes
            if outcome.currency == account.currency and outcome.state not in ("posted", "adopted")
        ]
        price = sum((outcome.amount for outcome in missed), ZERO)
        cost = sum((outcome.cost for outcome in missed), ZERO)
        result.append(replace(account, price=_moved(account.price, price), cost=_moved(account.cost, cost)))
    return tuple(result)


def _moved(account: Account, amount: Decimal) -> Account:
    """From posted to held."""
    return replace(account, posted=account.posted - amount, held=account.held + amount)
