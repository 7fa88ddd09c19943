"""What `run` and `post` have to tell: plain values that `print_run` and `run_document` render."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from billingsync.core.bill.plan import CurrencyAccount, Hold, TrueUp
from billingsync.core.states import InvoiceFate, LineFate, OutcomeState, PostingAction, RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingResult:
    """What became of one write to one HaloPSA invoice. `problem` says what went wrong, "" where nothing did."""

    key: str
    client_id: int
    client_name: str
    invoice_id: int | None  # None where HaloPSA gave none, or its answer is not known
    action: PostingAction
    lines: int
    amount: Decimal
    cost: Decimal
    currency: str
    state: OutcomeState
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBackResult:
    """One posting that a true-up took back [R2], with what came back; `how`: the invoice's fate,
    or `credited` (by `credit_invoice`). `problem` says what a person must do about what is left."""

    key: str
    client_id: int
    client_name: str
    invoice_id: int | None
    amount: Decimal
    cost: Decimal
    currency: str
    how: InvoiceFate | LineFate
    credit_invoice: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One run. `returned` is, per currency, the (price, cost) that HaloPSA's answers came to for everything that the
    equation calls posted, what earlier runs of the period posted included: so it equals `posted` where all went well.
    `message` is said to people before the equation, e.g. what stopped the run."""

    run: str
    digest: str
    period: str
    state: RunState  # complete | held | failed
    postings: tuple[PostingResult, ...]
    holds: tuple[Hold, ...]
    accounts: tuple[CurrencyAccount, ...]
    returned: Mapping[str, tuple[Decimal, Decimal]]
    next_steps: tuple[tuple[str, ...], ...] = ()
    message: str = ""
    taken_back: tuple[TakenBackResult, ...] = ()
    true_ups: tuple[TrueUp, ...] = ()  # that wait
    companies: Mapping[str, str] = field(default_factory=dict)  # charge id -> whose it is, for people
    warnings: tuple[str, ...] = ()  # the plan's, as sentences, for people
