"""Which HaloPSA client a Pax8 company is [C1], and whether it may be billed [C2]."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from billingsync.core.inputs import Client, Company, RememberedMatch
from billingsync.core.reasons import BILL, Reason
from billingsync.core.rules import Rulebook
from billingsync.core.steps import Fill, Slot, Step, instruction

_LEGAL_SUFFIXES = frozenset(
    (
        "ltd limited inc incorporated llc llp lp plc gmbh mbh ag kg kgaa ohg ug se ev eg co corp corporation bv nv "
        "vof sa sas sarl srl spa snc sl slu ab as asa aps oy oyj kk pty pvt pte sro doo kft zrt eood ltda"
    ).split()
)
_JOINED = str.maketrans("", "", ".'\u2019\u2018`\u00b4")  # O'Brien, S.A.: the parts belong together
_BETWEEN = re.compile(r"[\W_]+")


def normalise(name: str) -> str:
    """A name for comparing: case, punctuation, spaces and legal suffixes do not count [C1]."""
    # Before and after: NFKC takes an acute accent that stands for an apostrophe apart.
    plain = unicodedata.normalize("NFKC", name.translate(_JOINED)).casefold().translate(_JOINED)
    words = _BETWEEN.sub(" ", plain).split()
    kept = list(words)
    while len(kept) > 1 and kept[-1] in _LEGAL_SUFFIXES:
        kept.pop()
    return " ".join(kept)


def scripts(name: str) -> frozenset[str]:
    """The alphabets that a name is written in: a Cyrillic letter in a Latin name is a look-alike, not a likeness."""
    return frozenset(unicodedata.name(letter, "?").split()[0] for letter in name if letter.isalpha())


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What became of one company: its client, or why it waits, or that it is never billed (`excluded`)."""

    company: Company
    client: Client | None = None
    how: str | None = None  # rules | person | external_id | name | similarity
    percent: Decimal | None = None
    excluded: bool = False
    reason: Reason | None = None
    detail: str = ""
    fill: Fill = field(default_factory=dict)  # what the reason's steps need to know
    steps: tuple[Step, ...] = ()  # where this case ends otherwise than the reason's others


