"""One partner's two sides, indexed once: whose each company is, which rules hold for it, what each thing is called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from billingsync.core.bill.clients import Match, match_companies
from billingsync.core.bill.products import Catalogue
from billingsync.core.charge import Charge
from billingsync.core.inputs import Client, Company
from billingsync.core.money import ZERO
from billingsync.core.period import Period
from billingsync.core.reconcile.matches import Matcher, Ref, matcher
from billingsync.core.reconcile.snapshot import (
    Month,
    PostedLine,
    Product,
    ReconcileInputs,
    SeatChange,
    Subscription,
    Unposted,
    VendorCount,
)
from billingsync.core.reconcile.terms import is_seats, standing
from billingsync.core.remembered import RememberedMatch
from billingsync.core.rules import ClientFile, Rulebook, Rules


@dataclass(slots=True)
class Tenant:
    """The indexes that the comparison needs. Nothing that it says changes once `tenant_of` has made it."""

    inputs: ReconcileInputs
    companies: dict[str, Company]
    clients: dict[int, Client]
    matched: dict[str, Match]
    rules_of: Files
    catalogue: Catalogue
    products: dict[str, Product]
    subscriptions: dict[str, Subscription]
    month: Month | None  # the one that is compared with
    period: Period | None
    standing: dict[str, tuple[tuple[Period, Charge], ...]]  # what stands for that month, by subscription [LC9]
    newest: dict[str, tuple[Charge, ...]]  # each subscription's charges on its newest invoice
    evidence: dict[str, Decimal]  # by subscription: the seats that the compared month's own invoice bills [LC3]
    costs_before: dict[tuple[str, str], Decimal]  # (subscription, term) -> unit cost on the invoice before
    changes: dict[str, tuple[SeatChange, ...]]
    posted_recurring: dict[tuple[int, int], PostedLine]  # the newest of each template's line
    unposted: dict[str, Unposted]  # by charge
    posted_clients: frozenset[int]  # the ledger posted for them in the compared period
    billed_clients: frozenset[int]  # the ledger posted for them in this or the last period
    refs: dict[str, Ref] = field(default_factory=dict)  # by subscription
    every_ref: frozenset[Ref] = frozenset()
    prices: dict[tuple[int, str], object] = field(default_factory=dict)  # by client and row; `billing` fills it
    _matchers: dict[object, Matcher] = field(default_factory=dict)

    def client_of(self, company_id: str) -> Client | None:
        """The client that a company counts under: also where its bill waits, as long as it is known who it is."""
        match = self.matched.get(company_id)
        if match is None:
            return None
        if match.client is not None:
            return match.client
        memory = self.inputs.snapshot.remembered.get(company_id)
        if match.reason == "client_renamed" and memory is not None and memory.client_id is not None:
            return self.clients.get(memory.client_id)
        return None

    def matcher_for(self, rules: Rules) -> Matcher:
        """Clients with the same blocks share one."""
        key = (rules.matches, rules.bundles, rules.product_blocks)
        if key not in self._matchers:
            by_person = self.inputs.snapshot.items_by_sku
            self._matchers[key] = matcher(rules, self.every_ref, self.catalogue, by_person)
        return self._matchers[key]

    def company(self, company_id: str, name: str = "") -> Company:
        """The company, or one with nothing but its id where Pax8's list does not have it."""
        return self.companies.get(company_id) or Company(id=company_id, name=name or company_id)

    def ref_of_charge(self, charge: Charge) -> Ref:
        """What a charge is of: its subscription says it, else its own SKU and name."""
        ref = self.refs.get(charge.subscription_id) if charge.subscription_id else None
        return ref or _ref(charge.sku, charge.product_name, charge.product_id, self.products)

    @property
    def first_kept(self) -> Period | None:
        """The earliest period whose charges we have."""
        return min((month.period for month in self.inputs.months if month.released), default=None)


