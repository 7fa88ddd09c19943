"""Pax8 beside HaloPSA: seats, money, and what is wrong. Read from snapshots; no vendor is asked by looking [DK3]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

from starlette.responses import Response

from billingsync.core.desk import OrderKind, Role
from billingsync.core.period import Period
from billingsync.core.reconcile.findings import KINDS, Kind
from billingsync.errors import NoSnapshot
from billingsync.reconcile.choose import FRESH, periods_with_one
from billingsync.reconcile.reconcile import Months, months
from billingsync.report.comparison import output
from billingsync.report.comparison.tables import Table
from billingsync.report.comparison.view import Filters, by_product, kinds_of
from billingsync.report.comparison.view import View as Choice
from billingsync.report.comparison.view import view as choose
from billingsync.report.html import clean
from billingsync.web.ask import Ask, NotFound, Page, Shown, own_path, see
from billingsync.web.render import macro
from billingsync.web.views import billing as billing_views
from billingsync.web.views import reconcile as views
from billingsync.web.views.money import View
from billingsync.web.views.times import clock

MOST_ROWS = 500  # on one page
TITLES = {"licences": "Licences", "billing": "Billing", "findings": "Findings"}
_WHATS = {"licences": Role.USER, "billing": Role.FINANCIAL, "findings": Role.FINANCIAL}
_NAMES = ("period", "to", "view", "q", "client", "product", "vendor", "tag", "kind", "spread", "page")


def home(ask: Ask) -> Response:
    return see("/reconcile/licences")


def read_again(ask: Ask) -> Response:
    """Files the order for a snapshot: both sides are read at one time, nothing is written to either."""
    to = own_path(ask.text("to") or "/reconcile/licences")
    return ask.order(OrderKind.SNAPSHOT, {"to": to})


def licences(ask: Ask) -> Shown:
    return _page(ask, "licences", _licences)


def billing(ask: Ask) -> Shown:
    return _page(ask, "billing", _billing)


def findings(ask: Ask) -> Shown:
    return _page(ask, "findings", _findings)


def _page(ask: Ask, what: str, of: Callable[[Ask, Choice], View]) -> Shown:
    """One of the three views, of now or of months, each by its own snapshot."""
    comparisons = ask.desk.comparisons
    head = _head(ask, what)
    try:
        found = months(_period(ask), comparisons.of, comparisons.posted if what == "billing" else None)
    except NoSnapshot as none:
        return _nothing(ask, head, none)
    shown = [_choice(ask, one) for one in found.found]
    parts = [_part(ask, what, one, of) for one in shown]
    view = head | {
        "months_shown": parts,
        "missing": [clean(text, 400) for _, text in found.missing],
        "posted": clean(found.posted, 400),
        **_age(ask, found),
    }
    return Shown(
        template=f"reconcile_{what}",
        title=head["title"],
        view=view,
        part="rows" if ask.request.headers.get("hx-target", "").endswith("rows") else "main",
        twin=lambda: output.documents(what, shown),
        tables=lambda: _tables(what, shown),
    )


def _tables(what: str, shown: Sequence[Choice]) -> list[Table]:
    """The first one is of all months, for CSV; Excel has a sheet of each."""
    if len(shown) == 1:
        return output.tables_of(what, shown[0])
    return [output.joined(what, shown), *(table for one in shown for table in output.named_tables(what, one, True))]


def _period(ask: Ask) -> str | None:
    """`2026-11`, a range, or now."""
    first, last = ask.query("period"), ask.query("to")
    if not first or first == "now":
        return None
    return f"{first}..{last}" if last and last != first else first


def _choice(ask: Ask, whole: Any) -> Choice:
    """What the address asks for; `q` finds a client or a product."""
    query = {name: ask.query(name)[:200] for name in _NAMES}

    def asked(name: str) -> tuple[str, ...]:
        return (query[name],) if query[name] else ()

    filters = Filters(
        clients=asked("client"),
        products=asked("product"),
        vendors=asked("vendor"),
        tags=asked("tag"),
        kinds=kinds_of(asked("kind")),
    )
    made = choose(
        whole,
        filters,
        by="product" if query["view"] == "product" else "company",
        variances=query["view"] == "differences",
        everything=True,
        money=ask.role.may(Role.FINANCIAL),
    )
    return views.found_by(made, query["q"]) if query["q"] else made


def _head(ask: Ask, what: str) -> View:
    figures = ask.desk.figures
    have = [str(one) for one in periods_with_one(ask.ledger, ask.desk.settings.zone)]
    months_ = have if what != "billing" else sorted({*have, *ask.ledger.planned_periods()})
    period, last = ask.query("period") or "now", ask.query("to") or ask.query("period") or "now"
    query = {name: ask.query(name)[:200] for name in _NAMES}
    kept = {name: value for name, value in query.items() if value and name not in ("page", "view", "kind", "spread")}
    behind = {name: value for name, value in query.items() if value}
    return {
        "what": what,
        "title": TITLES[what],
        "tabs": [
            {
                "words": TITLES[name],
                "path": _link(f"/reconcile/{name}", {k: v for k, v in kept.items() if k != "to" or name == "billing"}),
                "here": name == what,
            }
            for name, role in _WHATS.items()
            if ask.role.may(role)
        ],
        "months": [
            {"period": one, "words": figures.month(one), "from": one == period, "to": one == last}
            for one in sorted({*months_, *([period] if _is_month(period) else [])})
        ],
        "now": period == "now",
        "query": query,
        "may": ask.role.may(Role.FINANCIAL),
        "here": _link(f"/reconcile/{what}", behind),
        "files": {ending: _link(f"/reconcile/{what}.{ending}", behind) for ending in ("xlsx", "csv", "json")},
    }


def _is_month(text: str) -> bool:
    try:
        Period.parse(text)
    except ValueError:
        return False
    return True


def _age(ask: Ask, found: Months) -> View:
    """Which snapshot, and whether it is older than a day."""
    whole = found.found[-1]
    zone = ask.desk.settings.zone
    entry = next((one for one in ask.ledger.snapshots() if one.id == whole.snapshot), None)
    old = whole.period is None and ask.now - whole.as_at > FRESH
    return {
        "snapshot": whole.snapshot,
        "made": clock(whole.as_at, ask.now, zone),
        "old": f"This snapshot is {(ask.now - whole.as_at) // timedelta(hours=1)} hours old." if old else "",
        "suspect": ", ".join(entry.suspect) if entry and entry.suspect and not entry.confirmed_by else "",
    }


def _nothing(ask: Ask, head: View, none: NoSnapshot) -> Shown:
    view = head | {
        "says": clean(none.message, 600),
        "commands": [" ".join(step) for step in none.next_steps],
        "missing": [],
        "posted": "",
    }
    return Shown(
        template="reconcile_none",
        title=head["title"],
        view=view,
        twin=lambda: {"rows": [], "verdict": "nothing_compared", "next_steps": [list(one) for one in none.next_steps]},
    )


def _part(ask: Ask, what: str, choice: Choice, of: Callable[[Ask, Choice], View]) -> View:
    figures, whole = ask.desk.figures, choice.whole
    return {
        "period": str(whole.period or ""),
        "month": figures.month(str(whole.period)) if whole.period else "",
        "verdict": views.verdict(whole, figures, may=choice.money),
        "tiles": views.tiles(choice.findings, figures) if choice.money else [],
        **of(ask, choice),
    }


def _link(path: str, query: dict[str, Any]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _views(ask: Ask, at: str, names: Sequence[tuple[str, str, int]]) -> list[View]:
    """The views of a page as links, each with its count."""
    here = ask.query("view") or names[0][0]
    kept = {name: ask.query(name)[:200] for name in _NAMES if ask.query(name) and name not in ("view", "page")}
    return [
        {
            "words": words,
            "count": ask.desk.figures.count(count),
            "path": _link(at, {**kept, **({"view": name} if name != names[0][0] else {})}),
            "here": name == here,
        }
        for name, words, count in names
    ]


def _paged(ask: Ask, rows: Sequence[View], at: str, size: Callable[[View], int] = lambda _: 1) -> View:
    """One page of at most about `MOST_ROWS` lines, and where the others are."""
    pages: list[list[View]] = [[]]
    filled = 0
    for row in rows:
        if filled + size(row) > MOST_ROWS and pages[-1]:
            pages.append([])
            filled = 0
        pages[-1].append(row)
        filled += size(row)
    text = ask.query("page")
    number = min(max(int(text) if text.isdigit() and len(text) < 6 else 1, 1), len(pages))
    kept = {name: ask.query(name)[:200] for name in _NAMES if ask.query(name) and name != "page"}
    return {
        "rows": pages[number - 1],
        "page": number,
        "pages": len(pages),
        "before": _link(at, {**kept, "page": number - 1}) if number > 1 else "",
        "after": _link(at, {**kept, "page": number + 1}) if number < len(pages) else "",
    }


def _licences(ask: Ask, choice: Choice) -> View:
    figures, at = ask.desk.figures, "/reconcile/licences"
    every = choose(choice.whole, choice.filters, everything=True, money=choice.money)
    every = views.found_by(every, ask.query("q")) if ask.query("q") else every
    subscriptions = views.subscriptions_of(every)
    named = (
        ("company", "By company", len(every.rows)),
        ("differences", "Differences", sum(1 for row in every.rows if row.difference)),
        ("product", "By product", len(by_product(every.rows))),
        ("active", "Subscriptions", len(subscriptions)),
    )
    how = ask.query("view")
    view: View = {"views": _views(ask, at, named), "how": how if how in ("product", "active") else "company"}
    if how == "active":
        rows = views.active(subscriptions, figures, money=choice.money)
        return view | _paged(ask, rows, at)
    if how == "product":
        return view | _paged(ask, views.products(choice, figures), at)
    return view | _paged(ask, views.clients(choice, figures, ask.query("open")), at, lambda one: 1 + len(one["rows"]))


def _billing(ask: Ask, choice: Choice) -> View:
    figures, at, spread = ask.desk.figures, "/reconcile/billing", ask.query("spread") == "1"
    rows = output.billing_rows(choice)
    main = billing_views.main_currency(rows)
    differ = [row for row in rows if (row.spread if spread else row.in_month).price_difference]
    named = (("company", "All", len(rows)), ("differences", "Differences", len(differ)))
    shown = differ if ask.query("view") == "differences" else rows
    return {
        "views": _views(ask, at, named),
        "spread": spread,
        "main": main,
        "columns": [heading for _, heading in billing_views.COLUMNS],
        "totals": billing_views.totals_view(rows, figures, spread),
        "apart": billing_views.apart_view(choice.whole, figures),
        "ours": billing_views.ours_view(choice.whole, figures),
        "released": choice.whole.compared_with is not None,
        **_paged(ask, billing_views.billing_view(shown, figures, main, spread, ask.query("open")), at),
    }


def _findings(ask: Ask, choice: Choice) -> View:
    figures, at = ask.desk.figures, "/reconcile/findings"
    every = views.findings_view(choice.findings, figures)
    for row in every:
        row["path"], row["do"] = _act(ask, row)
    here = ask.query("kind")
    kept = {name: ask.query(name)[:200] for name in _NAMES if ask.query(name) and name not in ("kind", "page")}
    kinds = [one.kind for one in choose(choice.whole, Filters(), money=choice.money).findings]
    return {
        "kinds": [
            {"words": "All", "count": figures.count(len(kinds)), "path": _link(at, kept), "here": not here},
            *(
                {
                    "words": KINDS[kind].title,
                    "count": figures.count(kinds.count(kind)),
                    "path": _link(at, {**kept, "kind": kind.value}),
                    "here": here == kind.value,
                }
                for kind in Kind
                if kind in kinds
            ),
        ],
        "none": not kinds,
        **_paged(ask, every, at),
    }


_ACTS = {"company": "Choose client…", "product": "Choose item…", "holds": "Look at holds", "cards": "Open its card"}


def _act(ask: Ask, row: View) -> tuple[str, str]:
    """Where a finding is settled: the page of its map, hold or card."""
    to, name = row.pop("to"), row.pop("act")
    paths = {
        "company": _link("/clients/choose", {"company": name}),
        "product": f"/products/{quote(name, safe='')}",
        "holds": "/holds",
        "cards": _link("/cards", {"finding": name}),
    }
    return (paths[to], _ACTS[to]) if to else ("", "")


def row(ask: Ask) -> Response:
    """One row of the licences, opened."""
    whole = ask.desk.comparisons.of(_the_month(ask))
    found = next((one for one in whole.rows if views.row_name(one) == ask.path("name")), None)
    if found is None:
        raise NotFound("There is no such row in this comparison.")
    html = macro("reconcile_rows", "opened")(
        views.opened_view(found, ask.desk.figures, money=ask.role.may(Role.FINANCIAL))
    )
    return Response(str(html), media_type="text/html")


def billing_row(ask: Ask) -> Response:
    """One group of the billing, opened."""
    whole = ask.desk.comparisons.of(_the_month(ask))
    found = next((one for one in whole.billing if billing_views.row_name(one) == ask.path("name")), None)
    if found is None:
        raise NotFound("There is no such row in this comparison.")
    html = macro("reconcile_rows", "opened_billing")(billing_views.opened_row(found, ask.desk.figures))
    return Response(str(html), media_type="text/html")


def _the_month(ask: Ask) -> Period | None:
    text = ask.query("period")
    try:
        return Period.parse(text) if text and text != "now" else None
    except ValueError:
        raise NotFound("There is no such month.") from None


PAGES = (
    Page(path="/reconcile", show=home, role=Role.USER),
    Page(path="/reconcile/again", show=read_again, role=Role.FINANCIAL, post=True),
    Page(path="/reconcile/licences", show=licences, role=Role.USER, twin=True, sheets=True),
    Page(path="/reconcile/licences/rows/{name}", show=row, role=Role.USER),
    Page(path="/reconcile/billing", show=billing, role=Role.FINANCIAL, twin=True, sheets=True),
    Page(path="/reconcile/billing/rows/{name}", show=billing_row, role=Role.FINANCIAL),
    Page(path="/reconcile/findings", show=findings, role=Role.FINANCIAL, twin=True, sheets=True),
)
