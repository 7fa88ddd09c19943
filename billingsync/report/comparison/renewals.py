"""What ends soon: as text, JSON, tables and page, with what Pax8 documents of each commitment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from billingsync.core.money import plain
from billingsync.core.reconcile.compare import Reconciliation
from billingsync.core.reconcile.expiring import THRESHOLDS, CommitmentTerms, Expiring, Expiry, Row
from billingsync.report.comparison import pictures, words
from billingsync.report.comparison.document import FORMAT_VERSION
from billingsync.report.comparison.html import clean, page, table_view
from billingsync.report.comparison.tables import Amount, Column, Table
from billingsync.report.labels import plural
from billingsync.report.layout import Page, table_lines
from billingsync.report.numbers import Figures

if TYPE_CHECKING:
    from rich.console import Console

_MOST_COMPANIES = 8
ROWS = {
    Row.TERM: "Terms of more than a month",
    Row.COMMITTED_MONTHLY: "Yearly commitments that are billed monthly",
}
# Published rules: shown, never computed with.
NOTES = (
    "Microsoft NCE: seats can be cut or cancelled only within 7 days of start or renewal; added seats within 7 days of "
    "their own (Microsoft's cancellation policy, read 2026-11-28).",
    "Since 2026-05-04 an eligible Microsoft subscription with auto-renew off and no explicit cancellation goes over to "
    "a paid Extended Service Term instead of ending (distributors' pages, read 2026-11-28).",
    "Pax8 goes on billing to the end of the commitment. Other vendors have windows of their own.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewals:
    """`within`: days; `money` False hides amounts (the role `user`)."""

    whole: Reconciliation
    expiry: Expiry
    within: int
    money: bool = True

    @property
    def past(self) -> bool:
        return self.expiry.past_end > 0


def renewals_document(found: Renewals) -> dict[str, Any]:
    """Counts by threshold, both rows, and every subscription of them."""
    expiry = found.expiry
    companies = {
        row.value: {str(days): list(expiry.companies.get((row, days), ())) for days in THRESHOLDS} for row in ROWS
    }
    return {
        "format_version": FORMAT_VERSION,
        "as_at": found.whole.as_at.isoformat(timespec="seconds"),
        "snapshot": found.whole.snapshot,
        "within": found.within,
        "counts": _counts(expiry.counts),
        "committed_monthly": _counts(expiry.committed_monthly),
        "companies": companies,
        "no_date": expiry.no_date,
        "past_end": expiry.past_end,
        "subscriptions": [_subscription(one, money=found.money) for one in expiry.subscriptions],
        "next_steps": [],
    }


def _counts(counts: Mapping[int, int]) -> dict[str, int]:
    return {str(days): counts[days] for days in THRESHOLDS}


def _subscription(one: Expiring, *, money: bool) -> dict[str, Any]:
    held, client = one.one.subscription, one.one.client
    commitment = held.commitment.term if held.commitment else ""
    currency = held.currency

    def amount(value: Decimal | None) -> str | None:
        return None if value is None else plain(value, currency)

    figures = {"month": amount(one.month), "year": amount(one.year), "currency": currency}
    return {
        "subscription_id": held.id,
        "company_id": one.one.company.id,
        "company_name": one.one.company.name,
        "client_id": None if client is None else client.id,
        "sku": one.one.ref.sku or None,
        "product": one.one.ref.name,
        "row": one.row.value,
        "term": held.billing_term,
        "commitment_term": commitment or None,
        "end": None if one.end is None else one.end.isoformat(),
        "days": one.days,
        "quantity": None if held.quantity is None else plain(held.quantity),
        **(figures if money else {}),
        "renews": one.renews.value,
        "documented": _documented(one.terms),
    }


def _documented(terms: CommitmentTerms) -> dict[str, Any]:
    return {
        "auto_renew": terms.auto_renew,
        "days_before_end": terms.days_before_end,
        "days_after_end": terms.days_after_end,
        "may_decrease": terms.may_decrease,
        "may_cancel_early": terms.may_cancel_early,
    }


def renewal_table(found: Renewals) -> Table:
    columns = (
        Column("company", "Company", wide=True), Column("product", "Product", wide=True), Column("sku", "SKU"),
        Column("seats", "Seats", number=True), Column("term", "Term"), Column("commitment", "Commitment"),
        Column("end", "Ends"), Column("days", "Days", number=True), Column("renews", "Renews"),
        Column("window", "Window"), Column("month", "A month", number=True), Column("year", "A year", number=True),
        Column("currency", "Currency"), Column("row", "Row"), Column("subscription_id", "Subscription"),
    )  # fmt: skip
    rows = [_cells(one) for one in found.expiry.subscriptions]
    table = Table(name="What ends", columns=columns, rows=rows)
    return table if found.money else table.without("month", "year", "currency")


def _cells(one: Expiring) -> tuple[Any, ...]:
    held, terms = one.one.subscription, one.terms
    window = ""
    if terms.days_before_end is not None or terms.days_after_end is not None:
        window = f"{terms.days_before_end or 0} before to {terms.days_after_end or 0} after"
    return (
        one.one.company.name,
        one.one.ref.name,
        one.one.ref.sku,
        held.quantity,
        held.billing_term,
        held.commitment.term if held.commitment else "",
        one.end,
        one.days,
        one.renews.value,
        window,
        None if one.month is None else Amount(one.month, held.currency),
        None if one.year is None else Amount(one.year, held.currency),
        held.currency,
        ROWS.get(one.row, "no date" if one.end is None else ""),
        held.id,
    )


def summary(found: Renewals, figures: Figures) -> list[str]:
    """The two rows, each with its three windows, and what stands apart."""
    expiry = found.expiry
    said = []
    for row, counts in ((Row.TERM, expiry.counts), (Row.COMMITTED_MONTHLY, expiry.committed_monthly)):
        numbers = ", ".join(f"{figures.count(counts[days])} within {days} days" for days in THRESHOLDS)
        said.append(f"{ROWS[row]}: {numbers}.")
    if expiry.past_end:
        said.append(
            f"{figures.count(expiry.past_end)} past {plural(expiry.past_end, 'its', 'their')} end and still live."
        )
    if expiry.no_date:
        when = plural(expiry.no_date, "it ends", "they end")
        said.append(f"{figures.count(expiry.no_date)} without a date: Pax8 does not say when {when}.")
    return said


def print_renewals(found: Renewals, console: Console, locale: str = "en_US") -> None:
    """The counts first, then every subscription, soonest first."""
    sheet, figures = Page(console.width), Figures(locale)
    sheet.say(words.heading("Renewals", found.whole), "bold")
    sheet.blank()
    headers = ("", *(f"{days} days" for days in THRESHOLDS))
    rows = [
        (ROWS[Row.TERM], *(figures.count(found.expiry.counts[days]) for days in THRESHOLDS)),
        (ROWS[Row.COMMITTED_MONTHLY], *(figures.count(found.expiry.committed_monthly[days]) for days in THRESHOLDS)),
    ]
    for nth, line in enumerate(table_lines(headers, rows, sheet.width, numbers=(1, 2, 3), names=(0,))):
        sheet.say(line, "dim" if nth == 0 else "bold")
    for sentence in summary(found, figures)[2:]:
        sheet.prose(sentence, indent="  ", style="yellow")
    for title, ones in _groups(found.expiry.subscriptions):
        sheet.blank()
        sheet.say(title, "bold")
        _lines(ones, sheet, figures, found)
    sheet.blank()
    for note in NOTES:
        sheet.prose(note, indent="  ", first="· ", style="dim")
    sheet.show(console)


def _groups(ones: Sequence[Expiring]) -> list[tuple[str, list[Expiring]]]:
    groups = [
        ("Past the end and still live", [one for one in ones if one.past_end]),
        *(
            (f"{title}, soonest first", [one for one in ones if one.row is row and _ahead(one)])
            for row, title in ROWS.items()
        ),
        ("Without a date", [one for one in ones if one.no_date]),
    ]
    return [(title, group) for title, group in groups if group]


def _ahead(one: Expiring) -> bool:
    return one.days is not None and one.days >= 0


def _lines(ones: Sequence[Expiring], sheet: Page, figures: Figures, found: Renewals) -> None:
    rows = []
    for one in ones:
        held = one.one.subscription
        money = "" if one.month is None or not found.money else figures.money(one.month, held.currency)
        rows.append(
            (
                "" if one.end is None else one.end.isoformat(),
                "" if one.days is None else figures.count(one.days),
                one.one.company.name,
                one.one.ref.name,
                "" if held.quantity is None else figures.quantity(held.quantity),
                held.commitment.term if held.commitment and held.commitment.term else held.billing_term,
                money,
                one.renews.value,
            )
        )
    headers = ("Ends", "Days", "Company", "Product", "Seats", "Term", "A month" if found.money else "", "Renews")
    kept = range(8) if sheet.width >= 96 else (0, 1, 2, 3, 4, 6)
    chosen = [[row[place] for place in kept] for row in (headers, *rows)]
    numbers = [nth for nth, place in enumerate(kept) if place in (1, 4, 6)]
    for nth, line in enumerate(table_lines(chosen[0], chosen[1:], sheet.width - 2, numbers=numbers, names=(2, 3))):
        sheet.say(f"  {line}", "dim" if nth == 0 else "")


def renewals_html(found: Renewals, *, locale: str, partner: str) -> str:
    """The page: the time line, the counts, then the table."""
    figures = Figures(locale)
    expiry = found.expiry
    tiles = [
        {
            "kind": "pax8" if row is Row.TERM else "owed",
            "label": f"{ROWS[row]}, within {days} days",
            "amount": figures.count(counts[days]),
            "code": plural(counts[days], "subscription"),
            "means": _names(found, row, days),
        }
        for row, counts in ((Row.TERM, expiry.counts), (Row.COMMITTED_MONTHLY, expiry.committed_monthly))
        for days in THRESHOLDS
    ]
    today = found.whole.as_at.date()
    part = {
        "heading": words.heading("Renewals", found.whole),
        "lede": " ".join(summary(found, figures)[2:]),
        "verdict": "Some are past their end and still live." if found.past else "What is documented, with its source",
        "state": "incomplete" if found.past else "clean",
        "tiles": tiles,
        "money": [],
        "seats": None,
        "line": pictures.time_line(expiry.subscriptions, today, found.within, figures),
        "tables": [table_view(renewal_table(found), figures)],
        "steps": [],
        "notes": NOTES,
    }
    return page(title="Renewals", partner=partner, parts=[part])


def _names(found: Renewals, row: Row, days: int) -> str:
    """The companies under a window."""
    names = {one.one.company.id: one.one.company.name for one in found.expiry.subscriptions}
    shown = sorted(clean(names.get(id_, id_), 60) for id_ in found.expiry.companies.get((row, days), ()))
    more = f" and {len(shown) - _MOST_COMPANIES} more" if len(shown) > _MOST_COMPANIES else ""
    return ", ".join(shown[:_MOST_COMPANIES]) + more
