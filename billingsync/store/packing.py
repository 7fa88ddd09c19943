"""Values of the core as JSON and back, by their types: how the inputs of a plan are kept beside it.

Dataclasses and named tuples become objects, what else has no form in JSON is tagged. Reading asks the type hints, so
that a value comes back as what it was; a field that an older version did not have gets its default.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from billingsync.errors import LedgerError


def pack(value: object, **beside: object) -> bytes:
    """JSON, ASCII only. Values `beside` a dataclass stand among its fields, where `unpack` of it passes them over."""
    plain = _plain(value)
    if beside and isinstance(plain, dict):
        plain |= {name: _plain(part) for name, part in beside.items()}
    return json.dumps(plain, separators=(",", ":")).encode()


def unpack_beside(kind: Any, body: bytes, name: str) -> Any:
    """The value that was packed beside another; None where an older version did not."""
    return _read(kind, body, lambda value: value.get(name))


def unpack(kind: Any, body: bytes) -> Any:
    """The value of this type. LedgerError where another version wrote what this one cannot read."""
    return _read(kind, body, lambda value: value)


def _read(kind: Any, body: bytes, part: Callable[[Any], Any]) -> Any:
    try:
        value = part(json.loads(body, parse_float=Decimal))
        return None if value is None else _typed(kind, value)
    except (KeyError, TypeError, ValueError) as problem:
        raise LedgerError(f"What was kept cannot be read by this version: {problem}.") from problem


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: _plain(part) for name, part in zip(value._fields, value, strict=True)}
    if isinstance(value, Mapping):  # as pairs: a key need not be a text
        return {"$map": [[_plain(key), _plain(part)] for key, part in value.items()]}
    if isinstance(value, frozenset | set):
        return sorted((_plain(part) for part in value), key=repr)
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    return value


def _typed(kind: Any, value: Any) -> Any:
    origin = get_origin(kind)
    if origin is Union or origin is types.UnionType:
        return _one_of(get_args(kind), value)
    if isinstance(value, dict) and "$decimal" in value:
        return Decimal(value["$decimal"])
    if isinstance(value, dict) and "$map" in value:
        of_key, of_part = get_args(kind) or (object, object)
        return {_typed(of_key, key): _typed(of_part, part) for key, part in value["$map"]}
    if origin in (tuple, frozenset, list) or kind in (tuple, frozenset, list):
        return _several(origin or kind, get_args(kind), value)
    if isinstance(kind, type) and (is_dataclass(kind) or hasattr(kind, "_fields")):
        hints = _hints(kind)
        return kind(**{name: _typed(hints[name], part) for name, part in value.items() if name in hints})
    if kind in (datetime, date):
        return kind.fromisoformat(value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    return [_typed(object, part) for part in value] if isinstance(value, list) else value


def _one_of(kinds: tuple[Any, ...], value: Any) -> Any:
    """A value of a union: nothing, or of the one kind that is not nothing; plain values tell themselves apart."""
    if value is None:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    return _typed(others[0], value) if len(others) == 1 else _typed(object, value)


def _several(origin: Any, kinds: tuple[Any, ...], value: list[Any]) -> Any:
    if origin is tuple and kinds and kinds[-1] is not Ellipsis:
        return tuple(_typed(kind, part) for kind, part in zip(kinds, value, strict=True))
    each = kinds[0] if kinds else object
    return origin(_typed(each, part) for part in value)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
