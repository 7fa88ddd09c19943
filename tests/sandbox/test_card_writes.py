"""Approved cards as users meet them: written once, to the line that was shown, with everything else as it was."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta

import pytest
from cards_office import SOLD, approvable, approve, dealt, invoice, line_of, new_office, one, posts

from billingsync.sandbox import cast


@pytest.fixture
def office(sandbox, sqlite_template, tmp_path):
    return new_office(sandbox, sqlite_template, tmp_path)


def everything_but(row, line_id):
    """The recurring invoice without that line's numbers, and without what HaloPSA computes of it."""
    row = copy.deepcopy(row)
    for name in ("change_seq", "last_modified", "revenue", "total", "amountdue", "tax_total"):
        row.pop(name)
    for line in row["lines"]:
        for name in ("qty_order", "net_amount", "tax_amount", "total_price") if line["id"] == line_id else ():
            line.pop(name)
    return row


def test_j6_an_approved_card_is_written_once_and_nothing_else_moves(office, sandbox):
    card = approvable(office)
    before = copy.deepcopy(invoice(sandbox, card))
    result = one(approve(office, card["digest"]))
    assert (result["state"], result["was"], result["now"]) == ("done", card["from"], card["to"])
    assert str(line_of(sandbox, card)["qty_order"]) == card["to"]["quantity"]
    assert everything_but(invoice(sandbox, card), card["line_id"]) == everything_but(before, card["line_id"])
    assert [call.path for call in posts(sandbox)] == ["/RecurringInvoice"]
    again = one(approve(office, card["digest"]))
    assert again["state"] == "done_already"
    assert len(posts(sandbox)) == 1
    assert next(each["state"] for each in dealt(office, "--state", "done")) == "done"


def test_the_log_tells_who_approved_what_was_sent_and_what_came_back(office):
    card = approvable(office)
    approve(office, card["digest"], "--reason", "asked by mail").must()
    entries = office.run("log", "--json").must().json["entries"]
    kinds = [entry["kind"] for entry in entries if entry["kind"].startswith("card")]
    assert kinds == ["card.intent", "card", "card", "card.done", "card"]
    states = [entry["body"]["state"] for entry in entries if entry["kind"] == "card"]
    assert states == ["approved", "writing", "done"]
    moved = float(card["to"]["quantity"]) - float(card["from"]["quantity"])
    assert (moved > 0) == (float(card["difference"]) > 0)
    for entry in entries:  # the sign of the change is everywhere that of the difference [J5]
        for told in entry["body"].get("lines", []) if entry["kind"] == "card.intent" else [entry["body"]]:
            if told.get("before") and told.get("after"):
                assert float(told["after"]["quantity"]) - float(told["before"]["quantity"]) == moved
                if entry["kind"] == "card":
                    assert f"quantity {told['before']['quantity']} -> {told['after']['quantity']}" in entry["says"]
    assert office.run("log", "--card", card["digest"], "--json").must().json["entries"]


def test_undo_puts_back_what_was_there_and_the_card_can_be_approved_again(office, sandbox):
    card = approvable(office)
    before = copy.deepcopy(invoice(sandbox, card))
    one(approve(office, card["digest"]))
    undone = one(office.run("cards", "undo", card["digest"], "--json"))
    assert (undone["state"], undone["now"]["quantity"]) == ("undone", card["from"]["quantity"])
    assert invoice(sandbox, card)["lines"] == before["lines"]
    assert one(office.run("cards", "undo", card["digest"], "--json"))["state"] == "done_already"
    assert one(approve(office, card["digest"]))["state"] == "done"
    assert str(line_of(sandbox, card)["qty_order"]) == card["to"]["quantity"]


def test_undo_keeps_what_a_person_set_meanwhile(office, sandbox):
    card = approvable(office)
    one(approve(office, card["digest"]))
    sandbox.person(do="edit", id=card["invoice_id"], line=card["line_id"], set={"qty_order": 77})
    refused = one(office.run("cards", "undo", card["digest"], "--json"), 5)
    assert "quantity 77" in refused["message"]
    assert line_of(sandbox, card)["qty_order"] == 77


