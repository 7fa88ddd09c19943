"""What the numbers of a Pax8 item come to [S6]; what cannot be read is held, never guessed (faults 19, 20)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from test_core_notation import charge, client_of, fate_of, month

from billingsync.core.bill.plan_run import plan_run
from billingsync.core.charge import Amounts, read_amounts

NOTHING = dict.fromkeys(("quantity", "price", "sub_total", "total", "cost", "cost_total"))


def read(currency: str = "USD", **values: Any) -> Amounts:
    numbers = {k: Decimal(v) if isinstance(v, str) and not v.startswith("!") else v for k, v in values.items()}
    return read_amounts(currency=currency, **(NOTHING | numbers))


@pytest.mark.parametrize(
    ("values", "price", "cost"),
    [
        # total, else subTotal, else price x quantity
        (
            {"total": "5.00", "sub_total": "4.00", "price": "1.00", "quantity": "3", "cost_total": "2.00"},
            "5.00",
            "2.00",
        ),
        ({"sub_total": "4.00", "price": "1.00", "quantity": "3", "cost_total": "2.00"}, "4.00", "2.00"),
        ({"price": "1.00", "quantity": "3", "cost_total": "2.00"}, "3.00", "2.00"),
        # a total of zero is a total
        ({"total": "0", "sub_total": "4.00", "price": "1.00", "quantity": "3", "cost_total": "0"}, "0.00", "0.00"),
        # costTotal, else cost x quantity
        ({"total": "5.00", "cost": "0.80", "quantity": "5", "cost_total": "3.99"}, "5.00", "3.99"),
        ({"total": "5.00", "cost": "0.80", "quantity": "5"}, "5.00", "4.00"),
        ({"total": "5.00", "cost": "0.80", "quantity": "5", "cost_total": "0.00"}, "5.00", "0.00"),
        # rounded once, after multiplying: 100 x 2.4949 is 249.49, not 100 x 2.49
        ({"price": "2.4949", "quantity": "100", "cost": "0.0051"}, "249.49", "0.51"),
        ({"price": "2.4999", "quantity": "11", "cost": "0.0049"}, "27.50", "0.05"),
        ({"total": "103.4412", "cost_total": "86.205"}, "103.44", "86.21"),
        ({"total": "-0.005", "cost_total": "-0.004"}, "-0.01", "0.00"),
        ({"total": "1e3", "cost_total": "1E-5"}, "1000.00", "0.00"),
        # a fraction of a unit, and a negative quantity
        ({"price": "9.99", "quantity": "0.3333", "cost": "7.7"}, "3.33", "2.57"),
        ({"price": "7.04", "quantity": "-2", "cost": "5.68"}, "-14.08", "-11.36"),
        ({"price": "-7.04", "quantity": "2", "cost": "-5.68"}, "-14.08", "-11.36"),
        # 40 digits
        ({"total": "0." + "3" * 40, "cost_total": "0"}, "0.33", "0.00"),
    ],
)
def test_S6_amounts(values: dict[str, Any], price: str, cost: str) -> None:
    found = read(**values)
    assert (str(found.price), str(found.cost), found.problem) == (price, cost, None)


@pytest.mark.parametrize(
    ("currency", "total", "price"),
    [("JPY", "100.5", "101"), ("JPY", "-100.5", "-101"), ("KWD", "1.2345", "1.235"), ("EUR", "1.2345", "1.23")],
)
def test_S6_each_is_rounded_to_its_currency(currency: str, total: str, price: str) -> None:
    found = read(currency, total=total, cost_total=total)
    assert (str(found.price), str(found.cost)) == (price, price)
    assert found.price_rounding == found.cost_rounding == Decimal(price) - Decimal(total)


def test_S6_L1_quantity_and_unit_numbers_are_pax8s_own_unrounded() -> None:
    found = read(quantity="0.3333", price="9.99999", cost="7.77777", total="3.33", cost_total="2.59")
    numbers = (found.quantity, found.unit_price, found.unit_cost)
    assert numbers == (Decimal("0.3333"), Decimal("9.99999"), Decimal("7.77777"))
    bare = read(total="3.33", cost_total="2.59")
    assert (bare.quantity, bare.unit_price, bare.unit_cost) == (None, None, None)


def test_S6_what_rounding_moved_is_kept() -> None:
    found = read(total="0.00499999999999999999", cost_total="1.005")
    assert found.price_rounding == Decimal("-0.00499999999999999999")
    assert found.cost_rounding == Decimal("0.005")
    assert read(total="5.00", cost_total="4").price_rounding == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "neither total"),
        ({"total": "5.00"}, "neither costTotal"),
        ({"cost_total": "5.00"}, "neither total"),
        ({"price": "5.00", "cost_total": "4.00"}, "neither total"),  # no quantity
        ({"quantity": "2", "cost_total": "4.00"}, "neither total"),  # no price
        ({"total": "5.00", "cost": "4.00"}, "neither costTotal"),
        ({"total": "5.00", "quantity": "2"}, "neither costTotal"),
        ({"total": "5.00", "cost_total": "4.00", "price": "!x"}, "price: not a number"),
        ({"total": "5.00", "cost_total": "4.00", "cost": "!x"}, "cost: not a number"),
        ({"total": "5.00", "cost_total": "4.00", "sub_total": "!x"}, "subTotal: not a number"),
        ({"total": "!10.00", "cost_total": "4.00"}, "total: not a number"),
        ({"total": "5.00", "cost_total": "!4,00"}, "costTotal: not a number"),
        ({"total": "NaN", "cost_total": "4.00"}, "total: not a finite number"),
        ({"total": "1E+999", "cost_total": "4.00"}, "total: too large"),
        ({"total": "1E+1000001", "cost_total": "4.00"}, "total: too large"),
        ({"total": "1" * 41, "cost_total": "4.00"}, "total: too large"),
        ({"total": True, "cost_total": "4.00"}, "total: not a number"),
        ({"total": 1.5, "cost_total": "4.00"}, "total: not a number"),
        ({"total": [1], "cost_total": "4.00"}, "total: not a number"),
        ({"total": "5.00", "cost_total": "4.00", "quantity": "!x"}, "quantity: not a number"),
        # a bad total does not fall back to subTotal in silence
        ({"total": "NaN", "sub_total": "5.00", "cost_total": "4.00"}, "total: not a finite number"),
        # a product may be as absurd as a number
        ({"price": "999999999999", "quantity": "999999999999", "cost_total": "1"}, "price x quantity: too large"),
        ({"total": "1", "cost": "-999999999999", "quantity": "999999999999"}, "cost x quantity: too large"),
        ({"price": "1000000", "quantity": "1000000", "cost_total": "1"}, "price x quantity: too large"),  # just
        ({"total": "1", "cost": "1000000", "quantity": "-1000000"}, "cost x quantity: too large"),
    ],
)
def test_fault_19_bad_numbers_are_named_and_the_charge_is_held(values: dict[str, Any], said: str) -> None:
    found = read(**values)
    assert found.problem is not None
    assert said in found.problem
    assert fate_of(charge(problem=found.problem)) == "held bad_amount"


@pytest.mark.parametrize("sign", [1, -1])
def test_fault_19_an_absurd_product_counts_as_nothing_and_one_just_below_it_counts(sign: int) -> None:
    """At 1e12 an amount is a mistake: it is named, and nothing of it enters the sums."""
    million = Decimal(10**6)
    absurd = read(quantity=million * sign, price=million, cost=million)
    assert (absurd.price, absurd.cost, absurd.price_rounding, absurd.cost_rounding) == (0, 0, 0, 0)
    below = read(quantity=million * sign, price=million - Decimal("0.01"), cost=million - Decimal("0.02"))
    assert (below.price, below.cost) == (sign * Decimal("999999990000.00"), sign * Decimal("999999980000.00"))
    assert below.problem is None


def test_fault_19_a_bad_number_is_named_alone() -> None:
    """What follows from it ("neither total ...") would only send people to the wrong field."""
    assert read(total="NaN", cost_total="4.00").problem == "total: not a finite number: NaN"
    assert read(total="5.00", cost_total="NaN").problem == "costTotal: not a finite number: NaN"


@pytest.mark.parametrize("currency", ["ZZZ", "", "usd", "XXX"])
def test_fault_20_an_unknown_currency_is_a_bad_amount(currency: str) -> None:
    assert "unknown currency" in (read(currency, total="5.00", cost_total="4.00").problem or "")


def test_fault_19_all_problems_are_named_at_once_and_a_bad_amount_counts_as_nothing() -> None:
    found = read("ZZZ", total="NaN", cost_total="!x", quantity=[])
    assert found.problem is not None
    assert [word for word in ("quantity", "total", "costTotal", "currency") if word in found.problem] == [
        "quantity",
        "total",
        "costTotal",
        "currency",
    ]
    assert (found.price, found.cost) == (0, 0)


def test_S6_sales_tax_never_reaches_a_client() -> None:
    plan = plan_run(month(charge(price="10.00", sales_tax="0.80")))
    assert client_of(plan).amount == Decimal("10.00")
    assert plan.sources[0].sales_tax == Decimal("0.80")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"product": "Office", "description": "Nov", "sku": "S"}, "Office"),
        ({"product": "", "description": "Nov", "sku": "S"}, "Nov"),
        ({"product": "", "description": "", "sku": "S"}, "S"),
        ({"product": "", "description": "", "sku": ""}, "(no product name)"),
    ],
)
def test_a_charge_always_has_a_name_for_people(said: dict[str, str], name: str) -> None:
    assert charge(**said).product == name
