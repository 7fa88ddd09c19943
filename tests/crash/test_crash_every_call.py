"""Processes killed with SIGKILL at every HTTP call of a small month, and run again until done [N4].

The sandbox knows every call before it is handled and after it was answered, so it does the killing itself; the
production code has no hook for it. Whatever happened, HaloPSA's own tables end as those of an undisturbed run.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sandbox"))

import cli
from cli import Office

from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox
from billingsync.sandbox.wire import Answer

SMALL = SandboxOptions(trouble=False, clients=3, charges=18, history=0)
ITEMS = "[modifiers]\nfavorable_prorata = 'drop'\n"  # automatic items, and something dropped


class Zygote:
    def __init__(self) -> None:
        script = Path(__file__).with_name("zygote.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=cli.process_environment({}),
        )  # fmt: skip

    def start(self, office: Office, *words: str) -> int:
        asked = {"folder": str(office.folder), "environment": office.environment(), "words": words,
                 "out": str(office.folder / "out.txt")}  # fmt: skip
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return int(json.loads(self.process.stdout.readline())["pid"])

    def ended(self) -> int:
        assert self.process.stdout
        return int(json.loads(self.process.stdout.readline())["code"])

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class Killer:
    """Kills the running command at its n-th call: `before` it is handled, `after` it was carried out and before it is
    answered, or `soon` after the answer."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.world = sandbox._world
        self.true_answer = type(self.world).answer
        self.aim(0, "before")
        self.world.answer = self.answer  # type: ignore[method-assign]

    def aim(self, nth: int, when: str, delay_s: float = 0) -> None:
        self.nth, self.when, self.delay_s = nth, when, delay_s
        self.pid = 0
        self.seen = 0
        self.hit = False
        self.ready = threading.Event()
        self.ready.set()

    def run(self, zygote: Zygote, office: Office, *words: str) -> int:
        cli.lease_is_over(office.database_url)
        self.ready.clear()
        self.pid = zygote.start(office, *words)
        self.ready.set()
        return zygote.ended()

    def kill(self) -> None:
        pid, delay_s = self.pid, self.delay_s
        if delay_s:
            time.sleep(delay_s)
        if pid <= 0 or pid != self.pid:  # over already: another command runs, and 0 would be this very process group
            return
        try:
            os.kill(pid, signal.SIGKILL)
            self.hit = True
        except ProcessLookupError:
            pass

    def answer(self, service, request, call, **more):
        self.ready.wait(10)
        self.seen += 1
        mine = self.seen == self.nth
        if mine and self.when == "before":
            self.kill()
            return Answer(status=500)
        answer = self.true_answer(self.world, service, request, call, **more)
        if mine and self.when == "after":
            self.kill()
        if mine and self.when == "soon":
            threading.Thread(target=self.kill).start()
        return answer


@pytest.fixture(scope="module")
def zygote():
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SMALL) as running:
        yield running


@pytest.fixture(scope="module")
def killer(sandbox):
    return Killer(sandbox)


@pytest.fixture
def sqlite_office(sandbox, killer, sqlite_ledger_url, tmp_path):
    return ready(sandbox, killer, sqlite_ledger_url, tmp_path)


def ready(sandbox, killer, url, folder):
    sandbox.reset(SMALL)
    killer.aim(0, "before")
    office = Office(folder, sandbox, url, {"BILLINGSYNC_HALO__ABSENCE_S": "0.05"})
    office.rules(ITEMS)
    return office


def end_of(office):
    items = sorted(row["name"] for row in office.sandbox.halo.items.values())
    groups = sorted(row["name"] for row in office.sandbox.halo.groups.values())
    names = {row["id"]: row["name"] for row in office.sandbox.halo.items.values()}
    bills = [
        (client, order, tuple(sorted((*line[:4], names.get(line[4], "")) for line in lines)))
        for client, order, lines in cli.end_state(office.sandbox)
    ]
    return bills, items, groups


