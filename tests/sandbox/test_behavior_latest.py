"""Behavior "latest" [B2] [B4] against the emulated HaloPSA: what is counted is in its own tables."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from decimal import Decimal

import pytest
from cli import quick_time
from scene import BACKUP, M365, STAGE, all_marks, ours, scene, texts, theirs, total

RULES = '[invoice]\nbehavior = "latest"\n[products]\nlifecycle = "off"\n'


@pytest.fixture
def stage(server, tmp_path, sqlite_template):
    def make(rules=RULES, **switches):
        settings = {name: switches.pop(name) for name in list(switches) if name.isupper()}
        server.reset(dataclasses.replace(STAGE, **switches))
        shutil.copy(sqlite_template, tmp_path / "ledger.db")
        made = scene(server, tmp_path, **settings)
        made.office.rules(rules)
        return made

    return make


def two_seats(made, client=214):
    made.month("2026-11", made.charge(M365, 9, client=client), made.charge(BACKUP, 2, client=client))


BILLED = ["2 x 48.00 Harborline Backup for Servers", "9 x 22.00 Microsoft 365 Business Premium"]


ROUTES = [
    *itertools.product(["replace", "merge"], ["reset", "kept"], ["header"], ["present", "absent"]),
    *itertools.product(["replace"], ["reset"], ["updatelines", "add_lines"], ["present", "absent"]),
]


@pytest.mark.parametrize(("semantics", "properties", "write_lines", "change_seq"), ROUTES)
def test_B2_lines_are_appended_and_everything_else_comes_back_as_it_was(
    stage, semantics, properties, write_lines, change_seq
):
    made = stage(
        lines_semantics=semantics, line_properties=properties, change_seq=change_seq, HALO__WRITE_LINES=write_lines
    )
    two_seats(made)
    before = {row["id"]: theirs(row) for row in made.sandbox.halo.invoices.values()}
    recurring = {row["id"]: theirs(row) for row in made.sandbox.halo.recurring.values()}
    told = made.office.run("run", "2026-11", "--yes", "--json").must().json
    assert [(one["action"], one["state"], one["lines"]) for one in told["postings"]] == [("append", "posted", 2)]
    target = made.invoice(told["postings"][0]["invoice_id"])
    assert target is made.latest(214)
    assert texts(target) == BILLED and total(target) == Decimal("294.00")
    assert {row["id"]: theirs(row) for row in made.sandbox.halo.invoices.values()} == before
    assert {row["id"]: theirs(row) for row in made.sandbox.halo.recurring.values()} == recurring
    assert made.sandbox.alarms == []
    again = made.office.run("run", "2026-11", "--yes", "--json").must().json
    assert again["postings"] == [] and texts(target) == BILLED


@pytest.mark.parametrize(
    ("client", "why"),
    [
        (215, "posted"),
        (216, "posted"),
        (217, "sent"),
        (218, "posted"),
        (219, "void"),
        (220, "credit"),
        (214, ""),
        (221, ""),
    ],
    ids=["posted", "synced", "sent", "paid", "voided", "credit", "open", "open too"],
)
@pytest.mark.parametrize("when_closed", ["hold", "new"])
def test_B2_a_closed_invoice_is_never_written_to(stage, client, why, when_closed):
    made = stage(RULES.replace('"latest"', f'"latest"\nwhen_latest_closed = "{when_closed}"'))
    two_seats(made, client)
    before = made.sandbox.state()["halo"]["invoices"]
    newest = made.latest(client)["id"]
    ran = made.office.run("run", "2026-11", "--yes", "--json")
    after = made.sandbox.state()["halo"]["invoices"]
    if not why:
        assert ran.must().json["postings"][0]["invoice_id"] == newest
    elif when_closed == "hold":
        hold = ran.must(3).json["holds"][0]
        assert (hold["reason"], why in hold["detail"]) == ("latest_closed", True) and after == before
    else:
        (posting,) = ran.must().json["postings"]
        assert posting["action"] == "create" and after[: len(before)] == before
        assert texts(made.invoice(posting["invoice_id"])) == BILLED


def test_B2_the_most_recent_is_by_date_not_by_id(stage):
    made = stage()
    two_seats(made)
    row = made.latest(214)
    older = next(one for one in made.sandbox.halo.invoices.values() if one["client_id"] == 214)
    made.edit(older["id"], invoice_date="2026-12-24T12:00:00")
    assert older["id"] < row["id"] and made.latest(214)["id"] == older["id"]
    (hold, *_) = made.office.run("run", "2026-11", "--yes", "--json").must(3).json["holds"]
    assert hold["reason"] == "latest_closed" and ours(made.invoice(row["id"])) == []  # that one is paid


def test_B2_a_client_without_an_invoice(stage):
    made = stage()
    two_seats(made)
    made.sandbox.halo.load("invoices", [row for row in made.sandbox.halo.invoices.values() if row["client_id"] != 214])
    assert made.office.run("run", "2026-11", "--yes", "--json").must(3).json["holds"][0]["reason"] == "latest_missing"
    made.office.rules(RULES.replace('"latest"', '"latest"\nwhen_latest_closed = "new"'))
    assert made.office.run("run", "2026-11", "--yes", "--json").must().json["postings"][0]["action"] == "create"


def test_B2_two_months_end_on_the_same_open_invoice(stage):
    made = stage()
    two_seats(made)
    made.office.run("run", "2026-11", "--yes").must()
    made.month("2026-12", made.charge(M365, 10))
    made.office.run("run", "2026-12", "--yes").must()
    assert texts(made.latest(214)) == ["10 x 22.00 Microsoft 365 Business Premium", *BILLED]


# --- people at work meanwhile --------------------------------------------------------------------------------------


@pytest.mark.parametrize("conflict", ["400", "409"])
@pytest.mark.parametrize("semantics", ["replace", "merge"])
def test_fault_22_an_edit_between_read_and_write_stays_where_halopsa_notices(stage, conflict, semantics):
    made = stage(change_seq_conflict=conflict, lines_semantics=semantics)
    two_seats(made)
    target = made.latest(214)["id"]
    line = made.invoice(target)["lines"][0]["id"]
    with (
        quick_time(made.sandbox),
        made.meanwhile("/Invoice", lambda: made.edit(target, line, qty_order=Decimal(13))) as met,
    ):
        made.office.run("run", "2026-11", "--yes").must()
    assert met and made.invoice(target)["lines"][0]["qty_order"] == 13
    assert texts(made.invoice(target)) == BILLED


@pytest.mark.parametrize("switches", [{"change_seq_conflict": "ignored"}, {"change_seq": "absent"}], ids=str)
def test_fault_22_an_edit_that_our_list_put_back_is_an_alarm_with_both_sides(stage, switches):
    made = stage(**switches)
    two_seats(made)
    target = made.latest(214)["id"]
    line = made.invoice(target)["lines"][0]["id"]
    with made.meanwhile("/Invoice", lambda: made.edit(target, line, qty_order=Decimal(13))) as met:
        told = made.office.run("run", "2026-11", "--yes", "--json").must(1).stdout
    assert met and texts(made.invoice(target)) == BILLED
    assert f"line {line} was changed while we wrote (qty_order: 12 -> 13 by Jane)" in told


@pytest.mark.parametrize("write_lines", ["header", "updatelines", "add_lines"])
def test_fault_23_closed_between_read_and_write_and_refused(stage, write_lines):
    made = stage(HALO__WRITE_LINES=write_lines)
    two_seats(made)
    target = made.latest(214)["id"]
    path = "/Invoice/updatelines" if write_lines == "updatelines" else "/Invoice"
    with made.meanwhile(path, lambda: made.edit(target, posted=True)) as met:
        told = made.office.run("run", "2026-11", "--yes", "--json").must(1).json
    assert met and told["postings"][0]["state"] == "failed" and ours(made.invoice(target)) == []
    assert made.office.run("run", "2026-11", "--yes", "--json").must(3).json["holds"][0]["reason"] == "latest_closed"


def test_fault_23_closed_between_read_and_write_and_accepted_is_an_alarm(stage):
    made = stage(closed_edit="accepted", change_seq_conflict="ignored")
    two_seats(made)
    target = made.latest(214)["id"]
    with made.meanwhile("/Invoice", lambda: made.edit(target, posted=True)):
        told = made.office.run("run", "2026-11", "--yes", "--json").must(1).stdout
    assert "is posted to accounting now" in told


def test_an_invoice_whose_lines_are_not_shown_is_not_written_to(stage):
    """A role without the right to see lines: what we would send back is an invoice without them."""
    made = stage()
    two_seats(made)
    target = made.latest(214)["id"]
    before = theirs(made.invoice(target))
    invoices = made.sandbox._world.halo.invoices
    shown = invoices.shown
    invoices.shown = lambda row, **how: shown(row, **how | {"lines": how["lines"] and "detail" in how})  # lists only
    told = made.office.run("run", "2026-11", "--yes", "--json").must(1).json
    assert "does not show the lines" in told["postings"][0]["problem"] and theirs(made.invoice(target)) == before


# --- replies that are lost -----------------------------------------------------------------------------------------

LOST = [
    "reset", "reset_after", "timeout_after:seconds=9", "500", "500_after", "504_after", "cut", "not_json_after",
    "error_inside_after", "empty_after", "429", "401", "409", "400", "late:seconds=30", "late:seconds=5:answer=reset",
    "fewer_lines", "list_for_object",
]  # fmt: skip


@pytest.mark.parametrize("fault", LOST)
def test_fault_05_whatever_becomes_of_the_answer_the_lines_are_there_once(stage, fault):
    made = stage(HALO__TIMEOUT_S="1", HALO__ABSENCE_S="60")
    two_seats(made)
    before = theirs(made.latest(214))
    kind, _, more = fault.partition(":")
    made.sandbox.faults.add(f"halo:POST:/Invoice:1:{kind}{':' + more if more else ''}")
    with quick_time(made.sandbox):
        made.office.run("run", "2026-11", "--yes").must(*([1] if kind == "fewer_lines" else [0]))
    made.sandbox.land()
    row = made.latest(214)
    assert theirs(row) == before and len(all_marks(made.sandbox)) == len(set(all_marks(made.sandbox)))
    assert texts(row) == (BILLED if kind != "fewer_lines" else ours_but_one(row))


def ours_but_one(row):
    """A line that HaloPSA left out is an alarm [N5]: a person decides, and nothing is sent a second time."""
    assert len(ours(row)) == 1
    return texts(row)


def test_add_lines_that_halopsa_ignores_loses_nothing(stage):
    made = stage(add_lines="ignored", HALO__WRITE_LINES="add_lines")
    two_seats(made)
    with quick_time(made.sandbox):
        made.office.run("run", "2026-11", "--yes").must(1)
    assert ours(made.latest(214)) == []
    made.office.settings["BILLINGSYNC_HALO__WRITE_LINES"] = "header"
    made.office.run("run", "2026-11", "--yes").must()
    assert texts(made.latest(214)) == BILLED


@pytest.mark.parametrize("place", ["longdescription", "productnumber", "customfield:101"])
def test_the_mark_may_be_in_any_place(stage, place):
    made = stage(HALO__MARKER=place)
    two_seats(made)
    before = theirs(made.latest(214))
    made.office.run("run", "2026-11", "--yes").must()
    assert texts(made.latest(214)) == BILLED and theirs(made.latest(214)) == before
