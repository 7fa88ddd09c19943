"""Writes of cards that go wrong: lost replies, people in between, HaloPSA's own invoices and pro rata (faults 44-50)."""

from __future__ import annotations

import copy
import dataclasses

import pytest
from cards_office import SOLD, approvable, approve, dealt, invoice, line_of, new_office, one, posts

COUNTERLESS = dataclasses.replace(SOLD, change_seq="absent")
POST = {"method": "POST", "path": "/RecurringInvoice"}


@pytest.fixture
def make(sandbox, sqlite_template, tmp_path):
    return lambda options=SOLD: new_office(sandbox, sqlite_template, tmp_path, options)


@pytest.mark.parametrize(
    "kind", ["504_after", "reset_after", "not_json_after", "cut", "reset", "504", "late:calls=1", "409"]
)
def test_fault_44_a_lost_reply_ends_as_one_write_of_that_value(make, sandbox, kind):
    office = make()
    card = approvable(office)
    others = [copy.deepcopy(line) for line in invoice(sandbox, card)["lines"] if line["id"] != card["line_id"]]
    sandbox.faults.add(f"halo:POST:/RecurringInvoice:1:{kind}")
    assert one(approve(office, card["digest"]))["state"] == "done"
    assert str(line_of(sandbox, card)["qty_order"]) == card["to"]["quantity"]
    assert [line for line in invoice(sandbox, card)["lines"] if line["id"] != card["line_id"]] == others
    assert len(posts(sandbox)) == 1


def test_fault_44_a_late_landing_does_not_undo_what_a_person_set_since(make, sandbox):
    office = make()
    card = approvable(office)
    sandbox.faults.add("halo:POST:/RecurringInvoice:1:late")
    assert one(approve(office, card["digest"]))["state"] == "done"
    sandbox.person(do="edit", id=card["invoice_id"], line=card["line_id"], set={"qty_order": 5})
    sandbox.land()
    assert line_of(sandbox, card)["qty_order"] == 5


def resent_beside_an_edit(make, sandbox):
    """Our first request never arrives, and somebody edits another line before it is sent again."""
    office = make(COUNTERLESS)
    card = approvable(office)
    other = next(line for line in invoice(sandbox, card)["lines"] if line["id"] != card["line_id"])
    sandbox.faults.add("halo:POST:/RecurringInvoice:1:reset")
    read = {"method": "GET", "path": f"/RecurringInvoice/{card['invoice_id']}", "nth": 3}
    edit = {"item_longdescription": "as agreed by phone", "qty_order": 77}
    sandbox.person(do="edit", id=card["invoice_id"], line=other["id"], set=edit, before=read)
    assert one(approve(office, card["digest"]))["state"] == "done"
    assert str(line_of(sandbox, card)["qty_order"]) == card["to"]["quantity"]
    theirs = next(line for line in invoice(sandbox, card)["lines"] if line["id"] == other["id"])
    assert {name: theirs[name] for name in edit} == edit


def test_fault_44_what_is_sent_again_is_built_anew_from_the_last_read(make, sandbox):
    resent_beside_an_edit(make, sandbox)


def test_a_planted_resend_of_the_first_body_is_caught(make, sandbox, monkeypatch):
    from billingsync.reconcile import anew

    right, first = anew.prepare_cards, []

    def wrong(*given):
        first.append(right(*given))
        return first[0]

    monkeypatch.setattr(anew, "prepare_cards", wrong)
    with pytest.raises(AssertionError):
        resent_beside_an_edit(make, sandbox)
    assert len(first) == 2


def test_a_refusal_is_told_and_the_card_can_be_approved_again(make, sandbox):
    office = make()
    card = approvable(office)
    sandbox.faults.add("halo:POST:/RecurringInvoice:1:400")
    failed = approve(office, card["digest"]).must(1).json
    assert (failed["results"][0]["state"], failed["error"]["code"]) == ("failed", "BS-FAILED")
    assert {each["state"] for each in dealt(office) if each["id"] == card["id"]} == {"failed"}
    assert one(approve(office, card["digest"]))["state"] == "done"


def test_fault_45_a_person_who_edits_between_reading_and_writing_is_not_overwritten(make, sandbox):
    office = make()
    card = approvable(office)
    sandbox.person(do="edit", id=card["invoice_id"], line=card["line_id"], set={"qty_order": 5}, before=POST)
    assert one(approve(office, card["digest"]), 1)["state"] == "failed"
    assert line_of(sandbox, card)["qty_order"] == 5


