"""The line that a customer sees: its numbers [L1] [L3] and its text [L2]."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from test_core_notation import azure, charge, line_of, lines, month, rules

from billingsync.core.bill.plan_run import plan_run
from billingsync.core.inputs import Client


def shown(one: Any, **said: Any) -> str:
    line = line_of(one, **said)
    return f"{line.quantity} x {line.unit_price.normalize():f} = {line.amount}"


@pytest.mark.parametrize(
    ("quantity", "unit", "price", "shows", "noted"),
    [
        # Pax8's numbers where they give the amount
        ("10", "22.00", "220.00", "10 x 22 = 220.00", ""),
        ("11", "2.4999", "27.50", "11 x 2.4999 = 27.50", ""),
        ("0.3333", "9.99", "3.33", "0.3333 x 9.99 = 3.33", ""),
        ("1", "103.4412", "103.44", "1 x 103.4412 = 103.44", ""),
        ("-2", "7.04", "-14.08", "-2 x 7.04 = -14.08", ""),
        ("2", "-7.04", "-14.08", "2 x -7.04 = -14.08", ""),
        ("5", "0", "0.00", "5 x 0 = 0.00", ""),
        ("1", "0.123456789", "0.12", "1 x 0.123456789 = 0.12", ""),  # Pax8's own may have more than 6 decimals
        # but for an exact half, which HaloPSA's floats may round either way
        ("1", "0.005", "0.01", "1 x 0.01 = 0.01", ""),
        ("1", "-0.005", "-0.01", "1 x -0.01 = -0.01", ""),
        ("10", "1.2345", "12.35", "10 x 1.235 = 12.35", ""),
        # else the amount divided, if 6 decimals give it back
        ("3", "3.33", "10.00", "3 x 3.333333 = 10.00", ""),
        ("11", "2.4999", "27.00", "11 x 2.454545 = 27.00", ""),
        ("-3", "3.33", "10.00", "-3 x -3.333333 = 10.00", ""),
        ("4", None, "10.01", "4 x 2.5025 = 10.01", ""),
        ("5", "0.00", "12.00", "5 x 2.4 = 12.00", ""),
        ("9999", "1", "10000.00", "9999 x 1.0001 = 10000.00", ""),
        # else quantity 1 at the amount, with Pax8's numbers kept in the text
        ("7000000", "0.01", "69999.99", "1 x 69999.99 = 69999.99", "7000000 x 0.01"),
        ("1000001", "0.0333", "33333.34", "1 x 33333.34 = 33333.34", "1000001 x 0.0333"),
        ("0", "5.00", "12.00", "1 x 12 = 12.00", "0 x 5.00"),
        ("300000", "2.49990", "749970.01", "1 x 749970.01 = 749970.01", "300000 x 2.4999"),
        (None, None, "12.00", "1 x 12 = 12.00", ""),
        (None, "5.00", "12.00", "1 x 12 = 12.00", ""),
        ("0", None, "12.00", "1 x 12 = 12.00", ""),
    ],
)
def test_L1_numbers(quantity: str | None, unit: str | None, price: str, shows: str, noted: str) -> None:
    one = charge(price=price, cost="0.00", quantity=quantity, unit_price=unit, unit_cost=None)
    assert shown(one) == shows
    line = line_of(one)
    assert line.description == (f"Widget - {noted}" if noted else "Widget")


def test_L1_a_quantity_of_zero_that_comes_to_nothing_is_kept() -> None:
    assert shown(charge(price="0.00", cost="0.00", quantity="0", unit_price="5.00", unit_cost="4.00")) == "0 x 5 = 0.00"
    assert shown(charge(price="0.00", cost="0.00", quantity="0", unit_price="0", unit_cost="0")) == "0 x 0 = 0.00"


@pytest.mark.parametrize(
    ("quantity", "unit_cost", "cost"),
    [
        ("10", "18.00", "180.00"),
        ("3", "2.00", "10.00"),
        ("7000000", "0.01", "69999.99"),
        ("1000001", None, "33333.34"),
        ("0.3333", "7.7", "2.57"),
        (None, None, "5.00"),
        ("0", "4.00", "3.00"),
        ("-2", "5.68", "-11.36"),
        ("2", "-1", "7.77"),
    ],
)
def test_L1_costs_come_back_to_the_cent_too(quantity: str | None, unit_cost: str | None, cost: str) -> None:
    one = charge(price="0.00", cost=cost, quantity=quantity, unit_price="0.00", unit_cost=unit_cost)
    line = line_of(one)
    assert round(line.quantity * line.unit_cost, 2) == line.cost == Decimal(cost)


@pytest.mark.parametrize(
    ("currency", "quantity", "unit", "price", "shows"),
    [
        ("JPY", "3", "33.4", "100", "3 x 33.4 = 100"),
        ("JPY", "3", "33.5", "101", "3 x 33.666667 = 101"),
        ("JPY", "1", "0.6", "1", "1 x 0.6 = 1"),
        ("JPY", "3", "33", "100", "3 x 33.333333 = 100"),
        ("KWD", "3", "0.3336", "1.001", "3 x 0.3336 = 1.001"),
        ("KWD", "3", "1", "1.000", "3 x 0.333333 = 1.000"),
        ("KWD", "7000", "1", "1.001", "7000 x 0.000143 = 1.001"),
        ("KWD", "70000", "1", "1.001", "70000 x 0.000014 = 0.980"),
    ],
)
def test_L3_lines_are_rounded_to_the_minor_unit(
    currency: str, quantity: str, unit: str, price: str, shows: str
) -> None:
    one = charge(price=price, cost="0", currency=currency, quantity=quantity, unit_price=unit)
    clients = (Client(id=1, name="Contoso", currency=currency),)
    if shows.endswith("0.980"):  # 6 decimals do not give the amount back
        shows = "1 x 1.001 = 1.001"
    assert shown(one, clients=clients) == shows


@pytest.mark.parametrize(
    ("currency", "quantity", "unit_cost", "cost", "shown_cost"),
    [
        ("JPY", "3", "33.4", "100", "33.4"),  # Pax8's own where it gives the amount in the currency's minor unit
        ("JPY", "3", "33.6", "100", "33.333333"),
        ("KWD", "3", "0.3333", "1.000", "0.3333"),
        ("KWD", "3", "0.33", "1.001", "0.333667"),
        ("KWD", "70000", "1", "1.001", "0.0000143"),  # a cost may be as fine as it must
        ("USD", "3", "3.334", "10.00", "3.334"),
        ("USD", "3000000007", "1", "0.35", "0.000000000117"),  # 12 decimals, the finest there is
    ],
)
def test_L3_costs_are_rounded_to_the_minor_unit_too(
    currency: str, quantity: str, unit_cost: str, cost: str, shown_cost: str
) -> None:
    one = charge(price="0", cost=cost, currency=currency, quantity=quantity, unit_price="0", unit_cost=unit_cost)
    line = line_of(one, clients=(Client(id=1, name="Contoso", currency=currency),))
    assert (line.quantity, line.unit_cost, line.cost) == (Decimal(quantity), Decimal(shown_cost), Decimal(cost))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_L1_each_charge_is_one_line_and_twins_stay_two(count: int) -> None:
    """Two subscriptions of one product, or true twins, are never merged."""
    plan = plan_run(month(*[charge(str(n), "10.00") for n in range(count)]))
    assert len(lines(plan)) == count
    assert plan.postings[0].amount == 10 * count


# --- [L2] --------------------------------------------------------------------------------------------------------

NOVEMBER = {"start": "2026-11-01", "end": "2026-11-30"}


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (NOVEMBER, "Widget (2026-11-01 to 2026-11-30)"),
        ({"start": "2026-11-01T08:30:00Z", "end": "2026-11-30T13:20:13.153-0700"}, "Widget (2026-11-01 to 2026-11-30)"),
        ({}, "Widget"),
        ({"product": "", "description": "Set-up"}, "Set-up"),
        ({"product": "", "sku": "S-1"}, "S-1"),
        # the description where it says more than the name
        ({"description": "Mar Partial: Widget", **NOVEMBER}, "Mar Partial: Widget (2026-11-01 to 2026-11-30)"),
        ({"description": "something else"}, "Widget"),
        # hostile text is text (fault 37)
        ({"product": "{0.__class__}"}, "{0.__class__}"),
        ({"product": "{product} {{x}}"}, "{product} {{x}}"),
        ({"product": "a\nb\t\tc"}, "a b c"),
        ({"product": "\N{PILE OF POO} <script>=cmd"}, "\N{PILE OF POO} <script>=cmd"),
        ({"product": r"\1 \g<0>"}, r"\1 \g<0>"),
    ],
)
def test_L2_default_text(said: dict[str, str], text: str) -> None:
    assert line_of(charge(**said)).description == text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{product}", "Widget"),
        ("{sku}/{term}/{company}/{period}", "S-1/Monthly/Contoso Ltd/2026-11"),
        ("{subscription} {charge_count}", "sub-12345678 1"),
        ("{start}..{end}", "2026-11-01..2026-11-30"),
        ("{{not a field}} {product}", "{not a field} Widget"),
        ("{product}: {start} to {end}", "Widget: 2026-11-01 to 2026-11-30"),
        ("all yours", "all yours"),
    ],
)
def test_L2_the_template_is_a_rule(template: str, text: str) -> None:
    one = charge(sku="S-1", subscription="sub-12345678", **NOVEMBER)
    assert line_of(one, base=rules(lines={"text": template})).description == text


@pytest.mark.parametrize(
    ("template", "said", "text"),
    [
        # what is left of a service period that Pax8 does not give, and nothing else, is taken away
        ("{product} ({start} to {end})", {}, "Widget"),
        ("{product} ({start} - {end}), {term}", {}, "Widget, Monthly"),
        ("{product} ({start} bis {end})", {}, "Widget"),
        ("{product} ({start} – {end})", {}, "Widget"),
        ("{product} () {start}", NOVEMBER, "Widget () 2026-11-01"),
        ("{product} () {start}", {"start": "2026-11-01"}, "Widget () 2026-11-01"),
        ("{product} () {end}", {"end": "2026-11-30"}, "Widget () 2026-11-30"),
        ("{product} ({start} to {end})", {"end": "2026-11-30"}, "Widget ( to 2026-11-30)"),
        # a template that comes to nothing gives the product
        ("{sku}", {}, "Widget"),
        (" {subscription} ", {"description": "Mar Partial: Widget"}, "Mar Partial: Widget"),
        ("{sku}", {"product": ""}, "(no product name)"),
    ],
)
def test_L2_a_field_that_pax8_does_not_give_leaves_no_trace(template: str, said: dict[str, str], text: str) -> None:
    base = rules(lines={"text": template}, products={"lifecycle": "off"})
    assert line_of(charge(**said), base=base).description == text


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ({"description": "Mar Partial: Widget"}, "Widget"),
        ({"product": "", "description": "Set-up"}, "Set-up"),
        ({"product": ""}, "(no product name)"),
    ],
)
def test_L2_the_title_of_a_line_is_its_product(said: dict[str, str], title: str) -> None:
    assert line_of(charge(**said), base=rules(products={"lifecycle": "off"})).title == title


def texts(*charges: Any, template: str = "{product}") -> list[str]:
    plan = plan_run(month(*charges, base=rules(lines={"text": template})))
    return sorted(line.description for line in lines(plan))


def test_L2_the_subscription_is_named_where_the_client_has_several_of_a_product() -> None:
    one, other = charge("1", subscription="aaaaaaaa-1"), charge("2", subscription="bbbbbbbb-2")
    assert texts(one, other) == ["Widget [aaaaaaaa]", "Widget [bbbbbbbb]"]
    assert texts(one, other, template="{product} {subscription}") == ["Widget aaaaaaaa-1", "Widget bbbbbbbb-2"]
    assert texts(one, charge("2", subscription="aaaaaaaa-1")) == ["Widget", "Widget"]
    assert texts(one, charge("2")) == ["Widget", "Widget [aaaaaaaa]"]
    assert texts(one, charge("2", subscription="bbbbbbbb-2", product="Gadget")) == ["Gadget", "Widget"]


def test_L2_a_collapsed_line_names_its_service_period() -> None:
    charges = [
        azure("1", start="2026-10-05", end="2026-10-31"),
        azure("2", start="2026-10-01", end="2026-10-08", product="Virtual Machines"),
        azure("3", start="", end=""),
    ]
    (line,) = lines(plan_run(month(*charges, base=rules(modifiers={"azure": "collapse"}))))
    assert line.description == "Microsoft Azure (2026-10-01 to 2026-10-31) - 3 charges"


def test_L2_a_collapsed_line_has_no_subscription_and_is_in_arrears() -> None:
    base = rules(modifiers={"azure": "collapse"}, lines={"text": "{product}/{subscription}/{term}/{sku}"})
    charges = [azure("1", subscription="aaaaaaaa-1"), azure("2", subscription="aaaaaaaa-1", sku="AZR-ARR-1")]
    (line,) = lines(plan_run(month(*charges, base=base)))
    assert line.description == "Microsoft Azure Plan//Arrears/ - 2 charges"


def test_fault_37_a_text_of_10000_characters_is_no_trouble() -> None:
    assert len(line_of(charge(product="x" * 10_000)).description) >= 4000