@dataclass(slots=True)
class Files:
    """The effective rules of companies and clients, as `Rulebook.file_for` finds them, for very many of them."""

    book: Rulebook
    by_company: dict[str, ClientFile] = field(default_factory=dict)
    by_name: dict[str, ClientFile] = field(default_factory=dict)
    by_client: dict[int, ClientFile] = field(default_factory=dict)
    of_client: dict[int, Rules] = field(default_factory=dict)

    @classmethod
    def of(cls, book: Rulebook) -> Files:
        files = cls(book=book)
        for file in book.clients:
            if file.pax8_company:
                files.by_company.setdefault(file.pax8_company, file)
            elif file.name:
                files.by_name.setdefault(file.name, file)
            if file.halo_client is not None:
                files.by_client.setdefault(file.halo_client, file)
        return files

    def company(self, company: Company, client: Client | None) -> Rules:
        file = self.by_company.get(company.id) or self.by_name.get(company.name)
        if file is None and client is not None:
            file = self.by_client.get(client.id)
        return file.rules if file else self.book.base

    def client(self, client_id: int) -> Rules:
        """A client's own file, else that of its first company that has one."""
        if client_id not in self.of_client:
            file = self.by_client.get(client_id)
            return file.rules if file else self.book.base
        return self.of_client[client_id]


def tenant_of(inputs: ReconcileInputs) -> Tenant:
    """Indexes the inputs. Order in lists and pages makes no difference to anything made from it."""
    snapshot = inputs.snapshot
    companies = {company.id: company for company in snapshot.companies}
    period = inputs.compared_with
    month = _month(inputs.months, period)
    products = {product.id: product for product in snapshot.products}
    newest = _newest(inputs.months if period is None else [one for one in inputs.months if one.period <= period])
    tenant = Tenant(
        inputs=inputs,
        companies=companies,
        clients={client.id: client for client in snapshot.clients},
        matched=_matched(inputs, companies.values()),
        rules_of=Files.of(inputs.rulebook),
        catalogue=Catalogue.of(snapshot.items),
        products=products,
        subscriptions={subscription.id: subscription for subscription in snapshot.subscriptions},
        month=month,
        period=period,
        standing=standing(inputs.months, period) if period is not None else {},
        newest=newest,
        evidence=_evidence(month),
        costs_before=_unit_costs(_month(inputs.months, period.previous) if period is not None else None),
        changes=_changes(inputs.changes),
        posted_recurring=_posted_recurring(inputs.posted),
        unposted={one.charge_id: one for one in inputs.unposted},
        posted_clients=frozenset(line.client_id for line in inputs.posted if line.period == period),
        billed_clients=_billed(inputs, period),
    )
    for subscription in snapshot.subscriptions:
        tenant.refs[subscription.id] = _ref_of_subscription(subscription, tenant)
    tenant.every_ref = frozenset(_every_ref(tenant))
    _rules_of_clients(tenant)
    return tenant


def _matched(inputs: ReconcileInputs, companies: Iterable[Company]) -> dict[str, Match]:
    """[C1]. That a person never wants a company billed from here says nothing about who it is: it is looked for."""
    snapshot = inputs.snapshot
    remembered: dict[str, RememberedMatch] = {
        company_id: match
        for company_id, match in snapshot.remembered.items()
        if not (match.how == "person" and match.client_id is None)
    }
    ordered = sorted(companies, key=lambda company: company.id)
    clients = sorted(snapshot.clients, key=lambda client: client.id)
    return match_companies(ordered, clients, inputs.rulebook, remembered, snapshot.similar)


def _month(months: Iterable[Month], period: Period | None) -> Month | None:
    charges = [month for month in months if month.period == period and month.released]
    if not charges or period is None:
        return None
    return Month(period=period, charges=tuple(charge for month in charges for charge in month.charges))


def _evidence(month: Month | None) -> dict[str, Decimal]:
    seats: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for charge in month.charges if month else ():
        if charge.subscription_id and is_seats(charge):
            seats[charge.subscription_id] += charge.quantity or ZERO
    return dict(seats)