def test_the_end_of_a_line_sets_it_to_nothing_and_inactive_and_undo_brings_it_back(office, sandbox):
    card = approvable(office)
    before = copy.deepcopy(line_of(sandbox, card))
    ended = office.run("cards", "approve", card["digest"], "--quantity", "0", "--json", "--dry-run").must(3).json
    assert ended["results"][0]["state"] == "over_limit"
    words = ["--quantity", "0", "--over-limit", "--reason", "bought twice"]
    done = one(approve(office, card["digest"], *words))
    assert (line_of(sandbox, card)["qty_order"], line_of(sandbox, card)["isinactive"]) == (0, True)
    assert one(office.run("cards", "undo", done["digest"], "--json"))["state"] == "undone"
    assert line_of(sandbox, card) == before


def test_a_new_line_is_added_with_its_mark_and_taken_out_by_undo(office, sandbox):
    card = approvable(office, kind="new")
    before = copy.deepcopy(invoice(sandbox, card)["lines"])
    words = ["--over-limit", "--reason", "new"] if card["limits"] else []
    assert one(approve(office, card["digest"], *words))["state"] == "done"
    added = [line for line in invoice(sandbox, card)["lines"] if line["id"] not in {each["id"] for each in before}]
    assert [str(line["qty_order"]) for line in added] == [card["to"]["quantity"]]
    assert "[bs:" in added[0]["item_longdescription"]
    office.run("snapshot").must(0, 3)
    assert card["id"] not in {each["id"] for each in dealt(office)}, "the line counts as kept by hand from now on"
    assert one(office.run("cards", "undo", card["digest"], "--json"))["state"] == "undone"
    assert invoice(sandbox, card)["lines"] == before


def test_a_dry_run_shows_the_body_and_sends_and_records_nothing(office, sandbox):
    card = approvable(office)
    shown = one(approve(office, card["digest"], "--dry-run"))
    assert shown["state"] == "shown"
    assert str(card["line_id"]) in shown["body"]
    assert posts(sandbox) == []
    assert {each["state"] for each in dealt(office)} == {"open"}


