"""What a key of the rules files may be, as pydantic types: they check a value and describe it as JSON Schema."""

from __future__ import annotations

import re
import string
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, Strict, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from billingsync.core.money import MAX_AMOUNT, read_number
from billingsync.core.rules import LINE_FIELDS
from billingsync.rulebook.wording import nearest, printable, shown

# HaloPSA's columns for line texts hold 4000 characters (reference/halopsa 2.7); a rule's text is only a part of one.
MAX_TEXT = 1000
MAX_ID = 2**31 - 1  # HaloPSA's ids are 32 bit integers


def _exact(value: object) -> Decimal:
    """An exact number of TOML. A text is none, although pydantic would read it."""
    try:
        number = None if isinstance(value, str) else read_number(value)
    except ValueError:
        number = None
    if number is None:
        raise PydanticCustomError("decimal_type", "not a number")
    return number


def _negative(value: int) -> int:
    """HaloPSA's ids of recurring invoices are negative, and shown without the sign on its screens (reference/halopsa
    0.6): both forms are taken, and the negative one is kept."""
    if not value:
        raise ValueError("0 cannot be an id; write a whole number other than 0 as HaloPSA shows it")
    return -abs(value)


def _each_once(ids: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(ids)) < len(ids):
        raise ValueError("names an id twice; keep each once")
    return ids


def _no_control(text: str) -> str:
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise ValueError(f"{shown(text)} holds control characters; write plain text")
    return text


def _lower(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text.strip().lower() for text in texts)


def _code(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ID:
        return str(value)
    if isinstance(value, str):
        return value
    raise ValueError(f'{shown(value)} is not a code; write it in quotes, e.g. "200"')


def _tax_id(code: str) -> str:
    """HaloPSA takes nothing but the id of a Tax (reference/halopsa 3.2), and bills without tax where it gets anything
    else."""
    if not (code.isascii() and code.isdigit()):
        raise ValueError(
            f"{shown(code)} is not a tax id; write HaloPSA's number of the tax, as billingsync doctor lists them"
        )
    return code


def _template(text: str) -> str:
    """A line's text with named fields and nothing else: no attributes, no indexes, no formats (faults 37)."""
    _no_control(text.replace("\n", " "))
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError:
        raise ValueError(
            f"{shown(text)} has a brace too many or too few; a brace that is meant is written {{{{ or }}}}"
        ) from None
    wrong = [_unknown_field(name) for _, name, _, _ in pieces if name is not None and name not in LINE_FIELDS]
    formatted = [name for _, name, form, conversion in pieces if form or conversion]
    wrong += [f"{{{printable(name or '')}}} stands with a format; write the name alone" for name in formatted]
    if wrong:
        raise ValueError("; ".join(wrong))
    return text


def _unknown_field(name: str) -> str:
    guess = nearest(re.split(r"[.\[]", name)[0], LINE_FIELDS)
    if guess:
        return f"{{{printable(name)}}} is not a field; did you mean {{{guess}}}?"
    return f"{{{printable(name)}}} is not a field; write one of {', '.join(f'{{{known}}}' for known in LINE_FIELDS)}"


def _in_a_clients_file(value: object, info: ValidationInfo) -> object:
    if info.context is not None and not info.context["client"]:
        raise ValueError("may stand only in a client's file; move it to rules/clients/")
    return value


_TEMPLATE = rf"^([^{{}}]|\{{\{{|\}}\}}|\{{({'|'.join(LINE_FIELDS)})\}})+$"

CLIENTS_ONLY = BeforeValidator(_in_a_clients_file)  # on a key that no shared file may have
Flag = Annotated[bool, Strict()]
Id = Annotated[int, Strict(), Field(ge=1, le=MAX_ID)]
Ids = Annotated[tuple[Id, ...], Field(min_length=1), AfterValidator(_each_once)]
RecurringId = Annotated[int, Strict(), Field(ge=-MAX_ID, le=MAX_ID), AfterValidator(_negative)]
Months = Annotated[int, Strict(), Field(ge=1, le=60)]
Text = Annotated[str, Strict(), Field(min_length=1, max_length=MAX_TEXT, pattern=r"\S"), AfterValidator(_no_control)]
Texts = tuple[Text, ...]
LowerTexts = Annotated[Texts, AfterValidator(_lower)]  # compared with what is kept in lower case
Template = Annotated[
    str,
    Strict(),
    Field(min_length=1, max_length=MAX_TEXT, pattern=r"\S"),
    AfterValidator(_template),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_TEXT, "pattern": _TEMPLATE}),
]
# An account or tax code: digits or text, kept as text.
Code = Annotated[
    Text,
    BeforeValidator(_code),
    AfterValidator(str.strip),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}]}),
]
TaxId = Annotated[
    Code,
    AfterValidator(_tax_id),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": "^[0-9]+$"}, {"type": "integer", "minimum": 0}]}),
]
_READ = BeforeValidator(_exact)
Percent = Annotated[Decimal, Field(ge=0, le=100), _READ]
AnyPercent = Annotated[Decimal, Field(ge=0, le=1_000_000), _READ]
Margin = Annotated[Decimal, Field(ge=-100, le=100), _READ]
# Below half, two names differ in more letters than they share: no match at all. It also catches 0.9 for 90.
MatchPercent = Annotated[Decimal, Field(ge=50, le=100), _READ]
Share = Annotated[Decimal, Field(gt=0, le=100), _READ]
Money = Annotated[Decimal, Field(ge=0, le=int(MAX_AMOUNT) - 1), _READ]
Seats = Annotated[Decimal, Field(gt=0, le=1_000_000), _READ]
