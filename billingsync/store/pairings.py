"""Lines that a person paired with a client's product [LC6]."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from billingsync.store.book import Book
from billingsync.store.database import insert
from billingsync.store.schema import pairing

if TYPE_CHECKING:
    from billingsync.core.decisions import Pairing


class PairingBook(Book):
    def pair(self, wanted: Pairing, who: str, now: datetime) -> None:
        """A line carries one product of its client: pairing it again says another one."""
        row = {
            "partner": self.name,
            "client_id": wanted.client_id,
            "line_id": wanted.line_id,
            "family": wanted.family,
            "who": who,
            "at": now,
        }
        with self.writing() as connection:
            key = ["partner", "client_id", "line_id"]
            new = insert(connection, pairing).values(**row)
            changed = {name: row[name] for name in ("family", "who", "at")}
            connection.execute(new.on_conflict_do_update(index_elements=key, set_=changed))
            told = {"client_id": wanted.client_id, "line_id": wanted.line_id, "family": wanted.family, "who": who}
            self.note(connection, "pairing", told, now)

    def pairings(self) -> tuple[Pairing, ...]:
        from billingsync.core.decisions import Pairing

        query = select(pairing).where(pairing.c.partner == self.name).order_by(pairing.c.client_id, pairing.c.line_id)
        with self.reading() as connection:
            rows = connection.execute(query).all()
        return tuple(Pairing(client_id=row.client_id, family=row.family, line_id=row.line_id) for row in rows)
