"""How values and names are shown in messages: short, inert, with the nearest right spelling."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal


def shown(value: object) -> str:
    """A value as TOML writes it, short and without control characters, for messages."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        quoted = json.dumps(value if len(value) <= 60 else value[:59] + "…", ensure_ascii=False)
        return printable(quoted)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**40 else "a number of more than 40 digits"
    if isinstance(value, Decimal):
        short = value.is_finite() and abs(value.adjusted()) < 40 and len(value.as_tuple().digits) <= 40
        return format(value, "f") if short else printable(str(value))[:40]
    if isinstance(value, (list, tuple)):
        return "a list"
    return "a table" if isinstance(value, dict) else f"the {type(value).__name__} {value}"


def printable(text: str) -> str:
    """The text with everything invisible (control, ANSI, bidi, newlines) written as an escape (faults 37)."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def one_of(options: Iterable[str]) -> str:
    """`"a", "b" or "c"`."""
    *first, last = [shown(option) for option in options]
    return f"{', '.join(first)} or {last}" if first else last


def nearest(name: str, known: Iterable[str], *, at_least: int = 60) -> str | None:
    """The known spelling closest to `name`, None where nothing is close."""
    from rapidfuzz import fuzz, process, utils  # only needed once something is misspelt

    near = process.extractOne(name, list(known), scorer=fuzz.ratio, processor=utils.default_process)
    return near[0] if near and near[1] >= at_least else None