def match_companies(
    companies: Sequence[Company],
    clients: Sequence[Client],
    rulebook: Rulebook,
    remembered: Mapping[str, RememberedMatch],
    similar: Mapping[str, tuple[tuple[int, Decimal], ...]],
) -> dict[str, Match]:
    """Company id -> Match for all companies of a month.

    They are judged together because a client that two of them claim by likeness belongs to neither of them.
    """
    by_id = {client.id: client for client in clients}
    by_name: dict[str, list[Client]] = defaultdict(list)
    for client in clients:
        if name := normalise(client.name):
            by_name[name].append(client)

    found: dict[str, Match] = {}
    by_likeness: dict[str, list[tuple[Client, str, Decimal | None]]] = {}
    claims = _Claims(firm=defaultdict(set), any=defaultdict(set))
    for company in companies:
        billed = not _never_billed(company, rulebook)
        match = _named_by_people(company, by_id, rulebook, remembered)
        if match:
            found[company.id] = match
            if match.client and billed:
                claims.add(match.client, company, firmly=True)
            continue
        named: list[tuple[Client, str, Decimal | None]]
        named = [(client, "name", None) for client in by_name.get(normalise(company.name), ())]
        if not named:
            named = [
                (by_id[id_], "similarity", percent)
                for id_, percent in similar.get(company.id, ())
                if percent >= rulebook.base.clients.match_percent
                and id_ in by_id
                and scripts(by_id[id_].name) == scripts(company.name)
            ]
        by_likeness[company.id] = named
        for client, how, _ in named if billed else ():
            claims.add(client, company, firmly=how == "name")
    for company in companies:
        if company.id not in found:
            found[company.id] = _by_likeness(company, by_likeness[company.id], claims, remembered.get(company.id))
    return {id_: _may_be_billed(match) for id_, match in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claims:
    """Which companies could be a client: firmly (said by people, or of equal name), or in any way. A firm claim is
    not put in doubt by one that rests on likeness only."""

    firm: dict[int, set[str]]
    any: dict[int, set[str]]

    def add(self, client: Client, company: Company, *, firmly: bool) -> None:
        self.any[client.id].add(company.id)
        if firmly:
            self.firm[client.id].add(company.id)

    def disputed(self, client: Client, company: Company, how: str) -> bool:
        others = self.firm if how == "name" else self.any
        return bool(others[client.id] - {company.id})


def _never_billed(company: Company, rulebook: Rulebook) -> bool:
    """A company that the rules leave out claims no client."""
    file = rulebook.file_for(company_id=company.id, company_name=company.name, client_id=None)
    listed = (file.rules if file else rulebook.base).exclude.companies
    return (file is not None and file.exclude) or company.id in listed or company.name in listed


def _named_by_people(
    company: Company, by_id: Mapping[int, Client], rulebook: Rulebook, remembered: Mapping[str, RememberedMatch]
) -> Match | None:
    """The rules file, a mapping made by a person, or Pax8's `externalId`: what somebody said decides [C1]."""
    file = rulebook.file_for(company_id=company.id, company_name=company.name, client_id=None)
    if file and file.halo_client is not None:
        if file.halo_client in by_id:
            return Match(company=company, client=by_id[file.halo_client], how="rules")
        return Match(
            company=company,
            reason=Reason.CLIENT_UNMAPPED,
            detail=f"{file.path} names HaloPSA client {file.halo_client}, which HaloPSA does not list",
            steps=(instruction(BILL, f"correct halo_client in {file.path}"),),
        )
    memory = remembered.get(company.id)
    if memory and memory.how == "person":
        if memory.client_id is None:
            return Match(company=company, how="person", excluded=True)
        if memory.client_id in by_id:
            return Match(company=company, client=by_id[memory.client_id], how="person")
        return Match(
            company=company,
            reason=Reason.CLIENT_UNMAPPED,
            detail=f"it was mapped by hand to HaloPSA client {memory.client_id}, which HaloPSA no longer lists",
        )
    external = company.external_id.strip()
    if external.isascii() and external.isdigit() and len(external) < 12 and int(external) in by_id:
        return Match(company=company, client=by_id[int(external)], how="external_id")
    return None


def _by_likeness(
    company: Company,
    candidates: Sequence[tuple[Client, str, Decimal | None]],
    claims: _Claims,
    memory: RememberedMatch | None,
) -> Match:
    if memory and memory.how in ("name", "similarity") and normalise(memory.company_name) != normalise(company.name):
        return Match(
            company=company,
            reason=Reason.CLIENT_RENAMED,
            detail=f"Pax8 called it {memory.company_name!r} when it was matched by name; now it is {company.name!r}",
            fill=_client(memory.client_id),
        )
    if not candidates:
        return Match(
            company=company,
            reason=Reason.CLIENT_UNMAPPED,
            detail="no HaloPSA client has this name or one like it",
        )
    if len(candidates) > 1:
        names = ", ".join(f"{client.name} ({client.id})" for client, _, _ in candidates[:4])
        return Match(
            company=company,
            reason=Reason.CLIENT_AMBIGUOUS,
            detail=f"several HaloPSA clients could be meant: {names}",
        )
    client, how, percent = candidates[0]
    if claims.disputed(client, company, how):
        return Match(
            company=company,
            reason=Reason.CLIENT_AMBIGUOUS,
            detail=f"another company of this month could also be the HaloPSA client {client.name} ({client.id})",
            fill=_client(client.id),
        )
    if memory and memory.client_id not in (None, client.id):  # however it was matched: who pays changes
        return Match(
            company=company,
            reason=Reason.CLIENT_AMBIGUOUS,
            detail=f"it was matched to HaloPSA client {memory.client_id} before, and now {client.id} has its name",
            fill=_client(client.id),
        )
    return Match(company=company, client=client, how=how, percent=percent)


def _may_be_billed(match: Match) -> Match:
    """A client that HaloPSA says is not to be invoiced waits, however it was matched [C2]."""
    client = match.client
    if client is None:
        return match
    why = ""
    if client.inactive:
        why = "is inactive"
    elif client.dont_invoice:
        why = "is set not to be invoiced"
    elif client.merged_into is not None:
        why = f"was merged into client {client.merged_into}"
    if why:
        return Match(
            company=match.company,
            client=client,
            how=match.how,
            percent=match.percent,
            reason=Reason.CLIENT_INACTIVE,
            detail=f"the HaloPSA client {client.name} ({client.id}) {why}",
        )
    return match


def pays_through_other(match: Match, *, recurring: bool) -> Match:
    """The same match, held where another client is invoiced for this one; HaloPSA keeps one for recurring too."""
    client = match.client
    payer = client and (client.pays_recurring_through if recurring else client.pays_through)
    if client is None or match.reason or not payer:
        return match
    return Match(
        company=match.company,
        client=client,
        how=match.how,
        percent=match.percent,
        reason=Reason.CLIENT_PAYS_THROUGH_OTHER,
        detail=f"HaloPSA invoices client {payer} for {client.name} ({client.id})",
        fill=_client(payer),
    )


def _client(client_id: int | None) -> Fill:
    return {} if client_id is None else {Slot.HALO_CLIENT: str(client_id)}
