"""One upstream: reading JSON and writing it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import nullcontext

import httpx2

from billingsync import __version__
from billingsync.errors import LoginFailed, NotReachable, Retryable, UpstreamError
from billingsync.http.budget import Budget
from billingsync.http.calls import Calls
from billingsync.http.exchange import Transport, proxy_for
from billingsync.http.jsontext import write_json
from billingsync.http.login import Login
from billingsync.http.values import (
    Answer,
    Answered,
    Asked,
    CallRecord,
    NotDone,
    OutcomeUnknown,
    Params,
    Sent,
    ServiceConfig,
)
from billingsync.http.verdict import REFUSED, Verdict
from billingsync.redaction import Redactor

_HIDDEN_FROM = 8  # characters: a header that lifts throttling is worth hiding, "1" is not


class Service:
    """May be shared by threads; close it (or use `with`) when done."""

    def __init__(
        self,
        config: ServiceConfig,
        *,
        redactor: Redactor | None = None,
        budget: Budget | None = None,
        on_call: Callable[[CallRecord], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`redactor` and `budget` may be shared with other services; `sleep` is for tests."""
        self.config = config
        self.redactor = redactor or Redactor()
        self.redactor.add(config.client_secret)
        proxy = proxy_for(config.base_url)
        for value in (proxy.password if proxy else "", *config.headers.values()):
            self.redactor.add(value if len(value) >= _HIDDEN_FROM else "")
        self._base = config.base_url.rstrip("/")
        self._verdict = Verdict(config.name, self._base, self.redactor)
        context = httpx2.create_ssl_context() if self._base.startswith("https") else None
        self._kept = Transport(context, proxy, keep_alive=True, max_body=config.max_body)
        # A write never goes over an idle connection: the server may just have closed it, and a request that was
        # written into a closing connection has an unknown outcome.
        self._fresh = Transport(context, proxy, keep_alive=False, max_body=config.max_body)
        budget = budget or Budget(config.calls_per_minute, sleep=sleep)
        self._calls = Calls(config, self._verdict, budget, on_call, sleep)
        self._sleep = sleep
        self._share: Budget | None = None
        self._first_answer: Callable[[], None] | None = None
        headers = self._headers(Asked("POST", ""))
        self._login = Login(config, self._calls, self._verdict, self._fresh, headers, self.redactor)

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def calls_made(self) -> int:
        """Calls since the start, token calls included."""
        return self._calls.budget.calls_made

    @property
    def waited_s(self) -> float:
        """Seconds that calls waited for their turn, all threads together."""
        return self._calls.budget.waited_s

    @property
    def clock_skew_s(self) -> float | None:
        """The server's clock less ours, as of the last answer with a Date; good to about a second."""
        return self._calls.clock_skew_s

    def within(self, calls_per_minute: int) -> Service:
        """The same upstream, login and connections, for reading that may take only so much of the budget."""
        other = copy.copy(self)
        other._share = Budget(max(calls_per_minute, 1), sleep=self._sleep)
        return other

    def on_first_answer(self, act: Callable[[], None]) -> None:
        """`act` is called when the first reading call with a token was answered, before its caller gets the answer;
        what it raises is raised there. Threads that read at the same time may call it more than once."""
        self._first_answer = act

    def budget_left(self) -> int:
        """Calls that could start right now."""
        return self._calls.budget.left()

    def budget_wait(self) -> float:
        """Seconds until a call could start."""
        return self._calls.budget.wait_s()

    def login(self) -> None:
        """Fetches a token unless there is one. Raises LoginFailed."""
        self._bearer()

    def close(self) -> None:
        self._kept.close()
        self._fresh.close()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get_json(
        self, path: str, params: Params | None = None, *, anonymous: bool = False, odd_numbers: bool = False
    ) -> Answer:
        """Reads `{base_url}{path}`; `anonymous` without a token, `odd_numbers` as in `read_json`.

        Repeats what may pass: no connection, a timeout, 408, 429, 5xx, an answer that cannot be read.
        """
        asked = Asked("GET", path, params or {}, anonymous=anonymous)

        def once(attempt: int) -> Answer:
            with self._share.slot() if self._share else nullcontext():
                response = self._call(asked, attempt)
            value = self._verdict.json(response, asked, odd_numbers=odd_numbers)
            headers = dict(response.headers)
            if self._first_answer is not None and not anonymous:
                self._first_answer()
                self._first_answer = None
            return Answer(json=value, status=response.status_code, headers=headers, body=response.content)

        return self._calls.repeat(once, lambda error: isinstance(error, Retryable))

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Params | None = None,
        before: Callable[[], None] | None = None,
    ) -> Sent:
        """One write, with one of three outcomes [N2]; every failure is one of them, only `before` and Ctrl-C raise.
        `body` is a JSON value, or the bytes of one.

        Repeated here is only what certainly was not done: 429, a connection that was never made, once a 401 after
        renewing the token. `before` is called right before each attempt, after any waiting: a caller whose lock was
        lost meanwhile raises there, and nothing is sent.
        """
        content = body if isinstance(body, bytes) else b"" if body is None else write_json(body)
        asked = Asked(method, path, params or {}, content, before)

        def once(attempt: int) -> Answered:
            response = self._call(asked, attempt)
            empty = not response.content and (method == "DELETE" or response.status_code == 204)
            value = None if empty else self._verdict.json(response, asked)
            return Answered(status=response.status_code, json=value, body=response.content, hide=self.redactor.text)

        try:
            return self._calls.repeat(once, _certainly_not_done)
        except (NotReachable, LoginFailed) as bad:
            return NotDone(status=bad.status, message=bad.message)
        except UpstreamError as bad:
            if bad.status not in REFUSED:
                return OutcomeUnknown(why=bad.message)
            return NotDone(status=bad.status, message=bad.message, retry_after=getattr(bad, "retry_after", None))

    def _call(self, asked: Asked, attempt: int) -> httpx2.Response:
        """One exchange, or two where the token had to be renewed; anything but a 2xx raises."""
        transport = self._kept if asked.method == "GET" else self._fresh

        def exchange(token: str | None) -> httpx2.Response:
            request = httpx2.Request(
                asked.method,
                f"{self._base}/{asked.path.lstrip('/')}",
                params=dict(asked.params),
                headers=self._headers(asked, token),
                content=asked.content,
            )
            return self._calls.timed(lambda: transport.handle_request(request), asked, attempt)

        token = None if asked.anonymous else self._bearer()
        response = exchange(token)
        if response.status_code == 401 and token is not None:
            response = exchange(self._bearer(rejected=token))
        self._verdict.check(response, asked)
        return response

    def _bearer(self, rejected: str | None = None) -> str:
        url = self.config.token_url
        return self._login.token(lambda: url if isinstance(url, str) else url(self), rejected)

    def _headers(self, asked: Asked, token: str | None = None) -> dict[str, str]:
        headers = {**self.config.headers, "Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
        headers["User-Agent"] = f"billingsync/{__version__}"
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if asked.content:
            headers["Content-Type"] = "application/json; charset=utf-8"
        if asked.method != "GET":
            headers["Connection"] = "close"
        return headers


def _certainly_not_done(error: BaseException) -> bool:
    return isinstance(error, NotReachable) or (isinstance(error, Retryable) and error.status == 429)
