"""Ledgers into the fleet, out of it, and off: `fleet import`, `fleet export`, `fleet forget`.

Two databases know no common transaction. So the old ledger is marked first, which stops it; then all of it comes into
the fleet in one transaction; then the mark says that it arrived. Killed in between, neither of them posts, or only the
new one does, and the same command goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, make_url, select, update
from sqlalchemy.exc import SQLAlchemyError

from billingsync.audit import verify
from billingsync.core.partner import SINGLE
from billingsync.core.reconcile.card_write import OPEN as OPEN_WRITES
from billingsync.errors import LedgerError, Locked, OtherInstallation, Refused, UsageError
from billingsync.store import files, journal, moving
from billingsync.store.columns import moment
from billingsync.store.database import Database
from billingsync.store.fleet import open_fleet
from billingsync.store.fleet_gate import require_known
from billingsync.store.fleet_tenants import claim_tenant, refuse_other_address
from billingsync.store.journal import Chain
from billingsync.store.ledger import Ledger, open_ledger
from billingsync.store.lock import LockBook
from billingsync.store.moved import How, mark, refuse_moved
from billingsync.store.orders import SILENT
from billingsync.store.partners import Partner, find_partner
from billingsync.store.schema import card_write, desk_life, fleet_partner, posting
from billingsync.store.schema import partner as partner_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """`rows` is 0 where the ledger had arrived already."""

    partner: str
    installation: str
    key_name: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    partner: str
    installation: str
    rows: int
    entries: int  # of the journal


def ledger_url(ledger: str) -> str:
    """A PostgreSQL URL as it is, the path of a SQLite file as a URL. UsageError where there is no such file."""
    if "://" in ledger:
        return ledger
    path = Path(ledger).expanduser().resolve()
    if not path.exists():
        raise UsageError(f"There is no file {path}. Nothing was imported.")
    return f"sqlite:///{path}"


# In -------------------------------------------------------------------------------------------------------------------


def import_ledger(
    database_url: str, name: str, ledger: str, *, replace: bool, holder: str, now: datetime, lease_s: float
) -> Imported:
    """Moves the ledger at `ledger` (a file or a URL) into the fleet, as its partner `name`. `replace`: put it in place
    of what that partner has, which must be the same installation's.

    Raises UsageError where there is no such partner or ledger, OtherInstallation while the old installation works,
    Moved where the ledger went elsewhere, Refused where it cannot be taken in as it is, Locked while the partner works.
    """
    url = ledger_url(ledger)
    old_name = _only_partner(url, name)
    with (
        open_ledger(url, partner=old_name, lease_s=lease_s) as old,
        open_ledger(database_url, partner=name, lease_s=lease_s) as new,
    ):
        with new.reading() as connection:
            require_known(connection, name)
        if old.database.url == new.database.url:
            raise UsageError("The ledger is this fleet's own already.")
        with old.reading() as connection:
            told, whose = moving.mark_of(connection, old_name), find_partner(connection, old_name)
        export = told is not None and told["how"] == How.EXPORT
        with _stopped(old, holder, now, export=export), LockBook.run_lock(new, holder):
            begun = told if told is not None and not export else None
            if begun is not None and (begun["name"], begun["where"]) != (name, new.database.where):
                refuse_moved(begun)
            if begun is not None and _has_arrived(new, whose):
                rows = 0
            else:
                if begun is not None and begun["how"] == How.MOVED:
                    refuse_moved(begun)
                _check_content(old)
                _check_place(database_url, new, whose, told, replace=replace)
                if not export:
                    moving.set_mark(old.database, old_name, _mark(How.MOVING, new, ledger, now))
                rows = _take_in(old, new, whose, told, holder, now, export=export)
            if not export:
                moving.set_mark(old.database, old_name, _mark(How.MOVED, new, ledger, now))
    return Imported(partner=name, installation=whose.installation, key_name=whose.key_name, rows=rows)


def give_up_import(database_url: str, name: str, ledger: str, *, holder: str, now: datetime, lease_s: float) -> None:
    """Lets the old installation bill on after a move that was broken off. Refused where there was none, or where the
    ledger arrived in the fleet."""
    url = ledger_url(ledger)
    with (
        open_ledger(url, partner=_only_partner(url, name), lease_s=lease_s) as old,
        open_ledger(database_url, partner=name, lease_s=lease_s) as new,
        _stopped(old, holder, now, export=False),
        LockBook.run_lock(new, holder),
    ):
        with old.reading() as connection:
            told, whose = moving.mark_of(connection, old.name), find_partner(connection, old.name)
        if told is None or told["how"] != How.MOVING:
            raise Refused(f"No move of {old.database.where} was broken off. Nothing was changed.")
        if (told["name"], told["where"]) != (name, new.database.where) or _has_arrived(new, whose):
            refuse_moved(told)
        moving.set_mark(old.database, old.name, None)


def _mark(how: How, new: Ledger, ledger: str, now: datetime) -> dict[str, Any]:
    typed = make_url(ledger).render_as_string() if "://" in ledger else str(Path(ledger).expanduser().resolve())
    return mark(how, name=new.name, where=new.database.where, ledger=typed, at=moment(now))


def _only_partner(url: str, name: str) -> str:
    """Under which name the ledger is in that database: its only one, or the same name as here."""
    with closing(Database(url, create=False).acting_for(name)) as database, database.reading() as connection:
        database.require_current(database.revision(connection))
        found = moving.partners_in(connection)
    if name in found:
        return name
    if len(found) == 1:
        return found[0]
    many = f"holds the ledgers of {len(found)} partners, and none of {name}"
    what = many if found else "holds no partner's ledger"
    raise UsageError(f"The database {database.where} {what}. Nothing was read.")


@contextmanager
def _stopped(old: Ledger, holder: str, now: datetime, *, export: bool) -> Iterator[None]:
    """Holds the old installation's lock; OtherInstallation where it is at work. Nobody works with an export."""
    if export:
        yield
        return
    with old.reading() as connection:
        alive = select(func.max(desk_life.c.at)).where(desk_life.c.partner == old.name)
        last = connection.scalar(alive)
    if last is not None and last > now - SILENT:
        raise OtherInstallation(
            f"The old installation still runs: a worker or desk showed that it lives at {last:%H:%M:%S} UTC. Nothing "
            f"was moved. Stop it, turn its service off, and come back {SILENT.seconds} seconds later."
        )
    with ExitStack() as held:
        try:
            held.enter_context(LockBook.run_lock(old, holder))
        except Locked as locked:
            raise OtherInstallation(
                f"The old installation still runs. {locked.message} Nothing was moved. Stop it, turn its service off, "
                "and come back."
            ) from locked
        yield


