"""What each client has on both sides, collected before it is put into rows; and what no row takes [BC2]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from billingsync.core.charge import Charge
from billingsync.core.period import Period
from billingsync.core.reconcile.classify import Class, Classified, bills_here, is_excluded, is_usage
from billingsync.core.reconcile.lines import SeatLine
from billingsync.core.reconcile.matches import Family, Matcher
from billingsync.core.reconcile.snapshot import VendorCount
from billingsync.core.reconcile.tenant import Tenant, ref_of_count
from billingsync.core.rules import ExcludeRules, Rules


@dataclass(slots=True, kw_only=True)
class Side:
    """What one client has, collected before it is put into rows."""

    tenant: Tenant
    client_id: int
    matcher: Matcher
    lines: list[SeatLine]
    members: dict[str, list[Classified]]  # compared, by family
    others: dict[str, list[Classified]]  # of other classes, by family
    counts: dict[str, list[VendorCount]]
    charges: dict[str, list[tuple[Period, Charge]]]
    money: dict[str, list[Charge]]
    usage: set[str]
    here: frozenset[str]  # families that the billing job bills for this client


def collect(
    tenant: Tenant, classes: Sequence[Classified], lines: Mapping[int, Sequence[SeatLine]]
) -> tuple[list[Side], Apart]:
    """Everything by client, for all clients that have anything; and the month's charges that no row takes."""
    by_client: dict[int, list[Classified]] = defaultdict(list)
    for one in classes:
        if one.client is not None and one.kind is not Class.EXCLUDED:
            by_client[one.client.id].append(one)
    by_id = {one.subscription.id: one for one in classes}
    charges, money, apart = _standing_by_client(tenant, by_id), *_money_by_client(tenant, by_id)
    counts: dict[int, list[VendorCount]] = defaultdict(list)
    for count in sorted(tenant.inputs.counts, key=lambda count: (count.vendor, count.account, count.service)):
        if is_mapped(tenant, count):
            counts[count.client_id or 0].append(count)
    sides = []
    for client_id in sorted(by_client.keys() | lines.keys() | charges.keys() | counts.keys() | money.keys()):
        side = _side(tenant, client_id, by_client.get(client_id, []), list(lines.get(client_id, ())))
        sides.append(side)
        for period, charge in charges.get(client_id, ()):
            side.charges[side.matcher.family_of(tenant.ref_of_charge(charge))].append((period, charge))
        for count in counts.get(client_id, ()):
            side.counts[side.matcher.family_of(ref_of_count(count))].append(count)
        for charge in money.get(client_id, ()):
            _put_money(side, charge, by_id.get(charge.subscription_id), apart)
    return sides, apart


Apart = dict[tuple[str, str], list[Charge]]  # (why, currency) -> charges that stand apart from every row [BC2]


def _put_money(side: Side, charge: Charge, one: Classified | None, apart: Apart) -> None:
    tenant, ref = side.tenant, side.tenant.ref_of_charge(charge)
    family = side.matcher.family_of(ref)
    company = tenant.company(charge.company_id or "", charge.company_name)
    rules = tenant.rules_of.company(company, tenant.clients.get(side.client_id))
    known = side.matcher.families.get(family)
    has_line = any(family in line.families or family in dict(line.covers) for line in side.lines)
    if not (has_line or (known and known.items) or bills_here(tenant, side.client_id, company, rules, ref)):
        apart[Class.UNMAPPED_PRODUCT, charge.currency].append(charge)
        return
    side.money[family].append(charge)
    if is_usage(charge, rules) or (one is not None and one.kind is Class.USAGE):
        side.usage.add(family)


_NO_SEATS = (Class.TRIAL, Class.USAGE, Class.EXCLUDED, Class.UNMAPPED_PRODUCT, Class.UNMAPPED_COMPANY)


