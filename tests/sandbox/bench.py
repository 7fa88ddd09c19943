"""A worker on a bench: in this process, over a sandbox, with a clock that the test turns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cli import Office, quick_time

from billingsync.core.period import Period
from billingsync.redaction import Redactor
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox
from billingsync.service.status import Snapshot, take
from billingsync.service.worker import Worker, open_worker_ledger
from billingsync.settings import LiveSettings, load_settings
from billingsync.store.notices import Notice

NEVER = '[products]\nlifecycle = "off"\n'
AUTO = f'{NEVER}[approval]\nauto_post = "within_limits"\n'
CALM = SandboxOptions(trouble=False, clients=4, charges=30, history=0)


class Bench:
    """`now` is the worker's clock; `turn(...)` moves it."""

    def __init__(self, office: Office, start: str = "2026-11-05T09:00") -> None:
        self.office = office
        self.now = datetime.fromisoformat(start).replace(tzinfo=UTC)
        self.sent: list[tuple[str, str, str]] = []
        self.problem = ""  # what every notifier says
        self.worker = self.make()

    def make(self) -> Worker:
        from billingsync.service.notify import Delivery

        (self.office.folder / "rules").mkdir(parents=True, exist_ok=True)
        environment = self.office.environment()
        environment["BILLINGSYNC_RULES_DIR"] = str(self.office.folder / "rules")
        settings = load_settings(environment, self.office.folder, run_secrets=self.office.folder / "none").settings
        redactor = Redactor(settings.secrets())
        self.redactor = redactor
        ledger = open_worker_ledger(settings)
        delivery = Delivery(settings, ledger, redactor, send=self._send)
        return Worker(LiveSettings(settings, redactor), ledger, clock=lambda: self.now, jitter=0.0, delivery=delivery)

    def _send(self, url: str, title: str, body: str) -> str:
        self.sent.append((url, title, body))
        return self.problem

    def restart(self) -> None:
        """Another process over the same ledger."""
        self.worker.delivery.stop()
        self.worker.ledger.close()
        self.worker = self.make()

    def turn(self, **by: float) -> None:
        self.now += timedelta(**by)

    def cycle(self) -> str:
        return self.worker.cycle()

    def until(self, moment: str) -> int:
        """Cycles as the worker would do them until then; gives their number."""
        end = datetime.fromisoformat(moment).replace(tzinfo=UTC)
        number = 0
        while (due := self.worker.next_at or self.now) <= end:
            self.now = max(self.now, due)
            self.cycle()
            number += 1
        self.now = end
        return number

    def deliver(self) -> list[tuple[str, str, str]]:
        """Empties the outbox; what was sent by it."""
        before = len(self.sent)
        self.worker.delivery.round()
        return self.sent[before:]

    @property
    def snapshot(self) -> Snapshot:
        return take(self.worker.ledger)

    def month(self, period: str = "2026-11") -> Any:
        return self.snapshot.months.get(period)

    def state(self, period: str = "2026-11") -> str:
        month = self.month(period)
        return str(month["state"]) if month else "unknown"

    @property
    def notices(self) -> list[Notice]:
        from billingsync.store.notices import find_notices

        with self.worker.ledger.reading() as connection:
            return list(find_notices(connection, "default"))

    @property
    def told(self) -> list[str]:
        """The events of all notices so far, in order."""
        return [notice.event for notice in self.notices]


@contextlib.contextmanager
def bench(
    folder: Path,
    options: SandboxOptions = CALM,
    *,
    rules: str = AUTO,
    start: str = "2026-11-05T09:00",
    database_url: str = "",
    **settings: str,
) -> Iterator[tuple[Bench, Sandbox]]:
    with Sandbox(options) as sandbox, quick_time(sandbox):
        office = Office(folder=folder, sandbox=sandbox, database_url=database_url, settings=settings)
        office.rules(rules)
        made = Bench(office, start)
        try:
            yield made, sandbox
        finally:
            made.worker.delivery.stop()
            made.worker.ledger.close()


def hide(sandbox: Sandbox, *months: str) -> None:
    """Pax8 has not released these months."""
    sandbox.pax8.hidden = {row["id"] for row in sandbox.pax8.invoices if row["invoiceDate"][:7] in months}


def months_of(sandbox: Sandbox) -> list[str]:
    return sorted({row["invoiceDate"][:7] for row in sandbox.pax8.invoices})


__all__ = ["AUTO", "CALM", "NEVER", "Bench", "Period", "bench", "hide", "months_of"]
