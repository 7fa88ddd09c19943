"""From the words typed to an exit code: flags that may stand anywhere, every failure as one sentence."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from billingsync.cli import terminal
from billingsync.cli.terminal import FLAGS, show_error
from billingsync.errors import BillingSyncError, UsageError

_ANYWHERE = {
    "--quiet": "quiet",
    "-q": "quiet",
    "--verbose": "verbose",
    "--no-color": "no_color",
    "--no-input": "no_input",
    "--debug": "debug",
}


class Bug(BillingSyncError):
    """billingsync has made a mistake of its own."""

    code = "BS-BUG"


class Stopped(BillingSyncError):
    """Stopped."""

    code = "BS-STOPPED"


class _Signalled(BaseException):
    """SIGTERM or Ctrl-C, as an exception so that everything open is closed. Not KeyboardInterrupt, of which Typer
    would make an exit code without a word."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


def run_command(arguments: list[str]) -> int:
    """One command, from parsing to exit code."""
    arguments = _take_flags(arguments)
    before = _on_signals()
    try:
        with _partner_named():
            return _guarded(arguments)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _partner_named() -> Iterator[None]:
    """What `--partner` says is what BILLINGSYNC_PARTNER would say, for this one command."""
    name = "BILLINGSYNC_PARTNER"
    earlier = os.environ.get(name)
    if FLAGS.partner:
        os.environ[name] = FLAGS.partner
    try:
        yield
    finally:
        if FLAGS.partner and earlier is None:
            os.environ.pop(name, None)
        elif FLAGS.partner and earlier is not None:
            os.environ[name] = earlier


def _take_flags(arguments: Sequence[str]) -> list[str]:
    """Sets FLAGS from the options that may stand anywhere, and gives the rest."""
    for name in _ANYWHERE.values():
        setattr(FLAGS, name, False)
    FLAGS.json, FLAGS.partner = False, None
    rest: list[str] = []
    is_value = False
    for n, word in enumerate(arguments):
        if is_value:
            FLAGS.partner, is_value = word, False
            continue
        if word == "--":
            return [*rest, *arguments[n:]]
        if word in _ANYWHERE:
            setattr(FLAGS, _ANYWHERE[word], True)
            continue
        if word.partition("=")[0] == "--partner" and rest[:1] != ["fleet"]:  # `fleet status` has one of its own
            FLAGS.partner = word.partition("=")[2]
            is_value = "=" not in word
            continue
        FLAGS.json = FLAGS.json or word == "--json" or word == "--format=json"
        FLAGS.json = FLAGS.json or (word == "json" and n > 0 and arguments[n - 1] == "--format")
        rest.append(word)
    return rest


def _on_signals() -> dict[int, Any]:
    """Makes exceptions of SIGTERM and Ctrl-C; gives the handlers that were there before."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Signalled(number)

    try:
        return {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread: whoever embeds us has signals of its own
        return {}


def _guarded(arguments: list[str]) -> int:
    try:
        return _dispatch(arguments)
    except BillingSyncError as error:
        if FLAGS.debug:
            traceback.print_exc()
        return _shown(error)
    except KeyboardInterrupt as stop:
        return _stopped(130, stop)
    except _Signalled as stop:
        return _stopped(128 + stop.number, stop)
    except BrokenPipeError:
        # Whoever read our output has gone; what was to be done is done, or the next run finds out.
        _silence_stdout()
        return 1
    except Exception as bug:  # noqa: BLE001 -- the last resort: operators get a sentence, never a traceback
        if isinstance(bug, OSError) and bug.errno == errno.ENOSPC:
            _silence_stdout()
            return _shown(BillingSyncError("The disk, or the device that our output goes to, is full."))
        if FLAGS.debug:
            traceback.print_exc()
        kind = type(bug).__name__
        where = bug.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        line = f" ({os.path.basename(where.tb_frame.f_code.co_filename)}:{where.tb_lineno})" if where else ""
        return _shown(
            Bug(
                f"billingsync failed in a way that it should not: {kind}{line}. Nothing is half-recorded: running "
                "again finds out what was done and goes on. Please report it with the output of --debug.",
                next_steps=[["billingsync", *arguments, "--debug"]],
            )
        )


def _silence_stdout() -> None:
    """What is left in our buffer goes nowhere, so that the interpreter's end does not complain of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _shown(error: BillingSyncError) -> int:
    """Tells it, if anybody can still be told."""
    with suppress(OSError):
        show_error(error)
    return error.exit_code


def _stopped(code: int, stop: BaseException | None) -> int:
    """What was and was not done is said first: the run notes it on whatever stopped it."""
    notes = getattr(stop, "__notes__", [])
    again = "Running the same command again goes on from there, and first looks for a write that was under way."
    error = Stopped(" ".join(["Stopped.", *notes, again]), next_steps=[["billingsync", "runs"]] if notes else [])
    if sys.stderr.isatty():
        print(file=sys.stderr)  # noqa: T201  "^C" may stand behind a question
    error.exit_code = code
    return _shown(error) and code


def _dispatch(arguments: list[str]) -> int:
    import typer

    from billingsync.cli.app import app, app_of, nearest_command
    from billingsync.cli.shell import COMPLETE

    if COMPLETE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
        typer.main.get_command(app).main(prog_name="billingsync", complete_var=COMPLETE)  # answers the shell and exits
    if FLAGS.partner is not None and not FLAGS.partner.strip():
        raise UsageError("--partner needs a name:  --partner NAME")
    if arguments[:1] in ([], ["help"]):
        arguments = [*arguments[1:], "--help"]
    elif arguments == ["version"]:
        arguments = ["--version"]
    command = typer.main.get_command(app_of(arguments[0]))
    try:
        result = command.main(args=arguments, prog_name="billingsync", standalone_mode=False)
    except typer.Exit as done:
        return int(done.exit_code)
    except typer.Abort:
        return _stopped(130, None)
    except typer.TyperException as wrong:
        message = wrong.format_message() if hasattr(wrong, "format_message") else str(wrong)
        near = nearest_command(arguments, message)
        raise UsageError(near or message, next_steps=[["billingsync", *_words(arguments), "--help"]]) from wrong
    return int(result) if isinstance(result, int) else 0


def _words(arguments: Sequence[str]) -> list[str]:
    """The command's own name or names, without anything that follows."""
    from billingsync.cli.app import known_commands

    words: list[str] = []
    for word in arguments:
        if " ".join([*words, word]) not in known_commands():
            break
        words.append(word)
    return words


__all__ = ["run_command", "terminal"]
