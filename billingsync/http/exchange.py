"""One exchange on the wire: a request out, the whole answer in, within one deadline and one size.

httpx2's client is not used around the transport, so nothing follows redirects, keeps cookies or adds credentials.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore2
import httpx2

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_PACKED = ("content-encoding", "content-length", "transfer-encoding")  # no longer true of an unpacked body


@dataclass(slots=True)
class Exchange:
    """What one call may take and what became of it."""

    deadline: float  # monotonic
    connect_timeout_s: float
    sent: bool = False  # whether a byte of the request may have left
    opened: _Stream | None = None  # the connection that this exchange made
    status: int | None = None
    date: str | None = None

    def left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("the time for one call is over")
        return left

    def left_to_connect(self) -> float:
        return min(self.left(), self.connect_timeout_s)


# A call stays in its thread from start to end, so the sockets below find the exchange that they serve here.
CURRENT: ContextVar[Exchange] = ContextVar("exchange")


class TooLarge(Exception):
    """The answer is larger than an answer may be."""


class Transport(httpx2.BaseTransport):
    """Sends one request and reads its whole answer. Errors are httpcore2's; TLS is verified, by the system's roots."""

    def __init__(self, context: ssl.SSLContext | None, proxy: Proxy | None, *, keep_alive: bool, max_body: int) -> None:
        """Without a `context` httpcore2 makes a verifying one for each TLS connection, which takes 20 ms."""
        self._max_body = max_body
        options: dict[str, Any] = {
            "ssl_context": context,
            "max_connections": 64,
            "max_keepalive_connections": 16 if keep_alive else 0,
            "keepalive_expiry": 5.0,
            "network_backend": _Backend(),
        }
        self._pool = httpcore2.ConnectionPool(**options) if proxy is None else proxy.pool(options)
        self._closed = False

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return self._exchange(request)
        finally:
            opened = CURRENT.get().opened
            if self._closed and opened is not None:  # closed meanwhile: the pool has forgotten this connection
                opened.close()

    def close(self) -> None:
        self._closed = True
        self._pool.close()

    def _exchange(self, request: httpx2.Request) -> httpx2.Response:
        exchange = CURRENT.get()
        url, left = request.url, exchange.left()
        answer = self._pool.handle_request(
            httpcore2.Request(
                method=request.method,
                url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.read(),
                extensions={"timeout": {"connect": left, "read": left, "write": left, "pool": left}},
            )
        )
        try:
            head = httpx2.Response(answer.status, headers=answer.headers, stream=_Body(answer.stream))
            exchange.status, exchange.date = answer.status, head.headers.get("date")
            body = bytearray()
            for chunk in head.iter_bytes():  # unpacked piece by piece: a gzip bomb ends at the cap
                body += chunk
                if len(body) > self._max_body:
                    raise TooLarge(f"the answer is larger than {self._max_body} bytes")
        finally:
            answer.close()
        kept = [(name, value) for name, value in head.headers.multi_items() if name not in _PACKED]
        return httpx2.Response(answer.status, headers=kept, content=bytes(body))


@dataclass(frozen=True, slots=True)
class Proxy:
    url: str
    user: str | None
    password: str = field(repr=False)

    def pool(self, options: Mapping[str, Any]) -> httpcore2.ConnectionPool:
        credentials = None if self.user is None else (self.user, self.password)
        return httpcore2.HTTPProxy(proxy_url=self.url, proxy_auth=credentials, **options)


def proxy_for(base_url: str) -> Proxy | None:
    """The proxy that the environment names for this address (HTTPS_PROXY, NO_PROXY)."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    named = getproxies().get(parts.scheme) or getproxies().get("all")
    if not named or host in _LOOPBACK or proxy_bypass(host):
        return None
    proxy = urlsplit(named if "://" in named else f"http://{named}")
    user = None if proxy.username is None else unquote(proxy.username)
    return Proxy(f"{proxy.scheme}://{proxy.hostname}:{proxy.port or 80}", user, unquote(proxy.password or ""))


class _Stream(httpcore2.NetworkStream):
    """A socket whose every read and write ends with the exchange: one byte a second does not keep a call alive."""

    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, CURRENT.get().left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        exchange = CURRENT.get()
        for start in range(0, len(buffer), 65536):
            left = exchange.left()
            exchange.sent = True
            self._inner.write(buffer[start : start + 65536], left)

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        exchange = CURRENT.get()
        exchange.opened = _Stream(self._inner.start_tls(ssl_context, server_hostname, exchange.left_to_connect()))
        return exchange.opened

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore2.SyncBackend):
    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *others: Any, **more: Any) -> _Stream:
        exchange = CURRENT.get()
        exchange.opened = _Stream(super().connect_tcp(host, port, exchange.left_to_connect(), *others, **more))
        return exchange.opened


class _Body(httpx2.SyncByteStream):
    def __init__(self, chunks: Any) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
