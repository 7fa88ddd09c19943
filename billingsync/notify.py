"""Tells people, by Apprise, and the dead man's switch; always beside the work and never in its way.

Whatever happens here (a mail server that hangs, a chat that refuses, a wrong address) is logged and tried again later;
it changes neither a bill nor an exit code (fault 40). The addresses hold secrets: no text of Apprise or of the
libraries below it is ever logged, as those quote addresses.
"""

from __future__ import annotations

import logging
import queue
import shlex
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import structlog

from billingsync.errors import LedgerError
from billingsync.redaction import Redactor
from billingsync.settings import Settings
from billingsync.store.ledger import Ledger
from billingsync.store.notices import Notice, Thing

TIMEOUT_S = 30.0  # for one address; one that takes longer is left alone until it is done
ROUND_S = 30.0  # between two rounds of sending
LONGEST_S = 3600.0  # between two tries of an address that does not work
MOST_SHOWN = 20  # things in one message; chats cut or refuse longer ones
_SECRET_FROM = 6  # characters: parts of an address that are worth hiding

# Loggers below us that quote addresses with their tokens.
_TALKATIVE = ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib")


def hide(urls: Sequence[str], redactor: Redactor) -> None:
    """Silences what would quote addresses, and has every part of them that may be a token redacted everywhere."""
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.CRITICAL)
    for url in urls:
        parts = urlsplit(url)
        pieces = [parts.password or "", *parts.path.split("/"), *(pair.partition("=")[2] for pair in _pairs(parts))]
        host = parts.netloc.rpartition("@")[2]
        pieces += [] if "." in host else [host]  # slack://TOKEN/TOKEN: the first token stands where a host would
        for piece in pieces:
            redactor.add(piece if len(piece) >= _SECRET_FROM else "")


def _pairs(parts: Any) -> list[str]:
    return str(parts.query).split("&") if parts.query else []


def kind_of(url: str) -> str:
    """What people call an address by: its scheme. The rest may be secret."""
    return url.partition("://")[0].lower()


class Sender:
    """Sends one message to one address, in at most `TIMEOUT_S`. One that hangs is left to a thread of its own, and is
    not asked again until that thread is done: hanging notifiers must not fill the process with threads."""

    def __init__(self) -> None:
        self._hanging: dict[str, threading.Thread] = {}

    def __call__(self, url: str, title: str, body: str) -> str:
        """ "" where the message was taken, else what was wrong, in words of ours."""
        hanging = self._hanging.get(url)
        if hanging is not None and hanging.is_alive():
            return "the message before this one still hangs"
        answer: queue.SimpleQueue[str] = queue.SimpleQueue()

        def work() -> None:
            try:
                answer.put(_apprise(url, title, body))
            except BaseException as bad:  # noqa: BLE001  a plugin may raise anything; its text may hold the address
                answer.put(f"the notifier failed ({type(bad).__name__})")

        self._hanging[url] = threading.Thread(target=work, name=f"notify-{kind_of(url)}", daemon=True)
        self._hanging[url].start()
        try:
            return answer.get(timeout=TIMEOUT_S)
        except queue.Empty:
            return f"no answer within {TIMEOUT_S:g} s"


def _apprise(url: str, title: str, body: str) -> str:
    import apprise  # half a second, and many installations notify nobody

    asset = apprise.AppriseAsset(
        app_id="billingsync", app_desc="billingsync", app_url="", secure_logging=True, plugin_paths=[]
    )
    sender = apprise.Apprise(asset=asset)
    if not sender.add(url):
        return "the address is not one that Apprise can use"
    taken = sender.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT)
    return "" if taken else "the message was not taken"


def folded(notices: Sequence[Notice | Thing]) -> tuple[str, str]:
    """Several things as one message: (title, text)."""
    first = notices[0]
    more = len(notices) - 1
    title = f"billingsync: {first.title}" + (f" (and {more} more)" if more else "")
    parts = []
    for each in notices[:MOST_SHOWN]:
        lines = [each.title, *([each.body] if each.body else [])]
        lines += [f"next:  {shlex.join(step)}" for step in each.steps]
        parts.append("\n".join(lines))
    if len(notices) > MOST_SHOWN:
        parts.append(f"... and {len(notices) - MOST_SHOWN} more\nnext:  billingsync status")
    return title, "\n\n".join(parts)


@dataclass(slots=True)
class _Address:
    """One of NOTIFY__URLS, with how it has fared."""

    url: str
    failures: int = 0
    not_before: float = float("-inf")  # of the monotonic clock


