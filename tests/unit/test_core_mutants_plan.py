"""What a plan says of each charge and client, word for word where a person acts on it; and what it warns of [S8] [M4]."""

from __future__ import annotations

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
    fates,
    late,
    lines,
    month,
    next_month,
    recurring,
    rules,
)

from billingsync.core.bill.company import clients_billed
from billingsync.core.bill.plan import Dropped, Excluded, Hold, Plan
from billingsync.core.bill.plan_run import plan_run
from billingsync.core.inputs import Client, Company, Item, Memory, RunInputs
from billingsync.core.reasons import HOLDS, Reason
from billingsync.core.remembered import RememberedMatch, Settled
from billingsync.core.rules import ClientFile
from billingsync.core.steps import Slot

INVOICE = {"behavior": "recurring", "recurring_invoice": -8841}
BASE = rules(invoice=INVOICE)
UNSAID = (Client(id=1, name="Contoso"),)


def hold_of(plan: Plan) -> Hold:
    (client,) = plan.clients
    return client.holds[0]


# --- what becomes of a charge, whole -----------------------------------------------------------------------------


def test_A1_what_is_dropped_excluded_or_held_is_shown_with_its_amounts() -> None:
    facts = {"amount": Decimal("3.00"), "cost": Decimal("2.00"), "product": "Widget", "currency": "USD"}
    base = rules(modifiers={"azure": "drop", "azure_patterns": ["widget"]})
    one = charge("1", "3.00", "2.00")
    assert client_of(plan_run(month(one, base=base))).dropped == (Dropped(charge="inv:1", modifier="azure", **facts),)
    out = client_of(plan_run(month(replace(one, type="rebate")))).excluded
    assert out == (Excluded(charge="inv:1", rule="charge_type", **facts),)
    fee = charge("1", "3.00", "2.00", company=None, type="service-charge")
    nobodys = plan_run(month(fee, base=rules(exclude={"types": []}))).unassigned_excluded
    assert nobodys == (Excluded(charge="inv:1", rule="no_company", **facts),)
    said = {Slot.FILE: "a file in rules/clients/", Slot.PRODUCTS: '["Widget"]'}
    steps = tuple(step.filled(said) for step in HOLDS[Reason.BAD_AMOUNT].steps)
    hold = Hold(charge="inv:1", reason=Reason.BAD_AMOUNT, detail="total: NaN", steps=steps, **facts)
    assert hold_of(plan_run(month(replace(one, problem="total: NaN")))) == hold


@pytest.mark.parametrize(
    ("one", "said", "reason", "detail", "step"),
    [
        (
            charge(),
            {"clients": (Client(id=1, name="Contoso", currency="USD", pax8_monthly_invoice=-5),)},
            "other_writer",
            "HaloPSA's own Pax8 sync bills Contoso already (invoice -5)",
            "turn off HaloPSA's Pax8 sync for this client",
        ),
        (
            charge(),
            {"clients": (Client(id=1, name="Contoso", currency="USD", pax8_annual_invoice=-6),)},
            "other_writer",
            "HaloPSA's own Pax8 sync bills Contoso already (invoice -6)",
            "turn off HaloPSA's Pax8 sync for this client",
        ),
        (
            charge(),
            {
                "clients": (Client(id=1, name="Contosso", currency="USD"),),
                "similar": {"c-1": ((1, Decimal("93.3")),)},
                "base": rules(clients={"guessed": "hold"}),
            },
            "client_guessed",
            "only similar to Contosso, not confirmed",
            'billingsync map companies --set "Contoso Ltd=1"',
        ),
        (
            charge(currency="EUR"),
            {},
            "currency_mismatch",
            "charged in EUR, its HaloPSA client in USD",
            'bill it by hand, and set exclude.products = ["Widget"] in a file in rules/clients/',
        ),
        (
            charge(),
            {"memory": Memory(settled={"inv:1": Settled(state="unresolved", by="k", price=Decimal(1), cost=Decimal(1), currency="USD")})},
            "write_unknown",
            "it was sent to HaloPSA, and whether it arrived is not known yet",
            "billingsync run 2026-11",
        ),
        (
            charge(),
            {"memory": Memory(settled={"inv:1": Settled(state="differs", by="k", price=Decimal(1), cost=Decimal(1), currency="USD", detail="11 instead of 10")})},
            "write_differs",
            "11 instead of 10",
            "make it right in HaloPSA, then billingsync run 2026-11",
        ),
    ],
    ids=["own sync", "own sync, annual", "guessed", "currency", "unknown", "differs"],
)  # fmt: skip
def test_A4_a_hold_says_why_and_what_to_do(one: Any, said: dict[str, Any], reason: str, detail: str, step: str) -> None:
    plan = plan_run(month(one, **said))
    hold = hold_of(plan)
    assert (hold.reason, hold.detail, hold.next_step) == (reason, detail, step)
    assert plan.postings == ()


