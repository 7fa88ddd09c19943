"""When a plan must wait: every key of [limits], per client, with the numbers; and who may let it through."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from halo_rows import invoice_of
from test_core_notation import (
    CLIENTS,
    azure,
    carried_out,
    charge,
    client_of,
    fate_of,
    fates,
    fates_of,
    late,
    month,
    rules,
)

from billingsync.core.bill.plan_run import plan_run
from billingsync.core.inputs import Client, Item, Memory
from billingsync.core.rules import ClientFile
from billingsync.core.steps import quoted

OPEN = {"change_percent_max": 10**9, "negative_invoice": "post", "missing_company_percent_max": 100}


def only(**limits: Any) -> Any:
    """Rules with these limits and no other."""
    return rules(limits=OPEN | limits)


def last(amount: str, currency: str = "USD", client_id: int = 1) -> Memory:
    return Memory(last_amounts={(client_id, currency): ("2026-10", Decimal(amount))})


# --- change_percent_max, change_amount_min -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "fate"),
    [
        ("1000.00", "1000.00", "posted"),
        ("1000.00", "1500.00", "posted"),  # exactly 50 %
        ("1000.00", "1500.01", "held limit_change"),
        ("1000.00", "500.00", "posted"),
        ("1000.00", "499.99", "held limit_change"),
        ("100.00", "200.00", "posted"),  # 100 %, but exactly 100.00
        ("100.00", "200.01", "held limit_change"),
        ("10.00", "90.00", "posted"),  # 800 %, but less than 100.00
        ("0.00", "100.00", "posted"),
        ("0.00", "100.01", "held limit_change"),  # from nothing
        ("-200.00", "100.00", "held limit_change"),
        ("-200.00", "-301.00", "held limit_change"),
        ("-200.00", "-299.00", "posted"),
        ("1000.00", "-1000.00", "held limit_change"),
    ],
)
def test_limit_change_is_beyond_both_percent_and_amount(before: str, now: str, fate: str) -> None:
    base = rules(limits={"negative_invoice": "post"})
    assert fate_of(charge(price=now), base=base, memory=last(before)) == fate


@pytest.mark.parametrize(
    ("limits", "fate"),
    [
        ({"change_percent_max": 10, "change_amount_min": Decimal("100.00")}, "posted"),
        ({"change_percent_max": 10, "change_amount_min": Decimal("99.99")}, "held limit_change"),
        ({"change_percent_max": Decimal("9.9"), "change_amount_min": Decimal("99.99")}, "held limit_change"),
        ({"change_percent_max": Decimal("10.1"), "change_amount_min": Decimal("0.00")}, "held limit_change"),
        ({"change_percent_max": Decimal("11.2"), "change_amount_min": Decimal("0.00")}, "posted"),
    ],
)
def test_limit_change_keys(limits: dict[str, Any], fate: str) -> None:
    assert fate_of(charge(price="1000.00"), base=only(**limits), memory=last("900.00")) == fate


def test_limit_change_first_bill_of_a_client_has_nothing_to_be_compared_with() -> None:
    assert fate_of(charge(price="99999.00"), base=rules(limits={})) == "posted"
    assert fate_of(charge(price="99999.00"), base=rules(limits={}), memory=last("1.00", "EUR")) == "posted"
    assert fate_of(charge(price="99999.00"), base=rules(limits={}), memory=last("1.00", "USD", 2)) == "posted"


def test_limit_change_shows_the_numbers_and_what_to_type() -> None:
    plan = plan_run(month(charge(price="1800.00"), base=rules(limits={}), memory=last("1000.00")))
    (hold,) = client_of(plan).holds
    for said in ("1800.00 USD", "1000.00 USD", "2026-10", "+80.0 %", "50 %"):
        assert said in hold.detail
    assert hold.next_step == f'billingsync approve {plan.digest[:12]} --client "Contoso Ltd" --reason TEXT'


def test_limit_change_a_late_charge_is_judged_with_what_was_posted_before() -> None:
    """1,000.00 last month, 1,000.00 posted, 5.00 more: that is 1,005.00 and not 5.00."""
    november = replace(carried_out(month(charge("1", "1000.00"), base=rules(limits={}))), memory=last("1000.00"))
    posted = carried_out(replace(november))
    assert fates(plan_run(late(posted, charge("2", "5.00")))) == {"2": "posted"}


def test_limit_change_what_another_company_of_the_client_was_billed_counts_too() -> None:
    files = tuple(
        ClientFile(path=f"{n}.toml", pax8_company=n, halo_client=1, rules=rules(limits={})) for n in ("c-1", "c-2")
    )
    said = {"base": rules(limits={}), "files": files, "memory": last("2500.00")}
    november = month(charge("1", "1000.00"), charge("2", "1000.00", company="Fabrikam GmbH"), **said)
    posted = carried_out(november)
    assert fates(plan_run(late(posted, charge("3", "5.00")))) == {"3": "posted"}


def test_C3_two_currencies_of_a_client_whose_currency_nobody_knows_wait() -> None:
    """A client whose currency HaloPSA does not say, billed 90 dollars and 90 euros through two companies."""
    clients = (Client(id=1, name="Contoso"),)
    files = tuple(
        ClientFile(path=f"{n}.toml", pax8_company=n, halo_client=1, rules=only(client_amount_max=100))
        for n in ("c-1", "c-2")
    )
    found = fates_of(
        charge("1", "90.00"),
        charge("2", "90.00", company="Fabrikam GmbH", currency="EUR"),
        clients=clients,
        files=files,
    )
    assert found == {"1": "held currency_mismatch", "2": "held currency_mismatch"}


# --- margin_percent_min ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "cost", "least", "fate"),
    [
        ("100.00", "95.00", "5", "posted"),
        ("100.00", "95.01", "5", "held limit_margin"),
        ("100.00", "120.00", "5", "held limit_margin"),
        ("100.00", "100.00", "0", "posted"),
        ("100.00", "100.01", "0", "held limit_margin"),
        ("100.00", "110.00", "-10", "posted"),
        ("100.00", "-5.00", "5", "posted"),
        ("0.00", "0.00", "5", "posted"),
        ("0.00", "0.01", "5", "held limit_margin"),
        ("0.00", "-0.01", "5", "posted"),
        ("0.50", "2.00", "-400", "posted"),  # -300 %
        ("-100.00", "-95.00", "5", "posted"),  # a credit has the margin of what it takes back
        ("-100.00", "-96.00", "5", "held limit_margin"),
        ("-100.00", "5.00", "5", "held limit_margin"),  # we pay the client and Pax8: a loss, not a margin of 105 %
    ],
)
def test_limit_margin(price: str, cost: str, least: str, fate: str) -> None:
    base = only(margin_percent_min=Decimal(least))
    assert fate_of(charge(price=price, cost=cost), base=base) == fate


def test_limit_margin_of_one_line_holds_the_client_and_no_other() -> None:
    found = fates_of(
        charge("1", "1000.00", "10.00"),
        charge("2", "1.00", "0.99"),
        charge("3", "1.00", "0.50", company="Fabrikam GmbH"),
        base=only(margin_percent_min=5),
    )
    assert found == {"1": "held limit_margin", "2": "held limit_margin", "3": "posted"}


def test_limit_margin_of_the_client_counts_where_no_line_is_below() -> None:
    """A sale of 100 at 10 % and a credit of 90 at 11 % leave 10.00 with a cost of 9.90."""
    found = fates_of(charge("1", "100.00", "90.00"), charge("2", "-90.00", "-80.10"), base=only(margin_percent_min=5))
    assert found == {"1": "held limit_margin", "2": "held limit_margin"}


def test_limit_margin_of_a_collapsed_line_is_that_of_its_sum() -> None:
    base = rules(limits=OPEN | {"margin_percent_min": 5}, modifiers={"azure": "collapse"})
    assert fates_of(azure("1", "10.00", "10.00"), azure("2", "10.00", "5.00"), base=base) == {
        "1": "posted",
        "2": "posted",
    }


# --- client_amount_max -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("price", "fate"), [("100.00", "posted"), ("100.01", "held limit_amount")])
def test_limit_amount(price: str, fate: str) -> None:
    assert fate_of(charge(price=price), base=only(client_amount_max=100)) == fate


def test_limit_amount_counts_what_was_posted_of_the_period_before() -> None:
    for before in ((charge("1", "95.00"),), (charge("1", "60.00"), charge("0", "35.00"))):
        posted = carried_out(month(*before, base=only(client_amount_max=100)))
        assert fates(plan_run(late(posted, charge("2", "5.00")))) == {"2": "posted"}
        assert fates(plan_run(late(posted, charge("2", "5.01")))) == {"2": "held limit_amount"}


def test_limit_amount_is_of_all_companies_of_a_client_and_all_its_invoices() -> None:
    base = rules(limits=OPEN | {"client_amount_max": 100}, invoice={"group_by": "distributor_invoice"})
    split = fates_of(charge("1", "60.00", invoice="a"), charge("2", "61.00", invoice="b"), base=base)
    assert split == {"1": "held limit_amount", "2": "held limit_amount"}


# --- negative_invoice --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prices", "policy", "fate"),
    [
        (["-0.01"], "hold", "held limit_negative"),
        (["-0.01"], "post", "posted"),
        (["0.00"], "hold", "posted"),
        (["10.00", "-10.00"], "hold", "posted"),
        (["10.00", "-10.01"], "hold", "held limit_negative"),
    ],
)
def test_limit_negative(prices: list[str], policy: str, fate: str) -> None:
    charges = [charge(str(n), price) for n, price in enumerate(prices)]
    assert set(fates_of(*charges, base=only(negative_invoice=policy)).values()) == {fate}


def test_limit_negative_is_of_each_invoice() -> None:
    base = rules(limits=OPEN | {"negative_invoice": "hold"}, invoice={"group_by": "distributor_invoice"})
    found = fates_of(charge("1", "60.00", invoice="a"), charge("2", "-6.00", invoice="b"), base=base)
    assert set(found.values()) == {"held limit_negative"}


@pytest.mark.parametrize(
    ("invoice", "fate"),
    [
        ({"behavior": "latest"}, "posted"),
        ({"behavior": "recurring", "recurring_invoice": -8841}, "posted"),
        ({"behavior": "new"}, "held limit_negative"),
    ],
)
def test_limit_negative_is_about_new_invoices(invoice: dict[str, Any], fate: str) -> None:
    existing = (
        invoice_of({"invoice_date": "2026-11-01", "lines": []}, id_=7, client_id=1, template=False),
        invoice_of({"lines": []}, id_=-8841, client_id=1, template=True),
    )
    base = rules(limits=OPEN | {"negative_invoice": "hold"}, invoice=invoice)
    assert fate_of(charge(price="-5.00"), base=base, existing=existing) == fate


def test_limit_negative_holds_by_default() -> None:
    assert fate_of(charge(price="-5.00"), base=rules(limits={})) == "held limit_negative"


# --- new_client, new_product -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "known", "fate"),
    [
        ("post", frozenset(), "posted"),
        ("hold", frozenset(), "held limit_new_client"),
        ("hold", frozenset({2}), "held limit_new_client"),
        ("hold", frozenset({1}), "posted"),
    ],
)
def test_limit_new_client(policy: str, known: frozenset[int], fate: str) -> None:
    assert fate_of(charge(), base=only(new_client=policy), memory=Memory(known_clients=known)) == fate


@pytest.mark.parametrize(
    ("policy", "known", "fate"),
    [
        ("post", set(), "posted"),
        ("hold", set(), "held limit_new_product"),
        ("hold", {"S-1"}, "posted"),
        ("hold", {"Widget"}, "held limit_new_product"),  # by its SKU where it has one
    ],
)
def test_limit_new_product(policy: str, known: set[str], fate: str) -> None:
    memory = Memory(known_products=frozenset(known))
    assert fate_of(charge(sku="S-1"), base=only(new_product=policy), memory=memory) == fate


def test_limit_new_product_by_name_where_there_is_no_sku_and_not_for_what_is_not_billed() -> None:
    base = rules(limits=OPEN | {"new_product": "hold"}, modifiers={"azure": "drop"})
    memory = Memory(known_products=frozenset({"Widget"}))
    found = fates_of(charge("1"), azure("2"), charge("3", type="rebate", sku="X"), base=base, memory=memory)
    assert found == {"1": "posted", "2": "dropped azure", "3": "excluded charge_type"}


def test_limit_new_product_a_collapsed_line_is_no_newer_than_its_charges() -> None:
    """Azure of two SKUs that were both billed before, on one line: nothing of it is seen for the first time."""
    base = rules(limits=OPEN | {"new_product": "hold"}, modifiers={"azure": "collapse"})
    charges = [azure("1"), azure("2", sku="AZR-ARR-1", product="Reserved Instance")]
    known = Memory(known_products=frozenset({"MST-AZR-PLN-C100", "AZR-ARR-1"}))
    assert fates_of(*charges, base=base, memory=known) == {"1": "posted", "2": "posted"}
    half = Memory(known_products=frozenset({"MST-AZR-PLN-C100"}))
    assert set(fates_of(*charges, base=base, memory=half).values()) == {"held limit_new_product"}


def test_limit_new_product_of_a_charge_that_waits_anyway_holds_nothing_else() -> None:
    items = (Item(id=1, name="x", external_reference="N-1"), Item(id=2, name="y", external_reference="N-1"))
    memory = Memory(known_products=frozenset({"Widget"}))
    found = fates_of(charge("1"), charge("2", sku="N-1"), base=only(new_product="hold"), memory=memory, items=items)
    assert found == {"1": "posted", "2": "held product_ambiguous"}


# --- missing_company_percent_max ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("were", "percent", "fate"),
    [
        ([], 20, "posted"),
        (["c-1"], 20, "posted"),
        (["c-1", "c-2", "c-3", "c-4", "x"], 20, "posted"),  # exactly 20 %
        (["c-1", "c-2", "c-3", "x"], 20, "held limit_missing_companies"),
        (["c-1", "c-2", "c-3", "x"], 25, "posted"),
        (["x", "y"], 99, "held limit_missing_companies"),
        (["x", "y"], 100, "posted"),
    ],
)
def test_limit_missing_companies_holds_the_whole_run(were: list[str], percent: int, fate: str) -> None:
    charges = [charge(str(n), company=f"c-{n}", company_name=f"Client {n}") for n in (1, 2, 3, 4)]
    charges.append(charge("5", company="c-1", company_name="Client 1", type="rebate"))
    clients = tuple(Client(id=n, name=f"Client {n}", currency="USD") for n in (1, 2, 3, 4))
    found = fates_of(
        *charges,
        base=only(missing_company_percent_max=percent),
        memory=Memory(last_companies=frozenset(were)),
        clients=clients,
    )
    assert found == {"1": fate, "2": fate, "3": fate, "4": fate, "5": "excluded charge_type"}


def test_limit_missing_companies_is_20_percent_by_default() -> None:
    memory = Memory(last_companies=frozenset({"c-1", "x", "y", "z"}))
    plan = plan_run(month(charge(), base=rules(limits={}), memory=memory))
    assert fates(plan) == {"1": "held limit_missing_companies"}
    assert "75 %" in client_of(plan).holds[0].detail


def test_limit_missing_companies_a_company_that_is_only_excluded_is_not_missing() -> None:
    memory = Memory(last_companies=frozenset({"c-1"}))
    assert fate_of(charge(type="rebate"), base=rules(limits={}), memory=memory) == "excluded charge_type"
    assert plan_run(month(charge(type="rebate"), base=rules(limits={}), memory=memory)).warnings == ()


# --- layers and approval -----------------------------------------------------------------------------------------


def test_limits_are_the_clients_own() -> None:
    careful = ClientFile(path="c.toml", pax8_company="c-2", rules=only(client_amount_max=5))
    found = fates_of(charge("1"), charge("2", company="Fabrikam GmbH"), base=only(), files=(careful,))
    assert found == {"1": "posted", "2": "held limit_amount"}


BEYOND: list[tuple[dict[str, Any], dict[str, Any], Memory]] = [
    ({}, {"change_percent_max": 50}, last("1.00")),
    ({"price": "1.00"}, {"margin_percent_min": 5}, Memory()),
    ({}, {"client_amount_max": 5}, Memory()),
    ({"price": "-500.00", "cost": "-1.00"}, {"negative_invoice": "hold"}, Memory()),
    ({}, {"new_client": "hold"}, Memory()),
    ({}, {"new_product": "hold"}, Memory()),
    ({}, {"missing_company_percent_max": 20}, Memory(last_companies=frozenset({"x"}))),
]


@pytest.mark.parametrize("approved", [1, "c-1"])
@pytest.mark.parametrize(("said", "limits", "memory"), BEYOND, ids=[next(iter(limits)) for _, limits, _ in BEYOND])
def test_approval_lets_one_client_through_every_limit(
    approved: int | str, said: dict[str, Any], limits: dict[str, Any], memory: Memory
) -> None:
    one = charge(**({"price": "500.00"} | said))
    other = charge("2", "500.00", "499.00", company="Fabrikam GmbH")
    base = only(**limits)
    assert fates_of(one, base=base, memory=memory)["1"].startswith("held limit_")
    let_through = replace(memory, approved=frozenset({approved}))
    assert fates_of(one, base=base, memory=let_through) == {"1": "posted"}
    assert fates_of(one, other, base=base, memory=let_through)["1"] == "posted"


def test_approval_of_another_client_is_no_approval() -> None:
    for other in (2, "c-2"):
        memory = Memory(approved=frozenset({other}))
        assert fate_of(charge(), base=only(client_amount_max=5), memory=memory) == "held limit_amount"


@pytest.mark.parametrize("approved", [1, "c-1", 2, "c-2"])
def test_approval_of_one_client_is_for_it_alone_whichever_comes_first(approved: int | str) -> None:
    memory = Memory(approved=frozenset({approved}))
    found = fates_of(charge("1"), charge("2", company="Fabrikam GmbH"), base=only(client_amount_max=5), memory=memory)
    free = "1" if approved in (1, "c-1") else "2"
    assert found == {one: "posted" if one == free else "held limit_amount" for one in ("1", "2")}


@pytest.mark.parametrize(
    ("one", "said", "fate"),
    [
        (charge(problem="x"), {}, "held bad_amount"),
        (charge(type="usage"), {}, "held unknown_charge_type"),
        (charge(currency="EUR"), {}, "held currency_mismatch"),
        (charge(), {"clients": ()}, "held client_unmapped"),
        (charge(), {"clients": (replace(CLIENTS[0], inactive=True),)}, "held client_inactive"),
        (charge(), {"base": rules(invoice={"behavior": "latest"})}, "held latest_missing"),
    ],
)
def test_approval_is_for_limits_only(one: Any, said: dict[str, Any], fate: str) -> None:
    assert fate_of(one, memory=Memory(approved=frozenset({1, "c-1"})), **said) == fate


def test_a_client_beyond_its_limits_is_held_whole_but_for_what_is_excluded() -> None:
    base = rules(limits=OPEN | {"client_amount_max": 5}, modifiers={"azure": "drop"})
    charges = [charge("1"), azure("2"), charge("3", type="rebate"), charge("4", problem="x")]
    plan = plan_run(month(*charges, base=base))
    assert fates(plan) == {
        "1": "held limit_amount",
        "2": "held limit_amount",
        "3": "excluded charge_type",
        "4": "held bad_amount",
    }
    assert (client_of(plan).lines, client_of(plan).dropped, plan.postings) == ((), (), ())


# --- the numbers are shown ---------------------------------------------------------------------------------------


def detail_of(*charges: Any, **said: Any) -> str:
    """What the first hold says."""
    return client_of(plan_run(month(*charges, **said))).holds[0].detail


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("A", "never billed before: A"),
        ("CAB", "never billed before: A, B, C"),
        ("DCAB", "never billed before: A, B, C and 1 more"),
        ("EDCAB", "never billed before: A, B, C and 2 more"),
    ],
)
def test_limit_new_product_names_the_products(names: str, said: str) -> None:
    charges = [charge(name, product=name) for name in names]
    assert detail_of(*charges, base=only(new_product="hold")) == said


@pytest.mark.parametrize(
    ("charges", "limits", "memory", "said"),
    [
        (
            [charge(price="1.00", cost="0.99")],
            {"margin_percent_min": Decimal("5.50")},
            Memory(),
            "Widget: price 1.00 USD, cost 0.99 USD is a margin below 5.5 %",
        ),
        (
            [charge("1", "100.00", "90.00"), charge("2", "-90.00", "-80.10")],
            {"margin_percent_min": 5},
            Memory(),
            "price 10.00 USD, cost 9.90 USD is a margin below 5 %",
        ),
        ([charge(price="100.01")], {"client_amount_max": 100}, Memory(), "100.01 USD is more than 100"),
        (
            [charge(price="-5.00")],
            {"negative_invoice": "hold"},
            Memory(),
            "the new invoice would come to -5.00 USD",
        ),
        ([charge()], {"new_client": "hold"}, Memory(), "this client has never been billed from here before"),
        (
            [charge(price="101.00")],
            {"change_percent_max": 50},
            last("0.00"),
            "101.00 USD after 0.00 USD in 2026-10 (from nothing): more than 50 % and 100",
        ),
        (
            [charge(price="-500.00")],
            {"change_percent_max": 50},
            last("-200.00"),
            "-500.00 USD after -200.00 USD in 2026-10 (-150.0 %): more than 50 % and 100",
        ),
        (
            [charge()],
            {"missing_company_percent_max": Decimal("32.5")},
            Memory(last_companies=frozenset({"c-1", "x", "y"})),
            "2 of last period's 3 companies (67 %) have no charge now: more than 32.5 %",
        ),
    ],
    ids=["line margin", "client margin", "amount", "negative", "new client", "from nothing", "credit", "missing"],
)
def test_each_limit_says_what_is_beyond_it(
    charges: list[Any], limits: dict[str, Any], memory: Memory, said: str
) -> None:
    assert detail_of(*charges, base=only(**limits), memory=memory) == said


def test_limit_missing_companies_is_said_of_a_run_without_a_client_too() -> None:
    """Everything is gone: there is nobody to hold, and yet somebody must hear of it."""
    plan = plan_run(month(base=rules(limits={}), memory=Memory(last_companies=frozenset({"c-1"}))))
    assert any("1 of last period's 1 companies (100 %)" in warning for warning in plan.warnings)


@pytest.mark.parametrize("state", ["dropped", "excluded"])
def test_limit_amount_counts_only_what_was_billed_before(state: str) -> None:
    done = carried_out(month(charge("1", "95.00"), base=only(client_amount_max=100)))
    settled = {key: replace(one, state=state) for key, one in done.memory.settled.items()}
    other = late(replace(done, memory=replace(done.memory, settled=settled)), charge("2", "99.00"))
    assert fates(plan_run(other)) == {"2": "posted"}


def test_limit_amount_does_not_add_what_was_billed_before_in_another_currency() -> None:
    done = carried_out(month(charge("1", "95.00"), base=only(client_amount_max=100)))
    settled = {key: replace(one, currency="EUR") for key, one in done.memory.settled.items()}
    other = late(replace(done, memory=replace(done.memory, settled=settled)), charge("2", "99.00"))
    assert fates(plan_run(other)) == {"2": "posted"}


def test_limit_amount_does_not_add_what_another_client_was_billed() -> None:
    done = carried_out(month(charge("1", "95.00", company="Fabrikam GmbH"), base=only(client_amount_max=100)))
    assert fates(plan_run(late(done, charge("2", "99.00")))) == {"2": "posted"}


def test_limit_change_is_of_what_was_posted_as_it_was_posted() -> None:
    """The price that the ledger has, not what Pax8 says of the charge now."""
    said = {"base": rules(limits={}), "memory": last("1000.00")}
    done = carried_out(month(charge("1", "1000.00"), **said))
    now = late(replace(done, sources=()), charge("1", "3000.00"), charge("2", "5.00"))
    assert fates(plan_run(now)) == {"2": "posted"}


def test_limit_negative_of_one_company_is_not_made_good_by_another_invoice_of_the_client() -> None:
    """Two companies of one client stand on one new invoice: it is their sum that counts."""
    files = tuple(
        ClientFile(path=f"{n}.toml", pax8_company=n, halo_client=1, rules=only(negative_invoice="hold"))
        for n in ("c-1", "c-2")
    )
    plus, minus = charge("1", "10.00"), charge("2", "-9.00", company="Fabrikam GmbH")
    assert set(fates_of(plus, minus, files=files).values()) == {"posted"}
    more = charge("2", "-10.01", company="Fabrikam GmbH")
    assert set(fates_of(plus, more, files=files).values()) == {"held limit_negative"}


def test_limits_of_each_company_of_a_client_hold_them_all() -> None:
    """The stricter file decides for the invoice that they share."""
    files = (
        ClientFile(path="1.toml", pax8_company="c-1", halo_client=1, rules=only()),
        ClientFile(path="2.toml", pax8_company="c-2", halo_client=1, rules=only(client_amount_max=15)),
    )
    found = fates_of(charge("1"), charge("2", company="Fabrikam GmbH"), charge("3", company="Litware Inc"), files=files)
    assert found == {"1": "held limit_amount", "2": "held limit_amount", "3": "posted"}


@pytest.mark.parametrize(
    "name", ['x"; touch /tmp/pwned; "', "$(id)", "`id`", 'it\'s "quoted"', "back\\slash", "Bang! Ltd"]
)
def test_fault_37_what_a_hold_says_to_type_is_one_command_whatever_the_client_is_called(name: str) -> None:
    assert shlex.split(f"billingsync approve x --client {quoted(name)} --reason TEXT")[4] == name
    done = subprocess.run(["bash", "-c", f"printf %s {quoted(name)}"], capture_output=True, text=True, check=True)
    assert done.stdout == name
