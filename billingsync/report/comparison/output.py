"""One view of a reconciliation in any of the formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from billingsync.core.reconcile.billing import BillingRow
from billingsync.report.comparison import document, files, renewals, tables, text, words
from billingsync.report.comparison.renewals import Renewals
from billingsync.report.comparison.tables import Table
from billingsync.report.comparison.view import View
from billingsync.report.document import dump
from billingsync.report.numbers import Figures
from billingsync.report.text import paper

if TYPE_CHECKING:
    from rich.console import Console

TITLES = {"licences": "Licences", "billing": "Billing", "findings": "Findings"}


def billing_rows(view: View) -> tuple[BillingRow, ...]:
    """The groups of the choice."""
    groups = {(row.client_id, row.group) for row in view.rows}
    return tuple(row for row in view.whole.billing if (row.client_id, row.group) in groups)


def print_view(what: str, view: View, console: Console, locale: str) -> None:
    """As text on a console."""
    if what == "licences":
        text.print_licences(view, console, locale)
    elif what == "billing":
        text.print_billing(view, billing_rows(view), console, locale)
    else:
        text.print_findings(view, console, locale)


def tables_of(what: str, view: View) -> list[Table]:
    """The tables of a view, the one that matters first."""
    if what == "billing":
        return [tables.billing_table(billing_rows(view)), tables.finding_table(view.findings)]
    if what == "findings":
        return [tables.finding_table(view.findings), tables.class_table(view)]
    return tables.licence_tables(view)


def documents(what: str, shown: Sequence[View]) -> document.Document:
    """One document; of several months one with a document each."""
    made = [_document(what, one) for one in shown]
    if len(made) == 1:
        return made[0]
    return {"format_version": document.FORMAT_VERSION, "periods": made, "next_steps": made[-1]["next_steps"]}


def _document(what: str, view: View) -> document.Document:
    if what == "billing":
        return document.billing_document(view, billing_rows(view))
    return document.findings_document(view) if what == "findings" else document.licences_document(view)


def rendered(what: str, shown: Sequence[View], format: str, locale: str, partner: str) -> bytes:
    """The views as the content of a file."""
    title = words.heading(TITLES[what], shown[-1].whole)
    if format == "json":
        return dump(documents(what, shown)).encode()
    if format == "csv":
        return files.table_csv(joined(what, shown)).encode()
    if format == "xlsx":
        made = shown[-1].whole.as_at.isoformat(timespec="seconds")
        sheets = [table for one in shown for table in named_tables(what, one, len(shown) > 1)]
        return files.tables_xlsx(sheets, title, made)
    if format == "markdown":
        figures = Figures(locale)
        return "\n".join(_markdown(what, one, figures) for one in shown).encode()
    if format == "html":
        from billingsync.report.comparison.html import comparison_html

        return comparison_html(what, shown, locale=locale, partner=partner).encode()
    pages = []
    for one in shown:
        console, file = paper(100, False)
        print_view(what, one, console, locale)
        pages.append(file.getvalue())
    return "\n".join(pages).encode()


def named_tables(what: str, view: View, several: bool) -> list[Table]:
    """The tables of a view; of several months with the month in their names."""
    found = tables_of(what, view)
    return [replace(one, name=f"{one.name} {view.whole.period}") for one in found] if several else found


def joined(what: str, shown: Sequence[View]) -> Table:
    """One table; of several months with the month in front of each row."""
    found = [tables_of(what, one)[0] for one in shown]
    if len(found) == 1:
        return found[0]
    rows = [(str(view.whole.period), *row) for table, view in zip(found, shown, strict=True) for row in table.rows]
    return replace(found[0], columns=(tables.Column("period", "Period"), *found[0].columns), rows=rows)


def _markdown(what: str, view: View, figures: Figures) -> str:
    said = [words.equation(view.whole, figures, money=view.money), words.VERDICTS[view.whole.verdict]]
    if view.money and (parts := text.sum_parts(view, figures)):
        said.append(f"{', '.join(parts)}.")
    said += [f"Next: {' '.join(step)}" for step in view.whole.next_steps[:2]]
    return files.tables_markdown(words.heading(TITLES[what], view.whole), said, tables_of(what, view)[:2], figures)


def render_renewals(found: Renewals, format: str, locale: str, partner: str) -> bytes:
    """What ends soon as the content of a file."""
    if format == "ics":
        from billingsync.report.comparison.calendar import renewals_calendar

        return renewals_calendar(found).encode()
    figures = Figures(locale)
    title, table = words.heading("Renewals", found.whole), renewals.renewal_table(found)
    if format == "json":
        return dump(renewals.renewals_document(found)).encode()
    if format == "csv":
        return files.table_csv(table).encode()
    if format == "xlsx":
        return files.tables_xlsx([table], title, found.whole.as_at.isoformat(timespec="seconds"))
    if format == "markdown":
        said = [*renewals.summary(found, figures), *renewals.NOTES]
        return files.tables_markdown(title, said, [table], figures).encode()
    if format == "html":
        return renewals.renewals_html(found, locale=locale, partner=partner).encode()
    console, file = paper(100, False)
    renewals.print_renewals(found, console, locale)
    return file.getvalue().encode()
