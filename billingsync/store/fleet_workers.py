"""The fleet's workers, as each shows itself in the database now and then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, update

from billingsync.store.clock import database_now
from billingsync.store.database import Database, insert
from billingsync.store.schema import fleet_worker

SEEN_S = 90.0  # one that was seen within so many seconds lives: it shows itself every 15
FORGOTTEN = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownWorker:
    """A worker as it was when it showed itself last. `id` is its process's; several may have one `name`.
    `counts`: numbers by name, the queue's among them. `says`: why it hands out no work, "" where it does. `drain_by`:
    who told it to stop, "" where nobody did."""

    id: str
    name: str
    version: str
    started_at: datetime
    seen_at: datetime
    slots: int
    running: int
    says: str = ""
    drain_by: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


def show_worker(
    database: Database, id: str, values: Mapping[str, Any], counts: Mapping[str, int], says: str = ""
) -> str:
    """Writes down that this worker lives: `values` are its name, version, slots and running. Gives who told it to stop,
    "" where nobody did."""
    now = database_now()
    given = {**values, "counts": dict(counts), "says": says or None, "seen_at": now}
    with database.writing() as connection:
        new = insert(connection, fleet_worker).values(worker=id, started_at=now, **given)
        connection.execute(new.on_conflict_do_update(index_elements=["worker"], set_=given))
        connection.execute(
            delete(fleet_worker).where(fleet_worker.c.seen_at < database_now(-FORGOTTEN.total_seconds()))
        )
        return connection.scalar(select(fleet_worker.c.drain_by).where(fleet_worker.c.worker == id)) or ""


def leave(database: Database, id: str) -> None:
    """This worker has ended."""
    with database.writing() as connection:
        connection.execute(delete(fleet_worker).where(fleet_worker.c.worker == id))


def workers_in(connection: Connection) -> tuple[ShownWorker, ...]:
    """Those of the last two days that did not end by themselves, by name."""
    query = select(fleet_worker).order_by(fleet_worker.c.name, fleet_worker.c.started_at)
    return tuple(
        ShownWorker(
            id=row.worker,
            name=row.name,
            version=row.version,
            started_at=row.started_at,
            seen_at=row.seen_at,
            slots=row.slots,
            running=row.running,
            counts=row.counts,
            says=row.says or "",
            drain_by=row.drain_by or "",
        )
        for row in connection.execute(query)
    )


def drain(database: Database, name: str, who: str) -> int:
    """Tells every worker of that name to stop, and gives how many live."""
    alive = (fleet_worker.c.name == name, fleet_worker.c.seen_at >= database_now(-SEEN_S))
    values = {"drain_at": database_now(), "drain_by": who}
    with database.writing() as connection:
        return connection.execute(update(fleet_worker).where(*alive).values(**values)).rowcount
