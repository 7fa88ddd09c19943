"""What pydantic found wrong, in the words of who writes the setting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

# pydantic's kinds of mistakes in the words of who writes the setting; its own texts would quote types.
_WORDS = {
    "int_parsing": "is no whole number",
    "int_from_float": "is no whole number",
    "int_parsing_size": "is too long a number",
    "float_parsing": "is not a number; write seconds such as 60 or 2.5",
    "finite_number": "is not a number; write seconds such as 60 or 2.5",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "string_too_short": "must not be empty",
    "bool_parsing": "is neither true nor false",
    "bool_type": "is neither true nor false",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """`path` as in Variable.path. `of_value`: the value belongs before `says`, which does not repeat it."""

    path: tuple[str, ...]
    says: str
    of_value: bool


def mistakes(wrong: ValidationError) -> Iterator[Mistake]:
    """Each mistake, in the order of the fields. No text holds a value that may be secret."""
    for error in wrong.errors(include_url=False, include_input=False):
        context = error.get("ctx", {})
        words = _WORDS.get(error["type"])
        says = words.format(**context) if words else str(context.get("error", error["msg"]))
        path = tuple(part for part in error["loc"] if isinstance(part, str))
        yield Mistake(path=path, says=says, of_value=bool(words))
