"""Where settings stand: `.env` and secret files. Reads them, and says what is wrong without showing any value."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from dotenv.parser import parse_stream

from billingsync.settings.groups import PREFIX
from billingsync.settings.model import variables
from billingsync.settings.values import printable

MAX_BYTES = 256 * 1024  # systemd and Docker allow secrets of at most 1 MB and 500 kB; ours have some hundred bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A value and where it came from. `is_store`: a credential store that guards its files itself."""

    value: str = field(repr=False)
    origin: str
    path: Path | None = None
    is_store: bool = False


@dataclass(slots=True)
class Places:
    values: dict[str, Given] = field(default_factory=dict)  # by full variable name in capitals
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, name: str, value: str, origin: str, path: Path | None = None, *, is_store: bool = False) -> None:
        """A value that replaces what a weaker place said; an empty one counts as not set."""
        if value.strip():
            self.values[name] = Given(value=value, origin=origin, path=path, is_store=is_store)

    def add_dotenv(self, path: Path) -> None:
        """KEY=VALUE lines. `$` in a value is a dollar: nothing is expanded, because secrets may hold it."""
        if not os.path.lexists(path):
            return
        text = self._read(path, ".env")
        if text is None:
            return
        short = {variable.name.removeprefix(PREFIX) for variable in variables()}
        seen: dict[str, int] = {}
        for binding in parse_stream(io.StringIO(text)):
            source = binding.original.string
            line = binding.original.line + len(source[: len(source) - len(source.lstrip())].splitlines())
            name = (binding.key or "").upper()
            if binding.error:
                self.problems.append(
                    f".env, line {line}: cannot be read; write {PREFIX}NAME=value, in quotes if need be"
                )
            elif name.startswith(PREFIX):
                if binding.value is None:
                    self.problems.append(f".env, line {line}: {printable(name)} has no equals sign")
                elif name in seen:
                    self.warnings.append(f".env: {name} stands on line {seen[name]} and {line}; the last one counts")
                    self.values.pop(name, None)
                seen[name] = line
                self.add(name, binding.value or "", ".env", path)
            elif name in short and "__" in name:
                self.warnings.append(f".env, line {line}: {name} is not read; write {PREFIX}{name}")

    def add_secret_files(self, folder: Path, *, is_store: bool) -> None:
        """Files named like the variables, in any case; what has other names is not ours."""
        try:
            paths = sorted(path for path in folder.iterdir() if path.name.upper().startswith(PREFIX))
        except OSError:
            return
        seen: dict[str, Path] = {}
        for path in paths:
            name = path.name.upper()
            if name in seen:
                self.warnings.append(f"{printable(str(path))} is not read: {printable(seen[name].name)} means the same")
                continue
            seen[name] = path
            text = self._read(path, printable(str(path)))
            if text is not None:
                value = text.removesuffix("\n").removesuffix("\r")
                self.add(name, value, f"file {printable(str(path))}", path, is_store=is_store)

    def _read(self, path: Path, shown: str) -> str | None:
        try:
            if not path.is_file():  # opening a named pipe would wait for ever
                self.problems.append(f"{shown}: is not a regular file")
                return None
            if path.stat().st_size > MAX_BYTES:
                self.problems.append(f"{shown}: is too large for settings, more than {MAX_BYTES} bytes")
                return None
            return path.read_bytes().decode("utf-8-sig")
        except OSError as wrong:
            self.problems.append(f"{shown}: cannot be read: {wrong.strerror or wrong}")
        except UnicodeDecodeError as wrong:
            line = wrong.object.count(b"\n", 0, wrong.start) + 1
            self.problems.append(f"{shown}, line {line}: is not UTF-8; save the file as UTF-8")
        return None


def readable_by_others(path: Path) -> bool:
    """Whether the file's group or anybody may read it; on Windows modes say nothing."""
    if os.name == "nt":
        return False
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False
