"""What goes into a service and what comes out of it, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from billingsync.http.service import Service

Params = Mapping[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """One upstream. `token_url` may be a function that finds it with the service's own calls."""

    name: str  # as people read it: "Pax8", "HaloPSA"
    base_url: str
    token_url: str | Callable[[Service], str]
    token_style: Literal["json", "form"]
    token_fields: Mapping[str, str] = field(default_factory=dict)  # audience, scope
    client_id: str
    client_secret: str = field(repr=False)
    calls_per_minute: int
    timeout_s: float = 60.0  # one call in all, from connecting to the last byte of the answer
    connect_timeout_s: float = 10.0
    first_wait_s: float = 1.0  # before the first repetition; then doubling
    before_login: Callable[[], None] | None = None  # called right before each attempt to log in
    at_once: int | None = None  # calls under way at a time; an answer that came is read while the next is under way
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    login_hint: str = ""  # added to the message of a failed login
    max_body: int = 8 * 2**20  # bytes, unpacked: 200 invoice items are about 0.3 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call as logs and metrics see it; `status` is None where no answer came. Never a secret, never a body."""

    service: str
    method: str
    path: str
    status: int | None
    seconds: float
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A readable 2xx. `json` has Decimals for fractions, `body` is what was sent (unpacked), headers are lower case."""

    json: Any
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The server answered a write with a readable 2xx. Whether it did what was asked is for the caller to compare."""

    status: int
    json: Any  # None where a DELETE or a 204 had no body
    body: bytes = field(repr=False)
    hide: Callable[[str], str] = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """What the server said, as it may be shown."""
        return self.hide(self.body.decode("utf-8", "replace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDone:
    """The write has not happened: refused with `status`, or never sent (`status` None)."""

    status: int | None
    message: str
    retry_after: float | None = None  # seconds, where the server asked for a pause


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeUnknown:
    """The write may or may not have happened, now or later. Look before doing anything."""

    why: str


Sent = Answered | NotDone | OutcomeUnknown


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, whatever the attempt."""

    method: str
    path: str
    params: Params = field(default_factory=dict)
    content: bytes = b""
    before: Callable[[], None] | None = None  # called right before each attempt
    anonymous: bool = False
    host: str = ""  # where it is another than the base address's

    def __str__(self) -> str:
        return f"{self.method} {self.path}"
