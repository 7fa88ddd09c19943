"""Notices: told once, folded, to everybody; whatever a notifier does, nothing else suffers and nothing leaks."""

from __future__ import annotations

import http.server
import io
import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billingsync.core.period import Period
from billingsync.log import set_up_logging
from billingsync.redaction import Redactor
from billingsync.service import messages, notify
from billingsync.service.notify import Delivery, Sender, folded, hide, kind_of
from billingsync.service.ping import Pings
from billingsync.settings import load_settings
from billingsync.store.ledger import Ledger, open_ledger
from billingsync.store.notices import Thing, find_notices

NOW = datetime(2026, 11, 5, 9, tzinfo=UTC)
CANARY = "kanarienvogel0815token"


def thing(key: str, event: str = "posted", *, lasting: bool = False) -> Thing:
    return Thing(
        key=key, event=event, title=f"about {key}", body="why", steps=(("billingsync", "x y"),), lasting=lasting
    )


@pytest.fixture
def ledger(sqlite_ledger_url: str) -> Iterator[Ledger]:
    with open_ledger(sqlite_ledger_url, partner="default") as opened:
        yield opened


def settings(folder: Path, **more: str) -> Any:
    given = {f"BILLINGSYNC_{name}": value for name, value in more.items()}
    return load_settings(given, folder, run_secrets=folder / "none").settings


