"""Recurring invoices month after month [B3]: updated, added, removed; people's edits are held, never overwritten."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from halo_rows import again, invoice_of, rows_of
from test_core_notation import (
    azure,
    carried_out,
    charge,
    client_of,
    fates,
    invoice_total,
    late,
    lines,
    month,
    next_month,
    on_invoice,
    recurring,
    rules,
    split,
)

from billingsync.core.bill.plan_run import plan_run
from billingsync.core.bill.targets import LineChanges, recurring_changes
from billingsync.core.inputs import Client, Company, Item, Memory, RunInputs
from billingsync.core.remembered import RememberedMatch
from billingsync.core.rules import ClientFile, Rules

INVOICE = {"behavior": "recurring", "recurring_invoice": -8841}
BASE = rules(invoice=INVOICE)
FOREIGN = {"id": 1, "item_shortdescription": "Managed service", "qty_order": 1, "unit_price": Decimal("500.00")}


def first(*charges: Any, base: Rules = BASE, **said: Any) -> RunInputs:
    """November, not yet posted, with a line of somebody else's on the recurring invoice."""
    return month(*charges, base=base, existing=(recurring(1, -8841, FOREIGN),), **said)


def changes(inputs: RunInputs) -> list[str]:
    """The changes that the plan would make, e.g. "update Widget 9 x 22.00 -> 10 x 22.00"."""
    shown = []
    for line in lines(plan_run(inputs)):
        now = "" if line.action == "remove" else f"{line.quantity} x {line.unit_price:.2f}"
        before = line.before.replace("0000", "")
        shown.append(" ".join(filter(None, [line.action, line.title, before, before and now and "->", now])))
    return shown


def ours(inputs: RunInputs) -> Decimal:
    return invoice_total(inputs) - Decimal("500.00")


# --- the target --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("invoice", "existing", "reason"),
    [
        ({}, (recurring(),), "recurring_unmapped"),
        ({"recurring_invoice": -8841}, (), "recurring_missing"),
        ({"recurring_invoice": -8841}, (recurring(invoice_id=-1),), "recurring_missing"),
        ({"recurring_invoice": -8841}, (recurring(client_id=2),), "recurring_missing"),
        (
            {"recurring_invoice": -8841},
            (invoice_of({"lines": []}, id_=8841, client_id=1, template=False),),
            "recurring_missing",
        ),
        (
            {"recurring_invoice": -8841},
            (invoice_of({"lines": [], "disabled": True}, id_=-8841, client_id=1, template=True),),
            "recurring_missing",
        ),
    ],
    ids=["unmapped", "none", "another", "of another client", "no recurring one", "disabled"],
)
def test_B3_without_its_recurring_invoice_a_client_is_held(invoice: dict[str, Any], existing: Any, reason: str) -> None:
    base = rules(invoice={"behavior": "recurring", **invoice})
    plan = plan_run(month(charge(), base=base, existing=existing))
    assert (client_of(plan).held, plan.postings) == (reason, ())


@pytest.mark.parametrize(
    ("invoice", "existing", "detail", "step"),
    [
        ({}, (), "no recurring invoice is named", "set invoice.recurring_invoice = "),
        (INVOICE, (), "has no recurring invoice 8841", "set invoice.recurring_invoice = "),
        (
            INVOICE,
            (recurring(client_id=2),),
            "recurring invoice 8841 belongs to HaloPSA client 2, not 1",
            "set invoice.recurring_invoice = ",
        ),
    ],
    ids=["unmapped", "none", "of another client"],
)
def test_A4_a_hold_for_want_of_a_recurring_invoice_names_the_file_to_set_it_in(
    invoice: dict[str, Any], existing: Any, detail: str, step: str
) -> None:
    base = rules(invoice={"behavior": "recurring", **invoice})
    own = ClientFile(path="rules/clients/contoso.toml", pax8_company="c-1", rules=base)
    for files, where in (((), "a file in rules/clients/"), ((own,), "rules/clients/contoso.toml")):
        (hold,) = client_of(plan_run(month(charge(), base=base, files=files, existing=existing))).holds
        assert detail in hold.detail
        assert hold.next_step.startswith(step)
        assert hold.next_step.endswith(where)


@pytest.mark.parametrize("id_", [-8841, 8841])
def test_B3_the_id_is_meant_with_or_without_its_sign(id_: int) -> None:
    (posting,) = plan_run(month(charge(), base=BASE, existing=(recurring(invoice_id=id_),))).postings
    assert (posting.action, posting.invoice_id, posting.client_id) == ("update", id_, 1)


# --- month after month -------------------------------------------------------------------------------------------

SEATS = {"product": "Office", "subscription": "s-1", "sku": "O"}


