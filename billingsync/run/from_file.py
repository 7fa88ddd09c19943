"""A month planned from a distributor invoice's file: nothing is asked of Pax8, and the plan is never posted [IM11]."""

from __future__ import annotations

import json
from collections.abc import Sequence

from billingsync.connect import Connections
from billingsync.core.progress import Progress, Say, Stage
from billingsync.errors import Refused
from billingsync.rulebook import load_rulebook
from billingsync.run.fetch import Upstream
from billingsync.run.plan import Planned, make_plan
from billingsync.sources.source import ChargeSource
from billingsync.store.ledger import Ledger

FROM_FILE = "file"  # the status that a file's invoice has in a plan


def plan_from_file(connected: Connections, source: ChargeSource, *, asked: Sequence[str] = (), say: Say) -> Planned:
    """The plan of the source's month. It is kept, so that it can be shown again, and remembers nothing else. Refused
    where the month was billed from Pax8's own invoice: then the file would be planned beside it."""
    period = source.released()[0].period
    if connected.ledger.live_postings(period):
        raise Refused(
            f"{period} was billed from Pax8's own invoice. A plan from a file would bill it beside that.",
            next_steps=[["billingsync", "plan", str(period)]],
        )
    rulebook = load_rulebook(connected.settings.rules_dir, connected.ledger.desk_rules())
    fetched = source.fetch(period)
    say(Progress(stage=Stage.READ_PSA, about=str(period)))
    clients = connected.psa.clients()
    upstream = Upstream(
        sources=fetched.sources,
        companies=source.companies(),
        clients=clients.rows,
        items=connected.psa.items(),
        short=clients.short,
    )
    return make_plan(
        connected, period, asked=asked, say=say, rulebook=rulebook, upstream=upstream, from_file=source.name
    )


def refuse_from_file(ledger: Ledger, prefix: str) -> None:
    """Refused where that plan was made from a file."""
    shown = ledger.find_plan(prefix)
    sources = json.loads(shown.document)["sources"]
    if any(source["status"] == FROM_FILE for source in sources):
        raise Refused(
            f"Plan {shown.digest[:12]} was made from a file. Such a plan is for looking at; it is not posted. "
            f"{shown.period} is posted from Pax8's own invoice.",
            next_steps=[["billingsync", "plan", shown.period]],
        )
