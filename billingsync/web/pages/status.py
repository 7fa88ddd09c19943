"""How the worker fares, and what waits for people."""

from __future__ import annotations

from billingsync.core.desk import Role
from billingsync.report.html import clean
from billingsync.service.status import Snapshot, take
from billingsync.web.ask import Ask, Page, Shown
from billingsync.web.views.times import moment


def show(ask: Ask) -> Shown:
    found = take(ask.ledger)
    return Shown(template="status", title="Status", view=_view(ask, found), twin=found.as_json)


def _view(ask: Ask, found: Snapshot) -> dict[str, object]:
    def at(value: object) -> str:
        return moment(value, ask.desk.settings.zone)

    def steps(one: object) -> list[str]:
        return [" ".join(step) for step in getattr(one, "steps", ())]

    cycle = found.cycle
    facts = [
        ("Version", f"{found.version}, installation {found.installation}"),
        ("Last cycle", f"{at(cycle.started_at)}, {cycle.state}" if cycle else "never"),
        ("Last good cycle", at(found.last_success)),
        ("Next cycle", at(found.next_at)),
        ("Held in the last cycle", ask.desk.figures.count(found.held_charges) if cycle else "no cycle yet; see Holds"),
        ("Writes in doubt", ask.desk.figures.count(found.unresolved)),
        ("Notices waiting", ask.desk.figures.count(found.untold)),
        ("Worker last seen", at(ask.ledger.last_life("worker"))),
        ("Run under way", clean(ask.ledger.partner().holder, 120) if ask.ledger.run_is_under_way() else "none"),
        ("Newest snapshot", _snapshot(ask)),
        ("Orders waiting", ask.desk.figures.count(len(ask.ledger.orders(open_only=True)))),
    ]
    for name, service in found.services.items():
        facts.append((name, f"{service.get('budget_left', 0)} of {service.get('budget', 0)} calls a minute left"))
    return {
        "facts": facts,
        "months": [
            {"period": ask.desk.figures.month(period), "state": str(month["state"])}
            for period, month in sorted(found.months.items(), reverse=True)
        ],
        "notices": [
            {
                "title": clean(one.title, 300),
                "since": at(one.opened_at),
                "steps": [" ".join(step) for step in one.steps],
            }
            for one in found.open
        ],
    }


def _snapshot(ask: Ask) -> str:
    """Which one there is, and whether it can be compared."""
    entries = ask.ledger.snapshots()
    if not entries:
        return "none yet"
    newest = entries[-1]
    return f"{newest.id}, {newest.state.value}, {moment(newest.as_at, ask.desk.settings.zone)}"


PAGES = (Page(path="/status", show=show, role=Role.USER, twin=True),)
