"""The seeded month: it repeats itself, and it has every case that the rules mention."""

import re
from collections import Counter
from decimal import Decimal

import pytest

from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.pax8 import Pax8
from billingsync.sandbox.wire import encode
from billingsync.sandbox.world import World


@pytest.fixture(scope="module")
def troubled():
    return World(SandboxOptions())


@pytest.fixture(scope="module")
def calm():
    return World(SandboxOptions(trouble=False, history=3))


def taken(pax8: Pax8, month="2026-11"):
    """The items of the month's invoices that count."""
    return [
        row
        for invoice in pax8.invoices
        if invoice["invoiceDate"].startswith(month) and invoice["status"] not in ("Void", "Credited")
        for row in pax8.items[invoice["id"]]
    ]


def everything(world):
    return encode(
        [world.pax8.invoices, world.pax8.items, world.pax8.companies, world.pax8.subscriptions, world.state()]
    )


def test_same_seed_same_month_to_the_byte_and_another_seed_another_one(troubled):
    assert everything(troubled) == everything(World(SandboxOptions()))
    assert everything(troubled) != everything(World(SandboxOptions(seed=2)))


def test_default_size(troubled):
    assert 150 <= len(taken(troubled.pax8)) <= 250
    assert len(troubled.halo.tables.clients) > 20
    assert len(troubled.halo.tables.items) > 50


def test_no_float_anywhere(troubled):
    def floats(value):
        if isinstance(value, dict):
            return [found for inner in value.values() for found in floats(inner)]
        if isinstance(value, list):
            return [found for inner in value for found in floats(inner)]
        return [value] if isinstance(value, float) else []

    assert floats([troubled.pax8.invoices, troubled.pax8.items, troubled.state()]) == []


CASES = {
    "11 x 2.4999 rounded": lambda row: row["price"] * 11 == Decimal("27.4989") and row.get("total") == Decimal("27.50"),
    "annual term": lambda row: row["term"] == "Annual",
    "prorate": lambda row: row["type"] == "prorate" and row["total"] > 0,
    "minus on the quantity": lambda row: row["type"] == "prorate" and row["quantity"] < 0 < row["price"],
    "minus on the price": lambda row: row["type"] == "prorate" and row["price"] < 0 < row["quantity"],
    "zero line": lambda row: row.get("total") == 0 and row.get("costTotal") == 0,
    "azure by SKU": lambda row: (row["sku"] or "").startswith("MST-AZR") and "Azure" in row["description"],
    "azure reservation": lambda row: (row["sku"] or "").startswith("AZR-ARR-"),
    "azure by description only": lambda row: row["sku"] == "USG-PLAN-0001" and "Azure Plan" in row["description"],
    "arrears of another vendor": lambda row: row["term"] == "Arrears" and row["vendorName"] == "Harborline",
    "more decimals than money": lambda row: row.get("total") == Decimal("103.4412"),
    "tiers": lambda row: row["rateType"] == "tiered" and row["price"] * row["quantity"] != row["total"],
    "rebate": lambda row: row["type"] == "rebate",
    "service credit": lambda row: row["type"] == "service-credit",
    "service charge": lambda row: row["type"] == "service-charge",
    "credit without company": lambda row: row["type"] == "payment-credit" and row["companyId"] is None,
    "billed by Pax8": lambda row: row.get("billedByPax8"),
    "purchase order": lambda row: row["purchaseOrderNumber"].startswith("PO-"),
    "unicode": lambda row: "東京" in (row["description"] or ""),
    "HTML": lambda row: "<script>" in (row["description"] or ""),
    "newlines": lambda row: "\n" in (row["description"] or ""),
    "ten thousand characters": lambda row: len(row["description"] or "") > 9_999,
    "a fraction of a unit": lambda row: isinstance(row["quantity"], Decimal) and row["quantity"] % 1,
    "euro": lambda row: row.get("currencyCode") == "EUR" and row["companyName"] == "Fabrikam GmbH",
}  # fmt: skip
TROUBLE = {
    "unknown type": lambda row: row["type"] == "usage-adjustment",
    "azure of unknown type": lambda row: row["type"] == "usage" and row["sku"].startswith("MST-AZR"),
    "price and cost of opposite sign": lambda row: row["type"] == "prorate" and row["total"] < 0 < row["costTotal"],
    "zero price with cost": lambda row: row.get("total") == 0 and row.get("costTotal", 0) > 0,
    "no id": lambda row: "id" not in row,
    "no total": lambda row: "total" not in row and "subTotal" in row,
    "no amounts": lambda row: "total" not in row and "subTotal" not in row and row["quantity"],
    "nothing to compute with": lambda row: "total" not in row and row["quantity"] is None,
    "no product name": lambda row: "productName" not in row,
    "no currency": lambda row: "currencyCode" not in row,
    "euro for a dollar client": lambda row: row.get("currencyCode") == "EUR" and row["companyName"] == "Contoso Ltd",
    "unknown currency": lambda row: row.get("currencyCode") == "XQX",
    "a string for a number": lambda row: row.get("total") == "36,00",
    "a subscription of nobody": lambda row: row["type"] == "subscription" and row["companyId"] is None,
    "a company that is not listed": lambda row: row["companyName"] == "Never Listed Co",
    "a product with two items": lambda row: row["sku"] == "ORB-RMM-ADV",
    "a product without item": lambda row: row["sku"] == "VRD-SIEM-100",
    "a negative client": lambda row: row["companyName"] == "Southridge Video" and row["total"] < 0,
}