def test_fault_45_without_a_counter_the_alarm_names_both_values(make, sandbox):
    office = make(COUNTERLESS)
    card = approvable(office)
    sandbox.advance(60)
    sandbox.person(do="edit", id=card["invoice_id"], line=card["line_id"], set={"qty_order": 5}, before=POST)
    alarm = one(approve(office, card["digest"]), 3)
    assert alarm["state"] == "alarm"
    assert f"qty_order: {card['from']['quantity']} -> 5 by Jane" in alarm["message"]


def test_fault_46_an_invoice_that_halopsa_made_meanwhile_is_named_with_both_quantities(make, sandbox):
    office = make(COUNTERLESS)
    card = approvable(office)
    sandbox.person(do="make", id=card["invoice_id"], before=POST)
    alarm = one(approve(office, card["digest"]), 3)
    made = max(sandbox.halo.invoices)
    assert f"(invoice {made})" in alarm["message"]
    assert f"was {card['from']['quantity']}" in alarm["message"]
    assert f"was to be {card['to']['quantity']}" in alarm["message"]


@pytest.mark.parametrize("switch", [{"prorata_on_change": True}, {"prorata_sent": "doubled"}], ids=str)
def test_fault_47_halopsas_own_prorata_is_an_alarm_and_stops_the_rest(make, sandbox, switch):
    office = make(dataclasses.replace(SOLD, **switch))
    shown = office.run("cards", "--json").must(3).json
    results = approve(office, "--all", "--yes", "--expect", shown["digest"]).must(3).json["results"]
    states = [result["state"] for result in results]
    assert "alarm" in states
    after = states[states.index("alarm") + 1 :]
    written = [result["invoice_id"] for result in results if result["state"] == "alarm"]
    assert set(after) <= {"not_sent", "alarm"}
    if switch.get("prorata_on_change"):
        assert len(set(written)) == 1
        assert "HaloPSA added 1 pro rata of its own" in next(r["message"] for r in results if r["state"] == "alarm")


@pytest.mark.parametrize(
    ("way", "semantics", "properties"),
    [("header", "merge", "reset"), ("header", "replace", "kept"), ("updatelines", "replace", "reset"),
     ("add_lines", "merge", "kept")],
)  # fmt: skip
def test_every_way_to_write_lines_sets_the_one_number(make, sandbox, way, semantics, properties):
    office = make(dataclasses.replace(SOLD, lines_semantics=semantics, line_properties=properties))
    office.settings["BILLINGSYNC_HALO__WRITE_LINES"] = way
    card = approvable(office)
    before = copy.deepcopy(invoice(sandbox, card)["lines"])
    assert one(approve(office, card["digest"]))["state"] == "done"
    assert one(office.run("cards", "undo", card["digest"], "--json"))["state"] == "undone"
    assert invoice(sandbox, card)["lines"] == before


def test_fault_48_a_line_that_moved_to_another_recurring_invoice_is_not_written(make, sandbox):
    office = make()
    card = approvable(office)
    line = copy.deepcopy(line_of(sandbox, card))
    other = next(
        row
        for row in sandbox.halo.table("recurring").values()
        if row["client_id"] != card["client_id"] and row["lines"]
    )
    sandbox.person(do="remove_line", id=card["invoice_id"], line=card["line_id"])
    moved = {name: line[name] for name in ("_itemid", "qty_order", "unit_price", "item_shortdescription")}
    sandbox.person(do="add_line", id=other["id"], set=moved)
    stale = approve(office, card["digest"]).must(5).json
    assert stale["error"]["code"] == "BS-STALE-CARD"
    assert posts(sandbox) == []


@pytest.mark.parametrize("again", ["same digest", "after a snapshot"])
def test_fault_48_an_item_that_was_retired_or_merged_blocks_its_card(make, sandbox, again):
    office = make()
    card = approvable(office)
    other = next(id_ for id_ in sandbox.halo.table("items") if id_ != card["item"])
    sandbox.person(do="edit", id=card["invoice_id"], line=card["line_id"], set={"_itemid": other})
    if again == "after a snapshot":
        office.run("snapshot").must(0, 3)
    assert approve(office, card["digest"]).must(5).json["error"]["code"] == "BS-STALE-CARD"
    assert posts(sandbox) == []


def test_approve_twice_from_two_processes_writes_once(make, sandbox):
    office = make()
    card = approvable(office)
    running = [office.start("cards", "approve", card["digest"], "--json") for _ in range(2)]
    codes = sorted((process.communicate(timeout=60), process.returncode)[1] for process in running)
    assert codes in ([0, 0], [0, 5])
    assert len(posts(sandbox)) == 1
    assert str(line_of(sandbox, card)["qty_order"]) == card["to"]["quantity"]