def test_C3_where_nobody_says_the_currency_the_hold_says_so() -> None:
    plan = plan_run(month(charge("1", currency="EUR"), charge("2"), clients=UNSAID))
    assert {hold.detail for hold in client_of(plan).holds} == {
        "charged in EUR, HaloPSA does not say its client's currency",
        "charged in USD, HaloPSA does not say its client's currency",
    }


# --- lines of before ---------------------------------------------------------------------------------------------


def test_B3_what_is_left_behind_is_counted_and_named() -> None:
    november = carried_out(month(charge("1", sku="A"), charge("2", sku="B"), base=BASE, existing=(recurring(),)))
    december = next_month(november, charge("3"))
    december = replace(december, rulebook=replace(december.rulebook, base=rules()))
    plan = plan_run(replace(december, existing=november.existing))  # HaloPSA has made no invoice of them
    hold = hold_of(plan)
    assert hold.reason == "recurring_left_behind"
    said = (
        "its lines must come off, but 20.00 USD of 2026-11 waits on recurring invoice 8841, of which HaloPSA has made "
        "no invoice since"
    )
    assert hold.detail == said
    assert [step.text for step in hold.ways] == [
        "create the invoice from recurring invoice 8841 in HaloPSA, then run 2026-12 again",
        "take our lines for Contoso Ltd off recurring invoice 8841 in HaloPSA and bill by hand what is due of them, "
        "then run 2026-12 again",
    ]
    assert f"Contoso Ltd: {said}" in plan.warnings
    assert [line.action for line in lines(plan_run(december))] == ["add", "remove", "remove"]


def test_B3_what_a_later_month_wrote_is_not_left_behind_by_an_earlier_one() -> None:
    december = carried_out(next_month(month(base=BASE, existing=(recurring(),)), charge("1")))
    november = replace(late(december, charge("2")), period=december.period.previous)
    for base, fate in ((rules(), "posted"), (BASE, "held recurring_later_period")):
        plan = plan_run(replace(november, rulebook=replace(november.rulebook, base=base)))
        assert fates(plan) == {"2": fate}
    assert hold_of(plan).detail == "its recurring invoice already carries 2026-12"
    assert 'set invoice.behavior = "new"' in hold_of(plan).next_step


def test_B3_a_part_of_a_month_is_no_later_period() -> None:
    november = carried_out(month(charge("1"), base=BASE, existing=(recurring(),)))
    assert fates(plan_run(late(november, charge("2", sku="B")))) == {"2": "posted"}


def test_B3_where_the_lines_of_another_invoice_are_from_does_not_matter() -> None:
    """Another client's recurring invoice already carries December: that is no reason to hold this one."""
    files = (ClientFile(path="2.toml", pax8_company="c-2", rules=rules(invoice=INVOICE | {"recurring_invoice": -2})),)
    both = (recurring(), recurring(2, -2))
    start = month(base=BASE, files=files, existing=both)
    companies = (Company(id="c-1", name="Contoso Ltd"), Company(id="c-2", name="Fabrikam GmbH"))
    december = carried_out(next_month(replace(start, companies=companies), charge("1", company="Fabrikam GmbH")))
    november = replace(late(replace(december, sources=()), charge("2")), period=december.period.previous)
    assert fates(plan_run(november)) == {"2": "posted"}


# --- companies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("listed", "on_charge", "client"), [("", "2", 2), ("3", "2", 3), ("", "", None)])
def test_C1_external_id_of_the_company_comes_before_that_of_its_charges(
    listed: str, on_charge: str, client: int | None
) -> None:
    companies = (Company(id="c-1", name="Adventure Works", external_id=listed),)
    plan = plan_run(month(charge(external_id=on_charge), companies=companies))
    assert client_of(plan, "Adventure Works").client_id == client