@pytest.mark.parametrize("name", CASES)
def test_every_month_has(name, troubled, calm):
    assert any(CASES[name](row) for row in taken(troubled.pax8))
    assert any(CASES[name](row) for row in taken(calm.pax8))


@pytest.mark.parametrize("name", TROUBLE)
def test_a_troubled_month_has_and_a_calm_one_has_not(name, troubled, calm):
    assert any(TROUBLE[name](row) for row in taken(troubled.pax8))
    assert not any(TROUBLE[name](row) for row in taken(calm.pax8))


def test_missing_ids_are_true_twins(troubled):
    first, second = (row for row in taken(troubled.pax8) if "id" not in row)
    assert first == second


def test_two_subscriptions_of_one_product(calm):
    of_contoso = [
        row for row in taken(calm.pax8) if row["companyName"] == "Contoso Ltd" and row["type"] == "subscription"
    ]
    subscriptions = {(row["sku"], row["subscriptionId"]) for row in of_contoso if row["subscriptionId"]}
    assert max(Counter(sku for sku, _ in subscriptions).values()) >= 2


def test_several_invoices_in_the_month_and_two_that_do_not_count(calm):
    month = [row for row in calm.pax8.invoices if row["invoiceDate"] == "2026-11-01"]
    assert Counter(row["status"] for row in month) == {"Unpaid": 3, "Credited": 1, "Void": 1}
    assert {row["currencyCode"] for row in month} == {"USD", "EUR"}
    assert any(row["carriedBalance"] for row in month)


def test_subscriptions_change_over_the_months(calm):
    def quantities(subscription):
        return [
            sum(row["quantity"] for row in taken(calm.pax8, month) if row["subscriptionId"] == subscription["id"])
            for month in ("2026-08", "2026-09", "2026-10", "2026-11")
        ]

    changed, new, gone, again, *_ = (quantities(subscription) for subscription in calm.pax8.subscriptions)
    assert changed == [9, 9, 9, 10]
    assert new == [0, 0, 0, 5]
    assert gone == [3, 3, 3, 0]
    assert again == [4, 4, 0, 4]


def test_no_client_of_a_calm_month_is_negative(calm):
    totals: Counter[str] = Counter()
    for row in taken(calm.pax8):
        if row["companyName"] and row["type"] in ("subscription", "prorate", "one-time"):
            totals[row["companyName"]] += row["total"]
    assert len(totals) == 12 and min(totals.values()) > 0


