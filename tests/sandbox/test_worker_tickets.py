"""Notices as HaloPSA tickets: off unless asked for; one a thing, whatever gets lost; never in the way of a bill."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bench import AUTO, CALM, Bench, bench
from cli import billed, due
from pydantic import SecretStr

from billingsync import connect
from billingsync.errors import SettingsError
from billingsync.redaction import Redactor
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox
from billingsync.sandbox.tokens import Tokens
from billingsync.service import notify
from billingsync.service.notify import Delivery
from billingsync.service.worker import Worker
from billingsync.settings import LiveSettings, Settings
from billingsync.store.notices import Thing

FIELDS = '{"tickettype_id": 21, "client_id": 12}'
NOW = datetime(2026, 11, 5, 9, tzinfo=UTC)


class Box:
    """An outbox with tickets, and a clock that the test turns."""

    def __init__(self, worker: Bench, sandbox: Sandbox) -> None:
        self.worker, self.sandbox, self.time = worker, sandbox, 1000.0
        self.ledger = worker.worker.ledger
        self.delivery = self.another()

    def another(self) -> Delivery:
        """Another process over the same ledger."""
        service = self.worker.worker
        return Delivery(service.settings, service.ledger, self.worker.redactor, clock=lambda: self.time)

    def tell(self, *keys: str, event: str = "held") -> None:
        things = [Thing(key=key, event=event, title=f"about {key}", steps=(("billingsync", "holds"),)) for key in keys]
        self.ledger.tell(things, [], NOW)

    def round(self, seconds: float = 0.0) -> list[dict[str, Any]]:
        self.time += seconds
        self.delivery.round()
        return self.tickets

    @property
    def tickets(self) -> list[dict[str, Any]]:
        return list(self.sandbox.halo.tickets.values())

    def calls(self, method: str) -> int:
        return sum(call.path == "/Tickets" and call.method == method for call in self.sandbox.calls)


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    monkeypatch.setattr(connect, "TICKET_CALLS", 1000)  # the budget has a clock of its own, which is the true one
    more = {"BILLINGSYNC_NOTIFY__HALO_TICKET": FIELDS, "BILLINGSYNC_HALO__ABSENCE_S": "180"}
    with bench(tmp_path, SandboxOptions(clients=2, charges=5, history=0), **more) as (worker, sandbox):
        made = Box(worker, sandbox)
        yield made
        made.delivery.stop()


def test_without_the_setting_there_is_no_ticket_and_no_call(tmp_path: Path) -> None:
    with bench(tmp_path, SandboxOptions(clients=4, history=0)) as (worker, sandbox):
        worker.cycle()
        assert "held" in worker.told
        worker.deliver()
        assert not sandbox.halo.tickets
        assert not [call for call in sandbox.calls if "ticket" in call.path.lower()]
        assert worker.worker.ledger.untold() == ()


def test_a_thing_is_one_ticket_that_says_what_to_type(box: Box) -> None:
    box.tell("held:1", "failed:2")
    first, second = box.round()
    assert first["summary"].startswith("billingsync: about held:1 [bs-") and "billingsync holds" in first["details"]
    assert (first["tickettype_id"], first["client_id"]) == (21, 12)
    assert second["summary"].startswith("billingsync: about failed:2 [bs-")
    assert box.sandbox.ignored == []  # HaloPSA documents every field and parameter that was sent
    for _ in range(3):
        box.tell("held:1", "failed:2")
        assert len(box.round(3600)) == 2
    assert box.calls("POST") == 2 and box.ledger.untold() == ()


def test_only_what_asks_somebody_to_act_is_a_ticket(box: Box) -> None:
    for event in ("posted", "recovered"):
        box.tell(f"{event}:1", event=event)
    assert box.round() == [] and box.ledger.untold() == ()
    for event in ("released", "overdue", "failed"):
        box.tell(f"{event}:1", event=event)
    assert len(box.round()) == 3


def test_a_hundred_things_come_by_and_by(box: Box) -> None:
    box.tell(*(f"held:{number}" for number in range(10)))
    assert [len(box.round(30)) for _ in range(4)] == [4, 8, 10, 10]


def test_the_token_can_do_nothing_but_tickets(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    scopes: list[str] = []
    give = Tokens.give

    def noted(tokens: Tokens, scope: str) -> str:
        scopes.append(scope)
        return give(tokens, scope)

    monkeypatch.setattr(Tokens, "give", noted)
    box.tell("held:1")
    assert len(box.round()) == 1
    assert scopes == ["read:tickets edit:tickets"]


# What gets lost -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["504_after", "reset_after"])
def test_a_lost_answer_is_looked_for_and_not_sent_again(box: Box, fault: str) -> None:
    box.sandbox.faults.add(f"halo:POST:/Tickets:1:{fault}")
    box.tell("held:1")
    box.round()
    assert len(box.round(31)) == 1 and box.calls("POST") == 1 and box.ledger.untold() == ()
    assert len(box.round(3600)) == 1 and box.calls("POST") == 1


@pytest.mark.parametrize("fault", ["504", "reset"])
def test_a_write_that_is_absent_for_long_is_sent_again_once(box: Box, fault: str) -> None:
    box.sandbox.faults.add(f"halo:POST:/Tickets:1:{fault}")
    box.tell("held:1")
    box.round()
    assert box.round(31) == [] and box.calls("POST") == 1  # it may still land
    assert len(box.round(180)) == 1
    assert box.calls("POST") == 2 and box.ledger.untold() == ()


def test_a_process_that_died_in_the_middle_looks_first(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after HaloPSA took it: the next one finds the intent in the outbox, and the ticket in HaloPSA."""

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    box.tell("held:1")
    queue = box.delivery._queue
    assert queue is not None
    opened = queue.tickets.open
    monkeypatch.setattr(queue.tickets, "open", lambda notice: (opened(notice), die()))
    with contextlib.suppress(Killed):
        box.delivery._open_tickets(queue)
    assert len(box.tickets) == 1 and len(box.ledger.untold()) == 1
    box.delivery.stop()
    box.delivery = box.another()
    assert len(box.round()) == 1 and box.calls("POST") == 1 and box.ledger.untold() == ()


