"""A fleet that people and machines treat badly: signals, a database that goes away, a queue that is emptied, a partner
that is taken out while it is worked for. Real processes; each partner is billed once all the same."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from billingsync.fleet.engines import conninfo_of
from tests.fleet.fleet_house import House, alive, house
from tests.fleet.test_fleet_worker import all_calls, below
from tests.sandbox.cli import marks


@pytest.fixture
def home(tmp_path: Path, postgres_url: str) -> Iterator[House]:
    with house(tmp_path, postgres_url, "acme", "birch") as found:
        found.lease_s = 6
        yield found


def slow(home: House, ms: int) -> None:
    for sandbox in home.sandboxes.values():
        sandbox.change(halo_latency_ms=ms)


def posting(home: House) -> bool:
    return any(call.method == "POST" and call.path == "/Invoice" for call in all_calls(home))


def billed_once(home: House, *names: str) -> None:
    home.wait(lambda: all(home.is_billed(name) and home.cycles(name) == ["well"] for name in names), 240)
    for name in names:
        found = marks(home.sandboxes[name])
        assert len(found) == len(set(found)), name


def test_ctrl_c_and_a_second_sigterm_end_it_after_the_write_in_hand(home: House) -> None:
    slow(home, 700)
    worker = home.worker("--slots", "2")
    home.wait(lambda: posting(home))
    for pid in (worker.pid, *below(worker.pid)):  # as a terminal does: to every process in front of it
        os.kill(pid, signal.SIGINT)
    time.sleep(0.3)
    for _ in range(3):
        worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0, home.logs()
    assert "stopped cleanly" in home.logs() and "died" not in home.logs() and "Traceback" not in home.logs()
    slow(home, 0)
    home.worker("--slots", "2")
    billed_once(home, "acme", "birch")


def test_a_database_that_is_away_for_20_seconds(home: House) -> None:
    slow(home, 700)
    worker = home.worker("--slots", "2")
    home.wait(lambda: posting(home))
    name = make_url(home.database_url).database
    admin = make_url(home.database_url).set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(conninfo_of(admin), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
        try:
            until = time.monotonic() + 20
            while time.monotonic() < until:
                connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
                time.sleep(0.5)
        finally:
            connection.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
    assert alive(worker.pid), home.logs()
    slow(home, 0)
    billed_once(home, "acme", "birch")
    assert "Traceback" not in home.logs(), home.logs()


def test_an_engine_that_is_emptied_under_workers(home: House) -> None:
    slow(home, 300)
    home.worker("--slots", "1", "--name", "one")
    home.worker("--slots", "1", "--name", "two")
    with psycopg.connect(conninfo_of(home.database_url), autocommit=True) as connection:
        for _ in range(5):
            time.sleep(1)
            connection.execute("TRUNCATE engine.pgqueuer")
    slow(home, 0)
    billed_once(home, "acme", "birch")
    assert "Traceback" not in home.logs(), home.logs()


def test_a_partner_that_is_taken_out_while_it_is_worked_for(home: House) -> None:
    slow(home, 1500)
    worker = home.worker("--slots", "2")
    home.wait(lambda: home.child_of("acme") is not None)
    shutil.move(home.fleet_folder / "partners" / "acme", home.folder / "acme")
    home.run("fleet", "apply", "fleet").must(0)
    slow(home, 0)
    billed_once(home, "birch")
    home.wait(lambda: home.child_of("acme") is None, 120)
    assert alive(worker.pid) and "Traceback" not in home.logs()
    refused = home.run("fleet", "run", "acme").must(5)
    assert "no more among the fleet's files" in refused.stderr
    found = marks(home.sandboxes["acme"])
    assert len(found) == len(set(found))


def test_a_paused_partner_says_so_and_how_it_goes_on(home: House) -> None:
    home.run("fleet", "pause", "acme", "--reason", "dispute 7").must(0)
    refused = home.run("fleet", "run", "acme").must(5)
    assert "dispute 7" in refused.stderr and "next:  billingsync fleet resume acme" in refused.stderr
