"""`plan_run`: frozen inputs -> one frozen plan. The only place where decisions are put together, with no I/O."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from billingsync.core.behaviors import (
    Target,
    find_target,
    group_of,
    left_behind,
    licence_lines,
    recurring_changes,
    recurring_key,
    waiting_keys,
)
from billingsync.core.charge import Charge, Source
from billingsync.core.clients import Match, match_companies, pays_through_other
from billingsync.core.inputs import Company, RunInputs
from billingsync.core.limits import Bill, beyond, missing_companies
from billingsync.core.lines import draft_lines, line_text, numbered
from billingsync.core.modifiers import Draft, apply_modifiers
from billingsync.core.money import ZERO, plain, round_money
from billingsync.core.plan import (
    Account,
    ClientPlan,
    CurrencyAccount,
    Dropped,
    Excluded,
    Hold,
    Kept,
    Plan,
    PlanLine,
    Posting,
    SourceSummary,
)
from billingsync.core.products import Catalogue, resolve
from billingsync.core.rules import ClientFile, Rules


@dataclass(slots=True, kw_only=True)
class _Work:
    """One company while its charges are being judged. Every charge in `charges` ends in one of the four lists."""

    company: Company
    match: Match
    file: ClientFile | None
    rules: Rules
    charges: list[Charge] = field(default_factory=list)
    all_charges: list[Charge] = field(default_factory=list)  # settled ones too
    excluded: list[Excluded] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    lines: list[PlanLine] = field(default_factory=list)
    products: set[str] = field(default_factory=set)
    target: Target = field(default_factory=Target)
    currency: str = ""  # the client's; where HaloPSA does not say it, that of the charges, which then all have the same
    left: tuple[str, ...] = ()

    @property
    def client_id(self) -> int | None:
        return self.match.client.id if self.match.client else None

    @property
    def where(self) -> str:
        return self.file.path if self.file else "a file in rules/clients/"

    def hold(self, charge: Charge, reason: str, detail: str, next_step: str) -> None:
        self.holds.append(_hold(charge, reason, detail, next_step))

    def hold_all(self, reason: str, detail: str, next_step: str) -> None:
        """Every charge that would have been billed or dropped waits instead; what is excluded stays excluded."""
        decided = {held.charge for held in self.holds} | {gone.charge for gone in self.excluded}
        for charge in self.charges:
            if charge.id not in decided:
                self.hold(charge, reason, detail, next_step)
        self.lines.clear()
        self.dropped.clear()


def plan_run(inputs: RunInputs) -> Plan:
    """Decide everything about one period [A1]: every charge posted, dropped, excluded or held, to the cent."""
    charges = sorted((charge for source in inputs.sources for charge in source.charges), key=lambda charge: charge.id)
    unassigned = [
        _excluded(charge, _exclusion(charge, inputs.rulebook.base))
        for charge in charges
        if charge.company_id is None and charge.id not in inputs.memory.settled
    ]
    works = _works(inputs, charges)
    asked = set(inputs.clients_asked)
    if asked:
        works = [work for work in works if work.company.id in asked]
        unassigned = []
        charges = [charge for charge in charges if charge.company_id in asked]

    catalogue = Catalogue.of(inputs.items)
    replaced = _replaced(inputs)
    missing = missing_companies(
        inputs.memory.last_companies,
        (charge.company_id for source in inputs.sources for charge in source.charges if charge.company_id),
        inputs.rulebook.base.limits.missing_company_percent_max,
    )
    for work in works:
        _judge(work, inputs, catalogue, replaced)
    _limit(works, inputs, missing)
    works.sort(key=lambda work: (work.company.name.casefold(), work.company.id))
    postings = _postings(works, inputs)
    accounts = _accounts(charges, works, unassigned, inputs)
    clients = tuple(
        _client_plan(work, inputs) for work in works if work.lines or work.dropped or work.excluded or work.holds
    )
    plan = Plan(
        digest="",
        partner=inputs.partner,
        period=str(inputs.period),
        rules_digest=inputs.rulebook.digest,
        sources=tuple(_source_summary(source) for source in inputs.sources),
        accounts=accounts,
        clients=clients,
        unassigned_excluded=tuple(unassigned),
        unassigned_holds=(),
        postings=postings,
        kept=_kept(works),
        warnings=_warnings(inputs, works, missing),
        clients_asked=inputs.clients_asked,
    )
    digest = _digest(plan)
    return replace(plan, digest=digest, clients=tuple(_named(client, digest) for client in plan.clients))


def _named(client: ClientPlan, digest: str) -> ClientPlan:
    """The client with its plan's digest in the commands that its holds say to type."""
    if not any("DIGEST" in hold.next_step for hold in client.holds):
        return client
    holds = (replace(hold, next_step=hold.next_step.replace("DIGEST", digest[:12])) for hold in client.holds)
    return replace(client, holds=tuple(holds))


