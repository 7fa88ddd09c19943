"""What a partner's cycle may take, in real processes: one that crashes, eats memory or never ends harms nobody else."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from billingsync.store.ledger import open_ledger
from tests.fleet.fleet_house import House, alive, house, write
from tests.fleet.test_fleet_worker import below


@pytest.fixture
def home(tmp_path: Path, postgres_url: str) -> Iterator[House]:
    with house(tmp_path, postgres_url, "acme", "birch") as found:
        found.lease_s = 3
        yield found


def test_a_partner_whose_cycles_die_is_parked_and_the_others_go_on(home: House) -> None:
    home.sandboxes["acme"].change(halo_latency_ms=1500)
    home.worker("--slots", "2")
    for _ in range(3):
        home.wait(lambda: home.child_of("acme") is not None)
        pid = home.child_of("acme")
        assert pid is not None
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert "Max data size" in limits and str(1 << 30) in limits
        os.kill(pid, signal.SIGKILL)
        home.wait(lambda: not alive(pid) and home.child_of("acme") is None)  # noqa: B023  asked at once
        home.wait(lambda: not Path(f"/proc/{pid}").exists(), 10)  # noqa: B023  reaped
    home.wait(lambda: "the partner is parked" in home.logs())
    home.wait(lambda: home.is_billed("birch") and home.cycles("birch") == ["well"])
    told = home.run("fleet", "status").must(1).stdout
    assert "1 parked, 1 well" in told and "killed by signal 9" in " ".join(told.split()), told
    found = home.run("fleet", "status", "--json").must(1).json["partners"][0]
    assert (found["name"], found["state"]) == ("acme", "parked") and "fleet resume acme" in found["says"]
    refused = home.run("fleet", "run", "acme").must(5)
    assert "is parked" in refused.text and "billingsync fleet resume acme" in refused.text
    home.sandboxes["acme"].change(halo_latency_ms=0)
    assert "Resumed" in home.run("fleet", "resume", "acme").must(0).stdout
    home.wait(lambda: home.is_billed("acme") and home.cycles("acme") == ["well"])


def test_a_cycle_over_its_memory_dies_alone_and_its_partner_is_parked(home: House) -> None:
    home.limited(memory=6 << 20)
    home.wait(lambda: home.logs().count("the partner is parked") == 2)
    assert home.run("fleet", "status").must(1).stdout.count("parked") >= 3
    assert not any(home.amount(name) for name in home.sandboxes)


def test_a_cycle_that_never_ends_is_killed(home: House) -> None:
    home.sandboxes["acme"].change(halo_latency_ms=20_000)
    worker = home.limited(longest_s=3)
    home.wait(lambda: "had not ended after 0.05 minutes" in home.logs())
    home.wait(lambda: home.is_billed("birch"))
    assert alive(worker.pid) and home.cycles("acme") == ["running"]


def test_children_die_with_the_process_that_forks_them_and_with_their_worker(home: House) -> None:
    for sandbox in home.sandboxes.values():
        sandbox.change(halo_latency_ms=3000)
    worker = home.worker("--slots", "2")
    home.wait(lambda: all(home.child_of(name) for name in home.sandboxes))
    processes = below(worker.pid)
    worker.kill()
    worker.wait()
    home.wait(lambda: not any(alive(pid) for pid in processes), 5)


# Who cannot be worked for


def test_refused_credentials_are_asked_for_seldom_and_shown(home: House) -> None:
    path = home.folder / "secrets" / "acme" / "BILLINGSYNC_HALO__CLIENT_SECRET"
    write(path, "revoked")
    home.run("fleet", "run", "acme").must(1)
    asked = [call for call in home.sandboxes["acme"].calls if call.path.endswith("/auth/token")]
    assert len(asked) <= 2, asked
    found = home.run("fleet", "status", "--json").must(1).json["partners"]
    acme = next(one for one in found if one["name"] == "acme")
    assert (acme["state"], acme["cause"]) == ("failed", "login:HaloPSA")
    assert "failed:login" in home.run("fleet", "status").must(1).stdout
    with open_ledger(home.database_url, partner="acme") as ledger:
        last = ledger.last_cycle()
    assert last is not None and last.next_at is not None and last.ended_at is not None
    assert 3600 <= (last.next_at - last.ended_at).total_seconds() <= 3600 * 1.25 + 1


def test_a_secret_program_that_hangs_ends_the_cycle_before_any_call(home: House) -> None:
    program = home.folder / "hangs"
    write(program, "#!/bin/sh\nsleep 60\n")
    program.chmod(0o700)
    write(home.fleet_folder / "fleet.toml", f'[secrets]\ncommand = ["{program}"]\n')
    home.run("fleet", "apply", "fleet").must(0)
    assert "failed:secrets" in home.run("fleet", "run", "acme").must(1).stdout
    assert "failed:secrets" in home.run("fleet", "status").must(1).stdout
    assert not home.sandboxes["acme"].calls
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert str(program).encode() not in path.read_bytes(), "it was left behind"


def test_a_service_that_is_down_is_asked_again_within_minutes(home: House) -> None:
    home.sandboxes["acme"].faults.add("pax8:GET:/invoices:*:503")
    home.run("fleet", "run", "acme").must(1)
    with open_ledger(home.database_url, partner="acme") as ledger:
        last = ledger.last_cycle()
    assert last is not None and last.next_at is not None and last.ended_at is not None
    assert last.summary["cause"] == "upstream:Pax8"
    assert 200 <= (last.next_at - last.ended_at).total_seconds() <= 301
