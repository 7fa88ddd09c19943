"""Snapshots: whole, partial or suspect, never half; nothing but GET; within the budgets (faults 41 to 43)."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import threading
import time
from collections import Counter
from itertools import pairwise
from unittest import mock
from zoneinfo import ZoneInfo

import pytest
from cli import CALM, TEXT_ONLY, Office

from billingsync.cli.session import connected
from billingsync.core.rules import Rulebook
from billingsync.reconcile import snapshot
from billingsync.reconcile.inputs import Books, inputs_for
from billingsync.sandbox.server import Sandbox
from billingsync.store.journal import first_altered
from billingsync.store.ledger import open_ledger

SOLD = dataclasses.replace(CALM, charges=None, clients=8, hand_kept=3)


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SOLD) as running:
        yield running


@pytest.fixture
def office(sandbox, sqlite_template, tmp_path):
    sandbox.reset(SOLD)
    shutil.copy(sqlite_template, tmp_path / "ledger.db")
    office = Office(tmp_path, sandbox)
    office.rules(TEXT_ONLY)
    return office


def kept(office):
    with open_ledger(office.environment()["BILLINGSYNC_DATABASE_URL"], partner="default") as ledger:
        return ledger.snapshots()


def taken(office, *codes):
    return office.run("snapshot", "--json").must(*codes).json


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_snapshot_keeps_every_answer_with_its_hash(office, sandbox, kind, request):
    if kind == "postgresql":
        office.database_url = request.getfixturevalue("postgres_ledger_url")
    told = taken(office)
    assert told["state"] == "whole" and told["missing"] == [] and told["suspect"] == []
    assert told["counts"]["subscriptions"] == len(sandbox.pax8.subscriptions)
    assert told["counts"]["recurring_invoices"] == len(sandbox.halo.recurring)
    assert told["counts"]["lines"] == sum(len(row["lines"]) for row in sandbox.halo.recurring.values())
    taken_now = {row["id"] for row in sandbox.pax8.invoices if row["status"] not in ("Void", "Credited")}
    assert set(told["invoice_ids"]) <= taken_now and told["invoice_ids"]
    with open_ledger(office.environment()["BILLINGSYNC_DATABASE_URL"], partner="default") as ledger:
        documents = ledger.snapshot_documents(told["snapshot"])
        assert {one.kind for one in documents} >= {
            "companies",
            "subscriptions",
            "products",
            "clients",
            "items",
            "recurring",
        }
        assert first_altered(ledger.journal_entries(), ledger.name) is None
    assert [row["snapshot"] for row in office.run("snapshots", "--json").must().json["snapshots"]] == [told["snapshot"]]


def test_nothing_but_get_is_sent_and_halo_is_called_by_the_page(office, sandbox):
    taken(office)
    tables = sandbox.halo
    rows = len(tables.clients) + len(tables.items) + len(tables.recurring)
    calls = [call for call in sandbox.calls if not call.path.endswith("/token")]
    assert {call.method for call in calls} == {"GET"}
    assert sum(call.service == "halo" for call in sandbox.calls) <= rows / 100 + 10
    assert sandbox.alarms == [] and not any(call.effect for call in sandbox.calls)
    assert [entry for entry in sandbox.ignored if entry[0].startswith("/subs")] == []


def test_pages_of_subscriptions_are_read_side_by_side_and_once(sandbox, tmp_path, sqlite_template):
    """`python -m tests.bench` measures 20,000 of them against the clock."""
    latency = 0.05
    sandbox.reset(dataclasses.replace(CALM, clients=60, charges=2_000, latency_ms=int(latency * 1000)))
    shutil.copy(sqlite_template, tmp_path / "ledger.db")
    office = Office(tmp_path, sandbox)
    office.rules(TEXT_ONLY)
    with mock.patch.dict(os.environ, office.environment()), contextlib.chdir(tmp_path), connected() as opened:
        sandbox.calls.clear()
        found = opened.pax8.lists()
    pages = [call for call in sandbox.calls if call.path.endswith("/subscriptions")]
    rows = len(found["subscriptions"].rows)
    assert rows == len(sandbox.pax8.subscriptions) > 1_500
    assert len(pages) == -(-rows // 200), "each page is asked for once"
    times = sorted(call.at for call in sandbox.calls)
    together = sum(later - earlier < latency for earlier, later in pairwise(times))
    assert together >= 3, "one after the other, each would come a latency after the one before"


@pytest.mark.parametrize("most", [0, 400])
def test_what_changed_and_whose_history_was_not_read_is_known_to_be_unknown(office, sandbox, most):
    with mock.patch.object(snapshot, "MOST_HISTORIES", most):
        number = taken(office, 0, 3)["snapshot"]
    changed = {row["id"] for row in sandbox.pax8.subscriptions if row["updatedDate"] >= "2026-11"}
    with open_ledger(office.environment()["BILLINGSYNC_DATABASE_URL"], partner="default") as ledger:
        books = Books(ledger=ledger, rulebook=Rulebook(), zone=ZoneInfo("UTC"))
        entry = next(one for one in ledger.snapshots() if one.id == number)
        found = inputs_for(books, entry, None).past_unknown
    assert changed
    assert found == (frozenset() if most else changed)


def test_half_of_the_budget_at_the_most(office, sandbox):
    """Eight calls a minute, so four for a snapshot: its fifth waits for most of a minute."""
    office.settings["BILLINGSYNC_HALO__CALLS_PER_MINUTE"] = "8"
    sandbox.change(list_has_lines=False)  # a call for each recurring invoice
    running = office.start("snapshot")

    def calls():
        return sum(call.service == "halo" and not call.path.startswith("/auth") for call in sandbox.calls)

    until = time.monotonic() + 30
    while calls() < 4 and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(1)
    assert running.poll() is None and calls() == 4
    running.kill()
    running.communicate()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("pax8:GET:/subscriptions:*:repeat_pages", "subscriptions"),
        ("pax8:GET:/subscriptions:*:403", "subscriptions"),
        ("pax8:GET:/companies:*:not_json", "companies"),
        ("halo:GET:/RecurringInvoice:*:403", "/RecurringInvoice"),
        ("halo:GET:/RecurringInvoice:*:cut50", "/RecurringInvoice"),
        ("halo:GET:/Client:*:401", "/Client"),
        ("halo:GET:/Item:*:error_inside", "/Item"),
    ],
)
def test_a_list_that_cannot_be_read_whole_makes_it_partial(office, sandbox, fault, says):
    if "repeat_pages" in fault or "cut50" in fault:  # several pages of each
        sandbox.reset(dataclasses.replace(SOLD, clients=60))
    sandbox.faults.add(fault)
    told = taken(office, 3)
    assert told["state"] == "partial" and any(says in sentence for sentence in told["missing"])


@pytest.mark.parametrize(
    ("fault", "lost"),
    [
        ("pax8:GET:/subscriptions:*:no_rows", "subscriptions"),
        ("pax8:GET:/subscriptions:*:cut50:count=cut", "subscriptions"),
        ("pax8:GET:/companies:*:no_rows", "companies"),
        ("halo:GET:/RecurringInvoice:*:no_rows", "recurring invoices"),
    ],
)
def test_a_list_that_came_whole_but_lost_much_is_suspect_until_a_person_confirms_it(office, sandbox, fault, lost):
    taken(office)
    sandbox.faults.add(fault)
    told = taken(office, 3)
    assert told["state"] == "whole" and lost in told["suspect"]
    assert ["billingsync", "snapshot", "--confirm"] in told["next_steps"]
    confirmed = office.run("snapshot", "--confirm", "--json").must().json
    assert confirmed["snapshot"] == told["snapshot"] and confirmed["confirmed_by"]


def test_lines_that_are_not_listed_are_read_one_by_one(office, sandbox):
    sandbox.reset(dataclasses.replace(SOLD, list_has_lines=False, item_rows="short"))
    told = taken(office)
    assert told["state"] == "whole"
    assert told["counts"]["lines"] == sum(len(row["lines"]) for row in sandbox.halo.recurring.values())


def test_seats_that_change_while_they_are_read_are_moving(office, sandbox):
    from billingsync.reconcile.kept import open_snapshot
    from billingsync.rulebook import load_rulebook
    from billingsync.settings import load_settings

    sandbox.change(seats_move_at_page=0)
    taken(office)
    settings = load_settings(office.environment(), office.folder).settings
    with open_ledger(settings.database_url, partner="default") as ledger:
        (entry,) = ledger.snapshots()
        opened = open_snapshot(ledger, entry, load_rulebook(office.folder / "rules"), settings.zone)
    moving = [one.id for one in opened.snapshot.subscriptions if one.moving]
    assert moving == [sandbox.pax8.subscriptions[-1]["id"]]


def test_one_that_is_killed_half_way_leaves_none(office, sandbox):
    taken(office)
    sandbox.faults.add("halo:GET:/RecurringInvoice:1:slow:seconds=30")
    running = office.start("snapshot")
    until = time.monotonic() + 20
    while not any(call.path == "/RecurringInvoice" and call.fault == "slow" for call in sandbox.calls):
        assert time.monotonic() < until and running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert [one.id for one in kept(office)] == [1]
    assert taken(office)["snapshot"] == 2


def test_a_full_disk_leaves_none(office):
    with (
        open_ledger(office.environment()["BILLINGSYNC_DATABASE_URL"], partner="default") as ledger,
        ledger.writing() as connection,
    ):
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        assert pages
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "billingsync.store.database._set_up_sqlite",
            _limited("billingsync.store.database._set_up_sqlite", pages),
        )
        ran = office.run("snapshot", "--json").must(1)
    assert ran.json["error"]["code"] == "BS-LEDGER"
    assert kept(office) == ()
    assert taken(office)["snapshot"] == 1


def _limited(name, pages):
    import importlib

    module, _, function = name.rpartition(".")
    real = getattr(importlib.import_module(module), function)

    def set_up(connection, record):
        real(connection, record)
        connection.execute(f"PRAGMA max_page_count={pages}").close()

    return set_up


def test_two_at_once_are_two(office):
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(office.process("snapshot").code)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0]
    entries = kept(office)
    assert [one.id for one in entries] == [1, 2]
    assert Counter(one.counts["subscriptions"] for one in entries).most_common(1)[0][1] == 2


def test_it_waits_while_a_run_holds_the_lock(office):
    with open_ledger(office.environment()["BILLINGSYNC_DATABASE_URL"], partner="default") as ledger:
        with ledger.run_lock("a run"):
            waiting = office.start("snapshot", "--verbose")
            too_long = threading.Timer(60, waiting.kill)  # what says nothing must not wait for half an hour
            too_long.start()
            for line in waiting.stderr:
                if "waiting: another run" in line:
                    break
            too_long.cancel()
            assert waiting.poll() is None and kept(office) == ()
        waiting.communicate(timeout=30)
    assert waiting.returncode == 0
    assert len(kept(office)) == 1