def until_done(office, zygote, killer, tries=6):
    """Runs again until nothing is left."""
    for _ in range(tries):
        killer.aim(0, "before")
        code = killer.run(zygote, office, "run", "--yes", "--json")
        if code == 0:
            return
    raise AssertionError(f"not done after {tries} runs: exit {code}\n{(office.folder / 'out.txt').read_text()}")


@pytest.fixture(scope="module")
def undisturbed(sandbox, killer, zygote, tmp_path_factory, sqlite_template):
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copy(sqlite_template, folder / "ledger.db")
    office = ready(sandbox, killer, f"sqlite:///{folder / 'ledger.db'}", folder)
    before = sandbox.state()
    assert killer.run(zygote, office, "run", "--yes", "--json") == 0, (folder / "out.txt").read_text()
    calls = killer.seen
    return end_of(office), calls, cli.foreign(before)


def finished_as(office, undisturbed, zygote, killer, *, thoroughly=True):
    until_done(office, zygote, killer)
    end, _, foreign = undisturbed
    assert end_of(office) == end
    marks = cli.marks(office.sandbox)
    assert len(marks) == len(set(marks))
    now = cli.foreign(office.sandbox.state())
    assert now == foreign
    if not thoroughly:
        return
    plan = office.plan()
    assert not plan["clients"]
    cli.balanced(plan)
    runs = office.run("runs", "--json").must(0).json["runs"]
    assert not [run for run in runs if run["state"] == "running"]


def kill_points(calls, whens=("before", "after")):
    return [(n, when) for n in range(1, calls + 1) for when in whens]


def campaign(office_of, points, undisturbed, zygote, killer, tmp_path):
    hits = 0
    for number, (nth, when, delay_s) in enumerate(points):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        office = office_of(folder)
        killer.aim(nth, when, delay_s)
        code = killer.run(zygote, office, "run", "--yes", "--json")
        hits += killer.hit
        try:
            assert code in (-signal.SIGKILL, 0)
            finished_as(office, undisturbed, zygote, killer, thoroughly=number % 8 == 0)
        except AssertionError as wrong:
            raise AssertionError(f"killed {when} call {nth} (+{delay_s * 1000:.1f} ms): {wrong}") from wrong
    return hits


def test_n4_killed_at_every_call_sqlite(sandbox, undisturbed, zygote, killer, tmp_path, sqlite_template, request):
    calls = undisturbed[1]
    points = [(n, when, 0) for n, when in kill_points(calls)]
    if not request.config.getoption("--long"):
        # Reading alone changes nothing: two of those, and every second point of what comes after, in turns
        points = [*points[5:25:12], *points[25::4], *points[26::4]]

    def office_of(folder):
        shutil.copy(sqlite_template, folder / "ledger.db")
        return ready(sandbox, killer, f"sqlite:///{folder / 'ledger.db'}", folder)

    assert campaign(office_of, points, undisturbed, zygote, killer, tmp_path) == len(points)


