"""Every subscription in exactly one class [LC2] [LC3]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache

from billingsync.core.bill.modifiers import is_azure
from billingsync.core.charge import Charge
from billingsync.core.inputs import Client, Company
from billingsync.core.money import ZERO
from billingsync.core.reconcile.matches import Ref
from billingsync.core.reconcile.snapshot import Subscription
from billingsync.core.reconcile.tenant import Tenant
from billingsync.core.reconcile.terms import is_arrears, is_seats, is_trial, months_of
from billingsync.core.rules import ModifierRules, Rules


class Class(StrEnum):
    EXCLUDED = "excluded"
    ENDED = "ended"
    TRIAL = "trial"
    USAGE = "usage"
    PENDING = "pending"
    UNKNOWN = "unknown"
    UNMAPPED_COMPANY = "unmapped_company"
    UNMAPPED_PRODUCT = "unmapped_product"
    COMPARED = "compared"


LIVE = ("active", "activated")
NOT_BEGUN = ("waitingfordetails", "pendingactivation")
UNDER_WAY = ("pendingmanual", "pendingautomated")  # how Pax8 also shows a change of a live subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """One subscription with what it counts for. `seats` are those that count (`compared`), else what it has; `pending`
    is the part that is under way. `unit_cost` is one seat's for one month, None where not known."""

    subscription: Subscription
    company: Company
    client: Client | None
    rules: Rules
    ref: Ref
    family: str
    kind: Class
    seats: Decimal
    pending: Decimal = ZERO
    unit_cost: Fraction | None = None
    unit_price: Fraction | None = None
    why: str = ""

    @property
    def cost_month(self) -> Fraction | None:
        return None if self.unit_cost is None else Fraction(self.seats) * self.unit_cost


