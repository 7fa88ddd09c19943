"""Where a command's words go: results to stdout, everything else to stderr; with --json exactly one document."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from billingsync.cli.progress_line import LINE, STAGES
from billingsync.errors import BillingSyncError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from billingsync.core.progress import Progress

_COMMAND = re.compile(r"(?<=:) (?= ?billingsync )")  # what is to be copied begins behind a colon
FORMAT_VERSION = "1.0"


@dataclass(slots=True)
class Flags:
    """The options that every command takes, wherever they stand on the line."""

    quiet: bool = False
    verbose: bool = False
    no_color: bool = False
    no_input: bool = False
    debug: bool = False
    json: bool = False
    partner: str | None = None  # for whom, where that was typed


FLAGS = Flags()  # of this process's one command; `entry` sets it before anything else runs


def colored(stream: object) -> bool:
    """Whether escape codes may go to this stream: a terminal, and nobody said no."""
    terminal = getattr(stream, "isatty", lambda: False)()
    return bool(terminal) and not FLAGS.no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def console(*, error: bool = False) -> Console:
    """A rich console on stdout or stderr; as wide as the terminal, and where there is none nothing is cut."""
    from rich.console import Console

    from billingsync.report.layout import UNLIMITED

    LINE.clear()
    stream = sys.stderr if error else sys.stdout
    color = colored(stream)
    width = shutil.get_terminal_size((100, 24)).columns if stream.isatty() else UNLIMITED
    return Console(
        file=stream, width=max(width, 60), highlight=False, no_color=not color, force_terminal=color, soft_wrap=False
    )


def interactive() -> bool:
    """Whether a person sits there who may be asked."""
    return not FLAGS.no_input and sys.stdin.isatty() and sys.stderr.isatty()


def say(progress: Progress) -> None:
    """A step of the work: for people who watch one line that updates, with --verbose a line for each; where there is
    no terminal a log line for each stage."""
    if FLAGS.quiet:
        return
    if not FLAGS.verbose:
        (LINE if sys.stderr.isatty() else STAGES).show(progress)
        return
    from billingsync.report.escape import one_line
    from billingsync.report.progress import progress_text

    print(f"… {one_line(progress_text(progress))}", file=sys.stderr, flush=True)  # noqa: T201


def note(text: str) -> None:
    """Something that people should know beside the result."""
    LINE.clear()
    if not FLAGS.quiet:
        print(wrapped(text, sys.stderr), file=sys.stderr, flush=True)  # noqa: T201


def wrapped(text: str, stream: TextIO, *, taken: int = 0) -> str:
    """A text for this stream: on a terminal lines end between words, but for commands, which are to be copied;
    elsewhere as it is. `taken` cells of the first line are not free."""
    if not stream.isatty():
        return text
    from billingsync.report.layout import folded

    width = shutil.get_terminal_size((80, 24)).columns - 1
    lines: list[str] = []
    for line in text.split("\n"):
        said, *command = _COMMAND.split(line, maxsplit=1)
        words = said.lstrip()
        room = width if lines else width - taken
        lines += folded([*words.split(" "), *command], room, first=" " * (len(said) - len(words)))
    return "\n".join(lines)


def out(text: str) -> None:
    """The result, to stdout."""
    LINE.clear()
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()


def for_partner(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document whose commands to type next are for the same partner as the command was."""
    named = ["--partner", FLAGS.partner] if FLAGS.partner else []
    steps = [
        [*step, *(named if step[:1] == ["billingsync"] and step[1:2] != ["fleet"] else [])]
        for step in map(list, document.get("next_steps", ()))
    ]
    return {**document, "next_steps": steps}


def document(body: Mapping[str, object], next_steps: Sequence[Sequence[str]] = ()) -> None:
    """The result as the one JSON document."""
    from billingsync.report.document import dump

    whole = {"format_version": FORMAT_VERSION, **body}
    whole.setdefault("next_steps", [list(step) for step in next_steps])
    out(dump(for_partner(whole)))


def write_file(path: str, content: bytes, *, told: bool = True) -> None:
    """To a file, or with "-" to stdout. A file is written whole or not at all; with `told` the reader learns of it."""
    LINE.clear()
    if path == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    half = target.with_name(f".{target.name}.part")
    try:
        half.write_bytes(content)
        half.replace(target)
    except OSError as failed:
        raise BillingSyncError(f"{path} could not be written: {failed.strerror or failed}.") from failed
    if told:
        note(f"Written: {path}")


def ask(question: str) -> bool:
    """Yes or no from a person; no is the default, and the answer where nobody can be asked."""
    if not interactive():
        return False
    LINE.clear()
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def needs_yes(command: str) -> UsageError:
    return UsageError(
        f"There is no terminal to ask on, and {command} would write to HaloPSA. Say --yes, or post a plan's digest.",
        next_steps=[["billingsync", *command.split(), "--yes"], ["billingsync", "plan"]],
    )


def show_error(error: BillingSyncError) -> None:
    """One sentence, then what to type next; as JSON where that was asked for."""
    from billingsync.report.document import dump, error_document
    from billingsync.report.escape import inert

    LINE.clear()
    steps = for_partner({"next_steps": error.next_steps})["next_steps"]
    if FLAGS.json:
        out(dump(error_document(error.code, error.message, steps, error.exit_code)))
        return
    red, plain_ = ("\x1b[31m", "\x1b[0m") if colored(sys.stderr) else ("", "")
    import shlex

    says = wrapped(f"  {inert(error.message, keep=chr(10))}", sys.stderr, taken=len(error.code))
    lines = [f"{red}{error.code}{plain_}{says}"]
    lines += [f"  next:  {shlex.join(step)}" for step in steps]
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201


def as_json(value: object) -> str:
    """Any JSON value on one line, for people."""
    return json.dumps(value, ensure_ascii=False)
