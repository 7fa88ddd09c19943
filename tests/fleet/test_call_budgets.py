"""The calls of an account are counted for all processes together, on the database's clock."""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from billingsync.http import Budget, in_parallel
from billingsync.http.account_budget import AccountBudget
from billingsync.sandbox.server import Sandbox
from billingsync.store.budgets import AccountBlocks
from billingsync.store.database import Database
from billingsync.store.schema import call_budget
from tests.sandbox.cli import CALM, TEXT_ONLY, Office, billed, due

WINDOWS = [(20, 1.0), (30, 2.0)]  # calls, seconds


@pytest.fixture
def database(ledger_url: str) -> Iterator[Database]:
    with closing(Database(ledger_url)) as opened:
        yield opened


def blocks(database: Database, account: str = "a", windows: Any = None, held_s: float = 60.0) -> AccountBlocks:
    return AccountBlocks(database, account, "halo", windows or [(10, 60.0)], held_s)


def rows(database: Database) -> list[Any]:
    with database.reading() as connection:
        return list(connection.execute(select(call_budget).where(call_budget.c.block != "")).all())


def fullest(calls: list[tuple[float, float]], seconds: float) -> int:
    """The most calls that a server may have counted in any window: it counts each somewhere between its two ends."""
    begins, ends = sorted(begin for begin, _ in calls), sorted(end for _, end in calls)
    found = 0
    for end in ends:  # the window that begins when this call ends holds what ended since and began before it is over
        found = max(found, bisect.bisect_left(begins, end + seconds) - bisect.bisect_left(ends, end))
    return found


def work(make: Callable[[Database], Budget], url: str, processes: int, each: int) -> list[tuple[float, float]]:
    """So many calls of each of these processes (with a database and a budget of its own, on two threads)."""
    made: list[tuple[float, float]] = []
    kept = threading.Lock()

    def process(_: int) -> None:
        with ExitStack() as stack:
            budget = make(stack.enter_context(closing(Database(url))))

            def call(_: int) -> None:
                with budget.slot():
                    begin = time.monotonic()
                    time.sleep(0.003)
                    with kept:
                        made.append((begin, time.monotonic()))

            in_parallel(call, range(each), 2)
            if isinstance(budget, AccountBudget):
                budget.close()

    in_parallel(process, range(processes), processes)
    return made


def test_no_window_of_the_account_holds_more_than_its_calls(ledger_url: str) -> None:
    calls = work(lambda database: AccountBudget(50, blocks(database, windows=WINDOWS)), ledger_url, 3, 20)
    assert len(calls) == 60
    for most, seconds in WINDOWS:
        assert fullest(calls, seconds) <= most


def test_a_budget_of_each_process_would_be_seen(ledger_url: str) -> None:
    calls = work(lambda _: Budget(50), ledger_url, 3, 20)
    assert fullest(calls, 60.0) > 50


def test_another_account_and_another_service_have_their_own(database: Database) -> None:
    assert blocks(database).take(10, {})[1:] == (10, 0.0)
    assert blocks(database).take(10, {})[:2] == ("", 0)
    assert blocks(database, "b").take(10, {})[1:] == (10, 0.0)
    assert AccountBlocks(database, "a", "pax8", [(10, 60.0)], 60.0).take(10, {})[1:] == (10, 0.0)


def test_what_was_not_used_goes_back_and_the_rest_counts(database: Database) -> None:
    budget = AccountBudget(50, blocks(database))
    for _ in range(3):
        with budget.slot():
            pass
    assert budget.left() == 7 and blocks(database).free()[0] == 0
    budget.close()
    assert [(row.taken, row.ended is not None) for row in rows(database)] == [(3, True)]
    assert blocks(database).free() == (7, 0.0) and budget.left() == 7
    unused = AccountBudget(50, blocks(database))
    with pytest.raises(ZeroDivisionError), unused.slot():
        raise ZeroDivisionError  # a call that breaks was a call
    unused.close()
    assert blocks(database).free()[0] == 6


