"""The ASGI application: finds the service that a call is for, and lets faults have their way with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.types import Receive, Scope, Send

from billingsync.sandbox import control
from billingsync.sandbox.delivery import Connection
from billingsync.sandbox.faults import Fault
from billingsync.sandbox.notes import Call
from billingsync.sandbox.tampering import distorted, tampered, told
from billingsync.sandbox.wire import Answer, Request
from billingsync.sandbox.world import World

# The token of HaloPSA lies beside its API: `/halo/auth/token` is `/auth/token` to faults and to the log.
_PREFIXES = (("/pax8/v1", "pax8", ""), ("/halo/api", "halo", ""), ("/halo/auth", "halo", "/auth"))


class App:
    """`worlds` by name, each below a path of its name; the one of the name "" has the whole server for itself."""

    def __init__(self, worlds: Mapping[str, World]) -> None:
        self.worlds = worlds
        self.stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        http = HttpRequest(scope, receive)
        try:
            body = await http.body()
        except ClientDisconnect:
            return
        world, below = self._found(scope["path"])
        if world is None:
            await Connection(scope, send, self.stopping, 0).whole(Answer(status=404))
            return
        connection = Connection(scope, send, self.stopping, world.options.date_offset_s)
        service, path = _addressed(below)
        request = Request(
            method=scope["method"],
            path=path,
            query=dict(http.query_params),
            headers={name.lower(): value for name, value in http.headers.items()},
            body=body,
        )
        if service == "control":
            await connection.whole(control.answer(world, request))
        elif not service:
            await connection.whole(Answer(status=404))
        else:
            await self._call(world, service, request, connection)

    def _found(self, path: str) -> tuple[World | None, str]:
        """The world that a path is for, and the path in it."""
        if "" in self.worlds:
            return self.worlds[""], path
        name, _, below = path.removeprefix("/").partition("/")
        return self.worlds.get(name), f"/{below}"

    async def _call(self, world: World, service: str, request: Request, connection: Connection) -> None:
        began = time.monotonic()
        call = world.begin(service, request)
        ready = None
        if latency_ms := world.options.latency_of(service):
            if request.method == "GET" and not len(world.faults):
                # What it takes to make the answer is part of the latency, as it is at the vendors, who answer several
                # callers at a time.
                ready = world.answer(service, request, call).encoded()
            await connection.hold(max(latency_ms / 1000 - (time.monotonic() - began), 0))
        hit = world.faults.pick(service, request.method, request.path)
        if hit is None:
            answer = ready or world.answer(service, request, call)
            call.status = answer.status
            await connection.whole(answer)
            return
        fault, since = hit
        call.fault = fault.kind
        if fault.kind == "late":
            world.postpone(fault, request, call)
            await self._tell(Fault(kind=fault.answer), service, request, call, connection)
        elif fault.instead():
            await self._tell(fault, service, request, call, connection)
        else:
            hidden_since = None
            if fault.kind == "stale":
                hidden_since = since if fault.seconds is None else world.clock.now() - fault.seconds
            answer = world.answer(service, tampered(fault, request), call, hidden_since=hidden_since)
            await self._finish(fault, distorted(fault, answer), service, request, call, connection)

    async def _finish(
        self, fault: Fault, answer: Answer, service: str, request: Request, call: Call, connection: Connection
    ) -> None:
        """The call was carried out; now the answer has its trouble."""
        if fault.kind.endswith("_after") and fault.kind != "timeout_after":
            await self._tell(fault, service, request, call, connection)
            return
        if fault.kind == "cut":
            await connection.cut(answer)
            return
        call.status = answer.status
        if fault.kind == "drip":
            await connection.drip(answer, fault.wait_s())
            return
        if fault.kind in ("slow", "timeout_after"):
            await connection.hold(fault.wait_s())
        await connection.whole(answer)

    async def _tell(self, fault: Fault, service: str, request: Request, call: Call, connection: Connection) -> None:
        kind = fault.base_kind()
        if kind == "reset":
            await connection.reset()
            return
        if kind in ("timeout", "black_hole"):
            await connection.hold(fault.wait_s() if kind == "timeout" else None)
        answer = told(fault, service, request.path) if kind != "black_hole" else Answer(status=504)
        call.status = answer.status
        await connection.whole(answer)


def _addressed(path: str) -> tuple[str, str]:
    """(the service that a path is for, its path there)."""
    if path.startswith("/_sandbox"):
        return "control", path.removeprefix("/_sandbox")
    for prefix, service, stem in _PREFIXES:
        if path.lower().startswith(f"{prefix}/"):
            return service, stem + path[len(prefix) :]
    return "", path
