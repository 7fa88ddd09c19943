"""What waits for a person: holds with whose they are and how old, brought together where one action settles several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from billingsync.core.bill.plan import Hold, first_text, steps_for
from billingsync.core.money import ZERO
from billingsync.core.steps import Step

NOBODY = "No company named by Pax8"


class Named(Protocol):
    """A client with HaloPSA's name, "" where there is none, and Pax8's."""

    @property
    def client_name(self) -> str: ...
    @property
    def company_name(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenHold:
    """One held charge and whose it is. `since` is an ISO date or moment, `age_days` how long it has waited."""

    hold: Hold
    company_name: str
    company_id: str | None = None
    client_name: str = ""
    client_id: int | None = None
    period: str = ""
    since: str = ""
    age_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Charges of one company that wait for the same thing; `amount` and `cost` are their sums."""

    who: str
    reason: str
    detail: str
    steps: tuple[Step, ...]  # each is one way to end it, for all these charges
    currency: str
    products: tuple[str, ...]  # each once, in order
    charges: tuple[str, ...]
    amount: Decimal
    cost: Decimal
    period: str
    age_days: int | None  # of the oldest
    by_product: tuple[tuple[str, int, Decimal], ...] = ()  # each product with its charges' number and sum, in order

    @property
    def next_step(self) -> str:
        return first_text(self.steps)

    @property
    def is_bill(self) -> bool:
        """Whether a limit holds a whole bill, which a person approves as one."""
        return self.reason.startswith("limit_") and len(self.charges) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonGroup:
    """Everything that waits for one reason, with the money per currency as (price, cost)."""

    reason: str
    waits: tuple[Wait, ...]
    money: Mapping[str, tuple[Decimal, Decimal]]

    @property
    def charges(self) -> int:
        return sum(len(wait.charges) for wait in self.waits)


def display_name(client: Named) -> str:
    """The HaloPSA client's name, and Pax8's beside it where that differs."""
    client_name, company_name = client.client_name, client.company_name
    if not client_name:
        return company_name or NOBODY
    if company_name and company_name.casefold() != client_name.casefold():
        return f"{client_name} (Pax8: {company_name})"
    return client_name


class Holding(Named, Protocol):
    """A client with what waits of it."""

    @property
    def company_id(self) -> str | None: ...
    @property
    def client_id(self) -> int | None: ...
    @property
    def holds(self) -> tuple[Hold, ...]: ...


class HoldingPlan(Protocol):
    """As much of a plan as waits: a whole `Plan`, or what was read of a kept one."""

    @property
    def period(self) -> str: ...
    @property
    def clients(self) -> Sequence[Holding]: ...
    @property
    def unassigned_holds(self) -> tuple[Hold, ...]: ...


def client_holds(client: Holding) -> list[OpenHold]:
    return [
        OpenHold(
            hold=hold,
            company_name=display_name(client),
            company_id=client.company_id,
            client_name=client.client_name,
            client_id=client.client_id,
        )
        for hold in client.holds
    ]


def unassigned_holds(plan: HoldingPlan) -> list[OpenHold]:
    return [OpenHold(hold=hold, company_name=NOBODY) for hold in plan.unassigned_holds]


def plan_holds(plan: HoldingPlan) -> list[OpenHold]:
    """Every hold of a plan, the clients' in the plan's order, then those without a company."""
    return [entry for client in plan.clients for entry in client_holds(client)] + unassigned_holds(plan)


def together(entries: Iterable[OpenHold]) -> list[Wait]:
    """Holds that one action settles, as one entry each, in order of first appearance."""
    groups: dict[tuple[object, ...], list[OpenHold]] = {}
    for entry in entries:
        hold = entry.hold
        same = (
            entry.company_id or "",
            entry.company_name,
            hold.reason,
            hold.detail,
            hold.steps,
            hold.currency,
            entry.period,
        )
        groups.setdefault(same, []).append(entry)
    return [_wait(members) for members in groups.values()]


def _wait(members: list[OpenHold]) -> Wait:
    first = members[0]
    sums: dict[str, tuple[int, Decimal]] = {}
    for entry in members:
        number, amount = sums.get(entry.hold.product, (0, ZERO))
        sums[entry.hold.product] = (number + 1, amount + entry.hold.amount)
    charges = tuple(entry.hold.charge for entry in members)
    ages = [entry.age_days for entry in members if entry.age_days is not None]
    return Wait(
        who=first.company_name,
        reason=first.hold.reason,
        detail=first.hold.detail,
        steps=steps_for(first.hold.steps, charges),
        currency=first.hold.currency,
        products=tuple(dict.fromkeys(entry.hold.product for entry in members)),
        charges=charges,
        amount=sum((entry.hold.amount for entry in members), ZERO),
        cost=sum((entry.hold.cost for entry in members), ZERO),
        period=first.period,
        age_days=max(ages, default=None),
        by_product=tuple((product, *both) for product, both in sums.items()),
    )


def by_reason(entries: Iterable[OpenHold]) -> list[ReasonGroup]:
    """What waits, grouped by reason, the reason with the most money first."""
    groups: dict[str, list[Wait]] = {}
    for wait in together(entries):
        groups.setdefault(wait.reason, []).append(wait)
    result = [ReasonGroup(reason=reason, waits=tuple(waits), money=money_of(waits)) for reason, waits in groups.items()]
    # Currencies cannot be added up: for the order alone, their sizes are.
    return sorted(result, key=lambda group: -sum((abs(price) for price, _ in group.money.values()), ZERO))


def money_of(waits: Iterable[Wait]) -> dict[str, tuple[Decimal, Decimal]]:
    """(price, cost) per currency, currencies in order of first appearance."""
    money: dict[str, tuple[Decimal, Decimal]] = {}
    for wait in waits:
        price, cost = money.get(wait.currency, (ZERO, ZERO))
        money[wait.currency] = (price + wait.amount, cost + wait.cost)
    return money
