"""A month's cost and price on both sides, group by group, with the sums of all that match."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal

from billingsync.core.money import ZERO
from billingsync.core.reconcile.amounts import Money
from billingsync.core.reconcile.billing import BillingRow
from billingsync.core.reconcile.compare import Reconciliation
from billingsync.report.comparison.document import money_values
from billingsync.report.comparison.tables import note_of
from billingsync.report.html import clean
from billingsync.report.labels import plural
from billingsync.report.numbers import Figures, code
from billingsync.web.views.money import View, amount, minus, money

COLUMNS = (
    ("pax8_cost", "Pax8 cost"),
    ("pax8_price", "Pax8 price"),
    ("psa_price", "HaloPSA price"),
    ("price_difference", "Difference"),
    ("margin", "Margin"),
    ("margin_percent", "Margin %"),
    ("mspbots_product_margin", "Product Margin"),
)
_PARTS = (
    ("seats", "seats"),
    ("rate", "rate"),
    ("prorate", "pro rata"),
    ("usage", "usage"),
    ("waiting", "waiting pro rata"),
    ("other", "other"),
)
_WHYS = {"credits": "Credits", "billed_by_pax8": "Billed by Pax8 itself", "excluded": "Excluded from reports"}


def row_name(row: BillingRow) -> str:
    return hashlib.sha256(f"{row.client_id}|{row.group}|{row.currency}".encode()).hexdigest()[:12]


def billing_view(rows: Sequence[BillingRow], figures: Figures, main: str, spread: bool, opened: str) -> list[View]:
    """Rows, the largest difference first; `spread` has each month's share of longer terms."""
    ordered = sorted(rows, key=lambda row: (-abs(_side(row, spread).price_difference or ZERO), row.client_name))
    return [_row(row, figures, main, spread, opened) for row in ordered]


def _side(row: BillingRow, spread: bool) -> Money:
    return row.spread if spread else row.in_month


def _row(row: BillingRow, figures: Figures, main: str, spread: bool, opened: str) -> View:
    values, side = money_values(_side(row, spread)), _side(row, spread)
    cells = [_cell(name, values[name], row.currency, figures) for name, _ in COLUMNS]
    name = row_name(row)
    return {
        "name": name,
        "client": clean(row.client_name, 160),
        "product": clean(row.product, 160),
        "code": code(row.currency) if row.currency != main else "",
        "cells": [{"heading": heading, "text": text} for (_, heading), text in zip(COLUMNS, cells, strict=True)],
        "differs": bool(side.price_difference),
        "loss": side.margin is not None and side.margin < 0,
        "note": note_of(row),
        "opened": opened_row(row, figures) if name == opened else None,
    }


def _cell(name: str, value: Decimal | None, currency: str, figures: Figures) -> str:
    if value is None:
        return "" if name == "margin_percent" else "not known"
    if name == "margin_percent":
        return f"{minus(figures.quantity(value))} %"
    return amount(figures, value, currency)


def opened_row(row: BillingRow, figures: Figures) -> View:
    """What makes the difference, and the same as the documents say it and spread over longer terms."""
    parts = (
        [
            {"words": words, "amount": amount(figures, getattr(row.parts, name), row.currency)}
            for name, words in _PARTS
            if getattr(row.parts, name)
        ]
        if row.parts
        else []
    )
    sides = [
        {
            "words": words,
            "cells": [_cell(name, money_values(side)[name], row.currency, figures) for name, _ in COLUMNS],
        }
        for words, side in (("As the documents say", row.in_month), ("Spread over longer terms", row.spread))
    ]
    return {
        "parts": parts,
        "exact": row.exact,
        "sides": sides,
        "columns": [heading for _, heading in COLUMNS],
        "code": code(row.currency),
        "skus": clean(" ".join(row.skus), 200),
        "prorate": [money(figures, row.pax8_prorate, row.currency), money(figures, row.psa_prorate, row.currency)]
        if row.pax8_prorate or row.psa_prorate
        else [],
        "estimated": row.estimated,
    }


def totals_view(rows: Sequence[BillingRow], figures: Figures, spread: bool) -> list[View]:
    """By currency the sums of all rows whose money is known on both sides; the rest is counted."""
    found = []
    for currency in sorted({row.currency for row in rows}):
        mine = [row for row in rows if row.currency == currency]
        known = [_side(row, spread) for row in mine if _side(row, spread).psa_price is not None]
        whole = Money(
            pax8_cost=sum((one.pax8_cost for one in known), ZERO),
            pax8_price=sum((one.pax8_price for one in known), ZERO),
            psa_cost=sum((one.psa_cost or ZERO for one in known), ZERO),
            psa_price=sum((one.psa_price or ZERO for one in known), ZERO),
        )
        values = money_values(whole)
        found.append(
            {
                "code": code(currency),
                "cells": [
                    {"heading": heading, "text": _cell(name, values[name], currency, figures)}
                    for name, heading in COLUMNS
                ],
                "unknown": len(mine) - len(known),
            }
        )
    return found


def main_currency(rows: Sequence[BillingRow]) -> str:
    """The one with most rows: only the others' codes are written beside each amount."""
    codes = [row.currency for row in rows]
    return max(sorted(set(codes)), key=codes.count, default="")


def apart_view(whole: Reconciliation, figures: Figures) -> list[View]:
    """What of the month's invoice stands beside every row."""
    return [
        {
            "why": _WHYS.get(one.why, one.why.replace("_", " ").capitalize()),
            "charges": f"{figures.count(one.charges)} {plural(one.charges, 'charge')}",
            "price": money(figures, one.price, one.currency),
            "cost": money(figures, one.cost, one.currency),
        }
        for one in whole.apart
    ]


def ours_view(whole: Reconciliation, figures: Figures) -> list[View]:
    """Clients that only the billing job bills, whose difference is not what it left out [BC10]."""
    names = {row.client_id: row.client_name for row in whole.billing}
    return [
        {
            "client": clean(names.get(one.client_id, str(one.client_id)), 160),
            "rest": money(figures, one.rest, one.currency),
        }
        for one in whole.ours
        if one.rest
    ]
