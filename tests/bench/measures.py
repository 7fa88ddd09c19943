"""Each target of the bench, measured. Every function gives rows of the table."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .observed import Usage, observe
from .peers import run_peer
from .planning import ask
from .sandbox_process import LATENCY, LIMITS, MONTH, SandboxProcess, busiest
from .table import Row, at_most

CLIENTS = {2_000: 100, 20_000: 500, 200_000: 2_000}  # by charges of the month
PARALLEL = 4  # BILLINGSYNC_PAX8__PARALLEL
HALO_A_MINUTE = 60  # HaloPSA's own limit, spread over its five minutes
PAX8_A_MINUTE = 600
UNHURRIED = {
    "BILLINGSYNC_HALO__CALLS_PER_MINUTE": str(HALO_A_MINUTE),
    "BILLINGSYNC_PAX8__CALLS_PER_MINUTE": str(PAX8_A_MINUTE),
}


@contextmanager
def _office() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="billingsync-bench-") as name:
        folder = Path(name)
        (folder / "rules").mkdir()
        yield folder


def fetching(charges: int) -> list[Row]:
    """Pages side by side, beside the peer's one after the other; the better of two readings each."""
    latency = LATENCY["latency_ms"] / 1000
    with SandboxProcess(clients=CLIENTS[charges], charges=charges, **LATENCY) as sandbox:
        ours = []
        for _ in range(2):
            sandbox.forget_calls()
            ours.append(ask("fetch", sandbox.environment)["wall_s"])
            calls = len(sandbox.calls("pax8"))
        theirs = [run_peer("fetch", sandbox.environment)["wall_s"] for _ in range(2)]
    ideal = calls / PARALLEL * latency
    best, peer = min(ours), min(theirs)
    return [
        at_most(
            f"fetching {charges:,} charges: time / (calls / parallel x latency)",
            best / ideal,
            1.3,
            "x",
            how=f"{best:.2f} s for {calls} calls",
        ),
        Row(
            what=f"fetching {charges:,} charges: beside the package pax8",
            target="≥ 3 x less time",
            measured=f"{peer / best:.1f} x less ({peer:.1f} s)",
            ok=peer / best >= 3,
        ),
    ]


def first_and_second_run(charges: int) -> list[Row]:
    """Budgets off, with latency: calls, commits, CPU and memory of the process; then the same command again."""
    with SandboxProcess(clients=CLIENTS[charges], charges=charges, **LATENCY) as sandbox, _office() as folder:
        before = sandbox.invoices()
        first = observe(folder, sandbox.environment, "run", MONTH, "--yes")
        calls, writes, billed = len(sandbox.calls("halo")), _writes(sandbox), sandbox.invoices() - before
        sandbox.forget_calls()
        second = observe(folder, sandbox.environment, "run", MONTH, "--yes")
        calls_again, written = len(sandbox.calls("halo")), sandbox.invoices() - before - billed
    name = f"{charges:,} charges, {CLIENTS[charges]:,} clients"
    return [
        at_most(f"{name}: HaloPSA calls, first run", calls, 1.05 * billed + 30, says="1.05 x clients billed + 30"),
        at_most(f"{name}: HaloPSA calls, second run", calls_again, 30, how=f"{written} invoices written"),
        _commits(name, first, writes),
        at_most(
            f"{name}: CPU beside waiting",
            100 * first.cpu_s / first.wall_s,
            15,
            " %",
            how=f"{first.cpu_s:.1f} s of {first.wall_s:.0f} s",
        ),
        _memory(name, first.peak_mb, charges, second.peak_mb),
    ]


def _writes(sandbox: SandboxProcess) -> int:
    """Postings, and items and their group that had to be created."""
    return sum(call.method == "POST" and call.path != "/auth/token" for call in sandbox.calls("halo"))


def _commits(name: str, run: Usage, writes: int) -> Row:
    beside = run.commits - 2 * writes
    return Row(
        what=f"{name}: commits of the ledger",
        target="2 a write to HaloPSA, and ≤ 20",
        measured=f"2 x {writes} + {beside}",
        ok=beside <= 20,
    )


def _memory(name: str, first: float, charges: int, second: float) -> Row:
    most = 120 + 1.2 * charges / 1000
    how = f"{second:.0f} MB in a second run"
    return at_most(f"{name}: peak memory", max(first, second), most, " MB", says="120 MB + 1.2 KB a charge", how=how)


