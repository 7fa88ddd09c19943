"""Ready to invoice: one month's newest plan, client by client, and the button that posts exactly it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.responses import Response

from billingsync.core.desk import OrderKind, OrderState, Role
from billingsync.core.period import Period
from billingsync.core.states import RunState
from billingsync.errors import StalePlan, UsageError
from billingsync.report.html import clean
from billingsync.report.numbers import Figures
from billingsync.run.changes import changes_between
from billingsync.run.plan import plan_again
from billingsync.run.set_aside import InPlan, set_aside
from billingsync.run.unread import UNREAD
from billingsync.store.ledger import Ledger
from billingsync.store.orders import Order
from billingsync.store.plan_rows import ClientRow, PlanHead
from billingsync.web.ask import Ask, NotFound, Page, Shown, see
from billingsync.web.render import macro
from billingsync.web.views.money import View, equation, exponent, minor, money, parts, strip
from billingsync.web.views.paging import page_of
from billingsync.web.views.ready import CHUNK, FILTERS, SORTS, body_view, chosen, row_view
from billingsync.web.views.sheets import ready_table
from billingsync.web.views.times import clock

SHORT = 6  # digits of a digest that people see
MOST_CHANGES = 40  # that a refusal names


def home(ask: Ask) -> Response:
    """The newest month that has a plan, before that the first run; for who may not see money, the status."""
    if not ask.role.may(Role.FINANCIAL):
        return see("/status")
    periods = ask.ledger.planned_periods()
    return see(f"/ready/{periods[-1]}" if periods else "/start")


def go(ask: Ask) -> Response:
    """The month that was chosen in the head."""
    try:
        return see(f"/{ask.path('where')}/{Period.parse(ask.query('to'))}")
    except ValueError:
        raise NotFound("There is no such month.") from None


def begin(ask: Ask) -> Shown | Response:
    """Before there is any plan."""
    periods = ask.ledger.planned_periods()
    if periods:
        return see(f"/ready/{periods[-1]}")
    return Shown(template="ready_none", title="Ready to invoice", view={"period": "", "month": "", "periods": []})


def show(ask: Ask) -> Shown:
    period = the_period(ask)
    head = ask.ledger.newest_plan(period)
    month = ask.desk.figures.month(period)
    if head is None:
        view = {"period": period, "month": month, "periods": periods_view(ask, period)}
        return Shown(template="ready_none", title=f"Ready to invoice: {month}", view=view)
    return Shown(
        template="ready",
        title=f"Ready to invoice: {month}",
        view=_view(ask, head),
        part="list" if ask.request.headers.get("hx-target", "").partition("#")[2] in ("list", "rows") else "main",
        twin=lambda: _document(ask, head),
        tables=lambda: [ready_table(_chosen(ask, head))],
    )


def _chosen(ask: Ask, head: PlanHead) -> Sequence[ClientRow]:
    """The rows that the address asks for, in its order."""
    rows = client_rows(ask.ledger, head.digest)
    view, sort = ask.query("view") or "all", ask.query("sort") or "client"
    return chosen(rows, view, ask.query("q")[:200], sort, ask.query("down") == "1")


def _document(ask: Ask, head: PlanHead) -> dict[str, Any]:
    """The CLI's document of the plan."""
    import json

    found: dict[str, Any] = json.loads(ask.ledger.find_plan(head.digest).document)
    return found


def the_period(ask: Ask) -> str:
    """The month in the path."""
    try:
        return str(Period.parse(ask.path("period")))
    except ValueError:
        raise NotFound(f"{ask.path('period')!r:.40} is no month; write it like 2026-11.") from None


def periods_view(ask: Ask, period: str) -> list[View]:
    """The months to choose from."""
    known = sorted({*ask.ledger.planned_periods(), period})
    return [{"period": one, "words": ask.desk.figures.month(one), "here": one == period} for one in known]


@lru_cache(maxsize=8)
def client_rows(ledger: Ledger, digest: str) -> tuple[ClientRow, ...]:
    """A plan never changes, so its rows are read once."""
    return ledger.client_rows(digest)


@lru_cache(maxsize=8)
def _row_html(ledger: Ledger, digest: str, main: str, figures: Figures, period: str) -> dict[int, str]:
    """Rows as HTML, by place in the plan: `_row_of` makes each once for a plan."""
    return {}


def _row_of(ask: Ask, head: PlanHead, row: ClientRow, main: str, changed: Collection[int]) -> str:
    figures, made = ask.desk.figures, macro("ready_rows", "row")
    if row.nth in changed:
        return str(made(row_view(row, main, figures), head.digest, head.period, changed=True))
    known = _row_html(ask.ledger, head.digest, main, figures, head.period)
    if row.nth not in known:
        known[row.nth] = str(made(row_view(row, main, figures), head.digest, head.period))
    return known[row.nth]


