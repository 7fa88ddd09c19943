"""The rules as they were written, kept with what they decided."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from billingsync.rulebook import load_rulebook
from billingsync.rulebook.load import bureau_folders
from billingsync.store.ledger import Ledger


def keep_rules(ledger: Ledger, directory: Path, digest: str, now: datetime) -> bool:
    """Keeps the text of every rules file below `directory`, and in a fleet of the bureau's, in the journal, under the
    digest of what they come to. False, and nothing is kept, where the files have changed meanwhile: these are not the
    texts that decided."""
    paths = {path.relative_to(directory).as_posix(): path for path in _files(directory)}
    for bureau in bureau_folders(directory):
        paths |= {f"bureau/{path.relative_to(bureau).as_posix()}": path for path in _files(bureau)}
    files = {name: path.read_bytes() for name, path in paths.items()}
    if load_rulebook(directory, ledger.desk_rules()).digest != digest or any(
        path.read_bytes() != files[name] for name, path in paths.items()
    ):
        return False
    texts = {name: text.decode("utf-8", "replace") for name, text in files.items()}
    texts |= {f"desk/{one.company_id or 'all'}.toml": one.text for one in ledger.desk_rules()}
    ledger.save_rules(digest, texts, now)
    return True


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*.toml") if path.is_file())
