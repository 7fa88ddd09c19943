"""A small fleet for tests: partners with a sandbox each, their files published in one database, and workers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from billingsync.fleet.partner_file import is_secret
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox
from billingsync.settings import variables
from billingsync.store.fleet import Fleet, open_fleet
from billingsync.store.ledger import open_ledger
from tests.sandbox.cli import QUICK, Ran, billed, due, process_environment

MONTH = "2026-11"
RULES = '[products]\nlifecycle = "off"\n[clients]\nguessed = "post"\n[approval]\nauto_post = "within_limits"\n'


@dataclass
class House:
    folder: Path
    database_url: str
    sandboxes: dict[str, Sandbox] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    lease_s: float = 60

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
        settings = {"BILLINGSYNC_DATABASE_URL": self.database_url, "BILLINGSYNC_LEASE_S": str(self.lease_s)}
        return process_environment(settings)

    def worker(self, *words: str) -> subprocess.Popen[str]:
        with (self.folder / f"worker-{len(self.started)}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "billingsync", "fleet", "worker", *words],
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

    def cycles(self, name: str) -> list[str]:
        """States of the partner's newest cycle, or none."""
        with open_ledger(self.database_url, partner=name) as ledger:
            last = ledger.last_cycle()
        return [last.state.value] if last else []

    def wait(self, until: Callable[[], bool], seconds: float = 60) -> None:
        limit = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < limit, self.logs()
            time.sleep(0.1)

    def is_billed(self, name: str) -> bool:
        return billed(self.sandboxes[name]) == due(self.sandboxes[name])

    def amount(self, name: str) -> Decimal:
        return sum((price for each in billed(self.sandboxes[name]).values() for price, _ in each), Decimal(0))


@contextmanager
def house(folder: Path, database_url: str, *names: str, clients: int = 2, charges: int = 6) -> Iterator[House]:
    """Partners of these names, published, each with a sandbox whose month is released and calm."""
    found = House(folder, database_url)
    write(found.fleet_folder / "fleet.toml", f'[secrets]\ndir = "{folder / "secrets"}"\n')
    write(found.fleet_folder / "rules" / "defaults.toml", RULES)
    with ExitStack() as stack:
        for number, name in enumerate(names, 1):
            options = SandboxOptions(trouble=False, clients=clients, charges=charges, history=0, seed=number)
            found.sandboxes[name] = stack.enter_context(Sandbox(options))
            move_in(found, name)
        found.run("fleet", "apply", "fleet").must(0)
        found.run("db", "upgrade").must(0)
        try:
            yield found
        finally:
            for process in found.started:
                process.kill()
                process.wait(10)


def move_in(found: House, name: str) -> None:
    """Writes the partner's files and secrets as its sandbox wants them."""
    environment = {**found.sandboxes[name].environment(), **QUICK, "BILLINGSYNC_POLL__FROM_DAY": "1"}
    sections: dict[str, list[str]] = {}
    for variable in variables():
        if (value := environment.get(variable.name)) is None:
            continue
        if is_secret(variable) or variable.path[-1] == "client_id":  # ids are renewed with their secrets
            path = found.folder / "secrets" / name / variable.name
            write(path, value)
            path.chmod(0o600)
        elif len(variable.path) == 2:
            group, key = variable.path
            text = value if value.replace(".", "", 1).isdigit() else f'"{value}"'
            sections.setdefault(group, []).append(f"{key} = {text}")
    text = "\n".join(f"[{group}]\n" + "\n".join(lines) for group, lines in sections.items())
    write(found.fleet_folder / "partners" / name / "partner.toml", text + "\n")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(text, encoding="utf-8")


def alive(pid: int) -> bool:
    """Whether the process still does anything; one that nobody has asked for its end yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