# What was sent, yet is not safely there: (reason, detail) by the state that the ledger has for it [N2] [N5].
_IN_DOUBT = {
    "unresolved": ("write_unknown", "it was sent to HaloPSA, and whether it arrived is not known yet"),
    "differs": (
        "write_differs",
        "HaloPSA has something else than was sent: see billingsync runs, and correct it there",
    ),
}


def clients_billed(inputs: RunInputs, behavior: str = "") -> set[int]:
    """HaloPSA clients that have charges this month, or those whose rules say this behavior: more is read of them."""
    charges = (charge for source in inputs.sources for charge in source.charges)
    return {
        work.client_id
        for work in _works(inputs, charges)
        if work.client_id is not None and behavior in ("", work.rules.invoice.behavior)
    }


def _works(inputs: RunInputs, charges: Iterable[Charge]) -> list[_Work]:
    """The companies of the month with their open charges, each matched to a client and given its rules."""
    names = {company.id: company for company in inputs.companies}
    by_company: dict[str, list[Charge]] = defaultdict(list)
    for charge in charges:
        if charge.company_id is not None:
            by_company[charge.company_id].append(charge)
    # A company that has nothing any more, yet lines of ours on its recurring invoice, must have them removed [B3].
    companies = [
        names.get(id_) or Company(id=id_, name=mine[0].company_name, external_id=mine[0].external_id)
        for id_, mine in by_company.items()
    ]
    companies = [
        company if company.external_id else replace(company, external_id=by_company[company.id][0].external_id)
        for company in companies
    ]
    matches = match_companies(companies, inputs.clients, inputs.rulebook, inputs.memory.matches, inputs.similar)
    gone = _gone(inputs, names, by_company.keys())
    # Matched apart: who has left claims no client's name from who is there.
    matches |= match_companies(gone, inputs.clients, inputs.rulebook, inputs.memory.matches, inputs.similar)
    works = []
    for company in [*companies, *gone]:
        match = matches[company.id]
        file = inputs.rulebook.file_for(
            company_id=company.id, company_name=company.name, client_id=match.client.id if match.client else None
        )
        rules = file.rules if file else inputs.rulebook.base
        match = pays_through_other(match, recurring=rules.invoice.behavior == "recurring")
        open_charges = [charge for charge in by_company[company.id] if not _is_settled(charge, inputs)]
        works.append(
            _Work(
                company=company,
                match=match,
                file=file,
                rules=rules,
                charges=open_charges,
                all_charges=by_company[company.id],
                currency=match.client.currency if match.client else "",
            )
        )
    return works


def _gone(inputs: RunInputs, names: Mapping[str, Company], here: Collection[str]) -> list[Company]:
    """The companies without a charge that have lines of ours; those that Pax8 no longer lists by what we remember."""
    clients = {line.company_id: line.client_id for line in inputs.memory.written_lines}
    found = []
    for id_, client_id in sorted(clients.items()):
        if id_ not in here:
            remembered = inputs.memory.matches.get(id_)
            name = remembered.company_name if remembered else f"Pax8 company {id_}"
            found.append(names.get(id_) or Company(id=id_, name=name, external_id=str(client_id)))
    return found


def _is_settled(charge: Charge, inputs: RunInputs) -> bool:
    settled = inputs.memory.settled.get(charge.id)
    return settled is not None and settled.state not in _IN_DOUBT


