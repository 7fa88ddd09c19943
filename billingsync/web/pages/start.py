"""The first run: five steps, each skipped once it is true."""

from __future__ import annotations

from collections.abc import Sequence

from billingsync.core.desk import OrderKind, Role
from billingsync.errors import BillingSyncError
from billingsync.settings.model import Settings
from billingsync.store.plan_rows import ClientRow
from billingsync.web.ask import Ask, Page, Shown
from billingsync.web.pages.clients import newest
from billingsync.web.pages.ready import client_rows
from billingsync.web.views.money import View
from billingsync.web.views.times import clock


def show(ask: Ask) -> Shown:
    steps = _steps(ask)
    open_ = next((nth for nth, step in enumerate(steps) if not step["done"]), None)
    for nth, step in enumerate(steps):
        step["here"] = nth == open_
    view = {"steps": steps, "done": open_ is None, "may": ask.role.may(Role.ADMIN)}
    rows = [{"step": step["title"], "done": step["done"], "says": step["says"]} for step in steps]
    return Shown(template="start", title="Set up", view=view, twin=lambda: {"rows": rows})


def _steps(ask: Ask) -> list[View]:
    settings = ask.desk.settings
    pax8, halo = settings.pax8, settings.halo
    sandbox = any("127.0.0.1" in url or "localhost" in url for url in (pax8.base_url, halo.base_url))
    tested = ask.ledger.last_ended(OrderKind.TEST)
    states = {one["name"]: one["state"] for one in tested.outcome.get("checks", ())} if tested else {}
    when = clock(tested.ended_at, ask.now, settings.zone) if tested and tested.ended_at else ""
    head = newest(ask)
    rows = client_rows(ask.ledger, head.digest) if head else ()
    has_pax8 = bool(pax8.client_id and pax8.client_secret.get_secret_value())
    has_halo = bool(halo.base_url and halo.client_id and halo.client_secret.get_secret_value())
    return [
        {
            "title": "Sandbox or real",
            "done": bool(halo.base_url),
            "says": f"HaloPSA is {halo.base_url}{', a sandbox on this machine' if sandbox else ''}."
            if halo.base_url
            else "Try everything on made-up data first, or set up the real thing.",
            "commands": ["billingsync demo --desk", "billingsync init"],
            "act": "",
        },
        _keys(
            "Pax8",
            has_pax8,
            states.get("Pax8"),
            when,
            "In Pax8: Integrations, API, create credentials. Then on the machine, with your own values:",
            ["billingsync init", "BILLINGSYNC_PAX8__CLIENT_ID=...", "BILLINGSYNC_PAX8__CLIENT_SECRET=..."],
        ),
        _keys(
            "HaloPSA",
            has_halo,
            states.get("HaloPSA"),
            when,
            "In HaloPSA: Configuration, Integrations, HaloPSA API, new application with client id and secret, for "
            "services. Then on the machine:",
            [
                "BILLINGSYNC_HALO__BASE_URL=https://YOURS.halopsa.com",
                "BILLINGSYNC_HALO__CLIENT_ID=...",
                "BILLINGSYNC_HALO__CLIENT_SECRET=...",
            ],
        ),
        _clients(rows),
        {
            "title": "First plan",
            "done": head is not None and _ready(settings),
            "says": f"Plan {head.digest[:6]} of {ask.desk.figures.month(head.period)} waits to be looked at. "
            "Nothing is posted until somebody does."
            if head
            else "Reads Pax8 and HaloPSA and shows what would be billed. Posts nothing.",
            "commands": ["billingsync plan"],
            "act": "plan",
        },
    ]


def _keys(name: str, has: bool, state: str | None, when: str, where: str, commands: Sequence[str]) -> View:
    """The keys of one side, and whether they were tried."""
    well = state in ("ok", "warn")
    if not has:
        says = where
    elif state is None:
        says = "The keys are set. Try them."
    else:
        says = f"Tried {when}: {'they work' if well else 'they do not work; see Connections'}."
    return {
        "title": f"{name} keys",
        "done": has and well,
        "says": says,
        "commands": [] if has else list(commands),
        "act": "test" if has else "",
    }


def _clients(rows: Sequence[ClientRow]) -> View:
    named = [row for row in rows if row.company_id]
    unmapped = sum(1 for row in named if row.client_id is None)
    guessed = sum(1 for row in named if row.guessed)
    says = f"{len(named) - unmapped - guessed} matched, {guessed} guessed, {unmapped} open."
    return {
        "title": "Clients and products",
        "done": bool(named) and not unmapped,
        "says": says if named else "Comes with the first plan: who is matched, guessed and open.",
        "commands": [],
        "act": "clients" if named else "plan",
    }


def _ready(settings: Settings) -> bool:
    """Whether both sides can be asked at all."""
    try:
        settings.require_upstreams()
    except BillingSyncError:
        return False
    return True


PAGES = (Page(path="/start", show=show, role=Role.FINANCIAL, twin=True),)
