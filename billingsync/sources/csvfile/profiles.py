"""Import profiles: `rules/imports/*.toml`, read like the rules, and the one that is built in. All mistakes at once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from billingsync.core.money import minor_unit
from billingsync.core.tables.cells import DateOrder
from billingsync.core.tables.header import folded
from billingsync.core.tables.profile import OPTIONAL, REQUIRED, Profile, SameService, TableKind, TextEncoding
from billingsync.errors import RulesError, UsageError
from billingsync.rulebook.file import Problem, RulesFile, read_rules_file
from billingsync.rulebook.keys import Section
from billingsync.rulebook.kinds import Text, Texts
from billingsync.rulebook.mistakes import checked
from billingsync.rulebook.wording import nearest, one_of, printable, shown

FOLDER = "imports"
PORTAL = "pax8-portal"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


class _ProfileKeys(Section):
    kind: TableKind | None = None
    vendor: Text = ""
    encoding: TextEncoding = TextEncoding.AUTO
    delimiter: Literal["auto", ",", ";", "\t", "|", "tab"] = "auto"
    decimal: Literal["auto", ".", ","] = "auto"
    dates: DateOrder = DateOrder.AUTO
    total_rows: Texts = ()
    same_service: SameService = SameService.SUM
    currency: Text = ""


class _ColumnKey(Section):
    """One line of `[columns]`: ours = theirs."""

    column: Text = ""


# The names that the invoice download of Pax8's portal gives its columns.
_PORTAL_COLUMNS = {
    "company": "company_name",
    "company_id": "company_id",
    "type": "type",
    "period": "invoice_date",
    "start": "start_period",
    "end": "end_period",
    "term": "term",
    "sku": "sku",
    "description": "description",
    "details": "details",
    "quantity": "quantity",
    "price": "price",
    "sub_total": "subtotal",
    "cost": "cost",
    "cost_total": "cost_total",
    "partner_sub_total": "partner_subtotal",
    "total": "total",
    "sales_tax": "sales_tax",
    "amount_due": "amount_due",
}


def load_profiles(rules_dir: Path) -> Mapping[str, Profile]:
    """Every profile by name, the built-in one among them unless a file of its name replaces it. Raises RulesError with
    every mistake of every file."""
    found: dict[str, Profile] = {PORTAL: _portal()}
    problems: list[Problem] = []
    taken: dict[str, str] = {}
    for path in _paths(rules_dir / FOLDER):
        read = _Reading(read_rules_file(path))
        profile = read.profile(path)
        first = taken.setdefault(path.stem.lower(), read.file.path)
        if first != read.file.path:
            read.wrong("", f"{first} has the same name; rename one of the two")
        problems += read.problems
        if profile is not None:
            found[profile.name] = profile
    if problems:
        raise RulesError([str(problem) for problem in problems], next_steps=[["billingsync", "rules", "check"]])
    return MappingProxyType(found)


def find_profile(profiles: Mapping[str, Profile], name: str) -> Profile:
    """The profile of that name. UsageError with the nearest one."""
    if name in profiles:
        return profiles[name]
    guess = nearest(name, profiles)
    hint = f" Did you mean {guess}?" if guess else f" There is {', '.join(sorted(profiles))}."
    raise UsageError(
        f"There is no import profile {name!r:.60} in rules/{FOLDER}/.{hint}",
        next_steps=[["billingsync", "import", "init", "FILE"]],
    )


def with_currency(profile: Profile, currency: str | None) -> Profile:
    """The profile with the currency that a command names. UsageError for a code that is none, or another one than the
    profile's."""
    if currency is None:
        return profile
    code = currency.strip().upper()
    if minor_unit(code) is None:
        raise UsageError(f"--currency takes an ISO 4217 code such as USD, not {currency!r:.20}.")
    if profile.currency and profile.currency != code:
        raise UsageError(f"The profile {profile.name} says currency = {profile.currency!r}; leave --currency out.")
    return digested(replace(profile, currency=code))