def _judge(work: _Work, inputs: RunInputs, catalogue: Catalogue, replaced: frozenset[str]) -> None:
    """One company: exclude, match, modify, find items, find the target, in this order [A3] [C1] [M1] [P1] [B1]."""
    rest: list[Charge] = []
    for charge in work.charges:
        if settled := inputs.memory.settled.get(charge.id):
            reason, detail = _IN_DOUBT[settled.state]
            step = f"billingsync run {inputs.period}"
            if settled.state == "differs":
                step = f"make it right in HaloPSA, then {step}; or free its charges: billingsync undo RUN"
            work.hold(charge, reason, settled.detail or detail, step)
        elif rule := "company" if _company_excluded(work) else _exclusion(charge, work.rules):
            work.excluded.append(_excluded(charge, rule))
        else:
            rest.append(charge)
    if work.match.reason:
        for charge in rest:
            work.hold(charge, work.match.reason, work.match.detail, work.match.next_step)
        return
    client = work.match.client
    if client is None:
        return
    if other := client.pax8_monthly_invoice or client.pax8_annual_invoice:
        detail = f"HaloPSA's own Pax8 sync bills {client.name} already (invoice {other})"
        for charge in rest:
            work.hold(
                charge, "other_writer", detail, "turn off HaloPSA's Pax8 sync for this client, or exclude it here"
            )
        return
    if work.match.how == "similarity" and work.rules.clients.guessed == "hold":
        step = f"billingsync map companies --set {work.company.id}={client.id}"
        for charge in rest:
            work.hold(charge, "client_guessed", f"only similar to {client.name}, not confirmed", step)
        return
    drafts, verdicts = apply_modifiers(
        _usable(work, rest, replaced, inputs), work.rules.modifiers, lambda charge: group_of(charge, work.rules.invoice)
    )
    for verdict in verdicts:
        if verdict.modifier:
            charge = verdict.charge
            work.dropped.append(
                Dropped(
                    charge=charge.id,
                    modifier=verdict.modifier,
                    amount=charge.price,
                    cost=charge.cost,
                    product=charge.product,
                    currency=charge.currency,
                )
            )
        else:
            work.hold(verdict.charge, verdict.reason, verdict.detail, verdict.next_step)
    _draw(work, drafts, inputs, catalogue)


def _company_excluded(work: _Work) -> bool:
    listed = work.rules.exclude.companies
    return (
        work.match.excluded
        or (work.file is not None and work.file.exclude)
        or work.company.id in listed
        or work.company.name in listed
    )


def _exclusion(charge: Charge, rules: Rules) -> str:
    """The rule that leaves a charge out [A3], in the order of the rule; "" where none does."""
    exclude = rules.exclude
    if charge.company_id is not None and (
        charge.company_id in exclude.companies or charge.company_name in exclude.companies
    ):
        return "company"
    if (charge.sku and charge.sku in exclude.products) or (
        charge.product_name and charge.product_name in exclude.products
    ):
        return "product"
    if charge.type in exclude.types:
        return "charge_type"
    if charge.billed_by_pax8 and exclude.billed_by_pax8:
        return "billed_by_pax8"
    return "no_company" if charge.company_id is None else ""


def _usable(work: _Work, charges: Sequence[Charge], replaced: frozenset[str], inputs: RunInputs) -> list[Charge]:
    """The charges that modifiers may judge; the others wait: unreadable, of a replaced source, of another currency."""
    readable = []
    for charge in charges:
        if charge.invoice_id in replaced:
            work.hold(
                charge,
                "source_replaced",
                "Pax8 credited an invoice of this month that is already billed, and this one takes its place",
                f"billingsync explain {charge.id}",
            )
        elif charge.problem:
            work.hold(charge, "bad_amount", charge.problem, "correct the charge in Pax8, or exclude its product")
        else:
            readable.append(charge)
    if not work.currency and len({charge.currency for charge in readable}) == 1:
        work.currency = readable[0].currency
    usable = []
    for charge in readable:
        if charge.currency == work.currency:
            usable.append(charge)
        else:
            said = f"its HaloPSA client in {work.currency}"
            theirs = said if work.currency else "HaloPSA does not say its client's currency"
            work.hold(
                charge,
                "currency_mismatch",
                f"charged in {charge.currency}, {theirs}",
                "bill it by hand, or correct the currency in HaloPSA or Pax8",
            )
    return usable


def _replaced(inputs: RunInputs) -> frozenset[str]:
    """Invoices that may be re-issues of one that we billed and Pax8 then credited [R2]: not new money."""
    invoices = {source.invoice_id for source in inputs.sources}
    billed = {
        charge_id.partition(":")[0]
        for charge_id, settled in inputs.memory.settled.items()
        if settled.state not in ("dropped", "excluded")
    }
    return frozenset() if billed <= invoices else frozenset(invoices - billed)


