"""Imported rows -> a vendor's counts beside Pax8's [IM2] [IM7], and which client and items they are [IM10]."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from rapidfuzz import fuzz, process

from billingsync.core.bill.clients import Match, match_companies
from billingsync.core.bill.products import Catalogue
from billingsync.core.inputs import Client, Company, Item
from billingsync.core.period import Period
from billingsync.core.reconcile.snapshot import Snapshot, VendorCount
from billingsync.core.remembered import RememberedMatch
from billingsync.core.rules import Rulebook
from billingsync.core.tables.profile import SameService
from billingsync.core.tables.rows import RowState, exact_sum
from billingsync.errors import UsageError
from billingsync.run.plan import similar
from billingsync.store.imports import ImportedFile, ImportedRow, ImportMatch, MatchKind
from billingsync.store.ledger import Ledger

_NOT_OURS = "none of ours"
SUGGEST_FROM = 60  # percent: below it two names have little in common


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """One account or service of a vendor's files, and what it is in HaloPSA. `how` is "" where nothing is known, and
    "guessed ..." until a person confirms it: a guess does not count."""

    name: str
    rows: int
    targets: tuple[int, ...] = ()
    target_names: tuple[str, ...] = ()
    how: str = ""
    suggestions: str = ""
    who: str = ""
    at: str = ""

    @property
    def is_guess(self) -> bool:
        return self.how.startswith("guessed")

    @property
    def is_open(self) -> bool:
        return not self.how or self.is_guess or self.how.startswith("client_")

    def as_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "rows": self.rows,
            "halo_ids": list(self.targets),
            "halo_names": list(self.target_names),
            "how": self.how,
            "suggestions": self.suggestions,
            "who": self.who,
            "at": self.at,
        }


def current_imports(ledger: Ledger, period: Period) -> tuple[ImportedFile, ...]:
    """The imports that count for a period."""
    return tuple(one for one in ledger.imports(period=period) if one.is_current)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What stands beside a snapshot: vendors' counts, and how many rows of their files were left out as bad."""

    counts: tuple[VendorCount, ...]
    rows_left_out: int


def counts_beside(ledger: Ledger, snapshot: Snapshot, rulebook: Rulebook, period: Period | None) -> Beside:
    """The counts that stand beside a snapshot: of the period that is compared; for "now" (None) of each profile the
    newest files of this month or the last, as usage comes in arrears [IM2]."""
    files = current_imports(ledger, period) if period is not None else _newest(ledger, Period.of(snapshot.day))
    return Beside(
        counts=vendor_counts(ledger, files, snapshot.clients, snapshot.items, rulebook),
        rows_left_out=sum(one.rows.get(RowState.BAD, 0) for one in files),
    )


def _newest(ledger: Ledger, month: Period) -> tuple[ImportedFile, ...]:
    """Each profile's files of this month, else those of the last."""
    newest = current_imports(ledger, month)
    there = {one.profile for one in newest}
    return (*newest, *(one for one in current_imports(ledger, month.previous) if one.profile not in there))


def vendor_counts(
    ledger: Ledger,
    files: Sequence[ImportedFile],
    clients: Sequence[Client],
    items: Sequence[Item],
    rulebook: Rulebook,
) -> tuple[VendorCount, ...]:
    """What imported files count, each with its client and items where those are known."""
    found: list[VendorCount] = []
    for profile in sorted({one.profile for one in files}):
        mine = [one for one in files if one.profile == profile]
        counts = [count for one in mine for count in _summed(ledger, one)]
        accounts = match_accounts(ledger, profile, {count.account for count in counts}, clients, rulebook)
        services = match_services(ledger, profile, {count.service for count in counts}, items)
        for count in counts:
            account, service = accounts[count.account], services[count.service]
            if _NOT_OURS in (account.how, service.how):
                continue
            client_id = account.targets[0] if account.targets and not account.is_open else None
            item_ids = service.targets if not service.is_open else ()
            found.append(replace(count, client_id=client_id, items=item_ids))
    return tuple(found)


def _summed(ledger: Ledger, file: ImportedFile) -> list[VendorCount]:
    """One file's counted rows as its profile says: equal account and service summed, or each for itself."""
    rows = ledger.import_rows([file.id], states=[RowState.COUNTED])
    if file.same_service == SameService.SEPARATE:
        return [_count(row) for row in rows]
    sums: dict[tuple[str, ...], VendorCount] = {}
    for row in rows:
        key = (row.vendor, row.account, row.service, row.sku, row.currency)
        before = sums.get(key)
        sums[key] = _count(row) if before is None else _added(before, row)
    return list(sums.values())


def _count(row: ImportedRow) -> VendorCount:
    assert row.quantity is not None
    return VendorCount(
        vendor=row.vendor,
        account=row.account,
        service=row.service,
        quantity=row.quantity,
        sku=row.sku,
        unit_price=row.unit_price,
        unit_cost=row.unit_cost,
        currency=row.currency,
    )


def _added(before: VendorCount, row: ImportedRow) -> VendorCount:
    """A price that differs between rows is the price of none of them: then it is not known."""
    assert row.quantity is not None
    return replace(
        before,
        quantity=exact_sum(before.quantity, row.quantity),
        unit_price=before.unit_price if before.unit_price == row.unit_price else None,
        unit_cost=before.unit_cost if before.unit_cost == row.unit_cost else None,
    )


