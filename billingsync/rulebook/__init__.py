"""rules/*.toml -> `core.rules.Rulebook`; every mistake of every file at once, with file, line and key."""

from billingsync.rulebook.effective import (
    Found,
    as_toml,
    effective,
    find_client_file,
    rulebook_digest,
)
from billingsync.rulebook.kept import kept_rulebook
from billingsync.rulebook.load import load_rulebook, load_rulebook_with_warnings

__all__ = [
    "Found",
    "as_toml",
    "effective",
    "find_client_file",
    "kept_rulebook",
    "load_rulebook",
    "load_rulebook_with_warnings",
    "rulebook_digest",
]