def _draw(work: _Work, drafts: list[Draft], inputs: RunInputs, catalogue: Catalogue) -> None:
    """Drafts -> lines on a target, or holds."""
    assert work.client_id is not None
    work.target = find_target(work.client_id, work.rules.invoice, inputs.existing, work.where)
    # The order of lines on an invoice, and with it the ordinals of equal ones, must not hang on Pax8's page order.
    drafts.sort(key=lambda draft: (draft.label.casefold(), draft.start, draft.price, draft.charges[0].id))
    subscriptions: dict[str, set[str]] = defaultdict(set)
    for draft in drafts:
        subscriptions[draft.product_name].add(draft.subscription_id)
    lines: list[PlanLine] = []
    keys: list[str] = []
    for draft in drafts:
        resolved = resolve(draft, work.rules, catalogue, inputs.memory.items_by_sku)
        if resolved.reason:
            if resolved.reason == "product_unmatched" and work.rules.products.lifecycle == "manual":
                work.hold_all(resolved.reason, resolved.detail, resolved.next_step)
                return
            for charge in draft.charges:
                work.hold(charge, resolved.reason, resolved.detail, resolved.next_step)
            continue
        text = line_text(
            work.rules.lines.text,
            draft,
            company=work.company.name,
            period=str(inputs.period),
            several=len(subscriptions[draft.product_name]) > 1,
        )
        for part, line in enumerate(draft_lines(draft, resolved.items, text)):
            lines.append(replace(line, company_id=work.company.id))
            keys.append(recurring_key(draft) + (f"|part {part}" if part else ""))
        work.products.update(charge.sku or charge.product_name for charge in draft.charges)
    if work.target.reason:
        if lines:  # a client with nothing to bill needs no invoice to bill it on
            work.hold_all(work.target.reason, work.target.detail, work.target.next_step)
        return
    if _left_behind(work, inputs):
        return
    if work.target.action == "update":
        _onto_recurring(work, numbered(lines, keys), inputs)
    else:
        work.lines.extend(lines)


def _left_behind(work: _Work, inputs: RunInputs) -> bool:
    """Holds a company whose lines still stand on a recurring invoice that the rules no longer name for it."""
    written = [line for line in inputs.memory.written_lines if line.period <= str(inputs.period)]
    stay = left_behind(work.company.id, work.target.invoice, written, inputs.existing)
    if not stay:
        return False
    lines = "1 line" if len(stay) == 1 else f"{len(stay)} lines"
    where = abs(stay[0].invoice_id)
    detail = f"{lines} of {stay[0].period} still stand on recurring invoice {where}, which would bill them beside this"
    work.left = (detail,)
    work.hold_all("recurring_left_behind", detail, f"remove our lines from recurring invoice {where} in HaloPSA")
    return True


def _onto_recurring(work: _Work, lines: list[PlanLine], inputs: RunInputs) -> None:
    """Lines -> additions, updates and removals on the client's recurring invoice [B3]."""
    invoice = work.target.invoice
    assert invoice is not None
    written = [line for line in inputs.memory.written_lines if line.invoice_id == invoice.id]
    later = max((line.period for line in written), default="")
    if later > str(inputs.period):
        step = 'bill it by hand, or set behavior = "new" for this client and run the month again'
        work.hold_all("recurring_later_period", f"its recurring invoice already carries {later}", step)
        return
    by_id = {charge.id: charge for charge in work.charges}
    changes = recurring_changes(
        invoice,
        lines,
        written,
        period=str(inputs.period),
        company_id=work.company.id,
        waiting=frozenset(key for hold in work.holds for key in waiting_keys(by_id[hold.charge], work.rules.modifiers)),
        currency=work.currency,
    )
    touched = {
        charge: changes.held[line.recurring_key]
        for line in lines
        if line.recurring_key in changes.held
        for charge in line.charges
    }
    for charge_id, (reason, detail, step) in touched.items():
        work.hold(by_id[charge_id], reason, detail, step)
    # A charge is posted whole or not at all: where one part's line waits, the lines of its other parts wait too.
    work.lines.extend(line for line in changes.lines if not touched.keys() & set(line.charges))
    work.left = changes.left


