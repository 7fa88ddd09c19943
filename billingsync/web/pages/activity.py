"""Who did what, and when: the journal, for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from billingsync.core.desk import Role
from billingsync.report.html import clean
from billingsync.report.log import Told, Wanted, told
from billingsync.web.ask import Ask, Page, Shown
from billingsync.web.views.money import View
from billingsync.web.views.times import moment

PAGE = 200
_SIGN_INS = ("desk.signed_in", "desk.signed_out", "desk.sign_in_failed", "desk.person", "desk.role", "desk.password")


def show(ask: Ask) -> Shown:
    """The newest entries first; sign-ins and people only for admins."""
    who, client, text = ask.query("who")[:200], ask.query("client")[:200], ask.query("q")[:200].casefold()
    days = ask.query("days") or "30"
    since = None if days == "all" else ask.now.astimezone(UTC) - timedelta(days=int(days) if days.isdigit() else 30)
    entries = ask.ledger.journal_entries()
    names = {row.client_id: row.client_name for row in ask.ledger.heads()}
    found = [
        one
        for one in told(entries, Wanted(client=client, who=who, since=since), names)
        if (ask.role is Role.ADMIN or not one.kind.startswith(_SIGN_INS)) and (not text or text in _text(one))
    ]
    rows = [_row(ask, one) for one in reversed(found[-1000:])]
    before = int(ask.query("from")) if ask.query("from").isdigit() else 0
    view = {
        "rows": rows[before : before + PAGE],
        "count": ask.desk.figures.count(len(found)),
        "next": before + PAGE if len(rows) > before + PAGE else 0,
        "who": who,
        "client": client,
        "q": ask.query("q")[:200],
        "days": days,
        "last": entries[-1].seq if entries else 0,
    }
    return Shown(template="activity", title="Activity", view=view, twin=lambda: {"rows": _documents(found)})


def _text(one: Told) -> str:
    return f"{one.says}\n{one.who}\n{one.kind}".casefold()


def _documents(found: Sequence[Told]) -> list[View]:
    return [one.as_dict() for one in reversed(found[-1000:])]


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


PAGES = (Page(path="/activity", show=show, role=Role.FINANCIAL, twin=True),)