class Post:
    """A notifier that says what it is told to."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, str, str]] = []

    def __call__(self, url: str, title: str, body: str) -> str:
        self.sent.append((url, title, body))
        return self.answers.pop(0) if self.answers else ""


# The outbox -----------------------------------------------------------------------------------------------------------


def test_a_thing_is_told_once_however_often_it_is_found(ledger: Ledger) -> None:
    assert [row.thing for row in ledger.tell([thing("posted:1")], [], NOW)] == ["posted:1"]
    assert ledger.tell([thing("posted:1")], ["posted:"], NOW + timedelta(days=1)) == ()


def test_a_lasting_thing_ends_only_where_it_was_looked_for_and_may_come_again(ledger: Ledger) -> None:
    lasting = thing("failed:login:Pax8", "failed", lasting=True)
    ledger.tell([lasting], [], NOW)
    assert ledger.tell([], ["failed:rules"], NOW + timedelta(hours=1)) == ()
    assert len(ledger.open_notices()) == 1
    (well,) = ledger.tell([], ["failed:login:"], NOW + timedelta(hours=2))
    assert (well.event, well.title) == ("recovered", "Well again: about failed:login:Pax8")
    assert ledger.open_notices() == ()
    (again,) = ledger.tell([lasting], ["failed:login:"], NOW + timedelta(hours=3))
    assert again.thing == lasting.key


def test_the_end_of_a_hold_is_no_news(ledger: Ledger) -> None:
    ledger.tell([thing("held:2026-11:x", "held", lasting=True)], [], NOW)
    assert ledger.tell([], ["held:2026-11:"], NOW + timedelta(hours=1)) == ()
    assert ledger.open_notices() == () and ledger.untold() == ()


def test_what_was_over_long_ago_is_forgotten(ledger: Ledger) -> None:
    lasting = thing("held:1", "held", lasting=True)
    ledger.tell([lasting], [], NOW)
    ledger.tell([], ["held:"], NOW)
    ledger.tell([thing("posted:1")], [], NOW + timedelta(days=500))
    with ledger.reading() as connection:
        assert [row.thing for row in find_notices(connection, ledger.name)] == ["posted:1"]


# Delivery -------------------------------------------------------------------------------------------------------------


def delivery(ledger: Ledger, folder: Path, post: Post, **more: str) -> Delivery:
    given = {"NOTIFY__URLS": "json://one.invalid/a, json://two.invalid/b"} | more
    return Delivery(settings(folder, **given), ledger, Redactor(["hunter22"]), send=post, clock=lambda: post_clock[0])


post_clock = [0.0]


def test_everything_that_waits_is_one_message_to_each(ledger: Ledger, tmp_path: Path) -> None:
    post = Post()
    sender = delivery(ledger, tmp_path, post)
    ledger.tell([thing("posted:1"), thing("held:1", "held", lasting=True)], [], NOW)
    sender.round()
    assert [url for url, _, _ in post.sent] == ["json://one.invalid/a", "json://two.invalid/b"]
    _, title, body = post.sent[0]
    assert title == "billingsync: about posted:1 (and 1 more)"
    assert body == "about posted:1\nwhy\nnext:  billingsync 'x y'\n\nabout held:1\nwhy\nnext:  billingsync 'x y'"
    sender.round()
    assert len(post.sent) == 2 and ledger.untold() == ()


def test_one_address_that_fails_does_not_make_the_other_hear_it_twice(ledger: Ledger, tmp_path: Path) -> None:
    post_clock[0] = 0.0
    post = Post("refused")
    sender = delivery(ledger, tmp_path, post)
    ledger.tell([thing("posted:1")], [], NOW)
    sender.round()
    assert [url for url, _, _ in post.sent] == ["json://one.invalid/a", "json://two.invalid/b"]
    sender.round()  # too soon
    assert len(post.sent) == 2 and len(ledger.untold()) == 1
    post_clock[0] = 31.0
    sender.round()
    assert [url for url, _, _ in post.sent][2:] == ["json://one.invalid/a"] and ledger.untold() == ()


def test_an_address_that_stays_down_is_asked_more_and_more_seldom(ledger: Ledger, tmp_path: Path) -> None:
    post_clock[0] = 0.0
    post = Post(*["down"] * 1000)
    sender = delivery(ledger, tmp_path, post, NOTIFY__URLS="json://one.invalid")
    ledger.tell([thing("posted:1")], [], NOW)
    for _ in range(24 * 60):
        sender.round()
        post_clock[0] += 60.0
    assert 24 <= len(post.sent) <= 32
    assert sender.failures == len(post.sent)


def test_only_the_events_that_are_wanted(ledger: Ledger, tmp_path: Path) -> None:
    post = Post()
    sender = delivery(ledger, tmp_path, post, NOTIFY__EVENTS="failed")
    ledger.tell([thing("posted:1"), thing("failed:1", "failed", lasting=True)], [], NOW)
    sender.round()
    assert [title for _, title, _ in post.sent] == ["billingsync: about failed:1"] * 2
    assert ledger.untold() == ()


def test_without_addresses_nothing_piles_up(ledger: Ledger, tmp_path: Path) -> None:
    sender = Delivery(settings(tmp_path), ledger, Redactor(), send=Post())
    ledger.tell([thing("posted:1")], [], NOW)
    sender.round()
    assert ledger.untold() == ()


def test_many_things_are_cut_and_say_so() -> None:
    title, body = folded([thing(f"held:{n}", "held") for n in range(500)])
    assert title.endswith("(and 499 more)") and "... and 480 more" in body and body.count("next:") == 21


def test_a_secret_in_a_text_never_leaves(ledger: Ledger, tmp_path: Path) -> None:
    post = Post()
    sender = delivery(ledger, tmp_path, post)
    ledger.tell([Thing(key="failed:1", event="failed", title="says hunter22", body="hunter22!")], [], NOW)
    sender.round()
    assert all("hunter22" not in title + body for _, title, body in post.sent)


def test_a_notifier_that_raises_or_hangs_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    asked: list[str] = []

    def bad(url: str, title: str, body: str) -> str:
        asked.append(url)
        if "hang" in url:
            release.wait(20)
            return ""
        raise SystemExit(f"{CANARY} in {url}")

    monkeypatch.setattr(notify, "_apprise", bad)
    monkeypatch.setattr(notify, "TIMEOUT_S", 0.1)
    send = Sender()
    assert send("json://raises", "t", "b") == "the notifier failed (SystemExit)"
    assert send("json://hang", "t", "b") == "no answer within 0.1 s"
    assert send("json://hang", "t", "b") == "the message before this one still hangs"
    assert asked == ["json://raises", "json://hang"]
    release.set()


def test_the_delivery_thread_stops_with_messages_left(ledger: Ledger, tmp_path: Path) -> None:
    def slow(url: str, title: str, body: str) -> str:
        time.sleep(5)
        return ""

    given = settings(tmp_path, NOTIFY__URLS="json://one.invalid")
    sender = Delivery(given, ledger, Redactor(), send=slow)
    ledger.tell([thing("posted:1")], [], NOW)
    sender.start()
    began = time.monotonic()
    sender.stop(0.2)
    assert time.monotonic() - began < 2
    assert len(ledger.untold()) == 1


# The real Apprise, on loopback ----------------------------------------------------------------------------------------


class _Inbox(http.server.BaseHTTPRequestHandler):
    received: list[tuple[str, str, bytes]]
    status = 200

    def _answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.received.append((self.command, self.path, self.rfile.read(length)))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def inbox() -> Iterator[tuple[str, type[_Inbox]]]:
    handler = type("Inbox", (_Inbox,), {"received": [], "status": 200})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", handler
        server.shutdown()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Apprise's own imports
def test_apprise_delivers(inbox: tuple[str, type[_Inbox]]) -> None:
    host, handler = inbox
    assert Sender()(f"json://{host}/{CANARY}", "title", "body & <b>") == ""
    ((command, path, content),) = handler.received
    assert (command, path.rstrip("/")) == ("POST", f"/{CANARY}")
    assert b'"title": "title"' in content and b"body & <b>" in content


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_refusal_says_so_and_no_log_holds_a_token(inbox: tuple[str, type[_Inbox]]) -> None:
    host, handler = inbox
    handler.status = 500
    url = f"json://user:{CANARY}pw@{host}/{CANARY}?+X-Key={CANARY}kv"
    redactor = Redactor([url])
    stream = io.StringIO()
    set_up_logging(format="json", level="debug", redact=redactor.text, stream=stream)
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        hide([url], redactor)
        assert Sender()(url, "t", "b") == "the message was not taken"
        for bad in (f"json://127.0.0.1:1/{CANARY}", f"nonsense://{CANARY}", f"workflows://{CANARY}"):
            hide([bad], redactor)
            assert Sender()(bad, "t", "b") in (
                "the message was not taken",
                "the address is not one that Apprise can use",
            )
        logging.getLogger("anything").warning("somebody says %s", CANARY)
        assert CANARY not in stream.getvalue()
    finally:
        set_up_logging(format="json", level="info")


def test_teams_is_workflows_and_the_kind_is_no_secret() -> None:
    assert kind_of(f"workflows://host/{CANARY}") == "workflows"


# The dead man's switch ------------------------------------------------------------------------------------------------


def test_pings_follow_the_healthchecks_protocol(inbox: tuple[str, type[_Inbox]]) -> None:
    host, handler = inbox
    pings = Pings(f"http://{host}/{CANARY}/")
    pings.start()
    for what in ("start", "well", "start", "fail"):
        pings.send(what)
    pings.stop(5)
    tails = [path.removeprefix(f"/{CANARY}") for _, path, _ in handler.received]
    assert tails == ["/start", "", "/start", "/fail"]


def test_a_dead_mans_switch_that_is_away_is_survived_and_not_quoted(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_logging(format="json", level="debug")
    pings = Pings(f"http://127.0.0.1:1/{CANARY}", timeout_s=1)
    pings.start()
    for _ in range(100):
        pings.send("well")
    time.sleep(0.5)
    pings.stop(10)
    said = capfd.readouterr().err
    assert "was not reached" in said and CANARY not in said
    Pings("").send("well")  # none set


def test_R6_what_was_undone_is_billed_again_by_the_clients_id() -> None:
    """A message cuts a long name, and another client's company may have it: neither is a client in a command [V2]."""
    thing = messages.undone(Period.parse("2026-11"), 214, "Contoso " * 20)
    assert [step[-2:] for step in thing.steps] == [("--client", "214")] * 2
