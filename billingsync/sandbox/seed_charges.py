"""The charges of a month at Pax8, one after the other in Pax8's own notation."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from billingsync.sandbox import products
from billingsync.sandbox.cast import Member, uuid
from billingsync.sandbox.products import Product
from billingsync.sandbox.wire import Row

_CENT = Decimal("0.01")
_TAX = Decimal("0.08")  # Pax8's salesTax is on the partner's cost
_AZURE_SERVICES = ("Virtual Machines", "Storage", "Bandwidth", "Azure DNS", "Backup", "SQL Database", "Key Vault")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """`quantities`: of the month, the month before it, ...; the last holds for all earlier months. 0: not there."""

    id: str
    member: Member
    product: Product
    quantities: tuple[int, ...]
    purchase_order: str = ""

    def quantity(self, months_ago: int) -> int:
        return self.quantities[min(months_ago, len(self.quantities) - 1)]


class Charges:
    """Makes items; `add` keeps them in `rows`."""

    def __init__(self, seed: int, first_day: date) -> None:
        self.dice = random.Random(f"{seed}:charges:{first_day}")  # noqa: S311  # repeatable is the point
        self.first_day = first_day
        self.last_day = (first_day + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        self.start, self.end = first_day.isoformat(), self.last_day.isoformat()
        self.month = first_day.strftime("%b")
        self.rows: list[Row] = []

    def add(
        self, member: Member | None, product: Product, quantity: Any, drop: Sequence[str] = (), **changes: Any
    ) -> Row:
        """One item: `changes` by property; `drop`: properties that it lacks."""
        price, cost = changes.pop("price", product.price), changes.pop("cost", product.cost)
        total = _cents(price * Decimal(quantity)) if quantity is not None else Decimal(0)
        cost_total = _cents(cost * Decimal(quantity)) if quantity is not None else Decimal(0)
        currency = member.currency if member else "USD"
        row: Row = {
            "id": uuid(self.dice),
            "type": "subscription",
            "purchaseOrderNumber": "N/A",
            "companyId": member.company_id if member else None,
            "externalId": member.external_id if member else None,
            "companyName": member.company if member else None,
            "startPeriod": self.start,
            "endPeriod": self.end,
            "quantity": quantity,
            "unitOfMeasure": product.unit,
            "term": "Monthly",
            "sku": product.sku,
            "description": product.name,
            "details": None,
            "rateType": "single",
            "chargeType": "per",
            "price": price,
            "subTotal": total,
            "cost": cost,
            "costTotal": cost_total,
            "offeredBy": "Pax8",
            "billedByPax8": False,
            "total": total,
            "productId": product.id,
            "productName": product.name,
            "billingFee": 0,
            "billingFeeRate": 0,
            "amountDue": cost_total,
            "currencyCode": currency,
            "salesTax": _cents(cost_total * _TAX) if currency == "USD" else 0,
            "subscriptionId": None,
            "vendorName": product.vendor,
        }
        row |= changes
        for name in drop:
            del row[name]
        if member is None or not member.external_id:
            del row["externalId"]
        self.rows.append(row)
        return row

    def subscription(self, subscription: Subscription, months_ago: int) -> None:
        quantity = subscription.quantity(months_ago)
        if quantity:
            self.add(
                subscription.member,
                subscription.product,
                quantity,
                subscriptionId=subscription.id,
                purchaseOrderNumber=subscription.purchase_order or "N/A",
            )

    def prorate(self, member: Member, product: Product, quantity: Any, price: str, cost: str, **changes: Any) -> Row:
        """Days 10 to the end of the month; the sign may sit on the quantity or on the prices."""
        return self.add(
            member,
            product,
            quantity,
            type="prorate",
            price=Decimal(price),
            cost=Decimal(cost),
            startPeriod=self.first_day.replace(day=10).isoformat(),
            **{"description": f"{self.month} Partial: {product.name}", **changes},
        )

    def azure(
        self, member: Member, subscription: str, services: int, *, by_sku: bool, kind: str = "subscription"
    ) -> None:
        """Arrears lines of one Azure subscription, a line per service. Not `by_sku`: only the description says it."""
        azure_id, started = uuid(self.dice), self.first_day - timedelta(days=1)
        for service in _AZURE_SERVICES[:services]:
            price = Decimal(self.dice.randrange(5_000, 2_400_000)).scaleb(-4)
            what = f"Microsoft Azure Plan - Arrears Charge - {subscription} - {azure_id} - {service}"
            self.add(
                member,
                products.AZURE,
                1,
                type=kind,
                term="Arrears",
                price=price,
                cost=(price * Decimal("0.8333")).quantize(Decimal("0.0001"), ROUND_HALF_UP),
                description=what if not by_sku else products.AZURE.name,
                details=what if by_sku else None,
                sku=products.AZURE.sku if by_sku else "USG-PLAN-0001",
                productName=products.AZURE.name if by_sku else "Usage",
                startPeriod=started.replace(day=1).isoformat(),
                endPeriod=started.isoformat(),
            )


def clean_cases(charges: Charges, cast: Sequence[Member]) -> None:
    """Everything that a month normally holds besides plain subscriptions; nothing here needs a person."""
    member = [cast[index % len(cast)] for index in range(12)]
    common, add = products.COMMON, charges.add
    add(member[0], products.COMMON[10], 11)  # 11 x 2.4999 = 27.4989, told as 27.50
    add(member[2], common[3], 4, term="Annual", price=Decimal("388.80"), cost=Decimal("318.82"),
        endPeriod=charges.last_day.replace(year=charges.last_day.year + 1, day=1).isoformat())  # fmt: skip
    add(member[7], common[6], 2, term="2 Year", price=Decimal("324.00"), cost=Decimal("265.68"))
    add(member[9], products.SETUP, 1, type="one-time", term="One-Time", description="Onboarding, once")
    # within its term: a change upwards, and two changes downwards that put the minus in different places
    charges.prorate(member[0], common[0], 1, "15.40", "12.63")
    charges.prorate(member[0], common[3], -1, "4.10", "3.00")
    charges.prorate(member[4], common[1], 3, "-5.83", "-4.78", description=f"{common[1].name} (Canceled) prorated")
    charges.prorate(member[8], common[0], Decimal("1.5"), "14.6667", "12.0267")
    add(member[5], products.FREE, 25)  # a line of 0.00
    add(member[6], products.FREE, 3)
    charges.azure(member[4], "Prod Subscription", 6, by_sku=True)
    charges.azure(member[4], "Dev/Test", 2, by_sku=True)
    charges.azure(member[1], "EU Production", 4, by_sku=False, kind="one-time")
    charges.azure(member[10], "Prod Subscription", 3, by_sku=False)
    add(member[10], products.RESERVED, 2)
    # the total has more decimals than money has
    add(member[10], products.AZURE, 1, term="Arrears", total=Decimal("103.4412"), subTotal=Decimal("103.4412"),
        details="Microsoft Azure Plan - Arrears Charge - Prod Subscription - Log Analytics")  # fmt: skip
    # usage of another vendor, billed afterwards like Azure's, but not Azure
    add(member[2], products.STORAGE, Decimal("1843.275"), term="Arrears", details="measured usage")
    add(member[9], products.STORAGE, Decimal("220.5"), term="Arrears", type="one-time")
    # tiers: unit prices do not multiply to the total
    add(member[11], common[8], 120, rateType="tiered", price=Decimal("5.75"), total=Decimal("642.50"),
        subTotal=Decimal("642.50"), costTotal=Decimal("455.10"))  # fmt: skip
    add(member[6], common[15], 1, rateType="flat", chargeType="flat", price=Decimal("99.00"), cost=Decimal("80.00"))
    # for the partner, not for the customer
    add(member[0], common[0], 1, type="rebate", term="Rebate", price=Decimal("-12.00"), cost=Decimal("-12.00"),
        description="Growth rebate")  # fmt: skip
    add(member[2], common[7], 1, type="service-charge", price=Decimal("25.00"), cost=Decimal("25.00"),
        description="Expedited support")  # fmt: skip
    add(member[3], common[7], 1, type="service-credit", price=Decimal("-40.00"), cost=Decimal("-40.00"),
        description="Outage credit")  # fmt: skip
    add(None, common[0], 1, type="payment-credit", price=Decimal("-150.00"), cost=Decimal("-150.00"), sku=None,
        productId=None, productName=None, description="Early payment")  # fmt: skip
    add(None, common[0], 1, type="invoice-credit", price=Decimal("-35.20"), cost=Decimal("-35.20"),
        description="Correction of an earlier invoice")  # fmt: skip
    add(member[9], common[14], 5, billedByPax8=True, billingFee=Decimal("2.10"), billingFeeRate=Decimal("0.03"))
    # texts as people write them
    add(member[10], common[11], 7, description="Keypost Password Vault – für «Büro» 東京 ☕ 🏔")
    add(member[9], common[12], 6, description='Basin <b>Endpoint</b> & "Detection" <script>alert(1)</script>')
    add(member[7], common[13], 40, description="Flockstone DNS Filter\nsite: headquarters\r\nsite: warehouse")
    add(member[8], common[9], 9, description="[Deprecated] Lantern Mail Shield [options: archive, 10 years]")
    add(member[5], common[4], 12, description="=cmd|' /C calc'!A0")
    add(member[11], common[5], 8, description="Exchange Online " + "very " * 1_998 + "long")


def trouble_cases(charges: Charges, cast: Sequence[Member]) -> None:
    """What must be held, or read with care."""
    member = [cast[index % len(cast)] for index in range(12)]
    odd = {found.company: found for found in cast if found.company}
    common, add = products.COMMON, charges.add
    add(member[0], common[1], 3, type="usage-adjustment")  # a type that nobody documented
    add(member[4], products.AZURE, 1, type="usage", term="Arrears", price=Decimal("18.2201"), cost=Decimal("15.0112"))
    charges.prorate(member[6], common[0], 1, "-6.20", "1.10")  # price and cost disagree about the sign
    add(member[7], common[5], 10, price=Decimal(0))  # for nothing, but not free
    for _ in range(2):  # true twins: nothing tells them apart
        add(member[9], common[4], 5, drop=["id"], subscriptionId="5b0f9d52-7d31-4d15-a5b5-2d4f7f6d3a01")
    add(member[2], common[11], 10, drop=["total"])
    add(member[2], common[12], 4, drop=["total", "subTotal", "costTotal"])
    add(member[5], common[13], 30, drop=["productName"])
    add(member[5], common[14], 2, productName=None, description=None)
    add(member[0], common[15], 2, drop=["currencyCode"])
    add(member[0], common[16], 3, currencyCode="EUR")  # not the client's currency
    add(member[11], common[2], 6, currencyCode="XQX")  # no currency at all
    add(member[8], common[3], 1, total="36,00", subTotal="36,00")  # a string with a comma
    add(member[8], common[8], None, drop=["total", "subTotal", "costTotal"], price=Decimal("5.75"))
    add(member[9], common[7], 2, term="Fortnightly")  # an unknown term changes nothing
    add(member[9], common[10], 11, drop=["subscriptionId", "vendorName", "details", "billedByPax8"])
    add(member[10], common[6], 1, futureField={"nested": [1, 2, {"deep": True}]})
    add(None, common[9], 3)  # a subscription of nobody
    add(member[4], products.TWICE, 20)  # two items carry its SKU
    add(member[9], products.UNKNOWN, 1)  # no item does
    add(member[6], common[0], 2, companyId="00000000-0000-4000-8000-000000000000", companyName="Never Listed Co")
    for name in ("Fourth Coffee", "Litware", "Coho Vineyard", "Graphic Design Institute", "Humongous Insurance",
                 "Trey Research", "City Power & Light", "Relecloud", "Margie's Travel"):  # fmt: skip
        add(odd[name], common[0], 4)
        add(odd[name], common[4], 4)
    charges.prorate(odd["Southridge Video"], common[3], 2, "-18.00", "-14.76")


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT, ROUND_HALF_UP)