def _check_content(old: Ledger) -> None:
    """Refused where the ledger was altered, or a write of it may still be under way."""
    _refuse_unresolved(old, "imported")
    _refuse_altered(old, "imported")


def _refuse_unresolved(ledger: Ledger, what: str) -> None:
    with ledger.reading() as connection:
        writes = select(func.count()).where(
            card_write.c.partner == ledger.name, card_write.c.state.in_([state.value for state in OPEN_WRITES])
        )
        open_writes = connection.scalar(writes) or 0
    if count := len(ledger.unresolved()) + open_writes:
        raise Refused(
            f"Nobody knows yet what became of {count} {'write' if count == 1 else 'writes'} to HaloPSA. Nothing was "
            f"{what}. Run that month once more where the ledger is now, which finds out.",
            next_steps=[["billingsync", "runs"]],
        )


def _refuse_altered(ledger: Ledger, what: str) -> None:
    if problems := verify(ledger).problems:
        raise Refused(
            f"The ledger {ledger.database.where} was altered. Nothing was {what}. The first: {problems[0]}",
            next_steps=[["billingsync", "audit", "verify"]],
        )


def _has_arrived(new: Ledger, whose: Partner) -> bool:
    with new.reading() as connection:
        return find_partner(connection, new.name).installation == whose.installation


