"""Sows the emulated Pax8: subscriptions over several months, and the distributor invoices that charge for them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from billingsync.sandbox import products, seed_charges, seed_subscriptions
from billingsync.sandbox.cast import Member, uuid
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.pax8 import Pax8
from billingsync.sandbox.products import Product
from billingsync.sandbox.seed_charges import Charges, Subscription
from billingsync.sandbox.wire import Row, copy_json

_PER_CLIENT = 16  # charges of a usual client
_HISTORY_MOST = 4_000  # subscriptions of earlier months: a large month needs no equally large past
_PARTNER, _CHILD, _EUROPE = "Harbor Street IT", "Harbor Street IT West", "Harbor Street IT Europe"


def sow(pax8: Pax8, options: SandboxOptions, cast: Sequence[Member]) -> None:
    dice = random.Random(f"{options.seed}:pax8")  # noqa: S311  # repeatable is the point
    goods = [replace(product, id=uuid(dice)) for product in products.ALL]
    ids = {product.sku: product.id for product in goods}
    pax8.companies[:] = [_company(member, options.month) for member in cast if member.company]
    pax8.products[:] = [_product(product) for product in goods]
    first_day = date.fromisoformat(f"{options.month}-01")
    clean = cast[: options.clients]
    now = _charges(options, first_day, cast, clean, ids)
    wanted = options.charges if options.charges is not None else len(now.rows) + _missing(len(clean), len(now.rows))
    subscriptions = _subscriptions(options, clean, goods, wanted - len(now.rows))
    seed_subscriptions.sow(pax8, options, cast, goods, subscriptions, now.rows)
    months = [(0, first_day, now)]
    for months_ago in range(1, options.history + 1):
        first_day = (first_day - timedelta(days=1)).replace(day=1)
        months.append((months_ago, first_day, Charges(options.seed, first_day)))
    for months_ago, day, charges in months:
        if months_ago:
            seed_charges.clean_cases(charges, clean)
        for subscription in subscriptions if not months_ago else subscriptions[:_HISTORY_MOST]:
            charges.subscription(subscription, months_ago)
        rows = charges.rows[: options.charges] if months_ago == 0 else charges.rows
        charges.dice.shuffle(rows)
        for row in rows:
            row["productId"] = row["productId"] and ids.get(row["sku"], row["productId"])
        _invoices(pax8, options, day, rows, cast, months_ago)
    if not options.released or options.release_after_list_calls is not None:
        pax8.hidden = {row["id"] for row in pax8.invoices if row["invoiceDate"].startswith(options.month)}


def _missing(clients: int, so_far: int) -> int:
    return max(_PER_CLIENT * clients - so_far, 5 * clients)


def _charges(
    options: SandboxOptions, first_day: date, cast: Sequence[Member], clean: Sequence[Member], ids: dict[str, str]
) -> Charges:
    charges = Charges(options.seed, first_day)
    seed_charges.clean_cases(charges, clean)
    if options.trouble:
        seed_charges.trouble_cases(charges, cast)
    return charges


def _subscriptions(
    options: SandboxOptions, clean: Sequence[Member], goods: Sequence[Product], wanted: int
) -> list[Subscription]:
    """The first client's tell a story; every client has some; the rest fills up to `wanted` of the month."""
    dice = random.Random(f"{options.seed}:subscriptions")  # noqa: S311  # repeatable is the point
    common = goods[: len(products.COMMON)]
    story = (
        (common[0], (10, 9)),  # a seat more
        (common[4], (5, 0)),  # new
        (common[7], (0, 3)),  # cancelled
        (common[9], (4, 0, 4)),  # cancelled, and taken again
        (common[1], (6,)),
        (common[1], (2,)),  # a second subscription of the same product
    )
    first = clean[0]
    found = [Subscription(id=uuid(dice), member=first, product=what, quantities=many) for what, many in story]
    count = sum(one.quantity(0) > 0 for one in found)
    index = 0
    while count < wanted:
        member = clean[index % len(clean)]
        order = f"PO-{member.client_id}-{dice.randrange(1, 4)}" if dice.random() < 0.2 else ""
        found.append(
            Subscription(
                id=uuid(dice),
                member=member,
                product=dice.choice(common),
                quantities=(dice.randrange(1, 41),),
                purchase_order=order,
            )
        )
        index, count = index + 1, count + 1
    return found


