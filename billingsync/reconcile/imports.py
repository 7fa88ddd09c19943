"""Importing a vendor's file: checked whole, taken whole or not at all, once [IM6]-[IM10]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from billingsync.core.period import Period
from billingsync.core.tables.cells import inert_cell
from billingsync.core.tables.profile import Profile, TableKind
from billingsync.errors import ImportRefused, UsageError
from billingsync.sources.csvfile.checking import Check, check_usage, problem_document, usage_rows
from billingsync.sources.csvfile.kept import KeptFile, Unreadable, keep_file
from billingsync.store.imports import ImportedFile, ImportState, NewImport
from billingsync.store.ledger import Ledger

IMPORTS_STEP = ("billingsync", "imports")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """`append` adds accounts to what is there instead of replacing it; `skip_bad` leaves bad rows out; `unchanged` says
    that a file which equals another month's is right."""

    append: bool = False
    skip_bad: bool = False
    unchanged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of a file. `state`: imported | replaced | appended | unchanged. `bad` are the rows that were left
    out; `replaced` the imports that it took the place of; `by` and `at` say who took it, and when."""

    id: int
    profile: str
    vendor: str
    period: Period
    file_name: str
    sha256: str
    state: str
    rows: Mapping[str, int]
    bad: Sequence[Mapping[str, object]]
    accounts: int
    services: int
    replaced: Sequence[int]
    by: str
    at: datetime

    @property
    def is_incomplete(self) -> bool:
        return bool(self.rows.get("bad"))

    def as_dict(self) -> dict[str, object]:
        return {
            "import": self.id,
            "profile": self.profile,
            "vendor": self.vendor,
            "period": str(self.period),
            "file": inert_cell(self.file_name),
            "sha256": self.sha256,
            "state": self.state,
            "rows": dict(self.rows),
            "errors": list(self.bad),
            "accounts": self.accounts,
            "services": self.services,
            "replaced": list(self.replaced),
            "by": self.by,
            "at": self.at.isoformat(timespec="seconds"),
        }


def take_file(path: Path) -> KeptFile:
    """The file as it is now. Raises ImportRefused where there is none that can be read."""
    try:
        return keep_file(path)
    except Unreadable as wrong:
        message = f"{inert_cell(path.name)} was not taken: {wrong.problem}."
        raise ImportRefused(message, [problem_document(wrong.problem)]) from None


def check_file(file: KeptFile, profile: Profile, period: Period, *, skip_bad: bool = False) -> Check:
    """The whole file checked. Raises ImportRefused with every mistake, unless only rows are bad and those may be
    skipped."""
    if profile.kind is not TableKind.USAGE:
        raise UsageError(
            f"The profile {profile.name} reads a distributor's invoice: plan from it, it is not imported.",
            next_steps=[["billingsync", "plan", str(period), "--source", file.name]],
        )
    check = check_usage(file, profile, period)
    if check.refused or (check.mistakes and not skip_bad):
        raise check.error()
    return check


def import_usage(ledger: Ledger, check: Check, options: ImportOptions, *, who: str, now: datetime) -> Imported:
    """Takes a checked file. The same one again changes nothing. Raises ImportRefused for a file that another month has
    already, and for accounts that --append would add twice."""
    file, profile, period = check.file, check.profile, check.period
    if not options.unchanged:
        _refuse_another_months(ledger.imports(profile=profile.name), check)
    new = NewImport(
        profile=profile.name,
        profile_digest=profile.digest,
        vendor=profile.vendor,
        period=period,
        file_name=file.name,
        sha256=file.sha256,
        size=file.size,
        packed=file.packed,
        rows=check.as_rows(),
        accounts=frozenset(check.accounts),
        same_service=profile.same_service.value,
        skip_bad=options.skip_bad,
        who=who,
    )
    added = ledger.add_import(new, usage_rows(check), now, append=options.append)
    kept = find_import(ledger, added.id)
    state = "appended" if options.append else "replaced" if added.replaced else "imported"
    return Imported(
        id=kept.id,
        profile=kept.profile,
        vendor=kept.vendor,
        period=period,
        file_name=file.name,
        sha256=kept.sha256,
        state=state if added.is_new else "unchanged",
        rows=kept.rows,
        bad=[problem_document(problem) for problem in check.problems],
        accounts=len(check.accounts),
        services=len(check.services),
        replaced=added.replaced,
        by=kept.who,
        at=kept.at,
    )


def _refuse_another_months(imports: Sequence[ImportedFile], check: Check) -> None:
    """Last month's file, chosen once more, would pass for this month's [IM8]."""
    others = [
        one for one in imports if one.is_current and one.sha256 == check.file.sha256 and one.period != str(check.period)
    ]
    if others:
        other = others[-1]
        raise ImportRefused(
            f"{inert_cell(check.file.name)} was not taken: this very file was imported for {other.period} (import "
            f"{other.id}). If nothing changed since and {check.period} is the same, say --unchanged.",
            next_steps=[IMPORTS_STEP],
        )


def find_import(ledger: Ledger, number: int) -> ImportedFile:
    """One import by its number. UsageError where there is none."""
    found = next((one for one in ledger.imports() if one.id == number), None)
    if found is None:
        raise UsageError(f"There is no import {number}.", next_steps=[IMPORTS_STEP])
    return found


def remove_import(ledger: Ledger, number: int, *, who: str, now: datetime) -> ImportedFile:
    """Lets an import count no longer; it is kept. UsageError where it does not count any more."""
    found = find_import(ledger, number)
    if not found.is_current:
        done = "was removed" if found.state == ImportState.REMOVED else "was replaced by another file"
        raise UsageError(f"Import {number} {done} already: it does not count.", next_steps=[IMPORTS_STEP])
    ledger.remove_import(number, who=who, now=now)
    return find_import(ledger, number)
