"""A true-up [R2] figure by figure: whom it concerns, what is taken back, what comes instead, and who may allow it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from halo_rows import invoice_of
from test_core_notation import CLIENTS, charge, fates, lines, month, rules

from billingsync.core.bill.plan import Plan, TakenBack, TrueUp
from billingsync.core.bill.plan_run import plan_run
from billingsync.core.bill.trueup import to_take_back, wording
from billingsync.core.inputs import Client, Memory, RunInputs
from billingsync.core.remembered import LivePosting, Settled
from billingsync.core.rules import ClientFile

NEW = charge("1", "12.00", "9.00", invoice="new")
FABRIKAM = {"company": "Fabrikam GmbH"}


def settled(price: str = "10.00", cost: str = "8.00", state: str = "posted", currency: str = "USD") -> Settled:
    return Settled(state=state, by="k", price=Decimal(price), cost=Decimal(cost), currency=currency)


def live(key: str, *charges: str, **said: Any) -> LivePosting:
    usual: dict[str, Any] = {
        "client_id": 1,
        "client_name": "Contoso Ltd",
        "invoice_id": 900,
        "action": "create",
        "currency": "USD",
        "state": "posted",
        "price": Decimal("10.00") * len(charges),
        "cost": Decimal("8.00") * len(charges),
        "companies": frozenset({"c-1"}),
    }
    return LivePosting(key=key, charges=frozenset(charges), **(usual | said))


def credited(
    *postings: LivePosting,
    charges: Collection[Any] = (NEW,),
    gone: Collection[str] = ("old",),
    approved: Collection[int | str] = (),
    **said: Any,
) -> RunInputs:
    """A month of which these postings billed what Pax8 has credited since."""
    postings = postings or (live("k-old", "old:1"),)
    known = {
        one: settled(currency=posting.currency, state=posting.state) for posting in postings for one in posting.charges
    }
    memory = Memory(settled=known, live=postings, approved=frozenset(approved))
    return replace(month(*charges, memory=memory, **said), credited=frozenset(gone))


def ups(inputs: RunInputs) -> list[TrueUp]:
    return list(plan_run(inputs).true_ups)


def test_R2_take_back_add_and_net_for_price_and_cost() -> None:
    both = (
        live("k-1", "old:1", "old:2", price=Decimal("20.00"), cost=Decimal("16.00"), invoice_id=901),
        live("k-2", "old:3", price=Decimal("5.50"), cost=Decimal("5.00"), invoice_id=902),
    )
    plan = plan_run(credited(*both, charges=(NEW, charge("2", "1.00", "0.50", invoice="new"))))
    (up,) = plan.true_ups
    assert (up.take_back, up.take_back_cost) == (Decimal("25.50"), Decimal("21.00"))
    assert (up.add, up.add_cost) == (Decimal("13.00"), Decimal("9.50"))
    assert (up.net, up.net_cost) == (Decimal("-12.50"), Decimal("-11.50"))
    assert (up.client_id, up.client_name, up.companies, up.currency) == (1, "Contoso Ltd", ("c-1",), "USD")
    assert up.postings == (
        TakenBack(key="k-1", invoice_id=901, closed=""),
        TakenBack(key="k-2", invoice_id=902, closed=""),
    )
    said = "Pax8 credited its invoice old, which is billed: take back 25.50, add 13.00, net -12.50 USD"
    assert (up.state, up.credited, up.detail) == ("held", ("old",), said)
    step = f'billingsync approve {plan.digest[:12]} --client "Contoso Ltd" --as true-up --reason TEXT'
    assert up.next_step == step
    holds = [hold for client in plan.clients for hold in client.holds]
    assert {(hold.reason, hold.detail, hold.next_step) for hold in holds} == {("source_replaced", said, step)}
    assert plan.postings == ()


def test_R2_the_first_three_credited_invoices_are_named_in_order() -> None:
    charges = ["d:1", "b:1", "a:1", "c:1"]
    (up,) = ups(credited(live("k", *charges), gone="abcd"))
    assert up.credited == ("a", "b", "c", "d")
    assert wording(up).startswith("Pax8 credited its invoice a, b, c, which is billed")


def test_R2_what_still_counts_is_not_taken_back() -> None:
    kept, gone, half = live("k-1", "inv:1"), live("k-2", "old:1"), live("k-3", "inv:2", "old:2")
    inputs = month(charge("1"), charge("2"), memory=Memory(live=(kept, gone, half)))
    assert to_take_back(inputs) == (gone, half)
    assert ups(credited(live("k-1", "new:1"))) == []


@pytest.mark.parametrize(
    ("raw", "closed"),
    [({}, ""), ({"voided": True}, "is void"), ({"datesent": "2026-11-06T09:00:00"}, "was sent to the customer")],
)
def test_R2_an_invoice_that_is_closed_by_now_is_named(raw: dict[str, Any], closed: str) -> None:
    there = (
        invoice_of({"lines": [], "posted": True}, id_=901, client_id=1, template=False),
        invoice_of({"lines": [], **raw}, id_=900, client_id=1, template=False),
    )
    (up,) = ups(credited(existing=there))
    assert up.postings == (TakenBack(key="k-old", invoice_id=900, closed=closed),)


def test_R2_a_recurring_invoice_is_never_closed() -> None:
    there = (invoice_of({"lines": [], "voided": True}, id_=900, client_id=1, template=True),)
    (up,) = ups(credited(existing=there))
    assert up.postings[0].closed == ""


# --- whom it concerns --------------------------------------------------------------------------------------------


def test_R2_each_client_and_currency_has_its_own() -> None:
    postings = (
        live("k-3", "old:3", client_id=2, client_name="Fabrikam GmbH", companies=frozenset({"c-2"})),
        live("k-2", "old:2", currency="EUR", price=Decimal("3.00"), cost=Decimal("2.00")),
        live("k-1", "old:1"),
    )
    charges = (NEW, charge("2", "7.00", "6.00", invoice="new", **FABRIKAM))
    plan = plan_run(credited(*postings, charges=charges))
    found = [(up.client_id, up.currency, str(up.take_back), str(up.add)) for up in plan.true_ups]
    assert [(*one[:3], Decimal(one[3])) for one in found] == [
        (1, "EUR", "3.00", 0),
        (1, "USD", "10.00", 12),
        (2, "USD", "10.00", 7),
    ]
    assert fates(plan) == {"1": "held source_replaced", "2": "held source_replaced"}


def test_R2_one_clients_true_up_is_not_anothers() -> None:
    charges = (NEW, charge("2", "7.00", "6.00", invoice="new", **FABRIKAM))
    plan = plan_run(credited(charges=charges))
    assert fates(plan) == {"1": "held source_replaced", "2": "posted"}
    assert plan.true_ups[0].add == Decimal("12.00")


def test_R2_who_was_billed_then_and_who_would_be_now_both_wait() -> None:
    """The company has moved to another client, and another company to this one."""
    files = (
        ClientFile(path="1.toml", pax8_company="c-1", halo_client=3, rules=rules()),
        ClientFile(path="2.toml", pax8_company="c-2", halo_client=1, rules=rules()),
    )
    charges = (NEW, charge("2", "7.00", "6.00", invoice="new", **FABRIKAM))
    plan = plan_run(credited(charges=charges, files=files))
    assert fates(plan) == {"1": "held source_replaced", "2": "held source_replaced"}
    assert plan.true_ups[0].add == Decimal("19.00")


def test_R2_approved_all_of_it_is_billed_anew_and_the_equation_holds() -> None:
    posting = live("k-old", "old:1", "inv:3", price=Decimal("20.00"), cost=Decimal("16.00"))
    charges = (NEW, charge("3", "10.00", "8.00"))
    plan = plan_run(credited(posting, charges=charges, approved=(1,)))
    (up,) = plan.true_ups
    assert (up.state, up.add, up.detail, up.next_step) == ("approved", Decimal("22.00"), "", "")
    assert fates(plan) == {"1": "posted", "3": "posted"}
    assert plan.accounts[0].price.posted == Decimal("22.00")
    assert plan.accounts[0].price.already_posted == 0
    assert sum(line.amount for line in lines(plan)) == Decimal("22.00")


# --- who may allow it --------------------------------------------------------------------------------------------

POST = rules(approval={"true_up": "post"})


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({}, "held"),
        ({"approved": (1,)}, "approved"),
        ({"approved": ("c-1",)}, "approved"),
        ({"approved": (2, "c-2")}, "held"),
        ({"base": POST}, "approved"),
        ({"base": POST, "charges": ()}, "held"),  # the new invoice is not there yet
        ({"gone": ()}, "held"),  # listed no more: treated as credited
        ({"gone": (), "approved": (1,)}, "approved"),
        ({"gone": ("other",), "base": POST}, "approved"),
    ],
    ids=str,
)
def test_R2_who_allows_a_true_up(said: dict[str, Any], state: str) -> None:
    plan = plan_run(credited(**said))
    assert [up.state for up in plan.true_ups] == [state]
    if "charges" not in said:
        assert fates(plan) == {"1": "posted" if state == "approved" else "held source_replaced"}


def test_R2_where_nobody_is_left_whose_rules_could_allow_it_a_person_must() -> None:
    """The client has no charge any more; that another one has a new invoice allows nothing."""
    charges = (charge("2", "7.00", "6.00", invoice="new", **FABRIKAM),)
    (up,) = ups(credited(charges=charges, base=POST))
    assert (up.state, up.add) == ("held", 0)


def test_R2_the_rules_of_all_whom_it_concerns_must_allow_it() -> None:
    files = (ClientFile(path="2.toml", pax8_company="c-2", halo_client=1, rules=rules()),)
    charges = (NEW, charge("2", "7.00", "6.00", invoice="new", **FABRIKAM))
    assert [up.state for up in ups(credited(charges=charges, files=files, base=POST))] == ["held"]
    alone = (replace(files[0], halo_client=2),)
    assert [up.state for up in ups(credited(charges=charges, files=alone, base=POST))] == ["approved"]


@pytest.mark.parametrize("state", ["unresolved", "differs"])
def test_R2_nobody_takes_back_what_may_not_be_there(state: str) -> None:
    postings = (live("k-1", "old:1"), live("k-2", "old:2", state=state))
    (up,) = ups(credited(*postings, approved=(1,)))
    assert (up.state, up.detail) == ("blocked", "whether HaloPSA has all that was sent for this client is not certain")


def test_R2_an_invoice_that_pax8_lists_no_more_is_treated_as_credited() -> None:
    (up,) = ups(credited(live("k", "b:1", "a:1", "old:1")))
    assert (up.state, up.credited) == ("held", ("a", "b", "old"))


def test_R2_a_blocked_one_still_says_what_would_come() -> None:
    plan = plan_run(credited(live("k-old", "old:1", state="differs")))
    assert plan.true_ups[0].add == Decimal("12.00")
    (hold,) = plan.clients[0].holds
    assert (hold.detail, hold.next_step) == (plan.true_ups[0].detail, "billingsync run 2026-11")


# --- --client ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "state"),
    [
        (("c-1",), ["blocked"]),
        (("c-2",), ["blocked"]),
        (("c-1", "c-2"), ["approved"]),
        (("c-3",), []),
        ((), ["approved"]),
    ],
)
def test_R2_client_asked_for_takes_an_invoice_back_only_whole(asked: tuple[str, ...], state: list[str]) -> None:
    posting = live("k-old", "old:1", "old:2", companies=frozenset({"c-1", "c-2"}))
    charges = (NEW, charge("2", invoice="new", **FABRIKAM), charge("3", invoice="new", company="Litware Inc"))
    plan = plan_run(replace(credited(posting, charges=charges, approved=(1,)), clients_asked=asked))
    assert [up.state for up in plan.true_ups] == state
    if state == ["blocked"]:
        assert plan.true_ups[0].detail == "its invoices bill another company too, which --client leaves out"


def test_R2_who_is_the_client_now_is_asked_for_too() -> None:
    """c-2 was not billed then, but is the same HaloPSA client now."""
    files = (ClientFile(path="2.toml", pax8_company="c-2", halo_client=1, rules=rules()),)
    inputs = credited(charges=(NEW, charge("2", invoice="new", **FABRIKAM)), files=files, approved=(1,))
    assert [up.state for up in ups(replace(inputs, clients_asked=("c-2",)))] == ["blocked"]
    assert ups(replace(inputs, clients_asked=("c-3",))) == []


def test_the_digest_changes_with_what_would_be_taken_back() -> None:
    def digest(**said: Any) -> str:
        plan: Plan = plan_run(credited(**said))
        return plan.digest

    assert len({digest(), digest(approved=(1,))}) == 2
    one = plan_run(credited(live("k-1", "old:1"), charges=())).digest
    assert plan_run(credited(live("k-2", "old:1"), charges=())).digest != one
    assert plan_run(credited(live("k-1", "old:1", client_id=2), charges=())).digest != one


def test_R2_a_true_up_in_another_currency_than_the_client_has_now() -> None:
    """Billed in dollars, billed in euros from now on: the dollars go back, the euros are what comes."""
    euro = (Client(id=1, name="Contoso", currency="EUR"), *CLIENTS[1:])
    new = charge("1", "12.00", "9.00", invoice="new", currency="EUR")
    plan = plan_run(credited(charges=(new,), clients=euro))
    assert fates(plan) == {"1": "held source_replaced"}
    assert plan.true_ups[0].currency == "USD"


def test_R2_client_asked_for_sees_its_own_true_up_whoevers_comes_first() -> None:
    postings = (
        live("k-1", "old:1"),
        live("k-2", "old:2", client_id=2, client_name="Fabrikam GmbH", companies=frozenset({"c-2"})),
    )
    charges = (NEW, charge("2", invoice="new", **FABRIKAM))
    for asked, client in (("c-1", 1), ("c-2", 2)):
        found = ups(replace(credited(*postings, charges=charges), clients_asked=(asked,)))
        assert [up.client_id for up in found] == [client]


def test_S5_the_invoice_of_a_charge_is_what_stands_before_the_first_colon() -> None:
    assert to_take_back(month(charge("1"), memory=Memory(live=(live("k", "inv:a:b"),)))) == ()
    gone = live("k", "old:inv:1")
    assert to_take_back(month(charge("1"), memory=Memory(live=(gone,)))) == (gone,)


def test_R2_who_waits_for_two_true_ups_is_told_of_the_one_that_is_in_the_way() -> None:
    """The euros are approved; whether the dollars arrived is not known, and that is what everything waits for."""
    postings = (live("k-1", "old:1", state="unresolved"), live("k-2", "old:2", currency="EUR"))
    plan = plan_run(credited(*postings, approved=(1,)))
    assert [(up.currency, up.state) for up in plan.true_ups] == [("EUR", "blocked"), ("USD", "blocked")]
    (hold,) = [hold for client in plan.clients for hold in client.holds]
    assert (hold.reason, hold.detail) == ("source_replaced", plan.true_ups[1].detail)
    assert hold.next_step == "billingsync run 2026-11"
