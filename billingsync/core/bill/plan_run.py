"""`plan_run`: frozen inputs -> one frozen plan. The only place where decisions are put together, with no I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from billingsync.core.bill.account import accounts_of
from billingsync.core.bill.changed import changes
from billingsync.core.bill.company import Work, is_settled, works_of
from billingsync.core.bill.decided import DecidedCompany
from billingsync.core.bill.judge import judge, without_company
from billingsync.core.bill.limits import apply_limits, missing_companies
from billingsync.core.bill.plan import ClientPlan, Hold, Plan, PlanLine, TrueUp
from billingsync.core.bill.postings import postings_of, targets_of
from billingsync.core.bill.products import Catalogue
from billingsync.core.bill.take_off import hold_what_stays, take_off
from billingsync.core.bill.templates import MadeInvoices, billed_twice, waiting_of, waiting_text
from billingsync.core.bill.trueup import AFTER_ANOTHER, agreed, concerns, once_taken_back, true_ups, with_what_comes
from billingsync.core.bill.twins import Twin, Waiting, by_itself, by_true_up, duplicates
from billingsync.core.bill.warnings import kept_from_clients, source_summary, warnings_of
from billingsync.core.charge import Charge
from billingsync.core.decisions import approved_charges
from billingsync.core.inputs import RunInputs
from billingsync.core.money import ZERO, plain
from billingsync.core.reasons import ApproveAs
from billingsync.core.states import TrueUpState
from billingsync.core.steps import Slot, Step


def plan_run(inputs: RunInputs) -> Plan:
    """Decide everything about one period [A1]: every charge posted, dropped, excluded or held, to the cent."""
    inputs = with_owners(inputs)
    charges = sorted((charge for source in inputs.sources for charge in source.charges), key=lambda charge: charge.id)
    nobodys = [c for c in charges if c.company_id is None and c.id not in inputs.memory.settled]
    unassigned, unassigned_holds = without_company(nobodys, inputs.rulebook.base)
    works = works_of(inputs, charges)
    asked = set(inputs.clients_asked)
    if asked:
        works = [work for work in works if work.company.id in asked]
        unassigned, unassigned_holds = [], []
        charges = [charge for charge in charges if charge.company_id in asked]

    catalogue = Catalogue.of(inputs.items, (charge for source in inputs.sources for charge in source.charges))
    missing = missing_companies(
        inputs.memory.last_companies,
        (charge.company_id for source in inputs.sources for charge in source.charges if charge.company_id),
        inputs.rulebook.base.limits.missing_company_percent_max,
    )
    twins, altered = duplicates(inputs), changes(inputs)
    ups = true_ups(inputs, works, altered, twins)
    again, off = once_taken_back(inputs, ups)
    others = duplicates(inputs, as_if_taken_back=True) if twins else {}
    month = _Month(
        inputs=inputs, again=again, catalogue=catalogue, twins=twins, others=others, missing=missing, off=off
    )
    if ups:
        works, ups, again = _with_true_ups(works, ups, charges, month)
    else:
        waiting = _waiting(month, ())
        for work in works:
            judge(work, inputs, catalogue, waiting)
    apply_limits(works, again, missing)
    for work in works:
        take_off(work, inputs)
        hold_what_stays(work)
    works.sort(key=lambda work: (work.company.name.casefold(), work.company.id))
    postings = postings_of(works, inputs)
    accounts = accounts_of(charges, works, unassigned, inputs, unassigned_holds)
    clients = tuple(
        _client_plan(work, inputs)
        for work in works
        if work.lines or work.dropped or work.excluded or work.holds or work.removals
    )
    sources = tuple(source_summary(source) for source in inputs.sources)
    made = MadeInvoices(inputs.made, inputs.existing)
    on_templates, alarms = waiting_of(inputs, made), billed_twice(inputs, made)
    plan = Plan(
        digest="",
        partner=inputs.partner,
        period=str(inputs.period),
        rules_digest=inputs.rulebook.digest,
        sources=sources,
        accounts=accounts,
        clients=clients,
        unassigned_excluded=tuple(unassigned),
        unassigned_holds=tuple(unassigned_holds),
        postings=postings,
        kept=kept_from_clients(works),
        warnings=(*alarms, *map(waiting_text, on_templates), *warnings_of(inputs, sources, works, missing)),
        clients_asked=inputs.clients_asked,
        true_ups=ups,
        targets=targets_of(works),
        decided=tuple(_decided(work) for work in works),
        waiting=on_templates,
        alarms=alarms,
        left=tuple(f"{work.company.name}: {left.text}" for work in works for left in work.left),
    )
    digest = _digest(plan, inputs.named_in_keys)
    with_digest = _Binder(digest)
    return replace(
        plan,
        digest=digest,
        clients=tuple(_named(client, with_digest) for client in plan.clients),
        unassigned_holds=tuple(replace(one, steps=with_digest(one.steps)) for one in plan.unassigned_holds),
        true_ups=tuple(replace(up, steps=with_digest(up.steps)) for up in ups),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Month:
    """What judging needs: the inputs as they are, and as they are `again` once every true-up was made."""

    inputs: RunInputs
    again: RunInputs
    catalogue: Catalogue
    twins: Mapping[str, Twin]
    others: Mapping[str, Twin]  # once every true-up was made
    missing: str
    off: frozenset[str]  # keys of postings whose lines, waiting on a template, come off it with a true-up


def _with_true_ups(
    works: Sequence[Work], ups: Sequence[TrueUp], charges: Sequence[Charge], month: _Month
) -> tuple[list[Work], tuple[TrueUp, ...], RunInputs]:
    """Judges every company; those that a true-up concerns as they would be once it was taken back, and where nobody
    has allowed that, all that is open of them waits, or of an older period all that comes in its place [R2]. Who
    approved a true-up saw its sums: no limit asks again."""
    mine = [up for up in ups if not up.older]
    late = {charge for up in ups for charge in up.waits}
    clears = {up.client_id for up in ups if any(one.key in month.off for one in up.postings)}
    trials = {
        work.company.id: work
        for work in works_of(month.again, charges)
        if any(concerns(up, work) for up in mine)
        or work.client_id in clears
        or any(charge.id in late for charge in work.charges)
    }
    everything = _waiting(month, [replace(up, state=TrueUpState.APPROVED) for up in ups])
    for trial in trials.values():
        judge(trial, month.again, month.catalogue, everything)
    coming = {company: list(trial.lines) for company, trial in trials.items()}
    seen = [replace(trial, lines=coming[company]) for company, trial in trials.items()]
    ups = tuple(with_what_comes(up, seen, month.inputs) for up in ups)
    approved = month.again.memory.approved | {up.client_id for up in ups if up.approved_by}
    again = replace(month.again, memory=replace(month.again.memory, approved=approved))
    apply_limits(tuple(trials.values()), again, month.missing)
    ups = agreed(ups, tuple(trials.values()), month.inputs)
    waiting = _waiting(month, ups)
    fresh: dict[str, Work] = {}  # of companies whose bill is taken back while something else of them waits
    judged = []
    for work in works:
        stops = [up for up in ups if up.state != TrueUpState.APPROVED and not up.older and concerns(up, work)]
        waits = min(stops, key=lambda up: up.detail == AFTER_ANOTHER, default=None)
        taken_back = any(
            concerns(up, work) and (not up.older or (up.state == TrueUpState.APPROVED and work.client_id in clears))
            for up in ups
        )
        if waits is not None or not taken_back:
            judge(work, month.inputs, month.catalogue, waiting, waits)
            judged.append(work)
        elif work.company.id not in trials:
            continue  # it has neither charges nor lines of ours once that was taken back
        elif all((charge.id in waiting) is (charge.id in everything) for charge in trials[work.company.id].charges):
            judged.append(trials[work.company.id])
        else:
            fresh = fresh or {each.company.id: each for each in works_of(month.again, charges)}
            judge(fresh[work.company.id], month.again, month.catalogue, waiting)
            judged.append(fresh[work.company.id])
    return judged, ups, again


def with_owners(inputs: RunInputs) -> RunInputs:
    """The month with the charges that Pax8 assigns to nobody given to whom a person named [V1]."""
    owners = {
        (charge, price): one.client
        for one in inputs.memory.approvals
        if one.kind is ApproveAs.BILL
        for charge, price in one.charges.items()
    }
    names = {company.id: company.name for company in inputs.companies}
    if not owners:
        return inputs

    def owned(charge: Charge) -> Charge:
        owner = owners.get((charge.id, charge.price)) if charge.company_id is None else None
        return replace(charge, company_id=owner, company_name=names.get(owner, owner)) if owner else charge

    sources = (replace(one, charges=tuple(owned(charge) for charge in one.charges)) for one in inputs.sources)
    return replace(inputs, sources=tuple(sources))


def _waiting(month: _Month, ups: Sequence[TrueUp]) -> dict[str, Waiting]:
    """The charges that another invoice bills already [S10], with what a person may do about each. Where that invoice
    was credited, it is the true-up that decides."""
    found = {charge: by_itself(twin) for charge, twin in month.others.items()}
    for charge, twin in month.twins.items():
        if twin.invoice_id not in month.inputs.credited:
            found[charge] = by_itself(twin)
        elif up := next((up for up in ups if charge in up.waits and up.state != TrueUpState.APPROVED), None):
            found[charge] = by_true_up(twin, up)
    others = approved_charges(month.inputs.memory.approvals, ApproveAs.NO_DUPLICATE)
    if others and found:
        prices = {charge.id: charge.price for source in month.inputs.sources for charge in source.charges}
        return {charge: why for charge, why in found.items() if others.get(charge) != prices.get(charge)}
    return found


class _Binder:
    """Puts a plan's digest into steps; those that many charges share are made once."""

    def __init__(self, digest: str) -> None:
        self._fill = {Slot.DIGEST: digest[:12]}
        self._made: dict[tuple[Step, ...], tuple[Step, ...]] = {}

    def __call__(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        if (known := self._made.get(steps)) is None:
            filled = tuple(step.filled(self._fill) for step in steps)
            known = self._made[steps] = steps if filled == steps else filled
        return known


def _named(client: ClientPlan, with_digest: _Binder) -> ClientPlan:
    """The client with its plan's digest in the commands that its holds say to type."""
    if not client.holds:
        return client
    return replace(client, holds=tuple(_with_digest(hold, with_digest) for hold in client.holds))


def _with_digest(hold: Hold, with_digest: _Binder) -> Hold:
    steps = with_digest(hold.steps)
    return hold if steps is hold.steps else replace(hold, steps=steps)


def _client_plan(work: Work, inputs: RunInputs) -> ClientPlan:
    client = work.match.client
    held = work.holds[0].reason if work.holds and not (work.lines or work.dropped) else None
    last = inputs.memory.last_amounts.get((work.client_id, work.currency)) if work.client_id is not None else None
    if inputs.memory.settled and any(is_settled(charge, inputs) for charge in work.all_charges):
        last = None  # what a late charge adds is no change since last month
    guessed = f"{plain(work.match.percent)} % similar" if work.match.how == "similarity" and work.match.percent else ""
    return ClientPlan(
        company_id=work.company.id,
        company_name=work.company.name,
        client_id=work.client_id,
        client_name=client.name if client else "",
        matched_by=work.match.how,
        behavior=work.rules.invoice.behavior,
        target_invoice_id=work.target.invoice.id if work.target.invoice else None,
        amount=sum((line.amount for line in work.lines), ZERO),
        cost=sum((line.cost for line in work.lines), ZERO),
        currency=work.currency,
        held=held,
        lines=(*work.lines, *(one.line for one in work.removals)),
        dropped=tuple(work.dropped),
        excluded=tuple(work.excluded),
        holds=tuple(work.holds),
        guessed=guessed,
        last_period=last[0] if last else "",
        last_amount=last[1] if last else None,
        limits=work.limits,
        would_bill=work.would_bill,
    )


def _decided(work: Work) -> DecidedCompany:
    client = work.match.client
    return DecidedCompany(
        company_id=work.company.id,
        company_name=work.company.name,
        client_id=work.client_id,
        client_name=client.name if client else "",
        matched_by=work.match.how,
        percent=work.match.percent,
        never_billed=work.match.excluded,
        rules_file=work.file.path if work.file else "",
        drafts=tuple(work.drafts),
    )


def _digest(plan: Plan, key_name: str) -> str:
    """What the plan would do, as one SHA-256: whoever approves a digest approves exactly this."""
    facts = [
        key_name,
        plan.period,
        plan.rules_digest,
        plan.clients_asked,
        [[up.client_id, up.currency, up.period, up.state, [one.key for one in up.postings]] for up in plan.true_ups],
        sorted([s.invoice_id, s.charges, str(s.price), str(s.cost)] for s in plan.sources),
        [[p.key, p.action, p.client_id, p.invoice_id, [_line_facts(line) for line in p.lines]] for p in plan.postings],
        [
            [
                client.company_id,
                client.client_id,
                [dropped.charge for dropped in client.dropped],
                [excluded.charge for excluded in client.excluded],
                [[hold.charge, hold.reason, str(hold.amount)] for hold in client.holds],
            ]
            for client in plan.clients
        ],
        [entry.charge for entry in plan.unassigned_excluded],
        [[hold.charge, hold.reason, str(hold.amount)] for hold in plan.unassigned_holds],
        [[one.invoice_id, one.closed, sorted(one.lines.items())] for one in plan.targets],
    ]
    return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()


def _line_facts(line: PlanLine) -> list[object]:
    # The item's id is left out where we create it: it is the same item before and after it exists.
    item = line.item and (line.item.sku or line.item.name if line.item.create else line.item.id)
    return [
        line.action,
        line.line_id,
        line.description,
        item,
        plain(line.quantity),
        plain(line.unit_price),
        plain(line.unit_cost),
        str(line.amount),
        str(line.cost),
        line.charges,
        line.before,
    ]
