"""What stands around every page: the side, who is signed in, when the session ends."""

from __future__ import annotations

from typing import Any

from billingsync.core.desk import Role
from billingsync.core.partner import SINGLE
from billingsync.web.ask import Ask
from billingsync.web.pages.me import chosen_theme
from billingsync.web.pages.ready import client_rows
from billingsync.web.views.bar import bar

# Heading, then (words, path, role) of each page that the side leads to.
_SIDE: tuple[tuple[str, tuple[tuple[str, str, Role], ...]], ...] = (
    (
        "",
        (
            ("Ready to invoice", "/ready", Role.FINANCIAL),
            ("Holds", "/holds", Role.FINANCIAL),
            ("Reconcile", "/reconcile", Role.USER),
            ("Cards", "/cards", Role.USER),
            ("Expiring", "/expiring", Role.USER),
        ),
    ),
    (
        "Set up",
        (
            ("Clients", "/clients", Role.USER),
            ("Products", "/products", Role.USER),
            ("Exclusions", "/exclusions", Role.FINANCIAL),
            ("Rules", "/rules", Role.FINANCIAL),
            ("Connections", "/connections", Role.FINANCIAL),
            ("People", "/people", Role.ADMIN),
        ),
    ),
    (
        "History",
        (
            ("Months", "/months", Role.FINANCIAL),
            ("Runs", "/runs", Role.FINANCIAL),
            ("Imports", "/imports", Role.FINANCIAL),
            ("Activity", "/activity", Role.FINANCIAL),
            ("Status", "/status", Role.USER),
        ),
    ),
)


def _open_work(ask: Ask) -> dict[str, str]:
    """How much waits for somebody behind each page, by path: open work, never totals."""
    periods = ask.ledger.planned_periods()
    head = ask.ledger.newest_digest(periods[-1]) if periods else None
    if head is None:
        return {}
    rows = client_rows(ask.ledger, head)
    held = sum(1 for row in rows if row.holds)
    unmapped = sum(1 for row in rows if row.company_id and row.client_id is None)
    return {path: str(count) for path, count in (("/holds", held), ("/clients", unmapped)) if count}


def frame(ask: Ask) -> dict[str, Any]:
    """The view of the side and the head; without a session only that nobody is signed in."""
    theme = chosen_theme(ask)
    if ask.session is None:
        return {"person": None, "side": [], "bar": [], "theme": theme}
    path = ask.request.url.path
    counts = _open_work(ask)
    side = []
    for heading, entries in _SIDE:
        seen = [
            {
                "words": words,
                "path": to,
                "here": path == to or path.startswith(f"{to.rstrip('/')}/"),
                "count": counts.get(to, ""),
            }
            for words, to, role in entries
            if ask.role.may(role)
        ]
        if seen:
            side.append({"heading": heading, "entries": seen})
    session, limits = ask.session, ask.desk.limits
    return {
        "person": {
            "email": session.person.email,
            "role": session.person.role,
            "partner": ask.ledger.name if ask.ledger.name != SINGLE else "",
            "idle_s": int(limits.idle.total_seconds()),
            "left_s": max(0, int((session.made_at + limits.absolute - ask.now).total_seconds())),
        },
        "side": side,
        "theme": theme,
        "bar": [] if ask.fragment else bar(ask),
    }