def test_B3_present_before_and_now_is_updated() -> None:
    november = first(charge("1", "198.00", quantity="9", unit_price="22.00", **SEATS))
    assert changes(november) == ["add Office 9 x 22.00"]
    december = next_month(carried_out(november), charge("7", "220.00", quantity="10", unit_price="22.00", **SEATS))
    assert changes(december) == ["update Office 9 x 22.00 -> 10 x 22.00"]
    (line,) = lines(plan_run(december))
    assert (line.line_id, line.before_amount, line.amount) == (9001, Decimal("198.00"), Decimal("220.00"))
    assert on_invoice(carried_out(december)) == {"Managed service": "1 x 500.00", "Office": "10 x 22.00"}


def test_B3_new_is_added_and_gone_is_removed() -> None:
    november = first(charge("1", product="Office", sku="O"), charge("2", product="Backup", sku="B"))
    december = next_month(carried_out(november), charge("3", product="Office", sku="O"), charge("4", product="Voice"))
    assert changes(december) == [
        "update Office 1 x 10.00 -> 1 x 10.00",
        "add Voice 1 x 10.00",
        "remove Backup 1 x 10.00",
    ]
    (removal,) = (line for line in lines(plan_run(december)) if line.action == "remove")
    assert (removal.line_id, removal.amount, removal.cost, removal.charges) == (9001, 0, 0, ())
    assert list(on_invoice(carried_out(december))) == ["Managed service", "Office", "Voice"]


def test_B3_removed_and_taken_again_is_added_again() -> None:
    one = first(charge("1", product="Office", sku="O"), charge("2", product="Backup", sku="B"))
    two = next_month(carried_out(one), charge("3", product="Office", sku="O"))
    three = next_month(carried_out(two), charge("4", product="Office", sku="O"), charge("5", product="Backup", sku="B"))
    assert changes(three) == ["add Backup 1 x 10.00", "update Office 1 x 10.00 -> 1 x 10.00"]
    assert ours(carried_out(three)) == 20


@pytest.mark.parametrize(
    ("before", "now", "change"),
    [
        ({"subscription": "s"}, {"subscription": "s", "product": "New name", "sku": "X"}, "update"),
        ({"subscription": "s"}, {"subscription": "t"}, "add"),
        ({"sku": "A"}, {"sku": "A", "product": "New name"}, "update"),
        ({"sku": "A"}, {"sku": "B"}, "add"),
        ({"product_id": "p"}, {"product_id": "p", "product": "New name"}, "update"),
        ({"product": "Office"}, {"product": "Office"}, "update"),
        ({"product": "Office"}, {"product": "Voice"}, "add"),
        ({"type": "subscription"}, {"type": "prorate"}, "add"),
        ({"type": "prorate"}, {"type": "one-time"}, "add"),
        ({"subscription": "s", "type": "prorate"}, {"subscription": "s", "type": "prorate"}, "update"),
    ],
)
def test_B3_a_line_is_recognised_by_subscription_or_product_and_kind(
    before: dict[str, str], now: dict[str, str], change: str
) -> None:
    december = next_month(carried_out(first(charge("1", **before))), charge("2", "12.00", **now))
    assert lines(plan_run(december))[0].action == change
    assert ours(carried_out(december)) == 12


def test_B3_a_line_in_another_currency_is_another_line() -> None:
    """The client changed from dollars to euros: what was in dollars goes."""
    november = carried_out(first(charge("1", sku="A")))
    december = next_month(november, charge("2", "9.00", sku="A", currency="EUR"))
    december = replace(december, clients=(Client(id=1, name="Contoso", currency="EUR"),))
    assert changes(december) == ["add Widget 1 x 9.00", "remove Widget 1 x 10.00"]


def test_B3_two_of_one_product_are_told_apart_by_ordinal() -> None:
    november = first(charge("1", "10.00", sku="A"), charge("2", "20.00", sku="A"))
    december = next_month(carried_out(november), charge("4", "21.00", sku="A"), charge("3", "11.00", sku="A"))
    assert changes(december) == ["update Widget 1 x 10.00 -> 1 x 11.00", "update Widget 1 x 20.00 -> 1 x 21.00"]
    assert on_invoice(carried_out(december)) == {
        "Managed service": "1 x 500.00",
        "Widget": "1 x 11.00",
        "Widget'": "1 x 21.00",
    }
    january = next_month(carried_out(december), charge("5", "11.00", sku="A"))
    assert changes(january) == ["update Widget 1 x 11.00 -> 1 x 11.00", "remove Widget 1 x 21.00"]


