"""How values lie in the database: exact, readable, and the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import Dialect, LargeBinary, Text
from sqlalchemy.types import TypeDecorator

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = "\ufdd0"  # a Unicode noncharacter: it marks texts that no database would take as they are


def as_json(value: object) -> str:
    """Canonical JSON: keys sorted, ASCII only, no blanks, so that equal values are equal texts."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def from_json(text: str) -> Any:
    """Numbers with a point become Decimal [S4]."""
    return json.loads(text, parse_float=Decimal)


def moment(now: datetime) -> str:
    """An aware time as fixed-width ISO 8601 in UTC, so that the order of texts is the order of times."""
    assert now.tzinfo is not None, "a time without a time zone reached the ledger"
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Words(TypeDecorator[str]):
    """Any Python text. NUL (refused by PostgreSQL) and lone surrogates (refused by both) may come from Pax8's JSON:
    such texts are kept JSON-escaped behind a mark and come back as they were."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or (value.isascii() and "\x00" not in value):
            return value
        if "\x00" in value or value.startswith(_ESCAPED) or _SURROGATE.search(value):
            return _ESCAPED + json.dumps(value, ensure_ascii=True)
        return value

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or not value.startswith(_ESCAPED):
            return value
        return str(json.loads(value[1:]))


class Named(TypeDecorator[StrEnum]):
    """A state, kept as its text; a text that is none of its kind is an error on reading and on writing."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.kind(value)


class Money(TypeDecorator[Decimal]):
    """A Decimal in plain notation: exact on both databases, every digit kept."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        assert isinstance(value, Decimal), f"not an amount: {value!r}"
        assert value.is_finite(), value
        return format(value, "f")

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class Moment(TypeDecorator[datetime]):
    """An aware time, see `moment`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else moment(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


class JsonText(str):
    """A JSON value that is canonical text already."""


class Json(TypeDecorator[Any]):
    """A JSON value as canonical text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if isinstance(value, JsonText):
            return str(value)
        return None if value is None else as_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else from_json(value)


@dataclass(frozen=True, slots=True)
class Zipped:
    """Bytes that are compressed already."""

    data: bytes | bytearray


def zipped(pieces: Iterable[bytes]) -> Zipped:
    """What these pieces are together, compressed as they come: a large text need never be there as a whole. At zlib's
    quickest level: the others take several times as long for the last fifth."""
    zipper, data = zlib.compressobj(level=1), bytearray()
    for piece in pieces:
        data += zipper.compress(piece)
    data += zipper.flush()
    return Zipped(data)


class Packed(TypeDecorator[bytes]):
    """Bytes, zlib-compressed: what goes over the wire is large and repetitive. zlib's own checksum makes a changed
    byte an error on reading rather than another content."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | Zipped | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return value.data if isinstance(value, Zipped) else zipped((value,)).data

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        return None if value is None else zlib.decompress(value)


AT_ONCE = 500  # values in one IN (...): far below SQLite's and PostgreSQL's limits


def batches_of(values: Iterable[str]) -> Iterator[list[str]]:
    """The values, each once and in order, so many at a time as one query may name."""
    ordered = sorted(set(values))
    for start in range(0, len(ordered), AT_ONCE):
        yield ordered[start : start + AT_ONCE]
