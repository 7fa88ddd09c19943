"""A reconciliation as plain tables, which CSV, XLSX, Markdown and HTML have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billingsync.core.money import plain
from billingsync.core.reconcile.billing import BillingRow
from billingsync.core.reconcile.classify import Classified
from billingsync.core.reconcile.findings import Finding
from billingsync.core.reconcile.licences import SeatRow
from billingsync.core.reconcile.lines import Scope, SeatLine
from billingsync.report.comparison import words
from billingsync.report.comparison.document import money_values
from billingsync.report.comparison.view import ProductRow, View, by_product


@dataclass(frozen=True, slots=True)
class Amount:
    """Money in one currency: written with its digits, and right-aligned."""

    number: Decimal
    currency: str

    @property
    def plain(self) -> str:
        return plain(self.number, self.currency)


Cell = str | int | Decimal | Amount | date | None  # a Decimal is a number of seats or a percentage


@dataclass(frozen=True, slots=True)
class Column:
    """`key` is its name in CSV; `wide` columns hold names, which may be cut where there is no room."""

    key: str
    heading: str
    number: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]

    def without(self, *keys: str) -> Table:
        """The same without these columns."""
        kept = [place for place, column in enumerate(self.columns) if column.key not in keys]
        rows = [[row[place] for place in kept] for row in self.rows]
        return Table(name=self.name, columns=[self.columns[place] for place in kept], rows=rows)


_MONEY = ("month", "year", "once", "currency", "side", "cost_month", "price")


def licence_tables(view: View) -> list[Table]:
    """Rows (by company or by product), then what is wrong with them, then every subscription and class."""
    first = product_table(by_product(view.rows)) if view.by == "product" else seat_table(view)
    tables = [first, finding_table(view.findings)]
    tables += [subscription_table(view.whole.subscriptions), class_table(view)]
    if view.all:
        tables.append(line_table(view.whole.lines))
    return tables if view.money else [table.without(*_MONEY) for table in tables]


def seat_table(view: View) -> Table:
    columns = (
        Column("client", "Client", wide=True), Column("client_id", "Client id", number=True),
        Column("product", "Product", wide=True), Column("skus", "SKU"), Column("vendor", "Vendor"),
        Column("pax8", "Pax8", number=True), Column("invoiced", "Invoiced", number=True),
        Column("halopsa", "HaloPSA", number=True), Column("difference", "Difference", number=True),
        Column("pending", "Pending", number=True), Column("trial", "Trial", number=True), Column("since", "Since"),
        Column("kept_by", "Billed by", wide=True), Column("finding", "What is wrong", wide=True),
        Column("month", "A month", number=True), Column("once", "Once", number=True),
        Column("side", "Which is"), Column("currency", "Currency"), Column("confidence", "Confidence"),
    )  # fmt: skip
    findings = view.seat_findings
    ordered = sorted(view.rows, key=lambda row: not row.difference)  # what differs comes first
    rows = [_seat_cells(row, findings.get((row.client_id, row.group, row.key))) for row in ordered]
    return Table(name="Licences", columns=columns, rows=rows)


def _seat_cells(row: SeatRow, finding: Finding | None) -> Sequence[Cell]:
    return (
        row.client_name,
        row.client_id,
        row.product,
        " ".join(row.skus),
        row.vendor,
        row.count,
        row.invoiced,
        row.psa_quantity,
        row.difference,
        row.pending or None,
        row.trial or None,
        row.since,
        words.where_billed((row,)),
        words.title(finding) if finding else "",
        _amount(finding.month, finding.currency) if finding else None,
        _amount(finding.once, finding.currency) if finding else None,
        words.SIDES[finding.side] if finding else "",
        finding.currency if finding else "",
        finding.confidence.value if finding else "",
    )


def product_table(rows: Iterable[ProductRow]) -> Table:
    columns = (
        Column("product", "Product", wide=True), Column("skus", "SKU"), Column("vendor", "Vendor"),
        Column("clients", "Clients", number=True), Column("pax8", "Pax8", number=True),
        Column("halopsa", "HaloPSA", number=True), Column("difference", "Difference", number=True),
        Column("pending", "Pending", number=True), Column("trial", "Trial", number=True),
    )  # fmt: skip
    cells = [
        (
            row.product,
            " ".join(row.skus),
            row.vendor,
            row.clients,
            row.count,
            row.psa_quantity,
            row.difference,
            row.pending or None,
            row.trial or None,
        )
        for row in rows
    ]
    return Table(name="Licences by product", columns=columns, rows=cells)


def finding_table(findings: Iterable[Finding]) -> Table:
    columns = (
        Column("finding", "What is wrong", wide=True), Column("client", "Client", wide=True),
        Column("product", "Product", wide=True), Column("seats", "Seats", number=True),
        Column("month", "A month", number=True), Column("year", "A year", number=True),
        Column("once", "Once", number=True), Column("currency", "Currency"), Column("side", "Which is"),
        Column("confidence", "Confidence"), Column("since", "Since"), Column("note", "Note", wide=True),
        Column("next_step", "Next", wide=True), Column("kind", "Kind"), Column("id", "Id"),
    )  # fmt: skip
    rows = [
        (
            words.title(one),
            one.client_name or one.company_name,
            one.product,
            one.seats,
            _amount(one.month, one.currency),
            _amount(one.year, one.currency),
            _amount(one.once, one.currency),
            one.currency,
            "explained" if one.explained else words.SIDES[one.side],
            one.confidence.value,
            one.since,
            one.note,
            words.next_step(one),
            one.kind.value,
            one.id,
        )
        for one in findings
    ]
    return Table(name="Findings", columns=columns, rows=rows)


def subscription_table(ones: Iterable[Classified]) -> Table:
    columns = (
        Column("company", "Company", wide=True), Column("client", "Client", wide=True),
        Column("product", "Product", wide=True), Column("sku", "SKU"), Column("seats", "Seats", number=True),
        Column("status", "Status"), Column("term", "Term"), Column("class", "Class"),
        Column("price", "Price", number=True), Column("currency", "Currency"), Column("start", "Start"),
        Column("end", "End"), Column("subscription_id", "Subscription"), Column("parent", "Add-on of"),
    )  # fmt: skip
    rows = [
        (
            one.company.name,
            one.client.name if one.client else "",
            one.ref.name,
            one.ref.sku,
            one.subscription.quantity,
            one.subscription.status,
            one.subscription.billing_term,
            words.CLASSES[one.kind],
            _amount(one.subscription.price, one.subscription.currency),
            one.subscription.currency,
            one.subscription.start,
            (one.subscription.commitment.end if one.subscription.commitment else None) or one.subscription.end,
            one.subscription.id,
            one.subscription.parent_id,
        )
        for one in sorted(ones, key=lambda one: (one.company.name.casefold(), one.ref.name.casefold()))
    ]
    return Table(name="Subscriptions", columns=columns, rows=rows)


def class_table(view: View) -> Table:
    columns = (
        Column("class", "Class"), Column("subscriptions", "Subscriptions", number=True),
        Column("seats", "Seats", number=True), Column("cost_month", "Cost a month", number=True),
        Column("currency", "Currency"),
    )  # fmt: skip
    rows: list[Sequence[Cell]] = []
    for kind, found in view.whole.classes.items():
        costs: list[tuple[str, Decimal | None]] = [*found.cost_month.items()] or [("", None)]
        for nth, (currency, cost) in enumerate(costs):
            first = nth == 0
            rows.append(
                (
                    words.CLASSES[kind],
                    found.subscriptions if first else None,
                    found.seats if first else None,
                    _amount(cost, currency),
                    currency,
                )
            )
    return Table(name="Classes", columns=columns, rows=rows)


def line_table(lines: Iterable[SeatLine]) -> Table:
    """HaloPSA's recurring lines, in scope or not, each with its reason."""
    columns = (
        Column("invoice", "Recurring invoice", number=True), Column("line", "Line", number=True),
        Column("text", "Text", wide=True), Column("quantity", "Quantity", number=True),
        Column("waiting", "Waiting pro rata", number=True), Column("scope", "Compared"), Column("kept_by", "Kept by"),
        Column("month", "A month", number=True), Column("currency", "Currency"),
    )  # fmt: skip
    rows = [
        (
            None if line.invoice_id is None else abs(line.invoice_id),
            line.line_id,
            line.line.text if line.line else "",
            line.quantity,
            line.waiting or None,
            words.SCOPES[line.scope],
            words.KEEPERS[line.keeper],
            _amount(line.money, line.currency),
            line.currency,
        )
        for line in sorted(lines, key=lambda line: (line.scope is not Scope.IN_SCOPE, line.scope.value))
    ]
    return Table(name="Recurring lines", columns=columns, rows=rows)


