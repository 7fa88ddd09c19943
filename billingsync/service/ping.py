"""The dead man's switch: somebody else notices when the worker itself is dead."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress

import structlog


class Pings:
    """The dead man's switch (healthchecks protocol): `/start`, plain, `/fail`. What cannot be sent is forgotten: the
    silence is the message."""

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._queue: queue.Queue[str | None] = queue.Queue(maxsize=20)
        self._thread = threading.Thread(target=self._loop, name="ping", daemon=True)

    def start(self) -> None:
        if self._url:
            self._thread.start()

    def send(self, what: str) -> None:
        """`start`, `well` or `fail`; never waits."""
        if self._url:
            with suppress(queue.Full):
                self._queue.put_nowait(what)

    def stop(self, timeout_s: float = 3.0) -> None:
        """Sends what waits, for so long at most."""
        if not self._thread.is_alive():
            return
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(timeout_s)

    def _loop(self) -> None:
        import httpx2

        with httpx2.Client(timeout=self._timeout_s, follow_redirects=False) as client:
            while (what := self._queue.get()) is not None:
                tail = {"start": "/start", "fail": "/fail"}.get(what, "")
                try:
                    status = client.get(f"{self._url}{tail}").status_code
                except Exception as bad:  # noqa: BLE001  its text may hold the address, which is a secret
                    structlog.get_logger().warning("the dead man's switch was not reached", kind=type(bad).__name__)
                    continue
                if status >= 300:
                    structlog.get_logger().warning("the dead man's switch refused", status=status)
