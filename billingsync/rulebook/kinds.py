"""What a key of the rules files may be: how its value is read, and the same as JSON Schema."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from billingsync.core.money import plain, read_number
from billingsync.core.rules import LINE_FIELDS
from billingsync.rulebook.wording import nearest, one_of, printable, shown

# HaloPSA's columns for line texts hold 4000 characters (reference/halopsa 2.7); a rule's text is only a part of one.
MAX_TEXT = 1000
MAX_ID = 2**31 - 1  # HaloPSA's ids are 32 bit integers

Schema = dict[str, object]


class NotAllowed(ValueError):
    """A value that a key cannot have; the message says what to write instead."""


class Kind(Protocol):
    """What a value may be."""

    def read(self, value: object) -> object:
        """The value as core wants it; NotAllowed says what to write instead."""

    def schema(self) -> Schema:
        """The same as JSON Schema."""


@dataclass(frozen=True, slots=True)
class Choice:
    options: tuple[str, ...]

    def read(self, value: object) -> str:
        if isinstance(value, str) and value in self.options:
            return value
        guess = nearest(value, self.options) if isinstance(value, str) else None
        hint = f" (did you mean {shown(guess)}?)" if guess else ""
        raise NotAllowed(f"{shown(value)} is not allowed; write {one_of(self.options)}{hint}")

    def schema(self) -> Schema:
        return {"enum": list(self.options)}


@dataclass(frozen=True, slots=True)
class Flag:
    def read(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        raise NotAllowed(f"{shown(value)} is not allowed; write true or false, without quotes")

    def schema(self) -> Schema:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Id:
    """A HaloPSA id: positive, but for recurring invoices, whose ids are negative and shown without the sign on
    HaloPSA's screens (reference/halopsa 0.6), so that both forms are taken and the negative one is kept."""

    recurring: bool = False

    def read(self, value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,10}\s*", value):
            raise NotAllowed(f"{shown(value)} is text; write the number without quotes: {value.strip()}")
        if isinstance(value, bool) or not isinstance(value, int):
            raise NotAllowed(f"{shown(value)} is not allowed; write the id as a whole number, e.g. 214")
        if self.recurring and 0 < abs(value) <= MAX_ID:
            return -abs(value)
        if not self.recurring and 0 < value <= MAX_ID:
            return value
        raise NotAllowed(f"{shown(value)} cannot be an id; write a whole number other than 0 as HaloPSA shows it")

    def schema(self) -> Schema:
        if self.recurring:
            return {"type": "integer", "minimum": -MAX_ID, "maximum": MAX_ID, "not": {"const": 0}}
        return {"type": "integer", "minimum": 1, "maximum": MAX_ID}


