"""Settings that stand in a TOML file: each value is read as the variable of the same meaning is, so that a file and
the environment know the same mistakes. What is wrong comes with file, line and key; a value that may be secret is
never repeated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from billingsync.rulebook.file import Problem, RulesFile, Where
from billingsync.rulebook.wording import nearest, shown
from billingsync.settings import variables
from billingsync.settings.mistakes import Mistake, mistakes
from billingsync.settings.values import short

Model = TypeVar("Model", bound=BaseModel)
Path = tuple[str, ...]

# A key of such a name holds a secret in nearly every program's files.
_SECRET = re.compile(
    r"(?i)(?:^|_)(?:pass(?:word|wd|phrase)?|pwd|secrets?|tokens?|credentials?|(?:api|access|private|shared)_?keys?)(?:$|_)"
)
_IN_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s]*:[^/\s]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """`known`: a key's place in the file -> its place in the model, which differs for few. `elsewhere`: places that
    are refused -> what to do instead. `many_lines`: lists and tables, whose text may have line ends."""

    known: Mapping[Path, Path]
    elsewhere: Mapping[Path, str]


def read_settings(file: RulesFile, model: type[Model], keys: Keys) -> tuple[Model | None, list[Problem]]:
    """The file as the model; None with every mistake where there is one."""
    if file.data is None:
        return None, list(file.problems)
    problems = list(file.problems)
    raw: dict[str, Any] = {}
    given: dict[Path, str] = {}
    for path, value in _leaves(file, keys, problems):
        text = _text(value)
        if isinstance(value, str) and not text.isprintable():
            problems.append(_at(file, path, "holds a line end or another invisible character"))
        elif text.strip():
            given[path] = text
            *groups, last = keys.known[path]
            target = raw
            for group in groups:
                target = target.setdefault(group, {})
            target[last] = text
    try:
        found = model.model_validate(raw)
    except ValidationError as wrong:
        problems += [_told(file, mistake, keys, given) for mistake in mistakes(wrong)]
        return None, problems
    return (None if problems else found), problems


def _leaves(file: RulesFile, keys: Keys, problems: list[Problem]) -> Iterator[tuple[Path, object]]:
    """The known keys and their values; what is unknown, or does not belong there, is noted."""
    sections = {path[0] for path in (*keys.known, *keys.elsewhere) if len(path) > 1}
    for name, value in (file.data or {}).items():
        if name in sections:
            if isinstance(value, dict):
                for key, entry in value.items():
                    yield from _leaf(file, keys, (name, key), entry, problems)
            else:
                twice = isinstance(value, list)
                says = f"is {'one section' if twice else 'a section'}; write [{name}] on a line and its keys below"
                problems.append(_at(file, (name,), says))
        else:
            yield from _leaf(file, keys, (name,), value, problems)


def _leaf(
    file: RulesFile, keys: Keys, path: Path, value: object, problems: list[Problem]
) -> Iterator[tuple[Path, object]]:
    if path in keys.known:
        yield path, value
        return
    says = keys.elsewhere.get(path) or keys.elsewhere.get(path[:1], "")
    if not says and (looks_secret(path[-1]) or (isinstance(value, str) and _IN_URL.search(value))):
        says = (
            "looks like a secret, which must not stand in a file of the fleet; take it out, and renew it if it is one"
        )
    problems.append(_at(file, path, says or _unknown(path, value, keys)))


def looks_secret(name: str) -> bool:
    """Whether a key of this name would hold a secret."""
    return bool(_SECRET.search(name.replace("-", "_")))


def _unknown(path: Path, value: object, keys: Keys) -> str:
    *section, name = path
    here = [known[-1] for known in keys.known if list(known[:-1]) == section]
    sections = sorted({known[0] for known in keys.known if len(known) > 1})
    if isinstance(value, dict) and not section:
        guess = nearest(name, sections)
        return (
            f"unknown section; did you mean [{guess}]?" if guess else f"unknown section; known: {', '.join(sections)}"
        )
    if guess := nearest(name, here):
        return f"unknown key; did you mean {guess}?"
    other = {known[-1]: known[0] for known in keys.known if len(known) > 1}
    if guess := nearest(name, other, at_least=80):
        return f"unknown key; did you mean {guess} in [{other[guess]}]?"
    return f"unknown key; known here: {', '.join(here) or f'sections such as [{sections[0]}]'}"


def _told(file: RulesFile, mistake: Mistake, keys: Keys, given: Mapping[Path, str]) -> Problem:
    path = next((path for path, place in keys.known.items() if place == mistake.path[: len(place)]), mistake.path)
    value = f'"{short(given[path])}" ' if mistake.of_value and path in given else ""
    return _at(file, path, value + _in_file_words(mistake.says))


def _in_file_words(says: str) -> str:
    """A sentence about variables as one about keys: BILLINGSYNC_POLL__FROM_DAY is poll.from_day here."""
    for variable in variables():
        says = re.sub(rf"\b{re.escape(variable.name)}\b", ".".join(variable.path), says)
    return says


def _at(file: RulesFile, path: Where, says: str) -> Problem:
    return file.problem(path, ".".join(map(str, path)), says)


def _text(value: object) -> str:
    """A TOML value as somebody would write it into the environment."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() and abs(value.adjusted()) < 40 else str(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (list, dict)):
        return json.dumps(value, default=_plain, ensure_ascii=False)
    return value if isinstance(value, str) else (shown(value) if isinstance(value, int) else str(value))


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else str(value)
