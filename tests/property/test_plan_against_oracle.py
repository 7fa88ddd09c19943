"""Odd months: `plan_run` against an independent computation, and what must hold of every plan.

Longer: BILLINGSYNC_LONG=1 (or --long) looks at twenty times as many months.
"""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from decimal import Decimal
from random import Random

import oracle
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from months import charges, months, sources_of

from billingsync.core.bill.plan import Plan, PlanLine
from billingsync.core.bill.plan_run import plan_run
from billingsync.core.charge import Charge
from billingsync.core.inputs import RunInputs
from billingsync.core.remembered import Settled
from billingsync.core.rules import ModifierRules

LONG = 20 if "--long" in sys.argv or os.environ.get("BILLINGSYNC_LONG") else 1
ZERO = Decimal(0)


def looks(examples: int) -> settings:
    return settings(
        max_examples=examples * LONG,
        deadline=None,
        derandomize=LONG == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def charges_of(inputs: RunInputs) -> dict[str, Charge]:
    return {charge.id: charge for source in inputs.sources for charge in source.charges}


def states(plan: Plan) -> list[tuple[str, str, str]]:
    """(charge, state, by what) of every charge that the plan speaks of."""
    found = [(out.charge, "excluded", out.rule) for out in plan.unassigned_excluded]
    found += [(hold.charge, "held", hold.reason) for hold in plan.unassigned_holds]
    for client in plan.clients:
        found += [(charge, "posted", "") for charge in {c for line in client.lines for c in line.charges}]
        found += [(gone.charge, "dropped", gone.modifier) for gone in client.dropped]
        found += [(out.charge, "excluded", out.rule) for out in client.excluded]
        found += [(hold.charge, "held", hold.reason) for hold in client.holds]
    return found


def settle(inputs: RunInputs, plan: Plan) -> RunInputs:
    """The inputs after this plan was carried out: what it posted, dropped and excluded is remembered."""
    all_charges = charges_of(inputs)
    settled = {
        charge_id: Settled(
            state=state,
            by=by,
            price=all_charges[charge_id].price,
            cost=all_charges[charge_id].cost,
            currency=all_charges[charge_id].currency,
        )
        for charge_id, state, by in states(plan)
        if state != "held"
    }
    return replace(inputs, memory=replace(inputs.memory, settled={**inputs.memory.settled, **settled}))


# --- against the oracle -----------------------------------------------------------------------------------------


@looks(250)
@given(months())
def test_A1_every_charge_and_every_bill_is_what_the_specification_gives(inputs: RunInputs) -> None:
    plan, fates = plan_run(inputs), oracle.expected(inputs)
    found = {charge: (state, by) for charge, state, by in states(plan)}
    assert found.keys() == fates.keys()
    for charge_id, fate in fates.items():
        state, by = found[charge_id]
        assert state == fate.state, f"{charge_id} is {state} {by}, should be {fate}"
        assert not fate.by or by in fate.by, f"{charge_id} is {state} {by}, should be {fate}"
    billed: dict[tuple[int, str, str], tuple[Decimal, Decimal]] = {}
    for posting in plan.postings:
        key = posting.client_id, posting.group, posting.currency
        price, cost = billed.get(key, (ZERO, ZERO))  # the companies of a client may have different targets
        billed[key] = price + posting.amount, cost + posting.cost
    assert billed == oracle.bills(inputs, fates)


# --- what must hold of every plan -------------------------------------------------------------------------------


@looks(60)
@given(months())
def test_A2_the_equation_is_exact_for_price_and_cost_and_each_charge_is_counted_once(inputs: RunInputs) -> None:
    plan = plan_run(inputs)
    all_charges = charges_of(inputs)
    found = states(plan)
    assert Counter(charge for charge, _, _ in found) == Counter(list(all_charges))
    accounts = {account.currency: account for account in plan.accounts}
    assert accounts.keys() == {charge.currency for charge in all_charges.values()}
    for currency, account in accounts.items():
        for name, of in (("price", account.price), ("cost", account.cost)):
            sums: dict[str, Decimal] = defaultdict(lambda: ZERO)
            for charge_id, state, _ in found:
                if all_charges[charge_id].currency == currency:
                    sums[state] += getattr(all_charges[charge_id], name)
            assert (of.posted, of.dropped, of.excluded, of.held) == (
                sums["posted"],
                sums["dropped"],
                sums["excluded"],
                sums["held"],
            )
            assert of.charges == of.posted + of.dropped + of.excluded + of.held
            assert of.already_posted == 0
        postings = [posting for posting in plan.postings if posting.currency == currency]
        assert sum((posting.amount for posting in postings), ZERO) == account.price.posted
        assert sum((posting.cost for posting in postings), ZERO) == account.cost.posted


def together(lines: list[PlanLine]) -> list[list[PlanLine]]:
    """Lines by their charges: several only where a product is split over items [P5]."""
    parts: dict[tuple[str, ...], list[PlanLine]] = defaultdict(list)
    for line in lines:
        parts[line.charges].append(line)
    return list(parts.values())


@looks(80)
@given(months())
def test_L1_lines_come_to_their_charges_amounts_to_the_minor_unit(inputs: RunInputs) -> None:
    plan, fates = plan_run(inputs), oracle.expected(inputs)
    all_charges = charges_of(inputs)
    for posting in plan.postings:
        for lines in together(list(posting.lines)):
            mine = [all_charges[charge_id] for charge_id in lines[0].charges]
            assert {charge.currency for charge in mine} == {posting.currency}
            assert sum((line.amount for line in lines), ZERO) == sum((charge.price for charge in mine), ZERO)
            assert sum((line.cost for line in lines), ZERO) == sum((charge.cost for charge in mine), ZERO)
            for line in lines:
                assert oracle.to_minor_unit(line.quantity * line.unit_price, posting.currency) == line.amount
                assert oracle.to_minor_unit(line.quantity * line.unit_cost, posting.currency) == line.cost
            if fates[mine[0].id].line:  # [M1] collapsed
                assert {line.quantity for line in lines} == {1}
            elif len(lines) == 1:
                assert_numbers(lines[0], mine[0], posting.currency)


def assert_numbers(line: PlanLine, charge: Charge, currency: str) -> None:
    """[L1] Pax8's quantity and unit price where they give the amount; else up to 6 decimals; else quantity 1."""
    quantity, unit = charge.quantity, charge.unit_price

    def gives(price: Decimal) -> bool:
        # READING: a product that is an exact half gives nothing, as HaloPSA's floats may round it either way
        exact = quantity * price
        half = Decimal(5).scaleb(-1 - oracle.DIGITS.get(currency, 2))
        return oracle.to_minor_unit(exact, currency) == charge.price and abs(exact - charge.price) != half

    if quantity is None or (quantity == 0 and charge.cost != 0):
        assert line.quantity == 1  # without a quantity nothing but 1 gives the cost back
    elif unit is not None and gives(unit):
        assert (line.quantity, line.unit_price) == (quantity, unit)
    elif line.quantity == quantity:
        assert line.unit_price == round(line.unit_price, 6)
    else:
        near = (charge.price / quantity if quantity else ZERO).quantize(Decimal("0.000001"))
        assert not any(gives(near + Decimal(n).scaleb(-6)) for n in (-1, 0, 1))
        assert (line.quantity, line.unit_price) == (1, charge.price)
        if unit is not None:
            assert f"- {quantity.normalize():f} x {unit.normalize():f}" in line.description


@looks(50)
@given(months(), st.integers(0, 10**6))
def test_S5_the_order_of_anything_read_changes_nothing(inputs: RunInputs, seed: int) -> None:
    plan = plan_run(inputs)

    def shuffled(things):
        return tuple(Random(seed).sample(list(things), len(things)))

    other = plan_run(
        replace(
            inputs,
            sources=shuffled([replace(source, charges=shuffled(source.charges)) for source in inputs.sources]),
            companies=shuffled(inputs.companies),
            clients=shuffled(inputs.clients),
            items=shuffled(inputs.items),
            existing=shuffled(inputs.existing),
            similar={company: shuffled(found) for company, found in inputs.similar.items()},
            rulebook=replace(inputs.rulebook, clients=shuffled(inputs.rulebook.clients)),
        )
    )
    assert sorted(states(other)) == sorted(states(plan))
    assert [posting.key for posting in other.postings] == [posting.key for posting in plan.postings]
    assert other.digest == plan.digest


@looks(25)
@given(months())
def test_planning_twice_gives_the_same_plan(inputs: RunInputs) -> None:
    assert plan_run(inputs) == plan_run(inputs)


@looks(80)
@given(months())
def test_R1_after_a_complete_run_the_same_month_posts_nothing(inputs: RunInputs) -> None:
    first = plan_run(inputs)
    again = plan_run(settle(inputs, first))
    assert again.postings == ()
    assert [s for s in states(again) if s[1] != "held"] == []
    assert sorted(c for c, _, _ in states(again)) == sorted(c for c, state, _ in states(first) if state == "held")
    for before, after in zip(first.accounts, again.accounts, strict=True):
        assert before.currency == after.currency
        for old, new in ((before.price, after.price), (before.cost, after.cost)):
            assert replace(new, already_posted=ZERO) == old  # the equation says the same, all of it posted already
            assert new.already_posted == old.posted


@looks(30)
@given(months())
def test_N1_keys_are_unique_derived_and_raised_by_an_undo(inputs: RunInputs) -> None:
    postings = plan_run(inputs).postings
    keys = [posting.key for posting in postings]
    assert len(set(keys)) == len(keys)
    undone = {posting.base_key: 1 for posting in postings}
    raised = plan_run(replace(inputs, memory=replace(inputs.memory, generations=undone))).postings
    assert [posting.base_key for posting in raised] == [posting.base_key for posting in postings] == keys
    assert not {posting.key for posting in raised} & set(keys)


@looks(50)
@given(months(), st.data())
def test_R1_a_charge_added_later_changes_nothing_that_was_posted(inputs: RunInputs, data: st.DataObject) -> None:
    first = plan_run(inputs)
    assume(inputs.companies)
    late = data.draw(charges("late", inputs.companies, inputs.clients[0].currency or "USD"))
    everything = [*charges_of(inputs).values(), late]
    second = plan_run(replace(settle(inputs, first), sources=sources_of(everything)))
    posted = {charge for charge, state, _ in states(first) if state == "posted"}
    decided = {charge for charge, state, _ in states(first) if state != "held"}
    assert not decided & {charge for charge, _, _ in states(second)}
    assert not {posting.key for posting in first.postings} & {posting.key for posting in second.postings}
    for account in second.accounts:
        before = [a.price.posted for a in first.accounts if a.currency == account.currency]
        assert account.price.already_posted == sum(before, ZERO)
    for line in (line for posting in second.postings for line in posting.lines):
        assert not posted & set(line.charges)


@looks(40)
@given(months())
def test_R3_other_rules_change_nothing_that_was_decided(inputs: RunInputs) -> None:
    """A rules change after posting changes nothing by itself: only what was held may move."""
    first = plan_run(inputs)
    open_rules = replace(inputs.rulebook, base=replace(inputs.rulebook.base, modifiers=ModifierRules()))
    second = plan_run(replace(settle(inputs, first), rulebook=open_rules))
    waited = {charge for charge, state, _ in states(first) if state == "held"}
    assert {charge for charge, _, _ in states(second)} == waited


@looks(25)
@given(months(), st.integers(0, 3))
def test_client_asked_for_plans_only_that_company_and_balances(inputs: RunInputs, which: int) -> None:
    company = f"c-{'abcd'[which]}"
    plan = plan_run(replace(inputs, clients_asked=(company,)))
    mine = {charge.id for charge in charges_of(inputs).values() if charge.company_id == company}
    assert {charge for charge, _, _ in states(plan)} == mine