def test_B3_the_order_of_pages_does_not_change_ordinals() -> None:
    november = [charge("b", "20.00", sku="A"), charge("a", "20.00", sku="A"), charge("c", "10.00", sku="A")]
    keys = [
        [(line.charges, line.recurring_key) for line in lines(plan_run(first(*order)))]
        for order in (november, november[::-1])
    ]
    assert keys[0] == keys[1]
    assert [key.rpartition("|")[2] for _, key in keys[0]] == ["1", "2", "3"]
    assert [charges[0] for charges, _ in keys[0]] == ["inv:c", "inv:a", "inv:b"]  # by price, then by id


def test_B3_collapsed_azure_is_one_line_that_is_updated() -> None:
    base = rules(invoice=INVOICE, modifiers={"azure": "collapse"})
    november = first(azure("1", "10.00"), azure("2", "5.00", sku="AZR-ARR-1"), base=base)
    december = next_month(carried_out(november), azure("3", "7.00"), azure("4", "1.00"), azure("5", "1.00"))
    assert changes(december) == ["update Microsoft Azure Plan 1 x 15.00 -> 1 x 9.00"]


def test_B3_parts_are_lines_of_their_own() -> None:
    block = split("A", {"halo_item": 11, "share": 60}, {"halo_item": 17, "share": 40})
    items = (Item(id=11, name="x"), Item(id=17, name="y"))
    november = first(charge("1", "10.00", sku="A"), base=rules(block, invoice=INVOICE), items=items)
    keys = [line.recurring_key for line in lines(plan_run(november))]
    assert keys == ["A|subscription|USD|1", "A|subscription|USD|part 1|1"]  # as the ledgers have them, for ever
    december = next_month(carried_out(november), charge("2", "20.00", sku="A"))
    assert changes(december) == ["update Widget 1 x 6.00 -> 1 x 12.00", "update Widget 1 x 4.00 -> 1 x 8.00"]
    assert ours(carried_out(next_month(carried_out(december)))) == 0


def test_B3_planning_a_posted_month_again_changes_nothing() -> None:
    november = carried_out(first(charge("1"), charge("2", sku="B")))
    assert plan_run(november).postings == ()
    december = carried_out(next_month(november, charge("3"), charge("4", sku="C")))
    assert plan_run(december).postings == ()


def test_B3_a_late_charge_is_added_and_touches_nothing_that_was_posted() -> None:
    november = carried_out(first(charge("1", "10.00", sku="A")))
    twice = late(november, charge("2", "20.00", sku="A"), charge("3", "5.00", sku="B"))
    assert changes(twice) == ["add Widget 1 x 5.00", "add Widget 1 x 20.00"]
    assert ours(carried_out(twice)) == 35
    december = next_month(carried_out(twice), charge("4", "10.00", sku="A"), charge("5", "20.00", sku="A"))
    assert ours(carried_out(december)) == 30


def test_B3_late_twins_that_come_one_by_one_do_not_outlive_their_month() -> None:
    """Three charges of one product released one after the other; a month later there is one."""
    inputs = carried_out(first(charge("1", "10.00", sku="A")))
    for name in ("2", "3", "4"):
        inputs = carried_out(late(inputs, charge(name, "10.00", sku="A")))
    assert ours(inputs) == 40
    assert ours(carried_out(next_month(inputs, charge("5", "10.00", sku="A")))) == 10


def test_B3_a_period_before_what_the_invoice_carries_is_held() -> None:
    december = carried_out(next_month(carried_out(first(charge("1"))), charge("2")))
    november = replace(late(december, charge("3")), period=december.period.previous)
    plan = plan_run(november)
    assert (plan.postings, client_of(plan).held) == ((), "recurring_later_period")


# --- hands off ---------------------------------------------------------------------------------------------------


def edited(inputs: RunInputs, line_id: int, **raw: Any) -> RunInputs:
    """The same with a line that a person changed (`gone=True`: deleted)."""
    (invoice,) = inputs.existing
    rows = [{**row, **raw} if row["id"] == line_id else row for row in rows_of(invoice)]
    rows = [row for row in rows if not row.get("gone")]
    return replace(inputs, existing=(again(invoice, lines=rows),))


EDITS: list[tuple[dict[str, Any], str]] = [
    ({"qty_order": Decimal(11)}, "line_edited"),
    ({"unit_price": Decimal("9.99"), "baseprice": Decimal("9.99")}, "line_edited"),
    ({"item_shortdescription": "Widget, as agreed"}, "line_edited"),
    ({"gone": True}, "line_edited"),
    ({"unit_cost": Decimal("1.00")}, "line_edited"),
    ({"discount_perc": Decimal(10)}, "line_edited"),
    ({"isinactive": True}, "line_edited"),
    ({"quantity_licences": 5}, "line_automatic_quantity"),
    ({"quantity_subscriptions": True}, "line_automatic_quantity"),
    ({"quantity_users": 1}, "line_automatic_quantity"),
    ({"quantity_assets": 1}, "line_automatic_quantity"),
    ({"recurring_invoice_quantity_type": 2}, "line_automatic_quantity"),
    ({"recurring_invoice_quantity_type": 2, "qty_order": Decimal(11)}, "line_automatic_quantity"),
]