def _limit(works: Sequence[_Work], inputs: RunInputs, missing: str) -> None:
    """Hold the clients whose bill is beyond a limit of their rules; a person may have let one through."""
    by_client: dict[tuple[int, str], list[_Work]] = defaultdict(list)
    for work in works:
        if work.client_id is not None:
            by_client[work.client_id, work.currency].append(work)
    for (client_id, _), members in by_client.items():
        if client_id in inputs.memory.approved or any(work.company.id in inputs.memory.approved for work in members):
            continue
        detail, reason = missing, "limit_missing_companies"
        for work in members:
            # Who has no charge any more is not billed for less than before: missing_company_percent_max counts these.
            if not detail and any(line.charges for line in work.lines):
                found = beyond(
                    _bill(client_id, members, inputs),
                    work.rules.limits,
                    client_known=client_id in inputs.memory.known_clients,
                    known_products=inputs.memory.known_products,
                )
                detail, reason = (found.detail, found.reason) if found else ("", "")
        if detail:
            for work in members:
                work.hold_all(
                    reason, detail, f'billingsync approve DIGEST --client "{work.company.name}" --reason TEXT'
                )


def _bill(client_id: int, members: Sequence[_Work], inputs: RunInputs) -> Bill:
    lines = [line for work in members for line in work.lines]
    currency = members[0].currency
    companies = {work.company.id for work in members}
    before = ZERO
    for source in inputs.sources:
        for charge in source.charges:
            if charge.company_id in companies and charge.id in inputs.memory.settled:
                settled = inputs.memory.settled[charge.id]
                before += settled.price if settled.state == "posted" and settled.currency == currency else ZERO
    created: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for work in members:
        if work.target.action == "create":
            for line in work.lines:
                created[line.group, work.currency] += line.amount
    return Bill(
        client_id=client_id,
        currency=currency,
        amount=sum((line.amount for line in lines), ZERO),
        cost=sum((line.cost for line in lines), ZERO),
        amount_before=before,
        last=inputs.memory.last_amounts.get((client_id, currency)),
        lines=[line for line in lines if line.action != "remove"],
        products=frozenset(product for work in members for product in work.products),
        new_invoices=tuple(created.values()),
    )


def _postings(works: Sequence[_Work], inputs: RunInputs) -> tuple[Posting, ...]:
    """One posting a client, target and group [B1], with its derived key [N1]. Companies of one client share them."""
    together: dict[tuple[int, str, int | None, str, str], list[tuple[_Work, PlanLine]]] = defaultdict(list)
    for work in works:
        invoice = work.target.invoice.id if work.target.invoice else None
        for line in work.lines:
            assert work.client_id is not None
            together[work.client_id, work.target.action, invoice, line.group, work.currency].append((work, line))
    postings = []
    for (client_id, action, invoice, group, currency), members in together.items():
        lines = tuple(line for _, line in members)
        work = members[0][0]
        assert work.match.client is not None
        charges = sorted({charge for line in lines for charge in line.charges})
        removed = sorted(f"-{line.line_id}" for line in lines if line.action == "remove")
        target = f"{action}:{'' if invoice is None else invoice}:{inputs.period}"
        base = _hash([inputs.partner, client_id, target, charges, removed])
        generation = inputs.memory.generations.get(base, 0)
        postings.append(
            Posting(
                key=base if generation == 0 else _hash([base, generation]),
                base_key=base,
                generation=generation,
                action=action,
                client_id=client_id,
                client_name=work.match.client.name,
                invoice_id=invoice,
                group=group,
                currency=currency,
                amount=sum((line.amount for line in lines), ZERO),
                cost=sum((line.cost for line in lines), ZERO),
                lines=lines,
            )
        )
    return tuple(postings)


