"""What billingsync is connected to, as it is set up: never a secret's value, only where it comes from."""

from __future__ import annotations

from billingsync.core.desk import Role
from billingsync.settings.model import Settings
from billingsync.web.ask import Ask, Page, Shown
from billingsync.web.views.money import View


def show(ask: Ask) -> Shown:
    cards = _cards(ask.desk.settings)
    twin = {card["name"]: dict(card["facts"]) for card in cards}
    return Shown(template="connections", title="Connections", view={"cards": cards}, twin=lambda: {"rows": twin})


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


PAGES = (Page(path="/connections", show=show, role=Role.FINANCIAL, twin=True),)
