"""One company of the month while its charges are being judged."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from billingsync.core.bill.clients import Match, match_companies, pays_through_other
from billingsync.core.bill.plan import Dropped, Excluded, Hold, PlanLine
from billingsync.core.bill.targets import Target
from billingsync.core.charge import Charge
from billingsync.core.inputs import Company, RunInputs
from billingsync.core.rules import ClientFile, Rules


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
    left: tuple[str, ...] = ()

    @property
    def client_id(self) -> int | None:
        return self.match.client.id if self.match.client else None

    @property
    def where(self) -> str:
        return self.file.path if self.file else "a file in rules/clients/"

    def hold(self, charge: Charge, reason: str, detail: str, next_step: str) -> None:
        self.holds.append(held_by(charge, reason, detail, next_step))

    def hold_all(self, reason: str, detail: str, next_step: str) -> None:
        """Every charge that would have been billed or dropped waits instead; what is excluded stays excluded."""
        decided = {held.charge for held in self.holds} | {gone.charge for gone in self.excluded}
        for charge in self.charges:
            if charge.id not in decided:
                self.hold(charge, reason, detail, next_step)
        self.lines.clear()
        self.dropped.clear()


_HARMLESS = re.compile(r"[^\"$`\\!\x00-\x1f\x7f]*")


def typed(name: str) -> str:
    """A name as a shell takes it for one word and for nothing else: what a hold says to type is pasted."""
    return f'"{name}"' if _HARMLESS.fullmatch(name) else shlex.quote(name)


# What was sent, yet is not safely there: (reason, detail) by the state that the ledger has for it [N2] [N5].
IN_DOUBT = {
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
    works = []
    for company in [*companies, *gone]:
        match = matches[company.id]
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


def is_settled(charge: Charge, inputs: RunInputs) -> bool:
    settled = inputs.memory.settled.get(charge.id)
    return settled is not None and settled.state not in IN_DOUBT


def held_by(charge: Charge, reason: str, detail: str, next_step: str) -> Hold:
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


def excluded_by(charge: Charge, rule: str) -> Excluded:
    return Excluded(
        charge=charge.id,
        rule=rule,
        amount=charge.price,
        cost=charge.cost,
        product=charge.product,
        currency=charge.currency,
    )
