"""What HaloPSA really holds, beside what we meant to write: compared to the cent [N2] [N5] [B4]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from billingsync.core.money import ZERO, minor_unit, multiply, round_money
from billingsync.psa.halo.wire import header_marker, markers

Raw = Mapping[str, object]

# Properties that HaloPSA itself moves when anything on the invoice changes; all others of a foreign line must stay.
COMPUTED = frozenset({"change_seq", "last_change_seq", "last_modified", "sequenceid", "line_totals"})


class Intended(Protocol):
    """One line as we meant it. `action`: add | update | remove; `line_id` is HaloPSA's for the latter two."""

    @property
    def ordinal(self) -> int: ...
    @property
    def action(self) -> str: ...
    @property
    def line_id(self) -> int | None: ...
    @property
    def quantity(self) -> Decimal: ...
    @property
    def unit_price(self) -> Decimal: ...
    @property
    def amount(self) -> Decimal: ...
    @property
    def cost(self) -> Decimal: ...
    @property
    def title(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What of a posting an invoice carries: HaloPSA's line ids by ordinal, the returned sums, what differs in words."""

    invoice_id: int
    line_ids: Mapping[int, int]
    price: Decimal
    cost: Decimal
    differences: tuple[str, ...]
    still_there: tuple[int, ...]  # ids of lines that were to be removed


def number(value: object) -> Decimal | None:
    """A JSON number, read without float; anything else is no number."""
    if isinstance(value, Decimal):
        return value
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else None


def id_of(raw: Raw) -> int | None:
    """An id; HaloPSA writes some as 12.0 (reference/halopsa 7)."""
    found = raw.get("id")
    if type(found) is int:
        return found
    value = number(found)
    return int(value) if value is not None and value == value.to_integral_value() else None


def lines_of(raw: Raw) -> list[Raw]:
    found = raw.get("lines")
    return [line for line in found if isinstance(line, dict)] if isinstance(found, list) else []


def carries(raw: Raw, key: str) -> bool:
    """Whether this invoice carries the marker of this key, in its header or in any line."""
    header = header_marker(raw)
    if header and header[0] == key:
        return True
    return any(marker[0] == key for marker in map(markers, lines_of(raw)) if marker)


def compare(raw: Raw, key: str, lines: Sequence[Intended], currency: str, *, marked: bool = True) -> Comparison | None:
    """What `raw` carries of the posting `key`; None where it carries nothing of it, or shows no lines at all.

    `marked=False` is for a posting that only removes lines, and so leaves no marker."""
    invoice_id = id_of(raw)
    if invoice_id is None or (marked and (not lines_of(raw) or not carries(raw, key))):
        return None
    ours = [(marker[2], line) for line in lines_of(raw) if (marker := markers(line)) and marker[0] == key]
    found = dict(ours)
    differences: list[str] = []
    line_ids: dict[int, int] = {}
    still_there: list[int] = []
    price = cost = ZERO
    present = {id_of(line): line for line in lines_of(raw)}
    if len(ours) != len(found):
        differences.append(f"{len(ours)} lines carry the marks of {len(found)}")
    for line in lines:
        if line.action == "remove":
            if line.line_id is not None and line.line_id in present and not nothing(present[line.line_id]):
                still_there.append(line.line_id)
                differences.append(f"line {line.line_id} ({line.title:.40}) is still there")
            continue
        there = found.get(line.ordinal)
        if there is None:
            differences.append(f"line {line.ordinal} ({line.title:.40}) is missing")
            continue
        line_price, line_cost = _amounts(there, line, currency)
        price += line_price
        cost += line_cost
        if (line_id := id_of(there)) is not None:
            line_ids[line.ordinal] = line_id
        if line.action == "update" and id_of(there) != line.line_id:
            differences.append(f"line {line.line_id} ({line.title:.40}) was not changed, but added anew")
        if line_price != line.amount:
            differences.append(f"line {line.ordinal} ({line.title:.40}): {line_price} instead of {line.amount}")
        if line_cost != line.cost:
            differences.append(f"line {line.ordinal} ({line.title:.40}): cost {line_cost} instead of {line.cost}")
        net = number(there.get("net_amount"))
        if net and abs(net - line.amount) > _half_unit(currency):
            differences.append(f"line {line.ordinal} ({line.title:.40}): HaloPSA computes {net}, not {line.amount}")
    return Comparison(
        invoice_id=invoice_id,
        line_ids=line_ids,
        price=price,
        cost=cost,
        differences=tuple(differences),
        still_there=tuple(still_there),
    )


def _amounts(there: Raw, line: Intended, currency: str) -> tuple[Decimal, Decimal]:
    quantity = number(there.get("qty_order"))
    unit = number(there.get("unit_price"))
    if unit is None:
        unit = number(there.get("baseprice"))
    unit_cost = number(there.get("unit_cost"))
    if quantity is None or unit is None:
        return ZERO, ZERO
    # A role that may not see costs gets none back: then nothing returned can contradict ours.
    cost = line.cost if unit_cost is None else round_money(multiply(quantity, unit_cost), currency)
    return round_money(multiply(quantity, unit), currency), cost


def nothing(line: Raw) -> bool:
    """A line set to nothing is as good as removed: see `write.finish_removals`."""
    return number(line.get("qty_order")) == 0 and line.get("isinactive") is True


def _half_unit(currency: str) -> Decimal:
    """Half a minor unit: HaloPSA computes in floats, so less than that is no difference (reference/halopsa 2.7)."""
    digits = minor_unit(currency)
    return Decimal(5).scaleb(-(2 if digits is None else digits) - 1)


def twin(raw: Raw, lines: Sequence[Intended]) -> bool:
    """An invoice without any marker that has just our lines: ours perhaps, with its marks lost [fault 7]."""
    there = lines_of(raw)
    if not there or any(markers(line) for line in there):
        return False
    mine = sorted((line.quantity, line.unit_price) for line in lines if line.action == "add")
    theirs = sorted(
        (number(line.get("qty_order")) or ZERO, number(line.get("unit_price")) or number(line.get("baseprice")) or ZERO)
        for line in there
    )
    return mine == theirs


def foreign_changes(before: Raw, after: Raw, ours: frozenset[int]) -> list[str]:
    """What changed on lines that are not ours between two reads of one invoice [B4]; empty is as it must be."""
    now = {id_of(line): line for line in lines_of(after)}
    changes = []
    for line in lines_of(before):
        line_id = id_of(line)
        if line_id in ours:
            continue
        there = now.get(line_id)
        if there is None:
            changes.append(f"line {line_id} is gone")
            continue
        moved = sorted(
            name
            for name in line.keys() | there.keys()
            if name not in COMPUTED and not _same(line.get(name), there.get(name))
        )
        if moved:
            changes.append(f"line {line_id}: {', '.join(moved[:6])} changed")
    return changes


def _same(left: object, right: object) -> bool:
    """Equal JSON values; 18 and 18.0 are the same number."""
    one, other = number(left), number(right)
    if one is not None and other is not None:
        return one == other
    return left == right
