"""A caller without any care, to try the sandbox with: it logs in once and believes every answer."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import httpx2

from billingsync.sandbox.wire import decode, encode


class Caller:
    """`get`, `post`, `delete` by service; JSON bodies in and out with exact numbers (`json`)."""

    def __init__(self, environment: dict[str, str], *, timeout: float = 10) -> None:
        self._settings = {name.removeprefix("BILLINGSYNC_"): value for name, value in environment.items()}
        self.http = httpx2.Client(timeout=timeout)
        self._tokens: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    def forget(self) -> None:
        """Logs in again with the next call."""
        self._tokens.clear()

    def pax8_token(self, **changes: Any) -> httpx2.Response:
        body = {
            "client_id": self._settings["PAX8__CLIENT_ID"],
            "client_secret": self._settings["PAX8__CLIENT_SECRET"],
            "audience": self._settings["PAX8__AUDIENCE"],
            "grant_type": "client_credentials",
        } | changes
        return self.http.post(self._settings["PAX8__TOKEN_URL"], json=body)

    def halo_token(self, *, tenant: str | None = None, **changes: str) -> httpx2.Response:
        form = {
            "client_id": self._settings["HALO__CLIENT_ID"],
            "client_secret": self._settings["HALO__CLIENT_SECRET"],
            "grant_type": "client_credentials",
            "scope": "all",
        } | changes
        query = {"tenant": tenant} if tenant else None
        return self.http.post(f"{self._settings['HALO__BASE_URL']}/auth/token", data=form, params=query)

    def pax8(self, path: str, method: str = "GET", **query: Any) -> httpx2.Response:
        url = f"{self._settings['PAX8__BASE_URL']}{path}"
        return self.http.request(method, url, params=query, headers=self._bearer("pax8"))

    def halo(self, path: str, method: str = "GET", body: Any = None, **query: Any) -> httpx2.Response:
        """`body` is sent as JSON."""
        headers = self._bearer("halo")
        if body is not None:
            headers["Content-Type"] = "application/json; charset=utf-8"
        content = None if body is None else encode(body)
        url = f"{self._settings['HALO__BASE_URL']}/api{path}"
        return self.http.request(method, url, params=query, headers=headers, content=content)

    def _bearer(self, service: str) -> dict[str, str]:
        if service not in self._tokens:
            answer = self.pax8_token() if service == "pax8" else self.halo_token()
            self._tokens[service] = answer.json().get("access_token", "")
        return {"Authorization": f"Bearer {self._tokens[service]}"}


def json(answer: httpx2.Response) -> Any:
    return decode(answer.content)
