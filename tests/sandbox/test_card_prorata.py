"""Pro rata entries that cards write [WB7]: off by default, and right for each reading of what HaloPSA does with them."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest
from cards_office import SOLD, approvable, approve, dealt, invoice, line_of, new_office, one, posts

from billingsync.sandbox.server import Sandbox

KEPT = dataclasses.replace(SOLD, prorata_sent="kept")
ON = '[products]\nlifecycle = "off"\n[cards]\nprorata = "halo"\n'


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(KEPT) as running:
        yield running


@pytest.fixture
def make(sandbox, sqlite_template, tmp_path):
    def ready(**switches):
        office = new_office(sandbox, sqlite_template, tmp_path, dataclasses.replace(KEPT, **switches))
        office.rules(ON)
        return office

    return ready


def split(office, card):
    """The days of the running period that the missing seats are dated to, one seat an entry."""
    today = office.run("cards", "--json").must(3).json["as_at"][:10]
    more = int(Decimal(card["to"]["quantity"]) - Decimal(card["from"]["quantity"]))
    days = (today[:8] + "01", today[:8] + "15")
    assert more == 2
    return [word for day in days for word in ("--prorate", f"{day}=1")]


def entries(sandbox, card):
    return line_of(sandbox, card)["prorata_data"]


def test_it_is_off_by_default_and_says_so(make, sandbox):
    office = make()
    office.rules('[products]\nlifecycle = "off"\n')
    card = approvable(office)
    blocked = one(approve(office, card["digest"], *split(office, card)), 3)
    assert (blocked["state"], "cards.prorata" in blocked["message"]) == ("blocked", True)
    assert posts(sandbox) == []


def test_entries_that_do_not_add_up_are_refused(make, sandbox):
    office = make()
    card = approvable(office)
    assert one(approve(office, card["digest"], *split(office, card)[:2]), 3)["state"] == "blocked"
    assert posts(sandbox) == []


def test_several_dated_entries_are_written_once_and_the_lines_own_quantity_stays(make, sandbox):
    office = make()
    card = approvable(office)
    words = split(office, card)
    assert one(approve(office, card["digest"], *words))["state"] == "done"
    assert str(line_of(sandbox, card)["qty_order"]) == card["from"]["quantity"]
    assert [str(entry["quantity"]) for entry in entries(sandbox, card)] == ["1", "1"]
    assert all("[bs:" in entry["longdescription"] for entry in entries(sandbox, card))
    assert len(posts(sandbox)) == 1
    office.run("snapshot").must(0, 3)
    assert card["id"] not in {each["id"] for each in dealt(office)}, "what waits counts already"


@pytest.mark.parametrize(
    ("made", "quantity", "waits"), [("added", "to", 0), ("folded", "from", 0), ("left", "from", 2)]
)
def test_whatever_halopsa_does_with_them_when_it_invoices_no_seat_is_written_twice(
    make, sandbox, made, quantity, waits
):
    office = make(made_prorata=made)
    card = approvable(office)
    assert one(approve(office, card["digest"], *split(office, card)))["state"] == "done"
    bill = sandbox.make(card["invoice_id"])
    billed = next(line for line in bill["lines"] if line["recurring_invoice_line_id"] == card["line_id"])
    assert str(billed["qty_order"]) == card["from" if made == "left" else "to"]["quantity"]
    assert str(line_of(sandbox, card)["qty_order"]) == card[quantity]["quantity"]
    assert len(entries(sandbox, card)) == waits
    office.run("snapshot").must(0, 3)
    again = [each for each in dealt(office) if each["id"] == card["id"]]
    # Only where HaloPSA billed the seats once and forgot them do they differ again, and a card says so.
    assert [each["to"]["quantity"] for each in again] == ([card["to"]["quantity"]] if made == "folded" else [])
    assert len(posts(sandbox)) == 1


def test_entries_that_halopsa_ignores_fail_with_a_word_and_leave_the_line_as_it_was(make, sandbox):
    office = make(prorata_sent="ignored")
    card = approvable(office)
    assert one(approve(office, card["digest"], *split(office, card)), 1)["state"] == "failed"
    assert (str(line_of(sandbox, card)["qty_order"]), entries(sandbox, card)) == (card["from"]["quantity"], [])


def test_entries_that_halopsa_doubles_are_an_alarm(make, sandbox):
    office = make(prorata_sent="doubled")
    card = approvable(office)
    alarm = one(approve(office, card["digest"], *split(office, card)), 3)
    assert alarm["state"] == "alarm"
    assert "pro rata of its own" in alarm["message"], "the entries of other lines came back doubled"


def test_pro_rata_that_halopsa_makes_by_itself_does_not_come_with_ours(make, sandbox):
    office = make(prorata_on_change=True)
    card = approvable(office)
    assert one(approve(office, card["digest"], *split(office, card)))["state"] == "done"
    assert len(entries(sandbox, card)) == 2


@pytest.mark.parametrize("kind", ["504_after", "reset", "late:calls=1"])
def test_a_lost_reply_leaves_each_entry_once(make, sandbox, kind):
    office = make()
    card = approvable(office)
    words = split(office, card)
    sandbox.faults.add(f"halo:POST:/RecurringInvoice:1:{kind}")
    assert one(approve(office, card["digest"], *words))["state"] == "done"
    assert len(entries(sandbox, card)) == 2
    assert len(posts(sandbox)) == 1


def test_entries_that_were_invoiced_before_anybody_looked_are_not_sent_again(make, sandbox):
    office = make(change_seq="absent")
    card = approvable(office)
    words = split(office, card)
    sandbox.faults.add("halo:POST:/RecurringInvoice:1:504_after")
    read = {"method": "GET", "path": f"/RecurringInvoice/{card['invoice_id']}", "nth": 2}
    sandbox.person(do="make", id=card["invoice_id"], before=read)
    failed = one(approve(office, card["digest"], *words), 1)
    assert "HaloPSA made an invoice meanwhile" in failed["message"]
    assert len(posts(sandbox)) == 1


def test_undo_takes_waiting_entries_out_again(make, sandbox):
    office = make()
    card = approvable(office)
    before = invoice(sandbox, card)["lines"]
    done = one(approve(office, card["digest"], *split(office, card)))
    assert one(office.run("cards", "undo", done["digest"], "--json"))["state"] == "undone"
    assert entries(sandbox, card) == []
    assert [line["qty_order"] for line in invoice(sandbox, card)["lines"]] == [line["qty_order"] for line in before]
