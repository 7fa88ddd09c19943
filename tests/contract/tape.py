"""Cassettes: how the calls of `billingsync.http` get onto one, and how they are played back, by vcrpy.

vcrpy 9 hooks httpx2 at `httpx2.HTTPTransport.handle_request`. billingsync drives httpcore2 by a transport of its own
(`billingsync.http.exchange.Transport`), which vcrpy does not know; but that transport has the same method with the same
request and response, so vcrpy's own stub for httpx2 is put on it. Format, matching, record mode and errors are vcrpy's.

What lies below that method (sockets, TLS, deadlines, unpacking) is on no cassette: the suite's other half goes through
it, to the sandbox, and so do the unit tests of `billingsync.http`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import httpx2
import vcr
from vcr.cassette import Cassette
from vcr.errors import CannotOverwriteExistingCassetteException
from vcr.patch import PATCHER_NAMES
from vcr.record_mode import RecordMode
from vcr.stubs.httpx_stubs import vcr_handle_request

from billingsync.http.exchange import CURRENT, Transport

CASSETTES = Path(__file__).resolve().parents[2] / "cassettes"


class NotOnTape(BaseException):
    """A call that the cassette does not hold. No Exception: `billingsync.http` makes an outcome of each of those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One exchange as it passed: `status` None and `answer` empty where no answer came."""

    method: str
    url: httpx2.URL
    headers: httpx2.Headers
    body: bytes
    status: int | None
    answer: bytes

    @property
    def is_login(self) -> bool:
        return self.method == "POST" and self.url.path.endswith("/token")


@contextmanager
def overheard() -> Iterator[list[Heard]]:
    """Every exchange within the block, in the order in which they ended; on the wire and on a cassette alike."""
    heard: list[Heard] = []
    true = Transport.handle_request

    def listening(self: Transport, request: httpx2.Request) -> httpx2.Response:
        response = None
        try:
            response = true(self, request)
        finally:
            heard.append(
                Heard(
                    method=request.method,
                    url=request.url,
                    headers=request.headers,
                    body=request.read(),
                    status=response.status_code if response is not None else None,
                    answer=response.read() if response is not None else b"",
                )
            )
        return response

    with mock.patch.object(Transport, "handle_request", listening):
        yield heard


def _authorization(one: Any, other: Any) -> None:
    if one.headers.get("Authorization") != other.headers.get("Authorization"):
        raise AssertionError(f"{one.headers.get('Authorization')} != {other.headers.get('Authorization')}")


@contextmanager
def played(path: Path) -> Iterator[Cassette]:
    """Plays the cassette: nothing else is answered, nothing is recorded, and in the end all of it was asked for."""
    player = vcr.VCR(record_mode=RecordMode.NONE, skip_patchers=PATCHER_NAMES)
    player.register_matcher("authorization", _authorization)
    match_on = ("method", "scheme", "host", "port", "path", "query", "authorization", "body")
    with player.use_cassette(path, match_on=match_on) as cassette:
        stub = vcr_handle_request(cassette, Transport.handle_request, httpx2)
        one_at_a_time = threading.Lock()  # pages are read side by side, and vcrpy counts without a lock

        def playing(self: Transport, request: httpx2.Request) -> httpx2.Response:
            try:
                with one_at_a_time:
                    response = stub(self, request)
            except CannotOverwriteExistingCassetteException as missing:
                raise NotOnTape(str(missing)) from None
            exchange = CURRENT.get()  # what the true method notes
            exchange.sent, exchange.status = True, response.status_code
            return response

        with mock.patch.object(Transport, "handle_request", playing):
            yield cassette
        left = [str(cassette.requests[n]) for n in range(len(cassette)) if not cassette.play_counts[n]]
        assert not left, f"nobody asked for {left} of {path.name}"


@contextmanager
def recorded(answer: Callable[[httpx2.Request, Callable[[], httpx2.Response]], httpx2.Response]) -> Iterator[Cassette]:
    """Records into memory, never onto a disk: what is on it is raw. `answer` gets each request and a function that
    sends it; whether it does so is its own affair."""
    cassette = Cassette("nowhere", record_mode=RecordMode.ALL)
    true = Transport.handle_request

    def answering(self: Transport, request: httpx2.Request) -> httpx2.Response:
        return answer(request, lambda: true(self, request))

    with mock.patch.object(Transport, "handle_request", vcr_handle_request(cassette, answering, httpx2)):
        yield cassette
