"""The journal: append-only, each entry carries the hash of the one before, so that no entry can change unseen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, false, or_, select

from billingsync.store.columns import as_json, moment
from billingsync.store.database import read_as
from billingsync.store.schema import journal

FIRST = "0" * 64  # what the first entry has as its previous hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry, `at` and `body` (JSON) as the very texts that were hashed."""

    seq: int
    at: str
    kind: str
    body: str
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Whose journal it is, and the name that its hashes are made with [F7]."""

    partner: str
    key_name: str


def append(connection: Connection, chain: Chain, kind: str, bodies: Iterable[dict[str, Any]], now: datetime) -> None:
    """Adds an entry for each body. The caller's transaction must hold the partner's row, else two entries could claim
    one place."""
    last = connection.execute(_NEWEST, {"name": chain.partner}).first()
    newest, previous = (last.seq, last.hash) if last else (0, FIRST)
    at, added = moment(now), []
    for seq, body in enumerate(bodies, start=newest + 1):
        text = as_json(body)
        entry = {"partner": chain.partner, "seq": seq, "at": at, "kind": kind, "body": text, "previous": previous}
        previous = hash_of(chain.key_name, seq, at, kind, text, previous)
        added.append({**entry, "hash": previous})
    if added:
        connection.execute(journal.insert(), added)


_NEWEST = (
    select(journal.c.seq, journal.c.hash)
    .where(journal.c.partner == bindparam("name"))
    .order_by(journal.c.seq.desc())
    .limit(1)
)


def entries(connection: Connection, partner: str) -> tuple[Entry, ...]:
    """All entries, oldest first."""
    rows = connection.execute(select(journal).where(journal.c.partner == partner).order_by(journal.c.seq))
    return tuple(read_as(Entry, row) for row in rows)


def before(connection: Connection, partner: str, seq: int | None, since: str, most: int) -> tuple[Entry, ...]:
    """At most `most` entries before `seq` (None: the newest) and not before `since`, newest first."""
    query = select(journal).where(journal.c.partner == partner, journal.c.at >= since)
    if seq is not None:
        query = query.where(journal.c.seq < seq)
    rows = connection.execute(query.order_by(journal.c.seq.desc()).limit(most))
    return tuple(read_as(Entry, row) for row in rows)


def naming(connection: Connection, partner: str, texts: Collection[str], most: int) -> tuple[Entry, ...]:
    """The newest `most` entries whose body has one of these texts, oldest first."""
    said = [journal.c.body.contains(json.dumps(text)[1:-1], autoescape=True) for text in texts if text]
    query = select(journal).where(journal.c.partner == partner, or_(false(), *said))
    rows = connection.execute(query.order_by(journal.c.seq.desc()).limit(most)).all()
    return tuple(read_as(Entry, row) for row in reversed(rows))


# Entries after which a plan that was made before may come out otherwise.
_DECIDED = ("decision", "match.", "set_aside", "put_back", "settled", "unsettled", "desk_rules", "posting.", "run.")


def last_decided(connection: Connection, partner: str) -> tuple[int, str]:
    """Place and moment of the newest such entry; (0, "") where there is none."""
    kinds = or_(*[journal.c.kind.startswith(kind, autoescape=True) for kind in _DECIDED])
    query = select(journal.c.seq, journal.c.at).where(journal.c.partner == partner, kinds)
    row = connection.execute(query.order_by(journal.c.seq.desc()).limit(1)).first()
    return (0, "") if row is None else (row.seq, row.at)


def first_altered(entries: tuple[Entry, ...], key_name: str) -> Entry | None:
    """The first entry that is not what was written, or that does not follow the one before; None where all are well."""
    previous = FIRST
    for place, entry in enumerate(entries, start=1):
        true = hash_of(key_name, entry.seq, entry.at, entry.kind, entry.body, entry.previous)
        if entry.seq != place or entry.previous != previous or entry.hash != true:
            return entry
        previous = entry.hash
    return None


def hash_of(key_name: str, seq: int, at: str, kind: str, body: str, previous: str) -> str:
    """SHA-256 over everything an entry says, and over the hash of the one before."""
    return hashlib.sha256(as_json([key_name, seq, at, kind, body, previous]).encode("ascii")).hexdigest()
