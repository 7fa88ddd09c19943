"""Runs: what was written to HaloPSA, live while it happens, and taking it back."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from billingsync.core.desk import OrderKind, Role
from billingsync.core.money import plain
from billingsync.core.states import PostingState, RunState
from billingsync.errors import UsageError
from billingsync.report.html import clean
from billingsync.report.numbers import code
from billingsync.store.postings import PostingHead
from billingsync.store.runs import Run
from billingsync.web.ask import Ask, NotFound, Page, Shown
from billingsync.web.views.money import View, amount, equation, money, strip, sums
from billingsync.web.views.sheets import plain_table
from billingsync.web.views.times import clock, moment
from billingsync.web.watch import SETTLED, Watch

_KINDS = {"posted": "good", "adopted": "good", "failed": "bad", "refused": "bad", "unknown": "held", "differs": "bad"}
_COLUMNS = (
    ("id", "Run"),
    ("month", "Month"),
    ("state", "State"),
    ("started", "Begun"),
    ("who", "Who"),
    ("digest", "Plan"),
)
_ENDS = {
    "complete": "Everything was written, and read back.",
    "held": "Everything that could go out was written and read back. Some charges wait.",
    "failed": "It failed. What was written stands below; running again goes on from there.",
    "interrupted": "It was interrupted. The next run finds out what was written and goes on.",
}


def show_all(ask: Ask) -> Shown:
    runs = list(reversed(ask.ledger.runs()))[:1000]
    zone = ask.desk.settings.zone
    rows = [
        {
            "id": run.id,
            "month": ask.desk.figures.month(run.period),
            "state": run.state,
            "kind": {"failed": "bad", "held": "held", "interrupted": "held"}.get(run.state, ""),
            "started": moment(run.started_at, zone),
            "who": clean(run.who, 160),
            "digest": (run.digest or "")[:6],
        }
        for run in runs
    ]
    return Shown(
        template="runs",
        title="Runs",
        view={"rows": rows},
        twin=lambda: {"rows": rows},
        tables=lambda: [plain_table("Runs", rows, _COLUMNS)],
    )


def _run(ask: Ask) -> Run:
    try:
        return ask.ledger.show_run(ask.path("run"))
    except UsageError as unknown:
        raise NotFound(unknown.message) from unknown


def show(ask: Ask) -> Shown:
    run = _run(ask)
    heads = ask.ledger.heads(run=run.id)
    return Shown(template="run", title=f"Run {run.id}", view=_view(ask, run, heads), twin=lambda: _document(run, heads))


def _document(run: Run, heads: Sequence[PostingHead]) -> View:
    return {
        "run": run.id,
        "period": run.period,
        "state": run.state,
        "digest": run.digest,
        "who": run.who,
        "postings": [
            {
                "key": row.key,
                "client_id": row.client_id,
                "client_name": row.client_name,
                "invoice_id": row.invoice_id,
                "action": row.action,
                "amount": plain(row.amount, row.currency),
                "currency": row.currency,
                "state": row.state,
                "message": row.message,
            }
            for row in heads
        ],
    }


def _view(ask: Ask, run: Run, heads: Sequence[PostingHead]) -> View:
    figures = ask.desk.figures
    head = ask.ledger.plan_head(run.digest or "")
    accounts = equation(figures, head.content["equation"], to_post="in this run") if head else []
    running = run.state == RunState.RUNNING
    settled = [row for row in heads if row.state in SETTLED]
    total = int(head.content["invoices"]) if head else len(heads)
    wanted = {one["currency"]: one["price"]["to_post"] for one in accounts if one["price"]["to_post"]}
    undone = bool(heads) and all(row.state == PostingState.UNDONE for row in heads)
    return {
        "id": run.id,
        "period": run.period,
        "month": figures.month(run.period),
        "short": (run.digest or "")[:6],
        "who": clean(run.who, 160),
        "started": clock(run.started_at, ask.now, ask.desk.settings.zone),
        "heading": "Posting" if running else "Undone:" if undone else "Posted",
        "running": running,
        "total": total,
        "settled": len(settled),
        "settled_words": figures.count(len(settled)),
        "total_words": figures.count(total),
        "sums": sums(figures, sums_of(settled)),
        "of_sums": sums(figures, wanted),
        "words": "You can close this page: the run goes on." if running else _ENDS.get(run.state, run.state),
        "returned": [] if running else _returned(ask, settled),
        "accounts": accounts,
        "strip": strip(accounts[0]) if accounts else [],
        "rows": [row_view(ask, row) for row in reversed(heads)],
        "may_undo": not running and any(row.state in SETTLED for row in heads),
    }


def row_view(ask: Ask, row: PostingHead) -> View:
    return {
        "client": clean(row.client_name, 160),
        "path": f"/postings/{row.key}",
        "invoice": "" if row.invoice_id is None else str(abs(row.invoice_id)),
        "action": {"create": "new invoice", "append": "added to it", "update": "recurring, changed"}.get(
            row.action, row.action
        ),
        "amount": money(ask.desk.figures, row.amount, row.currency),
        "state": row.state,
        "kind": _KINDS.get(row.state, ""),
        "message": clean(row.message, 400),
    }


def sums_of(heads: Sequence[PostingHead]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for row in heads:
        found[row.currency] = found.get(row.currency, Decimal(0)) + row.amount
    return found


def _returned(ask: Ask, settled: Sequence[PostingHead]) -> list[View]:
    """What was sent beside what HaloPSA gave back, per currency."""
    figures, found = ask.desk.figures, []
    for currency, sent in sums_of(settled).items():
        mine = [row for row in settled if row.currency == currency]
        back = sum((row.returned_price or Decimal(0) for row in mine), Decimal(0))
        found.append(
            {
                "code": code(currency),
                "sent": amount(figures, sent, currency),
                "returned": amount(figures, back, currency),
                "difference": amount(figures, back - sent, currency),
                "differs": back != sent,
            }
        )
    return found


async def events(ask: Ask) -> Response:
    """The run as it happens, read from what is committed [LP2]."""
    watch: Watch = ask.desk.watch
    if not watch.room():
        return PlainTextResponse("Too many browsers listen just now; the page looks again by itself.\n", 503)
    last = ask.request.headers.get("last-event-id", "") or ask.query("after")
    stream = watch.events(ask, ask.path("run"), int(last) if last.isdigit() and len(last) < 10 else 0)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def preview_undo(ask: Ask) -> Response:
    """Asks HaloPSA what undoing would do; nothing is written."""
    run = _run(ask)
    return ask.order(OrderKind.UNDO, {"run": run.id, "dry_run": True})


def undo(ask: Ask) -> Response:
    """Undoes exactly what was shown."""
    run = _run(ask)
    digest = ask.text("digest")
    if len(digest) != 64:
        raise UsageError("Look first at what undoing this run would take out.")
    return ask.order(OrderKind.UNDO, {"run": run.id, "period": run.period}, digest=digest)


PAGES = (
    Page(path="/runs", show=show_all, role=Role.FINANCIAL, twin=True, sheets=True),
    Page(path="/runs/{run}", show=show, role=Role.FINANCIAL, twin=True),
    Page(path="/runs/{run}/events", show=events, role=Role.FINANCIAL),
    Page(path="/runs/{run}/undo/look", show=preview_undo, role=Role.FINANCIAL, post=True),
    Page(path="/runs/{run}/undo", show=undo, role=Role.FINANCIAL, post=True),
)
