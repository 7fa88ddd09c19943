"""A notice as a HaloPSA ticket, one a thing, with a mark in its summary by which it is found again."""

from __future__ import annotations

import hashlib
import shlex

from billingsync.connect import ticket_service
from billingsync.psa.halo.tickets import Doubt, NotOpened, Opened, TicketDesk, Unfindable
from billingsync.redaction import Redactor
from billingsync.report.escape import shortened
from billingsync.settings import Settings
from billingsync.store.notices import Notice

EVENTS = frozenset({"released", "held", "failed", "overdue"})  # the others ask nobody to do anything
LONGEST_SUMMARY = 200  # characters, the mark included; HaloPSA's own limit is not documented


class Tickets:
    def __init__(self, desk: TicketDesk, redactor: Redactor) -> None:
        self._desk, self._redactor = desk, redactor

    def close(self) -> None:
        self._desk.close()

    def open(self, notice: Notice) -> Opened | NotOpened | Doubt:
        """Sends it, once."""
        lines = [notice.body, *(f"next:  {shlex.join(step)}" for step in notice.steps)]
        mark = mark_of(notice)
        title = shortened(self._redactor.text(f"billingsync: {notice.title}"), LONGEST_SUMMARY - len(mark) - 1)
        text = self._redactor.text("\n".join(line for line in lines if line) or notice.title)
        return self._desk.open(f"{title} {mark}", text)

    def find(self, notice: Notice) -> Opened | NotOpened | Doubt | Unfindable:
        """Whether an earlier attempt did make it."""
        return self._desk.find(mark_of(notice))


def mark_of(notice: Notice) -> str:
    """Names the notice for good: the same thing that comes again is another notice, and another ticket."""
    name = f"{notice.thing}\x1f{notice.opened_at.isoformat()}"
    return f"[bs-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}]"


def open_tickets(settings: Settings, redactor: Redactor) -> Tickets | None:
    """None where notices open no tickets, which is the default; SettingsError where HaloPSA's credentials
    are not set. Asks nobody anything yet."""
    fields = settings.notify.halo_ticket
    if fields is None:
        return None
    settings.require_upstreams(["halo"])
    return Tickets(TicketDesk(ticket_service(settings, redactor), fields), redactor)
