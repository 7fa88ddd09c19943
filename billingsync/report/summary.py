"""A plan on one screen: a row for each client, what waits by reason, equal warnings once, the equation, what next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from billingsync.core.bill.plan import Plan
from billingsync.core.money import ZERO
from billingsync.core.reasons import title_of
from billingsync.report.alike import warning_rows
from billingsync.report.equation import pieces
from billingsync.report.escape import one_line
from billingsync.report.labels import partner_name, plural
from billingsync.report.layout import Page, table_lines
from billingsync.report.numbers import Figures, code
from billingsync.report.overview import MOST_CLIENTS, Billed, Overview, name_of, overview_of
from billingsync.report.text import closing, true_up_rows

if TYPE_CHECKING:
    from rich.console import Console


def print_summary(
    plan: Plan | Overview,
    console: Console,
    *,
    locale: str = "en_US",
    next_command: str | None = None,
    last: Sequence[str] = (),
) -> None:
    """The plan's summary on a console. `last` are sentences that take the place of the closing one."""
    if isinstance(plan, Plan):
        plan = overview_of(plan)
    page, figures = Page(console.width), Figures(locale)
    _heading(plan, page, figures)
    _clients(plan, page, figures)
    _waiting(plan, page, figures)
    true_up_rows(plan.true_ups, page, figures)
    _kept(plan, page, figures)
    warning_rows(plan.warnings, page, "--lines shows all")
    page.blank()
    for account in sorted(plan.accounts, key=lambda account: -abs(account.price.charges)):
        page.paragraph(pieces(account.price, account.currency, figures, subject=" charged"), indent="    ")
    if not plan.accounts:
        page.say("0 charges: nothing to add up")
    for sentence in last:
        page.prose(one_line(sentence), indent="  ", style="bold")
    if not last:
        page.say(closing(plan, next_command), "bold")
    page.show(console)


def question(plan: Plan, host: str, *, locale: str = "en_US") -> str:
    """What a person is asked before posting: how many invoices, how much money, to whom, what stays held."""
    figures = Figures(locale)
    money = _sums((posting.currency, posting.amount) for posting in plan.postings)
    number = len(plan.postings)
    held = sum(not hold.no_charge for client in plan.clients for hold in client.holds) + len(plan.unassigned_holds)
    stay = f" {figures.count(held)} {plural(held, 'charge')} {plural(held, 'stays', 'stay')} held" if held else ""
    what = f"{figures.count(number)} {plural(number, 'invoice')}, {_spoken(money, figures)}"
    return f"Post {what}, to {one_line(host)}?{stay}"


def _heading(plan: Overview, page: Page, figures: Figures) -> None:
    charges, invoices = plan.charges, plan.invoices
    whose = f" · {name}" if (name := partner_name(plan.partner)) else ""
    page.prose(
        f"{figures.month(plan.period)}{whose} · {figures.count(invoices)} Pax8 "
        f"{plural(invoices, 'invoice')}, {figures.count(charges)} {plural(charges, 'charge')}",
        style="bold",
    )
    if plan.companies_asked:
        page.prose(f"Only {plan.companies_asked} of the companies, as asked with --client.", indent="  ")


def _clients(plan: Overview, page: Page, figures: Figures) -> None:
    """One row a client that has something to post, the largest change first."""
    billed = plan.billed
    if not billed:
        return
    shown = billed if len(billed) <= MOST_CLIENTS + 1 else billed[:MOST_CLIENTS]
    rows: list[tuple[str, ...]] = [
        (name_of(one.client), one.goes_to, one.lines, *_money(one, figures)) for one in shown
    ]
    since = {one.client.last_period for one in shown if one.client.last_period}
    change = f"since {min(since)}" if len(since) == 1 else "change"
    headers: tuple[str, ...] = ("Client", "Goes to", "Lines", "Amount", change, "Margin")
    if not page.wide:  # what is left over at 80 columns: the client, what moves, the money, the change
        rows = [(row[0], row[2], row[3], row[4]) for row in rows]
        headers = ("Client", "Lines", "Amount", change)
    numbers = range(2, len(headers)) if not page.wide else range(3, len(headers))
    page.blank()
    for nth, line in enumerate(table_lines(headers, rows, page.reach, numbers=numbers, names=(0,))):
        page.say(line, "bold" if nth == 0 else "")
    if rest := billed[len(shown) :]:
        money = _spoken(_sums((one.client.currency, one.client.amount) for one in rest), figures)
        page.say(f"... {figures.count(len(rest))} more, {money} (--lines shows every line)")


def _money(one: Billed, figures: Figures) -> tuple[str, str, str]:
    """Its amount, how that changes, and its margin."""
    client = one.client
    return (
        f"{figures.amount(client.amount, client.currency)} {code(client.currency)}",
        figures.change(client.amount, client.last_amount, client.currency),
        figures.percent(client.amount - client.cost, client.amount) if client.amount > 0 else "",
    )


def _waiting(plan: Overview, page: Page, figures: Figures) -> None:
    """What is held: one row a reason, with its money."""
    if not plan.held_for:
        return
    clients = plan.held_clients
    money = _spoken(_sums(one for group in plan.held_for for one in group.money.items()), figures)
    page.blank()
    page.prose(
        f"Needs your decision: {figures.count(clients)} {plural(clients, 'client')}, {money} (not billed yet)",
        style="bold",
    )
    for group in plan.held_for:
        amounts = _spoken(group.money, figures)
        times = f"{figures.count(group.charges)} {plural(group.charges, 'charge')}"
        page.prose(f"{title_of(group.reason)}: {times}, {amounts}", first="  ", indent="    ")
    page.say(f"  See each and what to do:  billingsync holds {plan.period}")


def _kept(plan: Overview, page: Page, figures: Figures) -> None:
    """What modifiers kept from clients [M4], all clients together."""
    if plan.kept_back:
        withheld = _spoken(_sums((kept.currency, kept.credits_withheld) for kept in plan.kept_back), figures)
        absorbed = _spoken(_sums((kept.currency, kept.cost_absorbed) for kept in plan.kept_back), figures)
        page.blank()
        page.prose(
            f"Kept from clients by your rules: credits of {withheld}; cost that nobody is billed for: {absorbed}."
        )


def _sums(amounts: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for currency, amount in amounts:
        found[currency] = found.get(currency, ZERO) + amount
    return found


def _spoken(money: Mapping[str, Decimal], figures: Figures) -> str:
    """`853.30 USD and 42.00 EUR`: the currency with most first; no currency is ever left out."""
    parts = [
        figures.money(amount, currency) for currency, amount in sorted(money.items(), key=lambda one: -abs(one[1]))
    ]
    if len(parts) < 2:
        return parts[0] if parts else "nothing"
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