def _accounts(
    charges: Sequence[Charge], works: Sequence[_Work], unassigned: Sequence[Excluded], inputs: RunInputs
) -> tuple[CurrencyAccount, ...]:
    """The equation [A2], proved charge by charge: each in exactly one state, and lines that sum to their charges."""
    state: dict[str, str] = {}

    def put(charge_id: str, name: str) -> None:
        assert charge_id not in state, f"charge {charge_id} is {state[charge_id]} and {name}"
        state[charge_id] = name

    for excluded in unassigned:
        put(excluded.charge, "excluded")
    for work in works:
        for item in work.excluded:
            put(item.charge, "excluded")
        for gone in work.dropped:
            put(gone.charge, "dropped")
        for held in work.holds:
            put(held.charge, "held")
        for charge_id in {charge for line in work.lines for charge in line.charges}:
            put(charge_id, "posted")
    sums: dict[str, dict[str, list[Decimal]]] = defaultdict(lambda: defaultdict(lambda: [ZERO, ZERO]))
    for charge in charges:
        settled = inputs.memory.settled.get(charge.id)
        name = "already_posted" if settled and settled.state == "posted" else settled.state if settled else ""
        name = state.get(charge.id, "") or name
        assert name, f"charge {charge.id} has no state"
        for key in ("charges", name, *(["posted"] if name == "already_posted" else [])):
            sums[charge.currency][key][0] += charge.price
            sums[charge.currency][key][1] += charge.cost
    accounts = []
    for currency in sorted(sums):
        price, cost = (_account(sums[currency], which, currency) for which in (0, 1))
        lines = [line for work in works if work.currency == currency for line in work.lines]
        for account, total in ((price, [line.amount for line in lines]), (cost, [line.cost for line in lines])):
            assert account.charges == account.posted + account.dropped + account.excluded + account.held, currency
            assert account.posted - account.already_posted == sum(total, ZERO), currency
        accounts.append(CurrencyAccount(currency=currency, price=price, cost=cost))
    return tuple(accounts)


def _account(sums: dict[str, list[Decimal]], which: int, currency: str) -> Account:
    zero = round_money(ZERO, currency)
    return Account(
        **{
            name: sums[name][which] + zero
            for name in ("charges", "posted", "dropped", "excluded", "held", "already_posted")
        }
    )


def _client_plan(work: _Work, inputs: RunInputs) -> ClientPlan:
    client = work.match.client
    held = work.holds[0].reason if work.holds and not (work.lines or work.dropped) else None
    last = inputs.memory.last_amounts.get((work.client_id, work.currency)) if work.client_id is not None else None
    if any(_is_settled(charge, inputs) for charge in work.all_charges):
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
        lines=tuple(work.lines),
        dropped=tuple(work.dropped),
        excluded=tuple(work.excluded),
        holds=tuple(work.holds),
        guessed=guessed,
        last_period=last[0] if last else "",
        last_amount=last[1] if last else None,
    )


def _excluded(charge: Charge, rule: str) -> Excluded:
    return Excluded(
        charge=charge.id,
        rule=rule,
        amount=charge.price,
        cost=charge.cost,
        product=charge.product,
        currency=charge.currency,
    )


def _hold(charge: Charge, reason: str, detail: str, next_step: str) -> Hold:
    return Hold(
        charge=charge.id,
        reason=reason,
        amount=charge.price,
        cost=charge.cost,
        product=charge.product,
        currency=charge.currency,
        detail=detail,
        next_step=next_step,
    )


def _source_summary(source: Source) -> SourceSummary:
    header = None
    if source.total is not None:
        header = source.total - (source.carried_balance or ZERO)
    return SourceSummary(
        invoice_id=source.invoice_id,
        status=source.status,
        charges=len(source.charges),
        price=sum((charge.price for charge in source.charges), ZERO),
        cost=sum((charge.cost for charge in source.charges), ZERO),
        sales_tax=sum((charge.sales_tax for charge in source.charges), ZERO),
        currency=source.currency,
        header_total=header,
        price_rounding=sum((charge.price_rounding for charge in source.charges), ZERO),
        cost_rounding=sum((charge.cost_rounding for charge in source.charges), ZERO),
    )


def _kept(works: Sequence[_Work]) -> tuple[Kept, ...]:
    """What modifiers kept from each client [M4]: credits it would have had, and cost that nobody is billed for."""
    kept = []
    for work in works:
        for currency in sorted({gone.currency for gone in work.dropped}):
            gone = [dropped for dropped in work.dropped if dropped.currency == currency]
            kept.append(
                Kept(
                    company_name=work.company.name,
                    currency=currency,
                    credits_withheld=-sum((dropped.amount for dropped in gone if dropped.amount < 0), ZERO),
                    price_dropped=sum((dropped.amount for dropped in gone), ZERO),
                    cost_absorbed=sum((dropped.cost for dropped in gone), ZERO),
                )
            )
    return tuple(kept)


