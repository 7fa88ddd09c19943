"""What every company has at Pax8: subscriptions beside the seeded charges, with their terms, states and past.

Seats agree with the month's charges unless a case wants otherwise; the cases stand in `_CASES` and `_TROUBLE`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from billingsync.sandbox import products
from billingsync.sandbox.cast import Member, uuid
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.pax8 import Pax8
from billingsync.sandbox.products import Product
from billingsync.sandbox.seed_charges import Subscription
from billingsync.sandbox.wire import Row, copy_json

_TERMS = {"2 Year": "2-Year", "3 Year": "3-Year"}  # invoices and subscriptions spell them differently
_AZURE_SKUS = (products.AZURE.sku, "USG-PLAN-0001")

# Subscriptions without a charge: (place of the company, product, seats, changes). "+n" is n days after the month's
# first. Each has a status or a term of its own.
_CASES: tuple[tuple[int, Product, int, Mapping[str, Any]], ...] = (
    (0, products.COMMON[6], 3, {"status": "WaitingForDetails"}),
    (1, products.COMMON[2], 2, {"status": "PendingActivation", "billingTerm": "Activation"}),
    (2, products.COMMON[15], 5, {"status": "Trial", "billingTerm": "Trial", "endDate": "+43"}),
    (3, products.COMMON[9], 4, {"status": "Converted", "endDate": "-12"}),
    (5, products.COMMON[11], 6, {"status": "PendingAutomated"}),
    (6, products.COMMON[12], 8, {"status": "PendingManual"}),
    (8, products.COMMON[14], 2, {"status": "Cancelled", "endDate": "-3"}),
    (7, products.COMMON[10], 0, {"billingTerm": "Annual", "price": Decimal("29.99")}),  # no end at all
)
_TROUBLE: tuple[tuple[int, Product, Any, Mapping[str, Any]], ...] = (
    (0, products.COMMON[13], 7, {"status": "Suspended"}),  # a status that nobody documented
    (4, products.COMMON[14], 4, {"billingTerm": "Fortnightly"}),
    (6, products.COMMON[10], None, {}),
    (9, products.COMMON[5], Decimal("2.5"), {}),
    (10, products.COMMON[13], -3, {}),
    (11, products.COMMON[2], 9, {"commitmentTerm": "1-Year"}),  # a bare text where an object belongs
)


class _Sowing:
    def __init__(self, options: SandboxOptions, first_day: date, goods: Sequence[Product]) -> None:
        self.dice = random.Random(f"{options.seed}:what companies have")  # noqa: S311  # repeatable is the point
        self.first_day = first_day
        self.by_sku = {product.sku: product for product in goods}
        self.by_id = {product.id: product for product in goods}
        self.rows: list[Row] = []
        self.history: dict[str, list[Row]] = {}

    def day(self, text: str) -> str:
        """ "+43" as the date that is 43 days after the month's first; other texts as they are."""
        return (self.first_day + timedelta(days=int(text))).isoformat() if text[:1] in "+-" else text

    def add(self, member: Member, product: Product, quantity: Any, subscription_id: str = "", **changes: Any) -> Row:
        started = date(self.first_day.year - 1, 1, 1) + timedelta(days=self.dice.randrange(0, 300))
        row: Row = {
            "id": subscription_id or uuid(self.dice),
            "companyId": member.company_id,
            "productId": self.by_sku.get(product.sku, product).id,
            "quantity": quantity,
            "startDate": f"{started}T08:30:00Z",
            "createdDate": started.isoformat(),
            "updatedDate": f"{started}T13:20:13.153-0700",  # an offset without a colon, as Pax8 writes it
            "billingStart": started.isoformat(),
            "status": "Active",
            "price": product.price,
            "currencyCode": member.currency,
            "productName": product.name,
            "billingTerm": "Monthly",
            "commitmentTerm": None,
        }
        if self.dice.random() < 0.8:  # documented, but missing from Pax8's own examples
            row["partnerCost"] = product.cost
        if product.sku.startswith("MST-NCE") and product.price and self.dice.random() < 0.7:
            row["commitmentTerm"] = self._commitment()
        row |= {name: self.day(value) if name == "endDate" else value for name, value in changes.items()}
        self.rows.append(row)
        return row

    def _commitment(self) -> Row:
        """A yearly one as a rule, that ends between the month's second week and a year from then."""
        term = self.dice.choice(("1-Year", "1-Year", "1-Year", "3-Year", "Monthly"))
        ends = self.first_day + timedelta(days=self.dice.randrange(8, 365) if term != "Monthly" else 29)
        return {"id": commitment_id(term), "term": term, "endDate": f"{ends}T00:00:00Z"}

    def changed(self, row: Row, quantity: int, day: int, **then: Any) -> None:
        """The seats were others until that day of the month; `then` is what else was."""
        before = copy_json(row) | {"quantity": quantity} | then
        row["updatedDate"] = f"{self.first_day.replace(day=day)}T03:12:14.453-0300"
        self.history[row["id"]] = [row, before]


