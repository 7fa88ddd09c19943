"""The ledger under several processes: one run at a time, one winner a charge, and death at any moment [N4]."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from store_sample import NOW, PERIOD, running

from billingsync.errors import Locked
from billingsync.store import files, upgrade
from billingsync.store.journal import first_altered
from billingsync.store.ledger import Ledger, open_ledger

HERE = Path(__file__).parent

HEAD = """
import sys
from store_sample import *
from billingsync.store.claims import AlreadyClaimed
from billingsync.store.ledger import open_ledger
say = lambda *words: print(*words, flush=True)
ledger = open_ledger(sys.argv[1], partner="default", lease_s=2.0)
"""

HOLD = (
    HEAD
    + """
with ledger.run_lock("run of the other process") as fence:
    say("held", fence.epoch)
    sys.stdin.readline()
ledger.close()
"""
)

# Both have the same fence, as if the lock had failed: the database alone decides.
RACE = (
    HEAD
    + """
fence, run = Fence(epoch=1, token=sys.argv[2], holder=""), sys.argv[3]
say("ready")
sys.stdin.readline()
for number in range(20):
    try:
        intend(ledger, fence, run, simple(f"{sys.argv[4]}-{number}", f"i:{number}"))
        say("won", number)
    except AlreadyClaimed as refused:
        assert refused.charge == f"i:{number}", refused
        say("lost", number)
ledger.close()
"""
)

WRITE = (
    HEAD
    + """
start = int(sys.argv[2])
with running(ledger) as (fence, run):
    say("run", run)
    for number in range(start, start + 100_000):
        wanted = simple(f"k{number}", f"i:{number}:a", f"i:{number}:b")
        intend(ledger, fence, run, wanted)
        say("intent", number)
        ledger.record_done(fence, f"k{number}", receipt(wanted), NOW)
        say("done", number)