class Delivery:
    """Empties the outbox from a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        redactor: Redactor,
        *,
        send: Callable[[str, str, str], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._addresses = [_Address(secret.get_secret_value()) for secret in settings.notify.urls]
        self._events = frozenset(settings.notify.events)
        self._ledger, self._redactor, self._send, self._clock = ledger, redactor, send or Sender(), clock
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._direct: queue.SimpleQueue[Thing] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="notify", daemon=True)
        self.failures = 0
        hide([address.url for address in self._addresses], redactor)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Sends what it can within the time; the rest waits in the outbox for the next start."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def wake(self) -> None:
        """There may be something new."""
        self._wake.set()

    def directly(self, thing: Thing) -> None:
        """For what cannot be written to the outbox, because the database is what has failed."""
        self._direct.put(thing)
        self._wake.set()

    def _loop(self) -> None:
        while True:
            try:
                self.round()
            except LedgerError as failed:
                structlog.get_logger().warning("the outbox cannot be read", says=failed.message)
            except Exception as bad:  # noqa: BLE001  a notifier must not die, and must not take the worker with it
                structlog.get_logger().error("the notifier failed", kind=type(bad).__name__)
            if self._stop.is_set():
                return
            self._wake.wait(ROUND_S)
            self._wake.clear()

    def round(self) -> None:
        """One look at the outbox."""
        while not self._direct.empty():
            thing = self._direct.get()
            if thing.event in self._events:
                for address in self._addresses:
                    self._deliver(address, [thing])
        waiting = self._ledger.untold()
        wanted = [notice for notice in waiting if notice.event in self._events]
        unwanted = [notice for notice in waiting if notice.event not in self._events or not self._addresses]
        if unwanted:
            self._ledger.mark_delivered(unwanted, (), finished=True, now=datetime.now(UTC))
        for place, address in enumerate(self._addresses):
            mine = [notice for notice in wanted if place not in notice.delivered]
            if mine and self._deliver(address, mine):
                self._mark(mine, place)

    def _mark(self, notices: Sequence[Notice], place: int) -> None:
        everybody = set(range(len(self._addresses)))
        fresh = {(one.thing, one.opened_at): one for one in self._ledger.untold()}
        mine = [fresh[key] for one in notices if (key := (one.thing, one.opened_at)) in fresh]
        for finished in (True, False):
            some = [one for one in mine if ({*one.delivered, place} >= everybody) is finished]
            self._ledger.mark_delivered(some, {place}, finished=finished, now=datetime.now(UTC))

    def _deliver(self, address: _Address, notices: Sequence[Notice | Thing]) -> bool:
        """One message to one address, unless it failed a moment ago or still hangs."""
        if self._clock() < address.not_before:
            return False
        title, body = folded(notices)
        problem = self._send(address.url, self._redactor.text(title), self._redactor.text(body))
        if not problem:
            address.failures = 0
            structlog.get_logger().info("people were told", by=kind_of(address.url), things=len(notices))
            return True
        address.failures += 1
        self.failures += 1
        wait = min(ROUND_S * 2 ** min(address.failures - 1, 10), LONGEST_S)
        address.not_before = self._clock() + wait
        structlog.get_logger().warning(
            "a notice could not be delivered", by=kind_of(address.url), problem=problem, again_in_s=round(wait)
        )
        return False


class Pings:
    """The dead man's switch (healthchecks protocol): `/start`, plain, `/fail`. What cannot be sent is forgotten: the
    silence is the message."""

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._queue: queue.Queue[str | None] = queue.Queue(maxsize=20)
        self._thread = threading.Thread(target=self._loop, name="ping", daemon=True)

    def start(self) -> None:
        if self._url:
            self._thread.start()

    def send(self, what: str) -> None:
        """`start`, `well` or `fail`; never waits."""
        if self._url:
            with suppress(queue.Full):
                self._queue.put_nowait(what)

    def stop(self, timeout_s: float = 3.0) -> None:
        if not self._thread.is_alive():
            return
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(timeout_s)

    def _loop(self) -> None:
        import httpx2

        with httpx2.Client(timeout=self._timeout_s, follow_redirects=False) as client:
            while (what := self._queue.get()) is not None:
                tail = {"start": "/start", "fail": "/fail"}.get(what, "")
                try:
                    status = client.get(f"{self._url}{tail}").status_code
                except Exception as bad:  # noqa: BLE001  its text may hold the address, which is a secret
                    structlog.get_logger().warning("the dead man's switch was not reached", kind=type(bad).__name__)
                    continue
                if status >= 300:
                    structlog.get_logger().warning("the dead man's switch refused", status=status)


def try_out(urls: Collection[str], redactor: Redactor) -> list[tuple[str, str]]:
    """`notify test`: (kind of address, what was wrong or "") for each."""
    hide(list(urls), redactor)
    body = "This is a test. You would be told here of months posted, charges that wait, and failures."
    return [(kind_of(url), Sender()(url, "billingsync: a test notice", body)) for url in urls]
