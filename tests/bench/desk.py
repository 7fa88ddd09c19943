"""How quick the desk's pages are: 20,000 charges and 500 clients in the sandbox, pages by HTTP on loopback.

Judged by the processor's time, as others may load the machine; only where threads wait for each other by the clock.

`python -m tests.bench.desk` prints the table; `--clients 40 --charges 1000` makes it small."""

from __future__ import annotations

import argparse
import gc
import gzip
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

import structlog

sys.path.insert(0, str(Path(__file__).parents[1] / "desk"))

from office import MONTH, Office, office
from starlette.testclient import TestClient

from billingsync.core.desk import Role
from billingsync.run.plan import plan_again
from billingsync.sandbox.options import SandboxOptions
from billingsync.web.pages.ready import _row_html, client_rows
from billingsync.web.render import static_files
from billingsync.web.server import TURN_S

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


def timed(act: Callable[[], object], times: int = 5, who: int = resource.RUSAGE_SELF) -> tuple[float, float]:
    """Milliseconds, the median of a few: on the clock, and of them the processor's; with `RUSAGE_CHILDREN` that of the
    processes that `act` waits for."""
    found = []
    for _ in range(times):
        began, worked = time.perf_counter(), _worked(who)
        act()
        found.append(((time.perf_counter() - began) * 1000, (_worked(who) - worked) * 1000))
    return median(clock for clock, _ in found), median(worked for _, worked in found)


def _worked(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def measured(desk: Office) -> list[Row]:
    desk.plan()
    gc.collect()
    gc.freeze()  # the sandbox's world is not there in a real desk: nobody looks for garbage in it
    client = desk.browser(Role.ADMIN)
    rows: list[Row] = []

    def size_of(what: str, most: float, kilobytes: float) -> None:
        rows.append(at_most(what, round(kilobytes), most, " KB"))

    def add(what: str, most: float, found: tuple[float, float]) -> None:
        clock, worked = found
        how = f"{clock:,.0f} on the clock" if worked else "on the clock"
        rows.append(at_most(what, round(worked or clock), most, " ms", how=how))

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
    add("Update plan, no vendor call", 1500, timed(lambda: _set_one_aside(desk, client), 3))
    add("any page while a plan is made, p95", 200, (_slowest_beside_a_plan(desk, get), 0))
    importing = timed(lambda: _child("import billingsync.web.app"), 3, resource.RUSAGE_CHILDREN)
    beside = timed(lambda: _child("import billingsync.service.worker"), 3, resource.RUSAGE_CHILDREN)
    add("import of billingsync.web.app, beside the worker's", 600, (importing[0] - beside[0], importing[1] - beside[1]))
    rows.append(Row(what="... in a process of its own", target="", measured=f"CPU {importing[1]:.0f} ms"))
    rows.append(at_most("memory of the desk beside the worker", _memory_beside_the_worker(desk), 60, " MB"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows.append(Row(what="peak memory, sandbox and planning included", target="", measured=f"{peak:.0f} MB"))
    return rows


def _set_one_aside(desk: Office, client: TestClient) -> None:
    """As somebody who unticks the next line: every time another plan, which is kept."""
    head = desk.ledger.newest_plan(MONTH)
    assert head
    row = next(row for row in desk.ledger.client_rows(head.digest) if row.added + row.updated > 1)
    lines = desk.ledger.client_body(head.digest, row.nth)
    assert lines
    nth = next(nth for nth, line in enumerate(lines["lines"]) if line["action"] != "remove" and line["charges"])
    sent = client.post(f"/ready/{MONTH}/set-aside", data={"digest": head.digest, "aside": f"{row.nth}:{nth}"})
    assert sent.status_code == 303, sent.text[-500:]


def _slowest_beside_a_plan(desk: Office, get: Callable[[str], bytes]) -> float:
    """Milliseconds that 95 of 100 pages stay below while another thread of the process plans."""
    head = desk.ledger.newest_plan(MONTH)
    assert head
    planning = threading.Thread(target=plan_again, args=(desk.ledger, desk.settings.rules_dir, head.digest))
    turn_s = sys.getswitchinterval()
    sys.setswitchinterval(TURN_S)  # as the desk's server does
    planning.start()
    took: list[float] = []
    while planning.is_alive() or len(took) < 2:
        for path in (f"/ready/{MONTH}", f"/holds/{MONTH}", "/clients", "/status"):
            took.append(timed(lambda path=path: get(path), 1)[0])
    planning.join()
    sys.setswitchinterval(turn_s)
    return quantiles(took, n=20)[-1]


_MEMORY = """
import pathlib, sys
import billingsync.service.worker
from billingsync.store.ledger import open_ledger
from billingsync.settings import LiveSettings, load_settings
from billingsync.redaction import Redactor

def megabytes():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024

live = LiveSettings(load_settings().settings, Redactor())
with open_ledger(live.current().database_url, partner="default") as ledger:
    ledger.planned_periods()
    before = megabytes()
    from starlette.testclient import TestClient
    from billingsync.web.app import make_app, make_desk
    from billingsync.web.site import site_of
    app = make_app(make_desk(live, ledger, site_of(live.current().desk, 8793)))
    client = TestClient(app, base_url="http://127.0.0.1:8793", headers={"Sec-Fetch-Site": "same-origin"})
    client.cookies.set("desk", sys.argv[1])
    for path in sys.argv[2:]:
        assert client.get(path).status_code == 200, path
    print(megabytes() - before)
"""


def _memory_beside_the_worker(desk: Office) -> float:
    """Megabytes that a process which has what a worker needs grows by when it serves pages."""
    env = os.environ | {
        "BILLINGSYNC_DATABASE_URL": desk.settings.database_url,
        "BILLINGSYNC_RULES_DIR": str(desk.settings.rules_dir),
    }
    paths = (f"/ready/{MONTH}", f"/holds/{MONTH}", "/clients", "/activity", "/months", "/status")
    asked = [sys.executable, "-c", _MEMORY, desk.session(Role.ADMIN), *paths]
    return float(subprocess.run(asked, check=True, capture_output=True, text=True, env=env).stdout)


def _child(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    raise SystemExit(main())
