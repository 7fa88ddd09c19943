"""What a plan's first screen shows, as values: made from a whole plan, or from the rows that the ledger keeps of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, TypeVar

from billingsync.core.bill.plan import ClientPlan, CurrencyAccount, Plan, TrueUp
from billingsync.core.money import ZERO
from billingsync.core.states import LineAction
from billingsync.report.labels import client_target, new_invoice_counts
from billingsync.report.waiting import Named, display_name, plan_holds

MOST_CLIENTS = 30  # shown one by one; one more is shown rather than counted


class Client(Named, Protocol):
    """What one line about a client is made of."""

    @property
    def guessed(self) -> str: ...
    @property
    def amount(self) -> Decimal: ...
    @property
    def cost(self) -> Decimal: ...
    @property
    def currency(self) -> str: ...
    @property
    def last_amount(self) -> Decimal | None: ...
    @property
    def last_period(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """A client that has something to post: where it goes, and its lines as `~2 +1 -1 =8`."""

    client: Client
    goes_to: str
    lines: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFor:
    """What waits for one reason: how many charges, and their price by currency."""

    reason: str
    charges: int
    money: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBack:
    """What modifiers kept from one client [M4]."""

    currency: str
    credits_withheld: Decimal
    cost_absorbed: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A plan on one screen. `invoices` and `charges` are Pax8's; `billed` are all clients that have lines, in order;
    `held_clients` is how many companies wait."""

    digest: str
    partner: str
    period: str
    invoices: int
    charges: int
    companies_asked: int
    billed: Sequence[Billed]
    held_clients: int
    held_for: Sequence[HeldFor]
    true_ups: Sequence[TrueUp]
    kept_back: Sequence[KeptBack]
    warnings: Sequence[str]
    accounts: Sequence[CurrencyAccount]
    writes: bool
    held: bool


def overview_of(plan: Plan) -> Overview:
    """The overview of a whole plan."""
    counts, holds = new_invoice_counts(plan), plan_holds(plan)
    return Overview(
        digest=plan.digest,
        partner=plan.partner,
        period=plan.period,
        invoices=len(plan.sources),
        charges=sum(source.charges for source in plan.sources),
        companies_asked=len(plan.clients_asked),
        billed=[
            Billed(client=client, goes_to=client_target(client, counts), lines=_lines(client))
            for client in largest_change_first(client for client in plan.clients if client.lines)
        ],
        held_clients=len({entry.company_id or entry.company_name for entry in holds}),
        held_for=held_for((entry.hold.reason, entry.hold.currency, entry.hold.amount, 1) for entry in holds),
        true_ups=plan.true_ups,
        kept_back=[
            KeptBack(currency=one.currency, credits_withheld=one.credits_withheld, cost_absorbed=one.cost_absorbed)
            for one in plan.kept
        ],
        warnings=plan.warnings,
        accounts=plan.accounts,
        writes=plan.writes,
        held=plan.held,
    )


_Client = TypeVar("_Client", bound=Client)


def largest_change_first(clients: Iterable[_Client]) -> list[_Client]:
    """In the order of the screen: by how much the amount changes from the client's last period, then by name."""
    return sorted(clients, key=lambda client: (-_moved(client), display_name(client).casefold()))


def _moved(client: Client) -> Decimal:
    return abs(client.amount - (client.last_amount or ZERO)) if client.last_period else ZERO


def name_of(client: Client) -> str:
    """HaloPSA's name; Pax8's beside it where the match is a guess."""
    return display_name(client) if client.guessed or not client.client_name else client.client_name


def held_for(holds: Iterable[tuple[str, str, Decimal, int]]) -> list[HeldFor]:
    """Holds (reason, currency, price, charges) by reason, the one with the most money first."""
    money: dict[str, dict[str, Decimal]] = {}
    charges: Counter[str] = Counter()
    for reason, currency, amount, number in holds:
        sums = money.setdefault(reason, {})
        sums[currency] = sums.get(currency, ZERO) + amount
        charges[reason] += number
    found = [HeldFor(reason=reason, charges=charges[reason], money=sums) for reason, sums in money.items()]
    # Currencies cannot be added up: for the order alone, their sizes are.
    return sorted(found, key=lambda one: -sum((abs(price) for price in one.money.values()), ZERO))


def line_counts(*, updated: int, added: int, removed: int, same: int) -> str:
    """`~2 +1 -1 =8`: lines that change, come, go, and stay at their amount."""
    signs = (("~", updated), ("+", added), ("-", removed), ("=", same))
    return " ".join(f"{sign}{number}" for sign, number in signs if number)


def _lines(client: ClientPlan) -> str:
    same = sum(line.stays for line in client.lines)
    found = Counter(line.action for line in client.lines if not line.stays)
    added, updated = found[LineAction.ADD], found[LineAction.UPDATE]
    return line_counts(updated=updated, added=added, removed=len(client.lines) - same - added - updated, same=same)