def _standing_by_client(tenant: Tenant, by_id: Mapping[str, Classified]) -> dict[int, list[tuple[Period, Charge]]]:
    """The charges of seats that stand for the month, by client."""
    found: dict[int, list[tuple[Period, Charge]]] = defaultdict(list)
    for key in sorted(tenant.standing):
        for period, charge in sorted(tenant.standing[key], key=lambda row: (row[0], row[1].id)):
            one = by_id.get(charge.subscription_id)
            client = tenant.client_of(charge.company_id or "")
            if client is None or (one and one.kind in _NO_SEATS) or _apart(tenant, charge):
                continue
            if not is_usage(charge, tenant.rules_of.client(client.id)):
                found[client.id].append((period, charge))
    return found


def _money_by_client(tenant: Tenant, by_id: Mapping[str, Classified]) -> tuple[dict[int, list[Charge]], Apart]:
    """All charges of the month, by client; and those that belong to none, by why."""
    found: dict[int, list[Charge]] = defaultdict(list)
    apart: Apart = defaultdict(list)
    for charge in sorted(tenant.month.charges if tenant.month else (), key=lambda charge: charge.id):
        client = tenant.client_of(charge.company_id or "")
        if why := _apart(tenant, charge):
            apart[why, charge.currency].append(charge)
        elif client is None:
            apart[Class.UNMAPPED_COMPANY, charge.currency].append(charge)
        else:
            found[client.id].append(charge)
    return found, apart


def _apart(tenant: Tenant, charge: Charge) -> str:
    """Why a charge takes no part, "" where it does [BC2]. What only the bill leaves out takes part."""
    if charge.type in CREDITS:
        return "credits"
    if charge.billed_by_pax8 or charge.company_id in tenant.inputs.snapshot.billed_by_pax8:
        return "billed_by_pax8"
    company = tenant.company(charge.company_id or "", charge.company_name)
    rules = tenant.rules_of.company(company, tenant.client_of(company.id))
    return Class.EXCLUDED if is_excluded(company, tenant.ref_of_charge(charge), rules) else ""


# What settles accounts between Pax8 and the partner [A3]: no sale to a client, so it stands apart from every row.
CREDITS = frozenset(ExcludeRules().types)


def is_mapped(tenant: Tenant, count: VendorCount) -> bool:
    """Whether an account of a vendor's file has a client, and its service an item [IM2]."""
    if count.client_id is None:
        return False
    matcher = tenant.matcher_for(tenant.rules_of.client(count.client_id))
    family = matcher.families.get(matcher.family_of(ref_of_count(count)))
    return bool(family and family.items)


def _side(tenant: Tenant, client_id: int, ones: Sequence[Classified], lines: list[SeatLine]) -> Side:
    matcher = tenant.matcher_for(tenant.rules_of.client(client_id))
    members: dict[str, list[Classified]] = defaultdict(list)
    others: dict[str, list[Classified]] = defaultdict(list)
    here: set[str] = set()
    for one in ones:
        if one.kind is Class.COMPARED:
            members[one.family].append(one)
        elif one.kind is not Class.UNMAPPED_PRODUCT:
            others[one.family].append(one)
        if bills_here(tenant, client_id, one.company, one.rules, one.ref):
            here.add(one.family)
    for line in lines:
        if line.posted is not None:
            here.update(line.families)
    named = {family for line in lines for family in line.families} - members.keys()
    usage = {one.family for one in ones if one.kind is Class.USAGE}
    usage |= {key for key in named if _is_named_usage(matcher.families.get(key), tenant.rules_of.client(client_id))}
    return Side(
        tenant=tenant,
        client_id=client_id,
        matcher=matcher,
        lines=lines,
        members=members,
        others=others,
        counts=defaultdict(list),
        charges=defaultdict(list),
        money=defaultdict(list),
        usage=usage,
        here=frozenset(here),
    )


def _is_named_usage(family: Family | None, rules: Rules) -> bool:
    """Whether a product's SKU alone says that it has no seats, where nothing at Pax8 tells more."""
    skus = [ref.sku for ref in family.refs if ref.sku] if family else []
    return bool(skus) and all(
        sku in rules.reconcile.usage_skus or sku.startswith(rules.modifiers.azure_sku_prefixes) for sku in skus
    )
