"""What stands on the sheets of a plan's workbook; `xlsx.py` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from billingsync.core.bill.plan import Plan
from billingsync.core.money import ZERO, minor_unit
from billingsync.core.reasons import title_of
from billingsync.report.equation import both, header_difference
from billingsync.report.labels import client_target, likeness, matched, new_invoice_counts
from billingsync.report.numbers import code
from billingsync.report.rows import Row, charge_list
from billingsync.report.waiting import NOBODY, display_name


@dataclass(frozen=True, slots=True)
class Money:
    """An amount, unit price or quantity, and how many decimals of it are shown: all that it has."""

    number: Decimal
    decimals: int

    @property
    def format(self) -> str:
        return f"#,##0.{'0' * self.decimals}" if self.decimals else "#,##0"


Cell = str | int | Money | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    name: str
    columns: Sequence[tuple[str, int]]  # heading and width
    rows: Iterable[Sequence[Cell]]
    bold: frozenset[int] = field(default_factory=frozenset)  # rows, counted from 0


def money(number: Decimal | None, currency: str) -> Money | None:
    """An amount or unit price: its currency's digits, more where it has more."""
    if number is None:
        return None
    digits = minor_unit(currency)
    return Money(number, max(2 if digits is None else digits, _decimals(number)))


def _decimals(number: Decimal) -> int:
    """2 for 1.250: the digits after the point that count."""
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def summary_sheet(plan: Plan, created_at: str) -> Sheet:
    rows: list[Sequence[Cell]] = []
    for account in plan.accounts:
        charged = ("charged by Pax8", account.price.charges, account.cost.charges)
        for label, price, cost in (charged, *((label, price, cost) for _, label, price, cost in both(account))):
            amounts = (money(amount, account.currency) for amount in (price, cost, price - cost))
            rows.append((label, *amounts, code(account.currency)))
    strong = {number for number, row in enumerate(rows) if row[0] == "charged by Pax8"}
    for kept in plan.kept:
        who = kept.company_name or NOBODY
        for label, amount in (
            ("credits withheld", kept.credits_withheld),
            ("net price dropped", kept.price_dropped),
            ("net cost absorbed", kept.cost_absorbed),
        ):
            if amount:
                cells = (
                    (None, money(amount, kept.currency))
                    if label == "net cost absorbed"
                    else (money(amount, kept.currency), None)
                )
                rows.append((f"kept from clients, {label}: {who}", *cells, None, code(kept.currency)))
    for up in plan.true_ups:
        for label, price, cost in (
            ("take back", up.take_back, up.take_back_cost),
            ("add", up.add, up.add_cost),
            ("net", up.net, up.net_cost),
        ):
            name, currency = f"credited by Pax8, {label}: {up.client_name}", up.currency
            rows.append((name, money(price, currency), money(cost, currency), None, code(currency)))
    facts = [("partner", plan.partner), ("period", plan.period), ("plan", plan.digest), ("rules", plan.rules_digest)]
    facts += [("made", created_at), *(("warning", warning) for warning in plan.warnings)]
    rows += [(label, None, None, None, None, value) for label, value in facts]
    columns = (("", 34), ("Price", 16), ("Cost", 16), ("Margin", 16), ("Currency", 10), ("Note", 70))
    return Sheet(name="Summary", columns=columns, rows=rows, bold=frozenset(strong))


def clients_sheet(plan: Plan) -> Sheet:
    counts = new_invoice_counts(plan)
    columns = (
        ("Client", 36), ("Client id", 10), ("Pax8 company", 36), ("Matched", 26), ("Goes to", 22),
        ("Amount", 14), ("Cost", 14), ("Margin", 14), ("Currency", 10), ("Last period", 12), ("Amount then", 14),
        ("Held", 14), ("Held because", 40),
    )  # fmt: skip
    rows = []
    for client in plan.clients:
        held = sum((hold.amount for hold in client.holds if hold.currency == client.currency), ZERO)
        reasons = dict.fromkeys(title_of(hold.reason) for hold in client.holds)
        guessed = f" ({likeness(client.guessed)})" if client.guessed else ""
        amount, cost = (ZERO, ZERO) if client.held else (client.amount, client.cost)
        rows.append(
            (
                client.client_name or display_name(client),
                client.client_id,
                client.company_name,
                matched(client.matched_by) + guessed,
                client_target(client, counts),
                *(money(number, client.currency) for number in (amount, cost, amount - cost)),
                code(client.currency),
                client.last_period,
                money(client.last_amount, client.currency),
                money(held, client.currency) if client.holds else None,
                "; ".join(reasons),
            )
        )
    return Sheet(name="Clients", columns=columns, rows=rows)