def _check_place(
    database_url: str, new: Ledger, whose: Partner, told: Mapping[str, Any] | None, *, replace: bool
) -> None:
    """Refused where the ledger would take another's place, or stand in two."""
    with open_fleet(database_url) as fleet, fleet.database.reading() as connection:
        elsewhere = moving.holder_of(connection, whose.installation)
    if elsewhere not in (None, new.name):
        raise Refused(f"The fleet's partner {elsewhere} has this very ledger already. Nothing was imported.")
    same = elsewhere is not None
    if told is not None and not same and not told["stopped"]:
        raise OtherInstallation(
            f"When this export was made, {told['name']} was still billed from {told['where']}. Nothing was imported: "
            "two would bill it. Take its folder out of that fleet, publish that, and export it again."
        )
    if same and not replace:
        raise Refused(
            f"{new.name} has this ledger already, as it is today. To put it back to what it was in this one, say "
            "--replace: what was billed since is found in HaloPSA by the next run."
        )
    if not same and _ever_wrote(new):
        raise Refused(
            f"{new.name} has written to HaloPSA with another ledger. Nothing was imported: what it billed would be "
            "forgotten. Import it as another partner."
        )
    if whose.halo_base_url is not None:
        with new.reading() as connection:
            refuse_other_address(connection, new.name, whose.halo_base_url)


def _ever_wrote(ledger: Ledger) -> bool:
    with ledger.reading() as connection:
        return any(
            connection.scalar(select(one.c.key).where(one.c.partner == ledger.name).limit(1)) is not None
            for one in (posting, card_write)
        )


def _take_in(
    old: Ledger,
    new: Ledger,
    whose: Partner,
    told: Mapping[str, Any] | None,
    holder: str,
    now: datetime,
    *,
    export: bool,
) -> int:
    """All of it in one transaction of the fleet. Where that surely did not happen the old ledger is as it was."""
    try:
        with old.reading() as source, new.database.writing() as target:
            rows = moving.copy_content(source, old.name, target, new.name)
            if whose.halo_tenant:
                claim_tenant(target, new.name, whose.halo_tenant)
            chain = Chain(new.name, whose.key_name)
            body = {"installation": whose.installation, "rows": rows, "from": old.database.where, "who": holder}
            journal.append(target, chain, "fleet.imported", (body,), now)
            return rows
    except BaseException:
        if not export:
            with suppress(LedgerError, SQLAlchemyError):
                if not _has_arrived(new, whose):
                    moving.set_mark(old.database, old.name, told)
        raise


# Out ------------------------------------------------------------------------------------------------------------------


def export_partner(database_url: str, name: str, file: Path, *, now: datetime) -> Exported:
    """One SQLite file with all that the partner has, as it is at this moment, that `audit verify` reads and
    `fleet import` takes. It appears under its name once it is complete and checked. Raises UsageError where there is no
    such partner, LedgerError where the file cannot be written, Refused where the ledger was altered."""
    target = file.expanduser().resolve()
    if target.exists():
        raise LedgerError(f"{target} exists already; an export overwrites nothing. Give it another name.")
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    with open_ledger(database_url, partner=name) as ledger:
        with ledger.reading() as connection:
            require_known(connection, name)
        try:
            exported = _write(ledger, partial, str(file), now)
            files.publish(partial, target)
        finally:
            for ending in ("", "-wal", "-shm"):
                with suppress(OSError):
                    Path(f"{partial}{ending}").unlink(missing_ok=True)
    return exported


