"""What every program takes from the environment: certificates and proxies. A wrong one shows as a strange failure of
the first call, so it is checked with the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from billingsync.settings.values import printable, short

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


def wrong_surroundings(env: Mapping[str, str]) -> Iterator[str]:
    """One sentence for each variable that cannot work."""
    yield from _certificates(env)
    for name in _PROXIES:
        for spelling in (name, name.lower()):
            if env.get(spelling):
                yield from (f"{spelling}: {why}" for why in _proxy(env[spelling]))


def _certificates(env: Mapping[str, str]) -> Iterator[str]:
    if (file := env.get("SSL_CERT_FILE")) and (why := _unusable_bundle(Path(file))):
        yield f"SSL_CERT_FILE: {printable(file)} {why}; name a file of certificates (PEM)"
    folder = env.get("SSL_CERT_DIR")
    if folder and not any(Path(one).is_dir() for one in folder.split(":")):
        yield f"SSL_CERT_DIR: {printable(folder)} is not a directory"


def _unusable_bundle(file: Path) -> str:
    """Why OpenSSL cannot take certificates from the file; "" where it can."""
    import ssl  # only where somebody has set the variable

    try:
        if file.is_dir():
            return "is a directory"
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=str(file))
    except ssl.SSLError:
        return "holds no certificate that can be read"
    except OSError as bad:
        return f"cannot be read ({bad.strerror})"
    return ""


def _proxy(value: str) -> Iterator[str]:
    """What is wrong with a proxy's address, which may hold a password and is therefore not shown."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        yield "cannot be read as an address such as http://proxy.example:3128"
    elif parts.scheme not in ("http", "https"):
        yield f"{short(parts.scheme)}:// proxies are not supported; name an HTTP proxy such as http://proxy.example:3128"
