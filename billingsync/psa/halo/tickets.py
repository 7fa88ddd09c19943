"""Tickets in HaloPSA: one `POST /Tickets` each (an array, like every POST: reference/halopsa 2.2).

A ticket carries a mark in its summary, by which it is found again: where an answer was lost, nobody knows whether the
ticket is there, and two tickets for one thing would be worked on by two people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from billingsync.errors import UpstreamError
from billingsync.http import Answered, NotDone, Service
from billingsync.psa.halo.client import one_object
from billingsync.psa.halo.wire import id_of


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


class TicketDesk:
    def __init__(self, service: Service, fields: Mapping[str, Any]) -> None:
        """`fields` are what every ticket gets (NOTIFY__HALO_TICKET)."""
        self._service, self._fields = service, dict(fields)

    def close(self) -> None:
        self._service.close()

    def open(self, title: str, text: str) -> Opened | NotOpened | Doubt:
        """Sends it, once. `title` has the mark in it."""
        sent = self._service.send("POST", "/Tickets", [{**self._fields, "summary": title, "details": text}])
        if isinstance(sent, NotDone):
            return NotOpened(sent.message)
        if not isinstance(sent, Answered):
            return Doubt(sent.why)
        given = one_object(sent.json)
        found = id_of(given) if given is not None else None
        return Opened(found) if found is not None else Doubt("HaloPSA's answer names no ticket")

    def find(self, mark: str) -> Opened | NotOpened | Doubt | Unfindable:
        """Whether a ticket with this mark is there: NotOpened where a complete search does not find it, Doubt where
        HaloPSA could not be asked."""
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
