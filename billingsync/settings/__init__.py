"""The machine's settings: from the environment, secret files and `.env`; every mistake at once, by variable name."""

from billingsync.settings.groups import PREFIX, Halo, Health, Log, Notify, Pax8, Ping, Poll, Retry
from billingsync.settings.live import LiveSettings
from billingsync.settings.load import Loaded, load_settings
from billingsync.settings.model import Settings, variables
from billingsync.settings.partner import PartnerSettings
from billingsync.settings.show import settings_rows

__all__ = [
    "PREFIX",
    "Halo",
    "Health",
    "LiveSettings",
    "Loaded",
    "Log",
    "Notify",
    "PartnerSettings",
    "Pax8",
    "Ping",
    "Poll",
    "Retry",
    "Settings",
    "load_settings",
    "settings_rows",
    "variables",
]
