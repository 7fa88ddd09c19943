"""Files that somebody is about to import on the desk: kept until they are imported, left, or too old."""

from __future__ import annotations

import io
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import delete, select, update

from billingsync.store.book import Book
from billingsync.store.columns import Zipped
from billingsync.store.database import insert
from billingsync.store.schema import import_draft


class NewFile(Protocol):
    """A file as it was read, compressed."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def packed(self) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """`choices` is JSON: what was chosen so far."""

    id: str
    who: str
    at: datetime
    file_name: str
    sha256: str
    size: int
    choices: Mapping[str, Any]


class DraftBook(Book):
    def keep_draft(self, file: NewFile, choices: Mapping[str, Any], who: str, now: datetime) -> str:
        """Keeps a file and what was chosen; its id."""
        id = secrets.token_hex(8)
        values = {"id": id, "who": who, "at": now, "file_name": file.name, "sha256": file.sha256, "size": file.size}
        with self.writing(fresh=True) as connection:
            new = insert(connection, import_draft).values(
                partner=self.name, body=Zipped(file.packed), choices=dict(choices), **values
            )
            connection.execute(new)
        return id

    def choose_draft(self, id: str, choices: Mapping[str, Any]) -> None:
        """Keeps what was chosen since."""
        with self.writing() as connection:
            changed = update(import_draft).where(*self._mine(id)).values(choices=dict(choices))
            connection.execute(changed)

    def drafts(self) -> tuple[Draft, ...]:
        """All of them, the newest first, without the files."""
        columns = [column for column in import_draft.c if column.name not in ("partner", "body")]
        query = select(*columns).where(import_draft.c.partner == self.name).order_by(import_draft.c.at.desc())
        with self.reading() as connection:
            return tuple(Draft(**row._mapping) for row in connection.execute(query))

    def draft_file(self, id: str) -> io.BytesIO:
        """The file of a draft, as it came."""
        with self.reading(fresh=True) as connection:
            return io.BytesIO(connection.execute(select(import_draft.c.body).where(*self._mine(id))).scalar_one())

    def forget_draft(self, id: str) -> None:
        with self.writing() as connection:
            connection.execute(delete(import_draft).where(*self._mine(id)))

    def forget_drafts(self, before: datetime) -> None:
        """Those that nobody imported since."""
        with self.writing() as connection:
            old = (import_draft.c.partner == self.name, import_draft.c.at < before)
            connection.execute(delete(import_draft).where(*old))

    def _mine(self, id: str) -> tuple[Any, ...]:
        return import_draft.c.partner == self.name, import_draft.c.id == id