def within_budget(charges: int) -> list[Row]:
    """HaloPSA and Pax8 with the limits that they document, our budgets on: in real time."""
    with SandboxProcess(clients=CLIENTS[charges], charges=charges, **LATENCY, **LIMITS) as sandbox, _office() as folder:
        before = sandbox.invoices()
        run = observe(folder, {**sandbox.environment, **UNHURRIED}, "run", MONTH, "--yes")
        calls, pax8 = sandbox.calls("halo"), sandbox.calls("pax8")
        billed = sandbox.invoices() - before
    name = f"{CLIENTS[charges]:,} clients within {HALO_A_MINUTE} calls a minute"
    refused = sum(call.status == 429 for call in (*calls, *pax8))
    windows = busiest(calls, 60), busiest(calls, 300), busiest(pax8, 60)
    return [
        at_most(
            f"{name}: time of the first run",
            run.wall_s,
            1.05 * len(calls) / HALO_A_MINUTE * 60 + 30,
            " s",
            says="1.05 x calls / budget + 30 s",
            how=f"{len(calls)} calls, {billed} invoices",
        ),
        Row(
            what=f"{name}: the fullest window",
            target=f"HaloPSA ≤ {HALO_A_MINUTE} in 60 s, ≤ 300 in 5 min; Pax8 ≤ {PAX8_A_MINUTE} in 60 s; none refused",
            measured=f"{windows[0]}, {windows[1]}; {windows[2]}; {refused} refused",
            ok=windows[0] <= HALO_A_MINUTE and windows[1] <= 300 and windows[2] <= PAX8_A_MINUTE and not refused,
        ),
    ]


def peer_is_cut_off(charges: int = 20_000) -> list[Row]:
    """The peer's script against the documented 300 calls in five minutes."""
    with SandboxProcess(clients=CLIENTS[charges], charges=charges, **LATENCY, **LIMITS) as sandbox:
        found = run_peer("post", sandbox.environment)
        refused = sum(call.status == 429 for call in sandbox.calls("halo"))
    ended = f"cut off by {refused} x 429: {found['ended']:.60}" if found["ended"] else "not cut off"
    return [
        Row(
            what=f"{CLIENTS[charges]:,} clients: the package HaloPSA, one POST a client",
            target="for comparison",
            measured=f"{found['posted']} of {found['clients']} posted, then {ended}",
        )
    ]


def planning(charges: int) -> list[Row]:
    with SandboxProcess(clients=CLIENTS[charges], charges=charges) as sandbox:
        found = ask("plan", sandbox.environment)
    each = found["plan_s"] / found["charges"] * 1e6
    return [
        at_most(
            f"planning {charges:,} charges: CPU / reading their JSON",
            found["ratio"],
            4,
            "x",
            how=f"{each:.0f} µs a charge",
        )
    ]


def memory(charges: int) -> list[Row]:
    """Without latency, for months so large that waiting for it would take an hour."""
    with SandboxProcess(clients=CLIENTS[charges], charges=charges) as sandbox, _office() as folder:
        before = sandbox.invoices()
        run = observe(folder, sandbox.environment, "run", MONTH, "--yes")
        calls, writes, billed = len(sandbox.calls("halo")), _writes(sandbox), sandbox.invoices() - before
        again = observe(folder, sandbox.environment, "run", MONTH, "--yes")
    name = f"{charges:,} charges, {CLIENTS[charges]:,} clients"
    return [
        at_most(f"{name}: HaloPSA calls, first run", calls, 1.05 * billed + 30, says="1.05 x clients billed + 30"),
        _commits(name, run, writes),
        _memory(name, run.peak_mb, charges, again.peak_mb),
    ]


def starting() -> list[Row]:
    """`billingsync --help` beside importing what any such program imports; by turns, after a first time each."""
    help_, imports = (
        [sys.executable, "-m", "billingsync", "--help"],
        [sys.executable, "-c", "import typer, rich"],
    )
    _seconds(help_), _seconds(imports)
    both = [(_seconds(help_), _seconds(imports)) for _ in range(9)]
    ours, theirs = (statistics.median(each) for each in zip(*both, strict=True))
    return [
        at_most(
            "billingsync --help / python -c 'import typer, rich'",
            ours / theirs,
            2,
            "x",
            how=f"{ours * 1000:.0f} ms of CPU",
        )
    ]


def _seconds(command: list[str]) -> float:
    """CPU of a process, as the kernel counted it: how long it took depends on what else runs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
