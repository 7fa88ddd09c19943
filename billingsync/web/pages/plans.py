"""Any kept plan, read only, and what changed between two of them, client by client."""

from __future__ import annotations

from billingsync.core.desk import Role
from billingsync.core.period import Period
from billingsync.report.html import clean
from billingsync.run.changes import changes_between
from billingsync.store.plan_rows import PlanHead
from billingsync.web.ask import Ask, NotFound, Page, Shown
from billingsync.web.pages.ready import client_rows
from billingsync.web.views.money import View, equation, money, strip
from billingsync.web.views.ready import body_view, goes, shown_amount
from billingsync.web.views.times import clock, moment

_MOST = 100  # plans of a month to compare with


def _head(ask: Ask, name: str) -> PlanHead:
    head = ask.ledger.plan_head(ask.path(name))
    if head is None:
        raise NotFound("There is no such plan.")
    return head


def show(ask: Ask) -> Shown:
    head = _head(ask, "digest")
    figures, rows = ask.desk.figures, client_rows(ask.ledger, head.digest)
    accounts = equation(figures, head.content["equation"])
    nth = ask.query("open")
    body = ask.ledger.client_body(head.digest, int(nth)) if nth.isdigit() else None
    shown = [
        {
            "nth": row.nth,
            "name": clean(row.name, 160) or "No company",
            "goes": goes(row) if row.lines or row.holds else "",
            "amount": money(figures, *shown_amount(row)),
            "waits": bool(row.holds),
            "held": not row.lines and bool(row.holds),
        }
        for row in rows[:1000]
    ]
    view = {
        "digest": head.digest,
        "short": head.digest[:6],
        "month": figures.month(head.period),
        "period": head.period,
        "made": clock(head.created_at, ask.now, ask.desk.settings.zone),
        "newest": ask.ledger.newest_digest(head.period) == head.digest,
        "accounts": accounts,
        "strip": strip(accounts[0]) if accounts else [],
        "rows": shown,
        "open": int(nth) if body is not None else -1,
        "lines": body_view(body, figures)["lines"] if body is not None else [],
        "others": _others(ask, head),
    }
    twin = [{name: one[name] for name in ("name", "goes", "amount", "waits")} for one in shown]
    return Shown(template="plan", title=f"Plan {view['short']}", view=view, twin=lambda: {"rows": twin})


def _others(ask: Ask, head: PlanHead) -> list[View]:
    plans = [one for one in ask.ledger.plans(Period.parse(head.period)) if one.digest != head.digest and not one.asked]
    return [
        {"digest": one.digest, "short": one.digest[:6], "at": moment(one.created_at, ask.desk.settings.zone)}
        for one in plans[::-1][:_MOST]
    ]


def compare(ask: Ask) -> Shown:
    """What `plan --compare` says: the other plan is the earlier one."""
    head, other = _head(ask, "digest"), _head(ask, "other")
    zone, figures = ask.desk.settings.zone, ask.desk.figures
    changes = changes_between(ask.ledger, other.digest, head.digest)
    view = {
        "short": head.digest[:6],
        "digest": head.digest,
        "other": other.digest[:6],
        "other_digest": other.digest,
        "month": figures.month(head.period),
        "other_month": figures.month(other.period),
        "made": moment(head.created_at, zone),
        "other_made": moment(other.created_at, zone),
        "changes": [clean(one, 600) for one in changes],
        "rules": head.rules_digest != other.rules_digest,
    }
    title = f"Plans {view['other']} and {view['short']}"
    return Shown(template="compare", title=title, view=view, twin=lambda: {"rows": changes})


PAGES = (
    Page(path="/plans/{digest}", show=show, role=Role.FINANCIAL, twin=True),
    Page(path="/plans/{digest}/compare/{other}", show=compare, role=Role.FINANCIAL, twin=True),
)