@pytest.mark.parametrize(("edit", "reason"), EDITS, ids=[repr(edit) for edit, _ in EDITS])
def test_B3_an_edited_line_is_held_and_the_others_go_on(edit: dict[str, Any], reason: str) -> None:
    november = carried_out(first(charge("1", sku="A"), charge("2", sku="B", product="Other")))
    december = edited(
        next_month(november, charge("3", "12.00", sku="A"), charge("4", sku="B", product="Other")), 9002, **edit
    )
    plan = plan_run(december)
    assert fates(plan) == {"3": f"held {reason}", "4": "posted"}
    assert [(line.action, line.line_id) for line in lines(plan)] == [("update", 9001)]


MARK = "[bs:0123456789abcdef0123:89abcdef:1]"
ITEM = rules(invoice=INVOICE, products={"lifecycle": "default_item", "default_item": 17})


@pytest.mark.parametrize(
    ("base", "raw", "fate"),
    [
        (ITEM, {"_itemid": 99}, "held line_edited"),
        (ITEM, {"_itemid": 1}, "held line_edited"),
        (ITEM, {"_itemid": 17}, "posted"),
        (ITEM, {"_itemid": 0}, "posted"),  # HaloPSA does not say
        (ITEM, {"_itemid": None}, "posted"),
        (rules(invoice=INVOICE, products={"lifecycle": "off"}), {"_itemid": 99}, "posted"),  # we named none
        (BASE, {"item_longdescription": f"Widget\n{MARK}"}, "posted"),
        (BASE, {"item_longdescription": f"Widget\n\n{MARK} \n"}, "posted"),
        (BASE, {"item_longdescription": f"Widget as agreed\n{MARK}"}, "held line_edited"),
        (BASE, {"item_longdescription": MARK}, "held line_edited"),
        (BASE, {"item_longdescription": "whatever, with no mark of ours"}, "posted"),
        (BASE, {"item_longdescription": None}, "posted"),
        (BASE, {"unit_price": None, "baseprice": None}, "held line_edited"),
        (BASE, {"item_shortdescription": None}, "held line_edited"),
        (BASE, {"qty_order": None}, "held line_edited"),
        (BASE, {"unit_cost": None}, "posted"),  # a role that may not see costs
        (BASE, {"discount_perc": Decimal("0.5")}, "held line_edited"),
        (BASE, {"discount_perc": 0}, "posted"),
        (BASE, {"recurring_invoice_quantity_type": 1}, "held line_automatic_quantity"),
        (BASE, {"qty_order": Decimal("1.000001")}, "held line_edited"),  # no dust of floats
        (BASE, {"qty_order": Decimal("0.999999")}, "held line_edited"),
    ],
    ids=str,
)
def test_B3_what_is_an_edit_and_what_is_none(base: Rules, raw: dict[str, Any], fate: str) -> None:
    november = carried_out(first(charge("1", sku="A"), base=base))
    december = edited(next_month(november, charge("3", "12.00", sku="A")), 9001, **raw)
    assert fates(plan_run(december)) == {"3": fate}


def test_B3_the_price_is_read_where_halopsa_has_it() -> None:
    december = next_month(carried_out(first(charge("1", sku="A"))), charge("3", "12.00", sku="A"))
    (invoice,) = december.existing
    for baseprice, fate in ((Decimal("10.00"), "posted"), (Decimal("9.00"), "held line_edited")):
        rows = [{**row, "baseprice": baseprice} for row in rows_of(invoice)]
        rows[1].pop("unit_price")
        inputs = replace(december, existing=(again(invoice, lines=rows),))
        assert fates(plan_run(inputs)) == {"3": fate}


@pytest.mark.parametrize(
    ("keep", "end", "fate"),
    [
        (250, "", "posted"),
        (250, "\u2026", "posted"),
        (200, "", "posted"),
        (200, "\u2026", "posted"),
        (199, "", "held line_edited"),  # HaloPSA cuts nothing as short as that
        (250, " as agreed", "held line_edited"),
        (0, "", "held line_edited"),
    ],
)
def test_B3_a_text_that_halopsa_cut_is_no_edit(keep: int, end: str, fate: str) -> None:
    name = "Widget " + "0123456789" * 40
    december = next_month(
        carried_out(first(charge("1", sku="A", product=name))), charge("3", "12.00", sku="A", product=name)
    )
    for field, more in (("item_shortdescription", ""), ("item_longdescription", f"\n{MARK}")):
        changed = edited(december, 9001, **{field: name[:keep] + end + more})
        assert fates(plan_run(changed)) == {"3": fate}, field