def lines_sheet(rows: Sequence[Row]) -> Sheet:
    columns = (
        ("Client", 32), ("Client id", 10), ("Invoice", 12), ("Group", 14), ("Change", 10), ("Product", 36),
        ("Text", 60),
        ("Quantity", 10), ("Unit price", 14), ("Unit cost", 14), ("Amount", 14), ("Cost", 14), ("Margin", 14),
        ("Currency", 10), ("Amount before", 14), ("Charges", 24),
    )  # fmt: skip
    cells = [
        (
            row.client or row.company,
            row.client_id,
            row.invoice,
            row.group,
            row.action or row.state.replace("_", " "),
            row.product,
            row.text,
            None if row.quantity is None else Money(row.quantity, _decimals(row.quantity)),
            money(row.unit_price, row.currency),
            money(row.unit_cost, row.currency),
            *(money(number, row.currency) for number in (row.amount, row.cost, row.amount - row.cost)),
            code(row.currency),
            money(row.before, row.currency),
            charge_list(row.charges),
        )
        for row in rows
        if row.state in ("to_post", "already_posted")
    ]
    return Sheet(name="Lines", columns=columns, rows=cells)


def held_sheet(rows: Sequence[Row]) -> Sheet:
    columns = (
        ("Client", 32), ("Product", 40), ("Amount", 14), ("Cost", 14), ("Currency", 10), ("Why", 40), ("Detail", 60),
        ("What to do", 60), ("Charge", 24), ("Reason", 22),
    )  # fmt: skip
    cells = [
        (
            row.client or row.company or NOBODY,
            row.product,
            money(row.amount, row.currency),
            money(row.cost, row.currency),
            code(row.currency),
            title_of(row.cause) if row.cause else row.text,
            row.detail,
            row.next_step,
            charge_list(row.charges),
            row.cause,
        )
        for row in rows
        if row.state == "held"
    ]
    return Sheet(name="Held", columns=columns, rows=cells)


def not_billed_sheet(rows: Sequence[Row]) -> Sheet:
    columns = (
        ("Client", 32), ("State", 10), ("Product", 40), ("Amount", 14), ("Cost", 14), ("Currency", 10), ("Why", 46),
        ("Modifier or rule", 20), ("Charge", 24),
    )  # fmt: skip
    cells = [
        (
            row.client or row.company or (NOBODY if row.cause else "(all)"),
            row.state,
            row.product,
            money(row.amount, row.currency),
            money(row.cost, row.currency),
            code(row.currency),
            title_of(row.cause) if row.cause else row.text,
            row.cause,
            charge_list(row.charges),
        )
        for row in rows
        if row.state in ("dropped", "excluded")
    ]
    return Sheet(name="Dropped and excluded", columns=columns, rows=cells)


def sources_sheet(plan: Plan) -> Sheet:
    columns = (
        ("Pax8 invoice", 40), ("Status", 12), ("Charges", 10), ("Price", 14), ("Cost", 14), ("Sales tax", 14),
        ("Header total less carried balance", 20), ("Header difference", 14), ("Currency", 10),
        ("Price moved by rounding", 14), ("Cost moved by rounding", 14),
    )  # fmt: skip
    rows = [
        (
            source.invoice_id,
            source.status,
            source.charges,
            money(source.price, source.currency),
            money(source.cost, source.currency),
            money(source.sales_tax, source.currency),
            money(source.header_total, source.currency),
            money(header_difference(source), source.currency),
            code(source.currency),
            money(source.price_rounding, source.currency),
            money(source.cost_rounding, source.currency),
        )
        for source in plan.sources
    ]
    return Sheet(name="Sources", columns=columns, rows=rows)
