"""The rows of a distributor invoice that was exported as a file, as charges [IM11] [S5] [S6]."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from billingsync.core.charge import Charge, read_amounts
from billingsync.core.money import ZERO, plain
from billingsync.core.period import Period
from billingsync.core.tables.cells import read_text
from billingsync.core.tables.header import Header
from billingsync.core.tables.numbers import Mark
from billingsync.core.tables.profile import Profile
from billingsync.core.tables.rows import CellReader, Problem, RowState, Totals, uncounted

_AMOUNTS = ("quantity", "price", "sub_total", "total", "cost", "cost_total")
_SAYS_WHAT = ("company", "type", "term", "sku", "description", "details", "start", "end")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRow:
    """One row; `charge` where it is counted, called after its content until `with_ordinals` has seen all of them."""

    line: int
    state: RowState
    charge: Charge | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True, kw_only=True)
class ChargeTable:
    """Turns an invoice file's rows into charges of the invoice `invoice_id` (such as "pax8-portal/2026-11")."""

    profile: Profile
    header: Header
    marks: Mapping[str, Mark | None]
    period: Period
    invoice_id: str
    totals: Totals | None = None

    def __post_init__(self) -> None:
        if "total" in self.header.places:
            self.totals = Totals("total")

    def read(self, line: int, cells: Sequence[str]) -> ChargeRow:
        """One record below the header."""
        reader = CellReader(cells, line, self.header, self.marks)
        if (other := uncounted(reader, self.profile, self.totals)) is not None:
            return ChargeRow(line=line, state=other.state, problems=other.problems)
        charge = self._charge(reader)
        if charge is None or reader.problems:
            return ChargeRow(line=line, state=RowState.BAD, problems=tuple(reader.problems))
        if self.totals:
            self.totals.count(charge.price)
        return ChargeRow(line=line, state=RowState.COUNTED, charge=charge)

    def _charge(self, reader: CellReader) -> Charge | None:
        reader.check_width()
        reader.check_month(self.profile, self.period)
        texts = {name: reader.text(name, read=read_text) for name in _SAYS_WHAT}
        # Where a file has no ids of companies, a company is known by its name, in a space of its own.
        company_id = reader.text("company_id") or (texts["company"] and f"{self.profile.name}/{texts['company']}")
        numbers = {name: reader.number(name) for name in (*_AMOUNTS, "sales_tax")}
        currency = reader.currency(self.profile.currency)
        if not currency:
            reader.wrong("currency", 'a currency; give --currency USD, or set currency = "USD" in the profile')
        if reader.problems:
            return None
        amounts = read_amounts(currency=currency, **{name: numbers[name] for name in _AMOUNTS})
        if amounts.problem:
            # In a file that people may correct, an amount that cannot be used is a mistake of the file.
            reader.problems.append(
                Problem(line=reader.line, column="", cell="", expected=f"usable amounts: {amounts.problem}")
            )
            return None
        said = {**texts, "company_id": company_id, "currency": currency, **numbers}
        return Charge(
            id=f"{self.invoice_id}:~{_content(said)}",
            invoice_id=self.invoice_id,
            company_id=company_id or None,
            company_name=texts["company"],
            external_id="",
            type=texts["type"].lower(),
            term=texts["term"],
            sku=texts["sku"],
            product_id="",
            product_name="",
            description=texts["description"],
            details=texts["details"],
            subscription_id="",
            purchase_order="",
            start=texts["start"],
            end=texts["end"],
            quantity=amounts.quantity,
            unit_price=amounts.unit_price,
            unit_cost=amounts.unit_cost,
            price=amounts.price,
            cost=amounts.cost,
            price_rounding=amounts.price_rounding,
            cost_rounding=amounts.cost_rounding,
            sales_tax=numbers["sales_tax"] or ZERO,
            currency=currency,
            billed_by_pax8=False,
            problem=None,
        )


def with_ordinals(charges: Iterable[Charge]) -> tuple[Charge, ...]:
    """The charges with their ordinal among equals in the name, so that the order of rows changes no identity [S5]."""
    seen: Counter[str] = Counter()
    named = []
    for charge in charges:
        seen[charge.id] += 1
        named.append(replace(charge, id=f"{charge.id}:{seen[charge.id]}"))
    return tuple(named)


def _content(said: Mapping[str, str | Decimal | None]) -> str:
    """16 hex digits of what a row says; numbers by value, empty cells left out."""
    values = {name: _canonical(value) for name, value in said.items() if value not in ("", None)}
    text = json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def _canonical(value: str | Decimal | None) -> object:
    if isinstance(value, Decimal):
        return ["number", plain(value)]
    return value
