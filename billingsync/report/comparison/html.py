"""A reconciliation as one self-contained page with pictures: `templates/comparison.html.j2`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from billingsync import __version__
from billingsync.core.reconcile.expiring import expiring
from billingsync.core.reconcile.findings import Side
from billingsync.report.comparison import pictures, words
from billingsync.report.comparison.files import shown as shown_cell
from billingsync.report.comparison.tables import Table
from billingsync.report.comparison.view import View, sums
from billingsync.report.escape import one_line, shortened
from billingsync.report.html import page_template
from billingsync.report.numbers import Figures, code

if TYPE_CHECKING:
    pass

Shown = dict[str, Any]
_OPEN_ROWS = 60  # a longer table is folded
_MOST_ROWS = 5_000  # of one table: browsers slow down, and CSV and XLSX have them all
_TILES = (Side.MISSING, Side.OWED, Side.PAX8, Side.MARGIN, Side.COST)


def comparison_html(what: str, views: Sequence[View], *, locale: str, partner: str) -> str:
    """The page. All text is escaped; nothing is loaded from anywhere."""
    from billingsync.report.comparison.output import TITLES

    figures = Figures(locale)
    return page(
        title=TITLES[what],
        partner=partner,
        parts=[_part(what, view, figures) for view in views],
    )


def page(*, title: str, partner: str, parts: Sequence[Shown]) -> str:
    """A page of parts, one for each month."""
    return page_template("comparison.html.j2").render(
        title=title, partner=clean(partner, 120), parts=parts, version=__version__
    )


def _part(what: str, view: View, figures: Figures) -> Shown:
    from billingsync.report.comparison.output import tables_of

    whole = view.whole
    today = whole.as_at.date()
    money: list[pictures.Bars | None] = []
    if view.money:
        money = [pictures.money_picture(view.findings, currency, figures) for currency in sums(view.findings)]
    ending = expiring(whole.subscriptions, today, {}).subscriptions if not view.filters.any else ()
    return {
        "heading": words.heading(title_of(what), whole),
        "lede": words.equation(whole, figures, money=view.money) if whole.classes else "",
        "verdict": words.VERDICTS[whole.verdict],
        "state": whole.verdict.value,
        "tiles": _tiles(view, figures) if view.money else [],
        "money": [
            (code(currency), bars)
            for currency, bars in zip(sums(view.findings), money, strict=False)
            if bars is not None
        ],
        "seats": pictures.seats_picture(view.rows, figures) if what != "billing" else None,
        "line": pictures.time_line(ending, today, 90, figures),
        "tables": [table_view(table, figures) for table in tables_of(what, view) if table.rows],
        "steps": [" ".join(step) for step in whole.next_steps[:4]],
    }


def title_of(what: str) -> str:
    from billingsync.report.comparison.output import TITLES

    return TITLES[what]


def _tiles(view: View, figures: Figures) -> list[Shown]:
    """The sums, one beside the other and never netted."""
    return [
        {
            "kind": side.value,
            "label": "Margin" if side is Side.MARGIN else words.SIDES[side][:1].upper() + words.SIDES[side][1:],
            "amount": figures.amount(by_side[side], currency),
            "code": code(currency),
            "means": words.SIDE_MEANS[side],
        }
        for side in _TILES
        for currency, by_side in sums(view.findings).items()
        if by_side.get(side)
    ]


def table_view(table: Table, figures: Figures) -> Shown:
    """A table as the template places it; columns in which nothing stands are left out."""
    rows = table.rows[:_MOST_ROWS]
    cells = [[clean(shown_cell(cell, figures)) for cell in row] for row in rows]
    used = [place for place in range(len(table.columns)) if any(row[place] for row in cells)]
    return {
        "name": table.name,
        "columns": [table.columns[place] for place in used],
        "rows": [[row[place] for place in used] for row in cells],
        "count": figures.count(len(table.rows)),
        "open": len(rows) <= _OPEN_ROWS,
        "more": figures.count(len(table.rows) - len(rows)) if len(table.rows) > len(rows) else "",
    }


def clean(text: str, length: int = 300) -> str:
    """Foreign text for the page: one line, inert, not too long. The template escapes it."""
    return shortened(one_line(text), length)