NOW: dict[str, Any] = {
    "qty_order": Decimal(3),
    "unit_price": Decimal("4.00"),
    "baseprice": Decimal("4.00"),
    "item_shortdescription": "New name",
}


@pytest.mark.parametrize("but", [{}, *({name: value} for name, value in NOW.items() if name != "baseprice")], ids=str)
def test_B3_a_line_that_a_person_changed_to_just_what_this_month_says_needs_no_hold(but: dict[str, Any]) -> None:
    """Otherwise whoever does what the hold says would be held again. One number of it that differs is an edit."""
    november = carried_out(first(charge("1", "10.00", sku="A", quantity="2", unit_price="5.00", unit_cost="4.00")))
    december = next_month(
        november, charge("3", "12.00", sku="A", product="New name", quantity="3", unit_price="4.00", unit_cost="3.00")
    )
    odd: dict[str, Any] = {"qty_order": Decimal(7), "unit_price": Decimal("7.00"), "item_shortdescription": "Odd"}
    done = edited(december, 9001, **{**NOW, **{name: odd[name] for name in but}})
    plan = plan_run(done)
    assert fates(plan) == {"3": "held line_edited" if but else "posted"}
    if not but:
        assert [(line.action, line.line_id, line.amount) for line in lines(plan)] == [("update", 9001, 12)]


@pytest.mark.parametrize(
    ("edit", "detail", "step"),
    [
        ({"gone": True}, "line 9001 was removed by hand", ("billingsync approve", "--as add-again")),
        (
            {"quantity_users": 1},
            "HaloPSA computes the quantity of line 9001 itself",
            ("give the line a fixed quantity",),
        ),
        (
            {"qty_order": Decimal(7), "discount_perc": 5, "isinactive": True, "unit_cost": Decimal(1)},
            "line 9001 was edited by hand: quantity 7 instead of 1, cost 1 instead of 8.00, a discount of 5 %, "
            "set inactive",
            ('to what this month says, 1 x 12.00 "Widget"', "or back to 1 x 10.00"),
        ),
    ],
    ids=["deleted", "automatic", "edited"],
)
def test_B3_a_hold_names_what_was_edited_and_the_way_out(
    edit: dict[str, Any], detail: str, step: tuple[str, ...]
) -> None:
    november = carried_out(first(charge("1", sku="A")))
    (hold,) = client_of(plan_run(edited(next_month(november, charge("3", "12.00", sku="A")), 9001, **edit))).holds
    assert hold.detail == detail
    assert [part for part in step if part not in hold.next_step] == []


@pytest.mark.parametrize(
    "raw",
    [
        {"qty_order": Decimal("1.0000000001")},
        {"qty_order": Decimal("1.0000009")},
        {"unit_price": Decimal("10.000000000000002")},
        {"unit_price": 10},
        {"qty_order": Decimal("1.0")},
        {"net_amount": Decimal(10), "sequenceid": 10, "tax_code": "12"},
        {"quantity_licences": 0, "quantity_users": None, "recurring_invoice_quantity_type": 0},
        {"item_shortdescription": "Widget "},
    ],
    ids=repr,
)
def test_B3_what_halopsa_makes_of_our_own_numbers_is_no_edit(raw: dict[str, Any]) -> None:
    """HaloPSA computes in floats (fault 38): less than half a minor unit is nobody's edit."""
    december = edited(next_month(carried_out(first(charge("1", sku="A"))), charge("3", "12.00", sku="A")), 9001, **raw)
    assert fates(plan_run(december)) == {"3": "posted"}


def test_B3_an_edited_line_whose_charge_is_gone_is_left_and_named() -> None:
    november = carried_out(first(charge("1", sku="A"), charge("2", sku="B")))
    december = edited(next_month(november, charge("3", sku="B")), 9001, qty_order=Decimal(7))
    plan = plan_run(december)
    assert [line.action for line in lines(plan)] == ["update"]
    assert any("9001" in warning for warning in plan.warnings)


def test_B3_a_removed_line_that_a_person_deleted_already_is_nothing() -> None:
    november = carried_out(first(charge("1", sku="A"), charge("2", sku="B")))
    december = edited(next_month(november, charge("3", sku="B")), 9001, gone=True)
    assert changes(december) == ["update Widget 1 x 10.00 -> 1 x 10.00"]


def test_B3_parts_of_one_charge_are_held_together() -> None:
    block = split("A", {"halo_item": 11, "share": 60}, {"halo_item": 17, "share": 40})
    items = (Item(id=11, name="x"), Item(id=17, name="y"))
    november = carried_out(first(charge("1", sku="A"), base=rules(block, invoice=INVOICE), items=items))
    december = edited(next_month(november, charge("2", sku="A")), 9002, qty_order=Decimal(5))
    plan = plan_run(december)
    assert (fates(plan), plan.postings) == ({"2": "held line_edited"}, ())


