"""Values of the core as JSON and back, by their types: how the inputs of a plan are kept beside it.

Dataclasses and named tuples become objects, what else has no form in JSON is tagged. Reading asks the type hints, so
that a value comes back as what it was; a field that an older version did not have gets its default.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from json.encoder import encode_basestring_ascii
from operator import attrgetter
from typing import Any, Union, get_args, get_origin, get_type_hints

from billingsync.core.steps import Slot
from billingsync.errors import LedgerError

Packed = bytes | Mapping[str, Any]  # as it was packed, or parsed already


class Parts(dict[str, Any]):
    """A dataclass by its fields, some of which are left out or stand for something else."""


def pack(value: object, **beside: object) -> Iterator[bytes]:
    """JSON, ASCII only, in pieces, as it is larger than the value. What stands `beside` a dataclass comes after its
    fields, where `unpack` of it passes it over."""
    parts = (value if isinstance(value, Parts) else _fields_of(value)) | beside
    return (piece.encode("ascii") for piece in _pieces_of_fields(parts, _DEEP))


def _pieces(value: Any, levels: int) -> Iterator[str]:
    """The text of a value; of what it holds down to some levels, a piece each."""
    if levels and isinstance(value, tuple) and value:
        for nth, part in enumerate(value):
            yield "," if nth else "["
            yield from _pieces(part, levels - 1)
        yield "]"
    elif isinstance(value, Parts):
        yield from _pieces_of_fields(value, levels - 1)
    elif levels and is_dataclass(value):
        yield from _pieces_of_fields(_fields_of(value), levels - 1)
    else:
        yield _text(value)


def _fields_of(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _pieces_of_fields(parts: Mapping[str, Any], levels: int) -> Iterator[str]:
    for nth, (name, part) in enumerate(parts.items()):
        yield f'{"," if nth else "{"}"{name}":'
        yield from _pieces(part, levels)
    yield "}"


def unpack_beside(kind: Any, body: Packed, name: str) -> Any:
    """The value that was packed beside another; None where an older version did not."""
    return _read(body, lambda value: _part(kind, value, name))


def unpack(kind: Any, body: Packed) -> Any:
    """The value of this type. LedgerError where another version wrote what this one cannot read."""
    return _read(body, _reader(kind))


def unpack_with(kind: Any, body: Packed, **beside: Any) -> tuple[Any, ...]:
    """The value of this type, and after it the values of those types that were packed beside it."""

    def take(value: Any) -> tuple[Any, ...]:
        return _reader(kind)(value), *(_part(one, value, name) for name, one in beside.items())

    found: tuple[Any, ...] = _read(body, take)
    return found


def _part(kind: Any, value: Mapping[str, Any], name: str) -> Any:
    part = value.get(name)
    return None if part is None else _reader(kind)(part)


def parsed(body: bytes) -> Any:
    """The JSON of what was packed, before it becomes values. LedgerError where it is none."""
    return _read(body, lambda value: value)


def _read(body: Packed, take: Callable[[Any], Any]) -> Any:
    try:
        return take(json.loads(body, parse_float=Decimal) if isinstance(body, bytes) else body)
    except (KeyError, TypeError, ValueError) as problem:
        raise LedgerError(f"What was kept cannot be read by this version: {problem}.") from problem


Writer = Callable[[Any], str]
_DEEP = 3  # a month's sources hold its charges, and a plan's clients their lines
_WORDS: Mapping[Any, str] = {None: "null", True: "true", False: "false"}
_WORDS_OF = (bool, type(None))


def _text(value: object) -> str:
    return _writers[type(value)](value)


class _Writers(dict[type, Writer]):
    """How values of exactly a type are written; found once for each, as a plan has a million values."""

    def __missing__(self, kind: type) -> Writer:
        self[kind] = _writer(kind)
        return self[kind]


_writers = _Writers()


def _writer(kind: type) -> Writer:
    if kind is str:
        return encode_basestring_ascii
    if is_dataclass(kind):
        return _writer_of_fields(kind)
    if issubclass(kind, Mapping):  # as pairs: a key need not be a text
        return lambda value: _tagged_text("$map", _array(f"[{_text(key)},{_text(one)}]" for key, one in value.items()))
    if issubclass(kind, frozenset | set):
        return lambda value: _array(sorted(map(_text, value)))
    if issubclass(kind, list | tuple):
        return lambda value: _array([_writers[type(part)](part) for part in value])
    if issubclass(kind, Decimal):
        return lambda value: f'{{"$decimal":"{value}"}}'
    if issubclass(kind, Slot):  # it stands among texts, which it must not become
        return lambda value: _tagged_text("$slot", _text(value.name))
    if issubclass(kind, Enum):
        return lambda value: _text(value.value)
    if issubclass(kind, date):
        return lambda value: _text(value.isoformat())
    if kind in _WORDS_OF:
        return _WORDS.__getitem__
    return int.__repr__ if kind is int else json.dumps


def _array(texts: Iterable[str]) -> str:
    return f"[{','.join(texts)}]"


def _tagged_text(tag: str, text: str) -> str:
    return f'{{"{tag}":{text}}}'


def _writer_of_fields(kind: Any) -> Writer:
    """The names of the fields are put together once; a value has its texts filled in."""
    names = [field.name for field in fields(kind)]
    form = "{" + ",".join(f'"{name}":%s' for name in names) + "}"
    parts_of = attrgetter(*names) if len(names) > 1 else lambda value: [getattr(value, name) for name in names]

    def write(value: Any) -> str:
        return form % tuple([_writers[type(part)](part) for part in parts_of(value)])

    return write


Reader = Callable[[Any], Any]
_AS_IT_IS = (str, int, bool, type(None))


@cache
def _reader(kind: Any) -> Reader:
    """How values of this type hint are read back."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Union or origin is types.UnionType:
        others = [one for one in inner if one is not type(None)]
        if len(others) > 1:  # plain values, which tell themselves apart, or several of them
            return _one_of_several
        read = _reader(others[0])
        return lambda value: None if value is None else read(value)
    return _tagged(_untagged(kind, origin or kind, inner), inner)


