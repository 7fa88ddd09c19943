"""`import init`: a profile proposed from a file, every guess marked as one; `import` itself guesses nothing [IM3]."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from billingsync.core.tables.cells import inert_cell
from billingsync.core.tables.header import DELIMITERS, HEADER_WITHIN, folded
from billingsync.core.tables.numbers import ColumnMarks, NotNumber, bare
from billingsync.core.tables.profile import OPTIONAL, REQUIRED, Profile, TableKind, TextEncoding
from billingsync.sources.csvfile.kept import KeptFile, Unreadable
from billingsync.sources.csvfile.reading import Record, preview, separator_of

_LOOK_AT = 100  # rows below the header
_TOTALS = ("total", "totals", "summe", "sum", "gesamt", "grand total", "totaal")
# What vendors call these columns, folded, the surest first.
_NAMES: Mapping[str, tuple[str, ...]] = {
    ours: tuple(names.split())
    for ours, names in {
        "account": "customer customername account accountname client clientname company companyname tenant tenantname "
        "organization organisation endcustomer kunde kundenname firma klant",
        "service": "product productname service servicename item plan edition license licence offering produkt dienst",
        "quantity": "quantity qty usage totalusage count seats users units licenses licences billableunits amountused "
        "menge anzahl verbrauch aantal",
        "sku": "sku productcode itemcode partnumber articlenumber artikelnummer",
        "unit_price": "unitprice price rate listprice preis einzelpreis",
        "unit_cost": "unitcost cost partnerprice partnercost buyprice",
        "currency": "currency currencycode curr waehrung währung",
        "period": "period month billingperiod billingmonth invoicedate usagemonth monat zeitraum",
        "subscription": "subscription subscriptionid contractid",
        "vendor": "vendor vendorname manufacturer hersteller",
    }.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """One thing that the file shows. `why` is "" where it is certain, else what a person should look at."""

    value: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A profile as it could be, with the first rows as they were read."""

    encoding: Guess
    delimiter: Guess
    header_line: Guess
    header: tuple[str, ...]
    decimal: Guess
    total_rows: tuple[str, ...]
    columns: Mapping[str, Guess]
    rows: tuple[tuple[str, ...], ...]

    @property
    def uncertain(self) -> tuple[str, ...]:
        """What a person should look at before the profile is used, one sentence each."""
        named = {"encoding": self.encoding, "delimiter": self.delimiter, "decimal": self.decimal}
        named |= {f"columns.{name}": guess for name, guess in self.columns.items()}
        missing = [f"columns.{name}: no column looks like it" for name in _required() if name not in self.columns]
        return (*(f"{name}: {guess.why}" for name, guess in named.items() if guess.why), *missing)


def propose(file: KeptFile) -> Proposal:
    """Looks at a file that has no profile yet. Raises Unreadable where it is no table of text."""
    encoding, profile = _encoding(file)
    delimiter = _delimiter(file, profile)
    top = preview(file, profile, delimiter.value)
    at = _header_at(top)
    header = tuple(cell.strip() for cell in top[at].cells) if top else ()
    body = [record for record in top[at + 1 :] if any(cell.strip() for cell in record.cells)][:_LOOK_AT]
    columns = _columns(header, body)
    sure = "" if at == 0 else f"line {top[at].line} looks like the header; the lines above it are skipped"
    return Proposal(
        encoding=encoding,
        delimiter=delimiter,
        header_line=Guess(value=str(top[at].line) if top else "1", why=sure),
        header=header,
        decimal=_decimal(header, columns, body),
        total_rows=tuple(sorted({cell for cell in map(_first, body) if folded(cell).rstrip(":") in _totals()})),
        columns=columns,
        rows=tuple(tuple(map(inert_cell, record.cells)) for record in body[:20]),
    )


def as_toml(proposal: Proposal, *, vendor: str) -> str:
    """The proposal as a profile's text: what is uncertain has a comment that says so."""
    lines = [
        "# Proposed by `billingsync import init`. Look at each line that says PLEASE CHECK.",
        f"# Header found in line {proposal.header_line.value}: {', '.join(map(inert_cell, proposal.header))}",
        'kind = "usage"',
        f"vendor = {_quoted(vendor)}",
    ]
    for name, guess in (
        ("encoding", proposal.encoding),
        ("delimiter", proposal.delimiter),
        ("decimal", proposal.decimal),
    ):
        lines.append(_line(name, _quoted(guess.value), guess.why))
    lines.append(f"total_rows = [{', '.join(map(_quoted, proposal.total_rows))}]")
    lines.append('same_service = "sum"  # sum | error | separate')
    lines.append("[columns]  # ours = theirs")
    for name in (*_required(), *OPTIONAL[TableKind.USAGE]):
        found = proposal.columns.get(name)
        if found is not None:
            lines.append(_line(name, _quoted(found.value), found.why))
        elif name in _required():
            lines.append(f'# {name} = ""  # PLEASE CHECK: no column looks like it; it is required')
    return "\n".join(lines) + "\n"


