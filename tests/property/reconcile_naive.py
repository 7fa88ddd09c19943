"""A second reading of the reconciliation's rules, slow and plain, for comparing. It imports nothing of the product.

A tenant is a dict of lists of dicts with strings and numbers; `reconcile_tenants` makes them and turns them into the
product's own inputs. Items: A is 1, B is 2, C1 and C2 together are 3 and 4, G is 5 in blocks of ten, U (usage) is 6,
the bundle of A and B is 7, E has none.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from math import ceil
from typing import Any

Tenant = dict[str, Any]
ITEMS = {"A": [1], "B": [2], "C1": [3, 4], "C2": [3, 4], "G": [5], "MST-AZR-U": [6], "E": []}
BUNDLE = 7
DIGITS = {"USD": 2, "JPY": 0, "KWD": 3}
MONTHS = {"Monthly": 1, "Annual": 12, "2-Year": 24, "3-Year": 36}


def money(amount: Fraction, currency: str) -> Decimal:
    unit = Decimal(1).scaleb(-DIGITS[currency])
    exact = Decimal(amount.numerator * 10**15 // amount.denominator).scaleb(-15)
    if amount < 0:
        exact = -(Decimal(-amount.numerator * 10**15 // amount.denominator).scaleb(-15))
    return exact.quantize(unit, ROUND_HALF_UP) + 0


def row_of(sku: str) -> str:
    return "C1" if sku in ("C1", "C2") else sku


def billed_now(tenant: Tenant, sub: str) -> list[dict[str, Any]]:
    return [
        charge
        for charge in tenant["charges"]
        if charge["sub"] == sub
        and charge["age"] == 0
        and charge["type"] == "subscription"
        and charge["term"] != "Trial"
    ]


def count_subscription(tenant: Tenant, sub: dict[str, Any]) -> tuple[str, Fraction]:
    """Class and seats that count."""
    company = next(one for one in tenant["companies"] if one["id"] == sub["company"])
    quantity = None if sub["quantity"] is None else Fraction(sub["quantity"])
    charged = billed_now(tenant, sub["id"])
    has_charge = len(charged) > 0
    if company["excluded"] or sub["sku"] in tenant["excluded_skus"]:
        return "excluded", quantity or Fraction(0)
    if sub["status"] == "Cancelled":
        return "ended", quantity or Fraction(0)
    if sub["status"] == "Converted" and not has_charge:
        return "ended", quantity or Fraction(0)
    if sub["status"] == "PendingCancel" and sub["over"]:
        return "ended", quantity or Fraction(0)
    if sub["status"] == "Trial" or sub["term"] == "Trial":
        return "trial", quantity or Fraction(0)
    if sub["sku"] == "MST-AZR-U":
        return "usage", quantity or Fraction(0)
    if sub["status"] in ("PendingManual", "PendingAutomated"):
        if sub["last_active"] is not None:
            quantity = Fraction(sub["last_active"])
        elif has_charge:
            quantity = sum((Fraction(charge["quantity"]) for charge in charged), Fraction(0))
        else:
            return "pending", quantity or Fraction(0)
    elif sub["status"] in ("WaitingForDetails", "PendingActivation") and not has_charge:
        return "pending", quantity or Fraction(0)
    elif sub["status"] == "Weird" and not has_charge:
        return "unknown", quantity or Fraction(0)
    if quantity is None:
        return "unknown", Fraction(0)
    if company["client"] is None:
        return "unmapped_company", quantity
    return ("unmapped_product" if sub["sku"] == "E" else "compared"), quantity


def counted_lines(tenant: Tenant, client: int) -> list[dict[str, Any]]:
    found = []
    for line in tenant["lines"]:
        if line["client"] != client or line["item"] not in (1, 2, 3, 4, 5, 6, BUNDLE):
            continue
        if line["inactive"] or line["one_time"] or line["future"] or line["disabled"]:
            continue
        waits = sum((Fraction(one) for one in line["waiting"]), Fraction(0))
        by_hand = not line["ours"] and not line["counted"]
        found.append({**line, "counts": Fraction(line["quantity"]) + (waits if by_hand else 0)})
    return found


def units(row: str, seats: Fraction) -> Fraction:
    return Fraction(ceil(seats / 10)) if row == "G" else seats


def rows(tenant: Tenant) -> dict[tuple[int, str], dict[str, Any]]:
    """(client, row) -> subscribed, invoiced, PSA quantity and what the lines are; each item its own row for "each"."""
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for client in tenant["clients"]:
        id_, lines = client["id"], counted_lines(tenant, client["id"])
        for sku in ("A", "B", "C1", "G", "MST-AZR-U"):
            skus = ("C1", "C2") if sku == "C1" else (sku,)
            subs = [one for one in tenant["subs"] if one["sku"] in skus and company_client(tenant, one) == id_]
            counted = [count_subscription(tenant, one) for one in subs]
            seats = sum((count for kind, count in counted if kind == "compared"), Fraction(0))
            invoiced = invoiced_seats(tenant, subs)
            each = tenant["each"] and sku == "C1"
            for item in ITEMS[sku] if each else [None]:
                own = [line for line in lines if (line["item"] == item if each else line["item"] in ITEMS[sku])]
                psa = sum((line["counts"] for line in own), Fraction(0))
                bundles = [line for line in lines if line["item"] == BUNDLE and sku in ("A", "B")]
                psa += sum((line["counts"] * (1 if sku == "A" else 2) for line in bundles), Fraction(0))
                is_usage = sku == "MST-AZR-U"
                found[id_, sku if item is None else f"{sku}#{item}"] = {
                    "subscribed": Fraction(0) if is_usage else units(sku, seats),
                    "invoiced": Fraction(0) if is_usage or invoiced is None else units(sku, invoiced),
                    "known": invoiced is not None,
                    "psa": Fraction(0) if is_usage else psa,
                    "own": own,
                    "bundles": bundles,
                    "usage": is_usage,
                }
    return found


def company_client(tenant: Tenant, sub: dict[str, Any]) -> int | None:
    company = next(one for one in tenant["companies"] if one["id"] == sub["company"])
    client: int | None = company["client"]
    return client


def invoiced_seats(tenant: Tenant, subs: list[dict[str, Any]]) -> Fraction | None:
    whole = Fraction(0)
    for sub in subs:
        kind, _ = count_subscription(tenant, sub)
        if kind in ("excluded", "trial", "usage"):
            continue
        stands = [
            charge
            for charge in tenant["charges"]
            if charge["sub"] == sub["id"]
            and charge["type"] == "subscription"
            and charge["age"] < MONTHS.get(charge["term"], 1)
            and charge["term"] != "Trial"
        ]
        newest = min((charge["age"] for charge in stands), default=None)
        whole += sum((Fraction(charge["quantity"]) for charge in stands if charge["age"] == newest), Fraction(0))
        if kind == "compared" and not stands and MONTHS.get(sub["term"], 1) > 1 and not sub["new"]:
            return None
    return whole


def seat_finding(row: dict[str, Any]) -> str | None:
    """The first that fits."""
    S, P, lines = row["subscribed"], row["psa"], row["own"] + row["bundles"]
    I = row["invoiced"] if row["known"] else None  # noqa: E741
    if row["usage"] or S == P:
        return None
    keepers = {"ours" if line["ours"] else "halo" if line["counted"] else "hand" for line in lines}
    alone = any(
        line["counts"] == S and sum(other["item"] == line["item"] for other in row["own"]) > 1 for line in row["own"]
    )
    if P > S > 0 and (("ours" in keepers and len(keepers) > 1) or alone):
        return "duplicate"
    if keepers == {"ours"}:
        return "follows_invoice"
    if S > 0 and not lines:
        return "not_billed"
    if I is not None and I == P:
        return "changed_since_invoice"
    if S == 0:
        return "billed_not_bought"
    if I is not None and I != S:
        return "unclear"
    return "under_billed" if P < S else "over_billed"


def seat_money(row: dict[str, Any], currency: str) -> Decimal | None:
    """Difference x the PSA's unit price by quantity; None where it takes more than the row's own lines to know it."""
    weight = sum((line["counts"] for line in row["own"]), Fraction(0))
    if not row["own"] or not weight or any(line["months"] is None for line in row["own"]):
        return None
    prices = [
        (line["counts"], Fraction(line["price"]) * (100 - line["discount"]) / 100 / line["months"])
        for line in row["own"]
    ]
    mean = sum((count * price for count, price in prices), Fraction(0)) / weight
    return money(abs(row["subscribed"] - row["psa"]) * mean, currency)


def taking_part(tenant: Tenant, client: int) -> list[dict[str, Any]]:
    """The charges of all months that make a client's Pax8 side; credits and what reports leave out stand apart."""
    companies = {one["id"]: one for one in tenant["companies"]}
    return [
        charge
        for charge in tenant["charges"]
        if charge["type"] != "rebate"
        and companies[charge["company"]]["client"] == client
        and not companies[charge["company"]]["excluded"]
        and charge["sku"] not in (*tenant["excluded_skus"], "E")
    ]


