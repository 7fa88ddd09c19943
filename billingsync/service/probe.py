"""`python -m billingsync.service.probe`: exit 0 where the worker on this machine is alive, for Docker's HEALTHCHECK.
Quick, as it runs every minute: it imports nothing of ours but this file."""

from __future__ import annotations

import http.client
import os
import sys


def main() -> int:
    port = int(os.environ.get("BILLINGSYNC_HEALTH__PORT") or 8790)
    if port == 0:
        return 0  # turned off: nobody is asked, and nobody complains
    host = os.environ.get("BILLINGSYNC_HEALTH__HOST") or "127.0.0.1"
    everywhere = host in ("0.0.0.0", "")  # noqa: S104  compared with, not bound to
    connection = http.client.HTTPConnection("127.0.0.1" if everywhere else host, port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return 0 if connection.getresponse().status == 200 else 1
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
