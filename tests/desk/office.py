"""A desk over a sandbox: pages by Starlette's client, orders carried out when the test says so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from billingsync.connect import connections
from billingsync.core.desk import OrderKind, Role, SignIn
from billingsync.redaction import Redactor
from billingsync.run.orders import Carrier
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox
from billingsync.settings import LiveSettings, Settings, load_settings
from billingsync.setup.orders import carries
from billingsync.setup.scaffold import write_scaffold
from billingsync.store.ledger import Ledger, open_ledger
from billingsync.web.app import make_app, make_desk
from billingsync.web.site import site_of

PORT = 8793
MONTH = "2026-11"
RULES = '[modifiers]\nazure = "collapse"\nfavorable_prorata = "drop"\nzero_lines = "drop"\n'
QUICK = {
    "BILLINGSYNC_RETRY__FIRST_WAIT_S": "0.01",
    "BILLINGSYNC_HALO__ABSENCE_S": "1",
    "BILLINGSYNC_PAX8__CALLS_PER_MINUTE": "100000",
    "BILLINGSYNC_HALO__CALLS_PER_MINUTE": "100000",
}


@dataclass
class Moving:
    """The true time, moved on by a test."""

    by: timedelta = field(default_factory=timedelta)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.by

    def move(self, **how: float) -> None:
        self.by += timedelta(**how)


@dataclass
class Office:
    folder: Path
    sandbox: Sandbox
    live: LiveSettings
    ledger: Ledger
    carrier: Carrier
    clock: Moving
    app: Any

    @property
    def settings(self) -> Settings:
        return self.live.current()

    def browser(self, role: Role) -> TestClient:
        """A browser, signed in as somebody of that role."""
        client = TestClient(
            self.app,
            base_url=f"http://127.0.0.1:{PORT}",
            headers={"Sec-Fetch-Site": "same-origin"},
            follow_redirects=False,
            client=("127.0.0.1", 50000),
        )
        client.cookies.set("desk", self.session(role))
        return client

    def session(self, role: Role) -> str:
        email, now = f"{role}@msp.example", self.clock()
        person = self.ledger.person_by_email(email) or self.ledger.add_person(email, role, who="the test", now=now)
        return self.ledger.start_session(person, SignIn.PASSWORD, address="127.0.0.1", agent="a test", now=now)

    def rules(self, text: str) -> None:
        (self.folder / "rules" / "integrations" / "pax8.toml").write_text(text, encoding="utf-8")

    def rename_two_clients(self) -> None:
        """Two companies' clients have a name in HaloPSA that is only like theirs: they are guessed."""
        other = {"FABRIKAM": "Fabrikams", "Northwind Traders": "Northwind Trader"}
        for client in self.sandbox.halo.clients.values():
            client["name"] = other.get(client["name"], client["name"])

    def plan(self, period: str = MONTH) -> None:
        self.ledger.file_order(OrderKind.PLAN, arguments={"period": period}, who="the test", now=self.clock())
        assert self.carry() == 1
        assert self.ledger.orders()[0].state == "done", self.ledger.orders()[0].outcome

    def compare(self) -> None:
        """Takes a snapshot of both sides."""
        self.ledger.file_order(OrderKind.SNAPSHOT, arguments={}, who="the test", now=self.clock())
        assert self.carry() == 1
        assert self.ledger.orders()[0].state == "done", self.ledger.orders()[0].outcome

    def carry(self) -> int:
        """Carries out what waits; how many orders came to an end."""
        done = 0
        while self.carrier.one():
            done += 1
        return done

    def written(self) -> Decimal:
        """What our lines in the sandbox's HaloPSA come to, of this month."""
        live = [row for row in self.ledger.heads(period=MONTH) if row.state in ("posted", "adopted")]
        marks = "".join(str(raw) for raw in self.sandbox.halo.invoices.values())
        assert all(row.key in marks for row in live)
        return sum((row.amount for row in live), Decimal(0))


@contextmanager
def office(folder: Path, options: SandboxOptions | None = None, **environment: str) -> Iterator[Office]:
    """A desk, its sandbox, its rules and its ledger in `folder`."""
    folder = folder / "office"
    folder.mkdir()
    with (
        Sandbox(options or SandboxOptions(seed=7, clients=4, charges=60)) as sandbox,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in [name for name in os.environ if name.startswith("BILLINGSYNC_")]:
            patch.delenv(name)
        write_scaffold(folder, {})
        database = {"BILLINGSYNC_DATABASE_URL": f"sqlite:///{folder / 'ledger.db'}"}
        rules = {"BILLINGSYNC_RULES_DIR": str(folder / "rules")}
        env = {**sandbox.environment(), **QUICK, **database, **rules, **environment}
        settings = load_settings(env=env, cwd=folder, run_secrets=folder / "none").settings
        live, clock = LiveSettings(settings, Redactor(settings.secrets())), Moving()
        with open_ledger(settings.database_url, partner="default") as ledger:
            carrier = Carrier(
                ledger,
                lambda: connections(live.current(), live.redactor),
                kind="desk",
                carries=carries(live),
                clock=clock,
            )
            app = make_app(make_desk(live, ledger, site_of(settings.desk, PORT), clock=clock))
            found = Office(folder, sandbox, live, ledger, carrier, clock, app)
            found.rules(RULES)
            yield found
