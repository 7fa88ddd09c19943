"""Tells people, by Apprise and by HaloPSA tickets; always beside the work and never in its way.

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import structlog

from billingsync.errors import LedgerError, SettingsError
from billingsync.psa.halo.tickets import NotOpened, Opened, Unfindable
from billingsync.redaction import Redactor
from billingsync.service.tickets import EVENTS as TICKET_EVENTS
from billingsync.service.tickets import Tickets, mark_of, open_tickets
from billingsync.settings import Settings
from billingsync.store.ledger import Ledger
from billingsync.store.notices import TICKET, TICKET_BEGUN, Notice, Thing

TIMEOUT_S = 30.0  # for one address; one that takes longer is left alone until it is done
ROUND_S = 30.0  # between two rounds of sending
LONGEST_S = 3600.0  # between two tries of an address that does not work
MOST_SHOWN = 20  # things in one message; chats cut or refuse longer ones
MOST_TICKETS = 4  # in one round: the first look at a new installation may find a hundred things
_TEST = "This is a test. Notices arrive here: months posted, charges that wait, and failures."
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


@dataclass(slots=True)
class _TicketQueue:
    """HaloPSA as one whom notices are brought to, with how it has fared. Used by one thread at a time."""

    tickets: Tickets
    absence_s: float  # how long a ticket of unknown outcome may still appear
    busy: threading.Thread | None = None
    failures: int = 0
    not_before: float = float("-inf")
    doubts: dict[str, float] = field(default_factory=dict)  # mark -> since when it is looked for
    certain: set[str] = field(default_factory=set)  # marks of what was begun and certainly not opened
    renewed: Tickets | None = None  # with keys that were saved since: from the next round on


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
        waits: Callable[[Notice], bool] = lambda notice: False,
    ) -> None:
        """`waits`: whether nobody is to be told of this notice now; it stays in the outbox."""
        self._waits = waits
        self._addresses = [_Address(secret.get_secret_value()) for secret in settings.notify.urls]
        self._events = frozenset(settings.notify.events)
        self._ledger, self._redactor, self._send, self._clock = ledger, redactor, send or Sender(), clock
        tickets = open_tickets(settings, redactor)
        self._queue = _TicketQueue(tickets, settings.halo.absence_s) if tickets is not None else None
        self._halo = settings.halo
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
        if self._queue is not None:
            self._queue.tickets.close()

    def use(self, settings: Settings) -> None:
        """From the next round on tickets are opened with these keys of HaloPSA."""
        if self._queue is None or settings.halo == self._halo:
            return
        try:
            self._queue.renewed = open_tickets(settings, self._redactor)
        except SettingsError as wrong:
            structlog.get_logger().warning("tickets go on with the keys of before", says=wrong.message)
        self._halo = settings.halo

    def wake(self) -> None:
        """There may be something new."""
        self._wake.set()

    def directly(self, thing: Thing) -> None:
        """For what cannot be written to the outbox, because the database is what has failed."""
        self._direct.put(thing)
        self._wake.set()

    def _loop(self) -> None:
        while True:
            self._guarded(self.round)
            if self._stop.is_set():
                return
            self._wake.wait(ROUND_S)
            self._wake.clear()

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except LedgerError as failed:
            structlog.get_logger().warning("the outbox cannot be read", says=failed.message)
        except Exception as bad:  # noqa: BLE001  a notifier must not die, and must not take the worker with it
            structlog.get_logger().error("the notifier failed", kind=type(bad).__name__)

    def round(self) -> None:
        """One look at the outbox."""
        while not self._direct.empty():
            thing = self._direct.get()
            if thing.event in self._events:
                for address in self._addresses:
                    self._deliver(address, [thing])
        waiting = self._untold()
        wanted = [notice for notice in waiting if self._recipients(notice)]
        unwanted = [notice for notice in waiting if not self._recipients(notice)]
        if unwanted:
            self._ledger.mark_delivered(unwanted, (), finished=True, now=datetime.now(UTC))
        for place, address in enumerate(self._addresses):
            mine = [notice for notice in wanted if place not in notice.delivered]
            if mine and self._deliver(address, mine):
                self._mark(mine, place)
        if self._queue is not None:
            self._ticket_round(self._queue)

    def _untold(self) -> tuple[Notice, ...]:
        return tuple(one for one in self._ledger.untold() if not self._waits(one))

    def _recipients(self, notice: Notice) -> set[int]:
        """Who is to have it: the places of NOTIFY__URLS, and TICKET."""
        if notice.event not in self._events:
            return set()
        ticket = {TICKET} if self._queue is not None and notice.event in TICKET_EVENTS else set()
        return {*range(len(self._addresses)), *ticket}

    def _mark(self, notices: Sequence[Notice], place: int) -> tuple[Notice, ...]:
        """Writes down that `place` has them; gives those that still wait for somebody or did so until now."""
        fresh = {(one.thing, one.opened_at): one for one in self._ledger.untold()}
        mine = [fresh[key] for one in notices if (key := (one.thing, one.opened_at)) in fresh]
        for finished in (True, False):
            some = [one for one in mine if ({*one.delivered, place} >= self._recipients(one)) is finished]
            self._ledger.mark_delivered(some, {place}, finished=finished, now=datetime.now(UTC))
        return tuple(mine)

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
        self._failed(address, kind_of(address.url), problem)
        return False

    def _failed(self, at: _Address | _TicketQueue, kind: str, problem: str) -> None:
        at.failures += 1
        self.failures += 1
        wait = min(ROUND_S * 2 ** min(at.failures - 1, 10), LONGEST_S)
        at.not_before = self._clock() + wait
        structlog.get_logger().warning(
            "a notice could not be delivered", by=kind, problem=problem, again_in_s=round(wait)
        )

    # Tickets ---------------------------------------------------------------------------------------------------------

    def _ticket_round(self, queue: _TicketQueue) -> None:
        """In a thread of its own, so that a HaloPSA that does not answer keeps no other notice waiting."""
        if queue.busy is not None and queue.busy.is_alive():
            return
        queue.busy = threading.Thread(
            target=self._guarded, args=(lambda: self._open_tickets(queue),), name="tickets", daemon=True
        )
        queue.busy.start()
        queue.busy.join(TIMEOUT_S)

    def _open_tickets(self, queue: _TicketQueue) -> None:
        renewed, queue.renewed = queue.renewed, None
        if renewed is not None:
            queue.tickets.close()
            queue.tickets, queue.failures, queue.not_before = renewed, 0, float("-inf")
        waiting = [one for one in self._untold() if TICKET in self._recipients(one) - {*one.delivered}]
        for notice in waiting[:MOST_TICKETS]:
            if self._stop.is_set() or self._clock() < queue.not_before:
                return
            if TICKET_BEGUN not in notice.delivered or mark_of(notice) in queue.certain:
                self._open_ticket(queue, notice)
            else:
                self._resolve(queue, notice)

    def _open_ticket(self, queue: _TicketQueue, notice: Notice) -> None:
        """The intent is committed first: whatever happens then, nobody sends it again without having looked."""
        if not self._mark([notice], TICKET_BEGUN):
            return  # it is over meanwhile
        mark = mark_of(notice)
        queue.certain.discard(mark)
        queue.doubts.pop(mark, None)
        made = queue.tickets.open(notice)
        if isinstance(made, Opened):
            queue.failures = 0
            self._mark([notice], TICKET)
            structlog.get_logger().info("a ticket was opened", ticket=made.id, thing=notice.thing)
        elif isinstance(made, NotOpened):
            queue.certain.add(mark)
            self._failed(queue, "ticket", made.why)
        else:
            queue.doubts[mark] = self._clock()
            self._failed(queue, "ticket", f"it is not known whether the ticket is there: {made.why}")

    def _resolve(self, queue: _TicketQueue, notice: Notice) -> None:
        """What became of a ticket whose outcome is unknown. Absence is believed after a while only, as for a bill."""
        mark = mark_of(notice)
        since = queue.doubts.setdefault(mark, self._clock())
        found = queue.tickets.find(notice)
        if isinstance(found, Opened):
            queue.failures = 0
            queue.doubts.pop(mark)
            self._mark([notice], TICKET)
            structlog.get_logger().info("a ticket was found", ticket=found.id, thing=notice.thing)
        elif isinstance(found, NotOpened):
            if self._clock() - since >= queue.absence_s:
                self._open_ticket(queue, notice)
        elif isinstance(found, Unfindable):
            # One ticket too few can be seen in `billingsync status`; two for one thing cannot be taken back.
            self._mark([notice], TICKET)
            structlog.get_logger().error("a ticket may be missing; HaloPSA does not search for it", thing=notice.thing)
        else:
            self._failed(queue, "ticket", found.why)


def try_out(settings: Settings, redactor: Redactor) -> list[tuple[str, str]]:
    """`notify test`: (kind of address, what was wrong or "") for each; `ticket` is HaloPSA's."""
    urls = [url.get_secret_value() for url in settings.notify.urls]
    hide(urls, redactor)
    now, title = datetime.now(UTC), "a test notice"
    notice = Notice(thing="test", opened_at=now, event="released", title=title, body=_TEST, steps=(), lasting=False)
    title, body = folded([notice])
    found = [(kind_of(url), Sender()(url, title, body)) for url in urls]
    tickets = open_tickets(settings, redactor)
    if tickets is not None:
        try:
            made = tickets.open(notice)
        finally:
            tickets.close()
        found.append(("ticket", "" if isinstance(made, Opened) else made.why))
    return found
