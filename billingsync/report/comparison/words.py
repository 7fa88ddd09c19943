"""The words for people behind the stable names of classes, keepers, sides and scopes."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from billingsync.core.reconcile.classify import Class
from billingsync.core.reconcile.compare import Reconciliation, Verdict
from billingsync.core.reconcile.findings import KINDS, Confidence, Finding, Side
from billingsync.core.reconcile.licences import SeatRow
from billingsync.core.reconcile.lines import Keeper, Scope
from billingsync.report.labels import plural
from billingsync.report.numbers import Figures

CLASSES = {
    Class.COMPARED: "compared",
    Class.TRIAL: "trial",
    Class.PENDING: "pending",
    Class.USAGE: "usage",
    Class.ENDED: "ended",
    Class.EXCLUDED: "excluded",
    Class.UNKNOWN: "unknown",
    Class.UNMAPPED_COMPANY: "without a client",
    Class.UNMAPPED_PRODUCT: "without an item",
}
KEEPERS = {Keeper.OURS: "billingsync", Keeper.HALO: "HaloPSA counts it", Keeper.HAND: "kept by hand"}
SIDES = {
    Side.MISSING: "missing",
    Side.OWED: "owed",
    Side.PAX8: "to claim from Pax8",
    Side.MARGIN: "of margin",
    Side.COST: "cost, not mapped",
    Side.NONE: "",
}
SIDE_MEANS = {
    Side.MISSING: "clients pay too little",
    Side.OWED: "clients pay too much",
    Side.PAX8: "Pax8's bill is wrong, once",
    Side.MARGIN: "prices and costs to look at; in none of the other sums",
    Side.COST: "what Pax8 charges a month for what nobody has mapped yet",
}
CONFIDENCES = {Confidence.CERTAIN: "certain", Confidence.LIKELY: "likely", Confidence.LOOK: "look"}
SCOPES = {
    Scope.IN_SCOPE: "compared",
    Scope.NOT_SEATS: "money only: a charge without seats",
    Scope.INVOICE_DISABLED: "the recurring invoice is disabled",
    Scope.INVOICE_ENDED: "the recurring invoice has ended",
    Scope.INACTIVE: "the line is inactive",
    Scope.OUTSIDE_DATES: "outside its dates",
    Scope.ONE_TIME: "charged once",
    Scope.METER: "a meter",
    Scope.HEADING: "a heading",
    Scope.BLANK: "blank",
    Scope.BUNDLED: "part of a bundle's line",
    Scope.OUT_OF_SCOPE: "no product of Pax8",
    Scope.UNKNOWN: "no usable quantity",
}
VERDICTS = {
    Verdict.CLEAN: "Clean: both sides agree.",
    Verdict.DIFFERENCES: "Both sides differ.",
    Verdict.INCOMPLETE: "Not everything could be compared.",
    Verdict.NOTHING_COMPARED: "Nothing was compared: one side lists nothing that the other could be held against.",
}


def title(one: Finding) -> str:
    return KINDS[one.kind].title


def next_step(one: Finding) -> str:
    """A command to type where there is one, else what to do."""
    kind = KINDS[one.kind]
    return " ".join(kind.step) or kind.says


def signed(number: Decimal, figures: Figures) -> str:
    """`+2`, `-3`, `0`."""
    return f"+{figures.quantity(number)}" if number > 0 else figures.quantity(number)


def money_of(one: Finding, figures: Figures) -> str:
    """`44.00 USD a month missing`; in words where the money is not known or there is none."""
    if one.explained:
        return "follows the next Pax8 invoice"
    amount = one.money
    if amount is None:
        return "money not known"
    if one.side is Side.NONE:
        return ""
    rhythm = " a month" if one.month is not None else " once"
    return f"{figures.money(amount, one.currency)}{rhythm} {SIDES[one.side]}".rstrip()


def where_billed(rows: Sequence[SeatRow]) -> str:
    """Who bills these rows' lines: `recurring invoice 237`, `billed by billingsync`, `no line in HaloPSA`."""
    lines = [line for row in rows for line in row.every_line]
    invoices = sorted({abs(line.invoice_id) for line in lines if line.keeper is not Keeper.OURS and line.invoice_id})
    ours = any(line.keeper is Keeper.OURS for line in lines) or any(row.billed_here for row in rows)
    numbers = ", ".join(map(str, invoices))
    parts = [f"recurring {plural(len(invoices), 'invoice')} {numbers}"] if invoices else []
    return " and ".join([*parts, *(["billed by billingsync"] if ours else [])]) or "no line in HaloPSA"


def heading(what: str, whole: Reconciliation) -> str:
    """`Licences as at 2026-11-28 05:00, snapshot 41`."""
    month = f" of {whole.period}" if whole.period is not None else ""
    return f"{what}{month} as at {whole.as_at:%Y-%m-%d %H:%M}, snapshot {whole.snapshot}"


def equation(whole: Reconciliation, figures: Figures, *, money: bool) -> str:
    """Every subscription in exactly one class, as a sum."""
    shown = [(kind, found) for kind, found in whole.classes.items() if found.subscriptions]
    order = list(CLASSES)
    shown.sort(key=lambda entry: order.index(entry[0]))
    total = sum(found.subscriptions for _, found in shown)
    parts = []
    for kind, found in shown:
        part = f"{figures.count(found.subscriptions)} {CLASSES[kind]}"
        known = {currency: cost for currency, cost in found.cost_month.items() if cost}
        if money and kind in (Class.UNMAPPED_COMPANY, Class.UNMAPPED_PRODUCT) and known:
            costs = ", ".join(figures.money(cost, currency) for currency, cost in known.items())
            part += f" ({costs} cost a month)"
        parts.append(part)
    return f"{figures.count(total)} {plural(total, 'subscription')} = {' + '.join(parts) or '0'}"
