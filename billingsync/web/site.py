"""Where the desk is: which hosts and origins are ours, and whether it is reached by TLS."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from billingsync.settings.groups import DeskSettings

LOOPBACK = ("127.0.0.1", "[::1]", "localhost")


@dataclass(frozen=True, slots=True)
class Site:
    """`url` is what people type, without a slash at its end. `hosts` and `origins` are all that is accepted [SE3]."""

    url: str
    hosts: frozenset[str]
    origins: frozenset[str]

    @property
    def secure(self) -> bool:
        return self.url.startswith("https://")

    @property
    def cookie(self) -> str:
        """The session's cookie. `__Host-` binds it to this very host, which browsers do by TLS only."""
        return "__Host-desk" if self.secure else "desk"


def site_of(settings: DeskSettings, port: int) -> Site:
    """The site of a desk that listens on `port`."""
    local = frozenset(f"{name}:{port}" for name in LOOPBACK)
    origins = frozenset(f"http://{host}" for host in local)
    if not settings.public_url:
        return Site(f"http://127.0.0.1:{port}", local, origins)
    public = settings.public_url.lower()
    return Site(public, local | {urlsplit(public).netloc}, origins | {public})
