"""What `fleet apply` published, by version, and what the fleet knows of each partner. Partners are made here alone."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, exists, func, or_, select, update

from billingsync.errors import LedgerError, Refused
from billingsync.store.book import Book
from billingsync.store.columns import batches_of
from billingsync.store.database import Database
from billingsync.store.fleet_gate import require_known, unknown_partner
from billingsync.store.fleet_tenants import PUBLISH_LOCK, Claims, claims_in, write_claims
from billingsync.store.fleet_turns import unpark
from billingsync.store.isolation import FLEET, STATUS, is_isolated
from billingsync.store.partners import add_partners, find_key_name
from billingsync.store.schema import (
    fleet_file,
    fleet_partner,
    fleet_partner_version,
    fleet_turn,
    fleet_version,
    partner,
    plan,
    posting,
)
from billingsync.store.upgrade import bring_up


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPartner:
    """`files` are path -> SHA-256 of its last good version, which is the fleet's `version` or an earlier one."""

    name: str
    version: int
    files: Mapping[str, str]
    removed: bool
    weight: int
    paused: bool
    shared_tenant: bool
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What is published now; `version` 0 where nothing is. `settings`: the SHA-256 of fleet.toml. `forgotten`: partners
    that were forgotten, and when; they are not among `partners`."""

    version: int = 0
    settings: str = ""
    partners: Mapping[str, PublishedPartner] = field(default_factory=dict)
    claims: Claims = field(default_factory=dict)
    forgotten: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPartner:
    """A partner as it is to be published: path -> text."""

    files: Mapping[str, str]
    weight: int
    paused: bool
    shared_tenant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """What is to be published over version `base`: partners that are new or changed, and those that are no more.
    `problems` are of partners that keep what they have; `claims` are the whole fleet's, made of those that were there
    before (`claims_before`); `settings`: fleet.toml's text."""

    base: int
    settings: str
    partners: Mapping[str, NewPartner]
    removed: Collection[str]
    problems: Mapping[str, tuple[str, ...]]
    claims: Claims
    claims_before: Claims
    standby: bool = False