def _line(name: str, value: str, why: str) -> str:
    return f"{name} = {value}" + (f"  # PLEASE CHECK: {why}" if why else "")


def _quoted(text: str) -> str:
    """A TOML string: JSON's escapes are among TOML's."""
    return json.dumps(inert_cell(text) if not text.isprintable() and text != "\t" else text, ensure_ascii=False)


def _required() -> tuple[str, ...]:
    return REQUIRED[TableKind.USAGE]


def _totals() -> frozenset[str]:
    return frozenset(map(folded, _TOTALS))


def _first(record: Record) -> str:
    return record.cells[0].strip() if record.cells else ""


def _encoding(file: KeptFile) -> tuple[Guess, Profile]:
    """Certain where it is UTF-8 or has a byte order mark; else the one single-byte encoding that a profile may name."""
    profile = Profile(name="", path="", kind=TableKind.USAGE)
    try:
        file.encoding(TextEncoding.AUTO)
    except Unreadable:
        profile = replace(profile, encoding=TextEncoding.WINDOWS_1252)
        file.encoding(TextEncoding.WINDOWS_1252)
        why = "the file is not UTF-8; do names with accents look right?"
        return Guess(value=TextEncoding.WINDOWS_1252, why=why), profile
    return Guess(value=TextEncoding.AUTO), profile


def _delimiter(file: KeptFile, profile: Profile) -> Guess:
    said = separator_of(file, profile)
    if said:
        return Guess(value=said)
    widths: dict[str, list[int]] = {}
    for delimiter in DELIMITERS:
        try:
            rows = preview(file, profile, delimiter)
        except Unreadable:
            continue
        widths[delimiter] = [len(record.cells) for record in rows if len(record.cells) > 1]
    # The one that parts most rows into the same number of cells.
    best = sorted(widths, key=lambda one: (_steady(widths[one]), max(widths[one], default=0)), reverse=True)
    if not best or not widths[best[0]]:
        return Guess(value=",", why="no delimiter was found: is this a table?")
    second = best[1] if len(best) > 1 else None
    if second and _steady(widths[second]) * 2 > _steady(widths[best[0]]):
        return Guess(value=best[0], why=f"it could also be the {DELIMITERS[second]}")
    return Guess(value=best[0])


def _steady(widths: Sequence[int]) -> int:
    """How many rows have the most frequent number of cells."""
    return max((widths.count(width) for width in set(widths)), default=0)


def _header_at(top: Sequence[Record]) -> int:
    """The first row of several texts, none of them a number, with a row as wide below it."""
    for at, record in enumerate(top[:HEADER_WITHIN]):
        cells = [cell for cell in record.cells if cell.strip()]
        below = next((one for one in top[at + 1 :] if any(cell.strip() for cell in one.cells)), None)
        if len(cells) > 1 and not any(map(_is_number, cells)) and below and len(below.cells) > 1:
            return at
    return 0


def _is_number(cell: str) -> bool:
    try:
        bare(cell)
    except NotNumber:
        return False
    return True


def _columns(header: Sequence[str], body: Sequence[Record]) -> dict[str, Guess]:
    found: dict[str, Guess] = {}
    taken: set[int] = set()
    for ours, names in _NAMES.items():
        places = [n for n, cell in enumerate(header) if folded(re.sub(r"[_\-.#]", "", cell)) in names]
        places = [n for n in places if n not in taken]
        if not places:
            continue
        best = min(places, key=lambda n: names.index(folded(re.sub(r"[_\-.#]", "", header[n]))))
        taken.add(best)
        why = "chosen by its name" if len(places) == 1 else f"{len(places)} columns look like it"
        found[ours] = Guess(value=header[best], why=why)
    if "quantity" not in found:
        numeric = [n for n, _ in enumerate(header) if n not in taken and _all_numbers(n, body)]
        if numeric:
            found["quantity"] = Guess(value=header[numeric[0]], why="the first column of numbers only")
    return found


def _all_numbers(place: int, body: Sequence[Record]) -> bool:
    cells = [record.cells[place] for record in body if place < len(record.cells) and record.cells[place].strip()]
    return bool(cells) and all(map(_is_number, cells))


def _decimal(header: Sequence[str], columns: Mapping[str, Guess], body: Sequence[Record]) -> Guess:
    """What the number columns' own cells say; "auto" decides from the whole column each time."""
    marks = ColumnMarks()
    places = [header.index(columns[name].value) for name in ("quantity", "unit_price", "unit_cost") if name in columns]
    for record in body:
        for place in places:
            if place < len(record.cells):
                marks.add(record.cells[place], record.line)
    if trouble := marks.trouble:
        (cell, line), _ = trouble
        return Guess(value="auto", why=f'line {line} has {inert_cell(cell)}: set "." or ","')
    return Guess(value="auto")
