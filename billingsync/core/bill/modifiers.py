"""Invoice modifiers [M1]-[M3]: what is dropped, what becomes one line, what waits. Each charge is judged once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from billingsync.core.charge import KNOWN_TYPES, Charge
from billingsync.core.money import ZERO
from billingsync.core.reasons import Modifier, Reason
from billingsync.core.rules import ModifierRules
from billingsync.core.steps import Fill


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A line before it has an item, a text and a target: one charge, or all Azure charges of a client."""

    charges: tuple[Charge, ...]
    collapsed: bool
    group: str
    currency: str
    price: Decimal
    cost: Decimal
    quantity: Decimal | None
    unit_price: Decimal | None
    unit_cost: Decimal | None
    sku: str
    product_id: str
    product_name: str
    label: str  # what the text calls the product: the description where it says more than the name
    subscription_id: str
    start: str
    end: str
    term: str
    kind: str  # the charge's type, or "azure" where collapsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One charge that does not go on: `modifier` where it is dropped, `reason` where it is held."""

    charge: Charge
    modifier: Modifier | None = None
    reason: Reason | None = None
    detail: str = ""
    fill: Fill = field(default_factory=dict)  # what the reason's steps need to know


_BUILT_IN = frozenset(pattern.casefold() for pattern in ModifierRules().azure_patterns)
_SEATS = frozenset(("user", "users", "seat", "seats", "license", "licenses", "licence", "licences"))


def is_azure(charge: Charge, rules: ModifierRules) -> bool:
    """[M1]: by SKU, or by what its texts contain. What a partner wrote counts as written; our own patterns only for
    what Microsoft sells, or nobody is named to sell, and not for seats: backup "for Microsoft Azure" is no Azure."""
    if charge.sku.startswith(rules.azure_sku_prefixes):
        return True
    texts = f"{charge.description}\n{charge.product_name}\n{charge.details}".casefold()
    found = {pattern.casefold() for pattern in rules.azure_patterns if pattern.casefold() in texts}
    return bool(found - _BUILT_IN) or (bool(found) and _may_be_microsofts(charge))


def _may_be_microsofts(charge: Charge) -> bool:
    return not (charge.vendor and "microsoft" not in charge.vendor.casefold()) and not _are_seats(charge)


def _are_seats(charge: Charge) -> bool:
    whole = charge.quantity is not None and charge.quantity == charge.quantity.to_integral_value()
    counted = charge.unit.casefold() in _SEATS
    return charge.type == "subscription" and counted and whole and charge.term.casefold() != "arrears"


def apply_modifiers(
    charges: Sequence[Charge],
    rules: ModifierRules,
    group_of: Callable[[Charge], str],
    all_prorates: Iterable[Charge] = (),
    billed_as_said: Collection[str] = (),
) -> tuple[list[Draft], list[Verdict]]:
    """The charges of one client -> what is to become lines, and what is dropped or held, in the charges' order.

    `all_prorates` are those of the client's prorates that wait or were decided before, too: a change of seats is judged
    as a whole [M2]. `billed_as_said` are charges of unknown type, or that had no company, that a person lets be billed
    as Pax8 says [V1]: what was said of one charge by its amount counts more than a modifier that would drop it."""
    changes = _changes([*charges, *all_prorates]) if rules.favorable_prorata == "drop" else {}
    drafts: list[Draft] = []
    verdicts: list[Verdict] = []
    azure: dict[tuple[str, str], list[Charge]] = defaultdict(list)
    for charge in charges:
        if rules.azure != "keep" and is_azure(charge, rules):
            if rules.azure == "drop" and charge.id in billed_as_said:
                drafts.append(draft_of(charge, group_of(charge)))
            elif rules.azure == "drop":
                verdicts.append(Verdict(charge=charge, modifier=Modifier.AZURE))
            else:
                azure[charge.currency, group_of(charge)].append(charge)
        elif charge.type not in KNOWN_TYPES and charge.id not in billed_as_said:
            verdicts.append(_unknown_type(charge))
        elif (verdict := _prorata(charge, changes) or _zero(charge, charge.price, charge.cost, rules)) and not (
            verdict.modifier and charge.id in billed_as_said
        ):
            verdicts.append(verdict)
        else:
            drafts.append(draft_of(charge, group_of(charge)))
    for (currency, group), members in azure.items():
        draft = _collapse(members, currency, group)
        whole = [_zero(charge, draft.price, draft.cost, rules) for charge in members]
        dropped_or_held = [verdict for verdict in whole if verdict]
        if dropped_or_held:
            verdicts.extend(dropped_or_held)
        else:
            drafts.append(draft)
    return drafts, verdicts


