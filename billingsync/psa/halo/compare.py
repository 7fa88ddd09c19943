"""What HaloPSA really holds, beside what we meant to write: compared to the cent [N2] [N5] [B4]."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from billingsync.core.invoice import Invoice, InvoiceLine
from billingsync.core.money import ZERO, minor_unit, multiply, round_money
from billingsync.core.states import LineAction
from billingsync.psa.halo.wire import Raw, id_of, lines_of, markers, number, same
from billingsync.psa.psa import Comparison, Intended

# Properties that HaloPSA itself moves when anything on the invoice changes; all others of a foreign line must stay.
COMPUTED = frozenset({"change_seq", "last_change_seq", "last_modified", "sequenceid", "line_totals"})


def compare(
    invoice: Invoice, key: str, lines: Sequence[Intended], currency: str, *, marked: bool = True
) -> Comparison | None:
    """What `invoice` carries of the posting `key`; None where it carries nothing of it, or shows no lines at all.

    `marked=False` is for a posting that only removes lines, and so leaves no marker."""
    ours = [(line.mark.ordinal, line) for line in invoice.lines if line.mark is not None and line.mark.key == key]
    if marked and not (invoice.lines and invoice.carries(key)):
        return None
    found = dict(ours)
    differences: list[str] = []
    line_ids: dict[int, int] = {}
    still_there: list[int] = []
    price = cost = ZERO
    present = invoice.by_id
    if len(ours) != len(found):
        differences.append(f"{len(ours)} lines carry the marks of {len(found)}")
    for line in lines:
        if line.action == LineAction.REMOVE:
            if line.line_id is not None and line.line_id in present and not present[line.line_id].is_zeroed:
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
        if there.id is not None:
            line_ids[line.ordinal] = there.id
        if line.action == LineAction.UPDATE and there.id != line.line_id:
            differences.append(f"line {line.line_id} ({line.title:.40}) was added again instead of changed")
        if line_price != line.amount:
            differences.append(f"line {line.ordinal} ({line.title:.40}): {line_price} instead of {line.amount}")
        if line_cost != line.cost:
            differences.append(f"line {line.ordinal} ({line.title:.40}): cost {line_cost} instead of {line.cost}")
        net = there.net_amount
        if net and abs(net - line.amount) > _half_unit(currency):
            differences.append(f"line {line.ordinal} ({line.title:.40}): HaloPSA computes {net}, not {line.amount}")
    return Comparison(
        invoice_id=invoice.id,
        line_ids=line_ids,
        price=price,
        cost=cost,
        differences=tuple(differences),
        still_there=tuple(still_there),
    )


def _amounts(there: InvoiceLine, line: Intended, currency: str) -> tuple[Decimal, Decimal]:
    # A role that may not see costs gets none back: then nothing returned can contradict ours.
    cost = line.cost if there.unit_cost is None else round_money(multiply(there.quantity, there.unit_cost), currency)
    return round_money(multiply(there.quantity, there.unit_price), currency), cost


def _half_unit(currency: str) -> Decimal:
    """Half a minor unit: HaloPSA computes in floats, so less than that is no difference (reference/halopsa 2.7)."""
    digits = minor_unit(currency)
    return Decimal(5).scaleb(-(2 if digits is None else digits) - 1)


def twin(raw: Raw, lines: Sequence[Intended]) -> bool:
    """An invoice without any marker that has just our lines: ours perhaps, with its marks lost [fault 7]."""
    there = lines_of(raw)
    if not there or any(markers(line) for line in there):
        return False
    mine = sorted((line.quantity, line.unit_price) for line in lines if line.action == LineAction.ADD)
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
            if name not in COMPUTED and not same(line.get(name), there.get(name))
        )
        if moved:
            changes.append(f"line {line_id}: {', '.join(moved[:6])} changed")
    return changes
