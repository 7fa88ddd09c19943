"""The commands of the desk: serve it, and say who may use it."""

from __future__ import annotations

import datetime
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from billingsync.cli.session import ledger_only, load
from billingsync.cli.terminal import console, document, note, out
from billingsync.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from billingsync.core.desk import Role
    from billingsync.settings import LiveSettings, Settings
    from billingsync.store.ledger import Ledger
    from billingsync.web.server import DeskServer

DEFAULT_PORT = 8793
FIRST_LINK_GOOD_FOR = datetime.timedelta(minutes=15)
LINK_GOOD_FOR = datetime.timedelta(hours=24)

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")]
EmailArgument = Annotated[str, typer.Argument(metavar="EMAIL", help="The person's e-mail address.")]


def register(app: typer.Typer) -> None:
    desk_app = typer.Typer(help="The desk: web pages on which finance closes the month.", invoke_without_command=True)
    desk_app.callback(epilog="Example: billingsync desk --open. Exit codes: 0 stopped, 1, 2.")(desk)
    people_app = typer.Typer(help="Who may use the desk, and as what.", invoke_without_command=True)
    people_app.callback(epilog="Example: billingsync desk people. Exit codes: 0, 1, 2.")(people)
    people_app.command(
        "add", epilog="Example: billingsync desk people add dana@msp.example --role financial. Exit codes: 0, 1, 2."
    )(add)
    people_app.command("link", epilog="Example: billingsync desk people link dana@msp.example. Exit codes: 0, 1, 2.")(
        link
    )
    people_app.command(
        "role", epilog="Example: billingsync desk people role dana@msp.example admin. Exit codes: 0, 1, 2."
    )(role)
    people_app.command(
        "disable", epilog="Example: billingsync desk people disable dana@msp.example. Exit codes: 0, 1, 2."
    )(disable)
    desk_app.add_typer(people_app, name="people")
    app.add_typer(desk_app, name="desk")


def desk(
    context: typer.Context,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")] = False,
) -> int:
    """Serve the desk until stopped."""
    if context.invoked_subcommand is not None:
        return 0
    from billingsync.settings import LiveSettings, load_settings
    from billingsync.store.ledger import open_ledger

    settings, redactor = load()
    settings = _as_asked(settings, host)
    with open_ledger(settings.database_url, partner=settings.partner) as ledger:
        live = LiveSettings(settings, redactor, lambda: load_settings().settings)
        _serve(live, ledger, settings.desk.port or DEFAULT_PORT if port is None else port, open_)
    return 0


def _as_asked(settings: Settings, host: str | None) -> Settings:
    """The settings with --host, under the same conditions as the variable."""
    from billingsync.settings.values import is_loopback

    if host is None:
        return settings
    if not is_loopback(host) and not settings.desk.public_url.startswith("https://"):
        raise SettingsError(
            [f"BILLINGSYNC_DESK__PUBLIC_URL must be set, and https, where --host is not this machine ({host})"],
            next_steps=[["billingsync", "settings", "show"]],
        )
    return settings.model_copy(update={"desk": settings.desk.model_copy(update={"host": host})})


def desk_server(live: LiveSettings, ledger: Ledger, *, wake: Callable[[], None], port: int | None = None) -> DeskServer:
    """The desk's server, not started yet. `wake` tells whoever carries out orders that one waits."""
    from billingsync.web.app import make_app, make_desk
    from billingsync.web.server import DeskServer
    from billingsync.web.site import site_of

    settings = live.current()

    def make(port: int) -> ASGIApp:
        return make_app(make_desk(live, ledger, site_of(settings.desk, port), wake=wake))

    return DeskServer(settings.desk.host, settings.desk.port if port is None else port, make)


def _serve(live: LiveSettings, ledger: Ledger, port: int, open_: bool) -> None:
    from billingsync.connect import connections
    from billingsync.run.orders import Carrier
    from billingsync.service.order_thread import OrderThread
    from billingsync.setup.orders import carries
    from billingsync.web.site import site_of

    stopped = _on_signals()
    carrier = Carrier(ledger, lambda: connections(live.newest(), live.redactor), kind="desk", carries=carries(live))
    with OrderThread(carrier) as orders, desk_server(live, ledger, wake=orders.wake, port=port) as on:
        address = site_of(live.current().desk, on.port).url
        out(f"The desk is at {address}")
        if not ledger.people():
            address = first_link(ledger, on.port)
            out(f"Nobody may use it yet. Become its first admin within 15 minutes, on this machine:\n  {address}")
        if open_:
            typer.launch(address)
        note("Stop it with Ctrl-C.")
        stopped.wait()


