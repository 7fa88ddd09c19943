"""The worker over the sandbox, month after month, with a clock that the test turns."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bench import AUTO, CALM, NEVER, bench, hide
from cli import billed, due, marks, written
from test_trueup import credit, issue_again

from billingsync.errors import LedgerError
from billingsync.sandbox.options import SandboxOptions
from billingsync.store.ledger import Ledger
from billingsync.store.notices import Notice

TWO_MONTHS = dataclasses.replace(CALM, history=1)
LOOSE = f"{AUTO}[limits]\nchange_percent_max = 100000\nmissing_company_percent_max = 100\n"


def test_it_polls_until_the_month_is_released_posts_it_and_rests(tmp_path: Path, ledger_url: str) -> None:
    with bench(
        tmp_path, dataclasses.replace(CALM, released=False), start="2026-11-04T00:00", database_url=ledger_url
    ) as (worker, sandbox):
        assert worker.until("2026-11-04T05:30") == 6
        assert worker.state() == "waiting" and worker.told == [] and written(sandbox) == []
        sandbox.release()
        assert worker.until("2026-11-04T06:30") == 1
        assert worker.state() == "done"
        assert billed(sandbox) == due(sandbox)
        assert worker.told == ["released", "posted"]
        assert len(marks(sandbox)) == len(set(marks(sandbox)))
        # resting: a look a day, and nothing is written
        before = written(sandbox)
        assert worker.until("2026-11-08T23:00") == 4
        assert written(sandbox) == before and worker.told == ["released", "posted"]
        assert worker.worker.next_at == datetime(2026, 11, 9, 6, tzinfo=UTC)


def test_the_notice_of_a_posted_month_has_the_equation_in_one_line(tmp_path: Path) -> None:
    with bench(tmp_path, BILLINGSYNC_NOTIFY__URLS="json://one.invalid") as (worker, _):
        worker.cycle()
        ((_, title, body),) = worker.deliver()
        assert title.startswith("billingsync: 2026-11") and "(and 1 more)" in title
        lines = [line for line in body.splitlines() if " charged = " in line]
        assert lines and all(line.count(" charged = ") == 2 for line in lines)  # euro and dollar
        assert "posted + 0.00 dropped + 0.00 excluded + 0.00 held" in lines[-1]
        assert "next:  billingsync show " in body
        assert worker.deliver() == []


def test_never_plans_says_so_once_and_leaves_posting_to_a_person(tmp_path: Path, ledger_url: str) -> None:
    with bench(tmp_path, rules=NEVER, database_url=ledger_url) as (worker, sandbox):
        worker.until("2026-11-05T11:00")
        assert worker.state() == "ready" and written(sandbox) == [] and worker.told == ["released"]
        (notice,) = worker.notices
        assert notice.steps[1][:2] == ["billingsync", "post"]
        worker.office.run(*notice.steps[1][1:]).must(0)
        assert billed(sandbox) == due(sandbox)
        worker.turn(hours=1)
        worker.cycle()
        assert worker.state() == "done" and worker.told == ["released", "posted"]


def test_it_posts_only_clients_whose_rules_say_so(tmp_path: Path) -> None:
    with bench(tmp_path) as (worker, sandbox):
        names = {row["id"]: row["name"] for row in sandbox.halo.clients.values()}
        mine = sorted(due(sandbox))
        worker.office.rules(
            f'[client]\nhalo_client = {mine[0]}\npax8_company = "{_company_of(sandbox, mine[0])}"\n'
            '[approval]\nauto_post = "never"\n',
            "clients/one.toml",
        )
        assert worker.cycle() == "held"
        assert sorted(billed(sandbox)) == mine[1:], names
        assert worker.state() == "ready"
        assert {name: month["to_post"] for name, month in [("n", worker.month()["charges"])]}["n"] > 0
        # the person changes their mind: picked up without a restart, and nothing is posted twice
        (tmp_path / "rules" / "clients" / "one.toml").unlink()
        worker.turn(hours=1)
        assert worker.cycle() == "well"
        assert billed(sandbox) == due(sandbox)
        assert worker.state() == "done"


def _company_of(sandbox: object, client_id: int) -> str:
    from billingsync.sandbox import cast

    options = sandbox.options  # type: ignore[attr-defined]
    members = cast.members(options.seed, options.clients, trouble=False)
    return next(one.company_id for one in members if one.client_id == client_id)


def test_a_manual_lifecycle_is_never_posted_by_itself(tmp_path: Path) -> None:
    rules = '[approval]\nauto_post = "within_limits"\n[products]\nlifecycle = "off"\n'
    with bench(tmp_path, rules=rules) as (worker, sandbox):
        first = sorted(due(sandbox))[0]
        worker.office.rules(
            f'[client]\npax8_company = "{_company_of(sandbox, first)}"\n'
            '[products]\nlifecycle = "manual"\n[approval]\nauto_post = "never"\n',
            "clients/one.toml",
        )
        worker.cycle()
        assert first not in billed(sandbox) and len(billed(sandbox)) == 3


def test_months_missed_are_caught_up_oldest_first(tmp_path: Path, ledger_url: str) -> None:
    options = dataclasses.replace(CALM, history=3)
    with bench(tmp_path, options, rules=LOOSE, start="2026-08-05T09:00", database_url=ledger_url) as (worker, sandbox):
        worker.cycle()
        assert worker.state("2026-08") == "done"
        # down for months; then one look is enough
        worker.now = datetime(2026, 11, 3, 12, tzinfo=UTC)
        worker.restart()
        worker.cycle()
        assert [worker.state(f"2026-{month:02}") for month in (9, 10, 11)] == ["done", "done", "unknown"]
        runs = worker.worker.ledger.runs()
        assert [run.period for run in runs] == ["2026-08", "2026-09", "2026-10"]
        worker.until("2026-11-04T00:00")
        assert worker.state("2026-11") == "done"
        expected: dict[int, list[object]] = {}
        for month in ("2026-08", "2026-09", "2026-10", "2026-11"):
            for client, amounts in due(sandbox, month).items():
                expected.setdefault(client, []).extend(amounts)
        assert billed(sandbox) == {client: sorted(amounts) for client, amounts in expected.items()}  # type: ignore[type-var]


def test_a_credit_of_all_that_a_closed_month_was_billed_from_is_told_and_nothing_is_taken_back(tmp_path: Path) -> None:
    """Pax8 lists nothing that counts for the month any more: it was called absent, and nobody heard of it."""
    with bench(tmp_path) as (worker, sandbox):
        worker.cycle()
        assert worker.state() == "done"
        before = billed(sandbox)
        for row in sandbox.pax8.invoices:
            row["status"] = "Credited"
        worker.turn(hours=1)
        assert worker.cycle() == "held"
        assert worker.state() == "held" and "held" in worker.told
        assert any("Pax8 credited" in notice.title for notice in worker.notices)
        assert billed(sandbox) == before


def test_history_before_the_first_start_is_not_billed(tmp_path: Path) -> None:
    with bench(tmp_path, dataclasses.replace(CALM, history=3), rules=LOOSE) as (worker, sandbox):
        worker.until("2026-11-06T12:00")
        assert billed(sandbox) == due(sandbox)  # of November alone


def test_a_month_that_is_late_is_an_alarm_once_and_its_end_is_news(tmp_path: Path, ledger_url: str) -> None:
    options = dataclasses.replace(CALM, released=False)
    with bench(tmp_path, options, start="2026-11-09T22:30", database_url=ledger_url) as (worker, sandbox):
        worker.until("2026-11-09T23:45")
        assert worker.told == []
        worker.until("2026-11-10T02:45")
        assert worker.told == ["overdue"]
        assert worker.notices[0].title == "Pax8's invoice of 2026-11 has not been released yet"
        sandbox.release()
        worker.until("2026-11-10T03:45")
        assert worker.told == ["overdue", "recovered", "released", "posted"]
        assert worker.state() == "done"


def test_an_invoice_without_its_items_is_waited_for(tmp_path: Path) -> None:
    with bench(tmp_path) as (worker, sandbox):
        kept = {key: list(rows) for key, rows in sandbox.pax8.items.items()}
        first = next(row["id"] for row in sandbox.pax8.invoices if row["status"] == "Unpaid")
        sandbox.pax8.items[first] = []
        assert worker.cycle() == "waiting"
        assert worker.state() == "unreadable" and "no items yet" in worker.month()["problem"]
        assert written(sandbox) == []
        sandbox.pax8.items[first] = kept[first]
        worker.turn(hours=1)
        assert worker.cycle() == "well"
        assert billed(sandbox) == due(sandbox)


def test_a_new_mapping_is_picked_up_without_a_restart(tmp_path: Path, ledger_url: str) -> None:
    with bench(tmp_path, database_url=ledger_url) as (worker, sandbox):
        first = sorted(due(sandbox))[0]
        client = sandbox.halo.clients[first]
        client["name"] = "Nobody Knows"
        company = _company_of(sandbox, first)
        for row in sandbox.pax8.companies:
            if row["id"] == company:
                row["externalId"] = None
        assert worker.cycle() == "held"
        assert worker.state() == "held" and first not in billed(sandbox)
        held = [notice for notice in worker.notices if notice.event == "held"]
        assert len(held) == 1 and "No HaloPSA client is known" in held[0].title
        worker.until("2026-11-05T12:00")  # more cycles: still one notice
        assert sum(notice.event == "held" for notice in worker.notices) == 1
        worker.office.run("map", "companies", "--set", f"{company}={first}").must(0)
        worker.turn(hours=1)
        assert worker.cycle() == "well"
        assert billed(sandbox) == due(sandbox)
        assert next(one for one in worker.notices if one.event == "held").closed_at is not None


def test_broken_rules_stop_posting_and_not_the_service(tmp_path: Path, ledger_url: str) -> None:
    with bench(tmp_path, rules='[approval]\nauto_post = "sometimes"\n', database_url=ledger_url) as (worker, sandbox):
        assert worker.cycle() == "failed"
        assert written(sandbox) == []
        (notice,) = worker.notices
        assert notice.event == "failed" and "auto_post" in notice.body and "defaults.toml" in notice.body
        worker.until("2026-11-05T11:00")
        assert worker.told == ["failed"]
        worker.office.rules(AUTO)
        worker.turn(hours=1)
        assert worker.cycle() == "well"
        assert billed(sandbox) == due(sandbox)
        assert sorted(worker.told) == ["failed", "posted", "recovered", "released"]


@pytest.mark.parametrize("skew", [-400, 400, 86_400])
def test_fault_13_a_wrong_clock_posts_nothing_by_itself(tmp_path: Path, skew: int) -> None:
    with bench(tmp_path) as (worker, sandbox):
        sandbox.change(date_offset_s=float(skew))
        assert worker.cycle() == "failed"
        assert written(sandbox) == [] and "clock is wrong" in worker.notices[0].title
        sandbox.change(date_offset_s=0.0)
        worker.turn(hours=1)
        assert worker.cycle() == "well"
        assert billed(sandbox) == due(sandbox) and "recovered" in worker.told


def test_a_clock_that_went_wrong_after_the_first_month_still_plans_and_does_not_post(tmp_path: Path) -> None:
    with bench(tmp_path, dataclasses.replace(CALM, history=1), rules=LOOSE, start="2026-10-05T00:00") as (worker, box):
        worker.cycle()
        posted = len(written(box))
        worker.now = datetime(2026, 11, 5, tzinfo=UTC)
        box.change(date_offset_s=900.0)
        worker.cycle()
        assert len(written(box)) == posted and worker.state() == "ready"


def test_nothing_is_posted_where_the_databases_clock_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with bench(tmp_path, CALM, rules=LOOSE) as (worker, box):
        monkeypatch.setattr(Ledger, "clock_ahead_s", lambda self: 400.0)
        assert worker.cycle() == "failed" and written(box) == []
        assert "The database's clock is wrong" in [notice.title for notice in worker.notices][-1]
        monkeypatch.setattr(Ledger, "clock_ahead_s", lambda self: 200.0)
        worker.turn(hours=1)
        worker.cycle()
        assert written(box)


@pytest.mark.parametrize(
    ("fault", "key"),
    [
        ("pax8:POST:/token:*:401", "failed:login:Pax8"),
        ("halo:POST:/auth/token:*:401", "failed:login:HaloPSA"),
        ("pax8:GET:/invoices:*:500", "failed:upstream:Pax8"),
        ("halo:GET:/Client:*:503", "failed:upstream:HaloPSA"),
    ],
)
def test_a_service_that_fails_is_told_once_and_its_recovery_too(tmp_path: Path, fault: str, key: str) -> None:
    with bench(tmp_path) as (worker, sandbox):
        sandbox.faults.add(fault)
        assert worker.cycle() == "failed"
        worker.turn(hours=1)
        sandbox.void_tokens()
        assert worker.cycle() == "failed"
        assert [notice.thing for notice in worker.notices if notice.lasting] == [key]
        assert written(sandbox) == []
        sandbox.faults.clear()
        worker.turn(hours=1)
        assert worker.cycle() == "well"
        assert [event for event in worker.told if event == "recovered"] == ["recovered"]
        assert billed(sandbox) == due(sandbox)


def test_credentials_that_stop_working_while_it_rests_are_noticed_within_a_day(tmp_path: Path, ledger_url: str) -> None:
    with bench(tmp_path, database_url=ledger_url) as (worker, sandbox):
        worker.cycle()
        sandbox.faults.add("halo:POST:/auth/token:*:401")
        worker.until("2026-11-06T10:00")
        assert "failed:login:HaloPSA" in [notice.thing for notice in worker.notices]


def test_credentials_that_end_soon_are_told_once_two_weeks_before(tmp_path: Path) -> None:
    with bench(tmp_path, BILLINGSYNC_HALO__EXPIRES_ON="2026-11-25", BILLINGSYNC_PAX8__EXPIRES_ON="2027-11-01") as (
        worker,
        sandbox,
    ):
        worker.until("2026-11-10T23:00")
        assert worker.told == ["released", "posted"]
        worker.until("2026-11-24T23:00")
        assert worker.told == ["released", "posted", "failed"] and worker.state() == "done"
        notice = worker.notices[-1]
        assert notice.title == "HaloPSA's client secret expires on 2026-11-25"
        assert "BILLINGSYNC_HALO__CLIENT_SECRET" in notice.body and worker.worker.last_problem == ""
        worker.office.settings["BILLINGSYNC_HALO__EXPIRES_ON"] = "2027-11-25"
        worker.restart()
        worker.cycle()
        assert worker.told[-1] == "recovered" and len(worker.told) == 4
        assert billed(sandbox) == due(sandbox)


def test_credentials_that_end_soon_are_told_while_pax8_is_away(tmp_path: Path) -> None:
    with bench(tmp_path, BILLINGSYNC_PAX8__EXPIRES_ON="2026-11-01") as (worker, sandbox):
        sandbox.faults.add("pax8:*:*:*:500")
        assert worker.cycle() == "failed"
        assert worker.notices[0].title == "Pax8's client secret was to expire on 2026-11-01"


def test_rules_that_break_in_the_middle_of_a_cycle_post_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody saves a file between the plan that was judged and the run that would post it."""
    from billingsync.service import cycle as module

    plan = module.make_plan
    with bench(tmp_path) as (worker, sandbox):

        def planned_then_saved(text: str) -> Any:
            def act(*given: Any, **more: Any) -> Any:
                made = plan(*given, **more)
                worker.office.rules(text)
                return made

            return act

        for text, state in ((AUTO.replace("auto_post", "auto_pst"), "failed"), (NEVER, "held")):
            worker.office.rules(AUTO)
            with monkeypatch.context() as patch:
                patch.setattr(module, "make_plan", planned_then_saved(text))
                assert worker.cycle() == state
            assert written(sandbox) == []
            worker.turn(hours=1)
        assert [notice.thing for notice in worker.notices if notice.event == "failed"] == ["failed:rules"]
        worker.office.rules(AUTO)
        assert worker.cycle() == "well"
        assert billed(sandbox) == due(sandbox) and worker.worker.ledger.open_notices() == ()


