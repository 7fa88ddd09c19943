"""How every page saves rules: by the command's function, then the newest month is planned anew."""

from __future__ import annotations

from contextlib import suppress

from billingsync.errors import NotReady, UsageError
from billingsync.run.desk_rules import RulesAsked, set_rules, text_digest
from billingsync.run.plan import plan_again
from billingsync.web.ask import Ask


def save_rules(ask: Ask, asked: RulesAsked) -> None:
    """Keeps it, and plans the newest month anew without asking a vendor; nothing is posted [DK4]. Raises what
    `set_rules` does: then nothing is saved."""
    ledger, rules_dir = ask.ledger, ask.desk.settings.rules_dir
    set_rules(ledger, rules_dir, asked, who=ask.who, now=ask.now)
    periods = ledger.planned_periods()
    digest = ledger.newest_digest(periods[-1]) if periods else None
    if digest is not None:
        with suppress(UsageError, NotReady):  # a plan of an older version cannot be made anew
            plan_again(ledger, rules_dir, digest)


def shared_base(ask: Ask) -> str:
    """The digest of what the desk says for all clients, which a form sends back [DK2]."""
    return text_digest(next((one.text for one in ask.ledger.desk_rules() if not one.company_id), ""))
