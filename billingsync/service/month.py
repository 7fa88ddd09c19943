"""What the worker knows of one month; it travels as JSON from cycle to cycle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from billingsync.core.bill.plan import CurrencyAccount, Plan
from billingsync.core.money import ZERO, plain
from billingsync.core.period import Period
from billingsync.core.states import MonthState
from billingsync.report.waiting import OpenHold

CLOSED = (MonthState.DONE, MonthState.ABSENT)
OPEN = tuple(state for state in MonthState if state not in CLOSED)
_SIDES = ("charges", "posted", "already_posted", "dropped", "excluded", "held")


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """`money` is, by currency and state, (price, cost) as text; `charges` counts charges by state; `holds` has, by
    reason, how many charges wait, since how many days at most, and their price by currency. `made_from` names what the
    last plan depends on, "" where it must be made again; `planned_at` (ISO) is when it was made."""

    state: MonthState = MonthState.WAITING
    invoices: tuple[str, ...] = ()  # those that counted when it was last planned
    digest: str = ""
    problem: str = ""
    made_from: str = ""
    planned_at: str = ""
    money: Mapping[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict)
    charges: Mapping[str, int] = field(default_factory=dict)
    holds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def read_months(document: Mapping[str, Any]) -> tuple[Period | None, dict[Period, Month]]:
    """(since when the worker is responsible, what it knows of each month)."""
    since = document.get("since")
    months = {Period.parse(name): read_month(held) for name, held in document.get("months", {}).items()}
    return (Period.parse(since) if since else None), months


def read_month(document: Mapping[str, Any]) -> Month:
    known = {name: document[name] for name in Month.__slots__ if name in document}
    state = MonthState(known.get("state", MonthState.WAITING))
    return Month(**known | {"state": state, "invoices": tuple(known.get("invoices", ()))})


def write_months(since: Period | None, months: Mapping[Period, Month]) -> dict[str, Any]:
    """For the next cycle. Closed months older than the newest three are forgotten, and `since` moves up to match."""
    ordered = sorted(months)
    while len(ordered) > 3 and months[ordered[0]].state in CLOSED:
        since = ordered.pop(0).next
    return {"since": str(since) if since else None, "months": {str(one): months[one].as_json() for one in ordered}}


def counted(plan: Plan, accounts: Sequence[CurrencyAccount], holds: Iterable[OpenHold]) -> dict[str, Any]:
    """The figures of a plan as `Month` keeps them."""
    lines = {charge for client in plan.clients for line in client.lines for charge in line.charges}
    dropped = sum(len(client.dropped) for client in plan.clients)
    excluded = sum(len(client.excluded) for client in plan.clients) + len(plan.unassigned_excluded)
    held = sum(not hold.no_charge for client in plan.clients for hold in client.holds) + len(plan.unassigned_holds)
    total = sum(source.charges for source in plan.sources)
    settled = total - len(lines) - dropped - excluded - held
    return {
        "money": {account.currency: _money(account) for account in accounts},
        "charges": {
            "all": total,
            "to_post": len(lines),
            "settled": settled,
            "dropped": dropped,
            "excluded": excluded,
            "held": held,
        },
        "holds": _holds(holds),
    }


def _money(account: CurrencyAccount) -> dict[str, tuple[str, str]]:
    currency = account.currency
    return {
        side: (plain(getattr(account.price, side), currency), plain(getattr(account.cost, side), currency))
        for side in _SIDES
    }


def _holds(holds: Iterable[OpenHold]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    money: dict[tuple[str, str], Decimal] = {}
    for waiting in holds:
        hold = waiting.hold
        group = found.setdefault(hold.reason, {"charges": 0, "days": 0, "price": {}})
        group["charges"] += 1
        group["days"] = max(group["days"], waiting.age_days or 0)
        money[hold.reason, hold.currency] = money.get((hold.reason, hold.currency), ZERO) + hold.amount
    for (reason, currency), amount in money.items():
        found[reason]["price"][currency] = plain(amount, currency)
    return found