def test_companies_and_clients_match_in_every_way(troubled):
    companies = {row["name"]: row for row in troubled.pax8.companies}
    clients = {row["name"]: row for row in troubled.halo.tables.clients.values()}
    assert {"Contoso Ltd", "Contoso Europe"} <= clients.keys() and {
        "Contoso Ltd",
        "Contoso Europe Ltd",
    } <= companies.keys()
    assert companies["Tailspin Toys"]["externalId"] == str(clients["TT Holdings"]["id"])
    assert "Wide World Importers" in companies and "Wide World Importer" in clients
    assert "Fourth Coffee" in companies and not any("Fourth" in name for name in clients)
    assert {"Litware Inc.", "Litware Ltd", "Coho Vineyards", "Coho Vinyard"} <= clients.keys()
    assert clients["Graphic Design Institute"]["inactive"] and clients["Humongous Insurance"]["dontinvoice"]
    assert clients["Trey Research"]["client_to_invoice"] == clients["Contoso Ltd"]["id"]
    assert clients["Relecloud"]["pax8monthlyinvoice"]
    assert clients["FABRIKAM"]["currencyisocode"] == "EUR"
    assert any("'" in name for name in clients)
    assert {row["status"] for row in companies.values()} == {"Active", "Inactive", "Deleted"}


def test_halo_has_invoices_in_every_condition(troubled):
    rows = troubled.halo.tables.invoices.values()
    open_ = [row for row in rows if not (row["posted"] or row["voided"] or row["invoicetype"] or row["emailstatus"])]
    assert open_
    for condition in ("posted", "xeroid", "voided", "amountpaid", "creditlinkedtoinvoiceid"):
        assert any(row[condition] for row in rows), condition
    assert any(row["datesent"] > "2000" for row in rows) and any(row["datesent"] < "1900" for row in rows)
    assert sum(row["client_id"] == 214 for row in rows) > 50
    assert all(line["ihid"] == row["id"] for row in rows for line in row["lines"])


def test_recurring_invoices_have_negative_ids_and_traps(troubled):
    recurring = troubled.halo.tables.recurring
    lines = [line for row in recurring.values() for line in row["lines"]]
    assert all(row_id < 0 for row_id in recurring) and all(line["id"] > 0 for line in lines)
    assert any(line["quantity_licences"] for line in lines)
    assert any(not line["item_shortdescription"] and line["qty_order"] == 1 for line in lines)
    assert max(Counter(row["client_id"] for row in recurring.values()).values()) == 2


def test_catalogue_knows_products_in_every_way(troubled):
    items = list(troubled.halo.tables.items.values())
    assert max(Counter(row["externalreference"] for row in items if row["externalreference"]).values()) == 2
    assert any(row["supplier_part_code"] and not row["externalreference"] for row in items)
    assert any(row["name"] == "Trellis Voice Seat" and not row["externalreference"] for row in items)


@pytest.mark.parametrize(("clients", "charges"), [(1, 1), (1, 5), (3, 40), (40, 1_000)])
def test_sizes(clients, charges):
    world = World(SandboxOptions(clients=clients, charges=charges, trouble=clients > 2, history=1))
    assert len(taken(world.pax8)) == charges
    assert len(world.pax8.companies) >= clients
    names = [row["name"] for row in world.halo.tables.clients.values()]
    assert len(names) == len(set(names))


def test_sixteen_thousand_different_clients():
    from billingsync.sandbox import cast

    members = cast.members(1, 16_000, trouble=True)
    assert len({member.client for member in members if member.client}) == len([one for one in members if one.client])
    assert all(
        re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", one.company_id) for one in members if one.company
    )


def test_unreleased_month():
    world = World(SandboxOptions(released=False))
    assert world.pax8.hidden == {row["id"] for row in world.pax8.invoices if row["invoiceDate"] == "2026-11-01"}


@pytest.mark.parametrize("wrong", [{"month": "2026-13"}, {"month": "11/2026"}, {"clients": 0}, {"charges": 0},
                                   {"lines_semantics": "both"}, {"post_status": 204}])  # fmt: skip
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SandboxOptions(**wrong)
