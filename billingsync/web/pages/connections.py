"""What billingsync is connected to, as it is set up: never a secret's value, only where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from billingsync.core.desk import OrderKind, Role
from billingsync.errors import RulesError
from billingsync.report.html import clean
from billingsync.rulebook import kept_rulebook
from billingsync.run.desk_rules import text_digest
from billingsync.settings.model import Settings
from billingsync.store.orders import Order
from billingsync.web.ask import Ask, Page, Shown
from billingsync.web.views.money import View
from billingsync.web.views.times import clock

_CODES = ("products.item_group", "products.income_account", "products.expense_account", "products.tax_code")


def show(ask: Ask) -> Shown:
    cards = _cards(ask.desk.settings)
    tested = ask.ledger.last_ended(OrderKind.TEST)
    checks = [] if tested is None else [_check(one) for one in _checks(tested)]
    view = {
        "cards": cards,
        "checks": checks,
        "tested": clock(tested.ended_at, ask.now, ask.desk.settings.zone) if tested and tested.ended_at else "",
        "codes": _codes(ask, tested.outcome.get("codes", {}) if tested else {}),
        "base": text_digest(next((one.text for one in ask.ledger.desk_rules() if not one.company_id), "")),
        "may": ask.role.may(Role.ADMIN),
    }
    twin = {card["name"]: dict(card["facts"]) for card in cards}
    return Shown(template="connections", title="Connections", view=view, twin=lambda: {"rows": twin, "checks": checks})


def _checks(tested: Order) -> Sequence[Mapping[str, Any]]:
    """What the test found; where it could not even begin, why."""
    if "checks" in tested.outcome:
        return list(tested.outcome["checks"])
    steps = [list(step) for step in tested.outcome.get("next_steps", ())] or [["billingsync", "doctor"]]
    says = str(tested.outcome.get("message", "The test was not carried out."))
    return [{"name": "connections", "state": "fail", "says": says, "next_step": steps[0]}]


def _check(one: Mapping[str, Any]) -> View:
    """One line of `doctor`."""
    words = {"ok": "well", "warn": "worth a look", "fail": "wrong"}
    return {
        "name": clean(one["name"], 80),
        "state": one["state"],
        "words": words.get(one["state"], one["state"]),
        "says": clean(one["says"], 600),
        "step": clean(" ".join(one["next_step"]), 300),
    }


def _codes(ask: Ask, found: Mapping[str, Any]) -> list[View]:
    """The codes that new items get, to choose from what HaloPSA had when it was last asked."""
    try:
        base = kept_rulebook(ask.desk.settings.rules_dir, ask.ledger.desk_rules())[0].base.products
    except RulesError:
        return []
    return [
        {
            "key": key,
            "words": key.partition(".")[2].replace("_", " "),
            "now": clean(str(getattr(base, key.partition(".")[2]) or ""), 120),
            "choices": [(clean(str(value), 120), clean(str(words), 160)) for value, words in rows[:500]],
        }
        for key, rows in found.items()
        if key in _CODES and rows
    ]


def test(ask: Ask) -> Response:
    """Files the order to try every login, right and clock: the checks of `doctor`."""
    return ask.order(OrderKind.TEST, {})


def _cards(settings: Settings) -> list[View]:
    pax8, halo, desk = settings.pax8, settings.halo, settings.desk

    def is_set(text: str) -> str:
        return "set" if text else "not set"

    return [
        {
            "name": "Pax8",
            "facts": [
                ("Address", pax8.base_url),
                ("Client id", is_set(pax8.client_id)),
                ("Client secret", is_set(pax8.client_secret.get_secret_value())),
                ("Secret ends", str(pax8.expires_on or "not said")),
                ("Calls a minute", str(pax8.calls_per_minute)),
            ],
        },
        {
            "name": "HaloPSA",
            "facts": [
                ("Address", halo.base_url or "not set"),
                ("Client id", is_set(halo.client_id)),
                ("Client secret", is_set(halo.client_secret.get_secret_value())),
                ("Secret ends", str(halo.expires_on or "not said")),
                ("Calls a minute", str(halo.calls_per_minute)),
                ("Where a line carries its key", halo.marker),
            ],
        },
        {
            "name": "Notices",
            "facts": [
                ("Addresses", str(len(settings.notify.urls)) if settings.notify.urls else "none"),
                ("About", ", ".join(settings.notify.events)),
                ("Dead man's switch", is_set(settings.ping.url.get_secret_value())),
            ],
        },
        {
            "name": "Signing in",
            "facts": [
                ("How", desk.login),
                ("Issuer", desk.oidc.issuer or "none"),
                ("Public address", desk.public_url or "this machine only"),
                ("A session lasts", f"{desk.session_hours} hours, {desk.idle_minutes} minutes without a click"),
                ("Two people above", str(desk.two_people_above or "no amount")),
            ],
        },
    ]


PAGES = (
    Page(path="/connections", show=show, role=Role.FINANCIAL, twin=True),
    Page(path="/connections/test", show=test, role=Role.ADMIN, post=True),
)
