"""Random months on recurring invoices [B3] [B4]: after each month our lines come to that month's charges, however they
arrived, and nobody else's line has moved."""

from __future__ import annotations

import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_plan_against_oracle import looks

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from halo_rows import again, rows_of
from test_core_notation import (
    azure,
    carried_out,
    charge,
    invoice_total,
    late,
    month,
    next_month,
    recurring,
    rules,
    split,
)

from billingsync.core.bill.plan_run import plan_run
from billingsync.core.charge import Charge
from billingsync.core.inputs import Company, Item, RunInputs
from billingsync.core.remembered import RememberedMatch
from billingsync.core.rules import ClientFile, Rules

FOREIGN = {"id": 1, "item_shortdescription": "Managed service", "qty_order": 1, "unit_price": Decimal("500.00"), "x": 7}
PARTS = split("BUNDLE", {"halo_item": 11, "share": "33.33"}, {"halo_item": 17, "share": "66.67"})
COMPANIES = (
    Company(id="c-1", name="Contoso Ltd", external_id="1"),
    Company(id="c-2", name="Fabrikam", external_id="2"),
)
# c-2 is billed to client 1 too, on the same recurring invoice
SHARED = ClientFile(path="fabrikam.toml", pax8_company="c-2", halo_client=1)

SOLD: tuple[dict[str, Any], ...] = (
    {"product": "Office", "subscription": "s-1", "sku": "O"},
    {"product": "Office", "subscription": "s-2", "sku": "O"},
    {"product": "Office", "subscription": "s-1", "sku": "O", "type": "prorate"},
    {"product": "Backup", "sku": "B"},
    {"product": "Backup", "sku": "B"},  # likely to come twice: told apart by ordinal only
    {"product": "Set-up", "type": "one-time"},
    {"product": "Bundle", "sku": "BUNDLE"},
    {"product": "Bundle", "sku": "BUNDLE"},
)
PRICES = ("10.00", "20.00", "0.00", "-3.33", "7.77", "100.01")


@st.composite
def one_month(draw: st.DrawFn, number: int) -> list[Charge]:
    made = []
    for n in range(draw(st.sampled_from([3, 1, 2, 4, 5, 6, 0]))):
        sold = draw(st.sampled_from((*SOLD, None)))
        said = {"company": draw(st.sampled_from(["c-1", "c-1", "c-2"])), "quantity": draw(st.sampled_from("1234"))}
        price = draw(st.sampled_from(PRICES))
        name = f"{number}-{n}"
        made.append(azure(name, price, **said) if sold is None else charge(name, price, **said, **sold))
    return [replace(one, company_name="Contoso Ltd" if one.company_id == "c-1" else "Fabrikam") for one in made]


def bases() -> st.SearchStrategy[Rules]:
    invoice = {"behavior": "recurring", "recurring_invoice": -8841}
    return st.sampled_from(["keep", "drop", "collapse"]).map(
        lambda azure_is: rules(PARTS, invoice=invoice, modifiers={"azure": azure_is})
    )


def billed(inputs: RunInputs) -> Decimal:
    """What of the month's charges is to stand on the invoice: all but Azure where the rules drop it."""
    drop = inputs.rulebook.base.modifiers.azure == "drop"
    found = (one for source in inputs.sources for one in source.charges)
    return sum((one.price for one in found if not (drop and one.sku.startswith("MST-AZR"))), Decimal(0))


@looks(60)
@given(bases(), st.tuples(*[one_month(n) for n in range(3)]), st.integers(0, 10**6))
def test_B3_each_month_the_recurring_invoice_comes_to_that_months_charges(
    base: Rules, three: tuple[list[Charge], ...], seed: int
) -> None:
    random = Random(seed)
    files = (replace(SHARED, rules=base),)
    items = (Item(id=11, name="x"), Item(id=17, name="y"))
    inputs = month(base=base, files=files, companies=COMPANIES, items=items, existing=(recurring(1, -8841, FOREIGN),))
    for number, charges in enumerate(three):
        # A month may be released in up to three parts, each planned and posted before the next is there.
        parts: list[list[Charge]] = [[], [], []]
        for one in random.sample(charges, len(charges)):
            parts[random.choice([0, 0, 0, 1, 2])].append(one)
        inputs = next_month(inputs, *parts[0]) if number else late(inputs, *parts[0])
        for more in ([], *parts[1:]):
            inputs = late(inputs, *more)
            plan = plan_run(inputs)
            assert not plan.held
            inputs = carried_out(inputs, plan)
            assert plan_run(inputs).postings == ()
            (invoice,) = inputs.existing
            assert rows_of(invoice)[0] == FOREIGN
        assert invoice_total(inputs) - Decimal("500.00") == billed(inputs)


# --- whatever happens between two months ---------------------------------------------------------------------------