def classified(tenant: Tenant, at_client: Mapping[int, frozenset[str]]) -> tuple[Classified, ...]:
    """All subscriptions, by id. `at_client` are the families that a client has a line for: by pairing, text or item."""
    found = []
    for subscription in sorted(tenant.inputs.snapshot.subscriptions, key=lambda one: one.id):
        company = tenant.company(subscription.company_id)
        client = tenant.client_of(subscription.company_id)
        rules = tenant.rules_of.company(company, client)
        ref = tenant.refs[subscription.id]
        matcher = tenant.matcher_for(tenant.rules_of.client(client.id) if client else rules)
        one = _Judged(subscription=subscription, company=company, client=client, rules=rules, ref=ref)
        kind, seats = _class_of(one, tenant)
        family = matcher.family_of(ref)
        why = ""
        if kind is Class.COMPARED and client is None:
            kind = Class.UNMAPPED_COMPANY
        elif kind is Class.COMPARED and client is not None:
            known = matcher.families.get(family)
            has_line = family in at_client.get(client.id, frozenset())
            if not (has_line or (known and known.items) or bills_here(tenant, client.id, one.company, rules, ref)):
                kind, why = Class.UNMAPPED_PRODUCT, known.ambiguous if known else ""
        quantity = subscription.quantity or ZERO
        found.append(
            Classified(
                subscription=subscription,
                company=company,
                client=client,
                rules=rules,
                ref=ref,
                family=family,
                kind=kind,
                seats=seats,
                pending=quantity - seats if kind is Class.COMPARED else ZERO,
                unit_cost=unit_cost(subscription, tenant),
                unit_price=_per_month(subscription.price, subscription.billing_term),
                why=why,
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    subscription: Subscription
    company: Company
    client: Client | None
    rules: Rules
    ref: Ref


def status_of(subscription: Subscription) -> str:
    """The status without case, spaces and signs."""
    return "".join(letter for letter in subscription.status.casefold() if letter.isalnum())


def _class_of(one: _Judged, tenant: Tenant) -> tuple[Class, Decimal]:
    """The first class that fits, but for whom and what it is; and the seats that count."""
    subscription = one.subscription
    status, quantity = status_of(subscription), subscription.quantity
    evidence = tenant.evidence.get(subscription.id)
    if is_excluded(one.company, one.ref, one.rules) or one.company.id in tenant.inputs.snapshot.billed_by_pax8:
        return Class.EXCLUDED, quantity or ZERO
    if status == "cancelled" or (status == "converted" and evidence is None) or _is_over(subscription, tenant):
        return Class.ENDED, quantity or ZERO
    if status == "trial" or is_trial(subscription.billing_term):
        return Class.TRIAL, quantity or ZERO
    if _is_usage(one, tenant):
        return Class.USAGE, quantity or ZERO
    counts = quantity
    if status in UNDER_WAY:
        counts = tenant.inputs.last_active.get(subscription.id, evidence)
        if counts is None:
            return Class.PENDING, quantity or ZERO
    elif status in NOT_BEGUN and evidence is None:
        return Class.PENDING, quantity or ZERO
    is_named = status in (*LIVE, *NOT_BEGUN, *UNDER_WAY, "pendingcancel", "converted")
    if counts is None or (not is_named and evidence is None):
        return Class.UNKNOWN, quantity or ZERO
    return Class.COMPARED, counts


def is_excluded(company: Company, ref: Ref, rules: Rules) -> bool:
    """What reports leave out [LC2]; the rules of the bill (`exclude.*`) say nothing here."""
    left_out = rules.reconcile
    return (
        company.id in left_out.exclude_companies
        or company.name in left_out.exclude_companies
        or bool(ref.sku and ref.sku in left_out.exclude_products)
        or bool(ref.name and ref.name in left_out.exclude_products)
    )


def _is_over(subscription: Subscription, tenant: Tenant) -> bool:
    if status_of(subscription) != "pendingcancel":
        return False
    end = subscription.end or (subscription.commitment.end if subscription.commitment else None)
    return end is not None and end < tenant.inputs.snapshot.day


def is_usage(charge: Charge, rules: Rules) -> bool:
    """A charge that has no seats: Azure [M1], what the rules say, or arrears of any vendor."""
    return is_arrears(charge) or charge.sku in rules.reconcile.usage_skus or is_azure(charge, rules.modifiers)


def _is_usage(one: _Judged, tenant: Tenant) -> bool:
    charges = tenant.newest.get(one.subscription.id, ())
    if one.ref.sku and one.ref.sku in one.rules.reconcile.usage_skus:
        return True
    if charges:
        return all(is_usage(charge, one.rules) for charge in charges)
    return _names_azure(one, one.rules.modifiers)


def _names_azure(one: _Judged, rules: ModifierRules) -> bool:
    """Azure that was not charged yet: by SKU; by name only where it has no seats to speak of."""
    if one.ref.sku.startswith(rules.azure_sku_prefixes):
        return True
    name = one.ref.name.casefold()
    microsofts = not one.ref.vendor or "microsoft" in one.ref.vendor.casefold()
    few = one.subscription.quantity is None or one.subscription.quantity <= 1
    return microsofts and few and any(pattern.casefold() in name for pattern in rules.azure_patterns)


def bills_here(tenant: Tenant, client_id: int, company: Company, rules: Rules, ref: Ref) -> bool:
    """Whether the billing job bills this product of this client: it posts for the client, and no rule says no."""
    left_out = rules.exclude
    file = tenant.rules_of.by_company.get(company.id) or tenant.rules_of.by_name.get(company.name)
    never = company.id in left_out.companies or company.name in left_out.companies or bool(file and file.exclude)
    not_this = bool(ref.sku and ref.sku in left_out.products) or bool(ref.name and ref.name in left_out.products)
    return client_id in tenant.billed_clients and not never and not not_this


@lru_cache(maxsize=16_384)  # few prices for very many subscriptions
def _per_month(amount: Decimal | None, term: str) -> Fraction | None:
    """A unit's amount for one month; 0 for terms that do not recur, None where amount or term is not known."""
    months = months_of(term)
    if amount is None or months is None:
        return None
    return Fraction(amount) / months if months else Fraction(0)


def unit_cost(subscription: Subscription, tenant: Tenant) -> Fraction | None:
    """`partnerCost`, else the newest charge's unit cost, for one month [LC10]."""
    if subscription.cost is not None:
        return _per_month(subscription.cost, subscription.billing_term)
    charges = [charge for charge in tenant.newest.get(subscription.id, ()) if is_seats(charge)]
    known = {_per_month(charge.unit_cost, charge.term) for charge in charges} - {None}
    return max((cost for cost in known if cost is not None), default=None)
