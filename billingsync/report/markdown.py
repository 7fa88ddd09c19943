"""A plan as Markdown for tickets and pull requests: tables whose cells cannot break out of their table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal

from billingsync.core.bill.plan import ClientPlan, CurrencyAccount, Dropped, Excluded, Plan, PlanLine
from billingsync.core.reasons import title_of
from billingsync.core.states import TrueUpState
from billingsync.report.equation import both, sentence
from billingsync.report.escape import one_line, shortened
from billingsync.report.labels import (
    client_target,
    likeness,
    listed,
    matched,
    new_invoice_counts,
    partner_name,
    plural,
    taken_back_from,
)
from billingsync.report.numbers import Figures, code
from billingsync.report.text import closing
from billingsync.report.waiting import NOBODY, Wait, by_reason, display_name, plan_holds

_LONGEST = 300
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_ACTIONS = {"add": "add", "update": "change", "remove": "remove"}


def plan_markdown(plan: Plan, created_at: str, *, locale: str = "en_US", next_command: str | None = None) -> str:
    """Totals, what waits, what changes for each client, what is not billed; numbers as people of `locale` read them."""
    figures = Figures(locale)
    whose = f"{escaped(name)}: billing" if (name := partner_name(plan.partner)) else "Billing"
    lines = [f"# {whose} plan for {figures.month(plan.period)}", ""]
    for account in plan.accounts:
        lines += [escaped(sentence(account.price, account.currency, figures)), ""]
    lines += [f"**{escaped(closing(plan, next_command))}**", ""]
    for warning in plan.warnings:
        lines += [f"> Warning: {escaped(warning, 1000)}", ""]
    for part in (_totals, _held, _true_ups, _clients, _changes, _not_billed, _kept):
        lines += part(plan, figures)
    lines.append(
        f"Plan `{plan.digest}`, rules `{plan.rules_digest}`, made {escaped(created_at)}. "
        "Amounts are what clients pay; costs what the partner pays."
    )
    return "\n".join(lines) + "\n"


def escaped(text: str, longest: int = _LONGEST) -> str:
    """Foreign text as a cell: no markup, no HTML, no link, nobody notified, one line.

    A zero-width space keeps `@name`, `#1` and addresses from being made into mentions and links: that happens after
    escapes are resolved.
    """
    text = shortened(one_line(text), longest)
    text = re.sub("[&<>]", lambda found: _ENTITIES[found[0]], text)
    text = re.sub(r"[\\`*_{}\[\]#!|~$^]", lambda found: f"\\{found[0]}", text)
    return re.sub(r"@|#(?=\d)|:(?=//)|www(?=\.)", lambda found: f"{found[0]}&#8203;", text)


def _money(figures: Figures, amount: Decimal, currency: str) -> str:
    return f"{figures.amount(amount, currency)} {escaped(code(currency))}"


def _table(headers: Sequence[str], numbers: Sequence[int], rows: Sequence[Sequence[str]]) -> list[str]:
    rules = ["---:" if column in numbers else "---" for column in range(len(headers))]
    return [*(f"| {' | '.join(row)} |" for row in (headers, rules, *rows)), ""]


def _totals(plan: Plan, figures: Figures) -> list[str]:
    lines: list[str] = []
    for account in plan.accounts:
        lines += _table(
            (escaped(account.currency), "Price", "Cost", "Margin"), (1, 2, 3), list(_total_rows(account, figures))
        )
    return lines


def _total_rows(account: CurrencyAccount, figures: Figures) -> Iterator[tuple[str, ...]]:
    rows = [("charged by Pax8", account.price.charges, account.cost.charges)]
    rows += [(label, price, cost) for _, label, price, cost in both(account)]
    for label, price, cost in rows:
        yield (label, *(figures.amount(amount, account.currency) for amount in (price, cost, price - cost)))


def _held(plan: Plan, figures: Figures) -> list[str]:
    groups = by_reason(plan_holds(plan))
    if not groups:
        return []
    rows = [_wait(wait, figures) for group in groups for wait in group.waits]
    headers = ("Why", "Client", "Products", "Amount", "What to do")
    return ["## Needs your decision (not billed yet)", "", *_table(headers, (3,), rows)]


def _wait(wait: Wait, figures: Figures) -> tuple[str, ...]:
    detail = f": {escaped(wait.detail)}" if wait.detail else ""
    products = listed([shortened(one_line(product), 80) for product in wait.products], 5)
    return (
        f"{title_of(wait.reason)}{detail}",
        escaped(wait.who, 120),
        escaped(products),
        _money(figures, wait.amount, wait.currency),
        escaped(wait.next_step),
    )


def _true_ups(plan: Plan, figures: Figures) -> list[str]:
    if not plan.true_ups:
        return []
    rows = [
        (
            escaped(up.client_name, 120),
            *(_money(figures, amount, up.currency) for amount in (up.take_back, up.add, up.net)),
            escaped(up.detail if up.state == TrueUpState.BLOCKED else taken_back_from(up)),
            escaped(up.next_step or up.state),
        )
        for up in plan.true_ups
    ]
    headers = ("Client", "Take back", "Add", "Net", "How", "What to do")
    return ["## Credited by Pax8 after it was billed", "", *_table(headers, (1, 2, 3), rows)]


def _clients(plan: Plan, figures: Figures) -> list[str]:
    counts = new_invoice_counts(plan)
    rows = [_client(client, client_target(client, counts), figures) for client in plan.clients if client.lines]
    if not rows:
        return []
    headers = ("Client", "Goes to", "Amount", "Cost", "Since last period", "Match")
    return ["## Clients", "", *_table(headers, (2, 3), rows)]


def _client(client: ClientPlan, where: str, figures: Figures) -> tuple[str, ...]:
    change = figures.change(client.amount, client.last_amount, client.currency)
    return (
        escaped(display_name(client), 120),
        where,
        _money(figures, client.amount, client.currency),
        figures.amount(client.cost, client.currency),
        f"{change} ({client.last_period})" if change else "",
        f"**{escaped(matched(client.matched_by))}** ({escaped(likeness(client.guessed))})"
        if client.guessed
        else escaped(matched(client.matched_by)),
    )


def _changes(plan: Plan, figures: Figures) -> list[str]:
    rows = [_line(client, line, figures) for client in plan.clients for line in client.lines]
    if not rows:
        return []
    headers = ("Client", "Change", "Line", "Quantity", "Unit price", "Before", "Amount")
    return ["## Lines that change", "", *_table(headers, (3, 4, 5, 6), rows)]


def _line(client: ClientPlan, line: PlanLine, figures: Figures) -> tuple[str, ...]:
    currency = client.currency
    return (
        escaped(client.client_name or client.company_name, 80),
        _ACTIONS.get(line.action, line.action),
        escaped(line.description or line.title, 160),
        figures.quantity(line.quantity),
        figures.amount(line.unit_price, currency),
        "" if line.before_amount is None else figures.amount(line.before_amount, currency),
        _money(figures, line.amount, currency),
    )


def _not_billed(plan: Plan, figures: Figures) -> list[str]:
    entries: list[tuple[str, Dropped | Excluded, str]] = []
    for client in plan.clients:
        entries += [(client.client_name or client.company_name, entry, entry.modifier) for entry in client.dropped]
        entries += [(client.client_name or client.company_name, entry, entry.rule) for entry in client.excluded]
    entries += [(NOBODY, entry, entry.rule) for entry in plan.unassigned_excluded]
    if not entries:
        return []
    rows = [
        (
            escaped(who, 80),
            escaped(entry.product, 160),
            ("dropped" if isinstance(entry, Dropped) else "excluded") + f": {escaped(title_of(cause))}",
            _money(figures, entry.amount, entry.currency),
        )
        for who, entry, cause in entries
    ]
    count = f"{figures.count(len(rows))} {plural(len(rows), 'charge')}"
    return [f"## Not billed ({count})", "", *_table(("Client", "Product", "Why", "Amount"), (3,), rows)]


def _kept(plan: Plan, figures: Figures) -> list[str]:
    if not plan.kept:
        return []
    rows = []
    for kept in plan.kept:
        amounts = (kept.credits_withheld, kept.price_dropped, kept.cost_absorbed)
        rows.append((escaped(kept.company_name, 120), *(_money(figures, amount, kept.currency) for amount in amounts)))
    headers = ("Client", "Credits withheld", "Net price dropped", "Net cost absorbed")
    return ["## Kept from clients", "", *_table(headers, (1, 2, 3), rows)]
