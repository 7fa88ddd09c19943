"""One charge: what was decided about it at each hop, what Pax8 and HaloPSA say of it, and who did what [DK6]."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlencode

from billingsync.core.desk import Role
from billingsync.errors import UsageError
from billingsync.report.html import clean
from billingsync.report.log import Told, Wanted, told
from billingsync.run.story import Answered, Story, story_of
from billingsync.web.ask import Ask, NotFound, Page, Shown
from billingsync.web.views.money import View, amount, money
from billingsync.web.views.paths import charge_path
from billingsync.web.views.times import clock, moment

_MOST_JSON = 20_000  # characters shown of one document
_HOPS = {
    "1 read": "Read from the source",
    "2 client": "Client",
    "3 modifiers": "Rules about the charge",
    "4 product": "Item",
    "5 target": "Invoice",
    "6 line": "Line",
    "posted": "Posted",
    "next": "Next",
}


def show(ask: Ask) -> Shown:
    charge = ask.path("charge")
    try:
        story = story_of(ask.ledger, ask.desk.settings.rules_dir, charge)
    except UsageError as unknown:
        raise NotFound(unknown.message) from unknown
    entries = list(told(story.entries, Wanted(), {}))
    view = {
        "charge": clean(charge, 200),
        "product": clean(story.product, 200),
        "company": clean(story.company, 160),
        "month": ask.desk.figures.month(story.period),
        "made": clock(story.made_at, ask.now, ask.desk.settings.zone),
        "short": story.digest[:6],
        "back": f"/ready/{story.period}?{urlencode({'q': story.company[:100].casefold()})}",
        "path": ask.request.url.path,
        "hops": [
            (_HOPS.get(hop, hop), clean(says, 600), "held" if "held, " in says else "") for hop, says in story.hops
        ],
        "source": clean_json(story.source),
        "answers": [_answer(one) for one in story.answers],
        "entries": [_entry(ask, one) for one in reversed(entries)],
    }
    return Shown(template="charge", title=f"Charge {view['product']}", view=view, twin=lambda: _twin(story, entries))


def clean_json(text: str) -> str:
    """A document for eyes: its lines with nothing in them that turns writing around, cut where one is very long, as is
    the whole. The JSON twin has all of it."""
    lines = text[:_MOST_JSON].splitlines()
    shown = [line[: len(line) - len(line.lstrip(" "))] + clean(line, 600) for line in lines]
    return "\n".join(shown) + ("\n…" if len(text) > _MOST_JSON else "")


def _answer(one: Answered) -> View:
    return {
        "invoice": "" if one.invoice_id is None else str(abs(one.invoice_id)),
        "run": one.run,
        "state": one.state,
        "text": clean_json(one.text),
    }


def _entry(ask: Ask, one: Told) -> View:
    return {
        "seq": one.seq,
        "at": moment(datetime.fromisoformat(one.at), ask.desk.settings.zone),
        "who": clean(one.who.partition(" (desk")[0], 160) or "billingsync",
        "says": clean(one.says, 320),
    }


def _twin(story: Story, entries: list[Told]) -> View:
    """The document of `explain`, and what stands beside it."""
    return {
        "charge": story.charge,
        "plan": story.digest,
        "hops": [{"hop": hop, "says": says} for hop, says in story.hops],
        "source": story.source,
        "answers": [
            {"posting": one.key, "run": one.run, "state": one.state, "invoice_id": one.invoice_id, "line": one.text}
            for one in story.answers
        ],
        "entries": [one.as_dict() for one in entries],
    }


def posting(ask: Ask) -> Shown:
    """One write to one invoice, line by line, with the charges of each."""
    row = ask.ledger.find_posting(ask.path("key"))
    if row is None:
        raise NotFound("There is no such posting.")
    figures, currency = ask.desk.figures, row.currency
    lines = [
        {
            "title": clean(line.title, 200),
            "action": line.action,
            "amount": amount(figures, line.amount, currency),
            "cost": amount(figures, line.cost, currency),
            "charges": [(share.charge, charge_path(share.charge)) for share in line.shares],
        }
        for line in row.lines
    ]
    view = {
        "client": clean(row.client_name, 160),
        "invoice": "" if row.invoice_id is None else str(abs(row.invoice_id)),
        "state": row.state,
        "run": row.run,
        "key": row.key,
        "month": figures.month(row.period),
        "total": money(figures, row.amount, currency),
        "lines": lines,
    }
    return Shown(template="posting", title=f"Posting for {view['client']}", view=view, twin=lambda: {"rows": lines})


PAGES = (
    Page(path="/charges/{charge:path}", show=show, role=Role.FINANCIAL, twin=True),
    Page(path="/postings/{key}", show=posting, role=Role.FINANCIAL, twin=True),
)
