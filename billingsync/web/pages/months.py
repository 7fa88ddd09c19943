"""Each month: what was planned of it, posted, held, and earned."""

from __future__ import annotations

from decimal import Decimal

from billingsync.core.desk import Role
from billingsync.web.ask import Ask, Page, Shown
from billingsync.web.charts import price_and_cost
from billingsync.web.kept import posted_by
from billingsync.web.views.money import View, amount, equation
from billingsync.web.views.sheets import months_table
from billingsync.web.views.times import moment

MOST_BARS = 13


def show(ask: Ask) -> Shown:
    months = [_month(ask, period) for period in ask.ledger.planned_periods()]
    main = next((month["currency"] for month in reversed(months) if month["currency"]), "")
    drawn = [month for month in months if month["currency"] == main][-MOST_BARS:]
    chart = price_and_cost([(month["period"], month["price"], month["cost"]) for month in drawn]) if drawn else None
    twin = [{key: str(month[key]) for key in ("period", "currency", "price", "cost", "state")} for month in months]
    view: View = {"rows": list(reversed(months)), "chart": chart, "main": main}
    return Shown(
        template="months",
        title="Months",
        view=view,
        twin=lambda: {"rows": twin},
        tables=lambda: [months_table(view["rows"])],
    )


def _month(ask: Ask, period: str) -> View:
    """The newest plan of a month in its first currency; the others are named beside it."""
    figures, head = ask.desk.figures, ask.ledger.newest_plan(period)
    runs = [run for run in ask.ledger.runs() if run.period == period]
    accounts = equation(figures, head.content["equation"]) if head else []
    first = accounts[0] if accounts else None
    zero = Decimal(0)
    price = first["price"]["to_post"] + first["price"]["posted"] if first else zero
    cost = first["cost"]["to_post"] + first["cost"]["posted"] if first else zero
    currency = first["currency"] if first else ""

    posted, to_post = (first["price"]["posted"], first["price"]["to_post"]) if first else (zero, zero)
    if head and posted_by(ask.ledger, head):
        posted, to_post = posted + to_post, zero  # the plan is as it was before it was posted

    def shown(number: Decimal) -> str:
        return amount(figures, number, currency) if first else ""

    return {
        "period": period,
        "month": figures.month(period),
        "currency": currency,
        "price": price,
        "cost": cost,
        "charged": first["charged"] if first else "",
        "posted": shown(posted),
        "to_post": shown(to_post),
        "held": shown(first["price"]["held"]) if first and first["price"]["held"] else "",
        "others": ", ".join(f"{one['charged']} {one['code']}" for one in accounts[1:]),
        "margin": figures.percent(price - cost, price) if price > 0 else "",
        "state": runs[-1].state if runs else "not posted",
        "run": runs[-1].id if runs else "",
        "made": moment(head.created_at, ask.desk.settings.zone) if head else "",
        "invoices": figures.count(len(head.content["sources"])) if head else "",
    }


PAGES = (Page(path="/months", show=show, role=Role.FINANCIAL, twin=True, sheets=True),)