def test_a_block_of_which_none_was_used_leaves_no_trace(database: Database) -> None:
    name, _, _ = blocks(database).take(10, {})
    blocks(database).give_back({name: (0, 0.0)})
    assert rows(database) == [] and blocks(database).free() == (10, 0.0)


def test_what_a_killed_process_took_comes_back_by_itself(database: Database) -> None:
    """After the time in which it must have been used up, and the window."""
    account = blocks(database, windows=[(10, 0.4)], held_s=0.4)
    began = time.monotonic()
    assert account.take(10, {})[1] == 10
    while not account.take(10, {})[1]:
        assert time.monotonic() - began < 60
        time.sleep(0.01)
    assert time.monotonic() - began >= 0.8
    assert len(rows(database)) == 1  # the old one is forgotten


def test_a_429_closes_the_account_for_every_process(database: Database, ledger_url: str) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        with database.writing() as connection:
            connection.execute(update(call_budget).where(call_budget.c.block == "").values(until=None))
        clock[0] += seconds

    clock = [1_000.0]
    with closing(Database(ledger_url)) as elsewhere:
        one = AccountBudget(50, blocks(database, windows=[(50, 60.0)]))
        other = AccountBudget(50, blocks(elsewhere, windows=[(50, 60.0)]), now=lambda: clock[0], sleep=sleep)
        with other.slot():  # it has a block in hand
            pass
        one.pause(1e9)
        assert one.left() == other.wait_s() == 0 and 290 < one.wait_s() <= 300
        clock[0] += 1.0
        with other.slot():
            pass
        assert len(slept) == 1 and 290 < slept[0] <= 300


def test_a_clock_that_was_put_back_closes_no_account(database: Database) -> None:
    """What was written before says that it lasts for hours: longer than any block, or any 429."""
    account = blocks(database)
    assert account.take(10, {})[1] == 10 and account.free()[0] == 0
    account.close(60.0)
    hours_later = datetime.now(UTC) + timedelta(hours=5)
    with database.writing() as connection:
        connection.execute(update(call_budget).values(until=hours_later))
    assert account.closed_s() == 0.0 and account.free() == (10, 0.0)
    assert account.take(10, {})[1] == 10
    assert len(rows(database)) == 1  # the old one is forgotten
    account.close(60.0)
    assert 50 < account.closed_s() <= 60


def test_one_change_for_ten_calls(database: Database) -> None:
    budget = AccountBudget(600, blocks(database, windows=[(600, 60.0)]))
    took: list[int] = []
    true_take = AccountBlocks.take

    def counted(self: AccountBlocks, *given: Any) -> Any:
        took.append(1)
        return true_take(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AccountBlocks, "take", counted)
        for _ in range(100):
            with budget.slot():
                pass
    assert len(took) == 10 and budget.calls_made == 100
    budget.close()
    assert sum(row.taken for row in rows(database)) == 100


def test_a_small_budget_is_not_all_one_process_s(database: Database) -> None:
    budget = AccountBudget(10, blocks(database))
    with budget.slot():
        assert [row.taken for row in rows(database)] == [2]


def test_a_run_takes_its_calls_from_the_accounts_and_gives_the_rest_back(tmp_path: Path, ledger_url: str) -> None:
    """What it took stands in the table, under one account for each service, and nothing is left taken."""
    with Sandbox(CALM) as server:
        office = Office(tmp_path, server, ledger_url, {"BILLINGSYNC_SHARE_CALLS": "true"})
        office.rules(TEXT_ONLY)
        office.run("run", "--yes", "--json").must()
        assert billed(server) == due(server)
        with closing(Database(ledger_url)) as database:
            found = rows(database)
        assert {row.service for row in found} == {"pax8", "halo"}
        assert len({(row.account, row.service) for row in found}) == 2
        assert all(row.ended is not None for row in found)
        calls = sum(row.taken for row in found)
        assert calls == len(server.calls) > 5
        secret = server.environment()["BILLINGSYNC_HALO__CLIENT_SECRET"]
        assert not any(secret in str(row) for row in found)
