"""Seats subscribed beside seats billed: Difference = Pax8 subscribed - HaloPSA quantity, exact, no tolerance [LC1]."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from billingsync.core.charge import Charge
from billingsync.core.money import ZERO
from billingsync.core.period import Period
from billingsync.core.reconcile.classify import Class, Classified
from billingsync.core.reconcile.lines import SeatLine
from billingsync.core.reconcile.matches import Family, Joined
from billingsync.core.reconcile.sides import Side
from billingsync.core.reconcile.snapshot import SeatChange, VendorCount
from billingsync.core.reconcile.tenant import Tenant
from billingsync.core.reconcile.terms import months_of, to_decimal, total


class Mode(StrEnum):
    """How a row's count and its lines belong together."""

    PLAIN = "plain"  # the lines carry the seats together
    EACH = "each"  # one of several items, each of which carries all seats
    BUNDLE = "bundle"  # some lines cover seats of other rows too
    USAGE = "usage"  # no seats: compared by money only


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanySeats:
    company_id: str
    company_name: str
    seats: Decimal
    subscriptions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatRow:
    """One line of the comparison. All quantities but `seats` and those of `companies` are in HaloPSA's units.

    `invoiced` is None where it is not known. `psa_quantity` counts a bundle's line as often as it covers a seat of this
    row. `group` is shared by rows that a bundle or an item ties together; `key` tells them apart within it.
    """

    client_id: int
    client_name: str
    group: str
    key: str
    families: tuple[str, ...]
    skus: tuple[str, ...]
    product: str
    vendor: str
    tags: tuple[str, ...]
    mode: Mode
    item_id: int | None
    items: tuple[int, ...]
    seats: Decimal
    count: Decimal
    invoiced: Decimal | None
    psa_quantity: Decimal
    lines: tuple[SeatLine, ...]
    bundles: tuple[tuple[SeatLine, Decimal], ...]
    members: tuple[Classified, ...]  # its compared subscriptions
    counts: tuple[VendorCount, ...]
    charges: tuple[tuple[Period, Charge], ...]  # the seats' charges that stand for the month
    money: tuple[Charge, ...]  # all charges of the month's own invoices, of every type that is sold
    companies: tuple[CompanySeats, ...]
    pending: Decimal
    trial: Decimal
    changes: tuple[SeatChange, ...]
    billed_here: bool
    guessed: bool
    moving: bool
    unsure: bool  # a subscription of unknown status or quantity belongs here, and counts nothing
    per_unit: Decimal
    leads: bool = True  # items that each carry all seats have a row each: the first has the charges, once for all

    @property
    def difference(self) -> Decimal:
        """+ means that HaloPSA bills too few."""
        return self.count - self.psa_quantity

    @property
    def since(self) -> date | None:
        """The day of the newest change of seats that we know."""
        return self.changes[-1].day if self.changes else None

    @property
    def every_line(self) -> tuple[SeatLine, ...]:
        return (*self.lines, *(line for line, _ in self.bundles))


def group_id(client_id: int, key: str) -> str:
    digest = hashlib.sha256(f"{client_id}|{key}".encode()).hexdigest()
    return f"g-{digest[:10]}"


