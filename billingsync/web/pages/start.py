"""The first run: five steps, each skipped once it is true."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from billingsync.core.desk import OrderKind, Role
from billingsync.errors import BillingSyncError, UsageError
from billingsync.report.html import clean
from billingsync.settings.live import KEYS
from billingsync.settings.model import Settings
from billingsync.setup.doctor import Check
from billingsync.setup.keys import save_keys, saved_variables, try_keys, typed, variable, why_not_saved
from billingsync.store.plan_rows import ClientRow, PlanHead
from billingsync.web.ask import Ask, Page, Shown, see
from billingsync.web.kept import posted_by
from billingsync.web.pages.clients import newest
from billingsync.web.pages.ready import client_rows, to_post_of
from billingsync.web.views.money import View
from billingsync.web.views.times import clock


def show(ask: Ask) -> Shown:
    return _shown(ask)


def _shown(ask: Ask, side: str = "", checks: Sequence[Check] = (), why_not: str = "") -> Shown:
    """The steps; with `checks` of keys that were just typed for a side, and why they cannot be saved here."""
    steps = _steps(ask)
    open_ = next((nth for nth, step in enumerate(steps) if not step["done"]), None)
    for nth, step in enumerate(steps):
        step["here"] = nth == open_
    view = {
        "steps": steps,
        "done": open_ is None,
        "may": ask.role.may(Role.ADMIN),
        "tried": side,
        "checks": [(one.state, clean(one.says, 600), clean(one.remedy, 400)) for one in checks],
        "well": _log_in(checks),
        "why_not": clean(why_not, 400),
    }
    rows = [{"step": step["title"], "done": step["done"], "says": step["says"]} for step in steps]
    return Shown(template="start", title="Set up", view=view, twin=lambda: {"rows": rows})


def _steps(ask: Ask) -> list[View]:
    settings = ask.desk.live.newest()
    pax8, halo = settings.pax8, settings.halo
    sandbox = any("127.0.0.1" in url or "localhost" in url for url in (pax8.base_url, halo.base_url))
    tested = ask.ledger.last_ended(OrderKind.TEST)
    states: dict[str, list[str]] = {}
    for one in tested.outcome.get("checks", ()) if tested else ():
        states.setdefault(one["name"], []).append(one["state"])
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
            _saved(ask, "pax8"),
            states.get("Pax8", ()),
            when,
            "In Pax8: Integrations, API, create credentials.",
            ["billingsync init", "BILLINGSYNC_PAX8__CLIENT_ID=...", "BILLINGSYNC_PAX8__CLIENT_SECRET=..."],
        ),
        _keys(
            "HaloPSA",
            has_halo,
            _saved(ask, "halo"),
            states.get("HaloPSA", ()),
            when,
            "In HaloPSA: Configuration, Integrations, HaloPSA API, new application with client id and secret, for "
            "services.",
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
            "says": _first_plan(ask, head)
            if head
            else "Reads Pax8 and HaloPSA and shows what would be billed. Posts nothing.",
            "commands": ["billingsync plan"],
            "act": "plan",
        },
    ]


def _saved(ask: Ask, side: str) -> bool:
    """Whether `.env` has the keys of a side, though this process was started before somebody wrote them there."""
    there = saved_variables(ask.desk.folder)
    return all(variable(side, name) in there for name in KEYS[side])


def _log_in(checks: Sequence[Check]) -> bool:
    """Whether the keys log in: the first check of a side. What else is wrong there is no matter of the keys."""
    return bool(checks) and checks[0].state != "fail"


def _keys(
    name: str, has: bool, saved: bool, states: Sequence[str], when: str, where: str, commands: Sequence[str]
) -> View:
    """The keys of one side, and how their last test went: the login first, then what else was found there."""
    well = bool(states) and states[0] != "fail"
    if not has and saved:
        says = "They are saved in .env. Start the desk and the worker again: then they are used."
    elif not has:
        says = where
    elif not states:
        says = "The keys are set. Try them."
    else:
        more = "; something else there is wrong, see Connections" if "fail" in states else ""
        says = f"Tried {when}: {f'they work{more}' if well else 'they do not work; see Connections'}."
    return {
        "title": f"{name} keys",
        "done": has and well,
        "says": says,
        "commands": [] if has or saved else list(commands),
        "act": "test" if has else "" if saved else "type",
        "has": has,
        "side": "pax8" if name == "Pax8" else "halo",
        "fields": [(field, field.replace("_", " ")) for field in KEYS["pax8" if name == "Pax8" else "halo"]],
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
        "act": "clients" if named else "",
    }


def _first_plan(ask: Ask, head: PlanHead) -> str:
    name = f"Plan {head.digest[:6]} of {ask.desk.figures.month(head.period)}"
    if run := posted_by(ask.ledger, head):
        return f"{name} was posted by {clean(run.who.partition(' (desk')[0], 160)}: billingsync is at work."
    if ask.ledger.heads(period=head.period) and not any(to_post_of(head).values()):
        return f"{name} has nothing more to post: billingsync is at work."
    return f"{name} waits to be looked at. Nothing is posted until somebody does."


def _ready(settings: Settings) -> bool:
    """Whether both sides can be asked at all."""
    try:
        settings.require_upstreams()
    except BillingSyncError:
        return False
    return True


# Typed keys -----------------------------------------------------------------------------------------------------------


def try_typed(ask: Ask) -> Shown:
    """Tries what was typed, at the service itself: no order, as an order is a row that would hold the secret."""
    side = ask.text("side")
    keys = typed(side, {name: ask.text(name) for name in KEYS.get(side, ())})
    checks = try_keys(ask.desk.settings, keys)
    said = {"who": ask.who, "side": side, "well": _log_in(checks)}
    ask.ledger.note_act("keys_tried", said, ask.now)
    ask.desk.typed.put(ask.signed_in.sha256, keys, ask.now)
    return _shown(ask, side, checks, why_not_saved(ask.desk.folder, keys))


def save_typed(ask: Ask) -> Response:
    """Writes what was tried last in this session. Once both sides have keys, the order to test them follows: it uses
    them as every later one does."""
    side = ask.text("side")
    keys = ask.desk.typed.take(ask.signed_in.sha256, side, ask.now)
    if keys is None:
        raise UsageError("What was typed is not held any more: it is kept for ten minutes. Type and try it again.")
    save_keys(ask.desk.folder, keys, ask.desk.live)
    ask.ledger.note_act("keys_saved", {"who": ask.who, "side": side, "variables": sorted(keys.variables)}, ask.now)
    return ask.order(OrderKind.TEST, {}) if _ready(ask.desk.settings) else see("/start")


PAGES = (
    Page(path="/start", show=show, role=Role.FINANCIAL, twin=True),
    Page(path="/start/keys", show=try_typed, role=Role.ADMIN, post=True),
    Page(path="/start/save", show=save_typed, role=Role.ADMIN, post=True),
)