# --- what waits keeps its line -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd", [{"problem": "total: not a number"}, {"price": "0.00"}], ids=["bad amount", "zero price"]
)
def test_B3_the_line_of_a_charge_that_waits_stays_as_it_is(odd: dict[str, str]) -> None:
    base = rules(invoice=INVOICE, modifiers={"zero_lines": "drop"})
    november = carried_out(first(charge("1", sku="A"), charge("2", sku="B"), base=base))
    december = next_month(november, charge("3", sku="A", **odd), charge("4", sku="B"))
    assert fates(plan_run(december))["3"].startswith("held")
    assert [(line.action, line.line_id) for line in lines(plan_run(december))] == [("update", 9002)]


def test_B3_only_the_line_of_the_charge_that_waits_stays() -> None:
    """A charge that cannot be read keeps no cancelled subscription beside it, and no prorate that was billed [B7]."""
    november = carried_out(
        first(charge("1", "10.00", subscription="s"), charge("2", "3.00", subscription="s", type="prorate"))
    )
    december = next_month(november, charge("3", subscription="s", type="prorate", problem="total: not a number"))
    assert changes(december) == ["remove Widget 1 x 10.00", "remove Widget 1 x 3.00"]


def test_B3_a_charge_of_an_unknown_kind_keeps_every_line_of_its_product() -> None:
    """It may be any of them under a new name [S7]; another product's line goes."""
    november = carried_out(
        first(charge("1", sku="A"), charge("2", "3.00", sku="A", type="prorate"), charge("3", sku="AB", product="B"))
    )
    december = next_month(november, charge("4", sku="A", type="usage"))
    assert changes(december) == ["remove B 1 x 10.00", "remove Widget 1 x 3.00"]


def test_B3_the_collapsed_line_goes_although_a_charge_that_is_not_azure_waits() -> None:
    base = rules(invoice=INVOICE, modifiers={"azure": "collapse"})
    november = carried_out(first(azure("1"), charge("2", sku="A"), base=base))
    december = next_month(november, charge("3", sku="A", problem="total: not a number"))
    assert changes(december) == ["remove Microsoft Azure Plan 1 x 10.00"]
    kept = rules(invoice=INVOICE)
    november = carried_out(first(azure("1"), azure("2", sku="AZR-ARR-1", product="Azure Plan"), base=kept))
    december = next_month(november, azure("3", problem="total: not a number"))
    assert changes(december) == ["remove Azure Plan 1 x 10.00"]


def test_B3_a_removal_says_which_line_of_ours_it_was_and_what_it_came_to() -> None:
    yen = (Client(id=1, name="Contoso", currency="JPY"),)
    one = charge("1", "101", "80", currency="JPY", quantity="3", unit_price="33.6", sku="A")
    for clients in (yen, (Client(id=1, name="Contoso"),)):  # HaloPSA may not say the client's currency
        (line,) = lines(plan_run(next_month(carried_out(first(one, clients=clients)))))
        assert (line.action, line.recurring_key, line.title) == ("remove", "A|subscription|JPY|1", "Widget")
        assert str(line.before_amount) == "101"
    more = next_month(carried_out(first(one, clients=yen)), charge("2", "34", "30", currency="JPY", sku="A"))
    (line,) = lines(plan_run(more))
    assert (line.action, str(line.before_amount)) == ("update", "101")


def test_B3_the_parts_of_a_charge_that_waits_stay_all_of_them() -> None:
    block = split("A", {"halo_item": 11, "share": 60}, {"halo_item": 17, "share": 40})
    items = (Item(id=11, name="x"), Item(id=17, name="y"))
    november = carried_out(first(charge("1", sku="A"), base=rules(block, invoice=INVOICE), items=items))
    december = next_month(november, charge("2", sku="A", problem="total: not a number"))
    assert changes(december) == []


def test_B3_the_collapsed_line_stays_while_its_charges_wait() -> None:
    base = rules(invoice=INVOICE, modifiers={"azure": "collapse"})
    november = carried_out(first(azure("1"), base=base))
    december = next_month(november, azure("2", problem="total: not a number"))
    assert changes(december) == []


def test_B3_the_line_of_an_excluded_or_dropped_charge_goes() -> None:
    november = carried_out(first(charge("1", sku="A"), azure("2")))
    december = next_month(november, charge("3", sku="A"), azure("4"))
    base = rules(invoice=INVOICE, modifiers={"azure": "drop"}, exclude={"products": ["A"]})
    december = replace(december, rulebook=replace(december.rulebook, base=base))
    assert sorted(changes(december)) == ["remove Microsoft Azure Plan 1 x 10.00", "remove Widget 1 x 10.00"]


# --- customers who leave -----------------------------------------------------------------------------------------