@pytest.mark.parametrize(
    "edit",
    [
        {"qty_order": 1},
        {"unit_price": 99, "baseprice": 99},
        {"unit_cost": 0.01},
        {"isinactive": True},
        {"quantity_users": [{"id": 1}]},
        {"prorata_data": [{"id": 7, "date": "2026-11-20T00:00:00", "quantity": 1, "isinvoiced": False}]},
        {"_itemid": 401},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_j7_what_the_card_showed_and_is_so_no_more_refuses_it(office, sandbox, edit):
    card = approvable(office)
    sandbox.person(do="edit", id=card["invoice_id"], line=card["line_id"], set=edit)
    refused = approve(office, card["digest"]).must(5).json
    assert refused["error"]["code"] == "BS-STALE-CARD"
    assert refused["results"][0]["state"] == "stale"
    assert refused["results"][0]["message"]
    assert posts(sandbox) == []


@pytest.mark.parametrize(
    "edit",
    [
        {"disabled": True},
        {"client_id": 211},
        {"requires_approval": True, "approval_status": 1},
        {"currency_code": 2, "currency_code_name": "EUR"},
    ],
    ids=str,
)
def test_j7_the_header_of_a_recurring_invoice_refuses_its_cards_too(office, sandbox, edit):
    card = approvable(office)
    sandbox.person(do="edit", id=card["invoice_id"], set=edit)
    approve(office, card["digest"]).must(5)
    assert posts(sandbox) == []


def test_j7_a_line_that_a_person_added_to_the_group_refuses_the_card(office, sandbox):
    card = approvable(office)
    sandbox.person(do="add_line", id=card["invoice_id"], set={"_itemid": card["item"], "qty_order": 1, "unit_price": 1})
    refused = one(approve(office, card["digest"]), 5)
    assert "The lines that carry these seats are others" in refused["message"]
    assert posts(sandbox) == []


def test_j7_what_cards_do_not_look_at_comes_back_as_a_person_made_it(office, sandbox):
    card = approvable(office)
    edits = {"item_longdescription": "as agreed", "comment_1": "by phone", "discount_perc": 5}
    sandbox.person(do="edit", id=card["invoice_id"], line=card["line_id"], set=edits)
    sandbox.person(do="edit", id=card["invoice_id"], set={"notes_1": "thank you", "reference": "Seats"})
    assert one(approve(office, card["digest"]))["state"] == "done"
    line = line_of(sandbox, card)
    assert {name: line[name] for name in edits} == edits
    assert (invoice(sandbox, card)["notes_1"], invoice(sandbox, card)["reference"]) == ("thank you", "Seats")


def test_a_stale_card_names_the_new_one_which_can_be_approved(office, sandbox):
    card = approvable(office)
    sandbox.person(do="edit", id=card["invoice_id"], line=card["line_id"], set={"qty_order": 1})
    stale = one(approve(office, card["digest"]), 5)
    assert stale["new_digest"] != card["digest"]
    office.run("snapshot").must(0, 3)
    words = ["--over-limit", "--reason", "yes"]
    assert one(approve(office, stale["new_digest"], *words))["state"] == "done"
    assert str(line_of(sandbox, card)["qty_order"]) == card["to"]["quantity"]


def test_cd9_beyond_a_limit_it_takes_a_reason_one_card_at_a_time(office, sandbox):
    card = approvable(office)
    more = str(int(card["from"]["quantity"]) * 2 + 10)
    blocked = approve(office, card["digest"], "--quantity", more).must(3).json
    assert (blocked["results"][0]["state"], blocked["error"]["code"]) == ("over_limit", "BS-CARD-BLOCKED")
    assert approve(office, card["digest"], "--quantity", more, "--over-limit").code == 2
    assert posts(sandbox) == []
    words = ["--quantity", more, "--over-limit", "--reason", "they doubled"]
    assert one(approve(office, card["digest"], *words))["now"]["quantity"] == more


def test_price_and_cost_are_written_where_they_were_chosen_only(office, sandbox):
    card = approvable(office)
    price = str(line_of(sandbox, card)["unit_price"])
    assert one(approve(office, card["digest"], "--cost", "0.01"))["state"] == "done"
    line = line_of(sandbox, card)
    assert (str(line["unit_price"]), str(line["unit_cost"])) == (price, "0.01")


def test_several_cards_of_one_recurring_invoice_go_in_one_post(office, sandbox):
    first = approvable(office)
    second = next(
        card
        for card in dealt(office, "--kind", "unchanged")
        if card["invoice_id"] == first["invoice_id"] and not card["lacks"] and card["line_id"]
    )
    quantity = line_of(sandbox, second)["qty_order"]
    sandbox.person(do="edit", id=second["invoice_id"], line=second["line_id"], set={"qty_order": quantity - 1})
    office.run("snapshot").must(0, 3)
    mine = [card for card in dealt(office) if card["id"] in (first["id"], second["id"])]
    results = approve(office, *(card["digest"] for card in mine)).must(0).json["results"]
    assert [result["state"] for result in results] == ["done", "done"]
    assert line_of(sandbox, second)["qty_order"] == quantity
    assert len(posts(sandbox)) == 1


def test_cd8_all_that_may_go_together_needs_the_digest_of_the_set(office, sandbox):
    shown = office.run("cards", "--json").must(3).json
    assert office.run("cards", "approve", "--all", "--json").code == 2
    assert approve(office, "--all", "--yes", "--expect", "0000000000").json["error"]["code"] == "BS-STALE-CARD"
    assert posts(sandbox) == []
    told = approve(office, "--all", "--yes", "--expect", shown["digest"]).must(0).json
    results = told["results"]
    assert len(results) == shown["approvable"] > 1
    left = {each["digest"]: each for each in shown["cards"]}.keys() - {result["digest"] for result in results}
    assert {each["digest"] for each in told["left"]} == left, "what is not approvable is named and left"
    assert all(each["lacks"] or each["limits"] for each in told["left"])
    assert {result["state"] for result in results} == {"done"}


def test_fault_50_no_card_is_written_while_a_run_is_under_way(office, sandbox):
    from billingsync.store.ledger import open_ledger

    card = approvable(office)
    with (
        open_ledger(office.environment()["BILLINGSYNC_DATABASE_URL"], partner="default") as ledger,
        ledger.run_lock("somebody else"),
    ):
        refused = approve(office, card["digest"]).must(5).json
    assert refused["error"]["code"] == "BS-LOCKED"
    assert posts(sandbox) == []


def test_the_role_user_approves_nothing(office, sandbox):
    card = approvable(office)
    office.settings["BILLINGSYNC_ROLE"] = "user"
    assert approve(office, card["digest"]).code == 5
    assert office.run("cards", "undo", card["digest"]).code == 5
    assert posts(sandbox) == []


def test_showing_a_card_with_typed_values_computes_what_it_comes_to_anew(office, sandbox):
    card = approvable(office)
    words = ["--quantity", card["from"]["quantity"], "--cost", "0.01"]
    shown = office.run("cards", "show", card["digest"], *words, "--json").must(0).json["cards"][0]
    assert shown["digest"] != card["digest"]
    assert (shown["to"]["quantity"], shown["to"]["unit_cost"]) == (card["from"]["quantity"], "0.01")
    assert shown["change"]["revenue_month"] == "0.00"
    assert one(approve(office, shown["digest"], *words))["state"] == "done"
    assert str(line_of(sandbox, card)["unit_cost"]) == "0.01"


def test_a_card_tells_what_was_done_to_its_line_here_and_in_halopsa(office, sandbox):
    card = approvable(office)
    one(approve(office, card["digest"]))
    sandbox.person(do="edit", id=card["invoice_id"], line=card["line_id"], set={"qty_order": 3})
    office.run("snapshot").must(0, 3)
    now = next(each for each in dealt(office) if each["id"] == card["id"])
    history = office.run("cards", "show", now["digest"], "--json").must(0, 3).json["cards"][0]["history"]
    ours = f"quantity {card['from']['quantity']} -> {card['to']['quantity']}"
    assert [each["what"] for each in history if each["by"] == "billingsync"] == [ours]
    theirs = [(each["who"], each["what"]) for each in history if each["by"] == "halopsa"]
    assert ("Jane", f"qty_order {card['to']['quantity']} -> 3") in theirs


@pytest.mark.parametrize("by", ["account", "service", "invoice"])
def test_cd10_cards_are_listed_together_with_their_sums(office, by):
    listed = office.run("cards", "--by", by, "--json").must(3).json
    assert sorted(digest for group in listed["groups"] for digest in group["cards"]) == sorted(
        card["digest"] for card in listed["cards"]
    )
    assert sum(group["approvable"] for group in listed["groups"]) == listed["approvable"]
    assert office.run("cards", "--by", by).code == 3
    assert office.run("cards", "--by", "colour").code == 2


def test_an_invoice_that_halopsa_made_before_is_no_reason_to_refuse(office, sandbox):
    card = approvable(office)
    sandbox.make(card["invoice_id"])
    assert one(approve(office, card["digest"]))["state"] == "done"


def test_undo_names_what_halopsa_invoiced_meanwhile_with_its_amount(office, sandbox):
    card = approvable(office)
    one(approve(office, card["digest"]))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    bill = sandbox.make(card["invoice_id"], f"{tomorrow:%Y-%m-%dT08:00:00}")
    amount = next(line["net_amount"] for line in bill["lines"] if line["recurring_invoice_line_id"] == card["line_id"])
    undone = one(office.run("cards", "undo", card["digest"], "--json"))
    assert undone["state"] == "undone"
    assert f"invoice {bill['id']} ({amount.normalize():f}" in undone["message"]


def test_fault_49_a_company_that_is_mapped_to_another_client_replaces_its_cards(office, sandbox):
    card = approvable(office)
    members = cast.members(SOLD.seed, SOLD.clients, trouble=False)
    name = next(member.company for member in members if member.client == card["client_name"])
    company = next(row["id"] for row in sandbox.pax8.companies if row["name"] == name)
    other = next(id_ for id_ in sandbox.halo.table("clients") if id_ != card["client_id"])
    office.run("map", "companies", "--set", f"{company}={other}").must(0, 3)
    assert approve(office, card["digest"]).json["error"]["code"] == "BS-STALE-CARD"
    assert posts(sandbox) == []
