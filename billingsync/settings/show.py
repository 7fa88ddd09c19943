"""The settings for `billingsync settings show`: every variable, its value, its origin; secrets never."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from pydantic import SecretStr

from billingsync.settings.groups import PREFIX
from billingsync.settings.load import Loaded
from billingsync.settings.model import variables

Row = tuple[str, str, str]


def settings_rows(loaded: Loaded) -> list[Row]:
    """(variable, shown value, origin). A secret is `set (from ORIGIN)` or `not set`."""
    rows = []
    for variable in variables():
        value = variable.of(loaded.settings)
        origin = loaded.origins.get(variable.name, "default")
        if variable.secret:
            shown = f"set (from {origin.removeprefix('file ')})" if _is_set(value) else "not set"
        elif variable.name == PREFIX + "DATABASE_URL":
            shown = masked(str(value))
        else:
            shown = _shown(value)
        rows.append((variable.name, shown, origin))
    return rows


def _is_set(value: object) -> bool:
    return bool(value.get_secret_value()) if isinstance(value, SecretStr) else bool(value)


def _shown(value: object) -> str:
    if value is None or value in ("", (), {}):
        return "not set"
    if isinstance(value, Mapping):
        return json.dumps(value)
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def masked(url: str) -> str:
    """A database URL without user, password and whatever else may be secret in its query."""
    address, mark, query = url.partition("?")
    # Up to the last @: a password may hold one that nobody wrote as %40.
    address = re.sub(r"://.*@", "://***@", address)
    query = re.sub(r"(?i)([^&=]*(?:pass|secret|token|key|user)[^&=]*)=[^&]*", r"\1=***", query)
    return address + mark + query
