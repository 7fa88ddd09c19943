"""One client's block of a plan as text: where its lines go, what changes, what is left out, what waits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation

from billingsync.core.bill.plan import ClientPlan, Dropped, Excluded, PlanLine
from billingsync.core.money import ZERO
from billingsync.core.states import LineAction
from billingsync.report.escape import one_line, shortened
from billingsync.report.labels import charges_beside, likeness, spoken
from billingsync.report.layout import Page
from billingsync.report.numbers import Figures
from billingsync.report.waiting import Wait, client_holds, display_name, money_of, together

_MOST_NAMES = 6
_MOST_PRODUCTS = 12  # rows of what one client has dropped or excluded; the others are summed
_SIGNS = {"add": ("+", "green"), "update": ("~", "yellow"), "remove": ("-", "red")}
_TIMES = re.compile(r"(-?[0-9.]+) x (-?[0-9.]+)")


def client_block(client: ClientPlan, where: str, page: Page, figures: Figures) -> None:
    """One client and currency; `where` is the invoice that its lines go to, in words."""
    page.blank()
    currency = client.currency
    waits = together(client_holds(client))
    if client.held:
        (code, first), *others = [(code, price) for code, (price, _) in money_of(waits).items()] or [(currency, ZERO)]
        more = "".join(f" and {figures.money(price, other)}" for other, price in others)
        page.row(
            display_name(client),
            figures.amount(first, code),
            f" {code}{more}",
            after=f"  held: {spoken(client.held)}",
            style="bold",
        )
    elif client.lines:
        _client_row(client, where, page, figures)
    else:
        page.row(
            display_name(client),
            figures.amount(ZERO, currency),
            f" {currency}",
            after="  nothing to post",
            style="bold",
        )
    if client.guessed:
        page.prose(
            f"guessed: {client.company_name} is {client.client_name} ({likeness(client.guessed)}); "
            f"confirm it with billingsync map companies",
            indent="    ",
            style="yellow",
        )
    for line in client.lines:
        _line(line, currency, page, figures)
    left_out_rows("dropped", [(entry, entry.modifier) for entry in client.dropped], currency, page, figures)
    left_out_rows("excluded", [(entry, entry.rule) for entry in client.excluded], currency, page, figures)
    held_rows(waits, currency, page, figures)


def _client_row(client: ClientPlan, where: str, page: Page, figures: Figures) -> None:
    change = figures.change(client.amount, client.last_amount, client.currency)
    if change:
        joint = " in " if change.startswith("was") else " since "
        change = f"{change}{joint}{client.last_period}"
    right = f" {client.currency}"
    beside = f"{right}  {change}" if change else right
    fits = page.wide and len(beside) <= page.tail
    page.row(
        display_name(client),
        figures.amount(client.amount, client.currency),
        beside if fits else right,
        after=f"  -> {where}",
        style="bold",
    )
    if change and not fits:
        page.say(f"    {change}", "dim")


def _line(line: PlanLine, currency: str, page: Page, figures: Figures) -> None:
    sign, style = ("=", "dim") if line.stays else _SIGNS.get(line.action, ("?", ""))
    amount = figures.amount(line.amount, currency)
    if line.action == LineAction.ADD:
        name, times = line.description or line.title, _times(line.quantity, line.unit_price, currency, figures)
    else:
        name = line.title or line.description
        if line.before_amount is not None:
            amount = f"{figures.amount(line.before_amount, currency)} -> {amount}"
        times = _change_of_times(line, currency, figures)
    page.row(name, amount, head=f"  {sign} ", after=charges_beside(line.charges), mid=times, style=style)
    if line.item and line.item.create:
        page.prose(f"creates the item {shortened(one_line(line.item.name), 120)}", indent="      ", style="dim")


def _times(quantity: Decimal, unit_price: Decimal, currency: str, figures: Figures) -> str:
    """`9 x 22.00`; nothing where the amount says it all."""
    if quantity == 1:
        return ""
    return f"{figures.quantity(quantity)} x {figures.amount(unit_price, currency)}"


def _change_of_times(line: PlanLine, currency: str, figures: Figures) -> str:
    """`9 -> 10` where only the quantity changed, else both sides whole."""
    found = _TIMES.fullmatch(line.before)
    if found is None:
        return one_line(line.before)
    try:
        quantity, price = Decimal(found[1]), Decimal(found[2])
    except InvalidOperation:
        return line.before
    before = f"{figures.quantity(quantity)} x {figures.amount(price, currency)}"
    if line.action == LineAction.REMOVE:
        return before
    if price == line.unit_price:
        if quantity == line.quantity:
            return figures.quantity(quantity) if quantity != 1 else ""
        return f"{figures.quantity(quantity)} -> {figures.quantity(line.quantity)}"
    return f"{before} -> {figures.quantity(line.quantity)} x {figures.amount(line.unit_price, currency)}"


def left_out_rows(
    verb: str, entries: Sequence[tuple[Dropped | Excluded, str]], currency: str, page: Page, figures: Figures
) -> None:
    """What is not billed, one row for each product and cause."""
    sums: dict[tuple[str, str, str], tuple[Decimal, list[str]]] = {}
    for entry, cause in entries:
        amount, charges = sums.setdefault((entry.product, cause, entry.currency), (ZERO, []))
        charges.append(entry.charge)
        sums[entry.product, cause, entry.currency] = (amount + entry.amount, charges)
    rows = [(product, cause, code, amount, charges) for (product, cause, code), (amount, charges) in sums.items()]
    cut = rows[_MOST_PRODUCTS - 1 :] if len(rows) > _MOST_PRODUCTS else []
    head = f"  - {verb}: "
    for product, cause, code, amount, charges in rows[: len(rows) - len(cut)]:
        times = f" ({figures.count(len(charges))} charges)" if len(charges) > 1 else charges_beside(charges)
        after, right = _cause(spoken(cause), code, currency, page)
        page.row(product, figures.amount(amount, code), right, head=head, after=times + after, style="red")
    rest: dict[tuple[str, str], tuple[Decimal, int]] = {}
    for _, cause, code, amount, charges in cut:
        total, number = rest.get((cause, code), (ZERO, 0))
        rest[cause, code] = (total + amount, number + len(charges))
    for (cause, code), (amount, count) in rest.items():
        after, right = _cause(spoken(cause), code, currency, page)
        more = f"... and {figures.count(count)} more (use --format html)"
        page.row("", figures.amount(amount, code), right, head=head, after=more + after, style="red")


def _cause(words: str, code: str, currency: str, page: Page) -> tuple[str, str]:
    """What stands behind the name and what behind the amount: the cause, and the currency where it is another one."""
    other = "" if code == currency else f" {code}"
    return ("", f"{other or '  '} {words}") if page.wide else (f", {words}", other)


def held_rows(waits: Iterable[Wait], currency: str, page: Page, figures: Figures) -> None:
    """What waits, why, and what to do about it."""
    for wait in waits:
        products = ", ".join(shortened(one_line(name), 80) for name in wait.products[:_MOST_NAMES])
        count = len(wait.charges)
        times = f" ({figures.count(count)} charges)" if count > 1 else charges_beside(wait.charges)
        code = "" if wait.currency == currency else f" {wait.currency}"
        amount = figures.amount(wait.amount, wait.currency)
        page.row(products, amount, code, head="  ! held: ", after=times, style="magenta")
        bill_rows(wait, page, figures)
        why_and_what(wait, page)


def bill_rows(wait: Wait, page: Page, figures: Figures, indent: str = "      ") -> None:
    """What a person would let through: of a bill that a limit holds, a row for each product."""
    if not wait.is_bill:
        return
    cut = wait.by_product[_MOST_PRODUCTS - 1 :] if len(wait.by_product) > _MOST_PRODUCTS else ()
    rows = list(wait.by_product[: len(wait.by_product) - len(cut)])
    if cut:
        number = sum(count for _, count, _ in cut)
        rows.append((f"... and {figures.count(len(cut))} more products", number, sum((one[2] for one in cut), ZERO)))
    for product, count, amount in rows:
        after = f" ({figures.count(count)} charges)" if count > 1 else ""
        page.row(product, figures.amount(amount, wait.currency), "", head=indent, after=after, style="dim")


def why_and_what(wait: Wait, page: Page, indent: str = "      ") -> None:
    """Why something waits, and what to do about it."""
    detail = f": {shortened(one_line(wait.detail), 400)}" if wait.detail else ""
    page.prose(f"{spoken(wait.reason)}{detail}", indent=indent)
    step = shortened(one_line(wait.next_step), 400)
    if step.startswith("billingsync "):  # a command stays on one line, so that it can be copied
        page.say(f"{indent}do: {step}")
    elif step:
        page.prose(step, first=f"{indent}do: ", indent=f"{indent}    ")
