"""The access token of one service: fetched with Authlib, shared by threads, renewed early."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2

from billingsync.errors import LoginFailed, NotReachable, Retryable, UpstreamError
from billingsync.http.calls import Calls
from billingsync.http.jsontext import read_json
from billingsync.http.values import Asked, ServiceConfig
from billingsync.http.verdict import Verdict
from billingsync.redaction import Redactor

_CREDENTIALS_GO_AS = {"json": "json", "form": "client_secret_post"}  # Authlib's names; "json" is ours, see below
_UNKNOWN_LIFETIME_S = 600.0  # where the answer does not say
_LONGEST_LIFETIME_S = 86_400.0  # Pax8's; whoever says more is asked again after a day


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    renew_at: float  # monotonic


class Login:
    """Keeps nothing of an answer but the access token, and that in memory only."""

    def __init__(
        self,
        config: ServiceConfig,
        calls: Calls,
        verdict: Verdict,
        transport: httpx2.BaseTransport,
        headers: Mapping[str, str],
        redactor: Redactor,
    ) -> None:
        self._config, self._calls, self._verdict = config, calls, verdict
        self._transport, self._headers, self._redactor = transport, headers, redactor
        self._token: _Token | None = None
        self._lock = threading.Lock()

    def token(self, find_url: Callable[[], str], rejected: str | None = None) -> str:
        """The access token: fetched by the first thread that needs it, again shortly before it expires or, where the
        server `rejected` this very one, at once. Raises LoginFailed."""
        with self._lock:
            token = self._token
            if token is None or token.value == rejected or time.monotonic() >= token.renew_at:
                self._token = token = self._login(find_url)
                self._redactor.add_token(token.value)
            return token.value

    def _login(self, find_url: Callable[[], str]) -> _Token:
        try:
            url = find_url()
            asked = Asked(
                "POST", urlsplit(url).path, host=urlsplit(url).hostname or "", before=self._config.before_login
            )
            answer = self._calls.repeat(
                lambda attempt: self._calls.timed(lambda: self._fetch(url, asked), asked, attempt),
                lambda error: isinstance(error, Retryable),
            )
            return self._read(answer, asked)
        except NotReachable:
            raise  # nobody has refused anything: it is the way there, or the address
        except UpstreamError as bad:
            text = self._redactor.text(f"Login failed: {bad.message}. {self._config.login_hint}".strip())
            steps = bad.next_steps
            raise LoginFailed(bad.service, bad.endpoint, bad.status, text, body=bad.body, next_steps=steps) from bad

    def _fetch(self, url: str, asked: Asked) -> Mapping[str, object]:
        # The protocol alone: Authlib's own client for httpx2 loads all of OpenID, which takes 0.1 s and 10 MB.
        from authlib.oauth2.base import OAuth2Error  # type: ignore[import-untyped]
        from authlib.oauth2.client import OAuth2Client  # type: ignore[import-untyped]

        client = OAuth2Client(
            _Session(self._transport),
            self._config.client_id,
            self._config.client_secret,
            token_endpoint_auth_method=_CREDENTIALS_GO_AS[self._config.token_style],
        )
        client.register_client_auth_method(("json", _credentials_as_json))
        client.register_compliance_hook("access_token_response", lambda response: self._admit(response, asked))
        headers = {**self._headers, "Content-Type": "application/x-www-form-urlencoded"}
        fields = {"grant_type": "client_credentials", **self._config.token_fields}
        try:
            token = client.fetch_token(url, headers=headers, **fields)
        except OAuth2Error as bad:  # an error inside a 200
            said = f"{self._config.name} did not accept the login: {bad.error} {bad.description}"
            raise self._verdict.error(UpstreamError, asked, 200, said) from None
        assert isinstance(token, dict)
        return token

    def _admit(self, response: httpx2.Response, asked: Asked) -> httpx2.Response:
        """Lets through to Authlib only what an authorization server says after a success."""
        status, said = response.status_code, self._verdict.said(response)
        if status in (400, 401, 403):
            message = f"{self._config.name} did not accept the client id and secret ({status}): {said}"
            raise self._verdict.error(UpstreamError, asked, status, message, said)
        self._verdict.check(response, asked)
        try:
            held = read_json(response.content)
        except ValueError:
            held = None
        if not isinstance(held, dict):
            message = f"{self._config.name}'s token address is answered by something else: {said}"
            raise self._verdict.error(UpstreamError, asked, status, message, said)
        return response

    def _read(self, answer: Mapping[str, object], asked: Asked) -> _Token:
        value, lifetime = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(value, str) or not value.strip() or not (value.isascii() and value.isprintable()):
            message = f"{self._config.name}'s login answer has no access token"
            raise self._verdict.error(UpstreamError, asked, 200, message)
        try:
            seconds = max(1.0, min(_LONGEST_LIFETIME_S, float(str(lifetime))))  # in this order NaN is the longest
        except ValueError:
            seconds = _UNKNOWN_LIFETIME_S
        # A few minutes early where a token lives a day (Pax8), one minute where it lives an hour (HaloPSA).
        margin = min(300.0 if seconds >= 6 * 3600 else 60.0, seconds / 2)
        return _Token(value, time.monotonic() + seconds - margin)


class _Session:
    """What Authlib needs of an HTTP client: one POST, signed by it, over our transport."""

    def __init__(self, transport: httpx2.BaseTransport) -> None:
        self._transport = transport

    def post(self, url: str, *, data: Mapping[str, str], headers: Mapping[str, str], auth: Any) -> httpx2.Response:
        url, signed, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        request = httpx2.Request("POST", url, headers=signed, content=body)
        response = self._transport.handle_request(request)
        response.request = request
        return response


def _credentials_as_json(client: Any, method: str, uri: str, headers: Any, body: str) -> tuple[str, Any, bytes]:
    """Authlib's hook for how credentials travel: Pax8 takes a JSON body (reference/pax8 1)."""
    fields = dict(parse_qsl(body, keep_blank_values=True))
    content = {"client_id": client.client_id, "client_secret": client.client_secret, **fields}
    headers["Content-Type"] = "application/json"
    return uri, headers, json.dumps(content).encode("ascii")