def commitment_id(term: str) -> str:
    """One record a term, as products share them."""
    return uuid(random.Random(f"commitment:{term}"))  # noqa: S311  # repeatable is the point


def sow(
    pax8: Pax8,
    options: SandboxOptions,
    cast: Sequence[Member],
    goods: Sequence[Product],
    plain: Sequence[Subscription],
    charges: Sequence[Row],
) -> None:
    """`plain`: subscriptions that have charges of their own; `charges`: the month's other charges."""
    first_day = date.fromisoformat(f"{options.month}-01")
    sowing = _Sowing(options, first_day, goods)
    for one in plain:
        ended = {} if one.quantity(0) > 0 else {"status": "Cancelled", "endDate": "-1"}
        sowing.add(one.member, one.product, one.quantity(0) or one.quantity(1), one.id, **ended)
    _story(sowing, len(plain))
    clean = cast[: options.clients]
    _charged(sowing, cast, charges)
    for place, product, quantity, changes in _CASES:
        if place < len(clean):
            sowing.add(clean[place], product, quantity or 11, **changes)
    if options.trouble:
        for place, product, quantity, changes in _TROUBLE:
            sowing.add(clean[place % len(clean)], product, quantity, **changes)
    _add_ons(sowing)
    pax8.subscriptions[:] = sowing.rows
    pax8.history = sowing.history
    pax8.dependencies = {product.id: _dependencies(product) for product in goods}
    _usage(pax8, sowing)


def _story(sowing: _Sowing, count: int) -> None:
    """A few of the plain ones are in motion: seats that were added since the invoice, a change under way, an end."""
    live = [row for row in sowing.rows[6:count] if row["status"] == "Active"]
    for place, row in enumerate(live[:40]):
        seats = row["quantity"]
        if place % 10 == 3:  # the invoice has two less
            row["quantity"] = seats + 2
            sowing.changed(row, seats, 12)
        if place == 5:  # what it shows is what it will have
            row |= {"quantity": seats + 5, "status": "PendingAutomated"}
            sowing.changed(row, seats, 20, status="Active")
        if place == 7:
            row |= {"status": "PendingCancel", "endDate": sowing.day("+45")}
        if place == 9:
            row["status"] = "Activated"