"""
)


@contextmanager
def process(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as child:
        try:
            yield child
        finally:
            child.kill()


def line(child: subprocess.Popen[str]) -> list[str]:
    assert child.stdout is not None
    return child.stdout.readline().split()


def tell(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def take(ledger: Ledger) -> None:
    """Takes the lock of a process that was killed: at once on SQLite, at the end of its lease of 2 s on PostgreSQL."""
    given_up = time.monotonic() + 30
    while True:
        try:
            with ledger.run_lock("me"):
                return
        except Locked:
            assert not ledger.database.file and time.monotonic() < given_up
            time.sleep(0.01)


def test_fault_18_the_second_run_is_told_who_holds_the_lock(ledger_url: str) -> None:
    with open_ledger(ledger_url, partner="default") as ledger, process(HOLD, ledger_url) as child:
        assert line(child) == ["held", "1"]
        told = "Another run is under way: run of the other process"
        with pytest.raises(Locked, match=told) as refused, ledger.run_lock("me"):
            raise AssertionError("two runs at once")
        assert refused.value.exit_code == 5 and re.search(r" begin at \d\d:\d\d:\d\d UTC\.$", refused.value.message)
        assert ledger.partner().epoch == 1
        with open_ledger(ledger_url, partner="other") as other, other.run_lock("them"):
            pass  # another partner's run is another run
        child.send_signal(signal.SIGKILL)
        child.wait()
        take(ledger)
        assert (ledger.partner().epoch, ledger.partner().holder) == (2, "me")


def test_the_lock_is_free_after_an_orderly_end(ledger_url: str) -> None:
    with open_ledger(ledger_url, partner="default") as ledger, process(HOLD, ledger_url) as child:
        line(child)
        tell(child)
        child.wait()
        with ledger.run_lock("me") as fence:
            assert fence.epoch == 2 and ledger.fence_holds(fence)


def test_a_process_cannot_lock_twice(ledger_url: str) -> None:
    with open_ledger(ledger_url, partner="default") as ledger, open_ledger(ledger_url, partner="default") as again:
        with ledger.run_lock("me") as fence:
            for twice in (ledger, again):
                with pytest.raises(Locked, match="under way: me"), twice.run_lock("me too"):
                    raise AssertionError("two runs at once")
            assert ledger.fence_holds(fence)
        with pytest.raises(ValueError, match="trouble inside"), ledger.run_lock("me"):
            raise ValueError("trouble inside")
        with again.run_lock("me too") as fence:
            assert fence.epoch == 3


def test_fault_09_two_processes_race_for_the_same_charges(ledger_url: str) -> None:
    with open_ledger(ledger_url, partner="default") as ledger, running(ledger) as (fence, run):
        arguments = (ledger_url, fence.token, run)
        with process(RACE, *arguments, "a") as first, process(RACE, *arguments, "b") as second:
            for child in (first, second):
                assert line(child) == ["ready"]
            for child in (first, second):
                tell(child)
            said = [[line(child) for _ in range(20)] for child in (first, second)]
            assert first.wait() == second.wait() == 0
        for number, (one, other) in enumerate(zip(*said, strict=True)):
            assert {one[0], other[0]} == {"won", "lost"}, (number, one, other)
            assert [claim.live for claim in ledger.claims_of(f"i:{number}")] == [True]
        assert len(ledger.postings()) == 20
        assert first_altered(ledger.journal_entries(), ledger.name) is None


@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.long)])
def test_sigkill_while_writing_leaves_a_whole_ledger(rounds: int, ledger_url: str) -> None:
    chance = random.Random(rounds)
    open_ledger(ledger_url, partner="default").close()
    for round_ in range(rounds):
        start = round_ * 1_000
        with process(WRITE, ledger_url, str(start)) as child:
            said = [line(child) for _ in range(chance.randint(2, 60))]
            time.sleep(chance.random() * 0.005)
            child.send_signal(signal.SIGKILL)
            assert child.stdout is not None
            said += [each.split() for each in child.stdout.read().splitlines()]
        check(ledger_url, start, said)


def check(url: str, start: int, said: list[list[str]]) -> None:
    """All that was said to be committed is there; at most one more step; nothing by halves."""
    intents = [int(each[1]) for each in said if each[0] == "intent"]
    done = [int(each[1]) for each in said if each[0] == "done"]
    if url.startswith("sqlite"):
        files.quick_check(Path(url.removeprefix("sqlite:///")))
    with open_ledger(url, partner="default") as ledger:
        take(ledger)
        found = {each.key: each for each in ledger.postings(run=said[0][1])}
        assert len(found) - len(intents) in (0, 1)
        posted = [key for key, each in found.items() if each.state == "posted"]
        assert len(posted) - len(done) in (0, 1)
        assert {f"k{number}" for number in intents} <= found.keys()
        assert {f"k{number}" for number in done} <= set(posted)
        for number in range(start, start + len(found)):
            for charge in (f"i:{number}:a", f"i:{number}:b"):
                assert [claim.key for claim in ledger.claims_of(charge) if claim.live] == [f"k{number}"]
        unresolved = [each.key for each in ledger.unresolved() if each.run == said[0][1]]
        assert len(unresolved) == len(found) - len(posted)
        assert first_altered(ledger.journal_entries(), ledger.name) is None
        with running(ledger):
            assert ledger.show_run(said[0][1]).state == "interrupted"
            for key in unresolved:
                assert ledger.memory(PERIOD).settled[f"i:{key[1:]}:a"].state == "unresolved"


def test_a_backup_while_another_process_writes(sqlite_ledger_url: str, tmp_path: Path) -> None:
    open_ledger(sqlite_ledger_url, partner="default").close()
    with process(WRITE, sqlite_ledger_url, "0") as child:
        for _ in range(10):
            line(child)
        for number in range(5):
            upgrade.backup(sqlite_ledger_url, tmp_path / f"copy-{number}.db")
        said = [line(child) for _ in range(10)]
        assert all(each[0] in ("intent", "done") for each in said)  # the writer went on
    sizes = []
    for number in range(5):
        with open_ledger(f"sqlite:///{tmp_path}/copy-{number}.db", partner="default") as copy:
            assert first_altered(copy.journal_entries(), copy.name) is None
            postings = copy.postings()
            sizes.append(len(postings))
            for each in postings:
                assert all(claim.live for claim in copy.claims_of(f"i:{each.key[1:]}:a"))
            with copy.run_lock("restored") as fence:
                copy.start_run(fence, period=PERIOD, digest=None, who="me", now=NOW)
    assert sizes == sorted(sizes) and sizes[0] >= 4


def test_readers_do_not_wait_for_a_writer(sqlite_ledger_url: str) -> None:
    with (
        open_ledger(sqlite_ledger_url, partner="default") as ledger,
        open_ledger(sqlite_ledger_url, partner="default") as reader,
        ledger.writing(),
    ):
        began = time.monotonic()
        assert reader.runs() == () and reader.memory(PERIOD).settled == {}
        assert time.monotonic() - began < 1
