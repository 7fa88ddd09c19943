"""The settings as one value. Texts that nobody set are "", so that callers need no None; `require_upstreams` says
which of the required ones are missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from billingsync.errors import SettingsError
from billingsync.settings import values
from billingsync.settings.groups import PREFIX, DeskSettings, Health, Log, defaults
from billingsync.settings.partner import PartnerSettings


class Settings(PartnerSettings):
    """All settings of a machine that works for one partner: the partner's own, and the machine's.

    `Settings()` alone has the defaults: values come through `load_settings`, which knows for each where it came
    from and reports all mistakes at once."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: Annotated[str, AfterValidator(values.database_url)] = Field(
        default="sqlite:///billingsync.db", repr=False, description="SQLAlchemy URL of the ledger: SQLite or PostgreSQL"
    )
    # How long a person waits at the most who killed a run and begins another; and how long a run may be cut off.
    lease_s: float = Field(
        default=60.0,
        ge=0.5,
        le=3_600,
        allow_inf_nan=False,
        description="seconds that a run keeps its lock without a sign of life",
    )
    share_calls: bool = Field(
        default=False, description="whether all processes on the database share each account's calls a minute"
    )
    health: Health = defaults()
    desk: DeskSettings = defaults()
    log: Log = defaults()

    def require_upstreams(self, which: Sequence[str] = ("pax8", "halo")) -> None:
        """For commands that call Pax8 or HaloPSA: SettingsError with every required variable that is not set."""
        missing = [
            f"{variable.name} is not set: {variable.says}"
            for variable in variables()
            if variable.required and variable.path[0] in which and not _text(variable.of(self))
        ]
        if missing:
            raise SettingsError(missing, next_steps=[["billingsync", "init"]])

    def secrets(self) -> tuple[str, ...]:
        """Every secret value, for redaction."""
        found = [self.pax8.client_secret, self.halo.client_secret, self.webhook.authorization, self.ping.url]
        found.append(self.desk.oidc.client_secret)
        found += self.notify.urls
        texts = [secret.get_secret_value() for secret in (*found, *self.halo.extra_headers.values())]
        for address in (*self.notify.urls, self.ping.url):
            texts += values.secret_parts(address.get_secret_value())
        if self.database_url.startswith("postgresql"):
            from sqlalchemy.engine import make_url

            url = make_url(self.database_url)
            texts += [str(url.password or ""), *(str(url.query[key]) for key in url.query if "pass" in key.lower())]
        return tuple(dict.fromkeys(text for text in texts if text))


def _text(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


_REQUIRED = (
    ("pax8", "client_id"),
    ("pax8", "client_secret"),
    ("halo", "base_url"),
    ("halo", "client_id"),
    ("halo", "client_secret"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One environment variable: `path` is where its value is found in Settings, e.g. ("halo", "base_url")."""

    name: str
    path: tuple[str, ...]
    says: str
    default: object
    secret: bool

    @property
    def required(self) -> bool:
        return self.path in _REQUIRED

    def of(self, settings: Settings) -> object:
        found: object = settings
        for part in self.path:
            found = getattr(found, part)
        return found


@cache
def variables() -> tuple[Variable, ...]:
    """Every variable, in the order of the documentation."""
    return tuple(_walk(Settings, ()))


def _walk(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[Variable]:
    for name, info in model.model_fields.items():
        path = (*above, name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _walk(info.annotation, path)
            continue
        yield Variable(
            name=PREFIX + "__".join(path).upper(),
            path=path,
            says=info.description or "",
            default=info.get_default(call_default_factory=True),
            secret="SecretStr" in str(info.annotation),
        )
