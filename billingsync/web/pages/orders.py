"""What was asked for, by whom, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from starlette.responses import Response

from billingsync.core.desk import OrderKind, OrderState, Role
from billingsync.errors import Refused, StalePlan
from billingsync.report.html import clean
from billingsync.store.orders import Order
from billingsync.web.ask import Ask, NotFound, Page, Shown, own_path, see
from billingsync.web.pages.ready import to_post_of
from billingsync.web.views.money import View, money
from billingsync.web.views.times import clock

_HEADINGS = {
    OrderKind.PLAN: "Reading Pax8 and HaloPSA again",
    OrderKind.POST: "Posting",
    OrderKind.UNDO: "Undoing a run",
    OrderKind.MAP_COMPANY: "Choosing a client",
    OrderKind.CONFIRM_GUESSED: "Confirming guessed clients",
    OrderKind.SNAPSHOT: "Reading both sides to compare them",
    OrderKind.MAP_PRODUCT: "Choosing an item",
    OrderKind.MAP_PRODUCTS: "Choosing items",
    OrderKind.TEST: "Trying the connections",
    OrderKind.APPROVE_CARDS: "Writing cards to HaloPSA",
    OrderKind.UNDO_CARDS: "Taking cards back",
    OrderKind.PAIR_CARD: "Joining a card to a line",
}
_CARDS = (OrderKind.APPROVE_CARDS, OrderKind.UNDO_CARDS, OrderKind.PAIR_CARD)
_WORDS = {
    OrderState.ASKED: "Waits for a second person",
    OrderState.WAITING: "Waits for its turn",
    OrderState.BEGUN: "Under way",
    OrderState.DONE: "Done",
    OrderState.REFUSED: "Nothing was done",
    OrderState.FAILED: "It failed",
}


def _order(ask: Ask) -> Order:
    """The order, for who asked for it and for everybody who may act on money."""
    found = ask.ledger.order(ask.path("id"))
    if found is None:
        raise NotFound("There is no such order.")
    return found


def show(ask: Ask) -> Shown | Response:
    order = _order(ask)
    to = _goes_on(ask, order)
    if to and not ask.fragment:
        return see(to)
    if to:
        return Response(status_code=200, headers={"HX-Redirect": to})
    return Shown(
        template="order",
        title=_HEADINGS[OrderKind(order.kind)],
        view=_view(ask, order),
        twin=lambda: {"order": order.id, "kind": order.kind, "state": order.state, "outcome": dict(order.outcome)},
    )


def _goes_on(ask: Ask, order: Order) -> str:
    """The page that shows what became of it, where there is a better one than the order's own."""
    if order.kind == OrderKind.POST and order.begun_at is not None:
        runs = [run for run in ask.ledger.runs() if run.digest == order.digest and run.started_at >= order.begun_at]
        return f"/runs/{order.run or runs[-1].id}" if order.run or (runs and order.open) else ""
    if order.state == OrderState.DONE and order.kind in (OrderKind.MAP_COMPANY, OrderKind.CONFIRM_GUESSED):
        return "/clients"
    if order.state == OrderState.DONE and order.kind == OrderKind.SNAPSHOT:
        return own_path(str(order.arguments.get("to", "/reconcile")))
    if order.state == OrderState.DONE and order.kind in (OrderKind.MAP_PRODUCT, OrderKind.MAP_PRODUCTS):
        return "/products"
    if order.state == OrderState.DONE and order.kind == OrderKind.TEST:
        return "/connections"
    if order.state == OrderState.DONE and order.kind == OrderKind.PLAN:
        return f"/ready/{order.outcome['period']}"
    return ""


