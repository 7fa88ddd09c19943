"""The ledger: our durable memory of what was read, planned, decided and posted."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from sqlalchemy import select

from billingsync.store import files, journal
from billingsync.store.book import LEASE_S, Fence
from billingsync.store.card_writes import CardWriteBook
from billingsync.store.clock import database_now
from billingsync.store.columns import moment
from billingsync.store.cycles import CycleBook
from billingsync.store.database import Database, parse
from billingsync.store.decisions import DecisionBook
from billingsync.store.desk_rules import DeskRulesBook
from billingsync.store.drafts import DraftBook
from billingsync.store.fleet_gate import refuse_paused, refuse_strangers
from billingsync.store.imports import ImportBook
from billingsync.store.intents import IntentBook
from billingsync.store.lock import LockBook
from billingsync.store.lookback import LookBackBook
from billingsync.store.mappings import MappingBook
from billingsync.store.memory import MemoryBook
from billingsync.store.moved import refuse_moved
from billingsync.store.moving import mark_of
from billingsync.store.notices import NoticeBook
from billingsync.store.orders import OrderBook
from billingsync.store.pairings import PairingBook
from billingsync.store.partners import PartnerBook, add_partner, find_key_name
from billingsync.store.people import PeopleBook
from billingsync.store.plan_rows import PlanRowBook
from billingsync.store.plans import PlanBook
from billingsync.store.receipts import ReceiptBook
from billingsync.store.runs import RunBook
from billingsync.store.sessions import SessionBook
from billingsync.store.snapshots import SnapshotBook
from billingsync.store.sources import SourceBook
from billingsync.store.standing import StandingBook
from billingsync.store.upgrade import bring_up

if TYPE_CHECKING:
    from billingsync.core.rules import DeskRules


class Ledger(
    PartnerBook,
    LockBook,
    SourceBook,
    MappingBook,
    PlanBook,
    DecisionBook,
    DeskRulesBook,
    RunBook,
    IntentBook,
    ReceiptBook,
    MemoryBook,
    LookBackBook,
    CycleBook,
    NoticeBook,
    PeopleBook,
    SessionBook,
    SnapshotBook,
    ImportBook,
    DraftBook,
    CardWriteBook,
    PairingBook,
    OrderBook,
    PlanRowBook,
    StandingBook,
):
    """One partner's ledger. Each method is one transaction, so that no caller can hold one open over a network call.
    Use it in a `with` block, or `close()` it."""

    _cycle: Fence | None = None  # of a cycle that holds the lock as a whole

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.database.close()

    @contextmanager
    def run_lock(self, holder: str) -> Iterator[Fence]:
        """See `LockBook.run_lock`; Paused where the fleet lets no run begin for this partner, also within a cycle;
        Moved where the ledger went on elsewhere."""
        with self.reading() as connection:
            refuse_paused(connection, self.name)
            refuse_moved(mark_of(connection, self.name))
        if self._cycle is not None:
            yield self._cycle
            return
        with super().run_lock(holder) as fence:
            yield fence

    @contextmanager
    def cycle_lease(self, holder: str) -> Iterator[None]:
        """Holds the lock for a whole cycle: the runs in this block are under it, one after another, in one thread.
        Raises as `run_lock`."""
        with self.run_lock(holder) as fence:
            self._cycle = fence
            try:
                yield
            finally:
                self._cycle = None

    def clock_ahead_s(self) -> float | None:
        """How far the database's clock is ahead of ours, good to a second, where a fleet goes by it; else None."""
        if self._cycle is None:
            return None
        with self.reading() as connection:
            before = datetime.now(UTC)
            now: datetime = connection.execute(select(database_now())).scalar_one()
        return (now - before).total_seconds()

    def keeps_cycle_lease(self) -> bool:
        """Whether the lease of the cycle that is at work is still ours."""
        return self._cycle is None or self.fence_holds(self._cycle)

    def run_is_under_way(self) -> bool:
        """See `LockBook.run_is_under_way`; a cycle's own lease is no run."""
        return self._cycle is None and super().run_is_under_way()

    def assert_durable(self) -> None:
        """See `Database.assert_durable`; to be asked before posting."""
        self.database.assert_durable()

    def journal_entries(self) -> tuple[journal.Entry, ...]:
        """The journal, oldest entry first."""
        with self.reading() as connection:
            return journal.entries(connection, self.name)

    def entries_before(
        self, seq: int | None = None, since: datetime | None = None, most: int = 1000
    ) -> tuple[journal.Entry, ...]:
        """At most `most` entries of the journal before `seq` (None: the newest), none older than `since`; newest
        first."""
        with self.reading() as connection:
            return journal.before(connection, self.name, seq, moment(since) if since else "", most)

    def entries_naming(self, texts: Collection[str], most: int = 500) -> tuple[journal.Entry, ...]:
        """The newest `most` entries of the journal that name one of these texts, oldest first."""
        with self.reading() as connection:
            return journal.naming(connection, self.name, texts, most)

    def decided_since(self, at: datetime) -> bool:
        """Whether anything was decided or posted after that moment, so that a plan of then may be another by now."""
        with self.reading() as connection:
            return journal.last_decided(connection, self.name)[1] > moment(at)

    def last_decided(self) -> int:
        """The journal's newest entry about something that was decided or posted; 0 where there is none."""
        with self.reading() as connection:
            return journal.last_decided(connection, self.name)[0]


def open_ledger(url: str, *, partner: str, check: bool | None = None, lease_s: float = LEASE_S) -> Ledger:
    """The partner's ledger in the database at `url`; an empty database is set up first.

    `lease_s` is how many seconds a run's lock lasts without being renewed. `check` reads the whole SQLite file for
    damage (None: if it is small). Raises SettingsError for a URL that cannot be used, LedgerError for a database that
    cannot: unreachable, damaged, another program's, of an older or a newer schema; UsageError for a name that a
    fleet's database does not know. Nothing is written to such a one.
    """
    database = Database(url)
    database.partner = partner
    try:
        small = database.file is not None and database.file.stat().st_size < files.QUICK_CHECK_BYTES
        if database.file and (small if check is None else check):
            files.quick_check(database.file)
        with database.reading() as connection:
            revision = database.revision(connection)
        if revision is None:
            bring_up(database)
        else:
            database.require_current(revision)
            database.use_wal()
        with database.reading() as connection:
            refuse_strangers(connection, partner)
            key_name = find_key_name(connection, partner)
        if key_name is None:
            with database.writing() as connection:
                key_name = add_partner(connection, partner)
        ledger = Ledger(database, partner, key_name)
        ledger.lease_s = lease_s
        return ledger
    except BaseException:
        database.close()
        raise


def desk_rules_at(url: str, partner: str) -> tuple[DeskRules, ...]:
    """The partner's desk rules in the database at `url`, none where there is no such file yet: rules can be checked
    before there is a ledger. LedgerError where it cannot be read."""
    path = parse(url)
    if path.get_backend_name() == "sqlite" and not Path(path.database or "").exists():
        return ()
    with open_ledger(url, partner=partner) as ledger:
        return ledger.desk_rules()
