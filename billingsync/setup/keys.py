"""The keys of Pax8 and HaloPSA as somebody types them for the first run: tried without being kept anywhere, and written
where `init` writes them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from billingsync.errors import SettingsError, UsageError
from billingsync.redaction import Redactor
from billingsync.settings import LiveSettings, Settings, load_settings
from billingsync.settings.live import KEYS
from billingsync.settings.places import Places
from billingsync.setup.doctor import Check, examine_side
from billingsync.setup.scaffold import write_scaffold, write_values

MOST = 400  # characters of one value


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What was typed for one side. The values are in no text of it."""

    side: str
    values: Mapping[str, str] = field(repr=False)

    @property
    def variables(self) -> dict[str, str]:
        return {variable(self.side, name): value for name, value in self.values.items()}


def variable(side: str, name: str) -> str:
    """What the setting is called."""
    return f"BILLINGSYNC_{side.upper()}__{name.upper()}"


def typed(side: str, given: Mapping[str, str]) -> Typed:
    """UsageError where something is missing or cannot be a key; no value is in its text."""
    names = KEYS.get(side)
    if names is None:
        raise UsageError("There are keys of pax8 and of halo.")
    values = {name: given.get(name, "").strip() for name in names}
    for name, value in values.items():
        words = name.replace("_", " ")
        if not value:
            raise UsageError(f"Write the {words} too. Nothing was tried.")
        if len(value) > MOST or not value.isprintable():
            raise UsageError(f"The {words} is too long, or holds an invisible character. Nothing was tried.")
    return Typed(side=side, values=values)


def try_keys(settings: Settings, keys: Typed) -> list[Check]:
    """The checks of `doctor` of this side with these keys. UsageError where they cannot be settings at all."""
    candidate = with_keys(settings, keys)
    return examine_side(candidate, Redactor(candidate.secrets()), keys.side)


def with_keys(settings: Settings, keys: Typed) -> Settings:
    """The settings with these keys in place of the side's own. UsageError where they cannot be settings at all."""
    group = getattr(settings, keys.side)
    try:
        asked = type(group).model_validate(keys.values)
    except ValidationError:  # its text would quote what was typed
        raise UsageError(
            "This is no address that can be used. Write it like https://acme.halopsa.com. Nothing was tried."
        ) from None
    replaced = {name: getattr(asked, name) for name in keys.values}
    return settings.model_copy(update={keys.side: group.model_copy(update=replaced)})


def why_not_saved(folder: Path, keys: Typed) -> str:
    """Why these keys cannot be written to `.env` in the folder, or would not count there; "" where they can."""
    if over := next((name for name in keys.variables if os.environ.get(name)), None):
        return f"{over} is set in the environment, which wins over .env. Change it there."
    if over := next((name for name in keys.variables if _origins(folder).get(name, "").startswith("file ")), None):
        return f"{over} is set by a {_origins(folder)[over]}, which wins over .env. Change it there."
    path = folder / ".env"
    if not os.access(path if path.exists() else folder, os.W_OK) or not os.access(folder, os.W_OK):
        return f"{path} cannot be written by billingsync. Set them on the machine."
    return ""


def _origins(folder: Path) -> Mapping[str, str]:
    """Where each setting stands; none where they cannot be read, which the next start says with every mistake."""
    try:
        return load_settings(cwd=folder).origins
    except SettingsError:
        return {}


def save_keys(folder: Path, keys: Typed, live: LiveSettings) -> None:
    """Writes them as `init` does: into `.env`, which only its owner may read, and `rules/` where it is missing. This
    process works by them from now on."""
    renewed = with_keys(live.current(), keys)
    if why := why_not_saved(folder, keys):
        raise UsageError(f"{why} Nothing was saved.")
    if (folder / ".env").exists():
        write_values(folder / ".env", keys.variables)
    else:
        write_scaffold(folder, keys.variables)
    live.renew(renewed)


def saved_variables(folder: Path) -> frozenset[str]:
    """Which variables have a value in the folder's `.env`."""
    places = Places()
    places.add_dotenv(folder / ".env")
    return frozenset(name for name, given in places.values.items() if given.value)