def test_clients_billed_are_those_with_charges_or_with_lines_of_ours_by_behavior() -> None:
    files = (ClientFile(path="2.toml", pax8_company="c-2", rules=rules(invoice={"behavior": "latest"})),)
    inputs = month(
        charge("1"),
        charge("2", company="Fabrikam GmbH"),
        charge("3", company="Nobody", company_name="Nobody"),
        charge("4", company=None),
        files=files,
    )
    assert clients_billed(inputs) == {1, 2}
    assert clients_billed(inputs, "latest") == {2}
    assert clients_billed(inputs, "new") == {1}
    assert clients_billed(inputs, "recurring") == set()
    gone = next_month(carried_out(month(charge("1"), base=BASE, existing=(recurring(),))))
    assert clients_billed(gone, "recurring") == {1}


@pytest.mark.parametrize(
    ("remembered", "name"),
    [
        ({}, "Pax8 company c-1"),
        ({"c-1": RememberedMatch(client_id=1, how="name", company_name="Contoso Ltd")}, "Contoso Ltd"),
        ({"c-1": RememberedMatch(client_id=1, how="person", company_name="Old name")}, "Old name"),
    ],
)
def test_B3_a_company_that_pax8_lists_no_more_is_known_by_what_we_remember(
    remembered: dict[str, RememberedMatch], name: str
) -> None:
    december = next_month(carried_out(month(charge("1"), base=BASE, existing=(recurring(),))))
    memory = replace(december.memory, matches=remembered)
    plan = plan_run(replace(december, companies=(), memory=memory))
    assert [(client.company_id, client.company_name, client.client_id) for client in plan.clients] == [("c-1", name, 1)]
    assert [line.action for line in lines(plan)] == ["remove"]


# --- a client of the plan ----------------------------------------------------------------------------------------


def test_a_client_of_the_plan_says_where_its_lines_go_and_what_they_come_to() -> None:
    there = invoice_of({"invoice_date": "2026-11-01", "lines": []}, id_=7, client_id=1, template=False)
    base = rules(invoice={"behavior": "latest"})
    memory = Memory(last_amounts={(1, "USD"): ("2026-10", Decimal("30.00")), (2, "USD"): ("2026-09", Decimal(1))})
    charges = (charge("1", "10.00", "8.00"), charge("2", "5.00", "1.00"))
    client = client_of(plan_run(month(*charges, base=base, existing=(there,), memory=memory)))
    assert (client.company_id, client.client_id, client.client_name) == ("c-1", 1, "Contoso Ltd")
    assert (client.behavior, client.target_invoice_id, client.currency) == ("latest", 7, "USD")
    assert (client.amount, client.cost) == (Decimal("15.00"), Decimal("9.00"))
    assert (client.last_period, client.last_amount) == ("2026-10", Decimal("30.00"))
    assert (client.guessed, client.held, client.matched_by) == ("", None, "name")
    new = client_of(plan_run(month(charge())))
    assert (new.target_invoice_id, new.last_period, new.last_amount) == (None, "", None)


def test_a_late_charge_is_not_compared_with_last_month() -> None:
    memory = Memory(last_amounts={(1, "USD"): ("2026-10", Decimal("30.00"))})
    done = carried_out(month(charge("1"), memory=memory))
    client = client_of(plan_run(late(done, charge("2"))))
    assert (client.last_period, client.last_amount) == ("", None)


def test_clients_stand_by_name_whatever_its_case() -> None:
    names = {"c-3": "abc", "c-1": "Abd", "c-2": "ABC"}
    charges = [charge(id_, company=id_, company_name=name) for id_, name in names.items()]
    plan = plan_run(month(*charges, clients=()))
    assert [client.company_id for client in plan.clients] == ["c-2", "c-3", "c-1"]


def test_a_company_without_anything_to_say_is_not_in_the_plan() -> None:
    done = carried_out(month(charge("1")))
    assert plan_run(done).clients == ()