def sha256(text: str) -> str:
    """A file's hash: of its text in UTF-8, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


class Fleet:
    """The fleet's side of a database. Use it in a `with` block, or `close()` it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.database.close()

    def as_status(self) -> Database:
        """The same database, for what `fleet status` reads: how partners stand, and no document."""
        reader = copy.copy(self.database)
        reader.role = STATUS if self.database.role else ""
        return reader

    # Versions --------------------------------------------------------------------------------------------------------

    def published(self) -> Published:
        """What is published now."""
        with self.database.reading() as connection:
            row = connection.execute(select(fleet_version).order_by(fleet_version.c.number.desc()).limit(1)).first()
            if row is None:
                return Published()
            newest = (
                select(fleet_partner_version.c.partner, func.max(fleet_partner_version.c.version).label("version"))
                .group_by(fleet_partner_version.c.partner)
                .subquery()
            )
            joined = fleet_partner.join(newest, newest.c.partner == fleet_partner.c.partner).join(
                fleet_partner_version,
                (fleet_partner_version.c.partner == newest.c.partner)
                & (fleet_partner_version.c.version == newest.c.version),
            )
            partners = connection.execute(
                select(fleet_partner, fleet_partner_version.c.version, fleet_partner_version.c.files)
                .select_from(joined)
                .order_by(fleet_partner.c.partner)
            )
            once = fleet_partner.c.forgotten_at
            gone = connection.execute(select(fleet_partner.c.partner, once).where(once.is_not(None))).all()
            return Published(
                version=row.number,
                settings=row.settings,
                partners={each.partner: _partner(each) for each in partners if each.forgotten_at is None},
                forgotten={each.partner: each.forgotten_at for each in gone},
                claims=claims_in(connection),
            )

    def files_of(self, name: str, version: int) -> Mapping[str, str]:
        """The partner's files as of that version: path -> text. LedgerError where there are none."""
        with self.database.reading() as connection:
            mine = (fleet_partner_version.c.partner == name) & (fleet_partner_version.c.version <= version)
            newest = fleet_partner_version.c.version.desc()
            files = connection.scalar(select(fleet_partner_version.c.files).where(mine).order_by(newest).limit(1))
            if files is None:
                raise LedgerError(f"The fleet's version {version} has no partner {name}.")
            texts = _texts(connection, files.values())
        return {path: texts[hash] for path, hash in files.items()}

    def settings_of(self, version: int) -> str:
        """fleet.toml as of that version."""
        with self.database.reading() as connection:
            hash = connection.execute(
                select(fleet_version.c.settings).where(fleet_version.c.number == version)
            ).scalar_one()
            return _texts(connection, [hash])[hash]

    def publish(self, new: NewVersion, *, who: str, now: datetime) -> int:
        """Publishes all of it, in one transaction, and returns the version; that is `new.base` where nothing but
        problems is new. Refused where somebody else published since, or a partner was tied to its HaloPSA tenant."""
        with self.database.writing() as connection:
            if self.database.file is None:
                connection.execute(select(func.pg_advisory_xact_lock(PUBLISH_LOCK)))
            newest = connection.execute(select(fleet_version).order_by(fleet_version.c.number.desc()).limit(1)).first()
            if (found := newest.number if newest else 0) != new.base:
                raise Refused(
                    f"Somebody else published version {found} meanwhile. Nothing was published.",
                    next_steps=[["billingsync", "fleet", "apply", "--dry-run"]],
                )
            if newest is not None:
                connection.execute(update(fleet_partner).where(fleet_partner.c.problems != []).values(problems=[]))
                for name, problems in new.problems.items():
                    own = update(fleet_partner).where(fleet_partner.c.partner == name)
                    connection.execute(own.values(problems=list(problems)))
                if not (new.partners or new.removed or newest.settings != sha256(new.settings)):
                    return new.base
            if claims_in(connection) != new.claims_before:
                raise Refused(
                    "A partner was tied to its HaloPSA tenant meanwhile. Nothing was published; apply once more.",
                    next_steps=[["billingsync", "fleet", "apply", "--dry-run"]],
                )
            number = new.base + 1
            texts = {text for one in new.partners.values() for text in one.files.values()}
            _add_texts(connection, {new.settings, *texts})
            row: dict[str, Any] = {"number": number, "settings": sha256(new.settings), "published_at": now, "who": who}
            connection.execute(fleet_version.insert().values(**row, standby=new.standby))
            _write_partners(connection, new, number)
            write_claims(connection, new.claims)
        return number

    def refuse_others(self, names: Collection[str]) -> None:
        """Refused where the database holds the ledger of an installation that is none of these partners: once this is a
        fleet's database, nobody could work with it any more."""
        with self.database.reading() as connection:
            used = exists(select(plan.c.digest).where(plan.c.partner == partner.c.partner))
            found = set(connection.execute(select(partner.c.partner).where(used)).scalars()) - set(names)
        if found:
            raise Refused(
                f"The database {self.database.where} holds the ledger of an installation, {min(found)}. Nothing was "
                "published. Give the fleet a database of its own in BILLINGSYNC_DATABASE_URL."
            )

    def have_posted(self, names: Collection[str]) -> frozenset[str]:
        """Which of these partners ever posted anything."""
        found: set[str] = set()
        with self.database.reading() as connection:
            for some in batches_of(names):
                theirs = exists(select(posting.c.key).where(posting.c.partner == fleet_partner.c.partner))
                rows = select(fleet_partner.c.partner).where(fleet_partner.c.partner.in_(some), theirs)
                found.update(connection.execute(rows).scalars())
        return frozenset(found)

    # Partners --------------------------------------------------------------------------------------------------------

    def pause(self, name: str, *, why: str, who: str, now: datetime) -> bool:
        """No run begins for this partner, until `resume`. False where it was paused by command already: then who paused
        it first, and why, stay."""
        paused = {"paused_at": now, "paused_by": who, "paused_why": why}
        free = fleet_partner.c.paused_at.is_(None)
        return self._note(name, free, paused, "fleet.paused", {"who": who, "reason": why}, now)

    def resume(self, name: str, *, who: str, now: datetime) -> bool:
        """Lets runs begin again. False where the partner was neither paused by command nor parked."""
        nobody = {"paused_at": None, "paused_by": None, "paused_why": None}
        parked = exists(
            select(fleet_turn.c.partner).where(fleet_turn.c.partner == name, fleet_turn.c.parked_at.is_not(None))
        )
        held = or_(fleet_partner.c.paused_at.is_not(None), parked)
        return self._note(name, held, nobody, "fleet.resumed", {"who": who}, now)

    def _note(
        self,
        name: str,
        only: ColumnElement[bool],
        values: dict[str, Any],
        kind: str,
        body: dict[str, Any],
        now: datetime,
    ) -> bool:
        """Changes the partner's row where it is as `only` says, with an entry in the partner's journal."""
        with self.database.reading() as connection:
            require_known(connection, name)
            key_name = find_key_name(connection, name)
            if key_name is None:  # it was forgotten
                raise unknown_partner(connection, name)
            book = Book(self.database.acting_for(name), name, key_name)
        with book.writing() as connection:
            changed = connection.execute(
                update(fleet_partner).where(fleet_partner.c.partner == name, only).values(**values)
            )
            if changed.rowcount:
                book.note(connection, kind, body, now)
            if kind == "fleet.resumed":
                unpark(connection, name)
        return bool(changed.rowcount)


