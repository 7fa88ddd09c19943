"""Cards that were approved for a later day: written by the worker, once, as they were shown, or replaced [CD6]."""

from __future__ import annotations

import contextlib
import datetime
import os
from unittest import mock

import pytest
from cards_office import approvable, approve, dealt, line_of, new_office, one, posts

from billingsync.service.cards import carry_out

TODAY = datetime.datetime.now(datetime.UTC)
LATER = TODAY + datetime.timedelta(days=60)


@pytest.fixture
def office(sandbox, sqlite_template, tmp_path):
    return new_office(sandbox, sqlite_template, tmp_path)


def worker(office, now):
    """What the worker does with cards at that time, and what it tells people."""
    from billingsync.cli.session import connected

    here = os.getcwd()
    with mock.patch.dict(os.environ, office.environment()), contextlib.ExitStack() as stack:
        os.chdir(office.folder)
        stack.callback(os.chdir, here)
        with connected() as connections:
            return carry_out(connections, now, "worker", lambda step: None)


def scheduled(office):
    card = approvable(office)
    result = one(approve(office, card["digest"], "--effective", LATER.date().isoformat(), "--reason", "from then on"))
    assert result["state"] == "scheduled"
    return card


def test_it_is_written_on_its_day_and_not_before_and_once(office, sandbox):
    card = scheduled(office)
    assert worker(office, LATER - datetime.timedelta(days=1)) == []
    assert posts(sandbox) == []
    assert worker(office, LATER) == []
    assert str(line_of(sandbox, card)["qty_order"]) == card["to"]["quantity"]
    assert worker(office, LATER) == []
    assert len(posts(sandbox)) == 1
    reasons = [entry["body"].get("reason") for entry in office.run("log", "--json").must().json["entries"]]
    assert any(reason and "from then on" in reason for reason in reasons)


def test_fault_54_a_worker_that_was_off_writes_late_and_says_so(office, sandbox):
    scheduled(office)
    assert worker(office, LATER + datetime.timedelta(days=3)) == []
    reasons = [entry["body"].get("reason") for entry in office.run("log", "--json").must().json["entries"]]
    assert any(reason and "written late" in reason for reason in reasons)
    assert len(posts(sandbox)) == 1


def test_fault_50_what_worker_and_person_both_approve_is_written_once(office, sandbox):
    card = scheduled(office)
    now = next(each for each in dealt(office, "--state", "scheduled") if each["id"] == card["id"])
    assert one(approve(office, now["digest"]))["state"] == "scheduled"
    assert worker(office, LATER) == []
    assert approve(office, now["digest"]).code in (0, 5)
    assert worker(office, LATER) == []
    assert str(line_of(sandbox, card)["qty_order"]) == card["to"]["quantity"]
    assert len(posts(sandbox)) == 1


def test_what_changed_meanwhile_replaces_it_and_people_are_told(office, sandbox):
    card = scheduled(office)
    sandbox.person(do="edit", id=card["invoice_id"], line=card["line_id"], set={"qty_order": 1})
    office.run("snapshot").must(0, 3)
    [told] = worker(office, LATER)
    assert (told.event, card["client_name"] in told.title) == ("card_failed", True)
    assert "The quantity is 1" in told.body
    assert posts(sandbox) == []
    assert worker(office, LATER) == []


def test_a_person_may_dismiss_what_is_scheduled(office, sandbox):
    card = scheduled(office)
    mine = next(each for each in dealt(office, "--state", "scheduled") if each["id"] == card["id"])
    office.run("cards", "dismiss", mine["digest"], "--reason", "they cancelled").must()
    assert worker(office, LATER) == []
    assert posts(sandbox) == []


def test_a_write_that_was_cut_off_is_found_out_about_and_told(office, sandbox):
    card = approvable(office)
    sandbox.faults.add("halo:POST:/RecurringInvoice:1:reset")
    sandbox.faults.add("halo:GET:/RecurringInvoice/*:2+:503")
    assert one(approve(office, card["digest"]), 1)["state"] == "unknown"
    sandbox.faults.clear()
    [told] = worker(office, TODAY)
    assert (told.event, "abandoned" in told.title) == ("card_failed", True)
    assert posts(sandbox) == []
