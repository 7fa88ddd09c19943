"""Tells the bureau, by the addresses of the worker's machine; and which of a partner's own notices wait meanwhile."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

import structlog

from billingsync.redaction import Redactor
from billingsync.service.messages import cause_of
from billingsync.service.notify import Sender, hide, kind_of
from billingsync.store.database import Database
from billingsync.store.fleet_notices import BureauNotice, deliver, look_around, open_crowds
from billingsync.store.notices import Notice, Thing

_RECOVERED = "recovered:"


class Bureau:
    """`urls` are Apprise's; `events` those of fleet.toml that it wants to hear of."""

    def __init__(
        self,
        database: Database,
        urls: Sequence[str],
        events: Sequence[str],
        *,
        send: Callable[[str, str, str], str] | None = None,
    ) -> None:
        self._database, self._urls, self._events = database, urls, frozenset(events)
        self._send = send or Sender()
        hide(urls, Redactor(()))

    def round(self, more: Sequence[tuple[str, str, str]] = ()) -> None:
        """One look at the partners, and what is to be told of it. `more` as in `look_around`. Raises LedgerError."""
        log = structlog.get_logger()
        for notice in look_around(self._database, more):
            log.warning("notice to the bureau", thing=notice.thing, title=notice.title, partners=notice.partners)
        if self._urls:
            deliver(self._database, self._deliver)

    def _deliver(self, notice: BureauNotice) -> bool:
        """Whether it was taken, by every address; one that was down gets it again, and the others with it."""
        if notice.event not in self._events:
            return True
        steps = [f"next:  {shlex.join(step)}" for step in notice.steps]
        text = "\n".join([notice.body, *steps])
        taken = True
        for url in self._urls:
            problem = self._send(url, f"billingsync fleet: {notice.title}", text)
            if problem:
                structlog.get_logger().warning("the bureau was not told", by=kind_of(url), problem=problem)
            taken = taken and not problem
        return taken


def waiting(database: Database) -> Callable[[Notice], bool]:
    """Whether a notice of a partner waits, because the bureau was told of the same at many partners. Asked once."""
    known: list[frozenset[str]] = []

    def waits(notice: Notice) -> bool:
        thing = notice.thing.removeprefix(_RECOVERED)
        if not thing.startswith("failed:"):
            return False
        if not known:
            known.append(open_crowds(database))
        return cause_of(Thing(key=thing, event=notice.event, title="")) in known[0]

    return waits
