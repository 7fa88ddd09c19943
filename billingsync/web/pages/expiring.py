"""What ends within 15, 30 and 90 days, and what Pax8 documents of it as far as it was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from billingsync.core.desk import OrderKind, Role
from billingsync.core.reconcile.expiring import THRESHOLDS, CommitmentTerms, Expiring, Expiry, Row, expiring
from billingsync.core.schedule import local_day
from billingsync.errors import NoSnapshot
from billingsync.report.comparison.calendar import renewals_calendar
from billingsync.report.comparison.renewals import NOTES, ROWS, Renewals, renewal_table, renewals_document
from billingsync.report.html import clean
from billingsync.report.labels import plural
from billingsync.report.numbers import code
from billingsync.web.ask import Ask, NotFound, Page, Shown
from billingsync.web.views.money import View, amount, minus
from billingsync.web.views.reconcile import quantity
from billingsync.web.views.times import clock

WITHIN = 90
AT = "/expiring"
_APART: Mapping[str, Callable[[Expiring], bool]] = {
    "past": lambda one: one.past_end,
    "no-date": lambda one: one.no_date,
}


def show(ask: Ask) -> Shown:
    try:
        found, expiry = _found(ask)
    except NoSnapshot as none:
        return _nothing(ask, none)
    whole, chosen, asked_at = found.whole, found.expiry, _documented(ask)[1]
    row, within = ask.query("row"), ask.query("within") or str(WITHIN)
    here = {name: ask.query(name)[:200] for name in ("row", "within", "q") if ask.query(name)}
    view = {
        "rows": [_row(ask, one) for one in chosen.subscriptions],
        "tiles": _tiles(ask, expiry, row, within),
        "notes": NOTES,
        "q": ask.query("q")[:200],
        "row": row,
        "within": within,
        "may": found.money,
        "snapshot": whole.snapshot,
        "made": clock(whole.as_at, ask.now, ask.desk.settings.zone),
        "asked_at": asked_at,
        "none": not expiry.subscriptions,
        "here": _link(AT, here),
        "files": {ending: _link(f"{AT}.{ending}", here) for ending in ("xlsx", "csv", "json", "ics")},
        "says": "",
    }
    return Shown(
        template="expiring",
        title="Expiring",
        view=view,
        twin=lambda: renewals_document(found),
        tables=lambda: [renewal_table(found)],
    )


def _found(ask: Ask) -> tuple[Renewals, Expiry]:
    """What the address asks for, and all that ends. NoSnapshot where nothing was compared yet."""
    whole = ask.desk.comparisons.of(None)
    expiry = expiring(
        whole.subscriptions, local_day(ask.now, ask.desk.settings.zone), _documented(ask)[0], within=WITHIN
    )
    chosen = _chosen(expiry, ask.query("row"), ask.query("within") or str(WITHIN), ask.query("q")[:200])
    return Renewals(whole=whole, expiry=chosen, within=WITHIN, money=ask.role.may(Role.FINANCIAL)), expiry


def calendar(ask: Ask) -> Response:
    """The same as days in a calendar."""
    headers = {"Content-Disposition": 'attachment; filename="expiring.ics"'}
    return Response(renewals_calendar(_found(ask)[0]), media_type="text/calendar; charset=utf-8", headers=headers)


def _nothing(ask: Ask, none: NoSnapshot) -> Shown:
    view: View = {"says": clean(none.message, 600), "may": ask.role.may(Role.FINANCIAL), "here": AT}
    return Shown(template="expiring", title="Expiring", view=view, twin=lambda: {"subscriptions": []})


def _link(path: str, query: Mapping[str, Any]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _documented(ask: Ask) -> tuple[dict[str, CommitmentTerms], str]:
    """What Pax8 said of commitments when it was last asked, and when that was: looking asks nobody [DK3]."""
    for order in ask.ledger.orders():
        told = order.outcome.get("documented") if order.kind == OrderKind.SNAPSHOT else None
        if told and order.ended_at:
            at = clock(order.ended_at, ask.now, ask.desk.settings.zone)
            return {id: CommitmentTerms(**one) for id, one in told.items()}, at
    return {}, ""


def _chosen(expiry: Expiry, row: str, within: str, query: str) -> Expiry:
    """What the address asks for. NotFound for a tile that there is not."""
    if (row and row not in (*_APART, *ROWS)) or within not in map(str, THRESHOLDS):
        raise NotFound("There is no such list of what ends.")
    apart, wanted = _APART.get(row), query.casefold()

    def fits(one: Expiring) -> bool:
        held = one.one
        if apart is not None and not apart(one):
            return False
        if apart is None and row and (one.row != row or not one.within(int(within))):
            return False
        return not wanted or wanted in f"{held.company.name}\n{held.ref.name}\n{held.ref.sku}".casefold()

    return replace(expiry, subscriptions=tuple(one for one in expiry.subscriptions if fits(one)))


def _tiles(ask: Ask, expiry: Expiry, row: str, within: str) -> list[View]:
    """Two rows of three windows, each within the next one, and what stands apart."""
    figures = ask.desk.figures
    found = []
    for kind, counts in ((Row.TERM, expiry.counts), (Row.COMMITTED_MONTHLY, expiry.committed_monthly)):
        tiles = []
        for days in THRESHOLDS:
            companies = len(expiry.companies.get((kind, days), ()))
            tiles.append(
                {
                    "count": figures.count(counts[days]),
                    "words": f"within {days} days",
                    "of": f"of {figures.count(companies)} {plural(companies, 'company', 'companies')}",
                    "path": _link(AT, {"row": kind.value, "within": days}),
                    "here": row == kind and within == str(days),
                    "needs": days == THRESHOLDS[0] and counts[days] > 0,
                }
            )
        found.append({"title": ROWS[kind], "tiles": tiles})
    apart = [
        ("past", expiry.past_end, "past the end", "and still live"),
        ("no-date", expiry.no_date, "without a date", "Pax8 does not say when"),
    ]
    tiles = [
        {
            "count": figures.count(count),
            "words": words,
            "of": of,
            "path": _link(AT, {"row": name}),
            "here": row == name,
            "needs": name == "past" and count > 0,
        }
        for name, count, words, of in apart
    ]
    return [*found, {"title": "Apart from these", "tiles": tiles}]


def _row(ask: Ask, one: Expiring) -> View:
    held, terms, figures = one.one.subscription, one.terms, ask.desk.figures
    window = ""
    if terms.days_before_end is not None or terms.days_after_end is not None:
        window = (
            f"renewal window: {terms.days_before_end or 0} days before to {terms.days_after_end or 0} after the end"
        )
    cuts = {None: "", True: "seats may be cut", False: "seats cannot be cut"}[terms.may_decrease]
    money = ask.role.may(Role.FINANCIAL)

    def shown(number: Any) -> str:
        return f"{amount(figures, number, held.currency)} {code(held.currency)}" if money and number is not None else ""

    return {
        "company": clean(one.one.company.name, 160),
        "product": clean(one.one.ref.name, 160),
        "seats": quantity(held.quantity, figures),
        "term": clean(held.billing_term, 40),
        "commitment": clean(held.commitment.term, 60) if held.commitment and held.commitment.term else "",
        "end": one.end.isoformat() if one.end else "",
        "days": minus(figures.count(one.days)) if one.days is not None else "",
        "past": one.past_end,
        "renews": one.renews.value,
        "window": window,
        "cuts": cuts,
        "month": shown(one.month),
        "year": shown(one.year),
    }


PAGES = (
    Page(path=AT, show=show, role=Role.USER, twin=True, sheets=True),
    Page(path=f"{AT}.ics", show=calendar, role=Role.USER),
)
