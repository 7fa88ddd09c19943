"""One partner's rows from one database to another, byte for byte, and away again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Table,
    column,
    delete,
    insert,
    literal_column,
    select,
    table,
    update,
)
from sqlalchemy.sql.expression import TableClause
from sqlalchemy.types import TypeDecorator, TypeEngine

from billingsync.store.database import Database
from billingsync.store.schema import desk_life, fleet_partner, metadata, partner

AT_ONCE = 200  # rows that are in memory
# Who a partner is, and where its processes are: neither goes with its ledger, nor what the fleet knows of it.
_STAYS = (partner, desk_life)
_CARRIED = ("key_name", "installation", "halo_base_url", "halo_tenant", "bound_at")


def tables() -> tuple[Table, ...]:
    """The tables that are a ledger's content, each after those that it refers to."""
    return tuple(one for one in metadata.sorted_tables if _is_ledgers(one))


def _is_ledgers(one: Table) -> bool:
    return "partner" in one.c and one not in _STAYS and not one.name.startswith("fleet_")


def partners_in(connection: Connection) -> tuple[str, ...]:
    """Whose ledgers the database has."""
    return tuple(connection.execute(select(partner.c.partner).order_by(partner.c.partner)).scalars())


def holder_of(connection: Connection, installation: str) -> str | None:
    """The partner that has this installation's ledger."""
    return connection.scalar(select(partner.c.partner).where(partner.c.installation == installation).limit(1))


def set_mark(database: Database, name: str, said: Mapping[str, Any] | None) -> None:
    """Marks the ledger as moved; None takes the mark off."""
    with database.writing() as connection:
        connection.execute(update(partner).where(partner.c.partner == name).values(moved=said))


def mark_of(connection: Connection, name: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = connection.scalar(select(partner.c.moved).where(partner.c.partner == name))
    return found


def copy_content(source: Connection, of: str, target: Connection, to: str) -> int:
    """Puts every row of the partner `of` in place of those that the partner `to` has, and makes `to` that very
    installation, under `key_name` [F7]; its lease stays. Gives how many rows there are. Values go over as they lie in
    the database: nothing is read and written anew."""
    for one in reversed(tables()):
        target.execute(delete(one).where(one.c.partner == to))
    copied = 0
    for one in tables():
        plain = _plain(one)
        columns = [each for each in plain.c if each.name != "partner"]
        query = select(*columns).where(plain.c.partner == of)
        rows = source.execute(query, execution_options={"yield_per": AT_ONCE})
        for some in rows.mappings().partitions(AT_ONCE):
            target.execute(insert(plain), [{**row, "partner": to} for row in some])
            copied += len(some)
    row = source.execute(select(*(partner.c[name] for name in _CARRIED)).where(partner.c.partner == of)).one()
    target.execute(update(partner).where(partner.c.partner == to).values(**row._mapping))
    return copied


def _plain(one: Table) -> TableClause:
    return table(one.name, *(column(each.name, _type(each)) for each in one.c))


def _type(one: Column[Any]) -> TypeEngine[Any]:
    return one.type.impl_instance if isinstance(one.type, TypeDecorator) else one.type


def note_forgotten(database: Database, name: str, now: datetime) -> None:
    """From here on no run begins for the partner, whatever is still there of it."""
    with database.writing() as connection:
        own = update(fleet_partner).where(fleet_partner.c.partner == name, fleet_partner.c.forgotten_at.is_(None))
        connection.execute(own.values(forgotten_at=now, removed=True))


def forgotten_at(connection: Connection, name: str) -> datetime | None:
    """When the partner was forgotten; None where it was not."""
    return connection.scalar(select(fleet_partner.c.forgotten_at).where(fleet_partner.c.partner == name))


def forget(database: Database, name: str, *, at_once: int = 2000) -> int:
    """Deletes everything of the partner on PostgreSQL but its row in `fleet_partner`, at most `at_once` rows in one
    transaction, its own row last. Gives how many rows there were."""
    gone = 0
    of_partners = [one for one in reversed(metadata.sorted_tables) if "partner" in one.c]
    for one in (*(each for each in of_partners if each not in (partner, fleet_partner)), partner):
        place: ColumnElement[Any] = literal_column("ctid")
        some = select(place).select_from(one).where(one.c.partner == name).limit(at_once)
        while True:
            with database.writing() as connection:
                done = connection.execute(delete(one).where(one.c.partner == name, place.in_(some))).rowcount
            gone += done
            if done < at_once:
                break
    return gone
