"""`python -m tests.bench.months [--months 36] [--charges 2000] [--clients 100]`

What a plan costs after years: CPU seconds of one month's plan with no month before it, and with all the others in the
ledger. The month is run once against the sandbox; what the ledger then holds of it stands in for each earlier month, under
ids and days of its own. Exit code 1 where the last plan takes more than 1.3 times the first."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .sandbox_process import MONTH, SandboxProcess

AT_MOST = 1.3
# Of each table that grows with every month: the columns that are of one month alone.
TABLES = {
    "run": ("id",),
    "posting": ("key", "base_key", "run"),
    "claim": ("key", "charge"),
    "settled": ("charge", "run"),
    "said_charge": ("charge", "invoice_id", "twin", "reissue", "name_now"),
    "company_seen": (),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.months", description=__doc__)
    parser.add_argument("--months", type=int, default=36)
    parser.add_argument("--charges", type=int, default=2_000)
    parser.add_argument("--clients", type=int, default=100)
    asked = parser.parse_args()
    with (
        SandboxProcess(clients=asked.clients, charges=asked.charges) as sandbox,
        tempfile.TemporaryDirectory() as folder,
    ):
        environment = {**os.environ, **sandbox.environment, "BILLINGSYNC_HALO__CALLS_PER_MINUTE": "100000"}
        environment |= {"BILLINGSYNC_PAX8__CALLS_PER_MINUTE": "100000", "BILLINGSYNC_RULES_DIR": f"{folder}/rules"}
        (Path(folder) / "rules").mkdir()
        (Path(folder) / "rules/defaults.toml").write_text('[products]\nlifecycle = "off"\n', encoding="utf-8")
        first, last = (Path(folder) / f"{name}.db" for name in ("first", "last"))
        posted = Path(folder) / "posted.db"
        for ledger in (first, last, posted):
            _billingsync(environment, ledger, "db", "upgrade")
        _billingsync(environment, posted, "run", MONTH, "--yes")
        _earlier_months(posted, last, asked.months - 1)
        costs = [
            _cost_of_a_plan({**environment, "BILLINGSYNC_DATABASE_URL": f"sqlite:///{one}"}) for one in (first, last)
        ]
    ratio = costs[1] / costs[0]
    print(f"{asked.charges} charges a month: plan of the first {costs[0]:.2f} s of CPU, after {asked.months - 1} months "
          f"{costs[1]:.2f} s, {ratio:.2f} x (at most {AT_MOST} x)")  # fmt: skip
    return 1 if ratio > AT_MOST else 0


def _billingsync(environment: dict[str, str], ledger: Path, *words: str) -> None:
    environment = {**environment, "BILLINGSYNC_DATABASE_URL": f"sqlite:///{ledger}"}
    done = subprocess.run(
        [sys.executable, "-m", "billingsync", *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 3):
        raise RuntimeError(f"{words} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _earlier_months(posted: Path, ledger: Path, months: int) -> None:
    """Writes what one posted month left into another ledger, once for each month before it."""
    from sqlalchemy import create_engine, insert, select

    from billingsync.core.period import Period
    from billingsync.store import schema

    source, target = (create_engine(f"sqlite:///{one}") for one in (posted, ledger))
    tables = {name: schema.metadata.tables[name] for name in TABLES}
    with source.connect() as connection:
        there = {
            name: [dict(row._mapping) for row in connection.execute(select(table))] for name, table in tables.items()
        }
    period = Period.parse(MONTH)
    for _ in range(months):
        period = period.previous
        with target.begin() as connection:
            for name, rows in there.items():
                mine = [_of_month(row, TABLES[name], str(period)) for row in rows]
                if mine:
                    connection.execute(insert(tables[name]), mine)
    source.dispose()
    target.dispose()


def _of_month(row: dict[str, Any], own: tuple[str, ...], period: str) -> dict[str, Any]:
    changed = {name: f"{period}{row[name]}" for name in own if row[name]}
    return row | changed | ({"period": period} if "period" in row else {})


def _cost_of_a_plan(environment: dict[str, str]) -> float:
    """CPU seconds of the quickest of three plans of the month, what Pax8 and HaloPSA say being there already."""
    import structlog

    from billingsync.connect import connections
    from billingsync.core.period import Period
    from billingsync.redaction import Redactor
    from billingsync.rulebook import load_rulebook
    from billingsync.run.fetch import fetch
    from billingsync.run.plan import make_plan
    from billingsync.settings import load_settings

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    settings = load_settings(environment, Path(environment["BILLINGSYNC_RULES_DIR"]).parent).settings
    rulebook, period, took = load_rulebook(settings.rules_dir), Period.parse(MONTH), []
    with connections(settings, Redactor(settings.secrets())) as connected:
        upstream = fetch(connected, period, rulebook, lambda _: None)
        for _ in range(3):
            began = time.process_time()
            planned = make_plan(connected, period, say=lambda _: None, rulebook=rulebook, upstream=upstream)
            took.append(time.process_time() - began)
            assert planned.plan.postings, "the month is still to be billed"
    return min(took)


if __name__ == "__main__":
    sys.exit(main())