def open_fleet(url: str) -> Fleet:
    """The fleet in the PostgreSQL database at `url`; an empty database is set up first. Raises as `open_ledger`."""
    database = Database(url, create=False)
    try:
        with database.reading() as connection:
            revision = database.revision(connection)
            if revision is not None:
                database.require_current(revision)
                isolated = is_isolated(connection)
        if revision is None:
            bring_up(database)
        elif isolated:
            database.role = FLEET
        return Fleet(database)
    except BaseException:
        database.close()
        raise


# Rows


def _partner(row: Any) -> PublishedPartner:
    return PublishedPartner(
        name=row.partner,
        version=row.version,
        files=row.files,
        removed=row.removed,
        weight=row.weight,
        paused=row.paused,
        shared_tenant=row.shared_tenant,
        problems=tuple(row.problems),
    )


def _texts(connection: Connection, hashes: Iterable[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for some in batches_of(hashes):
        rows = connection.execute(select(fleet_file).where(fleet_file.c.sha256.in_(some)))
        found |= {row.sha256: row.body.decode() for row in rows}
    return found


def _add_texts(connection: Connection, texts: Collection[str]) -> None:
    by_hash = {sha256(text): text for text in texts}
    known: set[str] = set()
    for some in batches_of(by_hash):
        known.update(connection.execute(select(fleet_file.c.sha256).where(fleet_file.c.sha256.in_(some))).scalars())
    rows = [{"sha256": hash, "body": text.encode()} for hash, text in sorted(by_hash.items()) if hash not in known]
    if rows:
        connection.execute(fleet_file.insert(), rows)


def _write_partners(connection: Connection, new: NewVersion, number: int) -> None:
    known = set(connection.execute(select(fleet_partner.c.partner)).scalars())
    add_partners(connection, sorted(set(new.partners) - known))
    said = {
        name: {"weight": one.weight, "paused": one.paused, "shared_tenant": one.shared_tenant}
        for name, one in new.partners.items()
    }
    fresh = [
        {"partner": name, "since": number, "removed": False, "problems": [], **values}
        for name, values in said.items()
        if name not in known
    ]
    if fresh:
        connection.execute(fleet_partner.insert(), fresh)
    changed = [{"name": name, **values} for name, values in said.items() if name in known]
    if changed:
        own = update(fleet_partner).where(fleet_partner.c.partner == bindparam("name"))
        columns: dict[str, Any] = {column: bindparam(column) for column in ("weight", "paused", "shared_tenant")}
        connection.execute(own.values(removed=False, **columns), changed)
    if new.partners:
        files = [
            {"partner": name, "version": number, "files": {path: sha256(text) for path, text in one.files.items()}}
            for name, one in new.partners.items()
        ]
        connection.execute(fleet_partner_version.insert(), files)
    for some in batches_of(new.removed):
        connection.execute(update(fleet_partner).where(fleet_partner.c.partner.in_(some)).values(removed=True))
