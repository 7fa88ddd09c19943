"""The formats that a plan or a comparison is written in: as --format says, else as the file's name ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from billingsync.errors import UsageError

FORMATS = ("text", "json", "csv", "html", "xlsx", "markdown")
ENDINGS: Mapping[str, str] = {
    ".txt": "text", ".json": "json", ".csv": "csv", ".html": "html", ".htm": "html", ".xlsx": "xlsx", ".md": "markdown",
}  # fmt: skip


def format_of(
    format: str | None, out_file: str | None, *, json: bool, command: Sequence[str], more: Sequence[str] = ()
) -> str:
    """The format, one of `FORMATS` or of `more`, each of which is what a file of it ends in too. UsageError for one
    that there is not, for a file's ending that says none of them, and for a spreadsheet without a file; `command` is
    what was typed, for the next step."""
    endings = {**ENDINGS, **{f".{one}": one for one in more}}
    chosen = "json" if json else format or _by_ending(out_file, endings)
    if chosen not in (*FORMATS, *more):
        raise UsageError(f"--format is one of {', '.join((*FORMATS, *more))}, not {format!r:.40}.")
    if chosen == "xlsx" and out_file is None:
        raise UsageError(
            "A spreadsheet does not fit on a terminal: name a file.",
            next_steps=[["billingsync", *command, "--out", f"{command[-1]}.xlsx"]],
        )
    return chosen


def _by_ending(out_file: str | None, endings: Mapping[str, str]) -> str:
    """What a file's name ends in; text where it has no ending."""
    ending = PurePath(out_file or "").suffix.lower()
    if ending and ending not in endings:
        raise UsageError(
            f"--out: there is no format for a name that ends in {ending!r:.20}. Known endings: {', '.join(endings)}. "
            "Or say which with --format. Nothing was written."
        )
    return endings.get(ending, "text")