@dataclass(frozen=True, slots=True)
class Number:
    """An amount of money or a percentage, exact."""

    low: Decimal
    high: Decimal
    above_low: bool = False  # the lowest value itself is not allowed

    def read(self, value: object) -> Decimal:
        if isinstance(value, str):
            digits = value.strip().removesuffix("%").strip()
            example = f": {digits}" if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", digits) else ""
            raise NotAllowed(f"{shown(value)} is text; write a number without quotes{example}")
        try:
            number = read_number(value)
        except ValueError:
            number = None
        if number is None:
            raise NotAllowed(f"{shown(value)} is not allowed; write {self._range()}")
        if not self.low <= number <= self.high or (self.above_low and number == self.low):
            raise NotAllowed(f"{shown(value)} is out of range; write {self._range()}")
        return number

    def _range(self) -> str:
        low = f"above {plain(self.low)}" if self.above_low else f"from {plain(self.low)}"
        return f"a number {low} to {plain(self.high)}"

    def schema(self) -> Schema:
        lowest = "exclusiveMinimum" if self.above_low else "minimum"
        return {"type": "number", lowest: int(self.low), "maximum": int(self.high)}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number, such as a count of months."""

    low: int
    high: int

    def read(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            says = f"write a whole number from {self.low} to {self.high}, without quotes"
            raise NotAllowed(f"{shown(value)} is not allowed; {says}")
        return value

    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Ids:
    """A list of HaloPSA ids, each once."""

    def read(self, value: object) -> tuple[int, ...]:
        if not isinstance(value, list) or not value:
            raise NotAllowed(f"{shown(value)} is not a list of ids; write e.g. [1502, 1602]")
        ids = [Id().read(entry) for entry in value]
        if len(set(ids)) < len(ids):
            raise NotAllowed("names an id twice; keep each once")
        return tuple(ids)

    def schema(self) -> Schema:
        return {"type": "array", "items": Id().schema(), "minItems": 1, "uniqueItems": True}


@dataclass(frozen=True, slots=True)
class Text:
    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise NotAllowed(f"{shown(value)} is not text; write it in quotes, e.g. {self._example(value)}")
        if not value.strip():
            raise NotAllowed(f"{shown(value)} is empty; write a text, or leave the key out")
        if len(value) > MAX_TEXT:
            raise NotAllowed(f"too long: {len(value)} characters; write at most {MAX_TEXT}")
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            raise NotAllowed(f"{shown(value)} holds control characters; write plain text")
        return value

    @staticmethod
    def _example(value: object) -> str:
        is_number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
        return shown(str(value)) if is_number else '"Contoso Ltd"'

    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1, "maxLength": MAX_TEXT, "pattern": "\\S"}


@dataclass(frozen=True, slots=True)
class Texts:
    lower: bool = False  # compared with what is kept in lower case

    def read(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            example = f"[{shown(value)}]" if isinstance(value, str) else '["one", "two"]'
            raise NotAllowed(f"{shown(value)} is not a list; write {example}")
        texts, wrong = [], []
        for number, entry in enumerate(value, start=1):
            try:
                texts.append(Text().read(entry))
            except NotAllowed as mistake:  # an empty prefix or pattern would match every charge
                wrong.append(f"entry {number}: {mistake}")
        if wrong:
            raise NotAllowed("; ".join(wrong))
        return tuple(text.strip().lower() for text in texts) if self.lower else tuple(texts)

    def schema(self) -> Schema:
        return {"type": "array", "items": Text().schema()}


@dataclass(frozen=True, slots=True)
class Code:
    """An account or tax code: digits or text, kept as text. `id_only`: HaloPSA takes nothing but the id of a Tax
    (reference/halopsa 3.2), and bills without tax where it gets anything else."""

    id_only: bool = False

    def read(self, value: object) -> str:
        code = self._code(value)
        if self.id_only and not (code.isascii() and code.isdigit()):
            raise NotAllowed(
                f"{shown(value)} is not a tax id; write HaloPSA's number of the tax, as billingsync doctor lists them"
            )
        return code

    def _code(self, value: object) -> str:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ID:
            return str(value)
        if isinstance(value, str):
            return Text().read(value).strip()
        raise NotAllowed(f'{shown(value)} is not a code; write it in quotes, e.g. "200"')

    def schema(self) -> Schema:
        text = {"type": "string", "pattern": "^[0-9]+$"} if self.id_only else Text().schema()
        return {"anyOf": [text, {"type": "integer", "minimum": 0, "maximum": MAX_ID}]}


@dataclass(frozen=True, slots=True)
class Template:
    """A line's text with named fields and nothing else: no attributes, no indexes, no formats (faults 37)."""

    def read(self, value: object) -> str:
        text = Text().read(value.replace("\n", " ") if isinstance(value, str) else value)
        try:
            pieces = list(string.Formatter().parse(text))
        except ValueError:
            raise NotAllowed(
                f"{shown(value)} has a brace too many or too few; a brace that is meant is written {{{{ or }}}}"
            ) from None
        wrong = [_unknown_field(name) for _, name, _, _ in pieces if name is not None and name not in LINE_FIELDS]
        formatted = [name for _, name, form, conversion in pieces if form or conversion]
        wrong += [f"{{{printable(name or '')}}} stands with a format; write the name alone" for name in formatted]
        if wrong:
            raise NotAllowed("; ".join(wrong))
        assert isinstance(value, str)
        return value

    def schema(self) -> Schema:
        field = "\\{(" + "|".join(LINE_FIELDS) + ")\\}"
        return {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_TEXT,
            "pattern": f"^([^{{}}]|\\{{\\{{|\\}}\\}}|{field})+$",
        }


def _unknown_field(name: str) -> str:
    guess = nearest(re.split(r"[.\[]", name)[0], LINE_FIELDS)
    if guess:
        return f"{{{printable(name)}}} is not a field; did you mean {{{guess}}}?"
    return f"{{{printable(name)}}} is not a field; write one of {', '.join(f'{{{known}}}' for known in LINE_FIELDS)}"