def test_client_asked_for_leaves_the_charges_of_nobody_and_others_out() -> None:
    inputs = month(charge("1"), charge("2", "7.00", company="Fabrikam GmbH"), charge("3", company=None))
    plan = plan_run(replace(inputs, clients_asked=("c-2",)))
    assert (plan.unassigned_excluded, [client.company_id for client in plan.clients]) == ((), ["c-2"])
    assert plan.accounts[0].price.charges == Decimal("7.00")
    assert plan.clients_asked == ("c-2",)


def test_R1_a_charge_of_nobody_is_excluded_once() -> None:
    inputs = month(charge("1", "7.00", company=None))
    one = Settled(state="excluded", by="no_company", price=Decimal("7.00"), cost=Decimal("8.00"), currency="USD")
    plan = plan_run(replace(inputs, memory=Memory(settled={"inv:1": one})))
    assert plan.unassigned_excluded == ()
    assert plan.accounts[0].price.excluded == Decimal("7.00")


# --- warnings ----------------------------------------------------------------------------------------------------


def test_S8_a_source_is_summed_and_set_beside_its_header() -> None:
    one = charge("1", "10.00", "8.00", sales_tax="0.80")
    two = charge("2", "5.00", "4.00", sales_tax="0.40", price_rounding=Decimal("0.004"), cost_rounding=Decimal("0.002"))
    inputs = month(one, two)
    header = {"total": Decimal("120.00"), "carried_balance": Decimal("100.50")}
    plan = plan_run(replace(inputs, sources=(replace(inputs.sources[0], **header),)))
    (summary,) = plan.sources
    assert (summary.invoice_id, summary.status, summary.charges, summary.currency) == ("inv", "Unpaid", 2, "USD")
    assert (summary.price, summary.cost, summary.sales_tax) == (Decimal(15), Decimal(12), Decimal("1.20"))
    assert (summary.price_rounding, summary.cost_rounding) == (Decimal("0.004"), Decimal("0.002"))
    assert summary.header_total == Decimal("19.50")
    assert plan.warnings == (
        "Pax8 invoice inv: its charges cost 12.00 (with tax 13.20), its header says 19.50 USD; difference 6.30",
    )


@pytest.mark.parametrize(
    ("moved", "warned"), [({}, False), ({"price": Decimal("10.01")}, True), ({"cost": Decimal("8.01")}, True)], ids=str
)
@pytest.mark.parametrize("state", ["posted", "dropped", "excluded"])
def test_R1_a_charge_that_pax8_changed_after_it_was_billed_is_named(
    state: str, moved: dict[str, Decimal], warned: bool
) -> None:
    before = Settled(state=state, by="k", price=Decimal("10.00"), cost=Decimal("8.00"), currency="USD")
    plan = plan_run(month(replace(charge(), **moved), memory=Memory(settled={"inv:1": before})))
    now = {"price": "10.00", "cost": "8.00"} | {name: str(value) for name, value in moved.items()}
    said = f"charge inv:1 was billed at 10.00 (cost 8.00), and Pax8 now says {now['price']} (cost {now['cost']}) USD"
    assert plan.warnings == ((said,) if warned and state == "posted" else ())


COUNTED: dict[str, Any] = {"id": 5, "item_shortdescription": "Office", "quantity_licences": 7}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([COUNTED], "the licences of 1 line on recurring invoice 99 itself (Office)"),
        (
            [{"id": 5, "quantity_subscriptions": True}],
            "the licences of 1 line on recurring invoice 99 itself ((no text))",
        ),
        ([{"id": 1}, COUNTED, COUNTED | {"id": 6}], "the licences of 2 lines on recurring invoice 99 itself (Office)"),
        ([{"id": 1, "item_shortdescription": "Ours"}], ""),
        ([COUNTED | {"quantity_licences": 0, "quantity_subscriptions": None}], ""),
        ([COUNTED | {"item_shortdescription": "x" * 100}], f"({'x' * 60});"),
    ],
)
def test_fault_03_licences_that_halopsa_counts_itself_are_named(rows: list[dict[str, Any]], said: str) -> None:
    plan = plan_run(month(charge(), existing=(recurring(1, -99, *rows),)))
    assert len(plan.warnings) == (1 if said else 0)
    assert all(warning.startswith("Contoso Ltd: HaloPSA counts ") for warning in plan.warnings)
    assert all(said in warning for warning in plan.warnings)


