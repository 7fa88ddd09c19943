"""Browsers that listen to a run. What they hear is read from the ledger's own rows: at most twice a second for a run,
whoever listens, and never more than is committed [LP2]."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from billingsync.core.desk import OrderKind
from billingsync.core.states import PostingState, RunState
from billingsync.errors import BillingSyncError
from billingsync.report.html import clean
from billingsync.store.postings import BILLED, PostingHead
from billingsync.store.runs import Run
from billingsync.web.views.money import money, sums

if TYPE_CHECKING:
    from billingsync.store.ledger import Ledger
    from billingsync.web.ask import Ask

EVERY_S = 0.5
QUIET_S = 15.0  # a comment, so that no proxy takes the silence for an end
LONGEST_S = 1800.0  # then the browser comes back
MOST = 20
SETTLED = (*BILLED, PostingState.UNKNOWN, PostingState.REFUSED)


@dataclass(slots=True)
class _Seen:
    """One run as it was last read."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    at: float = -EVERY_S
    run: Run | None = None
    settled: Sequence[PostingHead] = ()
    total: int = 0
    says: str = ""  # what whoever carries out the order does just now


class Watch:
    """Everybody who listens, in one process."""

    def __init__(self) -> None:
        self._runs: dict[str, _Seen] = {}
        self._listening = 0

    def room(self) -> bool:
        return self._listening < MOST

    async def events(self, ask: Ask, run: str, told: int) -> AsyncIterator[str]:
        """Server-sent events from the posting after `told` on."""
        self._listening += 1
        began = spoke = time.monotonic()
        said = ""
        try:
            yield "retry: 2000\n\n"
            while time.monotonic() - began < LONGEST_S:
                seen = await self._look(ask.desk.ledger, run)
                if seen.run is None:
                    return
                for nth in range(told, len(seen.settled)):
                    yield _posting(ask, seen, nth)
                    spoke = time.monotonic()
                told = max(told, len(seen.settled))
                if seen.says != said:
                    said, spoke = seen.says, time.monotonic()
                    yield _event("stage", told, {"words": clean(said, 300)})
                if seen.run.state != RunState.RUNNING:
                    yield _event("done", told, {"state": seen.run.state})
                    return
                if time.monotonic() - spoke > QUIET_S:
                    yield ": still here\n\n"
                    spoke = time.monotonic()
                await asyncio.sleep(EVERY_S)
        finally:
            self._listening -= 1
            if not self._listening:
                self._runs.clear()

    async def _look(self, ledger: Ledger, run: str) -> _Seen:
        seen = self._runs.setdefault(run, _Seen())
        async with seen.lock:
            if time.monotonic() - seen.at >= EVERY_S * 0.9:
                try:
                    seen.run, seen.settled, seen.total, seen.says = await run_in_threadpool(
                        _read, ledger, run, seen.total
                    )
                except BillingSyncError:
                    seen.run = None
                seen.at = time.monotonic()
        return seen


def _read(ledger: Ledger, id: str, total: int) -> tuple[Run, Sequence[PostingHead], int, str]:
    run = ledger.show_run(id)
    settled = sorted(
        (row for row in ledger.heads(run=id) if row.state in SETTLED and row.settled_at is not None),
        key=lambda row: (str(row.settled_at), row.key),
    )
    if not total:
        head = ledger.plan_head(run.digest or "")
        total = int(head.content["invoices"]) if head else 0
    posting = (one for one in ledger.orders(open_only=True) if one.kind == OrderKind.POST and one.digest == run.digest)
    return run, settled, total, next((one.says for one in posting), "")


def _posting(ask: Ask, seen: _Seen, nth: int) -> str:
    from billingsync.web.pages.runs import row_view, sums_of

    row, figures = seen.settled[nth], ask.desk.figures
    body = {
        "nth": nth + 1,
        "of": seen.total,
        "settled": figures.count(nth + 1),
        "amount": money(figures, row.amount, row.currency),
        "sums": sums(figures, sums_of(seen.settled[: nth + 1])),
        "row": row_view(ask, row),
    }
    return _event("posting", nth + 1, body)


def _event(name: str, id: int, body: object) -> str:
    return f"event: {name}\nid: {id}\ndata: {json.dumps(body)}\n\n"
