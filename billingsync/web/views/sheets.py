"""The lists of the desk as tables to save: the same rows in the same order, amounts as numbers with their currency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from billingsync.report.comparison.tables import Amount, Cell, Column, Table
from billingsync.report.log import Told
from billingsync.store.plan_rows import ClientRow
from billingsync.web.views.money import View


def ready_table(rows: Iterable[ClientRow]) -> Table:
    """Client after client of a plan: what goes out, what waits."""
    columns = (
        Column("client", "Client", wide=True), Column("client_id", "Client id", number=True),
        Column("company", "Pax8 company", wide=True), Column("company_id", "Company id"),
        Column("behavior", "Behaviour"),
        Column("invoice", "Recurring invoice", number=True), Column("added", "Added", number=True),
        Column("updated", "Updated", number=True), Column("removed", "Removed", number=True),
        Column("same", "Unchanged", number=True), Column("last", "Last month", number=True),
        Column("amount", "Amount", number=True), Column("cost", "Cost", number=True), Column("currency", "Currency"),
        Column("held", "Held charges", number=True), Column("reasons", "Why", wide=True),
    )  # fmt: skip
    cells = [
        (
            row.client_name,
            row.client_id,
            row.company_name,
            row.company_id,
            row.behavior,
            None if row.target_invoice_id is None else abs(row.target_invoice_id),
            row.added,
            row.updated,
            row.removed,
            row.same,
            _amount(row.last_amount, row.currency),
            Amount(row.amount, row.currency),
            Amount(row.cost, row.currency),
            row.currency,
            sum(hold.charges for hold in row.holds),
            " ".join(dict.fromkeys(str(hold.reason) for hold in row.holds)),
        )
        for row in rows
    ]
    return Table(name="Ready to invoice", columns=columns, rows=cells)


def holds_table(groups: Iterable[Mapping[str, Any]]) -> Table:
    columns = (
        Column("reason", "Reason"), Column("client", "Client", wide=True), Column("company_id", "Company id"),
        Column("products", "Products", wide=True), Column("charges", "Charges", number=True),
        Column("amount", "Amount", number=True), Column("currency", "Currency"), Column("detail", "Why", wide=True),
    )  # fmt: skip
    cells = [
        (
            group["reason"],
            row["who"],
            row["company"],
            row["products"],
            row["count"],
            Amount(row["amount"], row["currency"]),
            row["currency"],
            row["detail"],
        )
        for group in groups
        for row in group["rows"]
    ]
    return Table(name="Holds", columns=columns, rows=cells)


def clients_table(rows: Iterable[View], *, may: bool) -> Table:
    """Rows as the page makes them; their money only for who may see it."""
    names = (
        ("id", "Company id"), ("company", "Pax8 company"), ("client", "HaloPSA client"), ("state", "State"),
        ("how", "How matched"), ("goes", "Goes to"), ("why", "Why"), ("money", "This month"),
    )  # fmt: skip
    return plain_table("Clients", rows, names if may else names[:-1])


def products_table(rows: Iterable[View], *, may: bool) -> Table:
    """As the page shows them; their money only for who may see it."""
    names = (
        ("sku", "SKU"), ("name", "Product"), ("item", "HaloPSA item"), ("how", "How chosen"), ("why", "Why it waits"),
        ("clients", "Clients"), ("money", "This month"),
    )  # fmt: skip
    return plain_table("Products", rows, names if may else names[:-1])


def exclusions_table(rows: Iterable[View]) -> Table:
    names = (("key", "Rule"), ("value", "Left out"), ("kept_out", "Kept out this month"), ("origin", "Said by"))
    return plain_table("Exclusions", rows, names)


def months_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    columns = (
        Column("period", "Month"), Column("state", "State"), Column("run", "Run"), Column("currency", "Currency"),
        Column("price", "Price", number=True), Column("cost", "Cost", number=True),
    )  # fmt: skip
    cells = [
        (
            row["period"],
            row["state"],
            row["run"],
            row["currency"],
            _amount(row["price"], row["currency"]),
            _amount(row["cost"], row["currency"]),
        )
        for row in rows
    ]
    return Table(name="Months", columns=columns, rows=cells)


def activity_table(found: Iterable[Told]) -> Table:
    columns = (
        Column("entry", "Entry", number=True), Column("at", "When"), Column("who", "Who", wide=True),
        Column("kind", "Kind"), Column("what", "What", wide=True), Column("reason", "Reason", wide=True),
    )  # fmt: skip
    cells = [(one.seq, one.at, one.who, one.kind, one.says, str(one.body.get("reason") or "")) for one in found]
    return Table(name="Activity", columns=columns, rows=cells)


def plain_table(name: str, rows: Iterable[Mapping[str, Any]], names: Sequence[tuple[str, str]]) -> Table:
    """A table of texts, as a page shows them."""
    cells: list[Sequence[Cell]] = [tuple(str(row[key] or "") for key, _ in names) for row in rows]
    return Table(name=name, columns=[Column(key, heading) for key, heading in names], rows=cells)


def _amount(number: Decimal | None, currency: str) -> Amount | None:
    return None if number is None or not currency else Amount(number, currency)