@lru_cache(maxsize=8)
def _changed(ledger: Ledger, digest: str, was: str) -> frozenset[int]:
    """The clients of a plan of which something is other than in an earlier plan of the month."""
    before = {_told(row) for row in client_rows(ledger, was)}
    return frozenset(row.nth for row in client_rows(ledger, digest) if _told(row) not in before)


def _told(row: ClientRow) -> ClientRow:
    """What a list shows of a client: the rest of a plan names its own digest."""
    return replace(row, nth=0, body="", search="")


def _earlier(ask: Ask, head: PlanHead) -> str:
    """The plan that was shown before this one was made of it, where the address names one."""
    was = ask.query("was")[:64]
    earlier = ask.ledger.plan_head(was) if was and was != head.digest else None
    return was if earlier is not None and earlier.period == head.period else ""


def _view(ask: Ask, head: PlanHead) -> View:
    ledger, figures = ask.ledger, ask.desk.figures
    rows = client_rows(ledger, head.digest)
    accounts = equation(figures, head.content["equation"])
    main = accounts[0]["currency"] if accounts else "USD"
    view, query, sort = ask.query("view") or "all", ask.query("q")[:200], ask.query("sort") or "client"
    down = ask.query("down") == "1"
    found = _chosen(ask, head)
    at, was = f"/ready/{head.period}", _earlier(ask, head)
    opened = ask.query("open")
    here = {"view": view if view != "all" else "", "q": query, "sort": sort if sort != "client" else "", "was": was}
    listed, part = page_of(found, ask.query("page"), at, here | {"down": "1" if down else ""})
    warnings = [str(one)[:600] for one in head.content.get("warnings", ())]
    return {
        "period": head.period,
        "month": figures.month(head.period),
        "periods": periods_view(ask, head.period),
        "digest": head.digest,
        "short": head.digest[:SHORT],
        "made": clock(head.created_at, ask.now, ask.desk.settings.zone),
        "invoices_read": len(head.content["sources"]),
        "accounts": accounts,
        "strip": strip(accounts[0]) if accounts else [],
        "views": [
            {
                "words": each.words,
                "count": figures.count(number),
                "path": _link(at, view=each.name, q=query, sort=sort, down=down, was=was),
                "here": each.name == view,
                "needs": each.needs_somebody and number > 0,
            }
            for each in FILTERS
            for number in [sum(1 for row in rows if each.keeps(row))]
            if number or each.name in ("all", "to-post", "held", view)
        ],
        "columns": [
            {
                "name": name,
                "words": words,
                "number": number,
                "path": _link(at, view=view, q=query, sort=name, down=name == sort and not down, was=was),
                "sorted": ("descending" if down else "ascending") if name == sort else "",
            }
            for name, (words, _, number) in SORTS.items()
        ],
        "q": query,
        "view": view,
        "sort": sort,
        "down": down,
        "was": was,
        "changed": figures.count(len(_changed(ledger, head.digest, was))) if was else "",
        "chunks": _chunks(ask, head, listed, main, opened),
        "part": part,
        "found": figures.count(len(found)),
        "of": figures.count(len(rows)),
        "unread": next((one for one in warnings if one.startswith(UNREAD)), ""),
        "warnings": [one for one in warnings if not one.startswith(UNREAD)],
        "true_ups": len(head.content.get("true_ups", ())),
        "unassigned": len(head.content["unassigned"]["holds"]),
        "next": _link(at, view="held"),
        **_dock(ask, head, accounts),
    }


def _link(path: str, **query: Any) -> str:
    defaults = {"view": "all", "q": "", "sort": "client", "down": False, "was": ""}
    kept = {name: "1" if value is True else value for name, value in query.items() if value != defaults.get(name)}
    return f"{path}?{urlencode(kept)}" if kept else path


def _chunks(ask: Ask, head: PlanHead, found: Sequence[ClientRow], main: str, opened: str) -> list[Markup]:
    was = _earlier(ask, head)
    changed = _changed(ask.ledger, head.digest, was) if was else frozenset()
    parts_: list[Markup] = []
    for start in range(0, len(found), CHUNK):
        texts = []
        for row in found[start : start + CHUNK]:
            texts.append(_row_of(ask, head, row, main, changed))
            if opened == str(row.nth):
                texts.append(str(_body_html(ask, head.digest, row.nth)))
        # Made by our own templates, which escape all that others wrote.
        parts_.append(Markup("".join(texts)))  # noqa: S704  # nosec B704
    return parts_