def _one_of_several(value: Any) -> Any:
    return tuple(map(_one_of_several, value)) if isinstance(value, list) else _reader(object)(value)


def _tagged(read: Reader, inner: tuple[Any, ...]) -> Reader:
    """What has no form in JSON says itself what it is; everything else is read by its type."""

    def found(value: Any) -> Any:
        if isinstance(value, dict):
            if "$decimal" in value:
                return Decimal(value["$decimal"])
            if "$slot" in value:
                return Slot[value["$slot"]]
            if "$map" in value:
                of_key, of_part = (_reader(one) for one in (inner if len(inner) == 2 else (object, object)))
                return {of_key(key): of_part(part) for key, part in value["$map"]}
        return read(value)

    return found


def _untagged(kind: Any, origin: Any, inner: tuple[Any, ...]) -> Reader:
    if origin in (tuple, frozenset, list):
        return _several(origin, inner)
    if isinstance(kind, type) and is_dataclass(kind):
        return _fielded(kind)
    if kind in (datetime, date):
        return kind.fromisoformat  # type: ignore[no-any-return]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    return lambda value: [_reader(object)(part) for part in value] if isinstance(value, list) else value


def _fielded(kind: type) -> Reader:
    hints = get_type_hints(kind)
    others = [(name, _reader(hint)) for name, hint in hints.items() if hint not in _AS_IT_IS]

    def found(value: dict[str, Any]) -> Any:
        values = value if value.keys() <= hints.keys() else {name: value[name] for name in value if name in hints}
        read = {name: each(values[name]) for name, each in others if name in values}
        return kind(**(values | read))

    return found


def _several(origin: Any, inner: tuple[Any, ...]) -> Reader:
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        readers = [_reader(one) for one in inner]
        return lambda value: tuple(read(part) for read, part in zip(readers, value, strict=True))
    each = _reader(inner[0] if inner else object)
    return lambda value: origin([each(part) for part in value])
