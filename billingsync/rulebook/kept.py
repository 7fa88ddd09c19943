"""The rules for pages, read again only where a file or the desk's layer is another one: hundreds of client files take
a good part of a second."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from billingsync.core.rules import DeskRules, Rulebook
from billingsync.rulebook.load import load_rulebook_with_warnings

_Stamp = tuple[str, int, int, int]  # of one file: path, inode, size, time of its last change in nanoseconds


def kept_rulebook(directory: Path, desk: Sequence[DeskRules] = ()) -> tuple[Rulebook, tuple[str, ...]]:
    """As `load_rulebook_with_warnings`, for what is only shown. Whoever decides about money reads the files."""
    return _loaded(directory, tuple(desk), _stamps(directory))


@lru_cache(maxsize=2)
def _loaded(
    directory: Path, desk: tuple[DeskRules, ...], stamps: tuple[_Stamp, ...]
) -> tuple[Rulebook, tuple[str, ...]]:
    return load_rulebook_with_warnings(directory, desk)


def _stamps(directory: Path) -> tuple[_Stamp, ...]:
    found = []
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            try:
                seen = os.stat(path)
            except OSError:  # it went away just now: then the files are others
                found.append((path, 0, 0, 0))
            else:
                found.append((path, seen.st_ino, seen.st_size, seen.st_mtime_ns))
    return tuple(sorted(found))