def _view(ask: Ask, order: Order) -> View:
    state, outcome = OrderState(order.state), order.outcome
    period = str(outcome.get("period") or order.arguments.get("period") or "")
    links = [("/cards", "Cards")] if order.kind in _CARDS and not order.open else []
    if period and not order.open:
        links.append((f"/ready/{period}", f"Ready to invoice, {ask.desk.figures.month(period)}"))
    head = ask.ledger.plan_head(order.digest) if order.digest and order.kind == OrderKind.POST else None
    figures = ask.desk.figures
    return {
        "id": order.id,
        "heading": _HEADINGS[OrderKind(order.kind)],
        "who": clean(order.who, 200),
        "at": clock(order.at, ask.now, ask.desk.settings.zone),
        "state": state.value,
        "open": state.open,
        "second": state is OrderState.ASKED,
        "mine": order.who.partition(" (desk")[0] == ask.signed_in.person.email,
        "words": _WORDS[state],
        "says": clean(order.says, 400),
        "lines": [clean(line, 600) for line in str(outcome.get("message", "")).splitlines()][:200],
        "code": str(outcome.get("code", "")),
        "commands": [" ".join(step) for step in outcome.get("next_steps", ())],
        "links": links,
        "digest": order.digest or "",
        "period": period,
        "month": figures.month(period),
        "sums": [money(figures, number, currency) for currency, number in to_post_of(head).items()] if head else [],
        "undo": _undo(ask, order, outcome) if order.kind == OrderKind.UNDO and outcome.get("postings") else None,
    }


def _undo(ask: Ask, order: Order, outcome: Mapping[str, Any]) -> View:
    """What an undo did, or would do."""
    figures = ask.desk.figures
    sums: dict[str, Decimal] = {}
    rows = []
    for posting in outcome["postings"]:
        currency = posting["currency"]
        sums[currency] = sums.get(currency, Decimal(0)) + Decimal(posting["removed"])
        rows.append(
            {
                "client": clean(posting["client"], 160),
                "invoice": "" if posting["invoice_id"] is None else str(abs(posting["invoice_id"])),
                "outcome": f"{posting['outcome']}, invoice {posting['invoice']}",
                "removed": money(figures, Decimal(posting["removed"]), currency),
                "kept": money(figures, Decimal(posting["kept"]), currency),
                "problem": clean(posting["problem"], 400),
            }
        )
    dry = bool(order.arguments.get("dry_run"))
    stays = [
        {
            "client": clean(one["client"], 160),
            "amount": money(figures, Decimal(one["amount"]), one["currency"]),
            "credit_run": one["credit_run"],
        }
        for one in outcome.get("stays", ())
    ]
    return {
        "rows": rows,
        "stays": stays,
        "done": not dry,
        "may": dry and order.state == OrderState.DONE,
        "run": order.arguments["run"],
        "digest": outcome["digest"],
        "sums": " and ".join(money(figures, number, currency) for currency, number in sums.items()),
    }


def confirm(ask: Ask) -> Response:
    """The second person's own click, on the very plan that the first one asked for."""
    order = _order(ask)
    if order.who.partition(" (desk")[0] == ask.signed_in.person.email:
        raise Refused("You asked for this yourself. Somebody else must confirm it.")
    head = ask.ledger.plan_head(order.digest or "")
    newest = ask.ledger.newest_plan(head.period) if head else None
    if head is None or newest is None or newest.digest != order.digest or ask.text("digest") != order.digest:
        raise StalePlan("A newer plan was made since this was asked for. Nothing was posted. Send it back.")
    if not ask.ledger.confirm_order(order.id, who=ask.who, now=ask.now):
        raise Refused("This order waits for nobody any more. Nothing was done.")
    ask.desk.wake()
    return see(f"/orders/{order.id}")


def cancel(ask: Ask) -> Response:
    order = _order(ask)
    if not ask.ledger.cancel_order(order.id, who=ask.who, reason=ask.text("reason")[:500], now=ask.now):
        raise Refused("It was begun already. What it does can be undone afterwards.")
    return see(f"/orders/{order.id}")


PAGES = (
    Page(path="/orders/{id}", show=show, role=Role.FINANCIAL, twin=True),
    Page(path="/orders/{id}/confirm", show=confirm, role=Role.FINANCIAL, post=True),
    Page(path="/orders/{id}/cancel", show=cancel, role=Role.FINANCIAL, post=True),
)
