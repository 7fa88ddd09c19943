"""Redaction: a secret never leaves the process, in whichever spelling it turns up.

Every message that `billingsync.http` gives out has passed a `Redactor`; the same object is a structlog processor and
cleans exceptions before they are shown.
"""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

MASK = "***"

_Error = TypeVar("_Error", bound=BaseException)

_STANDS_ALONE_BELOW = 4  # characters: a shorter secret would black out half of every text
_BASE64_CORE = 8  # characters: a shorter piece of base64 is found in innocent words too
_TOKENS_KEPT = 8  # HaloPSA's tokens live an hour; a worker that runs for weeks must not collect them


class Redactor:
    """Knows the secret values and replaces them with `***`. One object may serve many threads."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._lasting: list[str] = []
        self._passing: deque[str] = deque(maxlen=_TOKENS_KEPT)
        self._pattern: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """A secret to hide from now on: a client secret, a database password."""
        with self._lock:
            if secret and secret not in self._lasting:
                self._lasting.append(secret)
                self._pattern = _pattern([*self._lasting, *self._passing])

    def add_token(self, token: str) -> None:
        """A secret that soon expires; only the newest few are remembered."""
        with self._lock:
            if token and token not in self._passing:
                self._passing.append(token)
                self._pattern = _pattern([*self._lasting, *self._passing])

    def text(self, text: str) -> str:
        """The text with every spelling of every secret replaced."""
        pattern = self._pattern
        return text if pattern is None else pattern.sub(MASK, text)

    def value(self, value: object) -> object:
        """The same for strings anywhere inside dicts, lists, tuples and sets; other objects by what repr shows."""
        match value:
            case str():
                return self.text(value)
            case None | bool():
                return value
            case dict():
                return {self.value(key): self.value(held) for key, held in value.items()}
            case list() | tuple() | set() | frozenset():
                held = [self.value(one) for one in value]
                return held if isinstance(value, list) else tuple(held) if isinstance(value, tuple) else set(held)
            case BaseException():
                return self.exception(value)
            case _:
                shown = repr(value)
                hidden = self.text(shown)
                return value if hidden == shown else hidden

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A structlog processor. It belongs right before the renderer, so that formatted tracebacks pass it too."""
        for key in list(event):
            event[key] = self.value(event[key])
        return event

    def exception(self, error: _Error) -> _Error:
        """Cleans the exception, its notes and all its causes in place; gives the same object back."""
        for one in _chain(error):
            one.args = tuple(self.value(part) for part in one.args)
            for name, held in list(vars(one).items()):
                if isinstance(held, (str, tuple, list, dict)):
                    vars(one)[name] = self.value(held)
            if isinstance(one, OSError) and isinstance(one.strerror, str):
                one.strerror = self.text(one.strerror)  # what str() of an OSError shows, args or not
        return error


def one_line(text: str, limit: int = 300) -> str:
    """The text on one line: nothing a terminal or a log would obey, at most `limit` characters."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _pattern(secrets: list[str]) -> re.Pattern[str] | None:
    pieces: set[str] = set()
    alone: set[str] = set()
    for secret in secrets:
        for form in _spellings(secret):
            (alone if len(form) < _STANDS_ALONE_BELOW else pieces).add(form)
    # Longest first: a secret that begins like another must not leave its tail behind.
    parts = [re.escape(form) for form in sorted(pieces, key=lambda form: (-len(form), form))]
    parts += [rf"(?<!\w){re.escape(form)}(?!\w)" for form in sorted(alone)]
    return re.compile("|".join(parts)) if parts else None


def _spellings(secret: str) -> Iterator[str]:
    """The secret as URLs, JSON, Python, HTML and base64 (alone or inside something longer) would write it."""
    yield secret
    raw = secret.encode("utf-8", "surrogatepass")
    for quoted in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)
    for written in (json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret)):
        yield written[1:-1]
    yield html.escape(secret)
    for before in range(3):  # base64 of "id:secret" shows the secret at one of three alignments
        encoded = base64.b64encode(b"\0" * before + raw).decode("ascii")
        whole = encoded[(0, 2, 3)[before] :]
        core = whole[: len(whole) - (0, 3, 2)[(before + len(raw)) % 3]]
        for form in (whole, core):
            if len(form) >= _BASE64_CORE:
                yield form
                yield form.replace("+", "-").replace("/", "_")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
