"""An address that keeps what it is told: Apprise's `json://`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Board:
    def __init__(self, port: int) -> None:
        self.url, self.told = f"json://127.0.0.1:{port}/", []

    told: list[dict[str, str]]

    @property
    def titles(self) -> list[str]:
        return [one["title"] for one in self.told]


@contextmanager
def board() -> Iterator[Board]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Board(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
