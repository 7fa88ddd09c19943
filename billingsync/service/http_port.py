"""A small HTTP server in a thread, that survives whoever talks to it: a connection lives for seconds, the oldest gives
way when there are many, and what is no HTTP is answered 400 and closed. Nothing here can hold up the work."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Sequence
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from billingsync.errors import SettingsError

LIFETIME_S = 10.0  # of a connection, whatever it does: a probe needs a tenth of a second
MOST_CONNECTIONS = 50  # the oldest gives way: one that has not finished by then never will
MOST_HEADERS = 16_384  # bytes


class _Protocol(H11Protocol):
    """uvicorn has no limit of its own for a request that trickles in; this one ends every connection in time."""

    open: list[_Protocol]  # of this server, oldest first; set by `Port`

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.open.append(self)
        self._end = self.loop.call_later(LIFETIME_S, transport.abort)
        if len(self.open) > MOST_CONNECTIONS:
            self.open.pop(0).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        if self in self.open:
            self.open.remove(self)
        super().connection_lost(exc)


class ServerThread:
    """`with ...:` serves `app` in a thread until the block ends; what is under way then has `grace_s` seconds to
    finish. h11 alone, no web sockets, no logs and no headers of uvicorn's."""

    def __init__(
        self,
        listening: socket.socket,
        app: ASGIApp,
        protocol: type[H11Protocol],
        *,
        name: str,
        keep_alive_s: int,
        grace_s: int,
        most: int | None = None,
    ) -> None:
        self._listening, self._grace_s = listening, grace_s
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                h11_max_incomplete_event_size=MOST_HEADERS,
                limit_concurrency=most,
                timeout_keep_alive=keep_alive_s,
                timeout_graceful_shutdown=grace_s,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, name=name, daemon=True
        )

    @property
    def port(self) -> int:
        return port_of(self._listening)

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=self._grace_s + 2)


class Port(ServerThread):
    """Serves the routes. Port 0 takes a free one. `group` is that of the settings which name host and port, e.g.
    "HEALTH": a port that is taken is a mistake in them."""

    def __init__(self, host: str, port: int, routes: Sequence[BaseRoute], *, group: str) -> None:
        app = Starlette(routes=list(routes), exception_handlers={Exception: _broken})
        protocol = type("Protocol", (_Protocol,), {"open": []})
        super().__init__(listen(host, port, group), app, protocol, name=group.lower(), keep_alive_s=2, grace_s=1)


def port_of(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


async def _broken(request: Request, failed: Exception) -> Response:
    return PlainTextResponse("failed\n", status_code=500)


def listen(host: str, port: int, group: str) -> socket.socket:
    """A listening socket. SettingsError, naming the settings of `group`, where the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as failed:
        listening.close()
        none = ", or 0 for none" if group == "HEALTH" else ""
        raise SettingsError(
            [
                f"BILLINGSYNC_{group}__HOST, BILLINGSYNC_{group}__PORT: {host} port {port} cannot be used "
                f"({failed.strerror or failed}); choose another port{none}"
            ],
            next_steps=[["billingsync", "settings", "show"]],
        ) from failed
    return listening
