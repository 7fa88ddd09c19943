"""Which HaloPSA client a Pax8 company is [C1], and whether it may be billed [C2]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from billingsync.core.bill.names import normalise, same_digits, same_name, scripts
from billingsync.core.inputs import Client, Company
from billingsync.core.reasons import BILL, Reason
from billingsync.core.remembered import Billed, RememberedMatch
from billingsync.core.rules import Rulebook
from billingsync.core.steps import Fill, Slot, Step, instruction


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

    equal = {company.id: _equal(company, by_name.get(normalise(company.name), ())) for company in companies}
    by_external: dict[str, list[Company]] = defaultdict(list)
    for company in companies:
        by_external[company.external_id.strip()].append(company)
    found: dict[str, Match] = {}
    by_likeness: dict[str, list[tuple[Client, str, Decimal | None]]] = {}
    claims = _Claims(firm=defaultdict(set), any=defaultdict(set))
    for company in companies:
        billed = not _never_billed(company, rulebook)
        match = _named_by_people(company, by_id, rulebook, remembered)
        if match:
            if match.how == "external_id":
                match = _undoubted(match, equal[company.id], by_external[company.external_id.strip()])
            found[company.id] = match
            if match.client and billed and not match.reason:
                claims.add(match.client, company, firmly=True)
            continue
        named: list[tuple[Client, str, Decimal | None]]
        named = [(client, "name", None) for client in equal.get(company.id, ())]
        if not named:
            likely = [
                (by_id[id_], percent)
                for id_, percent in similar.get(company.id, ())
                if percent >= rulebook.base.clients.match_percent and id_ in by_id and _may_be(by_id[id_], company)
            ]
            active = _active([client for client, _ in likely])
            named = [(client, "similarity", percent) for client, percent in likely if client in active]
        by_likeness[company.id] = named
        for client, how, _ in named if billed else ():
            claims.add(client, company, firmly=how == "name")
    for company in companies:
        if company.id not in found:
            found[company.id] = _by_likeness(company, by_likeness[company.id], claims, remembered.get(company.id))
    return {id_: _may_be_billed(match) for id_, match in found.items()}


def _equal(company: Company, clients: Sequence[Client]) -> list[Client]:
    """The clients of a company's name; one of the very same letters wins over others, and an active one over those that
    are not [C1a]."""
    found = _active([client for client in clients if same_name(client.name, company.name)])
    letters = [client for client in found if client.name.strip() == company.name.strip()]
    return letters or found


def _active(clients: Sequence[Client]) -> list[Client]:
    active = [client for client in clients if not client.inactive and client.merged_into is None]
    return active or list(clients)


def _may_be(client: Client, company: Company) -> bool:
    """Whether a likeness may be one at all: in one alphabet, and with the same digits."""
    return scripts(client.name) == scripts(company.name) and same_digits(client.name, company.name)


def _undoubted(match: Match, equal: Sequence[Client], sharing: Sequence[Company]) -> Match:
    """An `externalId` may be left over from another PSA: it counts for nothing against a name that is equal, or where
    companies of unlike names share it; two records of one customer may [C1b]."""
    company, client = match.company, match.client
    assert client is not None
    other = next((each for each in equal if each.id != client.id), None)
    if other is not None and client not in equal:
        why = f"but its name is that of {other.name} ({other.id})"
    elif same_name(company.name, client.name):
        return match
    elif unlike := next((each for each in sharing if _is_another(each, company)), None):
        why = f"and so it is for {unlike.name} ({unlike.id})"
    else:
        return match
    return Match(
        company=company,
        reason=Reason.CLIENT_AMBIGUOUS,
        detail=f"Pax8's externalId says HaloPSA client {client.name} ({client.id}), {why}",
    )


def _is_another(one: Company, company: Company) -> bool:
    return one.id != company.id and not same_name(one.name, company.name)


def shared_external_id(match: Match, listed: Sequence[Company]) -> Match:
    """The same match, held where another company that Pax8 lists has its `externalId` and another name [C1b]. Whose
    bill it is comes before whether that client may be billed."""
    return _undoubted(match, (), listed) if match.how == "external_id" and match.client is not None else match


def renamed_in_rules(match: Match, called: str) -> Match:
    """The same match, held where a rule names the company as it was called before: a person confirms it once [C4]."""
    if not called or match.reason or match.excluded:
        return match
    return Match(
        company=match.company,
        client=match.client,
        how=match.how,
        percent=match.percent,
        reason=Reason.CLIENT_RENAMED,
        detail=f"the rules call it {called!r:.80}, and Pax8 now calls it {match.company.name!r:.80}",
        fill=_client(match.client.id if match.client else None),
    )


def who_pays_stays(match: Match, billed: Billed | None) -> Match:
    """Who pays changes only by a person: held where a company was billed to one client and would now be billed to
    another, unless somebody mapped it so or the rules say so [C1b]."""
    client = match.client
    if client is None or billed is None or billed.client_id == client.id or match.how in ("person", "rules"):
        return match
    company = match.company
    return Match(
        company=company,
        client=client,
        how=match.how,
        percent=match.percent,
        reason=Reason.CLIENT_CHANGED,
        detail=f"it was billed to {billed.client_name} ({billed.client_id}) in {billed.period}, "
        f"and would now be billed to {client.name} ({client.id})",
        fill=_client(client.id),
    )


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
    """The rules file, a mapping made by a person, or Pax8's `externalId`: what somebody said decides [C1]. A person who
    says "never" is heard before a file that says whom it pays through."""
    memory = remembered.get(company.id)
    if memory and memory.how == "person" and memory.client_id is None:
        return Match(company=company, how="person", excluded=True)
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
    if memory and memory.how == "person" and memory.client_id is not None:
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
    if memory and memory.how in ("name", "similarity") and not same_name(memory.company_name, company.name):
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
