"""A fleet at work: real processes, a real PostgreSQL, and a sandbox for each partner."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from billingsync.sandbox.notes import Call
from billingsync.store.ledger import open_ledger
from tests.fleet.fleet_folder import partner
from tests.fleet.fleet_house import House, alive, house, write
from tests.sandbox.cli import marks

SERVERS = 2  # processes below a worker that are no cycles: multiprocessing's own


@pytest.fixture
def home(tmp_path: Path, postgres_url: str) -> Iterator[House]:
    with house(tmp_path, postgres_url, "acme", "birch", "cedar") as found:
        yield found


def test_one_cycle_of_one_partner_bills_that_partner_alone(home: House) -> None:
    ran = home.run("fleet", "run", "acme").must(0)
    assert ran.stdout.strip().endswith("acme: well"), ran.text
    assert home.is_billed("acme") and home.amount("acme") > 0
    assert not home.amount("birch") and not home.amount("cedar")
    home.run("fleet", "run", "nobody").must(2)


def test_a_worker_bills_every_partner_once_and_stops_cleanly(home: House) -> None:
    first, second = home.worker("--slots", "2", "--name", "one"), home.worker("--slots", "2", "--name", "two")
    home.wait(lambda: all(home.is_billed(name) for name in home.sandboxes))
    home.wait(lambda: all(home.cycles(name) == ["well"] for name in home.sandboxes))
    for process in (first, second):
        process.terminate()
    assert (first.wait(30), second.wait(30)) == (0, 0), home.logs()
    assert all(home.is_billed(name) for name in home.sandboxes)


def test_what_a_killed_worker_had_in_hand_is_done_elsewhere_and_billed_once(home: House) -> None:
    """kill -9 again and again, until everything is billed: nothing twice, nothing lost, nobody else's."""
    home.lease_s = 5
    for sandbox in home.sandboxes.values():
        sandbox.change(halo_latency_ms=200)
    chance, kills = random.Random(16), 0
    workers = [home.worker("--slots", "2", "--name", "0"), home.worker("--slots", "2", "--name", "1")]
    while kills < 6 and not all(home.is_billed(name) for name in home.sandboxes):
        gone = next((one for one in workers if len(below(one.pid)) > SERVERS), None)
        if gone is None:
            time.sleep(0.05)
            continue
        time.sleep(chance.uniform(0.0, 1.5))
        children = below(gone.pid)
        gone.kill()
        gone.wait()
        kills += 1
        home.wait(lambda: not any(alive(pid) for pid in children), 10)  # noqa: B023  asked at once
        workers = [home.worker("--slots", "2", "--name", str(kills + 1)) if one is gone else one for one in workers]
    assert kills >= 2
    home.wait(lambda: all(home.is_billed(name) for name in home.sandboxes), 200)
    home.wait(lambda: all(home.cycles(name) == ["well"] for name in home.sandboxes), 200)
    for name, sandbox in home.sandboxes.items():
        assert len(marks(sandbox)) == len(set(marks(sandbox))), name
        assert home.is_billed(name), name
        assert {call.status for call in sandbox.calls} <= {200, 201}, name


def test_a_frozen_worker_is_replaced_and_writes_nothing_when_it_wakes(home: House) -> None:
    home.lease_s = 4
    for sandbox in home.sandboxes.values():
        sandbox.change(halo_latency_ms=300)
    first = home.worker("--slots", "3", "--name", "frozen")
    home.wait(lambda: any(call.method == "POST" and call.path == "/Invoice" for call in all_calls(home)))
    processes = [first.pid, *below(first.pid)]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    home.worker("--slots", "3", "--name", "fresh")
    home.wait(lambda: all(home.cycles(name) == ["well"] for name in home.sandboxes), 200)
    before = sum(call.method == "POST" and call.path != "/auth/token" for call in all_calls(home))
    for pid in processes:
        os.kill(pid, signal.SIGCONT)
    time.sleep(3)
    assert sum(call.method == "POST" and call.path != "/auth/token" for call in all_calls(home)) == before
    assert all(home.is_billed(name) for name in home.sandboxes)


