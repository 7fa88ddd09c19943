"""The desk's HTTP server, in a thread: h11 alone, few connections, none of which can hold a slot by being slow."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from billingsync.service.http_port import MOST_HEADERS, listen

MOST_CONNECTIONS = 64
MOST_STREAMS = 20  # browsers that listen to a run; counted apart from the others
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


class DeskServer:
    """`with DeskServer(...):` serves until the block ends. Port 0 takes a free one; `make` gets the port."""

    def __init__(self, host: str, port: int, make: Callable[[int], ASGIApp]) -> None:
        self._listening = listen(host, port, "DESK")
        self._server = uvicorn.Server(
            uvicorn.Config(
                make(self.port),
                http=_Protocol,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                h11_max_incomplete_event_size=MOST_HEADERS,
                limit_concurrency=MOST_CONNECTIONS + MOST_STREAMS,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=5,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listening]}, name="desk", daemon=True
        )

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    def __enter__(self) -> DeskServer:
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=7)
