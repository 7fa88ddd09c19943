"""/healthz, /readyz, /metrics; on loopback unless the settings say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billingsync.core.states import CycleState
from billingsync.errors import LedgerError
from billingsync.service.http_port import Port
from billingsync.service.metrics import CONTENT_TYPE, Metrics, Vitals
from billingsync.service.status import Snapshot

STALE = timedelta(hours=26)  # without a good cycle: the daily look while resting, and some


class HealthServer(Port):
    """`with HealthServer(...):` serves until the block ends. Port 0 in the settings means that it is not made at all;
    port 0 here takes a free one."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        take: Callable[[], Snapshot],
        vitals: Vitals,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._take, self._vitals, self._clock = take, vitals, clock
        self._metrics = Metrics(take, vitals)
        routes = [
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._scrape),
        ]
        super().__init__(host, port, routes, group="HEALTH")

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
        if failed_code and found.cycle and found.cycle.state == CycleState.FAILED:
            checks["cycle"] = failed_code
        return checks

    async def _scrape(self, request: Request) -> Response:
        text = await run_in_threadpool(self._metrics.text)
        return Response(text, media_type=CONTENT_TYPE)


def _json(status: int, body: dict[str, Any]) -> Response:
    return JSONResponse(body, status_code=status, headers={"Cache-Control": "no-store"})
