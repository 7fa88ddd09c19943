"""Holds: by reason, then by money, each with what settles it."""

from __future__ import annotations

from decimal import Decimal

from starlette.responses import Response

from billingsync.core.desk import Role
from billingsync.core.reasons import ApproveAs
from billingsync.core.states import TrueUpState
from billingsync.errors import UsageError
from billingsync.report.html import clean
from billingsync.run.approve import Asked, approve
from billingsync.run.plan import plan_again
from billingsync.run.set_aside import put_back
from billingsync.web.ask import Ask, Page, Shown, see
from billingsync.web.pages.ready import as_shown, client_rows, periods_view, the_period
from billingsync.web.views.holds import groups
from billingsync.web.views.money import View, amount
from billingsync.web.views.sheets import holds_table
from billingsync.web.views.times import clock


def home(ask: Ask) -> Response:
    periods = ask.ledger.planned_periods()
    return see(f"/holds/{periods[-1]}" if periods else "/ready")


def show(ask: Ask) -> Shown:
    period = the_period(ask)
    head = ask.ledger.newest_plan(period)
    month = ask.desk.figures.month(period)
    view: View = {"period": period, "month": month, "periods": periods_view(ask, period), "groups": [], "true_ups": []}
    if head is not None:
        held = [row.nth for row in client_rows(ask.ledger, head.digest) if row.holds]
        bodies = ask.ledger.last_bodies(head.digest, held)
        view |= {
            "digest": head.digest,
            "short": head.digest[:6],
            "made": clock(head.created_at, ask.now, ask.desk.settings.zone),
            "groups": groups(
                sorted(bodies.items()), head.content["unassigned"], ask.desk.figures, _ages(ask, head.period)
            ),
            "true_ups": [
                _true_up(ask, up) for up in head.content.get("true_ups", ()) if up["state"] != TrueUpState.APPROVED
            ],
        }
    return Shown(
        template="holds",
        title=f"Holds: {month}",
        view=view | {"planned": head is not None},
        twin=lambda: _twin(view),
        tables=lambda: [holds_table(view["groups"])],
    )


def _twin(view: View) -> View:
    rows = [
        {"reason": group["reason"], **{name: row[name] for name in ("who", "money", "count", "detail", "charges")}}
        for group in view["groups"]
        for row in group["rows"]
    ]
    return {"rows": rows}


def _ages(ask: Ask, period: str) -> dict[tuple[str, str], str]:
    """How long each has waited, by company and reason, in words; nothing is said of today's."""
    days = {key: (ask.now - since).days for key, since in ask.ledger.held_since(period).items()}
    return {key: f"for {age} {'day' if age == 1 else 'days'}" for key, age in days.items() if age > 0}


def _true_up(ask: Ask, up: View) -> View:
    figures, currency = ask.desk.figures, up["currency"]
    kind = ApproveAs.TRUE_UP if up.get("replaced", True) else ApproveAs.CREDIT_ONLY
    return {
        "client": str(up["client_id"]),
        "name": clean(up["client_name"], 160),
        "currency": currency,
        "take_back": amount(figures, up_money(up, "take_back"), currency),
        "add": amount(figures, up_money(up, "add"), currency),
        "net": amount(figures, up_money(up, "net"), currency),
        "detail": clean(up.get("detail") or "", 400),
        "may": up["state"] == TrueUpState.HELD,
        "kind": kind.value,
    }


def up_money(up: View, what: str) -> Decimal:
    return Decimal(str(up[what]["amount"]))


def approve_held(ask: Ask) -> Response:
    """A person's decision about what the plan on the page holds: exactly that."""
    head = as_shown(ask, ask.text("digest"))
    kind, reason = ask.text("kind"), ask.text("reason")
    if kind not in tuple(ApproveAs):
        raise UsageError("Nothing was said that could be approved.")
    if not reason:
        raise UsageError("Say why: it is what somebody will read in a year. Nothing was approved.")
    clients = [str(value) for value in ask.form.getlist("client")]
    charges = tuple(str(value) for value in ask.form.getlist("charge"))
    if not clients:
        raise UsageError("Tick at least one client. Nothing was approved.")
    for client in clients:
        asked = Asked(client=client, kind=ApproveAs(kind), reason=reason[:1000], charges=charges)
        approve(ask.ledger, head.digest, asked, who=ask.who, at=ask.now)
    plan_again(ask.ledger, ask.desk.settings.rules_dir, head.digest)
    return see(f"/holds/{head.period}")


def put_charges_back(ask: Ask) -> Response:
    """What was set aside goes out with the next posting again."""
    head = as_shown(ask, ask.text("digest"))
    charges = [str(value) for value in ask.form.getlist("charge")]
    put_back(ask.ledger, charges, who=ask.who, now=ask.now)
    plan_again(ask.ledger, ask.desk.settings.rules_dir, head.digest)
    to = ask.text("to")
    return see(f"/ready/{head.period}?was={head.digest}" if to == "ready" else f"/holds/{head.period}")


PAGES = (
    Page(path="/holds", show=home, role=Role.FINANCIAL),
    Page(path="/holds/{period}", show=show, role=Role.FINANCIAL, twin=True, sheets=True),
    Page(path="/holds/{period}/approve", show=approve_held, role=Role.FINANCIAL, post=True),
    Page(path="/holds/{period}/put-back", show=put_charges_back, role=Role.FINANCIAL, post=True),
)
