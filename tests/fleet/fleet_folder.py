"""A fleet's folder for tests."""

from __future__ import annotations

from pathlib import Path

FLEET = '[secrets]\ndir = "/etc/billingsync/secrets"\n'


def partner(name: str, more: str = "") -> str:
    """A partner.toml that is right, with further keys of [halo] and sections after it."""
    return f'[halo]\nbase_url = "https://{name}.halopsa.example"\n{more}'


def write(directory: Path, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return directory


def small(**more: str | bytes) -> dict[str, str | bytes]:
    """Two partners, and what else is given: `partners_acme_x` cannot be written as a keyword, so paths go to `write`."""
    files: dict[str, str | bytes] = {"fleet.toml": FLEET}
    files |= {f"partners/{name}/partner.toml": partner(name) for name in ("acme", "beta")}
    return files | more