def test_a_posting_that_halopsa_refuses_is_told_once_and_tried_again(tmp_path: Path) -> None:
    with bench(tmp_path) as (worker, sandbox):
        sandbox.faults.add("halo:POST:/Invoice:1+:400:times=2")  # the posting, and its one repetition
        first = worker.cycle()
        worker.turn(hours=1)
        second = worker.cycle()
        assert (first, second) in {("failed", "well"), ("well", "well")}
        assert billed(sandbox) == due(sandbox)


def test_a_late_invoice_of_a_month_that_is_done_is_billed_too(tmp_path: Path, ledger_url: str) -> None:
    with bench(tmp_path, database_url=ledger_url) as (worker, sandbox):
        euro = next(row["id"] for row in sandbox.pax8.invoices if row["currencyCode"] == "EUR")
        sandbox.pax8.hidden = {euro}
        worker.cycle()
        assert worker.state() == "done" and billed(sandbox) == due(sandbox)
        sandbox.pax8.hidden = set()
        worker.until("2026-11-06T12:00")
        assert worker.state() == "done"
        assert billed(sandbox) == due(sandbox)


def test_a_month_that_pax8_never_made_is_let_go_when_the_next_one_is_there(tmp_path: Path) -> None:
    daily = {"BILLINGSYNC_POLL__EVERY_MINUTES": "1440"}
    with bench(tmp_path, TWO_MONTHS, rules=LOOSE, start="2026-10-09T00:00", **daily) as (worker, sandbox):
        hide(sandbox, "2026-10", "2026-11")
        worker.until("2026-10-12T00:00")
        assert worker.told == ["overdue"]
        hide(sandbox, "2026-10")
        worker.now = datetime(2026, 11, 5, tzinfo=UTC)
        worker.cycle()
        assert (worker.state("2026-10"), worker.state("2026-11")) == ("absent", "done")


