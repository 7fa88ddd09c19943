"""A period planned again [R1]-[R3], keys [N1], the digest, and what only some plans say: warnings, --client [S8]."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from test_core_notation import (
    NO_LIMITS,
    azure,
    carried_out,
    charge,
    client_of,
    fates,
    late,
    lines,
    month,
    rules,
)

from billingsync.core.bill.plan_run import plan_run
from billingsync.core.inputs import Client, Memory, RunInputs
from billingsync.core.remembered import LivePosting, Settled
from billingsync.core.rules import Rulebook

DROP = rules(modifiers={"azure": "drop"})
FOUR = [charge("1"), azure("2"), charge("3", type="rebate"), charge("4", problem="bad")]


def settled(state: str, by: str = "x", price: str = "10.00", cost: str = "8.00") -> Settled:
    return Settled(state=state, by=by, price=Decimal(price), cost=Decimal(cost), currency="USD")


def remembering(inputs: RunInputs, **states: Settled) -> RunInputs:
    known = {f"inv:{name}": state for name, state in states.items()}
    return replace(inputs, memory=replace(inputs.memory, settled=known))


# --- [R1] [R3] ---------------------------------------------------------------------------------------------------


def test_R1_right_after_a_complete_run_there_is_nothing() -> None:
    inputs = month(*FOUR[:3], base=DROP)
    again = plan_run(carried_out(inputs))
    assert again.empty
    assert again.clients == ()
    assert again.kept == ()


def test_R1_what_was_held_waits_on_and_is_posted_once_it_can_be() -> None:
    posted = carried_out(month(*FOUR, base=DROP))
    assert fates(plan_run(posted)) == {"4": "held bad_amount"}
    (source,) = posted.sources
    mended = tuple(replace(one, problem=None) for one in source.charges)
    plan = plan_run(replace(posted, sources=(replace(source, charges=mended),)))
    assert fates(plan) == {"4": "posted"}
    assert [posting.amount for posting in plan.postings] == [Decimal("10.00")]


def test_R1_the_equation_says_what_earlier_runs_posted() -> None:
    account = plan_run(late(carried_out(month(*FOUR, base=DROP)), charge("5", "7.00", "5.00"))).accounts[0]
    assert {name: str(getattr(account.price, name)) for name in account.price.__slots__} == {
        "charges": "47.00",
        "posted": "17.00",
        "dropped": "10.00",
        "excluded": "10.00",
        "held": "10.00",
        "already_posted": "10.00",
        "waiting": "None",
    }
    assert (account.cost.posted, account.cost.already_posted) == (Decimal("13.00"), Decimal("8.00"))


@pytest.mark.parametrize(("state", "by"), [("posted", "key"), ("dropped", "azure"), ("excluded", "charge_type")])
def test_R3_what_was_decided_stays_decided_whatever_the_rules_say_now(state: str, by: str) -> None:
    plan = plan_run(remembering(month(charge("1"), charge("2")), **{"1": settled(state, by)}))
    assert fates(plan) == {"2": "posted"}
    account = plan.accounts[0].price
    assert getattr(account, state) == (Decimal("20.00") if state == "posted" else Decimal("10.00"))
    assert account.charges == Decimal("20.00")


@pytest.mark.parametrize(("state", "reason"), [("unresolved", "write_unknown"), ("differs", "write_differs")])
def test_N2_what_may_have_arrived_is_held_and_the_others_go_on(state: str, reason: str) -> None:
    plan = plan_run(remembering(month(charge("1"), charge("2")), **{"1": settled(state)}))
    assert fates(plan) == {"1": f"held {reason}", "2": "posted"}
    assert plan.accounts[0].price.held == Decimal("10.00")


@pytest.mark.parametrize("said", [{"type": "rebate"}, {"problem": "bad"}, {"currency": "EUR"}, {"company": "c-x"}])
def test_N2_what_may_have_arrived_is_nothing_else_before_that_is_known(said: dict[str, str]) -> None:
    plan = plan_run(remembering(month(charge("1", **said)), **{"1": settled("unresolved")}))
    assert fates(plan) == {"1": "held write_unknown"}


def test_A2_what_was_posted_counts_with_what_was_posted() -> None:
    """Pax8 now says 12.00 for a charge that is on a line with 10.00: 2.00 is not posted, and somebody must see it."""
    plan = plan_run(remembering(month(charge("1", "12.00", "8.00")), **{"1": settled("posted", price="10.00")}))
    account = plan.accounts[0].price
    assert account.already_posted == Decimal("10.00") or plan.held or plan.warnings


# --- [R2] --------------------------------------------------------------------------------------------------------


def replaced(*, state: str = "posted", credited: bool = True, **memory: Any) -> RunInputs:
    """Invoice "old" was billed to client c-1 at 10.00, then credited by Pax8; "new" took its place at 12.00, and
    "other" is of the same month."""
    charges = [
        charge("1", "12.00", "9.00", invoice="new"),
        charge("2", invoice="new", type="rebate"),
        charge("3", invoice="other"),
        charge("4", "5.00", "4.00", invoice="new", company="Fabrikam GmbH"),
    ]
    known = {"old:1": settled(state), "other:3": settled("posted")}
    live = (billed("k-old", "old:1", state=state), billed("k-other", "other:3"))
    inputs = month(*charges, memory=Memory(settled=known, live=live, **memory))
    return replace(inputs, credited=frozenset({"old"} if credited else ()))


def billed(key: str, *charges: str, state: str = "posted", client: int | None = None) -> LivePosting:
    return LivePosting(
        key=key,
        client_id=client or 1,
        client_name="Contoso Ltd",
        invoice_id=900,
        action="create",
        currency="USD",
        state=state,
        price=Decimal(10) * len(charges),
        cost=Decimal(8) * len(charges),
        charges=frozenset(charges),
        companies=frozenset({"c-1"}),
    )


def test_R2_a_re_issued_invoice_is_not_new_money() -> None:
    """What it bills of who was billed waits with the numbers; who was not is billed."""
    plan = plan_run(replaced())
    assert fates(plan) == {"1": "held source_replaced", "2": "excluded charge_type", "4": "posted"}
    (up,) = plan.true_ups
    assert (up.take_back, up.add, up.net) == (Decimal("10.00"), Decimal("12.00"), Decimal("2.00"))
    assert (up.take_back_cost, up.add_cost, up.net_cost) == (Decimal("8.00"), Decimal("9.00"), Decimal("1.00"))
    assert up.state == "held" and up.credited == ("old",) and [one.key for one in up.postings] == ["k-old"]
    (hold,) = [hold for client in plan.clients for hold in client.holds]
    assert f"approve {plan.digest[:12]} --client" in hold.next_step and "take back 10.00, add 12.00" in hold.detail


def test_R2_it_stays_held_after_a_run_that_billed_others_from_the_new_invoice() -> None:
    """Then the new invoice is itself one that is billed: that decides nothing about who waits."""
    after = carried_out(replaced())
    assert fates(plan_run(after)) == {"1": "held source_replaced"}


def test_R2_approved_it_is_billed_anew_with_all_that_stood_on_the_same_invoice() -> None:
    inputs = replaced(approved=frozenset({1}))
    plan = plan_run(inputs)
    assert fates(plan)["1"] == "posted" and plan.true_ups[0].state == "approved"
    together = replace(inputs.memory, live=(billed("k-old", "old:1", "other:3"),))
    plan = plan_run(replace(inputs, memory=together))
    assert fates(plan)["3"] == "posted", "its invoice is taken back whole"
    (up,) = plan.true_ups
    assert (up.take_back, up.add) == (Decimal("20.00"), Decimal("22.00"))


def test_R2_the_rules_may_allow_it_once_the_new_invoice_is_there() -> None:
    allowing = rules(approval={"true_up": "post"})
    inputs = replace(replaced(), rulebook=Rulebook(base=allowing))
    assert plan_run(inputs).true_ups[0].state == "approved"
    old = [source for source in inputs.sources if source.invoice_id == "other"]
    plan = plan_run(replace(inputs, sources=tuple(old)))
    assert plan.true_ups[0].state == "held" and plan.true_ups[0].add == 0 and plan.held


@pytest.mark.parametrize("limits", [{"client_amount_max": 1}, {"change_percent_max": 1, "change_amount_min": 1}])
def test_R2_the_rules_take_nothing_back_while_what_comes_instead_is_held(limits: dict[str, Any]) -> None:
    """Else the old bill would be gone, and the new one would wait."""
    allowing = rules(approval={"true_up": "post"}, limits=NO_LIMITS | limits)
    inputs = replaced(last_amounts={(1, "USD"): ("2026-10", Decimal("1000.00"))})
    plan = plan_run(replace(inputs, rulebook=Rulebook(base=allowing)))
    assert fates(plan)["1"] == "held source_replaced"
    (up,) = plan.true_ups
    assert (up.state, up.add) == ("held", Decimal("12.00")) and "approve" in up.next_step


def test_R2_a_true_up_adds_up_one_currency_only() -> None:
    """Who was billed in dollars and is charged in euros now does not get euros for dollars."""
    inputs = replaced()
    euro = tuple(replace(one, currency="EUR") for one in inputs.clients)
    sources = tuple(
        replace(source, charges=tuple(replace(one, currency="EUR") for one in source.charges))
        for source in inputs.sources
    )
    (up,) = plan_run(replace(inputs, clients=euro, sources=sources)).true_ups
    assert (up.currency, up.take_back, up.add, up.net) == ("USD", Decimal("10.00"), Decimal(0), Decimal("-10.00"))


def test_R2_nothing_is_taken_back_while_another_true_up_of_the_client_cannot_be() -> None:
    inputs = replaced(approved=frozenset({1}))
    other = replace(billed("k-euro", "gone:9", state="differs"), currency="EUR")
    memory = replace(inputs.memory, live=(*inputs.memory.live, other))
    plan = plan_run(replace(inputs, memory=memory))
    assert [(up.currency, up.state) for up in plan.true_ups] == [("EUR", "blocked"), ("USD", "blocked")]
    assert fates(plan)["1"] == "held source_replaced" and {one.client_id for one in plan.postings} == {2}


def test_R2_an_invoice_that_pax8_lists_no_more_counts_as_credited() -> None:
    plan = plan_run(replaced(credited=False))
    assert fates(plan)["1"] == "held source_replaced" and plan.true_ups[0].state == "held"


def test_R2_one_company_of_two_on_an_invoice_cannot_be_taken_back_alone() -> None:
    inputs = replaced(approved=frozenset({1}))
    two = replace(billed("k-old", "old:1"), companies=frozenset({"c-1", "c-9"}))
    inputs = replace(inputs, memory=replace(inputs.memory, live=(two,)), clients_asked=("c-1",))
    assert [up.state for up in plan_run(inputs).true_ups] == ["blocked"]
    other = replace(inputs, clients_asked=("c-2",))
    assert plan_run(other).true_ups == () and fates(plan_run(other)) == {"4": "posted"}


def test_R2_a_credited_invoice_of_which_nothing_was_billed_replaces_nothing() -> None:
    inputs = replaced()
    memory = replace(inputs.memory, settled={"old:1": settled("excluded", "charge_type")}, live=())
    plan = plan_run(replace(inputs, memory=memory))
    assert fates(plan) == {"1": "posted", "2": "excluded charge_type", "3": "posted", "4": "posted"}


@pytest.mark.parametrize("state", ["unresolved", "differs"])
def test_R2_what_may_have_been_billed_counts_as_billed_and_is_not_taken_back(state: str) -> None:
    plan = plan_run(replaced(state=state, approved=frozenset({1})))
    assert fates(plan)["1"] == "held source_replaced" and plan.true_ups[0].state == "blocked"


# --- [N1] --------------------------------------------------------------------------------------------------------


def key_of(*charges: Any, **said: Any) -> str:
    (posting,) = plan_run(month(*charges, **said)).postings
    return posting.key


def test_N1_a_key_is_derived_from_partner_client_target_and_charges() -> None:
    key = key_of(charge("1"), charge("2"))
    assert len(key) == 20 and int(key, 16) >= 0
    assert key == key_of(charge("2"), charge("1"))
    assert key == key_of(charge("1", "99.00", product="Other"), charge("2"))  # not from what they come to
    others = {
        "charges": key_of(charge("1")),
        "other charges": key_of(charge("1"), charge("3")),
        "client": key_of(charge("1"), charge("2"), clients=(Client(id=9, name="Contoso", currency="USD"),)),
        "period": key_of(charge("1"), charge("2"), period=month().period.next),
    }
    (posting,) = plan_run(replace(month(charge("1"), charge("2")), partner="other")).postings
    others["partner"] = posting.key
    assert len({key, *others.values()}) == 6


def test_N1_an_undo_raises_the_generation_and_with_it_the_key() -> None:
    inputs = month(charge())
    (before,) = plan_run(inputs).postings
    (after,) = plan_run(replace(inputs, memory=Memory(generations={before.base_key: 2}))).postings
    assert (before.generation, before.key) == (0, before.base_key)
    assert (after.generation, after.base_key) == (2, before.base_key)
    assert after.key != before.key


def test_N1_other_charges_do_not_touch_a_key() -> None:
    alone = key_of(charge("1"))
    plan = plan_run(month(charge("1"), charge("2", company="Fabrikam GmbH"), charge("3", type="rebate")))
    assert alone in [posting.key for posting in plan.postings]


# --- the digest --------------------------------------------------------------------------------------------------


TWO = [charge("1", invoice="a"), charge("2", "5.00", invoice="b"), charge("3", company="Fabrikam GmbH", invoice="a")]


def test_digest_does_not_hang_on_any_order() -> None:
    inputs = month(*TWO)
    digest = plan_run(inputs).digest
    for seed in range(6):
        shuffle = Random(seed).sample
        sources = [replace(s, charges=tuple(shuffle(s.charges, len(s.charges)))) for s in inputs.sources]
        other = replace(
            inputs,
            sources=tuple(shuffle(sources, len(sources))),
            companies=tuple(shuffle(inputs.companies, len(inputs.companies))),
            clients=tuple(shuffle(inputs.clients, len(inputs.clients))),
        )
        assert plan_run(other).digest == digest


@pytest.mark.parametrize(
    "change",
    [
        lambda i: replace(i, partner="other"),
        lambda i: replace(i, period=i.period.next),
        lambda i: replace(i, rulebook=replace(i.rulebook, digest="other rules")),
        lambda i: replace(i, clients_asked=("c-1",)),
        lambda i: late(i, charge("9", invoice="a")),
        lambda i: late(i, charge("9", "0.00", "0.00", invoice="a", type="rebate")),
        lambda i: month(charge("1", "10.01", invoice="a"), *TWO[1:]),
        lambda i: month(charge("1", cost="8.01", invoice="a"), *TWO[1:]),
        lambda i: month(charge("1", invoice="a", product="Other"), *TWO[1:]),
        lambda i: month(charge("1", invoice="a", quantity="2", unit_price="5.00"), *TWO[1:]),
        lambda i: month(charge("1", invoice="a", problem="x"), *TWO[1:]),
        lambda i: replace(i, clients=(replace(i.clients[0], inactive=True), *i.clients[1:])),
        lambda i: replace(i, memory=Memory(settled={"a:1": settled("posted")})),
    ],
)
def test_digest_changes_with_whatever_would_be_done(change: Any) -> None:
    inputs = month(*TWO)
    assert plan_run(change(inputs)).digest != plan_run(inputs).digest


def test_digest_changes_with_a_unit_price_that_comes_to_the_same() -> None:
    """What was approved is what is sent, to the last decimal."""
    digests = {
        plan_run(month(charge(price="27.50", quantity="11", unit_price=unit))).digest for unit in ("2.4999", "2.4998")
    }
    assert len(digests) == 2


def test_digest_changes_with_the_reason_of_a_hold() -> None:
    unreadable = plan_run(month(charge(problem="total: not a number")))
    unknown = plan_run(month(charge(type="usage")))
    assert unreadable.postings == unknown.postings == ()
    assert unreadable.digest != unknown.digest


# --- --client ----------------------------------------------------------------------------------------------------


def test_client_asked_for_is_planned_alone() -> None:
    charges = [*TWO, charge("4", company=None)]
    plan = plan_run(replace(month(*charges), clients_asked=("c-2",)))
    assert fates(plan) == {"3": "posted"}
    assert plan.accounts[0].price.charges == Decimal("10.00")


# --- what people should know -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "carried", "tax", "warned"),
    [
        (None, None, "0", False),
        ("16.00", None, "0", False),
        ("17.28", None, "0.64", False),  # with tax
        ("16.00", None, "0.64", False),  # without
        ("116.00", "100.00", "0", False),
        ("16.01", None, "0", True),
        ("116.00", None, "0", True),
    ],
)
def test_S8_a_header_that_says_something_else_is_a_warning(
    total: str | None, carried: str | None, tax: str, warned: bool
) -> None:
    inputs = month(charge("1", sales_tax=tax), charge("2", sales_tax=tax))
    (source,) = inputs.sources
    header = {"total": total and Decimal(total), "carried_balance": carried and Decimal(carried)}
    plan = plan_run(replace(inputs, sources=(replace(source, **header),)))
    assert bool(plan.warnings) is warned
    assert len(lines(plan)) == 2


@pytest.mark.parametrize("field", ["pax8_monthly_invoice", "pax8_annual_invoice"])
def test_fault_03_a_client_that_halopsas_own_pax8_sync_bills_too_is_named(field: str) -> None:
    clients = (Client(id=1, name="Contoso", currency="USD", **{field: -5}),)
    plan = plan_run(month(charge(), clients=clients))
    assert plan.held or any("Contoso" in warning for warning in plan.warnings)


def test_S6_what_rounding_moved_is_shown_per_source() -> None:
    one = charge("1", price_rounding=Decimal("0.004"), cost_rounding=Decimal("-0.001"))
    plan = plan_run(month(one, charge("2", price_rounding=Decimal("0.001"))))
    assert (plan.sources[0].price_rounding, plan.sources[0].cost_rounding) == (Decimal("0.005"), Decimal("-0.001"))


def test_a_client_whose_every_charge_waits_says_so() -> None:
    assert client_of(plan_run(month(charge(problem="x"), base=DROP))).held == "bad_amount"
    assert client_of(plan_run(month(charge("1", problem="x"), charge("2"), base=DROP))).held is None
    assert client_of(plan_run(month(charge("1", problem="x"), azure("2"), base=DROP))).held is None


def test_an_empty_month_is_an_empty_plan() -> None:
    plan = plan_run(month())
    assert plan.empty and plan.accounts == ()
