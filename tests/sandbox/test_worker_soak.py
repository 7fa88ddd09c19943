"""Years of service in minutes: month after month with a clock that the test turns, faults on. Every month's equation is
right to the cent, each charge is billed once, and memory, threads and file descriptors stay where they were."""

from __future__ import annotations

import dataclasses
import gc
import os
import signal
import socket
import threading
import time
import urllib.request
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bench import AUTO, CALM, Period, bench
from cli import Office, billed, due, marks

from billingsync.sandbox.server import Sandbox

LOOSE = f"{AUTO}[limits]\nchange_percent_max = 100000\nmissing_company_percent_max = 100\n"
FAULTS = (
    "*:GET:*:2%:500",
    "*:GET:*:1%:reset",
    "pax8:GET:*:1%:not_json",
    "halo:POST:/Invoice:8%:504_after",
    "halo:POST:/Invoice:8%:reset_after",
    "halo:POST:/Invoice:4%:429",
    "*:POST:*token:2%:503",
)
GROWTH_KB = 25_000  # of a process that also holds the sandbox, whose tables grow


def resident_kb() -> int:
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def months_back(number: int) -> list[str]:
    month = Period(2026, 11)
    found = [month]
    for _ in range(number - 1):
        found.append(found[-1].previous)
    return [str(one) for one in reversed(found)]


@pytest.mark.parametrize("number", [2, pytest.param(24, marks=pytest.mark.long)])
def test_months_of_service(tmp_path: Path, number: int) -> None:
    months = months_back(number)
    options = dataclasses.replace(CALM, history=number - 1)
    every = "360" if number < 10 else "120"
    settings = {"BILLINGSYNC_POLL__EVERY_MINUTES": every, "BILLINGSYNC_HALO__TIMEOUT_S": "5"}
    figures: list[tuple[int, int, int]] = []
    worker_restarts = 0
    with bench(tmp_path, options, rules=LOOSE, start=f"{months[0]}-03T00:00", **settings) as (worker, sandbox):
        for text in FAULTS:
            sandbox.faults.add(text)
        dates: dict[str, list[str]] = defaultdict(list)
        for row in sandbox.pax8.invoices:
            dates[row["invoiceDate"][:7]].append(row["id"])
        sandbox.pax8.hidden = {row["id"] for row in sandbox.pax8.invoices}
        expected: dict[int, list[Any]] = defaultdict(list)
        cycles = 0
        for place, month in enumerate(months):
            cycles += worker.until(f"{month}-05T02:00")
            assert worker.state(month) in ("waiting", "unknown")
            sandbox.pax8.hidden -= set(dates[month])
            cycles += worker.until(f"{month}-06T12:00" if number < 10 else f"{month}-27T00:00")
            for _ in range(20):  # a fault may have the last word of a day
                if worker.state(month) == "done":
                    break
                worker.turn(hours=6)
                worker.cycle()
            check_month(worker.month(month), month)
            for client, amounts in due(sandbox, month).items():
                expected[client].extend(amounts)
            assert billed(sandbox) == {client: sorted(amounts) for client, amounts in expected.items()}, month
            if place % 5 == 4:
                worker.restart()
                worker_restarts += 1
            sandbox.calls.clear()
            sandbox.faults.fired.clear()
            worker.now = max(worker.now, _first_of_next(month))
            figures.append((resident_kb(), len(os.listdir("/proc/self/fd")), threading.active_count()))
        found = marks(sandbox)
        assert len(found) == len(set(found))
        assert worker.snapshot.unresolved == 0
        events = worker.told
        assert events.count("released") == number and events.count("posted") >= number
        assert events.count("failed") == events.count("recovered") + sum(
            notice.event == "failed" for notice in worker.worker.ledger.open_notices()
        )
    memory, files, threads = zip(*figures, strict=True)
    print(f"\n{number} months, {cycles} cycles, {worker_restarts} restarts; RSS in MB "
          f"{[kb // 1024 for kb in memory]}, descriptors {files}, threads {threads}")  # fmt: skip
    assert max(files) - files[0] <= 4, files
    assert max(threads) - threads[0] <= 2, threads
    if number > 10:
        assert memory[-1] - memory[number // 4] < GROWTH_KB, memory


@pytest.mark.parametrize("number", [30, pytest.param(400, marks=pytest.mark.long)])
def test_cycles_leave_nothing_behind_in_a_process_of_its_own(tmp_path: Path, number: int) -> None:
    """The worker alone, without the sandbox, whose tables grow: what a cycle takes it gives back. Faults are on, people
    are told, and somebody scrapes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = dataclasses.replace(CALM, month=datetime.now(UTC).strftime("%Y-%m"))
    settings = {
        "BILLINGSYNC_HEALTH__PORT": str(port),
        "BILLINGSYNC_POLL__FROM_DAY": "1",
        "BILLINGSYNC_HALO__TIMEOUT_S": "5",
        "BILLINGSYNC_NOTIFY__URLS": "json://127.0.0.1:1/nobody",
        "BILLINGSYNC_NOTIFY__HALO_TICKET": "{}",
        "BILLINGSYNC_LOG__LEVEL": "info",
    }
    figures: list[tuple[int, int, int]] = []
    with Sandbox(options) as sandbox, (tmp_path / "log").open("w+") as log:
        for text in FAULTS:
            sandbox.faults.add(text)
        office = Office(folder=tmp_path, sandbox=sandbox, settings=settings)
        office.rules(LOOSE)
        process = office.start("worker", stdout=log, stderr=log)
        try:
            for cycle in range(1, number + 1):
                deadline = time.monotonic() + 60
                while (tmp_path / "log").read_text().count('"event": "cycle ended"') < cycle:
                    assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()[
                        -2000:
                    ]
                    time.sleep(0.02)
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    assert b"billingsync_cycles" in answer.read()
                proc = Path(f"/proc/{process.pid}")
                status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
                memory, threads = int(status["VmRSS"].split()[0]), int(status["Threads"])
                figures.append((memory, len(os.listdir(proc / "fd")), threads))
                process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10)
    memory, files, threads = zip(*figures[number // 3 :], strict=True)
    print(f"\n{number} cycles; RSS in kB {memory[:: max(1, number // 20)]}, descriptors {min(files)} to {max(files)}, "
          f"threads {min(threads)} to {max(threads)}")  # fmt: skip
    # The first cycles fill caches; 400 cycles level off at some 7 MB above the first hundred.
    assert memory[-1] - memory[len(memory) // 2] < 4_000, memory
    assert max(files) - min(files) <= 12 and files[-1] - files[0] <= 6, files  # a call or a scrape may be under way
    assert max(threads) - min(threads) <= 12 and threads[-1] - threads[0] <= 6, threads


def check_month(month: Any, name: str) -> None:
    """The equation [A2], from what `status` shows."""
    assert month["state"] == "done", (name, month)
    assert month["money"], name
    for currency, sides in month["money"].items():
        for side in (0, 1):
            told = {state: Decimal(amounts[side]) for state, amounts in sides.items()}
            assert told["charges"] == told["posted"] + told["dropped"] + told["excluded"] + told["held"], currency
            assert told["posted"] == told["already_posted"] and told["held"] == 0, (name, currency, told)


def _first_of_next(month: str) -> datetime:
    first = Period.parse(month).next.first_day
    return datetime(first.year, first.month, first.day, tzinfo=UTC) + timedelta(hours=1)