def amount(charge: dict[str, Any], what: str, currency: str) -> Decimal:
    return money(Fraction(charge["quantity"]) * Fraction(charge[what]), currency)


def pax8_in_month(tenant: Tenant, client: int, what: str, currency: str) -> Decimal:
    """What the month's invoice says."""
    return sum(
        (amount(one, what, currency) for one in taking_part(tenant, client) if one["age"] == 0), start=Decimal(0)
    )


def pax8_spread(tenant: Tenant, client: int, what: str, currency: str) -> Decimal | None:
    """The same with each longer term divided over its months, the first of which has the remainder. None where a
    subscription was billed before the first invoice that is known."""
    kinds = {sub["id"]: count_subscription(tenant, sub)[0] for sub in tenant["subs"]}
    whole, seats = Decimal(0), []
    for charge in taking_part(tenant, client):
        has_seats = charge["type"] == "subscription" and charge["term"] != "Trial" and charge["sku"] != "MST-AZR-U"
        if has_seats and kinds[charge["sub"]] not in ("trial", "usage", "excluded", "unmapped_product"):
            seats.append(charge)
        elif charge["age"] == 0:
            whole += amount(charge, what, currency)
    for sub in tenant["subs"]:
        mine = [one for one in seats if one["sub"] == sub["id"] and one["age"] < MONTHS.get(one["term"], 1)]
        if not mine:
            mapped = company_client(tenant, sub) == client
            if mapped and kinds[sub["id"]] != "excluded" and MONTHS.get(sub["term"], 1) > 1 and not sub["new"]:
                return None
            continue
        newest = min(one["age"] for one in mine)
        for one in mine:
            if one["age"] == newest:
                months, full = MONTHS.get(one["term"], 1), amount(one, what, currency)
                each = money(Fraction(full) / months, currency)
                whole += full - each * (months - 1) if newest == 0 else each
    return whole


def psa_in_month(tenant: Tenant, client: int, what: str, currency: str) -> Decimal | None:
    """What the lines of others come to in a month; None where it is not known of how many months one is."""
    whole = Decimal(0)
    for line in counted_lines(tenant, client):
        if line["ours"]:
            continue  # known by what was posted, and here nothing was
        if line["months"] is None:
            return None
        share = 100 - line["discount"] if what == "price" else 100
        full = money(Fraction(line["quantity"]) * Fraction(line[what]) * share / 100, currency)
        whole += full if line["months"] == 1 else money(Fraction(full) / line["months"], currency)
    return whole
