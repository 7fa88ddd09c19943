"""What stands above every page while it holds: somebody else looks at it too, the worker is silent, a secret ends, or
this is another tenant's ledger."""

from __future__ import annotations

from datetime import timedelta

from billingsync.core.desk import Role
from billingsync.core.schedule import local_day
from billingsync.report.html import clean
from billingsync.web.ask import Ask
from billingsync.web.views.times import clock

SILENT = timedelta(minutes=3)  # a worker shows life every 20 s; a deployment may take a minute or two
WARNED_DAYS = 30
_DECIDED = ("/ready/", "/holds/", "/cards/", "/rules", "/clients/choose", "/products/", "/orders/", "/imports/drafts/")


def bar(ask: Ask) -> list[str]:
    """A sentence for each; none where all is well. Secrets and tenants are told to those who may see money."""
    found = _others(ask) + _worker(ask)
    if ask.role.may(Role.FINANCIAL):
        found += _secrets(ask) + _tenant(ask)
    return found


def _others(ask: Ask) -> list[str]:
    """Only where something is decided: a plan, a hold, a card, a rule, a mapping."""
    path, company = ask.request.url.path, ask.query("company")
    if not path.startswith(_DECIDED):
        return []
    others = ask.desk.presence.look(f"{path} {company}", ask.signed_in.person.email, ask.now)
    if not others:
        return []
    return [f"{len(others) + 1} people look at this: you and {', '.join(clean(one, 120) for one in others[:5])}."]


def _worker(ask: Ask) -> list[str]:
    """Only where a worker has lived: many do without one."""
    last = ask.ledger.last_life("worker")
    if last is None or ask.now - last < SILENT:
        return []
    since = clock(last, ask.now, ask.desk.settings.zone)
    return [f"The worker has been silent since {since}. Months are not looked after until it runs again."]


def _secrets(ask: Ask) -> list[str]:
    settings = ask.desk.settings
    today = local_day(ask.now, settings.zone)
    found = []
    for name, ends in (("Pax8", settings.pax8.expires_on), ("HaloPSA", settings.halo.expires_on)):
        if ends is not None and (ends - today).days <= WARNED_DAYS:
            when = f"ends on {ends.isoformat()}" if ends >= today else f"ended on {ends.isoformat()}"
            found.append(f"The client secret of {name} {when}. Make a new one before it is needed.")
    return found


def _tenant(ask: Ask) -> list[str]:
    bound = ask.ledger.partner().halo_base_url
    here = ask.desk.settings.halo.base_url.strip().rstrip("/").lower()
    if not bound or not here or bound == here:
        return []
    return [
        f"This ledger belongs to the HaloPSA at {clean(bound, 120)}, and the settings point at {clean(here, 120)}. "
        "Nothing is read or written until they agree, or both are the same tenant."
    ]
