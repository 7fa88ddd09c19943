"""A process that does one thing of the desk's and ends itself by SIGKILL at its nth step.

A step is a commit to the ledger, or a write that HaloPSA has answered: what comes next is never begun.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from office import Office

_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_FORKS = multiprocessing.get_context("forkserver")  # imports once, and has no thread when it forks
_FORKS.set_forkserver_preload(["billingsync.setup.orders", "billingsync.web.app", "starlette.testclient"])


def dies_at(desk: Office, step: int, *sent: Any) -> bool:
    """Whether the process was killed at that step; it has fewer steps where it was not. It carries out one order, or,
    `sent` being cookie, path and form, it sends that form through the real application."""
    from office import QUICK

    env = {**desk.sandbox.environment(), **QUICK, "BILLINGSYNC_DATABASE_URL": desk.settings.database_url}
    env["BILLINGSYNC_RULES_DIR"] = str(desk.settings.rules_dir)
    process = _FORKS.Process(target=_main, args=(env, str(desk.folder), step, *sent))
    process.start()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


class _Steps:
    def __init__(self, last: int) -> None:
        self.last, self.count = last, 0

    def one(self) -> None:
        if threading.current_thread().name == "life":  # shows life beside the work, at any time
            return
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def _count_commits(steps: _Steps) -> None:
    from billingsync.store.database import Database

    real = Database.writing

    @contextmanager
    def writing(self: Database, **how: Any) -> Iterator[Any]:
        with real(self, **how) as connection:
            yield connection
        steps.one()

    Database.writing = writing  # type: ignore[method-assign]


def _main(env: Mapping[str, str], folder: str, step: int, *sent: Any) -> None:
    from billingsync.connect import connections
    from billingsync.redaction import Redactor
    from billingsync.run import orders
    from billingsync.settings import LiveSettings, load_settings
    from billingsync.setup.orders import carries
    from billingsync.store.ledger import open_ledger

    settings = load_settings(env, Path(folder), run_secrets=Path("none")).settings
    live = LiveSettings(settings, Redactor(settings.secrets()))
    steps = _Steps(step)
    with open_ledger(live.current().database_url, partner="default") as ledger:
        _count_commits(steps)
        orders.SAY_S = float("inf")  # progress is said once, however slow the machine is
        if sent:
            _send(live, ledger, *sent)
            return

        def heard(call: Any) -> None:
            if call.method in _WRITES and "token" not in call.path:
                steps.one()

        carrier = orders.Carrier(
            ledger,
            lambda: connections(live.current(), live.redactor, on_call=heard),
            kind="desk",
            carries=carries(live),
        )
        assert carrier.one()


def _send(live: Any, ledger: Any, cookie: str, path: str, form: Mapping[str, Any]) -> None:
    from starlette.testclient import TestClient

    from billingsync.web.app import make_app, make_desk
    from billingsync.web.site import site_of

    app = make_app(make_desk(live, ledger, site_of(live.current().desk, 8793)))
    client = TestClient(
        app,
        base_url="http://127.0.0.1:8793",
        headers={"Sec-Fetch-Site": "same-origin"},
        follow_redirects=False,
        client=("127.0.0.1", 50000),
    )
    client.cookies.set("desk", cookie)
    answer = client.post(path, data=form)
    assert answer.status_code == 303, answer.text