def test_j4_all_approvable_cards_applied_leave_no_difference_there_and_the_rest_as_it_was(make, sandbox):
    office = make()
    before = {card["id"]: card for card in dealt(office)}
    shown = office.run("cards", "--json").must(3).json
    results = approve(office, "--all", "--yes", "--expect", shown["digest"]).must(0).json["results"]
    written = {result["digest"] for result in results}
    office.run("snapshot").must(0, 3)
    now = {card["id"]: card for card in dealt(office)}
    for id_, card in before.items():
        if card["digest"] in written:
            assert id_ not in now, "a card that was applied proposes nothing more"
        else:
            assert now[id_]["digest"] == card["digest"]


def test_j11_cards_write_by_the_recurring_invoices_route_only(make, sandbox):
    office = make()
    shown = office.run("cards", "--json").must(3).json
    approve(office, "--all", "--yes", "--expect", shown["digest"]).must(0)
    written = [call for call in sandbox.calls if call.method != "GET" and "token" not in call.path]
    assert {(call.service, call.path) for call in written} == {("halo", "/RecurringInvoice")}
    assert sandbox.alarms == []


def test_a_billing_run_after_a_card_leaves_what_it_wrote(make, sandbox):
    office = make()
    card = approvable(office)
    assert one(approve(office, card["digest"]))["state"] == "done"
    written = copy.deepcopy(invoice(sandbox, card)["lines"])
    ran = office.run("run", "2026-11", "--yes", "--json").must(0, 3).json
    assert ran["postings"]
    assert not [each for each in ran["postings"] if each["state"] == "failed"]
    assert invoice(sandbox, card)["lines"] == written


def test_a_card_after_a_billing_run_that_bills_the_seats_is_stale(make, sandbox):
    office = make()
    card = approvable(office)
    before = copy.deepcopy(invoice(sandbox, card)["lines"])
    office.run("run", "2026-11", "--yes", "--json").must(0, 3)
    stale = approve(office, card["digest"]).must(5).json
    assert stale["error"]["code"] == "BS-STALE-CARD"
    assert invoice(sandbox, card)["lines"] == before


def test_a_run_finds_out_about_a_card_that_was_cut_off_before_it_writes(make, sandbox):
    office = make()
    card = approvable(office)
    sandbox.faults.add("halo:POST:/RecurringInvoice:1:504_after")
    sandbox.faults.add("halo:GET:/RecurringInvoice/*:2+:503")
    assert one(approve(office, card["digest"]), 1)["state"] == "unknown"
    sandbox.faults.clear()
    office.run("run", "2026-11", "--yes", "--json").must(0, 3)
    kinds = [entry["kind"] for entry in office.run("log", "--json").must().json["entries"]]
    assert kinds.index("card.done") < kinds.index("posting.intent")
    assert len([call for call in posts(sandbox) if call.path == "/RecurringInvoice"]) == 1


def test_a_new_lines_mark_holds_no_clients_bill(make, sandbox):
    office = make()
    card = approvable(office, kind="new")
    assert one(approve(office, card["digest"]))["state"] == "done"
    sandbox.make(card["invoice_id"])
    ran = office.run("run", "2026-11", "--yes", "--json").must(0, 3).json
    assert not [one for one in ran["postings"] if one["state"] == "failed"]


def test_a_card_for_a_later_day_waits_for_the_worker(make, sandbox):
    import datetime

    office = make()
    card = approvable(office)
    day = str(datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=60))
    scheduled = one(approve(office, card["digest"], "--effective", day))
    assert (scheduled["state"], posts(sandbox)) == ("scheduled", [])
    mine = next(each for each in dealt(office, "--state", "scheduled") if each["id"] == card["id"])
    assert (mine["effective"], mine["digest"]) == (day, scheduled["digest"])
    assert str(line_of(sandbox, card)["qty_order"]) == card["from"]["quantity"]


def test_a_new_card_that_is_paired_with_a_line_becomes_a_change_of_it(make, sandbox):
    office = make()
    card = approvable(office, kind="new")
    own = sandbox.halo.table("recurring")[card["invoice_id"]]["lines"][0]
    assert office.run("cards", "pair", card["digest"], "--line", "1", "--json").code == 2
    paired = office.run("cards", "pair", card["digest"], "--line", str(own["id"]), "--json").must().json["results"]
    assert [(each["kind"], each["line_id"]) for each in paired] == [("changed", own["id"])]
    assert posts(sandbox) == []