def _unit_costs(month: Month | None) -> dict[tuple[str, str], Decimal]:
    charges = sorted(month.charges if month else (), key=lambda charge: charge.id)
    return {
        (charge.subscription_id, charge.term): charge.unit_cost
        for charge in charges
        if charge.subscription_id and is_seats(charge) and charge.unit_cost is not None
    }


def _newest(months: Iterable[Month]) -> dict[str, tuple[Charge, ...]]:
    newest: dict[str, tuple[Charge, ...]] = {}
    for month in sorted(months, key=lambda month: month.period):
        of_month: dict[str, list[Charge]] = defaultdict(list)
        for charge in month.charges:
            if charge.subscription_id:
                of_month[charge.subscription_id].append(charge)
        newest |= {key: tuple(sorted(charges, key=lambda charge: charge.id)) for key, charges in of_month.items()}
    return newest


def _changes(changes: Iterable[SeatChange]) -> dict[str, tuple[SeatChange, ...]]:
    found: dict[str, list[SeatChange]] = defaultdict(list)
    for change in sorted(changes, key=lambda change: (change.day, change.subscription_id, change.before, change.after)):
        found[change.subscription_id].append(change)
    return {key: tuple(rows) for key, rows in found.items()}


def _posted_recurring(posted: Iterable[PostedLine]) -> dict[tuple[int, int], PostedLine]:
    lines = [line for line in posted if line.recurring and line.invoice_id is not None and line.line_id is not None]
    ordered = sorted(lines, key=lambda line: line.period)
    return {(line.invoice_id or 0, line.line_id or 0): line for line in ordered}


def _billed(inputs: ReconcileInputs, period: Period | None) -> frozenset[int]:
    if period is None:
        return frozenset(line.client_id for line in inputs.posted)
    return frozenset(line.client_id for line in inputs.posted if line.period in (period, period.previous))


def _ref(sku: str, name: str, product_id: str, products: Mapping[str, Product]) -> Ref:
    product = products.get(product_id)
    if product is None:
        return Ref(sku=sku.strip(), name=name, product_id=product_id)
    return Ref(
        sku=sku.strip() or product.sku.strip(), name=product.name or name, product_id=product_id, vendor=product.vendor
    )


def _ref_of_subscription(subscription: Subscription, tenant: Tenant) -> Ref:
    """Its newest charge knows the SKU that bills and rules use; before there is one, the product does."""
    charges = tenant.newest.get(subscription.id, ())
    sku = min((charge.sku for charge in charges if charge.sku), default="")
    name = subscription.product_name or min((charge.product_name for charge in charges), default="")
    return _ref(sku, name, subscription.product_id, tenant.products)


def ref_of_count(count: VendorCount) -> Ref:
    """A service of a vendor's file: its SKU, else its name, apart from Pax8's products."""
    return Ref(sku=count.sku or f"{count.vendor}: {count.service}", name=count.service, vendor=count.vendor)


def _every_ref(tenant: Tenant) -> Iterable[Ref]:
    for product in tenant.products.values():
        yield Ref(sku=product.sku.strip(), name=product.name, product_id=product.id, vendor=product.vendor)
    yield from tenant.refs.values()
    for month in tenant.inputs.months:
        yield from (tenant.ref_of_charge(charge) for charge in month.charges)
    for line in tenant.inputs.posted:
        yield from (tenant.ref_of_charge(charge) for charge in line.charges)
    yield from (ref_of_count(count) for count in tenant.inputs.counts)


def _rules_of_clients(tenant: Tenant) -> None:
    files = tenant.rules_of
    for company_id in sorted(tenant.companies, reverse=True):  # so that the first one by id has the last word
        client = tenant.client_of(company_id)
        if client is None:
            continue
        own = files.company(tenant.companies[company_id], client)
        if client.id in files.by_client:
            files.of_client[client.id] = files.by_client[client.id].rules
        elif own is not files.book.base:
            files.of_client[client.id] = own