def _invoices(
    pax8: Pax8, options: SandboxOptions, day: date, rows: list[Row], cast: Sequence[Member], months_ago: int
) -> None:
    """Several in a month: the partner's own, a child partner's, one in euro; and two that must not be taken."""
    europe = {member.company_id for member in cast if member.currency == "EUR"}
    west = {member.company_id for index, member in enumerate(cast) if index % 6 == 5}
    parts: dict[str, list[Row]] = {_PARTNER: [], _CHILD: [], _EUROPE: []}
    for row in rows:
        company = row["companyId"]
        parts[_EUROPE if company in europe else _CHILD if company in west else _PARTNER].append(row)
    status = ("Unpaid", "Carried", "Paid")[min(months_ago, 2)]
    dice = random.Random(f"{options.seed}:invoices:{day}")  # noqa: S311  # repeatable is the point
    for partner, part in parts.items():
        if part:
            carried = Decimal("1204.55") if partner == _PARTNER else Decimal(0)
            _invoice(pax8, uuid(dice), day, status, partner, part, carried)
    if months_ago:
        return
    # a wrong invoice that was credited in full and issued again, and one that was voided; both stay readable
    for status, wrong in (("Credited", parts[_CHILD] or rows[:3]), ("Void", rows[:2])):
        copies: list[Row] = copy_json(wrong[:40])
        for row in copies:
            row |= {"id": uuid(dice), "quantity": 99}
        _invoice(pax8, uuid(dice), day, status, _CHILD, copies, Decimal(0))


def _invoice(
    pax8: Pax8, invoice_id: str, day: date, status: str, partner: str, rows: list[Row], carried: Decimal
) -> None:
    owed = sum((_amount(row.get("costTotal")) + _amount(row.get("salesTax")) for row in rows), Decimal(0))
    pax8.items[invoice_id] = rows
    pax8.invoices.append(
        {
            "id": invoice_id,
            "total": owed + carried,
            "currencyCode": "EUR" if partner == _EUROPE else "USD",
            "balance": Decimal("0.00") if status in ("Paid", "Void", "Credited") else owed + carried,
            "carriedBalance": carried,
            "status": status,
            "invoiceDate": day.isoformat(),
            "dueDate": day.replace(day=15).isoformat(),
            "partnerName": partner,
        }
    )


def _amount(value: Any) -> Decimal:
    return Decimal(value) if isinstance(value, (int, Decimal)) else Decimal(0)


def _company(member: Member, month: str) -> Row:
    company: Row = {
        "id": member.company_id,
        "name": member.company,
        "address": {
            "street": f"{100 + len(member.company)} Main Street",
            "city": "Springfield",
            "postalCode": "12345",
            "country": "DE" if member.currency == "EUR" else "US",
            "stateOrProvince": "BE" if member.currency == "EUR" else "Oregon",
        },
        "phone": "555-0100",
        "website": "www.example.com",
        "status": member.company_status,
        "selfServiceAllowed": False,
        "billOnBehalfOfEnabled": False,
        "orderApprovalRequired": False,
        "updatedDate": f"{month}-01T11:33:12.314-0600",
    }
    return company | ({"externalId": member.external_id} if member.external_id else {})


def _product(product: Product) -> Row:
    return {
        "id": product.id,
        "name": product.name,
        "vendorName": product.vendor,
        "sku": product.sku,
        "vendorSku": f"V-{product.sku}",
        "shortDescription": product.name,
        "requiresCommitment": product.sku.startswith("MST-NCE"),
    }