def billing_table(rows: Iterable[BillingRow]) -> Table:
    names = (
        ("pax8_cost", "Pax8 cost"), ("pax8_price", "Pax8 price"), ("psa_cost", "HaloPSA cost"),
        ("psa_price", "HaloPSA price"), ("price_difference", "Price difference"),
        ("cost_difference", "Cost difference"), ("margin", "Margin"), ("margin_percent", "Margin %"),
        ("mspbots_product_margin", "Product margin (MSPbots)"),
    )  # fmt: skip
    parts = ("seats", "rate", "prorate", "usage", "waiting", "other")
    columns = [
        Column("client", "Client", wide=True), Column("product", "Product", wide=True), Column("skus", "SKU"),
        Column("currency", "Currency"), *(Column(key, heading, number=True) for key, heading in names),
        *(Column(f"spread_{key}", f"{heading}, spread", number=True) for key, heading in names[:5]),
        *(Column(f"part_{name}", f"of it {name}", number=True) for name in parts), Column("note", "Note", wide=True),
    ]  # fmt: skip
    cells = [
        (
            row.client_name,
            row.product,
            " ".join(row.skus),
            row.currency,
            *_billing_cells(row),
            *(_amount(getattr(row.parts, name), row.currency) if row.parts else None for name in parts),
            note_of(row),
        )
        for row in rows
    ]
    return Table(name="Billing", columns=columns, rows=cells)


def _billing_cells(row: BillingRow) -> list[Cell]:
    in_month, spread = money_values(row.in_month), money_values(row.spread)
    cells: list[Cell] = [
        value if name == "margin_percent" else _amount(value, row.currency) for name, value in in_month.items()
    ]
    return [*cells, *(_amount(value, row.currency) for value in list(spread.values())[:5])]


def note_of(row: BillingRow) -> str:
    notes = [
        ("two currencies: not compared", row.mismatch),
        ("estimated", row.estimated),
        ("months of the recurring invoice not known", row.in_month.psa_price is None),
    ]
    return "; ".join(text for text, holds in notes if holds)


def _amount(number: Decimal | None, currency: str) -> Amount | None:
    return None if number is None else Amount(number, currency)
