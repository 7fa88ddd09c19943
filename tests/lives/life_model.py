"""What each client must have been invoiced at the end of a life, and what it was.

Written from the rules of billing alone. Nothing here knows the product: the tables of both sandboxes, and what people
decided, are all it reads.

* Each charge of each Pax8 invoice that counts in the end (neither void nor credited) is paid once, by whoever pays for
  its company in the period of its invoice.
* Types that settle accounts between the partner and Pax8 reach no client.
* An invoice in HaloPSA bills what it says: quantity times price of each line that is neither inactive nor a person's.
  A voided one bills nothing, a template bills nothing: only invoices that HaloPSA made from it do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

NOT_COUNTED = ("Void", "Credited")
SETTLED_WITH_PAX8 = ("rebate", "payment-credit", "invoice-credit", "service-credit", "service-charge")
HAND = "By hand"
Sums = dict[int, tuple[Decimal, Decimal]]  # client id -> price, cost
Payers = Mapping[tuple[str, str], int | None]


def cents(amount: Any) -> Decimal:
    return Decimal(amount).quantize(Decimal("0.01"), ROUND_HALF_UP)


@dataclass(frozen=True)
class Difference:
    client: int
    must: tuple[Decimal, Decimal]
    was: tuple[Decimal, Decimal]

    def __str__(self) -> str:
        price, cost = self.was[0] - self.must[0], self.was[1] - self.must[1]
        return f"client {self.client} was invoiced {self.was[0]} and must be {self.must[0]}: {price:+} (cost {cost:+})"


def must_pay(invoices: Iterable[Mapping[str, Any]], items: Mapping[str, Any], payers: Payers) -> Sums:
    """By client: the charges that count, priced and costed."""
    sums: dict[int, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for invoice in invoices:
        if invoice["status"] in NOT_COUNTED:
            continue
        for row in items[invoice["id"]]:
            client = payers.get((row["companyId"], invoice["invoiceDate"][:7]))
            if client is None or row["type"] in SETTLED_WITH_PAX8 or row.get("billedByPax8"):
                continue
            sums[client][0] += cents(row["total"])
            sums[client][1] += cents(row["costTotal"])
    return {client: (price, cost) for client, (price, cost) in sums.items()}


def was_invoiced(invoices: Iterable[Mapping[str, Any]]) -> Sums:
    """By client: what HaloPSA's invoices say, apart from what people wrote there themselves."""
    sums: dict[int, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for invoice in invoices:
        if invoice["id"] < 0 or invoice["voided"]:
            continue
        for line in invoice["lines"]:
            if line["isinactive"] or line["item_shortdescription"].startswith(HAND):
                continue
            quantity = Decimal(line["qty_order"])
            sums[invoice["client_id"]][0] += cents(quantity * Decimal(line["unit_price"]))
            sums[invoice["client_id"]][1] += cents(quantity * Decimal(line["unit_cost"]))
    return {client: (price, cost) for client, (price, cost) in sums.items()}


def differences(must: Sums, was: Sums, by_hand: Mapping[int, Iterable[Decimal]] | None = None) -> list[Difference]:
    """Clients of whom the two do not agree to the cent. `by_hand`: what people themselves changed on our lines."""
    found = []
    nothing = (Decimal(0), Decimal(0))
    for client in sorted(must.keys() | was.keys()):
        price, cost = must.get(client, nothing)
        more = tuple((by_hand or {}).get(client, nothing))
        wanted = (price + more[0], cost + more[1])
        if wanted != was.get(client, nothing):
            found.append(Difference(client, wanted, was.get(client, nothing)))
    return found


def standing(template: Mapping[str, Any]) -> tuple[Decimal, Decimal]:
    """What the next invoice of a template would bill, apart from people's lines."""
    made = was_invoiced([{**template, "id": 1, "voided": False}])
    return made.get(template["client_id"], (Decimal(0), Decimal(0)))
