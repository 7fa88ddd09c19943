"""What the desk's wizard makes of a file and of what a person chose: a profile, and what importing would do."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

from billingsync.core.money import minor_unit
from billingsync.core.period import Period
from billingsync.core.tables.profile import OPTIONAL, REQUIRED, Profile, SameService, TableKind, TextEncoding
from billingsync.core.tables.rows import RowState
from billingsync.errors import UsageError
from billingsync.sources.csvfile.checking import Check, usage_rows
from billingsync.sources.csvfile.profiles import FOLDER, digested
from billingsync.store.ledger import Ledger

COLUMNS = (*REQUIRED[TableKind.USAGE], *OPTIONAL[TableKind.USAGE])
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def profile_of(choices: Mapping[str, Any]) -> Profile:
    """The profile that a person put together. UsageError names what is missing or doubled."""
    name, vendor = str(choices.get("name", "")), str(choices.get("vendor", "")).strip()
    if not NAME.fullmatch(name):
        raise UsageError("Name the profile with small letters, digits, - and _, such as acronis.")
    columns = {ours: str(theirs) for ours, theirs in dict(choices.get("columns", {})).items() if theirs}
    missing = [ours for ours in REQUIRED[TableKind.USAGE] if ours not in columns]
    if missing:
        raise UsageError(f"Choose the column of {', '.join(missing)}.")
    doubled = sorted(theirs for theirs in set(columns.values()) if list(columns.values()).count(theirs) > 1)
    if doubled:
        raise UsageError(f"{doubled[0]!r:.60} was chosen for more than one column.")
    if not vendor and "vendor" not in columns:
        raise UsageError("Write the vendor's name, as its cards and reports are called.")
    currency = str(choices.get("currency", "")).strip().upper()
    if currency and minor_unit(currency) is None:
        raise UsageError(f"{currency!r:.20} is no ISO 4217 code; write e.g. USD.")
    totals = str(choices.get("total_rows", "")).split(",")
    delimiter = str(choices.get("delimiter", "auto"))
    return digested(
        Profile(
            name=name,
            path="the desk",
            kind=TableKind.USAGE,
            vendor=vendor,
            encoding=TextEncoding(str(choices.get("encoding", "auto"))),
            delimiter="\t" if delimiter == "tab" else delimiter,
            decimal=str(choices.get("decimal", "auto")),
            total_rows=tuple(text.strip() for text in totals if text.strip()),
            same_service=SameService(str(choices.get("same_service", "sum"))),
            currency=currency,
            columns=MappingProxyType(columns),
        )
    )


def profile_text(profile: Profile) -> str:
    """The profile as its file has it."""
    said: list[tuple[str, object]] = [
        ("kind", profile.kind.value),
        ("vendor", profile.vendor),
        ("encoding", profile.encoding.value),
        ("delimiter", "tab" if profile.delimiter == "\t" else profile.delimiter),
        ("decimal", profile.decimal),
        ("total_rows", list(profile.total_rows)),
        ("same_service", profile.same_service.value),
        *([("currency", profile.currency)] if profile.currency else []),
    ]
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in said]
    columns = [f"{ours} = {json.dumps(theirs, ensure_ascii=False)}" for ours, theirs in profile.columns.items()]
    return "\n".join([*lines, "[columns]", *columns]) + "\n"


def save_profile(rules_dir: Path, profile: Profile) -> bool:
    """Writes a new profile beside the others. False where the rules may not be written here: then it is told instead.
    A profile that is there already is never changed."""
    folder = rules_dir / FOLDER
    path = folder / f"{profile.name}.toml"
    if path.exists() or not os.access(folder if folder.is_dir() else rules_dir, os.W_OK):
        return False
    folder.mkdir(exist_ok=True)
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(profile_text(profile))
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One service's count: now imported, and as the file has it; None where it is not there."""

    service: str
    before: Decimal | None
    after: Decimal | None


def beside(ledger: Ledger, check: Check, period: Period) -> tuple[Beside, ...]:
    """Service by service what is imported now and what the file says, the largest change first."""
    current = [one.id for one in ledger.imports(profile=check.profile.name, period=period) if one.is_current]
    before: dict[str, Decimal] = defaultdict(Decimal)
    for kept in ledger.import_rows(current, states=[RowState.COUNTED]) if current else ():
        before[kept.service] += kept.quantity or Decimal(0)
    after: dict[str, Decimal] = defaultdict(Decimal)
    for row in usage_rows(check) if check.layout is not None else ():
        if row.usage is not None:
            after[row.usage.service] += row.usage.quantity
    found = [Beside(service=name, before=before.get(name), after=after.get(name)) for name in sorted({*before, *after})]
    return tuple(sorted(found, key=lambda one: -abs((one.after or Decimal(0)) - (one.before or Decimal(0)))))