def _write(ledger: Ledger, partial: Path, called: str, now: datetime) -> Exported:
    with (
        open_ledger(f"sqlite:///{partial}", partner=SINGLE) as archive,
        ledger.reading() as source,
        archive.database.writing() as target,
    ):
        rows = moving.copy_content(source, ledger.name, target, SINGLE)
        row = source.execute(select(fleet_partner.c.removed).where(fleet_partner.c.partner == ledger.name)).one()
        place = ledger.database.where
        said = mark(How.EXPORT, name=ledger.name, where=place, ledger=called, at=moment(now), stopped=row.removed)
        target.execute(update(partner_table).values(moved=said))
    with open_ledger(f"sqlite:///{partial}", partner=SINGLE) as archive:
        _refuse_altered(archive, "exported")
        return Exported(
            partner=ledger.name, installation=archive.installation, rows=rows, entries=len(archive.journal_entries())
        )


# Off ------------------------------------------------------------------------------------------------------------------


def forget_partner(database_url: str, name: str, exported: Path, *, holder: str, now: datetime, lease_s: float) -> int:
    """Deletes everything that the fleet has of a partner that is no more among its files; its name and the day stay,
    and the name is never used again. Gives how many rows went. Killed, the same command goes on.

    Raises Refused unless the export is of this partner, was made after its folder went, proves whole, and knows
    everything that was decided and posted.
    """
    with open_fleet(database_url) as fleet:
        with fleet.database.reading() as connection:
            require_known(connection, name)
            begun = moving.forgotten_at(connection, name) is not None
            removed = connection.scalar(select(fleet_partner.c.removed).where(fleet_partner.c.partner == name))
        if not removed:
            raise Refused(
                f"{name} is still among the fleet's files. Nothing was forgotten. Take its folder away and publish "
                "that, then export it.",
                next_steps=[["billingsync", "fleet", "apply", "--dry-run"]],
            )
        with open_ledger(ledger_url(str(exported)), partner=SINGLE) as archive:
            _refuse_altered(archive, "forgotten")
            _refuse_other(archive, name, fleet.database.where)
            if not begun:
                _refuse_early(archive, name)
                _check_complete(database_url, name, archive, holder, now, lease_s)
        acting = fleet.database.acting_for(name)
        return moving.forget(acting, name)


def _refuse_other(archive: Ledger, name: str, where: str) -> None:
    with archive.reading() as connection:
        told = moving.mark_of(connection, SINGLE)
    if told is None or told["how"] != How.EXPORT or told["name"] != name:
        raise Refused(
            f"{archive.database.where} is no export of {name}. Nothing was forgotten.", next_steps=[_export(name)]
        )


def _refuse_early(archive: Ledger, name: str) -> None:
    """No other fleet takes in what was exported while the partner was billed: nothing could go on with the ledger."""
    with archive.reading() as connection:
        told = moving.mark_of(connection, SINGLE)
    if told is None or not told["stopped"]:
        raise Refused(
            f"{archive.database.where} was made before its folder was taken away, so no other fleet would go on with "
            "it. Nothing was forgotten. Export it again.",
            next_steps=[_export(name)],
        )


def _export(name: str) -> list[str]:
    return ["billingsync", "fleet", "export", name, f"{name}.db"]


def _check_complete(database_url: str, name: str, archive: Ledger, holder: str, now: datetime, lease_s: float) -> None:
    """Refused where the partner did something that the export does not know; else no run begins for it any more."""
    with open_ledger(database_url, partner=name, lease_s=lease_s) as live, LockBook.run_lock(live, holder):
        _refuse_unresolved(live, "forgotten")
        known, entries = archive.journal_entries(), live.journal_entries()
        if archive.installation != live.installation or entries[: len(known)] != known:
            raise Refused(
                f"{archive.database.where} is an export of another ledger than {name} has now. Nothing was forgotten.",
                next_steps=[_export(name)],
            )
        if live.last_decided() > len(known):
            raise Refused(
                f"{name} went on after {archive.database.where} was made. Nothing was forgotten. Export it again.",
                next_steps=[_export(name)],
            )
        moving.note_forgotten(live.database, name, now)
