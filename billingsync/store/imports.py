"""Vendors' files that were imported, row by row [IM8] [IM10], and what their accounts and services are in HaloPSA."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select, update

from billingsync.core.period import Period
from billingsync.errors import ImportRefused
from billingsync.store.book import Book
from billingsync.store.columns import Zipped
from billingsync.store.database import insert, read_as
from billingsync.store.schema import import_file, import_match, import_row

if TYPE_CHECKING:
    from billingsync.core.tables.rows import Row, RowState

_AT_ONCE = 2_000  # rows in one statement


class ImportState(StrEnum):
    CURRENT = "current"  # its rows count
    REPLACED = "replaced"  # by another file of the same profile and period
    REMOVED = "removed"  # by a person


class MatchKind(StrEnum):
    ACCOUNT = "account"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImport:
    """A checked file as it is to be kept. `packed` is its bytes, zlib-compressed."""

    profile: str
    profile_digest: str
    vendor: str
    period: Period
    file_name: str
    sha256: str
    size: int
    packed: bytes
    rows: Mapping[str, int]
    accounts: frozenset[str]  # that have counted rows
    same_service: str
    skip_bad: bool
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedFile:
    """An imported file without its bytes. `rows` counts them by state."""

    id: int
    profile: str
    profile_digest: str
    vendor: str
    period: str
    file_name: str
    sha256: str
    size: int
    state: str
    rows: Mapping[str, int]
    same_service: str
    skip_bad: bool
    who: str
    at: datetime
    ended_at: datetime | None
    ended_by: str

    @property
    def is_current(self) -> bool:
        return self.state == ImportState.CURRENT

    def same_as(self, new: NewImport) -> bool:
        """Whether taking that file again would change nothing [IM8]: same bytes, same profile, same choice."""
        mine = (self.sha256, self.profile_digest, self.skip_bad)
        return mine == (new.sha256, new.profile_digest, new.skip_bad)


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What taking a file did: the import that has it, those it replaced, and whether anything changed."""

    id: int
    replaced: tuple[int, ...]
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedRow:
    """One row of an imported file. `quantity` is None where it is not counted; `problem` says why one is bad."""

    import_id: int
    line: int
    state: str
    vendor: str
    account: str
    service: str
    sku: str
    quantity: Decimal | None
    unit_price: Decimal | None
    unit_cost: Decimal | None
    currency: str
    subscription: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportMatch:
    """What a person said that an account or a service is. No `targets`: none of ours."""

    profile: str
    kind: str
    name: str
    targets: tuple[int, ...]
    who: str
    at: datetime


