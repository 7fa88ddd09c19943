"""A scene and where it is played: one of our clients, built as `billingsync.connect` builds it, in front of something
that answers."""

from __future__ import annotations

import contextlib
import functools
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from billingsync import connect
from billingsync.http import Budget, Service, ServiceConfig
from billingsync.psa.halo.client import Halo, Tenant
from billingsync.redaction import Redactor
from billingsync.sandbox.server import Sandbox
from billingsync.settings import Settings, load_settings
from billingsync.sources.pax8.client import Pax8

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


_TLS = ssl.create_default_context()


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
    needs: tuple[str, ...] = ()  # the facts that it is given
    reach: str = "emulated"
    bulk: bool = False  # the sandbox's rows would be many and tell nothing: only played there, not recorded
    settings: Mapping[str, str] = field(default_factory=dict)  # over those of whoever answers

    def __str__(self) -> str:
        return f"{self.service}-{self.name}"

    def facts(self, known: Facts) -> Facts | None:
        """What it needs of what is known; None where something is not."""
        found = {name: known.get(name) for name in self.needs}
        return None if None in found.values() else found


def known_of(sandbox: Sandbox) -> Facts:
    """What scenes can be shown by in this sandbox. Its first client has more than 50 invoices, the others have few."""
    clients = sorted(sandbox.halo.clients)
    some = clients[1:3]
    invoices = sandbox.halo.invoices.values()
    newest = max((row for row in invoices if row["client_id"] in some), key=lambda row: row["id"])
    counting = [row for row in sandbox.pax8.invoices if row["status"] == "Unpaid"]
    return {
        "period": sandbox.options.month,
        "distributor_invoice_id": max(counting, key=lambda row: len(sandbox.pax8.items[row["id"]]))["id"],
        "rows_at_least": 51,
        "client_id": clients[1],
        "client_ids": some,
        "control_ids": [newest["id"], newest["client_id"]],
        "busy_client_id": clients[0],
        "busy_newest_id": max(row["id"] for row in invoices if row["client_id"] == clients[0]),
        "open_id": next((row["id"] for row in invoices if not row["posted"] and not row["voided"]), None),
        "recurring_id": max(sandbox.halo.recurring),
    }


def settings_of(
    environment: Mapping[str, str], folder: Path = Path("/nonexistent"), secrets: Path = Path("/nonexistent")
) -> Settings:
    """The settings of this environment, and of the `.env` in the folder and the secrets, where they are given."""
    return _settings(frozenset(environment.items()), folder, secrets)


@functools.cache
def _settings(environment: frozenset[tuple[str, str]], folder: Path, secrets: Path) -> Settings:
    """Read once: they cannot change, and reading them takes longer than most scenes."""
    settings = load_settings(dict(environment), folder, run_secrets=secrets).settings
    settings.require_upstreams()
    return settings


@contextmanager
def staged(service: str, settings: Settings, facts: Facts, *, budget: Budget | None = None) -> Iterator[Stage]:
    """Opens the stage. With a `budget` (of a real service) time is real, else nothing waits."""
    clock = Clock()
    sleep = clock.sleep if budget is None else time.sleep
    calls = Budget(100_000, now=clock.now, sleep=clock.sleep) if budget is None else budget

    def made(config: ServiceConfig, *, redactor: Redactor, **_: Any) -> Service:
        return Service(config, redactor=redactor, budget=calls, sleep=sleep)

    with contextlib.ExitStack() as stack:
        heard = stack.enter_context(overheard())
        stack.enter_context(mock.patch.object(connect, "Service", made))
        if budget is None:  # no TLS is spoken here, and a context takes longer than a scene
            stack.enter_context(mock.patch("httpx2.create_ssl_context", return_value=_TLS))
        opened, tenant = _open(service, settings)
        with opened:
            yield Stage(opened, facts, heard, clock, tenant)


def _open(service: str, settings: Settings) -> tuple[Service, Tenant | None]:
    redactor = Redactor(settings.secrets())
    if service == "pax8":
        return connect.pax8_service(settings, redactor), None
    return connect.halo_service(settings, redactor)
