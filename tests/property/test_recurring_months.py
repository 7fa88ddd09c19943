"""Random months on recurring invoices [B3] [B4]: after each month our lines come to that month's charges, however they
arrived, and nobody else's line has moved."""

from __future__ import annotations

import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from test_plan_against_oracle import looks

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
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

from billingsync.core.charge import Charge
from billingsync.core.inputs import Company, Item, RunInputs
from billingsync.core.planning import plan_run
from billingsync.core.rules import ClientFile, Rules

FOREIGN = {"id": 1, "item_shortdescription": "Managed service", "qty_order": 1, "unit_price": Decimal("500.00"), "x": 7}
PARTS = split("BUNDLE", {"halo_item": 11, "share": "33.33"}, {"halo_item": 17, "share": "66.67"})
COMPANIES = (Company(id="c-1", name="Contoso Ltd", external_id="1"), Company(id="c-2", name="Fabrikam", external_id="2"))
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
    for n in range(draw(st.integers(0, 6))):
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
            assert invoice.raw["lines"][0] == FOREIGN  # type: ignore[index]
        assert invoice_total(inputs) - Decimal("500.00") == billed(inputs)
