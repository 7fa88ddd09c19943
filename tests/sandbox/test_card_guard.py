"""What is proved before a card is written and after its outcome was lost: whose tenant it is, what the ledger knows."""

from __future__ import annotations

import copy
import dataclasses

import pytest
from cards_office import SOLD, approvable, approve, dealt, invoice, line_of, new_office, one, posts
from cli import MARK, TEXT_ONLY, Office

FORGOTTEN = "0123456789abcdef0123"  # the key of a posting that no ledger knows
STRANGER = "1a2b3c4d"


@pytest.fixture
def office(sandbox, sqlite_template, tmp_path):
    return new_office(sandbox, sqlite_template, tmp_path)


def mark(sandbox, row, installation):
    """A line of a recurring invoice says that a posting wrote it."""
    text = f"Seats [bs:{FORGOTTEN}:{installation}:0]"
    sandbox.person(do="edit", id=row["id"], line=row["lines"][-1]["id"], set={"item_longdescription": text})


def other_client(sandbox, card):
    return next(row for row in sandbox.halo.table("recurring").values() if row["client_id"] != card["client_id"])


@pytest.mark.parametrize("what", ["approve", "undo"])
def test_n6_a_mark_of_another_installation_anywhere_stops_every_write(office, sandbox, what):
    card = approvable(office)
    if what == "undo":
        one(approve(office, card["digest"]))
    before = len(posts(sandbox))
    mark(sandbox, other_client(sandbox, card), STRANGER)
    refused = office.run("cards", what, card["digest"], "--json").must(5).json
    assert refused["error"]["code"] == "BS-OTHER-INSTALLATION"
    assert ["billingsync", "adopt", STRANGER] in refused["error"]["next_steps"]
    assert len(posts(sandbox)) == before


def test_n6_what_the_ledger_forgot_holds_its_client_and_no_other(office, sandbox):
    card = approvable(office)
    own = office.run("adopt", STRANGER, "--json").must().json["own"]
    mark(sandbox, other_client(sandbox, card), own)
    assert one(approve(office, card["digest"]))["state"] == "done"
    mark(sandbox, invoice(sandbox, card), own)
    held = one(office.run("cards", "undo", card["digest"], "--json"), 3)
    assert (held["state"], FORGOTTEN in held["message"]) == ("blocked", True)
    assert len(posts(sandbox)) == 1


def test_wb6_the_line_of_a_new_card_holds_no_bill_after_the_ledger_was_lost(office, sandbox, tmp_path):
    card = approvable(office, kind="new")
    words = ["--over-limit", "--reason", "new"] if card["limits"] else []
    assert one(approve(office, card["digest"], *words))["state"] == "done"
    sandbox.make(card["invoice_id"])
    ((_, lost, _),) = {found for line in invoice(sandbox, card)["lines"]
                       for found in MARK.findall(line["item_longdescription"])}  # fmt: skip
    office.run("run", "2026-11", "--yes", "--json").must(0, 3)
    billed = len(sandbox.halo.table("invoices"))
    fresh = Office(office.folder, sandbox, f"sqlite:///{tmp_path / 'fresh.db'}")
    fresh.rules(TEXT_ONLY)
    assert fresh.run("run", "2026-11", "--yes", "--json").must(5).json["error"]["code"] == "BS-OTHER-INSTALLATION"
    fresh.run("adopt", lost).must()
    ran = fresh.run("run", "2026-11", "--yes", "--json").must(0, 3).json
    assert {each["state"] for each in ran["postings"]} == {"adopted"}
    assert card["client_id"] in {each["client_id"] for each in ran["postings"]}
    assert len(sandbox.halo.table("invoices")) == billed
    assert card["id"] not in {each["id"] for each in dealt(fresh)}, "what was written is no Difference any more"


def test_wb4_a_lost_reply_beside_somebodys_change_is_failed_and_says_what_the_line_shows(office, sandbox):
    card = approvable(office)
    other = next(line for line in invoice(sandbox, card)["lines"] if line["id"] != card["line_id"])
    sandbox.faults.add("halo:POST:/RecurringInvoice:1:504_after")
    read = {"method": "GET", "path": f"/RecurringInvoice/{card['invoice_id']}", "nth": 2}
    edit = {"unit_price": 99, "baseprice": 99}
    sandbox.person(do="edit", id=card["invoice_id"], line=other["id"], set=edit, before=read)
    failed = one(approve(office, card["digest"]), 1)
    assert failed["state"] == "failed"
    assert "somebody changed the recurring invoice meanwhile" in failed["message"]
    assert f"it shows quantity {card['to']['quantity']}" in failed["message"]
    assert len(posts(sandbox)) == 1
    theirs = next(line for line in invoice(sandbox, card)["lines"] if line["id"] == other["id"])
    assert theirs["unit_price"] == 99


def test_the_intent_says_that_it_is_a_cards(office):
    card = approvable(office)
    one(approve(office, card["digest"]))
    entries = office.run("log", "--json").must().json["entries"]
    assert [entry["body"]["write"] for entry in entries if entry["kind"] == "card.intent"] == ["card"]


def test_an_invoice_made_since_the_snapshot_is_told_with_the_day_from_which_the_change_counts(office, sandbox):
    card = approvable(office)
    sandbox.make(card["invoice_id"])
    done = one(approve(office, card["digest"]))
    assert done["state"] == "done"
    assert invoice(sandbox, card)["nextcreationdate"][:10] in done["message"]
    assert str(line_of(sandbox, card)["qty_order"]) == card["to"]["quantity"]


def test_pro_rata_of_another_period_than_was_shown_is_stale(sandbox, sqlite_template, tmp_path):
    office = new_office(sandbox, sqlite_template, tmp_path, dataclasses.replace(SOLD, prorata_sent="kept"))
    office.rules('[products]\nlifecycle = "off"\n[cards]\nprorata = "halo"\n')
    card = approvable(office)
    month = office.run("cards", "--json").must(3).json["as_at"][:8]
    more = int(card["to"]["quantity"]) - int(card["from"]["quantity"])
    moved = {"lastcreated": f"{month}10T00:00:00", "nextcreationdate": "2099-01-01T00:00:00"}
    before = copy.deepcopy(invoice(sandbox, card)["lines"])
    sandbox.person(do="edit", id=card["invoice_id"], set=moved)
    stale = one(approve(office, card["digest"], "--prorate", f"{month}15={more}"), 5)
    assert "The pro rata is worth" in stale["message"]
    assert invoice(sandbox, card)["lines"] == before
