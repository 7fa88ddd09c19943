"""What is wrong with a rules file's values, in words: pydantic finds it, this says what to write instead."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from billingsync.core.money import plain
from billingsync.rulebook.effective import as_toml
from billingsync.rulebook.file import Where
from billingsync.rulebook.keys import BLOCKS, CLIENT_KEYS, KEYS, Section, section_model
from billingsync.rulebook.kinds import MAX_TEXT
from billingsync.rulebook.wording import nearest, one_of, shown

Keys = TypeVar("Keys", bound=Section)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """`where` is its place in the file, `key` what a person calls that: "product 2 (MST-1).halo_item"."""

    where: Where
    key: str
    says: str


def checked(
    model: type[Keys], data: Mapping[str, Any], *, is_client: bool = False, without: Sequence[Mistake] = ()
) -> tuple[Keys, list[Mistake], frozenset[Where]]:
    """The keys that are right, everything that is wrong with the others, and which keys and blocks were left out for
    that or for a mistake in `without`, which is known already. The model must do without any key of its own."""
    context, errors = {"client": is_client}, []
    try:
        read = model.model_validate(data, context=context)
    except ValidationError as wrong:
        errors = _without_echoes(wrong.errors(include_url=False))
    places = (*(one["loc"] for one in errors), *(one.where for one in without))
    left_out = frozenset(_unit(model, where) for where in places)
    if left_out:
        read = model.model_validate(_without(data, left_out), context=context)
    return read, _mistakes(model, data, errors), left_out


def label(where: Where, data: Mapping[str, Any]) -> str:
    """What a person calls this place."""
    text = ""
    for depth, part in enumerate(where):
        if isinstance(part, str):
            text += f".{part}" if text else part
        elif where[:depth] in BLOCKS:
            text += f" {part + 1}"
        else:
            text += f"[{part + 1}]"
        if depth == 1 and where[0] == "product":
            block = data["product"][part]
            named = block.get("pax8_sku") or block.get("pax8_product") if isinstance(block, dict) else None
            text += f" ({named:.60})" if isinstance(named, str) else ""
    return text


def _without_echoes(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """A list whose entries are wrong is not also too short for having none left."""
    lists = {where[:depth] for where in (error["loc"] for error in errors) for depth in range(len(where))}
    return [error for error in errors if error["type"] != "too_short" or error["loc"] not in lists]


def _unit(model: type[Section], where: Where) -> Where:
    """What is left out where there is a mistake: a block as a whole, else the key."""
    field = model.model_fields.get(str(where[0])) if where else None
    if field is not None and section_model(field.annotation) is None:
        return where[:1]
    for block in BLOCKS:
        if where[: len(block)] == block and len(where) > len(block):
            return where[: len(block) + 1]
    return where[:2]


def _without(value: Any, left_out: frozenset[Where], at: Where = ()) -> Any:
    if isinstance(value, dict) and len(at) < 2:
        return {
            name: _without(one, left_out, (*at, name)) for name, one in value.items() if (*at, name) not in left_out
        }
    if at in BLOCKS and isinstance(value, list):
        return [one for number, one in enumerate(value) if (*at, number) not in left_out]
    return value


def _mistakes(model: type[Section], data: Mapping[str, Any], errors: list[ErrorDetails]) -> list[Mistake]:
    found: dict[Where, list[str]] = {}
    for error in errors:
        where, says = _said(model, error)
        if says not in found.setdefault(where, []):
            found[where].append(says)
    return [Mistake(where=where, key=label(where, data), says="; ".join(says)) for where, says in found.items()]


def _said(model: type[Section], error: ErrorDetails) -> tuple[Where, str]:
    """Where the mistake is to be mended, and how."""
    where: Where = error["loc"]
    owner, field = _field(model, where)
    value, kind = error["input"], error["type"]
    if kind == "extra_forbidden":
        return where, unknown_key(str(where[-1]), owner, value)
    assert field is not None
    if kind == "missing":
        says = re.split(r" \[|[:.]", field.description or "")[0]
        return where[:-1], f"has no {where[-1]}; write {says[0].lower()}{says[1:]}"
    if section_model(field.annotation) is not None:
        if kind == "value_error":
            return where, _value_mistake(error, field)
        while isinstance(where[-1], int):
            where = where[:-1]
        return where, _no_table(where, field, value)
    if isinstance(where[-1], int):
        return where[:-1], f"entry {where[-1] + 1}: {_value_mistake(error, field)}"
    return where, _value_mistake(error, field)


def _field(model: type[Section], where: Where) -> tuple[type[Section], FieldInfo | None]:
    """The field of that place, None where there is no such key, and the model that has it."""
    owner, field = model, None
    for name in where:
        if isinstance(name, str):
            owner = section_model(field.annotation) or owner if field else owner
            field = owner.model_fields.get(name)
    return owner, field


def _no_table(where: Where, field: FieldInfo, value: object) -> str:
    """What stands where a table or a list of tables should."""
    dotted = ".".join(map(str, where))
    if where in BLOCKS:
        return f"is a list of blocks; write [[{dotted}]] with double brackets, once for each"
    if field.examples:
        return f"needs a list of tables, such as {as_toml(field.examples[0])}"
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        return f"is a section of its own; write [{dotted}] with single brackets, once"
    return f"{shown(value)} is not a section; write [{dotted}] on a line and its keys below"


def _value_mistake(error: ErrorDetails, field: FieldInfo) -> str:
    kind, value = error["type"], error["input"]
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind in ("literal_error", "enum"):
        return _other_word(value, _options(field))
    if kind == "bool_type":
        return f"{shown(value)} is not allowed; write true or false, without quotes"
    if kind == "tuple_type":
        return _no_list(value, field)
    if kind == "too_short":
        return "is an empty list; write at least one"
    if kind.startswith("string_"):
        return _no_text(kind, value)
    return _no_number(kind, value, field)


def _options(field: FieldInfo) -> tuple[str, ...]:
    words = get_args(field.annotation)
    for one in (field.annotation, *words):
        if isinstance(one, type) and issubclass(one, Enum):
            return tuple(str(member.value) for member in one)
    return words


def _other_word(value: object, options: tuple[str, ...]) -> str:
    guess = nearest(value, options) if isinstance(value, str) else None
    hint = f" (did you mean {shown(guess)}?)" if guess else ""
    return f"{shown(value)} is not allowed; write {one_of(options)}{hint}"


def _no_list(value: object, field: FieldInfo) -> str:
    of_ids = any(int in get_args(one) for one in get_args(field.annotation))
    if isinstance(value, str):
        return f"{shown(value)} is not a list; write [{shown(value)}]"
    example = "[1502, 1602]" if of_ids else '["one", "two"]'
    return f"{shown(value)} is not a list; write such as {example}"


def _no_text(kind: str, value: object) -> str:
    if kind == "string_too_long":
        assert isinstance(value, str)
        return f"too long: {len(value)} characters; write at most {MAX_TEXT}"
    if kind != "string_type":
        return f"{shown(value)} is empty; write a text, or leave the key out"
    is_number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    example = shown(str(value)) if is_number else '"Contoso Ltd"'
    return f"{shown(value)} is not text; write it in quotes, e.g. {example}"


def _no_number(kind: str, value: object, field: FieldInfo) -> str:
    if isinstance(value, str):
        digits = value.strip().removesuffix("%").strip()
        example = f": {digits}" if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", digits) else ""
        return f"{shown(value)} is text; write a number without quotes{example}"
    wrong = "is not allowed" if kind.endswith("_type") else "is out of range"
    return f"{shown(value)} {wrong}; write {_range(field)}"


def _range(field: FieldInfo) -> str:
    bounds = {name: getattr(one, name) for one in field.metadata for name in ("ge", "gt", "le") if hasattr(one, name)}
    number = "a number" if field.annotation is Decimal else "a whole number"
    if not bounds:  # an entry of a list
        return f"{number}, e.g. 214"
    low = f"above {plain(Decimal(bounds['gt']))}" if "gt" in bounds else f"from {plain(Decimal(bounds['ge']))}"
    return f"{number} {low} to {plain(Decimal(bounds['le']))}"


# Keys that no section has


_OLD_AZURE = 'BillingBot\'s two booleans are one key, azure = "keep", "drop" or "collapse", in [modifiers]; write '


def _billingbot(name: str, value: object) -> str | None:
    """What to write for one of BillingBot's booleans, which said in two keys what one key says here [M1]-[M3]."""
    words = name.lower().replace("-", "_").split("_")
    verb = words[0]
    if verb not in ("drop", "collapse") or len(words) < 2:
        return None
    if "azure" in words:
        return _OLD_AZURE + _instead("azure", verb, value)
    if verb == "drop" and any(word.startswith("prorat") for word in words):
        key = "favorable_prorata"
    elif verb == "drop" and "zero" in words:
        key = "zero_lines"
    else:
        return None
    return f"BillingBot's boolean is the key {key} in [modifiers]; write {_instead(key, verb, value)}"


def _instead(key: str, verb: str, value: object) -> str:
    return f'{key} = "keep", or leave it out' if value is False else f'{key} = "{verb}"'


def unknown_key(name: str, owner: type[Section] | None, value: object) -> str:
    """What to do about a key that `owner` does not have (None for one that stands above all sections)."""
    if old := _billingbot(name, value):
        return old
    here = list(owner.model_fields) if owner else []
    elsewhere = {key.name: key.section for key in (*CLIENT_KEYS, *KEYS)}
    if name in elsewhere:
        return f"does not belong here; move it to [{elsewhere[name]}]"
    if guess := nearest(name, here):
        return f"unknown key; did you mean {guess}?"
    if guess := nearest(name, elsewhere, at_least=80):
        return f"unknown key; did you mean {guess} in [{elsewhere[guess]}]?"
    return f"unknown key; known here: {', '.join(here) or 'sections such as [invoice]'}"
