"""`cards approve` and `cards undo` killed with SIGKILL at every call, and run again until done [WB1] [N4].

Whatever happened, the line shows *to* (or *from* again), every other byte is as before, and HaloPSA carried out one
write.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import random
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sandbox"))

from cards_office import SOLD, approvable, invoice, line_of, posts
from cli import TEXT_ONLY, Office
from test_crash_every_call import Killer, Zygote

from billingsync.sandbox.server import Sandbox

SMALL = dataclasses.replace(SOLD, clients=5, hand_kept=1)
TRIES = 6


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


@dataclasses.dataclass
class Scene:
    """An office with one card, and everything as it is before the card is written."""

    office: Office
    card: dict
    words: tuple[str, ...]
    lines: list
    wanted: str
    state: dict
    ledger: bytes | None = None

    def again(self, killer):
        """The same once more from the beginning; only where the ledger is one file."""
        killer.aim(0, "before")
        self.office.sandbox.restore(copy.deepcopy(self.state))
        Path(self.office.folder / "ledger.db").write_bytes(self.ledger)
        for name in ("ledger.db-wal", "ledger.db-shm"):
            Path(self.office.folder / name).unlink(missing_ok=True)

    def proves(self, sandbox):
        there = invoice(sandbox, self.card)["lines"]
        assert str(line_of(sandbox, self.card)["qty_order"]) == self.wanted
        others = [line for line in there if line["id"] != self.card["line_id"]]
        assert others == [line for line in self.lines if line["id"] != self.card["line_id"]]


def scene(sandbox, killer, folder, url, *, undo=False):
    sandbox.reset(SMALL)
    killer.aim(0, "before")
    office = Office(folder, sandbox, url, {"BILLINGSYNC_HALO__ABSENCE_S": "0.05"})
    office.rules(TEXT_ONLY)
    card = approvable(office)
    words = ("cards", "approve", card["digest"])
    if undo:
        office.run(*words).must(0)
        words = ("cards", "undo", card["digest"])
    return Scene(
        office=office,
        card=card,
        words=words,
        lines=copy.deepcopy(invoice(sandbox, card)["lines"]),
        wanted=card["from" if undo else "to"]["quantity"],
        state=copy.deepcopy(sandbox.state()),
    )


def finished(zygote, killer, made):
    """Runs the command until it says that all is done."""
    killer.aim(0, "before")
    for _ in range(TRIES):
        if (code := killer.run(zygote, made.office, *made.words)) == 0:
            return
    raise AssertionError(f"exit {code}: {(made.office.folder / 'out.txt').read_text()}")


@pytest.mark.parametrize("undo", [False, True], ids=["approve", "undo"])
def test_j6_killed_at_every_call_it_is_written_once(sandbox, killer, zygote, sqlite_template, tmp_path, undo):
    shutil.copy(sqlite_template, tmp_path / "ledger.db")
    made = scene(sandbox, killer, tmp_path, "", undo=undo)
    made.ledger = (tmp_path / "ledger.db").read_bytes()
    killer.aim(0, "before")
    assert killer.run(zygote, made.office, *made.words) == 0
    calls = killer.seen
    made.proves(sandbox)
    chosen = random.Random(7)
    for nth in range(1, calls + 1):
        for when in ("before", "after", "soon"):
            made.again(killer)
            before = len(posts(sandbox))
            killer.aim(nth, when, delay_s=chosen.uniform(0, 0.03) if when == "soon" else 0)
            killer.run(zygote, made.office, *made.words)
            finished(zygote, killer, made)
            made.proves(sandbox)
            assert len(posts(sandbox)) - before == 1, (nth, when)


@pytest.mark.parametrize("when", ["before", "after"])
def test_j6_killed_again_while_it_finds_out_what_became_of_it(sandbox, killer, zygote, sqlite_template, tmp_path, when):
    """First at its POST, then at each call of the recovery."""
    shutil.copy(sqlite_template, tmp_path / "ledger.db")
    made = scene(sandbox, killer, tmp_path, "")
    made.ledger = (tmp_path / "ledger.db").read_bytes()
    write = the_post(killer, zygote, made)
    for nth in itertools.count(1):
        made.again(killer)
        if killed_twice(zygote, killer, made, (write, when), nth):
            break
    assert nth > 3, "the recovery asks HaloPSA before it believes anything"


def killed_twice(zygote, killer, made, first, nth):
    """At its POST, `first`, and at the nth call of the recovery; gives whether the recovery had ended before that."""
    sandbox = made.office.sandbox
    before = len(posts(sandbox))
    killer.aim(*first)
    killer.run(zygote, made.office, *made.words)
    killer.aim(nth, ("before", "after", "soon")[nth % 3])
    code = killer.run(zygote, made.office, *made.words)
    seen = killer.seen
    finished(zygote, killer, made)
    made.proves(sandbox)
    assert len(posts(sandbox)) - before == 1, nth
    return code == 0 and seen < nth


def the_post(killer, zygote, made):
    """At which call an undisturbed run writes."""
    if made.ledger:
        made.again(killer)
    true_answer, calls, found = killer.true_answer, [0], []

    def noted(world, service, request, call, **more):
        calls[0] += 1
        if request.method == "POST" and request.path == "/RecurringInvoice":
            found.append(calls[0])
        return true_answer(world, service, request, call, **more)

    killer.true_answer = noted
    try:
        assert killer.run(zygote, made.office, *made.words) == 0
    finally:
        killer.true_answer = true_answer
    [write] = found
    return write


def test_j6_killed_at_every_call_on_postgresql(sandbox, killer, zygote, postgres_url, tmp_path):
    from billingsync.store.upgrade import upgrade

    upgrade(postgres_url)
    made = scene(sandbox, killer, tmp_path, postgres_url)
    killer.aim(0, "before")
    assert killer.run(zygote, made.office, *made.words) == 0
    calls = killer.seen
    made.office.run("cards", "undo", made.card["digest"]).must(0)
    for nth in range(1, calls + 1):
        killer.aim(nth, ("before", "after", "soon")[nth % 3])
        killer.run(zygote, made.office, *made.words)
        finished(zygote, killer, made)
        made.proves(sandbox)
        made.office.run("cards", "undo", made.card["digest"]).must(0)


def test_j6_killed_again_on_postgresql_while_it_finds_out_what_became_of_it(
    sandbox, killer, zygote, postgres_url, tmp_path
):
    from billingsync.store.upgrade import upgrade

    upgrade(postgres_url)
    made = scene(sandbox, killer, tmp_path, postgres_url)
    write = the_post(killer, zygote, made)
    for nth in itertools.count(1):
        made.office.run("cards", "undo", made.card["digest"]).must(0)
        if killed_twice(zygote, killer, made, (write, ("after", "before")[nth % 2]), nth):
            break
    assert nth > 3, "the recovery asks HaloPSA before it believes anything"
