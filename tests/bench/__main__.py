"""`python -m tests.bench [--quick] [--size 2000|20000|200000|all] [--budget-clients 100|500] [--markdown FILE]`

Everything against the sandbox in a process of its own, over HTTP on loopback. Exit code 1 where a target is missed."""

from __future__ import annotations

import argparse
import compileall
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import billingsync

from . import measures
from .sandbox_process import LATENCY
from .table import Row, as_markdown, as_text, machine

SIZES = tuple(measures.CLIENTS)


def _jobs(sizes: tuple[int, ...], *, quick: bool, budget_charges: int) -> list[Callable[[], list[Row]]]:
    """What is measured, in the order of the table. Quick leaves out what waits for minutes."""
    jobs: list[Callable[[], list[Row]]] = [measures.starting]
    small = [size for size in sizes if size <= 20_000]
    jobs += [partial(measures.fetching, size) for size in small]
    jobs += [partial(measures.subscriptions, size) for size in small]
    jobs += [partial(measures.planning, size) for size in sizes]
    jobs += [measures.client_files]
    jobs += [partial(measures.first_and_second_run, size, latency=not quick) for size in small]
    jobs += [partial(measures.first_and_second_run, size, latency=False) for size in sizes if size > 20_000]
    jobs += [partial(measures.recurring, size) for size in small]
    if not quick:
        jobs += [partial(measures.within_budget, budget_charges), measures.peer_is_cut_off]
    return jobs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out what waits for minutes")
    parser.add_argument("--size", default="20000", choices=[*map(str, SIZES), "all"], help="charges, up to this many")
    parser.add_argument("--budget-clients", default="100", choices=["100", "500"], help="500 take ten minutes")
    parser.add_argument("--markdown", type=Path, help="also write the table for the README here")
    asked = parser.parse_args()
    compileall.compile_dir(Path(billingsync.__file__).parent, quiet=1)  # as an installed package is
    sizes = SIZES if asked.size == "all" else tuple(size for size in SIZES if size <= int(asked.size))
    budget_charges = next(size for size, clients in measures.CLIENTS.items() if clients == int(asked.budget_clients))
    rows: list[Row] = []
    print(f"{machine()}; Pax8 {LATENCY['latency_ms']} ms, HaloPSA {LATENCY['halo_latency_ms']} ms")
    for job in _jobs(sizes, quick=asked.quick, budget_charges=budget_charges):
        found = job()
        print(as_text(found), flush=True)
        rows += found
    missed = [row for row in rows if row.ok is False]
    print(f"\n{as_text(rows)}\n\n{len(missed)} of {sum(row.ok is not None for row in rows)} targets missed")
    if asked.markdown:
        asked.markdown.write_text(f"{as_markdown(rows)}\n", encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