EVENTS = {
    "nothing": lambda i: i,
    "client inactive": lambda i: with_client(i, inactive=True),
    "client renamed": lambda i: with_client(i, name="Adatum"),
    "client merged": lambda i: with_client(i, merged_into=9),
    "another client pays": lambda i: with_client(i, pays_recurring_through=2),
    "client without currency": lambda i: with_client(i, currency=""),
    "client in euros": lambda i: with_client(i, currency="EUR"),
    "billed by HaloPSA's own sync": lambda i: with_client(i, pax8_monthly_invoice=-7),
    "clients gone": lambda i: replace(i, clients=i.clients[1:]),
    "never bill, says a person": lambda i: with_match(i, None),
    "another client, says a person": lambda i: with_match(i, 2),
    "a client that is not there, says a person": lambda i: with_match(i, 99),
    "never bill, says a file": lambda i: with_files(i, ClientFile(path="x", pax8_company="c-1", exclude=True)),
    "never bill, say the rules": lambda i: with_rules(i, exclude={"companies": ["c-1"]}),
    "no product is billed": lambda i: with_rules(i, exclude={"products": ["Office", "Backup", "Set-up", "Bundle"]}),
    "another recurring invoice": lambda i: with_rules(i, invoice=INVOICE | {"recurring_invoice": -2}),
    "no recurring invoice": lambda i: with_rules(i, invoice={"behavior": "recurring"}),
    "new invoices": lambda i: with_rules(i, invoice={"behavior": "new"}),
    "latest invoices": lambda i: with_rules(i, invoice={"behavior": "latest"}),
    "an item for each product": lambda i: with_rules(i, products={"lifecycle": "manual"}),
    "the default limits": lambda i: with_rules(i, limits={}),
    "strict limits": lambda i: with_rules(i, limits={"client_amount_max": 1, "margin_percent_min": 50}),
    "companies not listed": lambda i: replace(i, companies=()),
    "recurring invoice disabled": lambda i: with_raw(i, disabled=True),
    "recurring invoice gone": lambda i: replace(i, existing=()),
    "recurring invoice of another client": lambda i: replace(
        i, existing=(replace(i.existing[0], client_id=2), *i.existing[1:])
    ),
    "lines edited": lambda i: with_raw(i, lines=[{**row, "qty_order": Decimal(99)} for row in raw_lines(i)]),
    "lines deleted": lambda i: with_raw(i, lines=[]),
}
INVOICE = {"behavior": "recurring", "recurring_invoice": -8841}


def raw_lines(inputs: RunInputs) -> list[dict[str, Any]]:
    return list(rows_of(inputs.existing[0])) if inputs.existing else []


def with_raw(inputs: RunInputs, **raw: Any) -> RunInputs:
    changed = tuple(again(one, **raw) for one in inputs.existing[:1])
    return replace(inputs, existing=changed + inputs.existing[1:])


def with_client(inputs: RunInputs, **said: Any) -> RunInputs:
    return replace(inputs, clients=tuple(replace(one, **said) if one.id == 1 else one for one in inputs.clients))


def with_match(inputs: RunInputs, client_id: int | None) -> RunInputs:
    match = RememberedMatch(client_id=client_id, how="person", company_name="Contoso Ltd")
    return replace(inputs, memory=replace(inputs.memory, matches={"c-1": match}))


def with_files(inputs: RunInputs, *files: ClientFile) -> RunInputs:
    return replace(inputs, rulebook=replace(inputs.rulebook, clients=files))


def with_rules(inputs: RunInputs, **said: Any) -> RunInputs:
    base = rules(PARTS, **({"invoice": INVOICE} | said))
    return replace(inputs, rulebook=replace(inputs.rulebook, base=base))


@pytest.mark.parametrize("event", EVENTS)
@looks(8)
@given(one_month(0), one_month(1), st.sampled_from(["nothing", "nothing", *EVENTS]))
def test_B3_no_line_of_ours_bills_on_in_silence(
    event: str, november: list[Charge], december: list[Charge], other: str
) -> None:
    """HaloPSA makes an invoice of every line that stands on a recurring invoice, whatever we plan. So each line of ours
    that is left there is either of this month, or waits with a hold of its company, or is named in a warning."""
    items = (Item(id=11, name="x"), Item(id=17, name="y"))
    existing = (recurring(1, -8841, FOREIGN), recurring(1, -2))
    first = month(base=rules(PARTS, invoice=INVOICE), companies=COMPANIES, items=items, existing=existing)
    second = next_month(carried_out(late(first, *november)), *december)
    second = EVENTS[other](EVENTS[event](second))
    plan = plan_run(second)
    after = carried_out(second, plan)
    standing = {row["id"] for invoice in after.existing for row in rows_of(invoice)}
    waits = {client.company_id for client in plan.clients if client.holds}
    for line in after.memory.written_lines:
        if line.line_id in standing and line.period != plan.period and line.company_id not in waits:
            assert plan.warnings, f"{event}, {other}: nobody is told of {line.title} on {line.invoice_id}"
