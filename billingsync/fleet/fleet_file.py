"""`fleet.toml`: what holds for all partners, and where their secrets come from."""

from __future__ import annotations

import json
import os.path
import re
from functools import cache
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from billingsync.fleet.toml_settings import Keys, looks_secret, read_settings
from billingsync.rulebook.file import Problem, RulesFile
from billingsync.settings import values as allowed
from billingsync.settings.groups import Group


def _folder(value: object) -> object:
    if isinstance(value, str) and not os.path.isabs(value):
        raise ValueError("must be a whole path, the same on each machine, e.g. /etc/billingsync/secrets")
    return os.path.normpath(value) if isinstance(value, str) else value


def _command(value: object) -> object:
    """A JSON list: the program by its whole path, and its arguments."""
    if not isinstance(value, str):
        return value
    example = '["/usr/local/bin/partner-secrets"]'
    try:
        words = json.loads(value)
    except ValueError:
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        raise ValueError(f"is not a list of words; write the program and its arguments: {example}")
    if not os.path.isabs(words[0]):
        raise ValueError(f"must begin with the program's whole path, the same on each machine: {example}")
    if any(looks_secret(re.sub(r"^-+", "", word.partition("=")[0])) and "=" in word for word in words[1:]):
        raise ValueError(
            "seems to hold a secret, which everybody on the machine could see; let the program read it from a file, "
            "e.g. systemd's $CREDENTIALS_DIRECTORY"
        )
    return tuple(words)


class Limits(Group):
    new_logins_per_s: int = Field(default=5, ge=1, le=1000, description="logins of all workers in a second, a service")
    calls_at_once: int = Field(default=200, ge=1, le=10_000, description="calls of all workers at a time, a service")
    database_gb: int = Field(
        default=0, ge=0, le=1_000_000, description="room that the database has; nothing new begins at 95 %; 0: unknown"
    )


class SecretPlaces(Group):
    dir: Annotated[str, BeforeValidator(_folder)] = Field(
        default="", description="folder with one folder of secret files for each partner"
    )
    command: Annotated[tuple[str, ...], BeforeValidator(_command)] = Field(
        default=(), description="program that prints a partner's secrets; gets the partner's name"
    )


class BureauNotices(Group):
    events: Annotated[tuple[str, ...], BeforeValidator(allowed.events)] = Field(
        default=allowed.EVENTS, description="what the bureau is told of"
    )


class FleetSettings(BaseModel):
    """`fleet.toml`."""

    engine: Annotated[Literal["pgqueuer"], BeforeValidator(lambda value: allowed.choice(value, ("pgqueuer",)))] = Field(
        default="pgqueuer", description="what hands the work out to the workers"
    )
    slots: int = Field(default=16, ge=1, le=256, description="partners that one worker works for at a time")
    standby: bool = Field(default=False, description="true: what is committed must be on a standby server too")
    limits: Limits = Limits()
    secrets: SecretPlaces = SecretPlaces()
    notify: BureauNotices = BureauNotices()


@cache
def _keys() -> Keys:
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    for name, info in FleetSettings.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            known |= {(name, key): (name, key) for key in kind.model_fields}
        else:
            known[(name,)] = (name,)
    machine = "is a setting of the machine and holds a secret; set {} there, as a systemd credential"
    elsewhere = {
        ("notify", "urls"): machine.format("BILLINGSYNC_NOTIFY__URLS"),
        ("database_url",): machine.format("BILLINGSYNC_DATABASE_URL"),
    }
    return Keys(known=known, elsewhere=elsewhere)


def read_fleet_file(file: RulesFile) -> tuple[FleetSettings | None, list[Problem], list[str]]:
    """What `fleet.toml` says; None with every mistake where there is one; and what is allowed and yet unwise."""
    found, problems = read_settings(file, FleetSettings, _keys())
    if found is None:
        return None, problems, []
    secrets = found.secrets
    if not secrets.dir and not secrets.command:
        says = "says not where the partners' secrets are; write dir or command in [secrets]"
        return None, [*problems, file.problem(("secrets",), "secrets", says)], []
    both = secrets.dir and secrets.command
    warning = f"{file.path}: secrets.command is not used, because secrets.dir is set too"
    return found, problems, [warning] if both else []