class ImportBook(Book):
    def add_import(self, new: NewImport, rows: Iterable[Row], now: datetime, *, append: bool = False) -> Added:
        """Keeps a file and its rows, and ends the imports of its profile and period that it replaces; with `append`
        they stay, and share no account with it. All or nothing; nothing where an import has this very file already.
        Raises ImportRefused for a shared account."""
        with self.writing(fresh=True) as connection:
            current = [one for one in self._imports(connection, new.profile, new.period) if one.is_current]
            if same := next((one for one in current if one.same_as(new)), None):
                return Added(id=same.id, replaced=(), is_new=False)
            replaces = [] if append else [one.id for one in current]
            if append:
                self._refuse_shared(connection, [one.id for one in current], new)
            number = _next_number(connection, self.name)
            self._end(connection, replaces, ImportState.REPLACED, new.who, now)
            values = {
                "id": number,
                "profile": new.profile,
                "profile_digest": new.profile_digest,
                "vendor": new.vendor,
                "period": str(new.period),
                "file_name": new.file_name,
                "sha256": new.sha256,
                "size": new.size,
                "state": ImportState.CURRENT.value,
                "rows": dict(new.rows),
                "same_service": new.same_service,
                "skip_bad": new.skip_bad,
                "who": new.who,
                "at": now,
                "ended_by": "",
            }
            connection.execute(
                insert(connection, import_file).values(partner=self.name, body=Zipped(new.packed), **values)
            )
            numbered = (_stored(self.name, number, row) for row in rows)
            while batch := list(islice(numbered, _AT_ONCE)):
                connection.execute(import_row.insert(), batch)
            told = {name: values[name] for name in ("profile", "period", "file_name", "sha256", "rows", "who")}
            self.note(connection, "import", {"import": number, **told, "replaces": replaces}, now)
        return Added(id=number, replaced=tuple(replaces), is_new=True)

    def _refuse_shared(self, connection: Connection, numbers: Sequence[int], new: NewImport) -> None:
        shared = sorted(new.accounts & self._accounts(connection, numbers))
        if shared:
            from billingsync.core.tables.cells import inert_cell

            names = ", ".join(inert_cell(name) for name in shared[:5]) + (" ..." if len(shared) > 5 else "")
            raise ImportRefused(
                f"--append adds accounts that are not there yet, and {new.period} has {len(shared)} of these already: "
                f"{names}. Nothing was taken. Without --append the file replaces what was imported before.",
                next_steps=[["billingsync", "imports"]],
            )

    def remove_import(self, number: int, *, who: str, now: datetime) -> None:
        """Marks an import as removed; it is kept."""
        with self.writing() as connection:
            self._end(connection, [number], ImportState.REMOVED, who, now)
            self.note(connection, "import.removed", {"import": number, "who": who}, now)

    def _end(self, connection: Connection, numbers: Sequence[int], state: ImportState, who: str, now: datetime) -> None:
        if numbers:
            mine = (import_file.c.partner == self.name, import_file.c.id.in_(numbers))
            ended = {"state": state.value, "ended_at": now, "ended_by": who}
            connection.execute(update(import_file).where(*mine).values(**ended))

    def imports(self, *, profile: str | None = None, period: Period | None = None) -> tuple[ImportedFile, ...]:
        """The imported files, oldest first."""
        with self.reading() as connection:
            return self._imports(connection, profile, period)

    def _imports(self, connection: Connection, profile: str | None, period: Period | None) -> tuple[ImportedFile, ...]:
        columns = [column for column in import_file.c if column.name != "body"]
        query = select(*columns).where(import_file.c.partner == self.name).order_by(import_file.c.id)
        if profile is not None:
            query = query.where(import_file.c.profile == profile)
        if period is not None:
            query = query.where(import_file.c.period == str(period))
        return tuple(read_as(ImportedFile, row) for row in connection.execute(query))

    def import_body(self, number: int) -> bytes:
        """An imported file's bytes as they came."""
        query = select(import_file.c.body).where(import_file.c.partner == self.name, import_file.c.id == number)
        with self.reading(fresh=True) as connection:
            return bytes(connection.execute(query).scalar_one())

    def import_rows(self, numbers: Sequence[int], *, states: Sequence[RowState] = ()) -> Iterator[ImportedRow]:
        """The rows of these imports by import and line, as they are asked for."""
        query = (
            select(import_row)
            .where(import_row.c.partner == self.name, import_row.c.import_id.in_(list(numbers)))
            .order_by(import_row.c.import_id, import_row.c.line)
        )
        if states:
            query = query.where(import_row.c.state.in_([state.value for state in states]))
        with self.reading(fresh=True) as connection:
            # Said of the query alone: on PostgreSQL what begins the transaction cannot be read through a cursor.
            for row in connection.execute(query.execution_options(yield_per=_AT_ONCE)):
                yield read_as(ImportedRow, row)

    def _accounts(self, connection: Connection, numbers: Sequence[int]) -> frozenset[str]:
        from billingsync.core.tables.rows import RowState  # with all that reads tables: only where files are imported

        query = (
            select(import_row.c.account)
            .distinct()
            .where(
                import_row.c.partner == self.name,
                import_row.c.import_id.in_(list(numbers)),
                import_row.c.state == RowState.COUNTED.value,
            )
        )
        return frozenset(connection.execute(query).scalars())

    def set_import_match(self, match: ImportMatch) -> None:
        """A person says what an account or a service is; a newer word replaces an older one."""
        with self.writing() as connection:
            values = {
                "profile": match.profile,
                "kind": match.kind,
                "name": match.name,
                "targets": list(match.targets),
                "who": match.who,
            }
            added = insert(connection, import_match).values(partner=self.name, at=match.at, **values)
            replaced = {column: added.excluded[column] for column in ("targets", "who", "at")}
            key = ["partner", "profile", "kind", "name"]
            connection.execute(added.on_conflict_do_update(index_elements=key, set_=replaced))
            self.note(connection, "import.match", values, match.at)

    def import_matches(self, profile: str, kind: MatchKind) -> dict[str, ImportMatch]:
        """What people said of a profile's accounts or services, by name."""
        query = select(import_match).where(
            import_match.c.partner == self.name, import_match.c.profile == profile, import_match.c.kind == kind.value
        )
        with self.reading() as connection:
            rows = connection.execute(query).all()
        found = [replace(read_as(ImportMatch, row), targets=tuple(row.targets)) for row in rows]
        return {match.name: match for match in sorted(found, key=lambda match: match.name)}


def _next_number(connection: Connection, partner: str) -> int:
    newest = connection.execute(select(func.max(import_file.c.id)).where(import_file.c.partner == partner)).scalar()
    return (newest or 0) + 1


def _stored(partner: str, number: int, row: Row) -> dict[str, Any]:
    usage = row.usage
    return {
        "partner": partner,
        "import_id": number,
        "line": row.line,
        "state": row.state.value,
        "vendor": usage.vendor if usage else "",
        "account": usage.account if usage else "",
        "service": usage.service if usage else "",
        "sku": usage.sku if usage else "",
        "quantity": usage.quantity if usage else None,
        "unit_price": usage.unit_price if usage else None,
        "unit_cost": usage.unit_cost if usage else None,
        "currency": usage.currency if usage else "",
        "subscription": usage.subscription if usage else "",
        "problem": "; ".join(map(str, row.problems)),
    }