def test_another_run_under_way_is_waited_for(tmp_path: Path, ledger_url: str) -> None:
    with bench(tmp_path, database_url=ledger_url) as (worker, sandbox):
        with worker.worker.ledger.run_lock("somebody else"):
            assert worker.cycle() == "waiting"
        assert written(sandbox) == [] and "failed" not in worker.told
        worker.turn(hours=1)
        assert worker.cycle() == "well" and billed(sandbox) == due(sandbox)


def test_two_workers_on_one_ledger_bill_once_and_tell_once(tmp_path: Path, ledger_url: str) -> None:
    with bench(tmp_path, database_url=ledger_url) as (worker, sandbox):
        other = worker.make()
        try:
            worker.cycle()
            other.cycle()
        finally:
            other.ledger.close()
        assert billed(sandbox) == due(sandbox)
        assert worker.told == ["released", "posted"]


def test_what_an_interrupted_run_left_open_is_found_out_about_first(tmp_path: Path, ledger_url: str) -> None:
    with bench(tmp_path, BILLINGSYNC_HALO__TIMEOUT_S="2", database_url=ledger_url) as (worker, sandbox):
        sandbox.faults.add("halo:POST:/Invoice:1:reset_after")
        sandbox.faults.add("halo:GET:/Invoice:2+:500")
        worker.cycle()
        sandbox.faults.clear()
        worker.turn(hours=1)
        assert worker.cycle() == "well"
        assert billed(sandbox) == due(sandbox)
        assert worker.snapshot.unresolved == 0


