"""Who did what, and when: the journal, for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from billingsync.core.desk import Role
from billingsync.report.html import clean
from billingsync.report.log import Known, Told, Wanted, told
from billingsync.store.journal import Entry
from billingsync.web.ask import Ask, Page, Shown
from billingsync.web.views.money import View
from billingsync.web.views.sheets import activity_table
from billingsync.web.views.times import moment

PAGE = 200
MOST = 1000  # entries of the twin
AT_ONCE = 1000  # entries read in one piece
_SIGN_INS = ("desk.signed_in", "desk.signed_out", "desk.sign_in_failed", "desk.person", "desk.role", "desk.password")
# Name in the address -> (words, how the kinds of entries begin that it is about).
KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "posted": ("Posted and undone", ("run.", "posting.", "settled", "unsettled", "write.")),
    "decided": (
        "Decided by people",
        ("approval", "decision", "match.", "set_aside", "put_back", "desk_rules", "import"),
    ),
    "cards": ("Cards", ("card", "pairing")),
    "read": ("Read and planned", ("source", "plan", "rules", "snapshot", "reconciled")),
    "people": ("Orders, people and sign-ins", ("desk.",)),
}


def show(ask: Ask) -> Shown:
    """The newest entries first; sign-ins and people only for admins. Only as much of the journal is read as it takes
    to fill a page."""
    days = ask.query("days") or "30"
    before = int(ask.query("before")[:18]) if ask.query("before").isdigit() else None
    found = _found(ask, before, days, PAGE + 1)
    newest = ask.ledger.entries_before(most=1)
    view = {
        "rows": [_row(ask, one) for one in found[:PAGE]],
        "next": found[PAGE - 1].seq if len(found) > PAGE else 0,
        "who": ask.query("who")[:200],
        "client": ask.query("client")[:200],
        "q": ask.query("q")[:200],
        "days": days,
        "kind": ask.query("kind") if ask.query("kind") in KINDS else "",
        "kinds": [(name, words) for name, (words, _) in KINDS.items()],
        "period": ask.query("period")[:7],
        "periods": list(reversed(ask.ledger.planned_periods())),
        "last": newest[0].seq if newest else 0,
    }
    twin = lambda: {"rows": [one.as_dict() for one in _found(ask, before, days, MOST)]}  # noqa: E731
    tables = lambda: [activity_table(_found(ask, before, days, MOST))]  # noqa: E731
    return Shown(template="activity", title="Activity", view=view, twin=twin, tables=tables)


def _found(ask: Ask, before: int | None, days: str, most: int) -> list[Told]:
    """The newest `most` entries that fit, read backwards in pieces."""
    since = None if days == "all" else ask.now.astimezone(UTC) - timedelta(days=int(days) if days.isdigit() else 30)
    text = ask.query("q")[:200].casefold()
    wanted = Wanted(client=ask.query("client")[:200], who=ask.query("who")[:200])
    names = {row.client_id: row.client_name for row in ask.ledger.heads()} if wanted.client else {}
    kinds = KINDS[ask.query("kind")][1] if ask.query("kind") in KINDS else ("",)
    period = ask.query("period")[:7]
    runs = frozenset(run.id for run in ask.ledger.runs() if run.period == period) if period else frozenset()
    found: list[Told] = []
    while len(found) < most:
        entries = ask.ledger.entries_before(before, since, AT_ONCE)
        found += [
            one
            for one in told(entries, wanted, names, _known(ask, entries))
            if (ask.role is Role.ADMIN or not one.kind.startswith(_SIGN_INS))
            and one.kind.startswith(kinds)
            and (not text or text in _text(one))
            and (not period or one.body.get("period") == period or one.body.get("run") in runs or period in one.says)
        ]
        if len(entries) < AT_ONCE:
            break
        before = entries[-1].seq
    return found[:most]


def _known(ask: Ask, entries: Sequence[Entry]) -> Known:
    """Whose the postings and runs of these entries are, which earlier entries said."""
    bodies = [json.loads(one.body) for one in entries if one.kind.startswith(("posting.", "run."))]
    postings = ask.ledger.clients_of_postings({str(body["key"]) for body in bodies if body.get("key")})
    people = {run.id: run.who for run in ask.ledger.runs()}
    by_posting = {key: people[run] for key, (run, _) in postings.items() if run in people}
    return Known(clients={key: str(client) for key, (_, client) in postings.items()}, people=people | by_posting)


def _text(one: Told) -> str:
    return f"{one.says}\n{one.who}\n{one.kind}".casefold()


def _row(ask: Ask, one: Told) -> View:
    body = one.body
    reason = str(body.get("reason") or "")
    return {
        "seq": one.seq,
        "at": moment(datetime.fromisoformat(one.at), ask.desk.settings.zone),
        "who": clean(one.who.partition(" (desk")[0], 160) or "billingsync",
        "how": "desk" if " (desk" in one.who else "",
        "says": clean(one.says, 320),
        "reason": clean(reason, 300) if reason and reason not in one.says else "",
        "run": str(body.get("run") or "") if one.kind.startswith("run.") else "",
    }


PAGES = (Page(path="/activity", show=show, role=Role.FINANCIAL, twin=True, sheets=True),)