def postgres_offices(sandbox, killer, server):
    import itertools

    import psycopg

    from billingsync.store.upgrade import upgrade

    count = itertools.count(1)

    def office_of(folder):
        name = f"crash_{next(count)}_{os.getpid()}"
        with psycopg.connect(server.replace("+psycopg", "", 1), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = server.replace("/postgres?", f"/{name}?")
        upgrade(url)
        return ready(sandbox, killer, url, folder)

    return office_of


def test_n4_killed_at_a_sample_of_calls_postgresql(
    sandbox, undisturbed, zygote, killer, tmp_path, postgres_server, request
):
    points = [(n, when, 0) for n, when in kill_points(undisturbed[1])]
    if not request.config.getoption("--long"):
        points = [*points[29::9], points[-1]]
    office_of = postgres_offices(sandbox, killer, postgres_server)
    assert campaign(office_of, points, undisturbed, zygote, killer, tmp_path) == len(points)


def test_n4_killed_at_random_instants_sqlite(sandbox, undisturbed, zygote, killer, tmp_path, sqlite_template, request):
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    dice = random.Random(seed)
    count = 400 if request.config.getoption("--long") else 8
    points = [(dice.randrange(8, undisturbed[1] + 1), "soon", dice.uniform(0, 0.012)) for _ in range(count)]

    def office_of(folder):
        shutil.copy(sqlite_template, folder / "ledger.db")
        return ready(sandbox, killer, f"sqlite:///{folder / 'ledger.db'}", folder)

    campaign(office_of, points, undisturbed, zygote, killer, tmp_path)


def test_n4_killed_again_and_again_also_during_recovery(sqlite_office, undisturbed, zygote, killer):
    """Killed after every posting, and then in each recovery at its own calls."""
    office = sqlite_office
    calls = undisturbed[1]
    for nth, when in [(calls - 4, "after"), (12, "before"), (12, "after"), (13, "before"), (14, "after"), (15, "before"),
                      (16, "after")]:  # fmt: skip
        killer.aim(nth, when)
        killer.run(zygote, office, "run", "--yes", "--json")
    finished_as(office, undisturbed, zygote, killer)


@pytest.mark.long
def test_n4_every_ordered_pair_of_kills(sandbox, undisturbed, zygote, killer, tmp_path, sqlite_template):
    calls = undisturbed[1]
    for first in range(9, calls + 1):
        for second in range(9, calls + 1, 2):
            folder = tmp_path / f"{first}-{second}"
            folder.mkdir()
            shutil.copy(sqlite_template, folder / "ledger.db")
            office = ready(sandbox, killer, f"sqlite:///{folder / 'ledger.db'}", folder)
            for nth in (first, second):
                killer.aim(nth, "after")
                killer.run(zygote, office, "run", "--yes", "--json")
            finished_as(office, undisturbed, zygote, killer)


@pytest.mark.parametrize(
    ("kind", "many"),
    [
        ("sqlite", 4),
        ("postgres", 2),
        *(pytest.param(*one, marks=pytest.mark.long) for one in (("sqlite", 2), ("postgres", 4))),
    ],
)
def test_n4_fault_09_many_at_once_on_one_database(request, sandbox, undisturbed, zygote, killer, tmp_path, kind, many):
    """One does it, the others exit 5 saying who does, nothing is there twice."""
    office = ready(sandbox, killer, request.getfixturevalue(f"{kind}_ledger_url"), tmp_path)
    office.sandbox.faults.add("halo:GET:/Client:1:slow:seconds=1.5")  # the winner holds the lock while the others come
    running = [office.start("run", "--yes", "--json") for _ in range(many)]
    done = [(process.communicate(timeout=120), process.returncode) for process in running]
    codes = sorted(code for _, code in done)
    assert codes.count(0) >= 1 and set(codes) <= {0, 5}, done
    pids = [process.pid for process in running]
    for (out, err), code in done:
        if code == 5:
            error = json.loads(out)["error"]
            assert error["code"] == "BS-LOCKED"
            assert any(f"process {pid}" in error["message"] for pid in pids), (error, err)
    finished_as(office, undisturbed, zygote, killer)


def test_n4_a_new_database_is_set_up_by_one_of_many(sandbox, killer, undisturbed, zygote, tmp_path):
    """The very first command, twice at once: no half-made schema, no crash."""
    office = ready(sandbox, killer, f"sqlite:///{tmp_path / 'new.db'}", tmp_path)
    running = [office.start("run", "--yes", "--json") for _ in range(3)]
    done = [(process.communicate(timeout=120), process.returncode) for process in running]
    assert {code for _, code in done} <= {0, 5}, done
    finished_as(office, undisturbed, zygote, killer)


def test_the_harness_would_notice_a_double_bill(sandbox, undisturbed):
    """The comparison is not blind: the same invoice once more is another end state."""
    sandbox.reset(dataclasses.replace(SMALL))
    end, _, _ = undisturbed
    assert end[0] and [*end[0], end[0][0]] != end[0]
