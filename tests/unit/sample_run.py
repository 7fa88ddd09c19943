"""A hand-made run in which everything happened that can: posted, taken over, unknown, failed, held, a gap."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal as D

from sample_plan import ANSI, DIGEST, hold

from billingsync.core.bill.plan import Account, CurrencyAccount
from billingsync.report.outcome import print_holds, print_run
from billingsync.report.result import PostingResult, RunResult
from billingsync.report.text import paper
from billingsync.report.waiting import OpenHold


def posting(
    name: str, state: str, amount: str, invoice: int | None, action: str = "create", problem: str = ""
) -> PostingResult:
    return PostingResult(
        key=f"key-{name}",
        client_id=len(name),
        client_name=name,
        invoice_id=invoice,
        action=action,
        lines=3,
        amount=D(amount),
        cost=D(amount) / 2,
        currency="USD",
        state=state,
        problem=problem,
    )


HELD = hold(
    "inv:9",
    "product_unmatched",
    "85.10",
    "70.00",
    "Exotic Backup Agent",
    "no HaloPSA item for it",
    "billingsync map products --set EXO-1=<item id>",
)


def account(held: str = "85.10") -> CurrencyAccount:
    def side(posted: str, waits: str) -> Account:
        whole = D(posted) + D(waits)
        return Account(
            charges=whole, posted=D(posted), dropped=D(0), excluded=D(0), held=D(waits), already_posted=D("0.00")
        )

    return CurrencyAccount(
        currency="USD", price=side("17950.07", held), cost=side("15000.00", "0.00" if held == "0.00" else "70.00")
    )


def complete_run() -> RunResult:
    """Everything posted and returned to the cent."""
    return RunResult(
        run="7f3a",
        digest=DIGEST,
        period="2026-11",
        state="complete",
        postings=(
            posting("Contoso Ltd", "posted", "261.37", 90211),
            posting("Fabrikam Incorporated", "adopted", "17688.70", -237, "update"),
        ),
        holds=(),
        accounts=(account("0.00"),),
        returned={"USD": (D("17950.07"), D("15000.00"))},
        next_steps=(("billingsync", "show", "7f3a"),),
    )


def troubled_run() -> RunResult:
    """Something of everything, and less returned than posted."""
    return RunResult(
        run="7f3b",
        digest=DIGEST,
        period="2026-11",
        state="failed",
        postings=(
            posting("Contoso Ltd", "posted", "261.37", 90211),
            posting("Fabrikam Incorporated", "unknown", "12500.00", None, problem=f"no answer in 60 s {ANSI}"),
            posting("Adventure Works", "failed", "5188.70", None, "append", problem="HaloPSA refused: 403"),
        ),
        holds=(HELD,),
        accounts=(account(),),
        returned={"USD": (D("261.37"), D("130.69"))},
        next_steps=(
            ("billingsync", "run", "2026-11", "--client", "Adventure Works"),
            ("billingsync", "holds", "2026-11"),
        ),
        message="HaloPSA did not answer in time.",
        companies={"inv:9": "Tailspin Toys"},
    )


def open_holds() -> list[OpenHold]:
    other = hold("inv:10", "limit_change", "-12.00", "-9.00", "Credit", "moved 80 %", "look at it", "EUR")
    return [
        OpenHold(hold=HELD, company_name="Tailspin Toys", company_id="c-1", since="2026-12-01", age_days=4),
        OpenHold(hold=other, company_name="Alpine Ski House", client_name="Alpine", client_id=11, age_days=1),
    ]


def run_text(result: RunResult, width: int) -> str:
    """What a terminal shows of a run."""
    console, file = paper(width, color=False)
    print_run(result, console)
    return file.getvalue()


def holds_text(period: str, holds: Sequence[OpenHold], width: int = 100) -> str:
    """What a terminal shows of what is held."""
    console, file = paper(width, color=False)
    print_holds(period, holds, console)
    return file.getvalue()