def test_fault_03_only_recurring_invoices_of_clients_that_are_billed_now() -> None:
    others = (
        recurring(2, -99, COUNTED),
        invoice_of({"lines": [COUNTED]}, id_=98, client_id=1, template=False),
    )
    assert plan_run(month(charge(), existing=others)).warnings == ()
    gone = next_month(carried_out(month(charge(), base=BASE, existing=(recurring(1, -8841, COUNTED),))))
    assert plan_run(gone).warnings == ()


# --- lines that stay although nothing is billed ------------------------------------------------------------------


def stays(inputs: RunInputs) -> list[str]:
    start = "Contoso Ltd is not billed now, but its recurring lines stay: "
    return [warning.removeprefix(start) for warning in plan_run(inputs).warnings if warning.startswith(start)]


def after(*charges: Any, **said: Any) -> RunInputs:
    """December, after a November on the recurring invoice."""
    november = month(charge("1", sku="A"), base=BASE, existing=(recurring(),))
    return replace(next_month(carried_out(november), *charges), **said)


def with_rules(inputs: RunInputs, base: Any) -> RunInputs:
    return replace(inputs, rulebook=replace(inputs.rulebook, base=base))


def test_B3_why_lines_stay_is_said() -> None:
    never = RememberedMatch(client_id=None, how="person", company_name="Contoso Ltd")
    inputs = after()
    assert stays(replace(inputs, memory=replace(inputs.memory, matches={"c-1": never}))) == []  # they come off [B8]
    synced = (replace(CLIENTS[0], pax8_monthly_invoice=-7), *CLIENTS[1:])
    assert stays(after(clients=synced)) == ["HaloPSA's own Pax8 sync bills it"]
    yearly = (replace(CLIENTS[0], pax8_annual_invoice=-7), *CLIENTS[1:])
    assert stays(after(clients=yearly)) == ["HaloPSA's own Pax8 sync bills it"]
    inactive = (replace(CLIENTS[0], inactive=True), *CLIENTS[1:])
    assert stays(after(clients=inactive)) == ["the HaloPSA client Contoso Ltd (1) is inactive"]
    assert stays(after(existing=())) == ["HaloPSA has no recurring invoice 8841"]
    assert stays(after()) == []  # they are removed
    assert stays(after(charge("2", sku="A"))) == []  # they are updated
    assert stays(after(charge("2", problem="x"))) == []  # a hold says it


def test_B3_why_lines_stay_where_the_rules_leave_all_out() -> None:
    """Where new invoices are made there is no recurring one to take the lines from."""
    out = rules(exclude={"companies": ["c-1"]})
    assert stays(with_rules(after(charge("2"), existing=()), out)) == [
        "the rules leave out all that Pax8 charges for it"
    ]
    drop = rules(modifiers={"azure": "drop"})
    assert stays(with_rules(after(azure("2"), existing=()), drop)) == [
        "the rules leave out all that Pax8 charges for it"
    ]
    removed = rules(invoice=INVOICE, exclude={"companies": ["c-1"]})
    assert stays(with_rules(after(charge("2")), removed)) == []
    plan = plan_run(with_rules(after(charge("2")), out))
    assert (plan.warnings, [line.action for line in lines(plan)]) == ((), ["remove"])  # they come off [B8]


def test_B3_lines_stay_where_the_whole_run_waits() -> None:
    """Companies are missing: nothing is posted for those that are left, and who has left is named."""
    careful = rules(invoice=INVOICE, limits={"missing_company_percent_max": 20})
    plan = plan_run(with_rules(after(), careful))
    missing = "1 of last period's 1 companies (100 %) have no charge now: more than 20 %"
    assert missing in plan.warnings
    assert plan.left == (f"Contoso Ltd: line 9001 (Widget) should come off, but {missing}",)
    assert [hold.reason for client in plan.clients for hold in client.holds] == ["limit_missing_companies"]
    assert plan.postings == ()


def test_B3_a_line_that_a_person_deleted_does_not_stay() -> None:
    assert stays(after(existing=(recurring(),))) == []


def test_B3_lines_of_this_month_or_of_others_do_not_stay() -> None:
    never = RememberedMatch(client_id=None, how="person", company_name="Contoso Ltd")
    done = carried_out(month(charge("1", sku="A"), base=BASE, existing=(recurring(),)))
    assert stays(replace(done, memory=replace(done.memory, matches={"c-1": never}))) == []