def _body_html(ask: Ask, digest: str, nth: int) -> Any:
    body = ask.ledger.client_body(digest, nth)
    if body is None:
        raise NotFound("There is no such client in this plan.")
    head = ask.ledger.plan_head(digest)
    assert head is not None
    view = body_view(body, ask.desk.figures) | {"period": head.period}
    return macro("ready_rows", "opened")(nth, view, digest)


def client(ask: Ask) -> Shown | Response:
    """One client of a kept plan, opened: for the list, or as a page of its own."""
    digest, nth = ask.path("digest"), ask.path("nth")
    head = ask.ledger.plan_head(digest)
    if head is None or not nth.isdigit():
        raise NotFound("There is no such plan.")
    html = _body_html(ask, digest, int(nth))
    if ask.request.headers.get("hx-request") == "true":
        return Response(str(html), media_type="text/html")
    return see(f"/ready/{head.period}?open={nth}#c{nth}")


# The dock, and posting ------------------------------------------------------------------------------------------------


def _dock(ask: Ask, head: PlanHead, accounts: list[View]) -> View:
    """What the button would do, and whether it may."""
    figures = ask.desk.figures
    to_post = {one["currency"]: one["price"]["to_post"] for one in accounts if one["price"]["to_post"]}
    cost = {one["currency"]: one["cost"]["to_post"] for one in accounts}
    main = accounts[0]["currency"] if accounts else ""
    price = to_post.get(main, Decimal(0))
    runs = [run for run in ask.ledger.runs(Period.parse(head.period)) if run.digest == head.digest]
    order = _open_post(ask, head.digest)
    return {
        "main": main,
        "sums": [
            [
                one["currency"],
                minor(one["price"]["to_post"], one["currency"]),
                minor(one["cost"]["to_post"], one["currency"]),
                exponent(one["currency"]),
            ]
            for one in accounts
        ],
        "locale": ask.desk.settings.locale.replace("_", "-"),
        "to_post": [
            {"amount": money(figures, number, currency), "currency": currency} for currency, number in to_post.items()
        ],
        "waits": [money(figures, one["price"]["held"], one["currency"]) for one in accounts if one["price"]["held"]],
        "left_out": [
            money(figures, one["price"]["dropped"] + one["price"]["excluded"], one["currency"])
            for one in accounts
            if one["price"]["dropped"] or one["price"]["excluded"]
        ],
        "charged": [money(figures, one["price"]["charges"], one["currency"]) for one in accounts],
        "invoices": figures.count(int(head.content["invoices"])),
        "margin": figures.percent(price - cost.get(main, Decimal(0)), price) if price > 0 else "",
        "may_post": bool(head.content["writes"])
        and not (runs and runs[-1].state in (RunState.COMPLETE, RunState.HELD)),
        "run": runs[-1].id if runs else "",
        "run_state": runs[-1].state if runs else "",
        "order": order.id if order else "",
        "second": order is not None and order.state == OrderState.ASKED,
        "two_people": _needs_second(ask, accounts),
    }


def _open_post(ask: Ask, digest: str) -> Order | None:
    orders = ask.ledger.orders(open_only=True)
    return next((one for one in orders if one.kind == OrderKind.POST and one.digest == digest), None)


def _needs_second(ask: Ask, accounts: Sequence[View]) -> bool:
    above = ask.desk.settings.desk.two_people_above
    return above is not None and any(abs(one["price"]["to_post"]) >= above for one in accounts[:1])


def confirm(ask: Ask) -> Shown:
    """The question, as a page of its own for who has no script."""
    head = as_shown(ask, ask.query("digest"))
    accounts = equation(ask.desk.figures, head.content["equation"])
    view = {"period": head.period, "month": ask.desk.figures.month(head.period), "digest": head.digest}
    made = clock(head.created_at, ask.now, ask.desk.settings.zone)
    return Shown(
        template="ready_post",
        title="Post to HaloPSA?",
        view=view | {"short": head.digest[:SHORT], "made": made, **_dock(ask, head, accounts)},
    )


def post(ask: Ask) -> Response:
    """Files the order to post exactly the plan that was on the page."""
    head = as_shown(ask, ask.text("digest"))
    if not head.content["writes"]:
        raise UsageError("There is nothing to post in this plan.")
    accounts = equation(ask.desk.figures, head.content["equation"])
    state = OrderState.ASKED if _needs_second(ask, accounts) else OrderState.WAITING
    return ask.order(OrderKind.POST, {"period": head.period}, digest=head.digest, state=state)


