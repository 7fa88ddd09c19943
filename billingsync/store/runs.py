"""Runs: one pass over one period each, and what it dropped or excluded for good [R3]."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, delete, select, update

from billingsync import __version__
from billingsync.core.period import Period
from billingsync.core.states import SET_ASIDE, ChargeState, PostingState, RunState
from billingsync.errors import UsageError
from billingsync.store.book import Book, Fence
from billingsync.store.claims import AlreadyClaimed, live_keys
from billingsync.store.columns import as_json
from billingsync.store.database import insert, read_as
from billingsync.store.postings import FREE
from billingsync.store.schema import company_seen, posting, product_seen, run, settled

ENDED = frozenset(RunState) - {RunState.RUNNING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`digest` is the plan's, None where there was none."""

    id: str
    period: str
    digest: str | None
    state: RunState
    started_at: datetime
    ended_at: datetime | None
    who: str
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A charge that a run did not post. `state`: dropped | excluded; `by` is the modifier or the rule."""

    charge: str
    state: ChargeState
    by: str
    price: Decimal
    cost: Decimal
    currency: str


class RunBook(Book):
    def start_run(self, fence: Fence, *, period: Period, digest: str | None, who: str, now: datetime) -> str:
        """Opens a run and gives its id. As one run has the lock at a time, any other that still seems to run was
        interrupted, and is marked so."""
        with self.fenced(fence) as connection:
            end_running(connection, self.name, now)
            taken = set(connection.execute(select(run.c.id).where(run.c.partner == self.name)).scalars())
            id = next(id for id in run_ids(self.name, fence, now) if id not in taken)
            add_run(connection, self.name, id, period, digest, who, now)
            body = {"run": id, "period": str(period), "digest": digest, "who": who, "epoch": fence.epoch}
            body["version"] = __version__
            self.note(connection, "run.started", body, now)
        return id

    def finish_run(self, fence: Fence, id: str, state: RunState, summary: Mapping[str, Any], now: datetime) -> None:
        """Closes a run. `summary` is JSON without floats."""
        assert state in ENDED, state
        with self.fenced(fence) as connection:
            end_run(connection, self.name, id, state, summary, now)
            self.note(connection, "run.ended", {"run": id, "state": state, "summary": dict(summary)}, now)

    def runs(self, period: Period | None = None) -> tuple[Run, ...]:
        """The runs of a period, or all, oldest first."""
        with self.reading() as connection:
            return find_runs(connection, self.name, period=period)

    def show_run(self, id: str) -> Run:
        """One run. UsageError where there is none of that id."""
        with self.reading() as connection:
            found = find_runs(connection, self.name, id=id)
        if not found:
            raise UsageError(f"There is no run {id!r:.80}.", next_steps=[["billingsync", "runs"]])
        return found[0]

    def undone_runs(self) -> frozenset[str]:
        """The runs of which everything that they wrote was undone since."""
        rows = select(posting.c.run, posting.c.state).where(posting.c.partner == self.name).distinct()
        with self.reading() as connection:
            states: dict[str, set[PostingState]] = {}
            for row in connection.execute(rows):
                states.setdefault(row.run, set()).add(row.state)
        not_there = {PostingState.UNDONE, *FREE}
        return frozenset(id_ for id_, found in states.items() if PostingState.UNDONE in found and found <= not_there)

    def settle(self, fence: Fence, id: str, decisions: Sequence[Decision], now: datetime) -> None:
        """Keeps what a run dropped or excluded: it stays so, and the first decision about a charge is the one that
        counts. AlreadyClaimed where a charge is on a live line: a charge has one state [A1]."""
        if not decisions:
            return
        with self.fenced(fence) as connection:
            on_lines = live_keys(connection, self.name, [decision.charge for decision in decisions])
            for charge, key in on_lines.items():
                raise AlreadyClaimed(charge, f"is on a line of posting {key}")
            period = find_runs(connection, self.name, id=id)[0].period
            rows = [
                {"partner": self.name, "period": period, "run": id, "at": now, **_values(decision)}
                for decision in decisions
            ]
            add_settled(connection, rows)
            said = sorted([each.charge, each.state, each.by, str(each.price), str(each.cost)] for each in decisions)
            digest = hashlib.sha256(as_json(said).encode("ascii")).hexdigest()
            body = {"run": id, "charges": len(said), "sha256": digest, "decisions": said}
            self.note(connection, "settled", body, now)

    def unsettle(self, fence: Fence, id: str, charges: Iterable[str], now: datetime) -> None:
        """Forgets that these charges were dropped or excluded, so that they can be planned anew. A person's wish."""
        wanted = sorted(set(charges))
        with self.fenced(fence) as connection:
            for charge in wanted:
                remove_settled(connection, self.name, charge)
            self.note(connection, "unsettled", {"run": id, "charges": wanted}, now)

    def settled_by(self, id: str) -> frozenset[str]:
        """The charges that a run dropped or excluded, and that still are."""
        with self.reading() as connection:
            query = select(settled.c.charge).where(settled.c.partner == self.name, settled.c.run == id)
            return frozenset(connection.execute(query).scalars())

    def note_seen(self, period: Period, companies: Iterable[str], products: Iterable[str]) -> None:
        """Remembers which companies were charged in a period and which products were posted; once is enough."""
        with self.writing() as connection:
            add_seen_companies(connection, self.name, period, sorted(set(companies)))
            add_seen_products(connection, self.name, sorted(set(products)))