def test_a_worker_that_is_drained_from_elsewhere_ends_what_it_has_in_hand(home: House) -> None:
    home.lease_s = 4  # it looks every second whether it is drained
    for sandbox in home.sandboxes.values():
        sandbox.change(halo_latency_ms=3000)
    worker = home.worker("--slots", "2", "--name", "one")
    home.wait(lambda: len(all_calls(home)) > 3)
    assert "Those that are: one" in home.run("fleet", "drain", "two").must(2).stderr
    assert "one has stopped" in home.run("fleet", "drain", "one", "--wait").must(0).stdout
    assert worker.wait(30) == 0 and "drained" in home.logs() and "died" not in home.logs()
    assert home.run("fleet", "status", "--json").json["workers"] == []
    ended = [home.cycles(name) for name in home.sandboxes]
    assert ["interrupted"] in ended and ["running"] not in ended and ["failed"] not in ended, ended


@pytest.mark.parametrize("to_all", [False, True], ids=["the worker", "every process, as systemd does"])
def test_sigterm_ends_cycles_after_the_write_in_hand_and_gives_the_leases_back(home: House, to_all: bool) -> None:
    for sandbox in home.sandboxes.values():
        sandbox.change(halo_latency_ms=700)
    worker = home.worker("--slots", "3")
    home.wait(lambda: any(call.method == "POST" and call.path == "/Invoice" for call in all_calls(home)))
    for pid in below(worker.pid) if to_all else []:
        os.kill(pid, signal.SIGTERM)
    worker.terminate()
    assert worker.wait(60) == 0, home.logs()
    assert "died" not in home.logs() and "Traceback" not in home.logs(), home.logs()
    assert [home.cycles(name) for name in home.sandboxes] == [["interrupted"]] * 3
    for name in home.sandboxes:
        with open_ledger(home.database_url, partner=name) as ledger, ledger.cycle_lease("test"):
            pass  # it is free at once


def test_a_partner_without_its_secret_fails_alone(home: House) -> None:
    next((home.folder / "secrets" / "birch").glob("*SECRET")).unlink()
    home.worker("--slots", "3")
    home.wait(lambda: home.is_billed("acme") and home.is_billed("cedar") and home.cycles("birch") == ["failed"])
    with open_ledger(home.database_url, partner="birch") as ledger:
        last = ledger.last_cycle()
    assert last is not None and last.summary["problem"]["code"] == "BS-SECRETS"
    assert not home.sandboxes["birch"].calls
    assert home.run("fleet", "run", "birch").must(1).stdout.endswith("birch: failed:secrets\n")


def test_no_worker_begins_where_nothing_is_published_or_the_engine_has_no_tables(
    tmp_path: Path, postgres_url: str
) -> None:
    empty = House(tmp_path, postgres_url)
    assert "Nothing is published" in empty.run("fleet", "worker").must(2).stderr
    assert "Nothing is published" in empty.run("fleet", "run", "acme").must(2).stderr
    write(empty.fleet_folder / "fleet.toml", '[secrets]\ndir = "/etc/none"\n')
    write(empty.fleet_folder / "partners/acme/partner.toml", partner("acme"))
    empty.run("fleet", "apply", "fleet").must(0)
    assert "The engine has no tables" in empty.run("fleet", "worker").must(2).stderr


def all_calls(home: House) -> list[Call]:
    return [call for sandbox in home.sandboxes.values() for call in sandbox.calls]


def below(pid: int) -> list[int]:
    """The processes below this one."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):  # each thread has its own
        with contextlib.suppress(OSError):
            found += [int(word) for word in path.read_text().split()]
    return [*found, *(one for child in found for one in below(child))]