def test_a_failing_database_is_told_without_the_outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with bench(tmp_path, BILLINGSYNC_NOTIFY__URLS="json://one.invalid") as (worker, _):

        def fail(*_: object) -> Notice:
            raise LedgerError("The database is full.")

        with monkeypatch.context() as patch:
            patch.setattr(type(worker.worker.ledger), "start_cycle", fail)
            assert worker.cycle() == "failed"
        ((_, title, body),) = worker.deliver()
        assert "A cycle of the worker failed" in title and "The database is full." in body
        worker.turn(hours=1)
        assert worker.cycle() == "well"


def test_our_own_mistake_fails_the_cycle_and_not_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from billingsync.service import cycle as module

    with bench(tmp_path) as (worker, sandbox):
        with monkeypatch.context() as patch:
            patch.setattr(module, "make_plan", lambda *_, **__: 1 / 0)
            assert worker.cycle() == "failed"
        assert "ZeroDivisionError" in worker.notices[0].body
        worker.turn(hours=1)
        assert worker.cycle() == "well" and billed(sandbox) == due(sandbox)


def test_a_troubled_month_holds_with_reasons_ages_and_next_steps(tmp_path: Path, ledger_url: str) -> None:
    options = SandboxOptions(clients=4, history=0)
    with bench(tmp_path, options, database_url=ledger_url) as (worker, _):
        worker.cycle()
        month = worker.month()
        assert month["state"] in ("held", "failed") and len(month["holds"]) > 4
        held = [notice for notice in worker.notices if notice.event == "held"]
        assert held and all(notice.steps for notice in held)
        before = len(worker.notices)
        worker.until("2026-11-05T11:00")
        assert len(worker.notices) == before
        assert max(group["days"] for group in worker.month()["holds"].values()) >= 0
        charges = month["charges"]
        assert charges["all"] == sum(number for name, number in charges.items() if name != "all")