def _on_signals() -> threading.Event:
    """Set by Ctrl-C or SIGTERM: being stopped is how this command ends, and no failure."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def first_link(ledger: Ledger, port: int) -> str:
    """A link that makes the first admin, once, on this machine."""
    from billingsync.core.desk import LinkKind

    secret = ledger.make_link(LinkKind.FIRST, good_for=FIRST_LINK_GOOD_FOR, now=_now())
    return f"http://127.0.0.1:{port}/login/once/{secret}"


def people(context: typer.Context, json: JsonOption = False) -> int:
    """Everybody who may use the desk."""
    if context.invoked_subcommand is not None:
        return 0
    from billingsync.report.layout import table

    with ledger_only() as (_, ledger):
        found = [
            (
                person.email,
                person.role,
                "SSO" if person.issuer else "password" if person.password else "no password yet",
                person.seen_at.isoformat(timespec="seconds") if person.seen_at else "never",
                "disabled" if person.disabled_at else "",
            )
            for person in ledger.people()
        ]
    steps = [["billingsync", "desk", "people", "add", "EMAIL", "--role", "admin"]]
    if json:
        names = ("email", "role", "signs_in_by", "last_seen", "state")
        document({"people": [dict(zip(names, row, strict=True)) for row in found]}, [] if found else steps)
    elif found:
        table(console(), ("Person", "Role", "Signs in by", "Last seen", ""), found)
    else:
        out(f"Nobody yet. Add somebody:  {' '.join(steps[0])}")
    return 0


def add(
    email: EmailArgument,
    role: Annotated[str, typer.Option("--role", help="user, financial or admin.")] = "user",
    json: JsonOption = False,
) -> int:
    """Add a person, and print a link to set a password."""
    from billingsync.store.lock import who

    with ledger_only() as (settings, ledger):
        person = ledger.add_person(email, _role(role), who=who(), now=_now())
        return _print_link(settings, ledger, person.id, person.email, json)


def link(email: EmailArgument, json: JsonOption = False) -> int:
    """Print a new link to set a password; earlier ones end."""
    with ledger_only() as (settings, ledger):
        person = ledger.require_person(email)
        return _print_link(settings, ledger, person.id, person.email, json)


def _print_link(settings: Settings, ledger: Ledger, id: str, email: str, json: bool) -> int:
    from billingsync.core.desk import LinkKind

    base = settings.desk.public_url or f"http://127.0.0.1:{settings.desk.port or DEFAULT_PORT}"
    secret = ledger.make_link(LinkKind.PASSWORD, person=id, good_for=LINK_GOOD_FOR, now=_now())
    address = f"{base}/login/once/{secret}"
    if json:
        document({"email": email, "link": address, "good_hours": 24})
    else:
        out(address)
        note(f"{email} sets a password there. The link is good once, for 24 hours.")
    return 0


def role(
    email: EmailArgument,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="user, financial or admin.")],
    json: JsonOption = False,
) -> int:
    """Give a person another role, which signs the person out."""
    from billingsync.store.lock import who

    with ledger_only() as (_, ledger):
        person = ledger.require_person(email)
        ledger.set_role(person.id, _role(role), who=who(), now=_now())
    return _done(json, person.email, f"{person.email} is {role} now.", role=role)


def disable(email: EmailArgument, json: JsonOption = False) -> int:
    """Shut a person out at once."""
    from billingsync.store.lock import who

    with ledger_only() as (_, ledger):
        person = ledger.require_person(email)
        ledger.disable_person(person.id, who=who(), now=_now())
    return _done(json, person.email, f"{person.email} cannot sign in any more.", disabled=True)


def _done(json: bool, email: str, says: str, **what: object) -> int:
    if json:
        document({"email": email, **what})
    else:
        out(says)
    return 0


def _role(text: str) -> Role:
    from billingsync.core.desk import Role

    if text not in tuple(Role):
        raise UsageError(f"A role is one of {', '.join(Role)}, not {text!r:.40}.")
    return Role(text)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
