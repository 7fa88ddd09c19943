"""A large month made by hand: every client has a rules file, a recurring invoice and remembered lines. Planning it must
take time that grows with charges + clients + files + lines, never with a product of two of them."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections import defaultdict
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from billingsync.core.bill.plan_run import plan_run
from billingsync.core.charge import Charge, Source
from billingsync.core.inputs import Client, Company, Item, Memory, RunInputs
from billingsync.core.invoice import Invoice, InvoiceLine, Mark
from billingsync.core.period import Period
from billingsync.core.remembered import WrittenLine
from billingsync.core.rules import ClientFile, Rulebook, Rules

BEFORE, MONTH = Period(2026, 10), Period(2026, 11)
_ROUNDS = 3


def large_month(charges: int, clients: int, files: int) -> RunInputs:
    """`files` of the clients are billed on a recurring invoice that carries a line for each of their charges, all of
    which HaloPSA has invoiced since."""
    companies = tuple(Company(id=f"c-{n}", name=f"Company {n}", external_id=str(n + 1)) for n in range(clients))
    known = tuple(Client(id=n + 1, name=f"Company {n}", currency="USD") for n in range(clients))
    rules = Rules()
    rulebook = Rulebook(
        base=rules,
        clients=tuple(
            ClientFile(
                path=f"rules/clients/c{n}.toml",
                pax8_company=f"c-{n}",
                rules=replace(rules, invoice=replace(rules.invoice, behavior="recurring", recurring_invoice=-(n + 1))),
            )
            for n in range(files)
        ),
    )
    month = tuple(
        _charge(n, f"c-{n % clients}", str(n % clients + 1), f"Company {n % clients}") for n in range(charges)
    )
    lines = tuple(
        _written(one, number, int(one.external_id)) for number, one in enumerate(month) if int(one.external_id) <= files
    )
    on_template: dict[int, list[InvoiceLine]] = defaultdict(list)
    for line in lines:
        on_template[line.client_id].append(
            InvoiceLine(
                id=line.line_id,
                title=line.description,
                text=line.description,
                quantity=line.quantity,
                unit_price=line.unit_price,
                unit_cost=line.unit_cost,
                mark=Mark(key=line.key, installation="0" * 8, ordinal=line.ordinal),
            )
        )
    return RunInputs(
        partner="default",
        period=MONTH,
        sources=(
            Source(
                invoice_id="inv",
                invoice_date=date(2026, 11, 3),
                status="Unpaid",
                currency="USD",
                total=None,
                carried_balance=None,
                partner_name="",
                charges=month,
            ),
        ),
        companies=companies,
        clients=known,
        items=tuple(Item(id=n + 1, name=f"Product {n}", external_reference=f"SKU-{n}") for n in range(200)),
        existing=tuple(
            Invoice(id=-(n + 1), client_id=n + 1, template=True, currency="USD", lines=tuple(on_template[n + 1]))
            for n in range(files)
        ),
        rulebook=rulebook,
        memory=Memory(written_lines=lines, last_companies=frozenset(one.id for one in companies)),
    )


def _charge(n: int, company: str, external: str, name: str) -> Charge:
    return Charge(
        id=f"inv:{n:06d}", invoice_id="inv", company_id=company, company_name=name, external_id=external,
        type="subscription", term="Monthly", sku=f"SKU-{n % 200}", product_id=f"p-{n % 200}",
        product_name=f"Product {n % 200}", description=f"Product {n % 200}", details="", subscription_id=f"s-{n}",
        purchase_order="", start="2026-11-01", end="2026-11-30", quantity=Decimal(3), unit_price=Decimal("10.00"),
        unit_cost=Decimal("8.00"), price=Decimal("30.00"), cost=Decimal("24.00"), price_rounding=Decimal(0),
        cost_rounding=Decimal(0), sales_tax=Decimal(0), currency="USD", billed_by_pax8=False, problem=None,
    )  # fmt: skip


def _written(charge: Charge, number: int, client: int) -> WrittenLine:
    return WrittenLine(
        invoice_id=-client, client_id=client, company_id=charge.company_id or "", period=str(BEFORE),
        line_id=number + 1, recurring_key=f"{charge.subscription_id}|subscription|USD|1", title=charge.product_name,
        description=charge.description, quantity=Decimal(3), unit_price=Decimal("10.00"), unit_cost=Decimal("8.00"),
        item_id=1, key=f"{client:020x}", ordinal=number, invoiced=(client,),
    )  # fmt: skip


def planning(charges: int = 20_000, clients: int = 321, files: int = 321) -> dict[str, Any]:
    """Seconds of CPU, the best of some rounds."""
    inputs = large_month(charges, clients, files)
    seconds = []
    for _ in range(_ROUNDS):
        gc.collect()
        began = time.process_time()
        plan_run(inputs)
        seconds.append(time.process_time() - began)
    return {"charges": charges, "clients": clients, "files": files, "plan_s": round(min(seconds), 3)}


if __name__ == "__main__":
    for sizes in ((20_000, 321, 0), (20_000, 321, 321), (10_000, 321, 321), (20_000, 642, 642)):
        print(json.dumps(planning(*sizes)))
        sys.stdout.flush()
