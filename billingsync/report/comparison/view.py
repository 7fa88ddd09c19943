"""What of a reconciliation is shown: a choice of clients, products and kinds, with the sums of just that choice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from billingsync.core.bill.names import normalise
from billingsync.core.money import ZERO
from billingsync.core.reconcile.compare import Reconciliation
from billingsync.core.reconcile.findings import SEATS, Finding, Kind, Side
from billingsync.core.reconcile.licences import SeatRow
from billingsync.errors import UsageError

SIDES = (Side.MISSING, Side.OWED, Side.PAX8)  # the three sums that are never netted


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Each list: one of them must fit; an empty one lets everything through. Texts as people type them."""

    clients: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    invoices: tuple[int, ...] = ()
    kinds: tuple[Kind, ...] = ()

    @property
    def any(self) -> bool:
        return any((self.clients, self.products, self.vendors, self.tags, self.invoices, self.kinds))


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """`rows` and `findings` of the choice; `money` False hides every amount (the role `user`); `variances` keeps only
    rows that differ; `all` lists also what agrees and what is not compared. `by` is company | product."""

    whole: Reconciliation
    rows: tuple[SeatRow, ...]
    findings: tuple[Finding, ...]
    filters: Filters = field(default_factory=Filters)
    by: str = "company"
    variances: bool = False
    all: bool = False
    money: bool = True

    @property
    def seat_findings(self) -> Mapping[tuple[int | None, str, str], Finding]:
        """The one seat finding of each row, by client, group and key."""
        return {(one.client_id, one.group, one.key): one for one in self.findings if one.kind in SEATS}

    def finding_of(self, row: SeatRow) -> Finding | None:
        return self.seat_findings.get((row.client_id, row.group, row.key))


def view(
    whole: Reconciliation,
    filters: Filters,
    *,
    by: str = "company",
    variances: bool = False,
    everything: bool = False,
    money: bool = True,
) -> View:
    """The choice. Kinds choose findings, and rows that have one of them."""
    findings = tuple(one for one in whole.findings if _fits_finding(one, filters, whole))
    rows = tuple(row for row in whole.rows if _fits_row(row, filters))
    shown = View(whole=whole, rows=rows, findings=findings, filters=filters, by=by, all=everything, money=money)
    if filters.kinds:
        groups = {(one.client_id, one.group) for one in findings}
        rows = tuple(row for row in rows if (row.client_id, row.group) in groups)
    if variances:
        rows = tuple(row for row in rows if row.difference)
    return replace(shown, rows=rows, variances=variances)


def _fits_row(row: SeatRow, filters: Filters) -> bool:
    invoices = {abs(line.invoice_id) for line in row.every_line if line.invoice_id is not None}
    names = [one.company_name for one in row.companies]
    return (
        _named(filters.clients, (row.client_name, str(row.client_id), *names))
        and _named(filters.products, (row.product, *row.skus))
        and _named(filters.vendors, (row.vendor,))
        and (not filters.tags or bool(set(filters.tags) & set(row.tags)))
        and (not filters.invoices or bool({abs(one) for one in filters.invoices} & invoices))
    )


def _fits_finding(one: Finding, filters: Filters, whole: Reconciliation) -> bool:
    if filters.kinds and one.kind not in filters.kinds:
        return False
    names = (one.client_name, one.company_name, one.company_id, str(one.client_id))
    if not _named(filters.clients, names) or not _named(filters.products, (one.product, *one.skus)):
        return False
    if not (filters.vendors or filters.tags or filters.invoices):
        return True
    mine = (row for row in whole.rows if (row.client_id, row.group) == (one.client_id, one.group))
    return any(_fits_row(row, replace(filters, kinds=())) for row in mine)


def _named(wanted: Sequence[str], names: Iterable[str]) -> bool:
    """Whether a name is one that was asked for, or holds it."""
    if not wanted:
        return True
    known = [(name, normalise(name)) for name in names if name]
    return any(
        text in (name, plain) or (normalise(text) and normalise(text) in plain)
        for text in wanted
        for name, plain in known
    )


