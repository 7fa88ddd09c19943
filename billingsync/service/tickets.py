"""A notice as a HaloPSA ticket: one `POST /Tickets` a thing (an array, like every POST: reference/halopsa 2.2).

A ticket carries a mark in its summary, by which it is found again: where an answer was lost, nobody knows whether the
ticket is there, and two tickets for one thing would be worked on by two people.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from billingsync.connect import ticket_service
from billingsync.errors import UpstreamError
from billingsync.http import Answered, NotDone, Service
from billingsync.psa.halo.client import one_object
from billingsync.psa.halo.invoice import id_of
from billingsync.redaction import Redactor
from billingsync.report.escape import shortened
from billingsync.settings import Settings
from billingsync.store.notices import Notice

EVENTS = frozenset({"released", "held", "failed", "overdue"})  # the others ask nobody to do anything
LONGEST_SUMMARY = 200  # characters, the mark included; HaloPSA's own limit is not documented


@dataclass(frozen=True, slots=True)
class Opened:
    """The ticket is there."""

    id: int


@dataclass(frozen=True, slots=True)
class NotOpened:
    """Certainly no ticket: may be tried again as it is."""

    why: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """Nobody knows: look before anything else."""

    why: str


@dataclass(frozen=True, slots=True)
class Unfindable:
    """HaloPSA's answer to the search proves nothing: it ignored what was searched for, or showed a part only."""


class Tickets:
    def __init__(self, service: Service, fields: Mapping[str, Any], redactor: Redactor) -> None:
        """`fields` are what every ticket gets (NOTIFY__HALO_TICKET)."""
        self._service, self._fields, self._redactor = service, dict(fields), redactor

    def close(self) -> None:
        self._service.close()

    def open(self, notice: Notice) -> Opened | NotOpened | Doubt:
        """Sends it, once."""
        sent = self._service.send("POST", "/Tickets", [self._ticket(notice)])
        if isinstance(sent, NotDone):
            return NotOpened(sent.message)
        if not isinstance(sent, Answered):
            return Doubt(sent.why)
        given = one_object(sent.json)
        found = id_of(given) if given is not None else None
        return Opened(found) if found is not None else Doubt("HaloPSA's answer names no ticket")

    def look(self, notice: Notice) -> Opened | NotOpened | Doubt | Unfindable:
        """Whether an earlier attempt did make it: NotOpened where a complete search does not find it, Doubt where
        HaloPSA could not be asked."""
        mark = mark_of(notice)
        params: dict[str, str | int] = {"search_summary": mark, "count": 100, "order": "id", "orderdesc": "true"}
        try:
            answer = self._service.get_json("/Tickets", params).json
        except UpstreamError as failed:
            return Doubt(failed.message)
        rows = answer.get("tickets") if isinstance(answer, dict) else None
        if not isinstance(rows, list):
            return Unfindable()
        for row in rows:
            found = id_of(row) if isinstance(row, dict) and mark in str(row.get("summary")) else None
            if found is not None:
                return Opened(found)
        return NotOpened("it is not there") if answer.get("record_count") == len(rows) else Unfindable()

    def _ticket(self, notice: Notice) -> dict[str, Any]:
        lines = [notice.body, *(f"next:  {shlex.join(step)}" for step in notice.steps)]
        mark = mark_of(notice)
        title = shortened(self._redactor.text(f"billingsync: {notice.title}"), LONGEST_SUMMARY - len(mark) - 1)
        return {
            **self._fields,
            "summary": f"{title} {mark}",
            "details": self._redactor.text("\n".join(line for line in lines if line) or notice.title),
        }


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
    return Tickets(ticket_service(settings, redactor), fields, redactor)
