"""The sandbox as a server on loopback: in a thread for tests, or blocking for `billingsync sandbox`."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from billingsync.sandbox.app import App
from billingsync.sandbox.clock import Clock
from billingsync.sandbox.faults import Faults
from billingsync.sandbox.halo_tables import HaloTables
from billingsync.sandbox.notes import Alarm, Call
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.pax8 import Pax8
from billingsync.sandbox.people import Deed
from billingsync.sandbox.tokens import Window
from billingsync.sandbox.wire import Row
from billingsync.sandbox.world import World

_TICK_S = 0.01  # how soon a stop is noticed; uvicorn's own tenth of a second adds up over a thousand tests


class _Protocol(H11Protocol):
    """Hands the transport to the application, in the ASGI scope's state, so that faults can break the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    def __init__(self, app: App, announce: Callable[[], None] | None = None) -> None:
        self._app = app
        self._announce = announce
        super().__init__(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                log_level="warning",
                access_log=False,
                date_header=False,
                server_header=False,
                timeout_keep_alive=60,
            )
        )

    async def main_loop(self) -> None:
        if self._announce is not None:
            self._announce()
        while not self.should_exit:
            await asyncio.sleep(_TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """At once: whoever still waits for an answer is cut off."""
        self._app.stopping.set()
        for server in self.servers:
            server.close()
        for listening in sockets or []:
            listening.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=2)
        await asyncio.sleep(0)


class Services:
    """What a test may ask of one partner's two services, and do to them, in the process that serves them."""

    def __init__(self, options: SandboxOptions) -> None:
        self._world = World(options)

    @property
    def url(self) -> str:
        return self._world.url

    @property
    def options(self) -> SandboxOptions:
        return self._world.options

    @property
    def pax8(self) -> Pax8:
        return self._world.pax8

    @property
    def halo(self) -> HaloTables:
        return self._world.halo.tables

    @property
    def faults(self) -> Faults:
        return self._world.faults

    @property
    def calls(self) -> list[Call]:
        return self._world.notes.calls

    @property
    def ignored(self) -> list[tuple[str, str]]:
        return self._world.notes.ignored

    @property
    def alarms(self) -> list[Alarm]:
        return self._world.notes.alarms

    @property
    def clock(self) -> Clock:
        return self._world.clock

    def environment(self) -> dict[str, str]:
        """The BILLINGSYNC_* variables that point at this sandbox."""
        return self._world.environment()

    def notes_with(self, text: str) -> int:
        """How many invoices carry this text in their internal note."""
        return sum(text in str(row.get("internal_note")) for row in self.halo.invoices.values())

    def release(self) -> None:
        """The month's invoices appear (`released=False`)."""
        self._world.pax8.release()

    def void_tokens(self) -> None:
        """Every token given so far stops working, at both services."""
        self._world.pax8.tokens.void_all()
        self._world.halo.tokens.void_all()

    def make(self, template_id: int, at: str | None = None) -> Row | None:
        """A person makes the invoice of a recurring one; `at` is a moment in HaloPSA's time."""
        return self.person(do="make", id=template_id, at=at)

    def person(self, **deed: Any) -> Row | None:
        """What a person does in HaloPSA, see `people.Deed`; the row that came of it, if any."""
        return self._world.person(Deed(**deed))

    def advance(self, seconds: float) -> None:
        """Time passes; what falls due meanwhile is done."""
        self._world.advance(seconds)

    def land(self) -> int:
        """All late writes land now; returns how many took effect."""
        return self._world.land()

    def state(self) -> dict[str, Any]:
        """HaloPSA's tables as a dict that can be compared, kept and given to `restore`."""
        return self._world.state()

    def restore(self, state: dict[str, Any]) -> None:
        self._world.restore(state)

    def change(self, **switches: Any) -> None:
        """Other switches of `SandboxOptions` from now on; what is stored stays."""
        self._world.change(**switches)

    def limit_halo(self, calls: int, seconds: float) -> None:
        """HaloPSA lets so many calls in within so long a time, from now on."""
        self._world.halo.window = Window(self._world.clock, calls, seconds)

    def reset(self, options: SandboxOptions | None = None) -> None:
        """A fresh sandbox on the same port, without the cost of another server."""
        self._world.reset(replace(options or self._world.options, account=self._world.options.account))


class _Running:
    """Serves worlds from a thread until the block ends."""

    def __init__(self, worlds: Mapping[str, World], host: str, port: int) -> None:
        self._worlds = worlds
        self._address = (host, port)
        self._thread: threading.Thread | None = None
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        listening = _listen(*self._address)
        _place(self._worlds, _url(listening))
        self._server = _Server(App(self._worlds))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, name="sandbox", daemon=True
        )
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the sandbox's server did not start")
            time.sleep(0.001)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = True
        self._thread.join(timeout=10)


class Sandbox(Services, _Running):
    """`with Sandbox(SandboxOptions(...)) as sandbox:` serves from a thread until the block ends."""

    def __init__(self, options: SandboxOptions | None = None, *, port: int = 0, host: str = "127.0.0.1") -> None:
        Services.__init__(self, options or SandboxOptions())
        _Running.__init__(self, {"": self._world}, host, port)


class Sandboxes(_Running):
    """`with Sandboxes({"acme": SandboxOptions(...), ...}) as partners:` serves many partners on one port, each with
    credentials, a tenant, limits, tables and faults of its own; `partners["acme"]` is that partner's."""

    def __init__(self, options: Mapping[str, SandboxOptions], *, port: int = 0, host: str = "127.0.0.1") -> None:
        self.partners = {name: Services(replace(one, account=name)) for name, one in options.items()}
        super().__init__({name: one._world for name, one in self.partners.items()}, host, port)

    def __getitem__(self, name: str) -> Services:
        return self.partners[name]


def serve(
    options: SandboxOptions,
    port: int,
    host: str = "127.0.0.1",
    announce: Callable[[dict[str, str]], None] = lambda _: None,
) -> None:
    """Serves until a signal stops it; `announce` gets the environment once calls are answered.

    The signal then takes its usual course: Ctrl-C raises KeyboardInterrupt, SIGTERM ends the process. Raises OSError
    when the port is taken.
    """
    serve_many({"": options}, port, host, lambda environments: announce(environments[""]))


def serve_many(
    options: Mapping[str, SandboxOptions],
    port: int,
    host: str = "127.0.0.1",
    announce: Callable[[dict[str, dict[str, str]]], None] = lambda _: None,
) -> None:
    """As `serve`, for many partners, see `Sandboxes`; `announce` gets name -> environment."""
    listening = _listen(host, port)
    worlds = {name: World(replace(one, account=name)) for name, one in options.items()}
    _place(worlds, _url(listening))
    environments = {name: world.environment() for name, world in worlds.items()}
    _Server(App(worlds), lambda: announce(environments)).run(sockets=[listening])


def _place(worlds: Mapping[str, World], url: str) -> None:
    for name, world in worlds.items():
        world.listening(f"{url}/{name}" if name else url)


def _listen(host: str, port: int) -> socket.socket:
    # the protocol is named because asyncio turns Nagle's delay off only where it sees TCP: 40 ms a call otherwise
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
