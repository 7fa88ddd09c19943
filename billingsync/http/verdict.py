"""What an answer, or its absence, means: each status one error, each error one sentence without a secret in it."""

from __future__ import annotations

import json
import math
import re
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpcore2
import httpx2

from billingsync.errors import AnswerTooLarge, NotReachable, Retryable, UpstreamError
from billingsync.http.budget import LONGEST_WAIT_S
from billingsync.http.exchange import Exchange
from billingsync.http.jsontext import TooManyValues, read_json
from billingsync.http.values import Asked
from billingsync.redaction import Redactor, one_line

PASSING = frozenset({408, 429, *range(500, 600)})
REFUSED = frozenset({400, 401, 403, 404, 415, 422, 429})  # a write with one of these has not happened [N2]

_BODY_SHOWN = 300  # characters of an upstream's body in a message
_TELLING = ("error", "error_description", "message", "Message", "errorMessage")  # reference/halopsa 2.5, pax8 2

_E = TypeVar("_E", bound=UpstreamError)


class Verdict:
    """Judges the answers of one upstream."""

    def __init__(self, name: str, base_url: str, redactor: Redactor) -> None:
        self._name, self._redactor = name, redactor
        self._host = urlsplit(base_url).hostname or base_url

    def check(self, response: httpx2.Response, asked: Asked) -> None:
        """Raises unless the answer is a 2xx."""
        status = response.status_code
        if 200 <= status < 300:
            return
        said = self.said(response)
        message = f"{self._name} answered {status} to {asked}: {said}"
        if status in PASSING:
            error = self.error(Retryable, asked, status, message, said)
            error.retry_after = retry_after(response.headers.get("retry-after"), response.headers.get("date"))
            raise error
        if 300 <= status < 400:
            host = urlsplit(response.headers.get("location", "")).hostname or "itself"
            message = f"{self._name} redirects {asked} to {host} ({status}); redirects are not followed"
        elif status in (401, 403):
            message = f"{self._name} refuses {asked} ({status}) although the login works: rights are missing. {said}"
        raise self.error(UpstreamError, asked, status, message, said)

    def json(self, response: httpx2.Response, asked: Asked, *, odd_numbers: bool = False) -> Any:
        """The answer's JSON value. Raises Retryable where it is none."""
        try:
            return read_json(response.content, odd_numbers=odd_numbers)
        except TooManyValues as bad:
            raise self.error(
                AnswerTooLarge, asked, response.status_code, f"{self._name}'s answer to {asked}: {bad}"
            ) from None
        except ValueError as bad:
            said, status = self.said(response), response.status_code
            message = f"{self._name}'s answer to {asked} cannot be read ({status}, {bad}): {said}"
            raise self.error(Retryable, asked, status, message, said) from None

    def broken(self, bad: Exception, asked: Asked, exchange: Exchange) -> Retryable:
        """What it means that an exchange ended without an answer: NotReachable only if nothing was sent."""
        late = isinstance(bad, httpcore2.TimeoutException)
        why = f"no answer in time ({type(bad).__name__})" if late else f"{type(bad).__name__}: {bad}"
        # A proxy that refuses to connect has been talked to, but the request has not left.
        if not exchange.sent or isinstance(bad, httpcore2.ProxyError):
            message = f"{self._name} cannot be reached at {asked.host or self._host}: {why}"
            return self.error(NotReachable, asked, None, message)
        return self.error(Retryable, asked, None, f"{self._name} did not answer {asked} completely: {why}")

    def said(self, response: httpx2.Response) -> str:
        """What the server said, on one line. Redacted before it is cut: half a secret is one too."""
        text = self._redactor.text(response.content[:20_000].decode("utf-8", "replace")).strip()
        if text.startswith("<"):
            title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
            text = f"an HTML page{' titled ' + title[1].strip() if title else ''} (a proxy or login page in between?)"
        with suppress(ValueError, RecursionError):
            held = json.loads(text)
            if isinstance(held, str):
                text = held
            elif isinstance(held, dict):
                text = ": ".join(str(held[name]) for name in _TELLING if isinstance(held.get(name), str)) or text
        return one_line(text, _BODY_SHOWN) or "(no text)"

    def error(self, kind: type[_E], asked: Asked, status: int | None, message: str, body: str = "") -> _E:
        text = one_line(self._redactor.text(message), 800)
        return kind(self._name, str(asked), status, text, body=body, next_steps=[["billingsync", "doctor"]])


def timestamp(date: str | None) -> float | None:
    """An HTTP date as seconds since 1970."""
    with suppress(ValueError, TypeError, OverflowError):
        return parsedate_to_datetime(date).timestamp() if date else None
    return None


def retry_after(value: str | None, date: str | None = None) -> float | None:
    """Seconds of a Retry-After header, between 0 and 300: a number, or a date (against the server's own `date`).
    None where it is absent or neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        until = timestamp(value)
        if until is None:
            return None
        seconds = until - (timestamp(date) or time.time())
    return None if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_WAIT_S)
