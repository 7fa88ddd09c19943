"""What `billingsync init` writes: a commented `.env` and `rules/`. Nothing that exists is ever overwritten."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from billingsync.errors import BillingSyncError, UsageError

# Where each file of this package goes. The example's name keeps the rulebook from reading it.
TARGETS = {
    "env.example": ".env",
    "defaults.toml": "rules/defaults.toml",
    "pax8.toml": "rules/integrations/pax8.toml",
    "client.example.toml": "rules/clients/contoso.toml.example",
}
WRITTEN, KEPT = "written", "kept"


def scaffold_text(name: str) -> str:
    """One of the files of `TARGETS` as it is shipped."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def write_scaffold(directory: Path, values: Mapping[str, str] | None = None) -> list[tuple[Path, str]]:
    """Writes what is missing below `directory` and says of each path whether it was "written" or "kept".

    `values` (variable -> value, e.g. {"BILLINGSYNC_HALO__BASE_URL": "https://acme.halopsa.com"}) go into `.env`, which
    only its owner may read. Raises UsageError for a variable that `.env` does not have or a value that it cannot
    hold, before anything is written, and BillingSyncError where writing fails.
    """
    texts = {target: scaffold_text(name) for name, target in TARGETS.items()}
    texts[".env"] = _filled(texts[".env"], values or {})
    return write_missing(directory, texts, again=("billingsync", "init", str(directory)))


def write_missing(directory: Path, texts: Mapping[str, str], *, again: Sequence[str]) -> list[tuple[Path, str]]:
    """Writes the files below `directory` that are not there yet; says of each path whether it was "written" or "kept".
    BillingSyncError where writing fails, with the command that goes on from there."""
    done: list[tuple[Path, str]] = []
    for target, text in texts.items():
        path = directory / target
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Secrets stand in .env: born unreadable for others, not made so afterwards.
            written = _write_new(path, text, 0o600 if target == ".env" else 0o644)
        except OSError as wrong:
            before = ", ".join(str(path) for path, state in done if state == WRITTEN) or "nothing"
            raise BillingSyncError(
                f"{path} could not be written: {wrong.strerror or wrong}. Written so far: {before}. "
                "Running init again goes on from there.",
                next_steps=[again],
            ) from wrong
        done.append((path, WRITTEN if written else KEPT))
    return done


def _write_new(path: Path, text: str, mode: int) -> bool:
    """Writes a file that does not exist yet, whole or not at all; False where there is something already."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError:
        path.unlink(missing_ok=True)  # half a file would be kept by the next init
        raise
    return True


def write_values(path: Path, values: Mapping[str, str]) -> None:
    """Sets variables in a `.env` that exists, and leaves the rest of it as it stands: whole or not at all, and for its
    owner alone. Raises UsageError for a value that it cannot hold, BillingSyncError where writing fails."""
    try:
        text = path.read_text(encoding="utf-8")
        missing = [name for name in values if not re.search(rf"^#?{re.escape(name)}=", text, re.MULTILINE)]
        text = text.rstrip("\n") + "\n" + "".join(f"{name}=\n" for name in missing)
        beside = path.with_name(f".{path.name.lstrip('.')}.tmp")
        beside.unlink(missing_ok=True)
        _write_new(beside, _filled(text, values), 0o600)
        os.replace(beside, path)
    except (OSError, UnicodeDecodeError) as wrong:
        says = getattr(wrong, "strerror", None) or "it is no UTF-8 text"
        raise BillingSyncError(f"{path} could not be written: {says}. Nothing was saved.") from wrong


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        line = re.search(rf"^#?{re.escape(name)}=.*$", text, re.MULTILINE)
        if not line:
            raise UsageError(f"{name} is not a variable of .env")
        if not value.isprintable():
            raise UsageError(f"the value of {name} holds a line end or another invisible character")
        if value:
            text = text[: line.start()] + f"{name}={_quoted(value)}" + text[line.end() :]
    return text


def _quoted(value: str) -> str:
    """The value as `.env` gives it back unchanged: bare where nothing in it has a meaning there."""
    if re.fullmatch(r"[A-Za-z0-9_.:/@%+=,~-]+", value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
