"""The equation [A1] [A2] as an assertion: whatever a fault in the planner would do to a charge, no plan comes of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from test_core_notation import charge, lines, month

from billingsync.core.bill.account import accounts_of
from billingsync.core.bill.clients import Match
from billingsync.core.bill.company import Work, excluded_by
from billingsync.core.bill.plan import Dropped, Excluded, Hold
from billingsync.core.bill.plan_run import plan_run
from billingsync.core.inputs import Company
from billingsync.core.remembered import Settled
from billingsync.core.rules import Rules

CENT = Decimal("0.01")
ONE, TWO = charge("1", "10.00", "8.00"), charge("2", "5.00", "-4.00")
INPUTS = month(ONE, TWO)
LINES = sorted(lines(plan_run(INPUTS)), key=lambda line: line.charges)


def work(**said: Any) -> Work:
    company = Company(id="c-1", name="Contoso Ltd")
    return Work(company=company, match=Match(company=company), file=None, rules=Rules(), **({"currency": "USD"} | said))


def hold(charge_id: str) -> Hold:
    return Hold(
        charge=charge_id,
        reason="bad_amount",
        amount=CENT,
        cost=CENT,
        product="",
        currency="USD",
        detail="",
        steps=(),
    )


def drop(charge_id: str) -> Dropped:
    return Dropped(charge=charge_id, modifier="azure", amount=CENT, cost=CENT, product="", currency="USD")


def test_A2_the_equation_by_state() -> None:
    three, four = charge("3", "1.00", "0.50"), charge("4", "0.10", "0.05")
    five, six = charge("5", "0.02", "0.01", currency="EUR"), charge("6", "100.00", "90.00")
    inputs = month(ONE, TWO, three, four, five, six)
    done = Settled(state="posted", by="key", price=six.price, cost=six.cost, currency="USD")
    gone = Settled(state="dropped", by="azure", price=five.price, cost=five.cost, currency="EUR")
    inputs = replace(inputs, memory=replace(inputs.memory, settled={"inv:6": done, "inv:5": gone}))
    it = work(lines=LINES[:1], holds=[hold("inv:2")], dropped=[drop("inv:3")])
    euro, dollar = accounts_of([ONE, TWO, three, four, five, six], [it], [excluded_by(four, "no_company")], inputs)
    assert (euro.currency, dollar.currency) == ("EUR", "USD")
    assert [str(getattr(dollar.price, name)) for name in NAMES] == [
        "116.10",
        "110.00",
        "1.00",
        "0.10",
        "5.00",
        "100.00",
    ]
    assert [str(getattr(dollar.cost, name)) for name in NAMES] == ["94.55", "98.00", "0.50", "0.05", "-4.00", "90.00"]
    assert [str(getattr(euro.price, name)) for name in NAMES] == ["0.02", "0.00", "0.02", "0.00", "0.00", "0.00"]


NAMES = ("charges", "posted", "dropped", "excluded", "held", "already_posted")


@pytest.mark.parametrize(
    ("said", "unassigned", "states"),
    [
        ({"lines": LINES, "dropped": [drop("inv:1")]}, [], "inv:1 is dropped and posted"),
        ({"lines": LINES, "holds": [hold("inv:2")]}, [], "inv:2 is held and posted"),
        ({"lines": LINES, "excluded": [excluded_by(ONE, "product")]}, [], "inv:1 is excluded and posted"),
        ({"lines": LINES}, [excluded_by(TWO, "no_company")], "inv:2 is excluded and posted"),
        ({"holds": [hold("inv:1")], "dropped": [drop("inv:1")]}, [], "inv:1 is dropped and held"),
        ({"holds": [hold("inv:1"), hold("inv:1")]}, [], "inv:1 is held and held"),
    ],
)
def test_A1_a_charge_in_two_states_is_no_plan(said: dict[str, Any], unassigned: list[Excluded], states: str) -> None:
    with pytest.raises(AssertionError, match=states):
        accounts_of([ONE, TWO], [work(**said)], unassigned, INPUTS)


def test_A1_a_charge_on_the_lines_of_two_companies_is_no_plan() -> None:
    with pytest.raises(AssertionError, match="is posted and posted"):
        accounts_of([ONE, TWO], [work(lines=LINES), work(lines=LINES[:1])], [], INPUTS)


def test_A1_a_charge_in_no_state_is_no_plan() -> None:
    with pytest.raises(AssertionError, match="charge inv:2 has no state"):
        accounts_of([ONE, TWO], [work(lines=LINES[:1])], [], INPUTS)


@pytest.mark.parametrize("moved", [{"amount": CENT}, {"cost": CENT}, {"amount": -CENT}, {"cost": -CENT}], ids=str)
def test_A2_a_line_that_differs_by_a_cent_from_its_charges_is_no_plan(moved: dict[str, Decimal]) -> None:
    ((name, by),) = moved.items()
    odd = replace(LINES[0], **{name: getattr(LINES[0], name) + by})
    with pytest.raises(AssertionError, match="USD"):
        accounts_of([ONE, TWO], [work(lines=[odd, LINES[1]])], [], INPUTS)
    assert accounts_of([ONE, TWO], [work(lines=LINES)], [], INPUTS)


def test_A2_a_line_on_an_invoice_of_another_currency_is_no_plan() -> None:
    with pytest.raises(AssertionError, match="USD"):
        accounts_of([ONE, TWO], [work(lines=LINES, currency="EUR")], [], INPUTS)
