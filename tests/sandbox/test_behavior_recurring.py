"""Behavior "recurring" [B3] [B4] against the emulated HaloPSA: what is counted is in its own tables."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from decimal import Decimal

import pytest
from cli import quick_time
from scene import BACKUP, DEFENDER, M365, SHIELD, STAGE, STANDARD, all_marks, ours, scene, texts, theirs, total

from billingsync.run import post

BASE = '[products]\nlifecycle = "off"\n[limits]\nchange_percent_max = 100000\nmissing_company_percent_max = 100\n'
CONTOSO = (
    '[client]\nhalo_client = 214\nname = "Contoso Ltd"\n[invoice]\nbehavior = "recurring"\nrecurring_invoice = 201\n'
)


@pytest.fixture
def stage(server, tmp_path, sqlite_template):
    def make(rules=BASE, client=CONTOSO, **switches):
        settings = {name: switches.pop(name) for name in list(switches) if name.isupper()}
        server.reset(dataclasses.replace(STAGE, **switches))
        shutil.copy(sqlite_template, tmp_path / "ledger.db")
        made = scene(server, tmp_path, **settings)
        made.office.rules(rules)
        made.office.rules(client, "clients/contoso.toml")
        return made

    return make


def october(made):
    """The first month: three products, all added."""
    made.month(
        "2026-10",
        made.charge(M365, 9, sub="s-1"),
        made.charge(BACKUP, 2, sub="s-2"),
        made.charge(DEFENDER, 4, sub="s-3"),
    )
    made.office.run("run", "2026-10", "--yes").must()
    assert texts(made.invoice(-201)) == OCTOBER


def november(made):
    """A seat more, the backup gone, a product new, one as it was."""
    made.month(
        "2026-11",
        made.charge(M365, 10, sub="s-1"),
        made.charge(DEFENDER, 4, sub="s-3"),
        made.charge(SHIELD, 7, sub="s-4"),
    )


OCTOBER = ["2 x 48.00 Harborline Backup for Servers", "4 x 3.00 Microsoft Defender for Business",
           "9 x 22.00 Microsoft 365 Business Premium"]  # fmt: skip
NOVEMBER = ["10 x 22.00 Microsoft 365 Business Premium", "4 x 3.00 Microsoft Defender for Business",
            "7 x 3.25 Lantern Mail Shield Advanced"]  # fmt: skip
ROUTES = [
    *itertools.product(["replace", "merge"], ["reset", "kept"], ["header"], ["present", "absent"]),
    *itertools.product(["replace", "merge"], ["reset"], ["updatelines", "add_lines"], ["present"]),
]


@pytest.mark.parametrize(("semantics", "properties", "write_lines", "change_seq"), ROUTES)
def test_B3_lines_are_added_updated_and_removed_and_the_rest_comes_back_as_it_was(
    stage, semantics, properties, write_lines, change_seq
):
    made = stage(
        lines_semantics=semantics, line_properties=properties, change_seq=change_seq, HALO__WRITE_LINES=write_lines
    )
    october(made)
    ids = {line["item_shortdescription"].partition(" (")[0]: line["id"] for line in ours(made.invoice(-201))}
    november(made)
    plan = made.office.plan("2026-11")  # by now HaloPSA has made October's invoice, which changes its own template
    before = {row["id"]: theirs(row) for row in made.sandbox.halo.recurring.values()}
    invoices = made.sandbox.state()["halo"]["invoices"]
    (client,) = plan["clients"]
    assert sorted(line["action"] for line in client["lines"]) == ["add", "remove", "update", "update"]
    told = made.office.run("run", "2026-11", "--yes", "--json").must().json
    (posting,) = told["postings"]
    assert (posting["action"], posting["invoice_id"], posting["amount"]) == ("update", -201, "254.75")
    row = made.invoice(-201)
    assert texts(row) == NOVEMBER and total(row) == Decimal("254.75")
    kept = {line["item_shortdescription"].partition(" (")[0]: line["id"] for line in ours(row)}
    assert {name: kept[name] for name in kept.keys() & ids.keys()} == {
        name: ids[name] for name in kept.keys() & ids.keys()
    }
    dead = [line for line in row["lines"] if line["isinactive"] and line["id"] in ids.values()]
    assert all(line["qty_order"] == 0 for line in dead)  # where lists are merged, a line can only be set to nothing
    after = {row["id"]: theirs(row) for row in made.sandbox.halo.recurring.values()}
    assert after == before and made.sandbox.state()["halo"]["invoices"] == invoices
    assert made.sandbox.alarms == [] and len(all_marks(made.sandbox)) == len(set(all_marks(made.sandbox)))
    assert made.office.run("run", "2026-11", "--yes", "--json").must().json["postings"] == []


@pytest.mark.parametrize("named", ["201", "-201"])
def test_B3_the_invoice_may_be_named_as_the_screen_shows_it(stage, named):
    made = stage(client=CONTOSO.replace("201", named))
    october(made)


def test_B3_without_its_invoice_the_client_waits(stage):
    made = stage(client=CONTOSO.replace("201", "909"))
    november(made)
    (hold, *_) = made.office.run("run", "2026-11", "--yes", "--json").must(3).json["holds"]
    assert hold["reason"] == "recurring_missing" and "clients/contoso.toml" in hold["next_step"]
    made.office.rules(CONTOSO.replace("201", "203"), "clients/contoso.toml")
    (hold, *_) = made.office.run("run", "2026-11", "--yes", "--json").must(3).json["holds"]
    assert (hold["reason"], "belongs to HaloPSA client 215" in hold["detail"]) == ("recurring_missing", True)


def test_B3_disabled_between_read_and_write(stage):
    made = stage()
    october(made)
    november(made)
    with made.meanwhile("/RecurringInvoice", lambda: made.edit(-201, disabled=True)) as met:
        told = made.office.run("run", "2026-11", "--yes", "--json").must(1).json
    assert met and "is disabled in HaloPSA meanwhile" in told["postings"][0]["problem"]
    assert texts(made.invoice(-201)) == OCTOBER


# --- hands off -----------------------------------------------------------------------------------------------------

EDITS = {
    "quantity": {"qty_order": Decimal(12)},
    "price": {"unit_price": Decimal("20.00"), "baseprice": Decimal("20.00")},
    "cost": {"unit_cost": Decimal("1.00")},
    "text": {"item_shortdescription": "As agreed with Jane"},
    "long text": {"item_longdescription": "As agreed with Jane {mark}"},
    "discount": {"discount_perc": Decimal(10)},
    "inactive": {"isinactive": True},
}


def line_of(made, text, invoice=-201):
    return next(line for line in made.invoice(invoice)["lines"] if line["item_shortdescription"].startswith(text))


@pytest.mark.parametrize("edit", EDITS)
def test_B3_a_line_that_a_person_edited_is_held_and_the_others_go_on(stage, edit):
    made = stage()
    october(made)
    november(made)
    line = line_of(made, "Microsoft 365 Business Premium")
    mark = line["item_longdescription"].rpartition("\n")[2]
    changes = {
        name: value.format(mark=mark) if isinstance(value, str) else value for name, value in EDITS[edit].items()
    }
    made.edit(-201, line["id"], **changes)
    edited = line_of(made, EDITS[edit].get("item_shortdescription", "Microsoft 365 Business Premium"))
    told = made.office.run("run", "2026-11", "--yes", "--json").must(3).json
    (hold,) = told["holds"]
    assert (hold["reason"], hold["amount"]) == ("line_edited", "220.00")
    assert next(one for one in made.invoice(-201)["lines"] if one["id"] == line["id"]) == edited
    assert set(NOVEMBER[1:]) <= set(texts(made.invoice(-201)))


def test_B3_the_way_out_of_a_held_line_works(stage):
    """What the hold says to do ends it: the line changed by hand to what this month says."""
    made = stage()
    october(made)
    november(made)
    line = line_of(made, "Microsoft 365 Business Premium")
    made.edit(-201, line["id"], qty_order=Decimal(12))
    (hold,) = made.office.run("run", "2026-11", "--yes", "--json").must(3).json["holds"]
    assert 'to what this month says, 10 x 22.00 "Microsoft 365 Business Premium (2026-11-01' in hold["next_step"]
    made.edit(
        -201, line["id"], qty_order=Decimal(10),
        item_shortdescription="Microsoft 365 Business Premium (2026-11-01 to 2026-11-28)",
        item_longdescription=line["item_longdescription"].replace("2026-10-", "2026-11-"),
    )  # fmt: skip
    made.office.run("run", "2026-11", "--yes").must()
    assert texts(made.invoice(-201)) == NOVEMBER


def test_B3_a_line_that_a_person_deleted_is_not_made_again(stage):
    made = stage()
    october(made)
    november(made)
    made.delete_line(-201, line_of(made, "Microsoft 365 Business Premium")["id"])
    (hold,) = made.office.run("run", "2026-11", "--yes", "--json").must(3).json["holds"]
    assert (hold["reason"], "removed by hand" in hold["detail"]) == ("line_edited", True)
    assert texts(made.invoice(-201)) == NOVEMBER[1:]


def test_fault_28_a_quantity_that_halopsa_counts_is_left_alone(stage):
    made = stage()
    october(made)
    november(made)
    line = line_of(made, "Microsoft 365 Business Premium")
    made.edit(-201, line["id"], quantity_licences=[{"id": 1, "licence_id": 5}], recurring_invoice_quantity_type=1)
    told = made.office.run("run", "2026-11", "--yes", "--json").must(3).json
    assert [hold["reason"] for hold in told["holds"]] == ["line_automatic_quantity"]
    assert line_of(made, "Microsoft 365 Business Premium")["qty_order"] == 9 and made.sandbox.alarms == []


def test_fault_28_a_pro_rata_that_halopsa_adds_is_an_alarm(stage):
    made = stage(prorata_on_change=True)
    october(made)
    november(made)
    told = made.office.run("run", "2026-11", "--yes", "--json").must(1).stdout
    line = line_of(made, "Microsoft 365 Business Premium")
    assert f"HaloPSA added a pro rata of its own to line {line['id']}" in told
    assert texts(made.invoice(-201)) == NOVEMBER
    # Next month goes on from what is there.
    made.sandbox.change(prorata_on_change=False)
    made.month("2026-12", made.charge(M365, 11, sub="s-1"))
    made.office.run("run", "2026-12", "--yes").must()
    assert texts(made.invoice(-201)) == ["11 x 22.00 Microsoft 365 Business Premium"]


@pytest.mark.parametrize("switches", [{"change_seq_conflict": "400"}, {"change_seq_conflict": "409"}], ids=str)
def test_fault_22_an_edit_between_read_and_write_stays_and_ours_follow(stage, switches):
    made = stage(**switches)
    october(made)
    november(made)
    foreign = made.invoice(-201)["lines"][0]["id"]
    with (
        quick_time(made.sandbox),
        made.meanwhile("/RecurringInvoice", lambda: made.edit(-201, foreign, qty_order=Decimal(13))) as met,
    ):
        made.office.run("run", "2026-11", "--yes").must()
    assert met and made.invoice(-201)["lines"][0]["qty_order"] == 13 and texts(made.invoice(-201)) == NOVEMBER


@pytest.mark.parametrize("switches", [{"change_seq_conflict": "ignored"}, {"change_seq": "absent"}], ids=str)
def test_fault_22_an_edit_that_our_list_put_back_is_an_alarm_with_both_sides(stage, switches):
    made = stage(**switches)
    october(made)
    november(made)
    foreign = made.invoice(-201)["lines"][0]["id"]
    with made.meanwhile("/RecurringInvoice", lambda: made.edit(-201, foreign, qty_order=Decimal(13))):
        told = made.office.run("run", "2026-11", "--yes", "--json").must(1).stdout
    assert f"line {foreign} was changed while we wrote (qty_order: 12 -> 13 by Jane)" in told


def test_fault_22_an_edit_of_our_own_line_between_plan_and_write(stage):
    made = stage(change_seq_conflict="400")
    october(made)
    november(made)
    mine = line_of(made, "Microsoft 365 Business Premium")["id"]
    with made.meanwhile("/RecurringInvoice", lambda: made.edit(-201, mine, qty_order=Decimal(99))):
        told = made.office.run("run", "2026-11", "--yes", "--json").must(1).json
    assert "was edited by hand" in told["postings"][0]["problem"]
    assert line_of(made, "Microsoft 365 Business Premium")["qty_order"] == 99


def test_N5_a_line_changed_before_the_list_is_read_back_is_an_alarm(stage, monkeypatch):
    monkeypatch.setattr(post, "WORTH_A_LIST", 1)
    made = stage()
    october(made)
    november(made)
    verify = post.verify

    def edited_first(context, heads):
        for line in made.invoice(-201)["lines"]:
            if line["item_shortdescription"].startswith("Lantern Mail Shield"):  # as soon as it is written
                made.edit(-201, line["id"], qty_order=Decimal(99))
        verify(context, heads)

    monkeypatch.setattr(post, "verify", edited_first)
    told = made.office.run("run", "2026-11", "--yes", "--json").must(1).json
    assert "instead of 22.75" in told["postings"][0]["problem"]


# --- HaloPSA does something else -----------------------------------------------------------------------------------


def test_updatelines_that_only_appends_is_an_alarm_and_not_a_second_bill_unseen(stage):
    made = stage(HALO__WRITE_LINES="updatelines", updatelines="append")
    october(made)
    november(made)
    told = made.office.run("run", "2026-11", "--yes", "--json").must(1).stdout
    assert "was added again instead of changed" in told


@pytest.mark.parametrize("marker", ["productnumber", "customfield:101", "longdescription"])
def test_the_mark_may_move_from_one_month_to_the_next(stage, marker):
    made = stage(HALO__MARKER="productnumber")
    october(made)
    november(made)
    made.edit(
        -201, line_of(made, "Microsoft 365")["id"], customfields=[{"id": 101, "name": "CFsandbox101", "value": "x"}]
    )
    made.office.settings["BILLINGSYNC_HALO__MARKER"] = marker
    made.office.run("run", "2026-11", "--yes").must()
    assert texts(made.invoice(-201)) == NOVEMBER
    # Three on October's invoice, which HaloPSA made, and three on the template; none twice.
    assert len(all_marks(made.sandbox)) == len(set(all_marks(made.sandbox))) == 6


def test_customfields_of_our_lines_that_are_not_ours_stay(stage):
    made = stage(customfields=(101, 102), HALO__MARKER="customfield:101")
    october(made)
    november(made)
    line = line_of(made, "Microsoft 365 Business Premium")
    kept = {"id": 102, "name": "CFsandbox102", "value": "cost centre 7"}
    made.edit(-201, line["id"], customfields=[*line["customfields"], kept])
    made.office.run("run", "2026-11", "--yes").must()
    assert kept in line_of(made, "Microsoft 365 Business Premium")["customfields"]
    assert texts(made.invoice(-201)) == NOVEMBER


def test_texts_that_halopsa_takes_from_the_item_are_nobodys_edit(stage):
    rules = BASE.replace('"off"', '"automatic"')
    made = stage(rules, item_overwrites=("item_shortdescription",))
    made.month("2026-10", made.charge(M365, 9, sub="s-1"))
    made.office.run("run", "2026-10", "--yes").must()
    made.month("2026-11", made.charge(M365, 10, sub="s-1"))
    made.office.run("run", "2026-11", "--yes").must()
    assert [line["qty_order"] for line in ours(made.invoice(-201))] == [10]


def test_an_item_that_the_plan_shows_is_the_item_that_is_written(stage):
    made = stage()
    october(made)
    november(made)
    made.office.rules(BASE.replace('"off"', '"automatic"'))
    plan = made.office.plan("2026-11")
    shown = {line["line_id"]: line["item"]["id"] for line in plan["clients"][0]["lines"] if line["action"] == "update"}
    made.office.run("run", "2026-11", "--yes").must()
    assert {line["id"]: line["_itemid"] for line in ours(made.invoice(-201)) if line["id"] in shown} == shown


# --- the rules change their mind -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["invoiced", "deleted"])
@pytest.mark.parametrize("now", ['behavior = "new"', 'behavior = "recurring"\nrecurring_invoice = 202'])
def test_B8_lines_that_were_not_invoiced_are_not_billed_beside_the_new_way(stage, now, way):
    made = stage()
    made.office.invoices_templates = False
    october(made)
    november(made)
    made.office.rules(f'[client]\nhalo_client = 214\nname = "Contoso Ltd"\n[invoice]\n{now}\n', "clients/contoso.toml")
    told = made.office.run("run", "2026-11", "--yes", "--json").must(3).json
    assert {hold["reason"] for hold in told["holds"]} == {"recurring_left_behind"} and told["postings"] == []
    assert all("306.00 USD of 2026-10 waits" in hold["detail"] for hold in told["holds"])
    assert texts(made.invoice(-201)) == OCTOBER
    if way == "invoiced":
        made.sandbox.make(-201)
    else:
        for line in ours(made.invoice(-201)):
            made.delete_line(-201, line["id"])
    told = made.office.run("run", "2026-11", "--yes", "--json").must().json
    assert sum(Decimal(posting["amount"]) for posting in told["postings"]) == Decimal("254.75")
    assert ours(made.invoice(-201)) == []


@pytest.mark.parametrize("now", ['behavior = "new"', 'behavior = "recurring"\nrecurring_invoice = 202'])
def test_B8_lines_that_were_invoiced_come_off_in_the_run_that_bills_the_new_way(stage, now):
    made = stage()
    october(made)
    november(made)
    made.office.rules(f'[client]\nhalo_client = 214\nname = "Contoso Ltd"\n[invoice]\n{now}\n', "clients/contoso.toml")
    told = made.office.run("run", "2026-11", "--yes", "--json").must().json
    assert sorted(posting["amount"] for posting in told["postings"]) == ["0.00", "254.75"]
    assert ours(made.invoice(-201)) == []
    assert made.office.run("run", "2026-11", "--yes", "--json").must().json["postings"] == []


def test_fault_03_licences_that_halopsa_counts_itself_are_told_in_the_plan(stage):
    made = stage()
    made.month("2026-11", made.charge(STANDARD, 3, client=215))
    assert made.invoice(-203)["contains_calculated_quantity"]
    (warning,) = [text for text in made.office.plan("2026-11")["warnings"] if "licences" in text]
    assert "recurring invoice 203" in warning and "billed twice" in warning
