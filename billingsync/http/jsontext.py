"""JSON in and out: strict where ambiguity could cost money, exact to the last digit [S4]."""

from __future__ import annotations

import codecs
import json
import re
from contextlib import suppress
from decimal import Decimal
from typing import Any

import simplejson

# An answer of 8 MiB can be three million empty objects, which take forty times its size. Rows of real answers have more
# than twenty bytes a value. This many take 300 MB at the worst.
MOST_VALUES = 500_000
# What a double can hold lies within. Beyond, a number of ten letters can take all memory and hours as soon as somebody
# makes a whole number of it.
_MOST_DIGITS = 400


class TooManyValues(ValueError):
    """The answer is small, and its values would fill the memory."""


def read_json(body: bytes, *, odd_numbers: bool = False) -> Any:
    """The JSON value of an answer, fractions as exact Decimals; ValueError with the reason where it is not strict JSON.

    Duplicate keys are an error, not "last wins". No number is larger or longer than what software writes: with
    `odd_numbers` such a one, a NaN and an Infinity become Decimals that `core.money.read_number` refuses (one damaged
    amount holds one charge, not the month, fault 19), else they are an error.
    """
    if sum(map(body.count, (b"{", b"[", b","))) > MOST_VALUES:
        raise TooManyValues(f"it holds more than {MOST_VALUES:,} values")
    try:
        return json.loads(
            _decoded(body),
            parse_float=_fraction if odd_numbers else _strict_fraction,
            parse_int=_whole if odd_numbers else None,
            parse_constant=_unusable if odd_numbers else _refuse,
            object_pairs_hook=_no_twins,
        )
    except RecursionError:
        raise ValueError("nested too deep") from None


_LARGE = 1_000_000  # bytes
_ODD = re.compile(rb"\\[\x80-\xff]")  # perhaps an escape that JSON does not know, which must stay an error
_BEYOND_ASCII = re.compile(rb"[\xc2-\xf4][\x80-\xbf]{1,3}")


def _decoded(body: bytes) -> str:
    """The text. Of a large one whatever is not ASCII as \\u escapes, which mean the same in JSON: a single emoji would
    make each character of it take four bytes."""
    if len(body) > _LARGE and not body.isascii() and not _ODD.search(body):
        with suppress(UnicodeDecodeError):  # no UTF-8: as a whole, for the message that says where
            return _BEYOND_ASCII.sub(_escaped, body.removeprefix(codecs.BOM_UTF8)).decode("ascii")
    return body.decode("utf-8-sig")


def _escaped(found: re.Match[bytes]) -> bytes:
    return json.dumps(found[0].decode())[1:-1].encode()


def write_json(body: object) -> bytes:
    """The JSON text of a request; Decimals go out with exactly their digits, non-ASCII as escapes."""
    text = simplejson.dumps(body, use_decimal=True, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.encode("ascii")


def _fraction(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except ArithmeticError:  # an exponent of twenty digits
        return Decimal("NaN")
    return number if abs(number.adjusted()) <= _MOST_DIGITS else Decimal("NaN")


def _strict_fraction(text: str) -> Decimal:
    number = _fraction(text)
    if number.is_nan():
        raise ValueError(f"a number beyond all bounds: {text[:30]}")
    return number


def _whole(text: str) -> int | Decimal:
    if len(text) > _MOST_DIGITS:
        return Decimal("NaN")
    return int(text) if len(text) <= 40 else Decimal(text)


def _unusable(name: str) -> Decimal:
    return Decimal("NaN")  # the infinities too: int() of one is another error than int() of NaN


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    held = dict(pairs)
    if len(held) != len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twin[:60]!r} comes twice in one object")
    return held