BIG = {"price": "1000.00", "cost": "800.00", "sku": "A"}
STRICT = rules(invoice=INVOICE, limits={"missing_company_percent_max": 100})  # the default limits


def test_B3_who_has_nothing_any_more_is_not_billed_any_more() -> None:
    december = next_month(carried_out(first(charge("1", **BIG))))
    assert changes(december) == ["remove Widget 1 x 1000.00"]
    assert ours(carried_out(december)) == 0


def test_B3_a_removal_beyond_the_limits_waits_in_sight() -> None:
    """From 1,000.00 to nothing is a change of more than 50 % and 100.00: either the line goes, or somebody is told.
    In silence the recurring invoice would go on billing what was cancelled."""
    december = next_month(carried_out(first(charge("1", **BIG), base=STRICT)))
    plan = plan_run(december)
    assert [line.action for line in lines(plan)] == ["remove"] or plan.held or plan.warnings


def test_B3_who_left_is_no_change_beyond_the_limits() -> None:
    """missing_company_percent_max counts who left; from 1,000.00 to nothing is no reason to let it be billed on."""
    december = next_month(carried_out(first(charge("1", **BIG), base=STRICT)))
    assert changes(december) == ["remove Widget 1 x 1000.00"]
    assert plan_run(december).held is False


def test_B3_a_company_that_pax8_does_not_list_any_more_is_not_billed_any_more() -> None:
    december = replace(next_month(carried_out(first(charge("1", **BIG)))), companies=())
    plan = plan_run(december)
    assert [line.action for line in lines(plan)] == ["remove"] or plan.held or plan.warnings


@pytest.mark.parametrize("odd", [{"inactive": True}, {"name": "Renamed"}], ids=["inactive", "unmatched"])
def test_B3_lines_that_cannot_be_removed_are_named(odd: dict[str, Any]) -> None:
    december = next_month(carried_out(first(charge("1", **BIG))))
    december = replace(december, clients=(replace(december.clients[0], **odd), *december.clients[1:]))
    plan = plan_run(december)
    assert plan.held or plan.warnings


def test_B3_a_company_made_anew_in_pax8_is_not_billed_twice() -> None:
    """The same customer under a new id, mapped by a person: the old id's lines go as the new one's come."""
    november = carried_out(first(charge("1", **BIG)))
    again = Company(id="c-9", name="Contoso Ltd", external_id="1")
    december = next_month(november, charge("2", company="c-9", **BIG))
    december = replace(december, companies=(again,))
    plan = plan_run(december)
    assert sorted(line.action for line in lines(plan)) in (["add", "remove"], ["update"]) or plan.warnings


@pytest.mark.parametrize(
    "invoice",
    [{"behavior": "new"}, {"behavior": "latest", "when_latest_closed": "new"}, INVOICE | {"recurring_invoice": -2}],
    ids=["new", "latest", "another recurring invoice"],
)
def test_B3_lines_left_on_a_recurring_invoice_are_not_billed_beside_the_new_way(invoice: dict[str, Any]) -> None:
    """The rules now bill the client another way. HaloPSA would go on making invoices of the old lines."""
    december = next_month(carried_out(first(charge("1", **BIG))), charge("2", **BIG))
    december = replace(
        december,
        rulebook=replace(december.rulebook, base=rules(invoice=invoice)),
        existing=(*december.existing, recurring(1, -2)),
    )
    plan = plan_run(december)
    assert "remove" in [line.action for line in lines(plan)] or plan.held or plan.warnings


@pytest.mark.parametrize("company_is", ["c-1", "c-9"], ids=["with charges", "without"])
def test_B3_a_customer_whom_a_person_excludes_is_not_billed_on_in_silence(company_is: str) -> None:
    """`map companies --exclude`: nothing is billed from now on, and the lines that stand in HaloPSA are named."""
    december = next_month(carried_out(first(charge("1", **BIG))), charge("2", company=company_is, **BIG))
    never = RememberedMatch(client_id=None, how="person", company_name="Contoso Ltd")
    plan = plan_run(replace(december, memory=replace(december.memory, matches={"c-1": never})))
    assert "remove" in [line.action for line in lines(plan)] or plan.warnings