def sums(findings: Iterable[Finding]) -> dict[str, dict[Side, Decimal]]:
    """By currency and side what the findings come to; never netted, never converted."""
    found: dict[str, dict[Side, Decimal]] = defaultdict(lambda: defaultdict(lambda: ZERO))
    for one in findings:
        if one.side is not Side.NONE and one.money is not None:
            found[one.currency][one.side] += one.money
    return {currency: dict(by_side) for currency, by_side in sorted(found.items())}


def by_client(rows: Iterable[SeatRow]) -> dict[tuple[int, str], list[SeatRow]]:
    """Rows by client id and name, in the order of names."""
    found: dict[tuple[int, str], list[SeatRow]] = defaultdict(list)
    for row in rows:
        found[row.client_id, row.client_name].append(row)
    return dict(sorted(found.items(), key=lambda entry: (entry[0][1].casefold(), entry[0][0])))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductRow:
    """All clients' seats of one product."""

    product: str
    skus: tuple[str, ...]
    vendor: str
    clients: int
    count: Decimal
    psa_quantity: Decimal
    pending: Decimal
    trial: Decimal

    @property
    def difference(self) -> Decimal:
        return self.count - self.psa_quantity


def by_product(rows: Iterable[SeatRow]) -> list[ProductRow]:
    """Summed over clients; rows of different products never meet."""
    found: dict[tuple[str, tuple[str, ...]], list[SeatRow]] = defaultdict(list)
    for row in rows:
        found[row.product, row.skus].append(row)
    return [
        ProductRow(
            product=product,
            skus=skus,
            vendor=mine[0].vendor,
            clients=len({row.client_id for row in mine}),
            count=sum((row.count for row in mine), ZERO),
            psa_quantity=sum((row.psa_quantity for row in mine), ZERO),
            pending=sum((row.pending for row in mine), ZERO),
            trial=sum((row.trial for row in mine), ZERO),
        )
        for (product, skus), mine in sorted(found.items(), key=lambda entry: entry[0][0].casefold())
    ]


def unmapped_cost(findings: Iterable[Finding]) -> dict[str, Decimal]:
    """By currency what a month of everything costs that nobody has mapped."""
    found = sums(one for one in findings if one.side is Side.COST)
    return {currency: by_side[Side.COST] for currency, by_side in found.items() if by_side[Side.COST]}


def kinds_of(texts: Iterable[str]) -> tuple[Kind, ...]:
    """Kinds of findings by name. Raises UsageError with the nearest right one for a name that is none."""
    known = [one.value for one in Kind]
    for text in texts:
        if text not in known:
            from rapidfuzz import process

            near = process.extractOne(text, known, score_cutoff=50)
            raise UsageError(f"There is no kind {text!r:.40}." + (f" Did you mean {near[0]}?" if near else ""))
    return tuple(map(Kind, texts))


def require_known(shown: Sequence[View], filters: Filters) -> None:
    """A name that fits nothing gets the nearest right one (UsageError), rather than an empty page."""
    if not (filters.clients or filters.products) or any(one.rows or one.findings for one in shown):
        return
    from rapidfuzz import process

    whole = [one.whole for one in shown]
    clients = {row.client_name for one in whole for row in one.rows}
    clients |= {finding.company_name for one in whole for finding in one.findings}
    products = {row.product for one in whole for row in one.rows}
    for texts, known, noun in ((filters.clients, clients, "client"), (filters.products, products, "product")):
        for text in texts:
            near = process.extract(text, sorted(filter(None, known)), limit=3, score_cutoff=45)
            hint = f" Nearest: {', '.join(name for name, _, _ in near)}." if near else ""
            raise UsageError(f"No {noun} here is called {text!r:.80}, together with the other filters.{hint}")
