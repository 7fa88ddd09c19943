"""One request as the pages see it, what they answer, and how a route says who may use it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from billingsync.core.desk import OrderKind, OrderState, Role
from billingsync.errors import BillingSyncError
from billingsync.reconcile.kept_comparison import Comparisons
from billingsync.report.comparison.tables import Table
from billingsync.report.numbers import Figures
from billingsync.settings import LiveSettings, Settings
from billingsync.store.ledger import Ledger
from billingsync.store.sessions import Session, SessionLimits
from billingsync.web.passwords import Passwords
from billingsync.web.presence import Presence
from billingsync.web.site import Site
from billingsync.web.typed import TypedKeys
from billingsync.web.watch import Watch


class NotFound(BillingSyncError):
    """There is no such page."""

    code = "BS-NOT-FOUND"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the pages work with. `wake` tells whoever carries out orders that one waits; `clock` is for tests."""

    live: LiveSettings
    ledger: Ledger
    site: Site
    limits: SessionLimits
    figures: Figures
    comparisons: Comparisons
    passwords: Passwords = field(default_factory=Passwords)
    wake: Callable[[], None] = lambda: None
    watch: Watch = field(default_factory=Watch)
    presence: Presence = field(default_factory=Presence)
    typed: TypedKeys = field(default_factory=TypedKeys)
    folder: Path = field(default_factory=Path.cwd)  # where `.env` is
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def settings(self) -> Settings:
        """Those that count now."""
        return self.live.current()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """`now` is one moment for the whole request. `session` is None only where a route may be used by anybody."""

    desk: Desk
    request: Request
    now: datetime
    session: Session | None
    form: FormData

    @property
    def ledger(self) -> Ledger:
        return self.desk.ledger

    @property
    def signed_in(self) -> Session:
        assert self.session is not None, "a route without a role asked who is there"
        return self.session

    @property
    def role(self) -> Role:
        return self.signed_in.person.as_role

    @property
    def who(self) -> str:
        """Who does it, for the journal and for every function that the commands call too [SE9]."""
        session = self.signed_in
        return f"{session.person.email} (desk, session {session.id}, {self.address})"

    @property
    def address(self) -> str:
        return client_address(self.request, self.desk.settings.desk.proxies)

    def text(self, name: str) -> str:
        """A field of the form, "" where it was not sent."""
        value = self.form.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str) -> str:
        """A part of the query, "" where it was not given."""
        return self.request.query_params.get(name, "").strip()

    def order(
        self,
        kind: OrderKind,
        arguments: Mapping[str, Any],
        *,
        digest: str | None = None,
        state: OrderState = OrderState.WAITING,
    ) -> Response:
        """Files an order in the person's name, wakes whoever carries it out, and leads to its page."""
        filed = self.ledger.file_order(
            kind, arguments=arguments, digest=digest, who=self.who, now=self.now, state=state
        )
        self.desk.wake()
        return see(f"/orders/{filed.id}")

    @property
    def fragment(self) -> bool:
        """Whether htmx asks for a part of the page."""
        return self.request.headers.get("hx-request") == "true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A page to render: `view` is all that its template gets. `part` is the block that is enough for a fragment;
    `twin` is the same as JSON, `tables` as spreadsheets: the first one is the CSV [DP2]."""

    template: str
    title: str
    view: Mapping[str, Any] = field(default_factory=dict)
    part: str = "main"
    status: int = 200
    twin: Callable[[], Mapping[str, Any]] | None = None
    tables: Callable[[], Sequence[Table]] | None = None


Handler = Callable[[Ask], Shown | Response]
AsyncHandler = Callable[[Ask], Awaitable[Shown | Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One route. `role` None means anybody, signed in or not: only for signing in."""

    path: str
    show: Handler | AsyncHandler
    role: Role | None
    post: bool = False
    twin: bool = False  # whether PATH.json is served too
    sheets: bool = False  # whether PATH.csv and PATH.xlsx are
    upload: bool = False  # whether its form may carry one file


def see(path: str) -> Response:
    """After an act: the browser gets the page that shows what became of it."""
    assert own_path(path) == path, path
    return RedirectResponse(path, status_code=303)


def own_path(text: str) -> str:
    """A path of ours to go on to, "/" for anything else: never another site's address [SE8]."""
    plain = text.isprintable() and text.isascii() and "\\" not in text and " " not in text
    return text if text.startswith("/") and not text.startswith("//") and plain else "/"


def client_address(request: Request, proxies: tuple[str, ...]) -> str:
    """Who calls, for the log and the limit of sign-ins: what a proxy that we know says, else the connection's end."""
    host = request.client.host if request.client else ""
    if host not in proxies:
        return host
    hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    return next((hop[:64] for hop in reversed(hops) if hop and hop not in proxies), host)