@pytest.mark.parametrize(
    ("edit", "fate"),
    [
        ({}, "posted"),  # it comes off in the same run [B8]
        ({"qty_order": Decimal(2)}, "held recurring_left_behind"),  # edited, yet it bills
        ({"isinactive": True}, "posted"),
        ({"isinactive": False, "qty_order": 0}, "posted"),
        ({"qty_order": Decimal("0.0")}, "posted"),
        ({"gone": True}, "posted"),
    ],
    ids=str,
)
def test_B3_what_is_left_behind_waits_for_a_person_as_long_as_it_bills(edit: dict[str, Any], fate: str) -> None:
    """The client's rules name another recurring invoice now; a line that bills nothing there is in nobody's way."""
    november = carried_out(first(charge("1", **BIG), charge("2", company="Fabrikam GmbH")))
    december = edited(next_month(november, charge("3", **BIG)), 9001, **edit)
    december = replace(
        december,
        rulebook=replace(december.rulebook, base=rules(invoice=INVOICE | {"recurring_invoice": -2})),
        existing=(*december.existing, recurring(1, -2)),
    )
    assert fates(plan_run(december)) == {"3": fate}


def test_B3_what_another_company_left_behind_holds_nobody_else() -> None:
    own = rules(invoice=INVOICE | {"recurring_invoice": -2})
    files = (
        ClientFile(path="1.toml", pax8_company="c-1", halo_client=1, rules=BASE),
        ClientFile(path="2.toml", pax8_company="c-2", halo_client=1, rules=BASE),
    )
    both = (charge("1", sku="A"), charge("2", sku="B", product="Backup", company="Fabrikam GmbH"))
    november = carried_out(first(*both, files=files))
    december = next_month(november, charge("3", sku="A"), charge("4", sku="B", company="Fabrikam GmbH"))
    december = replace(
        december,
        rulebook=replace(december.rulebook, clients=(replace(files[0], rules=own), files[1])),
        existing=(*december.existing, recurring(1, -2)),
    )
    assert fates(plan_run(december)) == {"3": "posted", "4": "posted"}


def test_B3_a_company_without_lines_of_its_own_has_left_nothing_behind() -> None:
    """Another company of the same client stands on another recurring invoice, where it belongs."""
    files = (
        ClientFile(path="1.toml", pax8_company="c-1", halo_client=1, rules=rules(invoice={"behavior": "new"})),
        ClientFile(path="2.toml", pax8_company="c-2", halo_client=1, rules=BASE),
    )
    two = {"sku": "B", "product": "Backup", "company": "Fabrikam GmbH"}
    november = carried_out(first(charge("2", **two), files=files))
    december = next_month(november, charge("3", sku="A"), charge("4", **two))
    assert fates(plan_run(december)) == {"3": "posted", "4": "posted"}


# --- the changes by themselves -----------------------------------------------------------------------------------


def changed(inputs: RunInputs, **said: Any) -> LineChanges:
    """`recurring_changes` of the lines that a month without a past would add."""
    fresh = replace(inputs, memory=Memory(), existing=(recurring(),))
    (invoice,) = inputs.existing
    known: dict[str, Any] = {
        "period": str(inputs.period),
        "company_id": "c-1",
        "waiting": frozenset(),
        "currency": "USD",
    }
    return recurring_changes(invoice, lines(plan_run(fresh)), inputs.memory.written_lines, **(known | said))


def test_B3_a_line_that_waits_is_among_no_changes() -> None:
    december = next_month(carried_out(first(charge("1", sku="A"))), charge("2", "12.00", sku="A"))
    found = changed(edited(december, 9001, qty_order=Decimal(7)))
    assert (found.lines, list(found.held)) == ((), ["A|subscription|USD|1"])
    assert [line.action for line in changed(december).lines] == ["update"]


def test_B3_only_lines_of_this_invoice_and_company_are_ours() -> None:
    december = next_month(carried_out(first(charge("1", sku="A"))), charge("2", "12.00", sku="A"))
    (invoice,) = december.existing
    elsewhere = replace(december, existing=(replace(invoice, id=-1),))
    assert [line.action for line in changed(elsewhere).lines] == ["add"]
    assert [line.action for line in changed(december, company_id="c-2").lines] == ["add"]
    assert [line.action for line in changed(december, company_id=None).lines] == ["update"]


def test_B3_what_an_edited_line_without_a_charge_says_is_told() -> None:
    december = edited(next_month(carried_out(first(charge("1", sku="A")))), 9001, qty_order=Decimal(7))
    assert tuple(one.text for one in changed(december).left) == (
        "line 9001 (Widget) has no charge any more but line 9001 was edited by hand: quantity 7 instead of 1: "
        "left as it is",
    )
    assert changed(edited(december, 9001, gone=True)).left == ()
    assert changed(december, waiting=frozenset({"A"})).left == ()
    assert changed(december, waiting=frozenset({"A|subscription|USD|1"})).left == ()


@pytest.mark.parametrize("raw", [{}, {"lines": None}, {"lines": "?"}], ids=str)
def test_B3_a_recurring_invoice_without_lines_takes_the_first(raw: dict[str, Any]) -> None:
    there = invoice_of(raw, id_=-8841, client_id=1, template=True)
    assert [line.action for line in lines(plan_run(month(charge(), base=BASE, existing=(there,))))] == ["add"]