def test_M4_what_was_kept_is_summed_by_currency() -> None:
    """Two companies in two currencies: each figure in its own."""
    base = rules(modifiers={"azure": "drop", "favorable_prorata": "drop"})
    charges = [
        azure("1", "-7.00", "-5.00", currency="EUR"),
        azure("2", "4.00", "3.00", currency="EUR"),
        charge("3", "-1.00", "-0.50", type="prorate", company="Fabrikam GmbH"),
    ]
    clients = (Client(id=1, name="Contoso", currency="EUR"), CLIENTS[1])
    kept = plan_run(month(*charges, base=base, clients=clients)).kept
    assert [(one.company_name, one.currency) for one in kept] == [("Contoso Ltd", "EUR"), ("Fabrikam GmbH", "USD")]
    assert [(one.credits_withheld, one.price_dropped, one.cost_absorbed) for one in kept] == [
        (Decimal("7.00"), Decimal("-3.00"), Decimal("-2.00")),
        (Decimal("1.00"), Decimal("-1.00"), Decimal("-0.50")),
    ]


def test_L2_lines_of_one_product_stand_by_service_period_then_price() -> None:
    charges = [
        charge("1", "9.00", start="2026-11-02"),
        charge("2", "8.00", start="2026-11-03"),
        charge("3", "7.00", start="2026-11-02"),
        charge("4", "1.00", start="2026-11-09", product="gadget"),
    ]
    plan = plan_run(month(*charges, base=rules(lines={"text": "{product}"})))
    assert [line.charges for line in lines(plan)] == [("inv:4",), ("inv:3",), ("inv:1",), ("inv:2",)]
    assert {line.company_id for line in lines(plan)} == {"c-1"}


def test_P1_an_item_that_waits_holds_all_charges_of_its_line() -> None:
    """A collapsed line stands for several charges: none of them is lost [A1]."""
    items = (Item(id=1, name="Microsoft Azure Plan"), Item(id=2, name="Microsoft Azure Plan"))
    base = rules(modifiers={"azure": "collapse"})
    found = fates(plan_run(month(azure("1", sku=""), azure("2", sku=""), charge("3"), base=base, items=items)))
    assert found == {"1": "held product_ambiguous", "2": "held product_ambiguous", "3": "posted"}


def test_A3_a_company_is_excluded_by_the_name_on_the_charge_too() -> None:
    """Pax8 lists it under a new name; the invoice, and the rules, still have the old one."""
    companies = (Company(id="c-1", name="Contoso Europe"),)
    base = rules(exclude={"companies": ["Contoso Ltd"]})
    assert fates(plan_run(month(charge(), companies=companies, base=base))) == {"1": "excluded company"}
    assert fates(
        plan_run(month(charge(), companies=companies, clients=(Client(id=1, name="Contoso Europe", currency="USD"),)))
    ) == {"1": "posted"}


def test_B3_lines_of_this_very_month_stay() -> None:
    """Billed on the recurring invoice; then the rules changed, and a late charge would go on a new one."""
    done = carried_out(month(charge("1", sku="A"), base=BASE, existing=(recurring(),)))
    again = late(with_rules(done, rules()), charge("2", sku="B"))
    assert fates(plan_run(again)) == {"2": "posted"}  # this month's own line stays until it was invoiced


def test_L2_the_text_may_name_company_and_period() -> None:
    base = rules(lines={"text": "{company}, {period}"})
    assert [line.description for line in lines(plan_run(month(charge(), base=base)))] == ["Contoso Ltd, 2026-11"]


def test_limits_hold_what_would_be_dropped_too() -> None:
    base = rules(limits={"client_amount_max": 5}, modifiers={"azure": "drop"})
    plan = plan_run(month(azure("1"), charge("2"), charge("3", type="rebate"), base=base))
    client = client_of(plan)
    assert (client.lines, client.dropped, plan.kept) == ((), (), ())
    assert [hold.charge for hold in client.holds] == ["inv:1", "inv:2"]
    assert [out.charge for out in client.excluded] == ["inv:3"]


