"""From the places where settings stand to one `Settings`: environment, else secret files, else `.env`.

The environment is what somebody said for this one call, so it wins. A secret file comes before `.env`, because who
sets up a credential store means it to replace what was typed into a file at first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from billingsync.errors import SettingsError
from billingsync.settings.groups import PREFIX, Halo
from billingsync.settings.mistakes import mistakes
from billingsync.settings.model import Settings, variables
from billingsync.settings.places import Given, Places, readable_by_others
from billingsync.settings.surroundings import wrong_surroundings
from billingsync.settings.values import is_loopback, nearest, printable, short

_SECRETS_DIR = PREFIX + "SECRETS_DIR"
# Lists and JSON may be written over several lines; a line end in anything else is a mistake in copying.
MANY_LINES = (
    PREFIX + "NOTIFY__URLS",
    PREFIX + "NOTIFY__EVENTS",
    PREFIX + "HALO__EXTRA_HEADERS",
    PREFIX + "NOTIFY__HALO_TICKET",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """`origins`: variable -> "environment", ".env", "file /path" or "default". `warnings` are sentences."""

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def load_settings(
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    *,
    run_secrets: Path = Path("/run/secrets"),
    calls: bool = True,
) -> Loaded:
    """Reads and checks all settings; raises SettingsError with every mistake. Credentials need not be there:
    `Settings.require_upstreams` asks for them where they are needed. Certificates and proxies are not looked at where
    nobody is called."""
    env = os.environ if env is None else env
    places = _gather(env, cwd or Path.cwd(), run_secrets)
    known = {variable.name: variable for variable in variables()}
    raw: dict[str, Any] = {}
    problems = [*places.problems, *(wrong_surroundings(env) if calls else ())]
    for name, given in places.values.items():
        if name not in known:
            continue
        if name not in MANY_LINES and not given.value.isprintable():
            problems.append(f"{name} ({given.origin}): holds a line end or another invisible character")
            continue
        *groups, last = known[name].path
        target = raw
        for group in groups:
            target = target.setdefault(group, {})
        target[last] = given.value
    settings = None
    try:
        settings = Settings(**raw)
    except ValidationError as wrong:
        problems += _sentences(wrong, places.values)
    if problems or settings is None:
        raise SettingsError(problems, next_steps=[["billingsync", "settings", "show"]])
    origins = {name: places.values[name].origin if name in places.values else "default" for name in known}
    warnings = (*places.warnings, *_unknown(places.values, known), *_worries(settings, places.values, known))
    return Loaded(settings=settings, origins=origins, warnings=warnings)


def _gather(env: Mapping[str, str], cwd: Path, run_secrets: Path) -> Places:
    """All values of all places, the strongest one last so that it stands."""
    places = Places()
    places.add_dotenv(cwd / ".env")
    typed = {
        name.upper(): value for name, value in sorted(env.items(), reverse=True) if name.upper().startswith(PREFIX)
    }
    named = typed.get(_SECRETS_DIR) or (places.values[_SECRETS_DIR].value if _SECRETS_DIR in places.values else "")
    places.add_secret_files(run_secrets, is_store=True)
    if credentials := env.get("CREDENTIALS_DIRECTORY"):
        places.add_secret_files(Path(credentials), is_store=True)
    if named:
        folder = cwd / named
        if not folder.is_dir():
            places.problems.append(f"{_SECRETS_DIR}: {printable(str(folder))} is not a directory")
        places.add_secret_files(folder, is_store=False)
    for name, value in typed.items():
        places.add(name, value, "environment")
    places.values.pop(_SECRETS_DIR, None)
    return places


def _sentences(wrong: ValidationError, given: Mapping[str, Given]) -> Iterator[str]:
    for mistake in mistakes(wrong):
        name = PREFIX + "__".join(mistake.path).upper()
        name = next((known.name for known in variables() if name.startswith(known.name)), name)
        value = f' "{short(given[name].value)}"' if mistake.of_value and name in given else ""
        origin = f" ({given[name].origin})" if name in given else ""
        yield f"{name}{origin}:{value} {mistake.says}"


def _unknown(given: Mapping[str, Given], known: Mapping[str, object]) -> Iterator[str]:
    for name, value in given.items():
        if name not in known:
            guess = nearest(name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in known])
            hint = f"; did you mean {PREFIX}{guess}?" if guess else ""
            yield f"{printable(name)} ({value.origin}) is not a variable of billingsync{hint}"


def _worries(settings: Settings, given: Mapping[str, Given], known: Mapping[str, Any]) -> Iterator[str]:
    """What is allowed and yet unwise."""
    shared: list[Path] = []
    for name, value in given.items():
        variable = known.get(name)
        if variable is None or not (variable.secret or name == PREFIX + "DATABASE_URL"):
            continue
        if variable.secret and value.value != value.value.strip():
            yield f"{name} ({value.origin}) begins or ends with a blank, which is taken as part of it"
        if value.path and not value.is_store and value.path not in shared and readable_by_others(value.path):
            shared.append(value.path)
            shown = printable(str(value.path))
            yield f"{shown} holds secrets and others may read it: chmod 600 {shown}"
    if worry := short_absence(settings.halo):
        yield f"{PREFIX}HALO__ABSENCE_S is {worry}"


def short_absence(halo: Halo) -> str:
    """Why HALO__ABSENCE_S is too short, "" where it is not; to follow "... is"."""
    local = is_loopback(urlsplit(halo.base_url).hostname or "")  # the sandbox; its tests cannot wait so long
    if local or halo.absence_s >= halo.timeout_s + 60:
        return ""
    return (
        f"{halo.absence_s:g}: a write may still appear up to 60 s after "
        f"{PREFIX}HALO__TIMEOUT_S, so set it to at least {halo.timeout_s + 60:g}"
    )