def test_R2_a_billed_month_that_pax8_credits_is_news_and_its_true_up_waits_for_a_person(tmp_path: Path) -> None:
    with bench(tmp_path, rules=LOOSE) as (worker, sandbox):
        worker.until("2026-11-05T11:00")
        assert worker.state() == "done" and worker.told == ["released", "posted"]
        first = billed(sandbox)
        issue_again(sandbox, credit(sandbox))
        worker.until("2026-11-06T11:00")
        assert worker.state() == "held" and worker.told[2:] and set(worker.told[2:]) == {"held"}
        assert billed(sandbox) == first
        for notice in worker.notices[2:]:
            (step, *_) = notice.steps
            assert step[:2] == ("billingsync", "approve") or list(step[:2]) == ["billingsync", "approve"]
            worker.office.run(*[word if word != "TEXT" else "seen" for word in step[1:]]).must()
        worker.until("2026-11-07T11:00")
        assert worker.state() == "done" and billed(sandbox) == due(sandbox)
        assert worker.told[-1] == "posted"


def test_a_month_that_waits_is_planned_again_only_when_something_changed(tmp_path: Path, ledger_url: str) -> None:
    with bench(tmp_path, rules=NEVER, database_url=ledger_url) as (worker, sandbox):
        worker.cycle()
        assert worker.state() == "ready"
        worker.turn(hours=1)
        worker.cycle()  # that the first plan remembered who is who is a change, too
        for _ in range(3):
            worker.turn(hours=1)
            sandbox.calls.clear()
            worker.cycle()
            asked = [(call.service, call.path) for call in sandbox.calls]
            assert asked == [("halo", "/authinfo"), ("pax8", "/token"), ("pax8", "/invoices"), ("halo", "/auth/token")]
            assert worker.state() == "ready" and worker.told == ["released"]


