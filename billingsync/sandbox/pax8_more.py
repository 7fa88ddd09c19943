"""What the emulated Pax8 works out of its tables when it is asked: drafts of the next invoice, prices, moving seats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.wire import Row

if TYPE_CHECKING:
    from billingsync.sandbox.pax8 import Pax8

_BILLED = ("Active", "Activated", "PendingCancel", "PendingManual", "PendingAutomated")


def move_seats(options: SandboxOptions, rows: Sequence[Row], query: Mapping[str, str]) -> None:
    """A person changes seats while somebody reads the list."""
    at = options.seats_move_at_page
    if at is not None and rows and query.get("page", "0") == str(at):
        last = rows[-1]
        last["quantity"] = (last["quantity"] or 0) + 1
        last["updatedDate"] = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "+0000"


def pricing(product: Row, subscriptions: Sequence[Row]) -> list[Row]:
    """The list price of one unit, as some company pays it."""
    known = next((row for row in subscriptions if row["productId"] == product["id"]), None)
    if known is None:
        return []
    rate = {
        "partnerBuyRate": known.get("partnerCost", known["price"]),
        "suggestedRetailPrice": known["price"],
        "startQuantityRange": 1,
        "endQuantityRange": None,
        "chargeType": "Per Unit",
    }
    return [
        {
            "productId": product["id"],
            "productName": product["name"],
            "billingTerm": known["billingTerm"],
            "commitmentTerm": None,
            "commitmentTermInMonths": 0,
            "type": "Flat",
            "unitOfMeasurement": "User",
            "rates": [rate],
        }
    ]


def drafts(pax8: Pax8, company: str | None, offset: int) -> list[Row]:
    """The items of this month's or next month's invoice as they would be now; without usage in arrears."""
    first = date.fromisoformat(f"{pax8.options.month}-01")
    if offset:
        first = (first + timedelta(days=31)).replace(day=1)
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    names = {row["id"]: row["name"] for row in pax8.companies}
    goods = {row["id"]: row for row in pax8.products}
    found = []
    for row in pax8.subscriptions:
        product, quantity = goods.get(row["productId"]), row["quantity"]
        counted = row["status"] in _BILLED and row["billingTerm"] == "Monthly" and quantity is not None
        if not counted or product is None or row["id"] in pax8.usage or (company and row["companyId"] != company):
            continue
        cost = row.get("partnerCost", row["price"])
        found.append(
            {
                "type": "subscription", "companyId": row["companyId"], "companyName": names.get(row["companyId"]),
                "startPeriod": first.isoformat(), "endPeriod": last.isoformat(), "quantity": quantity,
                "term": "Monthly", "sku": product["sku"], "description": product["name"], "rateType": "single",
                "chargeType": "per", "price": row["price"], "subTotal": row["price"] * quantity,
                "total": row["price"] * quantity, "cost": cost, "costTotal": cost * quantity,
                "amountDue": cost * quantity, "productId": product["id"], "productName": product["name"],
                "currencyCode": row["currencyCode"], "subscriptionId": row["id"], "offeredBy": "Pax8",
                "billedByPax8": False,
            }
        )  # fmt: skip
    return found
