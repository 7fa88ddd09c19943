"""A small fleet for tests: partners with a sandbox each, their files published in one database, and workers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from sqlalchemy import select

from billingsync.fleet.trial import write_trial
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandboxes, Services
from billingsync.store.clock import database_now
from billingsync.store.fleet import Fleet, open_fleet
from billingsync.store.ledger import open_ledger
from billingsync.store.schema import partner
from tests.sandbox.cli import QUICK, Ran, billed, due, process_environment

RULES = '[products]\nlifecycle = "off"\n[clients]\nguessed = "post"\n[approval]\nauto_post = "within_limits"\n'


@dataclass
class House:
    folder: Path
    database_url: str
    sandboxes: dict[str, Services] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    lease_s: float = 60
    more: dict[str, str] = field(default_factory=dict)  # settings of the machine

    @property
    def fleet_folder(self) -> Path:
        return self.folder / "fleet"

    def run(self, *words: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "billingsync", *words],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def environment(self) -> dict[str, str]:
        settings = {
            "BILLINGSYNC_DATABASE_URL": self.database_url,
            "BILLINGSYNC_LEASE_S": str(self.lease_s),
            "BILLINGSYNC_HEALTH__PORT": "0",
        }
        return process_environment(settings | self.more)

    def worker(self, *words: str) -> subprocess.Popen[str]:
        return self.start("-m", "billingsync", "fleet", "worker", *words)

    def limited(
        self, *, memory: int = 1 << 30, longest_s: float = 3600, turn_s: float = 1200, database_bytes: int = 0
    ) -> subprocess.Popen[str]:
        """A worker with limits that a test can reach."""
        limits = map(str, (memory, longest_s, self.lease_s, turn_s, database_bytes))
        return self.start("-m", "tests.fleet.limits_worker", self.database_url, *limits)

    def start(self, *words: str) -> subprocess.Popen[str]:
        with (self.folder / f"worker-{len(self.started)}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, *words],
                cwd=self.folder,
                env=self.environment(),
                stdout=log,
                stderr=log,
                text=True,
            )
        self.started.append(process)
        return process

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("worker-*.log")))

    def opened(self) -> Fleet:
        return open_fleet(self.database_url)

    def child_of(self, name: str) -> int | None:
        """The process that works for the partner right now."""
        with self.opened() as fleet, fleet.database.reading() as connection:
            held = select(partner.c.holder).where(partner.c.partner == name, partner.c.until > database_now())
            holder = connection.scalar(held)
        return int(holder.rpartition("process ")[2].rstrip(")")) if holder else None

    def cycles(self, name: str) -> list[str]:
        """States of the partner's newest cycle, or none."""
        with open_ledger(self.database_url, partner=name) as ledger:
            last = ledger.last_cycle()
        return [last.state.value] if last else []

    def wait(self, until: Callable[[], bool], seconds: float = 240) -> None:
        limit = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < limit, self.logs()
            time.sleep(0.1)

    def is_billed(self, name: str) -> bool:
        return billed(self.sandboxes[name]) == due(self.sandboxes[name])

    def amount(self, name: str) -> Decimal:
        return sum((price for each in billed(self.sandboxes[name]).values() for price, _ in each), Decimal(0))


@contextmanager
def house(
    folder: Path,
    database_url: str,
    *names: str,
    clients: int = 2,
    charges: int = 6,
    settings: Mapping[str, str] | None = None,
) -> Iterator[House]:
    """Partners of these names, published, each with its place in one sandbox whose month is released and calm."""
    found = House(folder, database_url)
    calm = SandboxOptions(trouble=False, clients=clients, charges=charges, history=0, month=this_month())
    with Sandboxes({name: replace(calm, seed=number) for number, name in enumerate(names, 1)}) as served:
        found.sandboxes |= served.partners
        more = {**QUICK, "BILLINGSYNC_POLL__FROM_DAY": "1", **(settings or {})}
        write_trial(folder, {name: one.environment() | more for name, one in found.sandboxes.items()}, RULES)
        found.run("fleet", "apply", "fleet").must(0)
        found.run("db", "upgrade").must(0)
        try:
            yield found
        finally:
            for process in found.started:
                process.kill()
                process.wait(10)


def this_month() -> str:
    """The month that a partner begins with is the one in which it is first looked at."""
    return f"{datetime.now(UTC):%Y-%m}"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(text, encoding="utf-8")


def alive(pid: int) -> bool:
    """Whether the process still does anything; one that nobody has asked for its end yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
