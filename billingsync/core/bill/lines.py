"""A draft becomes the line that the customer sees: quantity, unit price and text [L1]-[L3], split over parts [P5]."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from billingsync.core.bill.modifiers import Draft
from billingsync.core.bill.plan import ItemRef, PlanLine
from billingsync.core.money import ZERO, divide, is_half, multiply, plain, round_money
from billingsync.core.rules import Part
from billingsync.core.states import LineAction

_FIELD = re.compile(r"\{(\w+)\}|\{\{|\}\}")
_EMPTY_PERIOD = re.compile(r"\s*\(\s*(?:to|bis|-|–)?\s*\)")  # what is left of "({start} to {end})" without dates

_PRICE_DECIMALS = 6  # [L1]
_COST_DECIMALS = range(6, 13)  # costs are not shown to customers, so they may be as fine as they must


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Numbers for one line whose products give `amount` and `cost` back; `exact` where Pax8's quantity survived."""

    quantity: Decimal
    unit_price: Decimal
    unit_cost: Decimal
    exact: bool


def fit(
    amount: Decimal,
    cost: Decimal,
    currency: str,
    quantity: Decimal | None,
    unit_price: Decimal | None,
    unit_cost: Decimal | None,
) -> Fit:
    """[L1]: Pax8's numbers where they give the amount; else the amount divided; else quantity 1 at the amount."""
    if quantity is not None:
        price = _gives(amount, currency, quantity, unit_price)
        if price is None:
            price = _divided(amount, currency, quantity, range(_PRICE_DECIMALS, _PRICE_DECIMALS + 1))
        unit = _gives(cost, currency, quantity, unit_cost)
        if unit is None:
            unit = _divided(cost, currency, quantity, _COST_DECIMALS)
        if price is not None and unit is not None:
            return Fit(quantity=quantity, unit_price=price, unit_cost=unit, exact=True)
    return Fit(quantity=Decimal(1), unit_price=amount, unit_cost=cost, exact=False)


def _gives(amount: Decimal, currency: str, quantity: Decimal, unit: Decimal | None) -> Decimal | None:
    """The unit price where it gives the amount, and not by rounding a half: HaloPSA computes in floats, in which
    10 x 1.2345 may be 12.34 as well as 12.35 (reference/halopsa 2.7)."""
    if unit is None:
        return None
    exact = multiply(quantity, unit)
    if exact == amount:
        return unit  # nothing was rounded, as in almost every charge
    if round_money(exact, currency) != amount or is_half(exact, currency):
        return None
    return unit


def _divided(amount: Decimal, currency: str, quantity: Decimal, decimals: range) -> Decimal | None:
    if quantity == 0:
        return None
    for places in decimals:
        unit = divide(amount, quantity, places)
        if _gives(amount, currency, quantity, unit) is not None:
            return unit
    return None


def line_text(template: str, draft: Draft, *, company: str, period: str, several: bool) -> str:
    """The template filled in [L2]. Values are put in as they are: braces in them mean nothing."""
    more = ""
    if draft.collapsed and "{charge_count}" not in template:
        more += f" - {len(draft.charges)} charge{'s' if len(draft.charges) > 1 else ''}"
    if several and draft.subscription_id and "{subscription}" not in template:
        more += f" [{draft.subscription_id[:8]}]"
    pattern, fields = _compiled(template)
    text = pattern % tuple([_VALUES[name](draft, company, period) for name in fields])
    if not (draft.start or draft.end):
        text = _EMPTY_PERIOD.sub("", text)
    return " ".join(f"{text}{more}".split()) or draft.label or "(no text)"


_VALUES: dict[str, Callable[[Draft, str, str], str]] = {
    "product": lambda draft, company, period: draft.label,
    "start": lambda draft, company, period: draft.start[:10],
    "end": lambda draft, company, period: draft.end[:10],
    "subscription": lambda draft, company, period: draft.subscription_id,
    "sku": lambda draft, company, period: draft.sku,
    "charge_count": lambda draft, company, period: str(len(draft.charges)),
    "company": lambda draft, company, period: company,
    "term": lambda draft, company, period: draft.term,
    "period": lambda draft, company, period: period,
}