def test_a_build_that_does_not_search_gets_no_second_ticket(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    from billingsync.sandbox import halo_lists

    monkeypatch.setattr(halo_lists, "tickets", lambda rows, query: rows)
    for number in range(1, 102):
        box.sandbox.halo.tickets[number] = {"id": number, "summary": "somebody's"}
    box.sandbox.faults.add("halo:POST:/Tickets:1:504")
    box.tell("held:1")
    for _ in range(4):
        box.round(3600)
    assert box.calls("POST") == 1 and box.calls("GET") == 1 and box.ledger.untold() == ()


def test_a_refusal_is_tried_again_later_and_less_and_less(box: Box) -> None:
    box.sandbox.faults.add("halo:POST:/Tickets:*:400")
    box.tell("held:1")
    for _ in range(240):  # two hours, a look every half minute
        box.round(30)
    assert 4 < box.calls("POST") < 12 and box.calls("GET") == 0
    box.sandbox.faults.clear()
    assert len(box.round(3601)) == 1


def test_a_right_that_is_missing_costs_nobody_else_anything(tmp_path: Path) -> None:
    options = SandboxOptions(trouble=False, clients=4, charges=30, history=0, role_lacks=("tickets",))
    more = {"BILLINGSYNC_NOTIFY__HALO_TICKET": "{}", "BILLINGSYNC_NOTIFY__URLS": "json://one.invalid"}
    with bench(tmp_path, options, rules=AUTO, **more) as (worker, sandbox):
        assert worker.cycle() == "well" and billed(sandbox) == due(sandbox)
        assert len(worker.deliver()) == 1
        assert not sandbox.halo.tickets and worker.worker.delivery.failures == 1


def test_what_is_over_before_its_turn_is_no_ticket(box: Box) -> None:
    lasting = Thing(key="held:1", event="held", title="x", lasting=True)
    box.ledger.tell([lasting], [], NOW)
    box.ledger.tell([], ["held:"], NOW + timedelta(hours=1))
    assert box.round() == []
    box.ledger.tell([lasting], [], NOW + timedelta(hours=2))
    box.round()
    box.ledger.tell([], ["held:"], NOW + timedelta(hours=3))
    box.ledger.tell([lasting], [], NOW + timedelta(hours=4))  # it came again: that is another thing to do
    assert len(box.round()) == 2


# In nobody's way ------------------------------------------------------------------------------------------------------


def test_a_halopsa_that_hangs_on_tickets_stops_neither_bills_nor_other_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "TIMEOUT_S", 0.3)
    more = {
        "BILLINGSYNC_NOTIFY__HALO_TICKET": "{}",
        "BILLINGSYNC_NOTIFY__URLS": "json://one.invalid",
        "BILLINGSYNC_HALO__TIMEOUT_S": "25",
    }
    with bench(tmp_path, CALM, rules=AUTO, **more) as (worker, sandbox):
        sandbox.faults.add("halo:*:/Tickets:*:black_hole")
        before = set(threading.enumerate())  # another test's may be among them
        began = time.monotonic()
        worker.worker.ledger.tell([Thing(key="held:1", event="held", title="a")], [], NOW)
        worker.deliver()
        assert worker.cycle() == "well" and billed(sandbox) == due(sandbox)
        assert len(worker.deliver()) == 1 and len(worker.sent) == 2
        assert time.monotonic() - began < 15
        for _ in range(10):
            worker.deliver()
        ours = set(threading.enumerate()) - before
        assert len([thread for thread in ours if thread.name == "tickets"]) <= 1 and len(ours) <= 8
        sandbox.faults.clear()
        began = time.monotonic()
        worker.worker.delivery.stop()
        assert time.monotonic() - began < 6


