"""Ask the worker on this machine how it is. Apart from the server that answers, as that is slow to import."""

from __future__ import annotations

import http.client
import json
from typing import Any


def ask(host: str, port: int, path: str = "/healthz", timeout_s: float = 2.0) -> dict[str, Any] | None:
    """What a worker on this machine answers; None where none does."""
    everywhere = host in ("0.0.0.0", "")  # noqa: S104  compared with, not bound to
    connection = http.client.HTTPConnection("127.0.0.1" if everywhere else host, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = json.loads(connection.getresponse().read(100_000))
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None
