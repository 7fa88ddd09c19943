"""Planning and fetching measured from inside: `python -m tests.bench.planning fetch|plan|subscriptions`, with the sandbox's settings
in the environment. Prints one JSON line."""

from __future__ import annotations

import gc
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

MONTH = "2026-11"


def ask(job: str, environment: Mapping[str, str], **more: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.planning", job],
        env={**os.environ, **environment, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"measuring {job} failed:\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def _connected() -> Iterator[Any]:
    import structlog

    from billingsync.connect import connections
    from billingsync.redaction import Redactor
    from billingsync.settings import load_settings

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "BILLINGSYNC_DATABASE_URL": f"sqlite:///{folder}/ledger.db"}
        settings = load_settings(environment, Path(folder)).settings
        with connections(settings, Redactor(settings.secrets())) as opened:
            yield opened


def fetching() -> dict[str, Any]:
    from billingsync.core.period import Period

    with _connected() as connected:
        began, cpu = time.monotonic(), time.process_time()
        fetched = connected.pax8.fetch(Period.parse(MONTH))
        return {
            "charges": sum(len(source.charges) for source in fetched.sources),
            "wall_s": time.monotonic() - began,
            "cpu_s": time.process_time() - cpu,
        }


def subscriptions() -> dict[str, Any]:
    """What is sold and to whom, as a snapshot reads it."""
    with _connected() as connected:
        began, cpu = time.monotonic(), time.process_time()
        lists = connected.pax8.lists()
        assert not any(one.why for one in lists.values()), lists
        return {
            "subscriptions": len(lists["subscriptions"].rows),
            "wall_s": time.monotonic() - began,
            "cpu_s": time.process_time() - cpu,
        }


def planning() -> dict[str, Any]:
    """Seconds of CPU for a plan of RunInputs in memory, and how many times what reading their JSON takes."""
    from billingsync.core.bill.plan_run import plan_run
    from billingsync.core.inputs import RunInputs
    from billingsync.core.period import Period
    from billingsync.core.rules import Rulebook

    with _connected() as connected:
        fetched = connected.pax8.fetch(Period.parse(MONTH))
        inputs = RunInputs(
            partner="default",
            period=Period.parse(MONTH),
            sources=fetched.sources,
            companies=connected.pax8.companies(),
            clients=connected.psa.clients().rows,
            items=connected.psa.items(),
            rulebook=Rulebook(),
        )
    pages = [page.body.decode() for page in fetched.documents if page.kind == "items"]
    del fetched

    def load() -> None:
        for page in pages:
            json.loads(page, parse_float=Decimal)

    rounds = 9 if len(pages) < 500 else 5
    # Taken by turns: what slows the machine down for a while slows both down.
    both = [(_cpu(load), _cpu(lambda: plan_run(inputs))) for _ in range(rounds)]
    return {
        "charges": sum(len(source.charges) for source in inputs.sources),
        "ratio": statistics.median(plan / load for load, plan in both),
        "plan_s": min(each for _, each in both),
    }


def _cpu(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    print(json.dumps({"fetch": fetching, "plan": planning, "subscriptions": subscriptions}[sys.argv[1]]()))
