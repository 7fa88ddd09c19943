"""/healthz, /readyz, /metrics, and where it is wanted the webhook: a small server in a thread, on loopback.

It survives whoever talks to it: a connection lives for seconds, the oldest gives way when there are many, and what is
no HTTP is answered 400 and closed. Nothing here can hold up the work.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from billingsync.errors import LedgerError, SettingsError
from billingsync.health.metrics import CONTENT_TYPE, Metrics, Vitals
from billingsync.health.snapshot import Snapshot

LIFETIME_S = 10.0  # of a connection, whatever it does: a probe needs a tenth of a second
MOST_CONNECTIONS = 50  # the oldest gives way: one that has not finished by then never will
MOST_HEADERS = 16_384  # bytes
STALE = timedelta(hours=26)  # without a good cycle: the daily look while resting, and some


class _Protocol(H11Protocol):
    """uvicorn has no limit of its own for a request that trickles in; this one ends every connection in time."""

    open: list[_Protocol]  # of this server, oldest first; set by `HealthServer`

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


class HealthServer:
    """`with HealthServer(...):` serves until the block ends. Port 0 in the settings means that it is not made at all;
    port 0 here takes a free one."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        take: Callable[[], Snapshot],
        vitals: Vitals,
        more: list[BaseRoute] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._take, self._vitals, self._clock = take, vitals, clock
        self._metrics = Metrics(take, vitals)
        self._began = clock()
        self._listening = _listen(host, port)
        routes = [
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._scrape),
            *(more or []),
        ]
        protocol = type("Protocol", (_Protocol,), {"open": []})
        self._server = uvicorn.Server(
            uvicorn.Config(
                Starlette(routes=routes, exception_handlers={Exception: _broken}),
                http=protocol,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                h11_max_incomplete_event_size=MOST_HEADERS,
                timeout_keep_alive=2,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listening]}, name="health", daemon=True
        )

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    def __enter__(self) -> HealthServer:
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=3)

    # Answers ---------------------------------------------------------------------------------------------------------

    async def _healthz(self, request: Request) -> Response:
        """Is the work loop alive? No database, no network: asking must not fail for another's fault."""
        silent = round(self._vitals.silent_s(), 1)
        if self._vitals.hangs():
            return _json(503, {"state": "hangs", "silent_s": silent})
        return _json(200, {"state": "alive", "silent_s": silent})

    async def _readyz(self, request: Request) -> Response:
        checks = await run_in_threadpool(self._checks)
        ready = all(says == "ok" for says in checks.values())
        return _json(200 if ready else 503, {"state": "ready" if ready else "not ready", "checks": checks})

    def _checks(self) -> dict[str, str]:
        """Database, and the last contact with each service; "ok" or what is wrong, never an address."""
        checks: dict[str, str] = {}
        try:
            found = self._take()
            checks["database"] = "ok"
        except LedgerError as failed:
            return {"database": failed.code}
        _, _, contact = self._vitals.counts()
        now = self._clock()
        for service in ("Pax8", "HaloPSA"):
            last = contact.get(service)
            fresh = last is not None and now - datetime.fromtimestamp(last, UTC) < STALE
            checks[service] = "ok" if fresh else "no answer yet" if last is None else "no answer for more than a day"
        failed_code = str(found.problem["code"]) if found.problem and found.cycle else ""
        if failed_code and found.cycle and found.cycle.state == "failed":
            checks["cycle"] = failed_code
        return checks

    async def _scrape(self, request: Request) -> Response:
        text = await run_in_threadpool(self._metrics.text)
        return Response(text, media_type=CONTENT_TYPE)


def _json(status: int, body: dict[str, Any]) -> Response:
    return JSONResponse(body, status_code=status, headers={"Cache-Control": "no-store"})


async def _broken(request: Request, failed: Exception) -> Response:
    return PlainTextResponse("failed\n", status_code=500)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as failed:
        listening.close()
        raise SettingsError(
            [
                f"BILLINGSYNC_HEALTH__HOST, BILLINGSYNC_HEALTH__PORT: {host} port {port} cannot be used "
                f"({failed.strerror or failed}); choose another port, or 0 for none"
            ],
            next_steps=[["billingsync", "settings", "show"]],
        ) from failed
    return listening


def ask(host: str, port: int, path: str = "/healthz", timeout_s: float = 2.0) -> dict[str, Any] | None:
    """What a worker on this machine answers; None where none does."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1" if host in ("0.0.0.0", "") else host, port, timeout=timeout_s)  # noqa: S104
    try:
        connection.request("GET", path)
        answer = json.loads(connection.getresponse().read(100_000))
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None
