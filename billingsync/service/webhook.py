"""Pax8's webhook (`INVOICE`, `CREATED`): it wakes the worker and is trusted for nothing else.

Pax8 signs nothing; it only echoes the `authorization` value that was chosen when the webhook was made (reference/pax8
10). Whoever knows it can make us look sooner, at most once a minute. The body is not even parsed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from billingsync.settings.values import SHORTEST_AUTHORIZATION

PATH = "/webhooks/pax8"
MOST_BODY = 65_536  # bytes read before the caller is cut off


def route(authorization: str, wake: Callable[[], None]) -> Route:
    """POST with the right `Authorization` calls `wake` and is answered 202; anything else 401 or 413, always the
    same, in a time that does not depend on how much of the value was right."""
    assert len(authorization) >= SHORTEST_AUTHORIZATION, "a value that short can be guessed"
    right = _digest(authorization)

    async def answer(request: Request) -> Response:
        given = request.headers.getlist("authorization")
        known = hmac.compare_digest(_digest(given[0] if len(given) == 1 else ""), right)
        size = 0
        try:
            async for part in request.stream():
                size += len(part)
                if size > MOST_BODY:
                    return PlainTextResponse("too large\n", status_code=413, headers={"Connection": "close"})
        except ClientDisconnect:
            return PlainTextResponse("", status_code=400)
        if not known:
            return PlainTextResponse("unauthorized\n", status_code=401)
        wake()
        return PlainTextResponse("thank you\n", status_code=202)

    return Route(PATH, answer, methods=["POST"])


def _digest(value: str) -> bytes:
    """Hashed first: the comparison then says nothing about lengths either."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
