"""Random tenants for the reconciliation, as plain data, and the same as the product's inputs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from reconcile_naive import BUNDLE, DIGITS, Tenant
from reconcile_size import _NOTHING

from billingsync.core.inputs import Client, Company, Item
from billingsync.core.money import round_money
from billingsync.core.period import Period
from billingsync.core.reconcile.snapshot import (
    Month,
    Product,
    ReconcileInputs,
    RecurringInvoice,
    RecurringLine,
    Snapshot,
    Subscription,
    WaitingProRata,
)
from billingsync.core.reconcile.taken import SnapshotState
from billingsync.core.remembered import RememberedMatch
from billingsync.core.rules import BundleBlock, Covered, MatchBlock, ReconcileRules, Rulebook, Rules

D = Decimal
NOW = Period(2026, 11)
SKUS = ("A", "B", "C1", "C2", "G", "MST-AZR-U", "E")
STATUSES = (
    "Active", "Activated", "Active", "Cancelled", "PendingManual", "PendingAutomated", "PendingCancel",
    "WaitingForDetails", "Trial", "Converted", "PendingActivation", "Weird",
)  # fmt: skip
TERMS = ("Monthly", "Monthly", "Annual", "2-Year", "Trial", "One-Time")

quantities = st.one_of(st.integers(0, 30).map(str), st.sampled_from(["2.5", "-3", "0.25"]))
prices = st.sampled_from(["22.00", "20.00", "18.50", "3.3333", "0"])


@st.composite
def tenants(draw: st.DrawFn) -> Tenant:
    """Two clients, three or four companies, and what they have on both sides."""
    currencies = draw(st.lists(st.sampled_from(sorted(DIGITS)), min_size=2, max_size=2))
    clients = [{"id": 1 + number, "currency": currency} for number, currency in enumerate(currencies)]
    companies = [
        {"id": f"c{number}", "client": client, "excluded": False}
        for number, client in enumerate([1, 1, 2, draw(st.sampled_from([2, None]))])
    ]
    companies[1]["excluded"] = draw(st.booleans())
    tenant: Tenant = {
        "clients": clients,
        "companies": companies,
        "excluded_skus": draw(st.sampled_from([[], ["B"]])),
        "each": draw(st.booleans()),
        "subs": [],
        "charges": [],
        "lines": [],
    }
    for number in range(draw(st.integers(0, 10))):
        tenant["subs"].append(draw(subscriptions(f"s{number}", companies)))
    for sub in tenant["subs"]:
        for charge in draw(st.lists(charges(sub), max_size=3)):
            tenant["charges"].append(charge)
    for number in range(draw(st.integers(0, 9))):
        tenant["lines"].append(draw(lines(9000 + number)))
    return tenant


@st.composite
def subscriptions(draw: st.DrawFn, id_: str, companies: list[dict[str, Any]]) -> dict[str, Any]:
    term = draw(st.sampled_from(TERMS))
    return {
        "id": id_,
        "company": draw(st.sampled_from([company["id"] for company in companies])),
        "sku": draw(st.sampled_from(SKUS)),
        "quantity": draw(st.one_of(st.none(), quantities, quantities, quantities)),
        "status": draw(st.sampled_from(STATUSES)),
        "term": term,
        "price": draw(prices),
        "cost": draw(st.one_of(st.none(), prices)),
        "over": draw(st.booleans()),
        "new": draw(st.booleans()),
        "last_active": draw(st.one_of(st.none(), quantities)),
    }


@st.composite
def charges(draw: st.DrawFn, sub: dict[str, Any]) -> dict[str, Any]:
    return {
        "sub": sub["id"],
        "company": sub["company"],
        "sku": sub["sku"],
        "quantity": draw(quantities),
        "type": draw(st.sampled_from(["subscription", "subscription", "prorate", "one-time", "rebate"])),
        "term": sub["term"],
        "age": draw(st.sampled_from([0, 0, 0, 1, 2])),
        "price": draw(prices),
        "cost": draw(prices),
    }


@st.composite
def lines(draw: st.DrawFn, id_: int) -> dict[str, Any]:
    flags = {name: draw(st.integers(0, 9)) == 0 for name in ("inactive", "one_time", "future", "disabled")}
    keeper = draw(st.sampled_from(["hand", "hand", "hand", "ours", "halo"]))
    return {
        "id": id_,
        "client": draw(st.sampled_from([1, 2])),
        "item": draw(st.sampled_from([1, 2, 3, 4, 5, 6, BUNDLE, 99])),
        "quantity": draw(quantities),
        "price": draw(prices),
        "cost": draw(prices),
        "discount": draw(st.sampled_from([0, 0, 10])),
        "months": draw(st.sampled_from([1, 1, 3, None])),
        "ours": keeper == "ours",
        "counted": keeper == "halo",
        "waiting": draw(st.lists(st.sampled_from(["1", "2"]), max_size=2)),
        **flags,
    }


def inputs_of(tenant: Tenant) -> ReconcileInputs:
    currency = {client["id"]: client["currency"] for client in tenant["clients"]}
    of_company = {one["id"]: currency[one["client"]] if one["client"] else "USD" for one in tenant["companies"]}
    match = MatchBlock(pax8_skus=("C1", "C2"), halo_items=(3, 4), count="each" if tenant["each"] else "sum")
    blocks = MatchBlock(pax8_skus=("G",), halo_items=(5,), per_unit=D(10), round="up")
    covers = (Covered(pax8_sku="A"), Covered(pax8_sku="B", seats=D(2)))
    rules = Rules(
        reconcile=ReconcileRules(
            exclude_companies=tuple(one["id"] for one in tenant["companies"] if one["excluded"]),
            exclude_products=tuple(tenant["excluded_skus"]),
        ),
        matches=(match, blocks),
        bundles=(BundleBlock(halo_item=BUNDLE, covers=covers),),
    )
    snapshot = Snapshot(
        id=7,
        as_at=datetime(2026, 11, 28, 5, 0, tzinfo=UTC),
        state=SnapshotState.WHOLE,
        companies=tuple(Company(id=one["id"], name=f"Company {one['id']}") for one in tenant["companies"]),
        subscriptions=tuple(_subscription(one, of_company[one["company"]]) for one in tenant["subs"]),
        products=tuple(Product(id=f"p-{sku}", sku=sku, name=f"Product {sku}") for sku in SKUS),
        clients=tuple(Client(id=id_, name=f"Client {id_}", currency=code) for id_, code in currency.items()),
        items=tuple(
            Item(id=id_, name=f"Item {id_}", external_reference={1: "A", 2: "B", 6: "MST-AZR-U"}.get(id_, ""))
            for id_ in (1, 2, 3, 4, 5, 6, BUNDLE, 99)
        ),
        remembered={
            one["id"]: RememberedMatch(client_id=one["client"], how="person", company_name="")
            for one in tenant["companies"]
            if one["client"]
        },
        recurring=tuple(_invoice(line, currency[line["client"]]) for line in tenant["lines"]),
    )
    months: dict[Period, list[Any]] = {NOW: [], NOW.previous: [], NOW.months_before(2): []}
    for number, charge in enumerate(tenant["charges"]):
        months[NOW.months_before(charge["age"])].append(_charge(number, charge, of_company[charge["company"]]))
    return ReconcileInputs(
        snapshot=snapshot,
        rulebook=Rulebook(base=rules),
        months=tuple(Month(period=period, charges=tuple(found)) for period, found in months.items()),
        written_lines=frozenset((-line["id"], line["id"]) for line in tenant["lines"] if line["ours"]),
        last_active={one["id"]: D(one["last_active"]) for one in tenant["subs"] if one["last_active"] is not None},
    )


def _subscription(one: dict[str, Any], currency: str) -> Subscription:
    return Subscription(
        id=one["id"],
        company_id=one["company"],
        product_id=f"p-{one['sku']}",
        quantity=None if one["quantity"] is None else D(one["quantity"]),
        status=one["status"],
        billing_term=one["term"],
        start=date(2026, 11, 20) if one["new"] else date(2025, 1, 1),
        end=date(2026, 11, 20) if one["over"] else date(2026, 12, 31),
        price=D(one["price"]),
        cost=None if one["cost"] is None else D(one["cost"]),
        currency=currency,
    )


def _charge(number: int, charge: dict[str, Any], currency: str) -> Any:
    quantity, price, cost = (D(charge[name]) for name in ("quantity", "price", "cost"))
    return replace(
        _NOTHING,
        id=f"i{charge['age']}:{number}",
        invoice_id=f"i{charge['age']}",
        company_id=charge["company"],
        type=charge["type"],
        term=charge["term"],
        sku=charge["sku"],
        product_id=f"p-{charge['sku']}",
        subscription_id=charge["sub"],
        quantity=quantity,
        unit_price=price,
        unit_cost=cost,
        price=round_money(quantity * price, currency),
        cost=round_money(quantity * cost, currency),
        currency=currency,
    )


def _invoice(line: dict[str, Any], currency: str) -> RecurringInvoice:
    """A recurring invoice of its own for each line, as flags of the header are drawn with it."""
    made = RecurringLine(
        id=line["id"],
        item_id=line["item"],
        text="a line",
        quantity=D(line["quantity"]),
        unit_price=D(line["price"]),
        unit_cost=D(line["cost"]),
        discount_percent=D(line["discount"]),
        start=date(2027, 1, 1) if line["future"] else None,
        inactive=line["inactive"],
        one_time=line["one_time"],
        counted=line["counted"],
        waiting=tuple(WaitingProRata(quantity=D(one)) for one in line["waiting"]),
    )
    names = {1: "Monthly", 3: "Quarterly", None: "as needed"}
    return RecurringInvoice(
        id=-line["id"],
        client_id=line["client"],
        currency=currency,
        period_name=names[line["months"]],
        disabled=line["disabled"],
        lines=(made,),
    )