def _charged(sowing: _Sowing, cast: Sequence[Member], charges: Sequence[Row]) -> None:
    """A subscription for each charge that has none: of the odd terms, of Azure, of the companies with a trouble."""
    members = {member.company_id: member for member in cast if member.company_id}
    usage: dict[tuple[str, str], Row] = {}
    for charge in charges:
        member = members.get(charge["companyId"] or "")
        quantity = charge["quantity"]
        if member is None or charge.get("subscriptionId") or charge["type"] not in ("subscription", "one-time"):
            continue
        arrears = charge["term"] == "Arrears"
        product = products.AZURE if charge["sku"] in _AZURE_SKUS else sowing.by_sku.get(charge["sku"])
        if product is None or (charge["type"] == "one-time" and not arrears) or quantity is None:
            continue
        if arrears:
            found = usage.get((member.company_id, product.sku))
            if found is None:
                found = usage[member.company_id, product.sku] = sowing.add(member, product, 1, commitmentTerm=None)
            charge["subscriptionId"] = found["id"]
            continue
        term = _TERMS.get(charge["term"], charge["term"])
        more: dict[str, Any] = {}
        if term in ("Annual", "2-Year", "3-Year"):
            ends = sowing.first_day + timedelta(days=sowing.dice.randrange(10, 100))
            more["commitmentTerm"] = None
            more["endDate"] = ends.isoformat()
        if charge.get("currencyCode") == "EUR":
            more["currencyCode"] = "EUR"
        row = sowing.add(member, product, quantity, billingTerm=term, price=charge["price"], **more)
        if "partnerCost" in row:
            row["partnerCost"] = charge["cost"]


def _add_ons(sowing: _Sowing) -> None:
    """Defender is sold on top of Business Premium where a company has both."""
    parents = {row["companyId"]: row["id"] for row in reversed(sowing.rows) if _is(sowing, row, products.COMMON[0])}
    for row in sowing.rows:
        if _is(sowing, row, products.COMMON[4]) and row["companyId"] in parents:
            row["parentSubscriptionId"] = parents[row["companyId"]]


def _is(sowing: _Sowing, row: Row, product: Product) -> bool:
    found = sowing.by_id.get(row["productId"])
    return found is not None and found.sku == product.sku and row["status"] == "Active"


def _dependencies(product: Product) -> Row:
    """What Pax8 documents of the commitments that a product is sold under."""
    if not product.sku.startswith("MST-NCE"):
        return {"commitmentDependencies": [], "productDependencies": []}
    commitments = [
        {
            "id": commitment_id(term),
            "term": term,
            "autoRenew": term != "3-Year",
            "renewalWindowDaysBeforeTermEnd": 30,
            "renewalWindowDaysAfterTermEnd": 7,
            "allowForQuantityIncrease": True,
            "allowForQuantityDecrease": False,
            "allowForEarlyCancellation": False,
            "cancellationFeeApplied": False,
            "isTransferable": False,
        }
        for term in ("Monthly", "1-Year", "3-Year")
    ]
    return {"commitmentDependencies": commitments, "productDependencies": []}


def _usage(pax8: Pax8, sowing: _Sowing) -> None:
    """What usage-based subscriptions have run up so far, by resource group, with lines of single days."""
    azure = [row for row in sowing.rows if row["productName"] == products.AZURE.name]
    for row in azure:
        summaries = []
        for group in ("rg-production", "rg-backup"):
            cost = Decimal(sowing.dice.randrange(10_000, 400_000)).scaleb(-2)
            summary = {
                "id": uuid(sowing.dice), "companyId": row["companyId"], "productId": row["productId"],
                "subscriptionId": row["id"], "resourceGroup": group, "vendorName": "Microsoft",
                "currentCharges": cost * 12 / 10, "partnerTotal": cost, "currencyCode": row["currencyCode"],
                "isTrial": False,
            }  # fmt: skip
            day = sowing.first_day.isoformat()
            pax8.usage_lines[summary["id"]] = [
                {
                    "usageSummaryId": summary["id"], "usageDate": day, "productName": row["productName"],
                    "productId": row["productId"], "unitOfMeasure": "Each", "quantity": Decimal(1),
                    "currentCharges": summary["currentCharges"], "currentProfit": cost * 2 / 10, "partnerTotal": cost,
                    "unitPrice": summary["currentCharges"], "currencyCode": row["currencyCode"], "isTrial": False,
                }
            ]  # fmt: skip
            summaries.append(summary)
        pax8.usage[row["id"]] = summaries
