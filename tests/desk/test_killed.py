"""kill -9 while an order is carried out: the next process goes on, and every charge is invoiced exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from office import MONTH, QUICK, Office, office

from billingsync.core.desk import OrderKind, OrderState
from billingsync.sandbox.options import SandboxOptions

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.xdist_group("browser")]
SETTLED = ("posted", "adopted")


def started(desk: Office, command: str) -> subprocess.Popen[bytes]:
    """A process of its own that carries out orders, over the same ledger and sandbox."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("BILLINGSYNC_")}
    env |= {**desk.sandbox.environment(), **QUICK, "BILLINGSYNC_DATABASE_URL": desk.settings.database_url}
    env |= {"BILLINGSYNC_RULES_DIR": str(desk.settings.rules_dir), "BILLINGSYNC_HEALTH__PORT": "0"}
    words = ["desk", "--port", "0"] if command == "desk" else [command]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-m", "billingsync", *words], env=env, cwd=desk.folder, stdout=quiet, stderr=quiet
    )


def settled(desk: Office) -> int:
    return sum(1 for row in desk.ledger.heads(period=MONTH) if row.state in SETTLED)


def wait_until(what: str, done: object, process: subprocess.Popen[bytes]) -> None:
    assert callable(done)
    ends = time.monotonic() + 60
    while not done():
        assert process.poll() is None, f"the process ended while waiting: {what}"
        assert time.monotonic() < ends, what
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("command", "after"),
    [("desk", None), ("desk", 0), ("desk", 1), ("worker", None), ("worker", 0), ("worker", 1)],
)
def test_who_is_killed_leaves_the_order_to_the_next_and_nothing_is_billed_twice(
    tmp_path: Path, command: str, after: int | None
) -> None:
    """Whether a desk or a worker carries it out. `after`: killed once so many invoices were confirmed; 0 as soon as one is being written, None as soon as the
    order was begun."""
    with office(tmp_path, SandboxOptions(seed=7, clients=6, charges=60, halo_latency_ms=60)) as desk:
        desk.plan()
        head = desk.ledger.newest_plan(MONTH)
        assert head
        arguments = {"period": MONTH}
        desk.ledger.file_order(
            OrderKind.POST, arguments=arguments, digest=head.digest, who="the test", now=desk.clock()
        )

        def begun() -> bool:
            return desk.ledger.orders()[0].state == OrderState.BEGUN

        def far_enough() -> bool:
            heads = desk.ledger.heads(period=MONTH)
            return begun() if after is None else bool(heads) if after == 0 else settled(desk) >= after

        process = started(desk, command)
        try:
            wait_until("the order", begun, process)
            wait_until("the postings", far_enough, process)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        written = settled(desk)
        desk.clock.move(seconds=61)  # nobody lives any more
        assert desk.carry() == 1
        order = desk.ledger.orders()[0]
        assert order.state == OrderState.DONE, order.outcome
        rows = [row for row in desk.ledger.heads(period=MONTH) if row.state in SETTLED]
        assert len(rows) >= max(written, 1)
        assert sum((row.amount for row in rows), start=rows[0].amount * 0) == desk.written()
        marks = Counter(
            str(line.get("item_longdescription", ""))
            for raw in desk.sandbox.halo.invoices.values()
            for line in raw["lines"]
        )
        mine = {text: count for text, count in marks.items() if "[bs:" in text}
        assert mine and set(mine.values()) == {1}  # each of our lines stands in HaloPSA once
