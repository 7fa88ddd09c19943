"""A desk of a test, its clock, and a browser's side of a session without a browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from starlette.testclient import TestClient

from billingsync.core.desk import Role, SignIn
from billingsync.settings import Settings
from billingsync.store.ledger import Ledger
from billingsync.web.passwords import Passwords
from billingsync.web.site import Site

PORT = 8793
HERE = f"http://127.0.0.1:{PORT}"
SAME = {"Sec-Fetch-Site": "same-origin"}
QUICK_HASHES = Passwords(passes=1, memory_kib=64)


@dataclass
class Clock:
    """A clock that a test moves."""

    at: datetime = field(default_factory=lambda: datetime(2026, 11, 28, 12, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.at

    def move(self, **how: float) -> None:
        self.at += timedelta(**how)


@dataclass
class Served:
    """A desk, and browsers for it."""

    ledger: Ledger
    settings: Settings
    site: Site
    clock: Clock
    make: Callable[..., TestClient]

    def browser(self, role: Role | None = None) -> TestClient:
        """A browser, signed in as somebody of that role."""
        client = self.make()
        if role is not None:
            email = f"{role}@msp.example"
            person = self.ledger.person_by_email(email) or self.ledger.add_person(
                email, role, who="the test", now=self.clock()
            )
            secret = self.ledger.start_session(
                person, SignIn.PASSWORD, address="127.0.0.1", agent="a test", now=self.clock()
            )
            client.cookies.set(self.site.cookie, secret)
        return client
