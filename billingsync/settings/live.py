"""The settings of a process that runs for long, whose keys somebody may replace on the desk while it runs."""

from __future__ import annotations

from billingsync.redaction import Redactor
from billingsync.settings.model import Settings


class LiveSettings:
    """One object for a whole process: desk, worker, orders and redactor. Whoever opens connections asks `current()`
    each time; what is open already ends with the keys that it began with. May be used by many threads."""

    def __init__(self, settings: Settings, redactor: Redactor) -> None:
        self.redactor = redactor
        self._settings = settings

    def current(self) -> Settings:
        return self._settings

    def renew(self, settings: Settings) -> None:
        """Works by these from now on. Their secrets are hidden before they are used; those of before stay hidden."""
        for secret in settings.secrets():
            self.redactor.add(secret)
        self._settings = settings
