"""The groups of settings that belong together: `BILLINGSYNC_PAX8__...` are the fields of `Pax8`, and so on."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator
from pydantic_core.core_schema import ValidationInfo

from billingsync.core.desk import Role
from billingsync.settings import values

PREFIX = "BILLINGSYNC_"

_LEVELS = ("debug", "info", "warning", "error", "critical")
_LOGINS = ("password", "sso", "both")
_WRITE_LINES = ("header", "updatelines", "add_lines")
_ONE_TIME = ("plain", "flag")

Trimmed = Annotated[str, AfterValidator(str.strip)]
Url = Annotated[str, AfterValidator(values.service_url)]
PerMinute = Annotated[int, Field(ge=1, le=100_000)]
Expiry = Annotated[date | None, BeforeValidator(values.day)]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


def defaults() -> Any:
    """Of a field that is a group: the group with nothing set. It is made by the model that holds it, so that no group
    needs a validator of its own: each costs several milliseconds, in every command."""
    return Field(default_factory=dict, validate_default=True)


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class Pax8(Group):
    base_url: Annotated[str, AfterValidator(values.base_url)] = Field(
        default="https://api.pax8.com/v1", description="Pax8's API"
    )
    token_url: Url = Field(default="https://api.pax8.com/v1/token", description="where Pax8 hands out tokens")
    audience: Trimmed = Field(default="https://api.pax8.com", description="audience of the token")
    client_id: Trimmed = Field(default="", description="client id of the Pax8 API credentials")
    client_secret: SecretStr = Field(default=SecretStr(""), description="client secret of the Pax8 API credentials")
    expires_on: Expiry = Field(default=None, description="day on which the client secret ends, to be warned before")
    # Pax8 is said to allow 1000 a minute; other tools of the partner need some: reference/pax8 2.
    calls_per_minute: PerMinute = Field(default=600, description="calls made in a minute at the most")
    timeout_s: Seconds = Field(default=60.0, description="seconds for one call")
    parallel: int = Field(default=4, ge=1, le=32, description="pages read at a time")


class Halo(Group):
    base_url: Annotated[str, AfterValidator(values.halo_url)] = Field(
        default="", description="the HaloPSA tenant's address, e.g. https://acme.halopsa.com"
    )
    token_url: Annotated[str, AfterValidator(values.service_url)] = Field(
        default="", description="where HaloPSA hands out tokens; asked of the tenant where it is not set"
    )
    tenant: Trimmed = Field(default="", description="tenant name, for logins that need one")
    currency: Annotated[str, AfterValidator(values.currency)] = Field(
        default="", description="ISO code of the currency of clients whose currency HaloPSA does not say"
    )
    # The least that works: reference/halopsa 1; suppliers because items are found by their part codes too [P1].
    scope: Trimmed = Field(
        default="read:customers read:items edit:items read:invoices edit:invoices read:suppliers",
        description="scopes asked for",
    )
    client_id: Trimmed = Field(default="", description="client id of the HaloPSA API application")
    client_secret: SecretStr = Field(default=SecretStr(""), description="client secret of the HaloPSA API application")
    expires_on: Expiry = Field(default=None, description="day on which the client secret ends, to be warned before")
    # Hosted tenants allow 300 calls in 5 minutes, and other integrations eat from them: reference/halopsa 2.6.
    calls_per_minute: PerMinute = Field(default=50, description="calls made in a minute at the most")
    calls_in_5_minutes: PerMinute = Field(
        default=250, description="calls made in 5 minutes at the most, where an account's calls are shared"
    )
    timeout_s: Seconds = Field(default=60.0, description="seconds for one call")
    # A gateway may give up 60 s after our own timeout [N2].
    absence_s: float = Field(
        default=180.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="seconds until a missing write is believed missing",
    )
    marker: Annotated[str, AfterValidator(values.marker)] = Field(
        default="longdescription", description="where a line carries its key"
    )
    write_lines: Annotated[
        Literal["header", "updatelines", "add_lines"], BeforeValidator(lambda value: values.choice(value, _WRITE_LINES))
    ] = Field(default="header", description="how lines reach an existing invoice")
    one_time: Annotated[Literal["plain", "flag"], BeforeValidator(lambda value: values.choice(value, _ONE_TIME))] = (
        Field(default="plain", description="how a recurring invoice is told what to bill only once")
    )
    extra_headers: Annotated[dict[str, SecretStr], BeforeValidator(values.headers)] = Field(
        default_factory=dict, description="JSON object of headers sent with every call"
    )

    def header_values(self) -> dict[str, str]:
        """The extra headers in clear: they may hold secrets, so only for the request itself."""
        return {name: value.get_secret_value() for name, value in self.extra_headers.items()}


class Poll(Group):
    # Pax8 makes the month's invoice on the 4th and releases it from the 5th: reference/pax8 3.1.
    from_day: int = Field(
        default=4, ge=1, le=28, description="day of the month from which the worker looks for the invoice"
    )
    every_minutes: int = Field(default=60, ge=1, le=1440, description="minutes between two looks")
    alert_day: int = Field(
        default=10, ge=1, le=28, validate_default=True, description="day from which a missing invoice is an alarm"
    )

    @field_validator("alert_day")
    @classmethod
    def _not_before_looking(cls, value: int, info: ValidationInfo) -> int:
        first = info.data.get("from_day")
        if first is not None and value < first:
            raise ValueError(f"{value} comes before {PREFIX}POLL__FROM_DAY, which is {first}")
        return value


class Snapshot(Group):
    # Before the working day, and on most days before anything is posted.
    at: Annotated[str, AfterValidator(values.clock_time)] = Field(
        default="05:00", description="time of day, in the partner's time zone, of the worker's daily snapshot"
    )
    keep_days: int = Field(
        default=92, ge=1, le=36_500, description="days that daily snapshots are kept on which no period rests"
    )


class Health(Group):
    host: Annotated[str, AfterValidator(str.strip), Field(min_length=1)] = Field(
        default="127.0.0.1", description="address of /healthz, /readyz, /metrics"
    )
    port: int = Field(default=8790, ge=0, le=65_535, description="its port; 0 turns it off")


class Webhook(Group):
    # Empty means that there is none: nothing listens.
    authorization: Annotated[SecretStr, BeforeValidator(lambda value: values.authorization(value))] = Field(
        default=SecretStr(""), description="what Pax8's webhook sends as Authorization; no webhook where it is not set"
    )
    # A port of its own: whoever publishes the webhook must not publish the health endpoint with it.
    host: Annotated[str, AfterValidator(str.strip), Field(min_length=1)] = Field(
        default="127.0.0.1", description="address of /webhooks/pax8"
    )
    port: int = Field(default=8792, ge=1, le=65_535, description="its port")


class Notify(Group):
    urls: Annotated[tuple[SecretStr, ...], BeforeValidator(values.notify_urls)] = Field(
        default=(), description="Apprise URLs (Teams is workflows://, Slack, mail, ...)"
    )
    events: Annotated[tuple[str, ...], BeforeValidator(values.events)] = Field(
        default=values.EVENTS, description="which of " + " ".join(values.EVENTS)
    )
    halo_ticket: Annotated[dict[str, Any] | None, BeforeValidator(values.ticket)] = Field(
        default=None, description="JSON object of a HaloPSA ticket's fields; where it is set, notices open tickets"
    )


class Ping(Group):
    url: Annotated[SecretStr, BeforeValidator(lambda value: values.ping_url(value))] = Field(
        default=SecretStr(""), description="dead man's switch (healthchecks protocol: /start, plain, /fail)"
    )


class Oidc(Group):
    issuer: Annotated[str, AfterValidator(values.issuer)] = Field(
        default="", description="who signs people in, exactly as it names itself"
    )
    client_id: Trimmed = Field(default="", description="client id of the desk at the issuer")
    client_secret: SecretStr = Field(default=SecretStr(""), description="client secret of the desk at the issuer")
    domain: Trimmed = Field(default="", description="the one domain whose people may sign in (Google's hd)")
    roles: Annotated[dict[str, Role], BeforeValidator(values.roles)] = Field(
        default_factory=dict, description="JSON object: a value of the claim roles or groups to user, financial, admin"
    )


class DeskSettings(Group):
    port: int = Field(default=0, ge=0, le=65_535, description="port on which the worker serves the desk; 0: not at all")
    host: Annotated[str, AfterValidator(str.strip), Field(min_length=1)] = Field(
        default="127.0.0.1", description="address of the desk"
    )
    public_url: Annotated[str, AfterValidator(values.public_url)] = Field(
        default="", validate_default=True, description="the desk's address as people type it, https"
    )
    proxies: Annotated[tuple[str, ...], BeforeValidator(values.addresses)] = Field(
        default=(), description="addresses whose X-Forwarded-For is believed, for the log and the limit of sign-ins"
    )
    session_hours: int = Field(default=12, ge=1, le=168, description="hours until a person must sign in again")
    idle_minutes: int = Field(default=60, ge=5, le=1440, description="minutes without a click until a session ends")
    two_people_above: Decimal | None = Field(
        default=None, ge=0, description="amount from which a second person must confirm a posting"
    )
    oidc: Oidc = defaults()
    login: Annotated[
        Literal["password", "sso", "both"], BeforeValidator(lambda value: values.choice(value, _LOGINS))
    ] = Field(default="password", description="how people sign in: password, sso or both")

    @field_validator("public_url")
    @classmethod
    def _reachable(cls, value: str, info: ValidationInfo) -> str:
        """Whoever serves other machines says under which address, and with TLS."""
        host = info.data.get("host", "127.0.0.1")
        if not values.is_loopback(host) and not value.startswith("https://"):
            raise ValueError(f"must be set, and https, where {PREFIX}DESK__HOST is not this machine ({host})")
        return value

    @field_validator("login")
    @classmethod
    def _issuer_known(cls, value: str, info: ValidationInfo) -> str:
        oidc = info.data.get("oidc")
        if value != "password" and oidc is not None:
            given = {
                "ISSUER": oidc.issuer,
                "CLIENT_ID": oidc.client_id,
                "CLIENT_SECRET": oidc.client_secret.get_secret_value(),
            }
            missing = [f"{PREFIX}DESK__OIDC__{name}" for name, text in given.items() if not text]
            if missing:
                raise ValueError(f"{value} needs {', '.join(missing)}")
        return value


class Log(Group):
    format: Annotated[
        Literal["console", "json"] | None, BeforeValidator(lambda value: values.choice(value, ("console", "json")))
    ] = Field(default=None, description="console or json; console on a terminal, else json, where it is not set")
    level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"],
        BeforeValidator(lambda value: values.choice(value, _LEVELS)),
    ] = Field(default="info", description="the least level that is logged")


class Retry(Group):
    # A busy service is usually free again after a second; the waits double from here, up to 300 s (faults 30).
    first_wait_s: Seconds = Field(default=1.0, description="first wait before a call is made again; doubles each time")
