"""Ready to invoice: rows, views, sorting and the client that is open, in words and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from billingsync.core.reasons import title_of
from billingsync.core.states import LineAction
from billingsync.report.html import clean
from billingsync.report.labels import likeness
from billingsync.report.numbers import Figures, code
from billingsync.store.plan_rows import ClientRow, Held
from billingsync.web.views.holds import MAPS
from billingsync.web.views.money import View, amount, minor, minus, money
from billingsync.web.views.paths import charge_path, rules_path

MOST_LINKS = 200  # charges of one line that are named
CHUNK = 40  # rows laid out together, when they come into sight


@dataclass(frozen=True, slots=True)
class Filter:
    """One view of the list."""

    name: str
    words: str
    keeps: Callable[[ClientRow], bool]
    needs_somebody: bool = False


FILTERS = (
    Filter("all", "All", lambda row: True),
    Filter("to-post", "To post", lambda row: bool(row.lines)),
    Filter("held", "Held", lambda row: bool(row.holds), needs_somebody=True),
    Filter("moved", "Moved a lot", lambda row: row.moved),
    Filter("first", "First time", lambda row: bool(row.lines) and row.last_amount is None),
    Filter("below-cost", "Below cost", lambda row: row.below_cost),
    Filter("guessed", "Guessed", lambda row: bool(row.guessed)),
    Filter("set-aside", "Set aside", lambda row: any(hold.reason == "set_aside" for hold in row.holds)),
)

_ZERO = Decimal(0)


def _change(row: ClientRow) -> Decimal:
    if not row.last_amount or row.last_amount <= 0 or not row.lines:
        return _ZERO
    return (row.amount - row.last_amount) / row.last_amount


def _margin(row: ClientRow) -> Decimal:
    return (row.amount - row.cost) / row.amount if row.lines and row.amount > 0 else _ZERO


# Column -> (words, key to sort by, whether it is a number).
SORTS: Mapping[str, tuple[str, Callable[[ClientRow], Any], bool]] = {
    "client": ("Client", lambda row: row.name.casefold(), False),
    "goes": ("Goes to", lambda row: (row.behavior, row.target_invoice_id or 0), False),
    "changes": ("Changes", lambda row: row.added + row.removed + row.updated, False),
    "last": ("Last month", lambda row: row.last_amount or _ZERO, True),
    "amount": ("Amount", lambda row: shown_amount(row)[0], True),
    "change": ("Change", _change, True),
    "cost": ("Cost", lambda row: row.cost, True),
    "margin": ("Margin", _margin, True),
}


def shown_amount(row: ClientRow) -> tuple[Decimal, str]:
    """What the row's amount shows: what goes out, or where all waits, what waits; and its currency."""
    if row.lines or not row.holds:
        return row.amount, row.currency
    currency = row.holds[0].currency
    return sum((hold.amount for hold in row.holds if hold.currency == currency), _ZERO), currency


def chosen(rows: Sequence[ClientRow], view: str, query: str, sort: str, down: bool) -> list[ClientRow]:
    """The rows of a view that fit what was typed, sorted."""
    keeps = next((each.keeps for each in FILTERS if each.name == view), FILTERS[0].keeps)
    words = query.casefold().split()
    found = [row for row in rows if keeps(row) and all(word in row.search for word in words)]
    _, key, _ = SORTS.get(sort, SORTS["client"])
    found.sort(key=lambda row: row.nth)
    found.sort(key=key, reverse=down)
    return found


def goes(row: ClientRow) -> str:
    """Where a client's lines go."""
    number = abs(row.target_invoice_id) if row.target_invoice_id is not None else None
    if row.behavior == "recurring":
        return f"Recurring {number if number is not None else '—'}"
    return f"Invoice {number}" if number is not None else "New invoice"


def row_view(row: ClientRow, main: str, figures: Figures) -> View:
    """One row. `main` is the currency that needs no code beside it."""
    number, currency = shown_amount(row)
    billed = bool(row.lines)
    counts = (
        ("plus", "+", row.added),
        ("tilde", "~", row.updated),
        ("minus", "\u2212", row.removed),
        ("", "=", row.same),
    )
    rate = figures.percent(row.amount - row.cost, row.amount) if billed and row.amount > 0 else ""
    name = clean(row.name, 160)
    company = clean(row.company_name, 160)
    return {
        "nth": row.nth,
        "name": name or "No company",
        "also": company if company.casefold() != name.casefold() else "",
        "guessed": clean(likeness(row.guessed), 60),
        "goes": goes(row) if billed or row.holds else "",
        "counts": [(kind, f"{sign}{count}") for kind, sign, count in counts if count and billed],
        "last": amount(figures, row.last_amount, row.currency) if row.last_amount is not None else "",
        "amount": amount(figures, number, currency) + ("" if currency == main else f" {code(currency)}"),
        "change": _change_words(row, figures) if billed else "",
        "cost": amount(figures, row.cost, row.currency) if billed else "",
        "margin": minus(rate),
        "billed": billed,
        "minor": minor(row.amount, row.currency),
        "cost_minor": minor(row.cost, row.currency),
        "currency": row.currency,
        "why": [_why(row, hold, figures) for hold in row.holds],
        "act": _act(row),
        "needs": bool(row.holds),
        "below": row.below_cost,
    }