def _unknown_type(charge: Charge) -> Verdict:
    if not charge.type:
        return Verdict(
            charge=charge,
            reason=Reason.UNKNOWN_CHARGE_TYPE,
            detail="Pax8 does not say what kind of charge this is",
        )
    return Verdict(
        charge=charge,
        reason=Reason.UNKNOWN_CHARGE_TYPE,
        detail=f"Pax8 calls this charge {charge.type!r:.60}, which billingsync does not know",
    )


Change = tuple[str, ...]


def _change_of(charge: Charge) -> Change:
    """What tells one change of seats from another: a subscription on one invoice. Without one, a prorate is alone."""
    return (charge.invoice_id, charge.currency, charge.subscription_id, "" if charge.subscription_id else charge.id)


def _changes(charges: Iterable[Charge]) -> dict[Change, tuple[Charge, ...]]:
    """The prorates of each change of seats, each once: what takes seats back and what bills more of them."""
    found: dict[Change, dict[str, Charge]] = defaultdict(dict)
    for charge in charges:
        if charge.type == "prorate":
            found[_change_of(charge)][charge.id] = charge
    return {change: tuple(members.values()) for change, members in found.items()}


def _prorata(charge: Charge, changes: Mapping[Change, Sequence[Charge]]) -> Verdict | None:
    """[M2]: the sign of the amount decides, never that of quantity or unit price; of a change of seats that of the sum,
    for all of it."""
    change = changes.get(_change_of(charge), ()) if charge.type == "prorate" else ()
    if not change:
        return None
    if unreadable := next((each for each in change if each.problem), None):
        return Verdict(
            charge=charge,
            reason=Reason.BAD_AMOUNT,
            detail=f"another prorate of the same subscription cannot be read: {unreadable.problem}",
        )
    price, cost = sum((each.price for each in change), ZERO), sum((each.cost for each in change), ZERO)
    signs = [(each.price, each.cost) for each in change] + [(price, cost)]
    if opposite := next(((one, other) for one, other in signs if one * other < 0), None):
        return Verdict(
            charge=charge,
            reason=Reason.PRICE_COST_SIGN,
            detail=f"a prorate whose price ({opposite[0]}) and cost ({opposite[1]}) point in opposite directions",
        )
    return Verdict(charge=charge, modifier=Modifier.FAVORABLE_PRORATA) if price < 0 else None


def _zero(charge: Charge, price: Decimal, cost: Decimal, rules: ModifierRules) -> Verdict | None:
    """[M3], last, so that a collapsed line of zero goes too; `price` and `cost` are those of the line."""
    if rules.zero_lines != "drop" or price != 0:
        return None
    if cost != 0 and rules.zero_price_with_cost == "keep":
        return None
    if cost != 0 and rules.zero_price_with_cost == "hold":
        return Verdict(
            charge=charge,
            reason=Reason.ZERO_PRICE_WITH_COST,
            detail=f"nothing is charged for it, yet it costs {cost}",
        )
    return Verdict(charge=charge, modifier=Modifier.ZERO_LINES)


def _label(product_name: str, description: str) -> str:
    """The description where it says more than the product's name, else ""."""
    return description if product_name.casefold() in description.casefold() else ""


def draft_of(charge: Charge, group: str = "") -> Draft:
    """One charge as a line to be."""
    label = _label(charge.product_name, charge.description) or charge.product
    return Draft(
        charges=(charge,),
        collapsed=False,
        group=group,
        currency=charge.currency,
        price=charge.price,
        cost=charge.cost,
        quantity=charge.quantity,
        unit_price=charge.unit_price,
        unit_cost=charge.unit_cost,
        sku=charge.sku,
        product_id=charge.product_id,
        product_name=charge.product_name or charge.description or charge.sku,
        label=label,
        subscription_id=charge.subscription_id,
        start=charge.start,
        end=charge.end,
        term=charge.term,
        kind=charge.type,
    )


def _collapse(charges: list[Charge], currency: str, group: str) -> Draft:
    """All Azure charges of a client as one line: quantity 1, the sums of prices and costs, margin untouched [M1]."""
    price = sum((charge.price for charge in charges), ZERO)
    cost = sum((charge.cost for charge in charges), ZERO)

    def common(values: Iterable[str], otherwise: str) -> str:
        distinct = {value for value in values if value}
        return distinct.pop() if len(distinct) == 1 else otherwise

    name = common((charge.product_name for charge in charges), "Microsoft Azure")
    return Draft(
        charges=tuple(charges),
        collapsed=True,
        group=group,
        currency=currency,
        price=price,
        cost=cost,
        quantity=Decimal(1),
        unit_price=price,
        unit_cost=cost,
        sku=common((charge.sku for charge in charges), ""),
        product_id=common((charge.product_id for charge in charges), ""),
        product_name=name,
        label=name,
        subscription_id="",
        start=min((charge.start for charge in charges if charge.start), default=""),
        end=max((charge.end for charge in charges if charge.end), default=""),
        term="Arrears",
        kind="azure",
    )