def match_accounts(
    ledger: Ledger, profile: str, names: Iterable[str], clients: Sequence[Client], rulebook: Rulebook
) -> dict[str, Named]:
    """A vendor's accounts by name: a person's word first, then equal names, then likeness as a guess [C1]."""
    said = ledger.import_matches(profile, MatchKind.ACCOUNT)
    companies = [Company(id=name, name=name) for name in sorted(set(names))]
    remembered = {
        name: RememberedMatch(
            client_id=match.targets[0] if match.targets else None, how="person", company_name=name, confirmed=True
        )
        for name, match in said.items()
    }
    near = similar(companies, clients, rulebook, Decimal(SUGGEST_FROM))
    matches = match_companies(companies, clients, rulebook, remembered, similar(companies, clients, rulebook))
    by_id = {client.id: client.name for client in clients}
    return {
        company.id: _account(matches[company.id], said.get(company.id), near.get(company.id, ()), by_id)
        for company in companies
    }


def _account(
    match: Match, said: ImportMatch | None, near: Sequence[tuple[int, Decimal]], names: Mapping[int, str]
) -> Named:
    how = _NOT_OURS if match.excluded else match.reason or match.how or ""
    how = "" if how == "client_unmapped" else how
    if match.how == "similarity" and not match.reason:
        how = f"guessed ({match.percent:.0f} % similar)"
    return Named(
        name=match.company.name,
        rows=0,
        targets=(match.client.id,) if match.client else (),
        target_names=(match.client.name,) if match.client else (),
        how=how,
        suggestions="" if match.client else ", ".join(f"{names[id_]} ({id_}) {part:.0f} %" for id_, part in near[:3]),
        who=said.who if said else "",
        at=said.at.isoformat(timespec="seconds") if said else "",
    )


def match_services(ledger: Ledger, profile: str, names: Iterable[str], items: Sequence[Item]) -> dict[str, Named]:
    """A vendor's services by name: a person's word, else the one item of the same name."""
    said = ledger.import_matches(profile, MatchKind.SERVICE)
    catalogue = Catalogue.of(items)
    by_id = {item.id: item.name for item in items if not item.inactive}
    folded = {id_: name.casefold() for id_, name in by_id.items()}
    return {name: _service(name, said.get(name), catalogue, by_id, folded) for name in sorted(set(names))}


def _service(
    name: str, said: ImportMatch | None, catalogue: Catalogue, by_id: Mapping[int, str], folded: Mapping[int, str]
) -> Named:
    if said is not None:
        return Named(
            name=name,
            rows=0,
            targets=said.targets,
            target_names=tuple(by_id.get(id_, "not in HaloPSA") for id_ in said.targets),
            how="person" if said.targets else _NOT_OURS,
            who=said.who,
            at=said.at.isoformat(timespec="seconds"),
        )
    equal = catalogue.by_name.get(" ".join(name.casefold().split()), ())
    if len(equal) == 1:
        return Named(name=name, rows=0, targets=(equal[0].id,), target_names=(equal[0].name,), how="name")
    if equal:
        several = ", ".join(f"{item.name} ({item.id})" for item in equal[:3])
        return Named(name=name, rows=0, suggestions=f"several items have this name: {several}")
    near = process.extract(name.casefold(), folded, scorer=fuzz.ratio, limit=3, score_cutoff=SUGGEST_FROM)
    return Named(
        name=name, rows=0, suggestions=", ".join(f"{by_id[id_]} ({id_}) {score:.0f} %" for _, score, id_ in near)
    )


def names_in_files(ledger: Ledger, profile: str, kind: MatchKind) -> dict[str, int]:
    """The accounts or services of a profile's current imports, with how many rows name each."""
    numbers = [one.id for one in ledger.imports(profile=profile) if one.is_current]
    found: dict[str, int] = {}
    for row in ledger.import_rows(numbers, states=[RowState.COUNTED]) if numbers else ():
        name = row.account if kind is MatchKind.ACCOUNT else row.service
        found[name] = found.get(name, 0) + 1
    return found


def listed(
    ledger: Ledger,
    profile: str,
    kind: MatchKind,
    clients: Sequence[Client],
    items: Sequence[Item],
    rulebook: Rulebook,
) -> list[Named]:
    """What `map accounts` or `map services` shows: what is open first."""
    rows = names_in_files(ledger, profile, kind)
    if kind is MatchKind.ACCOUNT:
        found = match_accounts(ledger, profile, rows, clients, rulebook)
    else:
        found = match_services(ledger, profile, rows, items)
    named = [replace(one, rows=rows[one.name]) for one in found.values()]
    return sorted(named, key=lambda one: (not one.is_open, one.is_guess, one.name.casefold()))


def set_match(
    ledger: Ledger, profile: str, kind: MatchKind, name: str, targets: Sequence[int], *, who: str, now: datetime
) -> None:
    """A person says what an account (one client) or a service (items) is; no targets: none of ours."""
    if kind is MatchKind.ACCOUNT and len(targets) > 1:
        raise UsageError(f"An account is one client; {name!r:.60} was given {len(targets)}.")
    ledger.set_import_match(ImportMatch(profile=profile, kind=kind, name=name, targets=tuple(targets), who=who, at=now))