def test_notify_test_opens_one_and_says_so(tmp_path: Path) -> None:
    with bench(tmp_path, CALM, BILLINGSYNC_NOTIFY__HALO_TICKET=FIELDS) as (worker, sandbox):
        found = worker.office.run("notify", "test", "--json").must(0).json
        assert found["addresses"] == [{"kind": "ticket", "problem": None}]
        assert len(sandbox.halo.tickets) == 1
        sandbox.faults.add("halo:POST:/Tickets:*:403")
        shown = worker.office.run("notify", "test").must(1)
        assert "ticket" in shown.stdout and "403" in shown.stdout


def test_new_keys_are_used_without_a_restart(tmp_path: Path) -> None:
    """A worker in a process of its own, while somebody replaces the keys on the desk: by the next cycle, and for the
    tickets of its notices too."""
    more = {"BILLINGSYNC_NOTIFY__HALO_TICKET": FIELDS}
    with bench(tmp_path, SandboxOptions(clients=2, charges=5, history=0), **more) as (worker, sandbox):
        service = worker.worker
        good = service.settings
        wrong = good.halo.model_copy(update={"client_secret": SecretStr("an-old-secret")})
        saved = [good.model_copy(update={"halo": wrong})]
        live = LiveSettings(saved[0], worker.redactor, lambda: saved[0])
        clock = iter(range(0, 10**9, 10**5))
        delivery = Delivery(saved[0], service.ledger, worker.redactor, clock=lambda: float(next(clock)))
        other = Worker(live, service.ledger, clock=lambda: worker.now, jitter=0.0, delivery=delivery)
        assert other.cycle() == "failed"
        delivery.round()
        assert not sandbox.halo.tickets

        saved[0] = good
        worker.turn(hours=1)
        assert other.cycle() != "failed"
        delivery.round()
        assert sandbox.halo.tickets
        assert live.current().halo == good.halo
        delivery.stop()


def test_settings_that_cannot_be_read_leave_the_keys_as_they_are() -> None:
    def broken() -> Settings:
        raise SettingsError(["BILLINGSYNC_TIMEZONE: there is no such time zone"])

    live = LiveSettings(Settings(), Redactor(), broken)
    assert live.newest() == Settings()