def units(seats: Decimal, family: Family) -> Decimal:
    """Seats in HaloPSA's units [LC7]."""
    if family.per_unit == 1 and not family.round_up:
        return seats
    exact = Fraction(seats) / Fraction(family.per_unit)
    return Decimal(-((-exact.numerator) // exact.denominator)) if family.round_up else to_decimal(exact, 6)


def rows_of_client(side: Side) -> list[SeatRow]:
    """All rows of a client, sorted by product."""
    touched = {key for line in side.lines for key in (*line.families, *(family for family, _ in line.covers))}
    touched |= side.members.keys() | side.counts.keys() | side.charges.keys() | side.money.keys()
    joined = Joined(touched)
    for key in touched:
        piece = side.matcher.piece_of.get(key)
        joined.join(piece.families if piece else (key,))
    for line in side.lines:
        joined.join(line.families)
    row_of: dict[str, tuple[str, ...]] = {}
    for keys in joined.pieces():
        row_of |= dict.fromkeys(keys, keys)
    groups = Joined({keys[0] for keys in row_of.values()})
    for line in side.lines:
        groups.join({row_of[family][0] for family, _ in line.covers})
    group_of = {first: keys for keys in groups.pieces() for first in keys}
    rows: list[SeatRow] = []
    for keys in sorted(set(row_of.values())):
        rows.extend(_rows_of_piece(side, keys, group_of[keys[0]]))
    rows = [row for row in rows if row.members or row.counts or row.charges or row.money or row.every_line]
    return sorted(rows, key=lambda row: (row.product.casefold(), row.key))


def _rows_of_piece(side: Side, keys: tuple[str, ...], group: tuple[str, ...]) -> Iterable[SeatRow]:
    plain = [line for line in side.lines if set(line.families) & set(keys)]
    bundles = [
        (line, total(seats for family, seats in line.covers if family in keys))
        for line in side.lines
        if any(family in keys for family, _ in line.covers)
    ]
    pieces = {piece.key: piece for key in keys if (piece := side.matcher.piece_of.get(key))}
    items = tuple(sorted({item for piece in pieces.values() for item in piece.items}))
    has_seats = any(key in side.members or key in side.counts for key in keys)
    if not has_seats and any(key in side.usage for key in keys):
        yield _row(side, keys, group, (Mode.USAGE, None, items), plain, bundles)
    elif not bundles and len(pieces) == 1 and all(piece.each for piece in pieces.values()):
        for item in items:
            of_item = [line for line in plain if line.item_id == item]
            yield _row(side, keys, group, (Mode.EACH, item, items), of_item, [])
        if rest := [line for line in plain if line.item_id not in items]:
            yield replace(_row(side, keys, group, (Mode.EACH, None, items), rest, []), leads=False)
    else:
        mode = Mode.BUNDLE if bundles or len(group) > 1 else Mode.PLAIN
        yield _row(side, keys, group, (mode, None, items), plain, bundles)


def _row(
    side: Side,
    keys: tuple[str, ...],
    group: tuple[str, ...],
    kind: tuple[Mode, int | None, tuple[int, ...]],
    plain: Sequence[SeatLine],
    bundles: Sequence[tuple[SeatLine, Decimal]],
) -> SeatRow:
    mode, item, items = kind
    families = [side.matcher.families.get(key) or Family(key=key, refs=()) for key in keys]
    members = [one for key in keys for one in side.members.get(key, ())]
    counts = [one for key in keys for one in side.counts.get(key, ())]
    charges = [one for key in keys for one in side.charges.get(key, ())]
    others = [one for key in keys for one in side.others.get(key, ())]
    seats = {key: total(one.seats for one in side.members.get(key, ())) for key in keys}
    for key in keys:
        seats[key] += total(one.quantity for one in side.counts.get(key, ()))
    lines = [line for line in plain if line.in_scope]
    bundled = [(line, each) for line, each in bundles if line.in_scope]
    psa = total(line.quantity for line in lines) + total(line.quantity * each for line, each in bundled)
    present = [family for family in families if family.key in side.members or family.key in side.charges] or families
    names = sorted({ref.name for family in present for ref in family.refs if ref.name})
    ids = {one.subscription.id for one in members} | {charge.subscription_id for _, charge in charges}
    ids |= {one.subscription.id for one in others if one.kind is Class.ENDED}
    month = side.tenant.period
    first = month.first_day if month else None
    changes = sorted(
        (
            change
            for id_ in ids
            for change in side.tenant.changes.get(id_, ())
            if first is None or first <= change.day <= side.tenant.inputs.snapshot.day
        ),
        key=lambda change: (change.day, change.subscription_id),
    )
    usage = mode is Mode.USAGE
    return SeatRow(
        client_id=side.client_id,
        client_name=_client_name(side.tenant, side.client_id),
        group=group_id(side.client_id, group[0]),
        key=keys[0] if item is None else f"{keys[0]}#{item}",
        families=keys,
        skus=tuple(sorted({ref.sku for family in present for ref in family.refs if ref.sku})),
        product=names[0] if names else keys[0],
        vendor=next((name for name in _vendors(present, counts) if name), ""),
        tags=tuple(sorted({tag for family in families for tag in family.tags})),
        mode=mode,
        item_id=item,
        items=items,
        seats=total(seats.values()),
        count=ZERO if usage else total(units(seats[family.key], family) for family in families),
        invoiced=None if usage else _invoiced(side, families),
        psa_quantity=ZERO if usage else psa,
        lines=tuple(lines),
        bundles=tuple(bundled),
        members=tuple(members),
        counts=tuple(counts),
        charges=tuple(charges),
        money=tuple(one for key in keys for one in side.money.get(key, ())),
        companies=_companies(members),
        pending=total(one.pending for one in members) + total(one.seats for one in others if one.kind is Class.PENDING),
        trial=total(one.seats for one in others if one.kind is Class.TRIAL),
        changes=tuple(changes),
        billed_here=any(key in side.here for key in keys),
        guessed=_guessed(side.tenant, members, lines, families),
        moving=any(one.subscription.moving for one in members)
        or any(line.moving for line in (*lines, *(line for line, _ in bundled))),
        unsure=any(one.kind is Class.UNKNOWN for one in others),
        per_unit=families[0].per_unit,
        leads=item is None or item == items[0],
    )


def _client_name(tenant: Tenant, client_id: int) -> str:
    client = tenant.clients.get(client_id)
    return client.name if client else f"client {client_id}"


def _vendors(families: Iterable[Family], counts: Iterable[VendorCount]) -> Iterable[str]:
    yield from (family.vendor for family in families)
    yield from (count.vendor for count in counts)
    yield from (ref.vendor for family in families for ref in family.refs)


def _guessed(
    tenant: Tenant, members: Iterable[Classified], lines: Iterable[SeatLine], families: Iterable[Family]
) -> bool:
    """Whether anything between the two sides rests on a name or a likeness [LC6]."""
    matches = (tenant.matched.get(one.company.id) for one in members)
    by_client = any(match is not None and match.how == "similarity" for match in matches)
    hows = [line.how for line in lines] or [family.how for family in families]
    return by_client or any(how is not None and how.guessed for how in hows)


def _companies(members: Iterable[Classified]) -> tuple[CompanySeats, ...]:
    by_company: dict[str, list[Classified]] = defaultdict(list)
    for one in members:
        by_company[one.company.id].append(one)
    return tuple(
        CompanySeats(
            company_id=id_,
            company_name=ones[0].company.name,
            seats=total(one.seats for one in ones),
            subscriptions=len(ones),
        )
        for id_, ones in sorted(by_company.items())
    )


def _invoiced(side: Side, families: Iterable[Family]) -> Decimal | None:
    """Seats that Pax8 billed for the month [BC11]; None before the invoice is out, for what a file counts, and where a
    longer term was billed before our sources begin [LC9]."""
    tenant = side.tenant
    if tenant.period is None or tenant.month is None:
        return None
    seats = ZERO
    for family in families:
        if family.key in side.counts:
            return None
        charged = {charge.subscription_id for _, charge in side.charges.get(family.key, ())}
        for one in side.members.get(family.key, ()):
            if one.subscription.id not in charged and billed_before_us(one, tenant):
                return None
        of_family = (charge.quantity or ZERO for _, charge in side.charges.get(family.key, ()))
        seats += units(total(of_family), family)
    return seats


def billed_before_us(one: Classified, tenant: Tenant) -> bool:
    """Whether a subscription of a longer term may have been billed before the invoices that we have begin."""
    months, first = months_of(one.subscription.billing_term) or 1, tenant.first_kept
    if months <= 1 or tenant.period is None or first is None:
        return months > 1
    begun = one.subscription.billing_start or one.subscription.start
    reaches_back = first <= tenant.period.months_before(months - 1)
    return not reaches_back and (begun is None or begun < first.first_day)
