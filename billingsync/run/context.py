"""What carrying out a run needs at hand, and what it says happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

from billingsync.connect import Connections
from billingsync.core.bill.plan import Posting
from billingsync.core.inputs import Client
from billingsync.core.period import Period
from billingsync.core.progress import Say
from billingsync.core.rules import ProductRules
from billingsync.core.states import OutcomeState, PostingAction
from billingsync.psa.psa import PSA
from billingsync.store.book import Fence
from billingsync.store.ledger import Ledger


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """One run's tools. `today` dates new invoices; `say` is told each step as it begins; `wait` and the clocks are
    here so that a simulation can bring its own."""

    ledger: Ledger
    psa: PSA
    fence: Fence
    run: str
    period: Period
    marker: str  # HALO__MARKER
    absence_s: float  # HALO__ABSENCE_S
    today: date
    clients: Mapping[int, Client]
    tax_and_accounts: Callable[[int], ProductRules]  # a client's codes for its lines and items
    say: Say
    now: Callable[[], datetime] = now
    wait: Callable[[float], None] = time.sleep

    @property
    def installation(self) -> str:
        return self.ledger.installation


def context_of(connected: Connections, fence: Fence, period: Period, *, say: Say) -> RunContext:
    """The tools of what belongs to no run: no clients, and codes of no client."""
    settings = connected.settings
    return RunContext(
        ledger=connected.ledger,
        psa=connected.psa,
        fence=fence,
        run="",
        period=period,
        marker=settings.halo.marker,
        absence_s=settings.halo.absence_s,
        today=datetime.now(settings.zone).date(),
        clients={},
        tax_and_accounts=lambda _: ProductRules(),
        say=say,
        wait=connected.wait,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one posting. `problem` says why it is unknown or failed."""

    key: str
    client_id: int
    client_name: str
    action: PostingAction
    invoice_id: int | None
    lines: int
    amount: Decimal
    cost: Decimal
    currency: str
    state: OutcomeState
    problem: str = ""
    charges: tuple[str, ...] = field(default=())


def failed(posting: Posting, problem: str) -> Outcome:
    """A posting of which nothing was sent."""
    return Outcome(
        key=posting.key,
        client_id=posting.client_id,
        client_name=posting.client_name,
        action=posting.action,
        invoice_id=posting.invoice_id,
        lines=len(posting.lines),
        amount=posting.amount,
        cost=posting.cost,
        currency=posting.currency,
        state=OutcomeState.FAILED,
        problem=problem,
        charges=posting.charges,
    )