def _warnings(inputs: RunInputs, works: Sequence[_Work], missing: str) -> tuple[str, ...]:
    """What people should know although nothing waits for it [S8]."""
    warnings = []
    for source in inputs.sources:
        summary = _source_summary(source)
        taxed = summary.cost + summary.sales_tax
        if summary.header_total is not None and summary.header_total not in (summary.cost, taxed):
            warnings.append(
                f"Pax8 invoice {source.invoice_id}: its charges cost {plain(summary.cost, source.currency)} "
                f"(with tax {plain(taxed, source.currency)}), its header says "
                f"{plain(summary.header_total, source.currency)} {source.currency}; "
                f"difference {plain(summary.header_total - taxed, source.currency)}"
            )
        for charge in source.charges:
            settled = inputs.memory.settled.get(charge.id)
            if settled and settled.state == "posted" and (settled.price, settled.cost) != (charge.price, charge.cost):
                warnings.append(
                    f"charge {charge.id} was billed at {settled.price} (cost {settled.cost}), and Pax8 now says "
                    f"{charge.price} (cost {charge.cost}) {charge.currency}"
                )
    if missing:
        warnings.append(missing)
    warnings.extend(_computed(inputs, works))
    for work in works:
        warnings.extend(f"{work.company.name}: {left}" for left in work.left)
        if why := _stays(work, inputs, missing):
            warnings.append(f"{work.company.name} is not billed now, but its recurring lines stay: {why}")
    return tuple(warnings)


def _computed(inputs: RunInputs, works: Sequence[_Work]) -> Iterator[str]:
    """Recurring invoices of billed clients on which HaloPSA counts licences by itself: its own Pax8 sync bills so."""
    names = {work.client_id: work.company.name for work in works if work.charges}
    for invoice in inputs.existing:
        counted = licence_lines(invoice.raw) if invoice.recurring and invoice.client_id in names else []
        if counted:
            lines = "1 line" if len(counted) == 1 else f"{len(counted)} lines"
            yield (
                f"{names[invoice.client_id]}: HaloPSA counts the licences of {lines} on recurring invoice "
                f"{abs(invoice.id)} itself ({counted[0]:.60}); if that is its own Pax8 sync, they are billed twice"
            )


def _stays(work: _Work, inputs: RunInputs, missing: str) -> str:
    """Why lines of a company that is not billed now stay on its recurring invoice, where nothing else says so."""
    month = str(inputs.period)
    written = any(line.company_id == work.company.id and line.period < month for line in inputs.memory.written_lines)
    if not written or work.lines or work.left or work.holds:
        return ""
    other = work.match.client and (work.match.client.pax8_monthly_invoice or work.match.client.pax8_annual_invoice)
    never = "a person said that it is never billed" if work.match.excluded and not work.match.client else ""
    own_sync = "HaloPSA's own Pax8 sync bills it" if other else ""
    left_out = "the rules leave out all that Pax8 charges for it" if work.excluded or work.dropped else ""
    return work.match.detail or never or own_sync or work.target.detail or missing or left_out


def _digest(plan: Plan) -> str:
    """What the plan would do, as one SHA-256: whoever approves a digest approves exactly this."""
    return hashlib.sha256(
        json.dumps(
            [
                plan.partner,
                plan.period,
                plan.rules_digest,
                plan.clients_asked,
                sorted([s.invoice_id, s.charges, str(s.price), str(s.cost)] for s in plan.sources),
                [
                    [p.key, p.action, p.client_id, p.invoice_id, [_line_facts(line) for line in p.lines]]
                    for p in plan.postings
                ],
                [
                    [
                        c.company_id,
                        c.client_id,
                        [d.charge for d in c.dropped],
                        [e.charge for e in c.excluded],
                        [[h.charge, h.reason] for h in c.holds],
                    ]
                    for c in plan.clients
                ],
                [e.charge for e in plan.unassigned_excluded],
            ],
            separators=(",", ":"),
        ).encode()
    ).hexdigest()


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


def _hash(parts: list[object]) -> str:
    """A posting's key: 20 hex digits, the same for the same content on every machine [N1]."""
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()[:20]
