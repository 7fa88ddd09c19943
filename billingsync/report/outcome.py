"""What a run did, and what waits, as text for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from billingsync.core.bill.plan import CurrencyAccount
from billingsync.core.money import ZERO
from billingsync.core.reasons import title_of
from billingsync.core.states import InvoiceFate, LineFate, OutcomeState, RunState
from billingsync.report.alike import warning_rows
from billingsync.report.block import bill_rows, why_and_what
from billingsync.report.escape import one_line, shortened
from billingsync.report.labels import plural
from billingsync.report.layout import Page
from billingsync.report.numbers import Figures
from billingsync.report.result import PostingResult, RunResult, TakenBackResult
from billingsync.report.text import equation_lines, true_up_rows
from billingsync.report.waiting import NOBODY, OpenHold, Wait, by_reason, money_of, together

if TYPE_CHECKING:
    from rich.console import Console

_STATES = {RunState.COMPLETE: "complete", RunState.HELD: "done; something is held", RunState.FAILED: "failed"}
_STYLES = {
    OutcomeState.POSTED: "green",
    OutcomeState.ADOPTED: "green",
    OutcomeState.UNKNOWN: "yellow",
    OutcomeState.FAILED: "red",
}
_TOLD = {
    OutcomeState.POSTED: "",
    OutcomeState.ADOPTED: "found in HaloPSA and taken over: an earlier attempt had reached it",
    OutcomeState.UNKNOWN: "not known yet whether HaloPSA has it: it is looked for again, and never sent twice blindly",
    OutcomeState.FAILED: "failed",
}


def print_run(result: RunResult, console: Console, *, locale: str = "en_US") -> None:
    """What was written where, what waits and why, and the equation with what HaloPSA returned."""
    page, figures = Page(console.width), Figures(locale)
    state = _STATES.get(result.state, result.state)
    page.prose(f"{result.period}, run {result.run}: {state}", style="bold")
    if result.message:
        page.prose(shortened(one_line(result.message), 2000), indent="  ")
    if result.postings or result.taken_back:
        page.blank()
    for back in result.taken_back:
        _back(back, page, figures)
    for posting in result.postings:
        _posting(posting, page, figures)
    if result.holds:
        page.blank()
        page.say("Needs your decision (not billed yet):", "bold")
    for wait in together(
        OpenHold(hold=hold, company_name=result.companies.get(hold.charge, "")) for hold in result.holds
    ):
        _wait(wait, wait.who or ", ".join(wait.products), page, figures)
    true_up_rows(result.true_ups, page, figures)
    warning_rows(result.warnings, page, f"billingsync plan {result.period} --lines shows all")
    page.blank()
    # "posted" is said only of what HaloPSA confirmed to the cent.
    confirmed = all(_agrees(result, account) for account in result.accounts)
    equation_lines(result.accounts, page, figures, done=confirmed)
    _returned(result, page, figures)
    steps(result.next_steps, page)
    page.show(console)


def print_holds(
    period: str | None,
    holds: Iterable[OpenHold],
    console: Console,
    *,
    locale: str = "en_US",
    next_steps: Sequence[Sequence[str]] = (),
) -> None:
    """What waits, by reason, the most money first: whose, how much, how long, and what to do."""
    page, figures = Page(console.width), Figures(locale)
    groups = by_reason(holds)
    where = f"in {period}" if period else "in any period"
    if not groups:
        page.say(f"Nothing is held {where}.")
    for group in groups:
        page.blank()
        count = group.charges
        page.say(f"{title_of(group.reason)} ({figures.count(count)} {plural(count, 'charge')})", "bold")
        for wait in group.waits:
            _wait(wait, wait.who, page, figures)
    if groups:
        page.blank()
        for currency, (price, cost) in money_of(wait for group in groups for wait in group.waits).items():
            page.say(f"Held {where}: {figures.money(price, currency)} (cost {figures.amount(cost, currency)})", "bold")
    steps(next_steps, page)
    page.show(console)


def steps(next_steps: Sequence[Sequence[str]], page: Page) -> None:
    """Argument lists as commands that can be pasted into a shell."""
    for number, step in enumerate(next_steps):
        page.say(f"{'Next:  ' if number == 0 else '       '}{shlex.join(one_line(word) for word in step)}", "bold")


def _posting(posting: PostingResult, page: Page, figures: Figures) -> None:
    where = "" if posting.invoice_id is None else f"  -> invoice {abs(posting.invoice_id)}"
    page.row(
        posting.client_name,
        figures.amount(posting.amount, posting.currency),
        f" {posting.currency}",
        head=f"{posting.state:<8} ",
        after=where,
        mid=f"{figures.count(posting.lines)} {plural(posting.lines, 'line')}",
        style=_STYLES.get(posting.state, ""),
    )
    told = _TOLD.get(posting.state, "")
    problem = shortened(one_line(posting.problem), 600)
    if told or problem:
        page.prose(": ".join(part for part in (told, problem) if part), indent=" " * 9)


def _back(back: TakenBackResult, page: Page, figures: Figures) -> None:
    where = "" if back.invoice_id is None else f"  <- invoice {abs(back.invoice_id)}"
    how = {InvoiceFate.DELETED: " (deleted)", LineFate.CREDITED: f" (credited by invoice {back.credit_invoice})"}.get(
        back.how, ""
    )
    page.row(
        back.client_name,
        figures.amount(-back.amount, back.currency),
        f" {back.currency}",
        head=f"{'credited' if back.credit_invoice is not None else 'removed':<8} ",
        after=f"{where}{how}",
        style="red" if back.problem else "green",
    )
    if back.problem:
        page.prose(shortened(one_line(back.problem), 600), indent=" " * 9)


def _wait(wait: Wait, name: str, page: Page, figures: Figures) -> None:
    age = "" if wait.age_days is None else f", {figures.count(wait.age_days)} {plural(wait.age_days, 'day')} old"
    period = f", {wait.period}" if wait.period else ""
    page.row(
        name or NOBODY,
        figures.amount(wait.amount, wait.currency),
        f" {wait.currency}",
        head="  ! ",
        after=f"{period}{age}",
        style="magenta",
    )
    if name == wait.who and not wait.is_bill:
        shown = ", ".join(shortened(one_line(product), 60) for product in wait.products[:4])
        more = f" and {figures.count(len(wait.products) - 4)} more" if len(wait.products) > 4 else ""
        page.prose(f"{shown}{more}", indent="      ")
    bill_rows(wait, page, figures)
    why_and_what(wait, page)


def _returned(result: RunResult, page: Page, figures: Figures) -> None:
    """What HaloPSA's answers came to, against what was to be posted [A2]."""
    for account in result.accounts:
        currency = account.currency
        price, cost = result.returned.get(currency, (ZERO, ZERO))
        said = f"HaloPSA returned {figures.money(price, currency)}"
        if _agrees(result, account):
            if not (price or cost) and currency not in result.returned:
                continue  # all of it is held: nothing was posted, and nothing could come back
            page.prose(f"{said}, exactly what was posted (cost {figures.amount(cost, currency)}).")
            continue
        gaps = ((price - account.price.posted, "the price"), (cost - account.cost.posted, "the cost"))
        differences = [
            f"{figures.amount(abs(gap), currency)} {'more' if gap > 0 else 'less'} than {side}"
            for gap, side in gaps
            if gap
        ]
        page.prose(f"{said}: {' and '.join(differences)} to post.", style="red")


def _agrees(result: RunResult, account: CurrencyAccount) -> bool:
    returned = result.returned.get(account.currency, (ZERO, ZERO))
    return returned == (account.price.posted, account.cost.posted)