def test_a_plan_says_whose_it_is_and_of_when() -> None:
    plan = plan_run(month(charge()))
    assert (plan.partner, plan.period, plan.rules_digest) == ("northwind", "2026-11", "rules")
    assert (plan.clients_asked, plan.unassigned_holds, plan.true_ups) == ((), (), ())
    assert len(plan.digest) == 64
    assert int(plan.digest, 16) > 0


@pytest.mark.parametrize(
    ("said", "exclude", "fate"),
    [
        ({"sku": "", "product": "Widget"}, {"products": [""]}, "posted"),
        ({"sku": "S", "product": ""}, {"products": [""]}, "posted"),
        ({"company": None, "sku": "S"}, {"products": ["S"]}, "excluded product"),
        ({"company": None, "type": "rebate"}, {}, "excluded charge_type"),
        ({"company": None, "company_name": "X"}, {"companies": ["X"]}, "held no_company"),
        ({"billed_by_pax8": True, "company": None}, {}, "excluded billed_by_pax8"),
        ({"billed_by_pax8": True, "company": None}, {"billed_by_pax8": False}, "held no_company"),
    ],
)
def test_A3_a_charge_of_nobody_is_excluded_by_the_first_rule_too(
    said: dict[str, Any], exclude: dict[str, Any], fate: str
) -> None:
    assert fates(plan_run(month(charge(**said), base=rules(exclude=exclude)))) == {"1": fate}


def digest(*charges: Any, **said: Any) -> str:
    return plan_run(month(*charges, **said)).digest


def test_the_digest_changes_with_the_item_of_a_line() -> None:
    """Who approves "Office on item 1" has not approved "Office on item 2"."""
    one, other = Item(id=1, name="Widget"), Item(id=2, name="Widget")
    made = digest(charge(), items=())
    assert len({made, digest(charge(), items=(one,)), digest(charge(), items=(other,))}) == 3
    off = rules(products={"lifecycle": "off"})
    assert len({made, digest(charge(), base=off), digest(charge(), items=(one,))}) == 3
    nameless = rules(lines={"text": "x"})
    created = {
        digest(charge(sku=sku, product=name), base=nameless) for sku, name in (("A", "N"), ("B", "N"), ("", "M"))
    }
    assert len(created) == 3
    assert len({digest(charge(product=name), base=nameless) for name in ("M", "N")}) == 2


def test_the_digest_changes_with_what_a_dropped_charge_would_have_come_to() -> None:
    drop = rules(modifiers={"azure": "drop"})
    amounts = (("1.00", "1.00"), ("2.00", "1.00"), ("1.00", "2.00"))
    assert len({digest(azure("1", price, cost), base=drop) for price, cost in amounts}) == 3


def test_M4_a_dropped_charge_of_some_cents_is_no_credit() -> None:
    base = rules(modifiers={"azure": "drop"})
    (kept,) = plan_run(month(azure("1", "0.50", "0.40"), azure("2", "-0.25", "-0.20"), base=base)).kept
    assert (kept.credits_withheld, kept.price_dropped, kept.cost_absorbed) == (
        Decimal("0.25"),
        Decimal("0.25"),
        Decimal("0.20"),
    )


def test_a_company_without_a_client_has_no_clients_name() -> None:
    client = client_of(plan_run(month(charge(), clients=())))
    assert (client.client_id, client.client_name, client.currency, client.last_period) == (None, "", "", "")


def test_only_a_likeness_is_a_guess() -> None:
    assert client_of(plan_run(month(charge()))).guessed == ""
    person = Memory(matches={"c-1": RememberedMatch(client_id=1, how="person", company_name="x")})
    assert client_of(plan_run(month(charge(), memory=person))).guessed == ""


def test_B3_the_lines_of_another_company_are_not_said_to_stay() -> None:
    inputs = after()
    written = tuple(replace(line, company_id="c-2") for line in inputs.memory.written_lines)
    never = {id_: RememberedMatch(client_id=None, how="person", company_name="x") for id_ in ("c-1", "c-2")}
    inputs = replace(late(inputs, charge("2")), memory=replace(inputs.memory, written_lines=written, matches=never))
    warnings = plan_run(inputs).warnings
    assert [warning.partition(" is not billed now")[0] for warning in warnings] != ["Contoso Ltd"]
    assert warnings == ()  # the other company's lines come off [B8]