def as_shown(ask: Ask, digest: str) -> PlanHead:
    """The newest plan of the month, if it is the one that was shown; else nothing is done."""
    period = the_period(ask)
    head = ask.ledger.newest_plan(period)
    if head is None or head.digest != digest:
        newer = f" Plan {head.digest[:SHORT]} was made since." if head else ""
        says = (
            f"The plan on your page is not the newest of {ask.desk.figures.month(period)} any more.{newer} Nothing was "
            "posted. Look at the new one first."
        )
        seen = ask.ledger.plan_head(digest)
        if head is not None and seen is not None and seen.period == head.period:
            changes = [clean(one, 400) for one in changes_between(ask.ledger, digest, head.digest)]
            says = "\n".join([says, *changes[:MOST_CHANGES], *(["..."] if len(changes) > MOST_CHANGES else [])])
        raise StalePlan(says, next_steps=[["billingsync", "plan", period]])
    return head


def set_charges_aside(ask: Ask) -> Response:
    """Keeps what is not ticked from the next posting, and plans anew from what the plan on the page was made from
    [RI2]: no vendor is asked. Put back on the page of holds.

    A browser with script sends `aside` of every client: "NTH" or "NTH:LINE". One client's own form sends the lines
    that stay ticked as `keep`, and with `whole` sets all of it aside."""
    head = as_shown(ask, ask.text("digest"))
    picked: dict[int, set[int] | None] = {}  # client -> lines, None for all
    for value in ask.form.getlist("aside"):
        nth, _, line = str(value).partition(":")
        if not nth.isdigit() or (line and not line.isdigit()):
            raise UsageError("What is to be set aside could not be read. Nothing was done.")
        lines = picked.setdefault(int(nth), set())
        if lines is not None and line:
            lines.add(int(line))
        elif not line:
            picked[int(nth)] = None
    if (nth := ask.text("nth")).isdigit():
        picked[int(nth)] = None if ask.text("whole") else set()
    charges = _charges_of(ask, head, picked)
    if not charges:
        raise UsageError("Untick at least one line. Nothing was set aside.")
    there = InPlan(digest=head.digest, nths=tuple(picked))
    set_aside(ask.ledger, charges, reason=ask.text("reason")[:500], who=ask.who, now=ask.now, there=there)
    plan_again(ask.ledger, ask.desk.settings.rules_dir, head.digest)
    return see(f"/ready/{head.period}?was={head.digest}")


def _charges_of(ask: Ask, head: PlanHead, picked: Mapping[int, set[int] | None]) -> list[str]:
    """The charges of these lines, but for lines that are taken away: those bill nobody."""
    kept = {str(value) for value in ask.form.getlist("keep")}
    own = ask.text("nth")
    charges: list[str] = []
    for nth, body in ask.ledger.last_bodies(head.digest, list(picked)).items():
        lines = picked[nth]
        for at, line in enumerate(body["lines"]):
            if line["action"] == "remove":
                continue
            unticked = str(at) not in kept if own == str(nth) else at in (lines or ())
            if lines is None or unticked:
                charges += line["charges"]
    return charges


def read_again(ask: Ask) -> Response:
    """Files the order to read Pax8 and HaloPSA and to plan anew."""
    period = ask.text("period")
    arguments: dict[str, Any] = {}
    if period:
        try:
            arguments = {"period": str(Period.parse(period))}
        except ValueError:
            raise UsageError(f"{period!r:.40} is no month; write it like 2026-11.") from None
    return ask.order(OrderKind.PLAN, arguments)


def to_post_of(head: PlanHead) -> dict[str, Decimal]:
    """What a plan would post, per currency."""
    return {currency: parts(sides["price"])["to_post"] for currency, sides in head.content["equation"].items()}


PAGES = (
    Page(path="/", show=home, role=Role.USER),
    Page(path="/go/{where}", show=go, role=Role.FINANCIAL),
    Page(path="/ready", show=begin, role=Role.FINANCIAL),
    Page(path="/ready/again", show=read_again, role=Role.FINANCIAL, post=True),
    Page(path="/ready/{period}", show=show, role=Role.FINANCIAL, twin=True, sheets=True),
    Page(path="/ready/{period}/post", show=confirm, role=Role.FINANCIAL),
    Page(path="/ready/{period}/post", show=post, role=Role.FINANCIAL, post=True),
    Page(path="/ready/{period}/set-aside", show=set_charges_aside, role=Role.FINANCIAL, post=True),
    Page(path="/plans/{digest}/clients/{nth}", show=client, role=Role.FINANCIAL),
)
