"""One client of a plan in the words and figures that the HTML page places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from billingsync.core.bill.plan import ClientPlan, Dropped, Excluded, Hold, PlanLine
from billingsync.core.money import ZERO
from billingsync.core.reasons import title_of
from billingsync.core.states import LineAction
from billingsync.report.escape import one_line, shortened
from billingsync.report.labels import client_target, likeness, matched, short_charges
from billingsync.report.numbers import Figures, code
from billingsync.report.waiting import client_holds, display_name, money_of, together

View = dict[str, Any]

_SIGNS = {"add": ("+", "added"), "update": ("~", "changed"), "remove": ("−", "removed")}


def client_view(client: ClientPlan, counts: dict[tuple[int, str], int], figures: Figures) -> View:
    """Where it goes, what it comes to and how that changed, its lines, and what is left out or waits."""
    currency = client.currency
    change = figures.change(client.amount, client.last_amount, currency)
    amount, cost = (ZERO, ZERO) if client.held else (client.amount, client.cost)
    margin = amount - cost
    waits = money_of(together(client_holds(client)))
    return {
        "name": shortened(one_line(client.client_name or display_name(client)), 160),
        "also": shortened(one_line(client.company_name), 160) if _differs(client) else "",
        "where": client_target(client, counts),
        "held": title_of(client.held) if client.held else "",
        "waiting": [figures.money(price, other) for other, (price, _) in waits.items()],
        "amount": figures.amount(amount, currency),
        "cost": figures.amount(cost, currency),
        "margin": figures.amount(margin, currency),
        "rate": figures.percent(margin, amount) if amount > 0 else "",
        "code": code(currency),
        "change": change if not client.held else "",
        "last": client.last_period,
        "last_amount": "" if client.last_amount is None else figures.money(client.last_amount, currency),
        "matched": matched(client.matched_by),
        "guessed": shortened(one_line(likeness(client.guessed)), 80),
        "lines": [_line(line, currency, figures) for line in client.lines],
        "stays": _stays(client, figures),
        "left_out": left_out_view(client.dropped, client.excluded, figures, currency),
        "holds": [_left_out(hold, title_of(hold.reason), "held", figures, currency) for hold in client.holds],
    }


def left_out_view(
    dropped: Sequence[Dropped], excluded: Sequence[Excluded], figures: Figures, currency: str = ""
) -> list[View]:
    """What is not billed, one row a charge, with the cause in words; a currency is named where it is another one."""
    return [_left_out(entry, title_of(entry.modifier), "dropped", figures, currency) for entry in dropped] + [
        _left_out(entry, title_of(entry.rule), "excluded", figures, currency) for entry in excluded
    ]


def clean_ids(charges: Sequence[str]) -> str:
    """Short ids of charges, inert."""
    return shortened(one_line(short_charges(charges)), 80)


def _differs(client: ClientPlan) -> bool:
    return bool(client.client_name) and client.client_name.casefold() != client.company_name.casefold()


def _line(line: PlanLine, currency: str, figures: Figures) -> View:
    sign, word = _SIGNS.get(line.action, ("?", line.action))
    notes = [f"on the invoice for {one_line(line.group)}"] if line.group else []
    if line.item:
        notes.append(f"{'creates the item' if line.item.create else 'item'} {shortened(one_line(line.item.name), 120)}")
    return {
        "sign": sign,
        "word": word,
        "text": shortened(one_line(line.description or line.title), 400),
        "note": shortened("; ".join(notes), 240),
        "ids": clean_ids(line.charges),
        "quantity": "" if line.action == LineAction.REMOVE else figures.quantity(line.quantity),
        "unit": "" if line.action == LineAction.REMOVE else figures.amount(line.unit_price, currency),
        "before": "" if line.before_amount is None else figures.amount(line.before_amount, currency),
        "amount": figures.amount(line.amount, currency),
        "cost": figures.amount(line.cost, currency),
    }


def _stays(client: ClientPlan, figures: Figures) -> View | None:
    """Lines that stay as they are count in the client's amount and are not listed."""
    amount = client.amount - sum((line.amount for line in client.lines), ZERO)
    cost = client.cost - sum((line.cost for line in client.lines), ZERO)
    if client.held or not (amount or cost):
        return None
    return {"amount": figures.amount(amount, client.currency), "cost": figures.amount(cost, client.currency)}


def _left_out(entry: Dropped | Excluded | Hold, why: str, state: str, figures: Figures, currency: str) -> View:
    return {
        "state": state,
        "product": shortened(one_line(entry.product), 300),
        "ids": clean_ids((entry.charge,)),
        "why": why,
        "amount": figures.amount(entry.amount, entry.currency),
        "cost": figures.amount(entry.cost, entry.currency),
        "code": "" if entry.currency == currency else code(entry.currency),
    }
