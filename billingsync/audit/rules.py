"""The rules as they were written, kept with what they decided."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from billingsync.rulebook import load_rulebook
from billingsync.store.ledger import Ledger


def keep_rules(ledger: Ledger, directory: Path, digest: str, now: datetime) -> bool:
    """Keeps the text of every rules file below `directory` in the journal, under the digest of what they come to.
    False, and nothing is kept, where the files have changed meanwhile: these are not the texts that decided."""
    paths = sorted(path for path in directory.rglob("*.toml") if path.is_file())
    files = {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}
    if load_rulebook(directory, ledger.desk_rules()).digest != digest or any(
        (directory / name).read_bytes() != files[name] for name in files
    ):
        return False
    texts = {name: text.decode("utf-8", "replace") for name, text in files.items()}
    texts |= {f"desk/{one.company_id or 'all'}.toml": one.text for one in ledger.desk_rules()}
    ledger.save_rules(digest, texts, now)
    return True
