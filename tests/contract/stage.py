"""A scene and where it is played: one of our clients, built as `billingsync.connect` builds it, in front of something
that answers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from billingsync import connect
from billingsync.halo.client import Halo, Tenant
from billingsync.http import Budget, Service
from billingsync.pax8.client import Pax8
from billingsync.redaction import Redactor
from billingsync.sandbox.server import Sandbox
from billingsync.settings import Settings, load_settings

from .tape import Heard, overheard

Facts = Mapping[str, Any]  # what a scene must know of the data that it meets; JSON

# Who answers on a cassette. `api.pax8.com` is Pax8's own word for whom a token is meant, no address that is called.
ON_TAPE = {
    "BILLINGSYNC_PAX8__BASE_URL": "https://pax8.example/v1",
    "BILLINGSYNC_PAX8__TOKEN_URL": "https://pax8.example/v1/token",
    "BILLINGSYNC_PAX8__AUDIENCE": "https://api.pax8.com",
    "BILLINGSYNC_PAX8__CLIENT_ID": "client-id",
    "BILLINGSYNC_PAX8__CLIENT_SECRET": "client-secret",
    "BILLINGSYNC_HALO__BASE_URL": "https://halo.example",
    "BILLINGSYNC_HALO__CLIENT_ID": "client-id",
    "BILLINGSYNC_HALO__CLIENT_SECRET": "client-secret",
}


class Clock:
    """Time that passes only by waiting: no test sleeps, and none passes because it did."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._now = 0.0

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self._now += seconds


@dataclass
class Stage:
    """What a scene is given. `heard` is every exchange so far, logins included."""

    service: Service
    facts: Facts
    heard: list[Heard]
    clock: Clock
    tenant: Tenant | None = None
    pax8: Pax8 = field(init=False)
    halo: Halo = field(init=False)

    def __post_init__(self) -> None:
        self.pax8 = Pax8(self.service, parallel=1)  # what is recorded has one order
        self.halo = Halo(self.service)

    def calls(self, method: str = "", path: str = "") -> list[Heard]:
        """The exchanges without logins, of one method and with this end of the path where given."""
        found = [one for one in self.heard if not one.is_login and one.method.startswith(method)]
        return [one for one in found if one.url.path.endswith(path)]

    def logins(self) -> list[Heard]:
        return [one for one in self.heard if one.is_login]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One thing that we rely on. `reach`: where it may be played and recorded.

    any: it only reads, so also at a live tenant; trial: it writes, so at a tenant that is there to be written to;
    emulated: it needs a fault or a switch of the sandbox.
    """

    name: str
    service: str  # pax8 | halo
    play: Callable[[Stage], None]
    sandbox: Mapping[str, Any]  # its options
    faults: tuple[str, ...] = ()
    facts: Callable[[Sandbox], Facts] = lambda sandbox: {}
    reach: str = "emulated"
    bulk: bool = False  # the sandbox's rows would be many and tell nothing: only played there, not recorded
    settings: Mapping[str, str] = field(default_factory=dict)  # over those of whoever answers

    def __str__(self) -> str:
        return f"{self.service}-{self.name}"


@contextmanager
def staged(service: str, environment: Mapping[str, str], facts: Facts) -> Iterator[Stage]:
    """Opens the stage with the settings of this environment alone."""
    settings = load_settings(environment, Path("/nonexistent"), run_secrets=Path("/nonexistent")).settings
    clock = Clock()
    budget = Budget(100_000, now=clock.now, sleep=clock.sleep)
    timeless = functools.partial(Service, budget=budget, sleep=clock.sleep)
    with overheard() as heard, mock.patch.object(connect, "Service", timeless):
        opened, tenant = _open(service, settings)
        with opened:
            yield Stage(opened, facts, heard, clock, tenant)


def _open(service: str, settings: Settings) -> tuple[Service, Tenant | None]:
    redactor = Redactor(settings.secrets())
    if service == "pax8":
        return connect.pax8_service(settings, redactor), None
    return connect.halo_service(settings, redactor)