@lru_cache(maxsize=64)
def _compiled(template: str) -> tuple[str, tuple[str, ...]]:
    """The template as a pattern of `%s`, and the fields that go there in their order."""
    pattern, fields = "", []
    end = 0
    for found in _FIELD.finditer(template):
        pattern += template[end : found.start()].replace("%", "%%")
        if found[1]:
            pattern += "%s"
            fields.append(found[1])
        else:
            pattern += found[0][0]  # a doubled brace means one
        end = found.end()
    return pattern + template[end:].replace("%", "%%"), tuple(fields)


def draft_lines(
    draft: Draft,
    items: Sequence[tuple[Part | None, ItemRef | None]],
    text: str,
    company_id: str = "",
    keys: Sequence[str] = (),
) -> list[PlanLine]:
    """The lines of one draft: one, or one for each part of a product that is split over several items [P5]. `keys` are
    those by which they are recognised next month, if any."""
    amounts = _shares(draft, [part for part, _ in items])
    charges = tuple([charge.id for charge in draft.charges])
    lines = []
    keys = keys or [""] * len(items)
    for (part, item), (amount, cost), key in zip(items, amounts, keys, strict=True):
        if part is None:
            numbers = fit(amount, cost, draft.currency, draft.quantity, draft.unit_price, draft.unit_cost)
        else:
            numbers = fit(amount, cost, draft.currency, draft.quantity, part.unit_price, None)
        said = text
        if not numbers.exact and draft.quantity is not None and draft.unit_price is not None and part is None:
            said = f"{text} - {plain(draft.quantity)} x {plain(draft.unit_price, draft.currency)}"
        lines.append(
            PlanLine(
                action=LineAction.ADD,
                line_id=None,
                title=draft.product_name or draft.label,
                description=said,
                item=item,
                quantity=numbers.quantity,
                unit_price=numbers.unit_price,
                unit_cost=numbers.unit_cost,
                amount=amount,
                cost=cost,
                charges=charges,
                group=draft.group,
                company_id=company_id,
                recurring_key=key,
            )
        )
    return lines


def _shares(draft: Draft, parts: Sequence[Part | None]) -> list[tuple[Decimal, Decimal]]:
    """Price and cost of each part; they add up exactly, because one part takes what the others leave."""
    if parts[0] is None:
        return [(draft.price, draft.cost)]
    whole = [part for part in parts if part is not None]
    if len(whole) < len(parts) or not whole:
        return [(draft.price, draft.cost)]
    taker = next((n for n, part in enumerate(whole) if part.rest), len(whole) - 1)
    prices: list[Decimal] = []
    costs: list[Decimal] = []
    for n, part in enumerate(whole):
        if n == taker:
            price = cost = ZERO
        elif part.share is not None:
            price = round_money(multiply(draft.price, part.share) / 100, draft.currency)
            cost = round_money(multiply(draft.cost, part.share) / 100, draft.currency)
        else:
            quantity = Decimal(1) if draft.quantity is None else draft.quantity
            price = round_money(multiply(quantity, part.unit_price or ZERO), draft.currency)
            # A fixed price says nothing about cost: it takes its share of the cost by its share of the price.
            cost = round_money(draft.cost * price / draft.price, draft.currency) if draft.price else ZERO
        prices.append(price)
        costs.append(cost)
    prices[taker] = draft.price - sum(prices, ZERO)
    costs[taker] = draft.cost - sum(costs, ZERO)
    return list(zip(prices, costs, strict=True))


class Numbered:
    """The keys by which lines are recognised next month [B3]: equal ones are told apart by their ordinal."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def __call__(self, key: str) -> str:
        ordinal = self._seen[key] = self._seen.get(key, 0) + 1
        return f"{key}|{ordinal}"