def _act(row: ClientRow) -> tuple[str, str]:
    """The words and the path of what settles it: where the client is in doubt the choice of one, else its hold."""
    if row.company_id and any(hold.reason in MAPS for hold in row.holds):
        return "Choose client", f"/clients/choose?{urlencode({'company': row.company_id})}"
    return ("See the hold", "") if row.holds else ("", "")


def _change_words(row: ClientRow, figures: Figures) -> str:
    if row.last_amount is None:
        return "new"
    return minus(figures.change(row.amount, row.last_amount, row.currency))


def _why(row: ClientRow, hold: Held, figures: Figures) -> str:
    title = title_of(hold.reason)
    words = title[:1].lower() + title[1:]
    if row.held:
        return f"Held: {words}"
    return f"{money(figures, hold.amount, hold.currency)} held: {words}"


_SIGNS = {"add": ("+", "added"), "update": ("~", "changed"), "remove": ("\u2212", "removed")}


def body_view(body: Mapping[str, Any], figures: Figures) -> View:
    """A client that is open: its lines, what is not on the invoice, and what waits with what to do."""
    currency = str(body["currency"])
    return {
        "currency": code(currency),
        "code": currency,
        "facts": _facts(body),
        "rules": rules_path(body["company_id"]) if body.get("company_id") else "",
        "lines": [_line(line, currency, figures) for line in body["lines"]],
        "left_out": [_left_out(entry, "dropped", title_of(entry["modifier"]), figures) for entry in body["dropped"]]
        + [_left_out(entry, "excluded", title_of(entry["rule"]), figures) for entry in body["excluded"]],
        "holds": [_hold(hold, figures) for hold in body["holds"]],
    }


def _facts(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [("Behaviour", str(body["behavior"]))]
    if body.get("client_id") is not None:
        found.append(("HaloPSA client", f"{clean(body['client_name'] or '', 120)} ({body['client_id']})"))
    found.append(("Pax8 company", clean(body["company_name"] or "", 120)))
    if body.get("guessed"):
        found.append(("Guessed", clean(likeness(str(body["guessed"])), 60)))
    return found


def _line(line: Mapping[str, Any], currency: str, figures: Figures) -> View:
    now = Decimal(line["amount"])
    before = None if line.get("before_amount") is None else Decimal(line["before_amount"])
    stays = line["action"] == LineAction.UPDATE and before == now
    sign, word = ("=", "stays") if stays else _SIGNS[line["action"]]
    cost, quantity = Decimal(line["cost"]), figures.quantity(Decimal(line["quantity"]))
    item = line.get("item")
    rate = figures.percent(now - cost, now) if now > 0 else ""
    return {
        "sign": sign,
        "word": word,
        "kind": "stay" if stays else line["action"],
        "title": clean(line["title"], 200),
        "item": f"new item: {clean(item['name'], 120)}" if item and item.get("create") else "",
        "before": "same" if stays else clean(line.get("before") or "", 60),
        "now": f"{quantity} × {amount(figures, Decimal(line['unit_price']), currency)}",
        "amount": amount(figures, now, currency),
        "cost": amount(figures, cost, currency),
        "margin": minus(rate),
        "minor": minor(now, currency),
        "cost_minor": minor(cost, currency),
        "charges": list(line["charges"]),
        "charge": line["charges"][0] if line["charges"] else "",
        "more": [(charge, charge_path(charge)) for charge in line["charges"][1:MOST_LINKS]],
        "path": charge_path(line["charges"][0]) if line["charges"] else "",
    }


def _left_out(entry: Mapping[str, Any], kind: str, why: str, figures: Figures) -> View:
    return {
        "kind": kind,
        "title": clean(entry["product"], 200),
        "why": why,
        "amount": money(figures, Decimal(entry["amount"]), entry["currency"]),
        "cost": amount(figures, Decimal(entry["cost"]), entry["currency"]),
        "charge": entry["charge"],
        "path": charge_path(entry["charge"]),
    }


def _hold(hold: Mapping[str, Any], figures: Figures) -> View:
    found = _left_out(hold, "held", title_of(hold["reason"]), figures)
    step = hold.get("next_step") or ""
    words = step if isinstance(step, str) else " ".join(step)
    return found | {"detail": clean(hold.get("detail") or "", 400), "step": clean(words, 400)}
