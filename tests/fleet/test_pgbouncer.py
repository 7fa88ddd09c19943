"""Behind PgBouncer in transaction mode, where each transaction may be another session's: lock, fence, reading back, a
whole run [F4] [F5]."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, text, update

from billingsync.errors import Locked
from billingsync.sandbox.server import Sandbox
from billingsync.store.ledger import open_ledger
from billingsync.store.schema import partner
from tests.sandbox.cli import CALM, TEXT_ONLY, Office, billed, due

CONFIGURATION = """
[databases]
* = host={host} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 3
server_round_robin = 1
logfile = {folder}/log.txt
"""


@pytest.fixture(scope="module")
def pooler(postgres_server: str) -> Iterator[int]:
    """PgBouncer before this session's PostgreSQL: its port."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        if "CI" in os.environ:
            pytest.fail("PgBouncer is missing")
        pytest.skip("PgBouncer is missing")
    with tempfile.TemporaryDirectory(prefix="bs-pool-") as name, socket.socket() as free:
        folder = Path(name)
        folder.chmod(0o777)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        host = make_url(postgres_server).query["host"]
        (folder / "pool.ini").write_text(CONFIGURATION.format(host=host, port=port, folder=folder))
        (folder / "users.txt").write_text('"postgres" ""\n')
        # It refuses to be root: as who runs PostgreSQL, who alone may open its socket.
        owner = pwd.getpwuid(Path(str(host)).stat().st_uid).pw_name
        as_owner = ["-u", owner] if os.geteuid() == 0 else []
        with subprocess.Popen(
            [program, "-q", *as_owner, str(folder / "pool.ini")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            try:
                given_up = time.monotonic() + 30
                while True:
                    try:
                        psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres").close()
                        break
                    except psycopg.OperationalError:
                        assert process.poll() is None and time.monotonic() < given_up
                        time.sleep(0.05)
                yield port
            finally:
                process.terminate()


@pytest.fixture
def pooled_url(pooler: int, postgres_ledger_url: str) -> str:
    """Three sessions take turns behind it: no two transactions in a row have the same one."""
    plain = f"postgresql://postgres@127.0.0.1:{pooler}/{make_url(postgres_ledger_url).database}"
    with contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(psycopg.connect(plain)).execute("SELECT 1")
    with psycopg.connect(plain, autocommit=True, prepare_threshold=None) as one:
        assert len({one.execute("SELECT pg_backend_pid()").fetchone() for _ in range(9)}) == 3
    return plain.replace("postgresql:", "postgresql+psycopg:")


def test_of_two_runs_one_gets_the_lock_thirty_times_of_thirty(pooled_url: str, postgres_ledger_url: str) -> None:
    with open_ledger(pooled_url, partner="default") as one, open_ledger(pooled_url, partner="default") as other:
        for turn in range(30):
            first, second = (one, other) if turn % 2 else (other, one)
            with first.run_lock("first") as fence:
                with pytest.raises(Locked, match="first"), second.run_lock("second"):
                    raise AssertionError("two runs at once")
                assert first.fence_holds(fence) and second.run_is_under_way()
            assert not second.run_is_under_way()
    with psycopg.connect(postgres_ledger_url.replace("+psycopg", "")) as direct:
        assert direct.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)


def test_who_was_taken_over_writes_nothing(pooled_url: str) -> None:
    with open_ledger(pooled_url, partner="default") as one, open_ledger(pooled_url, partner="default") as other:
        with one.run_lock("the sleeper") as fence:
            with other.writing() as connection:
                connection.execute(update(partner).values(until=None))
            with other.run_lock("the next"):
                assert not one.fence_holds(fence)
                with pytest.raises(Locked, match="taken over by the next"), one.fenced(fence):
                    raise AssertionError("a write")


def test_what_is_set_for_a_transaction_ends_with_it(pooled_url: str) -> None:
    with open_ledger(pooled_url, partner="default") as ledger:
        for _ in range(10):  # often enough that a driver would prepare it for the session
            with ledger.writing() as connection:
                assert connection.scalar(text("SHOW lock_timeout")) == "10s"
                assert connection.scalar(text("SHOW billingsync.partner")) == "default"
    plain = pooled_url.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True, prepare_threshold=None) as another:
        for _ in range(10):
            assert another.execute("SHOW lock_timeout").fetchone() == ("0",)
            said = another.execute("SELECT current_setting('billingsync.partner', true)").fetchone()
            assert said in ((None,), ("",))


def test_a_month_is_billed_and_again_nothing(pooled_url: str, tmp_path: Path) -> None:
    with Sandbox(CALM) as server:
        office = Office(tmp_path, server, pooled_url, {"BILLINGSYNC_LEASE_S": "0.5"})
        office.rules(TEXT_ONLY)
        office.run("run", "--yes", "--json").must()
        state = server.state()
        assert billed(server) == due(server)
        assert office.run("run", "--yes", "--json").must().json["postings"] == []
        assert server.state() == state
        office.run("audit", "verify").must()
        office.run("doctor", "--json").must(0, 1, 3)