@pytest.mark.parametrize("change", ["a decision", "the rules", "Pax8's list", "a person's plan", "a day", "SIGHUP"])
def test_a_change_is_seen_in_the_next_cycle(tmp_path: Path, change: str) -> None:
    with bench(tmp_path, rules=NEVER) as (worker, sandbox):
        worker.cycle()
        worker.turn(hours=1)
        worker.cycle()
        worker.turn(hours=24 if change == "a day" else 1)
        client = sandbox.halo.clients[sorted(due(sandbox))[0]]
        if change == "a decision":
            charge = next(f"{invoice}:{row['id']}" for invoice, rows in sandbox.pax8.items.items() for row in rows)
            worker.office.run("set-aside", charge, "--reason", "ask them").must(0)
        elif change == "the rules":
            worker.office.rules(f"{NEVER}[limits]\nchange_percent_max = 7\n")
        elif change == "Pax8's list":
            sandbox.pax8.invoices[0]["balance"] = 1
        elif change == "a person's plan":
            client["dontinvoice"] = True  # seen by nobody who does not read HaloPSA
            worker.office.plan()
        elif change == "SIGHUP":
            worker.worker.wake()
        sandbox.calls.clear()
        worker.cycle()
        assert any(call.path == "/Client" for call in sandbox.calls), change


def test_what_could_not_be_posted_is_tried_again_in_the_next_cycle(tmp_path: Path) -> None:
    with bench(tmp_path) as (worker, sandbox):
        sandbox.faults.add("halo:POST:/Invoice:1+:400")
        worker.cycle()
        sandbox.faults.clear()
        worker.turn(hours=1)
        worker.cycle()
        assert billed(sandbox) == due(sandbox)