def digested(profile: Profile) -> Profile:
    """The profile with the digest of all that it says about files."""
    said = asdict(replace(profile, digest="", path="", columns={}))
    text = json.dumps({**said, "columns": dict(profile.columns)}, sort_keys=True, default=str)
    return replace(profile, digest=hashlib.sha256(text.encode()).hexdigest())


def _portal() -> Profile:
    return digested(
        Profile(
            name=PORTAL,
            path="built in",
            kind=TableKind.CHARGES,
            vendor="Pax8",
            columns=MappingProxyType(_PORTAL_COLUMNS),
        )
    )


def _paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.glob("*.toml") if not path.name.startswith((".", "_", "#")))


@dataclass(slots=True)
class _Reading:
    """One profile's file being read."""

    file: RulesFile
    problems: list[Problem]

    def __init__(self, file: RulesFile) -> None:
        self.file, self.problems = file, list(file.problems)

    def wrong(self, key: str, says: str) -> None:
        self.problems.append(self.file.problem(tuple(key.split(".")) if key else (), key, says))

    def profile(self, path: Path) -> Profile | None:
        """The profile; None after noting everything that is wrong with it."""
        if not _NAME.fullmatch(path.stem):
            self.wrong("", "a profile's file is named with small letters, digits, - and _, e.g. acronis.toml")
        if self.file.data is None:
            return None
        said = {name: value for name, value in self.file.data.items() if name != "columns"}
        keys, mistakes, _ = checked(_ProfileKeys, said)
        for mistake in mistakes:
            self.wrong(mistake.key, mistake.says)
        if "kind" not in said:
            self.wrong("kind", f"is missing; write kind = {one_of(TableKind)}")
        columns = self._columns(self.file.data.get("columns"), keys.kind)
        currency = self._currency(keys.currency)
        if keys.kind is TableKind.USAGE and "vendor" not in said and "vendor" not in columns:
            self.wrong("vendor", 'is missing; write vendor = "Acronis" or such, as its cards and reports are called')
        if self.problems or keys.kind is None:
            return None
        return digested(
            Profile(
                name=path.stem,
                path=self.file.path,
                kind=keys.kind,
                vendor=keys.vendor.strip(),
                encoding=keys.encoding,
                delimiter="\t" if keys.delimiter == "tab" else keys.delimiter,
                decimal=keys.decimal,
                dates=keys.dates,
                total_rows=keys.total_rows,
                same_service=keys.same_service,
                currency=currency,
                columns=MappingProxyType(columns),
            )
        )

    def _currency(self, value: str) -> str:
        code = value.strip().upper()
        if code and minor_unit(code) is None:
            self.wrong("currency", f"{shown(value)} is not an ISO 4217 code; write e.g. USD")
        return code

    def _columns(self, table: object, kind: TableKind | None) -> dict[str, str]:
        if not isinstance(table, dict):
            self.wrong("columns", "is missing; write [columns] on a line, and ours = theirs below it")
            return {}
        known = (*REQUIRED[kind], *OPTIONAL[kind]) if kind else sorted({*_all(REQUIRED), *_all(OPTIONAL)})
        columns: dict[str, str] = {}
        for ours, theirs in table.items():
            label = f"columns.{ours}"
            if ours not in known:
                guess = nearest(ours, known)
                hint = f"did you mean {guess}?" if guess else f"write one of {', '.join(known)}"
                self.wrong(label, f"is not a column that billingsync knows; {hint}")
                continue
            _, mistakes, _ = checked(_ColumnKey, {"column": theirs})
            for mistake in mistakes:
                self.wrong(label, mistake.says)
            if not mistakes:
                columns[ours] = theirs.strip()
        for name in REQUIRED[kind] if kind else ():
            if name not in table:
                self.wrong("columns", f"{name} is missing; write {name} = the name of that column in the file")
        named: dict[str, str] = {}
        for ours, theirs in columns.items():
            first = named.setdefault(folded(theirs), ours)
            if first != ours:
                self.wrong(f"columns.{ours}", f"{printable(theirs)} is {first} already; name another column")
        return columns


def _all(columns: Mapping[TableKind, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(name for names in columns.values() for name in names)
