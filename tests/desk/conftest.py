"""What the desk's tests share: a ledger with people, and a browser's side of a session without a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from office import Office, office
from served import PORT, QUICK_HASHES, SAME, Clock, Served
from starlette.testclient import TestClient

from billingsync.redaction import Redactor
from billingsync.settings import LiveSettings, Settings
from billingsync.store.ledger import Ledger, open_ledger
from billingsync.web.app import make_app, make_desk
from billingsync.web.site import site_of


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(sqlite_ledger_url: str) -> Iterator[Ledger]:
    with open_ledger(sqlite_ledger_url, partner="default") as opened:
        yield opened


@pytest.fixture
def serve(ledger: Ledger, clock: Clock, sqlite_ledger_url: str) -> Callable[..., Served]:
    """Makes a desk with such DESK__* settings."""

    def made(**desk: object) -> Served:
        settings = Settings(database_url=sqlite_ledger_url, desk=desk)
        site = site_of(settings.desk, PORT)
        app = make_app(make_desk(LiveSettings(settings, Redactor()), ledger, site, clock=clock, passwords=QUICK_HASHES))

        def client(base: str = site.url) -> TestClient:
            return TestClient(app, base_url=base, headers=SAME, follow_redirects=False, client=("127.0.0.1", 50000))

        return Served(ledger, settings, site, clock, client)

    return made


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Office]:
    """A desk whose month was planned."""
    with office(tmp_path) as opened:
        opened.plan()
        yield opened
