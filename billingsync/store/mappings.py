"""Which company is which client, and which product which item: what people said, and what matching found [C1] [P1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from billingsync.core.remembered import RememberedMatch
from billingsync.store.book import Book
from billingsync.store.database import insert, read_as
from billingsync.store.schema import company_match, item_match

_BY_NAME = frozenset({"name", "similarity"})  # the ways of matching that hang on a company's name


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyMatch:
    """`how`: person | rules | external_id | name | similarity; `client_id` None: a person said never to bill it."""

    company_id: str
    client_id: int | None
    how: str
    company_name: str
    confirmed: bool
    who: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemMatch:
    """`more`: further items that carry the same product in the reconciliation; bills use `item_id`."""

    sku: str
    item_id: int
    who: str
    at: datetime
    more: tuple[int, ...] = ()

    @property
    def item_ids(self) -> tuple[int, ...]:
        return (self.item_id, *self.more)


class MappingBook(Book):
    def remember_matches(self, matches: Mapping[str, RememberedMatch], now: datetime) -> None:
        """Remembers how companies (by id) were matched. What a person said or confirmed is never replaced, nor is the
        name that a match was made by, unless the new match does not hang on a name: else a renamed company would
        pass unseen [C2]."""
        with self.writing() as connection:
            known = find_company_matches(connection, self.name)
            changed = []
            for company_id, match in sorted(matches.items()):
                before = known.get(company_id)
                if before and (before.how == "person" or before.confirmed):
                    continue
                by_name = before is not None and before.how in _BY_NAME and match.how in _BY_NAME
                if before and by_name and before.company_name != match.company_name:
                    continue
                row = CompanyMatch(
                    company_id=company_id,
                    client_id=match.client_id,
                    how=match.how,
                    company_name=match.company_name,
                    confirmed=match.confirmed,
                    who="",
                    at=now,
                )
                if before is None or _told(before) != _told(row):
                    changed.append(row)
            self._put_companies(connection, changed, now)

    def set_company_match(
        self, company_id: str, client_id: int | None, *, company_name: str, who: str, now: datetime
    ) -> None:
        """A person maps a company to a client, or with None says that it is never billed."""
        row = CompanyMatch(
            company_id=company_id,
            client_id=client_id,
            how="person",
            company_name=company_name,
            confirmed=True,
            who=who,
            at=now,
        )
        with self.writing() as connection:
            self._put_companies(connection, [row], now)

    def set_item_match(self, sku: str, item_id: int, *, who: str, now: datetime, more: Sequence[int] = ()) -> None:
        """A person maps a product to an item, or to several."""
        told: dict[str, Any] = {"sku": sku, "item_id": item_id, "who": who} | ({"more": list(more)} if more else {})
        with self.writing() as connection:
            put_item_match(connection, self.name, told | {"more": list(more), "at": now})
            self.note(connection, "match.item", told, now)

    def company_matches(self) -> dict[str, CompanyMatch]:
        """All matches, by company id."""
        with self.reading() as connection:
            return find_company_matches(connection, self.name)

    def item_matches(self) -> dict[str, ItemMatch]:
        """What people mapped, by SKU."""
        with self.reading() as connection:
            return find_item_matches(connection, self.name)

    def _put_companies(self, connection: Connection, matches: Sequence[CompanyMatch], now: datetime) -> None:
        rows = [{"company_id": match.company_id, **_told(match), "who": match.who} for match in matches]
        put_company_matches(connection, self.name, [row | {"at": now} for row in rows])
        self.note_each(connection, "match.company", rows, now)


def _told(match: CompanyMatch) -> dict[str, Any]:
    """What a match says, without who said it and when."""
    return {
        "client_id": match.client_id,
        "how": match.how,
        "company_name": match.company_name,
        "confirmed": match.confirmed,
    }


def put_company_matches(connection: Connection, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Adds companies' matches, or replaces them."""
    if rows:
        added = insert(connection, company_match)
        replaced = {column: added.excluded[column] for column in rows[0] if column != "company_id"}
        put = added.on_conflict_do_update(index_elements=["partner", "company_id"], set_=replaced)
        connection.execute(put, [{"partner": name, **row} for row in rows])


def put_item_match(connection: Connection, name: str, row: dict[str, Any]) -> None:
    """Adds a product's match, or replaces it."""
    added = insert(connection, item_match).values(partner=name, **row)
    replaced = {column: added.excluded[column] for column in row if column != "sku"}
    connection.execute(added.on_conflict_do_update(index_elements=["partner", "sku"], set_=replaced))


def find_company_matches(connection: Connection, name: str) -> dict[str, CompanyMatch]:
    """All matches of companies, by company id."""
    rows = connection.execute(select(company_match).where(company_match.c.partner == name))
    found = [read_as(CompanyMatch, row) for row in rows]
    return {match.company_id: match for match in sorted(found, key=lambda match: match.company_id)}


def find_item_matches(connection: Connection, name: str) -> dict[str, ItemMatch]:
    """All matches of products, by SKU."""
    rows = connection.execute(select(item_match).where(item_match.c.partner == name))
    found = [
        ItemMatch(sku=row.sku, item_id=row.item_id, who=row.who, at=row.at, more=tuple(row.more or ())) for row in rows
    ]
    return {match.sku: match for match in sorted(found, key=lambda match: match.sku)}
