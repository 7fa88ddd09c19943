"""Each target of the bench, measured. Every function gives rows of the table."""

from __future__ import annotations

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from . import many_files
from .observed import Usage, observe
from .peers import run_peer
from .planning import ask
from .sandbox_process import LATENCY, LIMITS, MONTH, SandboxProcess, busiest
from .table import Row, at_most

CLIENTS = {2_000: 100, 20_000: 500, 200_000: 2_000}  # by charges of the month
LISTS = 3  # Pax8 invoices of a month, whose first pages come after the token and the list of invoices
SOLD = 3  # lists of a snapshot: companies, subscriptions, products
PAGE = 100  # rows of HaloPSA's lists
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
    critical = latency * (2 + math.ceil(LISTS / PARALLEL) + math.ceil((calls - 2 - LISTS) / PARALLEL))
    best, peer = min(ours), min(theirs)
    return [
        at_most(
            f"fetching {charges:,} charges: time / critical path",
            best / critical,
            1.15,
            "x",
            how=f"{best:.2f} s for {calls} calls, of which {critical:.2f} s must follow one another",
        ),
        Row(
            what=f"fetching {charges:,} charges: beside the package pax8",
            target="for comparison",
            measured=f"{peer / best:.1f} x less time ({peer:.1f} s)",
        ),
    ]


def subscriptions(charges: int) -> list[Row]:
    """What a snapshot reads from Pax8: companies, subscriptions and products, their pages side by side; the better of
    two readings. There are about as many subscriptions as charges."""
    latency = LATENCY["latency_ms"] / 1000
    with SandboxProcess(clients=CLIENTS[charges], charges=charges, **LATENCY) as sandbox:
        found = []
        for _ in range(2):
            sandbox.forget_calls()
            found.append(ask("subscriptions", sandbox.environment))
            calls = len(sandbox.calls("pax8"))
    # The token and the first page of each list come first; the other pages are then asked for side by side.
    rounds = 2 + math.ceil((calls - 1 - SOLD) / PARALLEL)
    best = min(found, key=lambda one: float(one["wall_s"]))
    return [
        at_most(
            f"reading {best['subscriptions']:,} subscriptions: time / (rounds x latency)",
            best["wall_s"] / (rounds * latency),
            1.3,
            "x",
            how=f"{best['wall_s']:.2f} s for {calls} calls in {rounds} rounds, {best['cpu_s']:.2f} s of CPU",
        )
    ]


def first_and_second_run(charges: int, *, latency: bool = True) -> list[Row]:
    """Budgets off: calls, commits, CPU and memory of the process; then the same command again. Without latency for
    months so large that waiting for it would take an hour."""
    slow = LATENCY if latency else {}
    with SandboxProcess(clients=CLIENTS[charges], charges=charges, **slow) as sandbox, _office() as folder:
        before = sandbox.invoices()
        first = observe(folder, sandbox.environment, "run", MONTH, "--yes")
        calls, writes, billed = len(sandbox.calls("halo")), _writes(sandbox), sandbox.invoices() - before
        rows = sandbox.rows()
        sandbox.forget_calls()
        second = observe(folder, sandbox.environment, "run", MONTH, "--yes")
        again, written = len(sandbox.calls("halo")), sandbox.invoices() - before - billed
        local = _local_commands(folder, sandbox.environment) if charges <= 20_000 else []
    name = f"{charges:,} charges, {CLIENTS[charges]:,} clients"
    most_cpu = {2_000: 5, 20_000: 5, 200_000: 60}[charges]
    return [
        at_most(
            f"{name}: HaloPSA calls, first run",
            calls,
            1.05 * billed + rows / PAGE + 40,
            says="1.05 x clients billed + rows / page + 40",
        ),
        at_most(
            f"{name}: HaloPSA calls, second run",
            again,
            rows / PAGE + 30,
            says="rows / page + 30",
            how=f"{written} invoices written",
        ),
        _commits(name, first, writes),
        at_most(f"{name}: CPU of the first run", first.cpu_s, most_cpu, " s", how=f"{first.wall_s:.0f} s in all"),
        _memory(name, first.peak_mb, charges, second.peak_mb),
        *local,
    ]


def _local_commands(folder: Path, environment: Mapping[str, str]) -> list[Row]:
    """What asks the ledger alone, after a month was posted: CPU of the whole process, the best of five."""
    digest = json.loads(subprocess_output(folder, environment, "runs", "--json"))["runs"][0]["digest"]
    commands = (("plan", "--digest", digest), ("holds",), ("runs",), ("status",))
    subprocess_output(folder, environment, "holds")  # makes the plan anew once, as the month was posted since
    found = []
    for words in commands:
        best = min(_cpu_s(folder, environment, *words) for _ in range(5))
        found.append(at_most(f"... then `billingsync {' '.join(words[:2])[:15].strip()}`: CPU", best, 0.6, " s"))
    return found


def subprocess_output(folder: Path, environment: Mapping[str, str], *words: str) -> str:
    """What `billingsync WORDS` prints, in the folder of `observe`."""
    settings = {**environment, "BILLINGSYNC_DATABASE_URL": f"sqlite:///{folder / 'ledger.db'}"}
    path = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "billingsync", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1, 3):  # `status` ends with 1 where no worker ever ran well
        raise RuntimeError(f"billingsync {' '.join(words)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def _cpu_s(folder: Path, environment: Mapping[str, str], *words: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess_output(folder, environment, *words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def recurring(charges: int) -> list[Row]:
    """Every client that has a recurring invoice is billed on it, the others on new ones. Without latency."""
    with SandboxProcess(clients=CLIENTS[charges], charges=charges) as sandbox, _office() as folder:
        templates = sandbox.templates()
        (folder / "rules" / "clients").mkdir()
        for client_id, (_, invoice) in templates.items():
            text = f'[client]\nhalo_client = {client_id}\n[invoice]\nbehavior = "recurring"\n'
            path = folder / "rules" / "clients" / f"c{client_id}.toml"
            path.write_text(f"{text}recurring_invoice = {invoice}\n", encoding="utf-8")
        before = sandbox.invoices()
        observe(folder, sandbox.environment, "plan", MONTH)
        planning = len(sandbox.calls("halo"))
        sandbox.forget_calls()
        observe(folder, sandbox.environment, "run", MONTH, "--yes")
        calls, rows, new = len(sandbox.calls("halo")), sandbox.rows(), sandbox.invoices() - before
    name = f"{charges:,} charges, {len(templates)} of {CLIENTS[charges]:,} clients recurring"
    return [
        at_most(f"{name}: HaloPSA calls, plan", planning, rows / PAGE + 15, says="rows / page + 15"),
        at_most(
            f"{name}: HaloPSA calls, first run",
            calls,
            2.05 * len(templates) + 1.05 * new + rows / PAGE + 40,
            says="2.05 x recurring + 1.05 x new + rows / page + 40",
        ),
    ]


def client_files() -> list[Row]:
    """Planning with a rules file, a recurring invoice and remembered lines for each of 500 clients, beside none."""
    none, all_ = many_files.planning(20_000, 500, 0)["plan_s"], many_files.planning(20_000, 500, 500)["plan_s"]
    how = f"{all_:.2f} s beside {none:.2f} s"
    return [at_most("planning 20,000 charges with 500 client files / with none: CPU", all_ / none, 1.2, "x", how=how)]


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
    most = 1500 if charges > 20_000 else 300
    how = f"{second:.0f} MB in a second run"
    return at_most(f"{name}: peak memory", max(first, second), most, " MB", how=how)


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
