"""One company of the month while its charges are being judged."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from billingsync.core.bill.clients import (
    Match,
    match_companies,
    pays_through_other,
    renamed_in_rules,
    shared_external_id,
    who_pays_stays,
)
from billingsync.core.bill.decided import DecidedDraft
from billingsync.core.bill.plan import Dropped, Excluded, Hold, PlanLine, Stays
from billingsync.core.bill.targets import Target
from billingsync.core.bill.templates import MadeInvoices
from billingsync.core.charge import Charge
from billingsync.core.inputs import Company, RunInputs
from billingsync.core.invoice import Invoice
from billingsync.core.reasons import HOLDS, MAP_COMPANY, MAP_IN_FILE, Exclusion, Reason
from billingsync.core.remembered import WrittenLine
from billingsync.core.rules import ClientFile, Rules
from billingsync.core.states import ChargeState
from billingsync.core.steps import NOTHING, Fill, Slot, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One line that comes off a template, which need not be the one that the company is billed on."""

    template: Invoice
    line: PlanLine


@dataclass(slots=True, kw_only=True)
class Work:
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
    one_currency: bool = True  # False: companies of one client are charged in several, and nothing says which is its
    renamed: str = ""  # what the rules call it, where Pax8 calls it otherwise since [C4]
    left: tuple[Stays, ...] = ()
    limits: Mapping[Reason, tuple[str, ...]] = field(default_factory=dict)  # those that it is over, with the numbers
    drafts: list[DecidedDraft] = field(default_factory=list)  # its lines to be, with what decided them
    would_bill: Decimal | None = None  # what its client would be billed this period, where a limit holds it
    made: MadeInvoices = field(default_factory=lambda: MadeInvoices((), ()))  # what HaloPSA has billed from templates
    written: tuple[WrittenLine, ...] = ()  # its lines on templates, none of a later month
    removals: tuple[Removal, ...] = ()
    period: str = ""
    called_products: Mapping[str, str] = field(default_factory=dict)  # product id -> what the rules call it [C4]
    called: str = ""  # how commands name the company, and who pays: by name where only one has it, else by id
    payer: str = ""
    _made: dict[object, tuple[Step, ...]] = field(default_factory=dict)

    @property
    def is_excluded(self) -> bool:
        """Whether people said that the company is never billed."""
        listed = self.rules.exclude.companies
        return (
            self.match.excluded
            or (self.file is not None and self.file.exclude)
            or self.company.id in listed
            or self.company.name in listed
        )

    @property
    def client_id(self) -> int | None:
        return self.match.client.id if self.match.client else None

    @property
    def payer_id(self) -> str:
        """The client's id, or without a client the company's."""
        return self.company.id if self.client_id is None else str(self.client_id)

    @property
    def where(self) -> str:
        return self.file.path if self.file else "a file in rules/clients/"

    def hold(
        self, charge: Charge, reason: Reason, detail: str, fill: Fill = NOTHING, steps: tuple[Step, ...] = ()
    ) -> None:
        """One charge waits. `fill` is what the reason's steps need to know beside the company's own names; `steps`
        are others, where this case ends otherwise."""
        listed = self.rules.exclude.products
        known = {**products_with(charge, [self.called_products.get(one, one) for one in listed]), **fill}
        if sku := fill.get(Slot.SKU):  # all that waits for one product waits for the same thing
            known[Slot.PRODUCTS] = as_list([*(self.called_products.get(one, one) for one in listed), str(sku)])
        self.holds.append(held_by(charge, reason, detail, self.steps(reason, known, steps)))

    def hold_all(self, reason: Reason, detail: str, fill: Fill = NOTHING, steps: tuple[Step, ...] = ()) -> None:
        """Every charge that would have been billed or dropped waits instead; what is excluded stays excluded."""
        decided = {held.charge for held in self.holds} | {gone.charge for gone in self.excluded}
        for charge in self.charges:
            if charge.id not in decided:
                self.hold(charge, reason, detail, fill, steps)
        self.lines.clear()
        self.dropped.clear()

    def steps(self, reason: Reason, fill: Fill, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """The steps with this company's names in them; made once for all charges that wait for the same thing."""
        same = (reason, tuple(fill.items()), steps)
        if (known := self._made.get(same)) is None:
            names = {
                Slot.COMPANY: self.called,
                Slot.CLIENT: self.payer,
                Slot.FILE: self.where,
                Slot.PERIOD: self.period,
            }
            decided = [self._as_decided(reason, step) for step in steps or HOLDS[reason].steps]
            known = tuple(step.filled({**names, **fill}) for step in decided)
            self._made[same] = known
        return known

    def _as_decided(self, reason: Reason, step: Step) -> Step:
        """The step where the client's own file says who pays: a mapping to a client changes nothing then, but that it
        confirms a new name."""
        if self.file is None or self.file.halo_client is None:
            return step
        return MAP_IN_FILE if step == MAP_COMPANY and reason is not Reason.CLIENT_RENAMED else step


def products_with(charge: Charge, listed: Iterable[str]) -> Fill:
    """exclude.products as a rules file says it, with what is charged here too; nothing where Pax8 says neither SKU nor
    name."""
    name = charge.sku or charge.product_name
    return {Slot.PRODUCTS: as_list([*listed, name])} if name else NOTHING


def as_list(values: Iterable[str]) -> str:
    """A list as a rules file has it, each value once."""
    return f"[{', '.join(json.dumps(value, ensure_ascii=False) for value in dict.fromkeys(values))}]"


# What was sent, yet is not safely there: (reason, detail) by the state that the ledger has for it [N2] [N5].
IN_DOUBT = {
    ChargeState.UNRESOLVED: (Reason.WRITE_UNKNOWN, "it was sent to HaloPSA, and whether it arrived is not known yet"),
    ChargeState.DIFFERS: (
        Reason.WRITE_DIFFERS,
        "HaloPSA has something else than was sent",
    ),
}


def clients_billed(inputs: RunInputs, behavior: str = "") -> set[int]:
    """HaloPSA clients that have charges this month, or those whose rules say this behavior: more is read of them."""
    charges = (charge for source in inputs.sources for charge in source.charges)
    return {
        work.client_id
        for work in works_of(inputs, charges)
        if work.client_id is not None and behavior in ("", work.rules.invoice.behavior)
    }


def works_of(inputs: RunInputs, charges: Iterable[Charge]) -> list[Work]:
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
    sharing: dict[str, list[Company]] = defaultdict(list)
    for company in inputs.companies:
        if company.status == "Active" and company.external_id:
            sharing[company.external_id.strip()].append(company)
    called_products = {id_: text for text, id_ in inputs.memory.rule_products.items()}
    called_in_rules = {id_: text for text, id_ in inputs.memory.rule_names.items()}
    made = MadeInvoices(inputs.made, inputs.existing)
    written: dict[str, list[WrittenLine]] = defaultdict(list)
    for line in inputs.memory.written_lines:
        if line.period <= str(inputs.period):
            written[line.company_id].append(line)
    works = []
    named = Counter(
        company.name.casefold() for company in {one.id: one for one in [*inputs.companies, *companies, *gone]}.values()
    )
    for company in [*companies, *gone]:
        match = shared_external_id(matches[company.id], sharing.get(company.external_id.strip(), ()))
        match = who_pays_stays(match, inputs.memory.billed.get(company.id))
        renamed = "" if _confirmed(match, inputs) else _renamed(company, called_in_rules)
        match = renamed_in_rules(match, renamed)
        file = inputs.rulebook.file_for(
            company_id=company.id, company_name=company.name, client_id=match.client.id if match.client else None
        )
        rules = file.rules if file else inputs.rulebook.base
        match = pays_through_other(match, recurring=rules.invoice.behavior == "recurring")
        mine, settled = by_company[company.id], inputs.memory.settled
        open_charges = [charge for charge in mine if not settled or not is_settled(charge, inputs)]
        works.append(
            Work(
                company=company,
                match=match,
                file=file,
                rules=rules,
                made=made,
                written=tuple(written.get(company.id, ())),
                charges=open_charges,
                all_charges=by_company[company.id],
                currency=_currency_of(match, inputs),
                period=str(inputs.period),
                called_products=called_products,
                renamed=renamed,
                called=_called(company.name, company.id, named),
            )
        )
    _without_two_currencies(works)
    payers = names_of_payers(inputs, works)
    for work in works:
        work.payer = payers.called((work.match.client or work.company).name, work.payer_id)
    return works


def _currency_of(match: Match, inputs: RunInputs) -> str:
    """The client's currency: as HaloPSA says, as the setting says, or what it was billed in last; "" for unknown [C3].
    Two currencies in one month say nothing."""
    if match.client is None or match.client.currency or inputs.currency:
        return (match.client.currency or inputs.currency) if match.client else ""
    last = {currency: at for (id_, currency), (at, _) in inputs.memory.last_amounts.items() if id_ == match.client.id}
    newest = [currency for currency, at in last.items() if at == max(last.values())]
    return newest[0] if len(newest) == 1 else ""


def _without_two_currencies(works: Iterable[Work]) -> None:
    """Where nothing says a client's currency, one among all its charges will do, but not two of two companies [C3]."""
    by_client: dict[int, list[Work]] = defaultdict(list)
    for work in works:
        if work.client_id is not None and not work.currency:
            by_client[work.client_id].append(work)
    for members in by_client.values():
        found = {charge.currency for work in members for charge in work.charges if not charge.problem}
        for work in members if len(members) > 1 else ():
            work.one_currency = len(found) == 1


def _confirmed(match: Match, inputs: RunInputs) -> bool:
    """Whether a person said who the company is, and where a file decides all the same, under the name of now [C4]."""
    remembered = inputs.memory.matches.get(match.company.id)
    under_this_name = remembered and remembered.how == "person" and remembered.company_name == match.company.name
    return match.how == "person" or bool(under_this_name)


def _renamed(company: Company, called_in_rules: Mapping[str, str]) -> str:
    """What a rule calls a company that has another name now; "" where none does."""
    text = called_in_rules.get(company.id, "")
    return text if text != company.name else ""


def _called(name: str, id_: str, all_names: Mapping[str, int]) -> str:
    """How a command names it: by name where only one has it, else by id."""
    return name if name.strip() and all_names[name.casefold()] == 1 else id_


class PayerNames:
    """Who has which name in a command, case aside: a client has its own, those of its Pax8 companies, and those that it
    was billed under [V2]."""

    def __init__(self) -> None:
        self._payers: dict[str, str] = {}  # by name: the id of who alone has it, "" where several do

    def add(self, name: str, payer: str) -> None:
        if self._payers.setdefault(name.casefold(), payer) != payer:
            self._payers[name.casefold()] = ""

    def called(self, name: str, payer: str) -> str:
        """How a command names it: by name where nobody else has it, else by id."""
        return name if name.strip() and self._payers.get(name.casefold(), payer) == payer else payer


def names_of_payers(inputs: RunInputs, works: Iterable[Work]) -> PayerNames:
    """The names of all clients and companies; a company without a work belongs to whom it was matched to last."""
    names, owners, remembered = PayerNames(), {work.company.id: work for work in works}, inputs.memory.matches
    for client in inputs.clients:
        names.add(client.name, str(client.id))
    for posting in inputs.memory.live:
        names.add(posting.client_name, str(posting.client_id))
    for work in owners.values():
        names.add(work.company.name, work.payer_id)
    for company in inputs.companies:
        if company.id not in owners:
            last = remembered.get(company.id)
            client_id = last.client_id if last is not None else None
            names.add(company.name, company.id if client_id is None else str(client_id))
    return names


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


def is_settled(charge: Charge, inputs: RunInputs) -> bool:
    settled = inputs.memory.settled.get(charge.id)
    return settled is not None and settled.state not in IN_DOUBT


def held_by(charge: Charge, reason: Reason, detail: str, steps: tuple[Step, ...]) -> Hold:
    return Hold(
        charge=charge.id,
        reason=reason,
        amount=charge.price,
        cost=charge.cost,
        product=charge.product,
        currency=charge.currency,
        detail=detail,
        steps=steps,
    )


def excluded_by(charge: Charge, rule: Exclusion) -> Excluded:
    return Excluded(
        charge=charge.id,
        rule=rule,
        amount=charge.price,
        cost=charge.cost,
        product=charge.product,
        currency=charge.currency,
    )
