"""`worker --once`, as a timer starts it: one cycle, and the dead man's switch hears of its start and of its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from bench import AUTO, CALM
from cli import Office

from billingsync.sandbox.server import Sandbox


@pytest.fixture
def switch() -> Iterator[tuple[str, list[str]]]:
    """An address, and the paths that were asked for there."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/abc", heard
        server.shutdown()


@pytest.mark.parametrize("well", [True, False], ids=["well", "failed"])
def test_worker_once_tells_the_dead_mans_switch(tmp_path: Path, switch: tuple[str, list[str]], well: bool) -> None:
    address, heard = switch
    with Sandbox(CALM) as sandbox:
        office = Office(tmp_path, sandbox)
        office.rules(AUTO if well else "[products]\nlifecycle = 7\n")
        office.settings["BILLINGSYNC_PING__URL"] = address
        office.run("worker", "--once")
    assert heard == ["/abc/start", "/abc" if well else "/abc/fail"]
