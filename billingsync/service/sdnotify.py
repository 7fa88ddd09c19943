"""systemd's notification protocol, sd_notify(3): one datagram a message to the socket in NOTIFY_SOCKET.

Own code, because it is one `sendto`, and the package for it (sdnotify) is of 2017.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Systemd:
    """Where we were not started by systemd, every message goes nowhere."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        env = os.environ if env is None else env
        self._address = env.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = f"\0{self._address[1:]}"
        self.watchdog_s = _watchdog_s(env)
        self._status = ""

    def ready(self) -> None:
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; said only where it is new."""
        line = " ".join(text.split())[:200]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A manager that does not listen is no reason for a bill not to be written.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(2)
            sender.sendto(message.encode("utf-8", "replace"), self._address)


def _watchdog_s(env: Mapping[str, str]) -> float | None:
    """How often at least systemd wants to hear WATCHDOG=1; None where it does not watch us."""
    if env.get("WATCHDOG_PID") not in (None, "", str(os.getpid())):
        return None
    try:
        seconds = int(env["WATCHDOG_USEC"]) / 1_000_000
    except (KeyError, ValueError):
        return None
    return seconds if seconds > 0 else None
