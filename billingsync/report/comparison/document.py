"""A reconciliation as JSON: the keys here are a contract with scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from billingsync.core.money import ZERO, plain
from billingsync.core.reconcile.amounts import Money, Parts
from billingsync.core.reconcile.billing import BillingRow
from billingsync.core.reconcile.findings import Finding, Side
from billingsync.core.reconcile.licences import SeatRow
from billingsync.core.reconcile.lines import SeatLine
from billingsync.report.comparison.view import SIDES, View, sums

FORMAT_VERSION = "1.1"
Document = dict[str, Any]


def licences_document(view: View) -> Document:
    """Seats, classes and findings; without the right to see money, none of it."""
    return {
        **_head(view),
        "classes": {
            kind.value: {
                "subscriptions": found.subscriptions,
                "seats": plain(found.seats),
                **({"cost_month": _by_currency(found.cost_month)} if view.money and found.cost_month else {}),
            }
            for kind, found in view.whole.classes.items()
            if found.subscriptions
        },
        "rows": [_row(row, view) for row in view.rows],
        **({"subscriptions": [_subscription(one) for one in view.whole.subscriptions]} if view.all else {}),
        **_findings(view),
    }


def findings_document(view: View) -> Document:
    """What is wrong, in order: mapping first, then by confidence and money."""
    return {**_head(view), **_findings(view)}


def billing_document(view: View, rows: Iterable[BillingRow]) -> Document:
    """Cost and price on both sides, as documents say it and spread over longer terms."""
    shown = list(rows)
    return {
        **_head(view),
        "heading": "HaloPSA side: recurring lines as at the snapshot, not sent invoices; ours as HaloPSA returned it",
        "rows": [_billing_row(row) for row in shown],
        "totals": billing_totals(shown),
        "apart": [
            {
                "why": one.why,
                "currency": one.currency,
                "charges": one.charges,
                "price": plain(one.price, one.currency),
                "cost": plain(one.cost, one.currency),
            }
            for one in view.whole.apart
        ],
        "ours": [
            {
                "client_id": one.client_id,
                "currency": one.currency,
                "price_difference": plain(one.price_difference, one.currency),
                "dropped": plain(one.dropped, one.currency),
                "held": plain(one.held, one.currency),
                "excluded": plain(one.excluded, one.currency),
                "rest": plain(one.rest, one.currency),
            }
            for one in view.whole.ours
        ],
        "tolerated": _by_currency(view.whole.tolerated),
    }


def billing_totals(rows: Iterable[BillingRow]) -> Document:
    """By currency the sums of all rows whose money is known."""
    found: dict[str, dict[str, Decimal]] = {}
    for row in rows:
        mine = found.setdefault(row.currency, {})
        for name, value in money_values(row.in_month).items():
            if value is not None and name != "margin_percent":
                mine[name] = mine.get(name, ZERO) + value
    return {
        currency: {name: plain(value, currency) for name, value in values.items()}
        for currency, values in sorted(found.items())
    }


def money_values(money: Money) -> dict[str, Decimal | None]:
    """The figures of one row by the names that scripts know."""
    return {
        "pax8_cost": money.pax8_cost,
        "pax8_price": money.pax8_price,
        "psa_cost": money.psa_cost,
        "psa_price": money.psa_price,
        "price_difference": money.price_difference,
        "cost_difference": money.cost_difference,
        "margin": money.margin,
        "margin_percent": money.margin_percent,
        "mspbots_product_margin": money.mspbots_product_margin,
    }


def _head(view: View) -> Document:
    whole = view.whole
    return {
        "format_version": FORMAT_VERSION,
        "as_at": whole.as_at.isoformat(timespec="seconds"),
        "snapshot": whole.snapshot,
        "period": None if whole.period is None else str(whole.period),
        "compared_with": None if whole.compared_with is None else str(whole.compared_with),
        "verdict": whole.verdict.value,
        "next_steps": [list(step) for step in whole.next_steps],
    }


def _findings(view: View) -> Document:
    return {
        "findings": [
            finding_document(one, card=view.whole.cards.get(one.id), money=view.money) for one in view.findings
        ],
        **({"totals": totals_document(view)} if view.money else {}),
    }


def totals_document(view: View) -> Document:
    """The three sums of what is shown, by currency."""
    return {
        currency: {side.value: plain(by_side.get(side, ZERO), currency) for side in (*SIDES, Side.MARGIN)}
        for currency, by_side in sums(view.findings).items()
    }


def finding_document(one: Finding, *, card: str | None = None, money: bool = True) -> Document:
    """One finding; `card` is the digest of the card that would end it, None where there is none."""

    def amount(value: Decimal | None) -> str | None:
        return None if value is None else plain(value, one.currency)

    figures = {"month": amount(one.month), "year": amount(one.year), "once": amount(one.once), "currency": one.currency}
    return {
        "id": one.id,
        "kind": one.kind.value,
        "side": one.side.value,
        "client_id": one.client_id,
        "client_name": one.client_name,
        "company_id": one.company_id or None,
        "company_name": one.company_name or None,
        "group": one.group,
        "product": one.product,
        "skus": list(one.skus),
        "seats": plain(one.seats),
        **(figures if money else {}),
        "confidence": one.confidence.value,
        "since": None if one.since is None else one.since.isoformat(),
        "explained": one.explained,
        "note": one.note or None,
        "card": card,
        "related": list(one.related),
    }


def _row(row: SeatRow, view: View) -> Document:
    finding = view.finding_of(row)
    return {
        "client_id": row.client_id,
        "client_name": row.client_name,
        "group": row.group,
        "product": row.product,
        "skus": list(row.skus),
        "vendor": row.vendor or None,
        "mode": row.mode.value,
        "count": plain(row.count),
        "invoiced": None if row.invoiced is None else plain(row.invoiced),
        "psa_quantity": plain(row.psa_quantity),
        "difference": plain(row.difference),
        "pending": plain(row.pending),
        "trial": plain(row.trial),
        "since": None if row.since is None else row.since.isoformat(),
        "moving": row.moving,
        "companies": [
            {"company_id": one.company_id, "company_name": one.company_name, "seats": plain(one.seats)}
            for one in row.companies
        ],
        "lines": [_line(line) for line in row.every_line],
        "finding": None if finding is None else finding.id,
    }


def _line(line: SeatLine) -> Document:
    return {
        "invoice_id": line.invoice_id,
        "line_id": line.line_id,
        "quantity": plain(line.quantity),
        "waiting": plain(line.waiting),
        "keeper": line.keeper.value,
    }


def _subscription(one: Any) -> Document:
    held = one.subscription
    return {
        "subscription_id": held.id,
        "company_id": one.company.id,
        "company_name": one.company.name,
        "client_id": None if one.client is None else one.client.id,
        "sku": one.ref.sku or None,
        "product": one.ref.name,
        "status": held.status,
        "term": held.billing_term,
        "class": one.kind.value,
        "quantity": None if held.quantity is None else plain(held.quantity),
        "parent": held.parent_id or None,
        "moving": held.moving,
    }


def _billing_row(row: BillingRow) -> Document:
    return {
        "client_id": row.client_id,
        "client_name": row.client_name,
        "group": row.group,
        "product": row.product,
        "skus": list(row.skus),
        "currency": row.currency,
        "in_month": _money(row.in_month, row.currency),
        "spread": _money(row.spread, row.currency),
        "parts": None if row.parts is None else _parts(row.parts, row.currency),
        "exact": row.exact,
        "estimated": row.estimated,
        "currency_mismatch": row.mismatch,
    }


def _money(money: Money, currency: str) -> Document:
    return {
        name: None if value is None else plain(value) if name == "margin_percent" else plain(value, currency)
        for name, value in money_values(money).items()
    }


def _parts(parts: Parts, currency: str) -> Document:
    names = ("seats", "rate", "prorate", "usage", "waiting", "other")
    return {name: plain(getattr(parts, name), currency) for name in names}


def _by_currency(amounts: Mapping[str, Decimal]) -> Document:
    return {currency: plain(amount, currency) for currency, amount in sorted(amounts.items())}
