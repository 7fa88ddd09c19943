"""A comparison in words and figures: seats, money and findings, as the reports have them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from billingsync.core.money import ZERO
from billingsync.core.reconcile.classify import Class, Classified
from billingsync.core.reconcile.compare import Reconciliation, Verdict
from billingsync.core.reconcile.findings import KINDS, MAPPING, Finding, Kind, Side
from billingsync.core.reconcile.licences import SeatRow
from billingsync.core.reconcile.lines import SeatLine
from billingsync.report.comparison import words
from billingsync.report.comparison.view import View as Choice
from billingsync.report.comparison.view import by_client, by_product, sums
from billingsync.report.html import clean
from billingsync.report.labels import plural
from billingsync.report.numbers import Figures, code
from billingsync.web.views.money import View, amount, minus, money

SHOWN_SIDES = (Side.MISSING, Side.OWED, Side.PAX8, Side.MARGIN, Side.COST)
_SHORT = {
    Side.MISSING: "missing",
    Side.OWED: "owed to clients",
    Side.PAX8: "to claim from Pax8",
    Side.MARGIN: "margin to look at",
    Side.COST: "cost, not mapped",
}
_CARDS = frozenset(
    (
        Kind.NOT_BILLED,
        Kind.CHANGED_SINCE_INVOICE,
        Kind.BILLED_NOT_BOUGHT,
        Kind.UNDER_BILLED,
        Kind.OVER_BILLED,
        Kind.DUPLICATE,
        Kind.COST_DRIFT,
        Kind.PRICE_DRIFT,
    )
)


def tiles(findings: Iterable[Finding], figures: Figures) -> list[View]:
    """The sums, by side and currency, never netted and never added across currencies."""
    found = sums(findings)
    return [
        {
            "amount": amount(figures, by_side[side], currency),
            "code": code(currency),
            "words": _SHORT[side],
            "means": words.SIDE_MEANS[side],
            "kind": side.value,
        }
        for side in SHOWN_SIDES
        for currency, by_side in found.items()
        if by_side.get(side)
    ]


def verdict(whole: Reconciliation, figures: Figures, *, may: bool) -> View:
    """What the comparison comes to: the verdict, and every subscription in exactly one class."""
    return {
        "says": words.VERDICTS[whole.verdict],
        "clean": whole.verdict is Verdict.CLEAN,
        "equation": words.equation(whole, figures, money=may),
        "tolerated": " and ".join(money(figures, number, currency) for currency, number in whole.tolerated.items())
        if may
        else "",
        "compared_with": str(whole.compared_with or ""),
    }


def signed(number: Decimal, figures: Figures) -> str:
    return minus(words.signed(number, figures))


def quantity(number: Decimal | None, figures: Figures) -> str:
    return "" if number is None else minus(figures.quantity(number))


# Licences -------------------------------------------------------------------------------------------------------------


def row_name(row: SeatRow) -> str:
    """What a row is called in an address."""
    return hashlib.sha256(f"{row.client_id}|{row.group}|{row.key}".encode()).hexdigest()[:12]


def clients(choice: Choice, figures: Figures, opened: str) -> list[View]:
    """Client after client, its total the sum of the rows beneath it."""
    findings = choice.seat_findings
    found = []
    for (id_, name), rows in by_client(choice.rows).items():
        ordered = sorted(rows, key=lambda row: (not row.difference, row.product.casefold()))
        difference = sum((row.difference for row in rows), ZERO)
        found.append(
            {
                "id": id_,
                "name": clean(name, 160),
                "where": clean(words.where_billed(rows), 120),
                "companies": _companies(rows, name),
                "pax8": quantity(sum((row.count for row in rows), ZERO), figures),
                "halo": quantity(sum((row.psa_quantity for row in rows), ZERO), figures),
                "difference": signed(difference, figures) if difference else "=",
                "rows": [
                    seat_view(row, findings.get((row.client_id, row.group, row.key)), figures, money=choice.money)
                    | {"opened": opened_view(row, figures, money=choice.money) if row_name(row) == opened else None}
                    for row in ordered
                ],
            }
        )
    return found


def _companies(rows: Sequence[SeatRow], client: str) -> str:
    names = {one.company_name for row in rows for one in row.companies} - {client}
    shown = sorted(clean(name, 80) for name in names)
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")


def seat_view(row: SeatRow, finding: Finding | None, figures: Figures, *, money: bool) -> View:
    after = f"{len(row.members)} {plural(len(row.members), 'subscription')}" if len(row.members) > 1 else ""
    return {
        "name": row_name(row),
        "product": clean(row.product, 160) or "No name",
        "after": f"{after}, item {row.item_id}".strip(", ") if row.item_id is not None else after,
        "pax8": quantity(row.count, figures) if row.count or row.members or row.counts else "–",
        "halo": quantity(row.psa_quantity, figures) if row.every_line else "–",
        "difference": signed(row.difference, figures) if row.difference else "=",
        "differs": bool(row.difference),
        "less": row.difference < 0,
        "since": row.since.isoformat() if row.since else "",
        "tags": [
            *(["pending " + quantity(row.pending, figures)] if row.pending else []),
            *(["trial " + quantity(row.trial, figures)] if row.trial else []),
            *(["moving"] if row.moving else []),
            *(["guessed"] if row.guessed else []),
        ],
        "finding": words.title(finding) if finding else "",
        "money": minus(words.money_of(finding, figures)) if finding and money and not finding.explained else "",
        "explained": finding.explained if finding else False,
    }


def opened_view(row: SeatRow, figures: Figures, *, money: bool) -> View:
    """The subscriptions and lines behind a row, and what changed when."""
    return {
        "subscriptions": [_subscription(one, figures, money=money) for one in row.members],
        "counts": [
            {"account": clean(one.account, 120), "seats": quantity(one.quantity, figures)} for one in row.counts
        ],
        "lines": [_line(line, figures, money=money) for line in row.every_line],
        "invoiced": quantity(row.invoiced, figures) if row.invoiced is not None else "not known",
        "changes": [
            f"{change.day.isoformat()}: {quantity(change.before, figures)} to {quantity(change.after, figures)}"
            for change in row.changes
        ],
        "skus": clean(" ".join(row.skus), 200),
    }


def _subscription(one: Classified, figures: Figures, *, money: bool) -> View:
    held = one.subscription
    price = amount(figures, held.price, held.currency) + f" {code(held.currency)}" if held.price is not None else ""
    return {
        "company": clean(one.company.name, 120),
        "product": clean(one.ref.name, 120),
        "seats": quantity(held.quantity, figures),
        "status": clean(held.status, 40),
        "term": clean(held.billing_term, 40),
        "class": words.CLASSES[one.kind],
        "price": price if money else "",
        "addon": bool(held.parent_id),
        "compared": one.kind is Class.COMPARED,
    }


def _line(line: SeatLine, figures: Figures, *, money: bool) -> View:
    return {
        "invoice": str(abs(line.invoice_id)) if line.invoice_id is not None else "",
        "line": str(line.line_id or ""),
        "text": clean(line.line.text, 160) if line.line else "",
        "quantity": quantity(line.quantity, figures),
        "waiting": quantity(line.waiting, figures) if line.waiting else "",
        "keeper": words.KEEPERS[line.keeper],
        "money": f"{amount(figures, line.money, line.currency)} {code(line.currency)}"
        if money and line.money is not None
        else "",
    }


def active(ones: Iterable[Classified], figures: Figures, *, money: bool) -> list[View]:
    """The subscriptions that count or may count: not what has ended."""
    shown = [one for one in ones if one.kind is not Class.ENDED]
    ordered = sorted(shown, key=lambda one: (one.company.name.casefold(), one.ref.name.casefold()))
    return [
        _subscription(one, figures, money=money)
        | {"client": clean(one.client.name, 120) if one.client else "", "company_id": one.company.id}
        for one in ordered
    ]


# Findings -------------------------------------------------------------------------------------------------------------


def findings_view(findings: Iterable[Finding], figures: Figures) -> list[View]:
    return [_finding(one, figures) for one in findings]


def _finding(one: Finding, figures: Figures) -> View:
    to, act = _leads_to(one)
    month = amount(figures, one.month, one.currency) if one.month is not None else ""
    once = amount(figures, one.once, one.currency) if one.once is not None else ""
    known = one.money is not None or one.explained or one.side is Side.NONE
    return {
        "id": one.id,
        "title": words.title(one),
        "says": KINDS[one.kind].says,
        "who": clean(one.client_name or one.company_name, 160),
        "product": clean(one.product, 160),
        "seats": signed(one.seats, figures) if one.seats else "",
        "month": month,
        "once": once,
        "year": amount(figures, one.year, one.currency) if one.year is not None else "",
        "code": code(one.currency) if one.month is not None or one.once is not None else "",
        "unknown": not known,
        "side": "explained" if one.explained else _SHORT.get(one.side, ""),
        "confidence": words.CONFIDENCES[one.confidence],
        "since": one.since.isoformat() if one.since else "",
        "note": clean(one.note, 300),
        "mapping": one.kind in MAPPING,
        "to": to,
        "act": act,
    }


def _leads_to(one: Finding) -> tuple[str, str]:
    """The page on which it is settled, and what to do there."""
    if one.kind in (Kind.UNMAPPED_COMPANY, Kind.CLIENT_RENAMED) and one.company_id:
        return "company", one.company_id
    if one.kind is Kind.UNMAPPED_PRODUCT:
        return "product", one.skus[0] if one.skus else one.product
    if one.kind is Kind.FOLLOWS_INVOICE:
        return "holds", ""
    return ("cards", one.id) if one.kind in _CARDS else ("", "")


def found_by(choice: Choice, text: str) -> Choice:
    """Those rows and findings whose client, company or product has the text in its name."""
    wanted = text.casefold()

    def fits(*names: str) -> bool:
        return any(wanted in name.casefold() for name in names)

    return replace(
        choice,
        rows=tuple(
            row
            for row in choice.rows
            if fits(row.client_name, row.product, *row.skus, *(one.company_name for one in row.companies))
        ),
        findings=tuple(
            one for one in choice.findings if fits(one.client_name, one.company_name, one.product, *one.skus)
        ),
    )


def subscriptions_of(choice: Choice) -> list[Classified]:
    """The active list; with any filter that of the rows that are shown."""
    if not choice.filters.any and len(choice.rows) == len(choice.whole.rows):
        return [one for one in choice.whole.subscriptions if one.kind is not Class.ENDED]
    return [one for row in choice.rows for one in row.members]


def products(choice: Choice, figures: Figures) -> list[View]:
    return [
        {
            "product": clean(row.product, 160),
            "skus": clean(" ".join(row.skus), 160),
            "vendor": clean(row.vendor, 80),
            "clients": figures.count(row.clients),
            "pax8": quantity(row.count, figures),
            "halo": quantity(row.psa_quantity, figures),
            "difference": signed(row.difference, figures) if row.difference else "=",
            "differs": bool(row.difference),
        }
        for row in sorted(by_product(choice.rows), key=lambda row: (not row.difference, row.product.casefold()))
    ]