def run_ids(name: str, fence: Fence, now: datetime) -> Iterable[str]:
    """Short ids that sort by time, e.g. "2026-11-22T0153-7f3a": derived, so that a test with its own clock repeats."""
    minute = now.astimezone(UTC).strftime("%Y-%m-%dT%H%M")
    for attempt in range(65536):
        seed = as_json([name, fence.epoch, now.astimezone(UTC).isoformat(), attempt])
        yield f"{minute}-{hashlib.sha256(seed.encode('ascii')).hexdigest()[:4]}"


def end_running(connection: Connection, name: str, now: datetime) -> None:
    """Marks every run that still seems to run as interrupted."""
    mine = (run.c.partner == name, run.c.state == RunState.RUNNING)
    connection.execute(update(run).where(*mine).values(state=RunState.INTERRUPTED, ended_at=now))


def add_run(
    connection: Connection, name: str, id: str, period: Period, digest: str | None, who: str, now: datetime
) -> None:
    """Opens a run."""
    connection.execute(
        run.insert().values(
            partner=name,
            id=id,
            period=str(period),
            digest=digest,
            state=RunState.RUNNING,
            started_at=now,
            who=who,
            summary={},
        )
    )


def end_run(
    connection: Connection, name: str, id: str, state: RunState, summary: Mapping[str, Any], now: datetime
) -> None:
    """Closes a run."""
    mine = (run.c.partner == name, run.c.id == id)
    ended = connection.execute(update(run).where(*mine).values(state=state, summary=dict(summary), ended_at=now))
    assert ended.rowcount == 1, f"no run {id}"


def find_runs(
    connection: Connection, name: str, *, id: str | None = None, period: Period | None = None
) -> tuple[Run, ...]:
    """Runs by id or by period, oldest first."""
    query = select(run).where(run.c.partner == name).order_by(run.c.started_at, run.c.id)
    if id is not None:
        query = query.where(run.c.id == id)
    if period is not None:
        query = query.where(run.c.period == str(period))
    return tuple(read_as(Run, row) for row in connection.execute(query))


def _values(decision: Decision) -> dict[str, Any]:
    assert decision.state in SET_ASIDE, decision.state
    return {
        "charge": decision.charge,
        "state": decision.state,
        "by": decision.by,
        "price": decision.price,
        "cost": decision.cost,
        "currency": decision.currency,
    }


def add_settled(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds decisions; a charge that was decided before stays as it was."""
    connection.execute(insert(connection, settled).on_conflict_do_nothing(), list(rows))


def remove_settled(connection: Connection, name: str, charge: str) -> None:
    """Forgets a decision."""
    connection.execute(delete(settled).where(settled.c.partner == name, settled.c.charge == charge))


def add_seen_companies(connection: Connection, name: str, period: Period, companies: Sequence[str]) -> None:
    """Remembers which companies were charged in a period."""
    if companies:
        rows = [{"partner": name, "period": str(period), "company_id": company} for company in companies]
        connection.execute(insert(connection, company_seen).on_conflict_do_nothing(), rows)


def add_seen_products(connection: Connection, name: str, products: Sequence[str]) -> None:
    """Remembers which products were posted."""
    if products:
        rows = [{"partner": name, "product": product} for product in products]
        connection.execute(insert(connection, product_seen).on_conflict_do_nothing(), rows)
