"""The desk's HTTP server, in a thread: h11 alone, few connections, none of which can hold a slot by being slow."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Self

import h11
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from billingsync.service.http_port import ServerThread, listen, port_of

MOST_CONNECTIONS = 64
MOST_STREAMS = 20  # browsers that listen to a run; counted apart from the others
TURN_S = 0.001  # how long another thread, e.g. one that plans, keeps Python from a page; it is 5 ms by itself
HEADER_S = 10.0  # a request's head that trickles in slower than this is cut off


class _Protocol(H11Protocol):
    """uvicorn has no limit for a head that trickles in."""

    _slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._slow = self.loop.call_later(HEADER_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiting = self.conn.their_state is h11.IDLE
        if not waiting and self._slow is not None:
            self._slow.cancel()
            self._slow = None
        elif waiting and self._slow is None:
            self._slow = self.loop.call_later(HEADER_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._slow is not None:
            self._slow.cancel()
        super().connection_lost(exc)


class DeskServer(ServerThread):
    """`with DeskServer(...):` serves until the block ends. Port 0 takes a free one; `make` gets the port."""

    def __init__(self, host: str, port: int, make: Callable[[int], ASGIApp]) -> None:
        listening = listen(host, port, "DESK")
        app, most = make(port_of(listening)), MOST_CONNECTIONS + MOST_STREAMS
        super().__init__(listening, app, _Protocol, name="desk", keep_alive_s=15, grace_s=5, most=most)

    def __enter__(self) -> Self:
        self._turn_s = sys.getswitchinterval()
        sys.setswitchinterval(TURN_S)
        return super().__enter__()

    def __exit__(self, *failed: object) -> None:
        super().__exit__(*failed)
        sys.setswitchinterval(self._turn_s)
