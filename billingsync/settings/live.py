"""The settings of a process that runs for long, whose keys somebody may replace on the desk while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from billingsync.errors import SettingsError
from billingsync.redaction import Redactor
from billingsync.settings.model import Settings

# What the desk may write: the keys of both sides.
KEYS: Mapping[str, tuple[str, ...]] = {
    "pax8": ("client_id", "client_secret"),
    "halo": ("base_url", "client_id", "client_secret"),
}


class LiveSettings:
    """One object for a whole process: desk, worker, orders and redactor. Whoever opens connections asks `newest()`
    each time; what is open already ends with the keys that it began with. May be used by many threads.

    `read` reads all settings anew, from where they stand; without it only this process itself can renew them."""

    def __init__(self, settings: Settings, redactor: Redactor, read: Callable[[], Settings] | None = None) -> None:
        self.redactor = redactor
        self._settings = settings
        self._read = read
        self._reading = threading.Lock()

    def current(self) -> Settings:
        return self._settings

    def newest(self) -> Settings:
        """The settings that count, with the keys that another process saved meanwhile. Where they cannot be read now,
        those of before, and the log says so."""
        if self._read is not None:
            import structlog  # only what runs for long comes here

            with self._reading:
                try:
                    found = with_keys_of(self._settings, self._read())
                except SettingsError as wrong:
                    structlog.get_logger().warning("the settings cannot be read anew", says=wrong.message)
                else:
                    if found != self._settings:
                        structlog.get_logger().info("new keys are used from now on")
                        self.renew(found)
        return self._settings

    def renew(self, settings: Settings) -> None:
        """Works by these from now on. Their secrets are hidden before they are used; those of before stay hidden."""
        for secret in settings.secrets():
            self.redactor.add(secret)
        self._settings = settings


def with_keys_of(settings: Settings, other: Settings) -> Settings:
    """The settings with the keys of both sides as another has them; everything else needs a restart."""
    groups = {
        side: getattr(settings, side).model_copy(update={name: getattr(getattr(other, side), name) for name in names})
        for side, names in KEYS.items()
    }
    return settings.model_copy(update=groups)
