"""A plan for people: one block a client, only what changes, the equation as the last sentence, then what to type."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Protocol

from billingsync.core.bill.plan import CurrencyAccount, Plan, TrueUp
from billingsync.core.states import TrueUpState
from billingsync.report.block import client_block, held_rows, left_out_rows
from billingsync.report.equation import pieces
from billingsync.report.escape import one_line, shortened
from billingsync.report.labels import client_target, listed, new_invoice_counts, partner_name, plural, taken_back_from
from billingsync.report.layout import Page, table_lines
from billingsync.report.numbers import Figures
from billingsync.report.waiting import NOBODY, display_name, together, unassigned_holds

if TYPE_CHECKING:
    from rich.console import Console

_MOST_NAMES = 6


def plan_text(
    plan: Plan,
    width: int = 100,
    color: bool = False,
    *,
    locale: str = "en_US",
    next_command: str | None = None,
) -> str:
    """The plan as text of (at the most) `width` columns, with terminal colours only where asked for."""
    console, file = paper(width, color)
    print_plan(plan, console, locale=locale, next_command=next_command)
    return file.getvalue()


def print_plan(
    plan: Plan,
    console: Console,
    *,
    locale: str = "en_US",
    next_command: str | None = None,
    last: Sequence[str] = (),
) -> None:
    """The plan on a console. `next_command` is what to type next; by default posting, or looking at what is held.
    `last` are sentences that take the place of the last one."""
    page, figures = Page(console.width), Figures(locale)
    _heading(plan, page, figures)
    counts = new_invoice_counts(plan)
    for client in plan.clients:
        if client.lines or client.dropped or client.excluded or client.holds:
            client_block(client, client_target(client, counts), page, figures)
            page.show(console)  # a large month's lines are not held together
    _unassigned(plan, page, figures)
    true_up_rows(plan.true_ups, page, figures)
    _kept(plan, page, figures)
    for number, warning in enumerate(plan.warnings):
        if number == 0:
            page.blank()
        page.prose(shortened(one_line(warning), 1000), first="Warning: ", indent="  ", style="yellow")
    page.blank()
    equation_lines(plan.accounts, page, figures)
    for sentence in last:
        page.prose(one_line(sentence), indent="  ", style="bold")
    if not last:
        page.say(closing(plan, next_command), "bold")
    page.show(console)


def equation_lines(accounts: Sequence[CurrencyAccount], page: Page, figures: Figures, *, done: bool = False) -> None:
    """What it costs first, so that what clients pay is the last sentence; one sentence a currency."""
    for account in accounts:
        cost = pieces(account.cost, account.currency, figures, subject="", done=done)
        page.paragraph(cost, first="At cost: ", indent="    ", style="dim")
    for account in accounts:
        page.paragraph(pieces(account.price, account.currency, figures, subject=" charged", done=done), indent="    ")
    if not accounts:
        page.say("0 charges: nothing to add up")


class Decided(Protocol):
    """As much of a plan as says what comes next."""

    @property
    def digest(self) -> str: ...
    @property
    def period(self) -> str: ...
    @property
    def writes(self) -> bool: ...
    @property
    def held(self) -> bool: ...


def closing(plan: Decided, next_command: str | None) -> str:
    """The last line: that nothing was written yet, and the command that comes next."""
    if plan.writes:
        command = next_command if next_command is not None else f"billingsync post {plan.digest[:6]}"
        return f"Nothing written. Post it:  {command}"
    if plan.held:
        command = next_command if next_command is not None else f"billingsync holds {plan.period}"
        return f"Nothing written. Nothing to post until what is held is settled:  {command}"
    command = f":  {next_command}" if next_command else "."
    return f"Nothing written. Nothing to post{command}"


def _heading(plan: Plan, page: Page, figures: Figures) -> None:
    charges = sum(source.charges for source in plan.sources)
    invoices = len(plan.sources)
    whose = f", {name}" if (name := partner_name(plan.partner)) else ""
    page.prose(
        f"{plan.period}{whose}: {figures.count(invoices)} Pax8 {plural(invoices, 'invoice')}, "
        f"{figures.count(charges)} {plural(charges, 'charge')}",
        style="bold",
    )
    if plan.clients_asked:
        names = {client.company_id: display_name(client) for client in plan.clients}
        asked = [shortened(one_line(names.get(company, company)), 60) for company in plan.clients_asked]
        page.prose(f"Only for: {listed(asked, _MOST_NAMES)}", indent="  ")


def _unassigned(plan: Plan, page: Page, figures: Figures) -> None:
    holds = unassigned_holds(plan)
    if not holds and not plan.unassigned_excluded:
        return
    page.blank()
    page.say(NOBODY, "bold")
    left_out_rows("excluded", [(entry, entry.rule) for entry in plan.unassigned_excluded], "", page, figures)
    held_rows(together(holds), "", page, figures)


def true_up_rows(ups: Sequence[TrueUp], page: Page, figures: Figures) -> None:
    """What Pax8's credit of billed invoices means for each client [R2]."""
    if not ups:
        return
    page.blank()
    page.say("Pax8 credited invoices that are billed. To make it true:", "bold")
    rows = [
        (
            up.client_name,
            figures.amount(up.take_back, up.currency),
            figures.amount(up.add, up.currency),
            figures.amount(up.net, up.currency),
            up.currency,
        )
        for up in ups
    ]
    headers = ("Client", "take back", "add", "net", "")
    for number, line in enumerate(table_lines(headers, rows, page.reach, numbers=(1, 2, 3), names=(0,))):
        page.say(line, "bold" if number == 0 else "")
    for up in ups:
        where = f"take it back {taken_back_from(up)}"
        what = {TrueUpState.APPROVED: f"approved: {where}", TrueUpState.HELD: f"waits: {where}"}.get(
            up.state, f"waits: {up.detail}"
        )
        page.prose(shortened(one_line(f"{up.client_name}: {what}"), 600), indent="  ")
        if up.next_step:
            page.say(f"    {one_line(up.next_step)}", "bold")


def _kept(plan: Plan, page: Page, figures: Figures) -> None:
    """What modifiers kept from clients [M4]."""
    if not plan.kept:
        return
    rows = [
        (
            kept.company_name or NOBODY,
            figures.amount(kept.credits_withheld, kept.currency),
            figures.amount(kept.price_dropped, kept.currency),
            figures.amount(kept.cost_absorbed, kept.currency),
            kept.currency,
        )
        for kept in plan.kept
    ]
    headers = ("Kept from clients", "credits withheld", "net price dropped", "net cost absorbed", "")
    page.blank()
    for number, line in enumerate(table_lines(headers, rows, page.reach, numbers=(1, 2, 3), names=(0,))):
        page.say(line, "bold" if number == 0 else "")


def paper(width: int, color: bool) -> tuple[Console, StringIO]:
    """A console that writes into a string."""
    from rich.console import Console

    file = StringIO()
    if color:
        return Console(file=file, width=width, force_terminal=True, color_system="standard"), file
    return Console(file=file, width=width, force_terminal=False, color_system=None, no_color=True), file
