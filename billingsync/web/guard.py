"""What every request meets first, before any route: host, origin, method and size; and what every answer carries.

Pure ASGI, so that nothing that goes wrong further in can answer without these headers."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from billingsync.web.site import Site

MOST_BODY = 65_536  # bytes
MOST_UPLOAD = 10_485_760  # bytes, under the paths below alone
UPLOADS = ("/imports/new",)
BODY_S = 20.0  # a body that trickles in slower than this is cut off

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "",
}
_SAFE = ("GET", "HEAD")


class Cut(HTTPException):
    """A body that was not read to its end: the connection is of no use any more."""


class TooLarge(Cut):
    """A body of more bytes than its path may have."""

    def __init__(self) -> None:
        super().__init__(413, "Too much was sent at once.")


class TooSlow(Cut):
    """A body that trickles in."""

    def __init__(self) -> None:
        super().__init__(408, "It was sent too slowly.")


class Guard:
    """Wraps the desk's routes."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app, self._site = app, site
        self._headers = dict(HEADERS)
        if site.secure:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # neither web sockets nor a lifespan

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = self._refusal(scope)
        if refused is not None:
            await refused(scope, receive, guarded_send)
        else:
            await self._app(scope, _limited(receive, _most(scope["path"])), guarded_send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._site.hosts:
            return _plain(400, "This desk has another address.")
        if scope["method"] in _SAFE:
            return None
        if scope["method"] != "POST":
            return _plain(405, "This cannot be done here.")
        if not self._same_origin(headers):
            return _plain(403, "This came from another page than the desk's. Nothing was done.")
        length = headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > _most(scope["path"]):
            return _plain(413, "Too much was sent at once.")
        return None

    def _same_origin(self, headers: Headers) -> bool:
        """Browsers say where a request comes from and pages cannot say otherwise, so no token is needed [SE2]."""
        site = headers.getlist("sec-fetch-site")
        if site:
            return site == ["same-origin"]
        origin = headers.getlist("origin")
        return len(origin) == 1 and origin[0].lower() in self._site.origins


def _most(path: str) -> int:
    return MOST_UPLOAD if path.startswith(UPLOADS) else MOST_BODY


def _limited(receive: Receive, most: int) -> Receive:
    seen, over = 0, False

    async def limited() -> Message:
        nonlocal seen, over
        if over:
            return await receive()  # only that the browser has gone can come now
        try:
            message = await asyncio.wait_for(receive(), BODY_S)
        except TimeoutError:
            over = True
            raise TooSlow from None
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            over = not message.get("more_body", False)
            if seen > most:
                raise TooLarge
        return message

    return limited


def _plain(status: int, text: str) -> PlainTextResponse:
    return PlainTextResponse(f"{text}\n", status_code=status)
