"""A reconciliation on a terminal: what differs, what it comes to, and what to type next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from billingsync.core.money import ZERO
from billingsync.core.reconcile.billing import BillingRow
from billingsync.core.reconcile.compare import Verdict
from billingsync.core.reconcile.findings import MAPPING, Finding, Side
from billingsync.core.reconcile.licences import SeatRow
from billingsync.report.comparison import words
from billingsync.report.comparison.tables import note_of
from billingsync.report.comparison.view import SIDES, View, by_client, by_product, sums, unmapped_cost
from billingsync.report.escape import one_line
from billingsync.report.labels import plural
from billingsync.report.layout import Page, fit, table_lines
from billingsync.report.numbers import Figures, code

if TYPE_CHECKING:
    from rich.console import Console

_NUMBER = 9  # columns of a number of seats
_GAP = 2
_STYLES = {Side.MISSING: "red", Side.OWED: "yellow", Side.PAX8: "cyan", Side.COST: "magenta", Side.MARGIN: ""}


def print_licences(view: View, console: Console, locale: str = "en_US") -> None:
    """By company only what differs, unless everything is asked for; the equation of classes; the verdict."""
    page, figures = Page(console.width), Figures(locale)
    if view.by == "product":
        _by_product(view, page, figures)
    else:
        _by_company(view, page, figures)
    if view.all:
        _not_compared(view, page, figures)
    page.blank()
    page.prose(words.equation(view.whole, figures, money=view.money), indent="  ", first="")
    closing(view, page, figures)
    page.show(console)


def print_findings(view: View, console: Console, locale: str = "en_US") -> None:
    """What is wrong, in order; mapping first."""
    page, figures = Page(console.width), Figures(locale)
    page.say(words.heading("Findings", view.whole), "bold")
    shown = [one for one in view.findings if view.all or not one.explained]
    mapping = [one for one in shown if one.kind in MAPPING]
    for title, group in (("Map these first: nothing else sees them", mapping), ("What is wrong", _not_in(shown))):
        if group:
            page.blank()
            page.say(f"{title} ({figures.count(len(group))})", "bold")
            _finding_lines(group, page, figures, money=view.money)
    if hidden := len(view.findings) - len(shown):
        page.blank()
        page.prose(f"{figures.count(hidden)} more follow the next Pax8 invoice by themselves (--all shows them).")
    closing(view, page, figures)
    page.show(console)


def _not_in(shown: Sequence[Finding]) -> list[Finding]:
    return [one for one in shown if one.kind not in MAPPING]


def _finding_lines(findings: Iterable[Finding], page: Page, figures: Figures, *, money: bool) -> None:
    if page.width < 100:
        _narrow_findings(findings, page, figures, money=money)
        return
    rows, styles = [], []
    for one in findings:
        amount = one.money if money else None
        rows.append(
            (
                words.title(one),
                one.client_name or one.company_name,
                one.product,
                words.signed(one.seats, figures) if one.seats else "",
                "" if amount is None else figures.money(amount, one.currency),
                "" if amount is None else "a month" if one.month is not None else "once",
                one.confidence.value,
            )
        )
        styles.append(_STYLES.get(one.side, ""))
    headers = ("What", "Client", "Product", "Seats", "Money" if money else "", "", "Sure")
    lines = table_lines(headers, rows, page.width - _GAP, numbers=(3, 4), names=(1, 2))
    for nth, line in enumerate(lines):
        page.say(f"  {line}", "bold" if nth == 0 else styles[nth - 1])


def _narrow_findings(findings: Iterable[Finding], page: Page, figures: Figures, *, money: bool) -> None:
    """Two lines each, as a table would have to cut every word."""
    for one in findings:
        amount = one.money if money else None
        rhythm = "a month" if one.month is not None else "once   "
        says = "" if amount is None else f"{figures.money(amount, one.currency)} {rhythm}"
        seats = f" ({words.signed(one.seats, figures)})" if one.seats else ""
        what = f"  {words.title(one)}{seats}"
        page.say(f"{what}{says.rjust(max(page.width - len(what), 1))}", _STYLES.get(one.side, ""))
        whom = f"{one_line(one.client_name or one.company_name)} · {one_line(one.product)}"
        page.say(f"      {fit(whom, page.width - 16)}  {one.confidence.value}", "dim")


def print_billing(view: View, rows: Sequence[BillingRow], console: Console, locale: str = "en_US") -> None:
    """Cost and price of both sides; only groups whose prices differ, unless everything is asked for."""
    page, figures = Page(console.width), Figures(locale)
    page.say(words.heading("Billing", view.whole), "bold")
    page.prose("HaloPSA's side: recurring lines as at the snapshot, not sent invoices; lines of billingsync as posted.")
    shown = [row for row in rows if view.all or row.in_month.price_difference != ZERO]
    headers = ("Client", "Product", "Pax8 price", "HaloPSA", "Difference", "Cost", "Margin", "%")
    for currency in sorted({row.currency for row in shown}):
        mine = [row for row in shown if row.currency == currency]
        cells = [_billing_cells(row, figures) for row in mine]
        cells.append(_total_cells([row for row in rows if row.currency == currency], currency, figures))
        page.blank()
        page.say(f"{code(currency)}, {figures.count(len(mine))} of "
                 f"{figures.count(sum(row.currency == currency for row in rows))} groups differ", "bold")  # fmt: skip
        # A narrow terminal has no room for the cost and the percentage: the CSV has them.
        kept = range(8) if page.width >= 100 else (0, 1, 2, 3, 4, 6)
        chosen = [[row[place] for place in kept] for row in (headers, *cells)]
        numbers = range(2, len(kept))
        lines = table_lines(chosen[0], chosen[1:], page.width - _GAP, numbers=numbers, names=(0, 1))
        for nth, line in enumerate(lines):
            page.say(f"  {line}", "bold" if nth in (0, len(lines) - 1) else "")
    for row in shown:
        if note := note_of(row):
            page.prose(f"{one_line(row.client_name)}, {one_line(row.product)}: {note}.", indent="    ", first="  ")
    if not shown:
        page.blank()
        page.say("No price differs." if rows else "No month of Pax8 stands beside this snapshot: nothing is compared.")
    closing(view, page, figures)
    page.show(console)


def _billing_cells(row: BillingRow, figures: Figures) -> tuple[str, ...]:
    money = row.in_month

    def amount(value: Decimal | None) -> str:
        return "?" if value is None else figures.amount(value, row.currency)

    percent = ""
    if money.margin is not None and money.psa_price:
        percent = figures.percent(money.margin, money.psa_price, places=2)
    return (
        row.client_name,
        row.product,
        amount(money.pax8_price),
        amount(money.psa_price),
        amount(money.price_difference),
        amount(money.pax8_cost),
        amount(money.margin),
        percent,
    )


def _total_cells(rows: Sequence[BillingRow], currency: str, figures: Figures) -> tuple[str, ...]:
    """Of all groups, also those that are not shown, whose money is known on both sides."""
    known = [row.in_month for row in rows if row.in_month.psa_price is not None]
    pax8 = sum((one.pax8_price for one in known), ZERO)
    psa = sum((one.psa_price or ZERO for one in known), ZERO)
    cost = sum((one.pax8_cost for one in known), ZERO)
    margin = psa - cost
    percent = figures.percent(margin, psa, places=2) if psa else ""
    amounts = [figures.amount(value, currency) for value in (pax8, psa, pax8 - psa, cost, margin)]
    return ("All groups", "", *amounts, percent)


def _by_company(view: View, page: Page, figures: Figures) -> None:
    name = _header(words.heading("Licences", view.whole), page)
    findings = view.seat_findings
    for (_, client), rows in by_client(view.rows).items():
        shown = [row for row in rows if view.all or row.difference]
        if not shown:
            continue
        page.blank()
        page.prose(f"{one_line(client)} -> {words.where_billed(rows)}", indent="    ", first="", style="bold")
        for row in shown:
            finding = findings.get((row.client_id, row.group, row.key))
            _seat_line(row, finding, view, page, figures, name)
        if same := len(rows) - len(shown):
            page.say(f"  {figures.count(same)} more {plural(same, 'product agrees', 'products agree')}", "dim")
    agree = sum(not any(row.difference for row in rows) for rows in by_client(view.rows).values())
    if agree and not view.all:
        page.blank()
        page.say(f"{figures.count(agree)} {plural(agree, 'client agrees', 'clients agree')} on every product.", "dim")


def _header(title: str, page: Page) -> int:
    """The heading with the columns over their numbers; gives the width that is left for names."""
    name = page.width - 3 * _NUMBER - (32 if page.width >= 110 else 0)
    columns = "".join(text.rjust(_NUMBER) for text in ("Pax8", "HaloPSA", "Diff."))
    if len(title) + 2 > name:
        page.say(title, "bold")
        title = ""
    page.say(f"{title:<{name}}{columns}", "bold")
    return name


def _seat_line(row: SeatRow, finding: Finding | None, view: View, page: Page, figures: Figures, name: int) -> None:
    many = len(row.members)
    after = f" ({figures.count(many)} subscriptions)" if many > 1 else ""
    if row.item_id is not None:
        after += f" (item {row.item_id})"
    product = fit(row.product, max(name - _GAP - len(after) - 1, 12)) + after
    numbers = [
        figures.quantity(row.count) if row.count or row.members else "-",
        figures.quantity(row.psa_quantity) if row.every_line else "-",
        words.signed(row.difference, figures) if row.difference else "=",
    ]
    money = words.money_of(finding, figures) if finding and view.money else words.title(finding) if finding else ""
    style = _STYLES.get(finding.side, "") if finding and not finding.explained else "dim" if not row.difference else ""
    line = f"  {product}".ljust(name) + "".join(text.rjust(_NUMBER) for text in numbers)
    if money and page.width >= 110:
        page.say(f"{line}  {money}", style)
        return
    page.say(line, style)
    if money:
        page.say(f"      {money}", style)


def _by_product(view: View, page: Page, figures: Figures) -> None:
    page.say(words.heading("Licences by product", view.whole), "bold")
    rows = [row for row in by_product(view.rows) if view.all or not view.variances or row.difference]
    cells = [
        (
            row.product,
            " ".join(row.skus),
            figures.count(row.clients),
            figures.quantity(row.count),
            figures.quantity(row.psa_quantity),
            words.signed(row.difference, figures) if row.difference else "=",
        )
        for row in rows
    ]
    headers = ("Product", "SKU", "Clients", "Pax8", "HaloPSA", "Difference")
    for nth, line in enumerate(table_lines(headers, cells, page.width, numbers=(2, 3, 4, 5), names=(0, 1))):
        page.say(line, "bold" if nth == 0 else "")


def _not_compared(view: View, page: Page, figures: Figures) -> None:
    """Subscriptions of every other class."""
    others = [one for one in view.whole.subscriptions if words.CLASSES[one.kind] != "compared"]
    if not others:
        return
    page.blank()
    page.say(f"Not compared ({figures.count(len(others))} subscriptions)", "bold")
    cells = [
        (
            one.company.name,
            one.ref.name,
            "" if one.subscription.quantity is None else figures.quantity(one.subscription.quantity),
            one.subscription.status,
            words.CLASSES[one.kind],
        )
        for one in sorted(others, key=lambda one: (words.CLASSES[one.kind], one.company.name.casefold()))
    ]
    headers = ("Company", "Product", "Seats", "Status", "Why")
    for nth, line in enumerate(table_lines(headers, cells, page.width - _GAP, numbers=(2,), names=(0, 1))):
        page.say(f"  {line}", "bold" if nth == 0 else "")


def closing(view: View, page: Page, figures: Figures) -> None:
    """The verdict with the sums, never netted, and the command that comes next."""
    page.blank()
    verdict = view.whole.verdict
    said = words.VERDICTS[verdict]
    parts = sum_parts(view, figures) if view.money else []
    if parts:
        lead = "Chosen here: " if view.filters.any else f"{'Differences' if verdict != Verdict.CLEAN else 'Clean'}: "
        page.prose(f"{lead}{', '.join(parts)}.", indent="  ", style="bold")
    page.prose(said, indent="  ", style="" if parts else "bold")
    for step in view.whole.next_steps[:2]:
        page.say(f"Next:  {' '.join(step)}")


def sum_parts(view: View, figures: Figures) -> list[str]:
    """`44.00 USD a month missing`, one for each sum and currency that is not zero."""
    found = []
    for currency, by_side in sums(view.findings).items():
        for side in (*SIDES, Side.MARGIN):
            if amount := by_side.get(side):
                found.append(f"{figures.money(amount, currency)} {words.SIDES[side]}")
    found += [f"{figures.money(cost, currency)} not mapped" for currency, cost in unmapped_cost(view.findings).items()]
    return found
