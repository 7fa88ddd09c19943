"""The sandbox in a process of its own, so that its work is not counted as ours; it answers questions over pipes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

LATENCY = {"latency_ms": 100, "halo_latency_ms": 150}  # Pax8 and HaloPSA from an office: issue 6
LIMITS = {"pax8_calls_per_minute": 1000, "halo_calls_per_5_minutes": 300}  # as documented (reference 2 and 2.6)
MONTH = "2026-11"


@dataclass(frozen=True)
class Call:
    service: str
    method: str
    path: str
    at: float
    status: int | None


class SandboxProcess:
    """`with SandboxProcess(clients=100, charges=2_000, **LATENCY) as sandbox:`"""

    def __init__(self, **options: Any) -> None:
        self._options = {"month": MONTH, "trouble": False, "history": 0, **options}
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.bench.sandbox_process", json.dumps(self._options)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.environment = self._read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    @property
    def url(self) -> str:
        return self.environment["BILLINGSYNC_HALO__BASE_URL"].removesuffix("/halo")

    def calls(self, service: str = "") -> list[Call]:
        """The sandbox's own log since it was last cleared."""
        return [call for call in (Call(*row) for row in self._ask("calls")) if service in ("", call.service)]

    def forget_calls(self) -> None:
        self._ask("forget")

    def invoices(self) -> int:
        """How many invoices HaloPSA has now."""
        return int(self._ask("invoices"))

    def rows(self) -> int:
        """Invoices and templates that HaloPSA has now: what its lists have to show."""
        return int(self._ask("rows"))

    def templates(self) -> dict[int, tuple[str, int]]:
        """Client id -> its name and a recurring invoice of its."""
        return {int(row[0]): (str(row[1]), int(row[2])) for row in self._ask("templates")}

    def advance(self, seconds: float) -> None:
        """Moves the sandbox's clock on: limits recover as if so much time had passed."""
        self._ask(f"advance {seconds}")

    def _ask(self, question: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the sandbox's process has ended")
        return json.loads(line)


def busiest(calls: list[Call], seconds: float) -> int:
    """The most calls that any rolling window of so many seconds holds."""
    times = sorted(call.at for call in calls)
    most = first = 0
    for last, moment in enumerate(times):
        while times[first] <= moment - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def _serve(options: dict[str, Any]) -> None:
    from billingsync.sandbox.options import SandboxOptions
    from billingsync.sandbox.server import Sandbox

    with Sandbox(SandboxOptions(**options)) as sandbox:
        print(json.dumps(sandbox.environment()), flush=True)
        for line in sys.stdin:
            question, _, argument = line.strip().partition(" ")
            answer: Any = None
            if question == "calls":
                answer = [[call.service, call.method, call.path, call.at, call.status] for call in sandbox.calls]
            elif question == "forget":
                sandbox.calls.clear()
            elif question == "invoices":
                answer = len(sandbox.halo.invoices)
            elif question == "rows":
                answer = len(sandbox.halo.invoices) + len(sandbox.halo.recurring)
            elif question == "templates":
                answer = [
                    [row["client_id"], sandbox.halo.clients[row["client_id"]]["name"], row["id"]]
                    for row in sandbox.halo.recurring.values()
                ]
            elif question == "advance":
                sandbox.clock.advance(float(argument))
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
