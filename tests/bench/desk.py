"""How quick the desk's pages are: 20,000 charges and 500 clients in the sandbox, pages by HTTP on loopback.

`python -m tests.bench.desk` prints the table; `--clients 40 --charges 1000` makes it small."""

from __future__ import annotations

import argparse
import gzip
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import structlog

sys.path.insert(0, str(Path(__file__).parents[1] / "desk"))

from office import MONTH, Office, office

from billingsync.core.desk import Role
from billingsync.run.plan import plan_again
from billingsync.sandbox.options import SandboxOptions
from billingsync.web.pages.ready import _row_html, client_rows
from billingsync.web.render import static_files

from .table import Row, as_text, at_most, machine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--charges", type=int, default=20_000)
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    options = SandboxOptions(seed=7, clients=asked.clients, charges=asked.charges)
    with tempfile.TemporaryDirectory() as folder, office(Path(folder), options) as desk:
        rows = measured(desk)
    print(f"{asked.charges:,} charges, {asked.clients} clients; {machine()}\n\n{as_text(rows)}")
    return 1 if any(row.ok is False for row in rows) else 0


def timed(act: Callable[[], object], times: int = 5) -> tuple[float, float]:
    """Milliseconds, the median of a few: on the clock, and of them the processor's."""
    found = []
    for _ in range(times):
        began, worked = time.perf_counter(), time.process_time()
        act()
        found.append(((time.perf_counter() - began) * 1000, (time.process_time() - worked) * 1000))
    return median(clock for clock, _ in found), median(worked for _, worked in found)


def measured(desk: Office) -> list[Row]:
    desk.plan()
    client = desk.browser(Role.ADMIN)
    rows: list[Row] = []

    def size_of(what: str, most: float, kilobytes: float) -> None:
        rows.append(at_most(what, round(kilobytes), most, " KB"))

    def add(what: str, most: float, found: tuple[float, float]) -> None:
        clock, worked = found
        rows.append(at_most(what, round(clock), most, " ms", how=f"CPU {worked:,.0f}" if worked else ""))

    def get(path: str, **headers: str) -> bytes:
        answer = client.get(path, headers=headers)
        assert answer.status_code == 200, (path, answer.status_code)
        return answer.content

    get(f"/ready/{MONTH}")  # templates are read once in a process
    client_rows.cache_clear()
    _row_html.cache_clear()
    add("Ready to invoice, first after a new plan", 200, timed(lambda: get(f"/ready/{MONTH}"), 1))
    add("Ready to invoice, warm", 60, timed(lambda: get(f"/ready/{MONTH}")))
    page = get(f"/ready/{MONTH}")
    size = len(gzip.compress(page, 5)) / 1024
    size_of("... its HTML, gzip", 45, size)
    files = [len(file.zipped) for name, file in static_files().items() if name.endswith((".css", ".js"))]
    size_of("... with CSS and scripts", 75, size + sum(files) / 1024)
    fragment = {"HX-Request": "true", "HX-Target": "div#list"}
    add("filter, server", 130, timed(lambda: get(f"/ready/{MONTH}?q=micro", **fragment)))
    head = desk.ledger.newest_plan(MONTH)
    assert head
    largest = max(desk.ledger.client_rows(head.digest), key=lambda row: row.lines)
    opened = f"/plans/{head.digest}/clients/{largest.nth}"
    add(f"opening a client of {largest.lines} lines", 150, timed(lambda: get(opened, **{"HX-Request": "true"})))
    for path in (
        f"/holds/{MONTH}",
        "/clients",
        "/products",
        "/exclusions",
        "/rules",
        "/activity",
        "/months",
        "/status",
    ):
        get(path)
        add(f"{path}, warm", 200, timed(lambda path=path: get(path)))
    body = desk.ledger.client_body(head.digest, largest.nth)
    assert body
    charge = body["lines"][0]["charges"][0]
    add("one charge's story", 1500, timed(lambda: get(f"/charges/{charge}"), 3))
    rules_dir = desk.settings.rules_dir
    add("Update plan, no vendor call", 1500, timed(lambda: plan_again(desk.ledger, rules_dir, head.digest), 3))
    add("import of billingsync.web.app, another process", 600, timed(_imported, 3))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows.append(Row(what="peak memory, sandbox and planning included", target="", measured=f"{peak:.0f} MB"))
    return rows


def _imported() -> None:
    subprocess.run([sys.executable, "-c", "import billingsync.web.app"], check=True)


if __name__ == "__main__":
    raise SystemExit(main())
